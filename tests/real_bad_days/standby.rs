//! What a rollback goes to has suffered while it waited.

use crate::bad_days::{Day, Serves};
use crate::real_verbs::kit::{Stage, docker};

/// One whose release 2 is live and whose release 1 stands by.
fn with_standby() -> Stage {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    stage.deploy(&["VERSION=new"]);
    stage
}

#[test]
fn it_has_died() {
    let stage = with_standby();
    docker(&["stop", "--time", "0", &stage.container(1)]);
    let refused = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("standby-died", &stage).saw("flipside rollback shop", &refused);
    day.serves(Serves::Before("new"));
    refused.ended(4);
    docker(&["start", &stage.container(1)]);
    stage.expect(0, &["rollback", &stage.service, "--yes"]);
    stage.serves("old");
}

#[test]
fn its_container_has_been_removed() {
    let stage = with_standby();
    docker(&["rm", "--force", &stage.container(1)]);
    let refused = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("standby-removed", &stage).saw("flipside rollback shop", &refused);
    day.serves(Serves::Before("new"));
    refused.ended(4);
}

#[test]
fn its_image_has_been_removed() {
    let stage = Stage::new();
    let plan = stage.plan();
    let line = plan.lines().find(|line| line.contains("image:")).unwrap();
    stage.write("flipside.yaml", plan.replace(line, "    build: ."));
    for version in ["old", "new"] {
        let file = format!(
            "FROM {}\nLABEL of={}-{version}\n",
            crate::support::docker::hello_tag(),
            stage.service
        );
        stage.write("Dockerfile", file);
        stage.deploy(&[&format!("VERSION={version}")]);
    }
    // The engine gives no image away that runs: it goes with the standby at rest.
    let container = stage.container(1);
    let image = docker(&["inspect", "--format", "{{.Image}}", &container]);
    docker(&["stop", "--time", "0", &container]);
    docker(&["rmi", "--force", &image]);
    let left = docker(&["images", "--all", "--quiet", "--no-trunc"]);
    assert!(!left.contains(&image), "the engine keeps it: {left}");
    docker(&["start", &container]);
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("standby-image-gone", &stage).saw("flipside rollback shop", &back);
    day.serves(Serves::New("old"));
    back.ended(0);
}

#[test]
fn it_was_frozen_and_somebody_has_unpaused_it() {
    let stage = Stage::new();
    let plan = stage.plan().replace("keep: 1", "keep: 1, mode: frozen");
    stage.write("flipside.yaml", plan);
    stage.deploy(&["VERSION=old"]);
    stage.deploy(&["VERSION=new"]);
    let standby = stage.container(1);
    let state = || docker(&["inspect", "--format", "{{.State.Status}}", &standby]);
    assert_eq!(state(), "paused");
    docker(&["unpause", &standby]);
    let status = stage.run(&["status", &stage.service]);
    let day = Day::of("standby-woken", &stage).saw("flipside status shop", &status);
    let day = day.meanwhile(Serves::Before("new"));
    let pruned = stage.run(&["prune", &stage.service]);
    let day = day.saw("flipside prune shop", &pruned);
    let day = day.meanwhile(Serves::Before("new"));
    assert_eq!(state(), "paused", "{pruned}");
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = day.saw("flipside rollback shop", &back);
    day.serves(Serves::New("old"));
    for ran in [status, pruned, back] {
        ran.ended(0);
    }
}
