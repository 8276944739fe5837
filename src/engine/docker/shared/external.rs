//! What a plan takes for granted and no engine may make in silence: volumes that it says are external,
//! and those of the Compose project that it takes over by name.

use super::super::{Docker, inspect};
use super::look::PROJECT;
use super::volumes::is_there;
use crate::core::names::RoleName;
use crate::core::plan::{MountSource, Plan, Role};
use crate::docker::{label_filter, refused_hint};
use crate::engine::EngineError;

/// The volumes of roles that outlive releases.
pub(super) fn outliving<'a>(
    roles: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> impl Iterator<Item = (&'a RoleName, &'a String)> {
    let mounts = roles.flat_map(|(name, role)| role.mounts.iter().map(move |mount| (name, mount)));
    mounts.filter_map(|(role, mount)| match &mount.source {
        MountSource::Shared(volume) => Some((role, volume)),
        MountSource::PerRelease(_) | MountSource::Host(_) => None,
    })
}

/// Refuses a plan whose external volumes are not there, whichever role mounts them: the engine would
/// make empty ones.
pub(super) async fn check(engine: &Docker, plan: &Plan) -> Result<(), EngineError> {
    for (role, volume) in outliving(plan.roles.iter().chain(&plan.shared)) {
        if plan.external_volumes.contains(volume) && !is_there(engine, volume).await? {
            return Err(refused_hint(
                format!(
                    "`{role}` would begin with a new, empty volume `{volume}`: the plan says that it is \
                     external, and it is not on the engine"
                ),
                format!(
                    "make it, if it shall begin empty: docker volume create {volume}; or drop its \
                     `external: true`"
                ),
            ));
        }
    }
    Ok(())
}

/// Refuses roles that would begin with an empty volume by the name of the Compose project's.
pub(super) async fn check_taken_over<'a>(
    engine: &Docker,
    plan: &Plan,
    roles: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> Result<(), EngineError> {
    for (role, volume) in outliving(roles) {
        if let Some(project) = taken_over(plan, volume)
            && !is_there(engine, volume).await?
        {
            check_project(engine, project, role, volume).await?;
        }
    }
    Ok(())
}

/// The Compose project whose volume this is by its name. Where the service is called as the project,
/// the name says nothing: it is that of the service's own as well.
fn taken_over<'a>(plan: &'a Plan, volume: &str) -> Option<&'a str> {
    let project = plan.project.as_deref()?;
    let rest = volume.strip_prefix(project)?;
    (project != plan.service.as_str() && rest.starts_with('_')).then_some(project)
}

/// Of a project that has nothing on this engine there is no data to be missed.
async fn check_project(
    engine: &Docker,
    project: &str,
    role: &RoleName,
    volume: &str,
) -> Result<(), EngineError> {
    let of_project = || label_filter(&[(PROJECT, project)]);
    let volumes = inspect::volumes(engine, of_project()).await?;
    if volumes.is_empty() && inspect::containers(engine, of_project()).await?.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> = volumes
        .iter()
        .map(|one| format!("`{}`", one.name))
        .collect();
    names.sort();
    let has = match names.is_empty() {
        true => "no volume".to_owned(),
        false => crate::core::words::list(&names),
    };
    Err(refused_hint(
        format!(
            "`{role}` would begin with a new, empty volume `{volume}`: the plan takes it over from the \
             Compose project `{project}`, which has {has} on the engine"
        ),
        format!(
            "name the one with the data in the plan; or make it, if it shall begin empty: docker volume \
             create {volume}"
        ),
    ))
}
