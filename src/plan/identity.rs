//! By what an entry of a list is known, so that a later file can say something else of the same one:
//! with its variables substituted, as far as they have a value.

use super::merge::colon_separated;
use super::read::Reader;
use super::tree::{Node, Value};

/// Tells it of one entry; of those that have none, all stand side by side.
pub(super) type Of = fn(&mut Reader<'_>, &Node) -> Option<String>;

/// The whole of what it says.
pub(super) fn whole(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    Some(reader.expanded_or_written(node.text()?))
}

/// Where an entry of `volumes` or `devices` appears in the container.
pub(super) fn target(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let written = written_target(node)?;
    let target = reader.expanded_or_written(&written);
    // What a variable holds may be all of it.
    let last = colon_separated(&target);
    let target = last.get(1).unwrap_or(&last[0]);
    Some(target.trim_end_matches('/').to_owned())
}

/// As [`target`], of `secrets`.
pub(super) fn secret(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let target = target(reader, node)?;
    Some(target.trim_start_matches("/run/secrets/").to_owned())
}

/// As [`target`], of `configs`.
pub(super) fn config(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    Some(target(reader, node)?.trim_start_matches('/').to_owned())
}

/// As [`target`], of `tmpfs`: `PATH:OPTIONS`.
pub(super) fn tmpfs(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = whole(reader, node)?;
    let path = text.split(':').next()?;
    Some(path.trim_end_matches('/').to_owned())
}

/// A log driver.
pub(super) fn driver(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    whole(reader, node.get("driver")?)
}

/// Where an entry of `volumes`, `devices`, `secrets` or `configs` is said to appear; its name where it
/// does not say.
pub(super) fn written_target(node: &Node) -> Option<String> {
    let Value::Map(_) = &node.value else {
        let parts = colon_separated(node.text()?);
        let target = parts.get(1).unwrap_or(&parts[0]);
        return Some(target.trim_end_matches('/').to_owned());
    };
    let value = |name: &str| node.get(name).and_then(Node::text);
    let target = value("target").or_else(|| value("source"))?;
    Some(target.trim_end_matches('/').to_owned())
}
