//! A volume without a name. It belongs to one container, so that no release could hand it to the
//! next: in a role of a release it is an error until the plan gives it a name, and decides on it as
//! on any other.

use super::identity;
use super::read::Reader;
use super::role::At;
use super::tree::Node;
use crate::core::plan::Run;

/// A name for the volume of a role at `target`, which no other volume has.
pub(super) fn name(role: &str, target: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    let last = target.trim_end_matches('/').rsplit('/').next();
    let short = joined(role, last.unwrap_or(""));
    if !is_taken(&short) {
        return short;
    }
    let whole = joined(role, target);
    let numbered = (2_u32..).map(|number| format!("{whole}-{number}"));
    let mut all = std::iter::once(whole.clone()).chain(numbered);
    all.find(|name| !is_taken(name)).unwrap_or(whole)
}

/// A role's name and the words of a path as a volume's name. What stands in variables is not written
/// down.
fn joined(role: &str, path: &str) -> String {
    let words = match path.contains('$') {
        true => "data",
        false => path,
    };
    let words = words.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    std::iter::once(role)
        .chain(words)
        .collect::<Vec<_>>()
        .join("-")
}

/// Says which lines name it and decide on it.
pub(super) fn refuse(reader: &mut Reader<'_>, node: &Node, target: &str, at: &At<'_>) {
    let written = identity::written_target(node).unwrap_or_else(|| target.to_owned());
    let role = at.name;
    let name = name(role.as_str(), &written, &|name| {
        at.declared.volumes.contains_key(name) || reader.undecided.contains(name)
    });
    reader.undecided.insert(name.clone());
    let line = format!("volumes: [\"{name}:{written}\"]");
    let named = match node.span.is_compose() {
        true => {
            format!("name it in the plan, `services: {{{role}: {{{line}}}}}`, and decide on it")
        }
        false => format!("name it, `{line}`, and decide on it at the top level"),
    };
    let decide = format!(
        "{named}: `volumes: {{{name}: {{keep: across-releases}}}}` to keep its data from release to release, or `volumes: {{{name}: {{keep: per-release}}}}` to begin empty each time"
    );
    let shared = at.proposal.as_ref();
    let help = match shared.filter(|proposal| proposal.run == Run::Shared) {
        Some(proposal) => format!("{}; or {decide}", proposal.advice(role.as_str())),
        None => decide,
    };
    reader.wrong(
        node.span,
        format!("the volume of `{role}` at `{target}` has no name, and nothing says whether its data outlives a release"),
        help,
    );
}
