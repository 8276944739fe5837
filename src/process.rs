//! Commands on this machine: the group of processes that one has started, and how it ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// How much of an output is kept, in bytes.
pub const OUTPUT: usize = 4096;

/// How long the rest of an output may take once the command has ended: what it has left running may
/// hold it open for ever.
pub const REST: Duration = Duration::from_secs(1);

/// Sends a signal to a command that was started in a process group of its own, and to all that it has
/// started; to nobody once it has been waited for.
pub fn signal(child: &Child, signal: Signal) {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(group) = group {
        let sent = kill_process_group(group, signal);
        tracing::debug!(?sent, ?signal, "to the process group of a command");
    }
}

/// The exit code of a command that ended by itself, and why that was not well: `exited with 3`.
#[must_use]
pub fn ended(ended: std::io::Result<ExitStatus>) -> (Option<i64>, Option<String>) {
    match ended {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(0), _) => (Some(0), None),
            (Some(code), _) => (Some(code.into()), Some(format!("exited with {code}"))),
            (None, signal) => {
                let signal = signal.unwrap_or_default();
                (None, Some(format!("was ended by signal {signal}")))
            }
        },
        Err(error) => (None, Some(format!("cannot be waited for: {error}"))),
    }
}

/// The last of a text that is kept.
#[must_use]
pub fn last(text: &str) -> String {
    let text = text.trim_end();
    let mut from = text.len().saturating_sub(OUTPUT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}
