//! The programs by which the kernel is told and asked.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{ExitStatus, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
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
    let child = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .stdin(match input {
            Some(text) => whole(text)?.into(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let ended = child.wait_with_output().await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran {
        status: ended.status,
        out: text(ended.stdout),
        err: text(ended.stderr),
    })
}

/// All of a text, before the first byte is read: one who dies while it writes leaves no half of it.
fn whole(text: &str) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("flipside", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
