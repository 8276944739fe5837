//! Why a check failed: data for programs, a line for people.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

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
        /// Whether the body goes on after what was read of it, its first MiB.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        longer: bool,
    },
    /// The pattern matches nowhere in the body.
    BodyUnmatched {
        /// The regular expression.
        pattern: String,
        /// The first 200 bytes of the body.
        body: String,
    },
    /// The body, which must be seen whole, goes on after what is read of it.
    BodyTooLong {
        /// How much is read, in bytes.
        most: u64,
    },
    /// The body is no JSON.
    NoJson {
        /// Where it is none, from 1.
        line: u64,
        /// Likewise.
        column: u64,
        /// The first 200 bytes of the body.
        body: String,
    },
    /// The body's JSON has no such place.
    JsonMissing {
        /// The place, a JSON pointer.
        pointer: String,
    },
    /// Something else stands there.
    JsonDiffers {
        /// The place, a JSON pointer.
        pointer: String,
        /// The first 200 bytes of what stands there, as JSON.
        found: String,
        /// What should stand there, as JSON.
        wanted: String,
    },
    /// TLS could not be set up.
    Tls {
        /// Why.
        message: String,
    },
    /// What answers does not speak HTTP/2 without TLS.
    NoHttp2 {
        /// Where.
        address: SocketAddr,
        /// What came instead.
        heard: Heard,
    },
    /// The answer is HTTP/2, but not gRPC's.
    NoGrpc {
        /// Why.
        message: String,
    },
    /// A gRPC server refused to say how a service is.
    GrpcStatus {
        /// The service; empty: the server as a whole.
        service: String,
        /// The number of its status.
        code: u32,
        /// Its explanation.
        message: String,
    },
    /// A gRPC server says that a service is not serving.
    GrpcState {
        /// The service; empty: the server as a whole.
        service: String,
        /// How it is instead.
        state: String,
    },
    /// The answer is not HTTP, or the check itself cannot be asked.
    BadAnswer {
        /// Why.
        message: String,
    },
}

/// What came where HTTP/2 was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// An answer in HTTP/1.
    Http1,
    /// Something else, an alert of TLS perhaps.
    Other,
    /// Nothing before the connection was closed.
    Nothing,
}

/// The names of gRPC's statuses, by number.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

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
            Reason::BodyMissing { wanted, body, .. } if body.is_empty() => {
                write!(f, "`{wanted}` is not in the answer, which is empty")
            }
            Reason::BodyMissing {
                wanted,
                body,
                longer,
            } => {
                let first = if *longer { "the first MiB of " } else { "" };
                write!(f, "`{wanted}` is not in {first}the answer: {}", body.trim())
            }
            Reason::BodyUnmatched { pattern, body } if body.is_empty() => {
                write!(f, "`{pattern}` does not match the answer, which is empty")
            }
            Reason::BodyUnmatched { pattern, body } => {
                write!(f, "`{pattern}` does not match the answer: {}", body.trim())
            }
            Reason::BodyTooLong { most } => {
                write!(f, "the answer is longer than {} KiB, ", most / 1024)?;
                f.write_str("which are all that is read")
            }
            Reason::NoJson { body, .. } if body.trim().is_empty() => {
                f.write_str("the answer is empty, which is no JSON")
            }
            Reason::NoJson { line, column, body } => {
                let body = body.trim();
                write!(f, "the answer is no JSON at {line}:{column}: {body}")
            }
            Reason::JsonMissing { pointer } => write!(f, "no `{pointer}` in the answer"),
            Reason::JsonDiffers {
                pointer,
                found,
                wanted,
            } if pointer.is_empty() => write!(f, "the answer is {found}, not {wanted}"),
            Reason::JsonDiffers {
                pointer,
                found,
                wanted,
            } => write!(f, "`{pointer}` is {found}, not {wanted}"),
            Reason::Tls { message } => write!(f, "TLS failed: {message}"),
            Reason::NoHttp2 { address, heard } => match heard {
                Heard::Http1 => write!(f, "{address} answers in HTTP/1, and gRPC is HTTP/2"),
                Heard::Other => write!(f, "{address} does not speak HTTP/2 without TLS"),
                Heard::Nothing => write!(
                    f,
                    "{address} closes the connection at the greeting of HTTP/2, as a server of \
                     HTTP/1 may"
                ),
            },
            Reason::NoGrpc { message } => write!(f, "no gRPC answer: {message}"),
            Reason::GrpcStatus {
                service,
                code,
                message,
            } => {
                match (code, service.as_str()) {
                    (5, "") => f.write_str("it does not say how it is as a whole")?,
                    (5, service) => write!(f, "it knows no service `{service}`")?,
                    (12, _) => f.write_str("it has no gRPC health service")?,
                    _ => f.write_str("it does not say how it is")?,
                }
                match GRPC_STATUSES.get(*code as usize) {
                    Some(name) => write!(f, " ({name})")?,
                    None => write!(f, " (gRPC status {code})")?,
                }
                match message.trim() {
                    "" => Ok(()),
                    message => write!(f, ": {message}"),
                }
            }
            Reason::GrpcState { service, state } if service.is_empty() => {
                write!(f, "it says that it is {state}")
            }
            Reason::GrpcState { service, state } => {
                write!(f, "it says that `{service}` is {state}")
            }
            Reason::BadAnswer { message } => write!(f, "no HTTP answer: {message}"),
        }
    }
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
