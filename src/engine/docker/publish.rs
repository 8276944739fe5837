//! The ports of the host at which an environment's exposed replicas are published. They are chosen
//! here and said explicitly: one that the engine chose would be another after each start.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use bollard::models::{ContainerCreateBody, ContainerSummary, PortBinding};

use super::{Docker, inspect, names};
use crate::core::names::RoleName;
use crate::core::plan::Reach;
use crate::docker::refused_hint;
use crate::engine::{EngineError, Spec};

/// How many ports that the engine refuses are tried for one container.
pub(super) const TRIES: u32 = 16;

/// Where the replicas of one environment are published.
pub(super) struct Publishing {
    role: RoleName,
    /// The port that they listen on.
    target: u16,
    /// The host's address.
    address: IpAddr,
    /// The first and the last of the host's ports that may be chosen.
    range: (u16, u16),
    /// Those that containers on the engine have, and those that were chosen here.
    taken: Mutex<BTreeSet<u16>>,
}

/// Why a container could not be started with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Something else holds it.
    Held,
    /// The host has no such address.
    NoSuchAddress,
}

impl Refusal {
    /// What an engine means by what it has said; `None` where that is something else. (20.10 says
    /// "Address already in use" of a container's own address.)
    pub(super) fn of(said: &str) -> Option<Self> {
        let binds = said.contains("bind");
        if said.contains("cannot assign requested address") {
            return Some(Self::NoSuchAddress);
        }
        let held = said.contains("port is already allocated")
            || binds && said.contains("address already in use");
        held.then_some(Self::Held)
    }
}

impl Publishing {
    /// That of an environment; `None` where its pointer does not need it. One look at what stands on
    /// the engine.
    ///
    /// # Errors
    /// Where the engine cannot be asked.
    pub(super) async fn of(engine: &Docker, spec: &Spec) -> Result<Option<Self>, EngineError> {
        let Ok(Reach::Published(address)) = spec.labels.pointer.reach() else {
            return Ok(None);
        };
        let all = inspect::containers(engine, HashMap::new()).await?;
        Ok(Some(Self {
            role: spec.labels.exposed.role.clone(),
            target: spec.labels.exposed.port,
            address,
            range: spec.plan.pools.ports,
            taken: Mutex::new(taken(&all)),
        }))
    }

    /// Whether the containers of `role` are those that are published.
    pub(super) fn is_of(&self, role: &RoleName) -> bool {
        self.role == *role
    }

    /// A port that no container on the engine has and that was not chosen before. Where the search
    /// begins depends on the container's name: two services that choose at the same moment seldom
    /// want the same one, and a port is not given away again as soon as it is let go.
    ///
    /// # Errors
    /// Where there is none left.
    pub(super) fn choose(&self, container: &str) -> Result<u16, EngineError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = self.range;
        let count = u64::from(last - first) + 1;
        let mut hasher = DefaultHasher::new();
        container.hash(&mut hasher);
        let begin = u16::try_from(hasher.finish() % count).unwrap_or_default();
        let mut ports = (first + begin..=last).chain(first..first + begin);
        let port = ports.find(|port| !taken.contains(port));
        let port = port.ok_or_else(|| self.none_left(container))?;
        taken.insert(port);
        Ok(port)
    }

    /// That there is no port for a container.
    pub(super) fn none_left(&self, container: &str) -> EngineError {
        let (first, last) = self.range;
        refused_hint(
            format!(
                "no port from {first} to {last} is free for `{container}`: other containers have \
                 them, or something else on the engine's host"
            ),
            "give the plan another range, such as `pools: {ports: 20000-29999}`, or remove what \
             nothing needs: `flipside prune`",
        )
    }

    /// That the address is none of the engine's host.
    pub(super) fn no_such_address(&self, container: &str) -> EngineError {
        let address = self.address;
        refused_hint(
            format!(
                "`{container}` cannot be published: `{address}` is not an address of the engine's host"
            ),
            "name one that is, in the plan's `pointer`: `reach: {published: ADDRESS}` (`ip address` \
             shows them there)",
        )
    }

    /// Publishes a container to be at `port`.
    pub(super) fn publish(&self, port: u16, body: &mut ContainerCreateBody) {
        let target = format!("{}/tcp", self.target);
        let binding = PortBinding {
            host_ip: Some(self.address.to_string()),
            host_port: Some(port.to_string()),
        };
        let host = body.host_config.get_or_insert_default();
        let bindings = host.port_bindings.get_or_insert_default();
        bindings.insert(target.clone(), Some(vec![binding]));
        let exposed = body.exposed_ports.get_or_insert_default();
        if !exposed.contains(&target) {
            exposed.push(target);
        }
        let labels = body.labels.get_or_insert_default();
        labels.insert(names::PUBLISHED.into(), port.to_string());
    }
}

/// The ports that containers have: those that run by what the engine says, and those that do not by
/// what was chosen for them, which they want again.
fn taken(all: &[ContainerSummary]) -> BTreeSet<u16> {
    let published = all.iter().flat_map(|container| {
        let ports = container.ports.iter().flatten();
        let own = container.labels.as_ref().and_then(names::published);
        ports.filter_map(|port| port.public_port).chain(own)
    });
    published.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn publishing(range: (u16, u16), taken: &[u16]) -> Publishing {
        Publishing {
            role: RoleName::new("web").unwrap(),
            target: 8080,
            address: [127, 0, 0, 1].into(),
            range,
            taken: Mutex::new(taken.iter().copied().collect()),
        }
    }

    #[test]
    fn every_port_of_a_range_is_chosen_once() {
        for name in ["shop-1-web-1", "shop-1-web-2", "shop-2-web-1"] {
            let some = publishing((65_530, 65_535), &[65_531]);
            let mut chosen: Vec<_> = (0..5).map(|_| some.choose(name).unwrap()).collect();
            chosen.sort_unstable();
            assert_eq!(chosen, [65_530, 65_532, 65_533, 65_534, 65_535]);
            let EngineError::Failed(failure) = some.choose(name).unwrap_err() else {
                panic!("no refusal");
            };
            assert!(failure.what.contains("from 65530 to 65535"), "{failure:?}");
            assert!(failure.hint.unwrap().contains("pools: {ports:"));
        }
    }

    #[test]
    fn refusals_are_told_from_other_failures() {
        let of = Refusal::of;
        let long = "driver failed programming external connectivity on endpoint x (0a): ";
        let held = [
            format!("{long}Bind for 127.0.0.1:20000 failed: port is already allocated"),
            format!(
                "{long}Error starting userland proxy: listen tcp4 127.0.0.1:20000: bind: address already in use"
            ),
            format!("{long}failed to bind host port 127.0.0.1:20000/tcp: address already in use"),
        ];
        for said in held {
            assert_eq!(of(&said), Some(Refusal::Held), "{said}");
        }
        let absent = format!(
            "{long}Error starting userland proxy: listen tcp4 192.0.2.7:20000: bind: cannot assign requested address"
        );
        assert_eq!(of(&absent), Some(Refusal::NoSuchAddress));
        for other in [
            "Address already in use",
            "OCI runtime create failed: exec: no such file",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
