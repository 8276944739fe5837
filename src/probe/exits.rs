//! Containers that end while they are being checked.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep};

use super::ask::Missed;
use super::tell::{self, Case};
use super::{Proving, Unfit};
use crate::core::names::Millis;
use crate::core::plan::Run;
use crate::core::world::{Container, ContainerState};
use crate::engine::{End, EngineError};

/// The first wait before an engine that could not be asked is asked again, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the engine may take to tell how a container ended, in milliseconds.
const LOOK: Millis = 3_000;
/// How long containers that no probe asks may go on being asked about where nothing else says so.
const STANDING: Duration = Duration::from_secs(10);

/// The end of one container.
pub(super) struct Exit {
    index: usize,
    end: Result<End, EngineError>,
}

impl Proving<'_> {
    /// Waits, from `after` on, until containers end. Never returns while all run.
    pub(super) async fn exits(&self, after: Duration) -> Vec<Exit> {
        if !after.is_zero() {
            sleep(after).await;
        }
        let containers = self.environment.containers.iter().enumerate();
        // A job that ends has done what it should.
        let containers = containers.filter(|(_, container)| container.run != Run::Once);
        let mut all: FuturesUnordered<_> = containers
            .map(|(index, container)| async move {
                let end = self.ended(container).await;
                Exit { index, end }
            })
            .collect();
        let Some(first) = all.next().await else {
            return std::future::pending().await;
        };
        let mut exits = vec![first];
        // What has ended by the same moment is told with it.
        while let Some(Some(exit)) = all.next().now_or_never() {
            exits.push(exit);
        }
        exits.sort_unstable_by_key(|exit| exit.index);
        exits
    }

    /// Waits for the end of one container, over outages of the engine.
    async fn ended(&self, container: &Container) -> Result<End, EngineError> {
        let (mut wait, longest) = AGAIN;
        loop {
            match self.engine.ended(&container.id).await {
                Err(EngineError::OutOfReach { .. } | EngineError::Lost { .. }) => {
                    sleep(wait).await;
                    wait = longest.min(wait * 2);
                }
                told => return told,
            }
        }
    }

    /// What ended containers mean: that the environment is unfit. `when` says when, separator included.
    pub(super) async fn fell(&self, exits: Vec<Exit>, when: &str) -> Unfit {
        let mut cases = Vec::new();
        for exit in exits {
            let container = &self.environment.containers[exit.index];
            let found = self
                .within(LOOK, self.engine.container(&container.id))
                .await;
            let state = match (found, exit.end) {
                (Ok(None), _) => ContainerState::Gone,
                (Ok(Some(now)), Err(error)) => {
                    if tell::stopped(&now.state).is_none() {
                        return Unfit::Engine(error);
                    }
                    now.state
                }
                // Its state may be that of another life by now.
                (Ok(Some(now)), Ok(End { code, oom })) => ContainerState::Exited {
                    code,
                    oom: oom || now.state == (ContainerState::Exited { code, oom: true }),
                },
                (Err(_), Err(error)) => return Unfit::Engine(error),
                (Err(_), Ok(End { code, oom })) => ContainerState::Exited { code, oom },
            };
            let ended = tell::ended(&state);
            let who = tell::replica(self.environment, container);
            cases.push(Case {
                what: format!("{who} {ended}{when}"),
                hint: tell::exit_hint(&state, &container.role),
                container,
                reasons: vec![ended],
            });
        }
        Unfit::Failed(self.failure(cases).await)
    }

    /// Holds that containers which no probe asks run.
    ///
    /// # Errors
    /// Where one does not; where the engine cannot be asked until `deadline`.
    pub(super) async fn unasked(&self, deadline: Instant) -> Result<(), Unfit> {
        let asked =
            |container: &Container| self.probes.iter().any(|probe| probe.role == container.role);
        let containers = self.environment.containers.iter();
        let looks: FuturesUnordered<_> = containers
            .filter(|container| !asked(container) && container.run != Run::Once)
            .map(|container| async move { (container, self.stands(container, deadline).await) })
            .collect();
        let looks: Vec<_> = looks.collect().await;
        let mut cases = Vec::new();
        for (container, missed) in looks {
            let Err(missed) = missed else { continue };
            if let Some(unfit) = missed.away() {
                return Err(unfit);
            }
            let reason = missed.reason();
            cases.push(Case {
                what: tell::sentence(&tell::replica(self.environment, container), &reason),
                hint: None,
                container,
                reasons: vec![reason],
            });
        }
        match cases.is_empty() {
            true => Ok(()),
            false => Err(Unfit::Failed(self.failure(cases).await)),
        }
    }

    async fn stands(&self, container: &Container, deadline: Instant) -> Result<(), Missed> {
        let (mut wait, longest) = AGAIN;
        loop {
            match self.look(container, LOOK).await {
                Ok(_) => return Ok(()),
                Err(missed) if missed.away().is_none() || Instant::now() >= deadline => {
                    return Err(missed);
                }
                Err(_) => sleep(wait).await,
            }
            wait = longest.min(wait * 2);
        }
    }

    /// When all must be told: the latest deadline of all probes after `start`.
    pub(super) fn deadline(&self, start: Instant) -> Instant {
        let latest = self.probes.iter().map(|probe| probe.deadline_ms).max();
        start + latest.map_or(STANDING, Duration::from_millis)
    }
}
