//! A service as its users reach it: asked through its pointer, after a switch.

use std::net::SocketAddr;

use reqwest::header::{CONNECTION, HOST};
use reqwest::{Client, Url};

use super::PointerError;
use crate::web;

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
        let url = self.url.join(path).map_err(|error| error.to_string())?;
        let mut request = self.client.get(url).header(CONNECTION, "close");
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        let answer = request.send().await.map_err(|error| web::why(&error))?;
        Ok(answer.status().as_u16())
    }
}
