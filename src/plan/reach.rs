//! `reach`: at which addresses a pointer finds the releases, the same words for every kind.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value as Json;

use super::fields::Field;
use super::nearest::nearest;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::plan::{Reach, Slots};
use crate::pointer::section::{ReachKind, Section};

/// What a plan says of it, as settings hold it: `Some(None)` where it says nothing, and `None` where
/// something is wrong. `span` is the kind's section.
#[expect(clippy::option_option, reason = "wrong, not said, said")]
pub(super) fn reach(
    reader: &mut Reader<'_>,
    section: &Section,
    said: Option<Field<'_>>,
    span: Span,
) -> Option<Option<Json>> {
    let kind = section.kind;
    let ways = section.reaching.ways;
    let Some(field) = said else {
        if ways.first() != Some(&ReachKind::Published) {
            return Some(None);
        }
        let others: Vec<_> = ways[1..].iter().map(|way| way.example()).collect();
        reader.wrong(
            span,
            format!("a pointer `{kind}` reaches releases at ports that they publish, and nothing says on which address of the engine's host"),
            format!("add {}; or {}", ways[0].example(), others.join(", or ")),
        );
        return None;
    };
    let reach = written(reader, section, field)?;
    let found = ReachKind::of(reach);
    if !ways.contains(&found) {
        let (why, instead) = section.reaching.beyond;
        reader.wrong(
            field.node.span,
            format!("a pointer `{kind}` cannot reach releases so: {why}"),
            instead,
        );
        return None;
    }
    serde_json::to_value(reach).ok().map(Some)
}

fn written(reader: &mut Reader<'_>, section: &Section, field: Field<'_>) -> Option<Reach> {
    let node = field.node;
    if !matches!(node.value, Value::Map(_)) {
        return word(reader, section, node);
    }
    let place = format!("pointer.{}.reach", section.kind);
    let example = ReachKind::Published.example();
    let mut fields = reader.fields(node, &place, example)?;
    let published = fields.take_full(reader, "published");
    let slot = fields.take_full(reader, "slot");
    let (known, before) = (fields.span, reader.problems.len());
    fields.finish(reader, &[]);
    match (published, slot) {
        (Some(field), None) => host(reader, field.node).map(Reach::Published),
        (None, Some(field)) => slots(reader, &place, field.node).map(Reach::Slot),
        (Some(_), Some(second)) => {
            reader.wrong(
                second.key,
                "releases are reached in one way",
                "keep `published` or `slot`, and remove the other",
            );
            None
        }
        (None, None) => {
            if reader.problems.len() == before {
                reader.wrong(known, "`reach` says nothing", format!("write {example}"));
            }
            None
        }
    }
}

/// A way that is said by its name alone.
fn word(reader: &mut Reader<'_>, section: &Section, node: &Node) -> Option<Reach> {
    let ways = section.reaching.ways.iter();
    let examples: Vec<_> = ways.map(|way| way.example()).collect();
    let examples = examples.join(", or ");
    let text = reader.public(node, &examples)?;
    let (message, help) = match text.as_str() {
        "container" => return Some(Reach::Container),
        "published" => (
            "`published` does not say on which address of the engine's host".to_owned(),
            format!("write {}", ReachKind::Published.example()),
        ),
        "slot" => (
            "`slot` does not say which addresses the slots have".to_owned(),
            format!("write {}", ReachKind::Slot.example()),
        ),
        _ => (
            format!("`{text}` is no way to reach a release"),
            match nearest(&text, ReachKind::ALL.map(ReachKind::word)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write {examples}"),
            },
        ),
    };
    reader.wrong(node.span, message, help);
    None
}

/// One address of the engine's host.
fn host(reader: &mut Reader<'_>, node: &Node) -> Option<IpAddr> {
    let text = reader.public(node, "an address such as `192.0.2.7`")?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match bare.unwrap_or(&text).parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => {
            let help = match text.parse::<SocketAddr>() {
                Ok(at) => format!(
                    "write `{}` alone: each release is published at ports that flipside chooses from `pools: {{ports: …}}`",
                    at.ip()
                ),
                Err(_) => "write an address of the engine's host, such as `192.0.2.7`".to_owned(),
            };
            reader.wrong(node.span, format!("`{text}` is not an IP address"), help);
            return None;
        }
    };
    if address.is_unspecified() || address.is_multicast() {
        reader.wrong(
            node.span,
            format!("nothing is reached at `{address}`"),
            "write one address of the engine's host, at which the pointer finds it",
        );
        return None;
    }
    Some(address)
}

fn slots(reader: &mut Reader<'_>, place: &str, node: &Node) -> Option<Slots> {
    let example = ReachKind::Slot.example();
    let mut fields = reader.fields(node, &format!("{place}.slot"), example)?;
    let mut address = |name: &'static str| {
        let missing = format!("the slot {name} has no address");
        let missing = (
            missing.as_str(),
            "add one with its port, such as `192.0.2.10:443`",
        );
        let span = fields.span;
        let field = fields.take_required(reader, name, span, missing)?;
        Some((field.node.span, self::address(reader, field.node)))
    };
    let (blue, green) = (address("blue"), address("green"));
    fields.finish(reader, &[]);
    let ((_, blue), (span, green)) = (blue?, green?);
    let slots = Slots {
        blue: blue?,
        green: green?,
    };
    if slots.blue == slots.green {
        reader.wrong(
            span,
            format!("both slots have the address `{}`", slots.green),
            "give each slot an address, or a port, of its own",
        );
        return None;
    }
    Some(slots)
}

/// An address with its port.
fn address(reader: &mut Reader<'_>, node: &Node) -> Option<SocketAddr> {
    let text = reader.public(node, "an address and port such as `192.0.2.10:443`")?;
    match text.parse::<SocketAddr>() {
        Ok(at) if at.port() > 0 && !at.ip().is_unspecified() && !at.ip().is_multicast() => Some(at),
        _ => {
            reader.wrong(
                node.span,
                format!("`{text}` is not the address of a slot"),
                "write an address and its port, such as `192.0.2.10:443` or `\"[2001:db8::10]:443\"`",
            );
            None
        }
    }
}
