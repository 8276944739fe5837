//! Compose's rules for what several files say together: maps are merged, lists are added to, single
//! values are replaced, and where something is known by its name or its path the later word wins.
//!
//! Pure but for what is noted of the values that are dropped. What counts as the same entry is told
//! before variables are substituted: two that only turn out to be the same stand side by side, and
//! are refused where they are read.

use super::account::Fate;
use super::read::Reader;
use super::source::Span;
use super::tree::{Directive, Key, Node, Value};

/// How two values of one key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Maps merge, lists add up, all else is replaced.
    Usual,
    /// The later one stands alone.
    Replace,
    /// `NAME: value` or `NAME=value`, by name.
    Variables,
    /// A list of names, or a map by name.
    Names,
    /// One value, or a list of them, added up.
    Lists,
    /// A list whose entries are known by where they appear in the container.
    ByTarget,
    /// A list whose entries are known by the whole of what they say.
    Distinct,
    /// `build`: a directory, or a map.
    Build,
    /// `logging`: options belong to a driver.
    Logging,
}

/// The rule for what stands at a path of a whole file.
fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => {
            Rule::Replace
        }
        [
            "services",
            _,
            "environment" | "labels" | "annotations" | "sysctls",
        ]
        | ["services", _, "build", "args" | "labels"]
        | [
            "volumes" | "networks" | "secrets" | "configs",
            _,
            "labels" | "driver_opts",
        ] => Rule::Variables,
        ["services", _, "depends_on" | "networks"] => Rule::Names,
        [
            "services",
            _,
            "env_file" | "dns" | "dns_search" | "tmpfs" | "dns_opt",
        ] => Rule::Lists,
        ["services", _, "volumes" | "devices" | "secrets" | "configs"] => Rule::ByTarget,
        [
            "services",
            _,
            "ports" | "expose" | "cap_add" | "cap_drop" | "group_add" | "security_opt" | "profiles"
            | "links" | "extra_hosts",
        ] => Rule::Distinct,
        ["services", _, "build"] => Rule::Build,
        ["services", _, "logging"] => Rule::Logging,
        _ => Rule::Usual,
    }
}

/// A file that nothing stands before: what it takes back is gone.
pub(super) fn alone(reader: &mut Reader<'_>, file: Node) -> Node {
    let empty = Node {
        value: Value::Map(Vec::new()),
        ..file.clone()
    };
    over(reader, empty, file)
}

/// `later` laid over `base`, both whole files.
pub(super) fn over(reader: &mut Reader<'_>, base: Node, later: Node) -> Node {
    Merge { reader }.both(&mut Vec::new(), base, later)
}

/// As [`over`], of one section of each.
pub(super) fn section(reader: &mut Reader<'_>, name: &str, base: Node, later: Node) -> Node {
    Merge { reader }.both(&mut vec![name.to_owned()], base, later)
}

struct Merge<'r, 'a> {
    reader: &'r mut Reader<'a>,
}

impl Merge<'_, '_> {
    fn drop(&mut self, node: &Node) {
        self.reader.became(node, Fate::Overridden);
    }

    fn both(&mut self, path: &mut Vec<String>, base: Node, mut later: Node) -> Node {
        if later.tag.take() == Some(Directive::Override) {
            self.drop(&base);
            return self.settled(path, later);
        }
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let rule = rule(&words);
        if later.is_null() {
            return base;
        }
        if base.is_null() {
            return self.settled(path, later);
        }
        match rule {
            Rule::Replace => {
                self.drop(&base);
                self.settled(path, later)
            }
            Rule::Variables => match (variables(base), variables(later)) {
                (Ok(base), Ok(later)) => self.maps(path, base, later),
                (Ok(other), Err(node)) | (Err(node), Ok(other)) | (Err(other), Err(node)) => {
                    self.drop(&other);
                    node
                }
            },
            Rule::Names => self.maps_or_later(path, names(base), names(later)),
            Rule::Build => self.maps_or_later(path, context(base), context(later)),
            Rule::Lists => {
                let (mut all, span, id) = listed(base);
                all.extend(listed(later).0);
                list(all, span, id)
            }
            Rule::ByTarget => self.lists(base, later, target),
            Rule::Distinct => self.lists(base, later, whole),
            Rule::Logging if driver(&base) != driver(&later) && driver(&later).is_some() => {
                self.drop(&base);
                later
            }
            Rule::Logging | Rule::Usual => match (&base.value, &later.value) {
                (Value::Map(_), Value::Map(_)) => self.maps(path, base, later),
                (Value::List(_), Value::List(_)) => self.lists(base, later, |_| None),
                _ => {
                    self.drop(&base);
                    self.settled(path, later)
                }
            },
        }
    }

    /// What nothing stands before: below it, things may yet be taken back.
    fn settled(&mut self, path: &mut Vec<String>, later: Node) -> Node {
        match later.value {
            Value::Map(_) => {
                let base = Node {
                    value: Value::Map(Vec::new()),
                    ..later.clone()
                };
                self.maps(path, base, later)
            }
            _ => later,
        }
    }

    fn maps_or_later(&mut self, path: &mut Vec<String>, base: Node, later: Node) -> Node {
        match (&base.value, &later.value) {
            (Value::Map(_), Value::Map(_)) => self.maps(path, base, later),
            _ => {
                self.drop(&base);
                later
            }
        }
    }

