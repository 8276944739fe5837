//! Every record and every call of every scenario, each with every trouble.

use std::collections::BTreeMap;

use flipside::drive::Core;

use super::cases::{Case, Scenario, Trouble, WAYS, paused, scenarios, verdict};
use super::doors::Moment;
use super::stage::{Flaw, Machine, Verb};
use super::tape::Slip;
use crate::support::faults::{Fault, Op};

/// What a scenario does when nothing befalls it.
struct Course {
    records: usize,
    calls: BTreeMap<Op, usize>,
}

fn learn(scenario: Scenario) -> Course {
    paused(async {
        let stage = scenario.stage(Core::default(), Flaw::None);
        let actor = stage.actor("ann@build", Machine::Here);
        actor.perform(scenario.verb).await;
        verdict(&stage).unwrap();
        let records = actor.tape.written.lock().unwrap().len();
        Course {
            records,
            calls: actor.life.counts(),
        }
    })
}

/// Plays all cases, and tells of all that fail at once.
fn play(cases: Vec<Case>) {
    let played = cases.len();
    let t0 = std::time::Instant::now();
    let failed: Vec<String> = cases.iter().filter_map(|case| {
        let t = std::time::Instant::now();
        let r = case.play().err();
        if t.elapsed().as_millis() > 60 { eprintln!("SLOW {:?} {} {:?} {:?}", t.elapsed(), case.scenario.name, case.trouble, case.ways); }
        r
    }).collect();
    eprintln!("{played} cases in {:?}", t0.elapsed());
    let some: Vec<_> = failed.iter().take(12).cloned().collect();
    assert!(
        failed.is_empty(),
        "{} of {played} cases failed:\n{}",
        failed.len(),
        some.join("\n")
    );
    assert!(played > 0, "no case was played");
}

fn each(build: impl Fn(Scenario, &Course) -> Vec<Case>) {
    let all = scenarios(true).into_iter().chain(scenarios(false));
    play(all.flat_map(|scenario| build(scenario, &learn(scenario))).collect());
}

#[test]
fn without_trouble_every_scenario_ends_as_it_should() {
    each(|scenario, _| {
        let next = (Machine::Here, Verb::Prune);
        vec![Case::new(scenario, Trouble::None, next)]
    });
}

#[test]
fn a_journal_cut_at_every_record_is_gone_on_with_in_every_way() {
    each(|scenario, course| {
        let mut cases = Vec::new();
        for record in 0..course.records {
            for moment in [Moment::Before, Moment::After] {
                for next in WAYS {
                    let trouble = Trouble::Record(record, Slip::Dies(moment));
                    cases.push(Case::new(scenario, trouble, next));
                }
            }
        }
        cases
    });
}

/// Calls that change nothing: there is no after, and of those made over and over a few will do.
fn only_asks(op: Op) -> bool {
    match op {
        Op::Inspect
        | Op::Container
        | Op::Services
        | Op::Logs
        | Op::Follow
        | Op::Exec
        | Op::Marks
        | Op::Tokens
        | Op::Ended
        | Op::Read
        | Op::Ask
        | Op::Check => true,
        Op::Prepare
        | Op::StandUp
        | Op::TearDown
        | Op::MarkEngine
        | Op::Claim
        | Op::DropToken
        | Op::Ready
        | Op::Write
        | Op::Settled
        | Op::MarkPointer
        | Op::Forget
        | Op::Remove => false,
    }
}

/// Every call of a course.
fn calls(course: &Course) -> impl Iterator<Item = (Op, usize)> + '_ {
    course.calls.iter().flat_map(|(&op, &count)| {
        let some = if only_asks(op) { 6 } else { 12 };
        (0..count.min(some)).map(move |nth| (op, nth))
    })
}

fn kills(scenario: Scenario, course: &Course) -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, nth) in calls(course) {
        let moments: &[_] = match only_asks(op) {
            true => &[Moment::Before],
            false => &[Moment::Before, Moment::After],
        };
        for &moment in moments {
            for next in [WAYS[0], WAYS[1], WAYS[2]] {
                cases.push(Case::new(scenario, Trouble::Call(op, nth, moment), next));
            }
        }
    }
    cases
}

fn faults(scenario: Scenario, course: &Course) -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, nth) in calls(course) {
        let faults: &[_] = match only_asks(op) {
            true => &[Fault::OutOfReach, Fault::LostBefore],
            false => &[
                Fault::OutOfReach,
                Fault::LostBefore,
                Fault::LostAfter,
                Fault::Partial(3),
            ],
        };
        for fault in faults {
            let trouble = Trouble::Fault(op, nth, fault.clone());
            cases.push(Case::new(scenario, trouble, WAYS[0]));
        }
    }
    cases
}

/// An act that a killed operator had begun, and that takes effect when another one is at work.
fn lates(scenario: Scenario, course: &Course) -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, nth) in calls(course).filter(|(op, _)| !only_asks(*op)) {
        for next in WAYS {
            for landing in [1, 6, 12, 20] {
                let mut case = Case::new(scenario, Trouble::Late(op, nth), next);
                case.landing = landing;
                cases.push(case);
            }
        }
    }
    cases
}

#[test]
fn a_kill_inside_every_call_is_gone_on_with() {
    each(kills);
}

#[test]
fn lost_and_partial_answers_of_every_call_are_gone_on_with() {
    each(faults);
}

#[test]
fn late_effects_of_every_act_are_refused_or_put_right() {
    each(lates);
}
