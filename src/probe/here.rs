//! Checks from this process.
//!
//! Neither repeats nor schedules; the check itself is the one the embedded proxy makes.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{Question, Vantage, VantageError};
use crate::core::names::Millis;
use crate::proxy::check::{self, Outcome};

/// This process as a vantage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here;

#[async_trait]
impl Vantage for Here {
    fn place(&self) -> String {
        "this machine".into()
    }

    async fn check(
        &self,
        address: SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        let asked = match question.check(address, timeout_ms) {
            Ok(asked) => asked,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(match check::check(&asked).await {
            Outcome::Pass { .. } => Ok(()),
            Outcome::Fail { reason } => Err(reason.to_string()),
        })
    }
}
