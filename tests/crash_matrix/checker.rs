//! The promises, as what must be true after every event of a world. Knows nothing of how the
//! program decides: it sees calls, records and the world, and remembers what was true before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use flipside::core::action::{Action, Ask, Move};
use flipside::core::event::{Event, Opened, Verb};
use flipside::core::hook::When;
use flipside::core::names::{Generation, Release, RoleName, ServiceName};
use flipside::core::plan::{Plan, StandbyMode};
use flipside::core::routing::{Drained, Mark, Routing};
use flipside::core::verdict::Outcome;
use flipside::core::world::{Container, ContainerState, Environment, Health};
use tokio::time::Instant;

use crate::support::fake_shared::FakeShared;
use crate::support::fake_world::{FakeWorld, Shared, lock};

/// What no record, label or line may hold: the plan has it from outside its text.
pub const SECRET: &str = "hunter2-from-outside";

/// A call that changes something.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Prepare,
    StandUp(Release),
    TearDown(Release),
    Freeze(Release),
    Wake(Release),
    Mark(Release, Mark),
    Write(Option<Release>),
    Forget(Vec<Release>),
    Rest(Release),
    Work(Release),
    DropImage,
    Remove,
    Apply(RoleName),
    /// Ends what a `shared apply` has left.
    EndApply,
    RemoveShared,
    /// Runs a hook.
    Hook(String),
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number in the design.
    pub promise: u8,
    /// How.
    pub how: String,
}

/// What one journal says of one run.
#[derive(Debug, Default, Clone)]
struct Told {
    opened: Option<Opened>,
    pending: Option<Action>,
    closed: bool,
    /// It has moved the pointer.
    moved: bool,
    /// It waits at its preview, and nobody drives it.
    waits: bool,
    /// It has moved the pointer away from something, and no drain of that is written down.
    undrained: bool,
    /// Its bake is over, or was given up.
    baked: bool,
}

/// What one journal says.
#[derive(Debug, Default, Clone)]
struct Book {
    runs: BTreeMap<u64, Told>,
    /// The run that was written to last.
    current: u64,
    failing: bool,
}

/// Watches one service of one world.
#[derive(Clone)]
pub struct Checker {
    /// What was not kept, in order.
    pub broken: Vec<Broken>,
    world: Shared,
    service: ServiceName,
    seen: Vec<Environment>,
    last: Option<Routing>,
    /// What a hand has written, while it is to be left alone.
    hand: Option<Routing>,
    served: BTreeMap<Release, Generation>,
    withdrawn: BTreeSet<Release>,
    whole: BTreeMap<Release, Environment>,
    guarded: BTreeSet<Release>,
    /// What a move has left, until the pointer has said that nothing is in flight to it.
    undrained: BTreeSet<Release>,
    /// What the pointer has said of its drains.
    drains: Vec<Drained>,
    checks: BTreeMap<SocketAddr, (Instant, bool)>,
    began: Instant,
    journals: BTreeMap<&'static str, Book>,
    holders: BTreeMap<String, &'static str>,
    /// Operators that stood still: what they do before they can know is the pointer's to refuse.
    late: BTreeSet<&'static str>,
    /// Hooks that must have ended well before a switch.
    before: Vec<String>,
    going_down: bool,
    /// Somebody has said that clients need not be waited for; what he does may take effect late.
    waits_for_nobody: bool,
    fence: u64,
    /// A release is live that only a person can say more of: a first one that was given up, or one
    /// that was gone back to and whose workers end.
    stuck: bool,
    /// What a late act has put to sleep.
    slept_late: BTreeSet<Release>,
}

impl Checker {
    pub fn new(world: &Shared, service: &ServiceName, plan: &Plan) -> Self {
        let hooks = plan.hooks.iter().map(|hook| &hook.plan);
        let before = hooks.filter(|hook| hook.when == When::BeforeSwitch);
        Self {
            before: before.map(|hook| hook.name.clone()).collect(),
            broken: Vec::new(),
            world: world.clone(),
            service: service.clone(),
            seen: Vec::new(),
            last: None,
            hand: None,
            served: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            whole: BTreeMap::new(),
            guarded: BTreeSet::new(),
            undrained: BTreeSet::new(),
            drains: Vec::new(),
            checks: BTreeMap::new(),
            began: Instant::now(),
            journals: BTreeMap::new(),
            holders: BTreeMap::new(),
            late: BTreeSet::new(),
            going_down: false,
            waits_for_nobody: false,
            fence: 0,
            stuck: false,
            slept_late: BTreeSet::new(),
        }
    }

    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    pub fn world(&self) -> &Shared {
        &self.world
    }

    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    pub fn breaks(&mut self, promise: u8, how: impl Into<String>) {
        let how = how.into();
        self.broken.push(Broken { promise, how });
    }

