//! `logging`.

use std::collections::BTreeMap;

use super::read::Reader;
use super::tree::{Node, Value};
use crate::core::plan::Logging;

/// A log driver and its options. What an option holds may be secret, as a collector's token is.
pub(super) fn logging(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Logging> {
    let mut fields = reader.fields(node, place, "`driver:` and `options:`")?;
    let driver = fields.take("driver").map(|field| {
        let text = reader.public(field.node, "a log driver such as `json-file`");
        (field, text)
    });
    let options_place = fields.below("options");
    let mut options = BTreeMap::new();
    if let Some(field) = fields.take("options") {
        let Value::Map(entries) = &field.node.value else {
            reader.expected(field.node, "`NAME: value` for each option");
            return None;
        };
        for (key, value) in entries {
            let place = format!("{options_place}.{}", key.text);
            if let Some(text) = reader.text(value, &place, "one value") {
                options.insert(key.text.clone(), text);
            }
        }
    }
    fields.finish(reader, &[]);
    let driver = match driver {
        Some((field, text)) => {
            let text = text?;
            let good = !text.is_empty() && !text.contains(char::is_whitespace);
            if !good {
                reader.wrong(
                    field.node.span,
                    format!("`{text}` is not a log driver"),
                    "write `json-file`, `local`, `journald` or another that the engine has",
                );
                return None;
            }
            text
        }
        None => "json-file".to_owned(),
    };
    Some(Logging { driver, options })
}
