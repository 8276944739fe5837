//! Standbys that sleep: never before the bake's end or while anything is in flight to them, and what
//! is live is never asleep when a run has ended.

use flipside::core::action::Action;
use flipside::core::event::Event;
use flipside::core::names::Release;
use flipside::core::plan::StandbyMode;
use flipside::core::state::{Course as Way, Illegal, Stage as Reached, State};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;

use super::cases::{Case, PLAIN, Scenario, Trouble, WAYS, paused, verdict};
use super::doors::Moment;
use super::stage::{Done, Flaw, Machine, Verb};
use super::sweep::{Course, cuts, faults, full_disks, kills, lates, learn, play, untroubled};
use crate::support::facts;
use crate::support::fake_world::{FakeWorld, lock};
use crate::support::faults::{Fault, Op};

/// A hand has woken release 1.
fn woken(world: &mut FakeWorld) {
    world.wake(&facts::shop(), Release(1), 2);
}

const SECOND: Scenario = Scenario {
    name: "deploy over one that shall be frozen",
    before: &[Verb::Deploy],
    bake_ms: 4_000,
    mode: StandbyMode::Frozen,
    ..PLAIN
};

/// Deploys that put to sleep, rollbacks that wake, prunes that mend.
fn scenarios(pointer_keeps_marks: bool) -> Vec<Scenario> {
    let second = Scenario {
        pointer_keeps_marks,
        ..SECOND
    };
    let two = &[Verb::Deploy, Verb::Deploy];
    let rollback = Scenario {
        name: "rollback to one that is frozen",
        before: two,
        verb: Verb::Rollback,
        bake_ms: 0,
        ..second
    };
    let prune = Scenario {
        name: "prune of one that should be frozen",
        before: two,
        verb: Verb::Prune,
        wrong: woken,
        bake_ms: 0,
        ..second
    };
    let mode = StandbyMode::Stopped;
    vec![
        second,
        rollback,
        prune,
        Scenario {
            name: "deploy over one that shall be stopped",
            mode,
            ..second
        },
        Scenario {
            name: "rollback to one that is stopped",
            mode,
            ..rollback
        },
        Scenario {
            name: "prune of one that should be stopped",
            mode,
            ..prune
        },
        Scenario {
            name: "third deploy, with what to retire and what to freeze",
            before: two,
            ..second
        },
    ]
}

/// Only the calls that put to sleep and wake: what befalls the others is swept with standbys that
/// run.
fn own_calls(course: &Course) -> Course {
    let own = |op: &Op| matches!(op, Op::Freeze | Op::Wake);
    let calls = course.calls.iter().filter(|(op, _)| own(op));
    Course {
        records: course.records.clone(),
        calls: calls.map(|(op, count)| (*op, *count)).collect(),
    }
}

fn each(keeps_marks: bool, build: impl Fn(Scenario, &Course) -> Vec<Case>) {
    let all = scenarios(keeps_marks).into_iter();
    let cases: Vec<_> = all.flat_map(|s| build(s, &learn(s))).collect();
    play(&cases);
}

#[test]
fn without_trouble_every_scenario_ends_as_it_should() {
    for keeps_marks in [true, false] {
        each(keeps_marks, untroubled);
        each(keeps_marks, |scenario, course| {
            let acts = [Op::Freeze, Op::Wake];
            let acted: usize = acts.iter().filter_map(|op| course.calls.get(op)).sum();
            assert_eq!(acted, 1, "{}: {:?}", scenario.name, course.calls);
            untroubled(scenario, course)
        });
    }
}

/// Cut at every record from the intent of the move on: before it, how a standby waits is all one.
fn cut(keeps_marks: bool, mode: StandbyMode) {
    each(keeps_marks, |scenario, course| {
        let moves = |event: &Event| {
            matches!(
                event,
                Event::Intended {
                    action: Action::Switch { .. }
                }
            )
        };
        let first = course.records.iter().position(moves).unwrap_or(0);
        let late = |case: &Case| matches!(case.trouble, Trouble::Record(at, _) if at >= first);
        let cases = cuts(scenario, course).into_iter();
        cases
            .filter(|case| scenario.mode == mode && late(case))
            .collect()
    });
}

#[test]
fn a_journal_cut_at_every_record_of_frozen_standbys_is_gone_on_with() {
    cut(true, StandbyMode::Frozen);
}

#[test]
fn a_journal_cut_at_every_record_of_stopped_standbys_is_gone_on_with() {
    cut(true, StandbyMode::Stopped);
}

#[test]
fn a_journal_cut_at_every_record_where_the_engine_keeps_marks_is_gone_on_with() {
    cut(false, StandbyMode::Frozen);
}

