//! The top level of a plan, section by section.

use std::collections::BTreeMap;

use super::account::Fate;
use super::compose::{Kind, Whole};
use super::fields::{Field, Fields};
use super::nearest::nearest;
use super::probes::Around;
use super::read::Reader;
use super::source::Span;
use super::store::{self, Declared, Section};
use super::tree::{Node, Value};
use super::{expose, files, hooks, networks, pointer, probes, service, taken, unused};
use crate::core::plan::{Hook, Plan, Policy, Pools, Role, Run, StandbyMode};
use crate::core::{RoleName, ServiceName};

/// Sections that later versions have, and those of other tools.
const ADVICE: &[(&str, &str)] = &[
    (
        "gates",
        "remove it: for now failing probes during `bake` switch back",
    ),
    ("include", "write the roles under `services`"),
    ("version", "remove it"),
    ("cells", "write one plan for each"),
    ("waves", "write one plan for each"),
    ("resolvers", "remove it"),
    ("preview", "remove it"),
];

/// Reads a whole plan; what is wrong is left in `reader`.
pub(super) fn plan(
    reader: &mut Reader<'_>,
    whole: &Whole,
    given_name: Option<&str>,
) -> Option<Plan> {
    let root = &whole.root;
    let mut fields = reader.fields(root, "", "a map of keys")?;
    fields.ignore_extensions(reader);
    for read_before in ["compose", "project", "profiles", "ignore"] {
        fields.take_even_empty(read_before);
    }
    // What the plan as a whole lacks is said at its beginning.
    let start = Span {
        file: root.span.file,
        line: root.span.line,
        column: root.span.column,
        start: root.span.start,
        end: root.span.start,
    };
    let missing = (
        "this plan has no `name`",
        "add `name: shop`, the service's name, or give `--name`",
    );
    let written = match given_name {
        Some(_) => fields.take_full(reader, "name"),
        None => fields.take_required(reader, "name", start, missing),
    };
    let service = name(reader, written, start, given_name);
    let declared = declared(reader, &mut fields);
    let services = match whole.kind {
        // Why no file of those that it names has been read was said.
        Kind::Unread => fields.take_full(reader, "services"),
        Kind::Alone | Kind::Read => {
            let missing = match whole.kind {
                Kind::Read => (
                    "neither this plan nor its Compose files have `services`",
                    "name a file that has them: `compose: compose.yaml`",
                ),
                _ => (
                    "this plan has no `services`",
                    "add `compose: compose.yaml`, or `services: {web: {image: NAME:TAG}}`",
                ),
            };
            fields.take_required(reader, "services", start, missing)
        }
    };
    let roles =
        services.and_then(|field| service::roles(reader, field.node, &declared, service.as_ref()));
    unused::check(reader, whole, &declared, roles.as_ref());
    let missing = (
        "this plan has no `pointer`, so nothing would send it traffic",
        "add `pointer: {proxy: {listen: \":8080\"}}`",
    );
    let given_pointer = fields.take_required(reader, "pointer", start, missing);
    let pointer = given_pointer.and_then(|field| pointer::pointer(reader, field));
    let expose = fields.take_full(reader, "expose");
    let wanted = fields.take_required(reader, "probes", start, probes::MISSING);
    let mut policy = policy(reader, &mut fields);
    let settle = fields.take_full(reader, "settle");
    let engine = fields
        .take_full(reader, "engine")
        .and_then(|field| engine(reader, field.node));
    let given_hooks = fields.take_full(reader, "hooks");
    let given_pools = fields.take_full(reader, "pools");
    let pools = pools(reader, given_pools);
    fields.finish(reader, ADVICE);
    let roles = roles?;
    if let (Some(field), Some(pointer)) = (given_pointer, &pointer) {
        taken::listener(reader, field.key, pointer, &roles.shared);
    }
    let hooks = given_hooks.map(|field| hooks::hooks(reader, field, Some(&roles)));
    let hidden = declared.secrets.values().filter_map(files::hidden);
    let hidden = hidden.collect();
    workers(reader, settle, &roles.roles, &mut policy);
    let exposed = expose::exposed(reader, expose.map(|field| field.node), start, &roles);
    let around = Around {
        roles: &roles,
        exposed: exposed.as_ref(),
        pointer: pointer.as_ref(),
    };
    let wanted = wanted?;
    let probes = probes::probes(reader, wanted, &around);
    if probes.is_empty() && policy.bake_ms > 0 {
        reader.note(
            wanted.key,
            "without probes nothing can fail during the bake",
        );
    }
    Some(Plan {
        service: service?,
        roles: roles.roles,
        shared: roles.shared,
        project: whole.project.clone(),
        compose_files: whole.undecided.clone(),
        external_networks: networks::external(declared.networks),
        external_volumes: store::external_volumes(&declared.volumes),
        exposed: exposed?,
        probes,
        hooks: hooks.unwrap_or_default(),
        pointer: pointer?,
        policy,
        engine,
        pools,
        hidden,
    })
}

