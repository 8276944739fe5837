//! Where the workers that run are not the live release's, on a pure core; and what is foretold.

use flipside::core::names::Release;
use flipside::core::plan::Run;
use flipside::core::routing::Route;
use flipside::core::workers::{Foretold, astray, disagreements, outlived, releases};
use flipside::core::world::{ContainerState, World};

use crate::support::facts;

/// Releases 1 and 2, of which 2 is live, with a container of the exposed role and a worker each that
/// does this.
fn world(does: [ContainerState; 2]) -> World {
    let base = facts::world().environments.remove(0);
    let environments = (1..).zip(does).map(|(release, state)| {
        let mut environment = base.clone();
        environment.release = Release(release);
        environment.expected = 2;
        let mut web = base.containers[0].clone();
        web.state = ContainerState::Running;
        let mut worker = web.clone();
        worker.role = facts::role("worker");
        worker.name = format!("shop-{release}-worker-1");
        worker.run = Run::LiveOnly;
        worker.state = state;
        environment.containers = vec![web, worker];
        environment
    });
    let mut routing = facts::routing();
    routing.routes = vec![Route {
        release: Release(2),
        weight: 100,
        endpoints: base.endpoints()[..1].to_vec(),
        ..routing.routes.remove(0)
    }];
    World {
        environments: environments.collect(),
        routing: Some(routing),
        ..World::default()
    }
}

const RUNS: ContainerState = ContainerState::Running;
const RESTS: ContainerState = ContainerState::Exited {
    code: 0,
    oom: false,
};

fn said(does: [ContainerState; 2]) -> String {
    disagreements(&world(does)).join("\n")
}

#[test]
fn the_live_releases_workers_and_no_others_are_to_run() {
    assert_eq!(said([RESTS, RUNS]), "");
    assert_eq!(said([ContainerState::Created, RUNS]), "");
    insta::assert_snapshot!(said([RUNS, RUNS]), @"two run: live-only containers run in more than one release: `shop-1-worker-1`");
    insta::assert_snapshot!(said([RESTS, RESTS]), @"none runs: no live-only container runs, and release 2 is live: `shop-2-worker-1`");
    insta::assert_snapshot!(said([RUNS, ContainerState::Created]), @"
    live-only containers run in a release that is not live: `shop-1-worker-1`
    not all live-only containers run, and release 2 is live: `shop-2-worker-1`
    ");
    // One that the engine starts again and again is at work, and does not run.
    let again = ContainerState::Restarting;
    assert!(said([again, RUNS]).starts_with("two run"));
}

#[test]
fn workers_are_handed_over_where_the_pointer_says_whose_are_to_run() {
    let whose = |does| astray(&world(does));
    let again = ContainerState::Restarting;
    assert_eq!(whose([RESTS, RUNS]), None);
    assert_eq!(whose([ContainerState::Created, again.clone()]), None);
    for does in [
        [RUNS, RUNS],
        [RESTS, RESTS],
        [RUNS, ContainerState::Created],
        [again, RUNS],
    ] {
        assert_eq!(whose(does.clone()), Some(Release(2)), "{does:?}");
        let mut edited = world(does);
        let routing = edited.routing.as_mut().unwrap();
        routing.routes[0].endpoints.clear();
        assert_eq!(astray(&edited), None, "by hand");
        edited.routing = None;
        assert_eq!(astray(&edited), None);
        assert_eq!(disagreements(&edited), [""; 0]);
    }
}

#[test]
fn what_rests_is_no_part_that_is_missing() {
    let world = world([RESTS, RESTS]);
    let standby = &world.environments[0];
    assert!(standby.is_up());
    assert_eq!(standby.at_rest().containers.len(), 1);
    assert_eq!(standby.at_rest().expected, 1);
    assert_eq!(standby.at_work().containers[0].name, "shop-1-worker-1");
    let mut gone = standby.clone();
    gone.containers.pop();
    assert!(!gone.is_up(), "its worker has been removed");
}

#[test]
fn what_a_move_would_do_with_workers_is_foretold() {
    let world = world([RESTS, RUNS]);
    let with = releases(&world);
    assert_eq!(with, [Release(1), Release(2)]);
    let told = |with: &[Release], to| Foretold::of(&world, with, Release(to)).words(&facts::shop());
    insta::assert_snapshot!(told(&with, 1).unwrap(), @"would then stop the workers of shop@2, and after that start those of shop@1");
    insta::assert_snapshot!(told(&with, 2).unwrap(), @"would then start the workers of shop@2");
    insta::assert_snapshot!(told(&with, 3).unwrap(), @"would then stop the workers of shop@2");
    let none = Foretold::of(&World::default(), &[], Release(3));
    assert_eq!(none.words(&facts::shop()), None);
}

#[test]
fn what_ran_always_before_its_role_became_live_only_is_found() {
    let mut world = world([RUNS, RUNS]);
    let mut plan = facts::plan(&[("web", 1), ("worker", 1)], vec![]);
    assert_eq!(outlived(&world, &plan), [""; 0]);
    let worker = plan.roles.get_mut(&facts::role("worker")).unwrap();
    worker.run = Run::LiveOnly;
    assert_eq!(outlived(&world, &plan), [""; 0]);
    for environment in &mut world.environments {
        environment.containers[1].run = Run::Always;
    }
    world.environments[0].containers[1].state = RESTS;
    assert_eq!(outlived(&world, &plan), ["shop-2-worker-1"]);
}
