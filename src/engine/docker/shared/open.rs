//! Who else has the data of shared roles open: of two databases on one directory neither knows of the
//! other.

use std::collections::BTreeSet;

use super::super::{Docker, names};
use super::look::Looked;
use super::running::{Running, stop, what, written};
use crate::core::names::RoleName;
use crate::core::plan::{Plan, Role};
use crate::core::shared::Owner;
use crate::docker::refused_hint;
use crate::engine::EngineError;

/// Refuses roles that are about to be `made` on data which somebody else has open, and those of which
/// our container runs beside the Compose project's own, which was started again.
pub(super) async fn check<'a>(
    engine: &Docker,
    plan: &Plan,
    looked: &Looked,
    running: &[Running],
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
        .collect();
    for container in running {
        let of_service = container.labels.get(names::SERVICE);
        let is_ours = of_service.map(String::as_str) == Some(plan.service.as_str());
        let mut standing = looked.standing.iter();
        if is_ours || standing.any(|one| one.container.id == container.id) {
            continue;
        }
        let of_project =
            container.project().is_some() && container.project() == plan.project.as_deref();
        for (name, data) in &roles {
            let Some(shared) = container.writes(data) else {
                continue;
            };
            if made.contains(name) {
                return Err(beside(
                    name,
                    shared,
                    container,
                    &stop(engine, container).await?,
                ));
            }
            // What of others is there now was there before, or is a person's.
            if of_project && container.is_of(name) {
                let end = stop(engine, container).await?;
                return Err(again(name, shared, container, looked, &end));
            }
        }
    }
    Ok(())
}

fn beside(role: &RoleName, data: &str, container: &Running, end: &str) -> EngineError {
    let (name, data) = (&container.name, what(data));
    let project = container.project();
    let whose = match project {
        Some(project) => format!(", of the Compose project `{project}`"),
        None => String::new(),
    };
    refused_hint(
        format!("`{role}` would have {data} open beside the container `{name}`{whose}, which runs"),
        match project {
            Some(project) => format!(
                "if that is the same role, name its project in the plan: `project: {project}`, and the \
                 role as it is called there; else name other data, or stop it: {end}"
            ),
            None => format!("name other data in the plan, or stop it: {end}"),
        },
    )
}

fn again(
    role: &RoleName,
    data: &str,
    container: &Running,
    looked: &Looked,
    end: &str,
) -> EngineError {
    let (name, data) = (&container.name, what(data));
    let ours = looked.of(role).map(|one| one.container.name.as_str());
    let ours = ours.collect::<Vec<_>>().join("`, `");
    refused_hint(
        format!(
            "the Compose project's own container `{name}` runs again beside `{ours}`, flipside's for \
             the shared role `{role}`, and both have {data} open"
        ),
        format!("stop it, and see that Compose does not start it again: {end}"),
    )
}
