//! Live-only roles: never two at once, whatever happens, and the live release's at the end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use flipside::core::action::{Action, Ask};
use flipside::core::decide::{Next, decide};
use flipside::core::routing::Routing;
use flipside::core::state::State;
use flipside::core::verdict::Outcome;
use flipside::core::world::Environment;
use flipside::drive::Core;
use flipside::lease::ask;
use tokio::time::Instant;

use super::broken::caught;
use super::cases::{Case, DONE, Meanwhile, PLAIN, Scenario, Trouble, WAYS, paused, verdict};
use super::checker::Checker;
use super::doors::{Blow, Moment};
use super::stage::{Done, Flaw, Machine, Verb};
use super::sweep::{cuts, learn, play};
use crate::support::fake_workers::works;
use crate::support::fake_world::{Behaviour, FakeWorld, lock};
use crate::support::faults::{Fault, Op};

fn second_ends(world: &mut FakeWorld) {
    let exits = Behaviour::exits(3, Duration::from_secs(1));
    world.behave(2, "worker", Some(2), exits);
}

/// When it has settled.
fn second_ends_late(world: &mut FakeWorld) {
    let exits = Behaviour::exits(3, Duration::from_secs(6));
    world.behave(2, "worker", Some(2), exits);
}

/// All of them, with one keeper of marks.
pub fn scenarios(pointer_keeps_marks: bool) -> Vec<Scenario> {
    let plain = Scenario {
        name: "first deploy with workers",
        pointer_keeps_marks,
        workers: 2,
        ..PLAIN
    };
    let two = &[Verb::Deploy, Verb::Deploy];
    vec![
        plain,
        Scenario {
            name: "third deploy with workers",
            before: two,
            bake_ms: 4_000,
            ..plain
        },
        Scenario {
            name: "deploy whose worker ends",
            before: &[Verb::Deploy],
            wrong: second_ends,
            ends: &[Outcome::RolledBack],
            ..plain
        },
        Scenario {
            name: "rollback with workers",
            before: two,
            verb: Verb::Rollback,
            ends: DONE,
            ..plain
        },
        Scenario {
            name: "down with workers",
            before: two,
            verb: Verb::Down,
            ..plain
        },
    ]
}

impl Checker {
    /// 2: live-only containers never run in two releases at once.
    pub fn two_work(&mut self, environments: &[Environment]) {
        let working = environments.iter();
        let working = working.filter(|e| e.containers.iter().any(works));
        let working: Vec<_> = working.map(|e| e.release).collect();
        if working.len() > 1 {
            self.breaks(
                2,
                format!("live-only containers of {working:?} run at once"),
            );
        }
    }

    /// 2: when a run has ended, those of the live release run, all of them, and no others; unless
    /// only a person can say what next.
    pub fn works(&mut self) {
        if self.is_stuck() {
            return;
        }
        let (environments, live) = {
            let world = lock(self.world());
            let live = world.routings.get(self.service()).and_then(Routing::live);
            (world.environments(self.service()), live)
        };
        // Where a late act has made the pointer forget the service, nothing says who is to work.
        if live.is_none() {
            return;
        }
        for environment in environments {
            let release = environment.release;
            let all = environment.workers().count();
            let at_work = environment.containers.iter().filter(|c| works(c)).count();
            let expected = if Some(release) == live { all } else { 0 };
            if at_work != expected {
                let how = format!(
                    "{live:?} is live, and {at_work} of {all} live-only containers of {release} run"
                );
                self.breaks(2, how);
            }
        }
    }
}

#[test]
fn a_daemon_that_restarts_where_the_operator_was_killed_starts_none_twice() {
    let cases = scenarios(true).into_iter().flat_map(|scenario| {
        let mut cases = cuts(scenario, &learn(scenario));
        // Here by `resume` or a rollback, elsewhere by a deploy.
        let ways = [WAYS[0], WAYS[2], WAYS[5]];
        cases.retain(|case| ways.contains(&case.ways[0]));
        for case in &mut cases {
            case.meanwhile = Meanwhile::Restart;
        }
        cases
    });
    play(&cases.collect::<Vec<Case>>());
}

/// A fake engine starts nothing again, so this is no scenario to be cut: what has settled and is not
/// watched any more may end, and is the engine's to start again.
#[test]
fn a_worker_that_ends_in_the_bake_ends_the_bake() {
    let scenario = Scenario {
        name: "deploy whose worker ends in its bake",
        before: &[Verb::Deploy],
        bake_ms: 10_000,
        wrong: second_ends_late,
        ends: &[Outcome::RolledBack],
        workers: 2,
        ..PLAIN
    };
    play(&[Case::new(
        scenario,
        Trouble::None,
        (Machine::Here, Verb::Prune),
    )]);
}

fn case(name: &str) -> Case {
    let mut all = scenarios(true).into_iter();
    let scenario = all.find(|scenario| scenario.name == name).unwrap();
    Case::new(scenario, Trouble::None, (Machine::Here, Verb::Prune))
}

/// Starts the workers of the new release before those of the old one rest.
fn works_before_it_rests(state: &State) -> Next {
    match decide(state) {
        Next::Act(Action::Rest { .. }) => Next::Act(Action::Work {
            release: state.release(),
        }),
        next => next,
    }
}

