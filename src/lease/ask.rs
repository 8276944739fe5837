//! Requests to the holder of a lease: tokens `flipside.SERVICE.ask.M` which it looks for and
//! answers by removing them.
//!
//! A request names the holder it is for, so a later holder never takes it for its own: it removes
//! it when it begins. A request of somebody who died is answered like any other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::acquire::nonce;
use super::{Lease, token};
use crate::core::action::Ask;
use crate::core::event::Failure;
use crate::core::names::ServiceName;
use crate::engine::{Engine, EngineError, Token};

/// The first and the longest wait between two looks for an answer.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// A request that has been left.
pub struct Asked {
    engine: Arc<dyn Engine>,
    service: ServiceName,
    token: Token,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The holder has taken it, or the next one has swept it away.
    Taken,
    /// The holder has not answered in time.
    Silent,
    /// The holder it was for holds nothing any more: the lease can be acquired.
    Gone,
}

/// A request to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// By whom: `user@host`.
    pub by: String,
    token: String,
}

/// Leaves a request for whoever holds the service; `None` where nobody does.
///
/// # Errors
/// Where the engine does not answer.
pub async fn ask(
    engine: Arc<dyn Engine>,
    service: &ServiceName,
    ask: &Ask,
    by: &str,
) -> Result<Option<Asked>, EngineError> {
    let nonce = nonce()?;
    let asked = serde_json::to_string(ask).map_err(|error| {
        EngineError::Failed(Failure {
            what: format!("the request cannot be written down: {error}"),
            ..Failure::default()
        })
    })?;
    loop {
        let tokens = engine.tokens(service).await?;
        let leases = token::leases_among(&tokens, service);
        let Some(holder) = leases.last().filter(|top| !top.free) else {
            return Ok(None);
        };
        let numbers = tokens
            .iter()
            .filter_map(|token| token::number(token, service, "ask"));
        let number = numbers.max().unwrap_or(0) + 1;
        let wanted = Token {
            name: format!("{}{number}", token::prefix(service, "ask")),
            labels: BTreeMap::from([
                ("kind".to_owned(), "ask".to_owned()),
                ("service".to_owned(), service.to_string()),
                ("number".to_owned(), number.to_string()),
                ("ask".to_owned(), asked.clone()),
                ("by".to_owned(), by.to_owned()),
                ("nonce".to_owned(), nonce.clone()),
                ("to".to_owned(), holder.nonce.clone()),
            ]),
        };
        let there = engine.claim(service, &wanted).await?;
        if there.labels.get("nonce") == Some(&nonce) {
            return Ok(Some(Asked {
                engine,
                service: service.clone(),
                token: wanted,
            }));
        }
    }
}

impl Asked {
    /// Waits for the answer.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn answered(&self, within: Duration) -> Result<Reply, EngineError> {
        let deadline = Instant::now() + within;
        let (mut wait, longest) = LOOKS;
        loop {
            let tokens = self.engine.tokens(&self.service).await?;
            if !tokens.iter().any(|token| self.is(token)) {
                return Ok(Reply::Taken);
            }
            if !self.holds(&tokens) {
                return Ok(Reply::Gone);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Reply::Silent);
            }
            tokio::time::sleep(wait.min(left)).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Whether the holder it was for still holds the service.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn is_held(&self) -> Result<bool, EngineError> {
        let tokens = self.engine.tokens(&self.service).await?;
        Ok(self.holds(&tokens))
    }

    fn holds(&self, tokens: &[Token]) -> bool {
        let leases = token::leases_among(tokens, &self.service);
        let to = self.token.labels.get("to");
        leases.last().is_some_and(|top| Some(&top.nonce) == to)
    }

    /// Takes the request back; one that has been taken is no error.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn withdraw(self) -> Result<(), EngineError> {
        let name = &self.token.name;
        self.engine.drop_token(&self.service, name).await
    }

    fn is(&self, token: &Token) -> bool {
        token.name == self.token.name && token.labels.get("nonce") == self.token.labels.get("nonce")
    }
}

impl Lease {
    /// The requests to this holder, oldest first. What a newer flipside asks that this one does not
    /// know is left unanswered.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn pending(&self) -> Result<Vec<Request>, EngineError> {
        let held = &self.held;
        let tokens = held.engine.tokens(&held.service).await?;
        let mut pending: Vec<_> = tokens
            .into_iter()
            .filter(|token| token.labels.get("to") == Some(&held.nonce))
            .filter_map(|token| {
                let number = token::number(&token, &held.service, "ask")?;
                let request = Request {
                    ask: serde_json::from_str(token.labels.get("ask")?).ok()?,
                    by: token.labels.get("by")?.clone(),
                    token: token.name,
                };
                Some((number, request))
            })
            .collect();
        pending.sort_unstable_by_key(|(number, _)| *number);
        Ok(pending.into_iter().map(|(_, request)| request).collect())
    }

    /// Answers a request: it has been taken.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn answer(&self, request: &Request) -> Result<(), EngineError> {
        let held = &self.held;
        held.engine.drop_token(&held.service, &request.token).await
    }
}
