//! YAML text into a tree whose every key and value knows where it stands.
//!
//! Untyped on purpose: scalars keep their source text, so that variables are substituted before
//! anything is typed. Building is iterative and bounded in depth, nodes and text, whatever aliases
//! ask for; deeper, longer or repeated input is refused, never followed.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Tag};

use super::compose::CONFIG;
use super::error::Problem;
use super::source::{Source, Span};

/// How deep lists and maps may be nested.
pub(super) const MOST_DEPTH: usize = 64;
/// How many nodes a plan may have, what its anchors keep and its aliases repeat included.
const MOST_NODES: usize = 50_000;
/// How much text it may have then, in bytes.
const MOST_TEXT: usize = 4 << 20;

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub text: String,
    pub span: Span,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Its own, also where an alias repeats what stands elsewhere: by it is known what became of it.
    pub id: u32,
    pub value: Value,
    pub span: Span,
    pub tag: Option<Directive>,
}

/// What a later file asks to be done with what earlier ones say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    /// `!reset`: take it away.
    Reset,
    /// `!override`: put this in its place.
    Override,
}

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The one text that it is, as it is written.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of a map at `name`.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let entry = entries.iter().find(|(key, _)| key.text == name);
        entry.map(|(_, value)| value)
    }

    /// What it is, for "expected X, found Y"; never its text.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { plain: true, .. } => "a single value",
            Value::Scalar { plain: false, .. } => "text in quotes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Calls `seen` with this and everything below it.
    pub(super) fn each(&self, seen: &mut dyn FnMut(&Node)) {
        seen(self);
        match &self.value {
            Value::Null | Value::Scalar { .. } => {}
            Value::List(items) => items.iter().for_each(|item| item.each(seen)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| value.each(seen)),
        }
    }

    fn each_mut(&mut self, seen: &mut dyn FnMut(&mut Node)) {
        seen(self);
        match &mut self.value {
            Value::Null | Value::Scalar { .. } => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.each_mut(seen)),
            Value::Map(entries) => entries
                .iter_mut()
                .for_each(|(_, value)| value.each_mut(seen)),
        }
    }

    fn weigh(&self) -> Weight {
        let mut weight = Weight {
            nodes: 1,
            text: 0,
            depth: 0,
        };
        match &self.value {
            Value::Null => {}
            Value::Scalar { text, .. } => weight.text = text.len(),
            Value::List(items) => items.iter().for_each(|item| weight.add(item.weigh())),
            Value::Map(entries) => {
                for (key, value) in entries {
                    weight.add(value.weigh());
                    weight.text += key.text.len();
                }
            }
        }
        weight
    }
}

#[derive(Clone, Copy)]
struct Weight {
    nodes: usize,
    text: usize,
    depth: usize,
}

impl Weight {
    fn add(&mut self, child: Self) {
        self.nodes += child.nodes;
        self.text += child.text;
        self.depth = self.depth.max(child.depth + 1);
    }
}

enum Frame {
    List {
        items: Vec<Node>,
        span: Span,
        anchor: usize,
        tag: Option<Directive>,
    },
    Map {
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
        merges: Vec<(Key, Node)>,
        span: Span,
        anchor: usize,
        tag: Option<Directive>,
    },
}

struct Builder<'a> {
    source: &'a Source,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    next_id: u32,
    nodes: usize,
    text: usize,
    problems: Vec<Problem>,
}

/// Reads the one document of a plan.
///
/// # Errors
/// What keeps it from being read; several duplicate keys at once, anything else alone.
pub(super) fn parse(source: &Source) -> Result<Node, Vec<Problem>> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MOST_DEPTH,
        block_nesting_limit: MOST_DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder {
        source,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        next_id: source.first_id(),
        nodes: 0,
        text: 0,
        problems: Vec::new(),
    };
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(&source.text, options) {
        let taken = match next {
            Err(error) => Err(broken(source, &error)),
            Ok((Event::DocumentStart(..), span)) if documents == 1 => {
                let place = source.span(span);
                let problem = source.problem(place, "a second document begins here");
                Err(problem.help(match place.is_compose() {
                    false => "one document is read: remove the `---` or split the file".to_owned(),
                    true => format!("one document is read: {CONFIG}"),
                }))
            }
            Ok((event, span)) => {
                documents += usize::from(matches!(event, Event::DocumentStart(..)));
                builder.take(event, source.span(span))
            }
        };
        if let Err(problem) = taken {
            builder.problems.push(problem);
            return Err(builder.problems);
        }
    }
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    Ok(builder.root.unwrap_or(Node {
        id: source.first_id(),
        value: Value::Null,
        span: source.place(0),
        tag: None,
    }))
}

fn broken(source: &Source, error: &granit_parser::ScanError) -> Problem {
    let place = source.place(error.marker().byte_offset().unwrap_or(0));
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(source, place);
    }
    let problem = source.problem(place, format!("this is not valid YAML: {}", error.info()));
    let line = source.text[..place.start]
        .rsplit(['\n', '\r'])
        .next()
        .unwrap_or("");
    let tab = source.text[place.start..].starts_with('\t') || line.contains('\t');
    problem.help(match error.kind() {
        ErrorKind::UnknownAnchor => {
            "mark a value above with `&name`, or quote a text that begins with `*`"
        }
        _ if tab => "YAML is indented with spaces: replace the tab",
        _ => "look at the indentation, brackets and quotes up to here",
    })
}

