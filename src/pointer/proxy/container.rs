//! The proxy's container: what makes it ours, and how it comes to be.
//!
//! Everything here is safe to do twice and by two at once: names are claimed by the engine, and
//! who comes second uses what the first has made. It does not speak to the proxy.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, HostConfigLogConfig, RestartPolicy,
    RestartPolicyNameEnum, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, LogsOptions,
    StartContainerOptions,
};
use futures_util::StreamExt;

use crate::core::words::hex;
use crate::docker::{is_missing, label_filter, status};
use crate::engine::EngineError;
use crate::proxy::control::PROTOCOL;

use super::{PointerError, Site};

/// The label of everything that belongs to a proxy, and its values.
pub(super) const KIND: &str = "flipside.kind";
/// [`KIND`] of the container.
const PROXY: &str = "proxy";
/// [`KIND`] of the volume.
pub(super) const TABLE: &str = "proxy-table";
/// The label with the control protocol that the proxy speaks.
const SPEAKS: &str = "flipside.proxy.protocol";
/// The label with the proxy's identity.
const IDENTITY: &str = "flipside.proxy.id";
/// Where the table is in the container.
const TABLE_INSIDE: &str = "/table";
/// Where the socket's directory is in the container.
const RUN_INSIDE: &str = "/run/flipside";
/// The socket's name in its directory.
const SOCKET: &str = "control.sock";

/// A container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The engine's id of it.
    pub(super) id: String,
    /// What its socket must answer.
    pub(super) identity: String,
    /// What it does.
    pub(super) stand: Stand,
    /// How often the engine has started it again since it was last started by hand.
    pub(super) restarts: i64,
    entrypoint: Vec<String>,
}

/// What the container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// It runs.
    Running,
    /// It has ended, and the engine will start it again.
    Restarting,
    /// It was never started, or was stopped.
    Stopped,
}

impl Found {
    /// The command that relays its standard input and output to the control socket.
    pub(super) fn relay(&self) -> Vec<String> {
        let words = ["proxy", "ctl", "--socket"].map(str::to_owned);
        let socket = format!("{RUN_INSIDE}/{SOCKET}");
        let entrypoint = self.entrypoint.iter().cloned();
        entrypoint.chain(words).chain([socket]).collect()
    }
}

/// The socket's directory on the engine's host.
pub(super) fn run_dir(site: &Site) -> PathBuf {
    site.run_dir.join(&site.name)
}

/// The socket, as seen from the engine's host.
pub(super) fn socket(site: &Site) -> PathBuf {
    run_dir(site).join(SOCKET)
}

/// The name of the volume with the table.
pub(super) fn volume(site: &Site) -> String {
    format!("{}.table", site.name)
}

/// Looks for the container.
///
/// # Errors
/// Where the engine cannot be asked, or a container of that name is not ours.
pub(super) async fn find(site: &Site) -> Result<Option<Found>, PointerError> {
    let name = &site.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(PointerError::Failed {
            what: format!("`{name}` is no name for a container"),
            hint: Some("use letters, digits, `_`, `.` and `-`: --proxy NAME".into()),
        });
    }
    let options = None::<InspectContainerOptions>;
    match site.docker.docker.inspect_container(name, options).await {
        Ok(found) => ours(site, found).map(Some),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(asked(site, site.docker.fault(error))),
    }
}

fn ours(site: &Site, found: ContainerInspectResponse) -> Result<Found, PointerError> {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    let host = found.host_config.unwrap_or_default().network_mode;
    let missing = if label(KIND) != PROXY {
        Some(format!("it has no label {KIND}={PROXY}"))
    } else if label(SPEAKS).parse::<u32>().is_err() {
        Some(format!("its label {SPEAKS} names no control protocol"))
    } else if label(IDENTITY).is_empty() {
        Some(format!("it has no label {IDENTITY}"))
    } else if host.as_deref() != Some("host") {
        Some("it is not on the host's network".into())
    } else {
        None
    };
    if let Some(missing) = missing {
        return Err(PointerError::Failed {
            what: format!(
                "the container `{}` on engine {} is not a proxy of flipside's: {missing}",
                site.name,
                site.docker.address()
            ),
            hint: Some("have the proxy under another name: --proxy NAME".into()),
        });
    }
    let state = found.state.unwrap_or_default();
    let stand = match (state.restarting, state.running) {
        (Some(true), _) => Stand::Restarting,
        (_, Some(true)) => Stand::Running,
        _ => Stand::Stopped,
    };
    Ok(Found {
        id: found.id.unwrap_or_else(|| site.name.clone()),
        identity: label(IDENTITY).to_owned(),
        stand,
        restarts: found.restart_count.unwrap_or(0),
        entrypoint: config.entrypoint.unwrap_or_default(),
    })
}

/// The names of the engine's other proxies.
///
/// # Errors
/// Where the engine cannot be asked.
pub(super) async fn others(site: &Site) -> Result<Vec<String>, PointerError> {
    let options = ListContainersOptions {
        filters: Some(label_filter(&[(KIND, PROXY)])),
        ..ListContainersOptions::default()
    };
    let listed = site.docker.docker.list_containers(Some(options)).await;
    let listed = listed.map_err(|error| asked(site, site.docker.fault(error)))?;
    let names = listed
        .into_iter()
        .filter_map(|it| it.names?.into_iter().next());
    let names = names.map(|name| name.trim_start_matches('/').to_owned());
    Ok(names.filter(|name| *name != site.name).collect())
}

