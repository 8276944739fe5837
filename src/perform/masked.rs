//! Sink and vantage of a run whose plan holds secrets: what passes through them is foreign text.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::core::mask::Mask;
use crate::core::names::Millis;
use crate::core::progress::{Progress, Sink};
use crate::probe::{Question, Vantage, VantageError};

/// A sink that gets no secret.
pub(super) struct MaskedSink {
    pub(super) mask: Arc<Mask>,
    pub(super) sink: Arc<dyn Sink>,
}

impl Sink for MaskedSink {
    fn progress(&self, step: Progress) {
        self.sink.progress(self.mask.progress(step));
    }
}

/// A vantage whose answers hold no secret. They end where the answer of what was asked was cut.
pub(super) struct MaskedVantage {
    pub(super) mask: Arc<Mask>,
    pub(super) vantage: Arc<dyn Vantage>,
}

#[async_trait]
impl Vantage for MaskedVantage {
    fn place(&self) -> String {
        self.vantage.place()
    }

    async fn begin(&self, sink: &dyn Sink) -> Result<(), VantageError> {
        self.vantage.begin(sink).await
    }

    async fn check(
        &self,
        address: SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        let answer = self.vantage.check(address, question, timeout_ms).await?;
        Ok(answer.map_err(|reason| self.mask.hide_cut(&reason)))
    }
}