fn too_deep(source: &Source, place: Span) -> Problem {
    let message = format!("this is nested more than {MOST_DEPTH} levels deep");
    source
        .problem(place, message)
        .help("no plan needs that: check the indentation and brackets")
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let directive = self.directive(tag.as_deref(), span)?;
                let forced = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !forced;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    }
                };
                self.finish(value, span, anchor, directive)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let frame = Frame::List {
                    items: Vec::new(),
                    span,
                    anchor,
                    tag: self.directive(tag.as_deref(), span)?,
                };
                self.open(frame, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                let frame = Frame::Map {
                    entries: Vec::new(),
                    key: None,
                    merges: Vec::new(),
                    span,
                    anchor,
                    tag: self.directive(tag.as_deref(), span)?,
                };
                self.open(frame, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    let problem = self
                        .source
                        .problem(span, "this alias stands inside its anchor");
                    return Err(problem.help("write the value out"));
                };
                let weight = node.weigh();
                if self.stack.len() + weight.depth > MOST_DEPTH {
                    return Err(too_deep(self.source, span));
                }
                self.afford(weight, span)?;
                let mut node = self.anchors[&id].clone();
                node.each_mut(&mut |node| node.id = self.new_id());
                self.attach(node)
            }
            _ => Ok(()),
        }
    }

    fn directive(&self, tag: Option<&Tag>, span: Span) -> Result<Option<Directive>, Problem> {
        match tag {
            Some(tag) if tag.original() == "!reset" => Ok(Some(Directive::Reset)),
            Some(tag) if tag.original() == "!override" => Ok(Some(Directive::Override)),
            Some(tag) if !tag.is_yaml_core_schema() && tag.original() != "!" => {
                let message = format!("the tag `{}` is not supported", tag.original());
                Err(self.source.problem(span, message).help("remove the tag"))
            }
            _ => Ok(None),
        }
    }

    fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    fn open(&mut self, frame: Frame, span: Span) -> Result<(), Problem> {
        if self.stack.len() >= MOST_DEPTH {
            return Err(too_deep(self.source, span));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        match self.stack.pop() {
            Some(Frame::List {
                items,
                span,
                anchor,
                tag,
            }) => self.finish(Value::List(items), span, anchor, tag),
            Some(Frame::Map {
                mut entries,
                merges,
                span,
                anchor,
                tag,
                ..
            }) => {
                self.merge(&mut entries, merges)?;
                self.finish(Value::Map(entries), span, anchor, tag)
            }
            None => Ok(()),
        }
    }

    /// Merge keys: what is written out wins over what is merged, earlier maps over later ones.
    fn merge(
        &mut self,
        entries: &mut Vec<(Key, Node)>,
        merges: Vec<(Key, Node)>,
    ) -> Result<(), Problem> {
        for (_, merged) in merges {
            let maps = match merged.value {
                Value::List(items) => items,
                _ => vec![merged],
            };
            for map in maps {
                let Value::Map(found) = map.value else {
                    let message = format!("`<<` merges maps, and this is {}", map.kind());
                    let problem = self.source.problem(map.span, message);
                    return Err(problem.help("write `<<: *name` where `&name` marks a map"));
                };
                let known: BTreeMap<_, _> = entries
                    .iter()
                    .map(|(key, _)| (key.text.clone(), ()))
                    .collect();
                entries.extend(
                    found
                        .into_iter()
                        .filter(|(key, _)| !known.contains_key(&key.text)),
                );
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        value: Value,
        span: Span,
        anchor: usize,
        tag: Option<Directive>,
    ) -> Result<(), Problem> {
        let node = Node {
            id: self.new_id(),
            value,
            span,
            tag,
        };
        let own = match &node.value {
            Value::Scalar { text, .. } => Weight {
                nodes: 1,
                text: text.len(),
                depth: 0,
            },
            _ => Weight {
                nodes: 1,
                text: 0,
                depth: 0,
            },
        };
        self.afford(own, node.span)?;
        if anchor != 0 {
            // What an anchor keeps is held a second time, and again by each anchor around it.
            self.afford(node.weigh(), node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node)
    }

    fn afford(&mut self, weight: Weight, span: Span) -> Result<(), Problem> {
        self.nodes += weight.nodes;
        self.text += weight.text;
        if self.nodes > MOST_NODES || self.text > MOST_TEXT {
            let problem = self.source.problem(
                span,
                format!("this plan has more than {MOST_NODES} values or 4 MiB of text, what anchors and aliases repeat included"),
            );
            return Err(problem.help("use fewer anchors and aliases (`&name`, `*name`); data belongs in files that the plan names"));
        }
        Ok(())
    }

    fn attach(&mut self, node: Node) -> Result<(), Problem> {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map {
                entries,
                key,
                merges,
                ..
            }) => match key.take() {
                None => *key = Some(self.source.key(node)?),
                Some(name) if name.text == "<<" => {
                    if let Some((first, _)) = merges.first() {
                        let message = "the key `<<` stands twice in one map";
                        let problem = self.source.problem(name.span, message);
                        self.problems.push(problem.help(format!(
                            "it is on line {} already: write both there, as `<<: [*a, *b]`",
                            first.span.line
                        )));
                    }
                    merges.push((name, node));
                }
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}

/// Keys that stand twice in one map, wherever they are.
pub(super) fn duplicates(source: &Source, node: &Node, found: &mut Vec<Problem>) {
    match &node.value {
        Value::Map(entries) => {
            let mut seen: HashMap<&str, Span> = HashMap::new();
            for (key, value) in entries {
                if let Some(first) = seen.get(key.text.as_str()) {
                    let message = format!("the key `{}` stands twice in one map", key.text);
                    let problem = source.problem(key.span, message);
                    found.push(
                        problem.help(format!("it is on line {} already: remove one", first.line)),
                    );
                } else {
                    seen.insert(&key.text, key.span);
                }
                duplicates(source, value, found);
            }
        }
        Value::List(items) => items
            .iter()
            .for_each(|item| duplicates(source, item, found)),
        Value::Null | Value::Scalar { .. } => {}
    }
}
