//! Actions of the core turned into calls on the traits.
//!
//! The one place with deadlines and retries. Whatever happens becomes an [`Event`]; nothing is
//! decided here. Does not journal, report events or know how a run came to be.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::action::Action;
use crate::core::event::{Event, Failure, MarkKeeper, Verb};
use crate::core::mask::Mask;
use crate::core::names::{Fence, Generation, Millis, Release, ServiceName, Slot};
use crate::core::plan::{Probe, Run};
use crate::core::progress::Sink;
use crate::core::routing::{Drained, FOREIGN, Guard, Mark, Route, Routing};
use crate::core::state::{Bake, Course, State};
use crate::core::world::{Environment, World};
use crate::engine::{Engine, Spec};
use crate::hook::Hooks;
use crate::pointer::Pointer;
use crate::probe::{Proving, Vantage};

pub mod bounded;
mod fault;
mod hooks;
pub mod images;
mod jobs;
pub mod late;
mod masked;
mod moving;
mod previewing;
mod shared;
mod sleeping;
mod workers;

use bounded::while_running;
use fault::{Fault, insist};
pub use hooks::{Recall, Recalled};
use masked::{MaskedSink, MaskedVantage};
use moving::Switch;

/// How long preparing images may take: half an hour.
const PREPARE: Duration = Duration::from_mins(30);
/// How long the pointer may take to answer a read or a write.
const POINTER: Duration = Duration::from_secs(10);
/// How long one look at the engine may take.
const LOOK: Duration = Duration::from_secs(20);
/// How long an environment may take to be removed, its containers' own grace included but for that
/// of live-only ones.
const REMOVE: Duration = Duration::from_mins(10);
/// Beyond its limit, how long a drain may take to answer.
const DRAIN_SLACK: Duration = Duration::from_secs(10);

/// The wall clock, handed in so that tests can turn it.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Performs the actions of one run.
pub struct Performer {
    with: Parts,
    mask: Arc<Mask>,
    seen: Mutex<BTreeMap<Release, Environment>>,
    routes: Mutex<Option<(Generation, Vec<Route>)>>,
    moved: Mutex<Option<Instant>>,
    stop: watch::Sender<bool>,
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
    /// What runs hooks that are no containers.
    pub hooks: Arc<dyn Hooks>,
    /// Reads again what a release was to be that is left.
    pub recall: Recall,
    /// Who acts.
    pub author: String,
    /// Where progress goes.
    pub sink: Arc<dyn Sink>,
    /// The wall clock.
    pub clock: Clock,
}

impl Performer {
    /// A performer that has seen nothing yet.
    #[must_use]
    pub fn new(with: Parts) -> Self {
        let spec = with.spec.as_ref();
        let mask = Arc::new(spec.map_or_else(Mask::default, |spec| Mask::of_plan(&spec.plan)));
        let with = Parts {
            sink: Arc::new(MaskedSink {
                mask: Arc::clone(&mask),
                sink: with.sink,
            }),
            vantage: Arc::new(MaskedVantage {
                mask: Arc::clone(&mask),
                vantage: with.vantage,
            }),
            ..with
        };
        Self {
            with,
            mask,
            seen: Mutex::default(),
            routes: Mutex::default(),
            moved: Mutex::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// Whether the pointer itself refuses what comes too late.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.with.pointer.capabilities().guard == Guard::Fenced
    }

    /// Performs `action` and says what came of it, without the plan's secrets. Being dropped halfway
    /// is like being killed: the intent stays without an outcome.
    pub async fn perform(&self, state: &State, action: &Action, fence: Fence) -> Event {
        let event = self.mask.event(self.act(state, action, fence).await);
        match (&event, action) {
            // What workers say may hold secrets of a plan that is not at hand.
            (Event::Failed(_), Action::Work { release }) if self.with.spec.is_none() => {
                match (self.with.recall)(*release).await {
                    Ok(known) => known.mask().event(event),
                    Err(_) => event,
                }
            }
            _ => event,
        }
    }

    async fn act(&self, state: &State, action: &Action, fence: Fence) -> Event {
        let done = match action {
            Action::Observe => return self.observe(state.opened.marks).await,
            Action::Prepare => self.prepare().await,
            Action::StandUp => self.stand_up(state).await,
            Action::Prove => self.prove(state.release()).await,
            Action::Mark { release, mark } => self.mark(*release, *mark).await,
            Action::Preview { expected, .. } => self.show(state, *expected, fence).await,
            Action::Hide { release, expected } => {
                self.hide(state, *release, *expected, fence).await
            }
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
                    proof: *proof,
                };
                self.switch(state, switch, fence).await
            }
            Action::Verify { release } => self.verify(state, *release).await,
            Action::Drain { generation } => self.drain(state, *generation).await,
            Action::Rest { releases } => self.rest(releases, fence).await,
            Action::Work { release } => self.work(*release, fence).await,
            Action::Watch { until } => self.watch(state, *until).await,
            Action::SeeClients { releases } => self.see_clients(state, releases).await,
            Action::Retire { releases } => self.retire(state, releases, fence).await,
            Action::Hook { name, repeat } => self.hook(state, name, *repeat).await,
            Action::Sleep { releases, mode } => self.put_to_sleep(releases, *mode, fence).await,
            Action::Wake { release } => self.wake_live(*release).await,
            Action::Disconnect => self.disconnect(fence).await,
            Action::Apply { role } => self.apply_shared(state, role, fence).await,
            Action::RemoveShared => self.remove_shared().await,
            Action::TearDown { release } => {
                self.tear_down(state.opened.marks, *release, fence).await
            }
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
        let mut seen = own(&self.seen);
        seen.extend(
            environments
                .iter()
                .map(|found| (found.release, found.clone())),
        );
    }

