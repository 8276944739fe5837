//! `services`: each entry a role, in Compose's words.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::Fields;
use super::order::{self, Wishes};
use super::read::Reader;
use super::store::Declared;
use super::tree::{Key, Node, Span, Value};
use super::{
    command, environment, expose, healthcheck, image, job, limits, networks, process, volumes,
};
use crate::core::plan::{Host, Role, Run};
use crate::core::{RoleName, ServiceName};

/// Compose's keys that mean something here is expected which this version does not do.
const ADVICE: &[(&str, &str)] = &[
    (
        "ports",
        "the pointer is the way in: remove it and name the port in the top-level `expose: ROLE:PORT`",
    ),
    (
        "container_name",
        "remove it: several releases stand side by side, so names are flipside's",
    ),
    (
        "network_mode",
        "remove it: an environment has a network of its own",
    ),
    ("links", "remove it: roles reach each other by name"),
    (
        "external_links",
        "join an external network under `networks`",
    ),
    ("profiles", "write `run: never` to leave a role out"),
    (
        "extends",
        "write the keys out, or use an anchor (`&name`, `<<: *name`)",
    ),
    ("privileged", "grant what is needed with `cap_add`"),
    ("devices", "remove it"),
    ("pid", "remove it"),
    ("ipc", "remove it"),
    ("logging", "remove it: logs are rotated by default"),
    ("scale", "write `deploy: {replicas: N}`"),
    (
        "platform",
        "remove it: images are chosen for the engine they run on",
    ),
    ("sysctls", "remove it"),
    ("domainname", "write the whole name as `hostname`"),
    (
        "mem_reservation",
        "write `deploy: {resources: {reservations: {memory: …}}}`",
    ),
    ("memswap_limit", "remove it"),
    ("mac_address", "remove it"),
    ("tty", "remove it"),
    ("stdin_open", "remove it"),
    ("group_add", "write the group in `user: UID:GID`"),
    ("volumes_from", "name the volumes under `volumes`"),
    ("dns_search", "remove it"),
    ("dns_opt", "remove it"),
    ("develop", "remove it"),
    ("userns_mode", "remove it"),
    ("runtime", "remove it"),
    ("oom_score_adj", "remove it"),
    ("annotations", "write `labels`"),
    (
        "post_start",
        "write `hooks: {before_switch: […]}` at the top level",
    ),
    (
        "pre_stop",
        "write `hooks: {after_switch: […]}` at the top level",
    ),
    ("gpus", "remove it"),
    ("cpuset", "write `cpus`"),
    ("cpu_shares", "write `cpus`"),
    ("cpu_quota", "write `cpus`"),
    ("cpu_period", "write `cpus`"),
    ("cgroup", "remove it"),
    ("cgroup_parent", "remove it"),
    ("label_file", "write `labels`"),
    ("oom_kill_disable", "remove it"),
    ("mem_swappiness", "remove it"),
    ("blkio_config", "remove it"),
];

/// The roles of a plan, and the names of those it leaves out.
#[derive(Default)]
pub(super) struct Roles {
    pub roles: BTreeMap<RoleName, Role>,
    pub shared: BTreeMap<RoleName, Role>,
    pub left_out: BTreeSet<String>,
}

/// The top level's `services`.
pub(super) fn roles(
    reader: &mut Reader<'_>,
    node: &Node,
    declared: &Declared,
    service: Option<&ServiceName>,
) -> Option<Roles> {
    let Value::Map(entries) = &node.value else {
        reader.expected(node, "`ROLE:` with its keys below, for each role");
        return None;
    };
    let mut found = Roles::default();
    let mut wishes: BTreeMap<RoleName, Wishes> = BTreeMap::new();
    let mut folded: BTreeMap<String, Span> = BTreeMap::new();
    let mut complete = true;
    for (key, value) in entries {
        let Some(name) = role_name(reader, key, &mut folded) else {
            complete = false;
            continue;
        };
        let place = format!("services.{name}");
        let Some(mut fields) =
            reader.fields(value, &place, "the role's keys, such as `image: NAME:TAG`")
        else {
            complete = false;
            continue;
        };
        fields.ignore_extensions();
        let run = run(reader, &mut fields);
        match run {
            Some(Run::Always | Run::LiveOnly | Run::Once | Run::Shared) => {}
            Some(Run::Never) => {
                found.left_out.insert(key.text.clone());
                continue;
            }
            None => complete = false,
        }
        let at = At {
            key: key.span,
            run: run.unwrap_or_default(),
        };
        match role(reader, fields, &at, declared, service) {
            Some((role, wanted)) => {
                wishes.insert(name.clone(), wanted);
                let kind = match role.run {
                    Run::Shared => &mut found.shared,
                    _ => &mut found.roles,
                };
                kind.insert(name, role);
            }
            None => complete = false,
        }
    }
    if !complete {
        return None;
    }
    if found.roles.is_empty() {
        reader.wrong(
            node.span,
            "this plan has no role that runs",
            "add one: `web: {image: NAME:TAG}`",
        );
        return None;
    }
    order::settle(reader, &mut found, &wishes);
    Some(found)
}

