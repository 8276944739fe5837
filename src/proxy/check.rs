//! One network probe, and why it failed.
//!
//! Every check opens a connection of its own to a given address, follows no redirect, asks no
//! resolver and reads no variable of the environment. It does not repeat or schedule anything.
//!
//! hyper is used directly rather than a client library, because the reason of a failure is the
//! whole point here, and a library folds the stages of a request into one error.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::headers::HEADERS_MOST;
use super::tls;

/// The most of a body that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// The longest a check may take, whatever was asked.
const LIMIT_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// The most of a body that is shown, in bytes.
const SHOWN: usize = 200;

/// One probe of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub kind: Kind,
    /// Where.
    pub address: SocketAddr,
    /// Limit for all of it, in milliseconds.
    pub timeout_ms: u64,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One HTTP/1.1 request.
    Http(Http),
    /// A connection, and nothing more.
    Tcp,
}

/// One HTTP request and what its answer must be.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// `GET`, `HEAD`, ….
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Headers, `Host` among them. Values may be secrets: they are never shown.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Statuses that pass. Empty: 200 to 299.
    #[serde(default)]
    pub expect_status: Vec<StatusRange>,
    /// Text that the first MiB of the body must contain.
    #[serde(default)]
    pub body_contains: Option<String>,
    /// Speak TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Http")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &names)
            .field("expect_status", &self.expect_status)
            .field("body_contains", &self.body_contains)
            .field("tls", &self.tls)
            .finish()
    }
}

/// A range of statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRange {
    /// Lowest.
    pub from: u16,
    /// Highest.
    pub to: u16,
}

/// How a check speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The name asked for and checked; the address where missing.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Take any certificate. Otherwise it must lead to a compiled-in root.
    #[serde(default)]
    pub insecure: bool,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It passed.
    Pass {
        /// Microseconds from the start of the connection to the last thing looked at.
        took_us: u64,
        /// Status of the answer, where there was one.
        status: Option<u16>,
    },
    /// It failed.
    Fail {
        /// Why.
        reason: Reason,
    },
}

/// Why a check failed. Its `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing listens there.
    Refused {
        /// Where.
        address: SocketAddr,
    },
    /// The limit passed.
    TimedOut {
        /// The limit, in milliseconds.
        after_ms: u64,
        /// What was being waited for.
        stage: Stage,
    },
    /// No way there, or another error of the network.
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        message: String,
    },
    /// The connection was reset before a whole answer.
    Reset {
        /// Where.
        address: SocketAddr,
    },
    /// The connection was closed before a whole answer.
    ClosedEarly {
        /// Where.
        address: SocketAddr,
    },
    /// A redirect, which is never followed.
    Redirect {
        /// Status of the answer.
        status: u16,
        /// Where it points.
        location: String,
    },
    /// A status that was not asked for.
    Status {
        /// Status of the answer.
        status: u16,
        /// The first 200 bytes of the body.
        body: String,
    },
    /// The body does not contain what it should.
    BodyMissing {
        /// What it should contain.
        wanted: String,
        /// The first 200 bytes of the body.
        body: String,
    },
    /// TLS could not be set up.
    Tls {
        /// Why.
        message: String,
    },
    /// The answer is not HTTP, or the check itself cannot be asked.
    BadAnswer {
        /// Why.
        message: String,
    },
}

/// What a check was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A connection.
    Connect,
    /// An answer on it.
    Answer,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Refused { address } => write!(f, "connection refused at {address}"),
            Reason::TimedOut {
                after_ms,
                stage: Stage::Connect,
            } => write!(f, "no connection within {after_ms} ms"),
            Reason::TimedOut {
                after_ms,
                stage: Stage::Answer,
            } => write!(f, "connected, but no whole answer within {after_ms} ms"),
            Reason::Unreachable { address, message } => {
                write!(f, "{address} cannot be reached: {message}")
            }
            Reason::Reset { address } => {
                write!(f, "connection reset by {address} before it answered")
            }
            Reason::ClosedEarly { address } => {
                write!(f, "connection closed by {address} before it answered")
            }
            Reason::Redirect { status, location } => write!(f, "{status} to {location}"),
            Reason::Status { status, body } => {
                let name = hyper::StatusCode::from_u16(*status)
                    .ok()
                    .and_then(|status| status.canonical_reason());
                write!(f, "{status}")?;
                if let Some(name) = name {
                    write!(f, " {name}")?;
                }
                if body.trim().is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {}", body.trim())
                }
            }
            Reason::BodyMissing { wanted, body } if body.is_empty() => {
                write!(f, "`{wanted}` is not in the answer, which is empty")
            }
            Reason::BodyMissing { wanted, body } => {
                write!(f, "`{wanted}` is not in the answer: {}", body.trim())
            }
            Reason::Tls { message } => write!(f, "TLS failed: {message}"),
            Reason::BadAnswer { message } => write!(f, "no HTTP answer: {message}"),
        }
    }
}

/// Performs `check` once.
pub async fn check(check: &Check) -> Outcome {
    let began = Instant::now();
    match perform(check).await {
        Ok(status) => Outcome::Pass {
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            status,
        },
        Err(reason) => Outcome::Fail { reason },
    }
}

