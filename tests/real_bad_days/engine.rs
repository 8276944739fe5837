//! The engine goes away, and what it has to give is used up.

use super::phase::{Phase, Rig};
use crate::bad_days::{Day, Serves};
use crate::real_haproxy::kit::{Config, Haproxy};
use crate::real_verbs::kit::{Stage, runtime};

/// Longer than any of these days.
const FOR_EVER: u32 = 600_000;

/// The engine goes away in `phase`, and is back once the deploy has ended.
fn gone(day: &'static str, phase: Phase) {
    // Longer than the lease lives; a bake is baked to its end by the one who resumes.
    let wait = if phase == Phase::Bake {
        20_000
    } else {
        FOR_EVER
    };
    let rig = Rig::new(phase, wait);
    let stage = &rig.stage;
    let held = rig.hold();
    rig.engine.cut();
    rig.go_on(&held);
    let cut = held.end();
    let moved = phase.is_switched() || phase == Phase::Switch;
    rig.engine.mend();
    let served = if moved {
        Serves::New("new")
    } else {
        Serves::Before("old")
    };
    let day = Day::of(day, stage).saw("flipside deploy", &cut);
    let day = day.meanwhile(served);
    if moved {
        let resumed = stage.run(&["resume", &stage.service]);
        let day = day.saw("flipside resume shop", &resumed);
        day.serves(Serves::New("new"));
        resumed.ended(0);
    } else {
        // What it waited for never comes.
        let aborted = stage.run(&["abort", &stage.service]);
        let day = day.saw("flipside abort shop", &aborted);
        day.serves(Serves::Before("old"));
        aborted.ended(0);
    }
    cut.ended(6);
    rig.is_tidy();
}

#[test]
fn it_goes_away_while_images_are_prepared() {
    gone("engine-gone-prepare", Phase::Prepare);
}

#[test]
fn it_goes_away_while_the_candidate_stands_up() {
    gone("engine-gone-stand-up", Phase::StandUp);
}

#[test]
fn it_goes_away_while_the_candidate_is_proven() {
    gone("engine-gone-prove", Phase::Prove);
}

#[test]
fn it_goes_away_at_the_switch() {
    gone("engine-gone-switch", Phase::Switch);
}

#[test]
fn it_goes_away_during_the_bake() {
    gone("engine-gone-bake", Phase::Bake);
}

#[test]
fn it_goes_away_during_the_drain() {
    gone("engine-gone-drain", Phase::Drain);
}

#[test]
fn it_goes_away_while_the_oldest_is_retired() {
    gone("engine-gone-retire", Phase::Retire);
}

#[test]
fn it_is_not_there_at_all() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let mut command = stage.command(&["deploy"]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let ran = crate::real_verbs::kit::Running::start(command).end();
    ran.ended(7);
    let day = Day::of("engine-away", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
}

#[test]
fn it_is_back_before_anybody_gives_up() {
    let rig = Rig::new(Phase::Prove, 4_000);
    let stage = &rig.stage;
    let held = rig.hold();
    rig.engine.cut();
    // As long as it is away.
    std::thread::sleep(std::time::Duration::from_secs(3));
    rig.engine.mend();
    let ran = held.end();
    ran.ended(0);
    let day = Day::of("engine-blinks", stage).saw("flipside deploy", &ran);
    day.serves(Serves::New("new"));
    rig.is_tidy();
}

#[test]
fn its_subnets_are_used_up() {
    let stage = Stage::new();
    // A pool of one piece, which the live release has.
    let [x, y, ..] = getrandom::u32().unwrap().to_be_bytes();
    let piece = u32::from(y % 4) * 64;
    let pool = format!("10.{}.{x}.{piece}/26", 216 + y / 4 % 8);
    let plan = stage.plan() + &format!("pools: {{ networks: {pool} }}\n");
    stage.write("flipside.yaml", plan);
    stage.deploy(&["VERSION=old"]);
    let ran = stage.run(&["deploy"]);
    let day = Day::of("subnets-used-up", &stage).naming(&pool, "10.213.0.0/26");
    let day = day.saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
    ran.ended(3);
    stage.nothing_left_of(2);
}

/// The only port of a plan's range is the test's own.
#[test]
fn its_ports_are_used_up() {
    let stage = Stage::new();
    let haproxy = runtime().block_on(Haproxy::start_with(Config {
        port: stage.port,
        ..Config::default()
    }));
    let mut pointer: serde_json::Value = serde_json::from_str(&haproxy.section()).unwrap();
    pointer["haproxy"]["reach"] = serde_json::json!({"published": "127.0.0.1"});
    let embedded = format!("{{ listen: \"127.0.0.1:{}\" }}", stage.port);
    let plan = stage
        .plan()
        .replace(&format!("\n  proxy: {embedded}"), &format!(" {pointer}"));
    stage.write("flipside.yaml", &plan);
    stage.deploy(&["VERSION=old"]);
    let mut ports = 20_000..30_000;
    let held = ports.find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok());
    let port = held
        .as_ref()
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    stage.write(
        "flipside.yaml",
        plan + &format!("pools: {{ ports: {port}-{port} }}\n"),
    );
    let ran = stage.run(&["deploy"]);
    let day = Day::of("ports-used-up", &stage).naming(&port, "20000");
    let day = day.saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
    ran.ended(3);
    stage.nothing_left_of(2);
}
