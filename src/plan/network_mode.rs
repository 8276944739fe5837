//! `network_mode`, and what a role cannot say beside it.

use super::fields::{Fields, role_path, take_away};
use super::order::Wishes;
use super::read::Reader;
use super::service::Roles;
use super::source::Span;
use crate::core::RoleName;
use crate::core::plan::{Condition, Host, Role, Run};

/// Reads a role's `network_mode`: the role whose network it uses, if any.
pub(super) fn network_mode(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    (role, run): (&RoleName, Run),
    host: &mut Host,
    wishes: &mut Wishes,
) -> Option<RoleName> {
    let field = fields.take("network_mode")?;
    let text = reader.public(field.node, "`service:ROLE`")?;
    let span = field.node.span;
    let away = take_away(field.key, &role_path(role), "network_mode");
    match text.split_once(':').unwrap_or((&text, "")) {
        // As if it were not written.
        ("", "") => None,
        ("bridge" | "default", "") => {
            reader.translated(
                field,
                format!("`network_mode: {text}` of `{role}` becomes the environment's own network"),
            );
            None
        }
        ("host", "") if run == Run::Shared => {
            host.network = true;
            None
        }
        ("host", "") => {
            reader.wrong(
                span,
                format!("`{role}` uses the host's network, where two releases would take each other's ports"),
                format!("if the environment's own network will do, {away}; if it outlives releases, write `services: {{{role}: {{run: shared}}}}`"),
            );
            None
        }
        ("service", other) if !other.is_empty() => {
            let Ok(name) = RoleName::new(other) else {
                reader.wrong(
                    span,
                    format!("`{other}` is not a role's name"),
                    "write `service:ROLE`",
                );
                return None;
            };
            reader.translated(
                field,
                format!("`{role}` uses the network of `{other}`, replica by replica, and starts after it"),
            );
            if !wishes.iter().any(|wish| wish.name == other) {
                wishes.push(super::order::Wish {
                    name: other.to_owned(),
                    span,
                    condition: Condition::Started,
                    required: true,
                    key: "network_mode",
                });
            }
            Some(name)
        }
        ("container", _) => {
            reader.wrong(
                span,
                format!("`{role}` uses the network of a container that no release owns"),
                format!("{away}, and reach that container through a network: `networks: {{NAME: {{external: true}}}}`"),
            );
            None
        }
        ("none", "") => {
            reader.wrong(
                span,
                "a role without a network could not be told from one that does not answer",
                away,
            );
            None
        }
        _ => {
            reader.wrong(
                span,
                format!("`{text}` is not a network mode"),
                "write `service:ROLE`, or name networks under `networks`",
            );
            None
        }
    }
}

/// What the engine refuses beside another role's network.
pub(super) fn alone(
    reader: &mut Reader<'_>,
    (name, role): (&RoleName, &Role),
    places: &[(&str, Option<Span>)],
) {
    let what = match (&role.network_of, role.host.network) {
        (Some(other), _) => format!("the network of `{other}`"),
        (None, true) => "the host's network".to_owned(),
        (None, false) => return,
    };
    for (key, place) in places {
        if let Some(place) = place {
            reader.wrong(
                *place,
                format!("`{key}` says nothing to a role that uses {what}"),
                format!(
                    "{}, or write it on the role whose network it is",
                    take_away(*place, &role_path(name), key)
                ),
            );
        }
    }
}

/// A role that uses another's network has as many replicas, and is of the same kind.
pub(super) fn check(reader: &mut Reader<'_>, roles: &Roles) {
    let place = |name: &RoleName| roles.network_places.get(name).copied().unwrap_or_default();
    for (kind, name, role) in roles
        .roles
        .iter()
        .map(|(name, role)| (&roles.roles, name, role))
        .chain(
            roles
                .shared
                .iter()
                .map(|(name, role)| (&roles.shared, name, role)),
        )
    {
        let Some(other) = &role.network_of else {
            continue;
        };
        match kind.get(other) {
            None if role.run != Run::Shared && roles.shared.contains_key(other) => reader.wrong(
                place(name),
                format!("`{name}` uses the network of `{other}`, which is shared: two releases would take each other's ports there"),
                format!(
                    "if `{name}` outlives releases too, write `services: {{{name}: {{run: shared}}}}`; if `{other}` belongs to each release, `{other}: {{run: always}}`; if `{name}` does without, {}",
                    take_away(place(name), &format!("services.{name}"), "network_mode")
                ),
            ),
            // That it is not there was said where it is waited for.
            None => {}
            Some(owner) if owner.network_of.is_some() => reader.wrong(
                place(name),
                format!("`{name}` uses the network of `{other}`, which uses another role's itself"),
                format!("name that one: `services: {{{name}: {{network_mode: \"service:…\"}}}}`"),
            ),
            Some(owner) if owner.replicas != role.replicas || owner.run != role.run => reader.wrong(
                place(name),
                format!("`{name}` uses the network of `{other}`, and they do not stand and fall together"),
                "give both the same `run:` and the same number of replicas",
            ),
            Some(_) => {}
        }
    }
}
