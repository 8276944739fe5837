//! One record, and the records of one run: what is read and written, without the store.

use serde::{Deserialize, Serialize};

use super::JournalError;
use crate::core::event::{Event, Opened, Verb};
use crate::core::names::{Fence, Millis, Release, ServiceName};
use crate::core::verdict::Outcome;

/// The newest version of the format that this program knows, and the one it writes.
pub const VERSION: u32 = 1;

/// One fact, with where it belongs. One line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The format's version.
    pub v: u32,
    /// Whose run it is.
    pub service: ServiceName,
    /// The run, counted per service from 1.
    pub run: u64,
    /// The record's place in its run, from 0.
    pub seq: u32,
    /// The lease's number of who wrote it.
    pub fence: Fence,
    /// When, in milliseconds since the epoch, by the writer's clock.
    pub at: Millis,
    /// What happened; its fields stand beside the others.
    #[serde(flatten)]
    pub event: Event,
}

/// The records of one run, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLog {
    /// Whose.
    pub service: ServiceName,
    /// Which.
    pub run: u64,
    /// Its records from the first, without a gap; where there is trouble, those before it.
    pub records: Vec<Record>,
    /// Whether they lie in one object, which says that nothing will be added.
    pub sealed: bool,
    /// Why not all records could be read: [`JournalError::Damaged`] or [`JournalError::Newer`].
    pub trouble: Option<JournalError>,
}

impl RunLog {
    /// How it began.
    #[must_use]
    pub fn opened(&self) -> Option<&Opened> {
        self.records.iter().find_map(|record| match &record.event {
            Event::Opened(opened) => Some(opened),
            _ => None,
        })
    }

    /// How it ended; `None` while it has not.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let mut newest_first = self.records.iter().rev();
        newest_first.find_map(|record| match record.event {
            Event::Closed { outcome } => Some(outcome),
            _ => None,
        })
    }

    /// The release it is about, if one: the one deployed, the one gone back to, or the one that the
    /// workers were handed over to.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        match self.opened()?.verb {
            Verb::Deploy { release, .. } => Some(release),
            Verb::Rollback { to, .. } | Verb::HandOver { to } => Some(to),
            Verb::Prune { .. } | Verb::Down { .. } | Verb::Apply { .. } => None,
        }
    }

    /// The highest fence any record carries; 0 without records.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let fences = self.records.iter().map(|record| record.fence);
        fences.max().unwrap_or(0)
    }
}

/// Where a record must stand: checked, because people copy files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub service: &'a ServiceName,
    pub run: u64,
    pub seq: u32,
}

impl Record {
    /// The record as it is stored: one line with its end.
    pub(super) fn line(&self) -> Result<Vec<u8>, JournalError> {
        let mut line = serde_json::to_vec(self).map_err(|error| JournalError::Damaged {
            key: format!("record {} of run {}", self.seq, self.run),
            why: format!("it cannot be written down: {error}"),
        })?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads one line back; `key` is what messages call the object.
    pub(super) fn read(line: &[u8], key: &str, place: Place<'_>) -> Result<Self, JournalError> {
        #[derive(Deserialize)]
        struct Head {
            v: u32,
        }
        let damaged = |why: String| JournalError::Damaged {
            key: key.to_owned(),
            why,
        };
        if line.is_empty() {
            return Err(damaged(
                "it is empty, as files are after a power cut on a disk that lies about its flushes"
                    .to_owned(),
            ));
        }
        let head: Head = serde_json::from_slice(line)
            .map_err(|error| damaged(format!("it is no record: {error}")))?;
        if head.v > VERSION {
            return Err(JournalError::Newer {
                key: key.to_owned(),
                v: head.v,
            });
        }
        let record: Self = serde_json::from_slice(line)
            .map_err(|error| damaged(format!("it is no record: {error}")))?;
        let Place { service, run, seq } = place;
        if (&record.service, record.run, record.seq) == (service, run, seq) {
            Ok(record)
        } else {
            Err(damaged(format!(
                "it says it is record {} of run {} of {}, which belongs elsewhere",
                record.seq, record.run, record.service
            )))
        }
    }
}

/// Reads a sealed run back: a record a line, the last of them `closed`. Answers the records before
/// the first that cannot be read, and why it cannot.
pub(super) fn read_sealed(
    bytes: &[u8],
    key: &str,
    service: &ServiceName,
    run: u64,
) -> (Vec<Record>, Option<JournalError>) {
    let mut records: Vec<Record> = Vec::new();
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    for (line, seq) in lines.zip(0..) {
        match Record::read(line, key, Place { service, run, seq }) {
            Ok(record) => records.push(record),
            Err(trouble) => return (records, Some(trouble)),
        }
    }
    let last = records.last().map(|last| &last.event);
    let trouble = match last {
        Some(Event::Closed { .. }) => None,
        _ => Some(JournalError::Damaged {
            key: key.to_owned(),
            why: "its end is missing".to_owned(),
        }),
    };
    (records, trouble)
}
