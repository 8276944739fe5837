//! What `down --shared` leaves of a Compose project whose container flipside's has taken the place of.

use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::core::shared::{GivenBack, Held, Removed};
use flipside::engine::Engine;

use super::project::Project;
use super::{docker, inspect, policy, runs};
use crate::support::docker::Scope;
use crate::support::sample::{role_name, set};

/// Taken over, and made anew once more: the last container knows of the first one.
async fn taken_over(project: &Project<'_>) -> String {
    let scope = project.scope;
    let old = project.run_as("db", 1, &["--restart", "on-failure:5"]);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    project.up(&spec).await;
    let db = role_name("db");
    for version in ["1", "2"] {
        set(spec.plan.shared.get_mut(&db).unwrap(), "VERSION", version);
        let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
        assert!(!applied.unwrap().as_it_was);
    }
    assert_eq!(policy(&old), "no");
    scope
        .engine
        .tear_down(&scope.service, Release(1))
        .await
        .unwrap();
    old
}

fn left(project: &Project<'_>, old: &str, policy: &str) -> Removed {
    let volume = format!("{}_data", project.name);
    Removed {
        kept: vec![volume.clone()],
        held: vec![Held {
            volume,
            container: old.into(),
        }],
        back: vec![GivenBack {
            container: old.into(),
            policy: policy.into(),
        }],
    }
}

#[tokio::test]
async fn the_compose_container_has_its_restart_policy_again_and_is_not_started() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = taken_over(&project).await;
    let removed = scope.engine.tear_down_shared(&scope.service).await;
    assert_eq!(removed, Ok(left(&project, &old, "on-failure:5")));
    assert!(!runs(&old));
    let now = inspect(&old)["HostConfig"]["RestartPolicy"].clone();
    assert_eq!(now["Name"], "on-failure");
    assert_eq!(now["MaximumRetryCount"], 5);
    assert_eq!(scope.parts().await, [""; 0]);
}

#[tokio::test]
async fn a_policy_that_a_person_has_given_it_since_stays() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = taken_over(&project).await;
    docker(&["update", "--restart=unless-stopped", &old]);
    let removed = scope.engine.tear_down_shared(&scope.service).await;
    assert_eq!(removed, Ok(left(&project, &old, "unless-stopped")));
    assert_eq!(policy(&old), "unless-stopped");
    // One that is gone is not missed.
    let again = taken_over_anew(&project, &old).await;
    assert_eq!(again.back, []);
}

async fn taken_over_anew(project: &Project<'_>, old: &str) -> Removed {
    docker(&["rm", "-f", old]);
    let old = taken_over(project).await;
    docker(&["rm", "-f", &old]);
    let scope = project.scope;
    scope.engine.tear_down_shared(&scope.service).await.unwrap()
}
