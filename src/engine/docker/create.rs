//! A role of the plan turned into the body of a container's creation: every field of it, and what
//! holds unless the plan loosens it. Pure.

use std::collections::HashMap;
use std::iter::once;
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    Mount as ApiMount, MountBindOptions, MountType, MountVolumeOptions, NetworkingConfig,
};

use super::network::Own;
use super::{demands, host, names, order};
use crate::core::names::{Release, RoleName, ServiceName};
use crate::core::plan::{FileContent, Healthcheck, Mount, MountSource, Role, Run, Text};
use crate::docker::nanoseconds;

/// One container to be.
pub(super) struct Wanted<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) release: Release,
    pub(super) name: &'a RoleName,
    pub(super) role: &'a Role,
    pub(super) image: &'a str,
    /// The entrypoint to state although the plan does not, see [`states_entrypoint`].
    pub(super) image_entrypoint: Option<Vec<String>>,
    pub(super) replica: u32,
    pub(super) network: &'a Own,
    pub(super) address: Ipv4Addr,
    /// Of the environment; role and replica are added.
    pub(super) labels: &'a HashMap<String, String>,
    pub(super) api: (usize, usize),
}

/// Whether the image's entrypoint must be stated: the engine takes an empty command for none given,
/// unless an entrypoint is given with it.
pub(super) fn states_entrypoint(role: &Role) -> bool {
    role.entrypoint.is_none() && role.command.as_ref().is_some_and(Vec::is_empty)
}

/// The volume of a role's `index`th copied directory.
pub(super) fn directory_volume(
    service: &ServiceName,
    release: Release,
    role: &RoleName,
    index: usize,
) -> String {
    names::volume(service, release, &format!("{role}.files-{index}"))
}

/// A volume of the release's own that the plan names.
pub(super) fn named_volume(service: &ServiceName, release: Release, name: &str) -> String {
    names::volume(service, release, &format!("volume.{name}"))
}

/// The targets of a role's copied directories, in order.
pub(super) fn directories(role: &Role) -> impl Iterator<Item = (usize, &str, &std::path::Path)> {
    let directories = role.files.iter().filter_map(|file| match &file.content {
        FileContent::Directory(source) => Some((file.target.as_str(), source.as_path())),
        FileContent::File { .. } => None,
    });
    directories
        .enumerate()
        .map(|(index, (target, source))| (index, target, source))
}

impl Wanted<'_> {
    /// The container's name.
    pub(super) fn container(&self) -> String {
        names::container(self.service, self.release, self.name, self.replica)
    }

    /// The whole body.
    pub(super) fn body(&self) -> ContainerCreateBody {
        let role = self.role;
        let entrypoint = role.entrypoint.as_ref().map(|words| reveal(words));
        let variables = role.environment.iter();
        let grace_s = i64::try_from(role.stop_grace_ms.div_ceil(1000)).unwrap_or(i64::MAX);
        let own = self.uses() == Uses::Own;
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            hostname: role.hostname.clone().filter(|_| own),
            user: role.user.clone(),
            working_dir: role.working_dir.clone(),
            tty: Some(role.tty),
            open_stdin: Some(role.stdin_open),
            env: Some(
                variables
                    .map(|(name, value)| format!("{name}={}", value.reveal()))
                    .collect(),
            ),
            cmd: role.command.as_ref().map(|words| reveal(words)),
            entrypoint: entrypoint.or_else(|| self.image_entrypoint.clone()),
            exposed_ports: own.then(|| host::exposed(role)),
            healthcheck: role
                .healthcheck
                .as_ref()
                .map(|check| health(check, self.api)),
            labels: Some(self.all_labels()),
            stop_signal: role.stop_signal.clone(),
            stop_timeout: Some(grace_s),
            host_config: Some(self.host()),
            networking_config: own.then(|| self.networking()),
            ..ContainerCreateBody::default()
        }
    }

    fn uses(&self) -> Uses {
        match &self.role.network_of {
            // A hook has no number of its own, and is with the first.
            Some(owner) => Uses::Of(names::container(
                self.service,
                self.release,
                owner,
                self.replica.max(1),
            )),
            None if self.role.host.network => Uses::Host,
            None => Uses::Own,
        }
    }

    fn all_labels(&self) -> HashMap<String, String> {
        let theirs = self.role.labels.iter();
        let theirs = theirs.filter(|(key, _)| !key.starts_with("flipside."));
        let mut labels: HashMap<_, _> = theirs.map(|(k, v)| (k.clone(), v.clone())).collect();
        labels.extend(self.labels.clone());
        labels.insert(names::ROLE.into(), self.name.to_string());
        labels.insert(names::REPLICA.into(), self.replica.to_string());
        if self.role.run != Run::Always {
            labels.insert(names::RUN.into(), self.role.run.as_str().into());
        }
        let after = order::after(self.role);
        if !after.is_empty() {
            labels.insert(names::AFTER.into(), names::after_label(&after));
        }
        labels
    }

    fn networking(&self) -> NetworkingConfig {
        let aliases = self.role.aliases.iter().cloned();
        let own = EndpointSettings {
            aliases: Some(once(self.name.to_string()).chain(aliases).collect()),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(self.address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            // Engines that know it take the default route from here; older ones go by name.
            gw_priority: (self.api >= (1, 48)).then_some(1),
            ..EndpointSettings::default()
        };
        NetworkingConfig {
            endpoints_config: Some(HashMap::from([(self.network.name.clone(), own)])),
        }
    }

    fn host(&self) -> HostConfig {
        let own = host::of(self.role);
        HostConfig {
            network_mode: Some(match self.uses() {
                Uses::Own => self.network.name.clone(),
                Uses::Of(container) => format!("container:{container}"),
                Uses::Host => "host".into(),
            }),
            mounts: host::some_unless_empty(self.mounts()),
            ..own
        }
    }

    fn mounts(&self) -> Vec<ApiMount> {
        let copied = directories(self.role).map(|(index, target, _)| {
            let name = directory_volume(self.service, self.release, self.name, index);
            filled_volume(&name, target, Access::ReadOnly)
        });
        let others = self.role.mounts.iter().map(|mount| self.mount(mount));
        copied.chain(others).collect()
    }

    fn mount(&self, mount: &Mount) -> ApiMount {
        api_mount(mount, |name| {
            name.map(|name| named_volume(self.service, self.release, name))
        })
    }
}

