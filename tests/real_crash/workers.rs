//! Live-only roles on the real engine. The worker of each release takes the lock of one file and
//! writes there when it begins and ends, or that it has found another at work.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::Host;
use super::kit::{Ran, Settings, Stage, sh};
use crate::support::docker::until;

const MOMENTS: u64 = 8;

/// A plan with a worker, whose container has these variables.
fn with_worker(stage: &Stage, version: &str, grace: &str, variables: &[(&str, &str)]) {
    let work = stage.work();
    std::fs::create_dir_all(&work).unwrap();
    let work = work.to_str().unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| format!("      {name}: \"{value}\"\n"));
    let roles = format!(
        "  worker:\n    run: live-only\n    build: .\n    command: [work]\n    \
         stop_grace_period: {grace}\n    volumes: [\"{work}:/queue\"]\n    environment:\n      \
         WORK: /queue/log\n      VERSION: \"{version}\"\n{}",
        variables.collect::<String>()
    );
    let top = format!("shared_paths: [\"{work}\"]\nsettle: 1s\n");
    let settings = Settings {
        roles,
        top,
        ..Settings::default()
    };
    stage.write_plan(version, &settings);
}

async fn deploy(stage: &Stage, version: &str) -> Ran {
    with_worker(stage, version, "10s", &[]);
    stage.run(&["deploy"]).await
}

