//! Workers, hooks, a job and standbys that sleep, all in one plan: what each promises holds beside
//! the others.

use flipside::core::plan::StandbyMode;
use flipside::core::verdict::Outcome;

use super::cases::{Case, PLAIN, Scenario, WAYS};
use super::hooks::{busy, fails};
use super::stage::Verb;
use super::sweep::{Course, cuts, full_disks, kills, learn, only_asks, play, untroubled};

fn scenarios() -> [Scenario; 3] {
    let plain = Scenario {
        name: "deploy with workers, hooks, a job and a standby to freeze",
        plan: busy,
        before: &[Verb::Deploy],
        workers: 1,
        mode: StandbyMode::Frozen,
        bake_ms: 2_000,
        ..PLAIN
    };
    [
        plain,
        Scenario {
            name: "deploy with workers whose hook fails, back to one that was to be stopped",
            wrong: |world| fails(world, "count"),
            ends: &[Outcome::RolledBack],
            mode: StandbyMode::Stopped,
            bake_ms: 0,
            ..plain
        },
        Scenario {
            name: "rollback with workers and hooks to one that is frozen",
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Rollback,
            bake_ms: 0,
            ..plain
        },
    ]
}

fn each(build: impl Fn(Scenario, &Course) -> Vec<Case>) {
    let all = scenarios().into_iter();
    let cases: Vec<_> = all.flat_map(|s| build(s, &learn(s))).collect();
    play(&cases);
}

/// A few ways to go on: all of them are in the sweeps of each part.
fn few(mut cases: Vec<Case>) -> Vec<Case> {
    cases.retain(|case| WAYS[..3].contains(&case.ways[0]));
    cases
}

#[test]
fn without_trouble_they_end_as_they_should() {
    each(untroubled);
}

#[test]
fn a_journal_cut_at_every_record_is_gone_on_with() {
    each(|scenario, course| few(cuts(scenario, course)));
}

#[test]
fn a_kill_inside_every_act_is_gone_on_with() {
    each(|scenario, course| {
        let mut acts = course.clone();
        acts.calls.retain(|op, _| !only_asks(*op));
        few(kills(scenario, &acts))
    });
}

#[test]
fn a_disk_that_is_full_from_any_record_on_is_gone_on_with_when_it_is_not() {
    each(full_disks);
}
