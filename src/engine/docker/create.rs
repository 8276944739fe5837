//! A role of the plan turned into the body of a container's creation: every field of it, and what
//! holds unless the plan loosens it. Pure.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as ApiMount, MountBindOptions, MountType, MountVolumeOptions,
    NetworkingConfig, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use super::names;
use super::network::Own;
use crate::core::names::{Release, RoleName, ServiceName};
use crate::core::plan::{FileContent, Healthcheck, Mount, MountSource, Role, Run, Text};
use crate::docker::nanoseconds;

/// Processes a container may have where the plan says nothing.
const PIDS: i64 = 4096;

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
        let exposed = role.expose.iter().map(|port| format!("{port}/tcp"));
        let grace_s = i64::try_from(role.stop_grace_ms.div_ceil(1000)).unwrap_or(i64::MAX);
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            hostname: role.hostname.clone(),
            user: role.user.clone(),
            working_dir: role.working_dir.clone(),
            env: Some(
                variables
                    .map(|(name, value)| format!("{name}={}", value.reveal()))
                    .collect(),
            ),
            cmd: role.command.as_ref().map(|words| reveal(words)),
            entrypoint: entrypoint.or_else(|| self.image_entrypoint.clone()),
            exposed_ports: Some(exposed.collect()),
            healthcheck: role.healthcheck.as_ref().map(health),
            labels: Some(self.all_labels()),
            stop_signal: role.stop_signal.clone(),
            stop_timeout: Some(grace_s),
            host_config: Some(self.host()),
            networking_config: Some(self.networking()),
            ..ContainerCreateBody::default()
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
            labels.insert(names::RUN.into(), names::run_label(self.role.run).into());
        }
        if !self.role.depends_on.is_empty() {
            let after = names::after_label(&self.role.depends_on);
            labels.insert(names::AFTER.into(), after);
        }
        labels
    }

    fn networking(&self) -> NetworkingConfig {
        let own = EndpointSettings {
            aliases: Some(vec![self.name.to_string()]),
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
        let role = self.role;
        let limits = &role.limits;
        let ulimits = role
            .ulimits
            .iter()
            .map(|(name, &(soft, hard))| ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(soft),
                hard: Some(hard),
            });
        let hosts = role.extra_hosts.iter();
        let tmpfs = role.tmpfs.iter();
        HostConfig {
            network_mode: Some(self.network.name.clone()),
            restart_policy: Some(RestartPolicy {
                name: Some(match role.run {
                    // A daemon that starts must not start these.
                    Run::LiveOnly | Run::Once => RestartPolicyNameEnum::NO,
                    Run::Always | Run::Shared | Run::Never => RestartPolicyNameEnum::UNLESS_STOPPED,
                }),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "10m".to_owned()),
                    ("max-file".to_owned(), "3".to_owned()),
                ])),
            }),
            security_opt: Some(security(&role.security_opt)),
            cap_add: some_unless_empty(role.cap_add.clone()),
            cap_drop: some_unless_empty(dropped(&role.cap_add, &role.cap_drop)),
            pids_limit: Some(limits.pids.unwrap_or(PIDS)),
            nano_cpus: limits.nano_cpus,
            memory: limits.memory,
            memory_reservation: limits.memory_reservation,
            shm_size: limits.shm,
            ulimits: some_unless_empty(ulimits.collect()),
            init: role.init,
            readonly_rootfs: Some(role.read_only),
            tmpfs: Some(
                tmpfs
                    .map(|(path, options)| (path.clone(), options.clone()))
                    .collect(),
            ),
            extra_hosts: some_unless_empty(
                hosts
                    .map(|(name, address)| format!("{name}:{address}"))
                    .collect(),
            ),
            dns: some_unless_empty(role.dns.iter().map(ToString::to_string).collect()),
            mounts: some_unless_empty(self.mounts()),
            ..HostConfig::default()
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
        let (typ, source) = match &mount.source {
            MountSource::PerRelease(None) => (MountType::VOLUME, None),
            MountSource::PerRelease(Some(name)) => {
                let name = named_volume(self.service, self.release, name);
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
            bind_options: mount.propagation.map(|propagation| MountBindOptions {
                propagation: propagation.parse().ok(),
                ..MountBindOptions::default()
            }),
            ..ApiMount::default()
        }
    }
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

fn some_unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn health(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: some_unless_empty(reveal(&check.test)),
        interval: check.interval_ms.map(nanoseconds),
        timeout: check.timeout_ms.map(nanoseconds),
        start_period: check.start_period_ms.map(nanoseconds),
        retries: check.retries.map(i64::from),
        ..HealthConfig::default()
    }
}

/// The plan's options, and no-new-privileges unless it says otherwise.
fn security(options: &[String]) -> Vec<String> {
    let mut options = options.to_vec();
    if !options
        .iter()
        .any(|option| option.starts_with("no-new-privileges"))
    {
        options.push("no-new-privileges:true".into());
    }
    options
}

/// The plan's dropped capabilities, and NET_RAW unless it adds it.
fn dropped(added: &[String], dropped: &[String]) -> Vec<String> {
    let mut all = dropped.to_vec();
    let names_it = |name: &String| name == "NET_RAW" || name == "ALL";
    if !added.iter().any(names_it) && !all.iter().any(names_it) {
        all.push("NET_RAW".into());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_plan_can_loosen_what_holds_by_default() {
        assert_eq!(security(&[]), ["no-new-privileges:true"]);
        let loosened = texts(&["no-new-privileges:false"]);
        assert_eq!(security(&loosened), loosened);
        assert_eq!(dropped(&[], &texts(&["CHOWN"])), ["CHOWN", "NET_RAW"]);
        assert_eq!(dropped(&texts(&["NET_RAW"]), &[]), [""; 0]);
        assert_eq!(dropped(&[], &texts(&["ALL"])), ["ALL"]);
    }
}
