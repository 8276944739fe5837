//! What runs from before the plan had its roles as they are: containers of roles that were shared, or
//! had another name, and those of the Compose project. Beside them one more would be at work on the same
//! data.

use std::collections::BTreeSet;

use super::super::order::roles;
use super::super::{Docker, inspect};
use super::look::{Looked, PROJECT, ROLE, Standing};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{MountSource, Plan, Role};
use crate::core::shared::Owner;
use crate::docker::{label_filter, refused_hint};
use crate::engine::EngineError;

/// Refuses a plan whose roles would work beside their own former containers, or write to what these
/// have open.
pub(super) async fn check(
    engine: &Docker,
    plan: &Plan,
    looked: &Looked,
) -> Result<(), EngineError> {
    let ours = looked.standing.iter();
    let ours = ours.filter(|one| one.owner == Owner::Flipside && one.runs());
    for one in ours.filter(|one| !plan.shared.contains_key(&one.container.role)) {
        check_shared(plan, looked, one)?;
    }
    match &plan.project {
        Some(project) => check_project(engine, plan, project).await,
        None => Ok(()),
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

/// One of a role that the plan does not have as a shared one any more.
fn check_shared(plan: &Plan, looked: &Looked, one: &Standing) -> Result<(), EngineError> {
    let (role, name) = (&one.container.role, &one.container.name);
    if roles(plan).any(|(of_release, _)| of_release == role) {
        return Err(refused_hint(
            format!(
                "`{role}` is of each release now, and its shared container `{name}` still runs: there \
                 would be two of them"
            ),
            format!(
                "keep `run: shared` at `{role}`; or {}",
                end(&plan.service, name)
            ),
        ));
    }
    // Those that stand have lived with it.
    let made = plan
        .shared
        .iter()
        .filter(|(name, _)| looked.of(name).next().is_none());
    for (other, planned) in made {
        let written = written(planned);
        let open = one.mounts.iter().map(|mount| mount.volume.as_str());
        if let Some(volume) = open.into_iter().find(|volume| written.contains(volume)) {
            return Err(refused_hint(
                format!(
                    "`{other}` would write to the volume `{volume}` beside `{name}`, the container of \
                     the shared role `{role}`, which is not in the plan any more and still runs"
                ),
                format!("call it `{role}` again; or {}", end(&plan.service, name)),
            ));
        }
    }
    Ok(())
}

/// How a shared container ends; its volumes stay.
fn end(service: &ServiceName, name: &str) -> String {
    format!(
        "end it first, which every release that uses it sees: docker stop {name} && docker rm {name}; \
         or all of them: flipside down {service} --shared --yes --confirm {service}"
    )
}

/// The project's own containers of roles that are a release's here.
async fn check_project(engine: &Docker, plan: &Plan, project: &str) -> Result<(), EngineError> {
    let writers = || roles(plan).filter(|(_, role)| !written(role).is_empty());
    if writers().next().is_none() {
        return Ok(());
    }
    let mut filters = label_filter(&[(PROJECT, project)]);
    filters.insert("status".into(), vec!["running".into()]);
    for container in inspect::containers(engine, filters).await? {
        let name = inspect::container_name(&container);
        let labels = container.labels.unwrap_or_default();
        let of = labels.get(ROLE).and_then(|role| RoleName::new(role).ok());
        let Some((role, planned)) = writers().find(|(name, _)| of.as_ref() == Some(name)) else {
            continue;
        };
        let written = written(planned);
        let mounts = container.mounts.unwrap_or_default().into_iter();
        let mut open = mounts.filter_map(|mount| {
            let named = mount.name.filter(|name| !name.is_empty());
            named.or(mount.source)
        });
        if let Some(data) = open.find(|data| written.contains(data.as_str())) {
            return Err(refused_hint(
                format!(
                    "`{role}` would write to `{data}` beside the container `{name}` of the Compose \
                     project `{project}`, which runs and has it open"
                ),
                format!(
                    "if it outlives releases, write `run: shared` at `{role}`; else stop that one \
                     first: docker update --restart=no {name} && docker stop {name}"
                ),
            ));
        }
    }
    Ok(())
}
