//! A socket before another: what goes through can be held, changed, and cut.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;

use crate::real_verbs::kit::LONG;

/// What is done to what a client says, or its server.
pub type Hand = Arc<dyn Fn(String) -> String + Send + Sync>;

/// The relay. It is gone when it is dropped.
pub struct Relay {
    path: PathBuf,
    target: PathBuf,
    said: Hand,
    answered: Hand,
    open: Arc<Mutex<Vec<Weak<UnixStream>>>>,
}

impl Relay {
    /// Passes on what `said` makes of the client's words, and `answered` of the server's.
    pub fn with(path: &Path, target: &Path, said: Hand, answered: Hand) -> Self {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let relay = Self {
            path: path.into(),
            target: target.into(),
            said,
            answered,
            open: Arc::default(),
        };
        relay.mend();
        relay
    }

    /// Nobody gets through any more, and whoever is through is cut off.
    pub fn cut(&self) {
        std::fs::remove_file(&self.path).unwrap();
        self.hang_up();
    }

    fn hang_up(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                stream.shutdown(Shutdown::Both).ok();
            }
        }
    }

    /// Lets clients through, again.
    pub fn mend(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (target, open) = (self.target.clone(), Arc::clone(&self.open));
        let (said, answered) = (Arc::clone(&self.said), Arc::clone(&self.answered));
        let path = self.path.clone();
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                // One that came just before the cut.
                if !path.exists() {
                    return;
                }
                let Ok(server) = UnixStream::connect(&target) else {
                    continue;
                };
                let (client, server) = (Arc::new(client), Arc::new(server));
                let mut open = open.lock().unwrap();
                // Those that have ended are let go of with their descriptors.
                open.retain(|stream| stream.strong_count() > 0);
                open.extend([&client, &server].map(Arc::downgrade));
                let (from, to) = (Arc::clone(&client), Arc::clone(&server));
                let hand = Arc::clone(&said);
                thread::spawn(move || pass(from, to, &hand));
                let hand = Arc::clone(&answered);
                thread::spawn(move || pass(server, client, &hand));
            }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
        self.hang_up();
    }
}

fn pass(from: Arc<UnixStream>, to: Arc<UnixStream>, hand: &Hand) {
    let (mut from, mut to) = (&*from, &*to);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        // Archives and streams that are no text go through as they are.
        let sent = match std::str::from_utf8(&buffer[..read]) {
            Ok(text) => to.write_all(hand(text.to_owned()).as_bytes()),
            Err(_) => to.write_all(&buffer[..read]),
        };
        if sent.is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

/// A gate at which words are held.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    reached: bool,
}

impl Gate {
    /// Holds whoever comes until the gate is open.
    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.reached = true;
        self.changed.notify_all();
        let (_state, wait) = self
            .changed
            .wait_timeout_while(state, LONG, |state| !state.open)
            .unwrap();
        assert!(!wait.timed_out(), "the gate stayed shut");
    }

    /// Waits until somebody has come.
    pub fn until_reached(&self) {
        let state = self.state.lock().unwrap();
        let (_state, wait) = self
            .changed
            .wait_timeout_while(state, LONG, |state| !state.reached)
            .unwrap();
        assert!(!wait.timed_out(), "nobody came to the gate");
    }

    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}
