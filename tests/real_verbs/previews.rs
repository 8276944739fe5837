//! A release that is shown to those who ask for it, until it is promoted, given up or overtaken.

use super::kit::{Ran, Stage};

/// A service whose preview goes by the name `next.test`, or by a header.
fn stage() -> Stage {
    let stage = Stage::new();
    let asked = "preview_host: next.test, preview_header: \"X-Preview: yes\", listen:";
    stage.write("flipside.yaml", stage.plan().replace("listen:", asked));
    stage
}

fn preview(stage: &Stage, version: &str) -> Ran {
    let set = format!("VERSION={version}");
    stage.expect(0, &["deploy", "--until-preview", "--set", &set])
}

fn shown(stage: &Stage, version: &str) {
    assert_eq!(stage.get_for("next.test", "/"), (200, version.to_owned()));
}

#[test]
fn it_waits_there_and_is_promoted() {
    let stage = stage();
    let (service, port) = (&stage.service, stage.port);
    stage.deploy(&["VERSION=one"]);
    let waits = preview(&stage, "two");
    let see = format!("curl -H 'X-Preview: yes' http://127.0.0.1:{port}/");
    let promote = format!("flipside promote {service} --set VERSION=…");
    let abort = format!("flipside abort {service}");
    waits.says(&["waits at its preview", &see, &promote, &abort]);
    stage.serves("one");
    shown(&stage, "two");
    let status = stage.status();
    assert_eq!(status["live"]["release"], 1);
    assert_eq!(status["candidate"]["release"], 2);
    assert_eq!(status["pointer"]["preview"], see);
    assert_eq!(status["pointer"]["routing"]["preview"], 2);
    assert_eq!(status["disagreements"], serde_json::json!([]));
    stage.expect(0, &["status", service]).says(&[
        "waits at its preview: deploy",
        &see,
        &promote,
        &abort,
    ]);
    stage.expect(0, &["prune", service]);
    shown(&stage, "two");

    let resumed = stage.expect(0, &["resume", service, "--set", "VERSION=two"]);
    resumed.says(&["waits at its preview"]);
    let unset = stage.expect(2, &["promote", service]);
    unset.says(&["VERSION"]);
    stage.serves("one");
    let promoted = stage.expect(0, &["promote", service, "--set", "VERSION=two"]);
    promoted.says(&["is live", "stays up as standby"]);
    stage.serves("two");
    assert_eq!(stage.releases(), (Some(2), vec![1]));
    assert_eq!(
        stage.status()["pointer"]["preview"],
        serde_json::Value::Null
    );
    stage.expect(0, &["rollback", service]);
    stage.serves("one");
}

#[test]
fn it_is_given_up_without_a_trace() {
    let stage = stage();
    let service = &stage.service;
    stage.deploy(&["VERSION=one"]);
    preview(&stage, "two");
    let aborted = stage.expect(0, &["abort", service]);
    aborted.says(&["is not shown any more"]);
    stage.nothing_left_of(2);
    stage.serves("one");
    shown(&stage, "one");
    stage.expect(4, &["promote", service]);
    // Nobody takes what the preview has written for another one's hand.
    let next = stage.deploy(&["VERSION=three"]);
    next.never_says("without a record");
    stage.serves("three");
}

#[test]
fn a_first_release_is_shown_before_anything_serves() {
    let stage = stage();
    let service = &stage.service;
    preview(&stage, "one");
    assert_eq!(stage.get("/").0, 503);
    shown(&stage, "one");
    stage.expect(0, &["abort", service]);
    assert_eq!(stage.parts(), [""; 0]);
    preview(&stage, "two");
    stage.expect(0, &["promote", service, "--set", "VERSION=two"]);
    stage.serves("two");
}

#[test]
fn a_new_deploy_and_a_rollback_overtake_it() {
    let stage = stage();
    let service = &stage.service;
    stage.deploy(&["VERSION=one"]);
    preview(&stage, "two");
    stage.deploy(&["VERSION=three"]);
    stage.serves("three");
    stage.nothing_left_of(2);
    preview(&stage, "four");
    stage.expect(0, &["rollback", service]);
    stage.serves("one");
    stage.nothing_left_of(4);
    stage.expect(4, &["promote", service]);
}

#[test]
fn a_pointer_that_shows_nothing_refuses_at_once() {
    let stage = Stage::new();
    let refused = stage.expect(2, &["deploy", "--until-preview"]);
    refused.says(&["shows nothing before the switch", "--until-preview"]);
    assert_eq!(stage.parts(), [""; 0]);
    stage.expect(2, &["deploy", "--until-preview", "--dry-run"]);
}