fn role_name(
    reader: &mut Reader<'_>,
    key: &Key,
    folded: &mut BTreeMap<String, Span>,
) -> Option<RoleName> {
    let name = match RoleName::new(key.text.clone()) {
        Ok(name) => name,
        Err(bad) => {
            reader.wrong(
                key.span,
                format!("`{}` is not a {}", bad.name, bad.what),
                bad.rule,
            );
            return None;
        }
    };
    // Names are looked up without regard to case once they are host names.
    if let Some(first) = folded.insert(key.text.to_ascii_lowercase(), key.span) {
        reader.wrong(
            key.span,
            format!(
                "`{name}` and the role on line {} are the same host name",
                first.line
            ),
            "give one of them another name",
        );
    }
    Some(name)
}

fn run(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Run> {
    let Some(field) = fields.take_full(reader, "run") else {
        return Some(Run::Always);
    };
    match reader.choice(
        field.node,
        "way to run a role",
        &["always", "never", "live-only", "once", "shared"],
    )? {
        "always" => Some(Run::Always),
        "live-only" => Some(Run::LiveOnly),
        "once" => Some(Run::Once),
        "shared" => Some(Run::Shared),
        _ => Some(Run::Never),
    }
}

/// Where a role stands, and when it runs.
struct At {
    key: Span,
    run: Run,
}

fn role(
    reader: &mut Reader<'_>,
    mut fields: Fields<'_>,
    at: &At,
    declared: &Declared,
    service: Option<&ServiceName>,
) -> Option<(Role, Wishes)> {
    let image = image::source(reader, &mut fields, at.key);
    let pull = image::pull(reader, &mut fields, image.as_ref());
    let environment = environment::environment(reader, &mut fields);
    let read_only = fields
        .take("read_only")
        .map(|field| (field.key, reader.boolean(field.node)));
    let read_only_place = read_only.and_then(|(place, on)| (on == Some(true)).then_some(place));
    let mounted = volumes::mounted(reader, &mut fields, declared, service, read_only_place);
    let replicas_place = job::replicas_place(&fields);
    let (replicas, limits) = limits::limits(reader, &mut fields);
    if at.run == Run::Once {
        job::check_replicas(reader, replicas_place, replicas);
    }
    let timeout_ms = job::timeout(reader, &mut fields, at.run);
    let mut words = [None, None];
    for (slot, name) in words.iter_mut().zip(["command", "entrypoint"]) {
        let place = fields.below(name);
        if let Some(field) = fields.take(name) {
            *slot = command::command(reader, field.node, &place);
        }
    }
    let [command, entrypoint] = words;
    let healthcheck_place = fields.below("healthcheck");
    let healthcheck = fields
        .take("healthcheck")
        .and_then(|field| healthcheck::healthcheck(reader, field.node, &healthcheck_place));
    let depends_place = fields.below("depends_on");
    let wanted = fields
        .take("depends_on")
        .map(|field| order::wishes(reader, field.node, &depends_place))
        .unwrap_or_default();
    if let Some(field) = fields.take("restart") {
        restart(reader, field.node, at.run);
    }
    let stop_signal = fields
        .take("stop_signal")
        .and_then(|field| process::signal(reader, field.node));
    let mut stop_grace_ms = 10_000;
    if let Some(field) = fields.take("stop_grace_period") {
        stop_grace_ms = reader.duration(field.node).unwrap_or(stop_grace_ms);
        if stop_grace_ms == 0 {
            reader.note(
                field.key,
                "`stop_grace_period: 0s` kills the containers at once",
            );
        }
    }
    let user = fields
        .take("user")
        .and_then(|field| user(reader, field.node));
    let working_dir = fields
        .take("working_dir")
        .and_then(|field| directory(reader, field.node));
    let cap_add = fields
        .take("cap_add")
        .map(|field| process::capabilities(reader, field.node))
        .unwrap_or_default();
    let cap_drop = fields
        .take("cap_drop")
        .map(|field| process::capabilities(reader, field.node))
        .unwrap_or_default();
    let security_opt = fields
        .take("security_opt")
        .map(|field| process::security_options(reader, field.node))
        .unwrap_or_default();
    let ulimits_place = fields.below("ulimits");
    let ulimits = fields
        .take("ulimits")
        .map(|field| limits::ulimits(reader, field.node, &ulimits_place))
        .unwrap_or_default();
    let labels = fields
        .take("labels")
        .map(|field| environment::labels(reader, field.node))
        .unwrap_or_default();
    let init = fields
        .take("init")
        .and_then(|field| reader.boolean(field.node));
    let extra_hosts = fields
        .take("extra_hosts")
        .map(|field| networks::extra_hosts(reader, field.node))
        .unwrap_or_default();
    let dns = fields
        .take("dns")
        .map(|field| networks::dns(reader, field.node))
        .unwrap_or_default();
    let networks_place = fields.below("networks");
    let joined = fields
        .take("networks")
        .map(|field| networks::joined(reader, field.node, &networks_place, &declared.networks))
        .unwrap_or_default();
    let hostname = networks::hostname(reader, &mut fields, &joined);
    let expose = fields
        .take("expose")
        .map(|field| expose::ports(reader, field.node))
        .unwrap_or_default();
    fields.finish(reader, ADVICE);
    let role = Role {
        run: at.run,
        image: image?,
        pull,
        command,
        entrypoint,
        environment,
        files: mounted.files,
        mounts: mounted.mounts,
        tmpfs: mounted.tmpfs,
        healthcheck,
        depends_on: BTreeMap::new(),
        timeout_ms,
        replicas,
        limits,
        stop_signal,
        stop_grace_ms,
        user,
        working_dir,
        read_only: read_only_place.is_some(),
        cap_add,
        cap_drop,
        security_opt,
        ulimits,
        labels,
        init,
        extra_hosts,
        dns,
        networks: joined,
        hostname,
        expose,
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
    };
    Some((role, wanted))
}

/// `restart`: any of Compose's values is accepted and becomes `unless-stopped`, but for jobs.
fn restart(reader: &mut Reader<'_>, node: &Node, run: Run) {
    let Some(text) = reader.public(node, "`unless-stopped`") else {
        return;
    };
    let (policy, most) = text.split_once(':').unwrap_or((&text, ""));
    let good = match policy {
        "no" | "always" | "unless-stopped" => most.is_empty() && !text.contains(':'),
        "on-failure" => !text.contains(':') || most.parse::<u32>().is_ok(),
        _ => false,
    };
    if !good {
        reader.wrong(
            node.span,
            format!("`{text}` is not a restart policy"),
            "write `restart: unless-stopped`, or remove the line",
        );
    } else if run == Run::Once {
        job::restart(reader, node, policy);
    } else if policy != "unless-stopped" {
        reader.note(node.span, format!("`restart: {text}` becomes `unless-stopped`: an environment comes back after a reboot"));
    }
}

fn user(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "`UID`, `UID:GID` or a name")?;
    let parts: Vec<_> = text.split(':').collect();
    let good = |part: &&str| !part.is_empty() && !part.contains(char::is_whitespace);
    if parts.len() > 2 || !parts.iter().all(good) {
        reader.wrong(
            node.span,
            format!("`{text}` is not a user"),
            "write `UID`, `UID:GID` or a name",
        );
        return None;
    }
    Some(text)
}

fn directory(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "an absolute path")?;
    if !text.starts_with('/') {
        reader.wrong(
            node.span,
            format!("`{text}` is not an absolute path"),
            format!("write `/{text}`"),
        );
        return None;
    }
    Some(text)
}
