//! `${VAR}` and its forms, on one scalar.
//!
//! Values are never substituted again: a dollar sign inside a variable is a dollar sign.

use std::collections::BTreeSet;
use std::ops::Range;

/// How deep defaults may be nested in each other.
const MOST_NESTED: usize = 16;
/// How long a scalar may grow, in bytes.
const MOST_TEXT: usize = 4 << 20;

/// What a form needs to know about a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its value.
    Value,
    /// Only whether it is set and whether it is empty.
    Presence,
}

/// A substituted scalar.
pub(super) struct Expanded {
    pub value: String,
    /// Whether any of it came from outside the plan's text.
    pub outside: bool,
    /// What did, each once.
    pub parts: BTreeSet<String>,
}

impl Expanded {
    fn take(&mut self, value: String) {
        self.value.push_str(&value);
        self.outside = true;
        if !value.is_empty() {
            self.parts.insert(value);
        }
    }
}

/// What is wrong with a scalar, and where in it.
#[derive(Debug)]
pub(super) struct Unexpandable {
    pub at: Range<usize>,
    /// Whether a variable is missing; otherwise the form itself is wrong.
    pub missing: bool,
    pub message: String,
    pub help: String,
}

/// Substitutes the variables of `text`, asking `lookup` for each.
///
/// # Errors
/// An unset variable without a default, a `?` form that holds, or a malformed form. No message
/// carries a variable's value.
pub(super) fn expand(
    text: &str,
    lookup: &mut dyn FnMut(&str, Wanted) -> Option<String>,
) -> Result<Expanded, Unexpandable> {
    let mut expanded = Expanded {
        value: String::new(),
        outside: false,
        parts: BTreeSet::new(),
    };
    Expander { text, lookup }.run(0..text.len(), 0, &mut expanded)?;
    Ok(expanded)
}

struct Expander<'a> {
    text: &'a str,
    lookup: &'a mut dyn FnMut(&str, Wanted) -> Option<String>,
}

impl Expander<'_> {
    fn run(
        &mut self,
        range: Range<usize>,
        depth: usize,
        out: &mut Expanded,
    ) -> Result<(), Unexpandable> {
        let mut at = range.start;
        while let Some(offset) = self.text[at..range.end].find('$') {
            let dollar = at + offset;
            out.value.push_str(&self.text[at..dollar]);
            let rest = &self.text[dollar + 1..range.end];
            if rest.starts_with('$') {
                out.value.push('$');
                at = dollar + 2;
            } else if rest.starts_with('{') {
                let close = self
                    .closing(dollar + 2, range.end)
                    .ok_or_else(|| Unexpandable {
                        at: dollar..dollar + 2,
                        missing: false,
                        message: "`${` is never closed".into(),
                        help: "write `${VAR}`, or `$$` for a plain dollar sign".into(),
                    })?;
                self.form(dollar..close + 1, depth, out)?;
                at = close + 1;
            } else {
                let name = &rest[..name_length(rest)];
                if name.is_empty() {
                    return Err(Unexpandable {
                        at: dollar..dollar + 1,
                        missing: false,
                        message: "this `$` begins no variable".into(),
                        help: "write `$$` for a plain dollar sign".into(),
                    });
                }
                let end = dollar + 1 + name.len();
                let value =
                    (self.lookup)(name, Wanted::Value).ok_or_else(|| unset(dollar..end, name))?;
                out.take(value);
                at = end;
            }
            if out.value.len() > MOST_TEXT {
                return Err(Unexpandable {
                    at: dollar..dollar + 1,
                    missing: false,
                    message: "with its variables substituted this is longer than 4 MiB".into(),
                    help: "put it in a file".into(),
                });
            }
        }
        out.value.push_str(&self.text[at..range.end]);
        Ok(())
    }

    /// What a person has written for the want of a variable. No value from outside is shown.
    fn said(&mut self, word: Range<usize>, depth: usize) -> String {
        let written = self.text[word.clone()].to_owned();
        let mut said = Expanded {
            value: String::new(),
            outside: false,
            parts: BTreeSet::new(),
        };
        match self.run(word, depth + 1, &mut said) {
            Ok(()) if !said.outside => said.value,
            _ => written,
        }
    }

    /// The brace that closes a form whose inside begins at `start`.
    fn closing(&self, start: usize, end: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let (mut at, mut open) = (start, 1);
        while at < end {
            match bytes[at] {
                b'$' if at + 1 < end && bytes[at + 1] == b'$' => at += 1,
                b'$' if at + 1 < end && bytes[at + 1] == b'{' => {
                    open += 1;
                    at += 1;
                }
                b'}' => {
                    open -= 1;
                    if open == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// One `${…}`, whose range includes the dollar sign and both braces.
    fn form(
        &mut self,
        whole: Range<usize>,
        depth: usize,
        out: &mut Expanded,
    ) -> Result<(), Unexpandable> {
        let inside = whole.start + 2..whole.end - 1;
        let body = &self.text[inside.clone()];
        let name = &body[..name_length(body)];
        let rest = &body[name.len()..];
        let operator = [":-", ":?", ":+", "-", "?", "+"]
            .into_iter()
            .find(|op| rest.starts_with(op));
        if name.is_empty() || operator.is_none() && !rest.is_empty() {
            return Err(Unexpandable {
                at: whole,
                missing: false,
message: "this is no form of a variable".into(),
                help: "write `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${VAR:+instead}`, or `$$` for a dollar sign".into(),
            });
        }
        if depth >= MOST_NESTED {
            return Err(Unexpandable {
                at: whole,
                missing: false,
                message: format!("defaults are nested more than {MOST_NESTED} deep"),
                help: "use fewer".into(),
            });
        }
        let operator = operator.unwrap_or("");
        let wanted = if operator.ends_with('+') {
            Wanted::Presence
        } else {
            Wanted::Value
        };
        let found = (self.lookup)(name, wanted);
        let found = found.filter(|value| !operator.starts_with(':') || !value.is_empty());
        let word = inside.start + name.len() + operator.len()..inside.end;
        match (operator.trim_start_matches(':'), found) {
            ("-", None) => self.run(word, depth + 1, out),
            // Whether it is set is known only outside, so a change of that must be seen too.
            ("+", Some(_)) => {
                out.outside = true;
                self.run(word, depth + 1, out)
            }
            ("+", None) => Ok(()),
            ("?", None) => {
                let message = match self.said(word, depth).as_str() {
                    "" => format!("the variable `{name}` is required and not set"),
                    said => format!("the variable `{name}` is required: {said}"),
                };
                Err(Unexpandable {
                    at: whole,
                    missing: true,
                    message,
                    help: format!("add `--set {name}=…`"),
                })
            }
            (_, None) => Err(unset(whole, name)),
            (_, Some(value)) => {
                out.take(value);
                Ok(())
            }
        }
    }
}

fn unset(at: Range<usize>, name: &str) -> Unexpandable {
    Unexpandable {
        at,
        missing: true,
        message: format!("the variable `{name}` is not set"),
        help: format!("add `--set {name}=…`, or give it a default: `${{{name}:-default}}`"),
    }
}

/// How many bytes at the beginning of `text` are the name of a variable.
pub(super) fn name_length(text: &str) -> usize {
    let good = |(index, c): (usize, char)| {
        c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit()
    };
    text.char_indices()
        .find(|&found| !good(found))
        .map_or(text.len(), |(index, _)| index)
}