/// Reads the hooks that run on the deployer, whatever the rest of the plan says.
pub(super) fn hooks_alone(reader: &mut Reader<'_>, root: &Node) -> Vec<Hook> {
    let fields = reader.fields(root, "", "a map of keys");
    let given = fields.and_then(|mut fields| fields.take_full(reader, "hooks"));
    given.map_or_else(Vec::new, |field| hooks::hooks(reader, field, None))
}

fn name(
    reader: &mut Reader<'_>,
    field: Option<Field<'_>>,
    start: Span,
    given: Option<&str>,
) -> Option<ServiceName> {
    if let Some(given) = given {
        if let Some(field) = field {
            reader.became(field.node, Fate::Overridden);
        }
        return match ServiceName::new(given) {
            Ok(name) => Some(name),
            Err(bad) => {
                reader.wrong(
                    start,
                    format!("`--name {}` is not a {}", bad.name, bad.what),
                    bad.rule,
                );
                None
            }
        };
    }
    let node = field?.node;
    let (text, span) = (reader.public(node, "the service's name")?, node.span);
    match ServiceName::new(text) {
        Ok(name) => Some(name),
        Err(bad) => {
            reader.wrong(
                span,
                format!("`{}` is not a {}", bad.name, bad.what),
                bad.rule,
            );
            None
        }
    }
}

