//! `compose:`: the Compose files that a plan names, read as one, with the plan itself as the last
//! word on them.
//!
//! Files are merged as trees, before any variable is substituted, by Compose's rules. What Compose
//! says at the top of a file and a plan does not (`version`, `name`) is settled here; everything
//! below `services`, `volumes`, `networks`, `secrets` and `configs` is read where a plan's own is.

use std::path::{Path, PathBuf};

use super::account::Fate;
use super::error::Problem;
use super::fields::{Field, Fields};
use super::nearest::{listed, nearest};
use super::read::Reader;
use super::source::{PLAN, Source, Span};
use super::tree::{self, Key, Node, Value};
use super::variables::PROJECT;
use super::{PlanError, dotenv, merge, propose, text_of};

/// The sections that a plan and a Compose file have in common.
const SECTIONS: [&str; 5] = ["services", "volumes", "networks", "secrets", "configs"];

/// How many files a plan may name.
const MOST_FILES: usize = 32;

/// How to have a file without what flipside does not follow.
pub(super) const CONFIG: &str = "pass the output of `docker compose config --no-interpolate --no-path-resolution`, which has it all in one file";

/// What a plan is read from.
pub(super) struct Whole {
    /// The plan's tree and that of its Compose files as one.
    pub root: Node,
    /// The trees of the Compose files, as they stand in them.
    pub files: Vec<Node>,
    /// The Compose project's name, where there are such files.
    pub project: Option<String>,
    /// See [`crate::core::plan::Plan::compose_files`].
    pub undecided: Vec<PathBuf>,
    pub kind: Kind,
}

/// Whether there are Compose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The plan names none.
    Alone,
    /// It does, and they have been read.
    Read,
    /// It does, and none could be read.
    Unread,
}

/// Reads the files that `plan` names, and merges all of it.
///
/// # Errors
/// Where a file cannot be read or is no Compose file; everything less is left in `reader`.
pub(super) fn read(reader: &mut Reader<'_>, plan: Node) -> Result<Whole, PlanError> {
    let Value::Map(entries) = &plan.value else {
        return Ok(alone(plan, Kind::Alone));
    };
    let own = plan.get("name").map(|node| &node.value);
    reader.renamed = match (reader.given_name(), own) {
        (Some(given), Some(Value::Scalar { text, .. })) => text != given,
        _ => false,
    };
    let mut fields = Fields::new("", plan.span, entries);
    chosen(reader, &mut fields);
    let given = fields.take_full(reader, "compose");
    let project = fields.take_full(reader, "project");
    let Some(given) = given else {
        if let Some(project) = project {
            reader.wrong(
                project.key,
                "`project` names the project of Compose files, and this plan has none",
                "add `compose: compose.yaml`, or remove the line",
            );
        }
        return Ok(alone(plan, Kind::Alone));
    };
    let paths: Vec<_> = match &given.node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![given.node],
    };
    let mut files: Vec<Node> = Vec::new();
    let mut undecided = Vec::new();
    for node in paths {
        let Some(path) = reader.public(node, "the path of a Compose file, or a list of them")
        else {
            continue;
        };
        if let Some(file) = file(reader, node, &path, files.is_empty())? {
            files.push(file);
            let called = reader.resolve(node.span, &path);
            let really = called.canonicalize().ok().filter(|path| *path != called);
            undecided.extend(std::iter::once(called).chain(really));
        }
    }
    if files.is_empty() {
        if reader.problems.is_empty() {
            reader.wrong(
                given.node.span,
                "`compose` names no file",
                "write `compose: compose.yaml`, or remove the line",
            );
        }
        return Ok(alone(plan, Kind::Unread));
    }
    let mut merged = merge::alone(reader, files[0].clone());
    for file in &files[1..] {
        merged = merge::over(reader, merged, file.clone());
    }
    let by_itself = by_itself(reader, &merged);
    let is_said = project.is_some();
    let project = project_name(reader, project, by_itself.clone());
    // Another name is another service: what Compose runs is not its.
    let project = project.filter(|_| !reader.renamed);
    if is_said && project != by_itself.map(|(name, _)| name) || project.is_none() {
        undecided.clear();
    }
    reader.project.clone_from(&project);
    reader.proposals = propose::proposals(reader, &merged);
    let root = with_plan(reader, merged, plan.clone());
    Ok(Whole {
        root,
        files,
        project,
        undecided,
        kind: Kind::Read,
    })
}

/// What a plan asks to take back where nothing stands before it.
pub(super) fn refuse_directives(reader: &mut Reader<'_>, root: &Node) {
    let mut places = Vec::new();
    root.each(&mut |node| places.extend(node.tag.map(|tag| (node.span, tag))));
    for (span, tag) in places {
        let tag = match tag {
            tree::Directive::Reset => "!reset",
            tree::Directive::Override => "!override",
        };
        reader.wrong(
            span,
            format!("the tag `{tag}` changes what an earlier file says, and nothing stands before it here"),
            "remove the tag",
        );
    }
}

