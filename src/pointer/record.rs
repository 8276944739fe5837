//! What is remembered of a routing for pointers that keep no notes of their own: who wrote it, when,
//! why, and with which number.
//!
//! A record has two places, so that a write that was cut short is told from one that was not: what
//! is about to be made true stands in it before anything is moved, beside what was true until then.
//! What the pointer itself says decides which of the two it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PointerError;
use crate::core::event::SwitchRefusal;
use crate::core::names::Generation;
use crate::core::routing::{Route, Routing};

/// The version written here. Newer ones are read as far as they can be understood.
const VERSION: u32 = 1;

/// What was made true last, and what is being made true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    v: u32,
    /// What was true when it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now: Option<Routing>,
    /// What was to become true; none where that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Routing>,
}

impl Record {
    /// Before a move: from `found` to `desired`.
    #[must_use]
    pub fn of_move(found: Option<&Routing>, desired: &Routing) -> Self {
        Self {
            v: VERSION,
            now: found.cloned(),
            next: Some(desired.clone()),
        }
    }

    /// After it.
    #[must_use]
    pub fn of(routing: &Routing) -> Self {
        Self {
            v: VERSION,
            now: Some(routing.clone()),
            next: None,
        }
    }

    /// What it was written for: what was to become true, or else what was made true last.
    #[must_use]
    pub fn meant(&self) -> Option<&Routing> {
        self.next.as_ref().or(self.now.as_ref())
    }

    /// What was made true last.
    #[must_use]
    pub fn into_routing(self) -> Option<Routing> {
        self.now
    }

    /// Reads what [`Record::line`] wrote.
    ///
    /// # Errors
    /// Where it cannot be understood.
    pub fn read(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// On one line.
    #[must_use]
    pub fn line(&self) -> String {
        // Only maps with keys other than text cannot be written, and a routing has none.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What is true by the record, where `says` tells whether the pointer sends traffic as a routing
    /// wants it; else what it was when it was last known, with what is `found` in place of its routes.
    pub fn judge(self, says: impl Fn(&Routing) -> bool, found: Vec<Route>) -> Option<Routing> {
        let is_so = |routing: &Option<Routing>| routing.as_ref().is_some_and(&says);
        if is_so(&self.next) {
            return self.next;
        }
        if is_so(&self.now) {
            return self.now;
        }
        let known = self.now.or(self.next.map(|next| Routing {
            generation: 0,
            ..next
        }))?;
        Some(Routing {
            routes: found,
            ..known
        })
    }
}

/// What is left to do for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// All of it; the generation that it makes.
    Write(Generation),
    /// Nothing: it has been done before, as this generation.
    Nothing(Generation),
}

/// Holds a write against what was just read.
///
/// # Errors
/// [`PointerError::Refused`], where somebody else has moved the pointer, or has a higher lease.
pub fn due(
    found: Option<&Routing>,
    expected: Option<Generation>,
    desired: &Routing,
) -> Result<Due, PointerError> {
    let refused = |why| PointerError::Refused {
        why,
        found: found.cloned().map(Box::new),
    };
    let next = expected.unwrap_or(0) + 1;
    if let Some(found) = found {
        let done = Routing {
            generation: next,
            at: found.at,
            ..desired.clone()
        };
        if *found == done {
            return Ok(Due::Nothing(next));
        }
        if found.fence > desired.fence {
            return Err(refused(SwitchRefusal::Fenced));
        }
    }
    if found.map(|found| found.generation) != expected {
        return Err(refused(SwitchRefusal::Moved));
    }
    Ok(Due::Write(next))
}

/// Puts `text` in the place of a file, whole or not at all, with the mode that it had.
///
/// # Errors
/// Where the disk or its directory says no; the file is then as it was.
pub async fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let (path, text) = (path.to_owned(), text.to_owned());
    let replaced = tokio::task::spawn_blocking(move || replace_now(&path, &text));
    replaced.await.map_err(std::io::Error::other)?
}

fn replace_now(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".flipside");
    let beside: PathBuf = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Ok(there) = std::fs::metadata(path) {
            file.set_permissions(there.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    let written = write();
    if written.is_err() {
        // What is left of it is in nobody's way but the disk's.
        std::fs::remove_file(&beside).ok();
    }
    written?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
