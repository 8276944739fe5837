//! The keys of one map, taken by name, so that what nobody asked for is known to be a mistake.

use std::collections::BTreeMap;

use super::account::Fate;
use super::again;
use super::nearest::{listed, nearest};
use super::read::Reader;
use super::source::Span;
use super::tree::{Key, Node, Value};
use crate::core::RoleName;

/// The entries of one map. What is not taken before [`Fields::finish`] is unknown.
pub(super) struct Fields<'t> {
    pub path: String,
    pub span: Span,
    left: BTreeMap<&'t str, (Span, &'t Node)>,
    known: Vec<&'static str>,
    taken: Vec<&'static str>,
    /// The list of which this map is an entry, out of which a plan takes nothing.
    pub items: Option<&'t [Node]>,
    /// How a key of it goes where the map is written again as a whole.
    pub anew: Option<String>,
}

/// Keys whose being empty says something.
const MEANT_EMPTY: [&str; 4] = ["command", "entrypoint", "test", "content"];

/// What stands for a value that is empty once its variables are substituted.
static UNSET: Node = Node {
    id: u32::MAX,
    value: Value::Null,
    span: Span {
        file: 0,
        line: 0,
        column: 0,
        start: 0,
        end: 0,
    },
    tag: None,
};

/// A value together with the place of its key.
#[derive(Clone, Copy)]
pub(super) struct Field<'t> {
    pub key: Span,
    pub node: &'t Node,
}

impl<'t> Fields<'t> {
    pub(super) fn new(path: &str, span: Span, entries: &'t [(Key, Node)]) -> Self {
        let left = entries
            .iter()
            .map(|(key, value)| (key.text.as_str(), (key.span, value)));
        Self {
            path: path.to_owned(),
            span,
            left: left.collect(),
            known: Vec::new(),
            taken: Vec::new(),
            items: None,
            anew: None,
        }
    }

    /// Takes a text of a Compose file that is empty once its variables are substituted as left empty,
    /// as Compose does.
    pub(super) fn unset_empty(&mut self, reader: &mut Reader<'_>) {
        for (name, (_, node)) in &mut self.left {
            let may = node.span.is_compose() && !MEANT_EMPTY.contains(name);
            if may
                && !name.starts_with("x-")
                && node.text().is_some_and(|text| reader.is_empty(text))
            {
                reader.became(node, Fate::Empty);
                *node = &UNSET;
            }
        }
    }

