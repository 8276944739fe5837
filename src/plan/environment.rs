//! `environment`, `env_file`, `labels` and `args`: names with values, as a map or as a list.

use std::collections::BTreeMap;

use super::again;
use super::dotenv;
use super::fields::{Fields, wrapped_value};
use super::merge::name_and_value;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use super::typed::is_true;
use crate::core::plan::Text;

/// Variables that are not sealed yet, because a later source may replace them.
type Unsealed = BTreeMap<String, (Text, Span)>;

/// `env_file` and `environment`, the latter winning.
pub(super) fn environment(
    reader: &mut Reader<'_>,
    role: &mut Fields<'_>,
) -> BTreeMap<String, Text> {
    let mut found = Unsealed::new();
    let place = role.below("environment");
    let files_place = role.below("env_file");
    if let Some(field) = role.take("env_file") {
        env_files(reader, field.node, &files_place, &mut found);
    }
    if let Some(field) = role.take("environment") {
        variables(
            reader,
            field.node,
            "`NAME: value`, or a list of `NAME=value`",
            &mut found,
        );
    }
    seal(reader, &place, found)
}

/// `build.args`.
pub(super) fn arguments(
    reader: &mut Reader<'_>,
    node: &Node,
    place: &str,
) -> BTreeMap<String, Text> {
    let mut found = Unsealed::new();
    variables(
        reader,
        node,
        "`NAME: value`, or a list of `NAME=value`",
        &mut found,
    );
    seal(reader, place, found)
}

fn seal(reader: &mut Reader<'_>, place: &str, found: Unsealed) -> BTreeMap<String, Text> {
    found
        .into_iter()
        .map(|(name, (text, span))| {
            reader.seal(span, &format!("{place}.{name}"), &text);
            (name, text)
        })
        .collect()
}

fn variables(reader: &mut Reader<'_>, node: &Node, what: &str, found: &mut Unsealed) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                if !named(reader, key.span, &key.text) {
                    continue;
                }
                let text = match &value.value {
                    Value::Null => {
                        reader.used(value);
                        reader.secret_variable(&key.text).map(Text::secret)
                    }
                    Value::Scalar { text, .. } => reader.unsealed_part(value, text),
                    _ => {
                        reader.expected(value, "one value");
                        None
                    }
                };
                if let Some(text) = text {
                    found.insert(key.text.clone(), (text, value.span));
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let Value::Scalar { text, .. } = &item.value else {
                    reader.expected(item, "`NAME=value`");
                    continue;
                };
                let Some((name, value)) = entry(reader, item, text) else {
                    continue;
                };
                if !named(reader, item.span, &name) {
                    continue;
                }
                let text = match value {
                    Some(value) => Some(value),
                    None => {
                        reader.used(item);
                        reader.secret_variable(&name).map(Text::secret)
                    }
                };
                if let Some(text) = text {
                    found.insert(name, (text, item.span));
                }
            }
        }
        _ => reader.expected(node, what),
    }
}

/// The name and the value of an entry of a list, in a Compose file each with its variables substituted.
fn entry(reader: &mut Reader<'_>, item: &Node, text: &str) -> Option<(String, Option<Text>)> {
    let (name, value) = name_and_value(text);
    if !item.span.is_compose() {
        let value = match value {
            Some(value) if !name.contains('$') => Some(reader.unsealed_part(item, value)?),
            _ => None,
        };
        return Some((name.to_owned(), value));
    }
    if let Some(value) = value {
        return match reader.expand_public(name) {
            Ok(name) => Some((name, Some(reader.unsealed_part(item, value)?))),
            Err(wrong) => {
                reader.unexpandable(item.span, name, &wrong);
                None
            }
        };
    }
    if !name.contains('$') {
        return Some((name.to_owned(), None));
    }
    // What a variable holds may be all of it, and then it is as secret as a value.
    let whole = reader.unsealed_part(item, name)?;
    Some(match whole.reveal().split_once('=') {
        Some((name, value)) if whole.is_secret() => (name.to_owned(), Some(Text::secret(value))),
        Some((name, value)) => (name.to_owned(), Some(Text::public(value))),
        None => (whole.reveal().to_owned(), None),
    })
}

