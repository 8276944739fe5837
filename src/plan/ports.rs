//! `ports`, in Compose's short and long form.
//!
//! A role of a release publishes nothing: two releases cannot have one port of the host's, and the
//! pointer is the way in. What it would publish says which port may be the exposed one.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::again;
use super::fields::{Field, wrapped_value};
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::RoleName;
use crate::core::plan::{Port, Run};

/// How many ports one range may have.
const MOST_PORTS: usize = 256;

/// What to write for a port.
const WHAT: &str = "a port such as `8080:80`, `127.0.0.1:8080:80` or `80`";

/// Every port that a role publishes, ranges written out, each once and with its place.
pub(super) fn ports(
    reader: &mut Reader<'_>,
    node: &Node,
    place: &str,
    run: Run,
) -> Vec<(Span, Port)> {
    let path = place.trim_end_matches(".ports");
    let Some(items) = reader.list_at(node, (path, "ports"), "a list of ports") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let read = match &item.value {
            Value::Map(_) => long(reader, (item, items), place, run),
            _ => short(reader, (item, items), place, run),
        };
        for port in read.into_iter().flatten() {
            if !found.iter().any(|(_, known)| *known == port) {
                found.push((item.span, port));
            }
        }
    }
    found
}

fn short(
    reader: &mut Reader<'_>,
    (item, items): (&Node, &[Node]),
    place: &str,
    run: Run,
) -> Option<Vec<Port>> {
    let text = reader.public(item, WHAT)?;
    let wrong = |reader: &mut Reader<'_>| {
        reader.wrong(
            item.span,
            format!("`{text}` is not a port"),
            format!("write {WHAT}"),
        );
    };
    let (ports, udp) = match text.rsplit_once('/') {
        Some((ports, protocol)) => match protocol.to_ascii_lowercase().as_str() {
            "tcp" => (ports, false),
            "udp" => (ports, true),
            "sctp" => {
                no_sctp(reader, item.span, without((item, items), place));
                return None;
            }
            _ => {
                wrong(reader);
                return None;
            }
        },
        None => (text.as_str(), false),
    };
    let (rest, target) = match ports.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, ports),
    };
    let (address, published) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            Some((address, published)) => (Some(address), Some(published)),
            None => (None, Some(rest)),
        },
    };
    let address = match address.filter(|address| !address.is_empty()) {
        None => None,
        Some(address) => {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            match bare.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) => {
                    wrong(reader);
                    return None;
                }
            }
        }
    };
    let published = published.filter(|published| !published.is_empty());
    match pairs((target, published), address, udp, run) {
        Ok(both) => Some(both),
        Err(Unfit::NoPorts) => {
            wrong(reader);
            None
        }
        Err(Unfit::TooMany(count)) => {
            too_many(reader, item.span, without((item, items), place), count);
            None
        }
    }
}

/// Keys of a port's long form.
const KEYS: [&str; 7] = [
    "target",
    "published",
    "protocol",
    "host_ip",
    "mode",
    "name",
    "app_protocol",
];

/// How one of the ports of a Compose file goes.
fn without((item, items): (&Node, &[Node]), place: &str) -> Option<String> {
    let stays = |other: &&Node| other.id != item.id && !is_sctp(other);
    let others = items.iter().filter(stays);
    let line = || wrapped_value(place, &again::listed(others, &KEYS));
    let is_compose = item.span.is_compose();
    is_compose.then(|| format!("write the list without it in the plan: `{}`", line()))
}

fn is_sctp(port: &Node) -> bool {
    let protocol = port.get("protocol").and_then(Node::text);
    protocol == Some("sctp") || port.text().is_some_and(|text| text.ends_with("/sctp"))
}

fn no_sctp(reader: &mut Reader<'_>, span: Span, without: Option<String>) {
    let help = without.unwrap_or_else(|| "remove it".to_owned());
    reader.wrong(span, "SCTP is not supported in this version", help);
}

fn too_many(reader: &mut Reader<'_>, span: Span, without: Option<String>, count: usize) {
    let help = "publish the ports that are needed";
    reader.wrong(
        span,
        format!("this is a range of {count} ports, and one may have {MOST_PORTS} at most"),
        match without {
            Some(without) => format!("{help}; or {without}"),
            None => help.to_owned(),
        },
    );
}

