//! Which engine is meant: an address given, `DOCKER_HOST`, or the current Docker context.
//!
//! Reads files and variables, opens no connection. Names are resolved later, in `transport`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Where Docker's clients look when nothing says otherwise.
pub const DEFAULT: &str = "unix:///var/run/docker.sock";

/// An engine's address, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As given, for messages.
    pub address: String,
    /// How it is reached.
    pub way: Way,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A port, in the clear.
    Tcp {
        /// Name or literal address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A port, with TLS and a client certificate.
    Tls {
        /// Name or literal address.
        host: String,
        /// The port.
        port: u16,
        /// The directory with `ca.pem`, `cert.pem` and `key.pem`.
        certificates: PathBuf,
    },
    /// `docker system dial-stdio` over SSH.
    Ssh,
}

impl Endpoint {
    /// Whether the engine shares this machine's kernel, as far as its address tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.way, Way::Unix(_))
    }
}

/// What of the process's surroundings decides.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// `DOCKER_TLS_VERIFY`, where it is set to anything.
    pub tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`.
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONFIG`, else `~/.docker`.
    pub config: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the process's variables.
    #[must_use]
    pub fn read() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
        Self {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            tls_verify: text("DOCKER_TLS_VERIFY"),
            cert_path: text("DOCKER_CERT_PATH").map(PathBuf::from),
            config: text("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
        }
    }
}

/// Chooses the engine: `given`, else `DOCKER_HOST`, else the current context, else [`DEFAULT`].
///
/// # Errors
/// The address that was meant, and in words what is wrong with it.
pub fn choose(given: Option<&str>, around: &Surroundings) -> Result<Endpoint, (String, String)> {
    if let Some(address) = given.or(around.host.as_deref()) {
        return parse(address, around, None);
    }
    let Some(config) = &around.config else {
        return parse(DEFAULT, around, None);
    };
    let name = match &around.context {
        Some(name) => Some(name.clone()),
        None => current_context(config)?,
    };
    match name.filter(|name| name != "default") {
        Some(name) => context(&name, config, around),
        None => parse(DEFAULT, around, None),
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints")]
    endpoints: MetaEndpoints,
}

#[derive(Deserialize)]
struct MetaEndpoints {
    docker: MetaEndpoint,
}

#[derive(Deserialize)]
struct MetaEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

fn current_context(config: &Path) -> Result<Option<String>, (String, String)> {
    let path = config.join("config.json");
    let Ok(text) = fs::read_to_string(&path) else {
        return Ok(None);
    };
    let file: ConfigFile = serde_json::from_str(&text).map_err(|error| {
        let why = format!("`{}` cannot be read: {error}", path.display());
        (DEFAULT.to_owned(), why)
    })?;
    Ok(file.current_context.filter(|name| !name.is_empty()))
}

fn context(name: &str, config: &Path, around: &Surroundings) -> Result<Endpoint, (String, String)> {
    let meant = format!("context {name}");
    let wrong = |why: String| (meant.clone(), why);
    let key = crate::core::words::hex(&Sha256::digest(name.as_bytes()));
    let path = config.join("contexts/meta").join(&key).join("meta.json");
    let text = fs::read_to_string(&path).map_err(|error| {
        wrong(format!(
            "the Docker context cannot be read ({error}); `docker context ls` lists those there are"
        ))
    })?;
    let meta: Meta = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("`{}` cannot be read: {error}", path.display())))?;
    let endpoint = meta.endpoints.docker;
    if endpoint.skip_verify {
        let why = "it skips the verification of certificates, which flipside does not";
        return Err(wrong(why.to_owned()));
    }
    let tls = config.join("contexts/tls").join(&key).join("docker");
    let tls = tls.join("ca.pem").exists().then_some(tls);
    let host = if endpoint.host.is_empty() {
        DEFAULT
    } else {
        &endpoint.host
    };
    parse(host, around, tls)
}

/// Whether two addresses certainly mean one engine, as far as their text tells: names are not
/// resolved, links of other sockets are not followed, and a tunnel is not what it leads to.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

/// An address without what its writers are free to choose.
fn plain(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("unix", address),
    };
    match scheme {
        // On every system with `/run`, `/var/run` is a link to it.
        "unix" => format!(
            "unix://{}",
            rest.strip_prefix("/var").filter(is_run).unwrap_or(rest)
        ),
        "tcp" | "http" | "https" => format!("tcp://{}", rest.trim_end_matches('/')),
        _ => address.trim_end_matches('/').to_owned(),
    }
}

fn is_run(path: &&str) -> bool {
    path.starts_with("/run/")
}

