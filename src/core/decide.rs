//! What to do next. Knows nothing of how a run came to be where it is: a run that goes on and a run
//! that was read back from the journal are the same to it.

use super::action::{Action, Ask, Move, Proof};
use super::event::{MarkKeeper, Verb};
use super::routing::Mark;
use super::state::{Back, Clearing, Course, LOST_LIMIT, Stage, State, Stood};
use super::strategy;
use super::verdict::Outcome;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Do this.
    Act(Action),
    /// Stop. [`Outcome::Interrupted`] leaves the run open for `resume`; the others close it.
    End(Outcome),
}

/// Decides.
#[must_use]
pub fn decide(state: &State) -> Next {
    if let Course::Closed(outcome) = state.course {
        return Next::End(outcome);
    }
    if state.ask == Some(Ask::Yield) || state.lost >= LOST_LIMIT {
        return Next::End(Outcome::Interrupted);
    }
    if state.pending.is_some() {
        return Next::Act(Action::Observe);
    }
    match state.course {
        Course::Forward(stage) => strategy::next(state, stage),
        Course::GivingUp => give_up(state),
        Course::Back(back) => go_back(state, back),
        Course::Clearing(clearing) => clear(state, clearing),
        Course::Stuck => Next::End(Outcome::Stuck),
        Course::Closed(outcome) => Next::End(outcome),
    }
}

fn give_up(state: &State) -> Next {
    match state.stood {
        Stood::Something => Next::Act(Action::TearDown {
            release: state.release(),
        }),
        Stood::Nothing => Next::End(Outcome::Refused),
    }
}

/// `prune` and `down`: what the opening record names goes, after the pointer has let go of it.
fn clear(state: &State, clearing: Clearing) -> Next {
    match (&state.opened.verb, clearing) {
        (Verb::Down { .. }, Clearing::Opened) => Next::Act(Action::Disconnect),
        (Verb::Down { releases } | Verb::Prune { releases }, Clearing::Disconnected)
        | (Verb::Prune { releases }, Clearing::Opened) => Next::Act(Action::Retire {
            releases: releases.clone(),
        }),
        _ => Next::End(Outcome::Done),
    }
}

/// A rollback, or a deploy that failed after the switch: the same move with another reason.
fn go_back(state: &State, back: Back) -> Next {
    let (from, to, why, proof) = match state.opened.verb {
        Verb::Rollback { from, to, proof } => (from, to, Move::RollBack, proof),
        Verb::Deploy { release, .. } => match state.opened.live {
            Some(before) => (release, before, Move::Revert, Proof::Trusted),
            None => return Next::End(Outcome::Stuck),
        },
        Verb::Prune { .. } | Verb::Down { .. } => return Next::End(Outcome::Stuck),
    };
    let engine_marks = state.opened.marks == MarkKeeper::Engine;
    let expected = state
        .moved
        .map(|moved| moved.generation)
        .or(state.opened.generation);
    let generation = expected.unwrap_or_default();
    match back {
        Back::Decided => Next::Act(Action::Switch {
            to,
            from: Some(from),
            expected,
            why,
            proof,
        }),
        Back::Moved if engine_marks => Next::Act(Action::Mark {
            release: to,
            mark: Mark::Served(generation),
        }),
        Back::Served => Next::Act(Action::Mark {
            release: from,
            mark: Mark::Withdrawn,
        }),
        Back::Moved | Back::Withdrawn => Next::Act(Action::Verify { release: to }),
        Back::Verified if state.ask == Some(Ask::Leave) => Next::End(Outcome::Interrupted),
        Back::Verified => Next::Act(Action::Drain { generation }),
        Back::Drained => Next::End(match why {
            Move::Revert => Outcome::RolledBack,
            Move::RollBack | Move::Promote => Outcome::Done,
        }),
    }
}

/// The generation that the pointer must still have for the candidate's first move.
pub(super) fn promote(state: &State) -> Next {
    Next::Act(Action::Switch {
        to: state.release(),
        from: state.opened.live,
        expected: state.opened.generation,
        why: Move::Promote,
        proof: Proof::Trusted,
    })
}

/// Whether a signal asked the run to stop where it may.
pub(super) fn may_leave(state: &State, stage: Stage) -> bool {
    state.ask == Some(Ask::Leave) && stage >= Stage::Verified
}
