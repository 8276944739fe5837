//! What is wrong with a plan, shown the way a person can mend it: file, line, column, the line
//! itself, and what to write instead.
//!
//! Source lines are those of the plan file, with no variable substituted. Lines of files that hold
//! secrets (`env_file`, `.env`) are named by number and never shown. A message may carry a value of a
//! public place (a name, an image, a port), as substituted; never one of a place that may hold a
//! secret.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many problems one error carries at most.
pub const MOST_PROBLEMS: usize = 20;

/// How many columns of a source line are shown.
const WINDOW: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Its line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// Its column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write or run instead.
    pub help: Option<String>,
    #[serde(skip)]
    source: Option<SourceLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SourceLine {
    text: String,
    marked: usize,
}

impl Problem {
    /// A problem with a file as a whole.
    #[must_use]
    pub fn whole(file: &str, message: impl Into<String>) -> Self {
        Self::at(file, 0, 0, message)
    }

    /// A problem at a place whose line is not shown.
    #[must_use]
    pub fn at(file: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        Self {
            file: printable(file),
            line,
            column,
            message: printable(&message.into()),
            help: None,
            source: None,
        }
    }

    /// The same place, of which something is said.
    #[must_use]
    pub(super) fn saying(mut self, message: &str) -> Self {
        self.message = printable(message);
        self
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()));
        self
    }

    /// Adds the line itself, of which `marked` characters from the column on are underlined.
    #[must_use]
    pub fn source(mut self, text: &str, marked: usize) -> Self {
        self.source = Some(SourceLine {
            text: printable(text),
            marked,
        });
        self
    }
}

/// Control characters and changes of writing direction could make a terminal show something else;
/// they are shown as `U+FFFD`.
pub(super) fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if hidden(c) { '\u{fffd}' } else { c })
        .collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(
                f,
                "{}:{}:{}: {}",
                self.file, self.line, self.column, self.message
            )?;
        }
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        if let Some(source) = &self.source {
            let (shown, before) = window(&source.text, self.column.saturating_sub(1));
            let rest = shown.chars().skip(before).take(source.marked.max(1));
            let marks = rest.map(|c| c.width().unwrap_or(1)).sum::<usize>().max(1);
            let pad: String = shown
                .chars()
                .take(before)
                .map(|c| {
                    if c == '\t' {
                        "\t".to_owned()
                    } else {
                        " ".repeat(c.width().unwrap_or(1))
                    }
                })
                .collect();
            write!(
                f,
                "\n {margin} |\n {number} | {shown}\n {margin} | {pad}{}",
                "^".repeat(marks)
            )?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n {margin} = hint: {help}")?;
        }
        Ok(())
    }
}

/// The part of a long line around a column, and how many characters stand before that column in it.
fn window(text: &str, column: usize) -> (String, usize) {
    if text.width() <= WINDOW {
        return (text.to_owned(), column.min(text.chars().count()));
    }
    let start = column.saturating_sub(WINDOW / 2);
    let lead = if start > 0 { "…" } else { "" };
    let body: String = text.chars().skip(start).take(WINDOW).collect();
    let tail = if text.chars().count() > start + WINDOW {
        "…"
    } else {
        ""
    };
    (
        format!("{lead}{body}{tail}"),
        column - start + lead.chars().count(),
    )
}

/// Everything that is wrong with a plan, at most [`MOST_PROBLEMS`] of it, by file and place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct PlanError {
    /// What is wrong, never empty.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl PlanError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        let mut said = HashSet::new();
        problems.retain(|problem| {
            let place = (problem.file.clone(), problem.line, problem.column);
            said.insert((place, problem.message.clone()))
        });
        let more = problems.len().saturating_sub(MOST_PROBLEMS);
        problems.truncate(MOST_PROBLEMS);
        Self { problems, more }
    }
}

impl From<Problem> for PlanError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
            more: 0,
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            1 => f.write_str("\n\nand 1 more problem"),
            more => write!(f, "\n\nand {more} more problems"),
        }
    }
}

/// Something worth saying about a plan that is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The plan file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// What is worth saying.
    pub message: String,
    /// Whether it is worth saying at every deploy.
    pub kind: NoteKind,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// Something that may not be meant.
    Caution,
    /// What a key of Compose's means here; nothing to be done.
    Translation,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}
