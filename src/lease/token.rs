//! Lease tokens as text: their names and labels. `inspect` by a person shows the same words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::process::Process;
use super::{Held, Terms};
use crate::core::names::{Fence, ServiceName};
use crate::engine::{Engine, EngineError, Token};

/// Who holds a lease, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `user@host`.
    pub name: String,
    /// The process, on its own host.
    pub pid: Option<u32>,
    /// The lease's number.
    pub number: Fence,
    /// Where its journal is.
    pub state: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(pid) = self.pid {
            write!(f, ", process {pid}")?;
        }
        write!(f, " (journal in {})", self.state)
    }
}

/// A lease token that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub name: String,
    pub number: Fence,
    pub nonce: String,
    pub lifetime: Duration,
    /// Its holder has let go and left it for its number's sake.
    pub free: bool,
    pub process: Option<Process>,
    holder: String,
    state: String,
}

impl Seen {
    pub fn of(number: Fence, token: &Token) -> Self {
        let label = |name: &str| token.labels.get(name).cloned();
        let lifetime = label("lifetime_ms").and_then(|text| text.parse().ok());
        Self {
            name: token.name.clone(),
            number,
            nonce: label("nonce").unwrap_or_default(),
            lifetime: lifetime.map_or(Terms::default().lifetime, Duration::from_millis),
            free: token.labels.contains_key("free"),
            process: Process::from_labels(&token.labels),
            holder: label("holder").unwrap_or_else(|| "somebody".to_owned()),
            state: label("state").unwrap_or_else(|| "an unknown place".to_owned()),
        }
    }

    pub fn holder(&self) -> Holder {
        Holder {
            name: self.holder.clone(),
            pid: self.process.as_ref().map(|process| process.pid),
            number: self.number,
            state: self.state.clone(),
        }
    }
}

/// The part of a token's name that all of one kind share.
pub(super) fn prefix(service: &ServiceName, kind: &str) -> String {
    format!("flipside.{service}.{kind}.")
}

/// The number in a token's name.
pub(super) fn number(token: &Token, service: &ServiceName, kind: &str) -> Option<u64> {
    let number = token.name.strip_prefix(&prefix(service, kind))?;
    number.parse().ok()
}

/// The lease tokens among these, ascending by number.
pub(super) fn leases_among(tokens: &[Token], service: &ServiceName) -> Vec<Seen> {
    let mut seen: Vec<_> = tokens
        .iter()
        .filter_map(|token| Some(Seen::of(number(token, service, "lease")?, token)))
        .collect();
    seen.sort_unstable_by_key(|seen| seen.number);
    seen
}

/// All lease tokens of a service, ascending by number.
pub(super) async fn leases(
    engine: &dyn Engine,
    service: &ServiceName,
) -> Result<Vec<Seen>, EngineError> {
    Ok(leases_among(&engine.tokens(service).await?, service))
}

/// The token that says: held.
pub(super) fn lease(held: &Held, number: Fence) -> Token {
    let mut labels = BTreeMap::from([
        ("kind".to_owned(), "lease".to_owned()),
        ("service".to_owned(), held.service.to_string()),
        ("number".to_owned(), number.to_string()),
        ("holder".to_owned(), held.who.name.clone()),
        ("nonce".to_owned(), held.nonce.clone()),
        ("state".to_owned(), held.who.state.clone()),
        (
            "lifetime_ms".to_owned(),
            held.terms.lifetime.as_millis().to_string(),
        ),
    ]);
    if let Some(process) = &held.who.process {
        process.write_labels(&mut labels);
    }
    Token {
        name: format!("{}{number}", prefix(&held.service, "lease")),
        labels,
    }
}

/// The token that says: free, and this number is used up.
pub(super) fn free(held: &Held, number: Fence) -> Token {
    let mut token = lease(held, number);
    token.labels.insert("free".to_owned(), "yes".to_owned());
    token
}
