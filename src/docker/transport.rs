//! One HTTP/1.1 connection per call to an engine, over a Unix socket, TCP or TLS.
//!
//! Ours and not the client library's, because only who opens the connection can tell "never asked"
//! from "asked, and the answer was lost", and because names must not go through `getaddrinfo`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::BollardRequest;
use bollard::errors::Error;
use hickory_resolver::TokioResolver;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::address::Way;

/// Where calls go.
pub(super) enum Target {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
    },
    Tls {
        host: String,
        port: u16,
        config: Arc<rustls::ClientConfig>,
    },
}

/// A call that got no whole answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// Whether the engine may have acted on it.
    pub(super) may_have_acted: bool,
    /// In a person's words.
    pub(super) why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Broken {}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Target {
    /// The target of `way`; `None` for SSH, which the client library does.
    pub(super) fn new(way: &Way) -> Result<Option<Self>, String> {
        Ok(Some(match way {
            Way::Unix(path) => Self::Unix(path.clone()),
            Way::Tcp { host, port } => Self::Tcp {
                host: host.clone(),
                port: *port,
            },
            Way::Tls {
                host,
                port,
                certificates,
            } => Self::Tls {
                host: host.clone(),
                port: *port,
                config: Arc::new(tls_config(certificates)?),
            },
            Way::Ssh => return Ok(None),
        }))
    }

    /// Sends one request on a connection of its own.
    pub(super) async fn send(
        &self,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, Error> {
        let reads_only = matches!(*request.method(), Method::GET | Method::HEAD);
        let broken = |may_have_acted: bool, why: String| Error::IOError {
            err: io::Error::other(Broken {
                may_have_acted,
                why,
            }),
        };
        let stream = self.connect().await.map_err(|why| broken(false, why))?;
        let lost = |error: hyper::Error| broken(!reads_only, words(&error));
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection.with_upgrades());
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let path: Uri = path.parse().map_err(|err| Error::InvalidURIError { err })?;
        *request.uri_mut() = path;
        let host = match self {
            Self::Unix(_) => HeaderValue::from_static("docker"),
            Self::Tcp { host, .. } | Self::Tls { host, .. } => HeaderValue::from_str(host)
                .map_err(|err| Error::HttpClientError { err: err.into() })?,
        };
        request.headers_mut().insert(HOST, host);
        sender.send_request(request).await.map_err(lost)
    }

    async fn connect(&self) -> Result<Box<dyn Io>, String> {
        match self {
            Self::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(socket_words(path, &error)),
            },
            Self::Tcp { host, port } => Ok(Box::new(dial(host, *port).await?)),
            Self::Tls { host, port, config } => {
                let stream = dial(host, *port).await?;
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| format!("`{host}` is no name that a certificate can hold"))?;
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                match connector.connect(name, stream).await {
                    Ok(stream) => Ok(Box::new(stream)),
                    Err(error) => Err(format!("TLS with {host}:{port} failed: {error}")),
                }
            }
        }
    }
}

fn socket_words(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no socket {path}: install or start the engine, or set DOCKER_HOST")
        }
        io::ErrorKind::PermissionDenied => format!(
            "permission denied on {path}: run as root or add yourself to the group `docker`"
        ),
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on {path}: start the engine (`systemctl start docker`)")
        }
        _ => format!("{path}: {error}"),
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut last = format!("`{host}` has no address");
    for address in resolve(host).await? {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Calls are small and wait for their answers.
                stream
                    .set_nodelay(true)
                    .map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = format!("connection refused at {address}");
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" {
        return Ok(vec![
            std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ]);
    }
    let failed = |error: String| format!("`{host}` cannot be resolved: {error}");
    let resolver = TokioResolver::builder_tokio()
        .and_then(|builder| builder.build())
        .map_err(|error| failed(error.to_string()))?;
    let found = resolver
        .lookup_ip(host)
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(found.iter().collect())
}

fn tls_config(directory: &Path) -> Result<rustls::ClientConfig, String> {
    let wrong = |name: &str, error: &dyn fmt::Display| {
        format!(
            "`{}` cannot be used: {error}",
            directory.join(name).display()
        )
    };
    let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(directory.join(name))
            .and_then(Iterator::collect)
            .map_err(|error| wrong(name, &error))
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots
            .add(certificate)
            .map_err(|error| wrong("ca.pem", &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    if !directory.join("cert.pem").exists() {
        return Ok(builder.with_no_client_auth());
    }
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem"))
        .map_err(|error| wrong("key.pem", &error))?;
    builder
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(|error| wrong("cert.pem", &error))
}

/// An error with its causes, which hyper's own text leaves out.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
