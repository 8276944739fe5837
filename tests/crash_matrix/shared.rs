//! Shared roles in the same matrix: `shared apply` cut at every record and call, and deploys around
//! shared roles. Whatever comes, one container stands for each role in the end, and runs.

use std::time::Duration;

use flipside::core::action::{Action, Ask};
use flipside::core::decide::{Next, decide};
use flipside::core::event::Event;
use flipside::core::plan::{Condition, Plan, Run};
use flipside::core::shared::Owner;
use flipside::core::state::{Course, Illegal, State};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::engine::Settings;

use super::cases::{Case, Next as Way, PLAIN, Scenario, Trouble, WAYS, paused, verdict};
use super::doors::{Blow, Moment};
use super::stage::{Done, Flaw, Machine, Verb};
use super::sweep::{Course as Learnt, calls, cuts, full_disks, learn, play};
use super::tape::Slip;
use crate::support::facts::{shop, some_role};
use crate::support::fake_world::{Behaviour, FakeWorld, lock};
use crate::support::faults::{Fault, Op};
use crate::support::sample::{depends, role_name};

/// Two shared roles, one of which the release waits for.
fn with_shared(plan: &mut Plan) {
    for name in ["db", "queue"] {
        let mut role = some_role(1);
        role.run = Run::Shared;
        plan.shared.insert(role_name(name), role);
    }
    let web = plan.roles.get_mut(&role_name("web")).unwrap();
    depends(web, "db", Condition::Started);
}

/// What stands was made by another plan, until it is made anew.
fn outdated(world: &mut FakeWorld) {
    for one in world.shared.iter_mut().filter(|one| one.number <= 2) {
        one.settings = Settings::default().sealed(&[2; 16]);
    }
}

fn does_not_come_up(world: &mut FakeWorld) {
    outdated(world);
    world.behave(0, "queue", None, Behaviour::exits(3, Duration::ZERO));
}

fn of_a_project(plan: &mut Plan) {
    with_shared(plan);
    plan.project = Some("old".into());
}

/// A Compose project runs, before flipside has done anything.
fn project_runs(world: &mut FakeWorld) {
    if world.shared.is_empty() {
        for role in ["db", "queue"] {
            world.run_project(&shop(), "old", role, "any");
        }
    }
}

fn scenarios() -> [Scenario; 5] {
    let plain = Scenario {
        plan: with_shared,
        ..PLAIN
    };
    [
        Scenario {
            name: "first deploy with shared roles",
            ..plain
        },
        Scenario {
            name: "second deploy with shared roles",
            before: &[Verb::Deploy],
            ..plain
        },
        Scenario {
            name: "shared apply",
            before: &[Verb::Deploy],
            verb: Verb::ApplyShared,
            wrong: outdated,
            ..plain
        },
        Scenario {
            name: "shared apply that does not come up",
            before: &[Verb::Deploy],
            verb: Verb::ApplyShared,
            wrong: does_not_come_up,
            ends: &[Outcome::Refused],
            ..plain
        },
        Scenario {
            name: "shared apply that takes over a Compose project",
            verb: Verb::ApplyShared,
            wrong: project_runs,
            plan: of_a_project,
            ..plain
        },
    ]
}

/// As everywhere, and by the same verb again.
fn ways() -> Vec<Way> {
    let again = [
        (Machine::Here, Verb::ApplyShared),
        (Machine::Elsewhere, Verb::ApplyShared),
    ];
    WAYS.into_iter().chain(again).collect()
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
    each(|scenario, course| {
        let mut cases = cuts(scenario, course);
        // What deploys do otherwise is played everywhere else.
        if scenario.verb == Verb::Deploy {
            cases.retain(|case| WAYS[..2].contains(&case.ways[0]));
            return cases;
        }
        for at in 0..course.records.len() {
            let trouble = Trouble::Record(at, Slip::Dies(Moment::After));
            let again = ways().split_off(WAYS.len()).into_iter();
            cases.extend(again.map(|next| Case::new(scenario, trouble.clone(), next)));
        }
        cases
    });
}

#[test]
fn a_disk_that_is_full_from_any_record_on_is_gone_on_with_when_it_is_not() {
    each(full_disks);
}

/// What these scenarios add to the calls of all others.
fn own(course: &Learnt) -> impl Iterator<Item = (Op, usize)> + '_ {
    let own = [Op::StandUp, Op::Shared, Op::ApplyShared, Op::SettleShared];
    calls(course).filter(move |(op, _)| own.contains(op))
}

#[test]
fn a_kill_at_every_call_about_shared_roles_is_gone_on_with() {
    each(|scenario, course| {
        let mut cases = Vec::new();
        for (op, nth) in own(course) {
            let moments: &[_] = match op {
                Op::Shared => &[Moment::Before],
                _ => &[Moment::Before, Moment::After],
            };
            for moment in moments {
                for next in ways() {
                    cases.push(Case::new(scenario, Trouble::Call(op, nth, *moment), next));
                }
            }
        }
        cases
    });
}

#[test]
fn answers_that_are_lost_or_partly_true_are_gone_on_with() {
    each(|scenario, course| {
        let mut cases = Vec::new();
        for (op, nth) in own(course).filter(|(op, _)| *op != Op::Shared) {
            for fault in [
                Fault::OutOfReach,
                Fault::LostBefore,
                Fault::LostAfter,
                Fault::Partial(1),
            ] {
                // What a deploy cannot settle it says, and touches nothing.
                if op == Op::SettleShared {
                    continue;
                }
                let trouble = Trouble::Fault(op, nth, fault);
                cases.push(Case::new(scenario, trouble.clone(), WAYS[0]));
                cases.push(Case::new(
                    scenario,
                    trouble,
                    (Machine::Here, Verb::ApplyShared),
                ));
            }
        }
        cases
    });
}

