//! A shared role's container: what it has beyond a release's, and making it, not started.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, Mount as ApiMount, MountType, PortBinding, PortMap,
    RestartPolicy, RestartPolicyNameEnum, VolumeCreateRequest,
};
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};

use super::super::Docker;
use super::super::create::{self, Access, Wanted, filled_volume};
use super::super::equip::{image_entrypoint, join};
use super::super::files::{self, Helper};
use super::super::names::{self, Kind};
use super::super::network::Own;
use super::super::stand_up::about;
use super::look::{Mounted, Replaced};
use super::settled;
use crate::core::names::{Release, RoleName};
use crate::core::plan::{Host, MountSource, Plan, Port, Restart, Role};
use crate::core::shared::Owner;
use crate::core::words::hex;
use crate::core::world::ContainerState;
use crate::docker::{refused, refused_hint, status};
use crate::engine::{EngineError, Settings};

/// Everything that a container is made of.
pub(super) struct Make<'a> {
    pub(super) engine: &'a Docker,
    pub(super) plan: &'a Plan,
    pub(super) name: &'a RoleName,
    pub(super) role: &'a Role,
    pub(super) image: &'a str,
    pub(super) network: &'a Own,
    pub(super) address: Ipv4Addr,
    /// The container's name.
    pub(super) called: String,
    pub(super) replaces: &'a [Replaced],
    /// Volumes without a name of the container whose place it takes.
    pub(super) carried: Vec<Mounted>,
}

/// The names by which others reach a shared role.
pub(super) fn aliases(name: &RoleName, role: &Role) -> Vec<String> {
    let own = std::iter::once(name.to_string());
    own.chain(role.aliases.iter().cloned()).collect()
}

impl Make<'_> {
    /// Makes the container, with its files and networks, and does not start it. One of that name
    /// that was never started either is a killed call's, and is replaced.
    pub(super) async fn make(&self) -> Result<(), EngineError> {
        let salt = salt()?;
        let turn = hex(&salt[..4]);
        self.fill(&turn).await?;
        let body = self.body(&salt, &turn).await?;
        let client = &self.engine.client;
        loop {
            let options = CreateContainerOptions {
                name: Some(self.called.clone()),
                ..CreateContainerOptions::default()
            };
            let created = client.docker.create_container(Some(options), body.clone());
            match created.await {
                Ok(_) => break,
                Err(error) if status(&error) == Some(409) => self.make_room().await?,
                Err(error) => {
                    return Err(about(
                        &self.called,
                        "cannot be created",
                        client.fault(error),
                    ));
                }
            }
        }
        if let Some(tar) = files::single_files(self.role) {
            files::put(self.engine, &self.called, tar).await?;
        }
        if self.role.host.network {
            return Ok(());
        }
        for key in &self.role.networks {
            if let Some(network) = self.plan.external_networks.get(key) {
                let aliases = aliases(self.name, self.role);
                join(self.engine, network, &self.called, &aliases).await?;
            }
        }
        Ok(())
    }

    /// The name is taken: by what a killed call has left, which goes, or by something else.
    async fn make_room(&self) -> Result<(), EngineError> {
        let client = &self.engine.client;
        let Some(there) = settled(self.engine, &self.called).await? else {
            return Ok(());
        };
        let ours = there.owner == Owner::Flipside && there.container.role == *self.name;
        if ours && there.container.state == ContainerState::Created {
            let options = RemoveContainerOptions::default();
            let removed = client
                .docker
                .remove_container(&there.container.id, Some(options));
            return super::gone(client, removed.await);
        }
        Err(refused_hint(
            format!("the name `{}` is taken by another container", self.called),
            format!(
                "`docker rm {}` removes it, if nothing needs it",
                self.called
            ),
        ))
    }

    fn directories(&self, turn: &str) -> Vec<(String, String, PathBuf)> {
        let named = create::directories(self.role).map(|(index, target, source)| {
            let rest = format!("{}.{turn}.files-{index}", self.name);
            let volume = names::shared_volume(&self.plan.service, &rest);
            (volume, target.to_owned(), source.to_owned())
        });
        named.collect()
    }

    async fn fill(&self, turn: &str) -> Result<(), EngineError> {
        let (service, client) = (&self.plan.service, &self.engine.client);
        let directories = self.directories(turn);
        if directories.is_empty() {
            return Ok(());
        }
        for (volume, ..) in &directories {
            let request = VolumeCreateRequest {
                name: Some(volume.clone()),
                labels: Some(names::of_service(service, Kind::Shared)),
                ..VolumeCreateRequest::default()
            };
            let made = client.docker.create_volume(request).await;
            made.map_err(|error| client.fault(error))?;
        }
        let helper = Helper {
            name: format!(
                "{}-files.{turn}",
                names::shared_container(service, self.name)
            ),
            labels: names::of_service(service, Kind::Helper),
            image: self.image,
        };
        let sources = directories.into_iter();
        let sources: Vec<_> = sources
            .map(|(volume, _, source)| (volume, source))
            .collect();
        files::fill(self.engine, helper, &sources).await
    }

    async fn body(&self, salt: &[u8], turn: &str) -> Result<ContainerCreateBody, EngineError> {
        let role = self.role;
        let image_entrypoint = match create::states_entrypoint(role) {
            true => Some(image_entrypoint(self.engine, self.image).await?),
            false => None,
        };
        let mut labels = names::of_service(&self.plan.service, Kind::Shared);
        labels.insert(names::SETTINGS.into(), Settings::of(role)?.sealed(salt));
        if !self.replaces.is_empty() {
            let replaces = serde_json::to_string(self.replaces).unwrap_or_default();
            labels.insert(names::REPLACES.into(), replaces);
        }
        let wanted = Wanted {
            service: &self.plan.service,
            // Of none: what would be named after it, mounts, is replaced below.
            release: Release::default(),
            name: self.name,
            role,
            image: self.image,
            image_entrypoint,
            replica: 1,
            network: self.network,
            address: self.address,
            labels: &labels,
            api: self.engine.client.api(),
        };
        let mut body = wanted.body();
        let mounts = self.mounts(turn);
        let host = body.host_config.get_or_insert_default();
        host.mounts = (!mounts.is_empty()).then_some(mounts);
        host.restart_policy = Some(restart(role.host.restart));
        grant(&role.host, host);
        let published = role.host.ports.iter().map(target);
        let exposed = body.exposed_ports.get_or_insert_default();
        exposed.extend(published);
        exposed.sort_unstable();
        exposed.dedup();
        if role.host.network {
            body.networking_config = None;
        }
        let joined = body.networking_config.as_mut();
        let endpoints = joined.and_then(|config| config.endpoints_config.as_mut());
        for endpoint in endpoints.into_iter().flat_map(HashMap::values_mut) {
            endpoint.aliases = Some(aliases(self.name, role));
        }
        Ok(body)
    }

    fn mounts(&self, turn: &str) -> Vec<ApiMount> {
        let copied = self.directories(turn).into_iter();
        let copied: Vec<_> = copied
            .map(|(volume, target, _)| filled_volume(&volume, &target, Access::ReadOnly))
            .collect();
        let carried = |target: &str| {
            let mut all = self.carried.iter();
            let found = all.find(|mount| mount.target == target);
            found.map(|mount| mount.volume.clone())
        };
        let planned = self.role.mounts.iter().map(|mount| {
            let (typ, source) = match &mount.source {
                MountSource::PerRelease(None) => (MountType::VOLUME, carried(&mount.target)),
                MountSource::PerRelease(Some(name)) => {
                    let name = format!("flipside.{}.shared-data.{name}", self.plan.service);
                    (MountType::VOLUME, Some(name))
                }
                MountSource::Shared(name) => (MountType::VOLUME, Some(name.clone())),
                MountSource::Host(path) => (MountType::BIND, Some(path.clone())),
            };
            ApiMount {
                target: Some(mount.target.clone()),
                typ: Some(typ),
                source,
                read_only: Some(mount.read_only),
                ..ApiMount::default()
            }
        });
        let mut mounts: Vec<ApiMount> = copied.into_iter().chain(planned).collect();
        for mount in &self.carried {
            let known = |there: &ApiMount| there.target.as_ref() == Some(&mount.target);
            if !mounts.iter().any(known) && !self.role.tmpfs.contains_key(&mount.target) {
                mounts.push(ApiMount {
                    target: Some(mount.target.clone()),
                    typ: Some(MountType::VOLUME),
                    source: Some(mount.volume.clone()),
                    ..ApiMount::default()
                });
            }
        }
        mounts
    }
}