fn parse(
    address: &str,
    around: &Surroundings,
    tls: Option<PathBuf>,
) -> Result<Endpoint, (String, String)> {
    let wrong = |why: &str| (address.to_owned(), why.to_owned());
    let endpoint = |way| Endpoint {
        address: address.to_owned(),
        way,
    };
    if address.starts_with('/') {
        return Ok(endpoint(Way::Unix(address.into())));
    }
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err(wrong(
            "write it as unix://PATH, tcp://HOST:PORT or ssh://USER@HOST",
        ));
    };
    let certificates = || {
        let asked = scheme == "https" || around.tls_verify.is_some();
        let fallback = || around.cert_path.clone().or_else(|| around.config.clone());
        tls.clone().or_else(|| asked.then(fallback).flatten())
    };
    match scheme {
        "unix" => Ok(endpoint(Way::Unix(rest.into()))),
        "ssh" => Ok(endpoint(Way::Ssh)),
        "tcp" | "http" | "https" => {
            let certificates = certificates();
            if scheme == "https" && certificates.is_none() {
                return Err(wrong(
                    "set DOCKER_CERT_PATH to the directory with its certificates",
                ));
            }
            let default = if certificates.is_some() { 2376 } else { 2375 };
            let (host, port) = host_and_port(rest.trim_end_matches('/'), default)
                .ok_or_else(|| wrong("write it as tcp://HOST:PORT"))?;
            Ok(endpoint(match certificates {
                Some(certificates) => Way::Tls {
                    host,
                    port,
                    certificates,
                },
                None => Way::Tcp { host, port },
            }))
        }
        _ => Err(wrong(
            "its scheme is none of unix, tcp, http, https and ssh",
        )),
    }
}

fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => default,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Way {
        Way::Tcp {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn given_comes_before_variable_before_context() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("config.json"),
            r#"{"currentContext":"far","auths":{}}"#,
        )
        .unwrap();
        let key: String = Sha256::digest(b"far")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let meta = dir.path().join("contexts/meta").join(key);
        fs::create_dir_all(&meta).unwrap();
        fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far.example:4000"}}}"#,
        )
        .unwrap();
        let mut around = Surroundings {
            config: Some(dir.path().into()),
            ..Surroundings::default()
        };
        let way = |given: Option<&str>, around: &Surroundings| choose(given, around).unwrap().way;
        assert_eq!(way(None, &around), tcp("far.example", 4000));
        around.context = Some("default".into());
        assert_eq!(way(None, &around), Way::Unix("/var/run/docker.sock".into()));
        around.context = Some("none-such".into());
        assert!(
            choose(None, &around)
                .unwrap_err()
                .1
                .contains("docker context ls")
        );
        around.host = Some("tcp://near.example".into());
        assert_eq!(way(None, &around), tcp("near.example", 2375));
        assert_eq!(way(Some("unix:///x"), &around), Way::Unix("/x".into()));
    }

    #[test]
    fn one_engine_may_be_written_in_several_ways() {
        for (one, other) in [
            (DEFAULT, "unix:///run/docker.sock"),
            (DEFAULT, "/run/docker.sock"),
            ("tcp://far:2375", "http://far:2375/"),
            ("ssh://me@far", "ssh://me@far/"),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
        for (one, other) in [
            (DEFAULT, "unix:///run/other.sock"),
            ("unix:///var/runs/x", "unix:///runs/x"),
            ("tcp://far:2375", "tcp://near:2375"),
            (DEFAULT, "tcp://far:2375"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn addresses_are_understood() {
        let around = Surroundings::default();
        let way = |text: &str| choose(Some(text), &around).map(|endpoint| endpoint.way);
        assert_eq!(way("tcp://[::1]:1234").unwrap(), tcp("::1", 1234));
        assert_eq!(way("http://10.0.0.1/").unwrap(), tcp("10.0.0.1", 2375));
        assert_eq!(way("ssh://me@host").unwrap(), Way::Ssh);
        assert_eq!(way("/run/x.sock").unwrap(), Way::Unix("/run/x.sock".into()));
        for bad in ["host", "ftp://x", "tcp://", "tcp://x:99999", "https://x"] {
            assert!(way(bad).is_err(), "{bad}");
        }
        let around = Surroundings {
            tls_verify: Some("1".into()),
            cert_path: Some("/certs".into()),
            ..Surroundings::default()
        };
        let tls = Way::Tls {
            host: "x".into(),
            port: 2376,
            certificates: "/certs".into(),
        };
        assert_eq!(choose(Some("tcp://x"), &around).unwrap().way, tls);
    }
}
