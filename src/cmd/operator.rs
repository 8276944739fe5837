//! What every verb that changes a service does around the loop: take the lease, settle what an
//! earlier run left, look at the world, open a run, drive it, seal it.
//!
//! Knows engines, pointers and stores by their contracts only; `context.rs` makes the real ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::core::action::Ask;
use crate::core::event::{Event, MarkKeeper, Opened, Verb};
use crate::core::names::{Fence, Millis, Release, ServiceName};
use crate::core::plan::{Plan, Policy};
use crate::core::progress::Silent;
use crate::core::routing::Drained;
use crate::core::state::{Course, Stage, State};
use crate::core::survey::{View, survey};
use crate::core::verdict::Outcome;
use crate::core::world::{Environment, Labels, World};
use crate::drive::{Asked, Core, Drive, Hold, Ledger, Stopped, Taken};
use crate::engine::{Engine, Spec};
use crate::error::{Error, Touched};
use crate::journal::{Journal, JournalError, RunLog};
use crate::lease::{self, Acquired, Lease, LeaseLost, Patience, Terms, Who};
use crate::perform::{Clock, Parts, Performer};
use crate::pointer::Pointer;
use crate::probe::{Proving, Unfit, Vantage};
use crate::report::tables::Fit;
use crate::report::{Finished, Report};

use super::ledger::RunLedger;

/// How many of the newest runs are looked through for one that was cut short.
const LOOK_BACK: usize = 4;

/// Turns the plan of an opening record into a plan again, with today's secrets.
pub type Reload = Arc<dyn Fn(&serde_json::Value) -> Result<Plan, Error> + Send + Sync>;

/// One who acts on a service.
pub struct Operator {
    /// The service.
    pub service: ServiceName,
    /// Where environments stand.
    pub engine: Arc<dyn Engine>,
    /// What sends traffic.
    pub pointer: Arc<dyn Pointer>,
    /// From where addresses are checked.
    pub vantage: Arc<dyn Vantage>,
    /// The journal, or why there is none.
    pub journal: Result<Journal, JournalError>,
    /// Where everything goes that is shown.
    pub report: Arc<dyn Report>,
    /// The wall clock.
    pub clock: Clock,
    /// Who: `user@host`.
    pub author: String,
    /// The lease's times.
    pub terms: Terms,
    /// The core.
    pub core: Core,
    /// Reads a recorded plan again.
    pub reload: Reload,
    /// When the process began.
    pub began: Instant,
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
}

impl Operator {
    /// Looks at engine and pointer.
    ///
    /// # Errors
    /// Where one of them cannot be asked.
    pub async fn look(&self) -> Result<World, Error> {
        let marks = async {
            match self.keeper() {
                MarkKeeper::Pointer => Ok(Default::default()),
                MarkKeeper::Engine => self.engine.marks(&self.service).await,
            }
        };
        let (environments, routing, engine_marks) = tokio::join!(
            self.engine.inspect(&self.service),
            self.pointer.read(),
            marks
        );
        let of_engine = |error| Error::of_engine(error, Touched::Nothing);
        Ok(World {
            environments: environments.map_err(of_engine)?,
            routing: routing.map_err(|error| {
                Error::of_pointer(self.service.as_str(), error, Touched::Nothing)
            })?,
            engine_marks: engine_marks.map_err(of_engine)?,
        })
    }

    /// Who keeps marks.
    #[must_use]
    pub fn keeper(&self) -> MarkKeeper {
        if self.pointer.capabilities().marks {
            MarkKeeper::Pointer
        } else {
            MarkKeeper::Engine
        }
    }

    /// The journal, where the verb cannot do without.
    ///
    /// # Errors
    /// Where it is out of reach.
    pub fn journal(&self) -> Result<&Journal, Error> {
        self.journal
            .as_ref()
            .map_err(|error| of_journal(error.clone(), Touched::Nothing))
    }

