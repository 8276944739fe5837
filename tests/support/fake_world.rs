//! A world in memory: what stands on an engine and what a pointer says, as data.
//!
//! Deterministic. Its only clock is tokio's, so that a test with paused time turns it by hand.
//! Fakes of the traits ([`super::fake_engine`], [`super::fake_pointer`]) are doors into it; several
//! may lead into one world, each as another operator's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flipside::core::names::{Fence, Generation, Millis, Release, RoleName, ServiceName};
use flipside::core::plan::{Run, Slots};
use flipside::core::routing::{Drained, Marks, Routing};
use flipside::core::world::{Container, ContainerState, Environment, Health};
use flipside::engine::{Executed, Images, Spec, Token};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::fake_shared::FakeShared;
use super::faults::{Fault, Faults, Op};
use super::hooks::HookBook;

/// How a container behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// What network checks are answered, one each; the last is repeated. Empty: all pass.
    pub answers: Vec<Result<(), String>>,
    /// When after its start it ends, with which exit code, and whether for want of memory.
    pub exits: Option<(Duration, i64, bool)>,
    /// What its HEALTHCHECK says, from which time after the start on.
    pub health: Vec<(Duration, Health)>,
    /// What commands in it answer.
    pub exec: Executed,
    /// What it has logged.
    pub logs: Vec<String>,
}

impl Behaviour {
    /// Passes everything, for ever.
    pub fn healthy() -> Self {
        Self {
            answers: vec![],
            exits: None,
            health: vec![],
            exec: Executed {
                code: 0,
                output: String::new(),
            },
            logs: vec!["listening".into()],
        }
    }

    /// Runs, and never passes a check.
    pub fn never_healthy(reason: &str) -> Self {
        let mut behaviour = Self::answering([Err(reason)]);
        behaviour.exec = Executed {
            code: 1,
            output: reason.into(),
        };
        behaviour
    }

    /// Answers checks in this order, and then as the last one.
    pub fn answering<'a>(answers: impl IntoIterator<Item = Result<(), &'a str>>) -> Self {
        let answers = answers.into_iter();
        Self {
            answers: answers
                .map(|answer| answer.map_err(str::to_owned))
                .collect(),
            ..Self::healthy()
        }
    }

    /// Ends by itself.
    pub fn exits(code: i64, after: Duration) -> Self {
        Self {
            exits: Some((after, code, false)),
            logs: vec!["starting".into(), "cannot go on".into()],
            ..Self::never_healthy("connection refused")
        }
    }

    /// The kernel ends it for want of memory.
    pub fn out_of_memory(after: Duration) -> Self {
        Self {
            exits: Some((after, 137, true)),
            ..Self::exits(137, after)
        }
    }
}

/// A container that stands.
#[derive(Debug, Clone)]
pub struct FakeContainer {
    pub(super) fixed: Container,
    /// When its present life began, or its last one; `None`: it was never started.
    pub(super) started: Option<Instant>,
    behaviour: Behaviour,
    checks: usize,
    pub(super) ended: Option<(i64, bool)>,
    /// Whether the engine starts it again by itself.
    pub(super) restarts: bool,
    pub(super) paused: bool,
}

impl FakeContainer {
    /// One that has just been started.
    pub(super) fn of(fixed: Container, behaviour: Behaviour) -> Self {
        Self {
            fixed,
            started: Some(Instant::now()),
            behaviour,
            checks: 0,
            ended: None,
            restarts: true,
            paused: false,
        }
    }

    /// What never changes of it.
    pub fn fixed(&self) -> &Container {
        &self.fixed
    }

    /// What it has logged.
    pub(super) fn logs(&self) -> Vec<String> {
        self.behaviour.logs.clone()
    }

    /// When it ends by itself.
    pub fn ends_at(&self) -> Option<Instant> {
        let (after, ..) = self.exits()?;
        Some(self.started? + after)
    }

