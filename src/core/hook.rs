//! Hooks as the loop knows them: names, times, and what is known of each. What they do is the
//! plan's, and never in a record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::action::{Action, Ask};
use super::course::{Back, Course, Stage};
use super::event::Failure;
use super::names::Millis;
use super::state::State;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When the candidate is proven; a failure ends the release before the pointer moves.
    BeforeSwitch,
    /// When it answers through the pointer; a failure turns the deploy round.
    AfterSwitch,
    /// When the release has been left by a rollback or a revert; a failure is only told.
    OnRollback,
}

/// Where a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// In a container of its own, whose fixed name lets it start at most once.
    Container,
    /// On the deployer.
    Command,
    /// A request to somebody else.
    Http,
}

/// What the loop needs to know of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// Its name, unique in the plan.
    pub name: String,
    /// When it runs.
    pub when: When,
    /// Where it runs.
    pub kind: HookKind,
    /// Whether it may be repeated where nobody knows what became of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub idempotent: bool,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HookEnd {
    /// Its name.
    pub name: String,
    /// Its exit code, of a container or a command that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The status of the answer, of a request that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it ran.
    pub took_ms: Millis,
    /// The last of what it printed or was answered, at most 4 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Why it did not end well; `None` where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether it was cut short because something was asked of the run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopped: bool,
    /// Whether it never began: nothing says any more what it was to do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipped: bool,
}

/// What a person says of a hook of which nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookWord {
    /// It has done what it had to do.
    Done,
    /// It shall begin again.
    Again,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a run knows of its hooks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Those that are over.
    pub ended: BTreeSet<String>,
    /// One that was begun, and of which nobody knows what became of it: a person must say.
    pub unsure: Option<String>,
    /// How often each has been begun anew on a word, or after it was cut short.
    repeats: BTreeMap<String, u32>,
}

impl State {
    /// The hook that is to run next at this time.
    pub(super) fn due(&self, when: When) -> Option<Action> {
        let mut planned = self.opened.hooks.iter();
        let hook = planned.find(|hook| self.is_due(hook, when))?;
        Some(Action::Hook {
            name: hook.name.clone(),
            repeat: self.hooks.repeats.get(&hook.name).copied().unwrap_or(0),
        })
    }

    fn is_due(&self, hook: &HookPlan, when: When) -> bool {
        hook.when == when && !self.hooks.ended.contains(&hook.name)
    }

    /// Whether a hook is still to run at this time.
    #[must_use]
    pub fn has_hooks(&self, when: When) -> bool {
        self.opened.hooks.iter().any(|hook| self.is_due(hook, when))
    }

    /// Whether a hook of this name belongs where the run is.
    pub(super) fn permits_hook(&self, name: &str) -> bool {
        let when = match self.course {
            Course::Forward(stage) if stage >= Stage::Proven && stage < Stage::Switched => {
                When::BeforeSwitch
            }
            Course::Forward(Stage::Verified | Stage::Rested | Stage::Working) => When::AfterSwitch,
            Course::Back(Back::Verified | Back::Rested | Back::Working) => When::OnRollback,
            _ => return false,
        };
        let planned = self.planned(name);
        planned.is_some_and(|hook| self.is_due(hook, when))
    }

    fn planned(&self, name: &str) -> Option<&HookPlan> {
        self.opened.hooks.iter().find(|hook| hook.name == name)
    }

    /// The hook of which a person must say what became of it: one whose end nobody knows.
    #[must_use]
    pub fn hook_in_doubt(&self) -> Option<&str> {
        if let Some(name) = &self.hooks.unsure {
            return Some(name);
        }
        match &self.pending {
            Some(Action::Hook { name, .. }) if !self.repeats_by_itself(name) => Some(name),
            _ => None,
        }
    }

    /// Whether a hook that was begun may be asked for again: what runs in a container is read
    /// back, and what is idempotent does no harm.
    #[must_use]
    pub fn repeats_by_itself(&self, name: &str) -> bool {
        let planned = self.planned(name);
        planned.is_some_and(|hook| hook.idempotent || hook.kind == HookKind::Container)
    }

    /// Nobody knows what became of a hook.
    pub(super) fn doubt(&mut self, name: &str) {
        if !self.repeats_by_itself(name) {
            self.hooks.unsure = Some(name.to_owned());
        }
    }

    /// A hook is over, or was cut short.
    pub(super) fn hook_ended(&mut self, end: &HookEnd) {
        self.pending = None;
        self.lost = 0;
        let after = match self.course {
            Course::Forward(stage) => stage >= Stage::Switched,
            _ => true,
        };
        let leaves = matches!(self.ask, Some(Ask::Leave | Ask::Yield));
        if end.stopped && after && leaves {
            return self.cut_short(&end.name);
        }
        self.hooks.ended.insert(end.name.clone());
        if let (Some(failure), Course::Forward(stage)) = (&end.failure, self.course) {
            self.failure = Some(failure.clone());
            self.course = self.turned(stage);
        }
    }

    /// What was cut short may have done half of its work, and its exit code says nothing.
    fn cut_short(&mut self, name: &str) {
        match self.planned(name) {
            Some(hook) if hook.idempotent => self.repeat(name),
            _ => self.hooks.unsure = Some(name.to_owned()),
        }
    }

    /// Each beginning has a container of its own.
    fn repeat(&mut self, name: &str) {
        *self.hooks.repeats.entry(name.to_owned()).or_default() += 1;
    }

