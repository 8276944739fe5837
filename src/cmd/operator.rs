//! One who acts on a service: looking at it, and taking the lease. `run.rs` has what is done with
//! it, `settle.rs` what earlier runs have left.
//!
//! Knows engines, pointers and stores by their contracts only; `context.rs` makes the real ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::core::event::{MarkKeeper, Verb};
use crate::core::names::{Fence, Release, ServiceName};
use crate::core::plan::{Hook, Plan, PointerPlan};
use crate::core::progress::Silent;
use crate::core::routing::Marks;
use crate::core::sleep;
use crate::core::survey::View;
use crate::core::world::{Environment, World};
use crate::docker::address::is_same;
use crate::drive::{Core, Hold, Unheld};
use crate::engine::{Engine, EngineError};
use crate::error::{Error, Touched};
use crate::hook::Hooks;
use crate::journal::{Journal, JournalError, RunLog};
use crate::lease::{self, Acquired, Lease, LeaseLost, Patience, Terms, Who};
use crate::perform::Clock;
use crate::pointer::Pointer;
use crate::probe::{Proving, Unfit, Vantage};
use crate::report::Report;
use crate::report::tables::Fit;

use super::asks::{self, Asks};
use super::recall::has_moved;

/// How many of the newest runs are looked through for one that was cut short; where that is too
/// short a look back, so many more.
const LOOK_BACK: [usize; 3] = [4, 16, 64];

/// How long the journal may take to be read.
pub(super) const STORE: Duration = Duration::from_secs(5);

/// Turns the plan of an opening record into a plan again, with today's secrets.
pub type Reload =
    Arc<dyn Fn(serde_json::Value) -> BoxFuture<'static, Result<Reread, Error>> + Send + Sync>;

/// What is read again of a recorded plan.
#[derive(Debug)]
pub struct Reread {
    /// All of it, or why it cannot be read.
    pub plan: Result<Plan, Error>,
    /// Its hooks; where `plan` cannot be read, those that run on the deployer and can.
    pub hooks: Vec<Hook>,
    /// Why some of them cannot be read.
    pub unread: Option<Error>,
}

impl From<Plan> for Reread {
    fn from(plan: Plan) -> Self {
        Self {
            hooks: plan.hooks.clone(),
            plan: Ok(plan),
            unread: None,
        }
    }
}

/// One who acts on a service.
pub struct Operator {
    /// The service.
    pub service: ServiceName,
    /// Where environments stand.
    pub engine: Arc<dyn Engine>,
    /// What the plan says of what sends traffic, where that is not the embedded proxy: each run
    /// records it, so that the next command finds it in the newest.
    pub outside: Option<PointerPlan>,
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
    /// How long another operator who holds the service is waited for.
    pub lock_wait: Duration,
    /// The core.
    pub core: Core,
    /// Reads a recorded plan again.
    pub reload: Reload,
    /// What runs hooks on this machine.
    pub hooks: Arc<dyn Hooks>,
    /// When the process began.
    pub began: Instant,
}

/// The newest runs of a service that were driven on one engine, newest first.
pub struct Runs {
    newest: Vec<RunLog>,
    /// The number that the next run gets.
    pub next: u64,
    /// Why they are not known, where the journal was asked for them.
    pub unread: Option<JournalError>,
}

impl Runs {
    /// What is known where the journal cannot be read: nothing.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            newest: Vec::new(),
            next: 1,
            unread: None,
        }
    }

    /// As [`Runs::unknown`], and it is not to be asked again.
    #[must_use]
    pub fn unread(why: JournalError) -> Self {
        Self {
            unread: Some(why),
            ..Self::unknown()
        }
    }

    /// The newest runs of `service` in a journal that were driven on `engine`. A look back that
    /// meets only other engines', rollbacks that were refused, hand-overs of workers, or settings
    /// applied to shared roles, goes on to what is before them.
    ///
    /// # Errors
    /// Where the journal is out of reach, or does not answer.
    pub async fn of(
        journal: &Journal,
        service: &ServiceName,
        engine: &str,
    ) -> Result<Self, JournalError> {
        let enough =
            |runs: &[RunLog]| runs.len() >= LOOK_BACK[0] && !runs.iter().all(tells_nothing);
        Self::back_until(journal, service, engine, enough).await
    }

    /// The newest runs, as far back as until there are `enough`, or as is looked back at most.
    ///
    /// # Errors
    /// As [`Runs::of`].
    pub async fn back_until(
        journal: &Journal,
        service: &ServiceName,
        engine: &str,
        enough: impl Fn(&[RunLog]) -> bool,
    ) -> Result<Self, JournalError> {
        within(journal.address(), async {
            let mut runs = Self::unknown();
            for limit in LOOK_BACK {
                let newest = journal.runs(service, limit).await?;
                let all = newest.len() < limit;
                runs.next = newest.first().map_or(1, |log| log.run + 1);
                let here = newest.into_iter().filter(|log| begun_on(log, engine));
                runs.newest = here.collect();
                if all || enough(&runs) {
                    break;
                }
            }
            Ok(runs)
        })
        .await
    }
}

fn begun_on(log: &RunLog, engine: &str) -> bool {
    let address = log.opened().map_or("", |opened| opened.engine.as_str());
    address.is_empty() || is_same(address, engine)
}

/// Whether a run tells neither of a release nor of a move: a rollback that was refused, a hand-over,
/// a `shared apply`.
fn tells_nothing(log: &RunLog) -> bool {
    let verb = log.opened().map(|opened| &opened.verb);
    let of_none = matches!(
        verb,
        Some(Verb::Rollback { .. } | Verb::HandOver { .. } | Verb::Apply { .. })
    );
    of_none && !has_moved(log)
}

