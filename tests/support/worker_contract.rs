//! What every engine must do with live-only roles.

use flipside::core::names::Release;
use flipside::core::plan::{Condition, Run};
use flipside::core::world::{Container, ContainerState, Environment};
use flipside::engine::{EngineError, Spec};

use super::engine_contract::Fixture;
use super::sample;

/// A release with two containers of a live-only role, and one of another that waits for them.
fn spec(f: &Fixture<'_>, release: u64) -> Spec {
    let web = sample::role(f.image.clone());
    let mut queue = sample::role(f.image.clone());
    queue.run = Run::LiveOnly;
    queue.replicas = 2;
    let mut worker = sample::role(f.image.clone());
    worker.run = Run::LiveOnly;
    sample::depends(&mut worker, "queue", Condition::Started);
    sample::depends(&mut worker, "web", Condition::Started);
    let roles = vec![("web", web), ("queue", queue), ("worker", worker)];
    sample::spec(&f.service, release, roles)
}

impl Fixture<'_> {
    async fn now(&self, release: u64) -> Environment {
        let found = self.engine.inspect(&self.service).await.unwrap();
        let mut found = found.into_iter();
        found.find(|e| e.release == Release(release)).unwrap()
    }

    async fn at_work(&self, release: u64) -> usize {
        let environment = self.now(release).await;
        environment.workers().filter(|worker| worker.runs()).count()
    }

    async fn work(&self, release: u64) -> Result<Vec<String>, EngineError> {
        self.engine.work(&self.service, Release(release)).await
    }

    async fn rest(&self, release: u64) -> Vec<String> {
        let rested = self.engine.rest(&self.service, Release(release)).await;
        rested.unwrap()
    }
}

fn refused(answer: Result<Vec<String>, EngineError>) -> String {
    match answer {
        Err(EngineError::Failed(failure)) => failure.what,
        other => panic!("not refused: {other:?}"),
    }
}

pub async fn live_only_roles_are_made_and_not_started(f: &Fixture<'_>) {
    let spec = spec(f, 1);
    let first = f.up(&spec).await;
    assert_eq!(first.workers().count(), 3, "{first:?}");
    let created = |worker: &Container| worker.state == ContainerState::Created;
    assert!(first.workers().all(created), "{first:?}");
    assert!(first.is_up(), "{first:?}");
    assert_eq!(f.up(&spec).await, first);
    f.work(1).await.unwrap();
    f.rest(1).await;
    // Nor are those that have worked and come to rest.
    let again = f.up(&spec).await;
    assert!(!again.workers().any(Container::runs), "{again:?}");
    f.clean(&[1]).await;
}

pub async fn workers_come_to_work_and_to_rest(f: &Fixture<'_>) {
    let environment = f.up(&spec(f, 1)).await;
    let names: Vec<_> = environment.workers().map(|c| c.name.clone()).collect();
    assert_eq!(f.rest(1).await, [""; 0]);
    assert_eq!(f.work(1).await.unwrap(), names);
    let working = f.now(1).await;
    assert_eq!(f.at_work(1).await, 3, "{working:?}");
    assert_eq!(f.work(1).await.unwrap(), names);
    assert_eq!(f.now(1).await, working);
    assert_eq!(f.rest(1).await, names);
    assert_eq!(f.at_work(1).await, 0);
    assert!(f.now(1).await.is_up());
    assert_eq!(f.rest(1).await, [""; 0]);
    assert_eq!(f.work(1).await.unwrap(), names);
    assert_eq!(f.at_work(1).await, 3);
    f.clean(&[1]).await;
    assert_eq!(f.rest(1).await, [""; 0]);
}

pub async fn workers_of_two_releases_never_run_at_once(f: &Fixture<'_>) {
    f.up(&spec(f, 1)).await;
    f.up(&spec(f, 2)).await;
    f.up(&f.spec(3, 1)).await;
    f.work(1).await.unwrap();
    let said = refused(f.work(2).await);
    let name = format!("`{}-1-", f.service);
    assert!(said.contains(&name), "{said}");
    assert_eq!((f.at_work(1).await, f.at_work(2).await), (3, 0));
    f.rest(1).await;
    f.work(2).await.unwrap();
    assert_eq!((f.at_work(1).await, f.at_work(2).await), (0, 3));
    refused(f.work(1).await);
    // There is nothing to bring to work.
    f.rest(2).await;
    refused(f.work(3).await);
    refused(f.work(4).await);
    f.clean(&[1, 2, 3]).await;
}
