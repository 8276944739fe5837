//! Volumes of shared roles: those that were copied for them, and those that a Compose project has
//! under another name.

use std::collections::{BTreeMap, BTreeSet};

use super::super::names::{self, Kind};
use super::super::{Docker, inspect, tear_down};
use super::external::outliving;
use super::look::{Mounted, PROJECT, Standing};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{MountSource, Plan, Role};
use crate::core::shared::Taker;
use crate::docker::{found, label_filter, refused_hint};
use crate::engine::EngineError;

/// The label by which Compose finds its own again.
pub(super) const VOLUME: &str = "com.docker.compose.volume";

/// The volumes of roles that outlive releases and are called as flipside or Compose calls them, with
/// what the Compose file calls them.
pub(super) fn named<'a>(
    plan: &Plan,
    project: &str,
    roles: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> impl Iterator<Item = (&'a RoleName, &'a str, &'a String)> {
    let before = [format!("{}_", plan.service), format!("{project}_")];
    outliving(roles).filter_map(move |(role, volume)| {
        let mut keys = before
            .iter()
            .filter_map(|before| volume.strip_prefix(before));
        Some((role, keys.next()?, volume))
    })
}

/// Refuses roles that would begin with an empty volume where the plan's Compose project has a full one.
pub(super) async fn check<'a>(
    engine: &Docker,
    plan: &Plan,
    roles: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> Result<(), EngineError> {
    let Some(project) = &plan.project else {
        return Ok(());
    };
    let wanted: Vec<_> = named(plan, project, roles).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let listed = inspect::volumes(engine, label_filter(&[(PROJECT, project.as_str())])).await?;
    let named = listed.into_iter().filter_map(|mut volume| {
        let key = volume.labels.remove(VOLUME)?;
        Some((key, volume.name))
    });
    let theirs: BTreeMap<String, String> = named.collect();
    for (role, key, volume) in wanted {
        let Some(there) = theirs.get(key).filter(|there| *there != volume) else {
            continue;
        };
        if !is_there(engine, volume).await? {
            return Err(refused_hint(
                format!(
                    "`{role}` would begin with a new, empty volume `{volume}`, and the Compose \
                     project `{project}` has its `{key}` in `{there}`"
                ),
                format!(
                    "go on with that one: write `volumes: {{{key}: {{keep: across-releases, \
                     name: {there}}}}}` into the plan"
                ),
            ));
        }
    }
    Ok(())
}

/// The shared container of another service that runs and has a volume of one that does not.
pub(super) async fn taker(
    engine: &Docker,
    service: &ServiceName,
    one: &Standing,
) -> Result<Option<Taker>, EngineError> {
    for Mounted { volume, .. } in one.mounts.iter().filter(|_| !one.runs()) {
        let kind = format!("{}={}", names::KIND, Kind::Shared.as_str());
        let filter = [
            ("volume", volume.clone()),
            ("status", "running".into()),
            ("label", kind),
        ];
        let filter = filter.map(|(key, value)| (key.to_owned(), vec![value]));
        for container in inspect::containers(engine, filter.into()).await? {
            let labels = container.labels.clone().unwrap_or_default();
            let other = labels.get(names::SERVICE).cloned().unwrap_or_default();
            if other != service.as_str() {
                return Ok(Some(Taker {
                    container: inspect::container_name(&container),
                    service: other,
                    volume: volume.clone(),
                }));
            }
        }
    }
    Ok(None)
}

/// Refuses to take the place of containers whose data is elsewhere than the plan says.
pub(super) fn check_kept(role: &Role, standing: &[&Standing]) -> Result<(), EngineError> {
    for (one, had) in standing
        .iter()
        .flat_map(|one| one.mounts.iter().map(move |had| (one, had)))
    {
        if !had.written || is_copied(&had.volume) || is_nameless(&had.volume) {
            continue;
        }
        let planned = planned(role, &had.target);
        if planned == Some(had.volume.as_str()) {
            continue;
        }
        let (name, target, volume) = (&one.container.name, &had.target, &had.volume);
        return Err(refused_hint(
            format!(
                "`{name}` has the volume `{volume}` at `{target}`, and the plan {}",
                there(planned)
            ),
            format!(
                "name the one with the data in the plan: `name: {volume}`; or copy the data over and \
                 remove `{name}`"
            ),
        ));
    }
    for (one, had) in standing
        .iter()
        .flat_map(|one| one.bound.iter().map(move |had| (one, had)))
    {
        let planned = planned(role, &had.target);
        if planned.is_none_or(|planned| planned == had.path) {
            continue;
        }
        let (name, target, path) = (&one.container.name, &had.target, &had.path);
        return Err(refused_hint(
            format!(
                "`{name}` writes to `{path}` at `{target}`, and the plan {}",
                there(planned)
            ),
            format!(
                "write the one with the data into the plan, `{path}:{target}`, and `shared_paths: \
                 [{path}]`; or copy the data over and remove `{name}`"
            ),
        ));
    }
    Ok(())
}

/// What outlives a container at a place in it, by the plan: a volume's name, or a path.
fn planned<'a>(role: &'a Role, target: &str) -> Option<&'a str> {
    let mount = role.mounts.iter().find(|mount| mount.target == target)?;
    match &mount.source {
        MountSource::Shared(data) | MountSource::Host(data) => Some(data),
        MountSource::PerRelease(_) => None,
    }
}

fn there(planned: Option<&str>) -> String {
    match planned {
        Some(data) => format!("names `{data}` there"),
        None => "has no data there".to_owned(),
    }
}

/// Whether flipside made it, to fill it with files.
fn is_copied(volume: &str) -> bool {
    volume.starts_with("flipside.")
}

/// Whether the engine gave it its name: 64 hexadecimal digits.
pub(super) fn is_nameless(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) async fn is_there(engine: &Docker, name: &str) -> Result<bool, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_volume(name).await);
    Ok(answer.map_err(|error| client.fault(error))?.is_some())
}

/// The volumes that were made for a service's shared roles, and filled.
pub(super) async fn copied(
    engine: &Docker,
    service: &ServiceName,
) -> Result<BTreeSet<String>, EngineError> {
    let kind = Kind::Shared.as_str();
    let filter = label_filter(&[(names::SERVICE, service.as_str()), (names::KIND, kind)]);
    let listed = inspect::volumes(engine, filter).await?;
    Ok(listed.into_iter().map(|volume| volume.name).collect())
}

/// Those of them that no shared container has.
pub(super) async fn unused(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<String>, EngineError> {
    let mut copied = copied(engine, service).await?;
    if copied.is_empty() {
        return Ok(Vec::new());
    }
    let looked = super::look::look(engine, service, None).await?;
    let used: BTreeSet<&String> = looked
        .standing
        .iter()
        .flat_map(|one| one.mounts.iter().map(|mount| &mount.volume))
        .collect();
    copied.retain(|volume| !used.contains(volume));
    Ok(copied.into_iter().collect())
}

/// Removes them.
pub(super) async fn sweep(engine: &Docker, service: &ServiceName) -> Result<(), EngineError> {
    for volume in unused(engine, service).await? {
        tear_down::volume(engine, &volume).await?;
    }
    Ok(())
}
