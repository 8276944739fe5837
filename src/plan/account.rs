//! What became of every value of a plan and of its Compose files, so that nothing is ignored
//! silently: what nobody has read is found, and said.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::error::Problem;
use super::source::{Source, Span};
use super::tree::{Node, Value};

/// What became of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It was read, and holds.
    Used,
    /// It means something else here than in Compose, or nothing; a note says what.
    Translated,
    /// A later file, or the plan, says something else.
    Overridden,
    /// It belongs to a role that is left out, or is marked as other tools' own (`x-`).
    LeftOut,
    /// It is empty, which says nothing.
    Empty,
    /// Something is wrong with it, which was said.
    Refused,
    /// Something is wrong before it, so that reading has not come to it.
    NotReached,
    /// Nobody has looked at it: that is a defect of flipside's.
    Unread,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Used => "used",
            Self::Translated => "translated",
            Self::Overridden => "overridden",
            Self::LeftOut => "left-out",
            Self::Empty => "empty",
            Self::Refused => "refused",
            Self::NotReached => "not-reached",
            Self::Unread => "unread",
        })
    }
}

/// What became of the value at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The file, as it was named.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Where in the file's tree: keys, and the indices of lists, from its top.
    pub path: Vec<String>,
    /// What became of it.
    pub fate: Fate,
}

/// Every value of a file's tree, in its order. A map or a list is told by what it holds.
pub(super) fn account(
    source: &Source,
    root: &Node,
    fates: &HashMap<u32, Fate>,
    problems: &[Problem],
) -> Vec<Entry> {
    let mut walk = Walk {
        source,
        fates,
        untouched: match problems.is_empty() {
            true => Fate::Unread,
            false => Fate::NotReached,
        },
        wrong: problems
            .iter()
            .filter(|problem| problem.file == source.file)
            .map(|problem| (problem.line, problem.column))
            .collect(),
        path: Vec::new(),
        found: Vec::new(),
    };
    walk.node(root, None);
    walk.found
}

struct Walk<'a> {
    source: &'a Source,
    fates: &'a HashMap<u32, Fate>,
    wrong: HashSet<(usize, usize)>,
    /// What is said of a value that nobody has looked at.
    untouched: Fate,
    path: Vec<String>,
    found: Vec<Entry>,
}

impl Walk<'_> {
    /// `above` is what a map or list above has become as a whole.
    fn node(&mut self, node: &Node, above: Option<Fate>) {
        // A map in block style begins where its first key does.
        let first = match &node.value {
            Value::Map(entries) => entries.first().map(|(key, _)| key.span),
            _ => None,
        };
        let place = |span: Span| (span.line, span.column);
        let refused = first.map(place) != Some(place(node.span))
            && self.is_wrong(node.span.line, node.span.column);
        let fate = match refused {
            true => Some(Fate::Refused),
            false => above,
        };
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    let fate = match self.is_wrong(key.span.line, key.span.column) {
                        true => Some(Fate::Refused),
                        false => fate,
                    };
                    self.path.push(key.text.clone());
                    self.node(value, fate);
                    self.path.pop();
                }
            }
            Value::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(index.to_string());
                    self.node(item, fate);
                    self.path.pop();
                }
            }
            _ => {
                let own = self.fates.get(&node.id).copied();
                let is_empty = !matches!(node.value, Value::Scalar { .. });
                let said = fate.or(own).or(is_empty.then_some(Fate::Empty));
                self.found.push(Entry {
                    file: self.source.file.clone(),
                    line: node.span.line,
                    path: self.path.clone(),
                    fate: said.unwrap_or(self.untouched),
                });
            }
        }
    }

    fn is_wrong(&self, line: usize, column: usize) -> bool {
        self.wrong.contains(&(line, column))
    }
}
