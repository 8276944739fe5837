//! The servers that answer users for a zone: whether all of them say what they should.
//!
//! Shared by the kinds that give a name in DNS what they send traffic to. Each server is asked
//! itself, by its address, never a resolver that remembers.

use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;

use super::PointerError;
use crate::core::progress::{Progress, Sink};
use question::{question, serial};
use servers::Server;
use sets::RrSet;

pub mod checks;
pub mod note;
pub mod question;
pub mod servers;
pub mod sets;
pub mod shown;
pub mod wire;

/// How often servers are asked whether they have heard of a move.
const LOOK: Duration = Duration::from_millis(250);

/// What is asked of the servers of a zone.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub zone: &'a Name,
    pub name: &'a Name,
    pub kind: RecordType,
}

/// What is wrong with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apart {
    /// It tells users something else than it should.
    Says(String),
    /// What it tells them is not known.
    Silent(String),
}

impl std::fmt::Display for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Says(words) | Self::Silent(words)) = self;
        f.write_str(words)
    }
}

/// What is wrong with a server; `wrong` has words for what it says, where that is not what it should.
pub async fn apart(
    server: &Server,
    asked: Asked<'_>,
    wrong: impl Fn(Option<RrSet>) -> Option<String>,
) -> Option<Apart> {
    let Asked { zone, name, kind } = asked;
    let called = &server.name;
    match question(server.at, name, kind, None).await {
        Ok(answer) => {
            let words = wrong(RrSet::in_answer(&answer, name, kind))?;
            let serial = match serial(server.at, zone).await {
                Some(serial) => format!(" (serial {serial})"),
                None => String::new(),
            };
            Some(Apart::Says(format!("{called} still says {words}{serial}")))
        }
        Err(error) => Some(Apart::Silent(format!("{called} {error}"))),
    }
}

/// What a comparison has shown, and which servers were apart in it.
pub type Compared<T> = (T, Vec<String>);

/// Compares until no server is apart, or `limit` has passed: the last comparison.
pub async fn agree<T, F>(
    limit: Duration,
    sink: &dyn Sink,
    compared: impl Fn() -> F,
) -> Result<Compared<T>, PointerError>
where
    F: Future<Output = Result<Compared<T>, PointerError>>,
{
    let end = Instant::now() + limit;
    loop {
        let over = Instant::now() >= end;
        let apart = match compared().await {
            Ok(found) if found.1.is_empty() || over => return Ok(found),
            Err(error) if over => return Err(error),
            Ok((_, apart)) => apart.join("; "),
            Err(error) => error.to_string(),
        };
        sink.progress(Progress::Wait {
            what: format!("all servers of the zone: {apart}"),
        });
        // Servers tell nobody: they are asked.
        tokio::time::sleep(LOOK).await;
    }
}