fn alone(plan: Node, kind: Kind) -> Whole {
    Whole {
        root: plan,
        files: Vec::new(),
        project: None,
        undecided: Vec::new(),
        kind,
    }
}

/// `profiles` and `ignore`, which say how roles are read.
fn chosen(reader: &mut Reader<'_>, fields: &mut Fields<'_>) {
    const MAY_BE_IGNORED: [&str; 1] = ["start_interval"];
    if let Some(field) = fields.take_full(reader, "profiles") {
        let items = match &field.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(field.node),
        };
        for item in items {
            if let Some(name) = reader.public(item, "a profile, or a list of them") {
                reader.profiles.insert(name, item.span);
            }
        }
    }
    if let Some(field) = fields.take_full(reader, "ignore") {
        let items = match &field.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(field.node),
        };
        for item in items {
            if let Some(key) = reader.choice(item, "key that may be ignored", &MAY_BE_IGNORED) {
                reader.ignored.insert(key.to_owned());
            }
        }
    }
}

/// One file's tree; its text is that of the record where a run is resumed.
fn file(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    is_first: bool,
) -> Result<Option<Node>, PlanError> {
    let absolute = reader.resolve(node.span, path);
    let shown = shown(&reader.sources[usize::from(PLAN)].file, path);
    if reader.is_plan(&absolute) {
        reader.wrong(
            node.span,
            format!("`{path}` is this plan itself"),
            "name the Compose file, or write the roles under `services`",
        );
        return Ok(None);
    }
    let index = reader.sources.len();
    let Some(index) = u16::try_from(index).ok().filter(|_| index <= MOST_FILES) else {
        reader.wrong(
            node.span,
            format!("this plan names more than {MOST_FILES} Compose files"),
            CONFIG,
        );
        return Ok(None);
    };
    let text = match reader.recorded_file(usize::from(index) - 1) {
        Some(text) => text.to_owned(),
        None => {
            let bytes = match dotenv::read(&absolute) {
                Ok(bytes) => bytes,
                Err(error) => {
                    reader.wrong(
                        node.span,
                        format!("the Compose file `{path}` cannot be read: {error}"),
                        "relative paths begin at the plan's directory",
                    );
                    return Ok(None);
                }
            };
            text_of(&shown, &bytes)?.to_owned()
        }
    };
    if is_first {
        reader.project_directory = absolute
            .parent()
            .map_or_else(|| reader.directory.clone(), Path::to_path_buf);
    }
    let source = Source::new(index, &shown, &text);
    let tree = tree::parse(&source).map_err(PlanError::new)?;
    let mut doubled = Vec::new();
    tree::duplicates(&source, &tree, &mut doubled);
    if !doubled.is_empty() {
        return Err(PlanError::new(doubled));
    }
    let wrong = match &tree.value {
        Value::Map(_) => None,
        Value::Null => Some("this Compose file is empty".to_owned()),
        _ => Some(format!(
            "a Compose file is a map of keys, and this is {}",
            tree.kind()
        )),
    };
    if let Some(message) = wrong {
        let problem = source.problem(tree.span, message);
        let help = format!("name the file that has `services:`, or {CONFIG}");
        return Err(problem.help(help).into());
    }
    reader.sources.push(source);
    refuse_others(reader, &tree);
    Ok(Some(tree))
}

/// A file's path as people see it: beside the plan's own.
fn shown(plan: &str, path: &str) -> String {
    let beside = Path::new(plan).parent().unwrap_or(Path::new(""));
    beside.join(path).display().to_string()
}

/// What would bring in further files.
fn refuse_others(reader: &mut Reader<'_>, tree: &Node) {
    let Value::Map(entries) = &tree.value else {
        return;
    };
    for (key, value) in entries {
        if key.text == "include" && !value.is_null() {
            reader.wrong(key.span, "`include` is not followed", CONFIG);
        }
    }
}

/// What Compose calls the project where nobody tells it, by `name:`, and where that stands; else by
/// the directory.
fn by_itself(reader: &mut Reader<'_>, merged: &Node) -> Option<(String, Option<Span>)> {
    let own = merged.get("name").and_then(|node| {
        let text = reader.public(node, "a project's name")?;
        Some((text, Some(node.span)))
    });
    own.or_else(|| {
        let name = reader.project_directory.file_name();
        let name = name.map_or(String::new(), |name| name.to_string_lossy().into_owned());
        Some((normalised(&name)?, None))
    })
}

