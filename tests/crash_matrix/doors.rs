//! One operator's doors into the fake world: they tell the checker of every call, and kill or
//! freeze their operator at one of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flipside::core::names::{Fence, Generation, Millis, Release, RoleName, ServiceName};
use flipside::core::plan::{Plan, StandbyMode, Text};
use flipside::core::progress::Sink;
use flipside::core::routing::{Capabilities, Drained, Mark, Marks, Routing};
use flipside::core::shared::{Applied, Removed, Shared};
use flipside::core::workers::Rival;
use flipside::core::world::{Container, Cost, Environment};
use flipside::engine::{
    Built, ContainerHook, End, Engine, EngineError, Executed, Images, LogLine, Ran, Spec, Token,
};
use flipside::hook::{Call, Hooks, Stop, Told};
use flipside::pointer::{Answer, Pointer, PointerError, Way};
use flipside::probe::{Question, Vantage, VantageError};
use tokio::sync::{Notify, watch};

use super::checker::Act;
use super::stage::{Flaw, Stage};
use crate::support::fake_engine::FakeEngine;
use crate::support::fake_pointer::FakeVantage;
use crate::support::fake_shared::FakeShared;
use crate::support::fake_world::lock;
use crate::support::faults::Op;
use crate::support::hooks::FakeHooks;

/// Just before something takes effect, or just after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// What happens to an operator at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    Dies,
    Freezes,
    /// Somebody's hand edits the routing.
    Hand,
}

/// Whether an operator lives.
pub struct Life {
    dead: AtomicBool,
    frozen: watch::Sender<bool>,
    /// Told when it dies or freezes.
    pub struck: Notify,
    blow: Mutex<Option<(Op, usize, Moment, Blow)>>,
    counts: Mutex<BTreeMap<Op, usize>>,
}

impl Life {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            dead: AtomicBool::new(false),
            frozen: watch::Sender::new(false),
            struck: Notify::new(),
            blow: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// At the `nth` call of a kind, from 0.
    pub fn strike(&self, op: Op, nth: usize, moment: Moment, blow: Blow) {
        *self.blow.lock().unwrap() = Some((op, nth, moment, blow));
    }

    /// How many calls of each kind were made.
    pub fn counts(&self) -> BTreeMap<Op, usize> {
        self.counts.lock().unwrap().clone()
    }

    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Nothing gets through while it is dead or frozen.
    pub async fn gate(&self) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let mut frozen = self.frozen.subscribe();
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }

    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.struck.notify_one();
    }

    pub async fn die(&self) {
        self.kill();
        std::future::pending::<()>().await;
    }

    fn meet(&self, op: Op) -> Option<(Moment, Blow)> {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(op).or_default();
        let blow = *self.blow.lock().unwrap();
        let met = blow.filter(|(which, nth, ..)| (*which, *nth) == (op, *count));
        *count += 1;
        met.map(|(_, _, moment, blow)| (moment, blow))
    }
}

/// The doors of one operator.
#[derive(Clone)]
pub struct Door {
    pub who: &'static str,
    pub journal: &'static str,
    pub stage: Arc<Stage>,
    pub life: Arc<Life>,
    pub engine: FakeEngine,
    pub pointer: Arc<dyn Pointer>,
    pub vantage: FakeVantage,
}

impl Door {
    async fn through<T>(&self, op: Op, act: Option<Act>, inner: impl Future<Output = T>) -> T {
        self.life.gate().await;
        let met = self.life.meet(op);
        self.blow(met, Moment::Before).await;
        let changes = act.is_some();
        if let Some(act) = act {
            let mut checker = self.stage.checker();
            checker.look();
            checker.act(self.who, self.journal, &act);
        }
        let out = inner.await;
        if changes {
            self.stage.checker().look();
        }
        self.blow(met, Moment::After).await;
        self.stage.passed();
        self.life.gate().await;
        out
    }

