//! The commands by which nginx is tested and told to read its configuration anew.

use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::process::{self, OUTPUT, REST, last, signal};

/// How many of its last lines are shown.
const LINES: usize = 3;

/// A command that is killed with all that it has started, unless it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        signal(&self.0, Signal::KILL);
    }
}

/// Runs it to its end, or until the caller has gone.
///
/// # Errors
/// That it did not do it, in its own words.
pub(super) async fn run(words: &[String]) -> Result<(), String> {
    let name = words.join(" ");
    let mut running = spawn(words).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("`{name}` cannot be started: the program is not there ({error})")
        }
        _ => format!("`{name}` cannot be started: {error}"),
    })?;
    let (out, err) = (running.0.stdout.take(), running.0.stderr.take());
    let (mut said, mut told) = (Vec::new(), Vec::new());
    let ended = {
        let mut reading = std::pin::pin!(async {
            tokio::join!(read(out, &mut said), read(err, &mut told));
        });
        let mut done = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = running.0.wait() => break ended,
                () = &mut reading, if !done => done = true,
            }
        };
        if !done {
            let rest = timeout(REST, reading).await;
            tracing::debug!(whole = rest.is_ok(), "the words of nginx");
        }
        ended
    };
    match process::ended(ended).1 {
        None => Ok(()),
        Some(why) => {
            said.extend(told);
            let words = words_of(&last(&String::from_utf8_lossy(&said)));
            match words.is_empty() {
                true => Err(format!("`{name}` {why}")),
                false => Err(format!("`{name}` {why}, and says: {words}")),
            }
        }
    }
}

fn spawn(words: &[String]) -> std::io::Result<Running> {
    let (program, rest) = words
        .split_first()
        .ok_or(std::io::ErrorKind::InvalidInput)?;
    let child = Command::new(program)
        .args(rest)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()?;
    Ok(Running(child))
}

async fn read(from: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; OUTPUT];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        said.extend_from_slice(&piece[..read]);
        let surplus = said.len().saturating_sub(OUTPUT);
        said.drain(..surplus);
    }
}

/// What is wrong, where nginx marks that; else the last of it.
fn words_of(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_trouble = |line: &&str| {
        let mut marks = ["[emerg]", "[alert]", "[crit]", "[error]"].into_iter();
        marks.any(|mark| line.contains(mark))
    };
    let mut shown: Vec<&str> = lines().filter(is_trouble).collect();
    if shown.is_empty() {
        shown = lines().collect();
    }
    let from = shown.len().saturating_sub(LINES);
    shown[from..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_shown_before_what_is_said_of_it() {
        let said = "nginx: [emerg] unknown directive \"x\" in /a:3\n\
                    nginx: configuration file /b test failed\n";
        assert_eq!(
            words_of(said),
            "nginx: [emerg] unknown directive \"x\" in /a:3"
        );
        assert_eq!(words_of("one\ntwo\n\nthree\nfour\n"), "two; three; four");
    }
}
