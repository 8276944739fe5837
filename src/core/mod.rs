//! The state machine of a release, and the vocabulary around it.
//!
//! Pure: no async, no I/O, no clock, no randomness, no logging, and nothing of ours imported from
//! outside this module. Time and the world come in with events.

pub mod action;
mod applying;
pub mod course;
pub mod decide;
pub mod dockerfile;
pub mod event;
pub mod hook;
pub mod late;
pub mod mask;
pub mod names;
pub mod narrate;
mod permits;
pub mod plan;
mod preview;
pub mod progress;
pub mod routing;
pub mod shared;
pub mod sharing;
mod sight;
pub mod sleep;
pub mod state;
pub mod strategy;
pub mod survey;
pub mod text;
pub mod verdict;
pub mod words;
pub mod workers;
pub mod world;

pub use names::{Fence, Generation, Millis, Release, RoleName, ServiceName, Slot};
