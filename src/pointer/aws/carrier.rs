//! What carries AWS's requests: the HTTP client that hooks and pointers share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use reqwest::Client;

use crate::web;

/// How long a connection and an answer may take, where that is said.
type Limits = (Option<Duration>, Option<Duration>);

/// One client for each pair of limits: the SDK asks for its own, and whoever gives credentials for
/// others.
#[derive(Debug, Default)]
pub(super) struct Carrier {
    made: Mutex<HashMap<Limits, SharedHttpConnector>>,
}

impl HttpClient for Carrier {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limits = (settings.connect_timeout(), settings.read_timeout());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let (connect, read) = limits;
            SharedHttpConnector::new(Connector {
                client: web::client_within(connect, read),
            })
        };
        made.entry(limits).or_insert_with(new).clone()
    }
}

#[derive(Debug)]
struct Connector {
    client: Result<Client, String>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        HttpConnectorFuture::new(async move {
            let client = client.map_err(|why| ConnectorError::other(why.into(), None))?;
            carry(&client, request).await
        })
    }
}

async fn carry(client: &Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let user = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::user(error);
    let request = request
        .try_into_http1x()
        .map_err(|error| user(error.into()))?;
    let (parts, body) = request.into_parts();
    let bytes = body.bytes().map(<[u8]>::to_vec);
    let bytes = bytes.ok_or_else(|| user("a request that is no single piece".into()))?;
    let mut carried = client
        .request(parts.method, parts.uri.to_string())
        .headers(parts.headers);
    if !bytes.is_empty() {
        carried = carried.body(bytes);
    }
    let answer = carried.send().await.map_err(failed)?;
    let status = StatusCode::try_from(answer.status().as_u16());
    let status = status.map_err(|error| ConnectorError::other(error.into(), None))?;
    let headers = answer.headers().clone();
    let body = answer.bytes().await.map_err(failed)?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &headers {
        // What is not text is no header that AWS sends.
        if let Ok(value) = value.to_str() {
            response
                .headers_mut()
                .append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

fn failed(error: reqwest::Error) -> ConnectorError {
    match error.is_timeout() {
        true => ConnectorError::timeout(error.into()),
        false => ConnectorError::io(error.into()),
    }
}
