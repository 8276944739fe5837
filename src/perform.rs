//! Actions of the core turned into calls on the traits.
//!
//! The one place with deadlines and retries. Whatever happens becomes an [`Event`]; nothing is
//! decided here. Does not journal, report events or know how a run came to be.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::core::action::{Action, Move, Proof};
use crate::core::event::{Event, Failure, MarkKeeper, SwitchRefusal};
use crate::core::names::{Fence, Generation, Millis, Release, ServiceName, Slot};
use crate::core::plan::{Probe, ProbeKind};
use crate::core::progress::Sink;
use crate::core::routing::{Drained, Mark, Route, Routing};
use crate::core::state::State;
use crate::core::world::{Environment, World};
use crate::engine::{Engine, EngineError, Spec};
use crate::pointer::{Pointer, PointerError};
use crate::probe::{Proving, Unfit, Vantage};

/// How long preparing images may take: half an hour.
const PREPARE: Duration = Duration::from_mins(30);
/// How long the pointer may take to answer a read or a write.
const POINTER: Duration = Duration::from_secs(10);
/// How long the service may take to answer through the pointer after a move.
const VERIFY: Duration = Duration::from_secs(10);
/// How long one look at the engine may take.
const LOOK: Duration = Duration::from_secs(20);
/// What the engine is given beyond an environment's own grace to remove it.
const REMOVE: Duration = Duration::from_mins(2);
/// Beyond its limit, how long a drain may take to answer.
const DRAIN_SLACK: Duration = Duration::from_secs(10);

/// The wall clock, handed in so that tests can turn it.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Performs the actions of one run.
pub struct Performer {
    /// The service.
    pub service: ServiceName,
    /// Where environments stand.
    pub engine: Arc<dyn Engine>,
    /// What sends traffic.
    pub pointer: Arc<dyn Pointer>,
    /// From where addresses are checked.
    pub vantage: Arc<dyn Vantage>,
    /// What the candidate shall be; `None` in a run that stands nothing up.
    pub spec: Option<Spec>,
    /// Who acts: `user@host`.
    pub author: String,
    /// Where progress goes.
    pub sink: Arc<dyn Sink>,
    /// The wall clock.
    pub clock: Clock,
    seen: Mutex<BTreeMap<Release, Environment>>,
    moved: Mutex<Option<Instant>>,
}

/// What a performer needs.
pub struct Parts {
    /// The service.
    pub service: ServiceName,
    /// Where environments stand.
    pub engine: Arc<dyn Engine>,
    /// What sends traffic.
    pub pointer: Arc<dyn Pointer>,
    /// From where addresses are checked.
    pub vantage: Arc<dyn Vantage>,
    /// What the candidate shall be.
    pub spec: Option<Spec>,
    /// Who acts.
    pub author: String,
    /// Where progress goes.
    pub sink: Arc<dyn Sink>,
    /// The wall clock.
    pub clock: Clock,
}

/// Why an act has no good outcome.
enum Fault {
    Failed(Failure),
    Lost(String),
    Away(String),
    Refused(SwitchRefusal, Option<Box<Routing>>),
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Failed(failure) => Self::Failed(failure),
            error @ EngineError::OutOfReach { .. } => Self::Away(error.to_string()),
            error @ EngineError::Lost { .. } => Self::Lost(error.to_string()),
        }
    }
}

impl From<PointerError> for Fault {
    fn from(error: PointerError) -> Self {
        match error {
            PointerError::Failed { what, hint } => Self::Failed(Failure {
                what,
                hint,
                replicas: Vec::new(),
            }),
            PointerError::Refused { why, found } => Self::Refused(why, found),
            error @ PointerError::OutOfReach { .. } => Self::Away(error.to_string()),
            error @ PointerError::Lost { .. } => Self::Lost(error.to_string()),
        }
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Failed(failure) => Self::Failed(failure),
            Unfit::Engine(error) => error.into(),
            Unfit::Vantage(error) => Self::Away(error.to_string()),
        }
    }
}

