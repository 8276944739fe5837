//! Who else has the data of shared roles open: of two databases on one directory neither knows of the
//! other.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{ContainerSummary, MountPoint};

use super::super::files::is_below;
use super::super::{Docker, inspect, names};
use super::former::written;
use super::look::{Looked, PROJECT, ROLE};
use crate::core::names::RoleName;
use crate::core::plan::{Plan, Role};
use crate::core::shared::Owner;
use crate::docker::refused_hint;
use crate::engine::EngineError;

/// What a container is that may write at any moment.
const OPEN: [&str; 3] = ["running", "paused", "restarting"];

/// Refuses roles that are about to be `made` on data which somebody else has open, and those of which
/// our container runs beside the Compose project's own, which was started again.
pub(super) async fn check<'a>(
    engine: &Docker,
    plan: &Plan,
    looked: &Looked,
    made: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> Result<(), EngineError> {
    let made: BTreeSet<&RoleName> = made.map(|(name, _)| name).collect();
    let runs = |name: &RoleName| {
        let mut of = looked.of(name);
        looked.trial(name).is_none() && of.any(|one| one.owner == Owner::Flipside && one.runs())
    };
    let roles = plan.shared.iter();
    let roles: Vec<_> = roles
        .filter(|(name, _)| made.contains(name) || runs(name))
        .map(|(name, role)| (name, written(role)))
        .filter(|(_, data)| !data.is_empty())
        .collect();
    if roles.is_empty() {
        return Ok(());
    }
    let open = OPEN.map(str::to_owned).to_vec();
    let containers = inspect::containers(engine, HashMap::from([("status".into(), open)])).await?;
    for container in &containers {
        let labels = container.labels.clone().unwrap_or_default();
        let is_ours = labels.get(names::SERVICE).map(String::as_str) == Some(plan.service.as_str());
        let mut standing = looked.standing.iter();
        if is_ours || standing.any(|one| Some(&one.container.id) == container.id.as_ref()) {
            continue;
        }
        let project = plan.project.as_ref();
        let of_project = project.is_some() && labels.get(PROJECT) == project;
        let of_role = |name: &RoleName| labels.get(ROLE).map(String::as_str) == Some(name.as_str());
        for (name, data) in &roles {
            let Some(shared) = mounted(container, data) else {
                continue;
            };
            if made.contains(name) {
                return Err(beside(
                    name,
                    shared,
                    container,
                    labels.get(PROJECT).map(String::as_str),
                ));
            }
            // What of others is there now was there before, or is a person's.
            if of_project && of_role(name) {
                return Err(again(name, shared, container, looked));
            }
        }
    }
    Ok(())
}

/// The first of these volumes and paths to which a container may write.
fn mounted<'a>(container: &ContainerSummary, data: &BTreeSet<&'a str>) -> Option<&'a str> {
    let mounts = container.mounts.iter().flatten();
    let mut mounts = mounts.filter(|mount| mount.rw != Some(false));
    mounts.find_map(|mount| data.iter().find(|data| is_on(mount, data)).copied())
}

/// Whether a mount is of a volume of that name, or of that path, one above or one below it.
fn is_on(mount: &MountPoint, data: &str) -> bool {
    let named = mount.name.as_deref().filter(|name| !name.is_empty());
    match (named, mount.source.as_deref()) {
        (Some(volume), _) => volume == data,
        (None, Some(path)) => {
            data.starts_with('/') && (is_below(data, path) || is_below(path, data))
        }
        (None, None) => false,
    }
}

/// A volume or a path, in words.
fn what(data: &str) -> String {
    match data.starts_with('/') {
        true => format!("the directory `{data}`"),
        false => format!("the volume `{data}`"),
    }
}

fn beside(
    role: &RoleName,
    data: &str,
    container: &ContainerSummary,
    project: Option<&str>,
) -> EngineError {
    let (name, data) = (inspect::container_name(container), what(data));
    let whose = match project {
        Some(project) => format!(", of the Compose project `{project}`"),
        None => String::new(),
    };
    refused_hint(
        format!("`{role}` would have {data} open beside the container `{name}`{whose}, which runs"),
        match project {
            Some(project) => format!(
                "if that is the same role, name its project in the plan: `project: {project}`, and the \
                 role as it is called there; else name other data, or stop it: docker stop {name}"
            ),
            None => format!("name other data in the plan, or stop it: docker stop {name}"),
        },
    )
}

fn again(
    role: &RoleName,
    data: &str,
    container: &ContainerSummary,
    looked: &Looked,
) -> EngineError {
    let (name, data) = (inspect::container_name(container), what(data));
    let ours = looked.of(role).map(|one| one.container.name.as_str());
    let ours = ours.collect::<Vec<_>>().join("`, `");
    refused_hint(
        format!(
            "the Compose project's own container `{name}` runs again beside `{ours}`, flipside's for \
             the shared role `{role}`, and both have {data} open"
        ),
        format!(
            "stop it, and see that Compose does not start it again: docker update --restart=no {name} \
             && docker stop {name}"
        ),
    )
}
