//! How jobs and hooks ended, with what they printed last.

use super::Told;
use crate::core::event::JobEnd;
use crate::core::words::{clean, millis};

/// How many lines of an output are told.
const LINES: usize = 12;

impl Told {
    pub(super) fn job(&mut self, job: &JobEnd) {
        let (role, took) = (&job.role, millis(job.took_ms));
        self.good(format!("job `{role}` ended with {} after {took}", job.code));
        self.output(&job.output);
    }

    /// The last lines of an output.
    pub(super) fn output(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LINES);
        for line in &lines[from..] {
            self.detail(format!("  {}", clean(line)));
        }
    }
}