fn long(
    reader: &mut Reader<'_>,
    (item, items): (&Node, &[Node]),
    place: &str,
    run: Run,
) -> Option<Vec<Port>> {
    let mut fields = reader.fields(item, place, "`target` and `published`")?;
    fields.items = Some(items);
    let target = fields.take("target").map(|field| field.node);
    let published = fields.take("published").map(|field| field.node);
    let protocol = fields.take("protocol").map(|field| field.node);
    if let Some(node) = protocol.filter(|node| node.text() == Some("sctp")) {
        no_sctp(reader, node.span, without((item, items), place));
        return None;
    }
    let protocol = protocol.and_then(|node| reader.choice(node, "protocol", &["tcp", "udp"]));
    let address = fields
        .take("host_ip")
        .map(|field| (field.node, reader.public(field.node, "an address")));
    for (name, what) in [
        ("mode", "`ingress`"),
        ("name", "a name"),
        ("app_protocol", "a name"),
    ] {
        if let Some(field) = fields.take(name) {
            reader.public(field.node, what);
        }
    }
    let span = fields.span;
    fields.finish(reader, &[]);
    let Some(target) = target else {
        reader.wrong(span, "this port has no `target`", "add `target: PORT`");
        return None;
    };
    let text = reader.public(target, "the container's port")?;
    let host = match published {
        Some(node) => Some(reader.public(node, "the host's port")?),
        None => None,
    };
    let address = match address {
        Some((node, text)) => match text?.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                reader.wrong(
                    node.span,
                    "this is not an address",
                    "write it as `127.0.0.1`",
                );
                return None;
            }
        },
        None => None,
    };
    let is_udp = protocol == Some("udp");
    match pairs((&text, host.as_deref()), address, is_udp, run) {
        Ok(both) => Some(both),
        Err(Unfit::NoPorts) => {
            reader.wrong(
                target.span,
                "these ports do not fit together",
                "write one port from 1 to 65535, or ranges of the same length",
            );
            None
        }
        Err(Unfit::TooMany(count)) => {
            too_many(reader, target.span, without((item, items), place), count);
            None
        }
    }
}

/// Why ports cannot be published.
enum Unfit {
    /// They are no ports, or ranges of different lengths.
    NoPorts,
    /// A range of so many.
    TooMany(usize),
}

/// Target ports with the host's.
fn pairs(
    (target, published): (&str, Option<&str>),
    address: Option<IpAddr>,
    udp: bool,
    run: Run,
) -> Result<Vec<Port>, Unfit> {
    let targets = any_range(target).ok_or(Unfit::NoPorts)?;
    let port = |target, published| Port {
        address,
        published,
        target,
        udp,
    };
    let hosts = match published {
        Some(published) => Some(any_range(published).ok_or(Unfit::NoPorts)?),
        None => None,
    };
    let first = |hosts: &Option<RangeInclusive<u16>>| hosts.as_ref().map(|hosts| *hosts.start());
    match &hosts {
        // One port and a range to choose from: the first of it.
        Some(_) if targets.len() == 1 => return Ok(vec![port(*targets.start(), first(&hosts))]),
        Some(hosts) if hosts.len() != targets.len() => return Err(Unfit::NoPorts),
        _ => {}
    }
    if targets.len() > MOST_PORTS {
        return match udp && run != Run::Shared {
            // None of them goes, however many there are.
            true => Ok(vec![port(*targets.start(), first(&hosts))]),
            false => Err(Unfit::TooMany(targets.len())),
        };
    }
    Ok(match hosts {
        Some(hosts) => targets
            .zip(hosts)
            .map(|(target, host)| port(target, Some(host)))
            .collect(),
        None => targets.map(|target| port(target, None)).collect(),
    })
}

/// One port, or a range of no more than may be published.
pub(super) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    any_range(text).filter(|found| found.len() <= MOST_PORTS)
}

fn any_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let found = port(first)?..=port(last)?;
    (!found.is_empty()).then_some(found)
}

/// `ports` of a role of a release: the TCP ports that may be the exposed one.
pub(super) fn candidates(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    place: &str,
    role: &RoleName,
) -> Vec<u16> {
    let mut targets = Vec::new();
    let all = ports(reader, field.node, place, Run::Always);
    let is_own = |port: &Port| !port.udp && !matches!(port.published, Some(80 | 443));
    let good = all.iter().find(|(_, port)| is_own(port));
    let without_udp = match good.or_else(|| all.iter().find(|(_, port)| !port.udp)) {
        Some((_, port)) => format!("!override [\"{}\"]", port.target),
        None => "!reset null".to_owned(),
    };
    for (span, port) in all {
        if port.udp {
            reader.wrong(
                span,
                format!("`{role}` publishes a UDP port, which the pointer cannot move"),
                format!("if it outlives releases, write `services: {{{role}: {{run: shared}}}}`; if the port is not needed: `{role}: {{ports: {without_udp}}}`"),
            );
        } else if let Some(host @ (80 | 443)) = port.published {
            reader.wrong(
                span,
                format!("`{role}` publishes port {host}, which is the pointer's"),
                format!("if it is the file's own proxy, drop it, flipside is that: `services: {{{role}: {{run: never}}}}`; else let the pointer listen there and take the port away: `{role}: {{ports: !override [\"{}\"]}}`", port.target),
            );
        } else if !targets.contains(&port.target) {
            targets.push(port.target);
        }
    }
    if !targets.is_empty() {
        reader.translated(
            field,
            format!("the `ports` of `{role}` are not published: two releases cannot share one, and the pointer leads to what the plan exposes alone"),
        );
    }
    targets
}
