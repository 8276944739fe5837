//! Late clients: what they still come to is neither removed nor put to sleep, whatever befalls who
//! would have done so; and goes once they are gone.

use std::sync::Arc;

use flipside::core::event::{Event, Kept};
use flipside::core::names::Release;
use flipside::core::plan::StandbyMode;
use flipside::drive::Core;
use flipside::error::Exit;

use super::cases::{PLAIN, Scenario, paused, verdict};
use super::stage::{Actor, Done, Flaw, Machine, Stage, Verb};
use super::sweep::{Course, cuts, faults, kills, lates, learn, play, untroubled};
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

/// The calls that look for clients, and those that would cut them off.
fn own_calls(course: &Course) -> Course {
    let own = |op: &Op| matches!(op, Op::Clients | Op::TearDown | Op::Freeze | Op::Forget);
    let calls = course.calls.iter().filter(|(op, _)| own(op));
    Course {
        records: course.records.clone(),
        calls: calls.map(|(op, count)| (*op, *count)).collect(),
    }
}

#[test]
fn whatever_befalls_who_looks_for_clients_they_keep_what_they_come_to() {
    for pointer_keeps_marks in [true, false] {
        for scenario in [THIRD, SLEEPY] {
            let scenario = Scenario {
                pointer_keeps_marks,
                ..scenario
            };
            let course = learn(scenario);
            assert_eq!(course.calls.get(&Op::Clients), Some(&1), "{course:?}");
            let few = own_calls(&course);
            let mut cases = untroubled(scenario, &course);
            cases.extend(cuts(scenario, &course));
            cases.extend(kills(scenario, &few));
            cases.extend(faults(scenario, &few));
            cases.extend(lates(scenario, &few));
            play(&cases);
        }
    }
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

/// What was kept, by the records of the run.
fn kept(actor: &Actor) -> Vec<Kept> {
    let records = actor.tape.written.lock().unwrap();
    let kept = records.iter().filter_map(|record| match &record.event {
        Event::Retired { kept, .. } => Some(kept.clone()),
        _ => None,
    });
    kept.flatten().collect()
}

#[test]
fn what_clients_still_come_to_goes_once_they_are_gone() {
    paused(async {
        let (stage, ann) = three(|_| {}).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        let two = Kept {
            release: Release(1),
            clients: Some(2),
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
        let why = "no image for the proxy can be built";
        let refused = Fault::Refused(why.into());
        lock(&stage.world).faults.always(Op::Clients, refused);
        let ann = stage.actor("ann@build", Machine::Here);
        ann.perform(Verb::Deploy).await;
        assert_eq!(standing(&stage), [1, 2, 3]);
        let kept = kept(&ann);
        assert_eq!(kept[0].clients, None);
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