    /// The same, watching a copy of the world.
    pub fn copy(&self, world: &Shared) -> Self {
        Self {
            world: world.clone(),
            checks: BTreeMap::new(),
            began: Instant::now(),
            ..self.clone()
        }
    }

    /// A command begins: a rollback's proof must be newer than this.
    pub fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Somebody's hand has written the routing.
    pub fn hand(&mut self) {
        let world = self.world.clone();
        let world = lock(&world);
        self.hand = world.routing(&self.service);
        self.last.clone_from(&self.hand);
        self.guarded.clear();
    }

    /// An operator stood still and wakes.
    pub fn late(&mut self, who: &'static str) {
        self.late.insert(who);
    }

    pub fn claimed(&mut self, who: &'static str, nonce: &str) {
        self.holders.insert(nonce.to_owned(), who);
    }

    /// The pointer has said what became of what was in flight.
    pub fn drained(&mut self, said: Drained) {
        self.undrained.clear();
        self.drains.push(said);
    }

    /// 6: what is told of a drain is what the pointer said of one.
    pub fn told(&mut self, drained: &Drained) {
        let nothing = Drained {
            in_flight: Some(0),
            finished: Some(0),
            cut: Some(0),
        };
        let known = self.drains.contains(drained) || *drained == Drained::default();
        // Where nothing was left, nothing was in flight.
        if !known && (!self.drains.is_empty() || *drained != nothing) {
            let said = &self.drains;
            let how = format!("{drained:?} is told, and the pointer said {said:?}");
            self.breaks(6, how);
        }
    }

    /// 9: no secret goes anywhere but to the engine.
    pub fn shown(&mut self, place: &str, text: &str) {
        if text.contains(SECRET) {
            self.breaks(9, format!("a secret is in {place}: {text}"));
        }
    }

    pub fn checked(&mut self, address: SocketAddr, passed: bool) {
        self.checks.insert(address, (Instant::now(), passed));
    }

    /// The last answer of a check is not known.
    pub fn unchecked(&mut self, address: SocketAddr) {
        self.checks.remove(&address);
    }

    /// The environment that a rollback must be able to reach.
    pub fn standby(&self) -> Option<Release> {
        let live = self.last.as_ref().and_then(Routing::live)?;
        let now = self.served.get(&live).copied();
        let kept = self.served.iter().filter(|(release, generation)| {
            **release != live
                && !self.withdrawn.contains(release)
                && now.is_none_or(|now| **generation < now)
        });
        let best = kept.max_by_key(|(_, generation)| **generation);
        best.map(|(&release, _)| release)
    }

    pub fn withdrawn(&self) -> &BTreeSet<Release> {
        &self.withdrawn
    }

    /// A record of `journal` is durable.
    pub fn recorded(&mut self, journal: &'static str, run: u64, event: &Event) {
        let book = self.journals.entry(journal).or_default();
        book.current = run;
        book.failing = false;
        let newest = book.runs.keys().all(|other| *other <= run);
        let told = book.runs.entry(run).or_default();
        told.waits = matches!(event, Event::Verified { .. }) && !told.moved;
        match event {
            Event::Opened(opened) => {
                told.opened = Some(opened.clone());
                told.pending = None;
                self.going_down = matches!(opened.verb, Verb::Down { .. });
                self.waits_for_nobody |= matches!(opened.verb, Verb::Prune { force: true, .. });
            }
            Event::Closed { outcome } => {
                // One that has been overtaken is closed as it is, in the middle of an act; the next
                // move's drain was its.
                let driven = told.pending.take().is_none();
                let first = told.opened.as_ref().is_some_and(|run| run.live.is_none());
                let stuck = *outcome == Outcome::Stuck && (first || told.undrained);
                // What an older run came to says nothing any more.
                if newest {
                    self.stuck = stuck;
                }
                told.closed = true;
                let applied = told.opened.as_ref();
                let applied = applied.is_some_and(|run| matches!(run.verb, Verb::Apply { .. }));
                let open = driven && told.undrained && !self.undrained.is_empty();
                let halfway = |one: &FakeShared| one.old.is_some();
                if driven && applied && lock(&self.world).shared.iter().any(halfway) {
                    self.breaks(5, format!("run {run} ended with a shared role halfway"));
                }
                if *outcome == Outcome::Done && open {
                    self.breaks(6, format!("run {run} ended without a drain"));
                }
            }
            Event::Switched { .. } => {
                let pending = told.pending.take();
                told.moved = true;
                told.undrained = matches!(pending, Some(Action::Switch { from: Some(_), .. }));
            }
            Event::Drained(drained) => {
                told.pending = None;
                told.undrained = false;
                self.told(drained);
            }
            Event::Observed { world } => {
                let live = world.routing.as_ref().and_then(Routing::live);
                told.moved |= matches!(told.pending.take(), Some(Action::Switch { to, .. })
                    if live == Some(to));
            }
            Event::Intended { action } => told.pending = Some(action.clone()),
            Event::Asked {
                ask: Ask::Promote | Ask::Settle,
                ..
            } => told.baked = true,
            Event::Baked => {
                told.pending = None;
                told.baked = true;
            }
            Event::Asked { .. }
            | Event::Resumed { .. }
            | Event::Seen { .. }
            | Event::Lost { .. } => {}
            _ => told.pending = None,
        }
        self.look();
    }

