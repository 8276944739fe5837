//! What stands between flipside and HAProxy's socket, and does not do all that it is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::support::held::{Held, Keeper, Moment, pass};

/// What becomes of a line that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is answered as if it had been done.
    Swallowed,
    /// It is done, and the connection breaks before the answer.
    CutOff,
    /// Nothing, unless something is [held](Relay::hold).
    None,
}

/// How all of its connections behave.
struct Way {
    to: String,
    trouble: Mutex<Trouble>,
    lines: AtomicUsize,
    changes: Arc<AtomicUsize>,
    kept: Keeper<&'static str>,
}

/// A relay, ended when it is dropped.
pub struct Relay {
    pub path: PathBuf,
    /// How many lines that change something came by.
    pub changes: Arc<AtomicUsize>,
    way: Arc<Way>,
    task: JoinHandle<()>,
}

impl Relay {
    /// One in `directory` before the socket at `to`.
    pub fn start(directory: &Path, to: &str, trouble: Trouble) -> Self {
        let path = directory.join("relay.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let changes = Arc::default();
        let way = Arc::new(Way {
            to: to.to_owned(),
            trouble: Mutex::new(trouble),
            lines: AtomicUsize::default(),
            changes: Arc::clone(&changes),
            kept: Keeper::default(),
        });
        let shared = Arc::clone(&way);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that goes away is its own affair.
                    relay(client, &way).await.ok();
                });
            }
        });
        Self {
            path,
            changes,
            way,
            task,
        }
    }

    /// Keeps the next line that begins like this waiting.
    pub fn hold(&self, begins: &'static str, moment: Moment) -> Held {
        self.way.kept.hold(begins, moment)
    }

    /// What becomes of lines from now on.
    pub fn does(&self, trouble: Trouble) {
        *self.way.trouble.lock().unwrap() = trouble;
    }

    /// How many lines came by.
    pub fn lines(&self) -> usize {
        self.way.lines.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: UnixStream, way: &Way) -> std::io::Result<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut next = [0; 4096];
        match client.read(&mut next).await? {
            0 => return Ok(()),
            read => line.extend_from_slice(&next[..read]),
        }
    }
    way.lines.fetch_add(1, Ordering::Relaxed);
    let is_change = line.starts_with(b"set server");
    way.changes
        .fetch_add(usize::from(is_change), Ordering::Relaxed);
    let trouble = *way.trouble.lock().unwrap();
    if is_change && trouble == Trouble::Swallowed {
        return client.write_all(b"\n").await;
    }
    let met = way.kept.meets(|begins| line.starts_with(begins.as_bytes()));
    pass(&met, Moment::Before).await;
    let mut server = UnixStream::connect(&way.to).await?;
    server.write_all(&line).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    pass(&met, Moment::After).await;
    match is_change && trouble == Trouble::CutOff {
        // Dropped without a word.
        true => Ok(()),
        false => client.write_all(&answer).await,
    }
}
