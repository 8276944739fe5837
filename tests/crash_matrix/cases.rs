//! Scenarios, what befalls them, and how they must end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flipside::core::event::Verb as Opens;
use flipside::core::names::Release;
use flipside::core::plan::{Plan, Policy, StandbyMode};
use flipside::core::routing::{FOREIGN, Routing};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::error::{Error, Exit};

use super::checker::stands;
use super::doors::{Blow, Moment};
use super::stage::{Done, Flaw, Machine, Stage, Verb};
use super::tape::Slip;
use crate::support::fake_world::{Behaviour, FakeWorld, lock};
use crate::support::faults::{Fault, Op};

/// What is played.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// What has been done before, without trouble.
    pub before: &'static [Verb],
    pub verb: Verb,
    pub bake_ms: u64,
    /// What is wrong with the world.
    pub wrong: fn(&mut FakeWorld),
    /// How it ends by itself.
    pub ends: &'static [Outcome],
    pub pointer_keeps_marks: bool,
    /// How many containers of a live-only role each release has.
    pub workers: u32,
    /// What is different in its plan.
    pub plan: fn(&mut Plan),
    /// How its standbys wait.
    pub mode: StandbyMode,
}

/// What befalls the first operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    None,
    /// At a record, counted from 0.
    Record(usize, Slip),
    /// At a call of a kind, counted from 0.
    Call(Op, usize, Moment),
    /// A call meets a fault.
    Fault(Op, usize, Fault),
    /// The operator is killed in a call that takes effect later.
    Late(Op, usize),
}

/// Who goes on, and how.
pub type Next = (Machine, Verb);

/// Every way to go on.
pub const WAYS: [Next; 9] = [
    (Machine::Here, Verb::Resume),
    (Machine::Here, Verb::Deploy),
    (Machine::Here, Verb::Rollback),
    (Machine::Here, Verb::Abort),
    (Machine::Here, Verb::Prune),
    (Machine::Elsewhere, Verb::Deploy),
    (Machine::Elsewhere, Verb::Rollback),
    (Machine::WithoutStore, Verb::Rollback),
    (Machine::Unreadable, Verb::Rollback),
];

/// A promise that was not kept, with the case.
pub type Verdict = Result<(), String>;