    /// The newest runs; none where the journal is out of reach and `self` is not asked to need it.
    pub async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        match &self.journal {
            Ok(journal) => journal.runs(&self.service, LOOK_BACK).await,
            Err(error) => Err(error.clone()),
        }
    }

    /// Takes the lease, or says who holds it.
    ///
    /// # Errors
    /// [`Error::HeldBy`], and where the engine cannot be asked.
    pub async fn acquire(&self, floor: Fence) -> Result<Arc<Lease>, Error> {
        match self.try_acquire(floor).await? {
            Acquired::Got(lease) => Ok(Arc::new(lease)),
            Acquired::HeldBy(holder) => Err(Error::HeldBy {
                service: self.service.to_string(),
                holder: holder.to_string(),
            }),
        }
    }

    /// Takes the lease if nobody living holds it.
    ///
    /// # Errors
    /// Where the engine cannot be asked.
    pub async fn try_acquire(&self, floor: Fence) -> Result<Acquired, Error> {
        lease::acquire(
            Arc::clone(&self.engine),
            &self.service,
            &self.who(),
            floor,
            self.terms,
            Patience::Refuse,
        )
        .await
        .map_err(|error| Error::of_engine(error, Touched::Nothing))
    }

    /// This process, as the lease shows it to others.
    #[must_use]
    pub fn who(&self) -> Who {
        let state = self
            .journal
            .as_ref()
            .map_or("nowhere", |journal| journal.address());
        Who::here(&self.author, state)
    }

    /// Begins a run and drives it to its end; `seen` is what was found without a record.
    ///
    /// # Errors
    /// Where the run could not be opened, or had to stop.
    pub async fn begin(
        &self,
        run: u64,
        opened: Opened,
        spec: Option<Spec>,
        world: &World,
        seen: Vec<Event>,
        lease: &Lease,
        asks: &mut mpsc::Receiver<Asked>,
    ) -> Result<Ended, Error> {
        let performer = self.performer(spec);
        performer.remember(&world.environments);
        let state = State::open(&Event::Opened(opened.clone())).map_err(|illegal| Error::Bug {
            what: illegal.to_string(),
        })?;
        let (report, clock) = (Arc::clone(&self.report), Arc::clone(&self.clock));
        let mut ledger = RunLedger::open(&self.journal, &self.service, run, &opened, report, clock)
            .await
            .map_err(|error| self.store_away(error.why, Touched::Nothing))?;
        for event in &seen {
            let recorded = ledger.record(lease.fence(), event).await;
            recorded.map_err(|error| self.store_away(error.why, Touched::Nothing))?;
        }
        self.drive(&performer, &mut ledger, lease, asks, state)
            .await
    }

    /// Goes on with a run that was cut short; `ask`, if any, is put to it first.
    ///
    /// # Errors
    /// Where it could not be read back, or had to stop again.
    pub async fn go_on(
        &self,
        log: &RunLog,
        ask: Option<Ask>,
        lease: &Lease,
        asks: &mut mpsc::Receiver<Asked>,
    ) -> Result<Ended, Error> {
        let mut state = self.read_back(log)?;
        let spec = self.spec_again(&state, ask.as_ref())?;
        let performer = self.performer(spec);
        let (report, clock) = (Arc::clone(&self.report), Arc::clone(&self.clock));
        let mut ledger = RunLedger::resume(self.journal()?, log, report, clock)
            .await
            .map_err(|error| self.store_away(error.why, Touched::Something))?;
        let by = self.author.clone();
        let mut first = vec![Event::Resumed { by: by.clone() }];
        first.extend(ask.map(|ask| Event::Asked { ask, by }));
        for event in first {
            let next = (self.core.apply)(state.clone(), &event).map_err(|illegal| Error::Bug {
                what: illegal.to_string(),
            })?;
            ledger
                .record(lease.fence(), &event)
                .await
                .map_err(|error| self.store_away(error.why, Touched::Something))?;
            state = next;
        }
        self.drive(&performer, &mut ledger, lease, asks, state)
            .await
    }

    /// Closes a run that a later one has overtaken, without another act.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn supersede(&self, log: &RunLog, lease: &Lease) -> Result<(), Error> {
        let state = self.read_back(log)?;
        let outcome = match (&state.opened.verb, state.has_moved()) {
            (Verb::Deploy { .. }, true) => Outcome::RolledBack,
            (Verb::Deploy { .. }, false) => Outcome::Refused,
            (_, true) => Outcome::Done,
            (_, false) => Outcome::Refused,
        };
        let (report, clock) = (Arc::clone(&self.report), Arc::clone(&self.clock));
        let away =
            |error: crate::drive::LedgerError| self.store_away(error.why, Touched::Something);
        let mut ledger = RunLedger::resume(self.journal()?, log, report, clock)
            .await
            .map_err(away)?;
        ledger
            .record(lease.fence(), &Event::Closed { outcome })
            .await
            .map_err(away)?;
        ledger.seal().await.map_err(away)
    }

    /// Settles what earlier runs left: not switched, it is given up and removed; switched, it is
    /// verified and finished, or rolled back.
    ///
    /// # Errors
    /// Where that run had to stop again.
    pub async fn settle(
        &self,
        runs: &[RunLog],
        lease: &Lease,
        asks: &mut mpsc::Receiver<Asked>,
    ) -> Result<Option<Ended>, Error> {
        let mut settled = None;
        for (age, log) in runs.iter().enumerate().rev() {
            if log.outcome().is_some() || log.opened().is_none() {
                continue;
            }
            let state = self.read_back(log)?;
            let before_switch = matches!(state.course, Course::Forward(at) if at < Stage::Switched);
            let doubtful = matches!(
                state.pending,
                Some(crate::core::action::Action::Switch { .. })
            );
            if age > 0 && !(before_switch && !doubtful) {
                self.supersede(log, lease).await?;
                continue;
            }
            let ask = match state.opened.verb {
                // A switch that may have happened is looked at before anything is decided.
                Verb::Deploy { .. } if doubtful => Some(Ask::Promote),
                Verb::Deploy { .. } if before_switch => Some(Ask::Abort),
                Verb::Deploy { .. } => Some(Ask::Promote),
                Verb::Rollback { .. } | Verb::Prune { .. } | Verb::Down { .. } => None,
            };
            let ended = self.go_on(log, ask, lease, asks).await?;
            settled = Some(ended);
        }
        Ok(settled)
    }

    /// Settles what runs before a finished rollback left: a deploy that had switched is over with
    /// it; one that had not is given up and removed.
    ///
    /// # Errors
    /// As [`Operator::settle`].
    pub async fn settle_older(
        &self,
        runs: &[RunLog],
        lease: &Lease,
        asks: &mut mpsc::Receiver<Asked>,
    ) -> Result<(), Error> {
        for log in runs.iter().rev() {
            if log.outcome().is_some() || log.opened().is_none() {
                continue;
            }
            let state = self.read_back(log)?;
            let before_switch = matches!(state.course, Course::Forward(at) if at < Stage::Switched)
                || state.course == Course::GivingUp;
            let doubtful = matches!(
                state.pending,
                Some(crate::core::action::Action::Switch { .. })
            );
            if before_switch && !doubtful {
                self.go_on(log, Some(Ask::Abort), lease, asks).await?;
            } else {
                self.supersede(log, lease).await?;
            }
        }
        Ok(())
    }

    /// Whether an environment would serve, by one round of its network probes.
    pub async fn fitness(&self, environment: &Environment) -> Fit {
        if !environment.is_up() {
            return Fit::No(vec!["not all of its containers run".into()]);
        }
        let probes = &environment.labels.probes;
        let sink = Silent;
        let proving = Proving {
            engine: self.engine.as_ref(),
            vantage: self.vantage.as_ref(),
            service: &self.service,
            environment,
            probes,
            sink: &sink,
        };
        let within = Duration::from_millis(environment.labels.policy.proof_ms);
        match proving.round(within).await {
            Err(Unfit::Failed(failure)) => Fit::No(vec![failure.what]),
            Err(Unfit::Engine(error)) => Fit::Unknown(error.to_string()),
            Err(Unfit::Vantage(error)) => Fit::Unknown(error.to_string()),
            Ok(verdicts) => match crate::probe::unfit(environment, &verdicts) {
                None => Fit::Yes,
                Some(failure) => {
                    let reasons = failure.replicas.iter().flat_map(|replica| {
                        replica
                            .reasons
                            .iter()
                            .map(|why| format!("{}: {why}", replica.container))
                    });
                    let reasons: Vec<_> = reasons.collect();
                    Fit::No(if reasons.is_empty() {
                        vec![failure.what]
                    } else {
                        reasons
                    })
                }
            },
        }
    }

    /// Lets the lease go. What cannot be let go of runs out by itself.
    pub async fn let_go(&self, lease: &Lease) {
        if let Err(error) = lease.release().await {
            let seconds = self.terms.lifetime.as_secs();
            self.report.warn(&format!(
                "the lease runs out by itself in {seconds} s: {error}"
            ));
        }
    }

    /// Looks at engine and pointer, where the pointer may not be there yet.
    ///
    /// # Errors
    /// Where the engine cannot be asked.
    pub async fn look_or_absent(&self) -> Result<World, Error> {
        let (environments, routing) =
            tokio::join!(self.engine.inspect(&self.service), self.pointer.read());
        let environments =
            environments.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        let routing = routing.unwrap_or_default();
        Ok(World {
            environments,
            routing,
            ..World::default()
        })
    }

    async fn drive(
        &self,
        performer: &Performer,
        ledger: &mut RunLedger,
        lease: &Lease,
        asks: &mut mpsc::Receiver<Asked>,
        mut state: State,
    ) -> Result<Ended, Error> {
        let core = self.core;
        let mut moves = Moves {
            ledger,
            took_us: None,
        };
        let driven = {
            let mut drive = Drive {
                core,
                performer,
                ledger: &mut moves,
                lease,
                asks,
            };
            drive.run(&mut state).await
        };
        let moved_us = moves.took_us;
        let touched = Touched::Something;
        let outcome = match driven {
            Ok(outcome) => outcome,
            Err(Stopped::Taken(_)) => {
                return Err(Error::TakenOver {
                    service: self.service.to_string(),
                });
            }
            Err(Stopped::Ledger(error)) => return Err(self.store_away(error.why, touched)),
            Err(Stopped::Illegal(illegal)) => {
                return Err(Error::Bug {
                    what: illegal.to_string(),
                });
            }
        };
        if outcome != Outcome::Interrupted
            && let Err(error) = ledger.seal().await
        {
            // The run's records are all there; only their gathering into one object is missing.
            self.report
                .warn(&format!("the run could not be sealed: {error}"));
        }
        Ok(Ended {
            outcome,
            state,
            moved_us,
        })
    }

    /// The state that a log's records come to.
    fn read_back(&self, log: &RunLog) -> Result<State, Error> {
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
    fn spec_again(&self, state: &State, ask: Option<&Ask>) -> Result<Option<Spec>, Error> {
        let Verb::Deploy { release, slot } = state.opened.verb else {
            return Ok(None);
        };
        let Some(record) = &state.opened.plan else {
            return Ok(None);
        };
        let needed = matches!(state.course, Course::Forward(stage) if stage < Stage::Baked);
        if !needed || ask == Some(&Ask::Abort) {
            return Ok(None);
        }
        match (self.reload)(record) {
            Ok(plan) => Ok(Some(spec_of(plan, release, slot, &state.opened.policy))),
            // Past standing up, labels say all that is needed but for secrets in probes.
            Err(_) if matches!(state.course, Course::Forward(at) if at >= Stage::Proven) => {
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
            verb,
            by: self.author.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            policy,
            marks: self.keeper(),
            live: survey(world).live,
            generation: world.routing.as_ref().map(|routing| routing.generation),
            fence,
            highest,
            plan: None,
        }
    }

    /// What goes into the last line of output.
    #[must_use]
    pub fn finished(&self, ended: &Ended) -> Finished {
        let Drained { in_flight, cut, .. } = ended.state.drained;
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
        }
    }

    fn store_away(&self, why: String, touched: Touched) -> Error {
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

/// The spec of a plan's release.
#[must_use]
pub fn spec_of(
    plan: Plan,
    release: Release,
    slot: crate::core::names::Slot,
    policy: &Policy,
) -> Spec {
    let labels = Labels {
        exposed: plan.exposed.clone(),
        probes: plan.probes.clone(),
        pointer: plan.pointer.clone(),
        policy: policy.clone(),
    };
    Spec {
        plan,
        release,
        slot,
        labels,
    }
}

/// The highest lease number that journal and pointer have seen, and the highest release that
/// journal, labels and marks know.
#[must_use]
pub fn highest(runs: &[RunLog], world: &World, view: &View) -> (Fence, Release) {
    let journalled = runs.iter().map(RunLog::fence).max().unwrap_or(0);
    let pointed = world.routing.as_ref().map_or(0, |routing| routing.fence);
    let opened = runs
        .iter()
        .filter_map(RunLog::opened)
        .map(|opened| opened.highest);
    let stands = world
        .environments
        .iter()
        .map(|environment| environment.release);
    let marked = view.marks.keys().copied();
    let release = opened.chain(stands).chain(marked).max().unwrap_or_default();
    (journalled.max(pointed), release)
}

/// What a journal's error means to a command.
#[must_use]
pub fn of_journal(error: JournalError, touched: Touched) -> Error {
    let hint = error.hint();
    match error {
        JournalError::Unusable { url, why } => Error::BadFlags {
            what: format!("`{url}` cannot hold the journal: {why}"),
            instead: hint,
        },
        JournalError::OutOfReach { store, why, .. } => Error::StoreOutOfReach {
            store,
            why,
            touched,
        },
        JournalError::Newer { key, v } => Error::TooNew {
            what: key,
            found: v.into(),
            known: crate::journal::VERSION.into(),
        },
        error => Error::StoreOutOfReach {
            store: "the journal".into(),
            why: match hint {
                Some(hint) => format!("{error} ({hint})"),
                None => error.to_string(),
            },
            touched,
        },
    }
}

/// Passes records on and remembers how long the last move took.
struct Moves<'a> {
    ledger: &'a mut RunLedger,
    took_us: Option<u64>,
}

#[async_trait::async_trait]
impl Ledger for Moves<'_> {
    async fn record(
        &mut self,
        fence: Fence,
        event: &Event,
    ) -> Result<(), crate::drive::LedgerError> {
        if let Event::Switched { took_us, .. } = event {
            self.took_us = Some(*took_us);
        }
        self.ledger.record(fence, event).await
    }
}

/// A report as a sink of progress.
struct Relay(Arc<dyn Report>);

impl crate::core::progress::Sink for Relay {
    fn progress(&self, step: crate::core::progress::Progress) {
        self.0.progress(step);
    }
}

#[async_trait::async_trait]
impl Hold for Lease {
    async fn hold(&self) -> Result<Fence, Taken> {
        Lease::hold(self).await.map_err(|lost| match lost {
            LeaseLost::Taken { by } => Taken { by: by.to_string() },
            lost @ (LeaseLost::Expired | LeaseLost::Unknown(_)) => Taken {
                by: lost.to_string(),
            },
        })
    }
}
