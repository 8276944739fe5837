//! Containers that run once and to their end: their output as it comes, how they ended, and what a
//! job that did not end with 0 means.
//!
//! A container that has been started is never started again: its exit code is read back, however
//! often a killed call is repeated.

use std::pin::pin;
use std::time::Duration;

use bollard::models::ContainerStateStatusEnum;
use futures_util::future::join;
use tokio::sync::mpsc;

use super::create::Wanted;
use super::{Docker, ends, inspect, logs};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::names::Millis;
use crate::core::progress::{Progress, Sink};
use crate::core::words::millis;
use crate::docker::{found, refused};
use crate::engine::{EngineError, LogLine, OUTPUT, Ran};

/// The last log lines that are looked at.
const LINES: u32 = 50;

/// How long the rest of a container's output may take to come once it has ended.
const REST: Duration = Duration::from_secs(1);

/// Whether a container has never been started. One that is not there is refused.
pub(super) async fn is_unstarted(engine: &Docker, name: &str) -> Result<bool, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(name, None).await);
    let answer = answer.map_err(|error| client.fault(error))?;
    let container = answer.ok_or_else(|| refused(format!("the container `{name}` is gone")))?;
    let status = container.state.and_then(|state| state.status);
    Ok(status == Some(ContainerStateStatusEnum::CREATED))
}

/// Waits for the end of a container that has been started, and passes its output on meanwhile, as
/// that of `of`.
pub(super) async fn to_its_end(
    engine: &Docker,
    name: &str,
    of: &str,
    sink: &dyn Sink,
) -> Result<Ran, EngineError> {
    let (lines, mut come) = mpsc::channel::<LogLine>(64);
    let names = [name.to_owned()];
    let telling = async {
        while let Some(line) = come.recv().await {
            sink.progress(Progress::Output {
                of: of.to_owned(),
                line: line.line,
            });
        }
    };
    // An engine that withholds the output hides nothing: what counts is how it ended.
    let mut told = pin!(join(logs::follow(engine, &names, LINES, lines), telling));
    let mut ended = pin!(ends::ended(engine, name));
    tokio::select! {
        end = &mut ended => {
            end?;
            let rest = tokio::time::timeout(REST, told).await;
            tracing::debug!(whole = rest.is_ok(), "the output of {name}");
        }
        _ = &mut told => {
            ended.await?;
        }
    }
    ran(engine, name).await
}

/// See [`crate::engine::Engine::ran`].
pub(super) async fn ran(engine: &Docker, name: &str) -> Result<Ran, EngineError> {
    let end = ends::ended(engine, name).await?;
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(name, None).await);
    let answer = answer.map_err(|error| client.fault(error))?;
    let state = answer.and_then(|answer| answer.state).unwrap_or_default();
    let instant = |text: Option<String>| text.as_deref().and_then(inspect::instant);
    let (began, over) = (instant(state.started_at), instant(state.finished_at));
    let took_ms = began
        .zip(over)
        .map(|(began, over)| over.saturating_sub(began));
    let lines = logs::tail(engine, name, LINES).await.unwrap_or_default();
    Ok(Ran {
        code: end.code,
        oom: end.oom,
        took_ms: took_ms.unwrap_or_default(),
        output: last(&lines),
    })
}

/// The last of some lines, as much as is kept of an output.
fn last(lines: &[String]) -> String {
    let text = lines.join("\n");
    let text = text.trim_end();
    let mut from = text.len().saturating_sub(OUTPUT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

/// Waits until a job has ended with 0, for as long as its role allows.
pub(super) async fn job(
    engine: &Docker,
    wanted: &Wanted<'_>,
    sink: &dyn Sink,
) -> Result<(), EngineError> {
    let (container, role) = (wanted.container(), wanted.name);
    let limit = Duration::from_millis(wanted.role.timeout_ms);
    let ended = to_its_end(engine, &container, role.as_str(), sink);
    let why = match tokio::time::timeout(limit, ended).await {
        Ok(ran) => match ran? {
            Ran { code: 0, .. } => return Ok(()),
            Ran {
                code, oom: true, ..
            } => format!("exited with {code} (out of memory)"),
            Ran { code, .. } => format!("exited with {code}"),
        },
        Err(_) => {
            return Err(late(engine, &container, role.as_str(), wanted.role.timeout_ms).await);
        }
    };
    let what = format!("the job `{role}` {why}");
    Err(failed(engine, container, what, why, None).await)
}

async fn late(engine: &Docker, container: &str, role: &str, limit: Millis) -> EngineError {
    let why = format!("has not ended within {}", millis(limit));
    let hint = format!("allow more with `timeout: 30m` on the role `{role}`");
    let what = format!("the job `{role}` {why}");
    failed(engine, container.to_owned(), what, why, Some(hint)).await
}

async fn failed(
    engine: &Docker,
    container: String,
    what: String,
    why: String,
    hint: Option<String>,
) -> EngineError {
    let logs = logs::tail(engine, &container, LINES).await;
    EngineError::Failed(Failure {
        what,
        hint,
        replicas: vec![ReplicaReport {
            container,
            reasons: vec![why],
            logs: logs.unwrap_or_default(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_last_is_kept_at_a_whole_character() {
        let long = format!("{}{}", "ä".repeat(OUTPUT), "end");
        let kept = last(&[long, String::new()]);
        assert!(kept.len() <= OUTPUT && kept.len() > OUTPUT - 4);
        assert!(kept.starts_with('ä') && kept.ends_with("end"));
        assert_eq!(last(&[]), "");
    }
}
