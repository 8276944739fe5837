//! `ports`, in Compose's short and long form.
//!
//! A role of a release publishes nothing: two releases cannot have one port of the host's, and the
//! pointer is the way in. What it would publish says which port may be the exposed one.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::fields::Field;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::RoleName;
use crate::core::plan::Port;

/// How many ports one range may have.
const MOST_PORTS: usize = 256;

/// What to write for a port.
const WHAT: &str = "a port such as `8080:80`, `127.0.0.1:8080:80` or `80`";

/// Every port that a role publishes, ranges written out, each once and with its place.
pub(super) fn ports(reader: &mut Reader<'_>, node: &Node, place: &str) -> Vec<(Span, Port)> {
    let Some(items) = reader.list(node, "a list of ports") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let read = match &item.value {
            Value::Map(_) => long(reader, item, place),
            _ => short(reader, item),
        };
        for port in read.into_iter().flatten() {
            if !found.iter().any(|(_, known)| *known == port) {
                found.push((item.span, port));
            }
        }
    }
    found
}

fn short(reader: &mut Reader<'_>, item: &Node) -> Option<Vec<Port>> {
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
    let both = pairs(target, published, address, udp);
    if both.is_none() {
        wrong(reader);
    }
    both
}

fn long(reader: &mut Reader<'_>, item: &Node, place: &str) -> Option<Vec<Port>> {
    let mut fields = reader.fields(item, place, "`target` and `published`")?;
    let target = fields.take("target").map(|field| field.node);
    let published = fields.take("published").map(|field| field.node);
    let protocol = fields
        .take("protocol")
        .and_then(|field| reader.choice(field.node, "protocol", &["tcp", "udp"]));
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
    let both = pairs(&text, host.as_deref(), address, protocol == Some("udp"));
    if both.is_none() {
        reader.wrong(
            target.span,
            "these ports do not fit together",
            "write one port from 1 to 65535, or ranges of the same length",
        );
    }
    both
}

/// Target ports with the host's: `None` where they are no ports or ranges of different lengths.
fn pairs(
    target: &str,
    published: Option<&str>,
    address: Option<IpAddr>,
    udp: bool,
) -> Option<Vec<Port>> {
    let targets = range(target)?;
    let port = |target, published| Port {
        address,
        published,
        target,
        udp,
    };
    let Some(published) = published else {
        return Some(targets.map(|target| port(target, None)).collect());
    };
    let hosts = range(published)?;
    match (targets.len(), hosts.len()) {
        (targets_len, hosts_len) if targets_len == hosts_len => Some(
            targets
                .zip(hosts)
                .map(|(target, host)| port(target, Some(host)))
                .collect(),
        ),
        // One port and a range to choose from: the first of it.
        (1, _) => Some(vec![port(*targets.start(), Some(*hosts.start()))]),
        _ => None,
    }
}

/// One port, or a range of them.
pub(super) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let found = port(first)?..=port(last)?;
    (!found.is_empty() && found.len() <= MOST_PORTS).then_some(found)
}

/// `ports` of a role of a release: the TCP ports that may be the exposed one.
pub(super) fn candidates(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    place: &str,
    role: &RoleName,
) -> Vec<u16> {
    let mut targets = Vec::new();
    let all = ports(reader, field.node, place);
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
            format!("the `ports` of `{role}` are not published: two releases cannot share one, and the pointer is the way in"),
        );
    }
    targets
}
