//! A question, and the check that asks it.

use std::net::SocketAddr;

use crate::core::names::Millis;
use crate::core::plan::{GrpcProbe, HeaderField, HttpProbe, Verify};
use crate::proxy::check::{Body, Check, Grpc, Http, HttpBody, Json, Kind, StatusRange, Tls};

/// What is asked of an address.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// An HTTP request; its port is the address's.
    Http(HttpProbe),
    /// The health check of gRPC; its port is the address's.
    Grpc(GrpcProbe),
    /// A TCP connection.
    Tcp,
}

impl Question {
    /// The check that asks it of `address`.
    ///
    /// # Errors
    /// Why it would not pass, where it cannot be asked as it was meant.
    pub fn check(&self, address: SocketAddr, timeout_ms: Millis) -> Result<Check, String> {
        let kind = match self {
            Self::Http(probe) => http(probe)?,
            Self::Grpc(probe) => Kind::Grpc(Grpc {
                service: probe.service.clone(),
            }),
            Self::Tcp => Kind::Tcp,
        };
        Ok(Check {
            kind,
            address,
            timeout_ms,
        })
    }
}

fn http(probe: &HttpProbe) -> Result<Kind, String> {
    let header = |field: &HeaderField| match &field.value {
        Some(value) => Ok((field.name.clone(), value.reveal().to_owned())),
        None => Err(format!(
            "not asked: the value of its header `{}` is secret, and known to the plan alone",
            field.name
        )),
    };
    let range = |&(from, to): &(u16, u16)| StatusRange { from, to };
    let http = Http {
        method: probe.method.clone(),
        path: probe.path.clone(),
        headers: probe.headers.iter().map(header).collect::<Result<_, _>>()?,
        expect_status: probe.status.iter().map(range).collect(),
        body_contains: probe.contains.clone(),
        tls: probe.tls.as_ref().map(|tls| Tls {
            server_name: tls.server_name.clone(),
            insecure: tls.verify == Verify::None,
        }),
    };
    if probe.matches.is_none() && probe.json.is_none() {
        return Ok(Kind::Http(http));
    }
    let body = Body {
        matches: probe.matches.clone(),
        json: probe.json.as_ref().map(|json| Json {
            pointer: json.pointer.clone(),
            equals: json.equals.clone(),
        }),
    };
    Ok(Kind::HttpBody(Box::new(HttpBody { http, body })))
}
