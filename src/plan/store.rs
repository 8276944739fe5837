//! The top level's `volumes`, `secrets`, `configs` and `shared_paths`: what roles may mount.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Fate;
use super::fields::{Field, Fields, part, take_away};
use super::files;
use super::networks::Network;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::plan::{FileSource, Text};

/// What the top level declares for roles to use.
#[derive(Default)]
pub(super) struct Declared {
    pub volumes: BTreeMap<String, Volume>,
    pub secrets: BTreeMap<String, FileSource>,
    pub configs: BTreeMap<String, FileSource>,
    pub networks: BTreeMap<String, Network>,
    /// Host paths that roles may bind.
    pub shared_paths: Vec<Decided>,
    /// Paths of this machine that are copied into each release although the file would let roles
    /// write to them.
    pub copied_paths: Vec<Decided>,
}

/// A path that the plan decides on.
pub(super) struct Decided {
    /// As the plan has it, its variables substituted.
    pub written: String,
    /// The same, absolute.
    pub path: String,
    pub span: Span,
}

impl Decided {
    /// Whether it decides on `path`: on its own and on what is below it; where it holds `home`, the
    /// directory of the Compose files, on its own alone, since it would decide on everything else.
    pub(super) fn decides_on(&self, path: &str, home: &str) -> bool {
        path == self.path || files::is_below(path, &self.path) && !files::is_below(home, &self.path)
    }
}

/// A named volume.
pub(super) struct Volume {
    pub key: Span,
    pub keep: Keep,
    /// Whether it must be there already.
    pub external: bool,
}

/// How long its data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing says so; its name on the engine where that is given.
    Undecided(Option<String>),
    /// Each release begins with an empty one.
    PerRelease,
    /// All releases use one, by its name on the engine where the plan gives it.
    AcrossReleases(Option<String>),
}