type Seeds = BTreeMap<(&'static str, bool), (Arc<Stage>, Duration)>;

static SEEDS: Mutex<Seeds> = Mutex::new(BTreeMap::new());

pub const DONE: &[Outcome] = &[Outcome::Done];
const REFUSED: &[Outcome] = &[Outcome::Refused];

fn nothing(_: &mut FakeWorld) {}

fn unfit_second(world: &mut FakeWorld) {
    world.behave(2, "web", Some(2), Behaviour::never_healthy("503"));
}

fn spoils_in_bake(world: &mut FakeWorld) {
    let answers = [
        Ok(()),
        Ok(()),
        Err("503"),
        Err("503"),
        Err("503"),
        Err("503"),
    ];
    world.behave(2, "web", Some(2), Behaviour::answering(answers));
}

fn no_image(world: &mut FakeWorld) {
    let why = "no such image: shop:2";
    world.faults.always(Op::Prepare, Fault::Refused(why.into()));
}

fn no_start(world: &mut FakeWorld) {
    let why = "port is already allocated";
    world.faults.always(Op::StandUp, Fault::Refused(why.into()));
}

pub const PLAIN: Scenario = Scenario {
    name: "first deploy",
    before: &[],
    verb: Verb::Deploy,
    bake_ms: 0,
    wrong: nothing,
    ends: DONE,
    pointer_keeps_marks: true,
    workers: 0,
    plan: |_| {},
    mode: StandbyMode::Running,
};

/// All of them, with one keeper of marks.
pub fn scenarios(pointer_keeps_marks: bool) -> Vec<Scenario> {
    let plain = Scenario {
        pointer_keeps_marks,
        ..PLAIN
    };
    let one = &[Verb::Deploy];
    let two = &[Verb::Deploy, Verb::Deploy];
    vec![
        plain,
        Scenario {
            name: "third deploy",
            before: two,
            bake_ms: 4_000,
            ..plain
        },
        Scenario {
            name: "deploy that fails its probes",
            before: one,
            wrong: unfit_second,
            ends: REFUSED,
            ..plain
        },
        Scenario {
            name: "deploy that fails in its bake",
            before: one,
            bake_ms: 10_000,
            wrong: spoils_in_bake,
            ends: &[Outcome::RolledBack],
            ..plain
        },
        Scenario {
            name: "deploy without an image",
            before: one,
            wrong: no_image,
            ends: REFUSED,
            ..plain
        },
        Scenario {
            name: "deploy that does not start",
            before: one,
            wrong: no_start,
            ends: REFUSED,
            ..plain
        },
        Scenario {
            name: "rollback",
            before: two,
            verb: Verb::Rollback,
            ..plain
        },
        Scenario {
            name: "rollback to a withdrawn release",
            before: &[Verb::Deploy, Verb::Deploy, Verb::Rollback],
            verb: Verb::RollbackTo(2),
            ..plain
        },
        Scenario {
            name: "rollback past a standby",
            before: &[Verb::Deploy, Verb::Deploy, Verb::Deploy],
            verb: Verb::RollbackTo(1),
            plan: |plan| plan.policy.keep = 3,
            ..plain
        },
        Scenario {
            name: "prune",
            before: &[
                Verb::Deploy,
                Verb::Deploy,
                Verb::Leftover(7),
                Verb::Leftover(8),
            ],
            verb: Verb::Prune,
            ..plain
        },
        Scenario {
            name: "down",
            before: two,
            verb: Verb::Down,
            ..plain
        },
    ]
}

/// Whether a trouble must befall, as one that was learnt from an undisturbed run must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certain {
    Yes,
    No,
}

/// What happens to the engine while nobody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    Nothing,
    /// Its daemon ends and comes back.
    Restart,
}

/// One case.
pub struct Case {
    /// What happens to the engine before others go on.
    pub meanwhile: Meanwhile,
    pub scenario: Scenario,
    pub trouble: Trouble,
    /// Where the operator sits whom it befalls.
    pub first: Machine,
    pub ways: Vec<Next>,
    /// After how many calls of the second operator what was late lands.
    pub landing: usize,
    /// Whether the trouble is known to come.
    pub certain: Certain,
    pub core: Core,
    pub flaw: Flaw,
}

impl Case {
    pub fn new(scenario: Scenario, trouble: Trouble, next: Next) -> Self {
        Self {
            scenario,
            trouble,
            first: Machine::Here,
            meanwhile: Meanwhile::Nothing,
            ways: vec![next],
            landing: 3,
            certain: Certain::Yes,
            core: Core::default(),
            flaw: Flaw::None,
        }
    }

    /// Plays it on a paused clock of its own.
    pub fn play(&self) -> Verdict {
        let limit = Duration::from_secs(300);
        let played = paused(async {
            let played = tokio::time::timeout(limit, self.played()).await;
            played.unwrap_or_else(|_| Err("promise 5: it does not end".into()))
        });
        played.map_err(|why| {
            format!(
                "{why}\n  in `{}`, with {:?}, then {:?}, landing {}, marks by {}",
                self.scenario.name,
                self.trouble,
                self.ways,
                self.landing,
                match self.scenario.pointer_keeps_marks {
                    true => "the pointer",
                    false => "the engine",
                }
            )
        })
    }

