//! What one operator leaves and another one finds: a rollback that was refused or cut short, a
//! pointer that has moved on without this journal, a number given twice, a hand's edit.

use std::sync::Arc;
use std::time::Duration;

use flipside::cmd::promote::promote;
use flipside::core::action::Ask;
use flipside::core::event::Event;
use flipside::core::names::Release;
use flipside::core::routing::Routing;
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::journal::RunLog;
use flipside::lease::ask;

use super::cases::{paused, scenarios, verdict};
use super::doors::{Blow, Moment};
use super::stage::{Done, Flaw, Machine, Stage, Verb};
use super::tape::Slip;
use crate::support::fake_world::{Behaviour, lock};
use crate::support::faults::{Fault, Op};

fn stage(name: &str, pointer_keeps_marks: bool) -> Arc<Stage> {
    let mut all = scenarios(pointer_keeps_marks).into_iter();
    let scenario = all.find(|scenario| scenario.name == name).unwrap();
    scenario.stage(Core::default(), Flaw::None)
}

fn live(stage: &Stage) -> Option<u64> {
    let world = lock(&stage.world);
    let live = world.routings.get(&stage.service).and_then(Routing::live);
    live.map(|release| release.0)
}

fn generation(stage: &Stage) -> u64 {
    lock(&stage.world).routings[&stage.service].generation
}

fn stands(stage: &Stage, release: u64) -> bool {
    let world = lock(&stage.world);
    let environments = world.environments(&stage.service);
    environments.iter().any(|e| e.release == Release(release))
}

/// One commands, and is killed in a call.
async fn killed(stage: &Arc<Stage>, verb: Verb, op: Op, moment: Moment) {
    let ann = stage.actor("ann@build", Machine::Here);
    ann.life.strike(op, 0, moment, Blow::Dies);
    let done = ann.until_struck(verb).await;
    assert!(done.is_none(), "{op:?} was never called: {done:?}");
    stage.checker().look();
}

/// The run of this machine's journal that was begun as the `nth`, from 1.
async fn run(stage: &Arc<Stage>, nth: u64) -> RunLog {
    let reader = stage.actor("eve@desk", Machine::Here).operator;
    let runs = reader.journal().unwrap().runs(&stage.service, 9).await;
    let mut runs = runs.unwrap().into_iter();
    runs.find(|log| log.run == nth).unwrap()
}

/// Of a third release that bakes, and of a rollback whose target turns out unfit.
async fn refused_rollback(stage: &Arc<Stage>) {
    let ann = stage.actor("ann@build", Machine::Here);
    let bob = stage.actor("bob@desk", Machine::Here);
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let unfit = Behaviour::never_healthy("503");
        lock(&stage.world).behave(2, "web", None, unfit);
        bob.perform(Verb::Rollback).await
    };
    let (deployed, back) = tokio::join!(ann.perform(Verb::Deploy), later);
    assert_eq!(deployed.outcome(), Some(Outcome::Interrupted));
    assert_eq!(back.outcome(), Some(Outcome::Stuck));
    assert_eq!(live(stage), Some(3));
}

#[test]
fn a_refused_rollback_leaves_the_deploy_it_interrupted_under_way() {
    for (verb, ends, serves) in [
        (Verb::Resume, Outcome::Done, 3),
        (Verb::Abort, Outcome::Done, 2),
        (Verb::Deploy, Outcome::Done, 4),
    ] {
        paused(async {
            let stage = stage("third deploy", true);
            refused_rollback(&stage).await;
            let done = stage.actor("dan@desk", Machine::Here).perform(verb).await;
            assert_eq!(done.outcome(), Some(ends), "{verb:?}: {done:?}");
            assert_eq!(live(&stage), Some(serves), "{verb:?}");
            let became = match verb {
                Verb::Abort => Outcome::RolledBack,
                _ => Outcome::Done,
            };
            assert_eq!(run(&stage, 3).await.outcome(), Some(became), "{verb:?}");
            assert_eq!(verdict(&stage), Ok(()), "{verb:?}");
        });
    }
}

#[test]
fn a_refused_rollback_keeps_no_one_from_promoting() {
    paused(async {
        let stage = stage("third deploy", true);
        refused_rollback(&stage).await;
        let dan = stage.actor("dan@desk", Machine::Here);
        let ended = promote(&dan.operator).await.unwrap();
        assert_eq!((ended.outcome, live(&stage)), (Outcome::Done, Some(3)));
    });
}

