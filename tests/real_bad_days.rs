//! Bad days that no other test on the real engine has, each told by the guide's page of them.

mod disk;
mod engine;
mod engine_disk;
mod host;
mod many;
mod phase;
mod proxy;
pub mod relay;
mod restart;
mod signals;
mod standby;
mod terminal;
mod workers;
