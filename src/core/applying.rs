//! `shared apply`: one shared role after the other gets the plan's settings. What was begun with one is
//! ended before anything else is heeded: its old container may be stopped.

use super::action::{Action, Ask};
use super::course::{Applying, Course};
use super::decide::Next;
use super::event::Verb;
use super::state::State;
use super::verdict::Outcome;

/// The next step of a run that has come so far.
pub(super) fn next(state: &State, applying: Applying) -> Next {
    let asked = matches!(state.ask, Some(Ask::Leave | Ask::Abort | Ask::Settle));
    match due(state, applying) {
        _ if state.failure.is_some() => Next::End(Outcome::Refused),
        None => Next::End(Outcome::Done),
        Some(_) if asked && !applying.halfway => Next::End(Outcome::Refused),
        Some(action) => Next::Act(action),
    }
}

/// What is to be done next, if anything is left.
pub(super) fn due(state: &State, applying: Applying) -> Option<Action> {
    let Verb::Apply { roles, .. } = &state.opened.verb else {
        return None;
    };
    let role = roles.get(applying.done)?.clone();
    Some(Action::Apply { role })
}

impl State {
    /// One more role is done.
    pub(super) fn applied(&mut self, done: usize) {
        self.pending = None;
        self.lost = 0;
        self.course = Course::Applying(Applying {
            done: done + 1,
            halfway: false,
        });
    }

    /// It is not known how far the present role has come.
    pub(super) fn doubt_applied(&mut self) {
        if let Course::Applying(applying) = &mut self.course {
            applying.halfway = true;
        }
    }
}
