//! What an HTTP probe wants of the body of an answer: a pattern, a value in its JSON.

use regex::bytes::RegexBuilder;
use regex_syntax::ParserBuilder;
use serde_json::{Number, Value as Json};

use super::fields::Fields;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::plan::JsonValue;

/// The most memory that a pattern may take once compiled, in bytes: that of the check itself.
const PATTERN_LIMIT: usize = 1024 * 1024;

/// A regular expression, as the crate `regex` understands it: it takes linear time, and has neither
/// look-around nor back-references.
pub(super) fn pattern(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a regular expression such as `'^ok\\b'`")?;
    if let Err(error) = ParserBuilder::new().utf8(false).build().parse(&text) {
        let (why, at) = match &error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span()),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span()),
            other => {
                reader.wrong(node.span, other.to_string(), "write it in another way");
                return None;
            }
        };
        let part = text.get(at.start.offset..at.end.offset).unwrap_or("");
        let shown = match part {
            "" => String::new(),
            part => format!(" at `{part}`"),
        };
        let span = within(reader, node, &text, at.start.offset, part);
        reader.wrong(
            span,
            format!("this is not a regular expression{shown}: {why}"),
            "mend it, or use `contains` for a text without patterns",
        );
        return None;
    }
    let mut builder = RegexBuilder::new(&text);
    if builder.size_limit(PATTERN_LIMIT).build().is_err() {
        reader.wrong(
            node.span,
            "this regular expression is too large once its repetitions are written out",
            "lower the counts in its `{…}`",
        );
        return None;
    }
    Some(text)
}

/// The place of `part`, at `offset` of `text`, where the file has the text word for word; else that
/// of the whole.
fn within(reader: &Reader<'_>, node: &Node, text: &str, offset: usize, part: &str) -> Span {
    let written = reader.written(node.span);
    match written.and_then(|written| written.find(text)) {
        Some(found) => {
            let start = node.span.start + found + offset;
            Span {
                end: start + part.len(),
                ..reader.source(node.span).place(start)
            }
        }
        None => node.span,
    }
}

/// `{pointer: /status, equals: UP}`.
pub(super) fn json(
    reader: &mut Reader<'_>,
    node: &Node,
    key: Span,
    place: &str,
) -> Option<JsonValue> {
    let mut fields = reader.fields(node, place, "`{pointer: /status, equals: UP}`")?;
    let missing = (
        "this `json` does not say where to look",
        "add `pointer: /status`, or `pointer: ''` for the whole document",
    );
    let pointer = fields
        .take_required(reader, "pointer", key, missing)
        .and_then(|field| pointer(reader, field.node));
    let equals = equals(reader, &mut fields, key);
    fields.finish(reader, &[]);
    Some(JsonValue {
        pointer: pointer?,
        equals: equals?,
    })
}

/// A JSON pointer, RFC 6901.
fn pointer(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a JSON pointer such as `/status`")?;
    if !text.is_empty() && !text.starts_with('/') {
        let plain = text.trim_start_matches(['#', '$', '.', '/']);
        reader.wrong(
            node.span,
            format!("`{text}` is not a JSON pointer, which begins with `/`"),
            format!("write `/{}`", plain.replace('.', "/")),
        );
        return None;
    }
    let mut escapes = text.split('~').skip(1);
    if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        reader.wrong(
            node.span,
            format!("`{text}` has a `~` that stands for nothing"),
            "write `~0` for a `~` in a name, and `~1` for a `/`",
        );
        return None;
    }
    Some(text)
}

fn equals(reader: &mut Reader<'_>, fields: &mut Fields<'_>, key: Span) -> Option<Json> {
    let Some(field) = fields.take_even_empty("equals") else {
        reader.wrong(
            key,
            "this `json` does not say what to expect",
            "add `equals: UP`: a text, a number, `true`, `false` or `null`",
        );
        return None;
    };
    let node = field.node;
    let text = match &node.value {
        Value::Null => {
            let written = reader.written(node.span);
            if written.unwrap_or("").trim().is_empty() {
                reader.wrong(
                    field.key,
                    "`equals` has no value",
                    "write one; `null` where that is meant",
                );
                return None;
            }
            return Some(Json::Null);
        }
        _ => reader.public(node, "a text, a number, `true`, `false` or `null`")?,
    };
    if !matches!(node.value, Value::Scalar { plain: true, .. }) {
        return Some(Json::String(text));
    }
    Some(match text.as_str() {
        "null" | "Null" | "NULL" | "~" => Json::Null,
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        number => match number.parse::<Number>() {
            Ok(number) => Json::Number(number),
            Err(_) => Json::String(text),
        },
    })
}