    /// When and how it ends by itself; a job of which nothing is said does what it has to do at once.
    fn exits(&self) -> Option<(Duration, i64, bool)> {
        let at_once = (Duration::ZERO, 0, false);
        let done = (self.fixed.run == Run::Once).then_some(at_once);
        self.behaviour.exits.or(done)
    }

    /// Stops it, by its own signal.
    pub(super) fn stop(&mut self) {
        self.paused = false;
        self.ended.get_or_insert((0, false));
    }

    /// Starts it again.
    pub(super) fn start(&mut self) {
        self.ended = None;
        self.started = Some(Instant::now());
    }

    /// What it does now.
    pub(super) fn now(&self) -> Container {
        let Some(started) = self.started else {
            return Container {
                state: ContainerState::Created,
                ..self.fixed.clone()
            };
        };
        let age = Instant::now() - started;
        let by_itself = self.exits().filter(|&(after, ..)| age >= after);
        let ended = self.ended.or(by_itself.map(|(_, code, oom)| (code, oom)));
        let said = self.behaviour.health.iter().rev();
        let health = said.clone().find(|(after, _)| age >= *after);
        Container {
            state: match ended {
                Some((code, oom)) => ContainerState::Exited { code, oom },
                None if self.paused => ContainerState::Paused,
                None => ContainerState::Running,
            },
            health: health.map_or(Health::None, |&(_, health)| health),
            ..self.fixed.clone()
        }
    }
}

/// Something that takes effect later.
pub(super) type Late = Box<dyn FnOnce(&mut FakeWorld) + Send>;

/// Everything there is.
pub struct FakeWorld {
    /// What goes wrong.
    pub faults: Faults,
    /// Tokens of all services, by name.
    pub tokens: BTreeMap<String, (ServiceName, Token)>,
    /// Marks kept on the engine.
    pub marks: BTreeMap<(ServiceName, Release), Marks>,
    /// What the pointer says.
    pub routings: BTreeMap<ServiceName, Routing>,
    /// The slots' own addresses, where what is attached to a slot is the routing of
    /// [`FakeWorld::slots_of`] the service.
    pub slots: Option<Slots>,
    /// The highest fence the pointer has seen, per service.
    pub fences: BTreeMap<ServiceName, Fence>,
    /// Whether the pointer keeps marks.
    pub pointer_keeps_marks: bool,
    /// What became of what was in flight at a move; nothing was, where it is not said.
    pub drained: BTreeMap<Generation, Drained>,
    /// How long a drain takes.
    pub drain_takes: Duration,
    /// Whether open connections stay with what they met.
    pub pointer_lingers: bool,
    /// How far the wall clock is ahead, in milliseconds.
    pub ahead_ms: Millis,
    /// Whether clients remember where the pointer has sent them.
    pub pointer_is_cached: bool,
    /// How many connections of clients each release has.
    pub clients: BTreeMap<Release, u64>,
    /// The limits of all drains so far.
    pub drain_limits: Vec<Duration>,
    /// Releases in whose place another one answers through the pointer.
    pub displaced: BTreeMap<Release, Release>,
    /// What is known of hooks.
    pub hooks: HookBook,
    /// How often each container was started, by its name and the run it is of.
    pub starts: BTreeMap<String, u32>,
    /// Whether workers are started without a look at other releases'.
    pub works_blindly: bool,
    /// Images that were built, by their ids.
    pub built: BTreeMap<ServiceName, BTreeSet<String>>,
    /// Containers of shared roles.
    pub shared: Vec<FakeShared>,
    /// Volumes that outlive releases, by name.
    pub data: BTreeSet<String>,
    /// The Compose project of a service's latest plan.
    pub(super) projects: BTreeMap<ServiceName, String>,
    /// How many shared containers have been made.
    pub made_shared: u32,
    pub(super) environments: BTreeMap<(ServiceName, Release), (Environment, Vec<FakeContainer>)>,
    behaviours: Vec<(Release, RoleName, Option<u32>, Behaviour)>,
    late: Vec<Late>,
    /// What the engine has begun to start, for calls that were killed: it is looked at only once
    /// that is done.
    pub(super) starting: Vec<Late>,
    changed: Arc<Notify>,
    began: Instant,
}