/// The top level's `volumes`.
pub(super) fn volumes(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, Volume> {
    let mut found = BTreeMap::new();
    let Value::Map(entries) = &node.value else {
        reader.expected(node, "`NAME: {keep: across-releases}` for each volume");
        return found;
    };
    for (key, value) in entries {
        reader.declared.insert(format!("volumes.{}", key.text));
        let place = format!("volumes.{}", part(&key.text));
        let Some(mut fields) = reader.fields(
            value,
            &place,
            "`keep: across-releases` or `keep: per-release`",
        ) else {
            continue;
        };
        let (external, name) = external(reader, &mut fields);
        let choices = ["across-releases", "per-release"];
        let chosen = fields.take("keep").map(|field| {
            (
                field,
                reader.choice(field.node, "way to keep a volume", &choices),
            )
        });
        let name = name.map(|field| (field, reader.public(field.node, "a volume's name")));
        let made_oddly = made_oddly(reader, &mut fields, (&key.text, name.is_some()));
        if let Some(field) = fields.take("labels") {
            reader.translated(
                field,
                format!(
                    "the `labels` of the volume `{}` mean nothing here",
                    key.text
                ),
            );
        }
        fields.finish(
            reader,
            &[(
                "driver_opts",
                "make the volume yourself and mark it `external: true`",
            )],
        );
        if made_oddly {
            continue;
        }
        let given = name.as_ref().and_then(|(_, name)| name.clone());
        let (text, span) = match (&name, &given) {
            (Some((field, _)), Some(name)) => (name, field.node.span),
            _ => (&key.text, key.span),
        };
        if let Err(help) = files::engine_name(text) {
            reader.wrong(span, format!("`{text}` is not a volume's name"), help);
            continue;
        }
        let keep = match (external, chosen) {
            (true, Some((field, Some("per-release")))) => {
                reader.wrong(
                    field.node.span,
                    "an external volume outlives every release",
                    "remove `keep`, or `external`",
                );
                continue;
            }
            (true, _) => Keep::AcrossReleases(Some(given.unwrap_or_else(|| key.text.clone()))),
            (false, Some((_, Some("across-releases")))) => Keep::AcrossReleases(given),
            (false, Some((_, Some(_)))) => {
                if let Some((field, _)) = name {
                    reader.wrong(
                        field.key,
                        "a volume of each release's own has no fixed name",
                        take_away(field.key, &place, "name"),
                    );
                }
                Keep::PerRelease
            }
            (false, Some((_, None))) => continue,
            (false, None) => Keep::Undecided(given),
        };
        found.insert(
            key.text.clone(),
            Volume {
                key: key.span,
                keep,
                external,
            },
        );
    }
    found
}

/// Whether a volume is made in another way than the engine's usual one, which only a person can do.
fn made_oddly(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    (volume, is_named): (&str, bool),
) -> bool {
    let mut odd: Vec<(&str, Field<'_>, String)> = Vec::new();
    if let Some(field) = fields.take("driver")
        && let Some(driver) = reader.public(field.node, "`local`")
        && driver != "local"
    {
        let message = format!("the volume driver `{driver}` is not supported");
        odd.push(("driver", field, message));
    }
    if let Some(field) = fields.take_of_compose("driver_opts") {
        match &field.node.value {
            Value::Map(entries) if entries.is_empty() => reader.used(field.node),
            _ => {
                reader.became(field.node, Fate::Refused);
                let message = "`driver_opts` is not supported in this version".to_owned();
                odd.push(("driver_opts", field, message));
            }
        }
    }
    let Some((_, first, message)) = odd.first() else {
        return false;
    };
    let name = reader.project.as_ref().filter(|_| !is_named);
    let name = name.map_or(String::new(), |project| {
        format!(", name: {project}_{volume}")
    });
    let reset: Vec<_> = odd
        .iter()
        .map(|(key, ..)| format!(", {key}: !reset null"))
        .collect();
    let help = match first.key.is_compose() {
        false => "make the volume yourself and mark it `external: true`".to_owned(),
        true => format!(
            "make the volume yourself where it is not there, and say so in the plan: `volumes: {{{volume}: {{external: true{name}{}}}}}`",
            reset.concat()
        ),
    };
    reader.wrong(first.key, message.clone(), help);
    true
}

/// The external ones of these, by their names on the engine.
pub(super) fn external_volumes(volumes: &BTreeMap<String, Volume>) -> BTreeSet<String> {
    let external = volumes.values().filter(|volume| volume.external);
    let named = external.filter_map(|volume| match &volume.keep {
        Keep::AcrossReleases(name) => name.clone(),
        Keep::Undecided(_) | Keep::PerRelease => None,
    });
    named.collect()
}

/// `external: true`, or as Compose files had it once, `external: {name: NAME}`; and where the name
/// stands that holds.
pub(super) fn external<'t>(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'t>,
) -> (bool, Option<Field<'t>>) {
    let external = fields.take("external");
    let name = fields.take("name");
    let Some(field) = external else {
        return (false, name);
    };
    let entries = match &field.node.value {
        Value::Map(entries) if field.node.span.is_compose() => entries,
        _ => return (reader.boolean(field.node).unwrap_or(false), name),
    };
    let place = fields.below("external");
    let mut inner = Fields::new(&place, field.node.span, entries);
    let there = inner.take("name");
    inner.finish(reader, &[]);
    if let (Some(_), Some(there)) = (name, there) {
        reader.became(there.node, Fate::Overridden);
    }
    (true, name.or(there))
}

/// Which of the two sections is read: they differ in what may give the contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Secrets,
    Configs,
}

impl Section {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Configs => "configs",
        }
    }
}

