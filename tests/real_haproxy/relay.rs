//! What stands between flipside and HAProxy's socket, and does not do all that it is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::backends::LONG;

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

/// A line that is kept waiting.
#[derive(Clone)]
struct Hold {
    begins: &'static str,
    moment: Moment,
    came: Arc<Notify>,
    go: Arc<Notify>,
}

/// When a line is kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before HAProxy gets it.
    Before,
    /// Before its answer is handed on.
    After,
}

/// What is kept waiting.
pub struct Held {
    came: Arc<Notify>,
    go: Arc<Notify>,
}

impl Held {
    /// Waits until there is something.
    pub async fn came(&self) {
        let came = tokio::time::timeout(LONG, self.came.notified()).await;
        came.expect("a line to hold");
    }

    /// Lets it go on.
    pub fn go(&self) {
        self.go.notify_one();
    }
}

/// A relay, ended when it is dropped.
pub struct Relay {
    pub path: PathBuf,
    /// How many lines that change something came by.
    pub changes: Arc<AtomicUsize>,
    hold: Arc<Mutex<Option<Hold>>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// One in `directory` before the socket at `to`.
    pub fn start(directory: &Path, to: &str, trouble: Trouble) -> Self {
        let path = directory.join("relay.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let changes = Arc::new(AtomicUsize::new(0));
        let hold: Arc<Mutex<Option<Hold>>> = Arc::default();
        let (to, counted) = (to.to_owned(), Arc::clone(&changes));
        let held = Arc::clone(&hold);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to, counted, held) = (to.clone(), Arc::clone(&counted), Arc::clone(&held));
                tokio::spawn(async move {
                    // A client that goes away is its own affair.
                    relay(client, &to, trouble, &counted, &held).await.ok();
                });
            }
        });
        Self {
            path,
            changes,
            hold,
            task,
        }
    }

    /// Keeps the next line that begins like this waiting.
    pub fn hold(&self, begins: &'static str, moment: Moment) -> Held {
        let (came, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        *self.hold.lock().unwrap() = Some(Hold {
            begins,
            moment,
            came: Arc::clone(&came),
            go: Arc::clone(&go),
        });
        Held { came, go }
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
    hold: &Mutex<Option<Hold>>,
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
    let held = hold
        .lock()
        .unwrap()
        .take_if(|hold| line.starts_with(hold.begins.as_bytes()));
    let wait = async |moment| {
        if let Some(hold) = held.as_ref().filter(|hold| hold.moment == moment) {
            hold.came.notify_one();
            hold.go.notified().await;
        }
    };
    wait(Moment::Before).await;
    let mut server = UnixStream::connect(to).await?;
    server.write_all(&line).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    wait(Moment::After).await;
    match is_change && trouble == Trouble::CutOff {
        // Dropped without a word.
        true => Ok(()),
        false => client.write_all(&answer).await,
    }
}
