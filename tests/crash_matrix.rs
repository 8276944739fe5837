//! The crash matrix: a journal cut at every record, a process killed at every call, answers that
//! are lost, late or partly true; and the promises of the design after every event.
//!
//! Everything runs on fakes and a paused clock. What the matrix would miss is shown by cores and
//! shells that are broken on purpose: each must make it fail, naming its promise.

mod adopted;
mod broken;
mod cases;
mod checker;
mod clock;
mod doors;
mod hooks;
mod journals;
mod late;
mod left;
mod previewed;
mod random;
mod rest;
mod shared;
mod single;
mod sleeping;
mod slotted;
mod stage;
mod sweep;
mod tape;
mod together;
mod unrecorded;
mod workers;