    /// Whether a run of `journal` has not ended, and no later one has moved the pointer since.
    pub fn unfinished(&self, journal: &'static str) -> bool {
        let runs = self.journals.get(journal).map(|book| book.runs.values());
        let mut newest_first = runs.into_iter().flatten().rev();
        let decisive = newest_first.find(|told| !told.closed || told.moved);
        decisive.is_some_and(|told| !told.closed)
    }

    /// A record could not be written.
    pub fn unrecorded(&mut self, journal: &'static str) {
        self.journals.entry(journal).or_default().failing = true;
    }

    /// Something is about to be done by `who`, whose journal is `journal`.
    pub fn act(&mut self, who: &'static str, journal: &'static str, act: &Act) {
        self.holds(who, act);
        self.waits(act);
        self.spares_clients(act);
        let book = self.journals.entry(journal).or_default();
        let told = book.runs.get(&book.current).cloned().unwrap_or_default();
        let failing = book.failing;
        if let Act::Freeze(release) = act
            && !self.late.contains(who)
        {
            self.may_sleep(*release, &told);
        }
        let rolls_back = told
            .opened
            .as_ref()
            .is_some_and(|opened| matches!(opened.verb, Verb::Rollback { .. }));
        let driven = told.opened.is_some() && !told.closed && !told.waits;
        if failing && (rolls_back || !driven) {
            return;
        }
        let meant = match (&told.pending, act) {
            (Some(Action::Prepare), Act::Prepare) | (Some(Action::StandUp), Act::StandUp(_)) => {
                true
            }
            (Some(Action::Sleep { releases, .. }), Act::Freeze(slept)) => releases.contains(slept),
            (Some(Action::Sleep { .. }), Act::Forget(gone)) => gone.is_empty(),
            (Some(Action::Wake { release }), Act::Wake(woken))
            | (Some(Action::Verify { release }), Act::Wake(woken)) => release == woken,
            (Some(Action::Switch { to, why, .. }), Act::Wake(woken)) => {
                to == woken && *why != Move::Promote
            }
            (Some(Action::TearDown { release }), Act::TearDown(gone)) => release == gone,
            (Some(Action::Retire { releases }), Act::TearDown(gone)) => releases.contains(gone),
            (Some(Action::TearDown { .. } | Action::Retire { .. }), Act::DropImage) => true,
            // Forgetting nothing only asks whether one may still act.
            (
                Some(
                    Action::TearDown { .. }
                    | Action::Retire { .. }
                    | Action::Rest { .. }
                    | Action::Work { .. }
                    | Action::Apply { .. },
                ),
                Act::Forget(gone),
            ) if gone.is_empty() => true,
            (Some(Action::Rest { releases }), Act::Rest(release)) => releases.contains(release),
            (Some(Action::Work { release }), Act::Work(worked)) => release == worked,
            (Some(Action::TearDown { release }), Act::Forget(gone)) => gone == &[*release],
            (Some(Action::Retire { releases }), Act::Forget(gone)) => {
                gone.iter().all(|release| releases.contains(release))
            }
            // Nothing is forgotten: the fence is raised.
            (Some(Action::Switch { .. }), Act::Forget(gone)) => gone.is_empty(),
            (Some(Action::Mark { release, mark }), Act::Mark(marked, which)) => {
                (release, mark) == (marked, which)
            }
            (Some(Action::Switch { from, .. }), Act::Mark(marked, Mark::Served(_))) => {
                *from == Some(*marked)
            }
            (Some(Action::Switch { from, why, .. }), Act::Mark(marked, Mark::Withdrawn)) => {
                *why != Move::Promote && *from == Some(*marked)
            }
            (Some(Action::Switch { to, .. }), Act::Write(live)) => Some(*to) == *live,
            (Some(Action::Preview { .. } | Action::Hide { .. }), Act::Write(live)) => {
                self.last.as_ref().and_then(Routing::live) == *live
            }
            (Some(Action::Hide { .. }), Act::Remove) => true,
            (Some(Action::Disconnect), Act::Remove)
            | (Some(Action::RemoveShared), Act::RemoveShared) => true,
            (Some(Action::Apply { role }), Act::Apply(applied)) => role == applied,
            (Some(Action::Apply { .. }), Act::EndApply) => true,
            (Some(Action::Hook { name, .. }), Act::Hook(hook)) => name == hook,
            _ => false,
        };
        if !meant {
            self.breaks(
                10,
                format!(
                    "{who} does {act:?} without a durable intent (pending: {:?})",
                    told.pending
                ),
            );
        }
    }

