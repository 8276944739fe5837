//! What earlier runs left: settled before anything new begins, and after a rollback.

use crate::core::action::{Action, Ask};
use crate::core::event::{Event, Verb};
use crate::core::state::{Course, Stage, State};
use crate::core::verdict::Outcome;
use crate::drive::{Ledger, LedgerError};
use crate::error::{Error, Touched};
use crate::journal::RunLog;

use super::ledger::RunLedger;
use super::operator::{Held, Operator};
use super::run::Ended;

/// Whether a later run has moved the pointer since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Not that anybody knows.
    Nothing,
    /// A rollback has.
    Rollback,
}

impl Operator {
    /// Settles runs that have not ended, oldest first. One that has not switched is given up and
    /// removed; the newest, if it has switched, is verified and finished, or rolled back; others
    /// are closed, since later runs have overtaken them.
    ///
    /// # Errors
    /// Where such a run had to stop again.
    pub async fn settle(
        &self,
        runs: &[RunLog],
        since: Since,
        held: &mut Held,
    ) -> Result<Option<Ended>, Error> {
        let mut settled = None;
        for (age, log) in runs.iter().enumerate().rev() {
            if log.outcome().is_some() || log.opened().is_none() {
                continue;
            }
            let state = self.read_back(log)?;
            // What was to be removed then is not what may be removed now: only `resume` goes on with
            // a `prune` or a `down`.
            let removes = matches!(state.course, Course::Clearing(_));
            let overtaken = age > 0 || since == Since::Rollback || removes;
            if overtaken && !certainly_before_switch(&state) {
                self.supersede(log, &state, held).await?;
                continue;
            }
            let ask = match state.opened.verb {
                Verb::Deploy { .. } => Some(Ask::Settle),
                Verb::Rollback { .. } | Verb::Prune { .. } | Verb::Down { .. } => None,
            };
            settled = Some(self.go_on(log, ask, held).await?);
        }
        Ok(settled)
    }

    /// Closes a run that a later one has overtaken, without another act.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn supersede(&self, log: &RunLog, state: &State, held: &Held) -> Result<(), Error> {
        let outcome = match (&state.opened.verb, state.has_moved()) {
            (Verb::Deploy { .. }, true) => Outcome::RolledBack,
            (_, true) => Outcome::Done,
            (_, false) => Outcome::Refused,
        };
        let (report, clock) = (self.report.clone(), self.clock.clone());
        let away = |error: LedgerError| self.store_away(error.why, Touched::Something);
        let resumed = RunLedger::resume(self.journal()?, log, report, clock).await;
        let mut ledger = resumed.map_err(away)?;
        let closed = Event::Closed { outcome };
        ledger
            .record(held.lease.fence(), &closed)
            .await
            .map_err(away)?;
        ledger.seal().await.map_err(away)
    }
}

/// Whether a deploy has certainly not moved the pointer: not even an intent says so.
fn certainly_before_switch(state: &State) -> bool {
    let before = match state.course {
        Course::Forward(stage) => stage < Stage::Switched,
        Course::GivingUp => true,
        Course::Back(_) | Course::Clearing(_) | Course::Stuck | Course::Closed(_) => false,
    };
    before && !matches!(state.pending, Some(Action::Switch { .. }))
}
