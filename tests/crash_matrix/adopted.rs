//! A service that stood there before flipside came: taken over, gone back to, and never forgotten.

use flipside::core::verdict::Outcome;

use super::cases::{PLAIN, Scenario};
use super::stage::Verb;
use super::sweep::{Course, cuts, faults, full_disks, kills, lates, learn, play, untroubled};
use crate::support::fake_world::{Behaviour, FakeWorld};

fn spoils_in_bake(world: &mut FakeWorld) {
    let answers = [Ok(()), Ok(()), Err("503"), Err("503"), Err("503")];
    world.behave(2, "web", Some(1), Behaviour::answering(answers));
    world.behave(2, "web", Some(2), Behaviour::answering(answers));
}

fn scenarios(pointer_keeps_marks: bool) -> Vec<Scenario> {
    let first = Scenario {
        name: "first deploy over what served before",
        before: &[Verb::Foreign],
        pointer_keeps_marks,
        ..PLAIN
    };
    let adopted = &[Verb::Foreign, Verb::Deploy];
    vec![
        first,
        Scenario {
            name: "second deploy, of a service that was taken over",
            before: adopted,
            ..first
        },
        Scenario {
            name: "rollback to what served before",
            before: adopted,
            verb: Verb::Rollback,
            ..first
        },
        Scenario {
            name: "deploy that fails in its bake over what served before",
            before: &[Verb::Foreign, Verb::Deploy, Verb::Rollback],
            bake_ms: 10_000,
            wrong: spoils_in_bake,
            ends: &[Outcome::RolledBack],
            ..first
        },
    ]
}

fn sweep(cases: fn(Scenario, &Course) -> Vec<super::cases::Case>) {
    for pointer_keeps_marks in [true, false] {
        let all = scenarios(pointer_keeps_marks).into_iter();
        let all: Vec<_> = all
            .flat_map(|scenario| cases(scenario, &learn(scenario)))
            .collect();
        play(&all);
    }
}

#[test]
fn it_ends_as_it_should() {
    sweep(untroubled);
}

#[test]
fn it_outlives_a_journal_cut_anywhere() {
    sweep(cuts);
}

#[test]
fn it_outlives_a_kill_at_any_call() {
    sweep(kills);
    sweep(lates);
}

#[test]
fn it_outlives_faults_and_full_disks() {
    sweep(faults);
    sweep(full_disks);
}
