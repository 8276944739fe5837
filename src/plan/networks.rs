//! `networks`, `extra_hosts`, `dns` and `hostname`.
//!
//! An environment has one network of its own; a plan's own networks are folded into it, external
//! ones are joined beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fields::{Field, Fields, part, take_away};
use super::files;
use super::nearest::{listed, nearest};
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};

use super::role::At;
use super::store;
use crate::core::plan::Run;

/// A network of the top level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Network {
    /// Folded into the environment's.
    Own,
    /// By its name on the engine.
    External(String),
}

/// The top level's `networks`.
pub(super) fn declared(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, Network> {
    let mut found = BTreeMap::new();
    let Value::Map(entries) = &node.value else {
        reader.expected(node, "`NAME: {}` for each network");
        return found;
    };
    for (key, value) in entries {
        reader.declared.insert(format!("networks.{}", key.text));
        let place = format!("networks.{}", part(&key.text));
        let Some(mut fields) = reader.fields(value, &place, "`external: true`, or nothing") else {
            continue;
        };
        let (external, name) = store::external(reader, &mut fields);
        let or_external = |field: Field<'_>, option: &str| match field.key.is_compose() {
            false => "remove the line, or make the network yourself and mark it `external: true`"
                .to_owned(),
            true => format!(
                "{}; or make the network yourself: `networks: {{{}: {{external: true, {option}: !reset null}}}}`",
                take_away(field.key, &place, option),
                key.text
            ),
        };
        if let Some(field) = fields.take("driver")
            && let Some(driver) = reader.public(field.node, "`bridge`")
            && driver != "bridge"
        {
            let message = format!("the network driver `{driver}` is not supported");
            reader.wrong(field.node.span, message, or_external(field, "driver"));
        }
        if let Some(field) = fields.take_of_compose("internal")
            && reader.boolean(field.node) == Some(true)
        {
            reader.wrong(
                field.key,
                format!(
                    "the network `{}` is internal, and an environment's network is not",
                    key.text
                ),
                or_external(field, "internal"),
            );
        }
        let own = [
            ("ipam", "addresses come from `pools: {networks: …}`"),
            ("attachable", "nothing but its own containers joins it"),
            ("labels", "an environment's network has flipside's own"),
            ("enable_ipv6", "an environment's network has IPv4 addresses"),
            ("enable_ipv4", "an environment's network has IPv4 addresses"),
            (
                "driver_opts",
                "an environment's network has the engine's usual ones",
            ),
        ];
        for (option, why) in own {
            if let Some(field) = fields.take(option) {
                reader.translated(
                    field,
                    format!(
                        "`{option}` of the network `{}` means nothing here: {why}",
                        key.text
                    ),
                );
            }
        }
        fields.finish(
            reader,
            &[(
                "internal",
                "make the network yourself and mark it `external: true`",
            )],
        );
        if !external {
            if let Some(field) = name {
                reader.public(field.node, "a network's name");
                reader.translated(field, format!("the network `{}` is the environment's own, which has no fixed name: if it exists already, say `external: true`", key.text));
            }
            found.insert(key.text.clone(), Network::Own);
            continue;
        }
        let (name, span) = match name {
            Some(field) => match reader.public(field.node, "a network's name") {
                Some(name) => (name, field.node.span),
                None => continue,
            },
            None => (key.text.clone(), key.span),
        };
        if let Err(help) = files::engine_name(&name) {
            reader.wrong(span, format!("`{name}` is not a network's name"), help);
            continue;
        }
        // An old engine gives the default route to the first name, which must be the environment's.
        if name.as_str() < "0." {
            reader.wrong(span, format!("the external network `{name}` sorts before the environment's own, whose name begins with `0-`, and would take its default route"), "give that network another name");
        }
        found.insert(key.text.clone(), Network::External(name));
    }
    found
}

/// What a role's `networks` come to.
#[derive(Default)]
pub(super) struct Joined {
    /// The external ones it joins.
    pub external: Vec<String>,
    /// Further names for it in the environment's own.
    pub aliases: Vec<String>,
}

/// A role's `networks`.
pub(super) fn joined(reader: &mut Reader<'_>, node: &Node, place: &str, at: &At<'_>) -> Joined {
    let declared = &at.declared.networks;
    let mut names: Vec<(String, Span)> = Vec::new();
    let mut aliases: Vec<String> = Vec::new();
    match &node.value {
        Value::List(items) => {
            for item in items {
                if let Some(name) = reader.public(item, "a network's name") {
                    names.push((name, item.span));
                }
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                names.push((key.text.clone(), key.span));
                let place = format!("{place}.{}", part(&key.text));
                let Some(mut fields) = reader.fields(value, &place, "`aliases:`, or nothing")
                else {
                    continue;
                };
                if let Some(field) = fields.take("aliases") {
                    let is_external = matches!(declared.get(&key.text), Some(Network::External(_)));
                    for alias in reader.words(field.node, "a name, or a list of names") {
                        if is_external && at.run != Run::Shared {
                            reader.wrong(
                                field.key,
                                format!("on the external network `{}` the name `{alias}` would lead to every release that stands, not only to the live one", key.text),
                                take_away(field.key, &place, "aliases"),
                            );
                        } else if !is_host(&alias) {
                            reader.wrong(
                                field.key,
                                format!("`{alias}` is not a host name"),
                                "use a-z, 0-9, `-` and `.`",
                            );
                        } else if !aliases.contains(&alias) {
                            aliases.push(alias);
                        }
                    }
                }
                for (name, why) in [
                    ("ipv4_address", "addresses are assigned from `pools`"),
                    ("ipv6_address", "addresses are assigned from `pools`"),
                    ("link_local_ips", "addresses are assigned from `pools`"),
                    ("mac_address", "the engine assigns one"),
                    ("priority", "the environment's own network comes first"),
                    ("gw_priority", "the environment's own network comes first"),
                ] {
                    if let Some(field) = fields.take(name) {
                        reader.translated(
                            field,
                            format!("`{name}` of `{}` means nothing here: {why}", at.name),
                        );
                    }
                }
                fields.finish(
                    reader,
                    &[
                        ("driver_opts", "remove it"),
                        ("interface_name", "remove it"),
                    ],
                );
            }
        }
        _ => reader.expected(node, "a list of networks"),
    }
    let mut joined = Vec::new();
    for (name, span) in names {
        match declared.get(&name) {
            Some(Network::External(_)) if joined.contains(&name) => {}
            Some(Network::External(_)) => joined.push(name),
            Some(Network::Own) => {}
            None if name == "default" || reader.is_declared("networks", &name) => {}
            None => {
                let help = match nearest(&name, declared.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "add it to the top-level `networks`: `{name}: {{}}`, or `{name}: {{external: true}}` if it exists already"
                    ),
                };
                reader.wrong(span, format!("the network `{name}` is not declared"), help);
            }
        }
    }
    Joined {
        external: joined,
        aliases,
    }
}

