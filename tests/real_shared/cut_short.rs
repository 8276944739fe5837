//! An apply that is cut short while the engine stops the old container: afterwards the old one runs, or
//! the new one, and never both.

use std::time::{Duration, Instant, UNIX_EPOCH};

use flipside::core::plan::Healthcheck;
use flipside::core::progress::Silent;
use flipside::core::shared::Removed;
use flipside::engine::docker::Docker;
use flipside::engine::{Engine, Spec};

use super::project::{Project, aliases, refusal};
use super::{docker, exists, life, policy, runs};
use crate::support::docker::{Scope, until};
use crate::support::sample::{role_name, words};

/// How long the old one takes to stop, in seconds.
const GRACE: &str = "3";

/// A Compose project's container that hears no SIGTERM.
fn deaf(project: &Project<'_>) -> String {
    project.run_as("db", 1, &["-e", "DEAF=1", "--stop-timeout", GRACE])
}

fn new(scope: &Scope) -> String {
    format!("{}-shared-db", scope.service)
}

/// An apply whose caller is gone while the old container is being stopped.
async fn cut_short(spec: &Spec, old: &str) {
    let (plan, engine) = (spec.plan.clone(), Docker::connect(None).await.unwrap());
    let applying = tokio::spawn(async move {
        let db = role_name("db");
        engine.apply_shared(&plan, &db, &Silent).await
    });
    let asked = || {
        let filter = format!("container={old}");
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        let until = format!("{:.3}", now.unwrap().as_secs_f64());
        let words = ["events", "--since", "60s", "--until", &until];
        let of_it = ["--filter", &filter, "--filter", "event=kill"];
        docker(&[&words[..], &of_it[..]].concat()).contains("signal=15")
    };
    until("the old one is asked to stop", || async {
        asked().then_some(())
    })
    .await;
    applying.abort();
    applying.await.ok();
    assert!(runs(old), "it is stopped already");
}

/// It runs until the engine would have stopped it for the killed call, and for a while after it.
fn goes_on(container: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        assert!(runs(container), "`{container}` was stopped");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_one_runs_again_and_goes_on() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = deaf(&project);
    let spec = project.spec(1, &format!("{}_data", project.name));
    project.up(&spec).await;
    cut_short(&spec, &old).await;
    // A daemon that comes back starts neither the one that is being stopped nor the other one.
    assert_eq!(policy(&format!("{}.new", new(&scope))), "no");
    let settled = scope.engine.settle_shared(&scope.service).await;
    let told = "the old container of the shared role `db` was put back";
    assert_eq!(settled.unwrap(), [told]);
    goes_on(&old);
    assert_eq!(policy(&old), "always");
    assert!(aliases(&scope, &old).contains(&"db".to_owned()));
    for name in [new(&scope), format!("{}.new", new(&scope))] {
        assert!(!exists(&name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_apply_brings_the_new_one_up() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = deaf(&project);
    let spec = project.spec(1, &format!("{}_data", project.name));
    cut_short(&spec, &old).await;
    let db = role_name("db");
    let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
    assert_eq!(applied.unwrap().kept, [old.as_str()]);
    assert!(runs(&new(&scope)) && !runs(&old));
    let policies = (policy(&new(&scope)), policy(&old));
    assert_eq!(policies, ("unless-stopped".into(), "no".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_gives_the_compose_project_its_container_back() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = deaf(&project);
    let spec = project.spec(1, &format!("{}_data", project.name));
    cut_short(&spec, &old).await;
    let kept = scope.engine.tear_down_shared(&scope.service).await;
    assert_eq!(kept, Ok(Removed::default()));
    goes_on(&old);
    assert_eq!(policy(&old), "always");
    assert!(aliases(&scope, &old).is_empty());
    assert_eq!(scope.parts().await, [""; 0]);
    // Nor does it need what is gone to be started again.
    docker(&["restart", "-t", "0", &old]);
    assert!(runs(&old));
}

/// Where the old one cannot run any more, the new one is better than none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_old_one_does_not_start_the_new_one_does() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let network = format!("{}-net", scope.service);
    docker(&["network", "create", &network]);
    let more = [
        "--network",
        &network,
        "-e",
        "DEAF=1",
        "--stop-timeout",
        GRACE,
    ];
    let old = project.run_as("db", 1, &more);
    let spec = project.spec(1, &format!("{}_data", project.name));
    cut_short(&spec, &old).await;
    docker(&["stop", "-t", "0", &old]);
    docker(&["network", "rm", &network]);
    let (what, hint) = refusal(scope.engine.settle_shared(&scope.service).await);
    assert!(what.contains("does not start again"), "{what}");
    assert!(hint.contains("flipside shared apply"), "{hint}");
    let named = [new(&scope), format!("{}.new", new(&scope))];
    let there: Vec<_> = named.iter().filter(|name| exists(name)).collect();
    assert!(
        there.len() == 1 && runs(there[0]) && !runs(&old),
        "{there:?}"
    );
    assert_eq!(policy(there[0]), "unless-stopped");
}

#[tokio::test]
async fn a_name_that_is_taken_is_said_before_anything_is_stopped() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = project.run(1);
    docker(&["create", "--name", &new(&scope), project.image()]);
    let before = life(&old);
    let spec = project.spec(1, &format!("{}_data", project.name));
    let db = role_name("db");
    let (what, _) = refusal(scope.engine.apply_shared(&spec.plan, &db, &Silent).await);
    assert!(what.contains("is taken by another container"), "{what}");
    assert_eq!(life(&old), before);
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_said_before_anything_is_touched() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = project.run(1);
    let (before, parts) = (life(&old), scope.parts().await);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    let db = spec.plan.shared.get_mut(&role_name("db")).unwrap();
    db.healthcheck = Some(Healthcheck {
        test: words(&["CMD", "/hello", "check"]),
        interval_ms: None,
        timeout_ms: None,
        start_period_ms: None,
        start_interval_ms: Some(100),
        retries: None,
    });
    let name = role_name("db");
    let (what, hint) = refusal(scope.engine.apply_shared(&spec.plan, &name, &Silent).await);
    assert!(
        what.contains("`healthcheck.start_interval` needs API 1.44"),
        "{what}"
    );
    assert!(hint.contains("ignore: [start_interval]"), "{hint}");
    assert_eq!((life(&old), scope.parts().await), (before, parts));
    assert!(aliases(&scope, &old).is_empty());
}
