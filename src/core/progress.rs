//! What a screen may show while something is under way. Droppable; never decides anything.

use super::names::Millis;

/// One step of something under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An image is being pulled.
    Pull {
        /// Its reference.
        image: String,
        /// Bytes that have arrived, over all layers known.
        done: u64,
        /// Bytes of all layers known; 0 while none is.
        total: u64,
    },
    /// An image is being built: the builder said something.
    Build {
        /// The role it is for.
        role: String,
        /// One line of the builder's.
        line: String,
    },
    /// Something that runs to its end said something: a job, a hook.
    Output {
        /// The role or the hook.
        of: String,
        /// One line of it.
        line: String,
    },
    /// Containers are being started.
    Start {
        /// How many run.
        done: u32,
        /// How many there shall be.
        total: u32,
    },
    /// A check of a probe has been answered.
    Check {
        /// The container's name.
        container: String,
        /// How many checks of it have been made.
        attempt: u32,
        /// Why it did not pass; `None` where it did.
        reason: Option<String>,
    },
    /// How many replicas have passed all their probes.
    Proving {
        /// How many have.
        done: u32,
        /// How many there are.
        total: u32,
    },
    /// Requests are still in flight to what the pointer has left.
    Drain {
        /// How many.
        left: u64,
        /// How long after the move they are cut.
        limit_ms: Millis,
    },
    /// The bake goes on.
    Bake {
        /// Until its end.
        left_ms: Millis,
    },
    /// A shared role stops, for as long as it takes to start again.
    Stop {
        /// The role.
        role: String,
    },
    /// Something is waited for that another one holds.
    Wait {
        /// What, and who holds it.
        what: String,
    },
}

/// Where progress goes. Never blocks, never fails.
pub trait Sink: Send + Sync {
    /// Takes one step, or drops it.
    fn progress(&self, step: Progress);
}

/// Drops everything.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Sink for Silent {
    fn progress(&self, _: Progress) {}
}