impl From<Fault> for Event {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(failure) => Self::Failed(failure),
            Fault::Lost(why) | Fault::Away(why) => Self::Lost { why },
            Fault::Refused(why, found) => Self::SwitchRefused { why, found },
        }
    }
}

impl Performer {
    /// A performer that has seen nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            service,
            engine,
            pointer,
            vantage,
            spec,
            author,
            sink,
            clock,
        } = parts;
        let (seen, moved) = (Mutex::default(), Mutex::default());
        Self {
            service,
            engine,
            pointer,
            vantage,
            spec,
            author,
            sink,
            clock,
            seen,
            moved,
        }
    }

    /// Performs `action` and says what came of it. Being dropped halfway is like being killed: the
    /// intent stays without an outcome.
    pub async fn perform(&self, state: &State, action: &Action, fence: Fence) -> Event {
        let done = match action {
            Action::Observe => self.observe(state.opened.marks).await,
            Action::Prepare => self.prepare().await,
            Action::StandUp => self.stand_up(state).await,
            Action::Prove => self.prove(state.release()).await,
            Action::Mark { release, mark } => self.mark(*release, *mark).await,
            Action::Switch {
                to,
                from,
                expected,
                why,
                proof,
            } => {
                let switch = Switch {
                    to: *to,
                    from: *from,
                    expected: *expected,
                    why: *why,
                };
                self.switch(state, switch, *proof, fence).await
            }
            Action::Verify { release } => self.verify(state, *release).await,
            Action::Drain { generation } => self.drain(state, *generation).await,
            Action::Watch { until } => self.watch(state, *until).await,
            Action::Retire { releases } => self.retire(releases, fence).await,
            Action::Disconnect => self.disconnect(fence).await,
            Action::TearDown { release } => self
                .remove(*release, fence)
                .await
                .map(|()| Event::TornDown { release: *release }),
        };
        done.unwrap_or_else(Event::from)
    }

    /// Looks at engine and pointer.
    ///
    /// # Errors
    /// [`Event::Lost`], where one of them cannot be asked.
    pub async fn look(&self, marks: MarkKeeper) -> Result<World, Event> {
        self.world(marks).await.map_err(Event::from)
    }

    /// Remembers an environment as it stands, so that it need not be looked at again.
    pub fn remember(&self, environments: &[Environment]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(
            environments
                .iter()
                .map(|found| (found.release, found.clone())),
        );
    }

    async fn observe(&self, marks: MarkKeeper) -> Result<Event, Fault> {
        let world = self.world(marks).await?;
        self.remember(&world.environments);
        Ok(Event::Observed {
            world: Box::new(world),
        })
    }

    async fn world(&self, marks: MarkKeeper) -> Result<World, Fault> {
        insist("engine and pointer", LOOK, || async {
            let kept = async {
                match marks {
                    MarkKeeper::Pointer => Ok(BTreeMap::new()),
                    MarkKeeper::Engine => self.engine.marks(&self.service).await,
                }
            };
            let (environments, routing, engine_marks) = tokio::join!(
                self.engine.inspect(&self.service),
                self.pointer.read(),
                kept
            );
            Ok(World {
                environments: environments?,
                routing: routing?,
                engine_marks: engine_marks?,
            })
        })
        .await
    }

    async fn prepare(&self) -> Result<Event, Fault> {
        let spec = self.spec()?;
        let prepare = || async { Ok(self.engine.prepare(spec, self.sink.as_ref()).await?) };
        let images = insist("preparing images", PREPARE, prepare).await?;
        Ok(Event::Prepared { images })
    }

    async fn stand_up(&self, state: &State) -> Result<Event, Fault> {
        let spec = self.spec()?;
        let limit = Duration::from_millis(state.opened.policy.stand_up_ms);
        let stand_up = insist("standing up", limit * 2, || async {
            Ok(self
                .engine
                .stand_up(spec, &state.images, self.sink.as_ref())
                .await?)
        });
        let environment = match tokio::time::timeout(limit, stand_up).await {
            Ok(environment) => environment?,
            Err(_) => {
                return Err(Fault::Failed(Failure {
                    what: format!(
                        "release {} did not stand up within {} s",
                        spec.release,
                        limit.as_secs()
                    ),
                    hint: Some("allow more with `stand_up: {deadline: 10m}` in the plan".into()),
                    replicas: Vec::new(),
                }));
            }
        };
        let endpoints = environment.endpoints();
        self.remember(std::slice::from_ref(&environment));
        Ok(Event::StoodUp { endpoints })
    }

    async fn prove(&self, release: Release) -> Result<Event, Fault> {
        let environment = self.environment(release).await?;
        let probes = self.probes(&environment);
        let checks = self.proving(&environment, &probes).prove().await?;
        Ok(Event::Proven { checks })
    }

    async fn mark(&self, release: Release, mark: Mark) -> Result<Event, Fault> {
        insist("writing a mark", LOOK, || async {
            Ok(self.engine.mark(&self.service, release, mark).await?)
        })
        .await?;
        Ok(Event::Marked)
    }

    async fn switch(
        &self,
        state: &State,
        switch: Switch,
        proof: Proof,
        fence: Fence,
    ) -> Result<Event, Fault> {
        let environment = self.environment(switch.to).await?;
        if proof == Proof::Round {
            self.prove_standby(&environment, state.opened.policy.proof_ms)
                .await?;
        }
        let found = insist("the pointer", POINTER, || async {
            Ok(self.pointer.read().await?)
        });
        let found = found.await?;
        if found.as_ref().map(|routing| routing.generation) != switch.expected {
            return Err(Fault::Refused(SwitchRefusal::Moved, found.map(Box::new)));
        }
        let at = (self.clock)();
        let marks = state.opened.marks;
        let desired = self.desired(&environment, &switch, found.as_ref(), marks, fence, at);
        let start = Instant::now();
        let write = self.pointer.write(switch.expected, &desired);
        let generation = tokio::time::timeout(POINTER, write)
            .await
            .map_err(|_| Fault::Lost(format!("{} did not answer", self.pointer.describe())))??;
        let took_us = micros(start.elapsed());
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(start);
        Ok(Event::Switched {
            generation,
            at,
            took_us,
        })
    }

    fn desired(
        &self,
        environment: &Environment,
        switch: &Switch,
        found: Option<&Routing>,
        keeper: MarkKeeper,
        fence: Fence,
        at: Millis,
    ) -> Routing {
        let generation = switch.expected.unwrap_or(0) + 1;
        let mut marks = found
            .map(|routing| routing.marks.clone())
            .unwrap_or_default();
        if keeper == MarkKeeper::Pointer {
            let to = marks.entry(switch.to).or_default();
            to.add(Mark::Proven);
            to.add(Mark::Served(generation));
            if let (Some(from), Move::RollBack | Move::Revert) = (switch.from, switch.why) {
                marks.entry(from).or_default().add(Mark::Withdrawn);
            }
        }
        let route = Route {
            release: environment.release,
            slot: environment.slot,
            weight: 100,
            endpoints: environment.endpoints(),
        };
        Routing {
            generation,
            fence,
            author: self.author.clone(),
            reason: switch.reason(&self.service),
            at,
            routes: vec![route],
            marks,
            deadline: None,
        }
    }

    async fn verify(&self, state: &State, release: Release) -> Result<Event, Fault> {
        let path = match self.environment(release).await {
            Ok(environment) => ask_path(&environment.labels.probes),
            Err(_) => "/".into(),
        };
        let moved = state.moved.map_or(0, |moved| moved.at);
        let deadline = Instant::now() + VERIFY;
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(200))
            .without_max_times()
            .build();
        loop {
            let asked = tokio::time::timeout(POINTER, self.pointer.ask(&path)).await;
            let said = match asked {
                Ok(Ok(answer)) if answer.release == Some(release) => {
                    return Ok(Event::Verified {
                        took_us: self.since_move(moved),
                    });
                }
                Ok(Ok(answer)) => match (answer.release, answer.status) {
                    (Some(other), _) => format!("release {other} answered"),
                    (None, Some(status)) => format!("it answered {status} by itself"),
                    (None, None) => "nothing can be told of who answered".into(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".into(),
            };
            if Instant::now() >= deadline {
                return Err(Fault::Failed(Failure {
                    what: format!(
                        "release {release} does not answer through {}: {said}",
                        self.pointer.describe()
                    ),
                    hint: Some(format!("flipside status {}", self.service)),
                    replicas: Vec::new(),
                }));
            }
            tokio::time::sleep(waits.next().unwrap_or(Duration::from_millis(200))).await;
        }
    }

    /// Microseconds since the pointer was written: by this process's own clock if it wrote it.
    fn since_move(&self, at: Millis) -> u64 {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let by_clock = || (self.clock)().saturating_sub(at).saturating_mul(1000);
        moved.map_or_else(by_clock, |start| micros(start.elapsed()))
    }

    async fn drain(&self, state: &State, generation: Generation) -> Result<Event, Fault> {
        if state.moved.is_none_or(|moved| moved.from.is_none()) {
            let nothing = Some(0);
            return Ok(Event::Drained(Drained {
                in_flight: nothing,
                finished: nothing,
                cut: nothing,
            }));
        }
        let since = state
            .moved
            .map_or(0, |moved| (self.clock)().saturating_sub(moved.at));
        let limit = state.opened.policy.drain_ms.saturating_sub(since);
        let settled = self.pointer.settled(generation, limit, self.sink.as_ref());
        let drained = tokio::time::timeout(Duration::from_millis(limit) + DRAIN_SLACK, settled)
            .await
            .map_err(|_| Fault::Lost(format!("{} did not answer", self.pointer.describe())))??;
        Ok(Event::Drained(drained))
    }

    async fn watch(&self, state: &State, until: Millis) -> Result<Event, Fault> {
        let environment = self.environment(state.release()).await?;
        let probes = self.probes(&environment);
        // A clock that jumped must not make a bake longer than the plan says.
        let left = until
            .saturating_sub((self.clock)())
            .min(state.opened.policy.bake_ms);
        let end = Instant::now() + Duration::from_millis(left);
        self.proving(&environment, &probes).watch(end).await?;
        Ok(Event::Baked)
    }

    async fn retire(&self, releases: &[Release], fence: Fence) -> Result<Event, Fault> {
        for &release in releases {
            self.remove(release, fence).await?;
        }
        Ok(Event::Retired {
            releases: releases.to_vec(),
        })
    }

    async fn disconnect(&self, fence: Fence) -> Result<Event, Fault> {
        tokio::time::timeout(POINTER, self.pointer.remove(fence))
            .await
            .map_err(|_| Fault::Lost(format!("{} did not answer", self.pointer.describe())))??;
        Ok(Event::Disconnected)
    }

    /// Removes an environment and what the pointer remembers of it.
    async fn remove(&self, release: Release, fence: Fence) -> Result<(), Fault> {
        let tear_down = self.engine.tear_down(&self.service, release);
        tokio::time::timeout(REMOVE, tear_down)
            .await
            .map_err(|_| Fault::Lost(format!("release {release} is still being removed")))??;
        if self.pointer.capabilities().marks {
            tokio::time::timeout(POINTER, self.pointer.forget(fence, &[release]))
                .await
                .map_err(|_| {
                    Fault::Lost(format!("{} did not answer", self.pointer.describe()))
                })??;
        }
        Ok(())
    }

    /// One round of a standby's proof.
    ///
    /// # Errors
    /// With each replica's reason, where it is not fit.
    async fn prove_standby(&self, standby: &Environment, within: Millis) -> Result<(), Fault> {
        let probes = standby.labels.probes.clone();
        let proving = self.proving(standby, &probes);
        let verdicts = proving.round(Duration::from_millis(within)).await?;
        match crate::probe::unfit(standby, &verdicts) {
            None => Ok(()),
            Some(failure) => Err(Fault::Failed(failure)),
        }
    }

    fn proving<'a>(&'a self, environment: &'a Environment, probes: &'a [Probe]) -> Proving<'a> {
        Proving {
            engine: self.engine.as_ref(),
            vantage: self.vantage.as_ref(),
            service: &self.service,
            environment,
            probes,
            sink: self.sink.as_ref(),
        }
    }

    /// The plan's probes where the plan is at hand, since labels leave secrets out.
    fn probes(&self, environment: &Environment) -> Vec<Probe> {
        match &self.spec {
            Some(spec) if spec.release == environment.release => spec.plan.probes.clone(),
            _ => environment.labels.probes.clone(),
        }
    }

    async fn environment(&self, release: Release) -> Result<Environment, Fault> {
        let known = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&release)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = insist("the engine", LOOK, || async {
            Ok(self.engine.inspect(&self.service).await?)
        })
        .await?;
        self.remember(&found);
        found
            .into_iter()
            .find(|environment| environment.release == release)
            .ok_or_else(|| {
                Fault::Failed(Failure {
                    what: format!("the environment of {}@{release} is gone", self.service),
                    hint: Some(format!("flipside status {}", self.service)),
                    replicas: Vec::new(),
                })
            })
    }

    fn spec(&self) -> Result<&Spec, Fault> {
        self.spec.as_ref().ok_or_else(|| {
            Fault::Failed(Failure {
                what: "the plan of this release could not be read again".into(),
                hint: Some(format!("flipside abort {}", self.service)),
                replicas: Vec::new(),
            })
        })
    }
}