/// A store that does not answer is out of reach.
pub(super) async fn within<T>(
    store: &str,
    call: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    tokio::time::timeout(STORE, call).await.unwrap_or_else(|_| {
        Err(JournalError::OutOfReach {
            store: store.to_owned(),
            why: format!("no answer within {} s", STORE.as_secs()),
            hint: None,
        })
    })
}

impl std::ops::Deref for Runs {
    type Target = [RunLog];

    fn deref(&self) -> &[RunLog] {
        &self.newest
    }
}

/// What one who has the lease holds: the lease, and an ear for what is asked meanwhile.
pub struct Held {
    /// The lease.
    pub lease: Arc<Lease>,
    /// What has been asked.
    pub asks: Asks,
}

impl Operator {
    /// Which kind of thing sends traffic.
    #[must_use]
    pub fn kind(&self) -> &str {
        let outside = self.outside.as_ref();
        outside.map_or("proxy", |plan| plan.kind.as_str())
    }

    /// Looks at engine and pointer.
    ///
    /// # Errors
    /// Where one of them cannot be asked.
    pub async fn look(&self) -> Result<World, Error> {
        let (environments, routing, engine_marks) = tokio::join!(
            self.engine.inspect(&self.service),
            self.pointer.read(),
            self.engine_marks()
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

    /// The marks that the engine keeps, where the pointer keeps none.
    ///
    /// # Errors
    /// Where the engine cannot be asked.
    pub async fn engine_marks(&self) -> Result<BTreeMap<Release, Marks>, EngineError> {
        match self.keeper() {
            MarkKeeper::Pointer => Ok(BTreeMap::new()),
            MarkKeeper::Engine => self.engine.marks(&self.service).await,
        }
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

    /// The newest runs of the service on this engine.
    ///
    /// # Errors
    /// Where the journal is out of reach, or does not answer.
    pub async fn runs(&self) -> Result<Runs, JournalError> {
        let journal = self.journal.as_ref().map_err(Clone::clone)?;
        Runs::of(journal, &self.service, self.engine.address()).await
    }

    /// The newest runs, for a verb that cannot do without.
    ///
    /// # Errors
    /// As [`Operator::runs`], and [`Error::TooNew`] where a newer flipside has written one of them.
    pub async fn need_runs(&self) -> Result<Runs, Error> {
        let away = |error| of_journal(error, Touched::Nothing);
        let runs = self.runs().await.map_err(away)?;
        let newer = runs.iter().find_map(|log| match &log.trouble {
            Some(newer @ JournalError::Newer { .. }) => Some(newer.clone()),
            _ => None,
        });
        newer.map_or(Ok(runs), |newer| Err(away(newer)))
    }

    /// Takes the lease if nobody holds it who lives, or may live for all that can be known within
    /// `patience`.
    ///
    /// # Errors
    /// Where the engine cannot be asked.
    pub async fn try_acquire(&self, floor: Fence, patience: Patience) -> Result<Acquired, Error> {
        lease::acquire(
            Arc::clone(&self.engine),
            &self.service,
            &self.who(),
            floor,
            self.terms,
            patience,
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

    /// Whether an environment of `world` would serve, by one round of its network probes; one that
    /// sleeps is not asked.
    pub async fn fitness(&self, environment: &Environment, world: &World) -> Fit {
        if let Some(mode) = sleep::found_asleep(environment, world) {
            return Fit::Asleep(mode);
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

    /// That nothing is known of the service, here.
    pub async fn unknown(&self) -> Error {
        let known = self.engine.services().await.unwrap_or_default();
        Error::UnknownService {
            name: self.service.to_string(),
            known: known.iter().map(ToString::to_string).collect(),
        }
    }

    /// Holds `lease`, listening for signals and requests from here on.
    #[must_use]
    pub fn listen(&self, lease: Lease) -> Held {
        let lease = Arc::new(lease);
        let asks = asks::listen(&self.service, Arc::clone(&lease), Arc::clone(&self.report));
        Held { lease, asks }
    }

    /// Lets the lease go. What cannot be let go of runs out by itself.
    pub async fn let_go(&self, held: Held) {
        if let Err(error) = held.lease.release().await {
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
        let (environments, routing, engine_marks) = tokio::join!(
            self.engine.inspect(&self.service),
            self.pointer.read(),
            self.engine_marks()
        );
        let of_engine = |error| Error::of_engine(error, Touched::Nothing);
        Ok(World {
            environments: environments.map_err(of_engine)?,
            routing: routing.unwrap_or_default(),
            engine_marks: engine_marks.map_err(of_engine)?,
        })
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

#[async_trait::async_trait]
impl Hold for Lease {
    async fn hold(&self) -> Result<Fence, Unheld> {
        Lease::hold(self).await.map_err(unheld)
    }

    async fn confirm(&self) -> Result<Fence, Unheld> {
        Lease::confirm(self).await.map_err(unheld)
    }
}

fn unheld(lost: LeaseLost) -> Unheld {
    match lost {
        LeaseLost::Taken { by } => Unheld::Taken { by: by.to_string() },
        LeaseLost::Unknown(EngineError::OutOfReach { why, .. } | EngineError::Lost { why, .. }) => {
            Unheld::Away { why }
        }
        lost @ LeaseLost::Unknown(EngineError::Failed(_)) => Unheld::Away {
            why: lost.to_string(),
        },
        lost @ LeaseLost::Expired => Unheld::Expired {
            why: lost.to_string(),
        },
    }
}