/// What the workers have written.
fn log(stage: &Stage) -> Vec<String> {
    let log = std::fs::read_to_string(stage.work().join("log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// No worker has ever found another, and the last that began is that of `version`.
fn is_sound(stage: &Stage, version: &str, context: &str) {
    let log = log(stage);
    let twice = log.iter().any(|line| line.contains("finds another"));
    assert!(!twice, "{context}: {log:#?}");
    let last = log.last().map(String::as_str);
    assert_eq!(
        last,
        Some(format!("{version} begins").as_str()),
        "{context}: {log:#?}"
    );
}

/// The workers that run, as `status` tells.
fn at_work(status: &Value) -> Vec<String> {
    let lists = ["standby", "withdrawn"].into_iter();
    let lists = lists.filter_map(|list| status[list].as_array()).flatten();
    let all = std::iter::once(&status["live"]).chain(lists);
    let workers = all.filter_map(|environment| environment["workers"].as_array());
    let workers = workers.flatten().filter(|worker| worker["runs"] == true);
    workers
        .map(|worker| worker["container"].as_str().unwrap().to_owned())
        .collect()
}

/// The places of events among the lines of a run.
fn places(ran: &Ran, events: &[&str]) -> Vec<Option<usize>> {
    let place = |event: &&str| ran.lines.iter().position(|line| line["event"] == **event);
    events.iter().map(place).collect()
}

#[track_caller]
fn in_order(ran: &Ran, events: &[&str]) {
    let places = places(ran, events);
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{events:?} at {places:?}: {ran:#?}"
    );
}

fn time(ran: &Ran, event: &str) -> u64 {
    let line = ran.lines.iter().find(|line| line["event"] == event);
    line.and_then(|line| line["at"].as_u64()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_handed_over_after_the_switch_and_never_two_at_once() {
    let stage = Stage::new().await;
    let first = deploy(&stage, "1").await;
    first.ends(0);
    assert_eq!(places(&first, &["rested"]), [None], "{first:#?}");
    assert_eq!(log(&stage), ["1 begins"]);

    with_worker(&stage, "2", "10s", &[]);
    let foretold = stage.run(&["deploy", "--dry-run"]).await;
    foretold.ends(0);
    let second = stage.run(&["deploy"]).await;
    second.ends(0);
    in_order(
        &second,
        &["switched", "verified", "rested", "working", "drained"],
    );
    assert!(time(&second, "working") - time(&second, "rested") >= 1_000);
    assert_eq!(log(&stage), ["1 begins", "1 ends", "2 begins"]);
    let status = stage.status().await;
    assert_eq!(at_work(&status), [format!("{}-2-worker-1", stage.service)]);
    assert_eq!(status["disagreements"], serde_json::json!([]), "{status:#}");
    assert_eq!(status["standby"][0]["fit"], true, "{status:#}");

    // The journal is not needed.
    stage.lose_journal();
    let back = stage.verb("rollback").await;
    back.ends(0);
    in_order(
        &back,
        &["switched", "verified", "rested", "working", "drained"],
    );
    let expected = ["1 begins", "1 ends", "2 begins", "2 ends", "1 begins"];
    assert_eq!(log(&stage), expected);
    assert_eq!(stage.answer().await, "1");

    // What a hand has done is told, with what mends it.
    let worker = format!("{}-1-worker-1", stage.service);
    sh(&["docker", "stop", &worker]);
    let status = stage.status().await;
    let said = status["disagreements"].to_string();
    assert!(said.contains("none runs"), "{said}");
    let mend = format!("flipside resume {}", stage.service);
    assert!(said.contains(&mend), "{said}");
    let mended = stage.verb("resume").await;
    mended.ends(0);
    in_order(&mended, &["rested", "working"]);
    assert_eq!(stage.status().await["disagreements"], serde_json::json!([]));
    let nothing = stage.verb("resume").await;
    assert_eq!(nothing.code, 4, "{nothing:#?}");
    stage.is_tidy("at the end").await;
    stage.end().await;
    sh(&[
        "sh",
        "-c",
        "! docker ps -a --format '{{.Names}}' | grep -q \"^$1\"",
        "sh",
        &worker,
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_switch_and_work_is_gone_on_with_and_two_never_work() {
    let stage = Stage::new().await;
    deploy(&stage, "0").await.ends(0);
    deploy(&stage, "first").await.ends(0);
    let mut live = "first".to_owned();
    let load = stage.load().await;
    for n in 0..MOMENTS {
        let version = format!("{n}-killed");
        with_worker(&stage, &version, "10s", &[("STOP_MS", "300")]);
        let mut running = stage.start(&["deploy"]);
        running.event("switched").await;
        let moment = Duration::from_millis(n * 1_600 / MOMENTS);
        tokio::time::sleep(moment).await;
        let killed = running.kill().await;
        let context = format!("killed {moment:?} after the switch: {killed:#?}");
        let expected = match n % 4 {
            0 | 2 => {
                let resumed = stage.verb("resume").await;
                let done = killed.outcome() == "done";
                assert_eq!(
                    resumed.code,
                    if done { 4 } else { 0 },
                    "{context}: {resumed:#?}"
                );
                version
            }
            1 => {
                let back = stage.verb("rollback").await;
                assert_eq!(back.code, 0, "{context}: {back:#?}");
                live.clone()
            }
            _ => {
                let after = format!("{n}-after");
                let next = deploy(&stage, &after).await;
                assert_eq!(next.code, 0, "{context}: {next:#?}");
                after
            }
        };
        assert_eq!(stage.answer().await, expected, "{context}");
        is_sound(&stage, &expected, &context);
        let status = stage.status().await;
        assert_eq!(at_work(&status).len(), 1, "{context}: {status:#}");
        assert_eq!(status["disagreements"], serde_json::json!([]), "{context}");
        stage.is_tidy(&context).await;
        live = expected;
    }
    load.stop().await;
    stage.end().await;
}

/// Killed where the pointer has moved and the workers have not been handed over, a rollback that has
/// no journal leaves nothing that tells of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_without_a_journal_that_is_killed_before_the_hand_over_is_mended_by_the_next() {
    let stage = Stage::new().await;
    deploy(&stage, "0").await.ends(0);
    for (version, next) in [("1", "prune"), ("2", "resume"), ("3", "deploy")] {
        let before = stage.answer().await;
        with_worker(&stage, version, "10s", &[("STOP_MS", "2000")]);
        stage.run(&["deploy"]).await.ends(0);
        stage.lose_journal();
        let mut back = stage.start(&["rollback", &stage.service, "--yes"]);
        back.event("switched").await;
        let killed = back.kill().await;
        // What it had begun to write goes with the journal.
        stage.lose_journal();
        assert_eq!(stage.answer().await, before, "{killed:#?}");
        let status = stage.status().await;
        let said = status["disagreements"].to_string();
        let mend = format!("flipside resume {}", stage.service);
        // The one who was killed holds the service for a moment longer.
        assert!(said.contains("live-only containers"), "{said}");
        assert!(
            said.contains(&mend) || status["lease"] != Value::Null,
            "{status:#}"
        );

        let (mended, serves) = match next {
            "deploy" => (deploy(&stage, "after").await, "after"),
            verb => (stage.verb(verb).await, before.as_str()),
        };
        mended.ends(0);
        in_order(&mended, &["rested", "working"]);
        let context = format!("{next} after {killed:#?}");
        assert_eq!(stage.answer().await, serves, "{context}");
        is_sound(&stage, serves, &context);
        let status = stage.status().await;
        let own = format!("{}-{}-worker-1", stage.service, status["live"]["release"]);
        assert_eq!(at_work(&status), [own], "{context}: {status:#}");
        assert_eq!(status["disagreements"], serde_json::json!([]), "{context}");
        stage.is_tidy(&context).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_ends_before_it_has_settled_turns_all_of_it_round() {
    let stage = Stage::new().await;
    deploy(&stage, "1").await.ends(0);
    with_worker(&stage, "2", "10s", &[("WORK_MS", "200")]);
    let ran = stage.run(&["deploy"]).await;
    ran.ends(3);
    assert_eq!(ran.outcome(), "rolled_back", "{ran:#?}");
    in_order(&ran, &["switched", "rested", "failed"]);
    let failed = ran
        .lines
        .iter()
        .find(|line| line["event"] == "failed")
        .unwrap();
    let what = failed["what"].as_str().unwrap();
    assert!(
        what.contains("worker exited with 3 before it had run for 1 s"),
        "{what}"
    );
    let logged = ran
        .lines
        .iter()
        .any(|line| line.to_string().contains("no work left"));
    assert!(logged, "{ran:#?}");
    let back = ran
        .lines
        .iter()
        .rposition(|line| line["event"] == "switched");
    let work = ran
        .lines
        .iter()
        .rposition(|line| line["event"] == "working");
    assert!(back < work, "the pointer goes back first: {ran:#?}");
    assert_eq!(stage.answer().await, "1");
    is_sound(&stage, "1", "after the revert");
    let status = stage.status().await;
    assert_eq!(at_work(&status), [format!("{}-1-worker-1", stage.service)]);
    stage.is_tidy("after the revert").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_takes_its_whole_grace_is_waited_for() {
    let stage = Stage::new().await;
    with_worker(&stage, "1", "12s", &[("STOP_MS", "600000")]);
    stage.run(&["deploy"]).await.ends(0);
    let began = Instant::now();
    let mut running = stage.start(&["deploy"]);
    running.intends("rest").await;
    // A rollback does not wait for it.
    let asked = Instant::now();
    let next = running.ended().await;
    assert_eq!(next.code, 0, "{next:#?}");
    assert!(began.elapsed() >= Duration::from_secs(12), "{next:#?}");
    assert!(asked.elapsed() >= Duration::from_secs(12), "{next:#?}");
    is_sound(&stage, "1", "after the grace");
    assert_eq!(log(&stage), ["1 begins", "1 begins"]);

    let mut running = stage.start(&["deploy"]);
    running.intends("rest").await;
    let asked = Instant::now();
    let mut back = stage.start(&["rollback", &stage.service, "--yes"]);
    back.event("switched").await;
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    running.ended().await;
    back.ended().await.ends(0);
    is_sound(&stage, "1", "after the rollback");
    let status = stage.status().await;
    assert_eq!(status["live"]["release"], 2, "{status:#}");
    assert_eq!(at_work(&status), [format!("{}-2-worker-1", stage.service)]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_daemon_starts_the_live_releases_worker_and_no_other() {
    let mut host = Host::start();
    let stage = Stage::on(host.url());
    for version in ["1", "2"] {
        deploy(&stage, version).await.ends(0);
    }
    let front = format!("127.0.0.1:{}", stage.port);
    let own = format!("{}-2-worker-1", stage.service);
    for end in [Host::stop_daemon, Host::cut_power] {
        end(&mut host);
        let before = log(&stage).len();
        host.start_daemon();
        let since = Instant::now();
        host.soon(
            since,
            || host.get(&front, "/"),
            |said| said.as_deref() == Some("2"),
        );
        host.soon(
            since,
            || log(&stage)[before..].to_vec(),
            |log| log.iter().any(|line| line == "2 begins"),
        );
        let status = stage.status().await;
        assert_eq!(at_work(&status), [own.as_str()], "{status:#}");
        assert_eq!(status["disagreements"], serde_json::json!([]), "{status:#}");
        is_sound(&stage, "2", "after the restart");
    }
    stage.verb("rollback").await.ends(0);
    is_sound(&stage, "1", "after the rollback");
    until("the status agrees", || async {
        let status = stage.status().await;
        (at_work(&status) == [format!("{}-1-worker-1", stage.service)]).then_some(())
    })
    .await;
    stage.verb("down").await.ends(0);
}
