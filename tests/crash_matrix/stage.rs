//! Where a case is played: one world, two machines with a journal each, and operators that can be
//! killed.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use flipside::cmd::deploy::{self, Drift, deploy};
use flipside::cmd::operator::{Operator, Runs};
use flipside::cmd::rollback::{Wanted, roll_back};
use flipside::cmd::run::Ended;
use flipside::cmd::{abort, down, promote, prune, resume, shared};
use flipside::core::action::Proof;
use flipside::core::hook::HookWord;
use flipside::core::names::{Release, ServiceName};
use flipside::core::plan::{
    HeaderField, HttpProbe, Plan, Policy, Probe, ProbeKind, Reach, Run, Text,
};
use flipside::core::progress::{Progress, Sink};
use flipside::core::routing::Routing;
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::engine::Spec;
use flipside::error::{Error, Exit};
use flipside::journal::{Journal, JournalError, Kind};
use flipside::lease::Terms;
use flipside::pointer::Pointer;
use flipside::pointer::slot::Slotted;
use flipside::report::{Finished, Report, Shown};
use object_store::memory::InMemory;

use super::checker::{Broken, Checker, SECRET};
use super::doors::{Door, Life};
use super::tape::Tape;
use crate::support::facts;
use crate::support::fake_engine::FakeEngine;
use crate::support::fake_pointer::{FakePointer, FakeVantage};
use crate::support::fake_world::{FakeWorld, Shared, lock};

/// A piece of the shell that is deliberately broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Stands a new release up where the live one stands.
    InPlace,
    /// Shows only what is whole.
    HidesRemnants,
    /// Says that every lease is to be had.
    IgnoresLease,
    /// Answers reads of the pointer from memory, and writes whatever it says now.
    CachesPointer,
    /// Says that intents are durable before they are.
    WritesBehind,
    /// Says that nothing was cut where the pointer does not know.
    GuessesCut,
    /// Journals the plan with its values filled in.
    JournalsValues,
    /// Starts workers without a look at those of other releases.
    WorksBlindly,
    /// Reads a plan without noting which values come from outside its text.
    ForgetsSecrets,
}

/// Where an operator sits, and its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    Here,
    Elsewhere,
    /// Its journal cannot be opened.
    WithoutStore,
    /// Its journal can be opened and not read.
    Unreadable,
}

/// What is commanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Deploy,
    /// The same, until its preview.
    Preview,
    Promote,
    Rollback,
    RollbackTo(u64),
    Resume,
    Abort,
    Prune,
    /// The same, with `--force`.
    PruneByForce,
    Down,
    /// The same, with `--shared`.
    DownShared,
    ApplyShared,
    /// No command: part of an environment that somebody left, of a release with this number.
    Leftover(u64),
    /// No command: somebody else's server has been behind the pointer all along.
    Foreign,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    Ended(Box<Ended>),
    Exit(Exit),
    Refused(Error),
}

impl Done {
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Ended(ended) => Some(ended.outcome),
            Self::Exit(_) | Self::Refused(_) => None,
        }
    }
}

/// One world and all who act on it.
pub struct Stage {
    pub world: Shared,
    pub service: ServiceName,
    pub plan: Plan,
    pub core: Core,
    pub flaw: Flaw,
    checker: Mutex<Checker>,
    stores: [Arc<InMemory>; 2],
    cache: Mutex<Option<Routing>>,
    /// After how many more calls everything late lands.
    landing: AtomicUsize,
}

impl Stage {
    /// A stage whose plan has so many live-only containers, and is then changed by `change`.
    pub fn new(policy: Policy, workers: u32, change: fn(&mut Plan)) -> Arc<Self> {
        let world = FakeWorld::new();
        let service = facts::shop();
        let mut plan = facts::plan(&[("web", 3), ("side", 2)], vec![probe()]);
        plan.policy = policy;
        if workers > 0 {
            let mut worker = facts::some_role(workers);
            worker.run = Run::LiveOnly;
            plan.roles.insert(facts::role("worker"), worker);
        }
        change(&mut plan);
        if let Ok(Reach::Slot(slots)) = plan.pointer.reach() {
            lock(&world).slots = Some(slots);
        }
        for role in plan.roles.values_mut() {
            let secret = Text::secret(SECRET);
            role.environment.insert("TOKEN".into(), secret);
        }
        Arc::new(Self {
            checker: Mutex::new(Checker::new(&world, &service, &plan)),
            world,
            service,
            plan,
            core: Core::default(),
            flaw: Flaw::None,
            stores: [Arc::default(), Arc::default()],
            cache: Mutex::default(),
            landing: AtomicUsize::new(0),
        })
    }

