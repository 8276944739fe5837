//! A pointer that reaches environments by their slots: a move is a write of what hangs on them and a
//! write of the pointer itself, and anything may befall between.

use flipside::core::plan::Plan;

use super::cases::{Case, DONE, PLAIN, Scenario, Trouble, WAYS, scenarios as plain};
use super::stage::Verb;
use super::sweep::{Course, calls, cuts, faults, full_disks, kills, learn, play, untroubled};
use crate::support::faults::Op;

fn by_slots(plan: &mut Plan) {
    let slots = serde_json::json!({"slot": {"blue": "192.0.2.10:80", "green": "192.0.2.11:80"}});
    plan.pointer.settings.insert("reach".into(), slots);
}

fn scenarios() -> Vec<Scenario> {
    let slotted = Scenario {
        pointer_keeps_marks: false,
        plan: by_slots,
        ..PLAIN
    };
    vec![
        Scenario {
            name: "first deploy to slots",
            ..slotted
        },
        Scenario {
            name: "third deploy to slots",
            before: &[Verb::Deploy, Verb::Deploy],
            bake_ms: 4_000,
            ..slotted
        },
        Scenario {
            name: "deploy to slots that fails in its bake",
            before: &[Verb::Deploy],
            bake_ms: 10_000,
            wrong: called("deploy that fails in its bake").wrong,
            ends: called("deploy that fails in its bake").ends,
            ..slotted
        },
        Scenario {
            name: "deploy to slots over what served before",
            before: &[Verb::Foreign],
            ..slotted
        },
        Scenario {
            name: "rollback over slots",
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Rollback,
            ..slotted
        },
        Scenario {
            name: "rollback over slots to one that hangs on none",
            before: &[Verb::Deploy, Verb::Deploy, Verb::Deploy, Verb::Rollback],
            verb: Verb::RollbackTo(1),
            plan: |plan| {
                by_slots(plan);
                plan.policy.keep = 3;
            },
            ends: DONE,
            ..slotted
        },
        Scenario {
            name: "preview over slots",
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Preview,
            ends: &[flipside::core::verdict::Outcome::Previewed],
            ..slotted
        },
        Scenario {
            name: "down with slots",
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Down,
            ..slotted
        },
    ]
}

fn called(name: &str) -> Scenario {
    let mut all = plain(false).into_iter();
    all.find(|scenario| scenario.name == name).unwrap()
}

fn sweep(cases: impl Fn(Scenario, &Course) -> Vec<Case>) {
    play_all(scenarios(), cases);
}

/// Where there are slots to take and to give: in what is left, either half is as in these.
fn sweep_some(cases: impl Fn(Scenario, &Course) -> Vec<Case>) {
    let some = [
        "third deploy to slots",
        "rollback over slots to one that hangs on none",
        "down with slots",
    ];
    let all = scenarios().into_iter();
    play_all(all.filter(|one| some.contains(&one.name)).collect(), cases);
}

fn play_all(all: Vec<Scenario>, cases: impl Fn(Scenario, &Course) -> Vec<Case>) {
    let all = all.into_iter();
    let all: Vec<_> = all
        .flat_map(|scenario| cases(scenario, &learn(scenario)))
        .collect();
    play(&all);
}

/// Each write is two, which the world counts.
fn halves(course: &Course) -> Course {
    let mut course = course.clone();
    if let Some(writes) = course.calls.get_mut(&Op::Write) {
        *writes *= 2;
    }
    course
}

#[test]
fn it_ends_as_it_should() {
    sweep(untroubled);
}

#[test]
fn it_outlives_a_journal_cut_anywhere() {
    sweep_some(cuts);
}

#[test]
fn it_outlives_a_kill_at_any_call() {
    sweep_some(kills);
}

#[test]
fn it_outlives_faults_and_full_disks() {
    sweep_some(|scenario, course| faults(scenario, &halves(course)));
    sweep_some(full_disks);
}

#[test]
fn either_half_of_a_move_may_come_late() {
    sweep(|scenario, course| {
        let course = halves(course);
        let writes = calls(&course).filter(|(op, _)| *op == Op::Write);
        let late = writes.flat_map(|(op, nth)| {
            let cases = WAYS.map(|next| {
                [1, 4, 14].map(|landing| Case {
                    landing,
                    ..Case::new(scenario, Trouble::Late(op, nth), next)
                })
            });
            cases.into_iter().flatten()
        });
        late.collect()
    });
}
