//! A service as its users reach it: asked through its pointer, after a switch.

use std::net::SocketAddr;

use reqwest::header::{CONNECTION, HOST};
use reqwest::{Client, Response, Url};

use super::PointerError;
use crate::web;

/// How much of a text is read, in bytes.
const BEGINNING: usize = 512;

/// Where a service is reached.
#[derive(Debug)]
pub struct Outside {
    client: Client,
    url: Url,
    host: Option<String>,
}

impl Outside {
    /// The service at `url`, by the name `host` where that is not the URL's own.
    ///
    /// # Errors
    /// Where the URL is none, or no client can be made.
    pub fn new(url: &str, host: Option<&str>) -> Result<Self, PointerError> {
        let failed = |what: String| PointerError::Failed { what, hint: None };
        Ok(Self {
            url: url
                .parse()
                .map_err(|error| failed(format!("`{url}` is not a URL: {error}")))?,
            client: web::client().map_err(failed)?,
            host: host.map(str::to_owned),
        })
    }

    /// The service at `url`, whose host is at these addresses and nowhere else.
    ///
    /// # Errors
    /// Where the URL names no host, or no client can be made.
    pub fn at(url: &str, addresses: &[SocketAddr]) -> Result<Self, PointerError> {
        let failed = |what: String| PointerError::Failed { what, hint: None };
        let url: Url = url
            .parse()
            .map_err(|error| failed(format!("`{url}` is not a URL: {error}")))?;
        let Some(name) = url.host_str() else {
            return Err(failed(format!("`{url}` names no host")));
        };
        let client = web::client_to(name, addresses).map_err(failed)?;
        Ok(Self {
            client,
            url,
            host: None,
        })
    }

    /// The status of one GET of `path`, on a connection of its own.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn get(&self, path: &str) -> Result<u16, String> {
        Ok(self.send(path, &[]).await?.status().as_u16())
    }

    /// The status of one GET of `path` with these headers, and how its text begins.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn text(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(u16, String), String> {
        let mut answer = self.send(path, headers).await?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| web::why(&error))? {
            text.extend_from_slice(&piece);
            if text.len() > BEGINNING {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((answer.status().as_u16(), text))
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response, String> {
        let url = self.url.join(path).map_err(|error| error.to_string())?;
        let mut request = self.client.get(url).header(CONNECTION, "close");
        let named = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("host");
        if let Some(host) = self.host.as_ref().filter(|_| !headers.iter().any(named)) {
            request = request.header(HOST, host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.map_err(|error| web::why(&error))
    }
}
