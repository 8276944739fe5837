//! One run of a service: opened or read back, driven to its end, sealed.

use std::sync::Arc;

use crate::core::action::{Action, Ask};
use crate::core::event::{Event, Opened, Verb};
use crate::core::hook::When;
use crate::core::names::{Fence, Millis, Release, Slot};
use crate::core::plan::{Plan, Policy};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::Drained;
use crate::core::sharing::Sharing;
use crate::core::state::{Course, Stage, State};
use crate::core::survey::survey;
use crate::core::verdict::Outcome;
use crate::core::words::{release_name, resume};
use crate::core::workers;
use crate::core::world::{Labels, World};
use crate::drive::{Drive, Ledger, LedgerError, Stopped, Unheld, Written};
use crate::engine::Spec;
use crate::error::{Error, Touched, cut_short};
use crate::journal::{JournalError, RunLog};
use crate::perform::{Parts, Performer};
use crate::report::ways::after_preview;
use crate::report::{Finished, Report};

use super::hooks::Word;
use super::ledger::RunLedger;
use super::operator::{Held, Operator};

/// A run about to begin.
pub struct Opening {
    /// Its number.
    pub run: u64,
    /// Its opening record.
    pub opened: Opened,
    /// What the candidate shall be; of a deploy only.
    pub spec: Option<Spec>,
    /// What was found without a record.
    pub seen: Vec<Event>,
    /// Why the journal could not be read before; then it is not written either, since nobody knows
    /// what comes next in it.
    pub unread: Option<JournalError>,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// How far it came.
    pub state: State,
    /// From the call to the controller until its answer, at the last move.
    pub moved_us: Option<u64>,
    /// How long it took before that to wake what it was moved to; `None` where that did not sleep.
    pub woke_us: Option<u64>,
}

impl Operator {
    /// Begins a run and drives it to its end. `world` is what the opening was decided on.
    ///
    /// # Errors
    /// Where the run could not be opened, or had to stop.
    pub async fn begin(
        &self,
        opening: Opening,
        world: &World,
        held: &mut Held,
    ) -> Result<Ended, Error> {
        let Opening {
            run,
            opened,
            spec,
            seen,
            unread,
        } = opening;
        let journal = match unread {
            Some(error) => Err(error),
            None => self.journal.clone(),
        };
        let performer = self.performer(spec);
        performer.remember(&world.environments);
        performer.remember_routes(world.routing.as_ref());
        let state = State::open(&Event::Opened(opened.clone())).map_err(|illegal| Error::Bug {
            what: illegal.to_string(),
        })?;
        let (report, clock) = (Arc::clone(&self.report), Arc::clone(&self.clock));
        let (service, goes_on) = (&self.service, self.core.goes_on);
        let ledger = RunLedger::open(&journal, service, run, &opened, report, clock, goes_on);
        let mut ledger = ledger
            .await
            .map_err(|error| self.store_away(error.why, Touched::Nothing))?;
        let ended = self
            .drive(&performer, &mut ledger, seen, held, state)
            .await?;
        self.seal(&mut ledger, ended.outcome).await;
        Ok(ended)
    }

    /// Goes on with a run that was cut short; `word` on its hook in doubt and `ask`, if any, are put to
    /// it first.
    ///
    /// # Errors
    /// Where it could not be read back, or had to stop again.
    pub async fn go_on(
        &self,
        log: &RunLog,
        ask: Option<Ask>,
        word: Option<&Word>,
        held: &mut Held,
    ) -> Result<Ended, Error> {
        let word = word.map(|word| self.word(log, word)).transpose()?;
        let mut state = self.read_back(log)?;
        let spec = self.spec_again(&state, ask.as_ref()).await?;
        let performer = self.performer(spec);
        let (report, clock) = (Arc::clone(&self.report), Arc::clone(&self.clock));
        let mut ledger = RunLedger::resume(self.journal()?, log, report, clock)
            .await
            .map_err(|error| self.store_away(error.why, Touched::Something))?;
        let by = self.author.clone();
        let mut first = vec![Event::Resumed { by: by.clone() }];
        first.extend(word);
        first.extend(ask.map(|ask| Event::Asked { ask, by }));
        for event in first {
            let next = (self.core.apply)(state.clone(), &event).map_err(|illegal| Error::Bug {
                what: illegal.to_string(),
            })?;
            ledger
                .record(held.lease.fence(), &event)
                .await
                .map_err(|error| self.store_away(error.why, Touched::Something))?;
            state = next;
        }
        let seen = Vec::new();
        let ended = self
            .drive(&performer, &mut ledger, seen, held, state)
            .await?;
        self.seal(&mut ledger, ended.outcome).await;
        Ok(ended)
    }

