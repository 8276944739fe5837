//! `probes`: the checks that an environment is fit to serve.

use std::collections::{BTreeMap, BTreeSet};

use super::command;
use super::expose;
use super::fields::{Field, Fields};
use super::nearest::{listed, nearest};
use super::read::Reader;
use super::tree::{Node, Span, Value};
use crate::core::RoleName;
use crate::core::plan::{
    Exposed, HeaderField, HttpProbe, PointerPlan, Probe, ProbeKind, ProbeTls, Role, Text, Verify,
};

const KINDS: [&str; 4] = ["http", "tcp", "exec", "health"];

/// What probes refer to.
pub(super) struct Around<'a> {
    pub roles: &'a BTreeMap<RoleName, Role>,
    pub left_out: &'a BTreeSet<String>,
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
        Value::Scalar { text, .. } if text == "none" => Vec::new(),
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
            text.and_then(|text| {
                expose::role(
                    reader,
                    field.node.span,
                    &text,
                    around.roles,
                    around.left_out,
                )
            })
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
        "http" => http(reader, &mut fields, &at).map(ProbeKind::Http),
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
            ("follow_redirects", "remove it: a redirect is not followed, so probe the place it leads to"),
        ],
    );
    probe.kind = read?;
    Some(probe)
}

struct Place<'a> {
    name: &'a str,
    place: &'a str,
    span: Span,
    role: Option<&'a RoleName>,
    around: &'a Around<'a>,
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
    for (name, slot) in [
        ("passes", &mut probe.passes),
        ("failures", &mut probe.failures),
    ] {
        if let Some(field) = fields.take_full(reader, name) {
            *slot = reader.count(field.node, 1, 1000).unwrap_or(*slot);
        }
    }
    let deadline = probe.deadline_ms;
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
        }
    }
}

fn human(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        format!("{}s", millis / 1000)
    } else {
        format!("{millis}ms")
    }
}

fn port(reader: &mut Reader<'_>, fields: &mut Fields<'_>, at: &Place<'_>) -> Option<u16> {
    if let Some(field) = fields.take_full(reader, "port") {
        return reader.port(field.node);
    }
    let role = at.role?;
    if let Some(exposed) = at.around.exposed.filter(|exposed| exposed.role == *role) {
        return Some(exposed.port);
    }
    match at.around.roles.get(role).map(|role| role.expose.as_slice()) {
        Some([port]) => Some(*port),
        _ => {
            reader.wrong(
                at.span,
                format!("this {} probe of `{role}` does not say which port", at.name),
                "add `port: 8080`",
            );
            None
        }
    }
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
        .and_then(|role| at.around.roles.get(role))
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

fn http(reader: &mut Reader<'_>, fields: &mut Fields<'_>, at: &Place<'_>) -> Option<HttpProbe> {
    let port = port(reader, fields, at);
    let path = match fields.take_full(reader, "path") {
        Some(field) => path(reader, field.node),
        None => Some("/".to_owned()),
    };
    let method = match fields.take_full(reader, "method") {
        Some(field) => method(reader, field.node),
        None => Some("GET".to_owned()),
    };
    let mut headers = Vec::new();
    if let Some(field) = fields.take_full(reader, "headers") {
        self::headers(
            reader,
            field.node,
            &format!("{}.headers", at.place),
            &mut headers,
        );
    }
    let own = headers
        .iter()
        .any(|header: &HeaderField| header.name.eq_ignore_ascii_case("host"));
    if let Some(field) = fields.take_full(reader, "host") {
        if own {
            reader.wrong(
                field.key,
                "`host` and the header `Host` say the same thing",
                "remove one of them",
            );
        } else if let Some(host) = reader.public(field.node, "a host name") {
            headers.push(HeaderField {
                name: "Host".into(),
                value: Some(Text::public(host)),
            });
        }
    } else if let (false, Some(PointerPlan::Proxy(proxy))) = (own, at.around.pointer)
        && let Some(host) = proxy.hosts.first()
    {
        headers.push(HeaderField {
            name: "Host".into(),
            value: Some(Text::public(host)),
        });
    }
    let status = match fields.take_full(reader, "status") {
        Some(field) => statuses(reader, field.node),
        None => vec![(200, 299)],
    };
    let contains = match fields.take_full(reader, "contains") {
        Some(field) => Some(reader.public(field.node, "the text that the body must contain")?),
        None => None,
    };
    let tls = fields
        .take_full(reader, "tls")
        .and_then(|field| tls(reader, field.node, &format!("{}.tls", at.place)));
    Some(HttpProbe {
        port: port?,
        method: method?,
        path: path?,
        headers,
        status,
        contains,
        tls,
    })
}

fn path(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a path such as `/up`")?;
    if !text.starts_with('/') {
        let help = match text.split_once("://") {
            Some((_, rest)) => format!(
                "write only the path: `/{}`",
                rest.split_once('/').map_or("", |(_, path)| path)
            ),
            None => format!("write `/{text}`"),
        };
        reader.wrong(node.span, format!("`{text}` does not begin with `/`"), help);
        return None;
    }
    if !text.bytes().all(|c| c.is_ascii_graphic() && c != b'#') {
        reader.wrong(
            node.span,
            format!("`{text}` holds characters that a path cannot have"),
            "percent-encode them, such as `%20` for a blank",
        );
        return None;
    }
    Some(text)
}

fn method(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a method such as `GET`")?;
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_uppercase()) {
        reader.wrong(
            node.span,
            format!("`{text}` is not a method"),
            "write it in capitals, such as `GET` or `HEAD`",
        );
        return None;
    }
    Some(text)
}

