//! Rollbacks of which no journal tells, killed anywhere: whatever is commanded next, the workers of
//! the live release run at its end, and no others.

use std::sync::Arc;

use flipside::core::action::Action;
use flipside::core::decide::{Next, decide};
use flipside::core::plan::Plan;
use flipside::core::state::{Back, Course as Way, State};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;

use super::broken::caught;
use super::cases::{Case, PLAIN, Scenario, Trouble, paused, verdict};
use super::doors::{Blow, Moment};
use super::stage::{Flaw, Machine, Stage, Verb};
use super::sweep::{calls, learn_on, only_asks, play};
use crate::support::faults::Op;

/// Two standbys, so that one can be gone back to again.
fn keeps_two(plan: &mut Plan) {
    plan.policy.keep = 2;
}

fn back(pointer_keeps_marks: bool) -> Scenario {
    Scenario {
        name: "rollback with workers and two standbys",
        before: &[Verb::Deploy, Verb::Deploy, Verb::Deploy],
        verb: Verb::Rollback,
        plan: keeps_two,
        workers: 2,
        pointer_keeps_marks,
        ..PLAIN
    }
}

/// How it has no journal: it cannot be opened, or not be read.
fn without(pointer_keeps_marks: bool) -> Machine {
    match pointer_keeps_marks {
        true => Machine::WithoutStore,
        false => Machine::Unreadable,
    }
}

/// What may be commanded next, where there is a journal.
const NEXT: [Verb; 4] = [Verb::Resume, Verb::Prune, Verb::Deploy, Verb::Rollback];

fn cases(build: impl Fn(Op, usize) -> Vec<Trouble>) -> Vec<Case> {
    let mut cases = Vec::new();
    for pointer_keeps_marks in [true, false] {
        let (scenario, first) = (back(pointer_keeps_marks), without(pointer_keeps_marks));
        let course = learn_on(first, scenario);
        for trouble in calls(&course).flat_map(|(op, nth)| build(op, nth)) {
            for verb in NEXT {
                let mut case = Case::new(scenario, trouble.clone(), (Machine::Here, verb));
                case.first = first;
                cases.push(case);
            }
        }
    }
    cases
}

/// An engine that keeps the marks and has not been told them yet has nobody left who remembers: what
/// stood by then is not this matrix's to say.
fn marks_nothing(trouble: &Trouble) -> bool {
    use Moment::{After, Before};
    matches!(
        trouble,
        Trouble::Call(Op::Write, _, After)
            | Trouble::Call(Op::MarkEngine, 0, _)
            | Trouble::Call(Op::MarkEngine, 1, Before)
    )
}

#[test]
fn a_kill_inside_every_call_leaves_no_workers_astray() {
    let mut cases = cases(|op, nth| {
        let moments = [Moment::Before, Moment::After].into_iter();
        let moments = moments.filter(|at| *at == Moment::Before || !only_asks(op));
        moments.map(|at| Trouble::Call(op, nth, at)).collect()
    });
    cases.retain(|case| case.scenario.pointer_keeps_marks || !marks_nothing(&case.trouble));
    play(&cases);
}

#[test]
fn late_effects_of_every_act_leave_no_workers_astray() {
    let acts = [Op::Forget, Op::Rest, Op::Work];
    play(&cases(|op, nth| match acts.contains(&op) {
        true => vec![Trouble::Late(op, nth)],
        false => Vec::new(),
    }));
}

/// One commands, and is killed in a call.
async fn killed(stage: &Arc<Stage>, machine: Machine, verb: Verb, op: Op, moment: Moment) {
    let ann = stage.actor("ann@build", machine);
    ann.life.strike(op, 0, moment, Blow::Dies);
    let done = ann.until_struck(verb).await;
    assert!(done.is_none(), "{op:?} was never called: {done:?}");
    stage.checker().look();
}

/// A deploy whose record says that it goes on has been overtaken by a rollback that has none.
#[test]
fn a_deploy_that_was_cut_short_before_is_no_reason_to_leave_them_astray() {
    let mut all = super::workers::scenarios(true).into_iter();
    let third = all.find(|it| it.name == "third deploy with workers");
    let third = third.unwrap();
    for (at, live) in [(Op::StandUp, 1), (Op::Settled, 2)] {
        for (op, moment) in [
            (Op::Write, Moment::After),
            (Op::Rest, Moment::Before),
            (Op::Rest, Moment::After),
            (Op::Work, Moment::After),
        ] {
            for verb in [Verb::Resume, Verb::Abort, Verb::Prune, Verb::Deploy] {
                paused(async {
                    let stage = third.stage(Core::default(), Flaw::None);
                    killed(&stage, Machine::Here, Verb::Deploy, at, Moment::Before).await;
                    let away = Machine::WithoutStore;
                    killed(&stage, away, Verb::Rollback, op, moment).await;
                    let dan = stage.actor("dan@desk", Machine::Here);
                    let done = dan.perform(verb).await;
                    stage.checker().works();
                    let context = format!("{at:?}, {live}, {op:?}, {verb:?}: {done:?}");
                    assert_eq!(verdict(&stage), Ok(()), "{context}");
                });
            }
        }
    }
}

/// A hand-over that is cut short is one that `resume`, and any other command, goes on with.
#[test]
fn a_kill_inside_the_hand_over_is_gone_on_with() {
    for verb in [Verb::Resume, Verb::Prune, Verb::Deploy] {
        for (op, moment) in [
            (Op::Rest, Moment::Before),
            (Op::Rest, Moment::After),
            (Op::Work, Moment::Before),
            (Op::Work, Moment::After),
        ] {
            for next in NEXT {
                paused(async {
                    let stage = back(true).stage(Core::default(), Flaw::None);
                    let away = Machine::WithoutStore;
                    killed(&stage, away, Verb::Rollback, Op::Write, Moment::After).await;
                    killed(&stage, Machine::Here, verb, op, moment).await;
                    let dan = stage.actor("dan@desk", Machine::Here);
                    let done = dan.perform(next).await;
                    stage.checker().works();
                    let context = format!("{verb:?} in {op:?}, then {next:?}: {done:?}");
                    assert_eq!(verdict(&stage), Ok(()), "{context}");
                });
            }
        }
    }
}

fn hands_nothing_over(state: &State) -> Next {
    match state.course {
        Way::Back(Back::Verified) if !state.has_moved() => Next::End(Outcome::Done),
        _ => decide(state),
    }
}

/// Starts those of the live release while the others run.
fn works_at_once(state: &State) -> Next {
    match decide(state) {
        Next::Act(Action::Rest { .. }) if !state.has_moved() => Next::Act(Action::Work {
            release: state.release(),
        }),
        next => next,
    }
}

#[test]
fn promise_2_a_core_whose_hand_over_hands_nothing_over_is_caught() {
    let flawed = [
        (hands_nothing_over as fn(&State) -> Next, Flaw::None),
        (works_at_once, Flaw::WorksBlindly),
    ];
    for (decide, flaw) in flawed {
        for verb in [Verb::Resume, Verb::Prune] {
            let trouble = Trouble::Call(Op::Write, 0, Moment::After);
            let mut case = Case::new(back(true), trouble, (Machine::Here, verb));
            case.first = Machine::WithoutStore;
            let core = Core {
                decide,
                ..Core::default()
            };
            caught(2, case, core, flaw);
        }
    }
}
