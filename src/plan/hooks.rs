//! `hooks`: what is run around a switch.

use std::collections::BTreeMap;

use super::fields::{Field, Fields};
use super::read::Reader;
use super::service::Roles;
use super::source::Span;
use super::tree::{Node, Value};
use super::{command, environment, expose, http, job};
use crate::core::ServiceName;
use crate::core::hook::{HookKind, HookPlan, When};
use crate::core::plan::{Hook, HookAct, HookRequest, Text};

/// How long a hook may run where it does not say.
const TIMEOUT_MS: u64 = 300_000;

const TIMES: [(&str, When); 3] = [
    ("before_switch", When::BeforeSwitch),
    ("after_switch", When::AfterSwitch),
    ("on_rollback", When::OnRollback),
];

/// The top level's `hooks`; where the roles are not known, those that need none of them.
pub(super) fn hooks(reader: &mut Reader<'_>, field: Field<'_>, roles: Option<&Roles>) -> Vec<Hook> {
    let Some(mut fields) = reader.fields(field.node, "hooks", "`before_switch:` with a list below")
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut names = BTreeMap::new();
    for (key, when) in TIMES {
        let Some(field) = fields.take_full(reader, key) else {
            continue;
        };
        let Some(items) = reader.list(field.node, "a list of hooks") else {
            continue;
        };
        for (index, item) in items.iter().enumerate() {
            let place = format!("hooks.{key}.{index}");
            let wrong = reader.problems.len();
            let hook = hook(reader, item, &place, when, roles, &mut names);
            if roles.is_none() && reader.problems.len() == wrong {
                reader.missed_below(&format!("{place}."));
            }
            // One with a word missing would do something else.
            found.extend(hook.filter(|_| reader.problems.len() == wrong));
        }
    }
    fields.finish(reader, &[]);
    found
}

fn hook(
    reader: &mut Reader<'_>,
    item: &Node,
    place: &str,
    when: When,
    roles: Option<&Roles>,
    names: &mut BTreeMap<String, Span>,
) -> Option<Hook> {
    let mut fields = reader.fields(item, place, "a hook's keys, such as `name:` and `run:`")?;
    let start = Span {
        end: item.span.start,
        ..item.span
    };
    let missing = (
        "this hook has no `name`",
        "add `name: WORD`, by which it is told of and asked for",
    );
    let name = fields
        .take_required(reader, "name", start, missing)
        .and_then(|field| name(reader, field.node, roles, names));
    let act = act(reader, &mut fields, start, roles);
    let timeout_ms = match fields.take_full(reader, "timeout") {
        Some(field) => job::positive(reader, field.node, "timeout"),
        None => Some(TIMEOUT_MS),
    };
    let idempotent = fields.take_full(reader, "idempotent");
    let idempotent = idempotent.and_then(|field| reader.boolean(field.node));
    fields.finish(
        reader,
        &[(
            "when",
            "the list that it stands in says so: `before_switch`, `after_switch` or `on_rollback`",
        )],
    );
    let act = act?;
    Some(Hook {
        plan: HookPlan {
            name: name?,
            when,
            kind: match act {
                HookAct::Container { .. } => HookKind::Container,
                HookAct::Command { .. } => HookKind::Command,
                HookAct::Http(_) => HookKind::Http,
            },
            idempotent: idempotent.unwrap_or(false),
        },
        timeout_ms: timeout_ms?,
        act,
    })
}

/// A name that nothing else of the release has: a container may be called after it.
fn name(
    reader: &mut Reader<'_>,
    node: &Node,
    roles: Option<&Roles>,
    names: &mut BTreeMap<String, Span>,
) -> Option<String> {
    let text = reader.public(node, "a name such as `migrate-check`")?;
    if let Err(bad) = ServiceName::new(text.clone()) {
        reader.wrong(
            node.span,
            format!("`{text}` is not a hook's name"),
            bad.rule,
        );
        return None;
    }
    if let Some(first) = names.get(&text) {
        reader.wrong(
            node.span,
            format!("the hook on line {} is called `{text}` too", first.line),
            "give one of them another name",
        );
        return None;
    }
    let is_replica = |role: &str| {
        let number = text
            .strip_prefix(role)
            .and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit()))
    };
    let mut known = roles.into_iter().flat_map(|roles| roles.roles.keys());
    if let Some(role) = known.find(|role| is_replica(role.as_str())) {
        reader.wrong(
            node.span,
            format!("a container of the role `{role}` may be called so"),
            "give the hook a name that does not end in a number",
        );
        return None;
    }
    names.insert(text.clone(), node.span);
    Some(text)
}

