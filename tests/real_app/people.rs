//! Those who use the guestbook: some look, some sign, some wait for reports. They write down what they
//! were promised and what they did not get.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::kit::{Guestbook, ask};
use crate::real_crash::kit::example;
use crate::real_verbs::kit::{Ended, LONG};

/// How many sign, each one entry after the other.
const SIGNERS: usize = 2;
/// How many wait for a report, each for one after the other.
const READERS: usize = 2;

/// Those who use the guestbook until [`People::go_home`].
pub struct People {
    lookers: Ended,
    others: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    home: AtomicBool,
    asked: AtomicU64,
    notes: Mutex<Did>,
}

/// What they did.
#[derive(Debug, Default, Clone)]
pub struct Did {
    /// Entries that were answered with 201, in order.
    pub signed: Vec<String>,
    /// Requests without the answer that they should have had, and what came instead.
    pub lost: Vec<String>,
    /// How often each release was looked at.
    by_release: BTreeMap<String, u64>,
}

impl Did {
    pub fn answered_by(&self, release: &str) -> u64 {
        self.by_release.get(release).copied().unwrap_or_default()
    }
}

impl People {
    /// Comes, and has begun when it returns.
    pub fn at(book: &Guestbook) -> Self {
        let at = book.address();
        let lookers = Command::new(example("load"))
            .args([&at.to_string(), "--seconds", "3600"])
            .args(["--connections", "4", "--rest-ms", "20"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shared = Arc::new(Shared::default());
        let others = (0..SIGNERS + READERS).map(|who| {
            let shared = shared.clone();
            std::thread::spawn(move || match who < SIGNERS {
                true => shared.sign(at, who),
                false => shared.wait_for_reports(at),
            })
        });
        let people = Self {
            others: others.collect(),
            lookers: Ended(lookers),
            shared,
        };
        people.go_on();
        people
    }

    /// Returns when they have done some more.
    pub fn go_on(&self) {
        let before = self.shared.asked.load(Ordering::SeqCst);
        let end = Instant::now() + LONG;
        while self.shared.asked.load(Ordering::SeqCst) < before + 20 {
            assert!(Instant::now() < end, "nothing is answered any more");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// They end what they have begun, and tell.
    pub fn go_home(mut self) -> Did {
        self.shared.home.store(true, Ordering::SeqCst);
        for other in std::mem::take(&mut self.others) {
            other.join().unwrap();
        }
        let mut did = self.shared.notes.lock().unwrap().clone();
        let load = self.ask_lookers();
        assert!(load["sent"].as_u64() > Some(100), "{load}");
        if load["failed"] != 0 {
            did.lost.push(load.to_string());
        }
        let by_version = load["by_version"].as_object().unwrap().iter();
        did.by_release = by_version
            .map(|(release, count)| (release.clone(), count.as_u64().unwrap()))
            .collect();
        did.signed.sort();
        did
    }

    fn ask_lookers(&mut self) -> Value {
        let child = &mut self.lookers.0;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let mut text = String::new();
        let mut output = child.stdout.take().unwrap();
        output.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for People {
    fn drop(&mut self) {
        self.shared.home.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn sign(&self, at: SocketAddr, who: usize) {
        for number in 0.. {
            if self.home.load(Ordering::SeqCst) {
                return;
            }
            let text = format!("{who} for the {number:05}th time");
            let answer = ask(at, "POST", "/entries", &text);
            let mut notes = self.notes.lock().unwrap();
            match answer {
                Ok((201, _)) => notes.signed.push(text),
                other => notes.lost.push(format!("{text}: {other:?}")),
            }
            drop(notes);
            self.asked.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Slow enough that one is under way at every switch, and when all but the drain is over.
    fn wait_for_reports(&self, at: SocketAddr) {
        while !self.home.load(Ordering::SeqCst) {
            let answer = ask(at, "GET", "/report?seconds=6", "");
            if !matches!(answer, Ok((200, _))) {
                let lost = format!("a report: {answer:?}");
                self.notes.lock().unwrap().lost.push(lost);
            }
        }
    }
}
