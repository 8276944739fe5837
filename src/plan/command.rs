//! `command`, `entrypoint` and other commands: a list of words, or one text split as a shell would.

use std::collections::BTreeSet;

use super::read::Reader;
use super::tree::{Node, Value};
use crate::core::plan::Text;

/// The words of a command; an empty text or list gives none.
pub(super) fn command(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Vec<Text>> {
    const WHAT: &str = "a command: one text, or a list of words";
    match &node.value {
        Value::List(items) if items.is_empty() => {
            reader.used(node);
            Some(Vec::new())
        }
        Value::List(items) => Some(
            items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| reader.text(item, &format!("{place}.{index}"), WHAT))
                .collect(),
        ),
        _ => {
            let text = reader.text(node, place, WHAT)?;
            match split(text.reveal()) {
                Some(words) if text.is_secret() => {
                    let parts = text.parts();
                    Some(words.into_iter().map(|word| secret(word, parts)).collect())
                }
                Some(words) => Some(words.into_iter().map(Text::public).collect()),
                None => {
                    reader.wrong(
                        node.span,
                        "a quote in this command is never closed",
                        "close it, or write a list of words",
                    );
                    None
                }
            }
        }
    }
}

/// A word of a command of which `parts` came from outside, or all. Splitting takes none of them
/// apart that holds neither blank nor quote nor backslash.
fn secret(word: String, parts: Option<&BTreeSet<String>>) -> Text {
    let whole = |part: &String| !part.contains(|c: char| c.is_whitespace() || "'\"\\".contains(c));
    match parts {
        Some(parts) if parts.iter().all(whole) => {
            let inside = parts.iter().filter(|part| word.contains(part.as_str()));
            let inside = inside.cloned().collect();
            Text::composed(word, inside)
        }
        _ => Text::secret(word),
    }
}

/// Words separated by blanks; quotes and backslashes as in POSIX, nothing else. `None` where a
/// quote or a backslash is left open.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}
