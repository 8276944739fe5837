//! `pointer`: which kind of thing sends traffic, and its settings, read by the table of its kind.

use serde_json::{Map, Value as Json};

use super::command;
use super::fields::Field;
use super::nearest::nearest;
use super::networks::is_host;
use super::reach;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::plan::{PointerPlan, Text};
use crate::pointer::section::{Key, Remark, Section, Takes};
use crate::pointer::{self, SECTIONS};

/// Kinds that will come.
const LATER: [&str; 3] = ["caddy", "traefik", "envoy"];

pub(super) fn pointer(reader: &mut Reader<'_>, field: Field<'_>) -> Option<PointerPlan> {
    let Value::Map(entries) = &field.node.value else {
        reader.expected(field.node, "`proxy: {listen: \":8080\"}`");
        return None;
    };
    let mut found = None;
    for (key, value) in entries {
        if let Some(section) = pointer::section(&key.text) {
            found = settings(reader, section, value)
                .map(|settings| PointerPlan::new(section.kind, settings));
        } else {
            unknown(reader, key.span, &key.text);
        }
    }
    if let [_, (second, _), ..] = entries.as_slice() {
        reader.wrong(
            second.span,
            "a service has one pointer",
            "keep one kind and remove the others",
        );
    }
    if entries.is_empty() {
        reader.wrong(
            field.key,
            "this `pointer` names no kind",
            "write `pointer: {proxy: {listen: \":8080\"}}`",
        );
    }
    found
}

/// Where a plan says how its pointer reaches releases, or else which kind it is.
pub(super) fn place(root: &Node) -> Option<Span> {
    let of = |node: &Node, name: &str| match &node.value {
        Value::Map(entries) => {
            let mut entries = entries.iter();
            let found = entries.find(|(key, _)| key.text == name);
            found.map(|(key, value)| (key.span, value.clone()))
        }
        _ => None,
    };
    let (place, pointer) = of(root, "pointer")?;
    let Value::Map(kinds) = &pointer.value else {
        return Some(place);
    };
    let (kind, settings) = kinds.first()?;
    Some(of(settings, "reach").map_or(kind.span, |(place, _)| place))
}

fn unknown(reader: &mut Reader<'_>, place: Span, kind: &str) {
    if let Some((what, help)) = pointer::left_out(kind, pointer::LEFT_OUT) {
        return reader.wrong(place, what, help);
    }
    if LATER.contains(&kind) {
        return reader.wrong(
            place,
            format!("the pointer `{kind}` is not available in this version"),
            "use `proxy`, the embedded load balancer",
        );
    }
    let known = || SECTIONS.iter().map(|section| section.kind);
    let help = match nearest(kind, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "use `proxy`, the embedded load balancer".to_owned(),
    };
    reader.wrong(place, format!("`{kind}` is not a kind of pointer"), help);
}

/// The settings of one kind, by its own table.
fn settings(reader: &mut Reader<'_>, section: &Section, node: &Node) -> Option<Map<String, Json>> {
    let place = format!("pointer.{}", section.kind);
    let mut fields = reader.fields(node, &place, section.example)?;
    let mut given = Vec::new();
    for key in section.keys {
        let also = key
            .also
            .and_then(|also| Some((also, fields.take_full(reader, also)?)));
        let own = fields.take_full(reader, key.name);
        if let (Some((also, twice)), Some(_)) = (also, own) {
            reader.wrong(
                twice.key,
                format!("`{also}` and `{}` say the same thing", key.name),
                format!("write all names under `{}`", key.name),
            );
        }
        given.push((key, [also.map(|(_, field)| field), own]));
    }
    let span = fields.span;
    let said = fields.take_full(reader, "reach");
    fields.finish(reader, section.advised);
    let mut settings = Some(Map::new());
    let mut places = Vec::new();
    match reach::reach(reader, section, said, span) {
        None => settings = None,
        Some(reach) => {
            places.extend(said.map(|field| ("reach", field.key)));
            let reach = reach.map(|reach| ("reach".to_owned(), reach));
            settings
                .iter_mut()
                .for_each(|all| all.extend(reach.clone()));
        }
    }
    for (key, fields) in given {
        let fields: Vec<Field<'_>> = fields.into_iter().flatten().collect();
        let Some(first) = fields.first() else {
            if let Some((message, help)) = key.missing {
                reader.wrong(span, message, help);
                settings = None;
            }
            continue;
        };
        places.push((key.name, first.key));
        let value = value(reader, key, &fields);
        settings = settings.zip(value).map(|(mut settings, value)| {
            settings.insert(key.name.to_owned(), value);
            settings
        });
    }
    let mut settings = settings?;
    let mut right = true;
    let place = |key: &str| {
        let place = places.iter().find(|(name, _)| *name == key);
        place.map_or(span, |(_, place)| *place)
    };
    for remark in (section.complete)(&mut settings) {
        match remark {
            Remark::Wrong(wrong) => {
                reader.wrong(place(wrong.key), wrong.message, wrong.help);
                right = false;
            }
            Remark::Caution { key, message } => reader.note(place(key), message),
        }
    }
    right.then_some(settings)
}