/// Makes the container, with its image and its volume; whoever was quicker is left alone.
///
/// # Errors
/// Where no image can be made or found, or the engine says no.
pub(super) async fn create(site: &Site) -> Result<(), PointerError> {
    let image = site.image.ensure(&site.docker).await;
    let image = image.map_err(|error| acted(site, error))?;
    table(site).await?;
    let identity = random(site)?;
    let options = CreateContainerOptions {
        name: Some(site.name.clone()),
        ..CreateContainerOptions::default()
    };
    let body = body(site, image, &identity);
    match site
        .docker
        .docker
        .create_container(Some(options), body)
        .await
    {
        Ok(_) => Ok(()),
        // Somebody was quicker, or took the image or the volume away: to be looked at again.
        Err(error) if status(&error) == Some(409) || is_missing(&error) => Ok(()),
        Err(error) => Err(acted(site, site.docker.fault(error))),
    }
}

/// Starts the container.
///
/// # Errors
/// Where the engine says no.
pub(super) async fn start(site: &Site, found: &Found) -> Result<(), PointerError> {
    let options = None::<StartContainerOptions>;
    match site.docker.docker.start_container(&found.id, options).await {
        Ok(()) => Ok(()),
        // Somebody took it away: to be looked at again.
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(match acted(site, site.docker.fault(error)) {
            PointerError::Failed { what, .. } => PointerError::Failed {
                what: format!(
                    "the proxy's container `{}` does not start: {what}",
                    site.name
                ),
                hint: Some(format!(
                    "flipside proxy down --proxy {} and try again",
                    site.name
                )),
            },
            other => other,
        }),
    }
}

/// The error of a container that does not stay up, with its last words.
pub(super) async fn ends_at_once(site: &Site, found: &Found) -> PointerError {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: "3".into(),
        ..LogsOptions::default()
    };
    let lines = site.docker.docker.logs(&found.id, Some(options));
    let lines: Vec<String> = lines
        .filter_map(|line| async {
            match line {
                Ok(LogOutput::StdOut { message } | LogOutput::StdErr { message }) => {
                    Some(String::from_utf8_lossy(&message).trim().to_owned())
                }
                Ok(_) => None,
                Err(error) => Some(format!("(its log cannot be read: {error})")),
            }
        })
        .collect()
        .await;
    PointerError::Failed {
        what: format!(
            "the proxy's container `{}` ends as soon as it is started: {}",
            site.name,
            lines.join(" · ")
        ),
        hint: Some(format!("docker logs {}", site.name)),
    }
}

/// How long the engine waits for the proxy to end, in seconds: longer than the proxy waits for the
/// requests going on, so that it is not killed among them.
const STOP_S: i64 = 15;

fn body(site: &Site, image: String, identity: &str) -> ContainerCreateBody {
    let group = socket_group(site);
    let mut command: Vec<String> = ["proxy", "run", "--table", TABLE_INSIDE, "--socket"]
        .map(str::to_owned)
        .into();
    command.push(format!("{RUN_INSIDE}/{SOCKET}"));
    command.extend(["--identity".to_owned(), identity.to_owned()]);
    if let Some(group) = group {
        command.extend(["--socket-group".to_owned(), group.to_string()]);
    }
    let labels = [
        (KIND, PROXY.to_owned()),
        (SPEAKS, PROTOCOL.to_string()),
        (IDENTITY, identity.to_owned()),
    ];
    let log = [("max-size", "10m"), ("max-file", "3")];
    let host = HostConfig {
        binds: Some(vec![
            format!("{}:{RUN_INSIDE}", run_dir(site).display()),
            format!("{}:{TABLE_INSIDE}", volume(site)),
        ]),
        network_mode: Some("host".into()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(log.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        }),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(vec!["NET_BIND_SERVICE".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        group_add: group.map(|group| vec![group.to_string()]),
        pids_limit: Some(4096),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(image),
        cmd: Some(command),
        user: Some("0".into()),
        labels: Some(labels.map(|(k, v)| (k.to_owned(), v)).into()),
        host_config: Some(host),
        stop_timeout: Some(STOP_S),
        ..ContainerCreateBody::default()
    }
}

/// The group that may use the engine's socket, where that is a file of this machine.
fn socket_group(site: &Site) -> Option<u32> {
    let path = site.docker.address().strip_prefix("unix://")?;
    std::fs::metadata(path).ok().map(|socket| socket.gid())
}

fn random(site: &Site) -> Result<String, PointerError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| PointerError::Failed {
        what: format!(
            "no identity for the proxy `{}` can be made: {error}",
            site.name
        ),
        hint: None,
    })?;
    Ok(hex(&bytes))
}

/// Makes sure that the volume with the table is there, and ours.
async fn table(site: &Site) -> Result<(), PointerError> {
    let name = volume(site);
    let labels = HashMap::from([(KIND.to_owned(), TABLE.to_owned())]);
    let volume = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    };
    let made = site.docker.docker.create_volume(volume).await;
    let made = made.map_err(|error| acted(site, site.docker.fault(error)))?;
    if made.labels.get(KIND).is_some_and(|kind| kind == TABLE) {
        return Ok(());
    }
    Err(PointerError::Failed {
        what: format!("the volume `{name}` is not a table of flipside's"),
        hint: Some("have the proxy under another name: --proxy NAME".into()),
    })
}

/// What an engine's error means where nothing was to be changed.
pub(super) fn asked(site: &Site, error: EngineError) -> PointerError {
    match error {
        EngineError::Failed(failure) => PointerError::Failed {
            what: failure.what,
            hint: failure.hint,
        },
        away => site.away(away.to_string()),
    }
}

/// What an engine's error means where something was to be changed.
pub(super) fn acted(site: &Site, error: EngineError) -> PointerError {
    match error {
        lost @ EngineError::Lost { .. } => PointerError::Lost {
            pointer: site.describe(),
            why: lost.to_string(),
        },
        other => asked(site, other),
    }
}
