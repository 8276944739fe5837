//! `deploy`, `cpus`, `mem_limit`, `pids_limit`, `shm_size` and `ulimits`: how many and how large.

use std::collections::BTreeMap;

use super::fields::{Field, Fields, instead, take_away};
use super::read::Reader;
use super::role::At;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::plan::{Limits, Run};

/// How many containers one role may have.
const MOST_REPLICAS: u32 = 1000;

/// How much of a CPU the engine gives at least.
const LEAST_CPUS: f64 = 0.01;

/// What is for Swarm, and what holds here.
const SWARMS: [(&str, &str); 7] = [
    ("mode", "`replicas` says how many there are"),
    (
        "labels",
        "they are a Swarm service's, and no container has them",
    ),
    (
        "restart_policy",
        "containers are restarted unless they are stopped",
    ),
    ("update_config", "a new release never updates an old one"),
    ("rollback_config", "a rollback is a pointer move"),
    ("placement", "there is one engine"),
    ("endpoint_mode", "roles reach each other by name"),
];

/// Replicas, at least 1, and the limits of each.
pub(super) fn limits(reader: &mut Reader<'_>, role: &mut Fields<'_>, at: &At<'_>) -> (u32, Limits) {
    let mut limits = Limits::default();
    let mut replicas = 1;
    let memory = role.take("mem_limit");
    limits.memory = memory.and_then(|field| memory_limit(reader, field.node));
    let deploy = role.take("deploy");
    let place = role.below("deploy");
    if let Some(field) = role.take("scale") {
        replicas = replica_count(reader, field.node, &role.path);
    }
    let scale = role.is_known("scale").then_some(replicas);
    limits.memory_reservation = role
        .take("mem_reservation")
        .and_then(|field| memory_limit(reader, field.node));
    if let Some(field) = role.take("cpus") {
        limits.nano_cpus = nano_cpus(reader, field.node);
    }
    if let Some(field) = role.take("shm_size") {
        limits.shm = reader.size(field.node);
    }
    if let Some(field) = role.take("pids_limit") {
        limits.pids = pids(reader, field.node);
    }
    if let Some(field) = deploy
        && let Some(mut fields) = reader.fields(field.node, &place, "`replicas:` and `resources:`")
    {
        if let Some(field) = fields.take("replicas") {
            let found = replica_count(reader, field.node, &role.path);
            if scale.is_some_and(|scale| scale != found) {
                differs(reader, field.node.span, at.name.as_str(), "scale");
            }
            replicas = found;
        }
        if let Some(field) = fields.take("resources") {
            resources(
                reader,
                field.node,
                (at.name.as_str(), &fields.below("resources")),
                &mut limits,
            );
        }
        job_of_a_swarm(reader, &fields, at);
        for (name, why) in SWARMS {
            if let Some(field) = fields.take(name) {
                reader.translated(field, format!("`deploy.{name}` means nothing here: {why}"));
            }
        }
        fields.finish(reader, &[]);
    }
    // Which counts the memory, wherever that is said.
    if let Some(field) = role.take("memswap_limit") {
        limits.memory_swap = memory_and_swap(reader, field, &role.path, limits.memory);
    }
    (replicas, limits)
}

/// What Swarm runs to its end is a job here, which the plan has to say.
fn job_of_a_swarm(reader: &mut Reader<'_>, deploy: &Fields<'_>, at: &At<'_>) {
    let Some(field) = deploy.peek("mode") else {
        return;
    };
    let Value::Scalar { text, .. } = &field.node.value else {
        return;
    };
    if !runs_to_its_end(text) || at.run == Run::Once {
        return;
    }
    let (name, away) = (at.name, take_away(field.key, &deploy.path, "mode"));
    reader.wrong(
        field.node.span,
        format!(
            "`{name}` runs to its end in a Swarm, and `run: {}` goes on running",
            at.run.as_str()
        ),
        format!("write `services: {{{name}: {{run: once}}}}`; if it does go on running, {away}"),
    );
}

/// Whether a `deploy.mode` is a job's.
pub(super) fn runs_to_its_end(mode: &str) -> bool {
    matches!(mode, "replicated-job" | "global-job")
}

