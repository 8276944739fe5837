//! Looking for late clients, see [`crate::core::late`].

use std::time::Duration;

use super::Performer;
use super::bounded::no_answer;
use super::fault::Fault;
use crate::core::event::{Event, Failure};
use crate::core::late::Clients;
use crate::core::names::{Millis, Release, ServiceName};
use crate::core::progress::{Progress, Sink};
use crate::core::state::{LOST_LIMIT, State};
use crate::core::words::{list, release_name};
use crate::core::world::{Environment, World};
use crate::engine::{Engine, EngineError};

/// How long an environment is watched before nobody is said to come to it, in milliseconds.
const WATCH_MS: Millis = 10_000;

/// How long that may take, with all that is needed to watch.
const LIMIT: Duration = Duration::from_mins(2);

/// What was seen of an environment, or why nothing could be.
type Seen = (Release, Result<u64, EngineError>);

/// Looks which of `releases` clients still come to, as far as these stand in `world`.
async fn see(
    engine: &dyn Engine,
    service: &ServiceName,
    world: &World,
    releases: &[Release],
    sink: &dyn Sink,
) -> Vec<Seen> {
    let environments = world.environments.iter();
    let watched = environments.filter(|environment| releases.contains(&environment.release));
    let watched: Vec<Environment> = watched.cloned().collect();
    let releases: Vec<_> = watched.iter().map(|it| it.release).collect();
    if releases.is_empty() {
        return Vec::new();
    }
    let names = releases
        .iter()
        .map(|it| release_name(service.as_str(), *it));
    sink.progress(Progress::Wait {
        what: format!("late clients of {}", list(&names.collect::<Vec<_>>())),
    });
    let unseen = |error: EngineError| vec![Err(error); releases.len()];
    let seen = tokio::time::timeout(LIMIT, engine.clients(service, &watched, WATCH_MS)).await;
    let seen = match seen {
        Ok(seen) => seen.unwrap_or_else(unseen),
        Err(_) => unseen(EngineError::Failed(Failure {
            what: no_answer(LIMIT),
            ..Failure::default()
        })),
    };
    releases.into_iter().zip(seen).collect()
}

fn told((release, seen): Seen) -> Clients {
    let (connections, why) = match seen {
        Ok(connections) => (Some(connections), None),
        Err(EngineError::Failed(Failure {
            what,
            hint: Some(hint),
            ..
        })) => (None, Some(format!("{what} ({hint})"))),
        Err(error) => (None, Some(error.to_string())),
    };
    Clients {
        release,
        connections,
        why,
    }
}

/// Which of `releases` clients still come to, as far as these stand in `world`, seen once.
pub async fn see_clients(
    engine: &dyn Engine,
    service: &ServiceName,
    world: &World,
    releases: &[Release],
    sink: &dyn Sink,
) -> Vec<Clients> {
    let seen = see(engine, service, world, releases, sink).await;
    seen.into_iter().map(told).collect()
}

impl Performer {
    /// See [`see_clients`]. What may pass is no reason to let go of anything: it is looked again, as
    /// long as the run may lose its outcomes. What does not pass is no reason to stop.
    pub(super) async fn see_clients(
        &self,
        state: &State,
        releases: &[Release],
    ) -> Result<Event, Fault> {
        let none = World::default();
        let world = state.world.as_deref().unwrap_or(&none);
        let (engine, sink) = (self.with.engine.as_ref(), self.with.sink.as_ref());
        let seen = see(engine, &self.with.service, world, releases, sink).await;
        let mut errors = seen.iter().filter_map(|(_, seen)| seen.as_ref().err());
        let passing = errors.find(|error| !matches!(error, EngineError::Failed(_)));
        match passing.filter(|_| state.lost + 1 < LOST_LIMIT) {
            Some(error) => Err(error.clone().into()),
            None => Ok(Event::ClientsSeen {
                clients: seen.into_iter().map(told).collect(),
            }),
        }
    }
}
