//! The settings of an HTTP probe, checked as the client that sends it checks them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::body;
use super::fields::Fields;
use super::networks::is_host;
use super::probes::{Place, port};
use super::read::Reader;
use super::tree::{Node, Value};
use crate::core::plan::{HeaderField, HttpProbe, ProbeTls, Text, Verify};

/// An HTTP probe.
pub(super) fn http(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    at: &Place<'_>,
) -> Option<HttpProbe> {
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
        } else if let Some(host) = host(reader, field.node) {
            headers.push(HeaderField {
                name: "Host".into(),
                value: Some(Text::public(host)),
            });
        }
    } else if let (false, Some(pointer)) = (own, at.around.pointer)
        && let Some(host) = pointer.hosts().next()
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
    let contains = fields
        .take_full(reader, "contains")
        .and_then(|field| reader.public(field.node, "the text that the body must contain"));
    let matches = fields
        .take_full(reader, "matches")
        .and_then(|field| body::pattern(reader, field.node));
    let json = fields.take_full(reader, "json").and_then(|field| {
        let place = format!("{}.json", at.place);
        body::json(reader, field.node, field.key, &place).map(Box::new)
    });
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
        matches,
        json,
        tls,
    })
}

/// `host`: a host name or an address, with or without a port.
fn host(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a host name")?;
    let address = text
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_ipv4());
    let socket = text.parse::<SocketAddr>().is_ok();
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let bracketed = bracketed.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    let (name, port) = text.split_once(':').unwrap_or((&text, "80"));
    let named = is_host(name) && port.parse::<u16>().is_ok();
    if !(address || socket || bracketed || named) {
        reader.wrong(
            node.span,
            format!("`{text}` is not a host"),
            "write a name such as `shop.example`, with `:PORT` where the application wants one",
        );
        return None;
    }
    Some(text)
}

/// `tls.server_name`.
fn server_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "the name on the certificate")?;
    if !is_host(&text) && text.parse::<IpAddr>().is_err() {
        reader.wrong(
            node.span,
            format!("`{text}` is not the name of a server"),
            "write the name on the certificate, such as `shop.example`, without a port",
        );
        return None;
    }
    Some(text)
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

pub(super) fn method(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
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

pub(super) fn headers(
    reader: &mut Reader<'_>,
    node: &Node,
    place: &str,
    found: &mut Vec<HeaderField>,
) {
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
        let wrong = |c: u8| c != b'\t' && (c < b' ' || c == 0x7f);
        if text.reveal().bytes().any(wrong) {
            reader.wrong(
                value.span,
                "this value holds a line break or another control character",
                "write it on one line",
            );
            continue;
        }
        if !text.reveal().is_ascii() {
            reader.wrong(
                value.span,
                "this value holds characters that a header cannot have",
                "write it in ASCII, percent-encoded where the application understands that",
            );
            continue;
        }
        found.push(HeaderField {
            name: key.text.clone(),
            value: Some(text),
        });
    }
}

pub(super) fn statuses(reader: &mut Reader<'_>, node: &Node) -> Vec<(u16, u16)> {
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
        .and_then(|field| server_name(reader, field.node));
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
