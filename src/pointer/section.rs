//! What a plan may say of a pointer, kind by kind, as data: read by the plan's reader, which knows
//! no kind, and shown to editors.

use serde_json::{Map, Value};

/// The section of one kind.
#[derive(Debug)]
pub struct Section {
    /// Its name in plans.
    pub kind: &'static str,
    /// What it is, in a line.
    pub means: &'static str,
    /// The least that it takes.
    pub example: &'static str,
    /// What may be said.
    pub keys: &'static [Key],
    /// Keys that somebody may look for, with what to do instead.
    pub advised: &'static [(&'static str, &'static str)],
    /// Fills in what was not said, and remarks on the settings taken together.
    pub complete: fn(&mut Map<String, Value>) -> Vec<Remark>,
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Another name for it, of which the same is true.
    pub also: Option<&'static str>,
    /// What its value is.
    pub takes: Takes,
    /// Where it must be there: what is said without it, and what to add.
    pub missing: Option<(&'static str, &'static str)>,
    /// What it means, for editors; with its default.
    pub means: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// An address and port to listen on; without an address all of them.
    Listen,
    /// Host names, one or several.
    Hosts,
    /// Text; what, for those who write something else.
    Text(&'static str),
    /// Texts, one or several; what one of them is.
    Texts(&'static str),
    /// A program and its words, a list or one text; a program with a slash is beside the plan, and
    /// stored absolute.
    Command,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A path; what is not absolute is beside the plan, and stored absolute.
    Path,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// A duration, stored in milliseconds.
    Duration,
    /// `true` or `false`.
    Flag,
}

/// What there is to say of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// It cannot be so.
    Wrong(Wrong),
    /// It can be so, and may not be meant.
    Caution {
        /// Its key.
        key: &'static str,
        /// What it brings.
        message: String,
    },
}

impl From<Wrong> for Remark {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Its key.
    pub key: &'static str,
    /// What.
    pub message: String,
    /// What to write instead.
    pub help: String,
}
