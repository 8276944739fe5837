//! Removing an environment. Touches nothing that does not carry our labels for that release.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bollard::errors::Error;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{RemoveContainerOptions, RemoveVolumeOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::try_join;

use super::stand_up::acted;
use super::{Docker, LAG, inspect, names};
use crate::core::names::{Release, ServiceName};
use crate::docker::{Client, found, refused, status};
use crate::engine::EngineError;

/// How many containers are stopped at a time.
const AT_A_TIME: usize = 16;

/// The longest pause before the engine is asked again what it still has.
const LONGEST: Duration = Duration::from_secs(1);

/// See [`crate::engine::Engine::tear_down`].
pub(super) async fn tear_down(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
) -> Result<(), EngineError> {
    let filters = || names::filter(service, Some(release));
    let containers = inspect::containers(engine, filters()).await?;
    remove_all(engine, containers).await.map_err(acted)?;
    // A container that the engine is still making for a killed call is listed before it can be
    // removed.
    let mut pauses = pauses();
    loop {
        let left = inspect::containers(engine, filters())
            .await
            .map_err(acted)?;
        if left.is_empty() {
            break;
        }
        pause(&mut pauses).await;
        remove_all(engine, left).await.map_err(acted)?;
    }
    // Only now: meanwhile the engine may have made one for a killed call, or makes it still for one
    // of ours that was called off.
    let _nothing_is_made = engine.making.write().await;
    let (networks, volumes) = try_join!(
        inspect::networks(engine, filters()),
        inspect::volumes(engine, filters()),
    )
    .map_err(acted)?;
    for id in networks.into_iter().filter_map(|network| network.id) {
        network(engine, &id).await.map_err(acted)?;
    }
    for volume in volumes {
        let kind = names::Kind::Token;
        if !kind.is(&volume.labels) {
            self::volume(engine, &volume.name).await.map_err(acted)?;
        }
    }
    Ok(())
}

/// What an engine needs to catch up with what it has said: a moment, or as long as a sick disk keeps
/// it, which is no reason to ask it 40 times a second.
fn pauses() -> impl Iterator<Item = Duration> {
    let pauses = ExponentialBuilder::default().with_min_delay(LAG);
    pauses.with_max_delay(LONGEST).without_max_times().build()
}

async fn pause(pauses: &mut impl Iterator<Item = Duration>) {
    tokio::time::sleep(pauses.next().unwrap_or(LONGEST)).await;
}

async fn remove_all(engine: &Docker, containers: Vec<ContainerSummary>) -> Result<(), EngineError> {
    let ids: Vec<_> = containers.into_iter().filter_map(|c| c.id).collect();
    let removals: Vec<_> = ids.iter().map(|id| container(engine, id)).collect();
    stream::iter(removals)
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Stops a container by its own signal and grace, then removes it with its anonymous volumes.
async fn container(engine: &Docker, id: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    gone(client, client.docker.stop_container(id, None).await)?;
    at_once(client, id).await
}

/// Removes a container with its anonymous volumes, whether or not it runs.
pub(super) async fn at_once(client: &Client, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions {
        v: true,
        force: true,
        ..RemoveContainerOptions::default()
    };
    gone(
        client,
        client.docker.remove_container(id, Some(options)).await,
    )
}

/// Removes a container that may be about to go by itself, and waits until it is gone.
pub(super) async fn to_the_end(client: &Client, id: &str) -> Result<(), EngineError> {
    let mut pauses = pauses();
    loop {
        at_once(client, id).await?;
        let left = found(client.docker.inspect_container(id, None).await);
        if left.map_err(|error| client.fault(error))?.is_none() {
            return Ok(());
        }
        pause(&mut pauses).await;
    }
}

/// Takes it for done where what was to be stopped or removed is not there, does not run, or is
/// already being removed.
pub(super) fn gone(client: &Client, answer: Result<(), Error>) -> Result<(), EngineError> {
    match answer {
        Ok(()) => Ok(()),
        Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
        Err(error) if status(&error) == Some(409) && says(&error, "already in progress") => Ok(()),
        Err(error) => Err(client.fault(error)),
    }
}

fn says(error: &Error, words: &str) -> bool {
    error.to_string().contains(words)
}

pub(super) async fn network(engine: &Docker, id: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    let mut pauses = pauses();
    loop {
        match client.docker.remove_network(id).await {
            Ok(()) => return Ok(()),
            Err(error) if status(&error) == Some(404) => return Ok(()),
            Err(error) if says(&error, "has active endpoints") => {
                strangers(engine, id).await?;
                pause(&mut pauses).await;
            }
            Err(error) => return Err(client.fault(error)),
        }
    }
}

/// Endpoints of containers that are still there are no lag of the engine's.
async fn strangers(engine: &Docker, id: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    let answer = client.docker.inspect_network(id, None).await;
    let answer = found(answer).map_err(|error| client.fault(error))?;
    let endpoints = answer
        .and_then(|network| network.containers)
        .unwrap_or_default();
    for (container, endpoint) in endpoints {
        let there = found(client.docker.inspect_container(&container, None).await);
        if there.map_err(|error| client.fault(error))?.is_some() {
            let name = endpoint.name.unwrap_or(container);
            return Err(crate::docker::refused_hint(
                format!(
                    "the environment's network is used by `{name}`, which is not of this release"
                ),
                format!("`docker network disconnect -f {id} {name}`, then again"),
            ));
        }
    }
    Ok(())
}

/// Removes a volume; none of that name is no error.
pub(super) async fn volume(engine: &Docker, name: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    let removed = client
        .docker
        .remove_volume(name, None::<RemoveVolumeOptions>)
        .await;
    match removed {
        Ok(()) => Ok(()),
        Err(error) if status(&error) == Some(404) => Ok(()),
        Err(error) => match client.fault(error) {
            EngineError::Failed(failure) => {
                Err(refused(format!("volume `{name}`: {}", failure.what)))
            }
            other => Err(other),
        },
    }
}
