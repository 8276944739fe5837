//! gRPC's own health check (`grpc.health.v1.Health/Check`), asked once over HTTP/2 without TLS.
//!
//! The two messages have one field each and are written out here. The HTTP/2 client is `h2` itself:
//! its connection is a future, driven beside the call, so that nothing outlives the check.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use h2::client::{Builder, SendRequest};
use h2::{Error, RecvStream};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, header};
use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_util::io::InspectReader;

use super::reason::{Heard, Reason, from_io};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The most header fields and trailers that are taken, in bytes.
const HEADERS_LIMIT: u32 = 64 * 1024;
/// The most of an answer that is taken, in bytes; a good one has seven.
const ANSWER_LIMIT: usize = 16 * 1024;
/// The most of a server's explanation that is shown, in characters.
const SHOWN: usize = 200;
/// The most milliseconds that `grpc-timeout` can say: eight digits.
const TIMEOUT_MOST: u64 = 99_999_999;
/// The length of the head of a frame of HTTP/2, the fourth byte of which says what it is.
const FRAME_HEAD: usize = 9;
/// What the first frame of every HTTP/2 server is.
const SETTINGS: u8 = 4;

/// One question to a gRPC server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// The service that is asked after; empty: the server as a whole.
    pub service: String,
}

/// Why a call has no answer.
enum Failed {
    Broken(Error),
    Answered(Reason),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self::Answered(reason)
    }
}

/// Asks over `stream` whether `grpc.service` is serving.
pub(super) async fn exchange(
    stream: TcpStream,
    grpc: &Grpc,
    address: SocketAddr,
    timeout_ms: u64,
) -> Result<(), Reason> {
    let heard = Arc::new(OnceLock::new());
    let first = heard.clone();
    let stream = InspectReader::new(stream, move |bytes: &[u8]| {
        if !bytes.is_empty() {
            first.get_or_init(|| bytes[..bytes.len().min(FRAME_HEAD)].to_vec());
        }
    });
    let called = async {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .max_header_list_size(HEADERS_LIMIT);
        let (send, connection) = builder.handshake::<_, Bytes>(stream).await?;
        let calling = call(send, grpc, address, timeout_ms);
        tokio::pin!(calling, connection);
        tokio::select! {
            biased;
            called = &mut calling => called,
            ended = &mut connection => {
                ended?;
                calling.await
            }
        }
    };
    called.await.map_err(|failed| match failed {
        Failed::Answered(reason) => reason,
        Failed::Broken(error) => broken(&error, heard.get().map(Vec::as_slice), address),
    })
}

async fn call(
    send: SendRequest<Bytes>,
    grpc: &Grpc,
    address: SocketAddr,
    timeout_ms: u64,
) -> Result<(), Failed> {
    let request = Request::post(format!("http://{address}{PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(
            header::USER_AGENT,
            concat!("flipside/", env!("CARGO_PKG_VERSION")),
        )
        .header(
            "grpc-timeout",
            format!("{}m", timeout_ms.clamp(1, TIMEOUT_MOST)),
        )
        .body(())
        .map_err(|error| no_grpc(format!("the check cannot be asked: {error}")))?;
    let mut send = send.ready().await?;
    let (answer, mut body) = send.send_request(request, false)?;
    body.send_data(asked(&grpc.service), true)?;
    let (head, body) = answer.await?.into_parts();
    if head.status != hyper::StatusCode::OK {
        return Err(no_grpc(format!("it answers {}", head.status)).into());
    }
    let kind = head.headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    match kind {
        Some(kind) if kind.starts_with("application/grpc") => {}
        Some(kind) => return Err(no_grpc(format!("its answer is `{kind}`")).into()),
        None => return Err(no_grpc("its answer does not say what it is".into()).into()),
    }
    // An answer without a message may bring its status at once.
    if let Some(code) = status(&head.headers)
        && code != 0
    {
        return Err(refused(grpc, code, &head.headers).into());
    }
    let (message, trailers) = collect(body).await?;
    let trailers = trailers.unwrap_or(head.headers);
    match status(&trailers) {
        None => Err(no_grpc("it ends without a `grpc-status`".into()).into()),
        Some(0) => Ok(judge(grpc, &message)?),
        Some(code) => Err(refused(grpc, code, &trailers).into()),
    }
}

/// All of a body, and what followed it.
async fn collect(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), Failed> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        if message.len() + data.len() > ANSWER_LIMIT {
            let why = format!("its answer is longer than {} KiB", ANSWER_LIMIT / 1024);
            return Err(no_grpc(why).into());
        }
        message.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((message, body.trailers().await?))
}

