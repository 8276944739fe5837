//! How a run ends, and what that means to the caller.

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was asked for is done.
    Done,
    /// The release was switched to and back again; what served before serves.
    RolledBack,
    /// The release was given up before the switch; what served before serves.
    Refused,
    /// A person must decide.
    Stuck,
    /// The release is shown to those who ask for the preview; the run stays open, and `promote` goes on.
    Previewed,
    /// A person must say what became of a hook; the run stays open, and `resume` goes on with that.
    Unsure,
    /// Cut short after something was touched; `resume` goes on.
    Interrupted,
}

impl Outcome {
    /// Whether the run is not over with it: another command goes on.
    #[must_use]
    pub fn stays_open(self) -> bool {
        matches!(self, Self::Previewed | Self::Unsure | Self::Interrupted)
    }
}
