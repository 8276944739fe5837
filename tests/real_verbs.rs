//! The program as users and pipelines call it, on a real Docker engine.

mod builds;
mod deploys;
mod idle;
pub mod kit;
mod listeners;
mod others;
mod previews;
mod prunes;
mod pulls;
mod registry;
mod resumes;
mod rollbacks;
mod secrets;
mod streams;
mod sweep;
mod sweep_hooks;
mod views;
