//! What containers print, and commands run in them.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::LogsOptions;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::Docker;
use crate::core::plan::Text;
use crate::docker::refused;
use crate::engine::{EngineError, Executed, LogLine};

/// How much of a command's output is kept, in bytes.
const KEPT: usize = 4096;

/// Which of a container's streams a piece came from.
fn piece(output: LogOutput) -> (usize, Bytes) {
    match output {
        LogOutput::StdIn { message } => (0, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => (1, message),
        LogOutput::StdErr { message } => (2, message),
    }
}

/// Pieces put together to lines, each stream apart.
#[derive(Default)]
struct Lines {
    open: [Vec<u8>; 3],
}

impl Lines {
    fn take(&mut self, output: LogOutput) -> Vec<String> {
        let (stream, bytes) = piece(output);
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.open[stream].extend_from_slice(part);
            if part.ends_with(b"\n") {
                lines.push(text(&std::mem::take(&mut self.open[stream])));
            }
        }
        lines
    }

    fn rest(self) -> impl Iterator<Item = String> {
        let open = self.open.into_iter().filter(|bytes| !bytes.is_empty());
        open.map(|bytes| text(&bytes))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches(['\n', '\r'])
        .to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Now,
    TheEnd,
}

fn stream(
    engine: &Docker,
    container: &str,
    lines: u32,
    until: Until,
) -> impl Stream<Item = Result<LogOutput, Error>> + Unpin {
    let options = LogsOptions {
        follow: until == Until::TheEnd,
        stdout: true,
        stderr: true,
        tail: lines.to_string(),
        ..LogsOptions::default()
    };
    Box::pin(engine.client.docker.logs(container, Some(options)))
}

/// The last lines of a container.
pub(super) async fn tail(
    engine: &Docker,
    container: &str,
    lines: u32,
) -> Result<Vec<String>, EngineError> {
    let mut answers = stream(engine, container, lines, Until::Now);
    let mut open = Lines::default();
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        let output = answer.map_err(|error| engine.client.fault(error))?;
        all.extend(open.take(output));
    }
    all.extend(open.rest());
    let surplus = all.len().saturating_sub(lines as usize);
    all.drain(..surplus);
    Ok(all)
}

/// Sends the lines of containers until all have ended or nobody listens.
pub(super) async fn follow(
    engine: &Docker,
    containers: &[String],
    tail: u32,
    lines: mpsc::Sender<LogLine>,
) -> Result<(), EngineError> {
    let each = containers
        .iter()
        .map(|name| follow_one(engine, name, tail, &lines));
    let all = futures_util::future::try_join_all(each);
    tokio::select! {
        ended = all => ended.map(|_| ()),
        () = lines.closed() => Ok(()),
    }
}

async fn follow_one(
    engine: &Docker,
    container: &str,
    tail: u32,
    lines: &mpsc::Sender<LogLine>,
) -> Result<(), EngineError> {
    let mut answers = stream(engine, container, tail, Until::TheEnd);
    let mut open = Lines::default();
    let say = |line: String| {
        lines.send(LogLine {
            container: container.to_owned(),
            line,
        })
    };
    while let Some(answer) = answers.next().await {
        let output = answer.map_err(|error| engine.client.fault(error))?;
        for line in open.take(output) {
            if say(line).await.is_err() {
                return Ok(());
            }
        }
    }
    for line in open.rest() {
        if say(line).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs a command in a container to its end.
pub(super) async fn exec(
    engine: &Docker,
    container: &str,
    command: &[Text],
) -> Result<Executed, EngineError> {
    let client = &engine.client;
    let fault = |error| client.fault(error);
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(
            command
                .iter()
                .map(|word| word.reveal().to_owned())
                .collect(),
        ),
        ..ExecConfig::default()
    };
    let exec = client
        .docker
        .create_exec(container, config)
        .await
        .map_err(fault)?;
    let started = client
        .docker
        .start_exec(&exec.id, None::<StartExecOptions>)
        .await;
    let mut kept = VecDeque::new();
    match started.map_err(fault)? {
        StartExecResults::Attached { mut output, .. } => {
            while let Some(answer) = output.next().await {
                kept.extend(piece(answer.map_err(fault)?).1);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        }
        StartExecResults::Detached => return Err(refused("the engine detached a command")),
    }
    let answer = client.docker.inspect_exec(&exec.id).await.map_err(fault)?;
    let code = answer.exit_code;
    Ok(Executed {
        code: code.ok_or_else(|| refused("the engine names no exit code of a command"))?,
        output: String::from_utf8_lossy(kept.make_contiguous()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_of_their_own_stream() {
        let out = |text: &'static str| LogOutput::StdOut {
            message: Bytes::from_static(text.as_bytes()),
        };
        let err = |text: &'static str| LogOutput::StdErr {
            message: Bytes::from_static(text.as_bytes()),
        };
        let mut lines = Lines::default();
        assert_eq!(lines.take(out("a")), [""; 0]);
        assert_eq!(lines.take(err("x\r\ny")), ["x"]);
        assert_eq!(lines.take(out("b\nc\n\nd")), ["ab", "c", ""]);
        assert_eq!(lines.rest().collect::<Vec<_>>(), ["d", "y"]);
    }
}
