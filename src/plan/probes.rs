//! `probes`: the checks that an environment is fit to serve.

use std::collections::BTreeMap;

use super::command;
use super::expose;
use super::fields::{Field, Fields};
use super::http;
use super::nearest::{listed, nearest};
use super::read::Reader;
use super::service::Roles;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::RoleName;
use crate::core::plan::{Exposed, GrpcProbe, PointerPlan, Probe, ProbeKind};

const KINDS: [&str; 5] = ["http", "grpc", "tcp", "exec", "health"];

/// What probes refer to.
pub(super) struct Around<'a> {
    pub roles: &'a Roles,
    pub exposed: Option<&'a Exposed>,
    pub pointer: Option<&'a PointerPlan>,
}

/// What to do about a plan that proves nothing.
pub(super) const MISSING: (&str, &str) = (
    "this plan has no `probes`, so nothing would prove a release fit to serve",
    "add `probes: [{http: {path: /}}]`, or `probes: none` if that is meant",
);

/// The top level's `probes`; none only where the plan says so.
pub(super) fn probes(reader: &mut Reader<'_>, field: Field<'_>, around: &Around<'_>) -> Vec<Probe> {
    match &field.node.value {
        Value::Scalar { text, .. } if text == "none" => {
            reader.used(field.node);
            Vec::new()
        }
        Value::List(items) if items.is_empty() => {
            reader.wrong(field.node.span, "this list of probes is empty", MISSING.1);
            Vec::new()
        }
        Value::List(items) => {
            let found: Vec<_> = items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| probe(reader, item, &format!("probes.{index}"), around))
                .collect();
            // One that could not be read may have been the one that is missed here.
            if found.len() == items.len() {
                exposed_is_asked(reader, field.key, &found, around);
            }
            found
        }
        _ => {
            reader.expected(
                field.node,
                "a list such as `[{http: {path: /up}}]`, or `none`",
            );
            Vec::new()
        }
    }
}

/// Traffic goes only where a probe has passed.
fn exposed_is_asked(reader: &mut Reader<'_>, place: Span, probes: &[Probe], around: &Around<'_>) {
    let Some(exposed) = around.exposed else {
        return;
    };
    let role = &exposed.role;
    if !probes.iter().any(|probe| probe.role == *role) {
        reader.wrong(
            place,
            format!("no probe asks `{role}`, which gets the traffic"),
            format!("add one, such as `- http: {{role: {role}, path: /}}`, or write `probes: none` if that is meant"),
        );
    }
}

fn probe(reader: &mut Reader<'_>, item: &Node, place: &str, around: &Around<'_>) -> Option<Probe> {
    let Value::Map(entries) = &item.value else {
        reader.expected(
            item,
            "one kind of probe with its settings, such as `http: {path: /up}`",
        );
        return None;
    };
    let [(kind, body)] = entries.as_slice() else {
        reader.wrong(
            item.span,
            "a probe has exactly one kind",
            "write `- http: {…}`, with its settings below the kind and one `-` for each probe",
        );
        return None;
    };
    let name = kind.text.as_str();
    if !KINDS.contains(&name) {
        let help = match nearest(name, KINDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", listed(KINDS)),
        };
        reader.wrong(kind.span, format!("`{name}` is not a kind of probe"), help);
        return None;
    }
    let place = format!("{place}.{name}");
    let mut fields = reader.fields(body, &place, "the probe's settings")?;
    let role = match fields.take_full(reader, "role") {
        Some(field) => {
            let text = reader.public(field.node, "a role's name");
            text.and_then(|text| expose::role(reader, field.node.span, &text, around.roles))
        }
        None => around.exposed.map(|exposed| exposed.role.clone()),
    };
    let at = Place {
        name,
        place: &place,
        span: kind.span,
        role: role.as_ref(),
        around,
    };
    let read = match name {
        "http" => http::http(reader, &mut fields, &at).map(ProbeKind::Http),
        "grpc" => grpc(reader, &mut fields, &at).map(ProbeKind::Grpc),
        "tcp" => port(reader, &mut fields, &at).map(|port| ProbeKind::Tcp { port }),
        "exec" => exec(reader, &mut fields, &at),
        _ => health(reader, &at),
    };
    let mut probe = Probe {
        role: role?,
        kind: ProbeKind::Health,
        interval_ms: 1_000,
        timeout_ms: 5_000,
        initial_delay_ms: 0,
        passes: 1,
        failures: 3,
        deadline_ms: 60_000,
    };
    timing(reader, &mut fields, &mut probe);
    fields.finish(
        reader,
        &[
            ("retries", "write `failures: N`, which counts during a bake; before the switch `deadline` says how long to go on"),
            ("start_period", "write `initial_delay`"),
            ("tls", "remove it: only http probes speak TLS"),
            ("follow_redirects", "remove it: a redirect is not followed, so probe the place it leads to"),
        ],
    );
    probe.kind = read?;
    Some(probe)
}

/// Where a probe stands, and whom it asks.
pub(super) struct Place<'a> {
    pub name: &'a str,
    pub place: &'a str,
    pub span: Span,
    pub role: Option<&'a RoleName>,
    pub around: &'a Around<'a>,
}

