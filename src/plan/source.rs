//! The texts that a plan is read from, and places in them.

use super::error::Problem;
use super::tree::{Key, Node, Value};

/// A place in what was read: which file, line and column from 1, and the bytes it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// The file's index: 0 is the plan, others are the Compose files it names.
    pub file: u16,
    pub line: usize,
    pub column: usize,
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// Whether it is in a Compose file, where what Compose takes is taken.
    pub(super) fn is_compose(self) -> bool {
        self.file != PLAN
    }
}

/// The index of the plan itself.
pub(super) const PLAN: u16 = 0;

/// The text of a file with its name and which one it is.
pub(super) struct Source {
    pub index: u16,
    pub file: String,
    pub text: String,
}

impl Source {
    /// Text without the mark that says it is UTF-8.
    pub(super) fn new(index: u16, file: &str, text: &str) -> Self {
        Self {
            index,
            file: file.to_owned(),
            text: text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        }
    }

    /// Where the ids of its nodes begin; no file has as many nodes as there are ids for it.
    pub(super) fn first_id(&self) -> u32 {
        u32::from(self.index) << 16
    }

    /// A problem at `span`, with the line shown.
    pub(super) fn problem(&self, span: Span, message: impl Into<String>) -> Problem {
        let start = self.text[..span.start.min(self.text.len())]
            .rfind(['\n', '\r'])
            .map_or(0, |index| index + 1);
        let rest = &self.text[start..];
        let line = &rest[..rest.find(['\n', '\r']).unwrap_or(rest.len())];
        let covered = self.text.get(span.start..span.end).unwrap_or("");
        let marked = covered
            .split(['\n', '\r'])
            .next()
            .unwrap_or("")
            .chars()
            .count();
        Problem::at(&self.file, span.line, span.column, message).source(line, marked.max(1))
    }

    /// The place of a byte.
    pub(super) fn place(&self, offset: usize) -> Span {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let breaks = before.bytes().enumerate().filter(|&(index, byte)| {
            byte == b'\n' || byte == b'\r' && self.text.as_bytes().get(index + 1) != Some(&b'\n')
        });
        let line = breaks.count() + 1;
        let start = before.rfind(['\n', '\r']).map_or(0, |index| index + 1);
        Span {
            file: self.index,
            line,
            column: before[start..].chars().count() + 1,
            start: offset,
            end: offset,
        }
    }

    pub(super) fn span(&self, span: granit_parser::Span) -> Span {
        let start = span.start.byte_offset().unwrap_or(0).min(self.text.len());
        let end = span
            .end
            .byte_offset()
            .unwrap_or(start)
            .clamp(start, self.text.len());
        Span {
            file: self.index,
            line: span.start.line().max(1),
            column: span.start.col() + 1,
            start,
            end,
        }
    }

    pub(super) fn key(&self, node: Node) -> Result<Key, Problem> {
        match node.value {
            Value::Scalar { text, .. } => Ok(Key {
                text,
                span: node.span,
            }),
            _ => {
                let message = format!("a key must be a name, and this is {}", node.kind());
                Err(self.problem(node.span, message).help("write `name: value`"))
            }
        }
    }
}
