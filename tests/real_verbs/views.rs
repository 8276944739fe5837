//! What is shown and what is cleared away: `status`, `history`, `logs`, `check`, `prune`, `down`.

use std::io::Read;
use std::time::{Duration, Instant};

use super::kit::{Ended, Stage};
use serde_json::{Value, json};

fn is_environment(value: &Value) {
    for field in [
        "release",
        "slot",
        "created",
        "fit",
        "endpoints",
        "image_ids",
    ] {
        assert!(value.get(field).is_some(), "no `{field}` in {value}");
    }
    assert_eq!(value["image_ids"].as_array().unwrap().len(), 1);
    assert!(value["image_ids"][0].as_str().unwrap().contains("sha256:"));
    assert!(value["endpoints"][0].as_str().unwrap().ends_with(":8080"));
}

#[test]
fn status_is_one_object_and_one_screen() {
    let stage = Stage::new();
    stage.deploy(&[]);
    stage.deploy(&[]);
    let status = stage.status();
    assert_eq!(status["service"], stage.service);
    assert_eq!(status["live"]["release"], 2);
    assert_eq!(status["live"]["fit"], true);
    assert_eq!(status["standby"][0]["release"], 1);
    assert_eq!(status["candidate"], Value::Null);
    is_environment(&status["live"]);
    is_environment(&status["standby"][0]);
    assert_eq!(status["pointer"]["kind"], "proxy");
    assert_eq!(status["pointer"]["agrees"], true);
    assert_eq!(status["pointer"]["routing"]["generation"], 2);

    let human = stage.expect(0, &["status", &stage.service]);
    assert_eq!(human.err, "", "data goes to standard output");
    human.says(&[
        "@2 is live since",
        "the proxy pointer agrees, generation 2, written by `ann@",
        "standby",
        "green",
        "roll back with: flipside rollback",
    ]);

    let narrow = stage.on_terminal(48, &["status", &stage.service], "", "");
    narrow.ended(0);
    let lines = narrow.out.lines().map(|line| line.trim_end().len());
    assert!(lines.max().unwrap() <= 48 + 2, "{narrow}");
}

#[test]
fn status_shows_what_is_being_brought_up() {
    let stage = Stage::new();
    stage.deploy(&[]);
    let mut deploy = stage.start(&["deploy", "--set", "PORT=9999", "--set", "DEADLINE=10m"]);
    deploy.until_shown("replica started");
    let status = stage.status();
    assert_eq!(status["live"]["release"], 1);
    assert_eq!(status["candidate"]["release"], 2);
    assert_eq!(status["candidate"]["fit"], false);
    is_environment(&status["candidate"]);
    assert!(status["lease"].as_str().unwrap().contains("ann@"));
    assert!(status["unfinished"].as_str().unwrap().contains("deploy"));
    stage.expect(0, &["status", &stage.service]).says(&[
        "candidate",
        "connection refused at",
        "held by `",
        "under way: deploy",
    ]);
    stage.expect(0, &["abort", &stage.service]);
    deploy.end().ended(3);
}

#[test]
fn a_service_that_is_not_there_is_told_with_those_that_are() {
    let stage = Stage::new();
    stage.deploy(&[]);
    let typo = format!("{}x", stage.service);
    for verb in [
        "status", "rollback", "down", "logs", "abort", "resume", "prune",
    ] {
        let ran = stage.run(&[verb, &typo, "--yes"]);
        assert!([2, 4].contains(&ran.code), "{verb}: {ran}");
        assert!(ran.err.starts_with("error: "), "{verb}: {ran}");
    }
    for verb in ["status", "down", "history"] {
        let ran = stage.expect(2, &[verb, &typo, "--yes"]);
        ran.says(&["no service `", &stage.service, "did you mean `"]);
    }
}

