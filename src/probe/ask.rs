//! One check of one probe of one container: a question and its answer.
//!
//! Does not repeat, count or judge what an answer means for the environment.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::tell;
use super::{Proving, Question, Unfit, VantageError};
use crate::core::mask::Mask;
use crate::core::names::Millis;
use crate::core::plan::{HttpProbe, Probe, ProbeKind, Text};
use crate::core::progress::Progress;
use crate::core::world::{Container, ContainerState, Health};
use crate::engine::EngineError;

/// What engine and vantage get beyond a check's own limit to bring its answer.
const SLACK: Duration = Duration::from_secs(2);

/// One probe of one container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// Its container's place in the environment.
    pub index: usize,
    pub container: &'a Container,
    pub probe: &'a Probe,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Passed,
    /// It cannot be asked, which the note explains; the container runs.
    NotAsked(String),
    Missed(Missed),
    /// It did not pass and never will.
    Hopeless(String),
}

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Missed {
    Failed(String),
    /// There is no verdict yet.
    Early(String),
    /// The engine could not be asked.
    Engine(EngineError),
    /// The vantage could not be asked.
    Vantage(VantageError),
}

impl Missed {
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Failed(reason) | Self::Early(reason) => reason.clone(),
            Self::Engine(error) => error.to_string(),
            Self::Vantage(error) => error.to_string(),
        }
    }

    /// The error, where nobody could be asked.
    pub(super) fn away(&self) -> Option<Unfit> {
        match self {
            Self::Failed(_) | Self::Early(_) => None,
            Self::Engine(error) => Some(Unfit::Engine(error.clone())),
            Self::Vantage(error) => Some(Unfit::Vantage(error.clone())),
        }
    }
}

impl From<EngineError> for Missed {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Failed(failure) => Self::Failed(failure.what),
            error => Self::Engine(error),
        }
    }
}

