//! `deploy`: one after the other, refused, and rehearsed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use super::kit::{Stage, docker};
use crate::bad_days::{Day, Serves};

#[test]
fn releases_follow_each_other_and_the_oldest_is_retired() {
    let stage = Stage::new();
    let first = stage.deploy(&["VERSION=one"]);
    first.says(&["nothing is live yet", "@1 is live", "in all"]);
    assert_eq!(first.out, "", "talk goes to standard error");
    stage.serves("one");
    assert_eq!(stage.releases(), (Some(1), vec![]));

    let second = stage.deploy(&["VERSION=two"]);
    second.says(&[
        "@1 is live",
        "@2 is live",
        "stays up as standby: flipside rollback",
    ]);
    stage.serves("two");
    assert_eq!(stage.releases(), (Some(2), vec![1]));

    let third = stage.expect(0, &["deploy", "--set", "VERSION=three", "--output", "json"]);
    let finished = third.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(finished["service"], stage.service);
    assert_eq!(
        (&finished["release"], &finished["live"]),
        (&3.into(), &3.into())
    );
    assert_eq!(finished["requests_cut"], 0);
    stage.serves("three");
    assert_eq!(stage.releases(), (Some(3), vec![2]));
    stage.nothing_left_of(1);
}

#[test]
fn a_dry_run_touches_nothing() {
    let stage = Stage::new();
    let dry = stage.expect(0, &["deploy", "--dry-run"]);
    dry.says(&["would deploy", "@1 in slot blue", "nothing is live yet"]);
    assert_eq!(stage.parts(), [""; 0]);
    stage.deploy(&[]);
    stage.deploy(&[]);
    let before = stage.parts();
    let dry = stage.expect(0, &["deploy", "--dry-run", "--output", "json"]);
    let lines = dry.json();
    let line = lines.last().unwrap();
    assert_eq!(line["event"], "dry-run");
    assert_eq!((&line["release"], &line["live"]), (&3.into(), &2.into()));
    assert_eq!(line["retires"], serde_json::json!([1]));
    assert_eq!(stage.parts(), before);
    assert_eq!(stage.releases(), (Some(2), vec![1]));
}

#[test]
fn a_plan_stands_up_a_second_time_under_another_name() {
    let mut stage = Stage::new();
    let second = stage.another();
    stage.deploy(&["VERSION=one"]);
    let port = super::kit::free_port().to_string();
    let plan = stage.plan().replace(&stage.port.to_string(), &port);
    stage.write("plans/other.yaml", plan);
    let words = ["deploy", "-f", "plans/other.yaml", "--name", &second];
    stage
        .expect(0, &words)
        .says(&[&format!("{second}@1 is live")]);
    stage.serves("one");
    let at = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(super::kit::get(at, "test", "/"), (200, "1".into()));
    let which = stage.run(&["rollback", "--yes"]);
    which.ended(2);
    which.says(&["which service?", &stage.service, &second, "hint:"]);
}

/// Deploys a good release, then `set`, which must be refused with all of these words, on that bad
/// day.
fn refused(day: &'static str, set: &[&str], words: &[&str]) {
    let stage = Stage::new();
    stage.deploy(&["VERSION=good"]);
    let before = stage.parts();
    let mut line = vec!["deploy"];
    line.extend(set.iter().flat_map(|pair| ["--set", pair]));
    let ran = stage.expect(3, &line);
    ran.says(words);
    ran.says(&["@1 still serves", "@2 was given up after"]);
    stage.serves("good");
    assert_eq!(stage.releases(), (Some(1), vec![]));
    assert_eq!(stage.parts(), before);
    let day = Day::of(day, &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("good"));

    line.extend(["--output", "json"]);
    let finished = stage.expect(3, &line).finished();
    assert_eq!(finished["outcome"], "refused");
    assert_eq!(
        (&finished["release"], &finished["live"]),
        (&3.into(), &1.into())
    );
    assert_eq!(
        (&finished["requests_in_flight"], &finished["requests_cut"]),
        (&0.into(), &0.into())
    );
    assert_eq!(stage.parts(), before);
}

#[test]
fn a_redirect_is_named_as_the_reason() {
    refused(
        "redirects",
        &["PROBED=/redirect", "DEADLINE=2s"],
        &[
            "answered 301 to /",
            "GET /redirect 301",
            "hint: redirects are not followed",
        ],
    );
}

