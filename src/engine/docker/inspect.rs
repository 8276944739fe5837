//! What really exists of a service, read in two parallel calls and no call per container.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EndpointSettings, HealthStatusEnum, Network, Volume,
};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions, ListVolumesOptions};
use tokio::try_join;

use super::Docker;
use super::names::{self, Kind, Said};
use crate::core::names::{Millis, Release, ServiceName, Slot};
use crate::core::world::{Container, ContainerState, Environment, Health};
use crate::docker::found;
use crate::engine::EngineError;

type Filters = HashMap<String, Vec<String>>;

/// All containers with these labels, whatever they do.
pub(super) async fn containers(
    engine: &Docker,
    filters: Filters,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..ListContainersOptions::default()
    };
    let listed = engine.client.docker.list_containers(Some(options)).await;
    listed.map_err(|error| engine.client.fault(error))
}

/// All networks with these labels.
pub(super) async fn networks(
    engine: &Docker,
    filters: Filters,
) -> Result<Vec<Network>, EngineError> {
    let options = ListNetworksOptions {
        filters: Some(filters),
    };
    let listed = engine.client.docker.list_networks(Some(options)).await;
    listed.map_err(|error| engine.client.fault(error))
}

/// All volumes with these labels.
pub(super) async fn volumes(engine: &Docker, filters: Filters) -> Result<Vec<Volume>, EngineError> {
    let options = ListVolumesOptions {
        filters: Some(filters),
    };
    let listed = engine.client.docker.list_volumes(Some(options)).await;
    let listed = listed.map_err(|error| engine.client.fault(error))?;
    Ok(listed.volumes.unwrap_or_default())
}

/// Every release's environment, whole or in part, ascending.
pub(super) async fn environments(
    engine: &Docker,
    service: &ServiceName,
    release: Option<Release>,
) -> Result<Vec<Environment>, EngineError> {
    let filters = || names::filter(service, release);
    let (containers, networks, volumes) = try_join!(
        containers(engine, filters()),
        networks(engine, filters()),
        volumes(engine, filters()),
    )?;
    Ok(gather(service, &containers, &networks, &volumes))
}

#[derive(Default)]
struct Parts {
    said: Option<Said>,
    slot: Option<Slot>,
    created: Option<Millis>,
    containers: Vec<Container>,
    others: Vec<String>,
}

impl Parts {
    fn note(&mut self, labels: &HashMap<String, String>, created: Option<Millis>) {
        if self.said.is_none() {
            self.said = names::read(labels);
        }
        if self.slot.is_none() {
            self.slot = labels
                .get("flipside.slot")
                .and_then(|text| text.parse().ok());
        }
        if let Some(created) = created {
            self.created = Some(self.created.map_or(created, |first| first.min(created)));
        }
    }
}

/// Sorts what was listed into environments; marks and tokens are none of them.
fn gather(
    service: &ServiceName,
    containers: &[ContainerSummary],
    networks: &[Network],
    volumes: &[Volume],
) -> Vec<Environment> {
    let mut by_release: BTreeMap<Release, Parts> = BTreeMap::new();
    let none = HashMap::new();
    for container in containers {
        let labels = container.labels.as_ref().unwrap_or(&none);
        let Some(release) = names::release(labels) else {
            continue;
        };
        let parts = by_release.entry(release).or_default();
        let created = container.created.and_then(|s| u64::try_from(s).ok());
        if Kind::Helper.is(labels) || Kind::Hook.is(labels) {
            parts.note(&none, created.map(|s| s * 1000));
            parts.others.push(container_name(container));
        } else {
            parts.note(labels, created.map(|s| s * 1000));
            let network = names::network(service, release);
            parts.containers.push(summary(container, labels, &network));
        }
    }
    for network in networks {
        let labels = network.labels.as_ref().unwrap_or(&none);
        let (Some(release), Some(name)) = (names::release(labels), &network.name) else {
            continue;
        };
        let parts = by_release.entry(release).or_default();
        parts.note(labels, network.created.as_deref().and_then(instant));
        parts.others.push(name.clone());
    }
    for volume in volumes
        .iter()
        .filter(|volume| Kind::Environment.is(&volume.labels))
    {
        let Some(release) = names::release(&volume.labels) else {
            continue;
        };
        let parts = by_release.entry(release).or_default();
        parts.note(
            &volume.labels,
            volume.created_at.as_deref().and_then(instant),
        );
        parts.others.push(volume.name.clone());
    }
    by_release
        .into_iter()
        .map(|(release, parts)| environment(release, parts))
        .collect()
}

fn environment(release: Release, mut parts: Parts) -> Environment {
    parts.containers.sort_by(|a, b| {
        let key = |c: &Container| (c.role.clone(), c.replica, c.name.clone());
        key(a).cmp(&key(b))
    });
    parts.others.sort();
    parts.others.dedup();
    let slot = parts.slot.unwrap_or(Slot::Blue);
    let said = parts
        .said
        .unwrap_or_else(|| names::unreadable(slot, parts.containers.len()));
    Environment {
        release,
        slot: said.slot,
        created: parts.created.unwrap_or_default(),
        containers: parts.containers,
        expected: said.expected,
        parts: parts.others,
        labels: said.labels,
    }
}

/// Milliseconds since the epoch of the engine's RFC 3339 text.
pub(super) fn instant(text: &str) -> Option<Millis> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

