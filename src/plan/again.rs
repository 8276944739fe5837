//! What a Compose file says, as a plan would say it instead: for hints that are to be taken word for
//! word.

use super::merge::colon_separated;
use super::propose::relative;
use super::read::Reader;
use super::tree::{Node, Value};
use super::typed::is_true;
use crate::core::RoleName;

/// A mount without what is not supported of it. Of two at one target the plan's is the one that holds.
pub(super) fn mount(reader: &Reader<'_>, node: &Node, role: &RoleName) -> String {
    let (source, target, read_only) = match &node.value {
        Value::Map(_) => {
            let value = |name: &str| node.get(name).and_then(Node::text).unwrap_or("");
            (
                value("source"),
                value("target"),
                is_true(value("read_only")),
            )
        }
        _ => {
            let parts = colon_separated(node.text().unwrap_or(""));
            let part = |at: usize| parts.get(at).copied().unwrap_or("");
            let read_only = part(2).split(',').any(|mode| mode == "ro");
            (part(0), part(1), read_only)
        }
    };
    let source = path(reader, node, source);
    let mode = if read_only { ":ro" } else { "" };
    format!("`services: {{{role}: {{volumes: [\"{source}:{target}{mode}\"]}}}}`")
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
