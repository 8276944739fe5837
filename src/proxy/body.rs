//! What the body of an answer must say.
//!
//! No more than the first MiB is read. A text may stand anywhere in that; a pattern may mean the
//! end, and JSON is JSON only as a whole, so these two take no body that is longer.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::reason::{Reason, from_hyper};

/// The most of a body that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// The most of a body that is shown, in bytes.
const SHOWN: usize = 200;
/// The most memory that a pattern may take once compiled, in bytes: that of the plan's check.
const PATTERN_LIMIT: usize = 1024 * 1024;

/// What a body must be as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Regular expression that must match somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// A value that its JSON must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
}

/// A value at a place in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// The place, a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What stands there. Numbers are compared by value: `1` is `1.0`.
    pub equals: Value,
}

/// All that is wanted of one body.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    contains: Option<&'a str>,
    matches: Option<Regex>,
    json: Option<&'a Json>,
}

impl<'a> Wanted<'a> {
    /// `contains` anywhere in the first MiB, and the rest of the whole.
    ///
    /// # Errors
    ///
    /// Where a pattern is none.
    pub(super) fn new(contains: Option<&'a str>, body: Option<&'a Body>) -> Result<Self, Reason> {
        let compile = |pattern: &String| {
            let mut builder = RegexBuilder::new(pattern);
            let compiled = builder.size_limit(PATTERN_LIMIT).build();
            compiled.map_err(|error| Reason::BadAnswer {
                message: format!("the check cannot be asked: {error}"),
            })
        };
        let matches = body.and_then(|body| body.matches.as_ref());
        Ok(Self {
            contains,
            matches: matches.map(compile).transpose()?,
            json: body.and_then(|body| body.json.as_ref()),
        })
    }

    /// Whether the body of an answer from `address` is what is wanted.
    ///
    /// # Errors
    ///
    /// What it says instead.
    pub(super) async fn judge(&self, from: Incoming, address: SocketAddr) -> Result<(), Reason> {
        let holds = |body: &[u8]| match self.contains {
            None => true,
            Some(text) => {
                text.is_empty() || body.windows(text.len()).any(|it| it == text.as_bytes())
            }
        };
        let whole = self.matches.is_some() || self.json.is_some();
        if self.contains.is_none() && !whole {
            return Ok(());
        }
        let mut body = Vec::new();
        let read = read(from, &mut body, BODY_LIMIT, |body| !whole && holds(body)).await;
        if !whole && holds(&body) {
            return Ok(());
        }
        let length = read.map_err(|error| from_hyper(&error, address))?;
        if let (Some(wanted), false) = (self.contains, holds(&body)) {
            return Err(Reason::BodyMissing {
                wanted: wanted.to_owned(),
                body: shown(&body),
                longer: length == Length::Longer,
            });
        }
        if length == Length::Longer {
            return Err(Reason::BodyTooLong {
                most: BODY_LIMIT as u64,
            });
        }
        if let Some(pattern) = self.matches.as_ref().filter(|it| !it.is_match(&body)) {
            return Err(Reason::BodyUnmatched {
                pattern: pattern.as_str().to_owned(),
                body: shown(&body),
            });
        }
        self.json.map_or(Ok(()), |json| json.judge(&body))
    }
}

impl Json {
    fn judge(&self, body: &[u8]) -> Result<(), Reason> {
        let document: Value = serde_json::from_slice(body).map_err(|error| Reason::NoJson {
            line: error.line() as u64,
            column: error.column() as u64,
            body: shown(body),
        })?;
        let pointer = self.pointer.clone();
        match document.pointer(&self.pointer) {
            None => Err(Reason::JsonMissing { pointer }),
            Some(found) if same(found, &self.equals) => Ok(()),
            Some(found) => Err(Reason::JsonDiffers {
                pointer,
                found: shown(found.to_string().as_bytes()),
                wanted: self.equals.to_string(),
            }),
        }
    }
}

/// Whether two values are the same, numbers by what they count.
fn same(one: &Value, other: &Value) -> bool {
    let inexact = |number: &Number| number.is_f64();
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if inexact(one) || inexact(other) => {
            one.as_f64() == other.as_f64()
        }
        _ => one == other,
    }
}

/// How much of a body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// All of it, or as much as was enough.
    Read,
    /// There is more than may be read.
    Longer,
}

