//! A client of the control protocol, over any stream: the socket itself, or the standard input and
//! output of `flipside proxy ctl` in another place.
//!
//! It neither retries nor limits time; its caller does.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::control::{
    Answer, Asked, Checked, ControlError, Done, Entry, Hello, Listed, Mark, Op, PROTOCOL, Progress,
    Read, Removed, Reply, ReplyBody, Request, Settled, Stats, Written,
};

/// One connection to the control socket, on which any number of calls may be going on.
///
/// Must be made inside a tokio runtime; dropping it ends the connection.
pub struct Client {
    requests: UnboundedSender<String>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: AtomicU64,
    tasks: [tokio::task::AbortHandle; 2],
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The proxy said no.
    #[error("{0}")]
    Refused(Box<ControlError>),
    /// The connection could not be made, or ended; whether the request was obeyed is unknown.
    #[error("the connection to the proxy failed: {0}")]
    Io(#[from] io::Error),
    /// The answer is not one to this request.
    #[error("the proxy's answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
}

enum Waiting {
    Open(HashMap<u64, UnboundedSender<ReplyBody>>),
    Ended(String),
}

impl Client {
    /// Connects to the control socket at `path`.
    ///
    /// # Errors
    ///
    /// Where nothing answers there.
    pub async fn connect(path: &Path) -> io::Result<Client> {
        Ok(Client::over(UnixStream::connect(path).await?))
    }

    /// Speaks over `io`.
    pub fn over<S>(io: S) -> Client
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (from, to) = tokio::io::split(io);
        let (requests, lines) = unbounded_channel();
        let waiting = Arc::new(Mutex::new(Waiting::Open(HashMap::new())));
        let writing = tokio::spawn(write(lines, to, waiting.clone()));
        let reading = tokio::spawn(read(from, waiting.clone()));
        Client {
            requests,
            waiting,
            next_id: AtomicU64::new(1),
            tasks: [writing.abort_handle(), reading.abort_handle()],
        }
    }

    /// Whether the connection has not ended, as far as this end knows.
    pub fn is_open(&self) -> bool {
        matches!(&*lock(&self.waiting), Waiting::Open(_))
    }

    /// Asks `op`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn call(&self, op: Op) -> Result<Answer, ClientError> {
        self.call_with(op, |_| {}).await
    }

    /// Asks `op`, and shows what is told before the answer.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn call_with(
        &self,
        op: Op,
        mut progress: impl FnMut(Progress),
    ) -> Result<Answer, ClientError> {
        let reader = answer_reader(&op);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (tell, mut told) = unbounded_channel();
        match &mut *lock(&self.waiting) {
            Waiting::Open(waiting) => waiting.insert(id, tell),
            Waiting::Ended(why) => return Err(io::Error::other(why.clone()).into()),
        };
        let _forget = Forget(&self.waiting, id);
        let request = Request {
            v: PROTOCOL,
            id,
            op,
        };
        let line = serde_json::to_string(&request)?;
        if self.requests.send(line).is_err() {
            return Err(self.ended());
        }
        loop {
            match told.recv().await {
                Some(ReplyBody::Ok(value)) => return Ok(reader(value)?),
                Some(ReplyBody::Error(error)) => return Err(ClientError::Refused(error)),
                Some(ReplyBody::Progress(so_far)) => progress(so_far),
                None => return Err(self.ended()),
            }
        }
    }

    fn ended(&self) -> ClientError {
        let why = match &*lock(&self.waiting) {
            Waiting::Ended(why) => why.clone(),
            Waiting::Open(_) => "it ended".to_owned(),
        };
        io::Error::new(io::ErrorKind::ConnectionAborted, why).into()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Stops waiting for an answer when its call is dropped.
struct Forget<'a>(&'a Mutex<Waiting>, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Waiting::Open(waiting) = &mut *lock(self.0) {
            waiting.remove(&self.1);
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    // Nothing panics while it is held, and every state of it is sound.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write<W>(mut lines: UnboundedReceiver<String>, to: W, waiting: Arc<Mutex<Waiting>>)
where
    W: AsyncWrite,
{
    let mut to = std::pin::pin!(to);
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        let sent = async {
            to.write_all(line.as_bytes()).await?;
            to.flush().await
        };
        if let Err(error) = sent.await {
            *lock(&waiting) = Waiting::Ended(error.to_string());
            return;
        }
    }
}

async fn read<R: AsyncRead>(from: R, waiting: Arc<Mutex<Waiting>>) {
    let from = std::pin::pin!(from);
    let mut lines = BufReader::new(from).lines();
    let why = loop {
        let line = match lines.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => break "the proxy closed it".to_owned(),
            Err(error) => break error.to_string(),
        };
        let reply: Reply = match serde_json::from_str(&line) {
            Ok(reply) => reply,
            Err(error) => break format!("a line cannot be read: {error}"),
        };
        match (&mut *lock(&waiting), reply.id) {
            (Waiting::Open(waiting), Some(id)) => {
                // One that is not waited for any more belongs to a call that was dropped.
                if let Some(tell) = waiting.get(&id)
                    && tell.send(reply.body).is_err()
                {
                    tracing::debug!(id, "nobody waits for this answer any more");
                }
            }
            (Waiting::Open(_), None) => break "the proxy could not read a request".to_owned(),
            (Waiting::Ended(_), _) => return,
        }
    };
    *lock(&waiting) = Waiting::Ended(why);
}

