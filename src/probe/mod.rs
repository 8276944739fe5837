//! Checks that an environment is fit to serve: the contract, the kinds, and the wait for all.
//!
//! One check is one question and one answer; retrying, backing off and counting live in one place
//! here, on a clock handed in by tokio's timer.

use async_trait::async_trait;

use crate::core::names::Millis;
use crate::core::plan::HttpProbe;

/// A place from which addresses can be checked: the embedded proxy, or this process.
#[async_trait]
pub trait Vantage: Send + Sync {
    /// Where it is, for messages: `proxy flipside-proxy`, `this machine`.
    fn place(&self) -> String;

    /// Makes one check of one address. `Ok(Err(reason))`: asked, and it did not pass.
    ///
    /// # Errors
    /// Where the vantage itself cannot be asked.
    async fn check(
        &self,
        address: std::net::SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError>;
}

/// What is asked of an address.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// An HTTP request; its port is the address's.
    Http(HttpProbe),
    /// A TCP connection.
    Tcp,
}

/// The vantage could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} cannot check anything: {why}")]
pub struct VantageError {
    /// Which.
    pub place: String,
    /// Why.
    pub why: String,
}
