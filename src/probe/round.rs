//! One round of a standby's probes, all replicas at once.
//!
//! Asks addresses only. The engine is not asked: what it knew when the environment was last looked
//! at counts, and nothing is executed.

use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt};

use super::ask::{Answer, Missed, Pair, withheld};
use super::{Proving, Question, Unfit, Verdict, tell};
use crate::core::plan::{Probe, ProbeKind};
use crate::core::world::Health;

/// Whether an environment was paused until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slept {
    Yes,
    No,
}

impl Proving<'_> {
    /// Asks every http, grpc and tcp probe of every replica once, all at once, each `within` that time or
    /// its own timeout, whichever is shorter.
    ///
    /// A container that does not run fails, as does one that is missing. A HEALTHCHECK counts by
    /// its last result; exec probes are not executed and count as passed.
    ///
    /// # Errors
    /// Where the vantage cannot be asked.
    pub async fn round(&self, within: Duration) -> Result<Vec<Verdict>, Unfit> {
        self.all_once(within, Slept::No).await
    }

    /// As [`Proving::round`], of an environment that was paused until now: what a HEALTHCHECK has
    /// said before counts for nothing, and a TCP connection, which a paused container takes as
    /// well, only where nothing else of its role can answer.
    ///
    /// # Errors
    /// As [`Proving::round`].
    pub async fn woken(&self, within: Duration) -> Result<Vec<Verdict>, Unfit> {
        self.all_once(within, Slept::Yes).await
    }

    async fn all_once(&self, within: Duration, slept: Slept) -> Result<Vec<Verdict>, Unfit> {
        let mut verdicts = Vec::new();
        if let Some(missing) = tell::missing(self.environment) {
            verdicts.push(Verdict {
                container: format!("{}@{}", self.service, self.environment.release),
                probe: tell::RUNNING.into(),
                result: Err(missing),
            });
        }
        for container in &self.environment.containers {
            if let Some(why) = tell::amiss(container) {
                verdicts.push(Verdict {
                    container: container.name.clone(),
                    probe: tell::RUNNING.into(),
                    result: Err(why),
                });
            }
        }
        let pairs = self.pairs();
        let running = |pair: &&Pair<'_>| tell::stopped(&pair.container.state).is_none();
        let mut asked: FuturesOrdered<_> = pairs
            .iter()
            .filter(running)
            .map(|pair| async move {
                let result = match self.worthless(pair, slept) {
                    Some(note) => Ok(Ok(Some(note.to_owned()))),
                    None => self.once(pair, within).await,
                };
                (pair, result)
            })
            .collect();
        while let Some((pair, result)) = asked.next().await {
            verdicts.push(Verdict {
                container: pair.container.name.clone(),
                probe: tell::title(pair.probe),
                result: result?,
            });
        }
        Ok(verdicts)
    }

    /// Why the answer of a probe would say nothing.
    fn worthless(&self, pair: &Pair<'_>, slept: Slept) -> Option<&'static str> {
        let answers = |probe: &&Probe| match &probe.kind {
            ProbeKind::Http(http) => withheld(http).is_none(),
            ProbeKind::Grpc(_) => true,
            ProbeKind::Tcp { .. } | ProbeKind::Exec { .. } | ProbeKind::Health => false,
        };
        let same = |probe: &&Probe| probe.role == pair.probe.role;
        match (slept, &pair.probe.kind) {
            (Slept::Yes, ProbeKind::Health) => {
                Some("what its HEALTHCHECK said is from before it was frozen")
            }
            (Slept::Yes, ProbeKind::Tcp { .. }) => {
                let better = self.probes.iter().filter(same).any(|probe| answers(&probe));
                better.then_some("not asked: a connection proves less than the role's other probes")
            }
            _ => None,
        }
    }

    async fn once(
        &self,
        pair: &Pair<'_>,
        within: Duration,
    ) -> Result<Result<Option<String>, String>, Unfit> {
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let limit = pair.probe.timeout_ms.min(within);
        let (port, question) = match &pair.probe.kind {
            ProbeKind::Http(http) => match withheld(http) {
                Some(note) => return Ok(Ok(Some(note))),
                None => (http.port, Question::Http(http.clone())),
            },
            ProbeKind::Grpc(grpc) => (grpc.port, Question::Grpc(grpc.clone())),
            ProbeKind::Tcp { port } => (*port, Question::Tcp),
            ProbeKind::Exec { .. } => {
                let note = "not executed: it passed when the release was proven";
                return Ok(Ok(Some(note.into())));
            }
            ProbeKind::Health => {
                return Ok(match pair.container.health {
                    Health::Healthy => Ok(None),
                    Health::Starting => Ok(Some("its HEALTHCHECK has no verdict yet".into())),
                    Health::None => Ok(Some("nothing is known of its HEALTHCHECK".into())),
                    Health::Unhealthy => Err("its HEALTHCHECK says unhealthy".into()),
                });
            }
        };
        match self.knock(pair.container, port, &question, limit).await {
            Answer::Passed => Ok(Ok(None)),
            Answer::NotAsked(note) => Ok(Ok(Some(note))),
            Answer::Hopeless(reason) => Ok(Err(reason)),
            Answer::Missed(Missed::Engine(error)) => Err(error.into()),
            Answer::Missed(Missed::Vantage(error)) => Err(error.into()),
            Answer::Missed(Missed::Failed(reason) | Missed::Early(reason)) => Ok(Err(reason)),
        }
    }
}
