//! `expose`: the ports a role listens on, and the one that the pointer sends traffic to.

use std::collections::{BTreeMap, BTreeSet};

use super::nearest::nearest;
use super::read::Reader;
use super::tree::{Node, Span};
use crate::core::RoleName;
use crate::core::plan::{Exposed, Role, Run};

/// A role's `expose`.
pub(super) fn ports(reader: &mut Reader<'_>, node: &Node) -> Vec<u16> {
    let Some(items) = reader.list(node, "a list of ports") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let Some(text) = reader.public(item, "a port") else {
            continue;
        };
        let number = text.strip_suffix("/tcp").unwrap_or(&text);
        match number.parse::<u16>() {
            Ok(port) if port > 0 => found.push(port),
            _ if text.ends_with("/udp") => {
                reader.wrong(
                    item.span,
                    "UDP ports are not supported in this version",
                    "remove the line",
                );
            }
            _ => reader.wrong(
                item.span,
                format!("`{text}` is not a port"),
                "write one number from 1 to 65535 per line",
            ),
        }
    }
    found
}

/// The top level's `expose`, or what it must be where it is left out.
pub(super) fn exposed(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    root: Span,
    roles: &BTreeMap<RoleName, Role>,
    left_out: &BTreeSet<String>,
) -> Option<Exposed> {
    let Some(node) = node else {
        let mut all = roles.iter().filter(|(_, role)| role.run.is_always());
        if let (Some((name, role)), None) = (all.next(), all.next())
            && let [port] = role.expose.as_slice()
        {
            return Some(Exposed {
                role: name.clone(),
                port: *port,
            });
        }
        let mut first = roles.iter().filter(|(_, role)| role.run.is_always());
        match first.next() {
            Some((name, _)) => reader.wrong(
                root,
                "this plan does not say which role and port get the traffic",
                format!("add `expose: {name}:8080`, the role and the port its containers listen on"),
            ),
            None => reader.wrong(
                root,
                "this plan has no role that can get the traffic: jobs have ended before the switch, and live-only roles do not run",
                "add one that is always up, and `expose: ROLE:PORT`",
            ),
        }
        return None;
    };
    let text = reader.public(node, "a role and its port such as `web:8080`")?;
    let Some((name, port)) = text.rsplit_once(':') else {
        reader.wrong(
            node.span,
            format!("`{text}` names no port"),
            format!("write `{text}:8080`, the role and the port its containers listen on"),
        );
        return None;
    };
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => Some(port),
        _ => {
            reader.wrong(
                node.span,
                format!("`{port}` is not a port"),
                format!("write `{name}:8080`, the port from 1 to 65535"),
            );
            None
        }
    };
    let role = role(reader, node.span, name, roles, left_out)?;
    Some(Exposed { role, port: port? })
}

/// The role of that name, which must go on running; or what is wrong with it.
pub(super) fn role(
    reader: &mut Reader<'_>,
    span: Span,
    name: &str,
    roles: &BTreeMap<RoleName, Role>,
    left_out: &BTreeSet<String>,
) -> Option<RoleName> {
    let found = any_role(reader, span, name, roles, left_out)?;
    let (message, help) = match roles[&found].run {
        Run::LiveOnly => (
            format!("`{name}` does not run before the switch: it is `run: live-only`"),
            "name another role, or remove the `run: live-only`",
        ),
        Run::Once => (
            format!("`{name}` is a job: it has ended before anything is asked of it"),
            "name a role that goes on running",
        ),
        Run::Always | Run::Shared | Run::Never => return Some(found),
    };
    reader.wrong(span, message, help);
    None
}

/// The role of that name, or what is wrong with it.
pub(super) fn any_role(
    reader: &mut Reader<'_>,
    span: Span,
    name: &str,
    roles: &BTreeMap<RoleName, Role>,
    left_out: &BTreeSet<String>,
) -> Option<RoleName> {
    if let Some(found) = roles.keys().find(|role| role.as_str() == name) {
        return Some(found.clone());
    }
    if left_out.contains(name) {
        reader.wrong(
            span,
            format!("`{name}` is left out by its `run: never`"),
            "name another role, or remove the `run: never`",
        );
    } else {
        let help = match nearest(name, roles.keys().map(RoleName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a role that stands under `services`".to_owned(),
        };
        reader.wrong(span, format!("there is no role `{name}`"), help);
    }
    None
}