/// Two lines of one role that say different things.
fn differs(reader: &mut Reader<'_>, span: Span, role: &str, other: &str) {
    let help = match span.is_compose() {
        false => format!("remove one of them: `{other}` or this line"),
        true => {
            let away = take_away(span, &format!("services.{role}"), other);
            format!("let this line hold: {away}")
        }
    };
    let message = format!("this differs from the role's `{other}`");
    reader.wrong(span, message, help);
}

fn replica_count(reader: &mut Reader<'_>, node: &Node, path: &str) -> u32 {
    let zero = matches!(&node.value, Value::Scalar { text, .. } if text == "0");
    if zero {
        reader.used(node);
        let leave_out = match node.span.is_compose() {
            false => "write `run: never` on the role to leave it out".to_owned(),
            true => instead(node.span, path, "run: never"),
        };
        reader.wrong(node.span, "a role has at least one replica", leave_out);
        return 1;
    }
    reader.count(node, 1, MOST_REPLICAS).unwrap_or(1)
}

fn resources(
    reader: &mut Reader<'_>,
    node: &Node,
    (role, place): (&str, &str),
    limits: &mut Limits,
) {
    let Some(mut fields) = reader.fields(node, place, "`limits:` and `reservations:`") else {
        return;
    };
    if let Some(field) = fields.take("limits")
        && let Some(mut inner) = reader.fields(
            field.node,
            &fields.below("limits"),
            "`cpus`, `memory` and `pids`",
        )
    {
        if let Some(field) = inner.take("cpus") {
            let found = nano_cpus(reader, field.node);
            agree(reader, field, (role, "cpus"), &mut limits.nano_cpus, found);
        }
        if let Some(field) = inner.take("memory") {
            let found = memory_limit(reader, field.node);
            agree(
                reader,
                field,
                (role, "mem_limit"),
                &mut limits.memory,
                found,
            );
        }
        if let Some(field) = inner.take("pids") {
            let found = pids(reader, field.node);
            agree(reader, field, (role, "pids_limit"), &mut limits.pids, found);
        }
        inner.finish(reader, &[("devices", "remove it")]);
    }
    if let Some(field) = fields.take("reservations")
        && let Some(mut inner) =
            reader.fields(field.node, &fields.below("reservations"), "`memory`")
    {
        if let Some(field) = inner.take("memory") {
            let found = memory_limit(reader, field.node);
            agree(
                reader,
                field,
                (role, "mem_reservation"),
                &mut limits.memory_reservation,
                found,
            );
            if let (Some(reserved), Some(limit)) = (limits.memory_reservation, limits.memory)
                && reserved > limit
            {
                reader.wrong(
                    field.node.span,
                    "more memory is reserved than the limit allows",
                    "lower the reservation or raise the limit",
                );
            }
        }
        if let Some(field) = inner.take("cpus") {
            nano_cpus(reader, field.node);
            reader.note(
                field.key,
                "an engine on its own reserves no CPUs: this line changes nothing",
            );
        }
        inner.finish(
            reader,
            &[
                ("devices", "remove it: GPUs are not handed out"),
                ("pids", "write it under `limits`"),
            ],
        );
    }
    fields.finish(reader, &[]);
}

/// Two places that say the same thing must not say different things.
fn agree(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    (role, other): (&str, &str),
    slot: &mut Option<i64>,
    found: Option<i64>,
) {
    if slot.is_some() && found.is_some() && *slot != found {
        differs(reader, field.node.span, role, other);
    } else if found.is_some() {
        *slot = found;
    }
}

/// Memory and swap together, which is no less than the memory; -1 for as much swap as there is.
fn memory_and_swap(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    role: &str,
    memory: Option<i64>,
) -> Option<i64> {
    let node = field.node;
    if matches!(&node.value, Value::Scalar { text, .. } if text == "-1") {
        reader.used(node);
        return Some(-1);
    }
    let both = memory_limit(reader, node)?;
    match memory {
        None => reader.wrong(
            node.span,
            "`memswap_limit` is memory and swap together, and there is no `mem_limit`",
            match node.span.is_compose() {
                false => "add `mem_limit`, or remove this line".to_owned(),
                true => format!(
                    "add `mem_limit`, or {}",
                    take_away(field.key, role, "memswap_limit")
                ),
            },
        ),
        Some(memory) if both < memory => reader.wrong(
            node.span,
            "memory and swap together are less than `mem_limit`",
            match node.span.is_compose() {
                false => "raise this one: it counts the memory too".to_owned(),
                true => format!(
                    "it counts the memory too; {}",
                    take_away(field.key, role, "memswap_limit")
                ),
            },
        ),
        Some(_) => return Some(both),
    }
    None
}

