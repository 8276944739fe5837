//! The bake: probes go on after a switch, and enough failures in a row end it.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::ask::{Answer, Missed, Pair};
use super::tell::{self, Case};
use super::{Proving, Unfit};
use crate::core::progress::Progress;
use crate::core::words::count;

/// How often the time left is told.
const TELL: Duration = Duration::from_secs(1);

/// Why a bake ended badly for one pair.
enum Spoilt {
    /// As many failures in a row as the probe allows, the last for this reason.
    Failed(String),
    /// Nobody could be asked at the end.
    Away(Unfit),
}

impl Proving<'_> {
    /// Checks every probe of every replica at its interval until `until`, at least once. A streak
    /// of failures that has begun by then is seen to its end: a pass, or the probe's `failures`.
    ///
    /// # Errors
    /// [`Unfit::Failed`] where one probe of one replica fails `failures` times in a row or a
    /// container ends. An engine or vantage out of reach says nothing of the release: it is no
    /// failure of a probe, and an error only where it is still so at the end.
    pub async fn watch(&self, until: Instant) -> Result<(), Unfit> {
        let pairs = self.pairs();
        let bake = async {
            let mut watches: FuturesUnordered<_> = pairs
                .iter()
                .map(|pair| async move { (pair, self.keep_asking(pair, until).await) })
                .collect();
            while let Some((pair, kept)) = watches.next().await {
                match kept {
                    Ok(()) => {}
                    Err(Spoilt::Away(unfit)) => return Err(unfit),
                    Err(Spoilt::Failed(reason)) => {
                        return Err(Unfit::Failed(self.spoilt(pair, reason).await));
                    }
                }
            }
            if Instant::now() < until {
                sleep_until(until).await;
            }
            self.unasked(until).await
        };
        tokio::select! {
            biased;
            done = bake => done,
            exits = self.exits(Duration::ZERO) => Err(self.fell(exits, " during the bake").await),
            never = self.tell_left(until) => match never {},
        }
    }

    async fn keep_asking(&self, pair: &Pair<'_>, until: Instant) -> Result<(), Spoilt> {
        let interval = Duration::from_millis(pair.probe.interval_ms.max(1));
        let threshold = pair.probe.failures.max(1);
        let (mut attempt, mut in_a_row) = (0, 0);
        let mut due = Instant::now();
        loop {
            attempt += 1;
            let mut away = None;
            match self.ask(pair, attempt).await {
                Answer::Passed | Answer::NotAsked(_) => in_a_row = 0,
                Answer::Missed(Missed::Early(_)) => {}
                Answer::Missed(Missed::Failed(reason)) => {
                    in_a_row += 1;
                    if in_a_row >= threshold {
                        return Err(Spoilt::Failed(reason));
                    }
                }
                Answer::Missed(missed) => away = missed.away(),
                Answer::Hopeless(reason) => return Err(Spoilt::Failed(reason)),
            }
            // A check that took longer than the interval is not made up for.
            due = (due + interval).max(Instant::now());
            if due >= until {
                match away {
                    Some(unfit) => return Err(Spoilt::Away(unfit)),
                    None if in_a_row == 0 => return Ok(()),
                    None => {}
                }
            }
            sleep_until(due).await;
        }
    }

    async fn spoilt(&self, pair: &Pair<'_>, reason: String) -> crate::core::event::Failure {
        let title = tell::title(pair.probe);
        let who = tell::replica(self.environment, pair.container);
        let times = match pair.probe.failures {
            0 | 1 => String::new(),
            n => format!(" {} in a row", count(n.into(), "time")),
        };
        let case = Case {
            what: format!("{who} failed `{title}`{times} during the bake: {reason}"),
            hint: tell::hint(&reason, pair.probe),
            container: pair.container,
            reasons: vec![format!("`{title}`: {reason}")],
        };
        self.failure(vec![case]).await
    }

    async fn tell_left(&self, until: Instant) -> Infallible {
        let mut next = Instant::now();
        loop {
            let left = until.saturating_duration_since(next);
            self.sink.progress(Progress::Bake {
                left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            });
            if left.is_zero() {
                return std::future::pending().await;
            }
            next += TELL;
            sleep_until(next).await;
        }
    }
}
