//! `run: once`: started at most once, in its turn, and what its end means.

use std::time::Duration;

use flipside::core::plan::{Condition, Mount, MountSource, Role, Run};
use flipside::core::progress::Silent;
use flipside::core::world::Environment;
use flipside::engine::{Engine, Spec};

use super::{down, failure, try_up, up};
use crate::support::docker::{Scope, api, until};
use crate::support::sample::{depends, role, role_name, set, spec, words};

/// A job that waits for nothing.
fn job(scope: &Scope) -> Role {
    let mut job = role(scope.image.clone());
    job.run = Run::Once;
    job.command = Some(words(&["once"]));
    job
}

/// A web role that waits for the job `migrate`.
fn with_job(scope: &Scope, migrate: Role) -> Spec {
    let mut web = role(scope.image.clone());
    depends(&mut web, "migrate", Condition::Completed);
    spec(&scope.service, 1, vec![("web", web), ("migrate", migrate)])
}

async fn instants(environment: &Environment, role: &str) -> (jiff::Timestamp, jiff::Timestamp) {
    let mut all = environment.containers.iter();
    let found = all.find(|container| container.role.as_str() == role);
    let full = api().inspect_container(&found.unwrap().id, None).await;
    let state = full.unwrap().state.unwrap();
    let at = |text: Option<String>| text.unwrap().parse().unwrap();
    (at(state.started_at), at(state.finished_at))
}

#[tokio::test]
async fn what_waits_for_a_job_starts_when_it_has_ended_well() {
    let scope = Scope::new().await;
    let mut migrate = job(&scope);
    set(&mut migrate, "ONCE_MS", "300");
    let mut db = role(scope.image.clone());
    db.command = Some(words(&["sleep"]));
    depends(&mut migrate, "db", Condition::Started);
    let mut spec = with_job(&scope, migrate);
    spec.plan.roles.insert(role_name("db"), db);
    let environment = up(&scope, &spec).await;
    assert!(environment.is_up(), "{environment:?}");
    let (began, ended) = instants(&environment, "migrate").await;
    assert!(instants(&environment, "db").await.0 < began);
    assert!(ended < instants(&environment, "web").await.0);
    let mut all = environment.containers.iter();
    let job = all.find(|container| container.run == Run::Once).unwrap();
    let ran = scope.engine.ran(&job.id).await.unwrap();
    // The engine notes the start a moment after the process has begun.
    assert!((200..20_000).contains(&ran.took_ms), "{ran:?}");
    assert!(ran.output.ends_with("once exits with 0"), "{ran:?}");
    let full = api().inspect_container(&job.id, None).await.unwrap();
    let policy = full.host_config.unwrap().restart_policy.unwrap().name;
    assert_eq!(policy.unwrap().to_string(), "no");
    let listed = scope.engine.inspect(&scope.service).await.unwrap();
    assert_eq!(listed, [environment]);
    down(&scope, 1).await;
}

#[tokio::test]
async fn a_job_that_fails_is_told_with_its_code_and_its_words_and_nothing_follows_it() {
    let scope = Scope::new().await;
    let mut migrate = job(&scope);
    set(&mut migrate, "ONCE_EXIT", "7");
    let spec = with_job(&scope, migrate);
    for _ in 0..2 {
        let failed = failure(try_up(&scope, &spec).await.unwrap_err());
        assert_eq!(failed.what, "the job `migrate` exited with 7");
        let [report] = failed.replicas.as_slice() else {
            panic!("{failed:?}");
        };
        assert_eq!(report.container, format!("{}-1-migrate-1", scope.service));
        assert!(report.logs.contains(&"once exits with 7".to_owned()));
        // Read back, not started again.
        let begun = report.logs.iter().filter(|line| line.contains("begins"));
        assert_eq!(begun.count(), 1, "{report:?}");
    }
    let found = scope.engine.inspect(&scope.service).await.unwrap();
    assert!(!found[0].is_up());
    let web = found[0]
        .containers
        .iter()
        .find(|c| c.role.as_str() == "web");
    let started = web.is_some_and(|web| web.is_well());
    assert!(!started, "{web:?}");
    down(&scope, 1).await;
}

#[tokio::test]
async fn a_job_that_goes_on_and_on_is_late() {
    let scope = Scope::new().await;
    let mut migrate = job(&scope);
    migrate.command = Some(words(&["sleep"]));
    migrate.timeout_ms = 500;
    let failed = failure(
        try_up(&scope, &with_job(&scope, migrate))
            .await
            .unwrap_err(),
    );
    assert_eq!(failed.what, "the job `migrate` has not ended within 500 ms");
    let hint = failed.hint.unwrap();
    assert!(
        hint.contains("`timeout: 30m` on the role `migrate`"),
        "{hint}"
    );
    down(&scope, 1).await;
}

#[tokio::test]
async fn a_job_whose_deployer_is_killed_is_started_once() {
    let scope = Scope::new().await;

    let mut migrate = job(&scope);
    set(&mut migrate, "ONCE_MS", "1500");
    set(&mut migrate, "COUNT", "/counted/starts");
    set(&mut migrate, "VERSION", "x");
    migrate.mounts = vec![Mount {
        target: "/counted".into(),
        source: MountSource::PerRelease(Some("counted".into())),
        read_only: false,
        propagation: None,
    }];
    let mut spec = with_job(&scope, migrate);
    let web = spec.plan.roles.get_mut(&role_name("web")).unwrap();
    web.mounts = vec![Mount {
        target: "/counted".into(),
        source: MountSource::PerRelease(Some("counted".into())),
        read_only: true,
        propagation: None,
    }];
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    let name = format!("{}-1-migrate-1", scope.service);
    let begun = async {
        until("the job runs", || async {
            let lines = scope.engine.logs(&name, 5).await.unwrap_or_default();
            lines
                .iter()
                .any(|line| line.contains("begins"))
                .then_some(())
        })
        .await;
    };
    tokio::select! {
        done = scope.engine.stand_up(&spec, &images, &Silent) => panic!("{done:?}"),
        () = begun => {}
    }
    let environment = up(&scope, &spec).await;
    let at = environment.endpoints()[0];
    let counted = until("its count", || async {
        let got = crate::support::docker::get(at, "/file?/counted/starts").await;
        got.ok().map(|(_, text)| text)
    });
    let counted = tokio::time::timeout(Duration::from_secs(20), counted);
    assert_eq!(counted.await.unwrap().trim(), "x");
    down(&scope, 1).await;
}