/// A mount of the plan's; `own` names the volume of what is not shared, by its name in the plan.
pub(super) fn api_mount(
    mount: &Mount,
    own: impl FnOnce(Option<&str>) -> Option<String>,
) -> ApiMount {
    let (typ, source) = match &mount.source {
        MountSource::PerRelease(name) => (MountType::VOLUME, own(name.as_deref())),
        MountSource::Shared(name) => (MountType::VOLUME, Some(name.clone())),
        MountSource::Host(path) => (MountType::BIND, Some(path.clone())),
    };
    ApiMount {
        target: Some(mount.target.clone()),
        typ: Some(typ),
        source,
        read_only: Some(mount.read_only),
        bind_options: propagation(mount),
        ..ApiMount::default()
    }
}

/// How mounts below a bound path spread.
fn propagation(mount: &Mount) -> Option<MountBindOptions> {
    let propagation = mount.propagation?;
    Some(MountBindOptions {
        propagation: propagation.parse().ok(),
        ..MountBindOptions::default()
    })
}

/// Whose network a container uses.
#[derive(Debug, PartialEq, Eq)]
enum Uses {
    /// One that it joins under a name and an address of its own.
    Own,
    /// That of another container, by its name: the engine lets it have no name, address or resolver
    /// of its own then.
    Of(String),
    /// The host's.
    Host,
}

/// Whether a container may write to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A volume that we fill: the engine must not copy the image's content into it.
pub(super) fn filled_volume(name: &str, target: &str, access: Access) -> ApiMount {
    ApiMount {
        target: Some(target.to_owned()),
        source: Some(name.to_owned()),
        typ: Some(MountType::VOLUME),
        read_only: Some(access == Access::ReadOnly),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..ApiMount::default()
    }
}

fn reveal(words: &[Text]) -> Vec<String> {
    words.iter().map(|word| word.reveal().to_owned()).collect()
}

fn health(check: &Healthcheck, api: (usize, usize)) -> HealthConfig {
    let start_interval = check.start_interval_ms.map(nanoseconds);
    HealthConfig {
        test: host::some_unless_empty(reveal(&check.test)),
        interval: check.interval_ms.map(nanoseconds),
        timeout: check.timeout_ms.map(nanoseconds),
        start_period: check.start_period_ms.map(nanoseconds),
        start_interval: start_interval.filter(|_| api >= demands::START_INTERVAL),
        retries: check.retries.map(i64::from),
    }
}