#[test]
fn history_is_newest_first_and_limited() {
    let stage = Stage::new();
    stage.deploy(&[]);
    stage.deploy(&[]);
    for turn in 0..20 {
        let to = if turn % 2 == 0 { "1" } else { "2" };
        stage.expect(0, &["rollback", &stage.service, "--to", to]);
    }
    stage.expect(3, &["deploy", "--set", "EXIT_AT_START=3"]);
    let runs = |words: &[&str]| {
        let mut line = vec!["history", &stage.service, "--output", "json"];
        line.extend(words);
        stage.expect(0, &line).json()[0]["runs"]
            .as_array()
            .unwrap()
            .clone()
    };
    let numbers = |runs: &[Value]| -> Vec<u64> {
        runs.iter()
            .map(|run| run["run"].as_u64().unwrap())
            .collect()
    };
    let all = runs(&["-n", "100"]);
    assert_eq!(numbers(&all), (1..=23).rev().collect::<Vec<_>>());
    assert_eq!(all[0]["outcome"], "refused");
    assert_eq!(all[0]["requests_cut"], 0);
    assert_eq!(
        (&all[1]["verb"], &all[1]["from"]),
        (&json!("rollback"), &json!(1))
    );
    assert_eq!(numbers(&runs(&[])), (4..=23).rev().collect::<Vec<_>>());
    assert_eq!(numbers(&runs(&["-n", "2"])), [23, 22]);
    let human = stage.expect(0, &["history", &stage.service, "-n", "3"]);
    human.says(&["run", "outcome", "refused", "rollback", "ann@"]);
    assert_eq!(human.out.lines().count(), 4, "a row is a line: {human}");
    let narrow = stage.on_terminal(60, &["history", &stage.service, "-n", "3"], "", "");
    narrow.ended(0);
    let lines = narrow.out.lines().map(|line| line.trim_end().len());
    assert!(lines.max().unwrap() <= 60, "{narrow}");
    assert!(
        narrow.out.lines().count() > 3 * 7,
        "a block a row: {narrow}"
    );
}

#[test]
fn logs_are_of_live_and_kept_releases() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=one"]);
    stage.deploy(&["VERSION=two"]);
    let live = stage.expect(0, &["logs", &stage.service]);
    live.says(&[&format!("{}-2-web-1  listening on", stage.service)]);
    assert_eq!(live.err, "");
    let words = ["logs", &stage.service, "--release", "1", "--output", "json"];
    for line in stage.expect(0, &words).json() {
        assert_eq!(line["event"], "log");
        let container = line["container"].as_str().unwrap();
        assert!(container.contains("-1-web-1"), "{line}");
    }
    let one = stage.expect(0, &["logs", &stage.service, "-n", "1"]);
    assert_eq!(one.out.lines().count(), 1);
    let none = stage.expect(2, &["logs", &stage.service, "--release", "7"]);
    none.says(&["@7", "--release, one of: 1, 2"]);
    let role = stage.expect(2, &["logs", &stage.service, "--role", "wen"]);
    role.says(&["no role `wen`", "--role, one of: web"]);
}

#[test]
fn a_log_that_goes_elsewhere_hides_no_other() {
    let stage = Stage::new();
    let image = &stage.image;
    let mute = format!("  mute: {{ image: {image}, logging: {{ driver: none }} }}\nexpose:");
    stage.write("flipside.yaml", stage.plan().replace("expose:", &mute));
    stage.deploy(&[]);
    let said = format!("the log of `{}-1-mute-1` cannot be read: ", stage.service);
    let all = stage.expect(0, &["logs", &stage.service]);
    assert!(all.out.contains("-1-web-1  listening on "), "{all}");
    assert!(all.err.contains(&said), "{all}");
    let one = stage.expect(4, &["logs", &stage.service, "--role", "mute"]);
    assert!(one.err.contains(&said), "{one}");
    assert_eq!(one.out, "");

    let mut followed = stage.start(&["logs", &stage.service, "--follow"]);
    followed.until_shown("-1-web-1  listening on ");
    stage.get("/followed");
    followed.until_shown("-1-web-1  GET /followed 404");
    let followed = followed.kill();
    assert!(followed.err.contains(&said), "{followed}");
}