    async fn played(&self) -> Verdict {
        let stage = self.scenario.stage(self.core, self.flaw);
        let first = stage.actor("ann@build", self.first);
        self.befall(&stage, &first);
        let done = first.until_struck(self.scenario.verb).await;
        let done = match done {
            Some(done) => Some(done),
            None => {
                stage.checker().look();
                None
            }
        };
        verdict(&stage)?;
        self.has_struck(&stage, &first, done.as_ref())?;
        if self.trouble == Trouble::None {
            self.scenario.as_expected(done.as_ref())?;
        }
        self.outlives_its_journal(done.as_ref())?;
        drop(first);
        tokio::task::yield_now().await;
        lock(&stage.world).faults.heal();
        (self.scenario.wrong)(&mut lock(&stage.world));
        if self.meanwhile == Meanwhile::Restart {
            lock(&stage.world).restart_daemon();
            stage.checker().look();
        }
        stage.land_after(self.landing);
        for (nth, &(machine, verb)) in self.ways.iter().enumerate() {
            let standby = fit_standby(&stage);
            let open = unfinished(&stage);
            let next = stage.actor("bob@desk", machine);
            let done = next.perform(verb).await;
            verdict(&stage)?;
            let others = self.ways[..nth].iter().any(|(at, _)| *at != Machine::Here);
            if self.overtaken(&done) || (others && left_to_a_person(&done)) {
                continue;
            }
            self.scenario
                .ended(&stage, (machine, verb), open, standby, &done)?;
        }
        stage.land();
        self.comes_to_rest(&stage).await?;
        verdict(&stage)
    }

    /// A dead operator's late move came in between a look and a move: that is left to a person. Or
    /// it came before the look, and a rollback then leaves what that move has made live.
    fn overtaken(&self, done: &Done) -> bool {
        let late = matches!(self.trouble, Trouble::Late(Op::Write | Op::Remove, _));
        let ended = match done {
            Done::Ended(ended) => ended,
            // The late move was the way back itself.
            Done::Refused(Error::NothingToRollBackTo { .. }) => return late,
            _ => return false,
        };
        let stuck = ended.outcome == Outcome::Stuck && !ended.state.has_moved();
        let opened = &ended.state.opened;
        let leaves_the_newest = matches!(opened.verb, Opens::Rollback { from, .. }
            if from == opened.highest && ended.outcome == Outcome::Done);
        late && (stuck || leaves_the_newest)
    }

    /// A case whose trouble never came has shown nothing.
    fn has_struck(
        &self,
        stage: &Stage,
        first: &super::stage::Actor,
        done: Option<&Done>,
    ) -> Verdict {
        let struck = match &self.trouble {
            Trouble::None => true,
            Trouble::Record(_, Slip::Full) => first.tape.has_failed(),
            Trouble::Record(_, Slip::Dies(_)) | Trouble::Call(..) => done.is_none(),
            Trouble::Fault(op, ..) => !lock(&stage.world).faults.is_planned(*op),
            Trouble::Late(op, _) => done.is_none() && !lock(&stage.world).faults.is_planned(*op),
        };
        match struck || self.certain == Certain::No {
            true => Ok(()),
            false => Err(format!("it was never struck and came to {done:?}")),
        }
    }

    /// 10: a full disk stops every act but one.
    fn outlives_its_journal(&self, done: Option<&Done>) -> Verdict {
        let full = matches!(self.trouble, Trouble::Record(_, Slip::Full));
        let back = matches!(self.scenario.verb, Verb::Rollback | Verb::RollbackTo(_));
        let moved = done.and_then(Done::outcome) == Some(Outcome::Done);
        match full && back && !moved {
            true => Err(format!(
                "promise 10: on a full disk the rollback came to {done:?}"
            )),
            false => Ok(()),
        }
    }

