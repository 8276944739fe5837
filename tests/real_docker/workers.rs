//! What a Docker engine is told of live-only containers, beyond the contract: restart policies, the
//! order of their starts, and a stop that was begun for a call that was killed.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, RestartPolicyNameEnum};
use flipside::core::names::Release;
use flipside::core::plan::{Condition, Healthcheck, Role, Run};
use flipside::engine::{Engine, Spec};

use super::up;
use crate::support::docker::{Scope, api, until};
use crate::support::sample::{depends, role, set, spec, words};

fn live_only(scope: &Scope) -> Role {
    let mut worker = role(scope.image.clone());
    worker.run = Run::LiveOnly;
    worker
}

fn with(scope: &Scope, others: Vec<(&str, Role)>) -> Spec {
    let mut roles = vec![("web", role(scope.image.clone()))];
    roles.extend(others);
    spec(&scope.service, 1, roles)
}

async fn inspect(scope: &Scope, role: &str) -> ContainerInspectResponse {
    let name = format!("{}-1-{role}-1", scope.service);
    api().inspect_container(&name, None).await.unwrap()
}

async fn restarts(scope: &Scope, role: &str) -> Option<RestartPolicyNameEnum> {
    let host = inspect(scope, role).await.host_config.unwrap();
    host.restart_policy.unwrap().name
}

fn started(container: &ContainerInspectResponse) -> jiff::Timestamp {
    let state = container.state.as_ref().unwrap();
    state.started_at.as_ref().unwrap().parse().unwrap()
}

#[tokio::test]
async fn only_what_works_is_started_again_by_the_engine() {
    let scope = Scope::new().await;
    up(&scope, &with(&scope, vec![("worker", live_only(&scope))])).await;
    let (no, again) = (
        Some(RestartPolicyNameEnum::NO),
        Some(RestartPolicyNameEnum::UNLESS_STOPPED),
    );
    assert_eq!(restarts(&scope, "worker").await, no);
    assert_eq!(restarts(&scope, "web").await, again);
    scope.engine.work(&scope.service, Release(1)).await.unwrap();
    assert_eq!(restarts(&scope, "worker").await, again);
    scope.engine.rest(&scope.service, Release(1)).await.unwrap();
    assert_eq!(restarts(&scope, "worker").await, no);
    assert_eq!(restarts(&scope, "web").await, again);
}

#[tokio::test]
async fn workers_start_in_the_order_of_the_plan_also_without_it() {
    let scope = Scope::new().await;
    let mut queue = live_only(&scope);
    set(&mut queue, "START_DELAY_MS", "600");
    queue.healthcheck = Some(Healthcheck {
        test: words(&["CMD", "/hello", "check"]),
        interval_ms: Some(200),
        timeout_ms: Some(2_000),
        start_period_ms: Some(0),
        start_interval_ms: None,
        retries: Some(10),
    });
    let mut worker = live_only(&scope);
    depends(&mut worker, "queue", Condition::Healthy);
    depends(&mut worker, "web", Condition::Started);
    let roles = vec![("worker", worker), ("queue", queue)];
    up(&scope, &with(&scope, roles)).await;
    scope.engine.work(&scope.service, Release(1)).await.unwrap();
    let (queue, worker) = (
        inspect(&scope, "queue").await,
        inspect(&scope, "worker").await,
    );
    let between = started(&worker).duration_since(started(&queue));
    assert!(between.as_millis() >= 600, "{between}");
}

/// The stop goes on when its call is gone, and must not end what has been started meanwhile.
#[tokio::test]
async fn a_worker_that_is_being_stopped_for_a_killed_call_is_started_anew() {
    let scope = Scope::new().await;
    let mut worker = live_only(&scope);
    set(&mut worker, "DEAF", "1");
    worker.stop_grace_ms = 3_000;
    up(&scope, &with(&scope, vec![("worker", worker)])).await;
    scope.engine.work(&scope.service, Release(1)).await.unwrap();
    let before = started(&inspect(&scope, "worker").await);

    let rest = scope.engine.rest(&scope.service, Release(1));
    let begun = until("the worker is about to be stopped", || async {
        let no = Some(RestartPolicyNameEnum::NO);
        // Time for the stop itself, which comes next.
        let begun = restarts(&scope, "worker").await == no;
        tokio::time::sleep(Duration::from_millis(100)).await;
        begun.then_some(())
    });
    tokio::select! {
        () = begun => {}
        rested = rest => panic!("it came to rest at once: {rested:?}"),
    }
    scope.engine.work(&scope.service, Release(1)).await.unwrap();
    let after = inspect(&scope, "worker").await;
    assert!(started(&after) > before, "{after:?}");
    // Beyond the grace of the first stop.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let still = inspect(&scope, "worker").await;
    assert_eq!(still.state.as_ref().unwrap().running, Some(true));
    assert_eq!(started(&still), started(&after));
}
