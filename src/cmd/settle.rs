//! What earlier runs left: settled before anything new begins, and after a rollback.

use crate::core::action::{Action, Ask};
use crate::core::event::{Event, Verb};
use crate::core::names::Release;
use crate::core::routing::Routing;
use crate::core::state::{Course, Stage, State};
use crate::core::verdict::Outcome;
use crate::core::workers;
use crate::core::world::World;
use crate::drive::{Ledger, LedgerError};
use crate::error::{Error, Touched};
use crate::journal::RunLog;

use super::clear::by_live_plan;
use super::ledger::RunLedger;
use super::operator::{Held, Operator, Runs};
use super::recall::{has_moved, moved_on};
use super::run::Ended;

/// What is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Another release.
    Release,
    /// Nothing more: a rollback has just been done.
    Rollback,
    /// What a release that waits at its preview can wait beside.
    Other,
}

/// What closes a run without another act.
struct Overtaken {
    outcome: Outcome,
    /// What was found without a record.
    seen: Option<Event>,
}

impl Operator {
    /// Settles runs that have not ended, oldest first. One that has not switched is given up, and
    /// what it had stood up is removed; one that has is verified and finished, or rolled back,
    /// unless the pointer has moved on since: then it is closed. Answers the end of the first after
    /// which nothing more may be done.
    ///
    /// # Errors
    /// Where such a run had to stop again.
    pub async fn settle(
        &self,
        runs: &[RunLog],
        ahead: Ahead,
        held: &mut Held,
    ) -> Result<Option<Ended>, Error> {
        for (age, log) in runs.iter().enumerate().rev() {
            if log.outcome().is_some() || log.opened().is_none() {
                continue;
            }
            let state = self.read_back(log)?;
            if ahead == Ahead::Other && state.waits_for_promotion() {
                continue;
            }
            // Whoever drives it may still be at it, and a rollback needs nothing of it.
            if ahead == Ahead::Rollback && matches!(state.course, Course::Applying(_)) {
                continue;
            }
            if let Some(overtaken) = self.overtaken(&state, &runs[..age], ahead).await? {
                self.supersede(log, overtaken.seen, overtaken.outcome, held)
                    .await?;
                continue;
            }
            let ended = self.go_on(log, Some(Ask::Settle), None, held).await?;
            if let Some(ended) = stops(ended) {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Hands the workers over to the live release, where those that run are not its own: a rollback
    /// without a journal may have been cut short before it did, and no record says so. `runs` and
    /// `world` are as just looked at, and are looked at again after it. `None` where the right ones run.
    ///
    /// # Errors
    /// Where engine, pointer or journal cannot be asked, or the hand-over had to stop.
    pub async fn hand_over(
        &self,
        runs: &mut Runs,
        world: &mut World,
        held: &mut Held,
    ) -> Result<Option<Ended>, Error> {
        let Some(to) = workers::astray(world) else {
            return Ok(None);
        };
        let ended = by_live_plan(self, Verb::HandOver { to }, runs, world, held).await?;
        (*runs, *world) = (self.need_runs().await?, self.look().await?);
        Ok(Some(ended))
    }

    /// Settles what a rollback that is done has left behind. The pointer has moved; what cannot be
    /// settled now can wait for the next command.
    pub async fn settle_left(&self, runs: &[RunLog], held: &mut Held) {
        if let Err(error) = self.settle(runs, Ahead::Rollback, held).await {
            self.report
                .warn(&format!("an earlier run could not be settled: {error}"));
        }
    }

    /// Whether `state` is that of a run that has nothing left to do, since the pointer has moved on;
    /// `newer` are the runs after it.
    async fn overtaken(
        &self,
        state: &State,
        newer: &[RunLog],
        ahead: Ahead,
    ) -> Result<Option<Overtaken>, Error> {
        let unseen = |outcome| {
            Some(Overtaken {
                outcome,
                seen: None,
            })
        };
        // What was to be removed then is not what may be removed now: only `resume` goes on with a
        // `prune` or a `down`.
        // Whose workers are to run now is asked of the pointer anew, too.
        let anew = matches!(state.opened.verb, Verb::HandOver { .. });
        if anew || matches!(state.course, Course::Clearing(_)) {
            return Ok(unseen(Outcome::Refused));
        }
        if certainly_before_switch(state) {
            return Ok(None);
        }
        if ahead == Ahead::Rollback || newer.iter().any(has_moved) {
            return Ok(unseen(left_by(state)));
        }
        let read = self.pointer.read().await;
        let routing = read
            .map_err(|error| Error::of_pointer(self.service.as_str(), error, Touched::Something))?;
        Ok(routing.and_then(|routing| elsewhere(state, &routing)))
    }

    /// Closes a run that a later one has overtaken, without another act.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn supersede(
        &self,
        log: &RunLog,
        seen: Option<Event>,
        outcome: Outcome,
        held: &Held,
    ) -> Result<(), Error> {
        let (report, clock) = (self.report.clone(), self.clock.clone());
        let away = |error: LedgerError| self.store_away(error.why, Touched::Something);
        let resumed = RunLedger::resume(self.journal()?, log, report, clock).await;
        let mut ledger = resumed.map_err(away)?;
        for event in seen.into_iter().chain([Event::Closed { outcome }]) {
            ledger
                .record(held.lease.fence(), &event)
                .await
                .map_err(away)?;
        }
        ledger.seal().await.map_err(away)
    }
}

/// An end after which nothing more may be done: a person has to look, or a signal has come, and
/// what was to follow is given up.
pub(super) fn stops(ended: Ended) -> Option<Ended> {
    match (ended.outcome, &ended.state.ask) {
        (Outcome::Interrupted | Outcome::Stuck | Outcome::Unsure, _) => Some(ended),
        (Outcome::Done, Some(Ask::Leave)) => Some(Ended {
            outcome: Outcome::Refused,
            ..ended
        }),
        (_, Some(Ask::Leave)) => Some(ended),
        _ => None,
    }
}

/// What became of a run that a rollback has overtaken.
fn left_by(state: &State) -> Outcome {
    match (&state.opened.verb, state.has_moved()) {
        (Verb::Deploy { .. }, true) => Outcome::RolledBack,
        (_, true) => Outcome::Done,
        (_, false) => Outcome::Refused,
    }
}

/// What a routing says that has moved on by another one's hand: by a rollback without this journal,
/// or by an operator with another.
fn elsewhere(state: &State, routing: &Routing) -> Option<Overtaken> {
    let last = state.expected().unwrap_or_default();
    // A move whose answer was lost may be this run's own.
    let own =
        matches!(state.pending, Some(Action::Switch { to, .. }) if routing.live() == Some(to));
    if own || routing.generation <= last {
        return None;
    }
    let served = |release: Release| {
        let marks = routing.marks.get(&release);
        state.has_moved() || marks.is_some_and(|marks| marks.served.is_some())
    };
    let outcome = match state.opened.verb {
        Verb::Deploy { release, .. } if !served(release) => Outcome::Refused,
        Verb::Deploy { release, .. } if routing.live() < Some(release) => Outcome::RolledBack,
        Verb::Rollback { to, .. } if !state.has_moved() && routing.live() != Some(to) => {
            Outcome::Refused
        }
        Verb::HandOver { to } if routing.live() != Some(to) => Outcome::Refused,
        _ => Outcome::Done,
    };
    Some(Overtaken {
        outcome,
        seen: Some(moved_on(routing)),
    })
}

/// Whether a deploy has certainly not moved the pointer: not even an intent says so.
fn certainly_before_switch(state: &State) -> bool {
    let before = match state.course {
        Course::Forward(stage) => stage < Stage::Switched,
        Course::GivingUp | Course::Applying(_) => true,
        Course::Back(_) | Course::Clearing(_) | Course::Stuck | Course::Closed(_) => false,
    };
    before && !matches!(state.pending, Some(Action::Switch { .. }))
}
