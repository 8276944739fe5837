//! Checks that an environment is fit to serve: the contract, the kinds, and the wait for all.
//!
//! One check is one question and one answer; retrying, backing off and counting live in one place
//! here, on a clock handed in by tokio's timer. Decides nothing: what an unfit environment means is
//! said by the core.

use async_trait::async_trait;

use crate::core::event::Failure;
use crate::core::names::{Millis, ServiceName};
use crate::core::plan::Probe;
use crate::core::progress::Sink;
use crate::core::world::Environment;
use crate::engine::{Engine, EngineError};

mod ask;
mod exits;
mod here;
mod prove;
mod question;
mod round;
mod settle;
mod tell;
mod watch;

pub use here::Here;
pub use question::Question;
pub use tell::unfit;

/// A place from which addresses can be checked: the embedded proxy, or this process.
#[async_trait]
pub trait Vantage: Send + Sync {
    /// Where it is, for messages: `proxy flipside-proxy`, `this machine`.
    fn place(&self) -> String;

    /// Makes sure that it can be asked: starts what is flipside's own and only there for this.
    ///
    /// # Errors
    /// Where it cannot be asked.
    async fn begin(&self, _: &dyn Sink) -> Result<(), VantageError> {
        Ok(())
    }

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

/// The vantage did not make the check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VantageError {
    /// It could not be asked, for now.
    #[error("{place} cannot check anything: {why}")]
    Away {
        /// Which.
        place: String,
        /// Why.
        why: String,
    },
    /// It does not know this kind of check, and will not before it is replaced.
    #[error("{place} {why}")]
    Unable {
        /// Which.
        place: String,
        /// Why, and what mends it.
        why: String,
    },
}

/// The checks of one environment: [`Proving::prove`] before it serves, [`Proving::watch`] while it
/// bakes, [`Proving::round`] before it serves again.
#[derive(Clone, Copy)]
pub struct Proving<'a> {
    /// Where it stands.
    pub engine: &'a dyn Engine,
    /// From where its addresses are checked.
    pub vantage: &'a dyn Vantage,
    /// Whose it is.
    pub service: &'a ServiceName,
    /// The environment as it was stood up or last seen.
    pub environment: &'a Environment,
    /// What is asked. From a plan they are whole; read back from labels they lack what is secret,
    /// and what cannot be asked for that reason counts as passed where the container runs.
    pub probes: &'a [Probe],
    /// Where progress goes.
    pub sink: &'a dyn Sink,
}

/// What one probe of one container said in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The container's name.
    pub container: String,
    /// `http /up`, `grpc shop.v1.Cart`, `tcp 5432`, `exec`, `health`; `running` of a container that does not run.
    pub probe: String,
    /// Passed, with what there is to note; or why not.
    pub result: Result<Option<String>, String>,
}

/// Why an environment is not known to be fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not.
    #[error("{}", .0.what)]
    Failed(Failure),
    /// Its engine did not tell.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its addresses could not be checked.
    #[error(transparent)]
    Vantage(#[from] VantageError),
}