type Reader = fn(serde_json::Value) -> serde_json::Result<Answer>;

fn answer_reader(op: &Op) -> Reader {
    fn one<T: DeserializeOwned>(
        value: serde_json::Value,
        answer: fn(T) -> Answer,
    ) -> serde_json::Result<Answer> {
        serde_json::from_value(value).map(answer)
    }
    match op {
        Op::Hello => |value| one(value, Answer::Hello),
        Op::Read { .. } => |value| one(value, Answer::Read),
        Op::List => |value| one(value, Answer::Listed),
        Op::Write { .. } => |value| one(value, Answer::Written),
        Op::Mark { .. } | Op::Forget { .. } => |value| one(value, Answer::Done),
        Op::Settle { .. } => |value| one(value, Answer::Settled),
        Op::Remove { .. } => |value| one(value, Answer::Removed),
        Op::Check { .. } => |value| one(value, Answer::Checked),
        Op::Ask { .. } => |value| one(value, Answer::Asked),
        Op::Stats { .. } => |value| one(value, Answer::Stats),
    }
}

/// One method for each operation, with the type of its answer.
impl Client {
    /// Asks [`Op::Hello`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn hello(&self) -> Result<Hello, ClientError> {
        match self.call(Op::Hello).await? {
            Answer::Hello(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Read`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn read(&self, service: &str) -> Result<Option<Entry>, ClientError> {
        let service = service.to_owned();
        match self.call(Op::Read { service }).await? {
            Answer::Read(Read { entry }) => Ok(entry),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::List`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn list(&self) -> Result<Vec<Entry>, ClientError> {
        match self.call(Op::List).await? {
            Answer::Listed(Listed { entries }) => Ok(entries),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Write`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn write(
        &self,
        expected_generation: Option<u64>,
        entry: Entry,
    ) -> Result<Written, ClientError> {
        let op = Op::Write {
            expected_generation,
            entry: Box::new(entry),
        };
        match self.call(op).await? {
            Answer::Written(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Mark`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn mark(
        &self,
        service: &str,
        release: u64,
        fence: u64,
        mark: Mark,
    ) -> Result<Done, ClientError> {
        let op = Op::Mark {
            service: service.to_owned(),
            release,
            fence,
            mark,
            generation: None,
        };
        match self.call(op).await? {
            Answer::Done(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Settle`], and shows how many requests are left whenever that changes.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn settle(
        &self,
        service: &str,
        generation: u64,
        limit_ms: u64,
        progress: impl FnMut(Progress),
    ) -> Result<Settled, ClientError> {
        let op = Op::Settle {
            service: service.to_owned(),
            generation,
            limit_ms,
        };
        match self.call_with(op, progress).await? {
            Answer::Settled(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Remove`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn remove(&self, service: &str, fence: u64) -> Result<Removed, ClientError> {
        let service = service.to_owned();
        match self.call(Op::Remove { service, fence }).await? {
            Answer::Removed(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Check`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn check(
        &self,
        check: super::check::Check,
    ) -> Result<super::check::Outcome, ClientError> {
        match self.call(Op::Check { check }).await? {
            Answer::Checked(Checked { outcome }) => Ok(outcome),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Ask`] with a GET of `path`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn ask(
        &self,
        service: &str,
        path: &str,
        preview: bool,
        timeout_ms: u64,
    ) -> Result<Asked, ClientError> {
        let op = Op::Ask {
            service: service.to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            host: None,
            preview,
            timeout_ms,
        };
        match self.call(op).await? {
            Answer::Asked(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks [`Op::Stats`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn stats(&self, service: &str) -> Result<Stats, ClientError> {
        let service = service.to_owned();
        match self.call(Op::Stats { service }).await? {
            Answer::Stats(it) => Ok(it),
            other => Err(mismatch(&other)),
        }
    }
}

fn mismatch(answer: &Answer) -> ClientError {
    let error = io::Error::other(format!("an answer to something else: {answer:?}"));
    ClientError::Io(error)
}