    async fn blow(&self, met: Option<(Moment, Blow)>, now: Moment) {
        match met.filter(|(moment, _)| *moment == now) {
            None => {}
            Some((_, Blow::Dies)) => self.life.die().await,
            Some((_, Blow::Freezes)) => {
                self.life.frozen.send_replace(true);
                self.life.struck.notify_one();
                self.life.gate().await;
            }
            Some((_, Blow::Hand)) => self.stage.hand(),
        }
    }
}

/// A machine of which nothing can be seen: the label of the process would say that a killed
/// operator lives, since the test does.
fn from_elsewhere(token: &Token) -> Token {
    let mut token = token.clone();
    let known = [
        "kind",
        "service",
        "number",
        "holder",
        "nonce",
        "state",
        "lifetime_ms",
        "free",
        "ask",
        "by",
        "to",
    ];
    token
        .labels
        .retain(|name, _| known.contains(&name.as_str()));
    token
}

#[async_trait]
impl Engine for Door {
    fn address(&self) -> &str {
        self.engine.address()
    }

    async fn shared(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Shared>, EngineError> {
        self.through(Op::Shared, None, self.engine.shared(service, plan))
            .await
    }

    async fn rivals(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Rival>, EngineError> {
        self.through(Op::Shared, None, self.engine.rivals(service, plan))
            .await
    }

    async fn apply_shared(
        &self,
        plan: &Plan,
        role: &RoleName,
        sink: &dyn Sink,
    ) -> Result<Applied, EngineError> {
        let inner = self.engine.apply_shared(plan, role, sink);
        self.through(Op::ApplyShared, Some(Act::Apply(role.clone())), inner)
            .await
    }

    async fn left_of_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let inner = self.engine.left_of_shared(service);
        self.through(Op::Shared, None, inner).await
    }

    async fn settle_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let inner = self.engine.settle_shared(service);
        let halfway = |one: &FakeShared| one.service == *service && one.old.is_some();
        let ends = lock(&self.stage.world).shared.iter().any(halfway);
        let act = ends.then_some(Act::EndApply);
        self.through(Op::SettleShared, act, inner).await
    }

