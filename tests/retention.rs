//! Which environments a deploy and `prune` may remove: `keep`, `for` and `max`, on a pure core.

use std::collections::BTreeMap;

use flipside::core::names::{Millis, Release};
use flipside::core::plan::Policy;
use flipside::core::routing::{Marks, Route, Routing};
use flipside::core::survey::{prunable, retirable, spared};
use flipside::core::world::World;

use crate::support::facts;

const HOUR: Millis = 3_600_000;
/// When release 0 would have been made; each came an hour after the one before.
const BEGAN: Millis = 1_700_000_000_000;

/// Releases 1 to `live`, all of which have served, one after the other.
fn world(live: u64) -> World {
    let base = facts::world().environments.remove(0);
    let releases = || (1..=live).map(Release);
    let environments = releases().map(|release| {
        let mut environment = base.clone();
        environment.release = release;
        environment.created = BEGAN + release.0 * HOUR;
        environment
    });
    let marks: BTreeMap<_, _> = releases()
        .map(|release| {
            let marks = Marks {
                proven: true,
                served: Some(release.0),
                withdrawn: false,
            };
            (release, marks)
        })
        .collect();
    let route = Route {
        release: Release(live),
        ..facts::routing().routes.remove(0)
    };
    World {
        environments: environments.collect(),
        routing: Some(Routing {
            generation: live,
            routes: vec![route],
            marks,
            ..facts::routing()
        }),
        engine_marks: BTreeMap::new(),
    }
}

/// What goes of six releases, half an hour after the last was made.
fn gone(keep: u32, keep_for_ms: Millis, max: Option<u32>) -> Vec<u64> {
    let policy = Policy {
        keep,
        keep_for_ms,
        max,
        ..Policy::default()
    };
    let (world, now) = (world(6), BEGAN + 6 * HOUR + HOUR / 2);
    let gone = retirable(&world, &policy, now);
    assert_eq!(prunable(&world, &policy, now), gone);
    for release in spared(&world, &policy) {
        assert!(!gone.contains(&release), "{release} is spared, and goes");
    }
    gone.into_iter().map(|release| release.0).collect()
}

#[test]
fn so_many_are_kept_whatever_their_age() {
    assert_eq!(gone(1, 0, None), [1, 2, 3, 4]);
    assert_eq!(gone(3, 0, None), [1, 2]);
    assert_eq!(gone(9, 0, None), [0; 0]);
    assert_eq!(
        gone(0, 0, None),
        [1, 2, 3, 4],
        "never the one to go back to"
    );
}

#[test]
fn those_left_lately_are_kept_too() {
    // Release 4 was left when 5 was made, an hour and a half ago.
    assert_eq!(gone(1, HOUR, None), [1, 2, 3, 4]);
    assert_eq!(gone(1, HOUR + HOUR / 2 + 1, None), [1, 2, 3]);
    assert_eq!(gone(1, 3 * HOUR, None), [1, 2]);
    assert_eq!(gone(1, 24 * HOUR, None), [0; 0]);
}

#[test]
fn a_bound_holds_for_both() {
    assert_eq!(gone(1, 24 * HOUR, Some(2)), [1, 2, 3]);
    assert_eq!(gone(1, 24 * HOUR, Some(1)), [1, 2, 3, 4]);
    assert_eq!(gone(1, 24 * HOUR, Some(5)), [0; 0]);
    assert_eq!(gone(1, 0, Some(3)), [1, 2, 3, 4], "it asks for none");
}

#[test]
fn withdrawn_ones_go_with_a_deploy_and_stay_with_prune() {
    let mut world = world(3);
    let marks = &mut world.routing.as_mut().unwrap().marks;
    marks.get_mut(&Release(1)).unwrap().withdrawn = true;
    let (policy, now) = (Policy::default(), BEGAN + 9 * HOUR);
    assert_eq!(retirable(&world, &policy, now), [Release(1)]);
    assert_eq!(prunable(&world, &policy, now), []);
}
