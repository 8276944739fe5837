//! What a plan decides on and no role has: a typing error, most likely, after which nothing would be
//! decided on what was meant.
//!
//! Roles that are left out count too, since which those are may change while the plan stays. What a
//! run was begun with is not asked again when it is resumed.

use std::collections::BTreeSet;

use super::compose::{Kind, Whole};
use super::files;
use super::merge::colon_separated;
use super::nearest::{listed, nearest};
use super::read::Reader;
use super::service::{ALL, Roles};
use super::store::{Decided, Declared};
use super::substitute;
use super::tree::{Node, Value};

/// Sections of names, and what such a name is called.
const SECTIONS: [(&str, &str); 4] = [
    ("volumes", "volume"),
    ("networks", "network"),
    ("secrets", "secret"),
    ("configs", "config"),
];

/// What the roles of a tree name.
#[derive(Default)]
struct Named {
    /// As `volumes.uploads`.
    names: BTreeSet<String>,
    profiles: BTreeSet<String>,
    binds: Vec<Bind>,
    /// Whether a variable has no value, so that nothing can be called unused.
    is_unclear: bool,
}

struct Bind {
    role: String,
    written: String,
    path: String,
}

/// Says what is decided on and not there.
pub(super) fn check(
    reader: &mut Reader<'_>,
    whole: &Whole,
    declared: &Declared,
    roles: Option<&Roles>,
) {
    let Some(services) = whole.root.get("services") else {
        return;
    };
    if !reader.is_first() || whole.kind == Kind::Unread {
        return;
    }
    let named = Named::of(reader, services);
    if named.is_unclear {
        return;
    }
    if whole.kind == Kind::Read {
        names(reader, &whole.root, &named);
    }
    profiles(reader, &named);
    let both = declared.shared_paths.iter().chain(&declared.copied_paths);
    for entry in both {
        paths(reader, entry, &named.binds);
    }
    if let Some(roles) = roles {
        for entry in &declared.shared_paths {
            note_further(reader, entry, declared, (&named.binds, roles));
        }
    }
}

/// Names of the top level that are the plan's alone.
fn names(reader: &mut Reader<'_>, root: &Node, named: &Named) {
    for (section, what) in SECTIONS {
        let Some(Value::Map(entries)) = root.get(section).map(|node| &node.value) else {
            continue;
        };
        let theirs: Vec<&str> = entries
            .iter()
            .filter(|(key, _)| key.span.is_compose())
            .map(|(key, _)| key.text.as_str())
            .collect();
        for (key, _) in entries {
            let name = key.text.as_str();
            let is_known = key.span.is_compose()
                || name.starts_with("x-")
                || section == "networks" && name == "default"
                || named.names.contains(&format!("{section}.{name}"));
            if is_known {
                continue;
            }
            let help = match nearest(name, theirs.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if theirs.is_empty() => "remove it".to_owned(),
                None => format!("remove it; known there: {}", listed(theirs.iter().copied())),
            };
            reader.wrong(
                key.span,
                format!("the Compose files have no {what} `{name}`, and no role uses it"),
                help,
            );
        }
    }
}

/// Profiles that are chosen.
fn profiles(reader: &mut Reader<'_>, named: &Named) {
    let known = || named.profiles.iter().map(String::as_str);
    for (name, span) in reader.profiles.clone() {
        if name.is_empty() || name == ALL || named.profiles.contains(&name) {
            continue;
        }
        let help = match nearest(&name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if named.profiles.is_empty() => "remove it".to_owned(),
            None => format!("remove it; known here: {}", listed(known())),
        };
        reader.wrong(span, format!("no role has the profile `{name}`"), help);
    }
}

/// An entry of `shared_paths` or `copied_paths`.
fn paths(reader: &mut Reader<'_>, entry: &Decided, binds: &[Bind]) {
    if binds
        .iter()
        .any(|bind| files::is_below(&bind.path, &entry.path))
    {
        return;
    }
    let help = match nearest(
        &entry.written,
        binds.iter().map(|bind| bind.written.as_str()),
    ) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "remove it".to_owned(),
    };
    reader.wrong(
        entry.span,
        format!("no role binds `{}`, or anything below it", entry.written),
        help,
    );
}

