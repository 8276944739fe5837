//! The programs by which the kernel is told and asked.

use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What a program has said.
#[derive(Debug)]
pub(super) struct Ran {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

/// Runs it to its end, or until the caller has gone.
///
/// # Errors
/// Where it could not be started, or be heard.
pub(super) async fn run(
    program: &str,
    words: &[&str],
    input: Option<&str>,
) -> std::io::Result<Ran> {
    let mut child = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .stdin(match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
        // One that ends without reading says why.
        stdin.write_all(text.as_bytes()).await.ok();
    }
    let ended = child.wait_with_output().await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran {
        status: ended.status,
        out: text(ended.stdout),
        err: text(ended.stderr),
    })
}
