//! A deploy stands shared roles up, waits for them, and touches none that stands.

use super::{containers, db, inspect, life, runs, stage};
use crate::real_verbs::kit::docker;

#[test]
fn a_shared_role_is_stood_up_once_and_no_deploy_touches_it() {
    let stage = stage();
    let dry = stage.expect(0, &["deploy", "--dry-run"]);
    dry.says(&["would stand up the shared role `db`"]);
    assert_eq!(stage.parts(), [""; 0]);
    stage.deploy(&["VERSION=one"]);
    let db = db(&stage);
    assert_eq!(containers(&stage), [db.as_str()]);
    let before = life(&db);
    // By its name on a network of its own, which the release is in under its unique name only.
    let network = format!("flipside.{}.shared", stage.service);
    let aliases = &inspect(&db)["NetworkSettings"]["Networks"][&network]["Aliases"];
    assert!(
        aliases.as_array().unwrap().contains(&"db".into()),
        "{aliases}"
    );
    let web = inspect(&stage.container(1));
    let endpoint = &web["NetworkSettings"]["Networks"][&network];
    assert!(endpoint.is_object(), "{web}");
    let aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
    assert!(!aliases.contains(&"web".into()), "{aliases:?}");
    let policy = &inspect(&db)["HostConfig"]["RestartPolicy"]["Name"];
    assert_eq!(policy, "unless-stopped");

    stage.deploy(&["VERSION=two"]);
    stage.deploy(&["VERSION=three"]);
    stage.expect(0, &["rollback", &stage.service, "--yes"]);
    stage.expect(0, &["prune", &stage.service]);
    assert_eq!(life(&db), before);
    let shown = stage.expect(0, &["status", &stage.service]);
    shown.says(&["shared role", &db, "healthy", "flipside"]);
    let status = stage.status();
    assert_eq!(status["shared"][0]["role"], "db");
    assert_eq!(status["shared"][0]["health"], "healthy");
    let down = stage.expect(0, &["down", &stage.service, "--yes"]);
    down.says(&["the shared roles go on running (`db`)", "--shared"]);
    assert_eq!(life(&db), before);
    assert!(runs(&db));
}

#[test]
fn a_changed_setting_is_refused_before_anything_is_touched() {
    let stage = stage();
    stage.deploy(&[]);
    let (before, parts) = (life(&db(&stage)), stage.parts());
    let words = ["deploy", "--set", "DB=2", "--set", "DB_IMAGE=example/db:9"];
    let refused = stage.expect(4, &words);
    let service = &stage.service;
    let expected = format!(
        "error: shared roles of `{service}` differ from the plan; nothing was touched\n  `db`: \
         `environment.VERSION` and `image` ({} → example/db:9)\n\nhint: take the plan's settings, \
         which means a downtime: flipside shared apply\n",
        stage.image
    );
    assert_eq!(refused.err, expected);
    let mut dry = words.to_vec();
    dry.extend(["--dry-run", "--output", "json"]);
    let error = stage.expect(4, &dry).error();
    assert_eq!(error["error"], "shared-differs");
    assert_eq!(life(&db(&stage)), before);
    assert_eq!(stage.parts(), parts);
    // Another release with the same shared role goes through.
    stage.deploy(&["VERSION=two"]);
    assert_eq!(life(&db(&stage)), before);
}

#[test]
fn a_release_waits_for_the_health_of_a_shared_role_and_says_which() {
    let stage = stage();
    let refused = stage.expect(
        3,
        &["deploy", "--set", "DB_DELAY=60000", "--set", "DEADLINE=3s"],
    );
    refused.says(&[
        "did not stand up within 3 s: it waits for the shared role `db`",
        "is running, not healthy yet",
    ]);
    stage.nothing_left_of(1);
    assert!(runs(&db(&stage)));
}

#[test]
fn one_that_has_stopped_is_said_and_not_started() {
    let stage = stage();
    stage.deploy(&[]);
    let db = db(&stage);
    docker(&["stop", "-t", "1", &db]);
    let refused = stage.expect(4, &["deploy"]);
    refused.says(&[
        "the shared role `db` does not run",
        "nothing was touched",
        &format!("docker start {db}"),
    ]);
    let status = stage.expect(0, &["status", &stage.service]);
    status.says(&[&format!("`{db}` has stopped; start it: docker start {db}")]);
    assert!(!runs(&db));
    docker(&["start", &db]);
    stage.deploy(&["VERSION=two"]);
}

#[test]
fn the_log_of_a_shared_role_is_shown_by_its_name() {
    let stage = stage();
    stage.deploy(&[]);
    let (service, db) = (stage.service.clone(), db(&stage));
    let told = stage.expect(0, &["logs", &service, "--role", "db"]);
    assert!(!told.out.is_empty(), "{told:?}");
    for line in told.out.lines() {
        assert!(line.contains(&db), "{line}");
    }
    // It is of no release.
    let refused = stage.expect(2, &["logs", &service, "--role", "db", "--release", "1"]);
    assert!(refused.err.contains("has no role `db`"), "{}", refused.err);
}
