//! Hooks of a release that is left, and those of which a person must say what became of them.

use std::sync::Arc;

use crate::core::event::{Event, Opened, Verb};
use crate::core::hook::{HookKind, HookPlan, HookWord, When};
use crate::core::names::Release;
use crate::core::state::State;
use crate::core::words::{clean, resume};
use crate::error::Error;
use crate::hook::orphan;
use crate::journal::RunLog;
use crate::perform::{Recall, Recalled};

use super::operator::{Operator, Runs};
use super::run::{spec_of, to_give_again};

/// What a person says of a hook: its name, and what became of it.
pub type Word = (String, HookWord);

/// How the newest deploy of `release` began.
fn deployed(runs: &[RunLog], release: Release) -> Option<&Opened> {
    let mut opened = runs.iter().filter_map(RunLog::opened);
    opened.find(|opened| matches!(opened.verb, Verb::Deploy { release: r, .. } if r == release))
}

/// The hooks that run once `release` has been left; `None` where its record is not among `runs`.
pub(super) fn for_leaving(runs: &[RunLog], release: Release) -> Option<Vec<HookPlan>> {
    let hooks = deployed(runs, release)?.hooks.iter();
    let hooks = hooks.filter(|hook| hook.when == When::OnRollback);
    Some(hooks.cloned().collect())
}

/// A hook that would run, in a line.
pub(super) fn told(hook: &HookPlan) -> String {
    let when = match hook.when {
        When::BeforeSwitch => "before the switch",
        When::AfterSwitch => "after the switch",
        When::OnRollback => "once it has been rolled back",
    };
    let what = match hook.kind {
        HookKind::Container => "in a container",
        HookKind::Command => "on this machine",
        HookKind::Http => "by a request",
    };
    format!("would run the hook `{}` {when}, {what}", hook.name)
}

impl Operator {
    /// Reads a release's plan again, from the journal's record of it.
    pub(super) fn recall(&self) -> Recall {
        let (journal, service) = (self.journal.clone(), self.service.clone());
        let (engine, reload) = (self.engine.address().to_owned(), Arc::clone(&self.reload));
        Arc::new(move |release| {
            let (journal, service) = (journal.clone(), service.clone());
            let (engine, reload) = (engine.clone(), Arc::clone(&reload));
            Box::pin(async move {
                let journal = journal.map_err(|error| error.to_string())?;
                let known = |runs: &[RunLog]| deployed(runs, release).is_some();
                let runs = Runs::back_until(&journal, &service, &engine, known).await;
                let runs = runs.map_err(|error| error.to_string())?;
                let opened = deployed(&runs, release)
                    .ok_or("its record is not among the newest of the journal")?;
                let record = opened.plan.clone().ok_or("its record holds no plan")?;
                let Verb::Deploy { slot, .. } = opened.verb else {
                    return Err("its record is none of a deploy".into());
                };
                let read = reload(record).await.map_err(|error| error.in_a_line())?;
                match read.plan {
                    Ok(plan) => Ok(spec_of(plan, release, slot, opened).into()),
                    Err(error) => Ok(Recalled {
                        hooks: read.hooks,
                        spec: None,
                        why: read.unread.unwrap_or(error).in_a_line(),
                    }),
                }
            })
        })
    }

    /// Says which words a run waits for.
    pub(super) fn ask_for_word(&self, state: &State) {
        let Some(name) = state.hook_in_doubt() else {
            return;
        };
        let still = self.still_runs(state, name);
        let resume = resume(self.service.as_str(), &to_give_again(state));
        let name = clean(name);
        self.report.warn(&format!(
            "nobody knows what became of the hook `{name}`{still}: if it has done what it had to do, \
             `{resume} --hook-done {name}`; if it shall begin again, `{resume} --hook-again {name}`"
        ));
    }

    /// Whether a command of which nobody knows what became of it runs on, now that whoever began it
    /// has been killed.
    fn still_runs(&self, state: &State, name: &str) -> String {
        let opened = &state.opened;
        let mut hooks = opened.hooks.iter();
        let hook = hooks.find(|hook| hook.name == name);
        let (Verb::Deploy { release, .. } | Verb::Rollback { from: release, .. }) = opened.verb
        else {
            return String::new();
        };
        if hook.is_none_or(|hook| hook.kind != HookKind::Command) {
            return String::new();
        }
        let found = orphan::running(&[
            ("FLIPSIDE_SERVICE", self.service.as_str()),
            ("FLIPSIDE_RELEASE", &release.to_string()),
            ("FLIPSIDE_HOOK", name),
        ]);
        match found.first() {
            Some(pid) => format!(", which still runs on this machine (process {pid})"),
            None => format!(
                ", which is not seen to run on this machine (the run was begun by {})",
                clean(&opened.by)
            ),
        }
    }

    /// The record of a person's word on the hook in doubt of a run.
    ///
    /// # Errors
    /// [`Error::BadFlags`] where no hook of that name is in doubt.
    pub(super) fn word(&self, log: &RunLog, word: &Word) -> Result<Event, Error> {
        let (name, says) = word;
        let state = self.read_back(log)?;
        let flag = match says {
            HookWord::Done => "--hook-done",
            HookWord::Again => "--hook-again",
        };
        match state.hook_in_doubt() {
            Some(doubted) if doubted == name => Ok(Event::HookSettled {
                name: name.clone(),
                word: *says,
                by: self.author.clone(),
            }),
            Some(doubted) => Err(Error::BadFlags {
                what: format!(
                    "`{flag} {name}`: it is known what became of that hook, or there is none"
                ),
                instead: Some(format!("{flag} {doubted}")),
            }),
            None => Err(Error::BadFlags {
                what: format!("`{flag} {name}`: no hook of this run waits for a word"),
                instead: Some(format!("flipside resume {}", self.service)),
            }),
        }
    }
}
