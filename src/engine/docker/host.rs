//! What a role has of its host: limits, rights, devices, ports and where its log goes, and what holds
//! of these unless the plan says otherwise. Pure.

use std::collections::HashMap;

use bollard::models::{
    DeviceMapping, HostConfig, HostConfigLogConfig, PortBinding, PortMap, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};

use crate::core::plan::{Host, Logging, Port, Restart, Role, Run};

/// Processes a container may have where the plan says nothing.
const PIDS: i64 = 4096;

/// All but the container's network and its mounts.
pub(super) fn of(role: &Role) -> HostConfig {
    let (limits, host) = (&role.limits, &role.host);
    let ulimits = role
        .ulimits
        .iter()
        .map(|(name, &(soft, hard))| ResourcesUlimits {
            name: Some(name.clone()),
            soft: Some(soft),
            hard: Some(hard),
        });
    let own_names = role.network_of.is_none();
    let hosts = role.extra_hosts.iter().filter(|_| own_names);
    let servers = role.dns.iter().filter(|_| own_names);
    let domains = role.dns_search.iter().filter(|_| own_names);
    let tmpfs = role.tmpfs.iter();
    let sysctls = role.sysctls.iter();
    let from_host = |wanted: bool| wanted.then(|| "host".to_owned());
    HostConfig {
        restart_policy: Some(restart(role.run, host.restart)),
        log_config: Some(log(role.logging.as_ref())),
        privileged: Some(host.privileged),
        security_opt: some_unless_empty(security(&role.security_opt, host)),
        cap_add: some_unless_empty(role.cap_add.clone()),
        cap_drop: some_unless_empty(dropped(&role.cap_add, &role.cap_drop, host)),
        group_add: some_unless_empty(role.group_add.clone()),
        devices: some_unless_empty(devices(host)),
        pid_mode: from_host(host.pid),
        ipc_mode: from_host(host.ipc),
        port_bindings: (!host.ports.is_empty()).then(|| bindings(&host.ports)),
        pids_limit: Some(limits.pids.unwrap_or(PIDS)),
        nano_cpus: limits.nano_cpus,
        memory: limits.memory,
        memory_reservation: limits.memory_reservation,
        memory_swap: limits.memory_swap,
        shm_size: limits.shm,
        ulimits: some_unless_empty(ulimits.collect()),
        sysctls: Some(sysctls.map(|(k, v)| (k.clone(), v.clone())).collect()),
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
        dns: some_unless_empty(servers.map(ToString::to_string).collect()),
        dns_search: some_unless_empty(domains.cloned().collect()),
        ..HostConfig::default()
    }
}

/// The ports that a role's containers listen on, with those that it publishes.
pub(super) fn exposed(role: &Role) -> Vec<String> {
    let documented = role.expose.iter().map(|port| format!("{port}/tcp"));
    let published = role.host.ports.iter().map(target);
    let mut all: Vec<_> = documented.chain(published).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// `None` for an empty list.
pub(super) fn some_unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Who starts it again after its end.
fn restart(run: Run, wanted: Restart) -> RestartPolicy {
    use RestartPolicyNameEnum as P;
    let (name, at_most) = match (run, wanted) {
        // A daemon that starts must not start these.
        (Run::LiveOnly | Run::Once, _) | (Run::Shared, Restart::No) => (P::NO, None),
        (Run::Shared, Restart::Always) => (P::ALWAYS, None),
        (Run::Shared, Restart::OnFailure(at_most)) => (P::ON_FAILURE, at_most.map(i64::from)),
        (Run::Shared, Restart::UnlessStopped) | (Run::Always | Run::Never, _) => {
            (P::UNLESS_STOPPED, None)
        }
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: at_most,
    }
}

/// The plan's own, whole; else the engine's files, which do not grow without end.
fn log(logging: Option<&Logging>) -> HostConfigLogConfig {
    let (driver, options) = match logging {
        Some(logging) => (
            logging.driver.clone(),
            logging
                .options
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
        ),
        None => (
            "json-file".to_owned(),
            HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "3".to_owned()),
            ]),
        ),
    };
    HostConfigLogConfig {
        typ: Some(driver),
        config: Some(options),
    }
}