    fn maps(&mut self, path: &mut Vec<String>, base: Node, later: Node) -> Node {
        let (Value::Map(mut entries), Value::Map(laters)) = (base.value, later.value) else {
            return Node {
                value: Value::Null,
                ..base
            };
        };
        for (key, mut node) in laters {
            let at = entries.iter().position(|(known, _)| known.text == key.text);
            if node.tag == Some(Directive::Reset) {
                if let Some(at) = at {
                    let (_, gone) = entries.remove(at);
                    self.drop(&gone);
                }
                self.drop(&node);
                continue;
            }
            path.push(key.text.clone());
            match at {
                Some(at) => {
                    let (first, old) = entries.remove(at);
                    let scalar = matches!(node.value, Value::Scalar { .. });
                    let both = self.both(path, old, node);
                    // Of what is replaced, the place that counts is the later one.
                    let key = if scalar { key } else { first };
                    entries.insert(at, (key, both));
                }
                None => {
                    node.tag = None;
                    let node = self.settled(path, node);
                    entries.push((key, node));
                }
            }
            path.pop();
        }
        Node {
            value: Value::Map(entries),
            ..base
        }
    }

    /// Lists whose entries have a name, where `name` finds one: of two with the same, the later.
    fn lists(&mut self, base: Node, later: Node, name: fn(&Node) -> Option<String>) -> Node {
        let (Value::List(mut items), Value::List(laters)) = (base.value, later.value.clone())
        else {
            return later;
        };
        for item in laters {
            let named = name(&item);
            let same = |other: &Node| named.is_some() && name(other) == named;
            match items.iter().position(same) {
                Some(at) => {
                    let old = std::mem::replace(&mut items[at], item);
                    self.drop(&old);
                }
                None => items.push(item),
            }
        }
        list(items, base.span, base.id)
    }
}

fn list(items: Vec<Node>, span: Span, id: u32) -> Node {
    Node {
        id,
        value: Value::List(items),
        span,
        tag: None,
    }
}

fn listed(node: Node) -> (Vec<Node>, Span, u32) {
    let (span, id) = (node.span, node.id);
    match node.value {
        Value::List(items) => (items, span, id),
        _ => (vec![node], span, id),
    }
}

/// `[NAME=value, NAME]` as a map; the node itself where it is neither list nor map, or has an entry
/// that is no text.
fn variables(node: Node) -> Result<Node, Node> {
    let items = match &node.value {
        Value::Map(_) => return Ok(node),
        Value::List(items) => items,
        _ => return Err(node),
    };
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for item in items {
        let Value::Scalar { text, .. } = &item.value else {
            return Err(node);
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (
                name,
                Value::Scalar {
                    text: value.to_owned(),
                    plain: false,
                },
            ),
            None => (text.as_str(), Value::Null),
        };
        let key = Key {
            text: name.to_owned(),
            span: item.span,
        };
        let entry = Node {
            value,
            ..item.clone()
        };
        match entries.iter_mut().find(|(known, _)| known.text == key.text) {
            Some((_, old)) => *old = entry,
            None => entries.push((key, entry)),
        }
    }
    Ok(Node {
        value: Value::Map(entries),
        ..node
    })
}

/// `[a, b]` as `{a: , b: }`.
fn names(node: Node) -> Node {
    let Value::List(items) = &node.value else {
        return node;
    };
    let named = items.iter().map(|item| match &item.value {
        Value::Scalar { text, .. } => Some((
            Key {
                text: text.clone(),
                span: item.span,
            },
            Node {
                value: Value::Null,
                ..item.clone()
            },
        )),
        _ => None,
    });
    match named.collect::<Option<Vec<_>>>() {
        Some(mut entries) => {
            let mut seen = std::collections::BTreeSet::new();
            entries.retain(|(key, _)| seen.insert(key.text.clone()));
            Node {
                value: Value::Map(entries),
                ..node
            }
        }
        None => node,
    }
}

/// `build: DIRECTORY` as `{context: DIRECTORY}`.
fn context(node: Node) -> Node {
    if !matches!(node.value, Value::Scalar { .. }) {
        return node;
    }
    let key = Key {
        text: "context".to_owned(),
        span: node.span,
    };
    Node {
        value: Value::Map(vec![(key, node.clone())]),
        ..node
    }
}

fn driver(node: &Node) -> Option<&str> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let driver = entries.iter().find(|(key, _)| key.text == "driver")?;
    text(&driver.1)
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

fn whole(node: &Node) -> Option<String> {
    text(node).map(str::to_owned)
}

/// Where an entry of `volumes`, `devices`, `secrets` or `configs` appears in the container.
fn target(node: &Node) -> Option<String> {
    let Value::Map(entries) = &node.value else {
        let parts = colon_separated(text(node)?);
        return Some(
            parts
                .get(1)
                .unwrap_or(&parts[0])
                .trim_end_matches('/')
                .to_owned(),
        );
    };
    let value = |name: &str| {
        let entry = entries.iter().find(|(key, _)| key.text == name);
        entry.and_then(|(_, node)| text(node))
    };
    let target = value("target").or_else(|| value("source"))?;
    Some(target.trim_end_matches('/').to_owned())
}

/// The parts of a text between colons that stand outside `${…}`.
pub(super) fn colon_separated(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.push(&text[start..]);
    parts
}
