//! How jobs, hooks and drains ended, with what the first two printed last; and what is not ended for
//! its clients' sake.

use super::Told;
use crate::core::event::JobEnd;
use crate::core::hook::{HookEnd, HookWord};
use crate::core::late::Clients;
use crate::core::routing::Drained;
use crate::core::words::{clean, count, known, list, millis, release_name};

/// How many lines of an output are told.
const LINES: usize = 12;

impl Told {
    pub(super) fn job(&mut self, job: &JobEnd) {
        let (role, took) = (&job.role, millis(job.took_ms));
        self.good(format!("job `{role}` ended with {} after {took}", job.code));
        self.output(&job.output);
    }

    /// Whether clients still come to older releases, and what therefore stays as it is.
    pub(super) fn clients(&mut self, service: &str, clients: &[Clients], after: &str) {
        let name = |one: &Clients| release_name(service, one.release);
        let nobodys = clients.iter().filter(|one| one.connections == Some(0));
        let nobodys: Vec<_> = nobodys.map(name).collect();
        if !nobodys.is_empty() {
            let names = list(&nobodys);
            self.step(format!("no clients come to {names} any more{after}"));
        }
        let mut all_seen = true;
        for one in clients {
            let name = name(one);
            match (one.connections, &one.why) {
                (Some(0), _) => {}
                (Some(open), _) => self.warn(format!(
                    "{name} stays as it is: clients still come to it ({})",
                    count(open, "connection")
                )),
                (None, why) => {
                    let why = clean(why.as_deref().unwrap_or("unknown"));
                    self.warn(format!(
                        "whether clients still come to {name} cannot be seen: {why}"
                    ));
                    all_seen = false;
                }
            }
        }
        if !all_seen {
            self.detail(
                "what cannot be seen is not put to sleep, and the newest of it not removed".into(),
            );
        }
        if nobodys.len() < clients.len() {
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
