//! Which act belongs where a run is.

use super::action::{Action, Move};
use super::applying;
use super::routing::Mark;
use super::state::{Back, Clearing, Course, Stage, State};

impl State {
    /// Whether `action` belongs where the run is. What is legal here is what any version has ever
    /// decided, so that old journals can be read.
    pub(super) fn permits(&self, action: &Action) -> bool {
        use Action as A;
        if let A::Hook { name, .. } = action {
            return self.permits_hook(name);
        }
        match self.course {
            Course::Forward(stage) => match action {
                A::Prepare => stage == Stage::Opened,
                A::StandUp => stage == Stage::Prepared,
                A::Prove => stage == Stage::StoodUp,
                A::Mark {
                    mark: Mark::Proven, ..
                } => stage == Stage::Proven,
                A::Preview { .. } => matches!(stage, Stage::Proven | Stage::Marked),
                A::Switch { why, .. } => {
                    *why == Move::Promote && stage >= Stage::Proven && stage <= Stage::Previewed
                }
                A::Mark {
                    mark: Mark::Served(_),
                    ..
                } => stage == Stage::Switched,
                A::Verify { .. } => {
                    matches!(stage, Stage::Shown | Stage::Switched | Stage::Served)
                }
                A::Rest { .. } => stage == Stage::Verified,
                A::Work { .. } => matches!(stage, Stage::Verified | Stage::Rested),
                A::Watch { .. } => stage >= Stage::Verified && stage <= Stage::Working,
                A::Drain { .. } => stage >= Stage::Verified && stage <= Stage::Baked,
                A::Retire { .. } => stage == Stage::Drained,
                A::SeeClients { .. } | A::Sleep { .. } => {
                    matches!(stage, Stage::Drained | Stage::Retired)
                }
                A::Observe
                | A::Mark { .. }
                | A::Wake { .. }
                | A::Hide { .. }
                | A::TearDown { .. }
                | A::Hook { .. }
                | A::Apply { .. }
                | A::RemoveShared
                | A::Disconnect => false,
            },
            Course::GivingUp => matches!(action, A::Hide { .. } | A::TearDown { .. }),
            Course::Back(back) => match action {
                A::Switch { why, .. } => *why != Move::Promote && back == Back::Decided,
                A::Mark {
                    mark: Mark::Served(_),
                    ..
                } => back == Back::Moved,
                A::Mark {
                    mark: Mark::Withdrawn,
                    ..
                } => back == Back::Served,
                A::Verify { .. } => back >= Back::Moved && back <= Back::Withdrawn,
                A::Rest { .. } => back == Back::Verified,
                A::Work { .. } => matches!(back, Back::Verified | Back::Rested),
                A::Drain { .. } => back >= Back::Verified && back <= Back::Working,
                A::Wake { .. } => back == Back::Drained,
                _ => false,
            },
            Course::Clearing(clearing) => match action {
                A::Disconnect => clearing == Clearing::Opened,
                A::Retire { .. } => clearing <= Clearing::Disconnected,
                A::Wake { .. } => clearing == Clearing::Cleared,
                A::SeeClients { .. } => matches!(
                    clearing,
                    Clearing::Opened | Clearing::Cleared | Clearing::Woken
                ),
                A::Sleep { .. } => matches!(clearing, Clearing::Cleared | Clearing::Woken),
                A::RemoveShared => clearing == Clearing::Cleared,
                _ => false,
            },
            Course::Applying(at) => applying::due(self, at).as_ref() == Some(action),
            Course::Stuck | Course::Closed(_) => false,
        }
    }
}