#[test]
fn a_refusing_answer_is_shown_with_its_beginning() {
    refused(
        "never-healthy",
        &["PROBED=/fail", "DEADLINE=2s"],
        &["answered 500", "GET /fail 500", "within 2 s"],
    );
}

#[test]
fn a_refused_connection_names_the_address() {
    refused(
        "listens-elsewhere",
        &["PORT=9999", "DEADLINE=2s"],
        &[
            "connection refused at 10.",
            ":8080",
            "listening on 0.0.0.0:9999",
            "`expose:`",
        ],
    );
}

#[test]
fn a_container_that_exits_is_told_with_its_code_and_its_words() {
    refused(
        "exits-at-once",
        &["EXIT_AT_START=7"],
        &["exited with 7", "exiting with 7, as EXIT_AT_START says"],
    );
}

#[test]
fn a_container_that_took_too_much_memory_is_told_so() {
    refused(
        "out-of-memory",
        &["HOG=1"],
        &["exited with 137", "memory", "`mem_limit:`", "holding "],
    );
}

#[test]
fn a_missing_image_is_refused_before_anything_stands() {
    refused(
        "registry-unreachable",
        &["IMAGE=registry.invalid/nothing:1"],
        &["role `web`", "registry.invalid", "hint:"],
    );
}

#[test]
fn a_release_that_fails_in_its_bake_is_switched_back() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=good"]);
    let mut deploy = stage.start(&["deploy", "--set", "BAKE=10m"]);
    deploy.until_shown("bakes for 10m");
    assert_eq!(stage.get("/break").0, 200);
    let ran = deploy.end();
    ran.ended(3);
    ran.says(&["answered 503", "the pointer goes back", "was switched back"]);
    stage.serves("good");
    let (live, standby) = stage.releases();
    assert_eq!(
        (live, standby),
        (Some(1), vec![]),
        "what was left is withdrawn"
    );
    let day = Day::of("fails-in-bake", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("good"));
}

#[test]
fn what_was_in_flight_at_the_switch_is_finished_or_cut_and_counted() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=one"]);
    let at = SocketAddr::from(([127, 0, 0, 1], stage.port));
    let mut endless = TcpStream::connect(at).unwrap();
    endless
        .write_all(b"GET /slow?ms=3600000 HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let switched = AtomicBool::new(false);
    let (deployed, finished) = std::thread::scope(|scope| {
        // Each of them has a request in flight at nearly every instant.
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while !switched.load(Ordering::Relaxed) {
                        assert_eq!(stage.get("/slow?ms=300"), (200, "slow".into()));
                    }
                })
            })
            .collect();
        let words = ["deploy", "--set", "VERSION=two", "--output", "json"];
        let deployed = stage.expect(0, &words);
        switched.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        let finished = deployed.finished();
        (deployed, finished)
    });
    let in_flight = finished["requests_in_flight"].as_u64().unwrap();
    assert_eq!(finished["requests_cut"], 1, "{deployed}");
    let drained = deployed.json();
    let drained = drained.iter().find(|line| line["event"] == "drained");
    let drained = drained.unwrap_or_else(|| panic!("nothing was drained: {deployed}"));
    let numbers = ["in_flight", "finished", "cut"].map(|it| drained[it].as_u64());
    assert!(in_flight > 1, "{deployed}");
    assert_eq!(numbers, [Some(in_flight), Some(in_flight - 1), Some(1)]);
    let mut answer = Vec::new();
    // Reset or closed: in either case without an answer.
    endless.read_to_end(&mut answer).ok();
    assert_eq!(answer, b"");
}

#[test]
fn a_key_that_the_engine_does_not_know_is_bad_input() {
    let stage = Stage::new();
    let check =
        "    healthcheck: { test: [CMD, /hello, check], start_interval: 1s }\n    mem_limit";
    let plan = stage.plan().replace("    mem_limit", check);
    stage.write("flipside.yaml", &plan);
    let api = docker(&["version", "--format", "{{.Server.APIVersion}}"]);
    let knows = api.split_once('.').unwrap().1.parse::<u32>().unwrap() >= 44;
    if !knows {
        let ran = stage.expect(2, &["deploy"]);
        ran.says(&[
            "role `web`: ",
            &api,
            "write `ignore: [start_interval]` in the plan",
        ]);
        assert_eq!(stage.parts(), [""; 0]);
        stage.write("flipside.yaml", plan + "ignore: [start_interval]\n");
    }
    stage.deploy(&[]);
    stage.serves("1");
}
