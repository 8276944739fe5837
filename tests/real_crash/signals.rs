//! SIGINT, SIGTERM and SIGHUP, before the switch and after it.

use rustix::process::Signal;

use super::kit::{Running, Settings, Stage};
use crate::support::docker;

/// A candidate that never comes up.
fn hopeless() -> Settings {
    Settings {
        variables: vec![("FAIL_UP", "1".into())],
        ..Settings::default()
    }
}

/// What a release that was given up leaves.
async fn of_release_2(stage: &Stage) -> Vec<String> {
    let service = &stage.service;
    let ours = [format!("{service}-2-"), format!("{service}.2")];
    let mut parts = docker::parts(service).await;
    parts.retain(|part| ours.iter().any(|name| part.contains(name)));
    parts
}

/// A deploy that waits for its candidate.
async fn proving(stage: &Stage, settings: &Settings) -> Running {
    let mut running = stage.start_deploy("2", settings);
    running.intends("prove").await;
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_before_the_switch_tears_the_candidate_down() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let alone = docker::parts(&stage.service).await;
    for signal in [Signal::INT, Signal::TERM] {
        let running = proving(&stage, &hopeless()).await;
        // A dying terminal stops nothing: were it not ignored, this would be the end, with 129.
        running.signal(Signal::HUP);
        running.signal(signal);
        let ran = running.ended().await;
        ran.ends(3);
        assert_eq!(ran.outcome(), "refused", "{ran:#?}");
        assert_eq!(docker::parts(&stage.service).await, alone, "{ran:#?}");
        assert_eq!(stage.answer().await, "1");
    }
    stage.is_tidy("after the signals").await;
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_during_the_bake_leaves_the_rest_to_resume() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let settings = Settings {
        bake: "4s",
        ..Settings::default()
    };
    for (version, signal) in [("2", Signal::INT), ("3", Signal::TERM)] {
        let mut running = stage.start_deploy(version, &settings);
        running.intends("watch").await;
        running.signal(Signal::HUP);
        running.signal(signal);
        let ran = running.ended().await;
        ran.ends(6);
        assert_eq!(ran.outcome(), "interrupted", "{ran:#?}");
        assert_eq!(stage.answer().await, version);
        let status = stage.status().await;
        assert!(status["unfinished"].is_string(), "{status:#}");
        let resumed = stage.verb("resume").await;
        assert_eq!(resumed.ends(0).outcome(), "done");
        assert_eq!(stage.answer().await, version);
    }
    stage.is_tidy("after the signals").await;
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_leaves_at_once() {
    let stage = Stage::live().await;
    let deaf = Settings {
        grace: "10s",
        variables: vec![("FAIL_UP", "1".into()), ("DEAF", "1".into())],
        ..Settings::default()
    };
    let mut running = proving(&stage, &deaf).await;
    running.signal(Signal::INT);
    running.intends("tear-down").await;
    running.signal(Signal::INT);
    let ran = running.ended().await;
    ran.ends(6);
    // It did not even wait for as long as a first signal gives the tear-down.
    let last = ran.lines.iter().rfind(|line| line["event"] == "asked");
    assert_eq!(last.unwrap()["by"], "SIGINT", "{ran:#?}");
    assert!(ran.talk.contains("resume") || ran.lines.iter().any(|l| l["event"] == "warning"));
    // What it was at is settled by the next one.
    let resumed = stage.verb("resume").await;
    assert_eq!(resumed.ends(3).outcome(), "refused", "{resumed:#?}");
    assert_eq!(stage.answer().await, "1");
    stage.is_tidy("after the second signal").await;
    assert_eq!(of_release_2(&stage).await, [""; 0]);
    stage.end().await;
}
