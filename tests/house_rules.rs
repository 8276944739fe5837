//! The house rules: what `src/` may import, how long a file may get, what may not be written, what
//! stands at the top level, and which licences dependencies may have.
//!
//! Each rule is a function from text to breaches. One test holds it against the repository; another
//! feeds it something bad and sees it refuse, so that no rule passes because it looks at nothing.

mod imports;
mod layout;
mod licences;
mod source;
mod wording;

use std::fmt;
use std::path::{Path, PathBuf};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Breach {
    /// File, from the repository's root, and line.
    place: String,
    /// What is wrong and what to do instead.
    what: String,
}

impl Breach {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            place: format!("{path}:{line}"),
            what: what.into(),
        }
    }

    fn of_file(path: &str, what: impl Into<String>) -> Self {
        Self {
            place: path.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Fails naming every breach.
#[track_caller]
fn hold(breaches: &[Breach]) {
    let lines: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} breach(es) of the house rules:\n  {}",
        lines.len(),
        lines.join("\n  ")
    );
}

/// Fails unless exactly one breach was found and it speaks of `of`.
#[track_caller]
fn caught(breaches: &[Breach], of: &str) {
    assert_eq!(breaches.len(), 1, "{breaches:?}");
    let said = breaches[0].to_string();
    assert!(said.contains(of), "`{said}` does not speak of `{of}`");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository: path from its root, with `/`, and size in bytes.
struct File {
    path: String,
    bytes: u64,
}

/// What git would track: everything that `.gitignore` does not name. Does not need git.
fn files() -> Vec<File> {
    let root = root();
    let walk = ignore::WalkBuilder::new(&root)
        .hidden(false)
        .follow_links(true)
        .parents(false)
        .git_global(false)
        .git_exclude(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let mut files: Vec<File> = walk
        // What another test makes beside us may be gone before it is looked at.
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(File {
                path: slashed(entry.path().strip_prefix(&root).unwrap()),
                bytes: metadata.len(),
            })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().any(|file| file.path == "src/lib.rs"));
    files
}

/// Every text file of the repository with its text.
fn texts() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter_map(|file| {
            let text = std::fs::read_to_string(root().join(&file.path)).ok()?;
            Some((file.path, text))
        })
        .collect()
}

/// The Rust files of `src/`, read.
fn sources() -> Vec<source::Source> {
    texts()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs"))
        .map(|(path, text)| source::Source::new(path, text))
        .collect()
}

fn slashed(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}