    fn befall(&self, stage: &Arc<Stage>, first: &super::stage::Actor) {
        match &self.trouble {
            Trouble::None => {}
            Trouble::Record(at, slip) => *first.tape.slip.lock().unwrap() = Some((*at, *slip)),
            Trouble::Call(op, nth, moment) => first.life.strike(*op, *nth, *moment, Blow::Dies),
            Trouble::Fault(op, nth, fault) => {
                let mut world = lock(&stage.world);
                let always = world.faults.is_always(*op);
                if !always {
                    let works = std::iter::repeat_n(Fault::Ok, *nth);
                    world.faults.plan(*op, works.chain([fault.clone()]));
                }
            }
            Trouble::Late(op, nth) => {
                // Of a write of slots each half is one that the world counts.
                let slotted = lock(&stage.world).slots.is_some() && *op == Op::Write;
                let halves = if slotted { 2 } else { 1 };
                let call = nth / halves;
                first.life.strike(*op, call, Moment::After, Blow::Dies);
                let works = std::iter::repeat_n(Fault::Ok, *nth);
                let mut world = lock(&stage.world);
                world.faults.plan(*op, works.chain([Fault::Late]));
            }
        }
    }
}

/// Runs on a paused clock of its own; what it spawned dies with it.
pub fn paused<T>(play: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play)
}

/// Another machine has moved the pointer on since: a person is told so.
fn left_to_a_person(done: &Done) -> bool {
    match done {
        Done::Ended(ended) => ended.outcome == Outcome::Stuck,
        Done::Exit(exit) => *exit == Exit::Decide,
        Done::Refused(_) => false,
    }
}

/// What the checker has found by now.
pub fn verdict(stage: &Stage) -> Verdict {
    match stage.broken() {
        None => Ok(()),
        Some(broken) => Err(format!("promise {}: {}", broken.promise, broken.how)),
    }
}

/// The standby that a rollback must be able to reach: it stands whole and passes.
fn fit_standby(stage: &Stage) -> Option<Release> {
    let standby = stage.checker().standby()?;
    if standby == FOREIGN {
        return Some(standby);
    }
    let mut world = lock(&stage.world);
    let environments = world.environments(&stage.service);
    let found = environments.iter().find(|e| e.release == standby)?;
    if found.asleep(found.labels.policy.standby_mode).is_some() {
        return stands(found).then_some(standby);
    }
    let fit = found.is_up()
        && found
            .endpoints()
            .into_iter()
            .all(|at| world.check(at).is_ok());
    fit.then_some(standby)
}

pub fn unfinished(stage: &Stage) -> bool {
    stage.checker().unfinished("here")
}

/// What came of a command, in a line.
pub fn brief(done: &Done) -> String {
    match done {
        Done::Ended(ended) => {
            let state = &ended.state;
            let (outcome, moved, failure) = (ended.outcome, state.moved, &state.failure);
            format!("{outcome:?} (moved {moved:?}, failure {failure:?})")
        }
        other => format!("{other:?}"),
    }
}

fn shown(stage: &Stage) -> Option<Release> {
    let world = lock(&stage.world);
    world.routings.get(&stage.service)?.preview
}

fn live(stage: &Stage) -> Option<Release> {
    let world = lock(&stage.world);
    world.routings.get(&stage.service).and_then(Routing::live)
}

impl Scenario {
    /// The stage as it is when the scenario begins: played once, and copied for each case.
    pub fn stage(&self, core: Core, flaw: Flaw) -> Arc<Stage> {
        let key = (self.name, self.pointer_keeps_marks);
        let mut seeds = SEEDS.lock().unwrap();
        let (stage, age) = seeds.entry(key).or_insert_with(|| {
            let scenario = *self;
            // A paused clock belongs to its own runtime, which belongs to its own thread.
            std::thread::spawn(move || paused(scenario.seed()))
                .join()
                .unwrap()
        });
        let stage = stage.copy(*age, core, flaw);
        (self.wrong)(&mut lock(&stage.world));
        stage
    }

