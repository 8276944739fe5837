//! Writing one run: begin, append, seal. The only place that writes records.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};

use super::record::{Record, RunLog, VERSION};
use super::store::{ROOT, fetch, sealed_key, single_key};
use super::{Journal, JournalError, Kind};
use crate::core::event::Event;
use crate::core::names::{Fence, Millis, ServiceName};

/// Appends to one run. Whoever holds one holds the service's lease.
#[derive(Debug)]
pub struct Writer {
    journal: Journal,
    service: ServiceName,
    run: u64,
    /// Everything written and read so far, from the first record on.
    records: Vec<Record>,
    /// A record whose put failed: the store may have taken it nevertheless.
    unsure: Option<Record>,
}

/// What a put-if-absent did.
enum Put {
    /// The object is there, and holds what was to be written.
    Written,
    /// The object was there and holds something else.
    Taken(Bytes),
}

pub(super) async fn begin(
    journal: &Journal,
    service: &ServiceName,
    run: u64,
    fence: Fence,
    at: Millis,
    opened: Event,
) -> Result<Writer, JournalError> {
    if journal.kind == Kind::Bucket {
        prove_put_if_absent(journal).await?;
    }
    let mut writer = Writer {
        journal: journal.clone(),
        service: service.clone(),
        run,
        records: Vec::new(),
        unsure: None,
    };
    writer.append(fence, at, opened).await?;
    Ok(writer)
}

pub(super) fn resume(journal: &Journal, log: &RunLog) -> Result<Writer, JournalError> {
    match &log.trouble {
        Some(trouble) => Err(trouble.clone()),
        None => Ok(Writer {
            journal: journal.clone(),
            service: log.service.clone(),
            run: log.run,
            records: log.records.clone(),
            unsure: None,
        }),
    }
}

impl Writer {
    /// The run.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Everything in the run so far.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Writes one record; it is durable when this returns. After an error it may be there or not,
    /// and calling again is safe: with the same event it becomes true, with another one it follows
    /// what has become true.
    ///
    /// # Errors
    /// [`JournalError::Overtaken`] where somebody else has written at this place.
    pub async fn append(
        &mut self,
        fence: Fence,
        at: Millis,
        event: Event,
    ) -> Result<Record, JournalError> {
        loop {
            let seq = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
            let record = Record {
                v: VERSION,
                service: self.service.clone(),
                run: self.run,
                seq,
                fence,
                at,
                event: event.clone(),
            };
            let key = single_key(&self.service, self.run, seq);
            let line = record.line()?;
            let put = match put_if_absent(&self.journal, &key, line.into()).await {
                Ok(put) => put,
                Err(error) => {
                    self.unsure = Some(record);
                    return Err(error);
                }
            };
            let unsure = self.unsure.take();
            match put {
                Put::Written => {
                    self.records.push(record.clone());
                    return Ok(record);
                }
                Put::Taken(found) => match unsure {
                    Some(ours) if ours.line()? == found => {
                        let same = ours.event == event;
                        self.records.push(ours.clone());
                        if same {
                            return Ok(ours);
                        }
                    }
                    _ => {
                        return Err(JournalError::Overtaken {
                            key: self.journal.place(&key),
                        });
                    }
                },
            }
        }
    }

    /// Puts a finished run into one object and deletes the single records, which then are
    /// duplicates. A run that has not ended is left as it is.
    ///
    /// # Errors
    /// Where the store cannot be written. Nothing is lost: sealing can be done again, or not at all.
    pub async fn seal(self) -> Result<(), JournalError> {
        let last = self.records.last().map(|last| &last.event);
        if !matches!(last, Some(Event::Closed { .. })) {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in &self.records {
            lines.extend(record.line()?);
        }
        let key = sealed_key(&self.service, self.run);
        if let Put::Taken(_) = put_if_absent(&self.journal, &key, lines.into()).await? {
            return Err(JournalError::Overtaken {
                key: self.journal.place(&key),
            });
        }
        let records = self.records.iter();
        let singles: Vec<_> = records
            .map(|record| Ok(single_key(&self.service, self.run, record.seq)))
            .collect();
        let singles = futures_util::stream::iter(singles).boxed();
        let mut deleted = self.journal.store.delete_stream(singles);
        loop {
            match deleted.try_next().await {
                Ok(Some(_)) | Err(object_store::Error::NotFound { .. }) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.journal.out_of_reach(&error)),
            }
        }
    }
}

/// Creates an object. One that is there already with the same content counts as written: a client
/// that repeats a put whose answer was lost meets its own object.
async fn put_if_absent(journal: &Journal, key: &Path, bytes: Bytes) -> Result<Put, JournalError> {
    let payload = PutPayload::from_bytes(bytes.clone());
    let put = journal.store.put_opts(key, payload, PutMode::Create.into());
    match put.await {
        Ok(_) => Ok(Put::Written),
        Err(
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
        ) => {
            let found = fetch(journal, key).await?.unwrap_or_default();
            Ok(if found == bytes {
                Put::Written
            } else {
                Put::Taken(found)
            })
        }
        Err(
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. },
        ) => Err(JournalError::NotHonoured {
            store: journal.address().to_owned(),
        }),
        Err(error) => Err(journal.out_of_reach(&error)),
    }
}

/// Puts one fixed object if absent until the store says that it is there: one request a run, two
/// in a new store. The object stays; it is never a record.
async fn prove_put_if_absent(journal: &Journal) -> Result<(), JournalError> {
    let key = Path::from_iter([ROOT, "put-if-absent"]);
    for _ in 0..2 {
        let payload =
            PutPayload::from_static(b"flipside has checked that this is never overwritten\n");
        let put = journal
            .store
            .put_opts(&key, payload, PutMode::Create.into());
        match put.await {
            Ok(_) => {}
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => return Ok(()),
            Err(
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            ) => break,
            Err(error) => return Err(journal.out_of_reach(&error)),
        }
    }
    Err(JournalError::NotHonoured {
        store: journal.address().to_owned(),
    })
}
