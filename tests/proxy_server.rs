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
mod switching;
mod trouble;
mod words;
