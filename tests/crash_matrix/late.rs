//! Late clients: what they still come to is neither removed nor put to sleep, whatever befalls who
//! would have done so; and goes once they are gone.

use std::sync::Arc;
use std::time::Duration;

use flipside::core::action::Ask;
use flipside::core::event::Event;
use flipside::core::late::Clients;
use flipside::core::names::Release;
use flipside::core::plan::StandbyMode;
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::error::Exit;
use flipside::lease::ask;
use tokio::time::Instant;

use super::cases::{PLAIN, Scenario, paused, verdict};
use super::stage::{Actor, Done, Flaw, Machine, Stage, Verb};
use super::sweep::{Course, cuts, faults, kills, lates, learn, play, untroubled};
use crate::support::facts;
use crate::support::fake_world::{FakeWorld, lock};
use crate::support::faults::{Fault, Op};

/// Two connections still lead to release 1.
fn remembered(world: &mut FakeWorld) {
    world.pointer_is_cached = true;
    world.clients.insert(Release(1), 2);
}

const THIRD: Scenario = Scenario {
    name: "third deploy, while clients still come to the first",
    before: &[Verb::Deploy, Verb::Deploy],
    wrong: remembered,
    ..PLAIN
};

const SLEEPY: Scenario = Scenario {
    name: "deploy over one that shall be frozen, while clients still come to it",
    before: &[Verb::Deploy],
    wrong: remembered,
    mode: StandbyMode::Frozen,
    ..PLAIN
};

/// Hours later: release 1 need not stand by any more. A hand has woken it and 2.
fn past(world: &mut FakeWorld) {
    remembered(world);
    let shop = facts::shop();
    world.ahead_ms = 7_200_000;
    for release in [1, 2] {
        world.wake(&shop, Release(release), usize::MAX);
    }
}

const PRUNE: Scenario = Scenario {
    name: "prune, while clients still come to what it would remove",
    before: &[Verb::Deploy, Verb::Deploy, Verb::Deploy],
    verb: Verb::Prune,
    wrong: past,
    plan: |plan| plan.policy.keep_for_ms = 3_600_000,
    mode: StandbyMode::Frozen,
    ..PLAIN
};

const BY_FORCE: Scenario = Scenario {
    name: "prune by force, while clients still come to what it removes",
    verb: Verb::PruneByForce,
    ..PRUNE
};

/// The calls that look for clients, and those that would cut them off.
fn own_calls(course: &Course) -> Course {
    let own = |op: &Op| matches!(op, Op::Clients | Op::TearDown | Op::Freeze | Op::Forget);
    let calls = course.calls.iter().filter(|(op, _)| own(op));
    Course {
        records: course.records.clone(),
        calls: calls.map(|(op, count)| (*op, *count)).collect(),
    }
}

/// Everything that may befall whoever looks.
fn befalls(scenario: Scenario, pointer_keeps_marks: bool) {
    let scenario = Scenario {
        pointer_keeps_marks,
        ..scenario
    };
    let course = learn(scenario);
    let looks = course.calls.get(&Op::Clients).copied();
    let waits = scenario.verb != Verb::PruneByForce;
    assert_eq!(looks, waits.then_some(1), "{course:?}");
    let few = own_calls(&course);
    let mut cases = untroubled(scenario, &course);
    cases.extend(cuts(scenario, &course));
    cases.extend(kills(scenario, &few));
    cases.extend(faults(scenario, &few));
    cases.extend(lates(scenario, &few));
    play(&cases);
}

#[test]
fn whatever_befalls_a_deploy_clients_keep_what_they_come_to() {
    befalls(THIRD, true);
    befalls(THIRD, false);
}

#[test]
fn whatever_befalls_a_deploy_that_freezes_clients_keep_what_they_come_to() {
    befalls(SLEEPY, true);
    befalls(SLEEPY, false);
}

#[test]
fn whatever_befalls_a_prune_clients_keep_what_they_come_to() {
    befalls(PRUNE, true);
    befalls(BY_FORCE, false);
}

