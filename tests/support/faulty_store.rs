//! An object store that fails as planned, and counts what is asked of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to one put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutFault {
    /// It fails with this error of the kernel; nothing is written.
    Fails(io::ErrorKind),
    /// It is written, and fails nevertheless.
    LosesItsAnswer,
}

/// What has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    pub puts: u32,
    pub gets: u32,
    pub lists: u32,
    /// Objects that listings have yielded.
    pub listed: u32,
}

#[derive(Debug, Default)]
struct Plan {
    requests: Requests,
    /// By the put's number, from 1.
    puts: BTreeMap<u32, PutFault>,
    overwrites: bool,
    keeps_deleted: bool,
}

/// Wraps a store.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyStore {
    /// In memory, without faults.
    pub fn new() -> Self {
        Self::around(Arc::new(InMemory::new()))
    }

    /// Around another store, without faults.
    pub fn around(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// The `nth` put from now on, counted from 1, meets a fault.
    pub fn fail_put(&self, nth: u32, fault: PutFault) {
        let mut plan = self.plan.lock().unwrap();
        let number = plan.requests.puts + nth;
        plan.puts.insert(number, fault);
    }

    /// Overwrites in spite of put-if-absent.
    pub fn ignore_put_if_absent(&self) {
        self.plan.lock().unwrap().overwrites = true;
    }

    /// Deletes nothing and says that it has: what a crash right after a seal leaves.
    pub fn keep_deleted(&self) {
        self.plan.lock().unwrap().keeps_deleted = true;
    }

    /// What has been asked since the last call.
    pub fn take_requests(&self) -> Requests {
        std::mem::take(&mut self.plan.lock().unwrap().requests)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

fn failed(kind: io::ErrorKind) -> object_store::Error {
    object_store::Error::Generic {
        store: "FaultyStore",
        source: Box::new(io::Error::from(kind)),
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let fault = {
            let mut plan = self.plan.lock().unwrap();
            plan.requests.puts += 1;
            if plan.overwrites {
                options.mode = PutMode::Overwrite;
            }
            let number = plan.requests.puts;
            plan.puts.remove(&number)
        };
        match fault {
            Some(PutFault::Fails(kind)) => Err(failed(kind)),
            Some(PutFault::LosesItsAnswer) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(failed(io::ErrorKind::ConnectionReset))
            }
            None => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.plan.lock().unwrap().requests.gets += 1;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if self.plan.lock().unwrap().keeps_deleted {
            locations
        } else {
            self.inner.delete_stream(locations)
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.plan.lock().unwrap().requests.lists += 1;
        let plan = Arc::clone(&self.plan);
        let count = move |_: &Result<ObjectMeta>| plan.lock().unwrap().requests.listed += 1;
        self.inner.list(prefix).inspect(count).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.plan.lock().unwrap().requests.lists += 1;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
