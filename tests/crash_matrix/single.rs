//! Bad days of their own: a full disk, an operator that stands still, a drain nobody counted.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use flipside::core::action::Ask;
use flipside::core::event::Event;
use flipside::core::names::Release;
use flipside::core::routing::Drained;
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::error::Exit;
use flipside::lease::ask;

use super::cases::{Scenario, paused, scenarios, verdict};
use super::doors::{Blow, Moment};
use super::stage::{Done, Flaw, Machine, Verb};
use super::tape::Slip;
use crate::support::fake_world::lock;
use crate::support::faults::{Fault, Op};

fn scenario(name: &str) -> Scenario {
    let mut all = scenarios(true).into_iter();
    all.find(|scenario| scenario.name == name).unwrap()
}

#[test]
fn a_deploy_stops_where_its_journal_cannot_be_written() {
    for (at, exit) in [
        (0, Exit::OutOfReach),
        (1, Exit::Interrupted),
        (7, Exit::Interrupted),
    ] {
        paused(async {
            let stage = scenario("third deploy").stage(Core::default(), Flaw::None);
            let ann = stage.actor("ann@build", Machine::Here);
            *ann.tape.slip.lock().unwrap() = Some((at, Slip::Full));
            let done = ann.perform(Verb::Deploy).await;
            let Done::Refused(error) = done else {
                panic!("{done:?}");
            };
            assert_eq!(error.exit(), exit, "{error}");
            assert_eq!(verdict(&stage), Ok(()));
        });
    }
}

#[test]
fn a_rollback_goes_on_without_its_journal_and_prints_its_records() {
    for at in 0..6 {
        paused(async {
            let stage = scenario("rollback").stage(Core::default(), Flaw::None);
            let ann = stage.actor("ann@build", Machine::Here);
            *ann.tape.slip.lock().unwrap() = Some((at, Slip::Full));
            let done = ann.perform(Verb::Rollback).await;
            assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
            let said = ann.report.said.lock().unwrap().join("\n");
            assert!(said.contains("\"record\""), "{said}");
            assert_eq!(verdict(&stage), Ok(()));
        });
    }
}

#[test]
fn what_was_drained_and_not_counted_is_unknown_and_never_a_guessed_0() {
    paused(async {
        let stage = scenario("third deploy").stage(Core::default(), Flaw::None);
        lock(&stage.world).drained.insert(3, Drained::default());
        let ann = stage.actor("ann@build", Machine::Here);
        let Done::Ended(ended) = ann.perform(Verb::Deploy).await else {
            panic!("it did not end");
        };
        assert_eq!(ended.state.drained, Drained::default());
        assert_eq!(ann.operator.finished(&ended).requests_cut, None);
    });
}

