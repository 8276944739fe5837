//! An object store that a journal lies in: it tells the checker what is durable, and dies or fails
//! at a record.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flipside::journal::Record;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::doors::{Life, Moment};
use super::stage::{Flaw, Stage};

/// What becomes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// The process dies before it is written, or when it is durable.
    Dies(Moment),
    /// The disk is full from here on.
    Full,
}

/// One operator's way to a store.
pub struct Tape {
    pub store: Arc<InMemory>,
    pub stage: Arc<Stage>,
    pub life: Arc<Life>,
    pub journal: &'static str,
    /// Records written through this way, in order.
    pub written: Mutex<Vec<Record>>,
    pub slip: Mutex<Option<(usize, Slip)>>,
    /// Nothing can be read through it.
    pub unreadable: bool,
    pub failed: AtomicBool,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tape")
    }
}

impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tape")
    }
}

impl Tape {
    fn slips(&self) -> Option<Slip> {
        let number = self.written.lock().unwrap().len();
        let slip = *self.slip.lock().unwrap();
        match slip {
            Some((at, Slip::Full)) if number >= at => Some(Slip::Full),
            Some((at, slip)) if number == at => Some(slip),
            _ => None,
        }
    }

    /// Whether a record has met a full disk.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    fn read(&self) -> Result<()> {
        match self.unreadable {
            true => Err(fails(io::ErrorKind::PermissionDenied)),
            false => Ok(()),
        }
    }
}

fn fails(kind: io::ErrorKind) -> object_store::Error {
    object_store::Error::Generic {
        store: "tape",
        source: Box::new(io::Error::from(kind)),
    }
}

#[async_trait]
impl ObjectStore for Tape {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.life.gate().await;
        let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        let record = match location.as_ref().ends_with(".sealed.jsonl") {
            true => None,
            false => serde_json::from_slice::<Record>(&bytes).ok(),
        };
        let slip = record.as_ref().and_then(|_| self.slips());
        if slip == Some(Slip::Dies(Moment::Before)) {
            self.life.die().await;
        }
        if slip == Some(Slip::Full) {
            self.failed.store(true, Ordering::SeqCst);
            self.stage.checker().unrecorded(self.journal);
            return Err(fails(io::ErrorKind::StorageFull));
        }
        let text = String::from_utf8_lossy(&bytes);
        self.stage.checker().shown("the journal", &text);
        let put = self.store.put_opts(location, payload, options).await?;
        if let Some(record) = record {
            let intent = matches!(record.event, flipside::core::event::Event::Intended { .. });
            if !(intent && self.stage.flaw == Flaw::WritesBehind) {
                let mut checker = self.stage.checker();
                checker.recorded(self.journal, record.run, &record.event);
            }
            self.written.lock().unwrap().push(record);
        }
        if slip == Some(Slip::Dies(Moment::After)) {
            self.life.die().await;
        }
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read() {
            Ok(()) => self.store.list(prefix),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
