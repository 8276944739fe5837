//! The options of a tmpfs: as a map in a long mount, or as the engine takes them in a short one.

use super::grants::mode;
use super::read::Reader;
use super::tree::Node;

/// Options without a value that the engine takes.
const FLAGS: [&str; 15] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "noatime",
    "nodiratime",
    "relatime",
    "strictatime",
];

/// The options of a long mount, as the engine takes them.
///
/// `again` is the line of the plan that says the whole mount once more.
pub(super) fn options(
    reader: &mut Reader<'_>,
    node: &Node,
    place: &str,
    again: Option<&str>,
) -> String {
    let mut options = Vec::new();
    let Some(mut fields) = reader.fields(node, place, "`size` and `mode`") else {
        return String::new();
    };
    fields.anew = again.map(without);
    if let Some(field) = fields.take("size")
        && let Some(bytes) = reader.size(field.node)
    {
        options.push(format!("size={bytes}"));
    }
    if let Some(field) = fields.take("mode")
        && let Some(mode) = mode(reader, field.node, again)
    {
        options.push(format!("mode={mode:o}"));
    }
    fields.finish(reader, &[]);
    options.join(",")
}

/// How a mount loses what is not supported of it, by its line in the plan.
pub(super) fn without(again: &str) -> String {
    format!("write the mount without it in the plan: {again}")
}

/// The first of `options` that the engine would refuse, at the start of a container at the latest.
pub(super) fn unknown_option(options: &str) -> Option<&str> {
    let mut options = options.split(',').filter(|option| !option.is_empty());
    options.find(|option| !is_known(option))
}

fn is_known(option: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let scaled = |text: &str| {
        number(
            text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G'])
                .unwrap_or(text),
        )
    };
    match option.split_once('=') {
        None => FLAGS.contains(&option),
        Some(("size", value)) => scaled(value.strip_suffix('%').unwrap_or(value)),
        Some(("nr_blocks" | "nr_inodes", value)) => scaled(value),
        Some(("uid" | "gid", value)) => number(value),
        Some(("mode", value)) => u32::from_str_radix(value, 8).is_ok_and(|bits| bits <= 0o7777),
        Some(_) => false,
    }
}