    /// 6: what was left stands until nothing is in flight to it.
    fn waits(&mut self, act: &Act) {
        if let Act::TearDown(release) = act
            && self.undrained.contains(release)
            && !self.going_down
        {
            self.breaks(6, format!("{release} is removed before it was drained"));
        }
    }

    /// 3: what clients still come to, because they remember it, is as it was, unless all goes.
    fn spares_clients(&mut self, act: &Act) {
        let (Act::TearDown(release) | Act::Freeze(release)) = act else {
            return;
        };
        let come = {
            let world = lock(&self.world);
            world.pointer_is_cached && world.clients.get(release).is_some_and(|it| *it > 0)
        };
        let spared = !self.going_down && !self.waits_for_nobody;
        if come && spared && self.served.contains_key(release) {
            self.breaks(3, format!("{release} goes, and clients still come to it"));
        }
    }

    /// 3 and 6: only a standby is put to sleep, when nothing is in flight to it and the bake is over.
    fn may_sleep(&mut self, release: Release, told: &Told) {
        if self.last.as_ref().and_then(Routing::live) == Some(release) {
            self.breaks(3, format!("{release} is live and is put to sleep"));
        }
        if self.undrained.contains(&release) {
            let how = format!("{release} is put to sleep before it was drained");
            self.breaks(6, how);
        }
        let bakes = told.opened.as_ref().is_some_and(|opened| {
            matches!(opened.verb, Verb::Deploy { .. }) && opened.policy.bake_ms > 0
        });
        if bakes && !told.baked {
            let how = format!("{release} is put to sleep before the end of the bake");
            self.breaks(6, how);
        }
    }

    /// What a dead operator has begun has taken effect; `before` is what slept until then.
    pub fn landed(&mut self, before: &BTreeSet<Release>) {
        self.slept_late = self.sleepers().difference(before).copied().collect();
    }

    /// What sleeps.
    pub fn sleepers(&self) -> BTreeSet<Release> {
        let environments = lock(&self.world).environments(&self.service);
        let asleep = environments.iter().filter(|environment| {
            let mode = environment.labels.policy.standby_mode;
            environment.asleep(mode).is_some()
        });
        asleep.map(|environment| environment.release).collect()
    }

    /// 3: what is live is awake when a run has ended, unless somebody else's late act has put it to
    /// sleep.
    pub fn ended(&mut self) {
        let routing = lock(&self.world).routing(&self.service);
        let live = routing.as_ref().and_then(Routing::live);
        let asleep = live.filter(|live| self.sleepers().contains(live));
        if let Some(live) = asleep.filter(|live| !self.slept_late.contains(live)) {
            self.breaks(3, format!("{live} is live and asleep at a run's end"));
        }
    }

    /// Only who holds the highest lease acts.
    fn holds(&mut self, who: &'static str, act: &Act) {
        let world = self.world.clone();
        let world = lock(&world);
        let top = world
            .tokens
            .values()
            .filter(|(service, _)| *service == self.service)
            .filter(|(_, token)| token.labels.get("kind").is_some_and(|kind| kind == "lease"))
            .max_by_key(|(_, token)| token.labels["number"].parse::<u64>().unwrap());
        let holder = top.and_then(|(_, token)| self.holders.get(&token.labels["nonce"]));
        if holder == Some(&who) || self.late.contains(who) {
            return;
        }
        let holder = holder.copied();
        self.breaks(
            7,
            format!("{who} does {act:?} while {holder:?} holds the service"),
        );
    }

