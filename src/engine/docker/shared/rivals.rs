//! Containers of a Compose project that run beside live-only roles of the same name: never two of these
//! work at once.

use super::super::{Docker, inspect, names};
use super::running::{Running, running, stop};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{Plan, Run};
use crate::core::workers::Rival;
use crate::docker::{label_filter, refused_hint};
use crate::engine::EngineError;

/// Refuses a plan with a live-only role of which the plan's Compose project has one at work.
pub(super) async fn check(
    engine: &Docker,
    plan: &Plan,
    running: &[Running],
) -> Result<(), EngineError> {
    let Some(project) = &plan.project else {
        return Ok(());
    };
    let live_only = plan.roles.iter();
    let live_only = live_only.filter(|(_, role)| role.run == Run::LiveOnly);
    for (role, _) in live_only {
        let mut theirs = running.iter();
        if let Some(container) = theirs.find(|one| one.works_for(project, role)) {
            let rival = rival(engine, container, project, role).await?;
            return Err(refused_hint(
                format!("{}: two would work at once", rival.what()),
                format!("stop it first: {}", rival.stop),
            ));
        }
    }
    Ok(())
}

/// See [`crate::engine::Engine::rivals`].
pub(in super::super) async fn rivals(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<Rival>, EngineError> {
    let live_only = Run::LiveOnly.as_str();
    let of_service = (names::SERVICE, service.as_str());
    let workers = label_filter(&[of_service, (names::RUN, live_only), (names::PROJECT, "")]);
    let workers = inspect::containers(engine, workers).await?.into_iter();
    let mut roles: Vec<(String, RoleName)> = workers
        .filter_map(|worker| worker.labels)
        .filter_map(|labels| Some((labels.get(names::PROJECT)?.clone(), names::role(&labels).0)))
        .collect();
    roles.sort();
    roles.dedup();
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