    /// The same once more, with another core and another flaw; `age` is how old the world is.
    pub fn copy(&self, age: Duration, core: Core, flaw: Flaw) -> Arc<Self> {
        let world = lock(&self.world).copy(age);
        let fork = |store: &Arc<InMemory>| Arc::new(store.fork());
        Arc::new(Self {
            checker: Mutex::new(self.checker().copy(&world)),
            world,
            service: self.service.clone(),
            plan: self.plan.clone(),
            core,
            flaw,
            stores: [fork(&self.stores[0]), fork(&self.stores[1])],
            cache: Mutex::default(),
            landing: AtomicUsize::new(0),
        })
    }

    pub fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap()
    }

    pub fn broken(&self) -> Option<Broken> {
        self.checker().broken.first().cloned()
    }

    /// What is late lands after so many calls.
    pub fn land_after(&self, calls: usize) {
        self.landing.store(calls, Ordering::SeqCst);
    }

    /// A call has been answered.
    pub fn passed(&self) {
        let left = self.landing.load(Ordering::SeqCst);
        if left > 0 {
            self.landing.store(left - 1, Ordering::SeqCst);
            if left == 1 {
                self.land();
            }
        }
    }

    /// Everything late lands.
    pub fn land(&self) {
        let before = self.checker().sleepers();
        lock(&self.world).land_late();
        self.checker().look();
        self.checker().landed(&before);
    }

    /// Somebody's hand sends the traffic elsewhere, past every guard.
    pub fn hand(&self) {
        if let Some(routing) = lock(&self.world).routings.get_mut(&self.service) {
            for route in &mut routing.routes {
                route.endpoints = vec!["192.0.2.1:80".parse().unwrap()];
            }
            routing.author = "carol@desk".into();
            routing.reason = "by hand".into();
        }
        self.checker().hand();
    }

    /// What the pointer said when it was read first.
    pub fn cached(&self, now: Option<Routing>) -> Option<Routing> {
        let mut cache = self.cache.lock().unwrap();
        let stale = cache.as_ref().is_some_and(|cached| {
            let hand = |routing: &Routing| routing.author.starts_with("carol");
            now.as_ref().is_some_and(hand) && !hand(cached)
        });
        if !stale {
            *cache = now;
        }
        cache.clone()
    }

    /// Turns a spec into one more replica in the live environment.
    pub fn in_place(&self, spec: &mut Spec) {
        let live = lock(&self.world)
            .routings
            .get(&self.service)
            .and_then(Routing::live);
        if let Some(live) = live {
            spec.release = live;
            for role in spec.plan.roles.values_mut() {
                role.replicas += 1;
            }
        }
    }

    /// The plan, as it is read.
    fn as_read(&self) -> Plan {
        let mut plan = self.plan.clone();
        if self.flaw == Flaw::ForgetsSecrets {
            let probes = plan
                .probes
                .iter_mut()
                .filter_map(|probe| match &mut probe.kind {
                    ProbeKind::Http(http) => Some(http),
                    _ => None,
                });
            let headers = probes.flat_map(|http| &mut http.headers);
            for value in headers.filter_map(|header| header.value.as_mut()) {
                *value = Text::public(value.reveal());
            }
        }
        plan
    }

    /// The plan's record: unsubstituted, as it is to be.
    fn record(&self) -> serde_json::Value {
        let roles = self.plan.roles.iter();
        let variables = roles.flat_map(|(_, role)| &role.environment);
        let written = variables.map(|(name, value)| match self.flaw {
            Flaw::JournalsValues => (name, value.reveal().to_owned()),
            _ => (name, format!("${{{name}}}")),
        });
        let written: std::collections::BTreeMap<_, _> = written.collect();
        serde_json::json!({"name": "shop", "environment": written})
    }

    /// The service's pointer, with what forwards from its slots where the plan says that it has some.
    fn pointer(&self) -> Arc<dyn Pointer> {
        let pointer = Arc::new(FakePointer::over(&self.world, &self.service));
        let Ok(Reach::Slot(slots)) = self.plan.pointer.reach() else {
            return pointer;
        };
        let forwarder = FakeWorld::slots_of(&self.service);
        let forwarder = Arc::new(FakePointer::over(&self.world, &forwarder));
        Arc::new(Slotted::new(pointer, forwarder, slots))
    }

    /// Somebody who acts.
    pub fn actor(self: &Arc<Self>, who: &'static str, machine: Machine) -> Actor {
        let life = Life::new();
        let (store, journal) = match machine {
            Machine::Here => (0, "here"),
            Machine::WithoutStore => (0, "nowhere"),
            Machine::Unreadable => (0, "unreadable"),
            Machine::Elsewhere => (1, "elsewhere"),
        };
        let away = matches!(machine, Machine::WithoutStore | Machine::Unreadable);
        if away {
            self.checker().unrecorded(journal);
        }
        let tape = Arc::new(Tape {
            store: Arc::clone(&self.stores[store]),
            stage: Arc::clone(self),
            life: Arc::clone(&life),
            journal,
            written: Mutex::default(),
            slip: Mutex::default(),
            unreadable: machine == Machine::Unreadable,
            failed: AtomicBool::new(false),
        });
        let door = Arc::new(Door {
            who,
            journal,
            stage: Arc::clone(self),
            life: Arc::clone(&life),
            engine: FakeEngine::over(&self.world),
            pointer: self.pointer(),
            vantage: FakeVantage {
                world: Arc::clone(&self.world),
            },
        });
        let report = Arc::new(Notes {
            stage: Arc::clone(self),
            said: Mutex::default(),
        });
        let (world, plan) = (Arc::clone(&self.world), self.plan.clone());
        let operator = Operator {
            outside: None,
            service: self.service.clone(),
            engine: Arc::clone(&door) as Arc<_>,
            pointer: Arc::clone(&door) as Arc<_>,
            hooks: Arc::clone(&door) as Arc<_>,
            vantage: door,
            journal: match machine {
                Machine::WithoutStore => Err(unopened()),
                _ => Ok(Journal::over(tape.clone(), journal, Kind::Directory)),
            },
            report: Arc::clone(&report) as Arc<_>,
            clock: Arc::new(move || lock(&world).now()),
            author: who.into(),
            terms: Terms {
                lifetime: Duration::from_secs(3),
                renew: Duration::from_secs(1),
            },
            lock_wait: Duration::ZERO,
            core: self.core,
            reload: Arc::new(move |_| Box::pin(ready(Ok(plan.clone().into())))),
            began: Instant::now(),
        };
        Actor {
            operator,
            life,
            tape,
            report,
            stage: Arc::clone(self),
        }
    }
}

