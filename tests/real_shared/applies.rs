//! `shared apply`: asked for, said, done; and undone where the new container does not come up.

use rustix::process::Signal;

use super::{apply, containers, db, inspect, life, runs, stage, variable};
use crate::real_verbs::kit::docker;

#[test]
fn applying_takes_the_settings_and_keeps_the_data() {
    let stage = stage();
    stage.deploy(&[]);
    let db = db(&stage);
    let (before, address) = (life(&db), inspect(&db));
    let same = apply(&stage, 0, &[]);
    same.says(&["`db` is as the plan has it", "nothing to apply"]);
    let dry = stage.expect(0, &["shared", "apply", "--dry-run", "--set", "DB=2"]);
    dry.says(&[
        "`db` differs in `environment.VERSION`",
        "`db` stops for as long as it takes to start again; every release that uses it sees it gone",
    ]);
    let unasked = stage.expect(2, &["shared", "apply", "--set", "DB=2"]);
    unasked.says(&["would apply the plan to `db`", "--yes"]);
    assert_eq!(life(&db), before);

    let done = apply(&stage, 0, &["DB=2"]);
    done.says(&["the shared role `db` runs with the plan's settings"]);
    assert_eq!(containers(&stage), [db.as_str()]);
    assert_ne!(life(&db), before);
    assert_eq!(variable(&db, "VERSION"), "2");
    let after = inspect(&db);
    let volume = |of: &serde_json::Value| of["Mounts"][0]["Name"].clone();
    assert_eq!(volume(&after), volume(&address));
    assert_eq!(volume(&after), format!("{}_data", stage.service));
    let network = format!("flipside.{}.shared", stage.service);
    let ip =
        |of: &serde_json::Value| of["NetworkSettings"]["Networks"][&network]["IPAddress"].clone();
    assert_eq!(ip(&after), ip(&address));
    stage.deploy(&["DB=2"]);
    let history = stage.expect(0, &["history", &stage.service]);
    history.says(&["shared apply db", "done"]);
}

#[test]
fn one_that_does_not_come_up_is_undone() {
    let stage = stage();
    stage.deploy(&[]);
    let db = db(&stage);
    let before = life(&db);
    let failed = apply(&stage, 3, &["DB=2", "DB_EXIT=7"]);
    failed.says(&[
        "the shared role `db` did not come up with its new settings, and the old container was put \
         back",
        "exiting with 7, as EXIT_AT_START says",
    ]);
    assert_eq!(containers(&stage), [db.as_str()]);
    assert_eq!(life(&db).0, before.0);
    assert!(runs(&db));
    let policy = &inspect(&db)["HostConfig"]["RestartPolicy"]["Name"];
    assert_eq!(policy, "unless-stopped");
    stage.deploy(&["VERSION=two"]);
}

#[test]
fn one_that_takes_too_long_is_undone() {
    let stage = stage();
    stage.deploy(&[]);
    let db = db(&stage);
    let before = life(&db);
    let failed = apply(&stage, 3, &["DB=2", "DB_DELAY=60000", "DEADLINE=2s"]);
    failed.says(&["was put back: after 2 s it is running, not healthy yet"]);
    assert_eq!(containers(&stage), [db.as_str()]);
    assert_eq!(life(&db).0, before.0);
    assert!(runs(&db));
}

#[test]
fn that_a_role_stops_is_said_when_it_does() {
    let stage = stage();
    stage.deploy(&[]);
    let db = db(&stage);
    let before = life(&db);
    let failed = apply(&stage, 3, &["DB=2", "DB_IMAGE=registry.invalid/db:1"]);
    failed.never_says("`db` stops, for as long");
    assert_eq!(life(&db), before);
    let done = apply(&stage, 0, &["DB=2"]);
    done.says(&["`db` stops, for as long as it takes to start again"]);
}

#[test]
fn who_asks_it_to_stop_is_answered_at_once() {
    let stage = stage();
    stage.deploy(&[]);
    let words = [
        "shared",
        "apply",
        "--yes",
        "--set",
        "DB=2",
        "--set",
        "DB_DELAY=2000",
    ];
    let mut applying = stage.start(&words);
    applying.until_shown("`db` stops, for as long as it takes to start again");
    applying.signal(Signal::INT);
    applying.until_shown("`SIGINT` asks to stop; `db` is not left halfway");
    assert_ne!(variable(&db(&stage), "VERSION"), "2", "it is done already");
    let ran = applying.end();
    ran.says(&["the shared role `db` runs with the plan's settings"]);
    assert_eq!(variable(&db(&stage), "VERSION"), "2");
}

#[test]
fn data_without_a_name_is_carried_over() {
    let stage = stage();
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    let plan = plan.replace("[\"data:/data\"]", "[/data]");
    stage.write(
        "flipside.yaml",
        plan.replace("volumes: { data", "x-none: { data"),
    );
    stage.deploy(&[]);
    let db = db(&stage);
    let volume = inspect(&db)["Mounts"][0]["Name"].clone();
    apply(&stage, 0, &["DB=2"]);
    assert_eq!(inspect(&db)["Mounts"][0]["Name"], volume);
    docker(&["rm", "-fv", &db]);
    // It is named by the container that it went over to, and so not removed with it.
    docker(&["volume", "rm", volume.as_str().unwrap()]);
}