/// What stands in `shared_paths` for a shared role and decides for roles of a release as well.
fn note_further(
    reader: &mut Reader<'_>,
    entry: &Decided,
    declared: &Declared,
    (binds, roles): (&[Bind], &Roles),
) {
    let home = reader.home();
    let is_shared = |bind: &&Bind| roles.shared.keys().any(|role| role.as_str() == bind.role);
    let is_released = |bind: &&Bind| roles.roles.keys().any(|role| role.as_str() == bind.role);
    let own = |path: &str| {
        let mut entries = declared.shared_paths.iter();
        entries.any(|entry| entry.path == path)
    };
    let Some(meant) = binds
        .iter()
        .filter(|bind| bind.path == entry.path)
        .find(is_shared)
    else {
        return;
    };
    let further = binds
        .iter()
        .filter(|bind| entry.decides_on(&bind.path, &home) && !own(&bind.path));
    for bind in further.filter(is_released) {
        reader.note(
            entry.span,
            format!(
                "`{}` stands here for `{}`, which is shared, and with it every release of `{}` shares `{}`",
                entry.written, meant.role, bind.role, bind.written
            ),
        );
    }
}

impl Named {
    fn of(reader: &mut Reader<'_>, services: &Node) -> Self {
        let mut named = Self::default();
        let Value::Map(roles) = &services.value else {
            return named;
        };
        for (key, role) in roles {
            let at = |name: &str| role.get(name);
            if let Some(node) = at("profiles") {
                let all = named.words(reader, node);
                named.profiles.extend(all);
            }
            for section in ["networks", "secrets", "configs"] {
                let all = at(section).map(|node| named.words(reader, node));
                let all = all.unwrap_or_default().into_iter();
                named
                    .names
                    .extend(all.map(|name| format!("{section}.{name}")));
            }
            if let Some(Value::List(items)) = at("volumes").map(|node| &node.value) {
                for item in items {
                    named.mount(reader, &key.text, item);
                }
            }
        }
        named
    }

    /// The words of one value or a list, the `source` of a map in it; the keys of a map.
    fn words(&mut self, reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
        match &node.value {
            Value::Map(entries) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
            Value::List(items) => {
                let words = items.iter().filter_map(|item| match item.value {
                    Value::Map(_) => self.text(reader, item.get("source")?),
                    _ => self.text(reader, item),
                });
                words.collect()
            }
            _ => self.text(reader, node).into_iter().collect(),
        }
    }

    fn text(&mut self, reader: &mut Reader<'_>, node: &Node) -> Option<String> {
        let Value::Scalar { text, .. } = &node.value else {
            return None;
        };
        match substitute::expand(text, &mut |name, _| reader.variable(name)) {
            Ok(expanded) => Some(expanded.value),
            Err(_) => {
                self.is_unclear = true;
                None
            }
        }
    }

    fn mount(&mut self, reader: &mut Reader<'_>, role: &str, item: &Node) -> Option<()> {
        let (node, is_bind) = match &item.value {
            Value::Map(_) => {
                let kind = item.get("type").and_then(|node| self.text(reader, node));
                (item.get("source")?, kind.as_deref() == Some("bind"))
            }
            _ => (item, false),
        };
        let mut source = self.text(reader, node)?;
        if node.id == item.id {
            source.truncate(colon_separated(&source)[0].len());
        }
        if source.starts_with('~') {
            return None;
        }
        if !is_bind && !source.starts_with(['.', '/']) {
            self.names.insert(format!("volumes.{source}"));
            return None;
        }
        let path = reader.resolve(node.span, &source).display().to_string();
        self.binds.push(Bind {
            role: role.to_owned(),
            written: source,
            path,
        });
        Some(())
    }
}