/// A world that several fakes share.
pub type Shared = Arc<Mutex<FakeWorld>>;

/// The world, locked.
pub fn lock(world: &Shared) -> MutexGuard<'_, FakeWorld> {
    world.lock().unwrap()
}

impl FakeWorld {
    /// An empty world whose pointer keeps marks.
    pub fn new() -> Shared {
        Arc::new(Mutex::new(Self {
            faults: Faults::default(),
            tokens: BTreeMap::new(),
            marks: BTreeMap::new(),
            routings: BTreeMap::new(),
            slots: None,
            fences: BTreeMap::new(),
            pointer_keeps_marks: true,
            drained: BTreeMap::new(),
            drain_takes: Duration::ZERO,
            pointer_lingers: false,
            ahead_ms: 0,
            pointer_is_cached: false,
            clients: BTreeMap::new(),
            drain_limits: Vec::new(),
            displaced: BTreeMap::new(),
            hooks: HookBook::default(),
            starts: BTreeMap::new(),
            works_blindly: false,
            built: BTreeMap::new(),
            shared: Vec::new(),
            data: BTreeSet::new(),
            projects: BTreeMap::new(),
            made_shared: 0,
            environments: BTreeMap::new(),
            behaviours: Vec::new(),
            late: Vec::new(),
            starting: Vec::new(),
            changed: Arc::default(),
            began: Instant::now(),
        }))
    }

    /// The same world once more, `age` after it began; what was planned to go wrong or to be late
    /// is left behind, and containers count as started now.
    pub fn copy(&self, age: Duration) -> Shared {
        let now = Instant::now();
        let mut hooks = self.hooks.clone();
        hooks.settle();
        let mut environments = self.environments.clone();
        for (_, containers) in environments.values_mut() {
            for container in containers {
                container.started = container.started.map(|_| now);
            }
        }
        Arc::new(Mutex::new(Self {
            faults: Faults::default(),
            tokens: self.tokens.clone(),
            marks: self.marks.clone(),
            routings: self.routings.clone(),
            slots: self.slots,
            fences: self.fences.clone(),
            pointer_keeps_marks: self.pointer_keeps_marks,
            drained: self.drained.clone(),
            drain_takes: self.drain_takes,
            pointer_lingers: self.pointer_lingers,
            ahead_ms: self.ahead_ms,
            pointer_is_cached: self.pointer_is_cached,
            clients: self.clients.clone(),
            drain_limits: self.drain_limits.clone(),
            displaced: self.displaced.clone(),
            hooks,
            starts: self.starts.clone(),
            works_blindly: false,
            built: self.built.clone(),
            shared: self.shared.clone(),
            data: self.data.clone(),
            projects: self.projects.clone(),
            made_shared: self.made_shared,
            environments,
            behaviours: self.behaviours.clone(),
            late: Vec::new(),
            starting: Vec::new(),
            changed: Arc::default(),
            began: now.checked_sub(age).unwrap(),
        }))
    }

    /// The service under whose name it is kept what hangs on the slots of another.
    pub fn slots_of(service: &ServiceName) -> ServiceName {
        ServiceName::new(format!("slots-of-{service}")).unwrap()
    }