#[test]
fn kills_and_lost_and_partial_answers_of_sleep_and_wake_are_gone_on_with() {
    for keeps_marks in [true, false] {
        each(keeps_marks, |s, course| kills(s, &own_calls(course)));
        each(keeps_marks, |s, course| faults(s, &own_calls(course)));
    }
}

#[test]
fn late_effects_of_sleep_and_wake_are_put_right() {
    for keeps_marks in [true, false] {
        each(keeps_marks, |s, course| lates(s, &own_calls(course)));
    }
}

#[test]
fn a_disk_that_is_full_from_any_record_on_is_gone_on_with_when_it_is_not() {
    each(true, full_disks);
}

/// A dead operator's freeze takes effect after another's rollback to what it freezes has moved.
#[test]
fn what_falls_asleep_late_is_woken_by_the_rollback_that_has_moved_to_it() {
    for mode in [StandbyMode::Frozen, StandbyMode::Stopped] {
        let mut healed = 0;
        for landing in 1..60 {
            paused(async {
                let scenario = scenarios(true).into_iter().find(|it| it.mode == mode);
                let stage = scenario.unwrap().stage(Core::default(), Flaw::None);
                let ann = stage.actor("ann@build", Machine::Here);
                ann.life
                    .strike(Op::Freeze, 0, Moment::After, super::doors::Blow::Dies);
                lock(&stage.world).faults.plan(Op::Freeze, [Fault::Late]);
                assert_eq!(ann.until_struck(Verb::Deploy).await, None);
                drop(ann);
                tokio::task::yield_now().await;
                stage.land_after(landing);
                let bob = stage.actor("bob@desk", Machine::Elsewhere);
                let done = bob.perform(Verb::Rollback).await;
                assert_eq!(done.outcome(), Some(Outcome::Done), "{landing}: {done:?}");
                let Done::Ended(ended) = &done else {
                    panic!("{done:?}");
                };
                assert_eq!(ended.state.moved.map(|moved| moved.to), Some(Release(1)));
                let woke = lock(&stage.world).faults.count(Op::Wake);
                healed += usize::from(woke > 0 && ended.woke_us.is_none());
                stage.land();
                let dan = stage.actor("dan@desk", Machine::Here);
                dan.perform(Verb::Prune).await;
                assert_eq!(verdict(&stage), Ok(()), "{mode:?}, landing {landing}");
                let environments = lock(&stage.world).environments(&stage.service);
                assert!(environments[0].is_up(), "{mode:?}, landing {landing}");
            });
        }
        assert!(healed > 0, "{mode:?}: it never came after the move");
    }
}

#[test]
fn a_rollback_asks_a_running_standby_nothing_more_than_before() {
    paused(async {
        let running = Scenario {
            name: "rollback to one that runs",
            mode: StandbyMode::Running,
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Rollback,
            ..PLAIN
        };
        let stage = running.stage(Core::default(), Flaw::None);
        lock(&stage.world).faults.calls.clear();
        let ann = stage.actor("ann@build", Machine::Here);
        let done = ann.perform(Verb::Rollback).await;
        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
        let world = lock(&stage.world);
        for op in [Op::Wake, Op::Freeze, Op::Cost] {
            assert_eq!(world.faults.count(op), 0, "{op:?}");
        }
        assert_eq!(
            world.faults.count(Op::Inspect),
            1,
            "{:?}",
            world.faults.calls
        );
    });
}

/// Sound, it passes; broken, it fails and names promise 6.
fn caught(bake_ms: u64, apply: fn(State, &Event) -> Result<State, Illegal>, how: &str) {
    let scenario = Scenario {
        name: ["deploy without a bake", SECOND.name][usize::from(bake_ms > 0)],
        bake_ms,
        ..SECOND
    };
    let mut case = Case::new(scenario, Trouble::None, WAYS[4]);
    assert_eq!(case.play(), Ok(()), "the sound one");
    case.core.apply = apply;
    let why = case.play().expect_err("the broken one was not caught");
    assert!(why.starts_with("promise 6:") && why.contains(how), "{why}");
}

fn skips_drain(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    if state.course == Way::Forward(Reached::Verified) {
        state.course = Way::Forward(Reached::Drained);
    }
    Ok(state)
}

fn skips_bake(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    if state.course == Way::Forward(Reached::Verified) {
        state.course = Way::Forward(Reached::Baked);
    }
    Ok(state)
}

#[test]
fn promise_6_a_core_that_puts_to_sleep_before_the_drain_is_caught() {
    caught(0, skips_drain, "is put to sleep before it was drained");
}

#[test]
fn promise_6_a_core_that_puts_to_sleep_before_the_bakes_end_is_caught() {
    caught(
        4_000,
        skips_bake,
        "is put to sleep before the end of the bake",
    );
}