fn declared(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Declared {
    let mut declared = Declared::default();
    if let Some(field) = fields.take("volumes") {
        declared.volumes = store::volumes(reader, field.node);
    }
    if let Some(field) = fields.take("secrets") {
        declared.secrets = store::contents(reader, field.node, Section::Secrets);
    }
    if let Some(field) = fields.take("configs") {
        declared.configs = store::contents(reader, field.node, Section::Configs);
    }
    if let Some(field) = fields.take("networks") {
        declared.networks = networks::declared(reader, field.node);
        networks::note_folding(reader, field.key, &declared.networks);
    }
    if let Some(field) = fields.take_full(reader, "shared_paths") {
        declared.shared_paths = store::paths(reader, field.node);
    }
    if let Some(field) = fields.take_full(reader, "copied_paths") {
        declared.copied_paths = store::paths(reader, field.node);
    }
    declared
}

fn policy(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Policy {
    let mut policy = Policy::default();
    if let Some(field) = fields.take_full(reader, "strategy") {
        strategy(reader, field.node);
    }
    if let Some(field) = fields.take_full(reader, "bake") {
        policy.bake_ms = reader.duration(field.node).unwrap_or(0);
        if policy.bake_ms == 0 {
            reader.note(
                field.key,
                "`bake: 0s` is the default: nothing watches the release after the switch",
            );
        }
    }
    if let Some(field) = fields.take_full(reader, "drain") {
        let limit = match &field.node.value {
            Value::Map(_) => only(reader, field.node, "drain", "limit"),
            _ => reader.duration(field.node),
        };
        policy.drain_ms = limit.unwrap_or(policy.drain_ms);
    }
    if let Some(field) = fields.take_full(reader, "stand_up") {
        let deadline = only(reader, field.node, "stand_up", "deadline");
        policy.stand_up_ms = deadline.unwrap_or(policy.stand_up_ms);
    }
    if let Some(field) = fields.take_full(reader, "rollback") {
        let proof = only(reader, field.node, "rollback", "proof");
        policy.proof_ms = proof.unwrap_or(policy.proof_ms);
    }
    if let Some(field) = fields.take_full(reader, "standby") {
        standby(reader, field.node, &mut policy);
    }
    policy
}

/// How live-only roles come and go.
fn workers(
    reader: &mut Reader<'_>,
    settle: Option<Field<'_>>,
    roles: &BTreeMap<RoleName, Role>,
    policy: &mut Policy,
) {
    let workers = roles.values().filter(|role| role.run == Run::LiveOnly);
    let grace = workers.map(|role| role.stop_grace_ms).max();
    policy.grace_ms = grace.unwrap_or(0);
    let Some(field) = settle else { return };
    policy.settle_ms = reader.duration(field.node).unwrap_or(policy.settle_ms);
    if grace.is_none() {
        reader.note(
            field.key,
            "no role is `run: live-only`, so nothing has to settle",
        );
    }
}

/// A section of one duration, which must not be 0.
fn only(reader: &mut Reader<'_>, node: &Node, section: &str, name: &'static str) -> Option<u64> {
    let mut fields = reader.fields(node, section, &format!("`{name}: 30s`"))?;
    let found = fields.take_full(reader, name).and_then(|field| {
        let found = reader.duration(field.node)?;
        if found == 0 && name != "limit" {
            reader.wrong(
                field.node.span,
                format!("`{name}` cannot be 0"),
                "write a duration such as `1s`",
            );
        }
        Some(found)
    });
    fields.finish(reader, &[]);
    found
}

fn strategy(reader: &mut Reader<'_>, node: &Node) {
    const HELP: &str = "write `strategy: all-at-once`, or remove the line";
    match &node.value {
        Value::Map(entries) => {
            if entries.is_empty() {
                reader.wrong(node.span, "`strategy` says nothing", HELP);
            }
            for (key, _) in entries {
                let message = match key.text.as_str() {
                    "canary" => "`canary` is not available in this version".to_owned(),
                    other => format!("`{other}` is not a strategy"),
                };
                reader.wrong(key.span, message, HELP);
            }
        }
        _ => {
            let Some(text) = reader.public(node, "`all-at-once`") else {
                return;
            };
            if text == "canary" {
                reader.wrong(node.span, "`canary` is not available in this version", HELP);
            } else if text != "all-at-once" {
                let help = match nearest(&text, ["all-at-once"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => HELP.to_owned(),
                };
                reader.wrong(node.span, format!("`{text}` is not a strategy"), help);
            }
        }
    }
}

fn standby(reader: &mut Reader<'_>, node: &Node, policy: &mut Policy) {
    let Some(mut fields) = reader.fields(node, "standby", "`keep: 1`") else {
        return;
    };
    if let Some(field) = fields.take_full(reader, "keep") {
        policy.keep = reader.count(field.node, 0, 1000).unwrap_or(policy.keep);
        if policy.keep == 0 {
            reader.note(
                field.key,
                "`keep: 0` means that nothing is left to roll back to",
            );
        }
    }
    if let Some(field) = fields.take_full(reader, "for") {
        policy.keep_for_ms = reader.duration(field.node).unwrap_or(0);
    }
    if let Some(field) = fields.take_full(reader, "max") {
        policy.max = reader.count(field.node, 1, 1000);
        if policy.max.is_some_and(|max| max < policy.keep) {
            reader.wrong(
                field.node.span,
                format!(
                    "fewer are allowed at most than `keep: {}` asks for",
                    policy.keep
                ),
                "raise `max`, or lower `keep`",
            );
        }
    }
    if let Some(field) = fields.take_full(reader, "mode") {
        match reader.choice(
            field.node,
            "way for a standby to wait",
            &["running", "frozen", "stopped"],
        ) {
            Some("frozen") => policy.standby_mode = StandbyMode::Frozen,
            Some("stopped") => policy.standby_mode = StandbyMode::Stopped,
            Some(_) => policy.standby_mode = StandbyMode::Running,
            None => {}
        }
    }
    fields.finish(reader, &[]);
}

fn engine(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "an address such as `unix:///var/run/docker.sock`")?;
    let schemes = ["unix://", "tcp://", "http://", "https://", "ssh://"];
    if !schemes
        .iter()
        .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
    {
        reader.wrong(
            node.span,
            format!("`{text}` is not the address of an engine"),
            "write `unix:///PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`",
        );
        return None;
    }
    Some(text)
}

fn pools(reader: &mut Reader<'_>, field: Option<Field<'_>>) -> Pools {
    let mut pools = Pools::default();
    let Some(field) = field else { return pools };
    let Some(mut fields) = reader.fields(field.node, "pools", "`networks: 10.213.0.0/16`") else {
        return pools;
    };
    if let Some(field) = fields.take_full(reader, "networks")
        && let Some(text) = reader.public(field.node, "a subnet such as `10.213.0.0/16`")
        && let Some(found) = reader.unit(field.node, &text, "pool of subnets", subnet(&text))
    {
        pools.networks = found;
    }
    if let Some(field) = fields.take_full(reader, "ports")
        && let Some(text) = reader.public(field.node, "a range such as `20000-29999`")
        && let Some(found) = reader.unit(field.node, &text, "range of ports", port_range(&text))
    {
        pools.ports = found;
        if found.1 >= EPHEMERAL.0 && found.0 <= EPHEMERAL.1 {
            reader.note(
                field.key,
                format!(
                    "the kernel gives ports from {} to {} to outgoing connections: one of these may be \
                     taken when a container is started again",
                    EPHEMERAL.0, EPHEMERAL.1
                ),
            );
        }
    }
    fields.finish(reader, &[]);
    pools
}

/// The ports that Linux gives to outgoing connections unless it is told otherwise
/// (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let wrong = || "write the first and the last port, such as `20000-29999`".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
    let (first, last) = (port(first)?, port(last)?);
    if first == 0 {
        return Err(wrong());
    }
    if first > last {
        return Err(format!(
            "the first port comes first: write `{last}-{first}`"
        ));
    }
    Ok((first, last))
}

fn subnet(text: &str) -> Result<(std::net::Ipv4Addr, u8), String> {
    let wrong = || "write an IPv4 subnet such as `10.213.0.0/16`".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if prefix > 26 {
        return Err("one environment takes a /26: write a prefix of 26 or less".to_owned());
    }
    if prefix < 8 {
        return Err("write a prefix of 8 or more".to_owned());
    }
    let base = u32::from(address) & (u32::MAX << (32 - u32::from(prefix)));
    let base = std::net::Ipv4Addr::from(base);
    if base != address {
        return Err(format!(
            "it has bits below its prefix: write `{base}/{prefix}`"
        ));
    }
    Ok((address, prefix))
}
