//! Accounts of what was in flight at each switch, and the wait until it has ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::control::{ControlError, Entry, Progress, ReleaseStats, Settled, Stats};
use super::count::{Stint, Tally};
use super::desk::Desk;
use super::refuse::unknown;

/// Switches of one service that are remembered.
const REMEMBERED: usize = 64;
/// Shortest time between two lines of progress.
const PACE: Duration = Duration::from_millis(100);

/// What has been counted for one service since the proxy started.
#[derive(Default)]
pub(super) struct Ledger {
    tallies: BTreeMap<u64, Vec<Arc<Tally>>>,
    current: BTreeMap<u64, Arc<Stint>>,
    switches: VecDeque<(u64, Arc<Switch>)>,
}

/// What was in flight at one switch.
pub(super) struct Switch {
    parts: Vec<Part>,
}

struct Part {
    stint: Arc<Stint>,
    in_flight: u64,
}

impl Switch {
    /// The account of stints that nothing can start on any more; `ended` is what had ended in each
    /// at the instant of the switch.
    pub fn new(stints: Vec<Arc<Stint>>, ended: &[u64]) -> Switch {
        let parts = stints.into_iter().zip(ended).map(|(stint, ended)| Part {
            in_flight: stint.started().saturating_sub(*ended),
            stint,
        });
        Switch {
            parts: parts.collect(),
        }
    }

    /// Requests in flight at the instant of the switch.
    pub fn in_flight(&self) -> u64 {
        self.parts.iter().map(|part| part.in_flight).sum()
    }

    fn left(&self) -> u64 {
        self.parts.iter().map(|part| part.stint.in_flight()).sum()
    }

    fn settled(&self) -> Settled {
        let in_flight = self.in_flight();
        let cut: u64 = self.parts.iter().map(|part| part.stint.cut()).sum();
        let kept = self.left();
        Settled {
            in_flight: Some(in_flight),
            finished: Some(in_flight.saturating_sub(cut + kept)),
            cut: Some(cut),
            kept: Some(kept),
        }
    }
}

impl Ledger {
    /// The stint that counts `release` now; a new one where it has none.
    pub fn stint(&mut self, release: u64, tallies: impl FnOnce() -> Vec<Arc<Tally>>) -> Arc<Stint> {
        let tallies = self.tallies.entry(release).or_insert_with(tallies);
        self.current
            .entry(release)
            .or_insert_with(|| Arc::new(Stint::new(release, tallies)))
            .clone()
    }

    /// Every stint on which something may still go on.
    pub fn stints(&self) -> impl Iterator<Item = &Arc<Stint>> {
        let switches = self.switches.iter();
        let left = switches.flat_map(|(_, switch)| switch.parts.iter().map(|part| &part.stint));
        self.current.values().chain(left)
    }

    /// Ends the stints of all releases to which `entry` gives no weight.
    pub fn retire_all_but(&mut self, entry: &Entry) -> Vec<Arc<Stint>> {
        let weighted = |release: &u64| {
            let mut named = entry.environments.iter();
            let shown = entry.preview.as_ref().and_then(|preview| preview.release);
            named.any(|route| {
                route.release == *release && (route.weight > 0 || shown == Some(*release))
            })
        };
        let gone: Vec<u64> = self
            .current
            .keys()
            .copied()
            .filter(|it| !weighted(it))
            .collect();
        let retired = gone
            .iter()
            .filter_map(|release| self.current.remove(release));
        retired.inspect(|stint| stint.retire()).collect()
    }

    /// Forgets what was counted for `releases`, except for those that have traffic.
    pub fn forget(&mut self, releases: &[u64]) {
        let current = &self.current;
        self.tallies
            .retain(|release, _| current.contains_key(release) || !releases.contains(release));
    }

    /// Remembers the switch that made `generation`.
    pub fn record(&mut self, generation: u64, switch: Switch) {
        self.switches.push_back((generation, Arc::new(switch)));
        if self.switches.len() > REMEMBERED {
            self.switches.pop_front();
        }
    }

