//! Late clients: those that come to what the pointer has left long ago, because they remember longer
//! than they may where it had sent them.

use std::time::Duration;

use futures_util::future::join_all;

use super::Performer;
use super::bounded::no_answer;
use crate::core::event::{Failure, Kept, Verb};
use crate::core::names::{Millis, Release, ServiceName};
use crate::core::plan::Policy;
use crate::core::progress::{Progress, Sink};
use crate::core::state::State;
use crate::core::survey;
use crate::core::words::{list, release_name};
use crate::core::world::{Environment, World};
use crate::engine::{Engine, EngineError};
use crate::pointer::Pointer;

/// How long an environment is watched before nobody is said to come to it, in milliseconds.
const WATCH_MS: Millis = 10_000;

/// How long that may take, with all that is needed to watch.
const LIMIT: Duration = Duration::from_mins(2);

/// Who looks for late clients, and where.
pub struct Lookout<'a> {
    /// Whose.
    pub service: &'a ServiceName,
    /// Where the environments stand.
    pub engine: &'a dyn Engine,
    /// What has sent the clients there.
    pub pointer: &'a dyn Pointer,
    /// Where progress goes.
    pub sink: &'a dyn Sink,
}

impl Lookout<'_> {
    /// Those of `releases` to which clients still come, and the newest of those where that cannot be
    /// seen; none where the pointer's clients remember nothing.
    pub async fn late(&self, world: &World, policy: &Policy, releases: &[Release]) -> Vec<Kept> {
        let remembered = survey::remembered(world, policy, releases);
        if !self.pointer.capabilities().cached || remembered.is_empty() {
            return Vec::new();
        }
        let names = remembered
            .iter()
            .map(|it| release_name(self.service.as_str(), *it));
        self.sink.progress(Progress::Wait {
            what: format!("late clients of {}", list(&names.collect::<Vec<_>>())),
        });
        let environments = world.environments.iter();
        let watched = environments.filter(|environment| remembered.contains(&environment.release));
        let kept = join_all(watched.map(|environment| self.watch(environment))).await;
        let kept: Vec<Kept> = kept.into_iter().flatten().collect();
        // Where it can never be seen, each deploy would keep one more.
        let unseen = kept.iter().filter(|one| one.clients.is_none());
        let newest = unseen.map(|one| one.release).max();
        let stays = |one: &Kept| one.clients.is_some() || Some(one.release) == newest;
        kept.into_iter().filter(stays).collect()
    }

    /// What there is to say of an environment that may not be left yet.
    async fn watch(&self, environment: &Environment) -> Option<Kept> {
        let watched = self.engine.clients(self.service, environment, WATCH_MS);
        let (clients, why) = match tokio::time::timeout(LIMIT, watched).await {
            Ok(Ok(0)) => return None,
            Ok(Ok(clients)) => (Some(clients), None),
            Ok(Err(EngineError::Failed(Failure {
                what,
                hint: Some(hint),
                ..
            }))) => (None, Some(format!("{what} ({hint})"))),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some(no_answer(LIMIT))),
        };
        Some(Kept {
            release: environment.release,
            clients,
            why,
        })
    }
}

impl Performer {
    /// Takes out of `releases` those that are kept for the clients that still come to them.
    pub(super) async fn without_late(
        &self,
        state: &State,
        releases: &[Release],
    ) -> (Vec<Release>, Vec<Kept>) {
        let waits = match state.opened.verb {
            Verb::Prune { force, .. } => !force,
            Verb::Deploy { .. } => true,
            Verb::Rollback { .. }
            | Verb::HandOver { .. }
            | Verb::Down { .. }
            | Verb::Apply { .. } => false,
        };
        let kept = match state.world.as_deref().filter(|_| waits) {
            None => Vec::new(),
            Some(world) => {
                let lookout = Lookout {
                    service: &self.with.service,
                    engine: self.with.engine.as_ref(),
                    pointer: self.with.pointer.as_ref(),
                    sink: self.with.sink.as_ref(),
                };
                lookout.late(world, &state.opened.policy, releases).await
            }
        };
        let stays = |release: &Release| kept.iter().any(|one| one.release == *release);
        let releases = releases.iter().copied();
        (releases.filter(|release| !stays(release)).collect(), kept)
    }
}
