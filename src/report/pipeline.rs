//! What the logs of CI services fold and mark: GitHub's groups and annotations, GitLab's sections.
//!
//! What comes while an act is under way is folded; what it came to never is.

use crate::core::names::Millis;

/// A CI service that reads what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipeline {
    /// GitHub Actions, and what speaks its workflow commands.
    GitHub,
    /// GitLab CI.
    GitLab {
        /// When the report's clock began, in seconds since the epoch.
        began_s: u64,
    },
}

impl Pipeline {
    /// The service that runs this, told by the variables that each sets (`GITHUB_ACTIONS`,
    /// `GITLAB_CI`).
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>, now_s: u64) -> Option<Self> {
        let says_so =
            |name| variable(name).is_some_and(|value| !value.is_empty() && value != "false");
        if says_so("GITHUB_ACTIONS") {
            Some(Self::GitHub)
        } else if says_so("GITLAB_CI") {
            Some(Self::GitLab { began_s: now_s })
        } else {
            None
        }
    }
}

/// What an annotation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Warning,
    Error,
}

/// The folds of one report, at most one open at a time.
#[derive(Debug)]
pub(super) struct Folds {
    pipeline: Option<Pipeline>,
    opened: u32,
    open: bool,
}

impl Folds {
    pub(super) fn new(pipeline: Option<Pipeline>) -> Self {
        Self {
            pipeline,
            opened: 0,
            open: false,
        }
    }

    /// Opens one under `title`, unless one is open; what is to be written for it.
    pub(super) fn open(&mut self, at: Millis, title: &str) -> String {
        if self.open || self.pipeline.is_none() {
            return String::new();
        }
        self.open = true;
        self.opened += 1;
        match self.pipeline {
            Some(Pipeline::GitHub) => format!("::group::{}\n", escaped(title)),
            Some(Pipeline::GitLab { began_s }) => {
                let (now, number) = (began_s + at / 1000, self.opened);
                format!("\x1b[0Ksection_start:{now}:flipside_{number}\r\x1b[0K{title}\n")
            }
            None => String::new(),
        }
    }

    /// Closes the one that is open.
    pub(super) fn close(&mut self, at: Millis) -> String {
        if !std::mem::take(&mut self.open) {
            return String::new();
        }
        match self.pipeline {
            Some(Pipeline::GitHub) => "::endgroup::\n".into(),
            Some(Pipeline::GitLab { began_s }) => {
                let (now, number) = (began_s + at / 1000, self.opened);
                format!("\x1b[0Ksection_end:{now}:flipside_{number}\r\x1b[0K\n")
            }
            None => String::new(),
        }
    }

    /// The line that makes an annotation of `text`, for a service that shows such beside its log.
    pub(super) fn annotation(&self, severity: Severity, text: &str) -> Option<String> {
        let severity = match severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        (self.pipeline == Some(Pipeline::GitHub))
            .then(|| format!("::{severity} title=flipside::{}\n", escaped(text)))
    }

    /// `text` so that the service takes no line of it for a command: what containers and engines say
    /// is shown, and not obeyed.
    pub(super) fn harmless(&self, text: &str) -> String {
        if self.pipeline != Some(Pipeline::GitHub) {
            return text.to_owned();
        }
        let lines = text.split_inclusive('\n').map(|line| {
            let line = line.replace("##[", "## [");
            let words = line.trim_start();
            match words.starts_with("::") {
                true => format!("{}| {words}", &line[..line.len() - words.len()]),
                false => line,
            }
        });
        lines.collect()
    }
}

/// A command's text on one line.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