    /// The switch that made `generation`, where it is remembered.
    pub fn switch(&self, generation: u64) -> Option<&Arc<Switch>> {
        let mut switches = self.switches.iter();
        switches.find_map(|(made, switch)| (*made == generation).then_some(switch))
    }
}

impl Desk {
    /// Waits until what was in flight at the switch to `generation` has ended, at most `limit`,
    /// and then cuts what is left.
    ///
    /// # Errors
    ///
    /// Where there is no such service.
    pub async fn settle(
        &self,
        service: &str,
        generation: u64,
        limit: Duration,
        progress: impl Fn(Progress),
    ) -> Result<Settled, ControlError> {
        if !self.shared.routes.load().services.contains_key(service) {
            return Err(unknown(service));
        }
        let switch = {
            let books = self.books.lock().await;
            let ledger = books.ledgers.get(service);
            ledger.and_then(|it| it.switch(generation)).cloned()
        };
        let Some(switch) = switch else {
            return Ok(Settled::default());
        };
        if timeout(limit, wait(&switch, progress)).await.is_err() {
            self.cut_rest(service, &switch).await;
        }
        Ok(switch.settled())
    }

    async fn cut_rest(&self, service: &str, switch: &Switch) {
        let mut cut_parts = Vec::new();
        for part in &switch.parts {
            // Looked at part by part: another switch may have come in between.
            let back_again = self
                .shared
                .routes
                .load()
                .services
                .get(service)
                .is_some_and(|it| {
                    let mut named = it.environments.iter();
                    named.any(|environment| environment.stint.release == part.stint.release)
                });
            if !back_again {
                part.stint.note_cut(self.cut(&part.stint).await);
                cut_parts.push(&part.stint);
            }
        }
        // What was told to close is gone as soon as its worker gets to it.
        let patience = Instant::now() + Duration::from_secs(2);
        while cut_parts.iter().any(|stint| stint.in_flight() > 0) && Instant::now() < patience {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// What has been counted for `service`.
    ///
    /// # Errors
    ///
    /// Where there is no such service.
    pub async fn stats(&self, service: &str) -> Result<Stats, ControlError> {
        let books = self.books.lock().await;
        let ledger = books.ledgers.get(service).ok_or_else(|| unknown(service))?;
        let releases = ledger
            .tallies
            .iter()
            .map(|(release, lanes)| (*release, sum(lanes)));
        Ok(Stats {
            releases: releases.collect(),
        })
    }
}

async fn wait(switch: &Switch, progress: impl Fn(Progress)) {
    let mut told = None;
    loop {
        let left = switch.left();
        if left == 0 {
            return;
        }
        if told != Some(left) {
            told = Some(left);
            progress(Progress { left });
        }
        let pace = sleep(PACE);
        let Some(part) = switch.parts.iter().find(|part| part.stint.in_flight() > 0) else {
            return;
        };
        // Woken at the last end, and otherwise at the pace of the progress.
        tokio::pin!(pace);
        loop {
            tokio::select! {
                () = &mut pace => break,
                () = part.stint.quieter() => if switch.left() == 0 { break },
            }
        }
    }
}

fn sum(lanes: &[Arc<Tally>]) -> ReleaseStats {
    let mut stats = ReleaseStats::default();
    let mut ended = 0;
    let mut started = 0;
    for lane in lanes {
        // Ended before started, so that the difference is never below what goes on.
        ended += lane.ended.load(Ordering::Acquire);
        started += lane.started.load(Ordering::Acquire);
        stats.requests += lane.requests.load(Ordering::Relaxed);
        stats.unreachable += lane.unreachable.load(Ordering::Relaxed);
        for (class, count) in lane.statuses.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                *stats
                    .statuses
                    .entry(format!("{}xx", class + 1))
                    .or_default() += count;
            }
        }
    }
    stats.in_flight = started.saturating_sub(ended);
    stats
}
