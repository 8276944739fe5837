//! What runs from before the plan had its roles as they are: containers of roles that were shared, or
//! had another name, and those of the Compose project. Beside them one more would be at work on the same
//! data.

use super::super::Docker;
use super::super::order::roles;
use super::look::{Looked, Standing};
use super::running::{Running, common, stop, what, written};
use crate::core::names::ServiceName;
use crate::core::plan::Plan;
use crate::core::shared::Owner;
use crate::docker::refused_hint;
use crate::engine::EngineError;

/// Refuses a plan whose roles would work beside their own former containers, or write to what these
/// have open.
pub(super) async fn check(
    engine: &Docker,
    plan: &Plan,
    looked: &Looked,
    running: &[Running],
) -> Result<(), EngineError> {
    let ours = looked.standing.iter();
    let ours = ours.filter(|one| one.owner == Owner::Flipside && one.runs());
    for one in ours.filter(|one| !plan.shared.contains_key(&one.container.role)) {
        check_shared(plan, looked, one)?;
    }
    match &plan.project {
        Some(project) => check_project(engine, plan, project, running).await,
        None => Ok(()),
    }
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
        if let Some(data) = common(&written(planned), one.data()) {
            let data = what(data);
            return Err(refused_hint(
                format!(
                    "`{other}` would write to {data} beside `{name}`, the container of the shared role \
                     `{role}`, which is not in the plan any more and still runs"
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
async fn check_project(
    engine: &Docker,
    plan: &Plan,
    project: &str,
    running: &[Running],
) -> Result<(), EngineError> {
    let theirs = running.iter().filter(|one| one.project() == Some(project));
    for container in theirs {
        let Some((role, planned)) = roles(plan).find(|(name, _)| container.is_of(name)) else {
            continue;
        };
        if let Some(data) = container.writes(&written(planned)) {
            let (name, data) = (&container.name, what(data));
            let end = stop(engine, container).await?;
            return Err(refused_hint(
                format!(
                    "`{role}` would write to {data} beside the container `{name}` of the Compose \
                     project `{project}`, which runs and has it open"
                ),
                format!(
                    "if it outlives releases, write `run: shared` at `{role}`; else stop that one \
                     first: {end}"
                ),
            ));
        }
    }
    Ok(())
}
