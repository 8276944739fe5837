//! What runs on an engine and what it may write to: the one rule by which nothing is made beside it.
//!
//! Whatever is paused or between two lives may write at any moment, and counts. Whoever only reads
//! disturbs nobody, and does not.

use std::collections::{BTreeSet, HashMap};

use bollard::models::RestartPolicyNameEnum;

use super::super::files::is_below;
use super::super::{Docker, inspect};
use super::look::{self, PROJECT, ROLE, is_one_off};
use crate::core::names::RoleName;
use crate::core::plan::{MountSource, Role};
use crate::engine::EngineError;

/// What a container is that may write at any moment.
const RUNS: [&str; 3] = ["running", "paused", "restarting"];

/// A container that runs.
pub(super) struct Running {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: HashMap<String, String>,
    /// The container whose network it uses, by its id.
    pub(super) network_of: Option<String>,
    /// The volumes, by name, and the paths of the host to which it may write.
    data: Vec<String>,
}

/// Everything that runs on the engine.
pub(super) async fn running(engine: &Docker) -> Result<Vec<Running>, EngineError> {
    let runs = RUNS.map(str::to_owned).to_vec();
    let listed = inspect::containers(engine, HashMap::from([("status".into(), runs)])).await?;
    let running = listed.into_iter().map(|container| Running {
        name: inspect::container_name(&container),
        id: container.id.unwrap_or_default(),
        labels: container.labels.unwrap_or_default(),
        network_of: container
            .host_config
            .and_then(|host| host.network_mode)
            .and_then(|mode| Some(mode.strip_prefix("container:")?.to_owned())),
        data: container
            .mounts
            .into_iter()
            .flatten()
            .filter(|mount| mount.rw != Some(false))
            .filter_map(|mount| mount.name.filter(|name| !name.is_empty()).or(mount.source))
            .collect(),
    });
    Ok(running.collect())
}

impl Running {
    /// The Compose project whose it is.
    pub(super) fn project(&self) -> Option<&str> {
        self.labels.get(PROJECT).map(String::as_str)
    }

    /// Whether it is of that role by Compose's labels.
    pub(super) fn is_of(&self, role: &RoleName) -> bool {
        self.labels.get(ROLE).map(String::as_str) == Some(role.as_str())
    }

    /// Whether it does that role's work in a Compose project. A container of `docker compose run` does
    /// what a person has it do.
    pub(super) fn works_for(&self, project: &str, role: &RoleName) -> bool {
        self.project() == Some(project) && self.is_of(role) && !is_one_off(&self.labels)
    }

    /// The first of these volumes and paths to which it may write as well.
    pub(super) fn writes<'a>(&self, data: &BTreeSet<&'a str>) -> Option<&'a str> {
        common(data, self.data.iter().map(String::as_str))
    }
}

/// The volumes and paths to which a role writes, and which outlive its release.
pub(super) fn written(role: &Role) -> BTreeSet<&str> {
    let written = role.mounts.iter().filter(|mount| !mount.read_only);
    let written = written.filter_map(|mount| match &mount.source {
        MountSource::Shared(volume) => Some(volume.as_str()),
        MountSource::Host(path) => Some(path.as_str()),
        MountSource::PerRelease(_) => None,
    });
    written.collect()
}

/// The first of these volumes and paths that is among the `open` ones: the volume, or the path, one
/// above it or one below it.
pub(super) fn common<'a, 'b>(
    data: &BTreeSet<&'a str>,
    mut open: impl Iterator<Item = &'b str>,
) -> Option<&'a str> {
    open.find_map(|open| data.iter().find(|data| is_same(data, open)).copied())
}

fn is_same(data: &str, open: &str) -> bool {
    match data.starts_with('/') {
        true => is_below(data, open) || is_below(open, data),
        false => data == open,
    }
}

/// A volume or a path, in words.
pub(super) fn what(data: &str) -> String {
    match data.starts_with('/') {
        true => format!("the directory `{data}`"),
        false => format!("the volume `{data}`"),
    }
}

/// The commands that stop a container for good: what the engine starts again after every restart of
/// its own is told not to be first.
pub(super) async fn stop(engine: &Docker, container: &Running) -> Result<String, EngineError> {
    let name = &container.name;
    let policy = look::one(engine, &container.id).await?;
    let policy = policy.and_then(|one| one.policy.name);
    Ok(match policy {
        Some(RestartPolicyNameEnum::ALWAYS) => {
            format!("docker update --restart=no {name} && docker stop {name}")
        }
        _ => format!("docker stop {name}"),
    })
}