/// The project's name as Compose finds it: the plan's word for `-p`, the variable, else what it calls
/// it by itself.
fn project_name(
    reader: &mut Reader<'_>,
    given: Option<Field<'_>>,
    by_itself: Option<(String, Option<Span>)>,
) -> Option<String> {
    let said = match given {
        Some(field) => Some((
            reader.public(field.node, "a project's name")?,
            Some(field.node.span),
        )),
        None => reader
            .public_variable(PROJECT)
            .filter(|name| !name.is_empty())
            .map(|name| (name, None)),
    };
    let written = by_itself.clone().filter(|(_, span)| span.is_some());
    let Some((name, span)) = said.or(written) else {
        return by_itself.map(|(name, _)| name);
    };
    if normalised(&name).as_deref() != Some(name.as_str()) {
        const HELP: &str = "use a-z, 0-9, `-` and `_`, with a letter or digit first";
        match span {
            Some(span) => reader.wrong(
                span,
                format!("`{name}` is not the name of a Compose project"),
                HELP,
            ),
            None => {
                let first = reader.sources[usize::from(PLAN) + 1].file.clone();
                let message = format!(
                    "the variable `COMPOSE_PROJECT_NAME` is `{name}`, which is not the name of a Compose project"
                );
                let problem = Problem::whole(&first, message);
                reader.problems.push(problem.help(HELP));
            }
        }
        return None;
    }
    reader.said_project = Some(name.clone());
    Some(name)
}

/// What Compose makes a project's name of.
pub(super) fn normalised(name: &str) -> Option<String> {
    let kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(*c);
    let name: String = name.to_lowercase().chars().filter(kept).collect();
    let name = name.trim_start_matches(['-', '_']).to_owned();
    (!name.is_empty()).then_some(name)
}

/// The plan laid over the files: what both have in common is merged, the rest is the plan's alone.
fn with_plan(reader: &mut Reader<'_>, merged: Node, plan: Node) -> Node {
    let (Value::Map(theirs), Value::Map(own)) = (merged.value, plan.value) else {
        return plan_again(plan.id, plan.span);
    };
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for (key, node) in theirs {
        match key.text.as_str() {
            name if SECTIONS.contains(&name) => entries.push((key, node)),
            // Read for the project's name.
            "name" | "include" => {}
            "version" => reader.became(&node, Fate::Translated),
            "models" => {
                const NOTE: &str = "`models` are not run here; a role that names one is told so";
                reader.note(key.span, NOTE);
                reader.became(&node, Fate::Translated);
            }
            name if name.starts_with("x-") => reader.became(&node, Fate::LeftOut),
            name => {
                let known = SECTIONS.into_iter().chain(["name"]);
                let help = match nearest(name, known.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", listed(known)),
                };
                reader.wrong(
                    key.span,
                    format!("`{name}` is not a key of a Compose file that flipside reads"),
                    help,
                );
            }
        }
    }
    for (key, node) in own {
        let at = entries.iter().position(|(known, _)| known.text == key.text);
        match at {
            Some(at) if node.tag == Some(tree::Directive::Reset) => {
                let (_, gone) = entries.remove(at);
                reader.became(&gone, Fate::Overridden);
                reader.became(&node, Fate::Overridden);
            }
            Some(at) if SECTIONS.contains(&key.text.as_str()) => {
                let node = match key.text.as_str() {
                    "services" => with_known_names(reader, &entries[at].1, node),
                    _ => node,
                };
                let (first, base) = entries.remove(at);
                let both = merge::section(reader, &first.text, base, node);
                entries.insert(at, (first, both));
            }
            _ => entries.push((key, node)),
        }
    }
    Node {
        id: plan.id,
        value: Value::Map(entries),
        span: plan.span,
        tag: None,
    }
}

fn plan_again(id: u32, span: Span) -> Node {
    Node {
        id,
        value: Value::Null,
        span,
        tag: None,
    }
}

/// The plan's roles without those that only decide something and are none of the files'.
fn with_known_names(reader: &mut Reader<'_>, theirs: &Node, own: Node) -> Node {
    let (Value::Map(theirs), Value::Map(entries)) = (&theirs.value, &own.value) else {
        return own;
    };
    let names = || theirs.iter().map(|(key, _)| key.text.as_str());
    let mut known = Vec::new();
    for (key, node) in entries {
        let only_decides = match &node.value {
            Value::Map(keys) => !keys
                .iter()
                .any(|(key, _)| key.text == "image" || key.text == "build"),
            _ => false,
        };
        if !only_decides || names().any(|name| name == key.text) {
            known.push((key.clone(), node.clone()));
            continue;
        }
        let help = match nearest(&key.text, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add `image: NAME:TAG` if this is a role of the plan's own".to_owned(),
        };
        let message = format!("the Compose files have no service `{}`", key.text);
        reader.wrong(key.span, message, help);
    }
    Node {
        value: Value::Map(known),
        ..own
    }
}

/// A Compose file that a plan was read with, as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ComposeFile {
    /// The file, as it was named.
    pub path: String,
    /// Its text, with no variable substituted.
    pub text: String,
}

impl From<&Source> for ComposeFile {
    fn from(source: &Source) -> Self {
        Self {
            path: source.file.clone(),
            text: source.text.clone(),
        }
    }
}