fn value(reader: &mut Reader<'_>, key: &Key, fields: &[Field<'_>]) -> Option<Json> {
    let node = fields.first()?.node;
    match key.takes {
        Takes::Listen => address(reader, node).map(Json::from),
        Takes::Hosts => Some(hosts(reader, fields).into()),
        Takes::Text(what) => reader.public(node, what).map(Json::from),
        Takes::Texts(what) => texts(reader, fields, what).map(Json::from),
        Takes::Command => command(reader, key, node).map(Json::from),
        Takes::Word(words) => word(reader, node, words).map(Json::from),
        Takes::Path => {
            let path = reader.public(node, "a path")?;
            let path = reader.resolve(node.span, &path);
            Some(path.to_string_lossy().into())
        }
        Takes::Number(least, most) => {
            let limit = |number| i64::try_from(number).unwrap_or(i64::MAX);
            let number = reader.number(node, limit(least), limit(most));
            number.map(Json::from)
        }
        Takes::Duration => reader.duration(node).map(Json::from),
        Takes::Flag => reader.boolean(node).map(Json::from),
    }
}

fn texts(reader: &mut Reader<'_>, fields: &[Field<'_>], what: &str) -> Option<Vec<String>> {
    let items = fields.iter().flat_map(|field| match &field.node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(field.node),
    });
    items.map(|item| reader.public(item, what)).collect()
}

fn command(reader: &mut Reader<'_>, key: &Key, node: &Node) -> Option<Vec<String>> {
    let words = command::command(reader, node, key.name)?;
    if words.iter().any(Text::is_secret) {
        reader.wrong(
            node.span,
            "what comes from outside the plan may be secret, and a pointer's settings are not",
            "write its words here, and let the program read what is secret itself",
        );
        return None;
    }
    let mut words: Vec<String> = words.iter().map(|word| word.reveal().to_owned()).collect();
    let Some(program) = words.first_mut().filter(|program| !program.is_empty()) else {
        reader.wrong(
            node.span,
            "this command is empty",
            "write `command: [PROGRAM, ARGUMENT, …]`",
        );
        return None;
    };
    if program.contains('/') {
        let path = reader.resolve(node.span, program);
        *program = path.to_string_lossy().into();
    }
    Some(words)
}

fn word(reader: &mut Reader<'_>, node: &Node, words: &[&'static str]) -> Option<&'static str> {
    let listed: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let text = reader.public(node, &listed.join(" or "))?;
    let known = words.iter().find(|word| **word == text).copied();
    if known.is_none() {
        let help = match nearest(&text, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", listed.join(" or ")),
        };
        reader.wrong(
            node.span,
            format!("`{text}` is none of {}", listed.join(" and ")),
            help,
        );
    }
    known
}

fn hosts(reader: &mut Reader<'_>, fields: &[Field<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    for field in fields {
        let items = match &field.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(field.node),
        };
        for item in items {
            if let Some(name) = self::host(reader, item)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        if items.is_empty() {
            reader.wrong(
                field.key,
                "this list of host names is empty",
                "remove the line to take every host name",
            );
        }
    }
    names
}

fn address(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "an address and port such as `\":8080\"`")?;
    let wrong = |reader: &mut Reader<'_>, help: String| {
        reader.wrong(
            node.span,
            format!("`{text}` is not an address and port"),
            help,
        );
    };
    if text.parse::<u16>().is_ok() {
        wrong(reader, format!("write `\":{text}\"`"));
        return None;
    }
    let (address, port) = match text.rsplit_once(':') {
        Some(parts) => parts,
        None => {
            wrong(
                reader,
                "write `\":8080\"`, `127.0.0.1:8080` or `\"[::1]:8080\"`".to_owned(),
            );
            return None;
        }
    };
    let known = address.is_empty()
        || address.parse::<std::net::Ipv4Addr>().is_ok()
        || address
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    match port.parse::<u16>() {
        Ok(port) if port > 0 && known => Some(format!("{address}:{port}")),
        _ => {
            wrong(
                reader,
                "write `\":8080\"`, `127.0.0.1:8080` or `\"[::1]:8080\"`".to_owned(),
            );
            None
        }
    }
}

fn host(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a host name")?;
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    if is_host(&lower) {
        return Some(lower);
    }
    let help = match text.split_once(':') {
        _ if text.contains("://") => "write the name alone, such as `shop.example`".to_owned(),
        Some((name, _)) if is_host(name) => format!("write the name without its port: `{name}`"),
        _ if !text.is_ascii() => "write it in its ASCII form, which begins with `xn--`".to_owned(),
        _ if text.contains('*') => {
            "wildcards are not supported: write each name under `hosts`".to_owned()
        }
        _ => "write a name such as `shop.example`".to_owned(),
    };
    reader.wrong(node.span, format!("`{text}` is not a host name"), help);
    None
}
