//! One call of a command: a process, one object for it to read, one object that it answers.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::process::{self, OUTPUT, REST, last, signal};

/// The most that an answer may be, in bytes.
const MOST: u64 = 1 << 20;

/// How many of the last lines that it says to people are shown.
const LINES: usize = 3;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It could not be started.
    Unstarted(String),
    /// It ended badly, or did not end.
    Failed(String),
    /// What it answered is not what is asked for.
    Unclear(String),
}

/// A command that is killed with all that it has started, unless it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        signal(&self.0, Signal::KILL);
    }
}

/// Starts `command`, gives it `request` and waits for its answer, at most `limit`.
pub(super) async fn call(
    command: &[String],
    variables: &[(&str, &str)],
    request: &Value,
    limit: Duration,
) -> Result<Map<String, Value>, Trouble> {
    let mut running = Running(spawn(command, variables).map_err(|error| unstarted(&error))?);
    let mut said = VecDeque::new();
    let mut answer = Vec::new();
    let ended = {
        let talk = talk(&mut running.0, request, &mut answer, &mut said);
        timeout(limit, talk).await
    };
    let words = words(said.make_contiguous());
    let failed = |why: &str| Trouble::Failed(format!("{why}{words}"));
    let unclear = |why: &str| Trouble::Unclear(format!("{why}{words}"));
    let Ok(ended) = ended else {
        let why = format!("it did not end within {} s", limit.as_secs_f32());
        return Err(failed(&why));
    };
    if answer.len() as u64 > MOST {
        return Err(unclear("its answer is longer than 1 MiB"));
    }
    if let (_, Some(why)) = process::ended(ended) {
        return Err(failed(&format!("it {why}")));
    }
    serde_json::from_slice(&answer).map_err(|error| {
        let begin = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        match begin.trim() {
            "" => unclear("it answered nothing"),
            begin => unclear(&format!(
                "its answer is not one JSON object: {error}: `{begin}`"
            )),
        }
    })
}

fn spawn(command: &[String], variables: &[(&str, &str)]) -> io::Result<Child> {
    let (program, rest) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(rest)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
}

fn unstarted(error: &io::Error) -> Trouble {
    Trouble::Unstarted(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("it, or the program that its first line names, is not there ({error})")
        }
        io::ErrorKind::PermissionDenied => format!("this user may not run it ({error})"),
        _ => error.to_string(),
    })
}

/// How it ended, and meanwhile what it answers and says.
async fn talk(
    child: &mut Child,
    request: &Value,
    answer: &mut Vec<u8>,
    said: &mut VecDeque<u8>,
) -> io::Result<ExitStatus> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut talking = std::pin::pin!(async {
        tokio::join!(
            ask(input, request),
            read(output, answer),
            tail(errors, said)
        );
    });
    let mut done = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = child.wait() => break ended,
            () = &mut talking, if !done => done = true,
        }
    };
    if !done {
        let rest = timeout(REST, talking).await;
        tracing::debug!(whole = rest.is_ok(), "the answer of a command");
    }
    ended
}

/// A command that does not read what it is asked says so by its answer.
async fn ask(input: Option<ChildStdin>, request: &Value) {
    let Some(mut input) = input else { return };
    let sent = input.write_all(format!("{request}\n").as_bytes()).await;
    tracing::debug!(?sent, "a request to a command");
}

/// No more than what shows that it is too much.
async fn read(from: Option<impl AsyncRead + Unpin>, answer: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let read = from.take(MOST + 1).read_to_end(answer).await;
    tracing::debug!(?read, "the answer of a command");
}

async fn tail(from: Option<impl AsyncRead + Unpin>, said: &mut VecDeque<u8>) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; OUTPUT];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        said.extend(&piece[..read]);
        let surplus = said.len().saturating_sub(OUTPUT);
        said.drain(..surplus);
    }
}

/// Its last lines for people, to be put behind what happened.
fn words(said: &[u8]) -> String {
    let text = last(&String::from_utf8_lossy(said));
    let mut lines: Vec<&str> = text.lines().rev().take(LINES).map(str::trim).collect();
    lines.retain(|line| !line.is_empty());
    lines.reverse();
    match lines.is_empty() {
        true => String::new(),
        false => format!(", and says: {}", lines.join("; ")),
    }
}
