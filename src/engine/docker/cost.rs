//! What containers hold while they stand, from one look at each.

use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStatsResponse};
use bollard::query_parameters::{InspectContainerOptions, StatsOptions};
use futures_util::StreamExt;
use futures_util::future::try_join_all;

use super::cgroup::{self, Used};
use super::{Docker, inspect};
use crate::core::names::Millis;
use crate::core::world::{Container, ContainerState, Cost};
use crate::docker::found;
use crate::engine::EngineError;

/// The first API whose figures come at once; older ones take a second over them.
const AT_ONCE: (usize, usize) = (1, 41);

const NOTHING: Cost = Cost {
    memory: Some(0),
    cpu: Some(0.0),
    disk: Some(0),
};

/// See [`crate::engine::Engine::cost`].
pub(super) async fn cost(
    engine: &Docker,
    containers: &[Container],
    now: Millis,
) -> Result<Cost, EngineError> {
    let all = containers
        .iter()
        .map(|container| one(engine, container, now));
    let all = try_join_all(all).await?;
    Ok(all.into_iter().fold(NOTHING, Cost::and))
}

async fn one(engine: &Docker, container: &Container, now: Millis) -> Result<Cost, EngineError> {
    let holds = matches!(
        container.state,
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
    );
    let options = InspectContainerOptions { size: true };
    let docker = &engine.client.docker;
    let look = async {
        let looked = docker.inspect_container(&container.id, Some(options)).await;
        found(looked).map_err(|error| engine.client.fault(error))
    };
    let used = async {
        match holds {
            true => used(engine, &container.id).await,
            false => Ok(None),
        }
    };
    let (looked, used) = tokio::try_join!(look, used)?;
    let Some(looked) = looked else {
        // What has gone meanwhile holds nothing.
        return Ok(NOTHING);
    };
    let cpu = match container.state {
        ContainerState::Running => used.as_ref().and_then(|used| share(used.cpu, &looked, now)),
        // One that is paused gets none, whatever it has had before.
        _ => Some(0.0),
    };
    Ok(Cost {
        memory: match holds {
            true => used.map(|used| used.memory),
            false => Some(0),
        },
        cpu,
        disk: looked.size_rw.and_then(|size| u64::try_from(size).ok()),
    })
}

/// What a container uses: the kernel's word where it is this machine's, else the engine's.
async fn used(engine: &Docker, id: &str) -> Result<Option<Used>, EngineError> {
    let here = match engine.client.is_local() {
        true => cgroup::used(Path::new("/sys/fs/cgroup"), id),
        false => None,
    };
    if here.is_some() || engine.client.api() < AT_ONCE {
        return Ok(here);
    }
    let options = StatsOptions {
        stream: false,
        one_shot: true,
    };
    let mut answers = Box::pin(engine.client.docker.stats(id, Some(options)));
    let Some(answer) = answers.next().await else {
        return Ok(None);
    };
    let answer = found(answer).map_err(|error| engine.client.fault(error))?;
    Ok(answer.and_then(|answer| told(&answer)))
}

/// What the engine says, memory as `docker stats` counts it.
fn told(answer: &ContainerStatsResponse) -> Option<Used> {
    let memory = answer.memory_stats.as_ref()?;
    let more = memory.stats.as_ref();
    let cache = ["total_inactive_file", "inactive_file"];
    let cache = cache.iter().find_map(|name| more?.get(*name));
    let cpu = answer.cpu_stats.as_ref()?.cpu_usage.as_ref()?;
    Some(Used {
        memory: memory.usage?.saturating_sub(cache.copied().unwrap_or(0)),
        cpu: Duration::from_nanos(cpu.total_usage?),
    })
}

/// The share of one core since the container was started.
fn share(ran: Duration, looked: &ContainerInspectResponse, now: Millis) -> Option<f64> {
    let started = looked.state.as_ref()?.started_at.as_deref();
    let lived = Duration::from_millis(now.checked_sub(inspect::instant(started?)?)?);
    (!lived.is_zero()).then(|| ran.as_secs_f64() / lived.as_secs_f64())
}
