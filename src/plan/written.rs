//! Whether anything may write to a volume of the top level.

use super::read::Reader;
use super::tree::{Node, Value};
use super::typed::is_true;

/// Whether all roles that are not left out mount a volume read-only.
pub(super) fn is_only_read(reader: &mut Reader<'_>, services: &Node, volume: &str) -> bool {
    let Value::Map(roles) = &services.value else {
        return false;
    };
    let run = |role: &Node| role.get("run").and_then(Node::text) != Some("never");
    let mut mounts = roles
        .iter()
        .filter(|(_, role)| run(role))
        .filter_map(|(_, role)| match &role.get("volumes")?.value {
            Value::List(items) => Some(items),
            _ => None,
        })
        .flatten();
    mounts.all(|item| !writes(reader, item, volume))
}

fn writes(reader: &mut Reader<'_>, item: &Node, volume: &str) -> bool {
    let mut text = |node: Option<&Node>| {
        let text = node.and_then(Node::text).unwrap_or("");
        reader.expanded_or_written(text)
    };
    match &item.value {
        Value::Map(_) => {
            text(item.get("source")) == volume && !is_true(&text(item.get("read_only")))
        }
        _ => {
            let text = text(Some(item));
            let mut parts = text.split(':');
            let modes = parts.clone().nth(2).unwrap_or("");
            parts.next() == Some(volume) && !modes.split(',').any(|mode| mode == "ro")
        }
    }
}
