//! A command on the deployer: a process group of its own, its output line by line, and its end.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Call, Stop, Told, orphan, stopped};
use crate::core::plan::Text;
use crate::core::progress::{Progress, Sink};
use crate::process::{self, OUTPUT, REST, last, signal};

/// How long a command has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// How often what a killed flipside has left is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// The variable that tells one call from every other.
const KEY: &str = "FLIPSIDE_IDEMPOTENCY_KEY";

/// How long a line is at most that is shown as it comes, in bytes.
const LINE: u64 = 64 << 10;

/// What is run.
pub(super) struct Program<'a> {
    pub(super) words: &'a [Text],
    pub(super) environment: &'a BTreeMap<String, Text>,
    pub(super) directory: &'a Path,
}

/// The last of an output, and the screen that sees it pass.
struct Tail<'a> {
    kept: Mutex<VecDeque<u8>>,
    of: &'a str,
    sink: &'a dyn Sink,
}

impl Tail<'_> {
    async fn read(&self, from: Option<impl AsyncRead + Unpin>) {
        let Some(from) = from else { return };
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        let mut whole = true;
        loop {
            let mut piece = (&mut from).take(LINE);
            // An output that breaks off says nothing of how the command ends.
            if piece.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                break;
            }
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&line);
            let surplus = kept.len().saturating_sub(OUTPUT);
            kept.drain(..surplus);
            drop(kept);
            let ends = line.ends_with(b"\n") || (line.len() as u64) < LINE;
            // In the pieces of a line a secret could not be told.
            if whole && ends {
                self.sink.progress(Progress::Output {
                    of: self.of.to_owned(),
                    line: String::from_utf8_lossy(&line).trim_end().to_owned(),
                });
            }
            whole = ends;
            line.clear();
        }
    }

    fn text(self) -> String {
        let kept = self.kept.into_inner();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        last(&String::from_utf8_lossy(kept.make_contiguous()))
    }
}

/// Runs a command to its end, or until it is to stop.
pub(super) async fn run(
    program: &Program<'_>,
    call: &Call<'_>,
    mut stop: Stop,
    sink: &dyn Sink,
) -> Told {
    let Some((first, rest)) = program.words.split_first() else {
        return Told::failed("its command is empty");
    };
    if let Some(told) = first_run(call, &mut stop, sink).await {
        return told;
    }
    let mut child = match spawn(program, first, rest, call) {
        Ok(child) => child,
        Err(error) => {
            let name = first.reveal();
            let why = format!("`{name}` cannot be started: {error}");
            return Told::failed(why);
        }
    };
    let tail = Tail {
        kept: Mutex::default(),
        of: &call.hook.plan.name,
        sink,
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = {
        let mut reading = std::pin::pin!(async {
            tokio::join!(tail.read(out), tail.read(err));
        });
        let mut all_read = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = child.wait() => break ended,
                () = stopped(&mut stop) => break end(&mut child).await,
                () = &mut reading, if !all_read => all_read = true,
            }
        };
        if !all_read {
            let rest = timeout(REST, reading).await;
            tracing::debug!(whole = rest.is_ok(), "the output of a hook");
        }
        ended
    };
    told(ended, tail.text())
}

fn spawn(
    program: &Program<'_>,
    first: &Text,
    rest: &[Text],
    call: &Call<'_>,
) -> std::io::Result<Child> {
    let variables = program.environment.iter();
    Command::new(first.reveal())
        .args(rest.iter().map(Text::reveal))
        .current_dir(program.directory)
        .envs(variables.map(|(name, value)| (name, value.reveal())))
        .env("FLIPSIDE_SERVICE", call.service.as_str())
        .env("FLIPSIDE_RELEASE", call.release.to_string())
        .env("FLIPSIDE_HOOK", &call.hook.plan.name)
        .env(KEY, call.key)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal that a terminal sends to all is for flipside, which passes it on.
        .process_group(0)
        .spawn()
}

/// Waits for the end of this very call where a killed flipside had begun it: no plan is
/// ready for two at once. What came of it where that was not to be waited for.
async fn first_run(call: &Call<'_>, stop: &mut Stop, sink: &dyn Sink) -> Option<Told> {
    let mut waits = false;
    loop {
        let pid = *orphan::running(&[(KEY, call.key)]).first()?;
        let line = format!("process {pid}, which a killed flipside has left, is waited for");
        if !std::mem::replace(&mut waits, true) {
            let of = call.hook.plan.name.clone();
            let line = line.clone();
            sink.progress(Progress::Output { of, line });
        }
        tokio::select! {
            biased;
            () = stopped(stop) => return Some(Told {
                output: line,
                ..Told::failed(format!("was not begun again: process {pid} still runs"))
            }),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Ends a command and what it has started: by SIGTERM, and by SIGKILL where that is not heard.
async fn end(child: &mut Child) -> std::io::Result<ExitStatus> {
    signal(child, Signal::TERM);
    if let Ok(ended) = timeout(GRACE, child.wait()).await {
        return ended;
    }
    signal(child, Signal::KILL);
    child.wait().await
}

fn told(ended: std::io::Result<ExitStatus>, output: String) -> Told {
    let (code, why) = process::ended(ended);
    Told {
        code,
        status: None,
        output,
        why,
    }
}
