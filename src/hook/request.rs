//! A request to somebody else: sent once, its answer judged by its status alone.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};

use super::{Call, Stop, Told, stopped};
use crate::core::plan::HookRequest;
use crate::process::{OUTPUT, last};
use crate::web::{client, why};

/// Sends a request and waits for its answer, or until it is to stop.
pub(super) async fn send(wanted: &HookRequest, call: &Call<'_>, mut stop: Stop) -> Told {
    tokio::select! {
        told = asked(wanted, call) => told.unwrap_or_else(Told::failed),
        () = stopped(&mut stop) => Told::failed("was cut short before its answer came"),
    }
}

async fn asked(wanted: &HookRequest, call: &Call<'_>) -> Result<Told, String> {
    let method = Method::from_bytes(wanted.method.as_bytes());
    let method = method.map_err(|error| error.to_string())?;
    let mut request = client()?
        .request(method, wanted.url.reveal())
        .headers(headers(wanted, call)?);
    if let Some(body) = &wanted.body {
        request = request.body(body.reveal().to_owned());
    }
    // What went wrong is told without the address, which may hold a token.
    let answer = request
        .send()
        .await
        .map_err(|error| why(&error.without_url()))?;
    let status = answer.status().as_u16();
    let good = wanted
        .status
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&status));
    Ok(Told {
        code: None,
        status: Some(status),
        output: body(answer).await,
        why: (!good).then(|| format!("was answered {status}")),
    })
}

fn headers(wanted: &HookRequest, call: &Call<'_>) -> Result<HeaderMap, String> {
    let (service, release) = (call.service.to_string(), call.release.to_string());
    let own = [
        ("idempotency-key", call.key),
        ("flipside-service", &service),
        ("flipside-release", &release),
    ];
    let theirs = wanted.headers.iter();
    let theirs = theirs.map(|(name, value)| (name.as_str(), value.reveal()));
    let mut headers = HeaderMap::new();
    for (name, value) in own.into_iter().chain(theirs) {
        let field = HeaderName::from_bytes(name.as_bytes());
        let field = field.map_err(|_| format!("`{name}` is not the name of a header"))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(field, value);
    }
    Ok(headers)
}

/// The beginning of a body; an answer that breaks off has still been given.
async fn body(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < OUTPUT {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(OUTPUT);
    last(&String::from_utf8_lossy(&bytes))
}