    /// A person has said what became of a hook in doubt.
    pub(super) fn hook_settled(&mut self, name: &str, word: HookWord) {
        self.pending = None;
        self.hooks.unsure = None;
        match word {
            HookWord::Done => {
                self.hooks.ended.insert(name.to_owned());
            }
            HookWord::Again => self.repeat(name),
        }
    }

    /// Whether a hook that runs now is to be ended because of `ask`.
    #[must_use]
    pub fn ends_hook(&self, ask: &Ask) -> bool {
        match (self.course, ask) {
            (_, Ask::Leave | Ask::Yield) => true,
            (Course::Forward(_), Ask::Abort) => true,
            (Course::Forward(stage), Ask::Settle) => stage < Stage::Switched,
            (_, Ask::Abort | Ask::Settle | Ask::Promote) => false,
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]
mod tests {
    use super::*;
    use crate::core::decide::{Next, decide};
    use crate::core::event::{Event, MarkKeeper, Opened, Verb};
    use crate::core::names::{Release, Slot};
    use crate::core::plan::Policy;
    use crate::core::verdict::Outcome;

    fn plan(when: When, kind: HookKind) -> HookPlan {
        HookPlan {
            name: "warm".into(),
            when,
            kind,
            idempotent: false,
        }
    }

    /// A deploy of release 3, whose hook has been begun.
    fn begun(hook: HookPlan, stage: Stage) -> State {
        let opened = Opened {
            verb: Verb::Deploy {
                release: Release(3),
                slot: Slot::Blue,
                until_preview: false,
            },
            by: "ann@host".into(),
            version: "0".into(),
            policy: Policy::default(),
            marks: MarkKeeper::Pointer,
            cached: false,
            live: Some(Release(2)),
            generation: Some(7),
            fence: 1,
            engine: String::new(),
            highest: Release(3),
            live_only: Vec::new(),
            hooks: vec![hook],
            pointer: None,
            plan: None,
        };
        let mut state = State::open(&Event::Opened(opened)).unwrap();
        state.course = Course::Forward(stage);
        let Next::Act(action @ Action::Hook { .. }) = decide(&state) else {
            panic!("the hook is not due");
        };
        state.apply(&Event::Intended { action }).unwrap()
    }

    fn asked(state: State, ask: Ask) -> State {
        let by = "bob@desk".into();
        state.apply(&Event::Asked { ask, by }).unwrap()
    }

    fn ended(state: State, stopped: bool) -> State {
        let end = HookEnd {
            name: "warm".into(),
            failure: stopped.then(Failure::default),
            stopped,
            ..HookEnd::default()
        };
        state.apply(&Event::HookEnded(end)).unwrap()
    }

    fn resumed(state: State) -> State {
        let by = "bob@desk".into();
        let state = state.apply(&Event::Resumed { by }).unwrap();
        let world = Box::default();
        state.apply(&Event::Observed { world }).unwrap()
    }

    #[test]
    fn what_a_signal_cuts_short_after_the_switch_is_for_a_person_to_judge() {
        for kind in [HookKind::Command, HookKind::Container] {
            let state = begun(plan(When::AfterSwitch, kind), Stage::Verified);
            assert!(state.ends_hook(&Ask::Leave) && !state.ends_hook(&Ask::Settle));
            let state = ended(asked(state, Ask::Leave), true);
            assert_eq!(decide(&state), Next::End(Outcome::Interrupted));
            let mut state = state;
            state.ask = None;
            assert_eq!(decide(&state), Next::End(Outcome::Unsure));
            let (name, by) = ("warm".to_owned(), String::new());
            let word = HookWord::Again;
            let again = Event::HookSettled { name, word, by };
            let state = state.apply(&again).unwrap();
            let next = Action::Hook {
                name: "warm".into(),
                repeat: 1,
            };
            assert_eq!(decide(&state), Next::Act(next));
            // A word on what is known is none.
            assert!(state.apply(&again).is_err());
        }
    }

    #[test]
    fn what_is_given_up_or_turned_round_asks_nobody() {
        let state = begun(plan(When::BeforeSwitch, HookKind::Command), Stage::Proven);
        assert!(state.ends_hook(&Ask::Settle));
        let state = ended(asked(state, Ask::Leave), true);
        assert_eq!(state.course, Course::GivingUp);
        let state = begun(plan(When::AfterSwitch, HookKind::Command), Stage::Verified);
        let state = ended(asked(state, Ask::Abort), true);
        assert_eq!(state.course, Course::Back(Back::Decided));
    }

    #[test]
    fn what_can_be_read_back_is_asked_for_again_and_nothing_else() {
        let mut repeatable = plan(When::BeforeSwitch, HookKind::Http);
        repeatable.idempotent = true;
        for hook in [plan(When::BeforeSwitch, HookKind::Container), repeatable] {
            let state = begun(hook, Stage::Proven);
            let mut known = resumed(state);
            known.sight = crate::core::course::Sight::Fresh;
            assert_eq!(known.hook_in_doubt(), None);
            known.course = Course::Forward(Stage::Proven);
            assert!(matches!(
                decide(&known),
                Next::Act(Action::Hook { repeat: 0, .. })
            ));
        }
        let state = begun(plan(When::BeforeSwitch, HookKind::Http), Stage::Proven);
        assert_eq!(resumed(state).hook_in_doubt(), Some("warm"));
    }
}
