//! How jobs, hooks and drains ended, with what the first two printed last; and what is not ended for
//! its clients' sake.

use super::Told;
use crate::core::event::{JobEnd, Kept};
use crate::core::hook::{HookEnd, HookWord};
use crate::core::routing::Drained;
use crate::core::words::{clean, count, known, millis, release_name};

/// How many lines of an output are told.
const LINES: usize = 12;

impl Told {
    pub(super) fn job(&mut self, job: &JobEnd) {
        let (role, took) = (&job.role, millis(job.took_ms));
        self.good(format!("job `{role}` ended with {} after {took}", job.code));
        self.output(&job.output);
    }

    /// What stays as it is, because clients may still come to it.
    pub(super) fn kept(&mut self, service: &str, kept: &[Kept], how: &str) {
        for one in kept {
            let name = release_name(service, one.release);
            self.warn(match (one.clients, &one.why) {
                (Some(clients), _) => format!(
                    "{name} is {how}: clients still come to it ({})",
                    count(clients, "connection")
                ),
                (None, why) => format!(
                    "{name} is {how}: whether clients still come to it cannot be seen: {}",
                    clean(why.as_deref().unwrap_or("unknown"))
                ),
            });
        }
        if !kept.is_empty() {
            self.detail(format!(
                "hint: the next deploy looks again, and for standbys `flipside prune {service}`: \
                 with `--force` it waits for nobody"
            ));
        }
    }

    pub(super) fn hook(&mut self, end: &HookEnd) {
        let (name, took) = (clean(&end.name), millis(end.took_ms));
        match &end.failure {
            None => {
                let how = match (end.code, end.status) {
                    (Some(code), _) => format!("ended with {code}"),
                    (None, Some(status)) => format!("was answered {status}"),
                    (None, None) => "is done".into(),
                };
                self.good(format!("hook `{name}` {how} after {took}"));
            }
            Some(failure) if end.skipped => self.warn(clean(&failure.what)),
            Some(failure) => {
                self.bad(clean(&failure.what));
                if let Some(hint) = &failure.hint {
                    self.detail(format!("hint: {}", clean(hint)));
                }
            }
        }
        self.output(&end.output);
    }

    pub(super) fn hook_settled(&mut self, name: &str, word: HookWord, by: &str) {
        let says = match word {
            HookWord::Done => "has done what it had to do",
            HookWord::Again => "is to begin again",
        };
        let (name, by) = (clean(name), clean(by));
        self.step(format!("`{by}` says that the hook `{name}` {says}"));
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

pub(super) fn drained_text(drained: &Drained) -> String {
    if drained.in_flight == Some(0) && drained.cut == Some(0) {
        return "drained: nothing was in flight".into();
    }
    if *drained == Drained::default() {
        return "drained: what was in flight, finished and cut is unknown".into();
    }
    format!(
        "drained: {} in flight, {} finished, {} cut",
        known(drained.in_flight),
        known(drained.finished),
        known(drained.cut)
    )
}
