//! How the environments of a [`FakeWorld`] sleep and wake.

use flipside::core::names::{Release, ServiceName};
use flipside::core::plan::StandbyMode;
use flipside::core::world::{ContainerState, Cost, Environment};

use super::fake_world::FakeWorld;

impl FakeWorld {
    /// Puts at most `limit` containers of an environment to sleep.
    pub fn freeze(
        &mut self,
        service: &ServiceName,
        release: Release,
        mode: StandbyMode,
        limit: usize,
    ) {
        let always = self.containers_of(service, release);
        for container in always.filter(|c| c.fixed.run.is_always()).take(limit) {
            match (mode, container.now().state) {
                (StandbyMode::Frozen, ContainerState::Running) => container.paused = true,
                (StandbyMode::Stopped, _) => container.stop(),
                _ => {}
            }
        }
        self.changed().notify_waiters();
    }

    /// Wakes at most `limit` containers of an environment.
    pub fn wake(&mut self, service: &ServiceName, release: Release, limit: usize) {
        let always = self.containers_of(service, release);
        for container in always.filter(|c| c.fixed.run.is_always()).take(limit) {
            container.paused = false;
            if matches!(container.now().state, ContainerState::Exited { .. }) {
                container.start();
            }
        }
        self.changed().notify_waiters();
    }

    /// A MiB and a hundredth of a core for each that runs, a MiB for each that is paused.
    pub fn cost(&self, ids: &[String]) -> Cost {
        let states = ids.iter().filter_map(|id| self.container(id));
        let each = states.map(|container| match container.state {
            ContainerState::Running => (1 << 20, 0.01),
            ContainerState::Paused => (1 << 20, 0.0),
            _ => (0, 0.0),
        });
        let (memory, cpu): (Vec<u64>, Vec<f64>) = each.unzip();
        Cost {
            memory: Some(memory.iter().sum()),
            cpu: Some(cpu.iter().sum()),
            disk: Some(0),
        }
    }

    /// Those that come from elsewhere; to what does not run nobody comes.
    pub fn clients_of(&self, environment: &Environment) -> u64 {
        let stands = |state: &ContainerState| {
            matches!(state, ContainerState::Running | ContainerState::Paused)
        };
        let stands = environment.containers.iter().any(|it| stands(&it.state));
        let clients = self.clients.get(&environment.release).filter(|_| stands);
        clients.copied().unwrap_or_default()
    }
}
