//! Putting standbys to sleep, and waking what is gone back to.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::fault::{Fault, insist};
use super::moving::Switch;
use super::{LOOK, Performer, REMOVE, micros, own};
use crate::core::action::Proof;
use crate::core::event::{Event, Failure, ReplicaReport};
use crate::core::names::{Fence, Millis, Release};
use crate::core::plan::StandbyMode;
use crate::core::sleep::{self, word};
use crate::core::state::State;
use crate::core::world::{ContainerState, Environment};

/// How long what has been moved to may be silent before it is looked at whether it sleeps.
const SILENT: Duration = Duration::from_secs(1);

/// What has been woken.
pub(super) struct Woken {
    /// It, as it is now.
    pub(super) environment: Environment,
    /// How it had slept.
    mode: StandbyMode,
    /// Whether anything of it had to be started.
    started: bool,
    since: Instant,
}

impl Woken {
    /// Since it began to wake, in microseconds.
    pub(super) fn took_us(&self) -> u64 {
        micros(self.since.elapsed())
    }
}

impl Performer {
    /// Puts standbys to sleep. A container that has been told to stop cannot be told to go on, so
    /// the pointer is asked first, as before a removal.
    pub(super) async fn put_to_sleep(
        &self,
        releases: &[Release],
        mode: StandbyMode,
        fence: Fence,
    ) -> Result<Event, Fault> {
        for &release in releases {
            self.spare_the_live(release, fence, "put to sleep").await?;
            // What was known of it is not so any more, also where the call is cut short.
            own(&self.seen).remove(&release);
            let (engine, service) = (&self.with.engine, &self.with.service);
            tokio::time::timeout(REMOVE, engine.freeze(service, release, mode))
                .await
                .map_err(|_| Fault::Lost(format!("release {release} is still falling asleep")))??;
        }
        Ok(Event::Slept {
            releases: releases.to_vec(),
            mode,
        })
    }

    /// Wakes what gets the traffic and was found asleep.
    pub(super) async fn wake_live(&self, release: Release) -> Result<Event, Fault> {
        own(&self.seen).remove(&release);
        let environment = self.environment(release).await?;
        let since = Instant::now();
        if let Some(woken) = self.rouse(&environment, None).await? {
            self.prove_woken(&woken, Proof::Trusted, 0).await?;
        }
        Ok(Event::Woken {
            release,
            took_us: micros(since.elapsed()),
        })
    }

    /// Has the target of a way back show that it is fit: woken first where it sleeps. `None` where it
    /// did not.
    ///
    /// # Errors
    /// With each replica's reason, where it is not fit.
    pub(super) async fn made_ready(
        &self,
        state: &State,
        switch: &Switch,
        target: &Environment,
    ) -> Result<Option<Woken>, Fault> {
        let proof_ms = state.opened.policy.proof_ms;
        let mut woken = self.rouse(target, switch.from).await?;
        if woken.is_none() && switch.proof == Proof::Round {
            let proven = self.prove_standby(target, proof_ms).await;
            if !matches!(proven, Err(Fault::Failed(_))) {
                return proven.map(|()| None);
            }
            // It may have fallen asleep since it was looked at.
            own(&self.seen).remove(&target.release);
            let target = self.environment(target.release).await?;
            woken = self.rouse(&target, switch.from).await?;
            if woken.is_none() {
                return proven.map(|()| None);
            }
        }
        if let Some(woken) = &woken {
            self.prove_woken(woken, switch.proof, proof_ms).await?;
        }
        Ok(woken)
    }

