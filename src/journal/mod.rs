//! Records and their store: everything intended and everything that happened, append-only.
//!
//! A run is one deploy or one rollback; its records are objects of their own, only ever created,
//! each with a put-if-absent. A finished run is sealed: all its records in one object, after which
//! the single ones, now duplicates, are deleted. A crash in between leaves both; reading copes.
//!
//! Keys sort newest run first, so that the first page of a listing finds it:
//!
//! ```text
//! journal/SERVICE/18446744073709551573.000004.json      run 42, its fifth record
//! journal/SERVICE/18446744073709551573.sealed.jsonl     run 42, all of it, a record a line
//! ```
//!
//! Everything lies under `journal/`, because the default directory also holds other things of
//! flipside's (the proxy's sockets, the digest key). The journal decides nothing, caches nothing
//! and retries nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;

use crate::core::event::Event;
use crate::core::names::{Fence, Millis, ServiceName};

mod local;
mod record;
mod store;
mod writer;

pub use local::{default_location, digest_key};
pub use record::{Record, RunLog, VERSION};
pub use writer::Writer;

/// What kind of store the records lie in: what may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory of this machine: listings come in no order, and put-if-absent is `link(2)`.
    Directory,
    /// An object store: listings come in key order, and put-if-absent has to be proven first.
    Bucket,
}

/// The journal of all services in one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    store: Arc<dyn ObjectStore>,
    /// Its address, without a `/` at its end, for messages.
    address: Arc<str>,
    kind: Kind,
    /// Where its files are, if they are this machine's: listed without the store.
    root: Option<Arc<Path>>,
}

/// Why the journal could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The address names no store that this build can use. Bad input; nothing was touched.
    #[error("`{url}` cannot hold the journal: {why}")]
    Unusable {
        /// As given.
        url: String,
        /// Why.
        why: String,
    },
    /// The store could not be read or written.
    #[error("the journal in {store} is out of reach: {why}")]
    OutOfReach {
        /// Its address.
        store: String,
        /// In a person's words.
        why: String,
        /// What mends it, where something is known.
        hint: Option<String>,
    },
    /// Somebody else has written the record that was about to be written.
    #[error("somebody else has written {key}: another operator has taken over")]
    Overtaken {
        /// The record.
        key: String,
    },
    /// The store overwrites where it was told not to: two operators would not see each other.
    #[error(
        "the store {store} does not honour put-if-absent: it would let two operators overwrite each other's records"
    )]
    NotHonoured {
        /// Its address.
        store: String,
    },
    /// The record was written by a newer flipside.
    #[error("{key} is of version {v}, and this flipside knows versions up to {VERSION}")]
    Newer {
        /// The record.
        key: String,
        /// Its version.
        v: u32,
    },
    /// A record cannot be read back.
    #[error("{key} is damaged: {why}")]
    Damaged {
        /// The object.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl JournalError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unusable { .. } => {
                Some("give a directory: `--state /var/lib/flipside`".to_owned())
            }
            Self::OutOfReach { hint, .. } => hint.clone(),
            Self::Overtaken { .. } => {
                Some("see who and what with `flipside status` and `flipside history`".to_owned())
            }
            Self::NotHonoured { .. } => Some(
                "use a store with conditional writes, or a directory: `--state DIRECTORY`"
                    .to_owned(),
            ),
            Self::Newer { .. } => Some("use the flipside that wrote it, or a newer one".to_owned()),
            Self::Damaged { key, .. } => Some(format!(
                "move it out of the way, and later records of the same run with it: \
                 `mv {key} {key}.damaged`; then `flipside resume` looks at engine and pointer and \
                 goes on from what is there. `flipside rollback` does not need it"
            )),
        }
    }
}

impl Journal {
    /// Opens the journal at `url`: a path or `file://` path, made if it is not there.
    ///
    /// # Errors
    /// [`JournalError::Unusable`] for an address this build cannot use, and
    /// [`JournalError::OutOfReach`] where the directory cannot be made or opened.
    pub async fn open(url: &str) -> Result<Self, JournalError> {
        let root = local::path_of(url)?;
        let address = root.display().to_string();
        let store = local::open(&root).await?;
        let journal = Self::over(Arc::new(store), &address, Kind::Directory);
        Ok(Self {
            root: Some(root.into()),
            ..journal
        })
    }

    /// The journal in a store that is open already; `address` is what messages call it.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>, address: &str, kind: Kind) -> Self {
        let address = address.trim_end_matches('/').into();
        Self {
            store,
            address,
            kind,
            root: None,
        }
    }

    /// Where it is, for messages and for the lease's labels.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The services that have records, by name. One request.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn services(&self) -> Result<Vec<ServiceName>, JournalError> {
        store::services(self).await
    }

    /// The newest run. One listing, and a request per record of an unsealed run, else one.
    ///
    /// # Errors
    /// Where the store cannot be read, or the newest run is damaged or newer than known.
    pub async fn latest(&self, service: &ServiceName) -> Result<Option<RunLog>, JournalError> {
        let newest = self.runs(service, 1).await?.pop();
        match newest {
            Some(RunLog {
                trouble: Some(trouble),
                ..
            }) => Err(trouble),
            sound => Ok(sound),
        }
    }

    /// The newest `limit` runs, newest first. A run that is damaged or newer than known says so in
    /// [`RunLog::trouble`], and hides no other.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn runs(
        &self,
        service: &ServiceName,
        limit: usize,
    ) -> Result<Vec<RunLog>, JournalError> {
        store::runs(self, service, limit).await
    }

    /// Begins a run with its opening event; `run` is the newest run's number plus 1.
    ///
    /// # Errors
    /// [`JournalError::Overtaken`] where that run exists already, [`JournalError::NotHonoured`]
    /// for a store that would overwrite, and [`JournalError::OutOfReach`].
    pub async fn begin(
        &self,
        service: &ServiceName,
        run: u64,
        fence: Fence,
        at: Millis,
        opened: Event,
    ) -> Result<Writer, JournalError> {
        writer::begin(self, service, run, fence, at, opened).await
    }

    /// Goes on with a run after its last record.
    ///
    /// # Errors
    /// Where the run was not read whole.
    pub async fn resume(&self, log: &RunLog) -> Result<Writer, JournalError> {
        writer::resume(self, log)
    }

    /// A key as a person finds it.
    fn place(&self, key: &object_store::path::Path) -> String {
        format!("{}/{key}", self.address)
    }

    /// What an error of the store means to a person.
    fn out_of_reach(&self, error: &object_store::Error) -> JournalError {
        local::out_of_reach(&self.address, error)
    }
}

/// The directory of a journal's own files below `root`.
fn own_directory(root: &Path) -> PathBuf {
    root.join(store::ROOT)
}