#[test]
fn a_rollback_that_was_cut_short_is_carried_out_by_resume_and_by_nothing_else() {
    for (verb, ends, serves) in [
        (Verb::Resume, Outcome::Done, 1),
        (Verb::Deploy, Outcome::Refused, 3),
        (Verb::Prune, Outcome::Refused, 2),
    ] {
        for record in [0, 1] {
            paused(async {
                let stage = stage("rollback", true);
                let ann = stage.actor("ann@build", Machine::Here);
                let slip = Slip::Dies(Moment::After);
                *ann.tape.slip.lock().unwrap() = Some((record, slip));
                assert!(ann.until_struck(Verb::Rollback).await.is_none());
                let before = generation(&stage);
                let next = stage.actor("dan@desk", Machine::Here);
                next.perform(verb).await;
                assert_eq!(live(&stage), Some(serves), "{verb:?} after {record}");
                let moves = u64::from(serves != 2);
                assert_eq!(generation(&stage) - before, moves, "{verb:?}");
                assert_eq!(run(&stage, 3).await.outcome(), Some(ends), "{verb:?}");
                assert_eq!(verdict(&stage), Ok(()));
            });
        }
    }
}

#[test]
fn a_signal_while_a_deploy_settles_what_was_left_gives_the_deploy_up() {
    // Where the one before was killed, and what its successor is at when the signal comes.
    for (killed_in, moment, at, serves) in [
        (Op::StandUp, Moment::After, Op::TearDown, 2),
        (Op::Settled, Moment::Before, Op::Settled, 3),
    ] {
        paused(async {
            let stage = stage("third deploy", true);
            killed(&stage, Verb::Deploy, killed_in, moment).await;
            let before = generation(&stage);
            let hangs = [Fault::HangBefore];
            lock(&stage.world).faults.plan(at, hangs);
            let dan = stage.actor("dan@desk", Machine::Here);
            let signalled = async {
                let engine = &dan.operator.engine;
                while !dan.life.counts().contains_key(&at) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let asked = ask(Arc::clone(engine), &stage.service, &Ask::Leave, "SIGTERM").await;
                assert!(asked.unwrap().is_some());
            };
            let (done, ()) = tokio::join!(dan.perform(Verb::Deploy), signalled);
            assert_eq!(
                done.outcome(),
                Some(Outcome::Interrupted),
                "{at:?}: {done:?}"
            );
            assert_eq!(live(&stage), Some(serves), "{at:?}: {done:?}");
            // Nothing of its own was begun, and what was asked is on record.
            assert_eq!(generation(&stage), before, "{at:?}: {done:?}");
            assert!(!stands(&stage, 4), "{at:?}: {done:?}");
            let log = run(&stage, 3).await;
            let asked = |event: &Event| {
                matches!(
                    event,
                    Event::Asked {
                        ask: Ask::Leave,
                        ..
                    }
                )
            };
            assert!(
                log.records.iter().any(|record| asked(&record.event)),
                "{log:?}"
            );
            assert_eq!(log.outcome(), None, "{log:?}");

            let next = stage.actor("eve@desk", Machine::Here);
            let done = next.perform(Verb::Deploy).await;
            assert_eq!(done.outcome(), Some(Outcome::Done), "{at:?}: {done:?}");
            assert_eq!(live(&stage), Some(4), "{at:?}: {done:?}");
            assert!(run(&stage, 3).await.outcome().is_some(), "{at:?}");
            assert_eq!(verdict(&stage), Ok(()), "{at:?}");
        });
    }
}

#[test]
fn promote_carries_out_no_rollback() {
    paused(async {
        let stage = stage("rollback", true);
        let ann = stage.actor("ann@build", Machine::Here);
        *ann.tape.slip.lock().unwrap() = Some((0, Slip::Dies(Moment::After)));
        assert!(ann.until_struck(Verb::Rollback).await.is_none());
        let before = generation(&stage);
        let dan = stage.actor("dan@desk", Machine::Here);
        let refused = promote(&dan.operator).await.unwrap_err();
        assert_eq!(refused.kind(), "nothing-under-way");
        assert_eq!(generation(&stage), before);
    });
}