fn forgets_what_was_begun(state: State, event: &Event) -> Result<State, Illegal> {
    let pending = state.pending.clone();
    let mut state = state.apply(event)?;
    if let (Some(Action::Apply { .. }), Event::Observed { .. }, Course::Applying(at)) =
        (&pending, event, &mut state.course)
    {
        at.done += 1;
        at.halfway = false;
    }
    Ok(state)
}

/// Its operator is killed with the new container made and the old one stopped, and another deploys.
fn killed_halfway() -> Case {
    let trouble = Trouble::Call(Op::ApplyShared, 0, Moment::After);
    let mut case = Case::new(scenarios()[2], trouble, (Machine::Here, Verb::Deploy));
    case.scenario.wrong = |world| {
        outdated(world);
        if world.made_shared == 2 {
            world.faults.plan(Op::ApplyShared, [Fault::Partial(1)]);
        }
    };
    case
}

/// Who comes next knows nothing of it from a journal, and ends it on an intent of its own.
#[test]
fn what_was_begun_halfway_is_ended_by_whoever_comes_next() {
    for verb in [Verb::Deploy, Verb::Prune, Verb::Down, Verb::ApplyShared] {
        let mut case = killed_halfway();
        case.ways = vec![(Machine::Elsewhere, verb)];
        assert_eq!(case.play(), Ok(()), "{verb:?}");
    }
}

/// A take-over is cut short with the new container made and the old one stopped, and the shared roles are
/// taken down: the Compose project has its container back.
#[test]
fn what_was_not_taken_over_yet_is_given_back_by_down() {
    paused(async {
        let stage = scenarios()[4].stage(Core::default(), Flaw::None);
        let faults = [Fault::Partial(1)];
        lock(&stage.world).faults.plan(Op::ApplyShared, faults);
        let first = stage.actor("ann@build", Machine::Here);
        let (life, after) = (&first.life, Moment::After);
        life.strike(Op::ApplyShared, 0, after, Blow::Dies);
        assert_eq!(first.until_struck(Verb::ApplyShared).await, None);
        drop(first);
        tokio::task::yield_now().await;
        let next = stage.actor("bob@desk", Machine::Elsewhere);
        let down = next.perform(Verb::DownShared).await;
        assert_eq!(down.outcome(), Some(Outcome::Done), "{down:?}");
        assert_eq!(verdict(&stage), Ok(()));
        let world = lock(&stage.world);
        let standing = world.shared.iter();
        let theirs = Owner::Project("old".into());
        let standing: Vec<_> = standing
            .map(|one| (one.owner == theirs, one.running()))
            .collect();
        assert_eq!(standing, [(true, 1), (true, 1)]);
    });
}

/// Compose has made its containers anew. Whoever is killed over joining them, the next one does.
#[test]
fn what_releases_do_not_reach_is_joined_whatever_is_cut_short() {
    for moment in [Moment::Before, Moment::After] {
        for next in [Verb::Resume, Verb::Deploy, Verb::Prune] {
            paused(async move {
                let stage = scenarios()[4].stage(Core::default(), Flaw::None);
                let first = stage.actor("ann@build", Machine::Here);
                let deployed = first.perform(Verb::Deploy).await;
                assert_eq!(deployed.outcome(), Some(Outcome::Done), "{deployed:?}");
                for one in &mut lock(&stage.world).shared {
                    assert!(one.connected);
                    one.connected = false;
                }
                first.life.strike(Op::JoinShared, 0, moment, Blow::Dies);
                assert_eq!(first.until_struck(Verb::Resume).await, None);
                drop(first);
                tokio::task::yield_now().await;
                let second = stage.actor("bob@desk", Machine::Here);
                let done = second.perform(next).await;
                assert!(!matches!(done, Done::Refused(_)), "{next:?}: {done:?}");
                assert_eq!(verdict(&stage), Ok(()));
                let world = lock(&stage.world);
                assert!(world.shared.iter().all(|one| one.connected), "{next:?}");
                assert!(world.shared.iter().all(|one| one.starts == 1));
            });
        }
    }
}

/// Sound, the case passes; broken, it fails and names the promise.
fn caught(core: Core) {
    let mut case = killed_halfway();
    assert_eq!(case.play(), Ok(()), "the sound one");
    case.core = core;
    let why = case.play().expect_err("the broken one was not caught");
    assert!(why.starts_with("promise 5:"), "{why}");
}

#[test]
fn promise_5_a_core_that_takes_what_was_begun_for_done_is_caught() {
    caught(Core {
        apply: forgets_what_was_begun,
        ..Core::default()
    });
}

fn heeds_asks_at_once(state: &State) -> Next {
    match decide(state) {
        Next::Act(Action::Apply { .. }) if state.ask == Some(Ask::Settle) => {
            Next::End(Outcome::Refused)
        }
        next => next,
    }
}

#[test]
fn promise_5_a_core_that_gives_up_what_was_begun_is_caught() {
    caught(Core {
        decide: heeds_asks_at_once,
        ..Core::default()
    });
}