fn devices(host: &Host) -> Vec<DeviceMapping> {
    let devices = host.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    devices.collect()
}

fn target(port: &Port) -> String {
    format!("{}/{}", port.target, if port.udp { "udp" } else { "tcp" })
}

/// One port of a container may be had at several of the host.
fn bindings(ports: &[Port]) -> PortMap {
    let mut all = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.address.map(|address| address.to_string()),
            host_port: port.published.map(|port| port.to_string()),
        };
        let places = all.entry(target(port)).or_default();
        places.get_or_insert_default().push(binding);
    }
    all
}

/// The plan's options, and no-new-privileges unless it says otherwise.
fn security(options: &[String], host: &Host) -> Vec<String> {
    let mut options = options.to_vec();
    let is_said = |option: &String| option.starts_with("no-new-privileges");
    if !host.privileged && !options.iter().any(is_said) {
        options.push("no-new-privileges:true".into());
    }
    options
}

/// The plan's dropped capabilities, and NET_RAW unless it adds it.
fn dropped(added: &[String], dropped: &[String], host: &Host) -> Vec<String> {
    let mut all = dropped.to_vec();
    let names_it = |name: &String| name == "NET_RAW" || name == "ALL";
    if !host.privileged && !added.iter().any(names_it) && !all.iter().any(names_it) {
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
        let own = Host::default();
        let all = Host {
            privileged: true,
            ..Host::default()
        };
        assert_eq!(security(&[], &own), ["no-new-privileges:true"]);
        assert_eq!(security(&[], &all), [""; 0]);
        let loosened = texts(&["no-new-privileges:false"]);
        assert_eq!(security(&loosened, &own), loosened);
        assert_eq!(dropped(&[], &texts(&["CHOWN"]), &own), ["CHOWN", "NET_RAW"]);
        assert_eq!(dropped(&texts(&["NET_RAW"]), &[], &own), [""; 0]);
        assert_eq!(dropped(&[], &texts(&["ALL"]), &own), ["ALL"]);
        assert_eq!(dropped(&[], &[], &all), [""; 0]);
    }

    #[test]
    fn only_what_outlives_releases_has_a_restart_policy_of_the_plans() {
        let policy = |run, wanted| {
            let policy = restart(run, wanted);
            let name = policy.name.map(|name| name.to_string());
            (name.unwrap_or_default(), policy.maximum_retry_count)
        };
        let check = |run, wanted, name: &str, at_most| {
            let expected = (name.to_owned(), at_most);
            assert_eq!(policy(run, wanted), expected, "{run:?} {wanted:?}");
        };
        check(Run::Shared, Restart::No, "no", None);
        check(Run::Shared, Restart::Always, "always", None);
        check(Run::Shared, Restart::UnlessStopped, "unless-stopped", None);
        check(Run::Shared, Restart::OnFailure(None), "on-failure", None);
        let thrice = Restart::OnFailure(Some(3));
        check(Run::Shared, thrice, "on-failure", Some(3));
        check(Run::Always, Restart::No, "unless-stopped", None);
        check(Run::LiveOnly, Restart::Always, "no", None);
        check(Run::Once, Restart::Always, "no", None);
    }

    #[test]
    fn a_port_may_be_had_at_several_of_the_host() {
        let port = |address: Option<&str>, published, udp| Port {
            address: address.and_then(|text| text.parse().ok()),
            published,
            target: 53,
            udp,
        };
        let bound = bindings(&[
            port(None, Some(53), true),
            port(Some("127.0.0.1"), Some(5353), true),
            port(Some("::1"), None, false),
        ]);
        let binding = |address: Option<&str>, port: Option<&str>| PortBinding {
            host_ip: address.map(str::to_owned),
            host_port: port.map(str::to_owned),
        };
        let udp = vec![
            binding(None, Some("53")),
            binding(Some("127.0.0.1"), Some("5353")),
        ];
        let tcp = vec![binding(Some("::1"), None)];
        let expected = [
            ("53/udp".to_owned(), Some(udp)),
            ("53/tcp".to_owned(), Some(tcp)),
        ];
        assert_eq!(bound, PortMap::from(expected));
    }
}