#[test]
fn what_served_until_it_was_taken_down_was_not_rolled_back() {
    paused(async {
        let stage = stage("third deploy", true);
        killed(&stage, Verb::Deploy, Op::Settled, Moment::Before).await;
        let done = stage
            .actor("dan@desk", Machine::Here)
            .perform(Verb::Down)
            .await;
        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
        assert_eq!(run(&stage, 3).await.outcome(), Some(Outcome::Done));
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn a_deploy_finds_a_rollback_of_another_journal_writes_it_down_and_goes_on() {
    for machine in [Machine::Elsewhere, Machine::WithoutStore] {
        for pointer_keeps_marks in [true, false] {
            paused(async {
                let stage = stage("third deploy", pointer_keeps_marks);
                killed(&stage, Verb::Deploy, Op::Settled, Moment::Before).await;
                let bob = stage.actor("bob@desk", machine);
                let back = bob.perform(Verb::Rollback).await;
                assert_eq!(
                    (back.outcome(), live(&stage)),
                    (Some(Outcome::Done), Some(2))
                );
                let next = stage.actor("dan@desk", Machine::Here);
                let done = next.perform(Verb::Deploy).await;
                assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
                assert_eq!(live(&stage), Some(4));
                let log = run(&stage, 3).await;
                let seen = |event: &Event| matches!(event, Event::Seen { what } if what.contains("moved to release 2"));
                assert!(
                    log.records.iter().any(|record| seen(&record.event)),
                    "{log:?}"
                );
                assert_eq!(log.outcome(), Some(Outcome::RolledBack));
                assert_eq!(verdict(&stage), Ok(()));
            });
        }
    }
}

#[test]
fn a_release_of_the_same_number_that_another_journal_has_made_live_is_not_adopted() {
    for pointer_keeps_marks in [true, false] {
        for more in [0, 1] {
            for verb in [Verb::Resume, Verb::Abort, Verb::Deploy] {
                paused(async {
                    let stage = stage("third deploy", pointer_keeps_marks);
                    killed(&stage, Verb::Deploy, Op::StandUp, Moment::Before).await;
                    let bob = stage.actor("bob@desk", Machine::Elsewhere);
                    for _ in 0..=more {
                        let done = bob.perform(Verb::Deploy).await;
                        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
                    }
                    let before = generation(&stage);
                    assert_eq!(live(&stage), Some(3 + more));
                    let next = stage.actor("dan@desk", Machine::Here);
                    let done = next.perform(verb).await;
                    assert_eq!(run(&stage, 3).await.outcome(), Some(Outcome::Refused));
                    assert!(stands(&stage, 3 + more), "{done:?}");
                    assert!(stands(&stage, 3) || verb == Verb::Deploy, "{done:?}");
                    let moved = u64::from(verb == Verb::Deploy);
                    assert_eq!(generation(&stage) - before, moved, "{done:?}");
                    assert_eq!(verdict(&stage), Ok(()), "{verb:?}");
                });
            }
        }
    }
}

#[test]
fn what_a_hand_has_edited_meanwhile_is_left_by_resume() {
    for (op, moment) in [
        (Op::Prepare, Moment::After),
        (Op::StandUp, Moment::After),
        (Op::Settled, Moment::Before),
    ] {
        paused(async {
            let stage = stage("third deploy", true);
            killed(&stage, Verb::Deploy, op, moment).await;
            stage.hand();
            let next = stage.actor("dan@desk", Machine::Here);
            let done = next.perform(Verb::Resume).await;
            assert_eq!(done.outcome(), Some(Outcome::Stuck), "{op:?}: {done:?}");
            assert_eq!(verdict(&stage), Ok(()), "{op:?}");
        });
    }
}

#[test]
fn a_release_is_given_up_whatever_a_hand_has_edited_meanwhile() {
    paused(async {
        let stage = stage("third deploy", true);
        killed(&stage, Verb::Deploy, Op::StandUp, Moment::After).await;
        stage.hand();
        let next = stage.actor("dan@desk", Machine::Here);
        let done = next.perform(Verb::Abort).await;
        assert!(
            matches!(&done, Done::Ended(ended) if ended.outcome == Outcome::Done),
            "{done:?}"
        );
        assert!(!stands(&stage, 3));
        assert_eq!(verdict(&stage), Ok(()));
    });
}