    /// Remembers what the pointer says, so that a hand that changes it later is found.
    pub fn remember_routes(&self, routing: Option<&Routing>) {
        *own(&self.routes) = routing.map(|routing| (routing.generation, routing.routes.clone()));
    }

    /// As [`Performer::remember_routes`], unless that generation's are known: what was edited since
    /// is not taken for granted.
    fn remember_first(&self, routing: Option<&Routing>) {
        let known = own(&self.routes)
            .as_ref()
            .map(|(generation, _)| *generation);
        if routing.is_some_and(|routing| known != Some(routing.generation)) {
            self.remember_routes(routing);
        }
    }

    /// Looks at engine and pointer. What keeps it from looking says nothing about the act whose
    /// outcome is looked for.
    async fn observe(&self, marks: MarkKeeper) -> Event {
        match self.world(marks).await {
            Ok(world) => {
                self.remember(&world.environments);
                self.remember_first(world.routing.as_ref());
                Event::Observed {
                    world: Box::new(world),
                }
            }
            Err(Fault::Failed(failure)) => Event::Lost { why: failure.what },
            Err(Fault::Lost(why) | Fault::Away(why)) => Event::Lost { why },
            Err(Fault::Refused(..)) => Event::Lost {
                why: "the pointer refused to be read".into(),
            },
        }
    }

