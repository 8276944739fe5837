//! Counting requests without sharing a cache line between workers.
//!
//! Every worker writes only to its own [`Lane`]; whoever wants a number adds the lanes up.
//!
//! A number "in flight at the switch" must be exact, or finished and cut would not add up to it.
//! A worker therefore announces, by its [`Picking`] counter being odd, that it is choosing an
//! environment from the table; a switch stores the new table and then waits until every worker
//! that was choosing has finished ([`Picking::settle`]). After that no request can still start on
//! the old table: whoever began before the switch is counted, whoever begins later sees the new
//! table. Choosing takes well under a microsecond and never awaits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use tokio::sync::Notify;

/// One worker's announcement that it is reading the table.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Picking(AtomicU64);

impl Picking {
    /// Runs `choose` while a switch that has stored its table waits for it.
    pub fn during<T>(&self, choose: impl FnOnce() -> T) -> T {
        /// Ends the announcement even if choosing panics; a switch would wait for ever.
        struct Chosen<'a>(&'a AtomicU64);

        impl Drop for Chosen<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Release);
            }
        }

        self.0.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let _chosen = Chosen(&self.0);
        choose()
    }

    /// Waits until no choice that began before this call is still going on.
    pub fn settle(&self) {
        fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::SeqCst);
        if seen.is_multiple_of(2) {
            return;
        }
        while self.0.load(Ordering::Acquire) == seen {
            std::thread::yield_now();
        }
    }
}

/// What one worker has counted for one release since the proxy started.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// Requests that chose this release.
    pub requests: AtomicU64,
    /// Answers by class of status, 1xx first.
    pub statuses: [AtomicU64; 5],
    /// Requests that no replica could be made to answer.
    pub unreachable: AtomicU64,
    /// Requests begun, less those ended.
    pub started: AtomicU64,
    /// Requests ended, in whatever way.
    pub ended: AtomicU64,
}

/// One worker's part of a [`Stint`].
#[derive(Debug)]
#[repr(align(128))]
pub struct Lane {
    /// Number of the release.
    pub release: u64,
    started: AtomicU64,
    ended: AtomicU64,
    retired: AtomicBool,
    quiet: Arc<Notify>,
    /// What this worker counts for the release over all its stints.
    pub tally: Arc<Tally>,
}

impl Lane {
    /// Counts a request in.
    pub fn start(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.tally.started.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request out.
    pub fn end(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.tally.ended.fetch_add(1, Ordering::Relaxed);
        if self.retired.load(Ordering::SeqCst) {
            self.quiet.notify_one();
        }
    }
}

/// One uninterrupted time of a release in the routing of a service: it begins when the release is
/// first named with a weight, and ends when it is not named any more.
#[derive(Debug)]
pub struct Stint {
    /// Number of the release.
    pub release: u64,
    lanes: Box<[Arc<Lane>]>,
    quiet: Arc<Notify>,
    cut: AtomicU64,
}

impl Stint {
    /// A stint of `release` that adds to `tallies`, one for each worker.
    pub fn new(release: u64, tallies: &[Arc<Tally>]) -> Stint {
        let quiet = Arc::new(Notify::new());
        Stint {
            release,
            lanes: tallies
                .iter()
                .map(|tally| {
                    Arc::new(Lane {
                        release,
                        started: AtomicU64::new(0),
                        ended: AtomicU64::new(0),
                        retired: AtomicBool::new(false),
                        quiet: quiet.clone(),
                        tally: tally.clone(),
                    })
                })
                .collect(),
            quiet,
            cut: AtomicU64::new(0),
        }
    }

    /// The lane of one worker.
    pub fn lane(&self, worker: usize) -> &Arc<Lane> {
        &self.lanes[worker]
    }

    /// Requests begun.
    pub fn started(&self) -> u64 {
        let started = |lane: &Arc<Lane>| lane.started.load(Ordering::SeqCst);
        self.lanes.iter().map(started).sum()
    }

    /// Requests ended.
    pub fn ended(&self) -> u64 {
        let ended = |lane: &Arc<Lane>| lane.ended.load(Ordering::SeqCst);
        self.lanes.iter().map(ended).sum()
    }

    /// Requests going on. Exact once nothing can start any more.
    pub fn in_flight(&self) -> u64 {
        let ended = self.ended();
        self.started().saturating_sub(ended)
    }

    /// From now on [`Stint::quieter`] is woken whenever a request ends.
    pub fn retire(&self) {
        for lane in &self.lanes {
            lane.retired.store(true, Ordering::SeqCst);
        }
    }

    /// Waits until a request may have ended.
    pub async fn quieter(&self) {
        self.quiet.notified().await;
    }

    /// Notes that `number` requests were cut.
    pub fn note_cut(&self, number: u64) {
        self.cut.fetch_add(number, Ordering::SeqCst);
    }

    /// Requests that were cut.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }
}