impl Stage {
    /// Somebody says that the hook in doubt has done what it had to do, and goes on.
    pub async fn say_done(self: &Arc<Self>, asked: &Done) -> Done {
        let Done::Ended(ended) = asked else {
            panic!("{asked:?}");
        };
        let name = ended.state.hook_in_doubt().unwrap().to_owned();
        let release = match ended.state.opened.verb {
            flipside::core::event::Verb::Rollback { from, .. } => from,
            _ => ended.state.release(),
        };
        lock(&self.world).hooks.well.insert((release, name.clone()));
        let dan = self.actor("dan@desk", Machine::Here);
        self.checker().begin();
        let word = (name, HookWord::Done);
        let done = resume::resume(&dan.operator, Some(&word)).await;
        self.checker().look();
        match done {
            Ok(ended) => Done::Ended(Box::new(ended)),
            Err(error) => Done::Refused(error),
        }
    }
}

/// A check with a secret in its header.
fn probe() -> Probe {
    let token = HeaderField {
        name: "Authorization".into(),
        value: Some(Text::secret(SECRET)),
    };
    let http = HttpProbe {
        port: 8080,
        method: "GET".into(),
        path: "/up".into(),
        headers: vec![token],
        status: vec![(200, 299)],
        contains: None,
        matches: None,
        json: None,
        tls: None,
    };
    Probe {
        deadline_ms: 3_000,
        ..facts::probe(ProbeKind::Http(http))
    }
}

fn unopened() -> JournalError {
    JournalError::OutOfReach {
        store: "nowhere".into(),
        why: "permission denied".into(),
        hint: None,
    }
}

/// One who acts, and what can be done to them.
pub struct Actor {
    pub operator: Operator,
    pub life: Arc<Life>,
    pub tape: Arc<Tape>,
    pub report: Arc<Notes>,
    stage: Arc<Stage>,
}

impl Actor {
    /// Does what is commanded, to the end.
    pub async fn perform(&self, verb: Verb) -> Done {
        self.stage.checker().begin();
        let done = self.command(verb).await;
        self.stage.checker().look();
        if settles_workers(verb, &done) {
            self.stage.checker().works();
        }
        self.stage.checker().ended();
        if let Done::Ended(ended) = &done
            && ended.state.has_moved()
        {
            self.stage.checker().told(&ended.state.drained);
        }
        done
    }