struct Switch {
    to: Release,
    from: Option<Release>,
    expected: Option<Generation>,
    why: Move,
}

impl Switch {
    fn reason(&self, service: &ServiceName) -> String {
        let verb = match self.why {
            Move::Promote => "deploy",
            Move::RollBack => "rollback to",
            Move::Revert => "revert to",
        };
        format!("{verb} {service}@{}", self.to)
    }
}

/// The path that is asked through the pointer: that of the first HTTP probe, which is known to be
/// cheap and to answer.
fn ask_path(probes: &[Probe]) -> String {
    let paths = probes.iter().filter_map(|probe| match &probe.kind {
        ProbeKind::Http(http) => Some(http.path.clone()),
        _ => None,
    });
    paths.into_iter().next().unwrap_or_else(|| "/".into())
}

/// Calls `call` until it answers, while what it needs is out of reach, with backoff and jitter, for
/// as long as `limit`. Nothing else is repeated: it would not help, or it might do harm.
async fn insist<T, F, Fut>(what: &str, limit: Duration, call: F) -> Result<T, Fault>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Fault>>,
{
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .with_max_times(12)
        .build();
    let tries = async {
        loop {
            match call().await {
                Err(Fault::Away(why)) => match waits.next() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(Fault::Away(why)),
                },
                done => return done,
            }
        }
    };
    let seconds = limit.as_secs();
    tokio::time::timeout(limit, tries)
        .await
        .unwrap_or_else(|_| {
            Err(Fault::Lost(format!(
                "{what} did not answer within {seconds} s"
            )))
        })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The slot that a candidate takes: not the live one's.
#[must_use]
pub fn free_slot(world: &World, live: Option<Release>) -> Slot {
    let live = world
        .environments
        .iter()
        .find(|environment| Some(environment.release) == live);
    live.map_or(Slot::Blue, |environment| environment.slot.other())
}
