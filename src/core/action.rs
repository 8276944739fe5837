//! What the core asks the shell to do.

use serde::{Deserialize, Serialize};

use super::names::{Generation, Millis, Release, RoleName};
use super::plan::StandbyMode;
use super::routing::Mark;

/// One act. Journalled as an intent before it is performed (but for [`Action::Observe`], which
/// changes nothing); performing it twice is the same as performing it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Action {
    /// Look at engine and pointer, and record what is there: settles an intent without an outcome.
    Observe,
    /// Resolve, pull or build every image, and pin it.
    Prepare,
    /// Make what is missing of the candidate's environment.
    StandUp,
    /// Wait until every probe of every replica of the candidate has passed.
    Prove,
    /// Write a mark on the engine (where the pointer does not keep marks).
    Mark {
        /// Whose mark.
        release: Release,
        /// Which.
        mark: Mark,
    },
    /// Make the pointer show the candidate to those who ask for the preview; nobody else sees it.
    Preview {
        /// The candidate.
        release: Release,
        /// The generation that must still be the pointer's; `None`: it must know nothing.
        expected: Option<Generation>,
    },
    /// Take the preview of a candidate that is given up away.
    Hide {
        /// The candidate.
        release: Release,
        /// The generation with which it is shown. With another one the pointer shows it no more.
        expected: Generation,
    },
    /// Move the pointer: all traffic to `to`.
    Switch {
        /// The release that shall get the traffic.
        to: Release,
        /// The release that must be live for the move to be right; `None`: none.
        from: Option<Release>,
        /// The generation that must still be the pointer's; `None`: it must know nothing.
        expected: Option<Generation>,
        /// Why, and what becomes of `from`.
        why: Move,
        /// What `to` must show first.
        proof: Proof,
    },
    /// Ask the service through the pointer until the answer comes from `release`; before the move that
    /// is asked as those do who ask for the preview.
    Verify {
        /// The release that must answer.
        release: Release,
    },
    /// Wait until nothing is in flight to what the move with this generation left, and cut the rest
    /// at the drain limit.
    Drain {
        /// The move.
        generation: Generation,
    },
    /// Stop the live-only containers of these, and wait until none of them runs.
    Rest {
        /// Which.
        releases: Vec<Release>,
    },
    /// Start the live-only containers of the live release, and watch them until they have settled.
    Work {
        /// The release that is live.
        release: Release,
    },
    /// Probe the live release until the time is over, or enough probes have failed in a row.
    Watch {
        /// Milliseconds since the epoch.
        until: Millis,
    },
    /// Look whether clients that remember longer than they may still come to these.
    SeeClients {
        /// Which, ascending.
        releases: Vec<Release>,
    },
    /// Remove older environments that nothing needs.
    Retire {
        /// Which.
        releases: Vec<Release>,
    },
    /// Run a hook to its end, or read back how it ended.
    Hook {
        /// Its name.
        name: String,
        /// How often it has been begun anew on a person's word.
        #[serde(default, skip_serializing_if = "is_zero")]
        repeat: u32,
    },
    /// Put standbys that run to sleep, once nothing is in flight to them.
    Sleep {
        /// Which.
        releases: Vec<Release>,
        /// How they sleep.
        mode: StandbyMode,
    },
    /// Wake what gets the traffic, where it was found asleep.
    Wake {
        /// Which.
        release: Release,
    },
    /// Make the pointer forget the service: nothing answers for it any more.
    Disconnect,
    /// Give a shared role the plan's settings: make its container anew, or put the old one back.
    Apply {
        /// Which.
        role: RoleName,
    },
    /// Remove the shared roles, but for their volumes.
    RemoveShared,
    /// Remove the candidate, whole.
    TearDown {
        /// Which.
        release: Release,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why the pointer moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// To a candidate that has passed its probes; what it leaves becomes the standby.
    Promote,
    /// To a standby, because somebody asked; what it leaves is withdrawn.
    RollBack,
    /// To what was live before, because the release failed after the switch; likewise.
    Revert,
}

/// What an environment must show before the pointer moves to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// One round of its network probes, all replicas at once.
    Round,
    /// Nothing: its last proof is trusted, or somebody said `--force`.
    Trusted,
}

/// How the name of what asks begins where nobody does: the time that a signal leaves is over.
pub const TIME_UP: &str = "the end of ";

/// What an operator asks of a run that another one holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// Hand the service over, now: a rollback is waiting.
    Yield,
    /// Give the release up.
    Abort,
    /// Take the next step: switch to what is only shown for preview, or end the bake.
    Promote,
    /// Come to an end, because another run is waiting: before the switch give the release or the
    /// rollback up; after it finish without the rest of the bake.
    Settle,
    /// Stop here, as a signal asks: before the switch give the release up; after it verify, and leave
    /// the rest to `resume`.
    Leave,
}

impl Ask {
    /// Which of two asks wins: the one with the higher number.
    #[must_use]
    pub fn strength(&self) -> u8 {
        match self {
            Self::Promote => 0,
            Self::Settle => 1,
            Self::Leave => 2,
            Self::Abort => 3,
            Self::Yield => 4,
        }
    }
}