fn timing(reader: &mut Reader<'_>, fields: &mut Fields<'_>, probe: &mut Probe) {
    let mut places = BTreeMap::new();
    for (name, slot, least) in [
        ("interval", &mut probe.interval_ms, 1),
        ("timeout", &mut probe.timeout_ms, 1),
        ("initial_delay", &mut probe.initial_delay_ms, 0),
        ("deadline", &mut probe.deadline_ms, 1),
    ] {
        if let Some(field) = fields.take_full(reader, name) {
            places.insert(name, field.node.span);
            match reader.duration(field.node) {
                Some(found) if found < least => {
                    reader.wrong(
                        field.node.span,
                        format!("`{name}` cannot be 0"),
                        "write a duration such as `500ms`",
                    );
                }
                Some(found) => *slot = found,
                None => return,
            }
        }
    }
    let mut passes = None;
    for (name, slot) in [
        ("passes", &mut probe.passes),
        ("failures", &mut probe.failures),
    ] {
        if let Some(field) = fields.take_full(reader, name) {
            *slot = reader.count(field.node, 1, 1000).unwrap_or(*slot);
            if name == "passes" {
                passes = Some(field.node.span);
            }
        }
    }
    let deadline = probe.deadline_ms;
    // What the plan does not write gives way to what it does.
    if !places.contains_key("timeout") {
        probe.timeout_ms = probe.timeout_ms.min(deadline);
    }
    if !places.contains_key("interval") {
        probe.interval_ms = probe.interval_ms.min(deadline);
    }
    let longer = [
        ("timeout", probe.timeout_ms),
        ("initial_delay", probe.initial_delay_ms),
        ("interval", probe.interval_ms),
    ];
    for (name, millis) in longer {
        if millis > deadline || name == "initial_delay" && millis == deadline {
            let span = places
                .get(name)
                .or_else(|| places.get("deadline"))
                .copied()
                .unwrap_or(fields.span);
            reader.wrong(
                span,
                format!(
                    "`{name}` ({}) leaves no time within `deadline` ({})",
                    human(millis),
                    human(deadline)
                ),
                format!("raise `deadline` or lower `{name}`"),
            );
            return;
        }
    }
    let waits = u64::from(probe.passes - 1).saturating_mul(probe.interval_ms);
    let earliest = waits.saturating_add(probe.initial_delay_ms);
    if earliest >= deadline {
        reader.wrong(
            passes.unwrap_or(fields.span),
            format!(
                "{} passes in a row take {} at least, and `deadline` is {}",
                probe.passes,
                human(earliest),
                human(deadline)
            ),
            "raise `deadline`, or lower `passes`, `interval` or `initial_delay`",
        );
    }
}

fn human(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        format!("{}s", millis / 1000)
    } else {
        format!("{millis}ms")
    }
}

/// `port`, or the one that the role listens on.
pub(super) fn port(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    at: &Place<'_>,
) -> Option<u16> {
    if let Some(field) = fields.take_full(reader, "port") {
        return reader.port(field.node);
    }
    let role = at.role?;
    if let Some(exposed) = at.around.exposed.filter(|exposed| exposed.role == *role) {
        return Some(exposed.port);
    }
    match at
        .around
        .roles
        .roles
        .get(role)
        .map(|role| role.expose.as_slice())
    {
        Some([port]) => Some(*port),
        _ => {
            let published = at.around.roles.published.get(role);
            let beside = at.around.exposed.filter(|exposed| {
                let role = at.around.roles.roles.get(role);
                role.is_some_and(|role| role.network_of.as_ref() == Some(&exposed.role))
            });
            let known = published.and_then(|ports| ports.first().copied());
            let known = known.or(beside.map(|exposed| exposed.port));
            reader.wrong(
                at.span,
                format!("this {} probe of `{role}` does not say which port", at.name),
                format!("add `port: {}`", known.unwrap_or(8080)),
            );
            None
        }
    }
}

fn grpc(reader: &mut Reader<'_>, fields: &mut Fields<'_>, at: &Place<'_>) -> Option<GrpcProbe> {
    let port = port(reader, fields, at);
    let service = match fields.take_full(reader, "service") {
        Some(field) => {
            let text = reader.public(field.node, "a gRPC service such as `shop.v1.Cart`")?;
            if !text.chars().all(|c| c.is_ascii_graphic()) {
                reader.wrong(
                    field.node.span,
                    format!("`{text}` is not the name of a gRPC service"),
                    "write it as its server registers it, such as `shop.v1.Cart`",
                );
                return None;
            }
            text
        }
        None => String::new(),
    };
    let port = port?;
    Some(GrpcProbe { port, service })
}

fn exec(reader: &mut Reader<'_>, fields: &mut Fields<'_>, at: &Place<'_>) -> Option<ProbeKind> {
    let Some(field) = fields.take_full(reader, "command") else {
        reader.wrong(
            at.span,
            "this exec probe has no `command`",
            "add `command: [PROGRAM, ARGUMENT, …]`",
        );
        return None;
    };
    let command = command::command(reader, field.node, &format!("{}.command", at.place))?;
    if command.first().is_none_or(|word| word.reveal().is_empty()) {
        reader.wrong(
            field.node.span,
            "this command is empty",
            "write `command: [PROGRAM, ARGUMENT, …]`",
        );
        return None;
    }
    Some(ProbeKind::Exec { command })
}

fn health(reader: &mut Reader<'_>, at: &Place<'_>) -> Option<ProbeKind> {
    let check = at
        .role
        .and_then(|role| at.around.roles.roles.get(role))
        .and_then(|role| role.healthcheck.as_ref());
    if check.is_some_and(|check| {
        check
            .test
            .first()
            .is_some_and(|word| word.reveal() == "NONE")
    }) {
        reader.wrong(
            at.span,
            "this probe asks for a health check which its role disables",
            "remove the probe, or the `disable: true`",
        );
        return None;
    }
    Some(ProbeKind::Health)
}
