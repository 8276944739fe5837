//! The proxy is stopped, killed, old, or somebody else's.

use std::sync::Arc;

use super::phase::{Held, Phase, Rig};
use super::relay::Relay;
use crate::bad_days::{Day, Serves};
use crate::real_crash::kit::{as_root, quiet};
use crate::real_verbs::kit::{Running, Stage, docker};

/// Waits until version `version` answers.
fn comes_back(stage: &Stage, version: &str) {
    let deadline = std::time::Instant::now() + crate::real_verbs::kit::LONG;
    loop {
        if let Ok((200, body)) = stage.try_get("test", "/") {
            assert_eq!(body, version);
            return;
        }
        assert!(std::time::Instant::now() < deadline, "nothing answers");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn it_is_stopped_by_hand() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=oldest"]);
    stage.deploy(&["VERSION=old"]);
    docker(&["stop", &stage.proxy]);
    let status = stage.run(&["status", &stage.service]);
    let day = Day::of("proxy-stopped-status", &stage).saw("flipside status shop", &status);
    day.serves(Serves::Nothing);
    status.ended(0);
    // It would say what it would do, and starts nothing.
    let dry = stage.run(&["rollback", &stage.service, "--dry-run"]);
    let day = Day::of("proxy-stopped-dry-run", &stage);
    let day = day.saw("flipside rollback shop --dry-run", &dry);
    day.serves(Serves::Nothing);
    dry.ended(7);
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("proxy-stopped-rollback", &stage).saw("flipside rollback shop", &back);
    day.serves(Serves::New("oldest"));
    back.ended(0);
    docker(&["stop", &stage.proxy]);
    let ran = stage.run(&["deploy", "--set", "VERSION=new"]);
    let day = Day::of("proxy-stopped-deploy", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::New("new"));
    ran.ended(0);
    assert_eq!(stage.releases(), (Some(3), vec![1]));
}

#[test]
fn it_is_killed_and_comes_back() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let mut baking = stage.start(&["deploy", "--set", "VERSION=new", "--set", "BAKE=6s"]);
    baking.until_shown("bakes for");
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &stage.proxy]);
    quiet(&[as_root(), &["kill", "-9", &pid]].concat());
    comes_back(&stage, "new");
    let ran = baking.end();
    let day = Day::of("proxy-killed", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::New("new"));
    ran.ended(0);
}

/// A deploy whose proxy goes away while the move is on its way to it.
fn goes_at_the_switch() -> (Rig, Held) {
    let rig = Rig::new(Phase::Switch, 0);
    let held = rig.hold();
    (rig, held)
}

#[test]
fn it_is_killed_at_the_switch() {
    let (rig, held) = goes_at_the_switch();
    let stage = &rig.stage;
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &stage.proxy]);
    quiet(&[as_root(), &["kill", "-9", &pid]].concat());
    rig.go_on(&held);
    let ran = held.end();
    let day = Day::of("proxy-killed-switch", stage).saw("flipside deploy", &ran);
    day.serves(Serves::New("new"));
    ran.ended(0);
    rig.is_tidy();
}

#[test]
fn it_is_stopped_by_hand_at_the_switch() {
    let (rig, held) = goes_at_the_switch();
    let stage = &rig.stage;
    docker(&["stop", &stage.proxy]);
    rig.go_on(&held);
    let ran = held.end();
    let day = Day::of("proxy-stopped-switch", stage).saw("flipside deploy", &ran);
    let day = day.meanwhile(Serves::Nothing);
    docker(&["start", &stage.proxy]);
    comes_back(stage, "old");
    let (typed, resumed) = rig.resume();
    let day = day.saw(typed, &resumed);
    day.serves(Serves::New("new"));
    ran.ended(6);
    resumed.ended(0);
    rig.is_tidy();
}

#[test]
fn it_is_of_an_older_version() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let real = stage
        .path()
        .join("run")
        .join(&stage.proxy)
        .join("control.sock");
    let seen = stage.path().join("seen");
    // It knows no check that looks into an answer, and no request of that name.
    let _old = Relay::with(
        &seen.join(&stage.proxy).join("control.sock"),
        &real,
        Arc::new(|said| said.replace("\"op\":\"check\"", "\"op\":\"unheard-of\"")),
        Arc::new(|said| {
            let own = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
            said.replace(&own, "\"version\":\"0.0.9\"")
        }),
    );
    let plan = stage.plan();
    let plan = plan.replace("interval: 100ms", "contains: \"\", interval: 100ms");
    stage.write("flipside.yaml", plan);
    let mut command = stage.command(&["deploy", "--set", "DEADLINE=2s"]);
    command.env("FLIPSIDE_RUN_DIR", &seen);
    let ran = Running::start(command).end();
    let day = Day::of("proxy-old", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
    ran.ended(3);
    stage.nothing_left_of(2);
}

#[test]
fn it_is_somebody_elses() {
    let stage = Stage::new();
    docker(&["create", "--name", &stage.proxy, &stage.image]);
    let ran = stage.run(&["deploy"]);
    let day = Day::of("proxy-strangers", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Nothing);
    ran.ended(4);
    assert_eq!(stage.parts(), [""; 0]);
    let stands = docker(&["inspect", "--format", "{{.State.Status}}", &stage.proxy]);
    assert_eq!(stands, "created");
}
