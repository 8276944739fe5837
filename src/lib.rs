//! Flipside: immutable blue/green deployments on a plain Docker host.
//!
//! # Code map
//!
//! | module | holds |
//! | --- | --- |
//! | [`core`] | the state machine of a release: pure, no async, no I/O, no clock, no randomness, no logging |
//! | [`drive`] | the one loop: decide, journal the intent, perform, journal the outcome, apply, report |
//! | [`perform`] | one action of the core turned into calls on the traits, with deadlines and retries |
//! | [`plan`] | the plan file and its Compose files: reading, checking, explaining what is wrong with them, proposing a first one |
//! | [`journal`] | the append-only record of everything intended and everything that happened |
//! | [`lease`] | the lock on the engine, and the requests to its holder |
//! | [`engine`] | where environments stand; [`docker`] is the client its adapters share |
//! | [`pointer`] | what sends traffic |
//! | [`probe`] | checks that an environment is fit to serve |
//! | [`hook`] | hooks that run on the deployer: commands and requests |
//! | [`proxy`] | the embedded load balancer: a server, not an adapter |
//! | [`report`] | what people and pipelines see: terminal, plain lines, JSON lines |
//! | [`process`] | the end of a command on this machine, for hooks and pointers |
//! | [`web`] | the HTTP client that hooks and pointers share |
//! | [`guide`] | the manual: pages shown here and by `flipside help TOPIC` |
//! | [`cmd`] | one file per verb; [`cli`] has the flags, [`error`] the expected errors and exit codes |
//!
//! # Invariants
//!
//! - `core` and `proxy` import nothing of ours. Adapters (`engine`, `pointer`, `probe`, `hook`) import
//!   `core`, their own `mod.rs` and a named shared helper; never a sibling kind, never the journal,
//!   a report or the loop. Reports never touch engines or pointers. A test reads `src/` and holds
//!   these rules.
//! - Everything that can fail happens before the pointer moves; draining and retiring happen after.
//!   There is no undo code: a rollback is the same move with another target.
//! - An intent is durable before its act. An intent without an outcome is settled by looking at the
//!   world, never by trusting a memory of it.
//! - Adapters do not retry, sleep, print or read the clock; every async call gets its deadline from
//!   its caller, in [`perform`].
//! - Nothing outside `journal`, labels, the proxy's table and the record of a pointer that keeps no
//!   notes of its own is a durable format.

pub mod cli;
pub mod cmd;
pub mod core;
pub mod docker;
pub mod drive;
pub mod engine;
pub mod error;
pub mod guide;
pub mod hook;
pub mod journal;
pub mod lease;
pub mod perform;
pub mod plan;
pub mod pointer;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod report;
pub mod web;
