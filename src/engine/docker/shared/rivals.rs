//! Containers of a Compose project that run beside live-only roles of the same name: never two of these
//! work at once.

use std::collections::{BTreeSet, HashMap};

use super::super::{Docker, inspect, names};
use super::running::{Running, running, stop};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{Plan, Role, Run};
use crate::core::workers::Rival;
use crate::docker::label_filter;
use crate::engine::EngineError;

/// Refuses a plan with a live-only role of which the plan's Compose project has one at work.
pub(super) async fn check(engine: &Docker, plan: &Plan) -> Result<(), EngineError> {
    let rivals = rivals(engine, &plan.service, Some(plan)).await?;
    match rivals.first() {
        Some(rival) => Err(EngineError::Failed(rival.refusal())),
        None => Ok(()),
    }
}

/// See [`crate::engine::Engine::rivals`].
pub(in super::super) async fn rivals(
    engine: &Docker,
    service: &ServiceName,
    plan: Option<&Plan>,
) -> Result<Vec<Rival>, EngineError> {
    let roles = match plan {
        Some(plan) => planned(plan),
        None => standing(engine, service).await?,
    };
    let mut rivals = Vec::new();
    if roles.is_empty() {
        return Ok(rivals);
    }
    for container in running(engine).await? {
        let mut all = roles.iter();
        if let Some((project, role)) =
            all.find(|(project, role)| container.works_for(project, role))
        {
            rivals.push(rival(engine, &container, project, role).await?);
        }
    }
    rivals.sort_by(|a, b| a.container.cmp(&b.container));
    Ok(rivals)
}

/// The live-only roles of a plan, with the Compose project from whose files they come.
fn planned(plan: &Plan) -> BTreeSet<(String, RoleName)> {
    let live_only = plan.roles.iter();
    let live_only = live_only.filter(|(_, role)| role.run == Run::LiveOnly);
    let of_project = |(role, _): (&RoleName, &Role)| Some((plan.project.clone()?, role.clone()));
    live_only.filter_map(of_project).collect()
}

/// The same of the releases that stand.
async fn standing(
    engine: &Docker,
    service: &ServiceName,
) -> Result<BTreeSet<(String, RoleName)>, EngineError> {
    let live_only = (names::RUN, Run::LiveOnly.as_str());
    let of_service = (names::SERVICE, service.as_str());
    let workers = label_filter(&[of_service, live_only, (names::PROJECT, "")]);
    let workers = inspect::containers(engine, workers).await?.into_iter();
    let labels = workers.filter_map(|worker| worker.labels);
    let of_project = |labels: HashMap<String, String>| {
        Some((labels.get(names::PROJECT)?.clone(), names::role(&labels).0))
    };
    Ok(labels.filter_map(of_project).collect())
}

async fn rival(
    engine: &Docker,
    container: &Running,
    project: &str,
    role: &RoleName,
) -> Result<Rival, EngineError> {
    Ok(Rival {
        role: role.clone(),
        container: container.name.clone(),
        project: project.to_owned(),
        stop: stop(engine, container).await?,
    })
}