/// A container's name without the slash the engine puts before it.
pub(super) fn container_name(container: &ContainerSummary) -> String {
    let mut names = container.names.iter().flatten();
    // Links give a container further names, with a slash inside.
    let name = names.find(|name| !name.trim_start_matches('/').contains('/'));
    name.map(|name| name.trim_start_matches('/').to_owned())
        .unwrap_or_default()
}

fn summary(
    container: &ContainerSummary,
    labels: &HashMap<String, String>,
    network: &str,
) -> Container {
    let (role, replica) = names::role(labels);
    let status = container.status.as_deref().unwrap_or_default();
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|s| s.networks.as_ref());
    Container {
        id: container.id.clone().unwrap_or_default(),
        name: container_name(container),
        role,
        replica,
        run: names::run(labels),
        image_id: container.image_id.clone().unwrap_or_default(),
        address: networks.and_then(|all| all.get(network)).and_then(address),
        published: names::published(labels),
        state: listed_state(container.state.as_ref(), status),
        health: listed_health(status),
    }
}

/// The address a container has, or the one assigned to it while it does not run.
pub(super) fn address(endpoint: &EndpointSettings) -> Option<IpAddr> {
    let has = endpoint
        .ip_address
        .as_deref()
        .filter(|text| !text.is_empty());
    let assigned = endpoint
        .ipam_config
        .as_ref()
        .and_then(|ipam| ipam.ipv4_address.as_deref());
    has.or(assigned)?.parse().ok()
}

fn listed_state(state: Option<&ContainerSummaryStateEnum>, status: &str) -> ContainerState {
    use ContainerSummaryStateEnum as S;
    match state {
        Some(S::CREATED) => ContainerState::Created,
        Some(S::RUNNING | S::STOPPING) => ContainerState::Running,
        Some(S::PAUSED) => ContainerState::Paused,
        Some(S::RESTARTING) => ContainerState::Restarting,
        Some(S::EXITED) => ContainerState::Exited {
            code: status
                .strip_prefix("Exited (")
                .and_then(|rest| rest.split(')').next())
                .and_then(|code| code.parse().ok())
                .unwrap_or(-1),
            oom: false,
        },
        Some(S::REMOVING | S::DEAD | S::EMPTY) | None => ContainerState::Gone,
    }
}

/// Old engines say a container's health only in its status: `Up 2 minutes (healthy)`.
fn listed_health(status: &str) -> Health {
    if status.ends_with("(healthy)") {
        Health::Healthy
    } else if status.ends_with("(unhealthy)") {
        Health::Unhealthy
    } else if status.ends_with("(health: starting)") {
        Health::Starting
    } else {
        Health::None
    }
}

/// One container in full; `None` where it is gone.
pub(super) async fn container(engine: &Docker, id: &str) -> Result<Option<Container>, EngineError> {
    let answer = found(engine.client.docker.inspect_container(id, None).await);
    let answer = answer.map_err(|error| engine.client.fault(error))?;
    Ok(answer.map(full))
}

/// A container out of the engine's full answer.
pub(super) fn full(answer: ContainerInspectResponse) -> Container {
    let labels = answer
        .config
        .and_then(|config| config.labels)
        .unwrap_or_default();
    let (role, replica) = names::role(&labels);
    let state = answer.state.unwrap_or_default();
    let service = labels
        .get(names::SERVICE)
        .and_then(|name| ServiceName::new(name).ok());
    let network = service.zip(names::release(&labels));
    let network = network.map(|(service, release)| names::network(&service, release));
    let networks = answer
        .network_settings
        .and_then(|settings| settings.networks);
    let endpoint = network.and_then(|name| networks?.remove(&name));
    use ContainerStateStatusEnum as S;
    Container {
        id: answer.id.unwrap_or_default(),
        name: answer
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        role,
        replica,
        run: names::run(&labels),
        image_id: answer.image.unwrap_or_default(),
        address: endpoint.as_ref().and_then(address),
        published: names::published(&labels),
        state: match state.status {
            Some(S::CREATED) => ContainerState::Created,
            Some(S::RUNNING) => ContainerState::Running,
            Some(S::PAUSED) => ContainerState::Paused,
            // Between two lives the engine still knows how the last one ended.
            Some(S::EXITED | S::RESTARTING) => ContainerState::Exited {
                code: state.exit_code.unwrap_or(-1),
                oom: state.oom_killed.unwrap_or_default(),
            },
            _ => ContainerState::Gone,
        },
        health: match state.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::STARTING) => Health::Starting,
            Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
            Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_engines_say_health_and_exit_codes_in_the_status() {
        assert_eq!(listed_health("Up 2 minutes (healthy)"), Health::Healthy);
        assert_eq!(
            listed_health("Up 1 second (health: starting)"),
            Health::Starting
        );
        assert_eq!(listed_health("Up 2 minutes (unhealthy)"), Health::Unhealthy);
        assert_eq!(listed_health("Up 2 minutes"), Health::None);
        let state = ContainerSummaryStateEnum::EXITED;
        assert_eq!(
            listed_state(Some(&state), "Exited (137) 3 seconds ago"),
            ContainerState::Exited {
                code: 137,
                oom: false
            }
        );
    }

    #[test]
    fn the_engines_instants_are_read() {
        assert_eq!(instant("1970-01-01T00:00:02.5Z"), Some(2500));
        assert_eq!(instant("1970-01-01T01:00:01+01:00"), Some(1000));
        assert_eq!(instant("soon"), None);
    }
}
