//! The Docker client that the engine, the pointer and the probes share: connecting, negotiating,
//! classifying errors, and the few composed calls that more than one of them needs.
//!
//! It holds no policy: no names and no labels but those of the image of flipside itself, no retries.
//! Deadlines are the caller's.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::core::event::Failure;
use crate::engine::EngineError;

pub mod address;
mod binary;
mod image;
pub(crate) mod own_image;
mod scratch;
mod transport;

pub use address::{Endpoint, Surroundings, Way};
pub(crate) use image::{TarStream, append as append_file, header as plain_header, tar_stream};
pub use own_image::OwnImage;
pub use scratch::{ScratchFile, ScratchImage};

/// A day: the caller sets deadlines, and a build or a wait may take long.
const NO_TIMEOUT_S: u64 = 86_400;

/// A connection to one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) docker: bollard::Docker,
    endpoint: Arc<Endpoint>,
}

/// The two ends of a command's standard streams, its standard error apart.
pub struct Stdio {
    /// What the command prints.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// What the command reads.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Client {
    /// Connects to `address`, else `DOCKER_HOST`, else the current Docker context, else the local
    /// socket, and negotiates the API version: one round trip.
    ///
    /// # Errors
    /// [`EngineError::OutOfReach`] where the address is wrong or no engine answers there.
    pub async fn connect(address: Option<&str>) -> Result<Self, EngineError> {
        let chosen = address::choose(address, &Surroundings::read());
        let endpoint = chosen.map_err(|(engine, why)| EngineError::OutOfReach { engine, why })?;
        Self::open(endpoint).await
    }

    /// Connects to an engine already chosen.
    ///
    /// # Errors
    /// [`EngineError::OutOfReach`] where no engine answers there.
    pub async fn open(endpoint: Endpoint) -> Result<Self, EngineError> {
        let out = |why: String| EngineError::OutOfReach {
            engine: endpoint.address.clone(),
            why,
        };
        let docker = match transport::Target::new(&endpoint.way).map_err(out)? {
            Some(target) => {
                let target = Arc::new(target);
                let version = ping(&target).await.map_err(|error| {
                    let error = classify(&endpoint.address, error);
                    out(reason(&error))
                })?;
                let send = move |request: BollardRequest| {
                    let target = target.clone();
                    async move { target.send(request).await }
                };
                bollard::Docker::connect_with_custom_transport(
                    send,
                    Some("http://docker"),
                    NO_TIMEOUT_S,
                    &version,
                )
            }
            None => over_ssh(&endpoint.address).await,
        };
        let docker = docker.map_err(|error| out(reason(&classify(&endpoint.address, error))))?;
        Ok(Self {
            docker: docker.with_request_modifier(url_safe_credentials),
            endpoint: Arc::new(endpoint),
        })
    }

    /// The engine's address, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.endpoint.address
    }

    /// Which engine, and how it is reached.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the engine shares this machine's kernel, as far as its address tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.endpoint.is_local()
    }

    /// The API version spoken, as major and minor.
    #[must_use]
    pub fn api(&self) -> (usize, usize) {
        let version = self.docker.client_version();
        (version.major_version, version.minor_version)
    }

    /// Says of an error of this client whether the engine was reached, was lost or refused.
    #[must_use]
    pub fn fault(&self, error: Error) -> EngineError {
        classify(&self.endpoint.address, error)
    }

    /// Starts a command in a container and joins its standard streams: a duplex stream that works
    /// wherever the engine does. The command's standard error is dropped.
    ///
    /// # Errors
    /// Where the container does not run or the engine does not answer.
    pub async fn exec_stdio(
        &self,
        container: &str,
        command: &[&str],
    ) -> Result<Stdio, EngineError> {
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(false),
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(container, config).await;
        let exec = exec.map_err(|error| self.fault(error))?;
        let started = self
            .docker
            .start_exec(&exec.id, None::<StartExecOptions>)
            .await;
        match started.map_err(|error| self.fault(error))? {
            StartExecResults::Attached { output, input } => {
                let frames = output.filter_map(|frame| async {
                    match frame {
                        Ok(bollard::container::LogOutput::StdOut { message }) => Some(Ok(message)),
                        Ok(_) => None,
                        Err(error) => Some(Err(io::Error::other(error))),
                    }
                });
                Ok(Stdio {
                    output: Box::new(tokio_util::io::StreamReader::new(Box::pin(frames))),
                    input: Box::new(input),
                })
            }
            StartExecResults::Detached => Err(refused("the engine detached a command")),
        }
    }
}

