//! A shared role's container: what it has beyond a release's, and making it, not started.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, Mount as ApiMount, MountType, RestartPolicy, RestartPolicyNameEnum,
    VolumeCreateRequest,
};
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};

use super::super::Docker;
use super::super::create::{self, Access, Wanted, filled_volume};
use super::super::equip::{image_entrypoint, join};
use super::super::files::{self, Helper};
use super::super::host;
use super::super::names::{self, Kind};
use super::super::network::Own;
use super::super::stand_up::uncreated;
use super::look::{Mounted, Replaced};
use super::settled;
use crate::core::names::{Release, RoleName};
use crate::core::plan::{Plan, Role};
use crate::core::shared::Owner;
use crate::core::sharing::aliases;
use crate::core::words::hex;
use crate::core::world::ContainerState;
use crate::docker::{random, refused_hint, status};
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
    /// The container whose network it uses, by name or id.
    pub(super) uses: Option<String>,
    /// The container's name.
    pub(super) called: String,
    pub(super) replaces: &'a [Replaced],
    /// What of a Compose project is stopped for it, or was for those before it.
    pub(super) stopped: &'a [Replaced],
    /// Volumes without a name of the container whose place it takes.
    pub(super) carried: Vec<Mounted>,
}

impl Make<'_> {
    /// Makes the container, with its files and networks, and does not start it. One of that name
    /// that was never started either is a killed call's, and is replaced.
    pub(super) async fn make(&self) -> Result<(), EngineError> {
        let salt: [u8; 16] = random()?;
        let turn = hex(&salt[..4]);
        self.fill(&turn).await?;
        let body = self.body(&salt, &turn).await?;
        let client = &self.engine.client;
        loop {
            let options = CreateContainerOptions {
                name: Some(self.called.clone()),
                platform: self.role.platform.clone().unwrap_or_default(),
            };
            let created = client.docker.create_container(Some(options), body.clone());
            match created.await {
                Ok(_) => break,
                Err(error) if status(&error) == Some(409) => self.make_room().await?,
                Err(error) => {
                    return Err(uncreated(&self.called, client.fault(error)));
                }
            }
        }
        if let Some(tar) = files::single_files(self.role) {
            files::put(self.engine, &self.called, tar).await?;
        }
        if self.role.host.network || self.role.network_of.is_some() {
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
        Err(taken(&self.called))
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
        labels.insert(
            names::SETTINGS.into(),
            Settings::of(self.plan, role)?.sealed(salt),
        );
        if !self.replaces.is_empty() {
            let replaces = serde_json::to_string(self.replaces).unwrap_or_default();
            labels.insert(names::REPLACES.into(), replaces);
            let policy = serde_json::to_string(&host::of(role).restart_policy);
            let policy = policy.unwrap_or_default();
            labels.insert(names::RESTART.into(), policy);
        }
        if !self.stopped.is_empty() {
            let stopped = serde_json::to_string(self.stopped).unwrap_or_default();
            labels.insert(names::STOPPED.into(), stopped);
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
        if !self.replaces.is_empty() {
            // Else a daemon that comes back would start it beside the one whose place it is to take.
            host.restart_policy = Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                ..RestartPolicy::default()
            });
        }
        host.mounts = (!mounts.is_empty()).then_some(mounts);
        if let Some(owner) = &self.uses {
            host.network_mode = Some(format!("container:{owner}"));
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
            create::api_mount(mount, |name| match name {
                None => carried(&mount.target),
                Some(name) => Some(format!("flipside.{}.shared-data.{name}", self.plan.service)),
            })
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

/// That a name is another container's.
pub(super) fn taken(name: &str) -> EngineError {
    refused_hint(
        format!("the name `{name}` is taken by another container"),
        format!("`docker rm {name}` removes it, if nothing needs it"),
    )
}
