//! `depends_on`: what a role waits for, and that nothing waits for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{instead, part, role_path};
use super::nearest::nearest;
use super::read::Reader;
use super::service::Roles;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::RoleName;
use crate::core::plan::{Condition, Run};

/// What a role names, before it is known whether those roles exist.
pub(super) type Wishes = Vec<Wish>;

/// A role that is waited for.
pub(super) struct Wish {
    pub name: String,
    pub span: Span,
    pub condition: Condition,
    /// Whether it must be there.
    pub required: bool,
    /// The key by which it is wished for.
    pub key: &'static str,
}

/// Where a dependency is written, and by which key.
type Place = (Span, &'static str);

/// A role's `depends_on`.
pub(super) fn wishes(reader: &mut Reader<'_>, node: &Node, place: &str) -> Wishes {
    let mut found = Wishes::new();
    match &node.value {
        Value::List(items) => {
            for item in items {
                if let Some(name) = reader.public(item, "a role's name") {
                    found.push(Wish {
                        name,
                        span: item.span,
                        condition: Condition::Started,
                        required: true,
                        key: "depends_on",
                    });
                }
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let place = format!("{place}.{}", part(&key.text));
                let Some(mut fields) = reader.fields(value, &place, "`condition: …`") else {
                    continue;
                };
                let condition = match fields.take("condition") {
                    Some(field) => condition(reader, field.node),
                    None => Condition::Started,
                };
                let required = fields
                    .take("required")
                    .and_then(|field| reader.boolean(field.node));
                if let Some(field) = fields.take("restart")
                    && reader.boolean(field.node) == Some(true)
                {
                    reader.translated(
                        field,
                        "`restart: true` means nothing here: what an environment depends on is not changed once it is up",
                    );
                }
                fields.finish(reader, &[]);
                found.push(Wish {
                    name: key.text.clone(),
                    span: key.span,
                    condition,
                    required: required.unwrap_or(true),
                    key: "depends_on",
                });
            }
        }
        _ => reader.expected(
            node,
            "a list of roles, or `ROLE: {condition: service_healthy}`",
        ),
    }
    found
}

fn condition(reader: &mut Reader<'_>, node: &Node) -> Condition {
    let choices = [
        "service_started",
        "service_healthy",
        "service_completed_successfully",
    ];
    match reader.choice(node, "condition", &choices) {
        Some("service_healthy") => Condition::Healthy,
        Some("service_completed_successfully") => Condition::Completed,
        _ => Condition::Started,
    }
}

/// Turns wishes into the roles' `depends_on`, and refuses what is unknown, left out or circular.
pub(super) fn settle(
    reader: &mut Reader<'_>,
    found: &mut Roles,
    wishes: &BTreeMap<RoleName, Wishes>,
) {
    let Roles {
        roles,
        shared,
        left_out,
        ..
    } = found;
    let known: Vec<RoleName> = roles.keys().chain(shared.keys()).cloned().collect();
    let mut edges: BTreeMap<&RoleName, Vec<(RoleName, Place)>> = BTreeMap::new();
    for (role, wanted) in wishes {
        for Wish {
            name,
            span,
            condition,
            required,
            key,
        } in wanted
        {
            let Some(other) = known.iter().find(|known| known.as_str() == name) else {
                if !required {
                    reader.note(*span, format!("`{role}` does not wait for `{name}`, which is not there and not required"));
                    continue;
                }
                let (message, help) = if let Some(left) = left_out.get(name) {
                    let (message, back) = left.words(name);
                    (message, without((*span, key), role, name, &back))
                } else {
                    let help = match nearest(name, known.iter().map(RoleName::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "name a role that stands under `services`".to_owned(),
                    };
                    (format!("there is no role `{name}`"), help)
                };
                reader.wrong(*span, message, help);
                continue;
            };
            let role_of = |name: &RoleName| roles.get(name).or_else(|| shared.get(name));
            let Some(waited_for) = role_of(other) else {
                continue;
            };
            let waits = |condition: &str| {
                let place = format!("{}.depends_on.{}", role_path(role), part(name));
                instead(*span, &place, &format!("condition: {condition}"))
            };
            let disabled = waited_for.healthcheck.as_ref().is_some_and(|check| {
                check
                    .test
                    .first()
                    .is_some_and(|word| word.reveal() == "NONE")
            });
            if *condition == Condition::Healthy && disabled {
                reader.wrong(
                    *span,
                    format!("`{name}` can never be healthy: its healthcheck is disabled"),
                    waits("service_started"),
                );
            }
            let runs = |name: &RoleName| role_of(name).map(|role| role.run);
            if runs(role) == Some(Run::Shared) && runs(other) != Some(Run::Shared) {
                reader.wrong(
                    *span,
                    format!(
                        "`{role}` is shared and outlives releases, and `{name}` belongs to one"
                    ),
                    format!(
                        "{}, or write `run: shared` at `{name}` as well",
                        away((*span, key), role, name)
                    ),
                );
                continue;
            }
            if runs(other) == Some(Run::LiveOnly) && runs(role) != Some(Run::LiveOnly) {
                reader.wrong(
                    *span,
                    format!("`{role}` runs before the switch, and `{name}` does not: it is `run: live-only`"),
                    format!("{}, or write `run: live-only` at `{role}` as well", away((*span, key), role, name)),
                );
            }
            let is_job = runs(other) == Some(Run::Once);
            match condition {
                Condition::Completed if !is_job => reader.wrong(
                    *span,
                    format!("`{name}` is no job and never completes"),
                    match span.is_compose() {
                        false => "write `condition: service_started`, or `run: once` on that role".to_owned(),
                        true => format!("write in the plan: `services: {{{name}: {{run: once}}}}`, or `{role}: {{depends_on: {{{name}: {{condition: service_started}}}}}}`"),
                    },
                ),
                Condition::Healthy if is_job && !disabled => reader.wrong(
                    *span,
                    format!("`{name}` is a job: it ends, and is not waited for to be healthy"),
                    waits("service_completed_successfully"),
                ),
                Condition::Completed | Condition::Healthy | Condition::Started => {}
            }
            let edge = (other.clone(), (*span, *key));
            edges.entry(role).or_default().push(edge);
            if let Some(role) = roles.get_mut(role).or_else(|| shared.get_mut(role)) {
                role.depends_on.insert(other.clone(), *condition);
            }
        }
    }
    if let Some((path, (span, key))) = circle(&edges) {
        let names: Vec<_> = path.iter().map(|role| role.as_str()).collect();
        let help = match path.as_slice() {
            [.., role, other] if span.is_compose() => {
                let away = away((span, key), role, other.as_str());
                format!("remove one of the dependencies: {away}")
            }
            _ => "remove one of the dependencies".to_owned(),
        };
        reader.wrong(
            span,
            format!("these roles wait for each other: {}", names.join(" → ")),
            help,
        );
    }
}

/// The ways out where a role waits for one that is left out.
fn without((span, key): (Span, &str), role: &RoleName, name: &str, back: &str) -> String {
    let away = away((span, key), role, name);
    match span.is_compose() {
        false => format!("{away}, or {back}"),
        true => format!("{back}; or {away}"),
    }
}

/// How a dependency goes.
fn away((span, key): (Span, &str), role: &RoleName, name: &str) -> String {
    match span.is_compose() {
        false => "remove the dependency".to_owned(),
        true if key != "depends_on" => {
            format!("take it away in the plan: `services: {{{role}: {{{key}: !reset null}}}}`")
        }
        true => format!(
            "take the dependency away in the plan: `services: {{{role}: {{depends_on: {{{name}: !reset null}}}}}}`"
        ),
    }
}

/// A way from a role back to itself, first and last the same, and where its last step is written.
fn circle<'a>(
    edges: &'a BTreeMap<&RoleName, Vec<(RoleName, Place)>>,
) -> Option<(Vec<&'a RoleName>, Place)> {
    let mut done: BTreeSet<&RoleName> = BTreeSet::new();
    for start in edges.keys() {
        let mut path: Vec<(&RoleName, usize)> = vec![(start, 0)];
        while let Some((role, next)) = path.pop() {
            let Some((other, place)) = edges.get(role).and_then(|others| others.get(next)) else {
                done.insert(role);
                continue;
            };
            path.push((role, next + 1));
            if let Some(index) = path.iter().position(|(role, _)| *role == other) {
                let around = path[index..].iter().map(|(role, _)| *role);
                return Some((around.chain([other]).collect(), *place));
            }
            if !done.contains(other) {
                path.push((other, 0));
            }
        }
    }
    None
}