/// `extra_hosts`: name and address.
pub(super) fn extra_hosts(reader: &mut Reader<'_>, node: &Node) -> Vec<(String, String)> {
    let mut found = Vec::new();
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                for address in reader.words(value, "an address, or a list of addresses") {
                    extra_host(reader, value.span, &key.text, &address, &mut found);
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let Some(text) = reader.public(item, "`name=address`") else {
                    continue;
                };
                match text.split_once('=').or_else(|| text.split_once(':')) {
                    Some((name, address)) => {
                        extra_host(reader, item.span, name, address, &mut found)
                    }
                    None => reader.wrong(
                        item.span,
                        format!("`{text}` has no address"),
                        "write `name=address`",
                    ),
                }
            }
        }
        _ => reader.expected(node, "a list of `name=address`, or a map"),
    }
    found
}

fn extra_host(
    reader: &mut Reader<'_>,
    span: Span,
    name: &str,
    address: &str,
    found: &mut Vec<(String, String)>,
) {
    let bare = address.trim().trim_start_matches('[').trim_end_matches(']');
    if name.trim().is_empty() {
        reader.wrong(span, "this host has no name", "write `name=address`");
    } else if !is_host(name.trim()) {
        reader.wrong(
            span,
            format!("`{}` is not a host name", name.trim()),
            "write `name=address`, the name of a-z, 0-9, `-` and `.`",
        );
    } else if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        reader.wrong(
            span,
            format!("`{bare}` is not an address"),
            "write `name=192.0.2.1`",
        );
    } else {
        found.push((name.trim().to_owned(), bare.to_owned()));
    }
}

/// `dns`.
pub(super) fn dns(reader: &mut Reader<'_>, node: &Node) -> Vec<IpAddr> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut found = Vec::new();
    for item in items {
        let Some(text) = reader.public(item, "an address, or a list of addresses") else {
            continue;
        };
        match text.parse() {
            Ok(address) => found.push(address),
            Err(_) => reader.wrong(
                item.span,
                format!("`{text}` is not an address"),
                "write it as `192.0.2.53`",
            ),
        }
    }
    found
}

/// `dns_search`.
pub(super) fn dns_search(reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    for name in reader.words(node, "a domain, or a list of domains") {
        match name == "." || is_host(&name) {
            true => found.push(name),
            false => reader.wrong(
                node.span,
                format!("`{name}` is not a domain"),
                "write it as `example.org`",
            ),
        }
    }
    found
}

/// `hostname`. The engine makes it a name on every network of the container, and on the external
/// ones of `joined` it would name the containers of all releases alike.
pub(super) fn hostname(
    reader: &mut Reader<'_>,
    role: &mut Fields<'_>,
    joined: &[String],
    run: Run,
) -> Option<String> {
    let field = role.take("hostname")?;
    let text = reader.public(field.node, "a host name")?;
    if let Some(network) = joined.first().filter(|_| run != Run::Shared) {
        reader.wrong(
            field.node.span,
            format!("on the external network `{network}` the name `{text}` would lead to every release that stands, not only to the live one"),
            format!("{}, or take the role out of `{network}`", take_away(field.key, &role.path, "hostname")),
        );
        return None;
    }
    if !is_host(&text) || text.len() > 63 {
        reader.wrong(
            field.node.span,
            format!("`{text}` is not a host name"),
            "use 1 to 63 of a-z, 0-9, `-` and `.`",
        );
        return None;
    }
    Some(text)
}

/// Whether a text is a DNS name (RFC 1123), without a port and without a wildcard.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        })
}

/// The external networks of a plan, by the name roles use.
pub(super) fn external(declared: BTreeMap<String, Network>) -> BTreeMap<String, String> {
    declared
        .into_iter()
        .filter_map(|(key, network)| match network {
            Network::External(name) => Some((key, name)),
            Network::Own => None,
        })
        .collect()
}

/// Says so where folding takes away a separation that the plan asked for.
pub(super) fn note_folding(
    reader: &mut Reader<'_>,
    span: Span,
    declared: &BTreeMap<String, Network>,
) {
    let own: Vec<_> = declared
        .iter()
        .filter(|(_, network)| **network == Network::Own)
        .map(|(key, _)| key.as_str())
        .collect();
    if own.len() > 1 {
        reader.note(
            span,
            format!(
                "{} become one network: an environment has one of its own",
                listed(own)
            ),
        );
    }
}