    /// Where users of a service come out: what its pointer says, and where it names the address of a
    /// slot what is attached there, whosever that is.
    pub fn routing(&self, service: &ServiceName) -> Option<Routing> {
        let mut routing = self.routings.get(service)?.clone();
        let attached = self.routings.get(&Self::slots_of(service));
        for route in &mut routing.routes {
            let named = match route.endpoints.as_slice() {
                [only] => self.slots.and_then(|slots| slots.at(*only)),
                _ => None,
            };
            let Some(slot) = named else { continue };
            let mut there = attached.iter().flat_map(|attached| &attached.routes);
            let there = there.find(|there| there.slot == slot);
            route.endpoints = there.map_or_else(Vec::new, |there| there.endpoints.clone());
        }
        Some(routing)
    }

    /// Milliseconds since the epoch, by tokio's clock and what it is ahead.
    pub fn now(&self) -> Millis {
        let elapsed = (Instant::now() - self.began).as_millis();
        1_700_000_000_000 + self.ahead_ms + u64::try_from(elapsed).unwrap()
    }

    /// How containers of a release's role behave: those that stand, and those still to come. The
    /// last word about one counts. `replica: None`: all of them.
    pub fn behave(&mut self, release: u64, role: &str, replica: Option<u32>, how: Behaviour) {
        let role = RoleName::new(role).unwrap();
        for ((_, number), (_, containers)) in &mut self.environments {
            for container in containers {
                let fixed = &container.fixed;
                let one = replica.is_none_or(|replica| replica == fixed.replica);
                if number.0 == release && fixed.role == role && one {
                    container.behaviour = how.clone();
                    container.checks = 0;
                }
            }
        }
        self.behaviours.push((Release(release), role, replica, how));
        self.changed.notify_waiters();
    }

    /// How a job ended stays as it is, whatever becomes of the clock.
    pub fn settle(&mut self, id: &str) {
        let mut all = self.containers_mut();
        let found = all.find(|c| c.fixed.id == id || c.fixed.name == id);
        let Some(container) = found else { return };
        if let ContainerState::Exited { code, oom } = container.now().state {
            container.ended = Some((code, oom));
        }
    }

    /// Ends a container that runs.
    pub fn kill(&mut self, name: &str, code: i64) {
        for container in self.containers_mut() {
            if container.fixed.name == name {
                container.ended = Some((code, false));
            }
        }
        self.changed.notify_waiters();
    }

    /// Lets everything take effect that was to be late.
    pub fn land_late(&mut self) {
        self.land_starts();
        for late in std::mem::take(&mut self.late) {
            late(self);
        }
        self.changed.notify_waiters();
    }

    pub(super) fn postpone(&mut self, late: Late) {
        self.late.push(late);
    }

    /// Told whenever a container's fate may have changed.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// What stands for a service, ascending.
    pub fn environments(&self, service: &ServiceName) -> Vec<Environment> {
        let of_service = self.environments.iter().filter(|((s, _), _)| s == service);
        of_service
            .map(|(_, (environment, containers))| Environment {
                containers: containers.iter().map(FakeContainer::now).collect(),
                ..environment.clone()
            })
            .collect()
    }

