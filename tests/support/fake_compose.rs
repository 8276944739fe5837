//! Compose beside the fake engine: projects of which a plan says nothing, and those at work beside it.

use std::path::PathBuf;

use async_trait::async_trait;
use flipside::core::names::{RoleName, ServiceName};
use flipside::core::plan::{Plan, Run};
use flipside::core::shared::Owner;
use flipside::core::workers::Rival;
use flipside::engine::EngineError;

use super::engine_contract::Compose;
use super::fake_engine::FakeEngine;
use super::fake_shared::FakeShared;
use super::fake_world::{FakeWorld, lock};
use super::faults::Op;

impl FakeWorld {
    /// What runs of a Compose project beside live-only roles.
    pub(super) fn rivals(&self, service: &ServiceName, plan: Option<&Plan>) -> Vec<Rival> {
        let environments = self.environments(service);
        let live_only = |role: &RoleName| match plan {
            Some(plan) => plan
                .roles
                .get(role)
                .is_some_and(|role| role.run == Run::LiveOnly),
            None => {
                let mut workers = environments.iter().flat_map(|e| e.workers());
                workers.any(|worker| worker.role == *role)
            }
        };
        let project = match plan {
            Some(plan) => plan.project.as_ref(),
            None => self.projects.get(service),
        };
        let rivals = self.shared.iter().filter_map(|one| {
            let (fixed, project) = (one.container.fixed(), project?);
            let works = one.container.now().runs() && live_only(&fixed.role);
            (works && one.owner == Owner::Project(project.clone())).then(|| Rival {
                role: fixed.role.clone(),
                container: fixed.name.clone(),
                project: project.clone(),
                stop: format!("docker stop {}", fixed.name),
            })
        });
        rivals.collect()
    }

    /// What another project has from the plan's own files, of a role that it would make anew.
    pub(super) fn elsewhere(&self, plan: &Plan) -> Option<String> {
        let standing = self.shared_of(&plan.service, Some(plan));
        let mut others = self.shared.iter().filter(|one| {
            let file = one.file.as_ref();
            file.is_some_and(|file| plan.compose_files.contains(file))
        });
        let one = others.find(|one| {
            let role = &one.container.fixed().role;
            let stands = standing.iter().any(|one| one.container.role == *role);
            plan.shared.contains_key(role) && !stands
        })?;
        let (name, owner) = (&one.container.fixed().name, &one.owner);
        Some(format!("`{name}` of {owner:?}"))
    }
}

/// What of live-only roles an engine tells.
#[async_trait]
pub(super) trait Rivals {
    async fn look_rivals(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Rival>, EngineError>;
}

#[async_trait]
impl Rivals for FakeEngine {
    async fn look_rivals(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Rival>, EngineError> {
        let (service, plan) = (service.clone(), plan.cloned());
        let look = move |world: &mut FakeWorld, _| world.rivals(&service, plan.as_ref());
        self.call(Op::Shared, look).await
    }
}

/// Compose at work on a fake engine, for one service.
pub struct FakeCompose(pub FakeEngine, pub ServiceName);

impl FakeCompose {
    fn with<T>(&self, container: &str, act: impl FnOnce(&mut FakeShared) -> T) -> T {
        let mut world = lock(&self.0.world);
        let mut all = world.shared.iter_mut();
        act(all
            .find(|one| one.container.fixed().name == container)
            .unwrap())
    }
}

impl Compose for FakeCompose {
    fn up(&self, project: &str, role: &str, file: &str) -> String {
        let mut world = lock(&self.0.world);
        world.run_project(&self.1, project, role, "any");
        let one = world.shared.last_mut().unwrap();
        one.file = Some(PathBuf::from(file));
        one.container.fixed().name.clone()
    }

    fn stop(&self, container: &str) {
        self.with(container, |one| one.container.stop());
    }

    fn remove(&self, container: &str) {
        let mut world = lock(&self.0.world);
        let is_other = |one: &FakeShared| one.container.fixed().name != container;
        world.shared.retain(is_other);
    }
}