    /// Wakes an environment that sleeps, as far as has been seen; `live` is what serves meanwhile.
    /// One that runs costs no call.
    async fn rouse(
        &self,
        environment: &Environment,
        live: Option<Release>,
    ) -> Result<Option<Woken>, Fault> {
        let live = live.and_then(|live| own(&self.seen).get(&live).cloned());
        let mode = sleep::mode_of(live.as_ref(), environment);
        let Some(mode) = environment.asleep(mode) else {
            return Ok(None);
        };
        let release = environment.release;
        let ended = |state: &ContainerState| matches!(state, ContainerState::Exited { .. });
        let started = environment.always().any(|c| ended(&c.state));
        let limit = match started {
            true => stand_up(environment),
            false => LOOK,
        };
        let since = Instant::now();
        let (engine, service) = (&self.with.engine, &self.with.service);
        let woken = insist("waking", limit, || async {
            Ok(engine
                .wake(service, release, self.with.sink.as_ref())
                .await?)
        });
        woken.await.map_err(|fault| match fault {
            Fault::Failed(failure) => Fault::Failed(self.about(environment, failure)),
            fault => fault,
        })?;
        let environment = match started {
            true => {
                own(&self.seen).remove(&release);
                self.environment(release).await?
            }
            false => going_on(environment),
        };
        self.remember(std::slice::from_ref(&environment));
        Ok(Some(Woken {
            environment,
            mode,
            started,
            since,
        }))
    }

    /// The proof of what has been woken. What had to be started is waited for until it passes all
    /// its probes; what was paused answers one round. What it showed before it slept counts for
    /// nothing.
    ///
    /// # Errors
    /// With each replica's reason, where it is not fit; it then stays awake.
    async fn prove_woken(&self, woken: &Woken, proof: Proof, within: Millis) -> Result<(), Fault> {
        let environment = &woken.environment.at_rest();
        let probes = environment.labels.probes.clone();
        let proving = self.proving(environment, &probes);
        let failure = if woken.started {
            let limit = stand_up(environment);
            match tokio::time::timeout(limit, proving.prove()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(unfit)) => match Fault::from(unfit) {
                    Fault::Failed(failure) => failure,
                    fault => return Err(fault),
                },
                Err(_) => Failure {
                    what: format!(
                        "release {} was not fit within {} s of its start",
                        environment.release,
                        limit.as_secs()
                    ),
                    ..Failure::default()
                },
            }
        } else if proof == Proof::Trusted {
            return Ok(());
        } else {
            let verdicts = proving.woken(Duration::from_millis(within)).await?;
            match crate::probe::unfit(environment, &verdicts) {
                None => return Ok(()),
                Some(mut failure) => {
                    proving.attach_logs(&mut failure.replicas).await;
                    failure
                }
            }
        };
        if proof == Proof::Trusted {
            // It has had its time to begin; whoever trusts it goes there all the same.
            tracing::warn!(why = failure.what, "woken, and trusted");
            return Ok(());
        }
        let mut failure = self.about(environment, failure);
        if let Some(first) = failure.replicas.first_mut() {
            first.reasons.push(format!(
                "it was {}, has been woken, and stays awake until `flipside prune {}`",
                word(woken.mode),
                self.with.service
            ));
        }
        Err(Fault::Failed(failure))
    }

    /// Waits a moment, and wakes what has been moved to where that sleeps: one who had the service
    /// before may have told the engine to put it to sleep, too late to be seen before the move.
    /// Never ends.
    pub(super) async fn keep_awake(&self, mode: StandbyMode, release: Release) -> Infallible {
        if mode != StandbyMode::Running {
            tokio::time::sleep(SILENT).await;
            let woken = self.wake_live(release).await.map_err(Event::from);
            tracing::debug!(?woken, "silent after the move");
        }
        std::future::pending().await
    }

    /// A failure that names a container, so that it is told as the environment's own.
    fn about(&self, environment: &Environment, mut failure: Failure) -> Failure {
        if failure.replicas.is_empty() {
            let first = environment.containers.first();
            failure.replicas.push(ReplicaReport {
                container: first.map_or_else(
                    || format!("{}@{}", self.with.service, environment.release),
                    |container| container.name.clone(),
                ),
                reasons: vec![failure.what.clone()],
                logs: Vec::new(),
            });
        }
        failure
    }
}

fn stand_up(environment: &Environment) -> Duration {
    Duration::from_millis(environment.labels.policy.stand_up_ms)
}

/// What was paused, after it was let go on.
fn going_on(environment: &Environment) -> Environment {
    let mut environment = environment.clone();
    for container in &mut environment.containers {
        if container.run.is_always() && container.state == ContainerState::Paused {
            container.state = ContainerState::Running;
        }
    }
    environment
}
