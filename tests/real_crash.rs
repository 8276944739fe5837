//! The real program on the real engine, on bad days: killed at any moment, signalled, frozen,
//! rivalled, without its journal, its proxy or its engine.
//!
//! Each test has a service, a proxy, a store and a port of its own (`kit.rs`). What the core does
//! with each cut of a journal is the crash matrix's to show, on fakes.

mod bake;
pub mod daemon;
mod hand;
mod hooks;
mod kills;
pub mod kit;
mod marks;
mod proxy;
mod rivals;
mod rollback;
pub mod running;
mod signals;
mod sleep;
pub mod small;
mod trust;
mod workers;