/// Random bytes, from the machine that flipside is called on.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| refused(format!("this machine has no random numbers: {error}")))?;
    Ok(bytes)
}

/// A refusal in our own words.
pub(crate) fn refused(what: impl Into<String>) -> EngineError {
    let what = what.into();
    let hint = way_out(&what);
    EngineError::Failed(Failure {
        what,
        hint,
        ..Failure::default()
    })
}

/// What mends what an engine has said, whatever it was asked for.
pub(crate) fn way_out(said: &str) -> Option<String> {
    if let Some((_, path)) = said.split_once("bind source path does not exist: ") {
        return Some(format!(
            "make it on the engine's host (mkdir -p {path}), or bind a path that is there"
        ));
    }
    if said.contains("port is already allocated") || said.contains("bind: address already in use") {
        return Some(
            "see what holds that port on the engine's host (`docker ps` there, or `ss -ltnp`), and \
             end it"
                .into(),
        );
    }
    let mend = "make room on the engine's disk: `docker system df` shows what takes it, and \
                `flipside prune` removes what no release needs";
    said.contains("no space left on device")
        .then(|| mend.to_owned())
}

/// A refusal with what mends it.
pub(crate) fn refused_hint(what: impl Into<String>, hint: impl Into<String>) -> EngineError {
    EngineError::Failed(Failure {
        what: what.into(),
        hint: Some(hint.into()),
        ..Failure::default()
    })
}

/// Whether the engine said that a thing is not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// The HTTP status of the engine's refusal.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// `Ok(None)` for what is not there.
pub(crate) fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn classify(engine: &str, error: Error) -> EngineError {
    let engine = engine.to_owned();
    let lost = |why: String| EngineError::Lost {
        engine: engine.clone(),
        why,
    };
    let out = |why: String| EngineError::OutOfReach {
        engine: engine.clone(),
        why,
    };
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => refused(if message.trim().is_empty() {
            format!("the engine answered {status_code}")
        } else {
            message.trim().to_owned()
        }),
        Error::DockerStreamError { error } => refused(error.trim()),
        Error::DockerContainerWaitError { error, .. } => refused(error),
        Error::IOError { err } => {
            match err
                .get_ref()
                .and_then(|e| e.downcast_ref::<transport::Broken>())
            {
                Some(broken) if broken.may_have_acted => lost(broken.why.clone()),
                Some(broken) => out(broken.why.clone()),
                None => lost(err.to_string()),
            }
        }
        Error::HyperLegacyError { err } if err.is_connect() => out(transport::words(&err)),
        Error::HyperLegacyError { err } => lost(transport::words(&err)),
        Error::HyperResponseError { err } => lost(transport::words(&err)),
        Error::RequestTimeoutError => lost("no answer within a day".into()),
        Error::JsonDataError { message, .. } => {
            refused(format!("the engine's answer cannot be read: {message}"))
        }
        other => refused(transport::words(&other)),
    }
}

fn reason(error: &EngineError) -> String {
    match error {
        EngineError::OutOfReach { why, .. } | EngineError::Lost { why, .. } => why.clone(),
        EngineError::Failed(failure) => failure.what.clone(),
    }
}