#[test]
fn a_release_in_whose_place_another_one_answers_after_the_move_is_taken_back() {
    paused(async {
        let stage = scenario("third deploy").stage(Core::default(), Flaw::None);
        let before = lock(&stage.world).routings[&stage.service].routes.clone();
        let (live, candidate) = (Release(2), Release(3));
        lock(&stage.world).displaced.insert(candidate, live);
        let ann = stage.actor("ann@build", Machine::Here);
        let Done::Ended(ended) = ann.perform(Verb::Deploy).await else {
            panic!("it did not end");
        };
        assert_eq!(ended.outcome, Outcome::RolledBack);
        let why = ended.state.failure.unwrap().what;
        assert!(why.contains("release 2 answered"), "{why}");
        let after = lock(&stage.world).routings[&stage.service].routes.clone();
        assert_eq!(after, before);
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn an_operator_that_stood_still_while_another_rolled_back_moves_nothing_when_it_wakes() {
    for op in [Op::Write, Op::Settled, Op::Ask, Op::Check] {
        paused(async {
            let stage = scenario("third deploy").stage(Core::default(), Flaw::None);
            let ann = stage.actor("ann@build", Machine::Here);
            let bob = stage.actor("bob@desk", Machine::Elsewhere);
            ann.life.strike(op, 0, Moment::Before, Blow::Freezes);
            let mut run = pin!(ann.perform(Verb::Deploy));
            tokio::select! {
                biased;
                () = ann.life.struck.notified() => {}
                done = &mut run => panic!("{op:?} was never called: {done:?}"),
            }
            let back = bob.perform(Verb::Rollback).await;
            assert_eq!(back.outcome(), Some(Outcome::Done), "{op:?}: {back:?}");
            let after = lock(&stage.world).routings.clone();
            stage.checker().late("ann@build");
            ann.life.thaw();
            run.await;
            assert_eq!(verdict(&stage), Ok(()), "{op:?}");
            let woken = lock(&stage.world).routings[&stage.service].routes.clone();
            assert_eq!(woken, after[&stage.service].routes, "{op:?}");
        });
    }
}

/// What changes nothing but the lease may come before a rollback's move.
fn changes(op: Op) -> bool {
    match op {
        Op::Prepare
        | Op::StandUp
        | Op::TearDown
        | Op::Freeze
        | Op::Wake
        | Op::MarkEngine
        | Op::DropToken
        | Op::DropImage
        | Op::Ready
        | Op::MarkPointer
        | Op::Forget
        | Op::Rest
        | Op::Work
        | Op::Hook
        | Op::HookCall
        | Op::ApplyShared
        | Op::SettleShared
        | Op::JoinShared
        | Op::TearDownShared
        | Op::Remove => true,
        Op::Inspect
        | Op::Container
        | Op::Services
        | Op::Logs
        | Op::Follow
        | Op::Exec
        | Op::Marks
        | Op::Claim
        | Op::Tokens
        | Op::Ended
        | Op::Foresee
        | Op::Read
        | Op::Write
        | Op::Settled
        | Op::Ask
        | Op::Check
        | Op::Cost
        | Op::Clients
        | Op::Shared
        | Op::Images => false,
    }
}

#[test]
fn a_rollback_writes_only_lease_and_intent_and_what_it_leaves_before_the_move() {
    for keeps_marks in [true, false] {
        let mut all = scenarios(keeps_marks).into_iter();
        let rollback = all.find(|scenario| scenario.name == "rollback").unwrap();
        paused(async {
            let stage = rollback.stage(Core::default(), Flaw::None);
            let ann = stage.actor("ann@build", Machine::Here);
            let done = ann.perform(Verb::Rollback).await;
            assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
            let world = lock(&stage.world);
            let mut before = world.faults.calls.split(|op| *op == Op::Write);
            let before = before.next().unwrap();
            let claims = before.iter().filter(|op| **op == Op::Claim).count();
            assert_eq!(claims, 1, "{before:?}");
            let changed = before.iter().filter(|op| changes(**op));
            let changed: Vec<_> = changed.collect();
            // What it leaves is known as left before a kill could hide it.
            let marks: &[_] = if keeps_marks { &[] } else { &[&Op::MarkEngine] };
            assert_eq!(changed, marks, "{before:?}");
            let written = ann.tape.written.lock().unwrap();
            let first = written.iter().map(|record| &record.event).take(3);
            let expected = matches!(
                first.collect::<Vec<_>>().as_slice(),
                [
                    Event::Opened(_),
                    Event::Intended { .. },
                    Event::Switched { .. }
                ]
            );
            assert!(expected, "{written:?}");
        });
    }
}

#[test]
fn an_engine_out_of_reach_during_a_bake_is_said_and_no_other_operator() {
    paused(async {
        let stage = scenario("third deploy").stage(Core::default(), Flaw::None);
        let ann = stage.actor("ann@build", Machine::Here);
        let unplugged = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut world = lock(&stage.world);
            for op in [Op::Claim, Op::Tokens, Op::DropToken] {
                world.faults.always(op, Fault::OutOfReach);
            }
        };
        let (done, ()) = tokio::join!(ann.perform(Verb::Deploy), unplugged);
        let Done::Refused(error) = done else {
            panic!("{done:?}");
        };
        assert_eq!(
            (error.kind(), error.exit()),
            ("engine-out-of-reach", Exit::Interrupted)
        );
        lock(&stage.world).faults.heal();
        let next = stage.actor("dan@desk", Machine::Here);
        let resumed = next.perform(Verb::Resume).await;
        assert_eq!(resumed.outcome(), Some(Outcome::Done), "{resumed:?}");
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn a_signal_bounds_a_removal_that_was_begun_for_another_reason() {
    paused(async {
        let stage = scenario("deploy that fails its probes").stage(Core::default(), Flaw::None);
        lock(&stage.world)
            .faults
            .plan(Op::TearDown, [Fault::HangBefore]);
        let ann = stage.actor("ann@build", Machine::Here);
        let signalled = async {
            let engine = &ann.operator.engine;
            while !ann.life.counts().contains_key(&Op::TearDown) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let asked = ask(Arc::clone(engine), &stage.service, &Ask::Leave, "SIGTERM").await;
            assert!(asked.unwrap().is_some());
        };
        let (done, ()) = tokio::join!(ann.perform(Verb::Deploy), signalled);
        assert_eq!(done.outcome(), Some(Outcome::Interrupted), "{done:?}");
        let next = stage.actor("dan@desk", Machine::Here);
        let resumed = next.perform(Verb::Resume).await;
        assert_eq!(resumed.outcome(), Some(Outcome::Refused), "{resumed:?}");
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn who_has_asked_waits_only_for_as_long_as_the_one_asked_holds() {
    paused(async {
        let stage = scenario("third deploy").stage(Core::default(), Flaw::None);
        let ann = stage.actor("ann@build", Machine::Here);
        let dan = stage.actor("dan@desk", Machine::Here);
        let swept = async {
            let is_asked = || {
                let world = lock(&stage.world);
                world.tokens.keys().any(|name| name.contains(".ask."))
            };
            while !is_asked() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // The holder is gone, and whoever came next has swept away what was for it.
            ann.life.kill();
            lock(&stage.world).tokens.clear();
        };
        let aborted = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            dan.perform(Verb::Abort).await
        };
        let deployed = ann.until_struck(Verb::Deploy);
        let ended = async { tokio::join!(deployed, aborted, swept) };
        let limit = Duration::from_mins(10);
        let (_, done, ()) = tokio::time::timeout(limit, ended).await.unwrap();
        let Done::Refused(error) = done else {
            panic!("{done:?}");
        };
        assert_eq!(
            (error.kind(), error.exit()),
            ("interrupted", Exit::Interrupted)
        );
        let again = dan.perform(Verb::Abort).await;
        assert_eq!(again.outcome(), Some(Outcome::Done), "{again:?}");
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn a_rollback_that_is_given_up_before_its_move_is_what_abort_was_to_do() {
    paused(async {
        let stage = scenario("rollback").stage(Core::default(), Flaw::None);
        let ann = stage.actor("ann@build", Machine::Here);
        *ann.tape.slip.lock().unwrap() = Some((0, Slip::Dies(Moment::After)));
        assert!(ann.until_struck(Verb::Rollback).await.is_none());
        let done = stage
            .actor("dan@desk", Machine::Here)
            .perform(Verb::Abort)
            .await;
        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
    });
}

#[test]
fn a_way_back_waits_for_no_connection_that_would_linger() {
    for (lingers, limit) in [(false, 2_000), (true, 0)] {
        paused(async {
            let stage = scenario("rollback").stage(Core::default(), Flaw::None);
            lock(&stage.world).pointer_lingers = lingers;
            let ann = stage.actor("ann@build", Machine::Here);
            for (verb, limit) in [(Verb::Rollback, limit), (Verb::Deploy, 2_000)] {
                lock(&stage.world).drain_limits.clear();
                let done = ann.perform(verb).await;
                assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
                let limits = lock(&stage.world).drain_limits.clone();
                assert_eq!(limits, [Duration::from_millis(limit)], "{verb:?}");
            }
        });
    }
}
