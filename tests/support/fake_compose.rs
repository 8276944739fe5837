//! Compose beside the fake engine: projects of which a plan says nothing, and those at work beside it.

use std::path::PathBuf;

use async_trait::async_trait;
use flipside::core::names::ServiceName;
use flipside::core::plan::{Plan, Run};
use flipside::core::shared::Owner;
use flipside::core::workers::Rival;
use flipside::engine::EngineError;

use super::engine_contract::Compose;
use super::fake_engine::FakeEngine;
use super::fake_shared::FakeShared;
use super::fake_world::{FakeWorld, lock};
use super::faults::Op;

impl FakeShared {
    fn runs(&self) -> bool {
        self.container.now().runs()
    }

    fn project(&self) -> Option<&str> {
        match &self.owner {
            Owner::Project(project) => Some(project),
            Owner::Flipside => None,
        }
    }
}

impl FakeWorld {
    /// What runs of a Compose project beside the live-only roles of a service.
    fn rivals(&self, service: &ServiceName) -> Vec<Rival> {
        let environments = self.environments(service);
        let live_only = |one: &&FakeShared| {
            let mut workers = environments.iter().flat_map(|e| e.workers());
            workers.any(|worker| worker.role == one.container.fixed().role)
        };
        let Some(project) = self.projects.get(service) else {
            return Vec::new();
        };
        let theirs = self.shared.iter().filter(|one| one.runs());
        let theirs = theirs.filter(|one| one.project() == Some(project));
        theirs
            .filter(live_only)
            .map(|one| Rival {
                role: one.container.fixed().role.clone(),
                container: one.container.fixed().name.clone(),
                project: one.project().unwrap().into(),
                stop: format!("docker stop {}", one.container.fixed().name),
            })
            .collect()
    }

    /// A live-only role of the plan that its Compose project has at work.
    pub(super) fn works_already(&self, plan: &Plan) -> Option<String> {
        let is_live_only = |one: &&FakeShared| {
            let role = plan.roles.get(&one.container.fixed().role);
            role.is_some_and(|role| role.run == Run::LiveOnly)
        };
        let project = plan.project.as_deref()?;
        let theirs = self.shared.iter().filter(|one| one.runs());
        let mut theirs = theirs.filter(|one| one.project() == Some(project));
        let one = theirs.find(is_live_only)?;
        Some(format!("`{}` runs", one.container.fixed().name))
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
        let (name, project) = (&one.container.fixed().name, one.project()?);
        Some(format!("`{name}` of the project `{project}`"))
    }
}

/// What of live-only roles an engine tells.
#[async_trait]
pub(super) trait Rivals {
    async fn look_rivals(&self, service: &ServiceName) -> Result<Vec<Rival>, EngineError>;
}

#[async_trait]
impl Rivals for FakeEngine {
    async fn look_rivals(&self, service: &ServiceName) -> Result<Vec<Rival>, EngineError> {
        let service = service.clone();
        self.call(Op::Shared, move |world, _| world.rivals(&service))
            .await
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