/// Gives a container what it has of its host.
fn grant(of: &Host, host: &mut bollard::models::HostConfig) {
    let shared = |on: bool| on.then(|| "host".to_owned());
    host.privileged = of.privileged.then_some(true);
    host.pid_mode = shared(of.pid);
    host.ipc_mode = shared(of.ipc);
    if of.network {
        host.network_mode = shared(true);
    }
    let devices = of.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    let devices: Vec<_> = devices.collect();
    host.devices = (!devices.is_empty()).then_some(devices);
    let mut ports = PortMap::new();
    for port in &of.ports {
        let bindings = ports.entry(target(port)).or_default();
        bindings.get_or_insert_default().push(PortBinding {
            host_ip: port.address.map(|address| address.to_string()),
            host_port: Some(
                port.published
                    .map_or_else(String::new, |port| port.to_string()),
            ),
        });
    }
    host.port_bindings = (!ports.is_empty()).then_some(ports);
}

/// `5432/tcp`.
fn target(port: &Port) -> String {
    let kind = if port.udp { "udp" } else { "tcp" };
    format!("{}/{kind}", port.target)
}

fn restart(policy: Restart) -> RestartPolicy {
    use RestartPolicyNameEnum as P;
    let (name, most) = match policy {
        Restart::No => (P::NO, None),
        Restart::Always => (P::ALWAYS, None),
        Restart::UnlessStopped => (P::UNLESS_STOPPED, None),
        Restart::OnFailure(most) => (P::ON_FAILURE, most),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: most.map(i64::from),
    }
}

fn salt() -> Result<[u8; 16], EngineError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|error| refused(format!("this machine has no random numbers: {error}")))?;
    Ok(salt)
}