impl Proving<'_> {
    /// Every probe of every container of its role.
    pub(super) fn pairs(&self) -> Vec<Pair<'_>> {
        let containers = self.environment.containers.iter().enumerate();
        containers
            .flat_map(|(index, container)| {
                let probes = self.probes.iter();
                let own = probes.filter(move |probe| probe.role == container.role);
                own.map(move |probe| Pair {
                    index,
                    container,
                    probe,
                })
            })
            .collect()
    }

    /// Makes one check, as check number `attempt` of its container.
    pub(super) async fn ask(&self, pair: &Pair<'_>, attempt: u32) -> Answer {
        let limit = pair.probe.timeout_ms;
        let answer = match &pair.probe.kind {
            ProbeKind::Http(http) => match withheld(http) {
                Some(note) => self.runs(pair.container, limit, note).await,
                None => {
                    let question = Question::Http(http.clone());
                    self.knock(pair.container, http.port, &question, limit)
                        .await
                }
            },
            ProbeKind::Grpc(grpc) => {
                let question = Question::Grpc(grpc.clone());
                self.knock(pair.container, grpc.port, &question, limit)
                    .await
            }
            ProbeKind::Tcp { port } => {
                self.knock(pair.container, *port, &Question::Tcp, limit)
                    .await
            }
            ProbeKind::Exec { command } if command.is_empty() => {
                let note =
                    "not executed: no plan is at hand, and labels are not trusted with commands";
                self.runs(pair.container, limit, note.into()).await
            }
            ProbeKind::Exec { command } => self.execute(pair.container, command, limit).await,
            ProbeKind::Health => self.health(pair.container, limit).await,
        };
        let reason = match &answer {
            Answer::Passed => None,
            Answer::Missed(missed) => Some(missed.reason()),
            Answer::Hopeless(reason) => Some(reason.clone()),
            Answer::NotAsked(note) => {
                let (container, probe) = (&pair.container.name, tell::title(pair.probe));
                tracing::warn!(container, probe, "{note}");
                return answer;
            }
        };
        self.sink.progress(Progress::Check {
            container: pair.container.name.clone(),
            attempt,
            reason,
        });
        answer
    }

    /// Asks an address over the network.
    pub(super) async fn knock(
        &self,
        container: &Container,
        port: u16,
        question: &Question,
        limit: Millis,
    ) -> Answer {
        let Some(address) = container.address else {
            return failed("it has no address on its environment's network");
        };
        let check = self.vantage.check((address, port).into(), question, limit);
        match timeout(Duration::from_millis(limit) + SLACK, check).await {
            Ok(Ok(Ok(()))) => Answer::Passed,
            Ok(Ok(Err(reason))) => {
                let sent = match question {
                    Question::Http(http) => &http.headers[..],
                    Question::Grpc(_) | Question::Tcp => &[],
                };
                let sent = sent.iter().filter_map(|field| field.value.as_ref());
                // Of a long body only the beginning is told.
                failed(Mask::of_texts(sent).hide_cut(&tell::answered(&reason)))
            }
            Ok(Err(error @ VantageError::Unable { .. })) => Answer::Hopeless(error.to_string()),
            Ok(Err(error)) => Answer::Missed(Missed::Vantage(error)),
            Err(_) => Answer::Missed(Missed::Vantage(VantageError::Away {
                place: self.vantage.place(),
                why: format!(
                    "it did not say within {} what came of a check",
                    tell::span(limit)
                ),
            })),
        }
    }

    async fn execute(&self, container: &Container, command: &[Text], limit: Millis) -> Answer {
        let run = self.engine.exec(&container.id, command);
        match timeout(Duration::from_millis(limit), run).await {
            Ok(Ok(done)) if done.code == 0 => Answer::Passed,
            Ok(Ok(done)) => {
                let said = last_lines(&Mask::of_texts(command.iter()).hide_cut(&done.output));
                failed(match said.is_empty() {
                    true => format!("exit {}, without a word", done.code),
                    false => format!("exit {}: {said}", done.code),
                })
            }
            Ok(Err(EngineError::Failed(failure))) => {
                failed(Mask::of_texts(command.iter()).hide(&failure.what))
            }
            Ok(Err(error)) => Answer::Missed(error.into()),
            Err(_) => failed(format!(
                "its command did not end within {}",
                tell::span(limit)
            )),
        }
    }

    async fn health(&self, container: &Container, limit: Millis) -> Answer {
        let now = match self.look(container, limit).await {
            Ok(now) => now,
            Err(missed) => return Answer::Missed(missed),
        };
        match now.health {
            Health::Healthy => Answer::Passed,
            Health::Starting => {
                Answer::Missed(Missed::Early("its HEALTHCHECK has no verdict yet".into()))
            }
            Health::Unhealthy => failed("its HEALTHCHECK says unhealthy"),
            Health::None => Answer::Hopeless(tell::NO_HEALTHCHECK.into()),
        }
    }

    /// Passes with `note` where the container runs.
    async fn runs(&self, container: &Container, limit: Millis, note: String) -> Answer {
        match self.look(container, limit).await {
            Ok(_) => Answer::NotAsked(note),
            Err(missed) => Answer::Missed(missed),
        }
    }

    /// The container as it is now; a failure where it does not run.
    pub(super) async fn look(
        &self,
        container: &Container,
        limit: Millis,
    ) -> Result<Container, Missed> {
        let look = self.engine.container(&container.id);
        let found = self.within(limit, look).await?;
        let state = found
            .as_ref()
            .map_or(&ContainerState::Gone, |found| &found.state);
        match (tell::stopped(state), found) {
            (None, Some(found)) => Ok(found),
            (why, _) => Err(Missed::Failed(why.unwrap_or_else(|| "it is gone".into()))),
        }
    }

    /// An answer of the engine, or that it is out of reach.
    pub(super) async fn within<T>(
        &self,
        limit: Millis,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let limit = Duration::from_millis(limit) + SLACK;
        timeout(limit, call).await.unwrap_or_else(|_| {
            Err(EngineError::OutOfReach {
                engine: self.engine.address().to_owned(),
                why: format!("no answer within {} s", limit.as_secs()),
            })
        })
    }
}

fn failed(reason: impl Into<String>) -> Answer {
    Answer::Missed(Missed::Failed(reason.into()))
}

/// Why an HTTP probe cannot be asked.
pub(super) fn withheld(http: &HttpProbe) -> Option<String> {
    let missing = http.headers.iter().find(|field| field.value.is_none())?;
    Some(format!(
        "not asked: header `{}` is secret and no plan is at hand",
        missing.name
    ))
}

/// The last two lines that say something, as one.
fn last_lines(output: &str) -> String {
    let lines: Vec<_> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(2)..].join("; ")
}
