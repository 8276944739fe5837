//! The HTTP client that hooks and pointers share. Knows nothing of either.
//!
//! The roots are compiled in, names are looked up by hickory, and nobody is followed elsewhere.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "aws")]
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// A client without a deadline of its own: the caller drops what takes too long.
///
/// # Errors
/// Where the machine does not let one be made.
pub fn client() -> Result<Client, String> {
    builder()?.build().map_err(|error| why(&error))
}

/// A client as [`client`] makes it, whose connections and answers may take no longer than this.
///
/// # Errors
/// Where the machine does not let one be made.
#[cfg(feature = "aws")]
pub fn client_within(connect: Option<Duration>, read: Option<Duration>) -> Result<Client, String> {
    let mut builder = builder()?;
    if let Some(limit) = connect {
        builder = builder.connect_timeout(limit);
    }
    if let Some(limit) = read {
        builder = builder.read_timeout(limit);
    }
    builder.build().map_err(|error| why(&error))
}

/// A client as [`client`] makes it, for which the host `name` is at these addresses, whatever
/// anybody else says of it.
///
/// # Errors
/// Where the machine does not let one be made.
pub fn client_to(name: &str, addresses: &[SocketAddr]) -> Result<Client, String> {
    let builder = builder()?.resolve_to_addrs(name, addresses);
    builder.build().map_err(|error| why(&error))
}

fn builder() -> Result<ClientBuilder, String> {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("flipside/", env!("CARGO_PKG_VERSION"))))
}

/// An error with what caused it.
#[must_use]
pub fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
