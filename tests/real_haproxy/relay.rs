//! What stands between flipside and HAProxy's socket, and does not do all that it is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What becomes of a line that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is answered as if it had been done.
    Swallowed,
    /// It is done, and the connection breaks before the answer.
    CutOff,
}

/// A relay, ended when it is dropped.
pub struct Relay {
    pub path: PathBuf,
    /// How many lines that change something came by.
    pub changes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Relay {
    /// One in `directory` before the socket at `to`.
    pub fn start(directory: &Path, to: &str, trouble: Trouble) -> Self {
        let path = directory.join("relay.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let changes = Arc::new(AtomicUsize::new(0));
        let (to, counted) = (to.to_owned(), Arc::clone(&changes));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that goes away is its own affair.
                relay(client, &to, trouble, &counted).await.ok();
            }
        });
        Self {
            path,
            changes,
            task,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    mut client: UnixStream,
    to: &str,
    trouble: Trouble,
    changes: &AtomicUsize,
) -> std::io::Result<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut next = [0; 4096];
        match client.read(&mut next).await? {
            0 => return Ok(()),
            read => line.extend_from_slice(&next[..read]),
        }
    }
    let is_change = line.starts_with(b"set server");
    changes.fetch_add(usize::from(is_change), Ordering::Relaxed);
    if is_change && trouble == Trouble::Swallowed {
        return client.write_all(b"\n").await;
    }
    let mut server = UnixStream::connect(to).await?;
    server.write_all(&line).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match is_change {
        // Dropped without a word.
        true => Ok(()),
        false => client.write_all(&answer).await,
    }
}
