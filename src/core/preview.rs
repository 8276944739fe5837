//! A candidate that is shown to those who ask for it, until somebody promotes it or gives it up.

use super::action::Action;
use super::event::Verb;
use super::names::Generation;
use super::routing::Routing;
use super::state::{Course, Stage, State};

/// Whether the run waits at its preview: it was asked to, and nobody has promoted it.
pub(super) fn waits(state: &State) -> bool {
    matches!(
        state.opened.verb,
        Verb::Deploy {
            until_preview: true,
            ..
        }
    ) && !state.preview.promoted
}

/// What shows the candidate.
pub(super) fn show(state: &State) -> Option<Action> {
    Some(Action::Preview {
        release: state.release(),
        expected: state.expected(),
    })
}

/// What takes it away again, where it is shown.
pub(super) fn hide(state: &State) -> Option<Action> {
    let expected = state.written.filter(|_| state.preview.shown)?;
    Some(Action::Hide {
        release: state.release(),
        expected,
    })
}

impl State {
    /// The generation that the pointer must still have for the run's next write.
    #[must_use]
    pub fn expected(&self) -> Option<Generation> {
        self.written.or(self.opened.generation)
    }

    /// Whether it waits at its preview for somebody to promote its release, or to give it up.
    #[must_use]
    pub fn waits_for_promotion(&self) -> bool {
        self.course == Course::Forward(Stage::Previewed) && self.pending.is_none() && waits(self)
    }

    /// The pointer shows the candidate, with this number.
    pub(super) fn shown(&mut self, generation: Generation) {
        self.written = Some(generation);
        self.preview.shown = true;
    }

    /// It shows it no more; `generation` is that of the write which took it away, if that was needed.
    pub(super) fn hidden(&mut self, generation: Option<Generation>) {
        self.pending = None;
        self.lost = 0;
        self.written = generation;
        self.preview.shown = false;
    }

    /// A preview whose answer is missing: the pointer shows the candidate, or does not yet. Where
    /// somebody else has moved it, the next write is refused.
    pub(super) fn settle_preview(&mut self, found: Option<&Routing>) {
        let next = self.expected().map_or(1, |generation| generation + 1);
        let release = self.release();
        if let Some(found) = found
            && found.preview == Some(release)
            && found.generation == next
        {
            self.shown(next);
        }
    }
}
