//! Plans and specs to begin from; a test changes the one field it is about.

use std::collections::{BTreeMap, BTreeSet};

use flipside::core::names::{Release, RoleName, ServiceName, Slot};
use flipside::core::plan::{
    Condition, Exposed, Host, ImageSource, Limits, Plan, Policy, Pools, Probe, ProbeKind, Pull,
    Role, Run, Text,
};
use flipside::core::world::Labels;
use flipside::engine::Spec;
use flipside::plan::Inputs;

static NOTHING: BTreeMap<String, String> = BTreeMap::new();

/// What a plan is read with where nobody gives it any values.
pub static NO_INPUTS: Inputs<'static> = Inputs {
    overrides: &NOTHING,
    vars: &NOTHING,
    name: None,
    digest_key: &[0; 32],
};

pub fn role_name(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

/// A role that says nothing but its image.
pub fn role(image: ImageSource) -> Role {
    Role {
        run: Run::Always,
        image,
        pull: Pull::Missing,
        command: None,
        entrypoint: None,
        environment: BTreeMap::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        tmpfs: BTreeMap::new(),
        healthcheck: None,
        depends_on: BTreeMap::new(),
        timeout_ms: 60_000,
        replicas: 1,
        limits: Limits::default(),
        stop_signal: None,
        stop_grace_ms: 2_000,
        user: None,
        working_dir: None,
        read_only: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        ulimits: BTreeMap::new(),
        labels: BTreeMap::new(),
        init: None,
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        networks: Vec::new(),
        hostname: None,
        expose: Vec::new(),
        aliases: Vec::new(),
        network_of: None,
        tty: false,
        stdin_open: false,
        sysctls: BTreeMap::new(),
        logging: None,
        group_add: Vec::new(),
        dns_search: Vec::new(),
        platform: None,
        host: Host::default(),
    }
}

/// A spec with these roles, of which `web` gets the traffic on port 8080.
pub fn spec(service: &ServiceName, release: u64, roles: Vec<(&str, Role)>) -> Spec {
    let exposed = Exposed {
        role: role_name("web"),
        port: 8080,
    };
    let probes = vec![Probe {
        role: role_name("web"),
        kind: ProbeKind::Tcp { port: 8080 },
        interval_ms: 200,
        timeout_ms: 1_000,
        initial_delay_ms: 0,
        passes: 1,
        failures: 3,
        deadline_ms: 30_000,
    }];
    let pointer: flipside::core::plan::PointerPlan =
        serde_json::from_str(r#"{"proxy":{"listen":"127.0.0.1:0","hosts":[]}}"#).unwrap();
    let roles = roles
        .into_iter()
        .map(|(name, role)| (role_name(name), role));
    Spec {
        plan: Plan {
            service: service.clone(),
            roles: roles.collect(),
            shared: BTreeMap::new(),
            project: None,
            compose_files: Vec::new(),
            external_networks: BTreeMap::new(),
            external_volumes: BTreeSet::new(),
            exposed: exposed.clone(),
            probes: probes.clone(),
            hooks: Vec::new(),
            pointer: pointer.clone(),
            policy: Policy::default(),
            engine: None,
            pools: Pools::default(),
            hidden: Vec::new(),
        },
        release: Release(release),
        slot: Slot::Blue,
        labels: Labels {
            exposed,
            probes,
            pointer,
            policy: Policy::default(),
            sharing: None,
        },
        opened_with: 1,
    }
}

pub fn set(role: &mut Role, name: &str, value: &str) {
    role.environment.insert(name.into(), Text::public(value));
}

pub fn depends(role: &mut Role, on: &str, condition: Condition) {
    role.depends_on.insert(role_name(on), condition);
}

pub fn words(words: &[&str]) -> Vec<Text> {
    words.iter().map(|&word| Text::public(word)).collect()
}
