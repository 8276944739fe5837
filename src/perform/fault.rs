//! Why an act has no good outcome, and the one place where calls are repeated.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::core::event::{Event, Failure, SwitchRefusal};
use crate::core::routing::Routing;
use crate::engine::EngineError;
use crate::pointer::PointerError;
use crate::probe::Unfit;

/// Why an act has no good outcome.
#[derive(Debug)]
pub(super) enum Fault {
    Failed(Failure),
    Lost(String),
    Away(String),
    Refused(SwitchRefusal, Option<Box<Routing>>),
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Failed(failure) => Self::Failed(failure),
            error @ EngineError::OutOfReach { .. } => Self::Away(error.to_string()),
            error @ EngineError::Lost { .. } => Self::Lost(error.to_string()),
        }
    }
}

impl From<PointerError> for Fault {
    fn from(error: PointerError) -> Self {
        match error {
            PointerError::Failed { what, hint } => Self::Failed(Failure {
                what,
                hint,
                replicas: Vec::new(),
            }),
            PointerError::Refused { why, found } => Self::Refused(why, found),
            error @ PointerError::OutOfReach { .. } => Self::Away(error.to_string()),
            error @ PointerError::Lost { .. } => Self::Lost(error.to_string()),
        }
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Failed(failure) => Self::Failed(failure),
            Unfit::Engine(error) => error.into(),
            Unfit::Vantage(error) => Self::Away(error.to_string()),
        }
    }
}

impl From<Fault> for Event {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(failure) => Self::Failed(failure),
            Fault::Lost(why) | Fault::Away(why) => Self::Lost { why },
            Fault::Refused(why, found) => Self::SwitchRefused { why, found },
        }
    }
}

/// Calls `call` until it answers, while what it needs is out of reach, with backoff and jitter, for
/// as long as `limit`. Nothing else is repeated: it would not help, or it might do harm.
pub(super) async fn insist<T, F, Fut>(what: &str, limit: Duration, call: F) -> Result<T, Fault>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Fault>>,
{
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .with_max_times(12)
        .build();
    let tries = async {
        loop {
            match call().await {
                Err(Fault::Away(why)) => match waits.next() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(Fault::Away(why)),
                },
                done => return done,
            }
        }
    };
    let seconds = limit.as_secs();
    tokio::time::timeout(limit, tries)
        .await
        .unwrap_or_else(|_| {
            Err(Fault::Lost(format!(
                "{what} did not answer within {seconds} s"
            )))
        })
}