async fn perform(check: &Check) -> Result<Option<u16>, Reason> {
    let limit = Duration::from_millis(check.timeout_ms).min(LIMIT_MOST);
    let deadline = tokio::time::Instant::now() + limit;
    let late = |stage| {
        let after_ms = check.timeout_ms;
        move |_| Reason::TimedOut { after_ms, stage }
    };
    let stream = timeout_at(deadline, TcpStream::connect(check.address))
        .await
        .map_err(late(Stage::Connect))?
        .map_err(|error| from_io(&error, check.address))?;
    let Kind::Http(http) = &check.kind else {
        return Ok(None);
    };
    let answer = async {
        match &http.tls {
            None => exchange(stream, http, check.address).await,
            Some(settings) => {
                let stream = tls::connect(stream, settings, check.address.ip())
                    .await
                    .map_err(|message| Reason::Tls { message })?;
                exchange(stream, http, check.address).await
            }
        }
    };
    timeout_at(deadline, answer)
        .await
        .map_err(late(Stage::Answer))?
        .map(Some)
}

async fn exchange<S>(stream: S, http: &Http, address: SocketAddr) -> Result<u16, Reason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request(http, address)?;
    let (mut send, connection) = http1::Builder::new()
        .max_headers(HEADERS_MOST)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| from_hyper(&error, address))?;
    let judged = async {
        let answer = send
            .send_request(request)
            .await
            .map_err(|error| from_hyper(&error, address))?;
        judge(answer, http, address).await
    };
    tokio::pin!(judged, connection);
    // The connection is driven here rather than in a task, so that nothing outlives the check.
    tokio::select! {
        verdict = &mut judged => verdict,
        _ended = &mut connection => judged.await,
    }
}

fn request(http: &Http, address: SocketAddr) -> Result<Request<Empty<Bytes>>, Reason> {
    let wrong = |message: String| Reason::BadAnswer { message };
    let mut request = Request::builder()
        .method(http.method.as_str())
        .uri(http.path.as_str())
        .body(Empty::new())
        .map_err(|error| wrong(format!("the check cannot be asked: {error}")))?;
    for (name, value) in &http.headers {
        let name: header::HeaderName = name
            .parse()
            .map_err(|_| wrong(format!("`{name}` is no header name")))?;
        // The value may be a secret and is not repeated.
        let value = header::HeaderValue::from_str(value)
            .map_err(|_| wrong(format!("the value of header `{name}` is not valid")))?;
        request.headers_mut().append(name, value);
    }
    if !request.headers().contains_key(header::HOST) {
        let host = header::HeaderValue::from_str(&address.to_string())
            .map_err(|error| wrong(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}

async fn judge(
    answer: Response<Incoming>,
    http: &Http,
    address: SocketAddr,
) -> Result<u16, Reason> {
    let status = answer.status().as_u16();
    let fits = if http.expect_status.is_empty() {
        answer.status().is_success()
    } else {
        http.expect_status
            .iter()
            .any(|range| (range.from..=range.to).contains(&status))
    };
    if !fits {
        if let (true, Some(location)) = (
            answer.status().is_redirection(),
            answer.headers().get(header::LOCATION),
        ) {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            return Err(Reason::Redirect { status, location });
        }
        // What can be read of the body helps; that it breaks off is not the reason.
        let mut body = Vec::new();
        let read = read_until(answer.into_body(), &mut body, |body| body.len() >= SHOWN);
        if tokio::time::timeout(Duration::from_secs(1), read)
            .await
            .is_err()
        {
            tracing::debug!(status, "the body of a refused answer did not end");
        }
        let body = shown(&body);
        return Err(Reason::Status { status, body });
    }
    if let Some(wanted) = &http.body_contains {
        let mut body = Vec::new();
        let holds = |body: &[u8]| {
            wanted.is_empty() || body.windows(wanted.len()).any(|it| it == wanted.as_bytes())
        };
        let read = read_until(answer.into_body(), &mut body, holds).await;
        if !holds(&body) {
            read.map_err(|error| from_hyper(&error, address))?;
            return Err(Reason::BodyMissing {
                wanted: wanted.clone(),
                body: shown(&body),
            });
        }
    }
    Ok(status)
}

async fn read_until(
    mut from: Incoming,
    into: &mut Vec<u8>,
    enough: impl Fn(&[u8]) -> bool,
) -> hyper::Result<()> {
    while into.len() < BODY_LIMIT && !enough(into) {
        match from.frame().await {
            None => break,
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    let room = BODY_LIMIT - into.len();
                    into.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
        }
    }
    Ok(())
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned()
}

/// What an error of the network means for somebody waiting for `address`.
pub(super) fn from_io(error: &std::io::Error, address: SocketAddr) -> Reason {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Reason::Refused { address },
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Reason::Reset { address },
        ErrorKind::UnexpectedEof => Reason::ClosedEarly { address },
        _ => Reason::Unreachable {
            address,
            message: error.to_string(),
        },
    }
}

/// What an error of HTTP means for somebody waiting for `address`.
pub(super) fn from_hyper(error: &hyper::Error, address: SocketAddr) -> Reason {
    // hyper wraps what it found on the wire in what it did about it; the inner one is the reason.
    let mut error = error;
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return from_io(io, address);
        }
        if let Some(inner) = inner.downcast_ref::<hyper::Error>() {
            error = inner;
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Reason::ClosedEarly { address }
    } else {
        Reason::BadAnswer {
            message: error.to_string(),
        }
    }
}
