//! A real request through the proxy's own listener, traced to the environment that answers it.
//!
//! The trace rests on a secret that is made at every start and never leaves the machine: the proxy
//! connects to itself, and takes the header away before a backend sees it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::control::{Asked, Code, ControlError};
use super::desk::Desk;
use super::headers::{HEADERS_MOST, RELEASE, TRACE};
use super::reason::{Reason, from_hyper, from_io};
use super::refuse::unknown;
use super::routes::header;
use super::table::{parse_listen, reachable};

/// The most of a body that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// Asks `service` for `path`, the way a client would.
///
/// # Errors
///
/// Where there is no such service, or no answer within `limit`.
pub async fn ask(
    desk: &Desk,
    service: &str,
    method: &str,
    path: &str,
    host: Option<String>,
    preview: bool,
    limit: Duration,
) -> Result<Asked, ControlError> {
    let entry = {
        let routes = desk.shared.routes.load();
        let found = routes.services.get(service).map(|it| it.entry.clone());
        found.ok_or_else(|| unknown(service))?
    };
    let bad = |message: String| ControlError::new(Code::BadRequest, message);
    if !entry.slots.is_empty() {
        return Err(bad(format!(
            "`{service}` has slots, where connections are passed on unread: nothing is asked there"
        )));
    }
    let address = reachable(parse_listen(&entry.listen).map_err(bad)?);
    let shown = entry.preview.as_ref().filter(|_| preview);
    let host = host
        .or_else(|| shown.and_then(|shown| shown.hosts.first().cloned()))
        .or_else(|| entry.hosts.first().cloned())
        .unwrap_or_else(|| address.to_string());
    let mut request = Request::builder();
    if let Some((name, value)) = shown.and_then(|shown| header(shown.header.as_deref()?)) {
        request = request.header(name, value);
    }
    let request = request
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(CONNECTION, HeaderValue::from_static("close"))
        .header(TRACE, desk.shared.secret.clone())
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(error.to_string()))?;
    let failed = |reason: &dyn std::fmt::Display| {
        let message = format!("asked through {address}: {reason}");
        ControlError::new(Code::AskFailed, message)
    };
    match timeout(limit, exchange(address, request)).await {
        Ok(asked) => asked.map_err(|reason| failed(&reason)),
        Err(_) => Err(failed(&format!(
            "no answer within {} ms",
            limit.as_millis()
        ))),
    }
}

async fn exchange(address: SocketAddr, request: Request<Empty<Bytes>>) -> Result<Asked, Reason> {
    let began = Instant::now();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| from_io(&error, address))?;
    let (mut send, connection) = http1::Builder::new()
        .max_headers(HEADERS_MOST)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| from_hyper(&error, address))?;
    let asking = async {
        let answer = send
            .send_request(request)
            .await
            .map_err(|error| from_hyper(&error, address))?;
        let release = answer.headers().get(RELEASE);
        let asked = Asked {
            status: answer.status().as_u16(),
            release: release
                .and_then(|release| release.to_str().ok())
                .and_then(|release| release.parse().ok()),
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        // Read, so that the backend sees an ordinary request; what it says does not matter here.
        let rest = Limited::new(answer.into_body(), BODY_LIMIT);
        if let Err(error) = rest.collect().await {
            tracing::debug!(%error, "the body of an answer was not read to its end");
        }
        Ok(asked)
    };
    tokio::pin!(asking, connection);
    tokio::select! {
        asked = &mut asking => asked,
        _ended = &mut connection => asking.await,
    }
}