#[test]
fn logs_are_of_jobs_and_hooks_too() {
    let stage = Stage::new();
    let plan = stage.plan().replace(
        "expose: web:8080\n",
        &format!(
            "  migrate: {{ image: \"{}\", run: once, command: [once], environment: {{ VERSION: moved }} }}\n\
             expose: web:8080\nhooks:\n  before_switch:\n    \
             - {{ name: smoke, role: web, command: [once] }}\n    \
             - {{ name: local, run: [\"true\"] }}\n",
            stage.image
        ),
    );
    stage.write("flipside.yaml", plan);
    stage.deploy(&["VERSION=one"]);
    stage.deploy(&["VERSION=two"]);
    let service = &stage.service;
    let web = format!("{service}-2-web-1  listening on");
    let job = format!("{service}-2-migrate-1  once begins, VERSION is `moved`");
    let hook = format!("{service}-2-smoke  once begins, VERSION is `two`");
    let all = stage.expect(0, &["logs", service]);
    all.says(&[&web, &job, &hook]);
    let only = |words: &[&str], text: &str| {
        let ran = stage.expect(0, &[&["logs", service], words].concat());
        ran.says(&[text]);
        let container = text.split_once("  ").unwrap().0;
        let mut lines = ran.out.lines();
        assert!(lines.all(|line| line.starts_with(container)), "{ran}");
    };
    only(&["--role", "migrate"], &job);
    only(&["--hook", "smoke"], &hook);
    let older = format!("{service}-1-smoke  once begins, VERSION is `one`");
    only(&["--hook", "smoke", "--release", "1"], &older);
    // Those of what has ended come to an end.
    only(&["--hook", "smoke", "--follow"], &hook);
    let none = stage.expect(2, &["logs", service, "--hook", "local"]);
    none.says(&["no container of a hook `local`", "--hook, one of: smoke"]);
    stage.expect(0, &["rollback", service, "--yes"]);
    stage.expect(0, &["logs", service]).says(&[&older]);
}

#[test]
fn logs_are_followed_until_their_reader_goes() {
    let stage = Stage::new();
    stage.deploy(&[]);
    for words in [["human", "-f"], ["json", "--follow"]] {
        let mut command = stage.command(&["logs", &stage.service, "-n", "0", words[1]]);
        command.args(["--output", words[0]]);
        let (mut ours, theirs) = std::io::pipe().unwrap();
        let mut following = Ended(command.stdout(theirs).spawn().unwrap());
        drop(command);
        let mut heard = [0];
        let deadline = Instant::now() + Duration::from_secs(60);
        // What the container says while nobody listens yet is not heard: it says it again.
        let speaking = std::thread::scope(|scope| {
            let reading = scope.spawn(|| ours.read_exact(&mut heard));
            while !reading.is_finished() {
                assert!(Instant::now() < deadline, "nothing is heard");
                stage.get("/fail");
            }
            reading.join().unwrap()
        });
        speaking.unwrap();
        assert_eq!(
            following.0.try_wait().unwrap(),
            None,
            "it has ended by itself"
        );
        drop(ours);
        let ended = loop {
            assert!(Instant::now() < deadline, "it goes on without a reader");
            stage.get("/fail");
            if let Some(ended) = following.0.try_wait().unwrap() {
                break ended;
            }
        };
        assert_eq!(ended.code(), Some(0));
    }
}

#[test]
fn nothing_needed_is_pruned_and_down_leaves_nothing() {
    let stage = Stage::new();
    stage.deploy(&[]);
    stage.deploy(&[]);
    let pruned = stage.expect(0, &["prune", &stage.service, "--dry-run"]);
    pruned.says(&["nothing to remove"]);
    let pruned = stage.expect(0, &["prune", &stage.service, "--output", "json"]);
    let lines = pruned.json();
    assert_eq!(lines.last().unwrap()["releases"], json!([]));
    assert_eq!(stage.releases(), (Some(2), vec![1]));

    let asked = stage.expect(2, &["down", &stage.service]);
    asked.says(&["@1 and", "@2", "hint: --yes"]);
    let no = stage.on_terminal(80, &["down", &stage.service], "[y/N]", "n\n");
    no.ended(4);
    assert_eq!(stage.releases(), (Some(2), vec![1]));
    stage.expect(0, &["down", &stage.service, "--yes"]);
    assert_eq!(stage.parts(), [""; 0]);
    let gone = stage.expect(0, &["status", &stage.service]);
    gone.says(&["nothing is live", "deploy it with: flipside deploy"]);
    gone.never_says("warning");
    stage.expect(0, &["proxy", "down", "--yes"]);
    let left = super::kit::docker(&["ps", "-aq", "--filter", &format!("name={}", stage.proxy)]);
    assert_eq!(left, "");
}

#[test]
fn the_proxy_tells_what_it_serves() {
    let stage = Stage::new();
    stage
        .expect(4, &["proxy", "status"])
        .says(&["there is no proxy", "hint:"]);
    stage.deploy(&[]);
    let shown = stage.expect(0, &["proxy", "status"]);
    shown.says(&["listens on 127.0.0.1:", &stage.service, "@1"]);
    stage
        .expect(2, &["proxy", "down"])
        .says(&["which serves `", "hint: --yes"]);
    stage.serves("1");
}
