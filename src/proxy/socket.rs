//! The control socket: lines in, lines out, every request at once.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::ask::ask;
use super::check::check;
use super::control::{
    Answer, Checked, Code, ControlError, Op, PROTOCOL, Reply, ReplyBody, Request,
};
use super::desk::Desk;

/// The longest line, in bytes.
const LINE_MOST: u64 = 4 * 1024 * 1024;
/// Requests of one connection that are worked on at once; more wait.
const AT_ONCE: usize = 64;

/// Opens the socket at `path`, for its owner and `group`.
///
/// It appears under its name only with its final owner and mode.
///
/// # Errors
///
/// Where another process answers there, or it cannot be made.
pub fn open(path: &Path, group: Option<u32>) -> io::Result<StdUnixListener> {
    if StdUnixStream::connect(path).is_ok() {
        let message = format!("another proxy answers at `{}`", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = StdUnixListener::bind(&new)?;
    listener.set_nonblocking(true)?;
    if group.is_some() {
        chown(&new, None, group)?;
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Serves the socket for ever.
pub async fn serve(listener: UnixListener, desk: Arc<Desk>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(attend(stream, desk.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket took no connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn attend(stream: UnixStream, desk: Arc<Desk>) {
    let (from, to) = stream.into_split();
    let (replies, outgoing) = mpsc::channel(AT_ONCE);
    let writing = tokio::spawn(write(outgoing, to));
    if let Err(error) = read(from, &desk, &replies).await {
        tracing::debug!(%error, "a control connection failed");
    }
    // Whatever is being worked on still holds a sender; the writer ends with the last of them.
    drop(replies);
    if let Err(error) = writing.await {
        tracing::debug!(%error, "a control connection ended badly");
    }
}

async fn read(
    from: OwnedReadHalf,
    desk: &Arc<Desk>,
    replies: &mpsc::Sender<Reply>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut from)
            .take(LINE_MOST)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Ok(());
        }
        if line.len() as u64 == LINE_MOST {
            let message = format!("a line is longer than {LINE_MOST} bytes");
            say(replies, bad_request(None, message)).await;
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let request = match parse(&line) {
            Ok(request) => request,
            Err(refusal) => {
                say(replies, *refusal).await;
                continue;
            }
        };
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let (desk, replies) = (desk.clone(), replies.clone());
        tokio::spawn(async move {
            let id = request.id;
            // Goes on when whoever asked has left: a write half done would be worse, and a
            // settle is bounded and adds up for whoever asks again.
            let working = {
                let replies = replies.clone();
                tokio::spawn(async move { work(&desk, request, &replies).await })
            };
            let body = working.await.unwrap_or_else(|panicked| {
                let message = format!("a bug in the proxy: {panicked}");
                ReplyBody::Error(Box::new(ControlError::new(Code::Other, message)))
            });
            say(&replies, Reply { id: Some(id), body }).await;
            drop(place);
        });
    }
}

async fn say(replies: &mpsc::Sender<Reply>, reply: Reply) {
    if replies.send(reply).await.is_err() {
        tracing::debug!("whoever asked over the control socket has left");
    }
}

async fn write(mut replies: mpsc::Receiver<Reply>, mut to: OwnedWriteHalf) {
    while let Some(reply) = replies.recv().await {
        let mut line = match serde_json::to_vec(&reply) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "a reply cannot be written");
                return;
            }
        };
        line.push(b'\n');
        if let Err(error) = to.write_all(&line).await {
            tracing::debug!(%error, "whoever asked over the control socket has left");
            return;
        }
    }
}

fn bad_request(id: Option<u64>, message: String) -> Reply {
    let error = ControlError::new(Code::BadRequest, message);
    let body = ReplyBody::Error(Box::new(error));
    Reply { id, body }
}

fn parse(line: &[u8]) -> Result<Request, Box<Reply>> {
    let refuse = |id, message: String| Box::new(bad_request(id, message));
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| refuse(None, format!("this is no JSON: {error}")))?;
    let id = value.get("id").and_then(serde_json::Value::as_u64);
    let version = value.get("v").and_then(serde_json::Value::as_u64);
    match version {
        Some(version) if version <= u64::from(PROTOCOL) => {}
        Some(version) => {
            let message = format!("this proxy speaks control protocol {PROTOCOL}, not {version}");
            return Err(refuse(id, message));
        }
        None => {
            return Err(refuse(
                id,
                "`v`, the version of the protocol, is missing".into(),
            ));
        }
    }
    serde_json::from_value(value).map_err(|error| refuse(id, error.to_string()))
}

async fn work(desk: &Arc<Desk>, request: Request, replies: &mpsc::Sender<Reply>) -> ReplyBody {
    let id = request.id;
    let answer = match answer(desk, id, request.op, replies).await {
        Ok(answer) => answer.to_value().map_err(|error| {
            let message = format!("the answer cannot be written: {error}");
            ControlError::new(Code::Other, message)
        }),
        Err(error) => Err(error),
    };
    match answer {
        Ok(value) => ReplyBody::Ok(value),
        Err(error) => ReplyBody::Error(Box::new(error)),
    }
}

async fn answer(
    desk: &Arc<Desk>,
    id: u64,
    op: Op,
    replies: &mpsc::Sender<Reply>,
) -> Result<Answer, ControlError> {
    Ok(match op {
        Op::Hello => Answer::Hello(desk.hello().await),
        Op::Read { service } => Answer::Read(desk.read(&service).await?),
        Op::List => Answer::Listed(desk.list()),
        Op::Write {
            expected_generation,
            entry,
        } => Answer::Written(desk.write(expected_generation, *entry).await?),
        Op::Mark {
            service,
            release,
            fence,
            mark,
            generation,
        } => Answer::Done(
            desk.mark(&service, release, fence, mark, generation)
                .await?,
        ),
        Op::Forget {
            service,
            releases,
            fence,
        } => Answer::Done(desk.forget(&service, &releases, fence).await?),
        Op::Settle {
            service,
            generation,
            limit_ms,
        } => {
            let limit = Duration::from_millis(limit_ms);
            let progress = |progress| {
                let body = ReplyBody::Progress(progress);
                let reply = Reply { id: Some(id), body };
                // Progress may be lost; a slow reader holds nothing up.
                if replies.try_send(reply).is_err() {
                    tracing::trace!("progress was not wanted");
                }
            };
            let settled = desk.settle(&service, generation, limit, progress).await?;
            Answer::Settled(settled)
        }
        Op::Remove { service, fence } => Answer::Removed(desk.remove(&service, fence).await?),
        Op::Check { check: asked } => Answer::Checked(Checked {
            outcome: check(&asked).await,
        }),
        Op::Ask {
            service,
            method,
            path,
            host,
            preview,
            timeout_ms,
        } => {
            let limit = Duration::from_millis(timeout_ms);
            Answer::Asked(ask(desk, &service, &method, &path, host, preview, limit).await?)
        }
        Op::Stats { service } => Answer::Stats(desk.stats(&service).await?),
    })
}
