//! Checks from this process.
//!
//! Neither repeats nor schedules; the check itself is the one the embedded proxy makes.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{Question, Vantage, VantageError};
use crate::core::names::Millis;
use crate::core::plan::{HttpProbe, Verify};
use crate::proxy::check::{self, Check, Http, Kind, Outcome, StatusRange, Tls};

/// This process as a vantage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here;

#[async_trait]
impl Vantage for Here {
    fn place(&self) -> String {
        "this machine".into()
    }

    async fn check(
        &self,
        address: SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        let kind = match question {
            Question::Http(http) => Kind::Http(request(http)),
            Question::Tcp => Kind::Tcp,
        };
        let asked = Check {
            kind,
            address,
            timeout_ms,
        };
        Ok(match check::check(&asked).await {
            Outcome::Pass { .. } => Ok(()),
            Outcome::Fail { reason } => Err(reason.to_string()),
        })
    }
}

fn request(probe: &HttpProbe) -> Http {
    // A field without a value is never asked for: the caller does not ask such a probe.
    let headers = probe.headers.iter().filter_map(|field| {
        let value = field.value.as_ref()?;
        Some((field.name.clone(), value.reveal().to_owned()))
    });
    let ranges = probe.status.iter();
    Http {
        method: probe.method.clone(),
        path: probe.path.clone(),
        headers: headers.collect(),
        expect_status: ranges.map(|&(from, to)| StatusRange { from, to }).collect(),
        body_contains: probe.contains.clone(),
        tls: probe.tls.as_ref().map(|tls| Tls {
            server_name: tls.server_name.clone(),
            insecure: tls.verify == Verify::None,
        }),
    }
}
