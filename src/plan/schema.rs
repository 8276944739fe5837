//! The JSON Schema of a plan, for editors: what every plan may say, and what its pointer's kind adds.

use serde_json::{Map, Value, json};

use crate::pointer::SECTIONS;
use crate::pointer::section::{Key, ReachKind, Section, Takes};

/// All but the pointers' own keys.
const FRAME: &str = include_str!("schema.json");

/// The JSON Schema (draft 2020-12) of a plan. It knows every key that the reader knows and no other,
/// which a test holds; what keys mean together only the reader knows.
#[must_use]
pub fn schema() -> Value {
    #[expect(clippy::expect_used, reason = "the text is part of the program")]
    let mut schema: Value = serde_json::from_str(FRAME).expect("a schema");
    let kinds = SECTIONS
        .iter()
        .map(|section| (section.kind.to_owned(), kind(section)));
    schema["properties"]["pointer"]["properties"] = Value::Object(kinds.collect());
    schema
}

fn kind(section: &Section) -> Value {
    let mut properties = Map::new();
    for key in section.keys {
        for name in [Some(key.name), key.also].into_iter().flatten() {
            properties.insert(name.to_owned(), value(key));
        }
    }
    properties.insert("reach".to_owned(), reach(section.reaching.ways));
    let needed = section.keys.iter().filter(|key| key.missing.is_some());
    let mut needed: Vec<&str> = needed.map(|key| key.name).collect();
    if section.reaching.ways.first() == Some(&ReachKind::Published) {
        needed.push("reach");
    }
    json!({
        "description": section.means,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": needed,
    })
}

fn reach(ways: &[ReachKind]) -> Value {
    let forms = ways.iter().map(|way| match way {
        ReachKind::Container => json!({"enum": ["container"]}),
        ReachKind::Published | ReachKind::Slot => {
            json!({"$ref": "#/$defs/reach", "required": [way.word()]})
        }
    });
    json!({
        "description": "At which addresses the pointer finds the releases.",
        "anyOf": forms.chain([json!({"$ref": "#/$defs/variable"})]).collect::<Vec<_>>(),
    })
}

fn value(key: &Key) -> Value {
    let mut value = match key.takes {
        Takes::Listen | Takes::Text(_) | Takes::Path | Takes::Duration => {
            json!({"type": "string"})
        }
        Takes::Word(words) => json!({"enum": words}),
        Takes::Number(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Takes::Flag => json!({"type": "boolean"}),
        Takes::Hosts | Takes::Texts(_) | Takes::Command => json!({
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        }),
    };
    value["description"] = key.means.into();
    value
}