/// `HealthCheckRequest { string service = 1; }`, framed.
fn asked(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    // Not compressed; the length; the message.
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

/// Whether a framed `HealthCheckResponse { ServingStatus status = 1; }` says that it serves.
fn judge(grpc: &Grpc, framed: &[u8]) -> Result<(), Reason> {
    let message = match framed {
        [0, a, b, c, d, message @ ..]
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() =>
        {
            message
        }
        [1, ..] => return Err(no_grpc("its answer is compressed".into())),
        _ => return Err(no_grpc("its answer is not one whole message".into())),
    };
    let state = serving_status(message)
        .ok_or_else(|| no_grpc("its answer is no HealthCheckResponse".into()))?;
    let state = match state {
        1 => return Ok(()),
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("state {other}"),
    };
    let service = grpc.service.clone();
    Err(Reason::GrpcState { service, state })
}

/// Field 1 of a protobuf message, 0 where it is not there; none where the message is broken.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (1, _) => return None,
            (_, 0) => {
                varint(&mut message)?;
            }
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn status(fields: &HeaderMap) -> Option<u32> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn refused(grpc: &Grpc, code: u32, fields: &HeaderMap) -> Reason {
    let message = fields.get("grpc-message");
    let message = message.map_or(String::new(), |message| decoded(message.as_bytes()));
    Reason::GrpcStatus {
        service: grpc.service.clone(),
        code,
        message: message.chars().take(SHOWN).collect(),
    }
}

/// A `grpc-message`, which is percent-encoded; what is not well encoded is left as it is.
fn decoded(message: &[u8]) -> String {
    percent_decode(message).decode_utf8_lossy().into_owned()
}

fn no_grpc(message: String) -> Reason {
    Reason::NoGrpc { message }
}

/// What it means that HTTP/2 failed, after these first bytes from the other end.
fn broken(error: &Error, heard: Option<&[u8]>, address: SocketAddr) -> Reason {
    let heard = match heard {
        None => Heard::Nothing,
        Some(bytes) if bytes.starts_with(b"HTTP/1") => Heard::Http1,
        Some(bytes) if bytes.get(3) != Some(&SETTINGS) => Heard::Other,
        Some(_) => {
            return match error.get_io() {
                Some(io) => from_io(io, address),
                None => no_grpc(error.to_string()),
            };
        }
    };
    Reason::NoHttp2 { address, heard }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_encoded_as_protobuf_says() {
        assert_eq!(&asked("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&asked("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = asked(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 1 + 2 + 300);
    }

    #[test]
    fn an_answer_is_read_past_what_is_not_known_of_it() {
        assert_eq!(serving_status(&[]), Some(0));
        assert_eq!(serving_status(&[8, 1]), Some(1));
        let later = [
            0x12, 2, 8, 1, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 5, 8, 2,
        ];
        assert_eq!(serving_status(&later), Some(2));
        for broken in [
            &[8][..],
            &[8, 0x80],
            &[0x0a, 0],
            &[0x12, 9, 1],
            &[0x1d, 1],
            &[0x21, 1],
            &[0x0b],
            &[0xff; 12],
        ] {
            assert_eq!(serving_status(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_explanation_is_decoded() {
        assert_eq!(decoded(b"no %C3%BC, 100%, %zz"), "no ü, 100%, %zz");
    }
}
