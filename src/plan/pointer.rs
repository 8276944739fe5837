//! `pointer`: which kind of thing sends traffic.

use super::fields::Field;
use super::nearest::nearest;
use super::networks::is_host;
use super::read::Reader;
use super::tree::{Node, Value};
use crate::core::plan::{PointerPlan, ProxyPlan};

/// Kinds that will come.
const LATER: [&str; 10] = [
    "haproxy", "nginx", "caddy", "traefik", "envoy", "nftables", "alb", "route53", "dns", "command",
];

pub(super) fn pointer(reader: &mut Reader<'_>, field: Field<'_>) -> Option<PointerPlan> {
    let Value::Map(entries) = &field.node.value else {
        reader.expected(field.node, "`proxy: {listen: \":8080\"}`");
        return None;
    };
    let mut found = None;
    for (key, value) in entries {
        match key.text.as_str() {
            "proxy" => found = proxy(reader, value).map(PointerPlan::Proxy),
            kind if LATER.contains(&kind) => {
                reader.wrong(
                    key.span,
                    format!("the pointer `{kind}` is not available in this version"),
                    "use `proxy`, the embedded load balancer",
                );
            }
            other => {
                let help = match nearest(other, ["proxy"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "use `proxy`, the embedded load balancer".to_owned(),
                };
                reader.wrong(
                    key.span,
                    format!("`{other}` is not a kind of pointer"),
                    help,
                );
            }
        }
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

fn proxy(reader: &mut Reader<'_>, node: &Node) -> Option<ProxyPlan> {
    let mut fields = reader.fields(node, "pointer.proxy", "`listen: \":8080\"`")?;
    let listen = fields.take_full(reader, "listen");
    let host = fields.take_full(reader, "host");
    let hosts = fields.take_full(reader, "hosts");
    let span = fields.span;
    fields.finish(reader, &[("tls", "end TLS in front of the proxy")]);
    if let (Some(host), Some(_)) = (host, hosts) {
        reader.wrong(
            host.key,
            "`host` and `hosts` say the same thing",
            "write all names under `hosts`",
        );
    }
    let mut names = Vec::new();
    for field in [host, hosts].into_iter().flatten() {
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
    let Some(listen) = listen else {
        reader.wrong(
            span,
            "the proxy needs an address to listen on",
            "add `listen: \":8080\"`",
        );
        return None;
    };
    Some(ProxyPlan {
        listen: address(reader, listen.node)?,
        hosts: names,
    })
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