fn headers(reader: &mut Reader<'_>, node: &Node, place: &str, found: &mut Vec<HeaderField>) {
    let Value::Map(entries) = &node.value else {
        reader.expected(node, "`Name: value` for each header");
        return;
    };
    for (key, value) in entries {
        let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if key.text.is_empty() || !key.text.bytes().all(token) {
            reader.wrong(
                key.span,
                format!("`{}` is not the name of a header", key.text),
                "use letters, digits and `-`",
            );
            continue;
        }
        if found
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case(&key.text))
        {
            reader.wrong(
                key.span,
                format!("the header `{}` stands twice", key.text),
                "remove one of them",
            );
            continue;
        }
        let Some(text) = reader.text(value, &format!("{place}.{}", key.text), "one value") else {
            continue;
        };
        if !text
            .reveal()
            .bytes()
            .all(|c| c == b'\t' || c >= b' ' && c != 0x7f)
        {
            reader.wrong(
                value.span,
                "this value holds a line break or another control character",
                "write it on one line",
            );
            continue;
        }
        found.push(HeaderField {
            name: key.text.clone(),
            value: Some(text),
        });
    }
}

fn statuses(reader: &mut Reader<'_>, node: &Node) -> Vec<(u16, u16)> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut found = Vec::new();
    for item in items {
        let Some(text) = reader.public(
            item,
            "a status such as `200`, a range such as `200-299`, or a list of them",
        ) else {
            continue;
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let parse = |part: &str| {
            part.trim()
                .parse::<u16>()
                .ok()
                .filter(|status| (100..=599).contains(status))
        };
        match (parse(first), parse(last)) {
            (Some(first), Some(last)) if first <= last => found.push((first, last)),
            _ => reader.wrong(
                item.span,
                format!("`{text}` is not a status"),
                "write `200`, `200-299` or `[200, 204]`",
            ),
        }
    }
    if items.is_empty() {
        reader.wrong(
            node.span,
            "no status would pass",
            "write `200`, `200-299` or `[200, 204]`",
        );
    }
    found
}

fn tls(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<ProbeTls> {
    let plain = ProbeTls {
        server_name: None,
        verify: Verify::Full,
    };
    if !matches!(node.value, Value::Map(_)) {
        return reader.boolean(node)?.then_some(plain);
    }
    let mut fields = reader.fields(node, place, "`true`, or `server_name` and `verify`")?;
    let server_name = fields
        .take_full(reader, "server_name")
        .and_then(|field| reader.public(field.node, "the name on the certificate"));
    let verify = match fields.take_full(reader, "verify") {
        Some(field) => match reader.choice(field.node, "way to verify", &["full", "none"]) {
            Some("none") => Verify::None,
            _ => Verify::Full,
        },
        None => Verify::Full,
    };
    fields.finish(reader, &[]);
    Some(ProbeTls {
        server_name,
        verify,
    })
}
