//! Compose's rules for what several files say together: maps are merged, lists are added to, single
//! values are replaced, and where something is known by its name or its path the later word wins.
//!
//! Pure but for what is noted of the values that are dropped. Compose substitutes variables before it
//! merges, and flipside after, so that what is replaced needs no value. By what entries of lists are
//! known is told with its variables substituted ([`identity`]).

use std::collections::HashMap;

use super::account::Fate;
use super::identity;
use super::read::Reader;
use super::tree::{Directive, Key, Node, Value};

/// How two values of one key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Maps merge, lists add up, all else is replaced.
    Usual,
    /// The later one stands alone, also where it is empty.
    Replace,
    /// `NAME: value` or `NAME=value`, by name.
    Variables,
    /// A list of names, or a map by name.
    Names,
    /// As [`Self::Names`], where to stand in a list says how the other is waited for.
    Dependencies,
    /// One value, or a list of them, added up.
    Lists,
    /// `NAME: address` or `NAME=address`, added up: a name may have several.
    Hosts,
    /// A list whose entries are known by where they appear in the container.
    ByTarget,
    /// As [`Self::ByTarget`], or one entry alone: `PATH:OPTIONS`.
    Tmpfs,
    /// A list of secrets, as [`Self::ByTarget`]; without a target it is `/run/secrets/NAME`.
    Secrets,
    /// A list of configs, as [`Self::ByTarget`]; without a target it is `/NAME`.
    Configs,
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
        ["services", _, "command" | "entrypoint"]
        | ["services", _, "healthcheck", "test"]
        | ["services", _, "ulimits", _]
        // A variable or a label without a value says something.
        | ["services", _, "environment" | "labels", _]
        | ["services", _, "build", "args", _] => Rule::Replace,
        [
            "services",
            _,
            "environment" | "labels" | "annotations" | "sysctls",
        ]
        | ["services", _, "build", "args" | "labels" | "additional_contexts"]
        | ["services", _, "deploy", "labels"]
        | [
            "volumes" | "networks" | "secrets" | "configs",
            _,
            "labels" | "driver_opts",
        ] => Rule::Variables,
        ["services", _, "networks"] => Rule::Names,
        ["services", _, "depends_on"] => Rule::Dependencies,
        [
            "services",
            _,
            "env_file" | "label_file" | "dns" | "dns_search" | "dns_opt",
        ]
        | ["services", _, "networks", _, "aliases"] => Rule::Lists,
        ["services", _, "extra_hosts"] => Rule::Hosts,
        ["services", _, "tmpfs"] => Rule::Tmpfs,
        ["services", _, "volumes" | "devices"] => Rule::ByTarget,
        ["services", _, "secrets"] => Rule::Secrets,
        ["services", _, "configs"] => Rule::Configs,
        [
            "services",
            _,
            "ports" | "expose" | "cap_add" | "cap_drop" | "group_add" | "security_opt" | "profiles"
            | "links",
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
        if later.is_null() && rule != Rule::Replace {
            return base;
        }
        if base.is_null() {
            if rule == Rule::Replace {
                self.drop(&base);
            }
            return self.settled(path, later);
        }
        match rule {
            Rule::Replace => {
                self.drop(&base);
                self.settled(path, later)
            }
            Rule::Variables => match (self.variables(base), self.variables(later)) {
                (Ok(base), Ok(later)) => self.maps(path, base, later),
                (Ok(other), Err(node)) | (Err(node), Ok(other)) | (Err(other), Err(node)) => {
                    self.drop(&other);
                    node
                }
            },
            Rule::Names => {
                let (base, later) = (
                    self.names(base, |_| Value::Null),
                    self.names(later, |_| Value::Null),
                );
                self.usual(path, base, later)
            }
            Rule::Dependencies => {
                let (base, later) = (self.names(base, started), self.names(later, started));
                self.usual(path, base, later)
            }
            Rule::Build => self.usual(path, context(base), context(later)),
            Rule::Lists => self.lists(listed(base), listed(later), identity::whole),
            Rule::Hosts => self.lists(hosts(base), hosts(later), identity::whole),
            Rule::Tmpfs => self.lists(listed(base), listed(later), identity::tmpfs),
            Rule::ByTarget => self.lists(base, later, identity::target),
            Rule::Secrets => self.lists(base, later, identity::secret),
            Rule::Configs => self.lists(base, later, identity::config),
            Rule::Distinct => self.lists(base, later, identity::whole),
            Rule::Logging => match (
                identity::driver(self.reader, &base),
                identity::driver(self.reader, &later),
            ) {
                (Some(one), Some(other)) if one != other => {
                    self.drop(&base);
                    later
                }
                _ => self.usual(path, base, later),
            },
            Rule::Usual => self.usual(path, base, later),
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

    fn usual(&mut self, path: &mut Vec<String>, base: Node, later: Node) -> Node {
        match (&base.value, &later.value) {
            (Value::Map(_), Value::Map(_)) => self.maps(path, base, later),
            (Value::List(_), Value::List(_)) => self.lists(base, later, |_, _| None),
            _ => {
                self.drop(&base);
                self.settled(path, later)
            }
        }
    }

    fn maps(&mut self, path: &mut Vec<String>, base: Node, later: Node) -> Node {
        let (Value::Map(entries), Value::Map(laters)) = (base.value, later.value) else {
            return Node {
                value: Value::Null,
                ..base
            };
        };
        // Where each key stands; one that is taken away leaves its place empty.
        let mut places: HashMap<String, usize> = HashMap::new();
        for (at, (key, _)) in entries.iter().enumerate() {
            places.insert(key.text.clone(), at);
        }
        let mut entries: Vec<Option<(Key, Node)>> = entries.into_iter().map(Some).collect();
        for (key, mut node) in laters {
            let at = places.get(&key.text).copied();
            if node.tag == Some(Directive::Reset) {
                if let Some((_, gone)) = at.and_then(|at| entries[at].take()) {
                    self.drop(&gone);
                }
                self.drop(&node);
                continue;
            }
            path.push(key.text.clone());
            match at.and_then(|at| Some((at, entries[at].take()?))) {
                Some((at, (first, old))) => {
                    let scalar = matches!(node.value, Value::Scalar { .. });
                    let both = self.both(path, old, node);
                    // Of what is replaced, the place that counts is the later one.
                    let key = if scalar { key } else { first };
                    entries[at] = Some((key, both));
                }
                None => {
                    node.tag = None;
                    let node = self.settled(path, node);
                    places.insert(key.text.clone(), entries.len());
                    entries.push(Some((key, node)));
                }
            }
            path.pop();
        }
        Node {
            value: Value::Map(entries.into_iter().flatten().collect()),
            ..base
        }
    }

    /// Lists whose entries have a name, where `name` finds one: of two with the same, the later, at
    /// the place of the first.
    fn lists(&mut self, base: Node, later: Node, name: identity::Of) -> Node {
        let (Value::List(items), Value::List(laters)) = (&base.value, &later.value) else {
            self.drop(&base);
            return later;
        };
        let mut all: Vec<Node> = items.clone();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (at, item) in items.iter().enumerate() {
            if let Some(name) = name(self.reader, item) {
                places.entry(name).or_insert(at);
            }
        }
        for item in laters {
            let Some(name) = name(self.reader, item) else {
                all.push(item.clone());
                continue;
            };
            match places.get(&name) {
                Some(at) => {
                    let old = std::mem::replace(&mut all[*at], item.clone());
                    self.drop(&old);
                }
                None => {
                    places.insert(name, all.len());
                    all.push(item.clone());
                }
            }
        }
        Node {
            value: Value::List(all),
            tag: None,
            ..base
        }
    }

    /// `[NAME=value, NAME]` as a map; the node itself where it is neither list nor map, or has an
    /// entry that is no text.
    fn variables(&mut self, node: Node) -> Result<Node, Node> {
        let items = match &node.value {
            Value::Map(_) => return Ok(node),
            Value::List(items) if items.iter().all(|item| item.text().is_some()) => items,
            _ => return Err(node),
        };
        let entries = items.iter().filter_map(|item| {
            Some(match name_and_value(item.text()?) {
                (name, Some(value)) => {
                    let name = self.reader.expanded_or_written(name);
                    entry(item, &name, scalar(value))
                }
                (name, None) => entry(item, name, Value::Null),
            })
        });
        let entries = entries.collect();
        let entries = self.by_name(entries);
        Ok(Node {
            value: Value::Map(entries),
            ..node
        })
    }

    /// `[a, b]` as `{a: …, b: …}`, each with what `value` makes of it.
    fn names(&mut self, node: Node, value: fn(&Node) -> Value) -> Node {
        let items = match &node.value {
            Value::List(items) if items.iter().all(|item| item.text().is_some()) => items,
            _ => return node,
        };
        let mut entries = Vec::new();
        for item in items {
            self.reader.used(item);
            if let Some(name) = identity::whole(self.reader, item) {
                entries.push(entry(item, &name, value(item)));
            }
        }
        let entries = self.by_name(entries);
        Node {
            value: Value::Map(entries),
            ..node
        }
    }

    /// Of those with one name, the last, at the place of the first.
    fn by_name(&mut self, all: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut entries: Vec<(Key, Node)> = Vec::new();
        for (key, node) in all {
            match places.get(&key.text) {
                Some(at) => {
                    let (_, old) = std::mem::replace(&mut entries[*at], (key, node));
                    self.drop(&old);
                }
                None => {
                    places.insert(key.text.clone(), entries.len());
                    entries.push((key, node));
                }
            }
        }
        entries
    }
}

/// An entry of a map that stands for an item of a list, and is known by it.
fn entry(item: &Node, name: &str, value: Value) -> (Key, Node) {
    let key = Key {
        text: name.to_owned(),
        span: item.span,
    };
    let node = Node {
        value,
        ..item.clone()
    };
    (key, node)
}

fn scalar(text: &str) -> Value {
    Value::Scalar {
        text: text.to_owned(),
        plain: false,
    }
}

/// What it means that a role stands in the list of those that are waited for.
fn started(item: &Node) -> Value {
    let says = |name: &str, value: &str| {
        let value = Value::Scalar {
            text: value.to_owned(),
            plain: true,
        };
        entry(item, name, value)
    };
    Value::Map(vec![
        says("condition", "service_started"),
        says("required", "true"),
    ])
}

fn listed(node: Node) -> Node {
    match node.value {
        Value::List(_) => node,
        _ => Node {
            value: Value::List(vec![node.clone()]),
            ..node
        },
    }
}

/// `{NAME: address}` as `[NAME=address]`.
fn hosts(node: Node) -> Node {
    let Value::Map(entries) = &node.value else {
        return node;
    };
    let mut items = Vec::new();
    for (key, value) in entries {
        let addresses = match &value.value {
            Value::List(addresses) => addresses.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for address in addresses {
            items.push(match address.text() {
                Some(text) => Node {
                    value: scalar(&format!("{}={text}", key.text)),
                    ..address.clone()
                },
                None => address.clone(),
            });
        }
    }
    Node {
        value: Value::List(items),
        ..node
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

/// `NAME=value`, cut at the first `=` outside `${…}`.
pub(super) fn name_and_value(text: &str) -> (&str, Option<&str>) {
    let name = separated(text, '=')[0];
    (name, text[name.len()..].strip_prefix('='))
}

/// The parts of a text between colons that stand outside `${…}`.
pub(super) fn colon_separated(text: &str) -> Vec<&str> {
    separated(text, ':')
}

fn separated(text: &str, by: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c == by && depth == 0 => {
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
