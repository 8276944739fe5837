//! What was seen on a bad day, held against the file that tells it.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::table::days;
use super::words::{Names, matters};
use crate::readme::root;
use crate::real_verbs::kit::{Ran, Stage};

/// What answered for the service at the end of the day.
#[derive(Debug, Clone, Copy)]
pub enum Serves<'a> {
    /// What served before the day, with this version.
    Before(&'a str),
    /// The release of the day, with this version.
    New(&'a str),
    /// Nobody.
    Nothing,
}

/// One bad day, as far as it has been seen.
#[must_use = "end it with `serves`"]
pub struct Day<'a> {
    name: &'static str,
    stage: &'a Stage,
    names: Names,
    steps: String,
}

impl<'a> Day<'a> {
    /// A day of the table.
    #[track_caller]
    pub fn of(name: &'static str, stage: &'a Stage) -> Self {
        let known = days().any(|day| day.name == name);
        assert!(known, "`{name}` is not in tests/bad_days/table.rs");
        Self {
            name,
            stage,
            names: Names::of(stage),
            steps: String::new(),
        }
    }

    /// Shows `own`, which is of this test only, as `told`.
    pub fn naming(mut self, own: &str, told: &str) -> Self {
        self.names.add(own, told);
        self
    }

    /// What one command said; `typed` is that command as people would type it.
    pub fn saw(mut self, typed: &str, ran: &Ran) -> Self {
        let said = matters(&self.names.told(&ran.err));
        let data = data(&self.names.told(&ran.out));
        let (code, typed) = (ran.code, self.names.told(typed));
        write!(self.steps, "\n$ {typed}\n{said}{data}exit {code}\n").unwrap();
        self
    }

    /// Who answers after the last command.
    #[track_caller]
    pub fn meanwhile(self, serves: Serves<'_>) -> Self {
        let words = match serves {
            Serves::Before(version) => {
                self.stage.serves(version);
                "as before"
            }
            Serves::New(version) => {
                self.stage.serves(version);
                "the new one"
            }
            Serves::Nothing => {
                let answer = self.stage.try_get("test", "/");
                assert!(!matches!(answer, Ok((200, _))), "{answer:?}");
                "nothing"
            }
        };
        self.serving(words)
    }

    fn serving(mut self, words: &str) -> Self {
        writeln!(self.steps, "serves: {words}").unwrap();
        self
    }

    /// The end of the day: who answers now.
    #[track_caller]
    pub fn serves(self, serves: Serves<'_>) {
        self.meanwhile(serves).held();
    }

    /// The end of a day of which this cannot ask who answers: in words.
    #[track_caller]
    pub fn told(self, serves: &str) {
        self.serving(serves).held();
    }

    #[track_caller]
    fn held(self) {
        held(self.name, &self.steps);
    }
}

/// A day of the fakes, where the clock is handed in: what a deploy said, and that it ended well.
#[track_caller]
pub fn without_an_engine(name: &str, said: &str) {
    let said = matters(&Names::none().told(said));
    held(
        name,
        &format!("$ flipside deploy\n{said}exit 0\nserves: the new one\n"),
    );
}

/// Holds what was seen against the file that tells it.
#[track_caller]
fn held(name: &str, steps: &str) {
    let seen = steps.trim_start_matches('\n');
    let path = golden(name);
    if std::env::var_os("FLIPSIDE_BLESS").is_some() {
        std::fs::write(path, seen).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        seen, expected,
        "`{name}` is no longer told so: FLIPSIDE_BLESS=1 writes it, then `bad_days` the page"
    );
}

/// Of the data that a command wrote: how it begins, its warnings, and how it ends.
fn data(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut kept = String::new();
    let mut warns = false;
    for (n, line) in lines.iter().enumerate() {
        if warns && line.starts_with("  ") {
            // The warning was wrapped.
            kept.pop();
            kept += &format!(" {}\n", line.trim_start());
            continue;
        }
        warns = line.starts_with("warning: ");
        if n < 2 || warns || n + 1 == lines.len() {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Where a day is told.
pub fn golden(name: &str) -> PathBuf {
    root().join(format!("tests/golden/bad_days/{name}.txt"))
}
