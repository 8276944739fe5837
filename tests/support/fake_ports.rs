//! The ports at which containers of a [`FakeWorld`] are published.

use flipside::core::event::Failure;
use flipside::core::names::RoleName;
use flipside::core::plan::Reach;
use flipside::engine::{EngineError, Spec};

use super::fake_world::FakeWorld;

impl FakeWorld {
    /// The ports of a spec's range that no container has, each with the role that may be published
    /// there; none where the pointer needs none.
    pub(super) fn free_ports(&self, spec: &Spec) -> Vec<(RoleName, u16)> {
        let Ok(Reach::Published(_)) = spec.labels.pointer.reach() else {
            return Vec::new();
        };
        let all = self.environments.values().flat_map(|(_, all)| all);
        let taken: Vec<_> = all.filter_map(|c| c.fixed.published).collect();
        let (first, last) = spec.plan.pools.ports;
        let free = (first..=last).filter(|port| !taken.contains(port));
        let role = &spec.labels.exposed.role;
        free.map(|port| (role.clone(), port)).collect()
    }

    /// Refuses a spec for which there are not enough of them.
    pub(super) fn lacks_ports(&self, spec: &Spec) -> Result<(), EngineError> {
        let Ok(Reach::Published(_)) = spec.labels.pointer.reach() else {
            return Ok(());
        };
        let service = &spec.plan.service;
        let key = (service.clone(), spec.release);
        let standing = self.environments.get(&key);
        let have = standing.map_or(0, |(_, all)| {
            let published = all.iter().filter(|c| c.fixed.published.is_some());
            published.count()
        });
        let role = spec.plan.roles.get(&spec.labels.exposed.role);
        let wanted = role.map_or(0, |role| role.replicas as usize);
        match have + self.free_ports(spec).len() < wanted {
            false => Ok(()),
            true => Err(EngineError::Failed(Failure {
                what: "no port is free".into(),
                hint: Some("give the plan another range: `pools: {ports: …}`".into()),
                ..Failure::default()
            })),
        }
    }
}