    /// The value at `name`; one that is left empty counts as absent, as in Compose.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'t>> {
        self.take_even_empty(name)
            .filter(|field| !field.node.is_null())
    }

    pub(super) fn take_even_empty(&mut self, name: &'static str) -> Option<Field<'t>> {
        self.known.push(name);
        let (key, node) = self.left.remove(name)?;
        self.taken.push(name);
        Some(Field { key, node })
    }

    /// The value at `name` where it stands in a Compose file, which may say more than a plan.
    pub(super) fn take_of_compose(&mut self, name: &'static str) -> Option<Field<'t>> {
        let field = self.peek(name).filter(|field| field.key.is_compose());
        field.and_then(|_| self.take(name))
    }

    /// The value at `name`, left where it is.
    pub(super) fn peek(&self, name: &str) -> Option<Field<'t>> {
        self.left.get(name).map(|&(key, node)| Field { key, node })
    }

    /// The value at `name`, whose being left empty is an error.
    pub(super) fn take_full(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
    ) -> Option<Field<'t>> {
        let field = self.take_even_empty(name)?;
        if field.node.is_null() {
            reader.wrong(
                field.key,
                format!("`{name}` has no value"),
                "write one, or remove the line",
            );
            return None;
        }
        Some(field)
    }

    /// Like [`Self::take_full`], where its absence is an error at `start` too.
    pub(super) fn take_required(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        start: Span,
        (message, help): (&str, &str),
    ) -> Option<Field<'t>> {
        if !self.left.contains_key(name) {
            reader.wrong(start, message, help);
        }
        self.take_full(reader, name)
    }

    /// Whether this map has had a value at `name`, which was taken.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.taken.contains(&name)
    }

    /// The place of something below this map.
    pub(super) fn below(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Reports what was not taken: with its advice where `advised` has some, else as unknown.
    pub(super) fn finish(mut self, reader: &mut Reader<'_>, advised: &[(&str, &str)]) {
        if self.span.is_compose() {
            self.ignore_extensions(reader);
        }
        for (name, (span, node)) in &self.left {
            if let Some((_, advice)) = advised.iter().find(|(key, _)| key == name) {
                if span.is_compose() && node.is_null() {
                    continue;
                }
                let away = self.away(*span, name);
                let help = match advice.strip_prefix("remove it") {
                    Some(why) => format!("{away}{why}"),
                    // Beside what is written in its place the key would still be there.
                    None if span.is_compose() && !is_whole(advice) => {
                        format!("{advice}, and {away}")
                    }
                    None => (*advice).to_owned(),
                };
                reader.wrong(
                    *span,
                    format!("`{name}` is not supported in this version"),
                    help,
                );
                continue;
            }
            let place = match self.path.as_str() {
                "" => "a plan".to_owned(),
                path => format!("`{path}`"),
            };
            let known = self.known.iter().copied();
            let all = known.clone().chain(advised.iter().map(|(key, _)| *key));
            let help = match nearest(name, all) {
                Some(near) => match advised.iter().find(|(key, _)| *key == near) {
                    Some((_, advice)) => format!("if `{near}` is meant: {advice}"),
                    None => format!("did you mean `{near}`?"),
                },
                None if span.is_compose() => {
                    let away = self.away(*span, name);
                    match self.known.len() {
                        0..=MOST_LISTED => format!("{away}; known here: {}", listed(known)),
                        _ => away,
                    }
                }
                None => format!("known here: {}", listed(known)),
            };
            reader.wrong(*span, format!("`{name}` is not a key of {place}"), help);
        }
    }

    /// How a key that was not taken goes.
    fn away(&self, span: Span, name: &str) -> String {
        match (&self.anew, self.items) {
            (Some(anew), _) if span.is_compose() => anew.clone(),
            (None, Some(items)) if span.is_compose() => {
                let listed = again::listed(items, &self.known);
                format!(
                    "write the list without it in the plan: `{}`",
                    wrapped_value(&self.path, &listed)
                )
            }
            _ => take_away(span, &self.path, name),
        }
    }

    /// Lets go of what a person may write for other tools.
    pub(super) fn ignore_extensions(&mut self, reader: &mut Reader<'_>) {
        self.left.retain(|name, (_, node)| {
            let theirs = name.starts_with("x-");
            if theirs {
                reader.became(node, Fate::LeftOut);
            }
            !theirs
        });
    }
}

/// How many keys are listed beside the line that takes an unknown one away.
const MOST_LISTED: usize = 12;

/// Whether an advice says already what becomes of what stands there.
fn is_whole(advice: &str) -> bool {
    advice.contains("!reset") || advice.contains("!override")
}

/// A name as a part of a path: in quotes where its own dots would be taken for the path's.
pub(super) fn part(name: &str) -> String {
    match name.contains('.') {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    }
}

/// The path of a role.
pub(super) fn role_path(role: &RoleName) -> String {
    format!("services.{}", part(role.as_str()))
}

/// A path's parts.
fn parts(path: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = path.split(|c| {
        quoted ^= c == '"';
        c == '.' && !quoted
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// `inner` below the keys of a path, in one line.
fn wrapped(keys: &[&str], inner: String) -> String {
    let outwards = keys.iter().rev();
    outwards.fold(inner, |inner, key| format!("{key}: {{{inner}}}"))
}

/// A value at a path, in one line.
pub(super) fn wrapped_value(path: &str, value: &str) -> String {
    let mut keys = parts(path);
    let last = keys.pop().unwrap_or("");
    wrapped(&keys, format!("{last}: {value}"))
}

/// How another value is said: by hand in a plan, by the plan's word where it is in a Compose file,
/// which stays as it is.
pub(super) fn instead(span: Span, path: &str, line: &str) -> String {
    match span.is_compose() {
        false => format!("write `{line}`"),
        true => format!(
            "write in the plan: `{}`",
            wrapped(&parts(path), line.to_owned())
        ),
    }
}

/// How a key goes: by hand in a plan, by the plan's word where it is in a Compose file.
pub(super) fn take_away(span: Span, path: &str, key: &str) -> String {
    if !span.is_compose() {
        return "remove it".to_owned();
    }
    let gone = wrapped(&parts(path), format!("{key}: !reset null"));
    format!("take it away in the plan: `{gone}`")
}