    /// Looks at the world: to be called after everything that may have changed it.
    pub fn look(&mut self) {
        let world = self.world.clone();
        let world = lock(&world);
        let environments = world.environments(&self.service);
        let routing = world.routing(&self.service);
        self.begun(&world);
        self.one_each(&world);
        if environments == self.seen && routing == self.last {
            return;
        }
        self.overwritten(routing.as_ref());
        self.two_work(&environments);
        self.modified(&environments);
        self.moved(&environments, routing.as_ref());
        self.hooked(&world, routing.as_ref());
        self.last = routing;
        self.removed(&environments);
        self.seen = environments;
    }

    /// 5: a job, a hook in a container and one that may not be repeated are begun at most once.
    fn begun(&mut self, world: &FakeWorld) {
        let hooks = world.hooks.begun.iter();
        let hooks = hooks.filter(|(_, (times, repeatable))| *times > 1 && !repeatable);
        let jobs = world.starts.iter();
        let jobs = jobs.filter(|(name, times)| name.contains("-migrate-") && **times > 1);
        let twice = hooks
            .map(|(name, _)| name)
            .chain(jobs.map(|(name, _)| name));
        for name in twice {
            self.breaks(5, format!("`{name}` was begun more than once"));
        }
    }

    /// 5: never do two containers of a shared role have its data open.
    fn one_each(&mut self, world: &FakeWorld) {
        let mut running: BTreeMap<&RoleName, usize> = BTreeMap::new();
        for one in world
            .shared
            .iter()
            .filter(|one| one.service == self.service)
        {
            *running.entry(&one.container.fixed().role).or_default() += one.running();
        }
        let two = running.iter().filter(|(_, running)| **running > 1);
        let two: Vec<_> = two.map(|(role, _)| role.to_string()).collect();
        for role in two {
            self.breaks(5, format!("two containers of `{role}` run"));
        }
    }

    /// 1: no switch before every hook that comes before it has ended well.
    fn hooked(&mut self, world: &FakeWorld, routing: Option<&Routing>) {
        let Some(now) = routing.filter(|now| now.reason.starts_with("deploy")) else {
            return;
        };
        let Some(to) = now.live() else { return };
        let well = |hook: &&String| !world.hooks.well.contains(&(to, (*hook).clone()));
        if let Some(missed) = self.before.iter().find(well).cloned() {
            self.breaks(
                1,
                format!("the pointer moved to {to} before `{missed}` had ended well"),
            );
        }
    }

    /// 8: what a hand has written stays.
    fn overwritten(&mut self, routing: Option<&Routing>) {
        let Some(hand) = &self.hand else { return };
        let same = routing
            .is_some_and(|now| now.routes == hand.routes && now.generation == hand.generation);
        if same || self.going_down {
            return;
        }
        self.breaks(
            8,
            format!("a hand's routing was overwritten: now {routing:?}"),
        );
        self.hand = None;
    }

    /// 2: what stands is what was stood up.
    fn modified(&mut self, environments: &[Environment]) {
        let stands = |release: &Release| environments.iter().any(|e| e.release == *release);
        self.whole.retain(|release, _| stands(release));
        for now in environments {
            let fixed = fixed(now);
            let Some(before) = self.whole.get(&now.release) else {
                if now.containers.len() == now.expected as usize {
                    self.whole.insert(now.release, fixed);
                }
                continue;
            };
            let grown = fixed
                .containers
                .iter()
                .any(|container| !before.containers.contains(container));
            let same = before.slot == fixed.slot
                && before.labels == fixed.labels
                && before.expected == fixed.expected
                && before.created == fixed.created;
            if grown || !same {
                let release = now.release;
                self.breaks(2, format!("the environment of {release} was modified"));
                self.whole.insert(release, fixed);
            }
        }
    }

