//! A release that is shown to those who ask for it, and then promoted, given up or overtaken.

use flipside::core::action::Action;
use flipside::core::decide::{Next, decide};
use flipside::core::state::{State, Stood};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;

use super::broken::{caught, skips_proof};
use super::cases::{Case, PLAIN, Scenario, Trouble};
use super::stage::{Flaw, Machine, Verb};
use super::sweep::{Course, cuts, faults, full_disks, kills, lates, learn, play, untroubled};

const PREVIEWED: &[Outcome] = &[Outcome::Previewed];

fn scenarios(pointer_keeps_marks: bool) -> Vec<Scenario> {
    let first = Scenario {
        name: "first deploy until its preview",
        verb: Verb::Preview,
        ends: PREVIEWED,
        pointer_keeps_marks,
        ..PLAIN
    };
    let waiting = &[Verb::Deploy, Verb::Preview];
    vec![
        first,
        Scenario {
            name: "second deploy until its preview",
            before: &[Verb::Deploy],
            ..first
        },
        Scenario {
            name: "deploy until its preview over what served before",
            before: &[Verb::Foreign],
            ..first
        },
        Scenario {
            name: "promotion",
            before: waiting,
            verb: Verb::Promote,
            ends: &[Outcome::Done],
            ..first
        },
        Scenario {
            name: "a preview that is given up",
            before: waiting,
            verb: Verb::Abort,
            ends: &[Outcome::Done],
            ..first
        },
        Scenario {
            name: "a first preview that is given up",
            before: &[Verb::Preview],
            verb: Verb::Abort,
            ends: &[Outcome::Done],
            ..first
        },
        Scenario {
            name: "a deploy over a preview",
            before: waiting,
            verb: Verb::Deploy,
            ends: &[Outcome::Done],
            ..first
        },
        Scenario {
            name: "a rollback over a preview",
            before: &[Verb::Deploy, Verb::Deploy, Verb::Preview],
            verb: Verb::Rollback,
            ends: &[Outcome::Done],
            ..first
        },
    ]
}

fn sweep(pointer_keeps_marks: bool, cases: fn(Scenario, &Course) -> Vec<Case>) {
    let all = scenarios(pointer_keeps_marks).into_iter();
    let all: Vec<_> = all
        .flat_map(|scenario| cases(scenario, &learn(scenario)))
        .collect();
    play(&all);
}

/// The same troubles, after which the release is promoted.
fn promoted(cases: Vec<Case>) -> Vec<Case> {
    let resumed = cases.into_iter().filter(|case| {
        case.scenario.verb == Verb::Preview && case.ways == [(Machine::Here, Verb::Resume)]
    });
    let promoted = resumed.map(|case| Case {
        ways: vec![
            (Machine::Here, Verb::Resume),
            (Machine::Here, Verb::Promote),
        ],
        ..case
    });
    promoted.collect()
}

#[test]
fn it_ends_as_it_should() {
    sweep(true, untroubled);
    sweep(false, untroubled);
}

#[test]
fn it_outlives_a_journal_cut_anywhere() {
    sweep(true, cuts);
}

#[test]
fn it_outlives_a_journal_cut_anywhere_with_marks_on_the_engine() {
    sweep(false, cuts);
}

#[test]
fn it_is_promoted_after_whatever_befell_it() {
    sweep(false, |scenario, course| promoted(cuts(scenario, course)));
    sweep(true, |scenario, course| promoted(kills(scenario, course)));
}

#[test]
fn it_outlives_a_kill_at_any_call() {
    sweep(true, kills);
    sweep(false, lates);
}

#[test]
fn it_outlives_faults_and_full_disks() {
    sweep(true, faults);
    sweep(false, full_disks);
}

fn case(name: &str) -> Case {
    let mut all = scenarios(true).into_iter();
    let scenario = all.find(|scenario| scenario.name == name).unwrap();
    Case::new(scenario, Trouble::None, (Machine::Here, Verb::Prune))
}

#[test]
fn promise_1_a_core_that_shows_what_has_not_passed_is_caught() {
    let core = Core {
        apply: skips_proof,
        ..Core::default()
    };
    let case = case("second deploy until its preview");
    caught(1, case, core, Flaw::None);
}

#[test]
fn promise_3_a_core_that_removes_what_is_shown_is_caught() {
    fn removes_at_once(state: &State) -> Next {
        match (decide(state), state.stood) {
            (Next::Act(Action::Hide { release, .. }), Stood::Something) => {
                Next::Act(Action::TearDown { release })
            }
            (Next::Act(Action::Hide { .. }), Stood::Nothing) => Next::End(Outcome::Refused),
            (next, _) => next,
        }
    }
    let core = Core {
        decide: removes_at_once,
        ..Core::default()
    };
    caught(3, case("a preview that is given up"), core, Flaw::None);
}
