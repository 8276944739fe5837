//! `prune` says what it has done, and nothing of it goes without a record.

use super::kit::{Stage, docker};

/// A volume as a `shared apply` leaves it that was killed before its container was there.
fn left(stage: &Stage) -> String {
    let service = &stage.service;
    let name = format!("flipside.{service}.shared.db.left");
    let label = format!("flipside.service={service}");
    let kind = "flipside.kind=shared";
    docker(&[
        "volume", "create", "--label", &label, "--label", kind, &name,
    ]);
    name
}

fn volumes(named: &str) -> String {
    docker(&["volume", "ls", "-q", "--filter", &format!("name={named}")])
}

#[test]
fn what_is_left_of_a_shared_role_is_removed_in_a_run_and_named() {
    let stage = Stage::new();
    stage.deploy(&[]);
    let volume = left(&stage);
    let dry = stage.expect(0, &["prune", &stage.service, "--dry-run"]);
    dry.says(&[&format!("would remove `{volume}`")]);
    assert_eq!(volumes(&volume), volume);
    let pruned = stage.expect(0, &["prune", &stage.service]);
    pruned.says(&[&format!("removed `{volume}`")]);
    pruned.never_says("nothing to remove");
    assert_eq!(volumes(&volume), "");
    let history = stage.expect(0, &["history", &stage.service, "--output", "json"]);
    let newest = &history.json()[0]["runs"][0];
    let (verb, outcome) = (&newest["verb"], &newest["outcome"]);
    assert!(verb.to_string().contains("prune"), "{newest}");
    assert_eq!(outcome, "done", "{newest}");
    let again = stage.expect(0, &["prune", &stage.service]);
    again.says(&["nothing to remove"]);
    stage.serves("1");
}

#[test]
fn what_was_settled_first_is_not_nothing() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let mut deploying = stage.start(&["deploy", "--set", "START_DELAY_MS=60000"]);
    deploying.until_shown("replica started");
    deploying.kill();
    let pruned = stage.expect(0, &["prune", &stage.service]);
    pruned.says(&["@2 was given up", "nothing else to remove"]);
    stage.nothing_left_of(2);
    let again = stage.expect(0, &["prune", &stage.service]);
    assert_eq!(again.out.trim(), "nothing to remove");
}
