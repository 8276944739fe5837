//! `expose`: the ports a role listens on, and the one that the pointer sends traffic to.

use super::nearest::{listed, nearest};
use super::ports;
use super::read::Reader;
use super::service::Roles;
use super::source::Span;
use super::tree::Node;
use crate::core::RoleName;
use crate::core::plan::{Exposed, Run};

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
            // What an image says for its readers; nothing is sent there.
            _ if is_udp(&text) => {}
            _ => match ports::range(number) {
                Some(range) => found.extend(range),
                None => reader.wrong(
                    item.span,
                    format!("`{text}` is not a port"),
                    "write one number from 1 to 65535 per line",
                ),
            },
        }
    }
    found
}

fn is_udp(text: &str) -> bool {
    let number = text.strip_suffix("/udp");
    number.is_some_and(|number| ports::range(number).is_some())
}

/// The top level's `expose`, or what it must be where it is left out.
pub(super) fn exposed(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    root: Span,
    roles: &Roles,
) -> Option<Exposed> {
    let Some(node) = node else {
        return inferred(reader, root, roles);
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
    let role = role(reader, node.span, name, roles)?;
    if let Some(other) = &roles.roles[&role].network_of {
        // What is wrong with another has been said.
        if !roles.roles.contains_key(other) {
            return None;
        }
        reader.wrong(
            node.span,
            format!("`{role}` has no address of its own: it uses the network of `{other}`"),
            format!("write `{other}:{}`", port.unwrap_or(8080)),
        );
        return None;
    }
    Some(Exposed { role, port: port? })
}

/// The one port that a role publishes where no other does; else the one port of the one role.
fn inferred(reader: &mut Reader<'_>, root: Span, roles: &Roles) -> Option<Exposed> {
    let runs = |name: &RoleName| {
        roles
            .roles
            .get(name)
            .is_some_and(|role| role.run.is_always())
    };
    let published: Vec<(&RoleName, u16)> = roles
        .published
        .iter()
        .filter(|(name, _)| runs(name))
        .flat_map(|(name, ports)| ports.iter().map(move |port| (name, *port)))
        .collect();
    let mut always = roles.roles.iter().filter(|(_, role)| role.run.is_always());
    let first = always.next();
    let only = first.filter(|_| always.next().is_none());
    let single = only.and_then(|(name, role)| match role.expose.as_slice() {
        [port] => Some((name, *port)),
        _ => None,
    });
    match (published.as_slice(), single) {
        (&[one], _) | (&[], Some(one)) => Some(Exposed {
            role: one.0.clone(),
            port: one.1,
        }),
        (&[], None) => {
            match first {
                Some((name, _)) => reader.wrong(
                    root,
                    "this plan does not say which role and port get the traffic",
                    format!("add `expose: {name}:8080`, the role and the port its containers listen on"),
                ),
                None => reader.wrong(
                    root,
                    "this plan has no role that can get the traffic: jobs have ended before the switch, live-only roles do not run then, and shared ones outlive it",
                    "add one that is always up, and `expose: ROLE:PORT`",
                ),
            }
            None
        }
        (several, _) => {
            let places: Vec<_> = several
                .iter()
                .map(|(name, port)| format!("{name}:{port}"))
                .collect();
            reader.wrong(
                root,
                format!(
                    "this plan does not say which role and port get the traffic: {} would be published",
                    listed(places.iter().map(String::as_str))
                ),
                format!("add the one that users reach: `expose: {}`", places[0]),
            );
            None
        }
    }
}

/// The role of that name, which must go on running; or what is wrong with it.
pub(super) fn role(
    reader: &mut Reader<'_>,
    span: Span,
    name: &str,
    roles: &Roles,
) -> Option<RoleName> {
    let found = any_role(reader, span, name, roles)?;
    let (message, help) = match roles.roles[&found].run {
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
    roles: &Roles,
) -> Option<RoleName> {
    if let Some(found) = roles.roles.keys().find(|role| role.as_str() == name) {
        return Some(found.clone());
    }
    if roles.shared.keys().any(|role| role.as_str() == name) {
        reader.wrong(
            span,
            format!("`{name}` is shared and belongs to no release"),
            "name a role of the release, or remove the `run: shared`",
        );
    } else if let Some(left) = roles.left_out.get(name) {
        let (message, back) = left.words(name);
        reader.wrong(span, message, format!("name another role, or {back}"));
    } else {
        let help = match nearest(name, roles.roles.keys().map(RoleName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a role that stands under `services`".to_owned(),
        };
        reader.wrong(span, format!("there is no role `{name}`"), help);
    }
    None
}
