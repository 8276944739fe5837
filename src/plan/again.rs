//! What a Compose file says, as a plan would say it instead: for hints that are to be taken word for
//! word.

use super::fields::wrapped_value;
use super::merge::colon_separated;
use super::propose::{always_quoted, relative};
use super::read::Reader;
use super::tree::{Node, Value};
use super::typed::is_true;
use crate::core::RoleName;

/// How many entries of a list are written again for a hint.
const MOST_LISTED: usize = 32;

/// A mount without what is not supported of it. Of two at one target the plan's is the one that holds.
pub(super) fn mount(reader: &Reader<'_>, node: &Node, role: &RoleName) -> String {
    format!(
        "`services: {{{role}: {{volumes: [{}]}}}}`",
        mounted(reader, node)
    )
}

/// The mounts of a role but for one.
pub(super) fn mounts_without(
    reader: &Reader<'_>,
    (items, gone): (&[Node], &Node),
    place: &str,
) -> String {
    let stays = |item: &&Node| item.id != gone.id && !item.text().is_some_and(begins_with_a_drive);
    let others = items.iter().filter(stays);
    let listed = overriding(others.map(|item| mounted(reader, item)));
    format!("`{}`", wrapped_value(place, &listed))
}

/// Whether a mount is of a path of Windows.
pub(super) fn begins_with_a_drive(mount: &str) -> bool {
    let is_drive = |part: &str| part.len() == 1 && part.chars().all(|c| c.is_ascii_alphabetic());
    let parts = colon_separated(mount);
    match parts.as_slice() {
        [drive, path] => is_drive(drive) && path.starts_with('\\'),
        [drive, path, target, ..] => {
            is_drive(drive) && path.starts_with(['/', '\\']) && target.starts_with(['/', '\\'])
        }
        _ => false,
    }
}

fn mounted(reader: &Reader<'_>, node: &Node) -> String {
    let Value::Map(_) = &node.value else {
        let parts = colon_separated(node.text().unwrap_or(""));
        let part = |at: usize| parts.get(at).copied().unwrap_or("");
        let mode = match part(2).split(',').any(|mode| mode == "ro") {
            true => ":ro",
            false => "",
        };
        let source = path(reader, node, &at_home(part(0)));
        return always_quoted(&match parts.len() {
            1 => source,
            _ => format!("{source}:{}{mode}", part(1)),
        });
    };
    let value = |name: &str| node.get(name).and_then(Node::text).unwrap_or("");
    let (source, target) = (value("source"), value("target"));
    if value("type") == "tmpfs" {
        return in_memory(node, target);
    }
    let read_only = is_true(value("read_only"));
    if source.is_empty() {
        let mode = if read_only { ", read_only: true" } else { "" };
        return format!("{{type: volume, target: {}{mode}}}", always_quoted(target));
    }
    // In the short form a path without a dot would be a volume's name.
    let is_bare = value("type") == "bind" && !source.starts_with(['.', '/', '~', '$']);
    let dot = if is_bare { "./" } else { "" };
    let source = path(reader, node, &at_home(&format!("{dot}{source}")));
    let mode = if read_only { ":ro" } else { "" };
    always_quoted(&format!("{source}:{target}{mode}"))
}

/// A mount in memory, its sizes with their unit and its mode with the zero in front.
fn in_memory(node: &Node, target: &str) -> String {
    let option = |key: &str| node.get("tmpfs")?.get(key)?.text();
    let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let size = option("size").map(|size| match is_number(size) {
        true => format!("size: {size}b"),
        false => format!("size: {}", always_quoted(size)),
    });
    let mode = option("mode").map(|mode| match is_number(mode) && !mode.starts_with('0') {
        true => format!("mode: 0{mode}"),
        false => format!("mode: {}", always_quoted(mode)),
    });
    let options: Vec<_> = size.into_iter().chain(mode).collect();
    let options = match options.is_empty() {
        true => String::new(),
        false => format!(", tmpfs: {{{}}}", options.join(", ")),
    };
    format!(
        "{{type: tmpfs, target: {}{options}}}",
        always_quoted(target)
    )
}

/// The entries of a list as they are written; of those that are maps, what is `known`.
pub(super) fn listed<'t>(items: impl IntoIterator<Item = &'t Node>, known: &[&str]) -> String {
    overriding(items.into_iter().map(|item| match &item.value {
        Value::Map(entries) => {
            let known = entries
                .iter()
                .filter(|(key, _)| known.contains(&key.text.as_str()));
            let said: Vec<_> = known
                .filter_map(|(key, value)| {
                    Some(format!("{}: {}", key.text, always_quoted(value.text()?)))
                })
                .collect();
            format!("{{{}}}", said.join(", "))
        }
        _ => always_quoted(item.text().unwrap_or("")),
    }))
}

/// What stands in the place of a list.
fn overriding(entries: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = entries.take(MOST_LISTED + 1).collect();
    match all.len() {
        0 => "!reset null".to_owned(),
        1..=MOST_LISTED => format!("!override [{}]", all.join(", ")),
        _ => "!override […]".to_owned(),
    }
}

/// A path in the home directory of whoever runs this, which a plan calls by its variable.
pub(super) fn at_home(path: &str) -> String {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', ':']) => format!("${{HOME}}{rest}"),
        _ => path.to_owned(),
    }
}

/// A relative path of a Compose file as the plan would write it, whose paths begin elsewhere.
pub(super) fn path(reader: &Reader<'_>, node: &Node, path: &str) -> String {
    let is_name = !path.starts_with(['.', '/']);
    let beside = reader.directory == reader.project_directory;
    if is_name || path.starts_with('/') || path.contains('$') || beside {
        return path.to_owned();
    }
    let from_plan = relative(&reader.resolve(node.span, path), &reader.directory);
    match from_plan.starts_with("..") {
        true => from_plan,
        false => format!("./{from_plan}"),
    }
}

/// As [`path`], of a file of variables, whose path needs no dot before it.
pub(super) fn env_file(reader: &Reader<'_>, node: &Node, written: &str) -> String {
    match written.starts_with(['.', '/']) {
        true => path(reader, node, written),
        false => {
            let dotted = path(reader, node, &format!("./{written}"));
            dotted.strip_prefix("./").unwrap_or(&dotted).to_owned()
        }
    }
}