    async fn seal(&self, ledger: &mut RunLedger, outcome: Outcome) {
        if !outcome.stays_open()
            && let Err(error) = ledger.seal().await
        {
            // The run's records are all there; only their gathering into one object is missing.
            self.report
                .warn(&format!("the run could not be sealed: {error}"));
        }
    }

    async fn drive(
        &self,
        performer: &Performer,
        ledger: &mut RunLedger,
        seen: Vec<Event>,
        held: &mut Held,
        mut state: State,
    ) -> Result<Ended, Error> {
        let core = self.core;
        let mut moves = Moves {
            ledger,
            took_us: None,
            woke_us: None,
            seen,
        };
        let driven = {
            let mut drive = Drive {
                core,
                performer,
                ledger: &mut moves,
                lease: held.lease.as_ref(),
                asks: &mut held.asks.heard,
            };
            drive.run(&mut state).await
        };
        let (moved_us, woke_us) = (moves.took_us, moves.woke_us);
        let touched = Touched::Something;
        let outcome = match driven {
            Ok(outcome) => outcome,
            Err(Stopped::Unheld(unheld)) => {
                return Err(self.cut_short(&state, self.unheld(&state, unheld)));
            }
            Err(Stopped::Ledger(error)) => {
                return Err(self.cut_short(&state, self.store_away(error.why, touched)));
            }
            Err(Stopped::Illegal(illegal)) => {
                return Err(Error::Bug {
                    what: illegal.to_string(),
                });
            }
        };
        if outcome == Outcome::Unsure {
            self.ask_for_word(&state);
        }
        Ok(Ended {
            outcome,
            state,
            moved_us,
            woke_us,
        })
    }

    /// The state that a log's records come to.
    pub(super) fn read_back(&self, log: &RunLog) -> Result<State, Error> {
        State::fold(log.records.iter().map(|record| &record.event)).map_err(|illegal| {
            Error::Stuck {
                service: self.service.to_string(),
                what: format!(
                    "run {} of the journal does not make sense: {illegal}",
                    log.run
                ),
                next: Some(format!("flipside rollback {}", self.service)),
            }
        })
    }

