//! The embedded proxy on an engine elsewhere as a place to check from, where another pointer sends the
//! traffic: started when the first check is to be made, and taken down with the last service of its
//! engine, as it serves none.

use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::super::{Pointer, PointerError};
use super::{ProxyOptions, ProxyPointer};
use crate::core::names::Millis;
use crate::core::progress::{Silent, Sink};
use crate::probe::{Question, Vantage, VantageError};

/// The embedded proxy of an engine, for its checks alone.
#[derive(Debug)]
pub struct Probing {
    proxy: ProxyPointer,
    begun: OnceCell<()>,
}

impl Probing {
    /// One that has not been looked for yet.
    #[must_use]
    pub fn new(options: ProxyOptions) -> Self {
        Self {
            proxy: ProxyPointer::new(options),
            begun: OnceCell::new(),
        }
    }
}

#[async_trait]
impl Vantage for Probing {
    fn place(&self) -> String {
        self.proxy.place()
    }

    async fn begin(&self, sink: &dyn Sink) -> Result<(), VantageError> {
        let begun = self.begun.get_or_try_init(|| self.proxy.ready(sink)).await;
        begun.copied().map_err(|error| {
            let place = self.place();
            match error {
                PointerError::OutOfReach { why, .. } | PointerError::Lost { why, .. } => {
                    VantageError::Away { place, why }
                }
                PointerError::Failed { what, hint } => VantageError::Unable {
                    place,
                    why: match hint {
                        Some(hint) => format!("cannot be had: {what} ({hint})"),
                        None => format!("cannot be had: {what}"),
                    },
                },
                error @ PointerError::Refused { .. } => VantageError::Unable {
                    place,
                    why: format!("cannot be had: {error}"),
                },
            }
        })
    }

    async fn check(
        &self,
        address: SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        self.begin(&Silent).await?;
        let answer = self.proxy.check(address, question, timeout_ms).await?;
        // It is nowhere else in sight.
        Ok(answer.map_err(|reason| format!("{reason} (asked from {})", self.place())))
    }
}