    async fn seed(self) -> (Arc<Stage>, Duration) {
        let policy = Policy {
            bake_ms: self.bake_ms,
            drain_ms: 2_000,
            settle_ms: 3_000,
            standby_mode: self.mode,
            ..Policy::default()
        };
        let stage = Stage::new(policy, self.workers, self.plan);
        lock(&stage.world).pointer_keeps_marks = self.pointer_keeps_marks;
        lock(&stage.world).drain_takes = Duration::from_millis(700);
        let began = lock(&stage.world).now();
        for verb in self.before {
            let earlier = stage.actor("ann@build", Machine::Here);
            let done = earlier.perform(*verb).await;
            let good = match &done {
                Done::Ended(ended) => {
                    matches!(ended.outcome, Outcome::Done | Outcome::Previewed)
                }
                Done::Exit(exit) => *exit == Exit::Done,
                Done::Refused(_) => false,
            };
            assert!(good, "{verb:?} before {}: {done:?}", self.name);
            assert_eq!(verdict(&stage), Ok(()), "{verb:?} before {}", self.name);
        }
        let age = lock(&stage.world).now() - began;
        (stage, Duration::from_millis(age))
    }

    /// Without trouble it ends as it should.
    fn as_expected(&self, done: Option<&Done>) -> Verdict {
        let good = match done {
            Some(Done::Ended(ended)) => self.ends.contains(&ended.outcome),
            Some(Done::Exit(exit)) => *exit == Exit::Done,
            Some(Done::Refused(_)) | None => false,
        };
        match good {
            true => Ok(()),
            false => Err(format!("promise 5: it ended in {done:?} by itself")),
        }
    }

    /// Whether a release is live whose workers end: no hand-over helps, and a person is told.
    pub fn spoilt(&self, stage: &Stage) -> bool {
        let ends = self.ends == [Outcome::RolledBack];
        self.workers > 0 && ends && live(stage) == Some(Release(2))
    }

    /// 4 and 5: the next command ends in done or rolled back.
    fn ended(
        &self,
        stage: &Stage,
        (machine, verb): Next,
        open: bool,
        standby: Option<Release>,
        done: &Done,
    ) -> Verdict {
        let back = matches!(verb, Verb::Rollback);
        if let (true, Some(standby)) = (back, standby) {
            let there = live(stage) == Some(standby);
            return match (done.outcome(), there) {
                (Some(Outcome::Done), true) => Ok(()),
                _ => Err(format!(
                    "promise 4: release {standby} stood by and was fit, and {machine:?} the \
                     rollback came to {}",
                    brief(done)
                )),
            };
        }
        let good = match done {
            Done::Ended(ended) => match ended.outcome {
                Outcome::Done | Outcome::RolledBack | Outcome::Refused => true,
                // A first release that is live has nothing to go back to; and one that is gone back
                // to may have workers that end.
                Outcome::Stuck => {
                    let first = ended.state.opened.live.is_none();
                    let spoilt = self.workers > 0 && back && live(stage) == Some(Release(2));
                    ended.state.has_moved() && (first || spoilt)
                }
                // It waits where it is still to be seen.
                Outcome::Previewed => shown(stage).is_some() && verb == Verb::Resume,
                // A person is asked about a hook, where there are any.
                Outcome::Unsure => ended.state.hook_in_doubt().is_some(),
                Outcome::Interrupted => false,
            },
            Done::Exit(Exit::Decide) => {
                (open && !stage.plan.hooks.is_empty()) || self.spoilt(stage)
            }
            Done::Exit(exit) => matches!(exit, Exit::Done | Exit::Refused),
            Done::Refused(Error::NothingUnderWay { .. }) => !open,
            // What is older and has never been proven is gone back to by force only.
            Done::Refused(Error::NothingToRollBackTo { .. } | Error::NoMemory { .. }) => {
                back && standby.is_none()
            }
            // No deploy gives a shared role other settings.
            Done::Refused(Error::SharedDiffers { .. }) => {
                verb == Verb::Deploy && self.verb == Verb::ApplyShared
            }
            Done::Refused(_) => false,
        };
        match good {
            true => Ok(()),
            false => Err(format!(
                "promise 5: {machine:?} {verb:?} came to {}",
                brief(done)
            )),
        }
    }
}
