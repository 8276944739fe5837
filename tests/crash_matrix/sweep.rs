//! Every record and every call of every scenario, each with every trouble.

use std::collections::BTreeMap;

use flipside::core::event::Event;
use flipside::drive::Core;

use super::cases::{Case, Scenario, Trouble, WAYS, paused, verdict};
use super::doors::Moment;
use super::stage::{Flaw, Machine, Verb};
use super::tape::Slip;
use crate::support::faults::{Fault, Op};

/// What a scenario does when nothing befalls it.
#[derive(Debug, Clone)]
pub struct Course {
    pub records: Vec<Event>,
    pub calls: BTreeMap<Op, usize>,
}

pub fn learn(scenario: Scenario) -> Course {
    learn_on(Machine::Here, scenario)
}

pub fn learn_on(machine: Machine, scenario: Scenario) -> Course {
    paused(async {
        let stage = scenario.stage(Core::default(), Flaw::None);
        let actor = stage.actor("ann@build", machine);
        actor.perform(scenario.verb).await;
        verdict(&stage).unwrap();
        let records = actor.tape.written.lock().unwrap();
        Course {
            records: records.iter().map(|record| record.event.clone()).collect(),
            calls: actor.life.counts(),
        }
    })
}

/// Plays all cases, and tells of all that fail at once.
pub fn play(cases: &[Case]) {
    let failed: Vec<String> = cases.iter().filter_map(|case| case.play().err()).collect();
    let some: Vec<_> = failed.iter().take(40).cloned().collect();
    assert!(
        failed.is_empty(),
        "{} of {} cases failed:\n{}",
        failed.len(),
        cases.len(),
        some.join("\n")
    );
    assert!(!cases.is_empty(), "no case was played");
}

pub fn untroubled(scenario: Scenario, _: &Course) -> Vec<Case> {
    let next = (Machine::Here, Verb::Prune);
    vec![Case::new(scenario, Trouble::None, next)]
}

/// After every record; and before every outcome, when the act has taken effect. (Before an intent
/// nothing has happened since the record before it.)
pub fn cuts(scenario: Scenario, course: &Course) -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, event) in course.records.iter().enumerate() {
        let intent = matches!(event, Event::Intended { .. } | Event::Closed { .. });
        let all = WAYS.map(|next| (Moment::After, next));
        let some = [WAYS[0], WAYS[1], WAYS[2], WAYS[5]].map(|next| (Moment::Before, next));
        for (moment, next) in all.into_iter().chain(some) {
            if moment == Moment::After || !intent {
                let trouble = Trouble::Record(at, Slip::Dies(moment));
                cases.push(Case::new(scenario, trouble, next));
            }
        }
    }
    cases
}

/// Calls that change nothing: there is no after, and of those made over and over a few will do.
pub(super) fn only_asks(op: Op) -> bool {
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
        | Op::Foresee
        | Op::Read
        | Op::Ask
        | Op::Check
        | Op::Cost
        | Op::Clients
        | Op::Shared
        | Op::Images => true,
        Op::Prepare
        | Op::StandUp
        | Op::TearDown
        | Op::Freeze
        | Op::Wake
        | Op::MarkEngine
        | Op::Claim
        | Op::DropToken
        | Op::Ready
        | Op::Write
        | Op::Settled
        | Op::MarkPointer
        | Op::Forget
        | Op::Remove
        | Op::Hook
        | Op::HookCall
        | Op::DropImage
        | Op::ApplyShared
        | Op::SettleShared
        | Op::JoinShared
        | Op::TearDownShared
        | Op::Rest
        | Op::Work => false,
    }
}

/// Every call of a course.
pub(super) fn calls(course: &Course) -> impl Iterator<Item = (Op, usize)> + '_ {
    course.calls.iter().flat_map(|(&op, &count)| {
        let some = if only_asks(op) { 6 } else { 12 };
        (0..count.min(some)).map(move |nth| (op, nth))
    })
}

pub fn kills(scenario: Scenario, course: &Course) -> Vec<Case> {
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

pub fn faults(scenario: Scenario, course: &Course) -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, nth) in calls(course) {
        let faults: &[_] = match only_asks(op) {
            true => &[Fault::OutOfReach, Fault::LostBefore],
            false => &[
                Fault::OutOfReach,
                Fault::LostBefore,
                Fault::LostAfter,
                Fault::Partial(match op {
                    Op::Rest | Op::Work => 1,
                    _ => 3,
                }),
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
pub fn lates(scenario: Scenario, course: &Course) -> Vec<Case> {
    let mut cases = Vec::new();
    // A late claim of a dead operator is a holder that nobody can tell from a living one: the lease
    // says so, and its own tests.
    let not = [Op::Settled, Op::Claim, Op::DropToken, Op::Ready];
    let acts = calls(course).filter(|(op, _)| !only_asks(*op) && !not.contains(op));
    for (op, nth) in acts {
        for next in WAYS {
            for landing in [4, 14] {
                let mut case = Case::new(scenario, Trouble::Late(op, nth), next);
                case.landing = landing;
                cases.push(case);
            }
        }
    }
    cases
}

pub fn full_disks(scenario: Scenario, course: &Course) -> Vec<Case> {
    let records = 0..course.records.len();
    let ways = [WAYS[0], WAYS[1], WAYS[2]];
    let cases = records.flat_map(|at| {
        let trouble = Trouble::Record(at, Slip::Full);
        ways.map(|next| Case::new(scenario, trouble.clone(), next))
    });
    cases.collect()
}

macro_rules! sweeps {
    ($($name:ident: $scenarios:expr),*) => {$(
        mod $name {
            use super::{Case, Course, Scenario, learn, play};

            fn each(build: impl Fn(Scenario, &Course) -> Vec<Case>) {
                let all = $scenarios.into_iter();
                let cases: Vec<_> = all.flat_map(|s| build(s, &learn(s))).collect();
                play(&cases);
            }

            #[test]
            fn without_trouble_every_scenario_ends_as_it_should() {
                each(super::untroubled);
            }

            #[test]
            fn a_journal_cut_at_every_record_is_gone_on_with_in_every_way() {
                each(super::cuts);
            }

            #[test]
            fn a_kill_inside_every_call_is_gone_on_with() {
                each(super::kills);
            }

            #[test]
            fn lost_and_partial_answers_of_every_call_are_gone_on_with() {
                each(super::faults);
            }

            #[test]
            fn a_disk_that_is_full_from_any_record_on_is_gone_on_with_when_it_is_not() {
                each(super::full_disks);
            }

            #[test]
            fn late_effects_of_every_act_are_refused_or_put_right() {
                each(super::lates);
            }
        }
    )*};
}

sweeps!(
    marks_on_the_pointer: crate::crash_matrix::cases::scenarios(true),
    marks_on_the_engine: crate::crash_matrix::cases::scenarios(false),
    workers_and_marks_on_the_pointer: crate::crash_matrix::workers::scenarios(true),
    workers_and_marks_on_the_engine: crate::crash_matrix::workers::scenarios(false)
);