async fn read(
    mut from: Incoming,
    into: &mut Vec<u8>,
    most: usize,
    enough: impl Fn(&[u8]) -> bool,
) -> hyper::Result<Length> {
    while !enough(into) {
        let Some(frame) = from.frame().await else {
            break;
        };
        if let Ok(data) = frame?.into_data() {
            let room = most - into.len();
            into.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok(Length::Longer);
            }
        }
    }
    Ok(Length::Read)
}

/// What can be read, within a second, of a body that explains a refusal.
pub(super) async fn glimpse(from: Incoming) -> String {
    let mut body = Vec::new();
    let read = read(from, &mut body, SHOWN, |_| false);
    let limit = std::time::Duration::from_secs(1);
    // That it breaks off or does not end is not the reason of the refusal.
    if !matches!(tokio::time::timeout(limit, read).await, Ok(Ok(_))) {
        tracing::debug!("the body of a refused answer did not end");
    }
    shown(&body)
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use serde_json::json;

    fn judge(pointer: &str, equals: Value, body: &str) -> Result<(), String> {
        let json = Json {
            pointer: pointer.into(),
            equals,
        };
        json.judge(body.as_bytes())
            .map_err(|reason| reason.to_string())
    }

    /// The examples of RFC 6901, section 5.
    #[test]
    fn pointers_lead_where_the_standard_says() {
        let document = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let whole: Value = serde_json::from_str(document).unwrap();
        for (pointer, value) in [
            ("", whole),
            ("/foo", json!(["bar", "baz"])),
            ("/foo/0", json!("bar")),
            ("/", json!(0)),
            ("/a~1b", json!(1)),
            ("/c%d", json!(2)),
            ("/e^f", json!(3)),
            ("/g|h", json!(4)),
            ("/i\\j", json!(5)),
            ("/k\"l", json!(6)),
            ("/ ", json!(7)),
            ("/m~0n", json!(8)),
        ] {
            assert_eq!(judge(pointer, value, document), Ok(()), "{pointer}");
        }
        for pointer in ["/bar", "/foo/2", "/foo/-", "/foo/01", "/foo/bar", "foo"] {
            let said = format!("no `{pointer}` in the answer");
            assert_eq!(judge(pointer, Value::Null, document), Err(said));
        }
    }

    #[test]
    fn values_are_equal_by_kind_and_numbers_by_what_they_count() {
        let body = r#"{"a":1.0,"b":"1","c":null,"d":true,"e":9007199254740993,"f":{"g":[1]}}"#;
        assert_eq!(judge("/a", json!(1), body), Ok(()));
        assert_eq!(judge("/c", Value::Null, body), Ok(()));
        assert_eq!(judge("/d", json!(true), body), Ok(()));
        assert_eq!(judge("/e", json!(9_007_199_254_740_993_u64), body), Ok(()));
        for (pointer, equals, said) in [
            ("/b", json!(1), r#"`/b` is "1", not 1"#),
            ("/c", json!("null"), r#"`/c` is null, not "null""#),
            ("/d", json!("true"), r#"`/d` is true, not "true""#),
            (
                "/e",
                json!(9_007_199_254_740_992_u64),
                "`/e` is 9007199254740993, not 9007199254740992",
            ),
            ("/f", json!("UP"), r#"`/f` is {"g":[1]}, not "UP""#),
        ] {
            assert_eq!(judge(pointer, equals, body), Err(said.to_owned()));
        }
        assert_eq!(
            judge("", json!("UP"), "\"DOWN\""),
            Err(r#"the answer is "DOWN", not "UP""#.to_owned())
        );
    }

    #[test]
    fn what_is_no_json_is_told_by_line_and_column() {
        for (body, said) in [
            ("", "the answer is empty, which is no JSON"),
            ("<html>", "the answer is no JSON at 1:1: <html>"),
            (
                "{\"status\":\n \"UP\"",
                "the answer is no JSON at 2:5: {\"status\":\n \"UP\"",
            ),
            ("{} {}", "the answer is no JSON at 1:4: {} {}"),
        ] {
            assert_eq!(judge("/status", json!("UP"), body), Err(said.to_owned()));
        }
        let deep = "[".repeat(100_000);
        let said = judge("/status", json!("UP"), &deep).unwrap_err();
        assert!(
            said.starts_with("the answer is no JSON at 1:128: [["),
            "{said}"
        );
    }
}
