//! `labels`.

use std::collections::BTreeMap;

use super::account::Fate;
use super::fields::Field;
use super::read::Reader;
use super::source::Span;
use super::tree::Value;
use crate::core::RoleName;
use crate::core::plan::Run;

/// A role's labels. Those of Traefik are left out of a release's roles: one that watches the engine
/// would route to every release that stands.
pub(super) fn labels(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    role: &RoleName,
    run: Run,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut watched: Option<Span> = None;
    let is_watched = |key: &str| key.starts_with("traefik.") && run != Run::Shared;
    let mut insert = |reader: &mut Reader<'_>, span: Span, key: &str, value: String| {
        if key.starts_with("flipside.") || key.starts_with("com.docker.compose.") {
            let whose = match key.starts_with("flipside.") {
                true => ("flipside's", "flipside."),
                false => ("Compose's", "com.docker.compose."),
            };
            reader.wrong(
                span,
                format!("the label `{key}` is {} own", whose.0),
                format!("choose a name that does not begin with `{}`", whose.1),
            );
        } else if key.is_empty() {
            reader.wrong(span, "this label has no name", "write `name: value`");
        } else {
            found.insert(key.to_owned(), value);
        }
    };
    match &field.node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                // What is left out is not looked into: it may be a secret.
                if is_watched(&key.text) {
                    reader.became(value, Fate::LeftOut);
                    watched.get_or_insert(key.span);
                    continue;
                }
                let text = match &value.value {
                    Value::Null => {
                        reader.used(value);
                        Some(String::new())
                    }
                    _ => reader.public(value, "one value"),
                };
                if let Some(text) = text {
                    insert(reader, key.span, &key.text, text);
                }
            }
        }
        Value::List(items) => {
            for item in items {
                if matches!(&item.value, Value::Scalar { text, .. } if is_watched(text)) {
                    reader.became(item, Fate::LeftOut);
                    watched.get_or_insert(item.span);
                    continue;
                }
                if let Some(text) = reader.public(item, "`name=value`") {
                    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                    insert(reader, item.span, key, value.to_owned());
                }
            }
        }
        _ => reader.expected(field.node, "`name: value`, or a list of `name=value`"),
    }
    if let Some(span) = watched {
        reader.note(span, format!("the `traefik.*` labels of `{role}` are left out: a Traefik that watches the engine would route to blue and green alike; let it send to the pointer's address"));
    }
    found
}