    /// What the candidate shall be, where the rest of the run still needs to know.
    async fn spec_again(&self, state: &State, ask: Option<&Ask>) -> Result<Option<Spec>, Error> {
        let Some(record) = &state.opened.plan else {
            return Ok(None);
        };
        if let Verb::Apply { .. } = state.opened.verb {
            return self.spec_of_apply(record, state, ask).await;
        }
        let Verb::Deploy { release, slot, .. } = state.opened.verb else {
            return Ok(None);
        };
        if !matches!(state.course, Course::Forward(stage) if stage < Stage::Baked) {
            return Ok(None);
        }
        if matches!(ask, Some(Ask::Abort | Ask::Settle)) {
            return Ok(None);
        }
        match (self.reload)(record.clone())
            .await
            .and_then(|read| read.plan)
        {
            Ok(plan) => Ok(Some(spec_of(plan, release, slot, &state.opened))),
            Err(_) if !needs_plan(state) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the shared roles shall be. One who only wants it ended can do without: then the old
    /// container is put back where the new one is not well.
    async fn spec_of_apply(
        &self,
        record: &serde_json::Value,
        state: &State,
        ask: Option<&Ask>,
    ) -> Result<Option<Spec>, Error> {
        let read = (self.reload)(record.clone()).await;
        match read.and_then(|read| read.plan) {
            Ok(plan) => {
                let (release, slot) = (state.release(), Slot::Blue);
                Ok(Some(spec_of(plan, release, slot, &state.opened)))
            }
            Err(error) if ask.is_some() => {
                self.report.warn(&error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn performer(&self, spec: Option<Spec>) -> Performer {
        Performer::new(Parts {
            service: self.service.clone(),
            engine: Arc::clone(&self.engine),
            pointer: Arc::clone(&self.pointer),
            vantage: Arc::clone(&self.vantage),
            spec,
            hooks: Arc::clone(&self.hooks),
            recall: self.recall(),
            author: self.author.clone(),
            sink: Arc::new(Relay(Arc::clone(&self.report))),
            clock: Arc::clone(&self.clock),
        })
    }

    /// The opening record of a run that begins now.
    #[must_use]
    pub fn opening(
        &self,
        verb: Verb,
        policy: Policy,
        world: &World,
        fence: Fence,
        highest: Release,
    ) -> Opened {
        Opened {
            by: self.author.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            policy,
            marks: self.keeper(),
            cached: self.pointer.capabilities().cached,
            live: survey(world).live,
            generation: world.routing.as_ref().map(|routing| routing.generation),
            fence,
            highest,
            hooks: Vec::new(),
            engine: self.engine.address().to_owned(),
            live_only: match verb {
                Verb::Deploy { .. } | Verb::Rollback { .. } | Verb::HandOver { .. } => {
                    workers::releases(world)
                }
                Verb::Prune { .. } | Verb::Down { .. } | Verb::Apply { .. } => Vec::new(),
            },
            verb,
            pointer: self.outside.clone(),
            plan: None,
        }
    }

    /// What goes into the last line of output.
    #[must_use]
    pub fn finished(&self, ended: &Ended) -> Finished {
        let Drained { in_flight, cut, .. } = ended.state.left();
        let rollback = matches!(ended.state.opened.verb, Verb::Rollback { .. });
        Finished {
            outcome: ended.outcome,
            service: self.service.to_string(),
            release: Some(ended.state.release()),
            live: ended.state.live(),
            elapsed_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX),
            requests_in_flight: in_flight,
            requests_cut: cut,
            switch_us: ended.moved_us.filter(|_| !rollback),
            rollback_us: ended.moved_us.filter(|_| rollback),
            woke_us: ended.woke_us,
        }
    }

    /// What it means that the lease cannot be relied on.
    fn unheld(&self, state: &State, unheld: Unheld) -> Error {
        let service = self.service.to_string();
        match unheld {
            Unheld::Taken { .. } => Error::TakenOver { service },
            Unheld::Away { why } => Error::EngineOutOfReach {
                engine: self.engine.address().to_owned(),
                why,
                touched: Touched::Something,
            },
            Unheld::Expired { why } => {
                self.report.warn(&why);
                let again = to_give_again(state);
                Error::Interrupted { service, again }
            }
        }
    }

    /// What an error means in the middle of a run that came as far as `state`.
    fn cut_short(&self, state: &State, error: Error) -> Error {
        match error {
            Error::EngineOutOfReach { .. } | Error::StoreOutOfReach { .. } => Error::CutShort {
                service: self.service.to_string(),
                live: state.live(),
                moving: moving(state),
                again: to_give_again(state),
                why: Box::new(error),
            },
            other => other,
        }
    }

    /// Tells how a run has ended: to people, how one that was cut short is gone on with; to
    /// pipelines, all of it.
    pub fn tell_end(&self, ended: &Ended) {
        if ended.outcome == Outcome::Interrupted {
            let service = &self.service;
            let state = &ended.state;
            let told = cut_short(service.as_str(), state.live(), moving(state));
            let resume = resume(service.as_str(), &to_give_again(state));
            self.report.warn(&format!("{told}; go on with: {resume}"));
        }
        if ended.outcome == Outcome::Previewed {
            self.tell_preview(&ended.state);
        }
        self.report.finished(&self.finished(ended));
    }

    /// Tells how to look at a release that waits at its preview, and what comes then.
    fn tell_preview(&self, state: &State) {
        let service = self.service.as_str();
        let mut lines = vec![format!(
            "{} waits at its preview",
            release_name(service, state.release())
        )];
        if let Some(how) = self.pointer.preview() {
            lines.extend(after_preview(service, &how, &to_give_again(state)));
        }
        self.report.say(&lines.join("\n"));
    }

    pub(super) fn store_away(&self, why: String, touched: Touched) -> Error {
        let store = self
            .journal
            .as_ref()
            .map_or_else(|_| "its place".into(), |j| j.address().into());
        Error::StoreOutOfReach {
            store,
            why,
            touched,
        }
    }
}

/// Whether the rest of a run cannot do without its plan: once the pointer has moved, labels say all
/// that is needed but for hooks, and for secrets in probes.
fn needs_plan(state: &State) -> bool {
    match (&state.opened.verb, state.course) {
        (Verb::Apply { .. }, Course::Applying(_)) => true,
        (Verb::Deploy { .. }, Course::Forward(stage)) => {
            let hooks = state.has_hooks(When::AfterSwitch);
            stage < Stage::Switched || stage < Stage::Baked && hooks
        }
        _ => false,
    }
}

/// The variables without whose values a run cannot go on: those that `--set` gave and that no journal
/// holds.
pub(super) fn to_give_again(state: &State) -> Vec<String> {
    let record = state.opened.plan.as_ref().filter(|_| needs_plan(state));
    let given = record.and_then(|record| record.get("given"));
    given
        .and_then(|given| serde_json::from_value(given.clone()).ok())
        .unwrap_or_default()
}

/// As [`to_give_again`], of a run that has not ended.
pub(super) fn left_to_give(log: &RunLog) -> Vec<String> {
    let state = State::fold(log.records.iter().map(|record| &record.event));
    state.map_or_else(|_| Vec::new(), |state| to_give_again(&state))
}

/// Where the pointer was being moved to when the run stopped.
fn moving(state: &State) -> Option<Release> {
    match &state.pending {
        Some(Action::Switch { to, .. }) => Some(*to),
        _ => None,
    }
}

/// The spec of a plan's release, in a run that was opened so.
#[must_use]
pub fn spec_of(plan: Plan, release: Release, slot: Slot, opened: &Opened) -> Spec {
    let labels = Labels {
        exposed: plan.exposed.clone(),
        probes: plan.probes.clone(),
        pointer: plan.pointer.clone(),
        policy: opened.policy.clone(),
        sharing: Some(Sharing::of(&plan)),
    };
    Spec {
        plan,
        release,
        slot,
        labels,
        opened_with: opened.fence,
    }
}

/// Passes records on and remembers how long the last move took.
struct Moves<'a> {
    ledger: &'a mut RunLedger,
    took_us: Option<u64>,
    woke_us: Option<u64>,
    /// What was found without a record: written before the end, so that nothing but the intent
    /// comes before a move.
    seen: Vec<Event>,
}

#[async_trait::async_trait]
impl Ledger for Moves<'_> {
    async fn record(&mut self, fence: Fence, event: &Event) -> Result<Written, LedgerError> {
        if let Event::Closed { .. } = event {
            for seen in std::mem::take(&mut self.seen) {
                self.ledger.record(fence, &seen).await?;
            }
        }
        if let Event::Switched {
            took_us, woke_us, ..
        } = event
        {
            self.took_us = Some(*took_us);
            self.woke_us = *woke_us;
        }
        self.ledger.record(fence, event).await
    }
}

/// A report as a sink of progress.
struct Relay(Arc<dyn Report>);

impl Sink for Relay {
    fn progress(&self, step: Progress) {
        self.0.progress(step);
    }
}