/// Release 3 is live and 2 stands by; clients still come to 1.
async fn three(plan: fn(&mut flipside::core::plan::Plan)) -> (Arc<Stage>, Actor) {
    let scenario = Scenario { plan, ..THIRD };
    let stage = scenario.stage(Core::default(), Flaw::None);
    let ann = stage.actor("ann@build", Machine::Here);
    ann.perform(Verb::Deploy).await;
    (stage, ann)
}

fn standing(stage: &Stage) -> Vec<u64> {
    let environments = lock(&stage.world).environments(&stage.service);
    environments.iter().map(|it| it.release.0).collect()
}

/// What was seen of what stays, by the records of the runs.
fn kept(actor: &Actor) -> Vec<Clients> {
    let records = actor.tape.written.lock().unwrap();
    let kept = records.iter().filter_map(|record| match &record.event {
        Event::ClientsSeen { clients } => Some(clients.clone()),
        _ => None,
    });
    let kept = kept.flatten();
    kept.filter(|one| one.connections != Some(0)).collect()
}

#[test]
fn what_clients_still_come_to_goes_once_they_are_gone() {
    paused(async {
        let (stage, ann) = three(|_| {}).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        let two = Clients {
            release: Release(1),
            connections: Some(2),
            why: None,
        };
        assert_eq!(kept(&ann), [two]);
        let prune = async |exit| {
            let done = ann.perform(Verb::Prune).await;
            assert!(matches!(&done, Done::Exit(is) if *is == exit), "{done:?}");
        };
        prune(Exit::Done).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        lock(&stage.world).clients.clear();
        prune(Exit::Done).await;
        assert_eq!(standing(&stage), [2, 3]);
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn of_what_cannot_be_seen_the_newest_is_kept() {
    paused(async {
        let stage = THIRD.stage(Core::default(), Flaw::None);
        lock(&stage.world).clients.clear();
        let why = "no image of flipside can be built";
        let refused = Fault::Refused(why.into());
        lock(&stage.world).faults.always(Op::Clients, refused);
        let ann = stage.actor("ann@build", Machine::Here);
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        let kept = kept(&ann);
        assert_eq!(kept[0].connections, None);
        assert!(kept[0].why.as_deref().is_some_and(|it| it.contains(why)));
        // Not one more with each deploy, where it can never be seen.
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [2, 3, 4]);
    });
}

/// A plan that says how many there are at most is obeyed: a client that never goes would fill the disk.
#[test]
fn what_is_beyond_the_most_is_removed_all_the_same() {
    paused(async {
        let (stage, ann) = three(|plan| plan.policy.max = Some(1)).await;
        assert_eq!(standing(&stage), [2, 3]);
        assert_eq!(kept(&ann), []);
    });
}

/// Where clients remember nothing, nobody looks.
#[test]
fn of_a_pointer_whose_clients_remember_nothing_nobody_is_looked_for() {
    paused(async {
        let stage = THIRD.stage(Core::default(), Flaw::None);
        lock(&stage.world).pointer_is_cached = false;
        let ann = stage.actor("ann@build", Machine::Here);
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [2, 3]);
        assert_eq!(lock(&stage.world).faults.count(Op::Clients), 0);
    });
}

/// What is kept is kept whole: it is not put to sleep either, and is told of once.
#[test]
fn what_is_kept_is_awake_until_nobody_comes_any_more() {
    paused(async {
        let stage = SLEEPY.stage(Core::default(), Flaw::None);
        lock(&stage.world).clients.insert(Release(1), 1);
        let ann = stage.actor("ann@build", Machine::Here);
        ann.perform(Verb::Deploy).await;
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        let told = kept(&ann);
        let told: Vec<_> = told.iter().map(|one| one.release).collect();
        assert_eq!(told, [Release(1), Release(1)]);
        let asleep = |stage: &Stage| stage.checker().sleepers();
        assert_eq!(asleep(&stage), [Release(2)].into());
        lock(&stage.world).clients.clear();
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [3, 4]);
        assert_eq!(asleep(&stage), [Release(3)].into());
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn a_prune_by_force_waits_for_nobody() {
    let kept = "kept: shop@1, which clients may still use";
    paused(async {
        for (verb, left, first) in [
            (Verb::Prune, &[1, 2, 3][..], kept),
            (Verb::PruneByForce, &[2, 3], "removed shop@1"),
        ] {
            let stage = PRUNE.stage(Core::default(), Flaw::None);
            let ann = stage.actor("ann@build", Machine::Here);
            ann.perform(verb).await;
            assert_eq!(standing(&stage), left);
            assert_eq!(stage.checker().sleepers(), [Release(2)].into());
            assert_eq!(verdict(&stage), Ok(()));
            let said = ann.report.said.lock().unwrap().last().cloned();
            let told = format!("{first}\nput to sleep: shop@2 (frozen)");
            assert_eq!(said, Some(told));
        }
    });
}

/// Who cannot be seen may be there: what they come to is not frozen under them.
#[test]
fn what_cannot_be_seen_is_not_put_to_sleep() {
    paused(async {
        let stage = SLEEPY.stage(Core::default(), Flaw::None);
        let refused = Fault::Refused("no image of flipside can be built".into());
        lock(&stage.world).faults.always(Op::Clients, refused);
        let ann = stage.actor("ann@build", Machine::Here);
        ann.perform(Verb::Deploy).await;
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        assert_eq!(stage.checker().sleepers(), [].into());
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [2, 3, 4]);
        assert_eq!(stage.checker().sleepers(), [].into());
    });
}

/// What a way back has left is not kept for ever either, where the plan says how many.
#[test]
fn of_what_is_withdrawn_no_more_is_kept_than_the_plan_says() {
    paused(async {
        let plan = |plan: &mut flipside::core::plan::Plan| plan.policy.max = Some(1);
        let scenario = Scenario { plan, ..THIRD };
        let stage = scenario.stage(Core::default(), Flaw::None);
        let ann = stage.actor("ann@build", Machine::Here);
        // 2 and 3 are left by a way back, and clients still come to both.
        lock(&stage.world).clients = [(Release(2), 1), (Release(3), 1)].into();
        ann.perform(Verb::Rollback).await;
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        ann.perform(Verb::Rollback).await;
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [1, 3, 4]);
    });
}

/// What is asked while it is looked is heard at once.
fn asked_meanwhile(scenario: Scenario, what: &Ask) -> (Done, Vec<u64>) {
    paused(async {
        let stage = scenario.stage(Core::default(), Flaw::None);
        lock(&stage.world)
            .faults
            .plan(Op::Clients, [Fault::HangBefore]);
        let ann = stage.actor("ann@build", Machine::Here);
        let asked = async {
            while !ann.life.counts().contains_key(&Op::Clients) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let engine = Arc::clone(&ann.operator.engine);
            let asked = ask(engine, &stage.service, what, "SIGTERM").await;
            assert!(asked.unwrap().is_some());
            Instant::now()
        };
        let (done, asked) = tokio::join!(ann.perform(scenario.verb), asked);
        assert!(asked.elapsed() < Duration::from_secs(5), "{done:?}");
        let next = stage.actor("dan@desk", Machine::Here);
        next.perform(Verb::Resume).await;
        assert_eq!(verdict(&stage), Ok(()));
        (done, standing(&stage))
    })
}

#[test]
fn what_is_asked_while_it_is_looked_is_heard_at_once() {
    for scenario in [THIRD, SLEEPY] {
        let (done, _) = asked_meanwhile(scenario, &Ask::Leave);
        assert_eq!(done.outcome(), Some(Outcome::Interrupted), "{done:?}");
        let (done, _) = asked_meanwhile(scenario, &Ask::Abort);
        assert_eq!(done.outcome(), Some(Outcome::RolledBack), "{done:?}");
        let (done, _) = asked_meanwhile(scenario, &Ask::Yield);
        assert_eq!(done.outcome(), Some(Outcome::Interrupted), "{done:?}");
    }
    let (done, standing) = asked_meanwhile(PRUNE, &Ask::Leave);
    assert!(matches!(done, Done::Exit(Exit::Refused)), "{done:?}");
    assert_eq!(standing, [1, 2, 3]);
}