    /// 1 and 7: where the pointer may go, and on whose word.
    fn moved(&mut self, environments: &[Environment], routing: Option<&Routing>) {
        let Some(now) = routing else {
            let served = self.last.as_ref().and_then(Routing::live).is_some();
            if served && !self.going_down {
                self.breaks(3, "the pointer forgot the service without `down`");
            }
            self.fence = 0;
            return;
        };
        let before = self.last.clone();
        if before
            .as_ref()
            .is_some_and(|b| b.generation == now.generation && b.routes == now.routes)
        {
            return;
        }
        if now.fence < self.fence {
            let (fence, seen) = (now.fence, self.fence);
            self.breaks(7, format!("fence {fence} moved the pointer after {seen}"));
        }
        self.fence = now.fence.max(self.fence);
        let stood = before.as_ref().and_then(|before| before.foreign.clone());
        if stood.is_some() && now.foreign != stood {
            self.breaks(8, "what served before flipside came was forgotten");
        }
        let from = before.as_ref().and_then(Routing::live);
        self.previewed(environments, now, from);
        let Some(to) = now.live() else { return };
        if now.preview.is_some() || now.reason.starts_with("give up") {
            return;
        }
        let environment = environments.iter().find(|e| e.release == to);
        let going_back = !now.reason.starts_with("deploy");
        let trusted = now.reason.starts_with("revert");
        match environment {
            None if now.remembers(to) => {}
            None => self.breaks(1, format!("the pointer names {to}, which does not stand")),
            Some(_) if trusted => {
                if !self.served.contains_key(&to) {
                    self.breaks(1, format!("reverted to {to}, which never served"));
                }
            }
            Some(environment) => self.fit(environment, going_back),
        }
        if let (Some(from), true) = (from, going_back)
            && from != to
        {
            self.withdrawn.insert(from);
        }
        self.withdrawn.remove(&to);
        self.undrained.extend(from.filter(|&from| from != to));
        self.undrained.remove(&to);
        self.served.insert(to, now.generation);
    }

    /// 1: what is shown for preview has passed its probes, and moves no traffic.
    fn previewed(&mut self, environments: &[Environment], now: &Routing, from: Option<Release>) {
        if now.preview.is_none() && !now.reason.starts_with("give up") {
            return;
        }
        if now.live() != from {
            let live = now.live();
            let how = format!("a preview moved the traffic from {from:?} to {live:?}");
            self.breaks(1, how);
        }
        let Some(shown) = now.preview else { return };
        match environments.iter().find(|e| e.release == shown) {
            Some(environment) => self.fit(environment, false),
            None => self.breaks(
                1,
                format!("the pointer shows {shown}, which does not stand"),
            ),
        }
    }

    fn fit(&mut self, environment: &Environment, going_back: bool) {
        let release = environment.release;
        // Between the proof and the move nothing can be seen.
        if !environment.is_up() && !self.slept_late.contains(&release) {
            let how = format!("the pointer moved to {release}, of which not everything runs");
            self.breaks(1, how);
        }
        for address in environment.endpoints() {
            let fit = match self.checks.get(&address) {
                Some((at, passed)) => *passed && (!going_back || *at >= self.began),
                None => false,
            };
            if !fit {
                self.breaks(
                    1,
                    format!("the pointer moved to {release} and {address} has not passed"),
                );
            }
        }
    }

    /// 3: what the pointer names and its standby stand, whole.
    fn removed(&mut self, environments: &[Environment]) {
        let stands = |release: &Release| {
            let found = environments.iter().find(|e| e.release == *release);
            found.is_some_and(stands)
        };
        if !self.going_down {
            let gone: Vec<_> = self
                .guarded
                .iter()
                .copied()
                .filter(|r| !stands(r))
                .collect();
            for release in gone {
                self.breaks(
                    3,
                    format!("{release} was live, standby or shown and was removed"),
                );
            }
        }
        let live = self.last.as_ref().and_then(Routing::live);
        let shown = self.last.as_ref().and_then(|last| last.preview);
        let guarded = live.into_iter().chain(self.standby()).chain(shown);
        self.guarded = guarded.filter(stands).collect();
    }
}

/// Whether all of an environment is there, and runs or may sleep.
pub fn stands(environment: &Environment) -> bool {
    let whole = environment.containers.len() == environment.expected as usize;
    let may_sleep = environment.labels.policy.standby_mode != StandbyMode::Running;
    environment.is_up() || (whole && may_sleep)
}

/// An environment without what may change by itself.
fn fixed(environment: &Environment) -> Environment {
    let containers = environment.containers.iter().map(|container| Container {
        state: ContainerState::Running,
        health: Health::None,
        ..container.clone()
    });
    Environment {
        containers: containers.collect(),
        ..environment.clone()
    }
}
