//! Live-only containers of the fake world: brought to rest and to work as an engine does, a stop or a
//! start that was begun for a killed call included.

use std::collections::BTreeMap;

use flipside::core::names::{Release, ServiceName};
use flipside::core::plan::Run;
use flipside::core::world::{Container, ContainerState};
use tokio::time::Instant;

use super::fake_world::{FakeContainer, FakeWorld};
use super::faults::Op;

/// How a container ends that is told to.
const TOLD: (i64, bool) = (143, false);

/// When the lives began that a stop is meant for, by container.
pub type Lives = BTreeMap<String, Option<Instant>>;

impl FakeContainer {
    fn is_worker(&self) -> bool {
        self.fixed.run == Run::LiveOnly
    }

    fn runs(&self) -> bool {
        self.now().runs()
    }

    fn work(&mut self) {
        self.restarts = true;
        if !self.runs() {
            self.start();
        }
    }
}

impl FakeWorld {
    fn workers_of(
        &mut self,
        service: &ServiceName,
        release: Release,
    ) -> impl Iterator<Item = &mut FakeContainer> {
        let environment = self.environments.get_mut(&(service.clone(), release));
        let all = environment.into_iter().flat_map(|(_, all)| all);
        all.filter(|container| container.is_worker())
    }

    /// What a call to bring workers to rest is meant for. One that is late has been heard: only the
    /// end that it waits for comes later.
    pub fn begin_rest(&mut self, service: &ServiceName, release: Release) -> Lives {
        self.land_starts();
        let late = self.faults.is_late(Op::Rest);
        let mut lives = Lives::new();
        for worker in self.workers_of(service, release) {
            worker.restarts &= !late;
            lives.insert(worker.fixed.name.clone(), worker.started);
        }
        lives
    }

    /// Stops workers, in those lives, and at most `limit` of them: of one more the engine has only
    /// heard that it shall not be started again.
    pub fn rest(
        &mut self,
        service: &ServiceName,
        release: Release,
        lives: &Lives,
        limit: usize,
    ) -> Vec<String> {
        let mut ran = Vec::new();
        let mut left = limit;
        for worker in self.workers_of(service, release) {
            if lives.get(&worker.fixed.name) != Some(&worker.started) {
                continue;
            }
            worker.restarts = false;
            if left == 0 {
                break;
            }
            left -= 1;
            if worker.runs() {
                worker.ended = Some(TOLD);
                ran.push(worker.fixed.name.clone());
            }
        }
        self.changed().notify_waiters();
        ran
    }

    /// Starts workers, at most `limit` of them, unless another release's run.
    pub fn work(
        &mut self,
        service: &ServiceName,
        release: Release,
        limit: usize,
    ) -> Result<Vec<String>, String> {
        self.land_starts();
        let others = self.environments(service).into_iter();
        let others = others.filter(|environment| environment.release != release);
        let others: Vec<_> = others.collect();
        let mut workers = others.iter().flat_map(|environment| environment.workers());
        let other = workers.find(|worker| worker.runs());
        if let Some(other) = other.filter(|_| !self.works_blindly) {
            return Err(format!("the live-only container `{}` runs", other.name));
        }
        let mut names = Vec::new();
        for worker in self.workers_of(service, release) {
            if worker.runs() && !worker.restarts {
                // It is being stopped for a killed call.
                worker.ended = Some(TOLD);
            }
            if names.len() < limit {
                worker.work();
            }
            names.push(worker.fixed.name.clone());
        }
        self.changed().notify_waiters();
        match names.is_empty() {
            true => Err(format!("no live-only container of release {release}")),
            false => Ok(names),
        }
    }

    /// What the engine has begun to start, it has started now.
    pub fn land_starts(&mut self) {
        for start in std::mem::take(&mut self.starting) {
            start(self);
        }
    }

    /// The engine's daemon ends, all containers with it, and comes back.
    pub fn restart_daemon(&mut self) {
        self.land_starts();
        let containers = self.environments.values_mut().flat_map(|(_, all)| all);
        for container in containers {
            if container.restarts {
                container.started = Some(Instant::now());
            } else if container.runs() {
                container.ended = Some((137, false));
            }
        }
        self.changed().notify_waiters();
    }
}

/// Whether a container of a live-only role does anything.
pub fn works(container: &Container) -> bool {
    container.run == Run::LiveOnly && container.state == ContainerState::Running
}