fn act(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    start: Span,
    roles: Option<&Roles>,
) -> Option<HookAct> {
    const HELP: &str =
        "write one of `role: ROLE` with `command: […]`, `run: […]` and `http: {url: …}`";
    let (role, run) = (
        fields.take_full(reader, "role"),
        fields.take_full(reader, "run"),
    );
    let (words, asked) = (
        fields.take_full(reader, "command"),
        fields.take_full(reader, "http"),
    );
    let environment = match run {
        Some(_) => environment::environment(reader, fields),
        None => BTreeMap::new(),
    };
    match (role, run, asked) {
        (Some(role), None, None) => {
            let roles = roles?;
            let text = reader.public(role.node, "a role's name")?;
            let role = expose::any_role(reader, role.node.span, &text, roles);
            let Some(words) = words else {
                let help = "add `command: [PROGRAM, ARGUMENT, …]`";
                reader.wrong(
                    start,
                    "this hook says in which role, and no `command`",
                    help,
                );
                return None;
            };
            let command = program(reader, words.node, &fields.below("command"))?;
            Some(HookAct::Container {
                role: role?,
                command,
            })
        }
        (None, Some(run), None) if words.is_none() => Some(HookAct::Command {
            command: program(reader, run.node, &fields.below("run"))?,
            environment,
            directory: reader.directory.clone(),
        }),
        (None, None, Some(asked)) if words.is_none() => {
            request(reader, asked.node, &fields.below("http")).map(HookAct::Http)
        }
        (None, None, None) => {
            reader.wrong(start, "this hook does nothing", HELP);
            None
        }
        _ => {
            reader.wrong(start, "a hook does exactly one thing", HELP);
            None
        }
    }
}

fn program(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Vec<Text>> {
    let words = command::command(reader, node, place)?;
    if words.first().is_none_or(|word| word.reveal().is_empty()) {
        reader.wrong(
            node.span,
            "this command is empty",
            "write a list such as `[PROGRAM, ARGUMENT, …]`",
        );
        return None;
    }
    Some(words)
}

fn request(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<HookRequest> {
    let mut fields = reader.fields(node, place, "`url:` and what else the request needs")?;
    let start = Span {
        end: node.span.start,
        ..node.span
    };
    let missing = ("this request has no `url`", "add `url: https://…`");
    let url = fields
        .take_required(reader, "url", start, missing)
        .and_then(|field| url(reader, field.node, &fields.below("url")));
    let method = match fields.take_full(reader, "method") {
        Some(field) => http::method(reader, field.node),
        None => Some("POST".to_owned()),
    };
    let headers_place = fields.below("headers");
    let mut headers = Vec::new();
    if let Some(field) = fields.take_full(reader, "headers") {
        let mut read = Vec::new();
        http::headers(reader, field.node, &headers_place, &mut read);
        let valued = read.into_iter();
        headers.extend(valued.filter_map(|field| Some((field.name, field.value?))));
    }
    let body_place = fields.below("body");
    let body = fields
        .take("body")
        .and_then(|field| reader.text(field.node, &body_place, "text"));
    let status = match fields.take_full(reader, "status") {
        Some(field) => http::statuses(reader, field.node),
        None => vec![(200, 299)],
    };
    fields.finish(
        reader,
        &[(
            "json",
            "write the text as `body`, and its type in `headers`",
        )],
    );
    Some(HookRequest {
        url: url?,
        method: method?,
        headers,
        body,
        status,
    })
}

fn url(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Text> {
    if !matches!(node.value, Value::Scalar { .. }) {
        reader.expected(node, "an address such as `https://ci.example/done`");
        return None;
    }
    let text = reader.text(node, place, "an address such as `https://ci.example/done`")?;
    let rest = text.reveal().split_once("://");
    let good = rest.is_some_and(|(scheme, rest)| {
        ["http", "https"].contains(&scheme) && !rest.is_empty() && !rest.starts_with('/')
    });
    if !good {
        reader.wrong(
            node.span,
            "this is not the address of a web server",
            "write it whole, such as `https://ci.example/done`",
        );
        return None;
    }
    Some(text)
}
