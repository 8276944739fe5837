//! The wait until every replica has passed all its probes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::ask::{Answer, Missed, Pair};
use super::tell::{self, Case};
use super::{Proving, Unfit};
use crate::core::progress::Progress;
use crate::core::words::millis;

/// The first wait between two checks. Also how long the first check is alone: a container that
/// answers at once costs no other call.
const FIRST: Duration = Duration::from_millis(5);

/// What is known of one pair while it is being waited for.
#[derive(Debug, Clone, Default)]
struct Tally {
    checks: u32,
    passed: bool,
    hopeless: bool,
    missed: Option<Missed>,
}

/// Why a wait ended without having passed.
enum Ended {
    /// Its deadline came.
    Late,
    /// It never will pass.
    Hopeless,
}

impl Proving<'_> {
    /// Waits until every replica of every probed role has passed its probes, all at once, and holds
    /// that what no probe asks runs. Answers how many checks were made.
    ///
    /// The first check comes at once (after the probe's initial delay), the waits between checks
    /// double from 5 ms to the interval. A container that ends, ends it at once. An engine or
    /// vantage out of reach is a check that did not pass.
    ///
    /// # Errors
    /// [`Unfit::Failed`] where a replica has not passed by its probe's deadline, counted from the
    /// call, or has ended; the others where at that deadline nobody could be asked.
    pub async fn prove(&self) -> Result<u64, Unfit> {
        let start = Instant::now();
        if let Some(failure) = self.incomplete() {
            return Err(Unfit::Failed(failure));
        }
        let pairs = self.pairs();
        let board = Mutex::new(vec![Tally::default(); pairs.len()]);
        if !pairs.is_empty() {
            tokio::select! {
                biased;
                done = self.wait_all(start, &pairs, &board) => done?,
                exits = self.exits(FIRST) => {
                    let after = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let when = format!(", {} after probing began", millis(after));
                    return Err(self.fell(exits, &when).await);
                }
            }
        }
        self.unasked(self.deadline(start)).await?;
        let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(board.iter().map(|tally| u64::from(tally.checks)).sum())
    }

    async fn wait_all(
        &self,
        start: Instant,
        pairs: &[Pair<'_>],
        board: &Mutex<Vec<Tally>>,
    ) -> Result<(), Unfit> {
        let mut left = vec![0_u32; self.environment.containers.len()];
        for pair in pairs {
            left[pair.index] += 1;
        }
        let total = left.iter().map(|&left| u32::from(left > 0)).sum();
        let mut done = 0;
        self.sink.progress(Progress::Proving { done, total });
        let mut waits: FuturesUnordered<_> = pairs
            .iter()
            .enumerate()
            .map(|(row, pair)| async move { (pair, self.wait(start, row, pair, board).await) })
            .collect();
        while let Some((pair, ended)) = waits.next().await {
            match ended {
                Ok(()) => {
                    left[pair.index] -= 1;
                    if left[pair.index] == 0 {
                        done += 1;
                        self.sink.progress(Progress::Proving { done, total });
                    }
                }
                Err(ended) => {
                    let board = board.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    return Err(self.late(pair, &ended, pairs, &board).await);
                }
            }
        }
        Ok(())
    }

    /// Checks one pair until it has passed as often as it must.
    async fn wait(
        &self,
        start: Instant,
        row: usize,
        pair: &Pair<'_>,
        board: &Mutex<Vec<Tally>>,
    ) -> Result<(), Ended> {
        let probe = pair.probe;
        let longest = Duration::from_millis(probe.interval_ms);
        let checks = async {
            if probe.initial_delay_ms > 0 {
                sleep(Duration::from_millis(probe.initial_delay_ms)).await;
            }
            let mut wait = FIRST;
            let (mut attempt, mut in_a_row) = (0, 0);
            loop {
                attempt += 1;
                let answer = self.ask(pair, attempt).await;
                let done = match &answer {
                    Answer::Passed => {
                        in_a_row += 1;
                        // What must pass several times in a row must do so over time.
                        wait = longest;
                        (in_a_row >= probe.passes).then_some(Ok(()))
                    }
                    Answer::NotAsked(_) => Some(Ok(())),
                    Answer::Missed(_) => {
                        in_a_row = 0;
                        None
                    }
                    Answer::Hopeless(_) => Some(Err(Ended::Hopeless)),
                };
                note(board, row, answer, matches!(done, Some(Ok(()))));
                if let Some(done) = done {
                    return done;
                }
                sleep(wait.min(longest).max(Duration::from_millis(1))).await;
                wait = longest.min(wait * 2);
            }
        };
        let deadline = start + Duration::from_millis(probe.deadline_ms);
        timeout_at(deadline, checks)
            .await
            .unwrap_or(Err(Ended::Late))
    }

    /// What it means that `first` has not passed, and what is known of all others that have not.
    async fn late(
        &self,
        first: &Pair<'_>,
        ended: &Ended,
        pairs: &[Pair<'_>],
        board: &[Tally],
    ) -> Unfit {
        let open = |(pair, tally): &(&Pair<'_>, &Tally)| match ended {
            Ended::Late => !tally.passed && pair.probe.deadline_ms <= first.probe.deadline_ms,
            Ended::Hopeless => tally.hopeless,
        };
        let mut away = None;
        let mut cases: Vec<Case<'_>> = Vec::new();
        for (pair, tally) in pairs.iter().zip(board).filter(open) {
            if let Some(unfit) = tally.missed.as_ref().and_then(Missed::away) {
                away = away.or(Some(unfit));
                continue;
            }
            let reason = match &tally.missed {
                Some(missed) => missed.reason(),
                None if tally.checks > 0 => "it did not pass often enough in a row".into(),
                None => format!("no answer yet, asked from {}", self.vantage.place()),
            };
            let title = tell::title(pair.probe);
            let told = format!("`{title}`: {reason}");
            if let Some(case) = cases
                .iter_mut()
                .find(|case| case.container.id == pair.container.id)
            {
                case.reasons.push(told);
                continue;
            }
            let who = tell::replica(self.environment, pair.container);
            let limit = tell::span(pair.probe.deadline_ms);
            let case = Case {
                what: match ended {
                    Ended::Late => format!("{who} did not pass `{title}` within {limit}: {reason}"),
                    Ended::Hopeless => format!("{who} cannot pass `{title}`: {reason}"),
                },
                hint: tell::hint(&reason, pair.probe),
                container: pair.container,
                reasons: vec![told],
            };
            // The one that ended the wait is the one that is named.
            match std::ptr::eq(pair.probe, first.probe) && pair.index == first.index {
                true => cases.insert(0, case),
                false => cases.push(case),
            }
        }
        match (cases.is_empty(), away) {
            (true, Some(unfit)) => unfit,
            _ => Unfit::Failed(self.failure(cases).await),
        }
    }
}

fn note(board: &Mutex<Vec<Tally>>, row: usize, answer: Answer, passed: bool) {
    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
    let tally = &mut board[row];
    tally.passed = passed;
    tally.checks += u32::from(!matches!(answer, Answer::NotAsked(_)));
    tally.hopeless = matches!(answer, Answer::Hopeless(_));
    tally.missed = match answer {
        Answer::Passed | Answer::NotAsked(_) => None,
        Answer::Missed(missed) => Some(missed),
        Answer::Hopeless(reason) => Some(Missed::Failed(reason)),
    };
}