/// The top level's `secrets` or `configs`.
pub(super) fn contents(
    reader: &mut Reader<'_>,
    node: &Node,
    section: Section,
) -> BTreeMap<String, FileSource> {
    let mut found = BTreeMap::new();
    let Value::Map(entries) = &node.value else {
        reader.expected(node, "`NAME: {file: PATH}` for each");
        return found;
    };
    for (key, value) in entries {
        reader
            .declared
            .insert(format!("{}.{}", section.as_str(), key.text));
        let place = format!("{}.{}", section.as_str(), part(&key.text));
        let Some(mut fields) =
            reader.fields(value, &place, "`file: PATH` or `environment: VARIABLE`")
        else {
            continue;
        };
        let file = fields.take("file");
        let variable = fields.take("environment");
        let content = match section {
            Section::Configs => fields.take("content"),
            Section::Secrets => None,
        };
        for option in ["name", "labels"] {
            if fields
                .peek("external")
                .is_none_or(|field| field.node.is_null())
                && let Some(field) = fields.take_of_compose(option)
            {
                let name = &key.text;
                reader.translated(field, format!("`{option}` of `{name}` means nothing here: its contents are copied into each release"));
            }
        }
        let elsewhere = match key.span.is_compose() {
            false => {
                "an engine on its own keeps none: write `file: PATH` or `environment: VARIABLE`"
                    .to_owned()
            }
            true => format!(
                "an engine on its own keeps none: write in the plan `{}: {{{}: !override {{file: PATH}}}}` or `!override {{environment: VARIABLE}}`",
                section.as_str(),
                key.text
            ),
        };
        let mut advised = vec![
            ("external", elsewhere.as_str()),
            ("name", "remove it"),
            ("labels", "remove it"),
            ("driver", "remove it"),
            ("template_driver", "remove it"),
        ];
        if section == Section::Secrets {
            advised.push(("content", "a secret is not written into a plan: write `file: PATH` or `environment: VARIABLE`"));
        }
        let (file_place, variable_place, content_place) = (
            fields.below("file"),
            fields.below("environment"),
            fields.below("content"),
        );
        let before = reader.problems.len();
        fields.finish(reader, &advised);
        let refused = reader.problems.len() > before;
        let source = match (file, variable, content) {
            (Some(field), None, None) => files::given_file(reader, field.node, &file_place),
            (None, Some(field), None) => {
                let Some(name) = reader.public(field.node, "the name of a variable") else {
                    continue;
                };
                match reader.secret_variable(&name) {
                    Some(value) => {
                        let text = Text::secret(value);
                        reader.seal(field.node.span, &variable_place, &text);
                        Some(FileSource::Value(text))
                    }
                    None if reader.dotenv_is_broken => None,
                    None => {
                        reader.wrong(
                            field.node.span,
                            format!("the variable `{name}` is not set"),
                            format!("add `--set {name}=…`"),
                        );
                        None
                    }
                }
            }
            (None, None, Some(field)) => reader
                .text(field.node, &content_place, "the contents as text")
                .map(FileSource::Value),
            (None, None, None) if refused => None,
            _ => {
                reader.wrong(
                    key.span,
                    format!("`{}` needs exactly one source", key.text),
                    match section {
                        Section::Secrets => "write `file: PATH` or `environment: VARIABLE`",
                        Section::Configs => {
                            "write `file: PATH`, `environment: VARIABLE` or `content: TEXT`"
                        }
                    },
                );
                None
            }
        };
        if let Some(source) = source {
            found.insert(key.text.clone(), source);
        }
    }
    found
}

/// The top level's `shared_paths` or `copied_paths`: relative ones begin where those of the Compose
/// files do, else at the plan's directory.
pub(super) fn paths(reader: &mut Reader<'_>, node: &Node) -> Vec<Decided> {
    let Some(items) = reader.list(node, "a list of paths") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let Some(mut text) = reader.public(item, "a path") else {
            continue;
        };
        // What is written as a variable may be a whole mount, of which this is the source.
        if let Some(end) = text.find(":/") {
            text.truncate(end);
        }
        let path = match files::absolute(&text) {
            Some(path) => path,
            None if text.starts_with('.') => reader.resolve_in_project(&text).display().to_string(),
            None => {
                reader.wrong(
                    item.span,
                    format!("`{text}` is not a path"),
                    "write one that begins with `/`, without `..`, or with `./`",
                );
                continue;
            }
        };
        found.push(Decided {
            written: text,
            path,
            span: item.span,
        });
    }
    found
}
