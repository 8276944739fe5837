//! Jobs and hooks of every kind, in the same matrix: begun at most once unless they may be repeated,
//! and no switch before every hook that comes before it has ended well.

use flipside::core::action::Action;
use flipside::core::event::Event;
use flipside::core::hook::{HookKind, HookWord, When};
use flipside::core::plan::{Condition, Plan, Run};
use flipside::core::state::{Course, Illegal, Stage as Reached, State};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;

use super::cases::{Case, PLAIN, Scenario, Trouble, WAYS};
use super::doors::Moment;
use super::stage::{Flaw, Machine, Verb};
use super::sweep::{Course as Learnt, calls, cuts, full_disks, lates, learn, play};
use super::tape::Slip;
use crate::support::fake_world::FakeWorld;
use crate::support::faults::{Fault, Op};
use crate::support::hooks::hook;
use crate::support::sample::{depends, role_name};

/// A job, and hooks of each kind at each time.
pub fn busy(plan: &mut Plan) {
    let mut job = plan.roles[&role_name("side")].clone();
    (job.run, job.replicas) = (Run::Once, 1);
    plan.roles.insert(role_name("migrate"), job);
    let web = plan.roles.get_mut(&role_name("web")).unwrap();
    depends(web, "migrate", Condition::Completed);
    let mut repeatable = hook("said", When::AfterSwitch, HookKind::Http);
    repeatable.plan.idempotent = true;
    plan.hooks = vec![
        hook("check", When::BeforeSwitch, HookKind::Container),
        hook("warm", When::BeforeSwitch, HookKind::Command),
        repeatable,
        hook("count", When::AfterSwitch, HookKind::Container),
        hook("once", When::AfterSwitch, HookKind::Http),
        hook("undo", When::OnRollback, HookKind::Command),
        hook("clean", When::OnRollback, HookKind::Container),
    ];
}

pub fn fails(world: &mut FakeWorld, hook: &str) {
    world.hooks.codes.insert(hook.into(), 9);
}

fn scenarios() -> [Scenario; 5] {
    let plain = Scenario {
        plan: busy,
        before: &[Verb::Deploy],
        ..PLAIN
    };
    [
        Scenario {
            name: "deploy with hooks",
            ..plain
        },
        Scenario {
            name: "deploy whose hook fails before the switch",
            wrong: |world| fails(world, "warm"),
            ends: &[Outcome::Refused],
            ..plain
        },
        Scenario {
            name: "deploy whose hook fails after the switch",
            wrong: |world| fails(world, "count"),
            ends: &[Outcome::RolledBack],
            ..plain
        },
        Scenario {
            name: "rollback with hooks",
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Rollback,
            ..plain
        },
        Scenario {
            name: "rollback whose hook fails",
            before: &[Verb::Deploy, Verb::Deploy],
            verb: Verb::Rollback,
            wrong: |world| fails(world, "undo"),
            ..plain
        },
    ]
}

fn each(build: impl Fn(Scenario, &Learnt) -> Vec<Case>) {
    let all = scenarios().into_iter();
    let cases: Vec<_> = all.flat_map(|s| build(s, &learn(s))).collect();
    play(&cases);
}

#[test]
fn without_trouble_every_scenario_ends_as_it_should() {
    each(|scenario, _| {
        vec![Case::new(
            scenario,
            Trouble::None,
            (Machine::Here, Verb::Prune),
        )]
    });
}

#[test]
fn a_journal_cut_at_every_record_is_gone_on_with_in_every_way() {
    each(cuts);
}

#[test]
fn a_disk_that_is_full_from_any_record_on_is_gone_on_with_when_it_is_not() {
    each(full_disks);
}

/// What these scenarios add to the calls of all others.
fn own(course: &Learnt) -> impl Iterator<Item = (Op, usize)> + '_ {
    let own = [Op::StandUp, Op::Hook, Op::HookCall, Op::Ended];
    calls(course).filter(move |(op, _)| own.contains(op))
}

#[test]
fn a_kill_inside_every_hook_is_gone_on_with() {
    each(|scenario, course| {
        let mut cases = Vec::new();
        for (op, nth) in own(course) {
            for moment in [Moment::Before, Moment::After] {
                for next in [WAYS[0], WAYS[1], WAYS[2], WAYS[3], WAYS[4]] {
                    cases.push(Case::new(scenario, Trouble::Call(op, nth, moment), next));
                }
            }
        }
        cases
    });
}

#[test]
fn lost_answers_of_an_engine_that_runs_hooks_are_gone_on_with() {
    each(|scenario, course| {
        let mut cases = Vec::new();
        for (op, nth) in own(course).filter(|(op, _)| *op == Op::Hook) {
            for fault in [Fault::OutOfReach, Fault::LostBefore, Fault::LostAfter] {
                let trouble = Trouble::Fault(op, nth, fault);
                cases.push(Case::new(scenario, trouble, WAYS[0]));
            }
        }
        cases
    });
}

#[test]
fn a_hook_or_a_job_that_begins_late_begins_once() {
    each(|scenario, course| {
        let mut own = course.clone();
        own.calls
            .retain(|op, _| [Op::StandUp, Op::Hook].contains(op));
        let mut cases = lates(scenario, &own);
        cases.retain(|case| WAYS[..3].contains(&case.ways[0]));
        cases
    });
}

/// Sound, the case passes; broken, it fails and names the promise.
fn caught(promise: u8, trouble: Trouble, core: Core) {
    let next = (Machine::Here, Verb::Resume);
    let mut case = Case::new(scenarios()[0], trouble, next);
    assert_eq!(case.play(), Ok(()), "the sound one");
    (case.core, case.flaw) = (core, Flaw::None);
    let why = case.play().expect_err("the broken one was not caught");
    assert!(why.starts_with(&format!("promise {promise}:")), "{why}");
}

fn repeats_what_is_in_doubt(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    state.hooks.unsure = None;
    Ok(state)
}

#[test]
fn promise_5_a_core_that_repeats_a_hook_in_doubt_is_caught() {
    let core = Core {
        apply: repeats_what_is_in_doubt,
        ..Core::default()
    };
    caught(5, Trouble::Call(Op::HookCall, 0, Moment::After), core);
}

fn switches_without_its_hooks(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    if state.course == Course::Forward(Reached::Proven) {
        state.hooks.ended.insert("warm".into());
    }
    Ok(state)
}

#[test]
fn promise_1_a_core_that_switches_without_a_hook_is_caught() {
    let core = Core {
        apply: switches_without_its_hooks,
        ..Core::default()
    };
    caught(1, Trouble::Record(3, Slip::Dies(Moment::After)), core);
}

fn begins_a_container_anew(state: State, event: &Event) -> Result<State, Illegal> {
    let state = state.apply(event)?;
    match (&state.pending, event) {
        (Some(Action::Hook { name, .. }), Event::Resumed { by }) => {
            let word = HookWord::Again;
            let (name, by) = (name.clone(), by.clone());
            state.apply(&Event::HookSettled { name, word, by })
        }
        _ => Ok(state),
    }
}

#[test]
fn promise_5_a_core_that_begins_a_hook_in_a_container_again_is_caught() {
    let core = Core {
        apply: begins_a_container_anew,
        ..Core::default()
    };
    caught(5, Trouble::Call(Op::Hook, 0, Moment::After), core);
}