#[test]
fn promise_2_a_core_that_starts_workers_before_others_rest_is_caught() {
    let core = Core {
        decide: works_before_it_rests,
        ..Core::default()
    };
    for name in ["third deploy with workers", "rollback with workers"] {
        caught(2, case(name), core, Flaw::WorksBlindly);
    }
}

fn drain(state: &State) -> Next {
    Next::Act(Action::Drain {
        generation: state.moved.map_or(0, |moved| moved.generation),
    })
}

/// Lets those that served before come to rest, and starts no others.
fn forgets_to_work(state: &State) -> Next {
    match decide(state) {
        Next::Act(Action::Work { .. }) => drain(state),
        next => next,
    }
}

#[test]
fn promise_2_a_core_that_starts_no_workers_is_caught() {
    let core = Core {
        decide: forgets_to_work,
        ..Core::default()
    };
    for name in ["first deploy with workers", "rollback with workers"] {
        caught(2, case(name), core, Flaw::None);
    }
}

/// Leaves the workers of what it has left at work.
fn forgets_to_rest(state: &State) -> Next {
    match decide(state) {
        Next::Act(Action::Rest { .. } | Action::Work { .. }) => drain(state),
        next => next,
    }
}

#[test]
fn promise_2_a_core_that_leaves_old_workers_at_work_is_caught() {
    let core = Core {
        decide: forgets_to_rest,
        ..Core::default()
    };
    caught(2, case("rollback with workers"), core, Flaw::None);
}

/// What comes of a third deploy of which something is asked when it has begun to do `op`, and of who
/// goes on with it.
fn asked_during(op: Op, what: &Ask) -> (Done, Done) {
    paused(async {
        let stage = case("third deploy with workers").scenario;
        let stage = stage.stage(Core::default(), Flaw::None);
        let ann = stage.actor("ann@build", Machine::Here);
        let asked = async {
            while !ann.life.counts().contains_key(&op) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let engine = Arc::clone(&ann.operator.engine);
            let asked = ask(engine, &stage.service, what, "SIGTERM").await;
            assert!(asked.unwrap().is_some());
        };
        let (done, ()) = tokio::join!(ann.perform(Verb::Deploy), asked);
        assert_eq!(verdict(&stage), Ok(()));
        stage.checker().works();
        assert_eq!(verdict(&stage), Ok(()), "{done:?}");
        let next = stage.actor("dan@desk", Machine::Here);
        let resumed = next.perform(Verb::Resume).await;
        assert_eq!(verdict(&stage), Ok(()));
        (done, resumed)
    })
}

#[test]
fn a_signal_while_workers_settle_is_heeded_when_they_have() {
    let (done, resumed) = asked_during(Op::Work, &Ask::Leave);
    assert_eq!(done.outcome(), Some(Outcome::Interrupted), "{done:?}");
    assert_eq!(resumed.outcome(), Some(Outcome::Done), "{resumed:?}");
}

#[test]
fn an_abort_while_workers_settle_turns_all_of_it_round() {
    let (done, _) = asked_during(Op::Work, &Ask::Abort);
    assert_eq!(done.outcome(), Some(Outcome::RolledBack), "{done:?}");
}

#[test]
fn a_rollback_waits_for_no_worker() {
    paused(async {
        let stage = case("third deploy with workers").scenario;
        let stage = stage.stage(Core::default(), Flaw::None);
        lock(&stage.world)
            .faults
            .plan(Op::Rest, [Fault::HangBefore]);
        let ann = stage.actor("ann@build", Machine::Here);
        let bob = stage.actor("bob@desk", Machine::Elsewhere);
        let back = async {
            while !ann.life.counts().contains_key(&Op::Rest) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let asked = Instant::now();
            let done = bob.perform(Verb::Rollback).await;
            (done, asked.elapsed())
        };
        let (left, (done, took)) = tokio::join!(ann.perform(Verb::Deploy), back);
        assert_eq!(left.outcome(), Some(Outcome::Interrupted), "{left:?}");
        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn an_operator_that_stood_still_starts_no_second_worker_when_it_wakes() {
    for (op, moment) in [
        (Op::Forget, Moment::Before),
        (Op::Rest, Moment::After),
        (Op::Work, Moment::Before),
        (Op::Work, Moment::After),
    ] {
        paused(async {
            let stage = case("third deploy with workers").scenario;
            let stage = stage.stage(Core::default(), Flaw::None);
            let ann = stage.actor("ann@build", Machine::Here);
            let bob = stage.actor("bob@desk", Machine::Elsewhere);
            ann.life.strike(op, 0, moment, Blow::Freezes);
            let mut run = pin!(ann.perform(Verb::Deploy));
            tokio::select! {
                biased;
                () = ann.life.struck.notified() => {}
                done = &mut run => panic!("{op:?} was never called: {done:?}"),
            }
            let back = bob.perform(Verb::Rollback).await;
            assert_eq!(back.outcome(), Some(Outcome::Done), "{op:?}: {back:?}");
            stage.checker().late("ann@build");
            ann.life.thaw();
            run.await;
            stage.checker().works();
            assert_eq!(verdict(&stage), Ok(()), "{op:?} {moment:?}");
        });
    }
}
