//! Which way a run goes, and how far it has come.

use super::names::{Generation, Millis, Release};
use super::verdict::Outcome;

/// Which way a run goes, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// A deploy towards its end.
    Forward(Stage),
    /// A deploy that is given up before the switch.
    GivingUp,
    /// The pointer goes back: a rollback, or a deploy that failed after the switch.
    Back(Back),
    /// Environments are removed: `prune`, `down`.
    Clearing(Clearing),
    /// Shared roles get the plan's settings: `shared apply`.
    Applying(Applying),
    /// Only a person can say how it goes on.
    Stuck,
    /// Over.
    Closed(Outcome),
}

/// What a deploy has done last, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its opening record is written.
    Opened,
    /// Images are pinned.
    Prepared,
    /// Containers have been started.
    StoodUp,
    /// All probes have passed.
    Proven,
    /// The engine knows so (where the pointer keeps no marks).
    Marked,
    /// The pointer shows it to those who ask for the preview (where the run waits for its promotion).
    Shown,
    /// It answers them.
    Previewed,
    /// The pointer names the release: the point of no return.
    Switched,
    /// The engine knows that it serves (likewise).
    Served,
    /// It answers through the pointer.
    Verified,
    /// No live-only container of another release runs any more (where any has such).
    Rested,
    /// Its own run, and have settled (where it has such).
    Working,
    /// The bake is over.
    Baked,
    /// Nothing is in flight to what was left.
    Drained,
    /// What nothing needs is gone.
    Retired,
    /// The standbys sleep, as the plan says.
    Slept,
}

/// What a way back has done last, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Back {
    /// It is decided.
    Decided,
    /// The pointer names the older release.
    Moved,
    /// The engine knows that it serves (where the pointer keeps no marks).
    Served,
    /// The engine knows that the other is withdrawn (likewise).
    Withdrawn,
    /// It answers through the pointer.
    Verified,
    /// No live-only container of another release runs any more (where any has such).
    Rested,
    /// Its own run, and have settled (where it has such).
    Working,
    /// Nothing is in flight to what was left.
    Drained,
    /// It was found asleep, and has been woken.
    Woken,
}

/// What a clearing has done last, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clearing {
    /// Its opening record is written.
    Opened,
    /// The pointer knows nothing of the service (`down` only).
    Disconnected,
    /// The environments are gone.
    Cleared,
    /// What gets the traffic was found asleep, and has been woken (`prune` only).
    Woken,
    /// The standbys sleep, as the plan says (likewise).
    Slept,
    /// The shared roles are gone (`down --shared` only).
    Bare,
}

/// How far a `shared apply` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applying {
    /// How many of its roles are done.
    pub done: usize,
    /// Whether the next one was begun by a call of which nobody knows how far it came.
    pub halfway: bool,
}

/// Whether a run has seen the world since it was taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It has.
    Fresh,
    /// It has to look.
    Stale,
}

/// How far a release's bake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bake {
    /// It has not begun.
    ToCome,
    /// It was begun by the process that drives the run.
    Begun,
    /// It was begun by another one.
    GoesOn,
}

impl Bake {
    /// It is about to be watched.
    #[must_use]
    pub fn watched(self) -> Self {
        match self {
            Self::ToCome | Self::Begun => Self::Begun,
            Self::GoesOn => Self::GoesOn,
        }
    }

    /// Another process goes on with the run.
    #[must_use]
    pub fn resumed(self) -> Self {
        match self {
            Self::ToCome => Self::ToCome,
            Self::Begun | Self::GoesOn => Self::GoesOn,
        }
    }
}

/// What is known of a candidate's preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preview {
    /// The pointer shows it to those who ask, or did when it was last looked at.
    pub shown: bool,
    /// Somebody who may has said that it shall be switched to.
    pub promoted: bool,
}

/// Whether anything of the candidate may stand on the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    /// Nothing was begun, or everything has been removed.
    Nothing,
    /// Something was begun.
    Something,
}

/// A move of the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The release it names since.
    pub to: Release,
    /// The release it left.
    pub from: Option<Release>,
    /// Its number.
    pub generation: Generation,
    /// When, in milliseconds since the epoch.
    pub at: Millis,
}