/// A variable's name stands in the plan itself: it is public, and what it is called decides
/// nothing that could be secret.
fn named(reader: &mut Reader<'_>, span: Span, name: &str) -> bool {
    let good =
        !name.is_empty() && !name.contains(['=', '$', '\0']) && !name.contains(char::is_whitespace);
    if !good {
        reader.wrong(
            span,
            "this begins with no variable's name",
            "write `NAME=value`, the name itself without `$` or blanks",
        );
    }
    good
}

/// Whether an `env_file` may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Required {
    Yes,
    No,
}

fn env_files(reader: &mut Reader<'_>, node: &Node, place: &str, found: &mut Unsealed) {
    const WHAT: &str = "a path, or a list of paths";
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        let mut required = Required::Yes;
        let path = match &item.value {
            Value::Map(_) => {
                let Some(mut fields) = reader.fields(item, place, WHAT) else {
                    continue;
                };
                if let Some(field) = fields.take("required")
                    && reader.boolean(field.node) == Some(false)
                {
                    required = Required::No;
                }
                let path = fields.take("path");
                let span = fields.span;
                let advice = match span.is_compose() {
                    false => "remove it: the format is Compose's own".to_owned(),
                    true => {
                        let anew = format!(
                            "write the list anew in the plan: `{}`",
                            without_formats(reader, items, place)
                        );
                        fields.anew = Some(anew.clone());
                        format!("if Compose's own format will do, {anew}")
                    }
                };
                fields.finish(reader, &[("format", &advice)]);
                match path {
                    Some(field) => reader.public(field.node, "a path"),
                    None => {
                        reader.wrong(span, "this `env_file` has no `path`", "add `path:`");
                        None
                    }
                }
            }
            _ => reader.public(item, WHAT),
        };
        if let Some(path) = path {
            env_file(reader, item, &path, required, found);
        }
    }
}

/// The list as a plan would write it, the format of each file being Compose's own.
fn without_formats(reader: &Reader<'_>, items: &[Node], place: &str) -> String {
    let again = |node: &Node| {
        let Value::Map(_) = &node.value else {
            let written = node.text().unwrap_or("");
            return format!("\"{}\"", again::env_file(reader, node, written));
        };
        let value = |name: &str| node.get(name).and_then(Node::text).unwrap_or("");
        let path = again::env_file(reader, node, value("path"));
        match value("required") {
            "" => format!("\"{path}\""),
            other if is_true(other) => format!("\"{path}\""),
            other if other.contains('$') => {
                format!("{{path: \"{path}\", required: \"{other}\"}}")
            }
            _ => format!("{{path: \"{path}\", required: false}}"),
        }
    };
    let items: Vec<_> = items.iter().map(again).collect();
    wrapped_value(place, &format!("!override [{}]", items.join(", ")))
}

fn env_file(
    reader: &mut Reader<'_>,
    item: &Node,
    path: &str,
    required: Required,
    found: &mut Unsealed,
) {
    let bytes = match dotenv::read(&reader.resolve(item.span, path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && required == Required::No => {
            return;
        }
        Err(error) => {
            let message = format!("the file `{path}` cannot be read: {error}");
            let begin = reader.paths_begin(item.span);
            let help = format!("{begin}; `{{path: …, required: false}}` lets it be missing");
            reader.wrong(item.span, message, help);
            return;
        }
    };
    let parsed = dotenv::parse(path, &bytes, &mut |name| reader.secret_variable(name));
    match parsed {
        Ok(entries) => {
            for (name, value) in entries {
                if let Some(value) = value.or_else(|| reader.secret_variable(&name)) {
                    found.insert(name, (Text::secret(value), item.span));
                }
            }
        }
        Err(problem) => reader.problems.push(problem),
    }
}