    /// Every service that has anything.
    pub fn services(&self) -> Vec<ServiceName> {
        let standing = self.environments.keys().map(|(service, _)| service);
        let locked = self.tokens.values().map(|(service, _)| service);
        let marked = self.marks.keys().map(|(service, _)| service);
        let shared = self.shared.iter().filter(|one| one.connected);
        let shared = shared.map(|one| &one.service);
        let all = standing.chain(locked).chain(marked).chain(shared).cloned();
        all.collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    pub(super) fn containers_of(
        &mut self,
        service: &ServiceName,
        release: Release,
    ) -> impl Iterator<Item = &mut FakeContainer> {
        let key = (service.clone(), release);
        let found = self.environments.get_mut(&key).into_iter();
        found.flat_map(|(_, containers)| containers)
    }

    fn containers_mut(&mut self) -> impl Iterator<Item = &mut FakeContainer> {
        let environments = self.environments.values_mut();
        environments.flat_map(|(_, containers)| containers)
    }

    /// A container by id or name.
    pub fn container(&self, id: &str) -> Option<Container> {
        self.fake_container(id).map(FakeContainer::now)
    }

    pub(super) fn fake_container(&self, id: &str) -> Option<&FakeContainer> {
        let all = self.environments.values().flat_map(|(_, all)| all);
        let shared = self.shared.iter().map(|one| &one.container);
        all.chain(shared)
            .find(|c| c.fixed.id == id || c.fixed.name == id)
    }

    /// What a container has logged.
    pub fn logs(&self, id: &str) -> Option<Vec<String>> {
        self.fake_container(id).map(|c| c.behaviour.logs.clone())
    }

    /// What a command in a container answers.
    pub fn exec(&self, id: &str) -> Option<Executed> {
        let container = self.fake_container(id)?;
        let running = container.now().state == ContainerState::Running;
        running.then(|| container.behaviour.exec.clone())
    }

    /// Answers one network check.
    pub fn check(&mut self, address: SocketAddr) -> Result<(), String> {
        let refused = || Err(format!("connection refused at {address}"));
        let mut all = self.containers_mut();
        let Some(container) = all.find(|c| c.fixed.address == Some(address.ip())) else {
            return refused();
        };
        match container.now().state {
            ContainerState::Running => {}
            ContainerState::Paused => return Err("no answer".into()),
            _ => return refused(),
        }
        let answers = &container.behaviour.answers;
        let turn = container.checks.min(answers.len().saturating_sub(1));
        container.checks += 1;
        answers.get(turn).cloned().unwrap_or(Ok(()))
    }

    /// Makes what is missing of an environment, at most `limit` containers of it.
    pub fn stand_up(&mut self, spec: &Spec, images: &Images, limit: usize) -> Environment {
        let service = &spec.plan.service;
        if let Some(project) = &spec.plan.project {
            self.projects.insert(service.clone(), project.clone());
        }
        let key = (service.clone(), spec.release);
        let roles = spec.plan.roles.iter();
        let roles = roles.filter(|(_, role)| role.run != Run::Never);
        let mut wanted: Vec<(&RoleName, Run, u32)> = roles
            .flat_map(|(name, role)| {
                (1..=role.replicas).map(move |replica| (name, role.run, replica))
            })
            .collect();
        // Jobs first: what waits for them comes when they are done.
        wanted.sort_by_key(|(_, run, _)| *run != Run::Once);
        let created = self.now();
        let ports = self.free_ports(spec);
        let made = self.environments.entry(key).or_insert_with(|| {
            let environment = Environment {
                release: spec.release,
                slot: spec.slot,
                created,
                containers: vec![],
                expected: u32::try_from(wanted.len()).unwrap(),
                parts: vec![format!("0-{service}-{}", spec.release)],
                labels: spec.labels.clone(),
            };
            (environment, vec![])
        });
        let mut ports = ports.into_iter().peekable();
        let mut left = limit;
        for ((role, run, replica), host) in wanted.into_iter().zip(2u8..) {
            let jobs = made.1.iter().filter(|c| c.fixed.run == Run::Once);
            if run != Run::Once && jobs.clone().any(|job| !job.now().is_well()) {
                break;
            }
            let name = format!("{service}-{}-{role}-{replica}", spec.release);
            if left == 0 || made.1.iter().any(|c| c.fixed.name == name) {
                continue;
            }
            left -= 1;
            let behaviour = said(&self.behaviours, spec.release, role, replica);
            let subnet = u8::try_from(spec.release.0 % 256).unwrap();
            // Two stores may give out one number: those are two releases.
            let whose = format!("{name} of {}", spec.opened_with);
            *self.starts.entry(whose).or_default() += 1;
            made.1.push(FakeContainer {
                fixed: Container {
                    id: format!("id-{name}"),
                    name,
                    role: role.clone(),
                    replica,
                    run,
                    image_id: images
                        .get(role)
                        .cloned()
                        .unwrap_or_else(|| format!("sha256:{role}")),
                    address: Some(IpAddr::V4(Ipv4Addr::new(10, 213, subnet, host))),
                    published: ports.next_if(|(of, _)| *of == *role).map(|(_, port)| port),
                    state: ContainerState::Running,
                    health: Health::None,
                },
                started: (run != Run::LiveOnly).then(Instant::now),
                behaviour,
                checks: 0,
                ended: None,
                restarts: run != Run::LiveOnly,
                paused: false,
            });
        }
        self.changed.notify_waiters();
        let mut all = self.environments(service).into_iter();
        all.find(|environment| environment.release == spec.release)
            .expect("it was just made")
    }

    /// How a container is to behave; shared roles are of release 0.
    pub(super) fn behaviour(&self, release: Release, role: &RoleName, replica: u32) -> Behaviour {
        said(&self.behaviours, release, role, replica)
    }

    /// Removes an image that no container uses.
    pub fn drop_image(&mut self, id: &str) {
        let shared = self.shared.iter().map(|one| &one.container);
        let shared = shared.map(|c| c.fixed.image_id.clone());
        let used = shared.collect::<BTreeSet<_>>().contains(id)
            || self.containers_mut().any(|c| c.fixed.image_id == id);
        for built in self.built.values_mut().filter(|_| !used) {
            built.remove(id);
        }
    }

    /// Removes an environment; where `limit` is less than its containers, only so many of them.
    pub fn tear_down(&mut self, service: &ServiceName, release: Release, limit: usize) {
        let key = (service.clone(), release);
        if let Some((_, containers)) = self.environments.get_mut(&key) {
            containers.drain(..limit.min(containers.len()));
        }
        if limit == usize::MAX {
            self.environments.remove(&key);
            self.marks.remove(&key);
            self.hooks.remove(service, release);
        }
        self.changed.notify_waiters();
    }
}

/// The last word about how a container behaves.
fn said(
    all: &[(Release, RoleName, Option<u32>, Behaviour)],
    release: Release,
    role: &RoleName,
    replica: u32,
) -> Behaviour {
    let said = all.iter().rev();
    said.filter(|(of, r, ..)| (*of, r) == (release, role))
        .find(|(.., which, _)| which.is_none_or(|which| which == replica))
        .map_or_else(Behaviour::healthy, |(.., how)| how.clone())
}

/// What came of a call before its effect is known.
pub(super) enum Met<T> {
    Done(T),
    OutOfReach,
    Lost,
    Refused(String),
}

/// One call: notes it, meets its fault, and has its effect now, later or never. The effect gets the
/// number of containers it may touch.
pub(super) async fn call<T: Send + 'static>(
    world: &Shared,
    op: Op,
    effect: impl FnOnce(&mut FakeWorld, usize) -> T + Send + 'static,
) -> Met<T> {
    const ALL: usize = usize::MAX;
    tokio::task::yield_now().await;
    let (met, hangs) = {
        let mut world = lock(world);
        match world.faults.meet(op) {
            Fault::Ok => (Met::Done(effect(&mut world, ALL)), false),
            Fault::OutOfReach => (Met::OutOfReach, false),
            Fault::LostBefore | Fault::Partial(0) => (Met::Lost, false),
            Fault::LostAfter => {
                effect(&mut world, ALL);
                (Met::Lost, false)
            }
            Fault::Partial(limit) => {
                effect(&mut world, limit);
                (Met::Lost, false)
            }
            Fault::Late => {
                let late: Late = Box::new(|world| drop(effect(world, ALL)));
                match op {
                    Op::Work => world.starting.push(late),
                    _ => world.postpone(late),
                }
                (Met::Lost, false)
            }
            Fault::HangBefore => (Met::Lost, true),
            Fault::HangAfter => {
                effect(&mut world, ALL);
                (Met::Lost, true)
            }
            Fault::Refused(why) => (Met::Refused(why), false),
        }
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    met
}
