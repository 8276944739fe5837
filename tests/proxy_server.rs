//! The embedded proxy: real servers before and behind it, on loopback.

mod bodies;
mod checks;
mod clients;
mod framing;
mod grpc;
mod headers;
pub mod kit;
mod orders;
mod routing;
mod saving;
mod slot_ends;
mod slot_table;
mod slots;
mod switching;
mod trouble;
mod words;