    async fn join_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let inner = self.engine.join_shared(service);
        self.through(Op::JoinShared, None, inner).await
    }

    async fn tear_down_shared(&self, service: &ServiceName) -> Result<Removed, EngineError> {
        let inner = self.engine.tear_down_shared(service);
        self.through(Op::TearDownShared, Some(Act::RemoveShared), inner)
            .await
    }

    async fn prepare(&self, spec: &Spec, sink: &dyn Sink) -> Result<Images, EngineError> {
        let inner = self.engine.prepare(spec, sink);
        self.through(Op::Prepare, Some(Act::Prepare), inner).await
    }

    async fn stand_up(
        &self,
        spec: &Spec,
        images: &Images,
        sink: &dyn Sink,
    ) -> Result<Environment, EngineError> {
        let mut spec = spec.clone();
        let act = Act::StandUp(spec.release);
        if self.stage.flaw == Flaw::InPlace {
            // The classic: the new plan is put where the live one stands.
            self.stage.in_place(&mut spec);
        }
        let labels = serde_json::to_string(&spec.labels).unwrap();
        self.stage.checker().shown("a label", &labels);
        let inner = self.engine.stand_up(&spec, images, sink);
        self.through(Op::StandUp, Some(act), inner).await
    }

    async fn rest(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError> {
        let inner = self.engine.rest(service, release);
        self.through(Op::Rest, Some(Act::Rest(release)), inner)
            .await
    }

    async fn work(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError> {
        if self.stage.flaw == Flaw::WorksBlindly {
            lock(&self.stage.world).works_blindly = true;
        }
        let inner = self.engine.work(service, release);
        self.through(Op::Work, Some(Act::Work(release)), inner)
            .await
    }

    async fn inspect(&self, service: &ServiceName) -> Result<Vec<Environment>, EngineError> {
        let found = self.through(Op::Inspect, None, self.engine.inspect(service));
        let mut found = found.await?;
        if self.stage.flaw == Flaw::HidesRemnants {
            found.retain(Environment::is_up);
        }
        Ok(found)
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, EngineError> {
        self.through(Op::Container, None, self.engine.container(id))
            .await
    }

    async fn services(&self) -> Result<Vec<ServiceName>, EngineError> {
        self.through(Op::Services, None, self.engine.services())
            .await
    }

    async fn images(&self, service: &ServiceName) -> Result<Vec<Built>, EngineError> {
        self.through(Op::Images, None, self.engine.images(service))
            .await
    }

    async fn drop_image(&self, id: &str) -> Result<(), EngineError> {
        let inner = self.engine.drop_image(id);
        self.through(Op::DropImage, Some(Act::DropImage), inner)
            .await
    }

    async fn tear_down(&self, service: &ServiceName, release: Release) -> Result<(), EngineError> {
        let act = Act::TearDown(release);
        let inner = self.engine.tear_down(service, release);
        self.through(Op::TearDown, Some(act), inner).await
    }

    async fn freeze(
        &self,
        service: &ServiceName,
        release: Release,
        mode: StandbyMode,
    ) -> Result<(), EngineError> {
        let inner = self.engine.freeze(service, release, mode);
        self.through(Op::Freeze, Some(Act::Freeze(release)), inner)
            .await
    }

    async fn wake(
        &self,
        service: &ServiceName,
        release: Release,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        let inner = self.engine.wake(service, release, sink);
        self.through(Op::Wake, Some(Act::Wake(release)), inner)
            .await
    }

    async fn cost(&self, containers: &[Container], now: Millis) -> Result<Cost, EngineError> {
        self.through(Op::Cost, None, self.engine.cost(containers, now))
            .await
    }

    async fn clients(
        &self,
        service: &ServiceName,
        environments: &[Environment],
        watch_ms: Millis,
    ) -> Result<Vec<Result<u64, EngineError>>, EngineError> {
        let looked = self.engine.clients(service, environments, watch_ms);
        self.through(Op::Clients, None, looked).await
    }

    async fn logs(&self, container: &str, tail: u32) -> Result<Vec<String>, EngineError> {
        self.through(Op::Logs, None, self.engine.logs(container, tail))
            .await
    }

    async fn follow(
        &self,
        containers: &[String],
        tail: u32,
        lines: tokio::sync::mpsc::Sender<LogLine>,
    ) -> Result<(), EngineError> {
        self.engine.follow(containers, tail, lines).await
    }

    async fn exec(&self, container: &str, command: &[Text]) -> Result<Executed, EngineError> {
        self.through(Op::Exec, None, self.engine.exec(container, command))
            .await
    }

    async fn marks(&self, service: &ServiceName) -> Result<BTreeMap<Release, Marks>, EngineError> {
        self.through(Op::Marks, None, self.engine.marks(service))
            .await
    }

    async fn mark(
        &self,
        service: &ServiceName,
        release: Release,
        mark: Mark,
    ) -> Result<(), EngineError> {
        let act = Act::Mark(release, mark);
        let inner = self.engine.mark(service, release, mark);
        self.through(Op::MarkEngine, Some(act), inner).await
    }

    async fn claim(&self, service: &ServiceName, token: &Token) -> Result<Token, EngineError> {
        let token = from_elsewhere(token);
        {
            let mut checker = self.stage.checker();
            checker.claimed(self.who, &token.labels["nonce"]);
            checker.shown("a lease", &format!("{token:?}"));
        }
        if self.stage.flaw == Flaw::IgnoresLease && token.labels["kind"] == "lease" {
            return Ok(token);
        }
        self.through(Op::Claim, None, self.engine.claim(service, &token))
            .await
    }

    async fn tokens(&self, service: &ServiceName) -> Result<Vec<Token>, EngineError> {
        if self.stage.flaw == Flaw::IgnoresLease {
            return Ok(Vec::new());
        }
        self.through(Op::Tokens, None, self.engine.tokens(service))
            .await
    }

    async fn drop_token(&self, service: &ServiceName, name: &str) -> Result<(), EngineError> {
        self.through(Op::DropToken, None, self.engine.drop_token(service, name))
            .await
    }

    async fn ended(&self, id: &str) -> Result<End, EngineError> {
        self.engine.ended(id).await
    }

    async fn ran(&self, id: &str) -> Result<Ran, EngineError> {
        self.through(Op::Ended, None, self.engine.ran(id)).await
    }

    async fn hook(
        &self,
        spec: &Spec,
        image: &str,
        hook: &ContainerHook,
        sink: &dyn Sink,
    ) -> Result<Ran, EngineError> {
        let act = Act::Hook(hook.name.clone());
        let inner = self.engine.hook(spec, image, hook, sink);
        self.through(Op::Hook, Some(act), inner).await
    }

    async fn stop_hook(
        &self,
        service: &ServiceName,
        release: Release,
        hook: &ContainerHook,
        grace_ms: Millis,
    ) -> Result<(), EngineError> {
        self.engine
            .stop_hook(service, release, hook, grace_ms)
            .await
    }
}

#[async_trait]
impl Hooks for Door {
    async fn call(&self, call: Call<'_>, stop: Stop, sink: &dyn Sink) -> Told {
        let act = Act::Hook(call.hook.plan.name.clone());
        let deployer = FakeHooks(Arc::clone(&self.stage.world));
        let inner = deployer.call(call, stop, sink);
        self.through(Op::HookCall, Some(act), inner).await
    }
}

#[async_trait]
impl Pointer for Door {
    fn describe(&self) -> String {
        self.pointer.describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.pointer.capabilities()
    }

    async fn ready(&self, sink: &dyn Sink) -> Result<(), PointerError> {
        self.through(Op::Ready, None, self.pointer.ready(sink))
            .await
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        let inner = self.pointer.foresee();
        self.through(Op::Foresee, None, inner).await
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        let read = self.through(Op::Read, None, self.pointer.read()).await?;
        if self.stage.flaw == Flaw::CachesPointer {
            return Ok(self.stage.cached(read));
        }
        Ok(read)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let mut expected = expected;
        if self.stage.flaw == Flaw::CachesPointer {
            expected = self.pointer.read().await?.map(|now| now.generation);
        }
        let routing = serde_json::to_string(desired).unwrap();
        self.stage.checker().shown("the routing", &routing);
        let act = Act::Write(desired.live());
        let inner = self.pointer.write(expected, desired);
        self.through(Op::Write, Some(act), inner).await
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let inner = self.pointer.settled(generation, limit_ms, sink);
        let mut said = self.through(Op::Settled, None, inner).await?;
        self.stage.checker().drained(said);
        if self.stage.flaw == Flaw::GuessesCut {
            said.cut = said.cut.or(Some(0));
        }
        Ok(said)
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        self.through(Op::Ask, None, self.pointer.ask(way, path))
            .await
    }

    fn preview(&self) -> Option<String> {
        self.pointer.preview()
    }

    async fn mark(&self, fence: Fence, release: Release, mark: Mark) -> Result<(), PointerError> {
        let act = Act::Mark(release, mark);
        let inner = self.pointer.mark(fence, release, mark);
        self.through(Op::MarkPointer, Some(act), inner).await
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        let act = Act::Forget(releases.to_vec());
        let inner = self.pointer.forget(fence, releases);
        self.through(Op::Forget, Some(act), inner).await
    }

    async fn remove(&self, fence: Fence) -> Result<(), PointerError> {
        let inner = self.pointer.remove(fence);
        self.through(Op::Remove, Some(Act::Remove), inner).await
    }
}

#[async_trait]
impl Vantage for Door {
    fn place(&self) -> String {
        self.vantage.place()
    }

    async fn check(
        &self,
        address: SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        let inner = self.vantage.check(address, question, timeout_ms);
        let answer = self.through(Op::Check, None, inner).await;
        let mut checker = self.stage.checker();
        match &answer {
            Ok(said) => checker.checked(address, said.is_ok()),
            Err(_) => checker.unchecked(address),
        }
        drop(checker);
        answer
    }
}