/// Asks `/_ping`, whose answer names the newest version the engine speaks.
async fn ping(target: &transport::Target) -> Result<ClientVersion, Error> {
    let request = hyper::Request::get("/_ping").body(bollard::body_full(Bytes::new()))?;
    let answer = target.send(request).await?;
    let header = answer.headers().get("api-version");
    let newest = header.and_then(|value| version(value.to_str().ok()?));
    newest.map(at_most_ours).ok_or_else(|| {
        let err = io::Error::other(transport::Broken {
            may_have_acted: false,
            why: format!(
                "what answers there ({}) names no API version: no Docker engine?",
                answer.status()
            ),
        });
        Error::IOError { err }
    })
}

fn version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.trim().split_once('.')?;
    Some(ClientVersion {
        major_version: major.parse().ok()?,
        minor_version: minor.parse().ok()?,
    })
}

fn at_most_ours(newest: ClientVersion) -> ClientVersion {
    if newest < *API_DEFAULT_VERSION {
        newest
    } else {
        *API_DEFAULT_VERSION
    }
}

async fn over_ssh(address: &str) -> Result<bollard::Docker, Error> {
    let connect = |version: &ClientVersion| {
        bollard::Docker::connect_with_ssh(address, NO_TIMEOUT_S, version, None)
    };
    // A path without a version is answered in the newest the engine speaks.
    let unversioned = connect(API_DEFAULT_VERSION)?.with_request_modifier(without_version);
    let newest = unversioned.version().await?.api_version;
    let newest = newest.and_then(|text| version(&text));
    connect(&newest.map_or(*API_DEFAULT_VERSION, at_most_ours))
}

fn without_version(mut request: BollardRequest) -> BollardRequest {
    let uri = request.uri().to_string();
    let prefix = format!("/v{API_DEFAULT_VERSION}/");
    if let Ok(uri) = uri.replacen(&prefix, "/", 1).parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// The engine reads these headers in the URL-safe alphabet only; the library writes the other.
fn url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers_mut().get_mut(name) else {
            continue;
        };
        let text = value
            .to_str()
            .map(|text| text.replace('+', "-").replace('/', "_"));
        if let Some(safe) = text.ok().and_then(|text| text.parse().ok()) {
            *value = safe;
        }
    }
    request
}

/// `label=KEY=VALUE` filters.
pub(crate) fn label_filter(labels: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    let labels = labels.iter().map(|(key, value)| {
        if value.is_empty() {
            (*key).to_owned()
        } else {
            format!("{key}={value}")
        }
    });
    HashMap::from([("label".to_owned(), labels.collect())])
}

/// The directory with Docker's client configuration.
#[must_use]
pub fn config_directory() -> Option<PathBuf> {
    Surroundings::read().config
}

/// A `Duration` in whole nanoseconds, as the API counts health checks.
#[must_use]
pub fn nanoseconds(millis: u64) -> i64 {
    let nanos = Duration::from_millis(millis).as_nanos();
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_older_of_two_versions_is_spoken() {
        let spoken = |text: &str| at_most_ours(version(text).unwrap()).to_string();
        assert_eq!(spoken("1.41"), "1.41");
        assert_eq!(spoken("1.99"), API_DEFAULT_VERSION.to_string());
        assert!(version("new").is_none());
    }

    #[test]
    fn credentials_are_sent_in_the_url_safe_alphabet() {
        let request = hyper::Request::get("/x")
            .header("X-Registry-Auth", "ab+/=")
            .body(bollard::body_full(Bytes::new()))
            .unwrap();
        let request = url_safe_credentials(request);
        assert_eq!(request.headers()["x-registry-auth"], "ab-_=");
    }

    #[test]
    fn refusals_keep_the_engines_own_words() {
        let refusal = Error::DockerResponseServerError {
            status_code: 409,
            message: "name is taken\n".into(),
        };
        assert_eq!(classify("x", refusal), refused("name is taken"));
    }
}