    async fn command(&self, verb: Verb) -> Done {
        let operator = &self.operator;
        let (world, plan) = (&self.stage.world, &self.stage.plan);
        let ended = match verb {
            Verb::Deploy | Verb::Preview => {
                let (plan, record) = (self.stage.as_read(), self.stage.record());
                let terms = deploy::Terms {
                    drift: Drift::Adopt,
                    until_preview: verb == Verb::Preview,
                };
                deploy(operator, plan, record, terms).await
            }
            Verb::Promote => promote::promote(operator).await,
            Verb::Rollback => self.back(None).await,
            Verb::RollbackTo(to) => self.back(Some(Release(to))).await,
            Verb::Resume => resume::resume(operator, None).await,
            Verb::Abort => abort::abort(operator).await,
            Verb::Prune | Verb::PruneByForce => {
                let force = verb == Verb::PruneByForce;
                return match prune::prune(operator, force).await {
                    Ok(exit) => Done::Exit(exit),
                    Err(error) => Done::Refused(error),
                };
            }
            Verb::ApplyShared => {
                let (plan, record) = (self.stage.as_read(), self.stage.record());
                match shared::apply(operator, plan, record).await {
                    Ok(None) => return Done::Exit(Exit::Done),
                    Ok(Some(ended)) => Ok(ended),
                    Err(error) => Err(error),
                }
            }
            Verb::Down => down::down(operator, down::Shared::Stay).await,
            Verb::DownShared => down::down(operator, down::Shared::Also).await,
            Verb::Leftover(release) => {
                let images = Default::default();
                lock(world).stand_up(&facts::spec(release, plan), &images, 3);
                return Done::Exit(Exit::Done);
            }
            Verb::Foreign => {
                let service = self.stage.service.clone();
                lock(world).routings.insert(service, facts::foreign());
                return Done::Exit(Exit::Done);
            }
        };
        match ended {
            Ok(ended) => Done::Ended(Box::new(ended)),
            Err(error) => Done::Refused(error),
        }
    }

    /// As the verb does: it looks, chooses and moves.
    async fn back(&self, to: Option<Release>) -> Result<Ended, Error> {
        let operator = &self.operator;
        let proof = Proof::Round;
        let wanted = Wanted { to, proof };
        let world = operator.look().await?;
        let runs = operator.runs().await;
        let known = runs.unwrap_or_else(|_| Runs::unknown());
        roll_back(operator, wanted, world, &known).await
    }

    /// Does what is commanded, until it is done or struck.
    pub async fn until_struck(&self, verb: Verb) -> Option<Done> {
        tokio::select! {
            biased;
            () = self.life.struck.notified() => None,
            done = self.perform(verb) => Some(done),
        }
    }
}

/// Whether those workers are to run, when a command has come to this, that the pointer says.
fn settles_workers(verb: Verb, done: &Done) -> bool {
    match done {
        Done::Ended(ended) => match ended.outcome {
            Outcome::Done | Outcome::RolledBack => true,
            Outcome::Refused => verb == Verb::Deploy,
            Outcome::Previewed | Outcome::Stuck | Outcome::Unsure | Outcome::Interrupted => false,
        },
        Done::Exit(exit) => *exit == Exit::Done,
        Done::Refused(Error::NothingUnderWay { .. }) => verb == Verb::Resume,
        Done::Refused(_) => false,
    }
}

/// A report that remembers what was said, and lets everything shown be looked at.
pub struct Notes {
    stage: Arc<Stage>,
    pub said: Mutex<Vec<String>>,
}

impl Notes {
    fn note(&self, text: &str) {
        self.stage.checker().shown("the talk", text);
        self.said.lock().unwrap().push(text.to_owned());
    }
}

impl Sink for Notes {
    fn progress(&self, step: Progress) {
        let step = format!("{step:?}");
        self.stage.checker().shown("progress", &step);
    }
}

impl Report for Notes {
    fn event(&self, shown: &Shown<'_>) {
        let event = serde_json::to_string(shown.event).unwrap();
        self.stage.checker().shown("an event that is shown", &event);
    }
    fn recall(&self, _: &Shown<'_>) {}
    fn warn(&self, text: &str) {
        self.note(text);
    }
    fn say(&self, text: &str) {
        self.note(text);
    }
    fn record(&self, line: &str) {
        self.note(line);
    }
    fn ask(&self, _: &str) {}
    fn data(&self, value: &serde_json::Value, human: &str) -> bool {
        self.note(&value.to_string());
        self.note(human);
        true
    }
    fn finished(&self, _: &Finished) {}
    fn error(&self, error: &Error) {
        self.note(&error.to_string());
    }
    fn close(&self) {}
}