/// A limit of memory; the engine takes no less than 6 MiB.
fn memory_limit(reader: &mut Reader<'_>, node: &Node) -> Option<i64> {
    let bytes = reader.size(node)?;
    if bytes == 0 && node.span.is_compose() {
        return None;
    }
    if bytes < 6 << 20 {
        reader.wrong(
            node.span,
            "no container starts with so little memory",
            "write `6MiB` or more",
        );
        return None;
    }
    Some(bytes)
}

fn nano_cpus(reader: &mut Reader<'_>, node: &Node) -> Option<i64> {
    let text = reader.public(node, "a number of CPUs such as `0.5`")?;
    let digits = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    match text
        .parse::<f64>()
        .ok()
        .filter(|cpus| digits && *cpus <= 4096.0)
    {
        // In Compose, no limit.
        Some(cpus) if cpus == 0.0 && node.span.is_compose() => None,
        Some(cpus) if cpus < LEAST_CPUS => {
            reader.wrong(
                node.span,
                "no container starts with so little of a CPU",
                "write `0.01` or more",
            );
            None
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 4096 CPUs")]
        Some(cpus) => Some((cpus * 1e9).round() as i64),
        None => {
            reader.wrong(
                node.span,
                format!("`{text}` is not a number of CPUs"),
                "write a number such as `0.5` or `2`",
            );
            None
        }
    }
}

fn pids(reader: &mut Reader<'_>, node: &Node) -> Option<i64> {
    let count = reader.number(node, -1, i64::from(u32::MAX))?;
    // In Compose, no limit.
    if count == 0 && node.span.is_compose() {
        return Some(-1);
    }
    if count == 0 {
        reader.wrong(
            node.span,
            "a limit of 0 processes starts nothing",
            "write a number such as `512`, or `-1` for no limit",
        );
        return None;
    }
    Some(count)
}

/// `ulimits`: name → soft and hard.
pub(super) fn ulimits(
    reader: &mut Reader<'_>,
    node: &Node,
    place: &str,
) -> BTreeMap<String, (i64, i64)> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let Value::Map(entries) = &node.value else {
        reader.expected(
            node,
            "`nofile: 65536` or `nofile: {soft: 1024, hard: 65536}`",
        );
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (key, value) in entries {
        if !NAMES.contains(&key.text.as_str()) {
            let help = match super::nearest::nearest(&key.text, NAMES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", super::nearest::listed(NAMES)),
            };
            let help = match key.span.is_compose() {
                false => help,
                true => format!("{}; {help}", take_away(key.span, place, &key.text)),
            };
            reader.wrong(key.span, format!("`{}` is not a limit", key.text), help);
            continue;
        }
        let pair = match &value.value {
            Value::Map(_) => {
                let place = format!("{place}.{}", key.text);
                let Some(mut fields) = reader.fields(value, &place, "`soft` and `hard`") else {
                    continue;
                };
                let soft = fields
                    .take("soft")
                    .and_then(|field| reader.number(field.node, -1, i64::MAX));
                let hard = fields
                    .take("hard")
                    .and_then(|field| reader.number(field.node, -1, i64::MAX));
                fields.finish(reader, &[]);
                match (soft, hard) {
                    (Some(soft), Some(hard)) => Some((soft, hard)),
                    _ => {
                        reader.wrong(
                            value.span,
                            "this limit needs both `soft` and `hard`",
                            "write `{soft: 1024, hard: 65536}`",
                        );
                        None
                    }
                }
            }
            _ => reader.number(value, -1, i64::MAX).map(|both| (both, both)),
        };
        if let Some((soft, hard)) = pair {
            if hard != -1 && (soft == -1 || soft > hard) {
                reader.wrong(
                    value.span,
                    "the soft limit is above the hard one",
                    "raise `hard` or lower `soft`",
                );
            }
            found.insert(key.text.clone(), (soft, hard));
        }
    }
    found
}
