//! Putting environments to sleep and waking them: pausing and going on, stopping and starting again.
//!
//! An act on a container that has happened already is no error, so that each can be done again over
//! what a killed call has left.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use futures_util::{StreamExt, stream};

use super::stand_up::{about, acted};
use super::{Docker, LAG, inspect, names, tear_down};
use crate::core::names::{Release, RoleName, ServiceName};
use crate::core::plan::{Condition, StandbyMode};
use crate::core::progress::{Progress, Sink};
use crate::core::world::{ContainerState, Health};
use crate::docker::{refused, refused_hint, status};
use crate::engine::EngineError;

/// How many containers are paused, stopped or started at a time.
const AT_A_TIME: usize = 16;

/// One that runs whenever its environment is awake.
struct Sleeper {
    id: String,
    name: String,
    role: RoleName,
    state: Option<ContainerSummaryStateEnum>,
    after: Vec<(RoleName, Condition)>,
}

impl Sleeper {
    fn of(container: ContainerSummary) -> Option<Self> {
        let name = inspect::container_name(&container);
        let labels: HashMap<_, _> = container.labels.unwrap_or_default();
        if !names::run(&labels).is_always() || !names::Kind::Environment.is(&labels) {
            return None;
        }
        Some(Self {
            id: container.id?,
            name,
            role: names::role(&labels).0,
            state: container.state,
            after: names::after(&labels),
        })
    }

    fn waits_for(&self, role: &RoleName) -> bool {
        self.after.iter().any(|(other, _)| other == role)
    }
}

async fn sleepers(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
) -> Result<Vec<Sleeper>, EngineError> {
    let filters = names::filter(service, Some(release));
    let listed = inspect::containers(engine, filters).await?;
    Ok(listed.into_iter().filter_map(Sleeper::of).collect())
}

/// See [`crate::engine::Engine::freeze`].
pub(super) async fn freeze(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
    mode: StandbyMode,
) -> Result<(), EngineError> {
    use ContainerSummaryStateEnum as S;
    let all = sleepers(engine, service, release).await?;
    let docker = &engine.client.docker;
    match mode {
        StandbyMode::Running => Ok(()),
        StandbyMode::Frozen => {
            let awake = all
                .iter()
                .filter(|it| matches!(it.state, Some(S::RUNNING | S::RESTARTING | S::STOPPING)));
            each(awake, |it| async {
                let paused = docker.pause_container(&it.id).await;
                done(
                    engine,
                    it,
                    "was not paused",
                    paused,
                    &["is already paused", "is not running"],
                )
            })
            .await
        }
        StandbyMode::Stopped => {
            let awake = all.iter().filter(|it| {
                !matches!(
                    it.state,
                    Some(S::EXITED | S::CREATED | S::DEAD | S::REMOVING)
                )
            });
            each(awake, |it| async {
                let stopped = docker.stop_container(&it.id, None).await;
                tear_down::gone(&engine.client, stopped)
                    .map_err(|error| about(&it.name, "was not stopped", error))
            })
            .await
        }
    }
    .map_err(acted)
}

/// See [`crate::engine::Engine::wake`].
pub(super) async fn wake(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
    sink: &dyn Sink,
) -> Result<(), EngineError> {
    use ContainerSummaryStateEnum as S;
    let all = sleepers(engine, service, release).await?;
    let paused = all.iter().filter(|it| it.state == Some(S::PAUSED));
    each(paused, |it| async {
        let going = engine.client.docker.unpause_container(&it.id).await;
        done(engine, it, "was not unpaused", going, &["is not paused"])
    })
    .await
    .map_err(acted)?;
    start(engine, &all, sink).await.map_err(acted)
}

/// Starts what has ended, in waves: first what waits for nothing that is not started yet.
async fn start(engine: &Docker, all: &[Sleeper], sink: &dyn Sink) -> Result<(), EngineError> {
    let is_ended = |it: &&Sleeper| it.state == Some(ContainerSummaryStateEnum::EXITED);
    let mut left: Vec<&Sleeper> = all.iter().filter(is_ended).collect();
    let total = u32::try_from(left.len()).unwrap_or(u32::MAX);
    let mut begun = 0;
    while !left.is_empty() {
        let waits = |it: &&Sleeper| left.iter().any(|other| it.waits_for(&other.role));
        let (later, mut now): (Vec<_>, Vec<_>) = left.iter().copied().partition(waits);
        if now.is_empty() {
            // A circle in labels that somebody else has written.
            now = std::mem::take(&mut left);
        }
        let needs = |other: &&Sleeper| {
            let healthy =
                |it: &&Sleeper| it.after.contains(&(other.role.clone(), Condition::Healthy));
            now.iter().any(healthy)
        };
        each(all.iter().filter(needs), |it| healthy(engine, it)).await?;
        each(now.iter().copied(), |it| async {
            let started = engine.client.docker.start_container(&it.id, None).await;
            done(engine, it, "did not start", started, &[])
        })
        .await?;
        begun += u32::try_from(now.len()).unwrap_or(u32::MAX);
        sink.progress(Progress::Start { done: begun, total });
        if left.is_empty() {
            break;
        }
        left = later;
    }
    Ok(())
}

/// Waits until one that others wait for is healthy; its end is a failure at once.
async fn healthy(engine: &Docker, it: &Sleeper) -> Result<(), EngineError> {
    loop {
        let container = inspect::container(engine, &it.id).await?;
        match container.map(|container| (container.state, container.health)) {
            Some((ContainerState::Running, Health::Healthy | Health::None)) => return Ok(()),
            Some((ContainerState::Running, Health::Starting)) => tokio::time::sleep(LAG).await,
            Some((ContainerState::Running, Health::Unhealthy)) => {
                let why = refused("its health check failed as often as it may");
                return Err(about(&it.name, "did not become healthy", why));
            }
            _ => {
                let why = refused("it does not run any more");
                return Err(about(&it.name, "did not become healthy", why));
            }
        }
    }
}

/// Does something to all of some containers, so many at a time; the first failure counts, once all
/// have been tried.
async fn each<'a, F: Future<Output = Result<(), EngineError>>>(
    containers: impl Iterator<Item = &'a Sleeper>,
    act: impl Fn(&'a Sleeper) -> F,
) -> Result<(), EngineError> {
    let acts: Vec<_> = containers.map(act).collect();
    let answers: Vec<_> = stream::iter(acts)
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    answers.into_iter().collect()
}

/// Takes an act for done that has happened already, which the engine says in `words`.
fn done(
    engine: &Docker,
    it: &Sleeper,
    did: &str,
    answer: Result<(), Error>,
    words: &[&str],
) -> Result<(), EngineError> {
    let Err(error) = answer else { return Ok(()) };
    let said = error.to_string();
    if status(&error) == Some(304) || words.iter().any(|word| said.contains(word)) {
        return Ok(());
    }
    let error = match said.contains("is restarting") {
        true => refused_hint(
            "it has exited, and the engine is starting it again",
            format!("docker logs {}", it.name),
        ),
        false => engine.client.fault(error),
    };
    Err(about(&it.name, did, error))
}
