//! What is asked of an environment before traffic goes there, as labels carry it too.

use serde::{Deserialize, Serialize};

use super::Text;
use crate::core::names::{Millis, RoleName};

/// One check that an environment is fit to serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The role, every replica of which is checked.
    pub role: RoleName,
    /// What is asked.
    pub kind: ProbeKind,
    /// The longest wait between two checks; the first waits are shorter.
    pub interval_ms: Millis,
    /// How long one check may take.
    pub timeout_ms: Millis,
    /// How long after the container's start the first check comes.
    pub initial_delay_ms: Millis,
    /// How many checks in a row must pass, at least 1.
    pub passes: u32,
    /// How many checks in a row must fail, during a bake, for the release to be switched back.
    pub failures: u32,
    /// When all must have passed, counted from the end of standing up.
    pub deadline_ms: Millis,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "KindRepr", into = "KindRepr")]
pub enum ProbeKind {
    /// An HTTP/1.1 request; redirects are never followed.
    Http(HttpProbe),
    /// A TCP connection.
    Tcp {
        /// The container's port.
        port: u16,
    },
    /// The health check of gRPC, over HTTP/2 without TLS.
    Grpc(GrpcProbe),
    /// A command in the container that must exit with 0.
    Exec {
        /// The command and its arguments; not serialised: it may hold secrets.
        command: Vec<Text>,
    },
    /// The container's own HEALTHCHECK.
    Health,
}

/// A gRPC probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcProbe {
    /// The container's port.
    pub port: u16,
    /// The service asked after; empty: the server as a whole.
    pub service: String,
}

/// How a kind is serialised. What older flipsides do not know is written beside what they do, so
/// that they can read the labels of its environment and roll back to it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindRepr {
    Http(HttpProbe),
    Tcp {
        port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grpc: Option<GrpcRepr>,
    },
    Exec {},
    Health,
}

#[derive(Serialize, Deserialize)]
struct GrpcRepr {
    service: String,
}

impl From<KindRepr> for ProbeKind {
    fn from(repr: KindRepr) -> Self {
        match repr {
            KindRepr::Http(http) => Self::Http(http),
            KindRepr::Tcp { port, grpc: None } => Self::Tcp { port },
            KindRepr::Tcp {
                port,
                grpc: Some(GrpcRepr { service }),
            } => Self::Grpc(GrpcProbe { port, service }),
            KindRepr::Exec {} => Self::Exec {
                command: Vec::new(),
            },
            KindRepr::Health => Self::Health,
        }
    }
}

impl From<ProbeKind> for KindRepr {
    fn from(kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::Http(http) => Self::Http(http),
            ProbeKind::Tcp { port } => Self::Tcp { port, grpc: None },
            ProbeKind::Grpc(GrpcProbe { port, service }) => Self::Tcp {
                port,
                grpc: Some(GrpcRepr { service }),
            },
            ProbeKind::Exec { .. } => Self::Exec {},
            ProbeKind::Health => Self::Health,
        }
    }
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// The container's port.
    pub port: u16,
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Header fields, `Host` among them.
    pub headers: Vec<HeaderField>,
    /// Statuses that pass, as inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// Text that the first MiB of the body must contain.
    pub contains: Option<String>,
    /// Regular expression that must match somewhere in the body, of 1 MiB at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// What the body, JSON of 1 MiB at most, must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Box<JsonValue>>,
    /// TLS, where it is spoken.
    pub tls: Option<ProbeTls>,
}

/// A value at a place in a JSON document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JsonValue {
    /// The place, a JSON pointer (RFC 6901).
    pub pointer: String,
    /// Text, number, truth value or null.
    pub equals: serde_json::Value,
}

/// One header field of a probe. Of a secret one only the name is serialised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "HeaderRepr", into = "HeaderRepr")]
pub struct HeaderField {
    /// The field's name.
    pub name: String,
    /// Its value; `None` where it was secret and this probe was read back from a label.
    pub value: Option<Text>,
}

#[derive(Serialize, Deserialize)]
struct HeaderRepr {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl From<HeaderRepr> for HeaderField {
    fn from(repr: HeaderRepr) -> Self {
        Self {
            name: repr.name,
            value: repr.value.map(Text::public),
        }
    }
}

impl From<HeaderField> for HeaderRepr {
    fn from(field: HeaderField) -> Self {
        let public = field.value.filter(|value| !value.is_secret());
        Self {
            name: field.name,
            value: public.map(|value| value.reveal().to_owned()),
        }
    }
}

/// How a probe speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTls {
    /// The name sent and, unless `verify` says otherwise, verified.
    pub server_name: Option<String>,
    /// What is verified.
    pub verify: Verify,
}

/// What is verified of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Chain and name.
    #[default]
    Full,
    /// Nothing: `verify: none`.
    None,
}
