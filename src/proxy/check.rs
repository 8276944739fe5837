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

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::body::{Wanted, glimpse};
use super::grpc;
use super::headers::HEADERS_MOST;
use super::reason::{from_hyper, from_io};
use super::tls;

pub use super::body::{Body, Json};
pub use super::grpc::Grpc;
pub use super::reason::{Heard, Reason, Stage};

/// The longest a check may take, whatever was asked.
const LIMIT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

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
    /// One HTTP/1.1 request and what the whole body of its answer must be. A kind of its own, so
    /// that a proxy which does not know it refuses it, instead of passing what it did not look at.
    HttpBody(Box<HttpBody>),
    /// The health check of gRPC, over HTTP/2 without TLS.
    Grpc(Grpc),
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

/// One HTTP request and what the whole body of its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpBody {
    /// The request.
    pub http: Http,
    /// The body.
    pub body: Body,
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
        /// Status of the answer in HTTP, where that was asked.
        status: Option<u16>,
    },
    /// It failed.
    Fail {
        /// Why.
        reason: Reason,
    },
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
    let (http, body) = match &check.kind {
        Kind::Http(http) => (http, None),
        Kind::HttpBody(asked) => (&asked.http, Some(&asked.body)),
        Kind::Grpc(grpc) => {
            let asked = grpc::exchange(stream, grpc, check.address, check.timeout_ms);
            let answer = timeout_at(deadline, asked).await;
            return answer.map_err(late(Stage::Answer))?.map(|()| None);
        }
        Kind::Tcp => return Ok(None),
    };
    let wanted = Wanted::new(http.body_contains.as_deref(), body)?;
    let answer = async {
        match &http.tls {
            None => exchange(stream, http, &wanted, check.address).await,
            Some(settings) => {
                let stream = tls::connect(stream, settings, check.address.ip())
                    .await
                    .map_err(|message| Reason::Tls { message })?;
                exchange(stream, http, &wanted, check.address).await
            }
        }
    };
    timeout_at(deadline, answer)
        .await
        .map_err(late(Stage::Answer))?
        .map(Some)
}

async fn exchange<S>(
    stream: S,
    http: &Http,
    wanted: &Wanted<'_>,
    address: SocketAddr,
) -> Result<u16, Reason>
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
        judge(answer, http, wanted, address).await
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
    wanted: &Wanted<'_>,
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
        let body = glimpse(answer.into_body()).await;
        return Err(Reason::Status { status, body });
    }
    wanted.judge(answer.into_body(), address).await?;
    Ok(status)
}