    async fn world(&self, marks: MarkKeeper) -> Result<World, Fault> {
        insist("engine and pointer", LOOK, || async {
            let kept = async {
                match marks {
                    MarkKeeper::Pointer => Ok(BTreeMap::new()),
                    MarkKeeper::Engine => self.with.engine.marks(&self.with.service).await,
                }
            };
            let (environments, routing, engine_marks) = tokio::join!(
                self.with.engine.inspect(&self.with.service),
                self.with.pointer.read(),
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
        let prepare = || async {
            Ok(self
                .with
                .engine
                .prepare(spec, self.with.sink.as_ref())
                .await?)
        };
        let images = insist("preparing images", PREPARE, prepare).await?;
        Ok(Event::Prepared { images })
    }

    async fn stand_up(&self, state: &State) -> Result<Event, Fault> {
        let spec = self.spec()?;
        let jobs = spec
            .plan
            .roles
            .values()
            .filter(|role| role.run == Run::Once);
        let jobs: Millis = jobs.map(|role| role.timeout_ms).sum();
        let limit = Duration::from_millis(state.opened.policy.stand_up_ms + jobs);
        let stand_up = insist("standing up", limit * 2, || async {
            Ok(self
                .with
                .engine
                .stand_up(spec, &state.images, self.with.sink.as_ref())
                .await?)
        });
        let environment = match tokio::time::timeout(limit, stand_up).await {
            Ok(environment) => environment?,
            Err(_) => return Err(self.too_slow(spec, limit).await),
        };
        let endpoints = environment.endpoints();
        let jobs = self.jobs(&environment).await?;
        self.remember(std::slice::from_ref(&environment));
        Ok(Event::StoodUp { endpoints, jobs })
    }

    async fn prove(&self, release: Release) -> Result<Event, Fault> {
        let environment = self.environment(release).await?.at_rest();
        let probes = self.probes(&environment);
        let checks = self.proving(&environment, &probes).prove().await?;
        Ok(Event::Proven { checks })
    }

    async fn mark(&self, release: Release, mark: Mark) -> Result<Event, Fault> {
        insist("writing a mark", LOOK, || self.mark_now(release, mark)).await?;
        Ok(Event::Marked)
    }

    /// Writes a mark on the engine, once. What stood there before flipside came bears none.
    async fn mark_now(&self, release: Release, mark: Mark) -> Result<(), Fault> {
        if release == FOREIGN {
            return Ok(());
        }
        let (engine, service) = (&self.with.engine, &self.with.service);
        Ok(engine.mark(service, release, mark).await?)
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
        Ok(Event::Drained(self.settled(state, generation).await?))
    }

    /// Waits for what the last move left, at most until the drain limit after that move.
    async fn settled(&self, state: &State, generation: Generation) -> Result<Drained, Fault> {
        let since = state
            .moved
            .map_or(0, |moved| self.since_move(moved.at) / 1000);
        let lingers = self.with.pointer.capabilities().lingers;
        let limit = match state.course {
            Course::Back(_) if lingers => 0,
            _ => state.opened.policy.drain_ms.saturating_sub(since),
        };
        let settled = self
            .with
            .pointer
            .settled(generation, limit, self.with.sink.as_ref());
        // First everyone must see the move, then forget what was true before it.
        let seen = 2 * self.with.pointer.capabilities().settle_ms;
        let deadline = Duration::from_millis(limit + seen) + DRAIN_SLACK;
        let settled = tokio::time::timeout(deadline, settled).await;
        Ok(settled.map_err(|_| {
            Fault::Lost(format!("{} did not answer", self.with.pointer.describe()))
        })??)
    }

    async fn watch(&self, state: &State, until: Millis) -> Result<Event, Fault> {
        let environment = self.environment(state.release()).await?;
        let probes = self.probes(&environment);
        // The whole bake is yet to come, however long workers and hooks have taken, and a clock that
        // jumps makes it neither longer nor shorter; unless another process has begun it.
        let bake = state.opened.policy.bake_ms;
        let left = match state.bake {
            Bake::GoesOn => until.saturating_sub((self.with.clock)()).min(bake),
            Bake::ToCome | Bake::Begun => bake,
        };
        let end = Instant::now() + Duration::from_millis(left);
        let proving = self.proving(&environment, &probes);
        tokio::select! {
            watched = proving.watch(end) => watched?,
            never = self.draining(state) => match never {},
        }
        Ok(Event::Baked)
    }

    /// What was in flight at the switch ends while something else goes on, or is cut at its own limit.
    /// How that went is asked again, and told, by the drain that follows.
    async fn draining(&self, state: &State) -> Infallible {
        if let Some(moved) = state.moved.filter(|moved| moved.from.is_some()) {
            let settled = self.settled(state, moved.generation).await;
            tracing::debug!(in_time = settled.is_ok(), "drained meanwhile");
        }
        std::future::pending().await
    }

    async fn retire(
        &self,
        state: &State,
        releases: &[Release],
        fence: Fence,
    ) -> Result<Event, Fault> {
        for &release in releases {
            self.remove(release, fence).await?;
        }
        if let Verb::Prune { .. } = state.opened.verb {
            self.settle_shared().await?;
        }
        let what = match state.opened.verb {
            Verb::Prune { .. } | Verb::Down { .. } => images::Which::WithSteps,
            Verb::Deploy { .. }
            | Verb::Rollback { .. }
            | Verb::HandOver { .. }
            | Verb::Apply { .. } => images::Which::Whole,
        };
        self.drop_images(what).await?;
        let releases = releases.to_vec();
        Ok(Event::Retired { releases })
    }

    /// Removes a candidate, unless it has served: then another operator, whose journal is another
    /// one, has given its number to a release of its own.
    async fn tear_down(
        &self,
        keeper: MarkKeeper,
        release: Release,
        fence: Fence,
    ) -> Result<Event, Fault> {
        let marks = match keeper {
            MarkKeeper::Pointer => self.routing().await?.map(|routing| routing.marks),
            MarkKeeper::Engine => Some(self.with.engine.marks(&self.with.service).await?),
        };
        let marks = marks.as_ref().and_then(|marks| marks.get(&release));
        if marks.is_some_and(|marks| marks.served.is_some()) {
            return Err(self.needed(release, "has served for another operator", "removed"));
        }
        self.remove(release, fence).await?;
        self.drop_images(images::Which::Whole).await?;
        Ok(Event::TornDown { release })
    }

    async fn disconnect(&self, fence: Fence) -> Result<Event, Fault> {
        while_running(POINTER, self.with.pointer.remove(fence))
            .await
            .ok_or_else(|| self.no_answer())??;
        Ok(Event::Disconnected)
    }

    /// Removes an environment and what the pointer remembers of it.
    ///
    /// The engine cannot refuse a late act, so the pointer is asked first: it refuses one whose
    /// lease number has been passed, and what it sends traffic to is never removed.
    async fn remove(&self, release: Release, fence: Fence) -> Result<(), Fault> {
        self.spare_the_live(release, fence, "removed").await?;
        let keeps_marks = self.with.pointer.capabilities().marks;
        if !keeps_marks {
            // A write that was begun for it must not come true any more.
            self.forget(fence, &[release]).await?;
        }
        let grace = own(&self.seen).get(&release).map_or(0, workers::grace);
        let tear_down = self.with.engine.tear_down(&self.with.service, release);
        tokio::time::timeout(REMOVE + Duration::from_millis(grace), tear_down)
            .await
            .map_err(|_| Fault::Lost(format!("release {release} is still being removed")))??;
        if keeps_marks {
            self.forget(fence, &[release]).await?;
        }
        Ok(())
    }

    /// What the pointer says, asked so that it refuses who is late, where it can.
    async fn not_late(&self, fence: Fence) -> Result<Option<Routing>, Fault> {
        if self.with.pointer.capabilities().marks {
            // Forgetting nothing changes nothing, and is refused like any late act.
            self.forget(fence, &[]).await?;
        }
        self.routing().await
    }

    /// Lets an act on `release` through if the lease number has not been passed, and it gets no
    /// traffic; `done` says what would have been done to it.
    async fn spare_the_live(
        &self,
        release: Release,
        fence: Fence,
        done: &str,
    ) -> Result<(), Fault> {
        let routing = self.not_late(fence).await?;
        let route = routing.as_ref().and_then(|routing| routing.route(release));
        match route {
            Some(route) if route.weight > 0 => Err(self.needed(release, "gets traffic", done)),
            _ => Ok(()),
        }
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), Fault> {
        let puts_back = match releases {
            [] => 0,
            _ => self.with.pointer.patience_ms(),
        };
        let limit = POINTER + Duration::from_millis(puts_back);
        while_running(limit, self.with.pointer.forget(fence, releases))
            .await
            .ok_or_else(|| self.no_answer())??;
        Ok(())
    }

    fn no_answer(&self) -> Fault {
        Fault::Lost(format!("{} did not answer", self.with.pointer.describe()))
    }

    async fn routing(&self) -> Result<Option<Routing>, Fault> {
        insist("the pointer", POINTER, || async {
            Ok(self.with.pointer.read().await?)
        })
        .await
    }

    /// What something was to be done to, and turned out to be needed.
    fn needed(&self, release: Release, why: &str, done: &str) -> Fault {
        Fault::Failed(Failure {
            what: format!("{}@{release} {why} and was not {done}", self.with.service),
            hint: Some(format!("flipside status {}", self.with.service)),
            replicas: Vec::new(),
        })
    }

    fn proving<'a>(&'a self, environment: &'a Environment, probes: &'a [Probe]) -> Proving<'a> {
        Proving {
            engine: self.with.engine.as_ref(),
            vantage: self.with.vantage.as_ref(),
            service: &self.with.service,
            environment,
            probes,
            sink: self.with.sink.as_ref(),
        }
    }

    /// The plan's probes where the plan is at hand, since labels leave secrets out.
    fn probes(&self, environment: &Environment) -> Vec<Probe> {
        match &self.with.spec {
            Some(spec) if spec.release == environment.release => spec.plan.probes.clone(),
            _ => environment.labels.probes.clone(),
        }
    }

    async fn environment(&self, release: Release) -> Result<Environment, Fault> {
        let known = own(&self.seen).get(&release).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut found = self.look_again().await?.into_iter();
        let found = found.find(|environment| environment.release == release);
        found.ok_or_else(|| self.gone(release))
    }

    /// What stands on the engine now.
    async fn look_again(&self) -> Result<Vec<Environment>, Fault> {
        let found = insist("the engine", LOOK, || async {
            Ok(self.with.engine.inspect(&self.with.service).await?)
        })
        .await?;
        self.remember(&found);
        Ok(found)
    }

    fn gone(&self, release: Release) -> Fault {
        Fault::Failed(Failure {
            what: format!("the environment of {}@{release} is gone", self.with.service),
            hint: Some(format!("flipside status {}", self.with.service)),
            replicas: Vec::new(),
        })
    }

    fn spec(&self) -> Result<&Spec, Fault> {
        self.with.spec.as_ref().ok_or_else(|| {
            Fault::Failed(Failure {
                what: "the plan of this release could not be read again".into(),
                hint: Some(format!("flipside abort {}", self.with.service)),
                replicas: Vec::new(),
            })
        })
    }
}

/// What a mutex guards, also after a panic elsewhere: nothing here is left half-written.
fn own<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
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
