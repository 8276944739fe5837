//! Live-only containers: brought to rest, and to work. Their restart policy says which of the two was
//! meant last, also where the one who meant it was killed: `no` is written before a stop, and
//! `unless-stopped` before a start.
//!
//! Each is looked at alone, and not in a list: that waits for a start which the engine has begun for
//! a killed call, where a list would not show it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum,
};
use futures_util::future::try_join_all;

use super::stand_up::{about, acted};
use super::tear_down::gone;
use super::{Docker, LAG, health, inspect, names};
use crate::core::names::{Release, RoleName, ServiceName};
use crate::core::plan::{Condition, Run};
use crate::docker::{found, refused, refused_hint};
use crate::engine::EngineError;

/// How often a container that shall become healthy is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// One live-only container, as it is now.
struct Worker {
    id: String,
    name: String,
    release: Option<Release>,
    role: RoleName,
    /// What it is started after, and what of that is waited for.
    after: Vec<(RoleName, Condition)>,
    runs: bool,
    policy: Option<RestartPolicyNameEnum>,
}

impl Worker {
    fn read(answer: ContainerInspectResponse) -> Self {
        let config = answer.config.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let policy = answer.host_config.and_then(|host| host.restart_policy);
        let name = answer.name.unwrap_or_default();
        Self {
            id: answer.id.unwrap_or_default(),
            name: name.trim_start_matches('/').to_owned(),
            release: names::release(&labels),
            role: names::role(&labels).0,
            after: names::after(&labels),
            // The engine says so of paused containers, and of those between two lives, as well.
            runs: answer.state.and_then(|state| state.running) == Some(true),
            policy: policy.and_then(|policy| policy.name),
        }
    }

    fn rests(&self) -> bool {
        !self.runs && is_no(self.policy)
    }
}

fn is_no(policy: Option<RestartPolicyNameEnum>) -> bool {
    use RestartPolicyNameEnum as P;
    matches!(policy, None | Some(P::NO | P::EMPTY))
}

/// See [`crate::engine::Engine::rest`].
pub(super) async fn rest(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
) -> Result<Vec<String>, EngineError> {
    let workers = workers(engine, service, Some(release)).await?;
    let rested = try_join_all(workers.iter().map(|worker| bring_to_rest(engine, worker)));
    rested.await.map_err(acted)?;
    let ran = workers.into_iter().filter(|worker| worker.runs);
    Ok(ran.map(|worker| worker.name).collect())
}

/// See [`crate::engine::Engine::work`].
pub(super) async fn work(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
) -> Result<Vec<String>, EngineError> {
    let all = workers(engine, service, None).await?;
    let (own, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|worker| worker.release == Some(release));
    if let Some(other) = others.iter().find(|worker| worker.runs) {
        let of = other.release.unwrap_or_default();
        let name = &other.name;
        return Err(refused_hint(
            format!(
                "the live-only container `{name}` of {service}@{of} runs, so those of \
                 {service}@{release} were not started: they must never run in two releases at once"
            ),
            format!("stop it: docker stop {name}"),
        ));
    }
    if own.is_empty() {
        return Err(refused_hint(
            format!("no live-only container of {service}@{release} is there any more"),
            "deploy again: `flipside deploy`",
        ));
    }
    start_all(engine, &own).await.map_err(acted)?;
    Ok(own.into_iter().map(|worker| worker.name).collect())
}

/// How the engine refuses to change a container that has ended and of which it still says that it runs.
const JUST_ENDED: &str = "cannot update a stopped container";

async fn start_all(engine: &Docker, own: &[Worker]) -> Result<(), EngineError> {
    // One that runs and shall not be started again is being stopped for a killed call.
    let halfway = own
        .iter()
        .filter(|worker| worker.runs && is_no(worker.policy));
    try_join_all(halfway.map(|worker| bring_to_rest(engine, worker))).await?;
    let roles: BTreeSet<&RoleName> = own.iter().map(|worker| &worker.role).collect();
    let mut done: BTreeSet<&RoleName> = BTreeSet::new();
    while done.len() < roles.len() {
        let waits = |worker: &&Worker| {
            let mut after = worker.after.iter().map(|(role, _)| role);
            after.any(|role| roles.contains(role) && !done.contains(role))
        };
        let turn = own.iter().filter(|worker| !done.contains(&worker.role));
        let turn: Vec<_> = turn.filter(|worker| !waits(worker)).collect();
        if turn.is_empty() {
            return Err(refused("the live-only roles wait for each other"));
        }
        try_join_all(turn.iter().map(|worker| start(engine, worker))).await?;
        let awaited = |worker: &&&Worker| {
            let healthy = (worker.role.clone(), Condition::Healthy);
            own.iter().any(|other| other.after.contains(&healthy))
        };
        for worker in turn.iter().filter(awaited) {
            while !health::is_healthy(engine, &worker.name).await? {
                tokio::time::sleep(LOOK).await;
            }
        }
        done.extend(turn.iter().map(|worker| &worker.role));
    }
    Ok(())
}

async fn start(engine: &Docker, worker: &Worker) -> Result<(), EngineError> {
    restart(engine, &worker.id, RestartPolicyNameEnum::UNLESS_STOPPED).await?;
    let client = &engine.client;
    let started = client.docker.start_container(&worker.id, None).await;
    started.map_err(|error| about(&worker.name, "did not start", client.fault(error)))
}

/// Returns when the engine says of the container itself that it does not run.
async fn bring_to_rest(engine: &Docker, worker: &Worker) -> Result<(), EngineError> {
    if worker.rests() {
        return Ok(());
    }
    let client = &engine.client;
    restart(engine, &worker.id, RestartPolicyNameEnum::NO).await?;
    loop {
        gone(client, client.docker.stop_container(&worker.id, None).await)?;
        match look(engine, &worker.id).await? {
            Some(now) if now.runs => tokio::time::sleep(LAG).await,
            Some(_) | None => return Ok(()),
        }
    }
}

/// Sets the restart policy; of a container that is gone none is needed.
async fn restart(
    engine: &Docker,
    id: &str,
    name: RestartPolicyNameEnum,
) -> Result<(), EngineError> {
    let body = ContainerUpdateBody {
        restart_policy: Some(RestartPolicy {
            name: Some(name),
            maximum_retry_count: None,
        }),
        ..ContainerUpdateBody::default()
    };
    let client = &engine.client;
    loop {
        match client.docker.update_container(id, body.clone()).await {
            // It has just ended, and the engine has yet to notice.
            Err(error) if error.to_string().contains(JUST_ENDED) => {
                tokio::time::sleep(LAG).await;
            }
            answer => return gone(client, answer),
        }
    }
}

/// The live-only containers of a service, or of one release of it, by name.
async fn workers(
    engine: &Docker,
    service: &ServiceName,
    release: Option<Release>,
) -> Result<Vec<Worker>, EngineError> {
    let listed = inspect::containers(engine, names::filter(service, release)).await?;
    let none = HashMap::new();
    let ids = listed.iter().filter(|container| {
        let labels = container.labels.as_ref().unwrap_or(&none);
        names::run(labels) == Run::LiveOnly
    });
    let ids = ids.filter_map(|container| container.id.as_deref());
    let looks = try_join_all(ids.map(|id| look(engine, id))).await?;
    let mut found: Vec<_> = looks.into_iter().flatten().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

async fn look(engine: &Docker, id: &str) -> Result<Option<Worker>, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(id, None).await);
    let answer = answer.map_err(|error| client.fault(error))?;
    Ok(answer.map(Worker::read))
}
