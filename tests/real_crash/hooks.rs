//! Jobs and hooks of every kind: in their turn, killed in the middle, failing, late.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::{Ran, Running, Settings, Stage};
use crate::support::docker;

/// A plan with these sections.
fn settings(roles: &str, top: &str) -> Settings {
    Settings {
        roles: roles.into(),
        top: top.into(),
        ..Settings::default()
    }
}

/// A script of the plan's directory that adds a line to `count`, and then does `then`.
fn script(stage: &Stage, name: &str, then: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = stage.checkout().join(name);
    let text = format!(
        "#!/bin/sh\necho \"$FLIPSIDE_HOOK of $FLIPSIDE_SERVICE@$FLIPSIDE_RELEASE\"\n\
         echo \"$FLIPSIDE_HOOK $FLIPSIDE_RELEASE $FLIPSIDE_IDEMPOTENCY_KEY\" >> count\n{then}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn count_file(stage: &Stage) -> PathBuf {
    stage.checkout().join("count")
}

/// The lines that scripts have added.
fn counted(stage: &Stage) -> Vec<String> {
    let text = std::fs::read_to_string(count_file(stage)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn ended<'a>(ran: &'a Ran, hook: &str) -> &'a Value {
    let is = |line: &&Value| line["event"] == "hook-ended" && line["name"] == hook;
    let found = ran.lines.iter().find(is);
    found.unwrap_or_else(|| panic!("`{hook}` has no end: {ran:#?}"))
}

/// Whether a message or a hint says so.
fn tells(ran: &Ran, text: &str) -> bool {
    let said = |line: &Value, key: &str| line[key].as_str().is_some_and(|it| it.contains(text));
    let mut lines = ran.lines.iter();
    lines.any(|line| said(line, "message") || said(line, "hint"))
}

async fn begun(stage: &Stage, lines: usize) {
    docker::until("the script has begun", || async {
        (counted(stage).len() >= lines).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_of_every_kind_run_in_their_turn_and_on_the_way_back() {
    let stage = Stage::live().await;
    let (port, heard) = listener(1).await;
    script(&stage, "tell.sh", "");
    let top = format!(
        "hooks:\n  before_switch:\n    - {{name: check, role: web, command: [once]}}\n    \
         - {{name: warm, run: [./tell.sh]}}\n  after_switch:\n    \
         - {{name: said, http: {{url: \"http://127.0.0.1:{port}/done\", body: \"it is\"}}}}\n  \
         on_rollback:\n    - {{name: undo, run: [./tell.sh]}}\n    \
         - {{name: clean, role: web, command: [once]}}\n"
    );
    stage.write_plan("2", &settings("", &top));
    let dry = stage.run(&["deploy", "--dry-run"]).await;
    let would = dry
        .ends(0)
        .lines
        .iter()
        .find(|line| line["event"] == "dry-run");
    assert_eq!(would.unwrap()["hooks"][0]["name"], "check", "{dry:#?}");
    let ran = stage.run(&["deploy"]).await;
    ran.ends(0);
    assert_eq!(ended(&ran, "check")["code"], 0);
    let output = ended(&ran, "check")["output"].as_str().unwrap();
    assert!(output.contains("VERSION is `2`"), "{output}");
    assert_eq!(ended(&ran, "warm")["code"], 0);
    assert_eq!(ended(&ran, "said")["status"], 200);
    let at = |name: &str| {
        let is = |line: &&Value| line["event"] == name || line["name"] == name;
        ran.lines.iter().position(|line| is(&line)).unwrap()
    };
    assert!(at("proven") < at("check") && at("check") < at("warm"));
    assert!(at("warm") < at("switched") && at("verified") < at("said"));
    let request = heard.await.unwrap().to_ascii_lowercase();
    for said in [
        "post /done",
        "idempotency-key: ",
        "flipside-release: 2",
        "it is",
    ] {
        assert!(request.contains(said), "{said}: {request}");
    }
    assert_eq!(counted(&stage).len(), 1);
    let back = stage.verb("rollback").await;
    back.ends(0);
    assert_eq!(stage.answer().await, "1");
    assert_eq!(ended(&back, "undo")["code"], 0);
    assert_eq!(ended(&back, "clean")["code"], 0);
    let lines = counted(&stage);
    assert!(lines[1].starts_with("undo 2 "), "{lines:?}");
    stage.is_tidy("after the hooks").await;
    stage.end().await;
}

/// Answers one request, after so many have been cut, and hands over what it said.
async fn listener(requests: usize) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let mut all = String::new();
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 8192];
            while !all.contains("it is") {
                let n = stream.read(&mut bytes).await.unwrap();
                assert!(n > 0, "{all}");
                all += &String::from_utf8_lossy(&bytes[..n]);
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        all
    });
    (port, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_ends_the_release_and_what_served_serves() {
    let stage = Stage::live().await;
    let job = "  migrate:\n    build: .\n    run: once\n    command: [once]\n    \
               environment: { ONCE_EXIT: \"7\" }\n";
    stage.write_plan("2", &settings(job, ""));
    let ran = stage.run(&["deploy"]).await;
    assert_eq!(ran.ends(3).outcome(), "refused");
    let failed = ran.lines.iter().find(|line| line["event"] == "failed");
    let what = failed.unwrap()["what"].as_str().unwrap();
    assert_eq!(what, "the job `migrate` exited with 7");
    assert_eq!(stage.answer().await, "1");
    stage.is_tidy("after a failed job").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_killed_with_its_deployer_is_waited_for_and_told_of() {
    let stage = Stage::live().await;
    let job = "  migrate:\n    build: .\n    run: once\n    command: [once]\n    \
               environment: { ONCE_MS: \"2500\" }\n";
    let running = stage.start_deploy("2", &settings(job, ""));
    let name = format!("{}-2-migrate-1", stage.service);
    docker::until("the job runs", || async {
        let state = docker::api()
            .inspect_container(&name, None)
            .await
            .ok()?
            .state?;
        (state.running == Some(true)).then_some(())
    })
    .await;
    running.kill().await;
    let first = docker::api().inspect_container(&name, None).await.unwrap();
    let ran = stage.verb("resume").await;
    assert_eq!(ran.ends(0).outcome(), "done");
    let stood = ran.lines.iter().find(|line| line["event"] == "stood-up");
    let job = &stood.unwrap()["jobs"][0];
    assert_eq!((&job["role"], &job["code"]), (&"migrate".into(), &0.into()));
    let output = job["output"].as_str().unwrap();
    assert_eq!(output.matches("once begins").count(), 1, "{output}");
    let last = docker::api().inspect_container(&name, None).await.unwrap();
    let started = |container: bollard::models::ContainerInspectResponse| {
        container.state.unwrap().started_at.unwrap()
    };
    assert_eq!(started(first), started(last));
    assert_eq!(stage.answer().await, "2");
    stage.is_tidy("after a killed job").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_before_the_switch_ends_the_release_and_one_after_it_turns_it_round() {
    let stage = Stage::live().await;
    script(&stage, "no.sh", "echo cannot >&2; exit 9");
    for (time, outcome) in [
        ("before_switch", "refused"),
        ("after_switch", "rolled_back"),
    ] {
        let top = format!("hooks:\n  {time}:\n    - {{name: no, run: [./no.sh]}}\n");
        stage.write_plan("2", &settings("", &top));
        let ran = stage.run(&["deploy"]).await;
        assert_eq!(ran.ends(3).outcome(), outcome, "{ran:#?}");
        let end = ended(&ran, "no");
        assert_eq!(end["code"], 9);
        assert_eq!(end["failure"]["what"], "the hook `no` exited with 9");
        assert!(end["output"].as_str().unwrap().contains("cannot"), "{end}");
        let moved = ran.lines.iter().any(|line| line["event"] == "switched");
        assert_eq!(moved, time == "after_switch");
        assert_eq!(stage.answer().await, "1");
    }
    stage.is_tidy("after failing hooks").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_takes_too_long_is_ended_with_all_it_has_started() {
    let stage = Stage::live().await;
    script(&stage, "slow.sh", "sleep 1000 & echo $! > child; wait");
    let top = "hooks:\n  before_switch:\n    - {name: slow, run: [./slow.sh], timeout: 500ms}\n";
    stage.write_plan("2", &settings("", top));
    let ran = stage.run(&["deploy"]).await;
    assert_eq!(ran.ends(3).outcome(), "refused");
    let failure = &ended(&ran, "slow")["failure"];
    assert_eq!(
        failure["what"],
        "the hook `slow` did not end within 500 ms and was stopped"
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(hint.contains("`timeout: 30m` on the hook `slow`"), "{hint}");
    let child = std::fs::read_to_string(stage.checkout().join("child")).unwrap();
    docker::until("its child is gone", || async {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        status
            .map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    })
    .await;
    let top = "hooks:\n  before_switch:\n    \
               - {name: slow, role: web, command: [sleep], timeout: 500ms}\n";
    stage.write_plan("3", &settings("", top));
    let ran = stage.run(&["deploy"]).await;
    assert_eq!(ran.ends(3).outcome(), "refused");
    let failure = &ended(&ran, "slow")["failure"];
    assert!(failure["hint"].is_string(), "{failure}");
    stage.is_tidy("after late hooks").await;
    stage.end().await;
}

/// A deploy of release 2 that is killed while its hook runs.
async fn killed(stage: &Stage, top: &str) {
    let mut running: Running = stage.start_deploy("2", &settings("", top));
    running.intends("hook").await;
    begun(stage, 1).await;
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_killed_with_its_deployer_is_left_to_a_person_and_run_once() {
    let stage = Stage::live().await;
    script(&stage, "warm.sh", "sleep 1");
    let top = "hooks:\n  after_switch:\n    - {name: warm, run: [./warm.sh]}\n";
    killed(&stage, top).await;
    for _ in 0..2 {
        let ran = stage.verb("resume").await;
        assert_eq!(ran.ends(4).outcome(), "unsure", "{ran:#?}");
        for flag in ["--hook-done warm", "--hook-again warm"] {
            let says = format!("flipside resume {} {flag}", stage.service);
            assert!(tells(&ran, &says), "{ran:#?}");
        }
    }
    // A deploy settles it first, and may not.
    let ran = stage.run(&["deploy"]).await;
    assert_eq!(ran.ends(4).outcome(), "unsure", "{ran:#?}");
    let wrong = stage
        .run(&["resume", &stage.service, "--hook-done", "cold"])
        .await;
    assert_eq!(wrong.ends(2).error(), "bad-flags");
    assert!(tells(&wrong, "--hook-done warm"), "{wrong:#?}");
    assert_eq!(counted(&stage).len(), 1);
    let ran = stage
        .run(&["resume", &stage.service, "--hook-done", "warm"])
        .await;
    assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
    assert_eq!(counted(&stage).len(), 1);
    assert_eq!(stage.answer().await, "2");
    stage.is_tidy("after a killed command").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotent_command_is_repeated_with_the_same_key() {
    let stage = Stage::live().await;
    script(&stage, "warm.sh", "sleep 1");
    let top = "hooks:\n  before_switch:\n    - {name: warm, run: [./warm.sh], idempotent: true}\n";
    killed(&stage, top).await;
    let ran = stage.verb("resume").await;
    assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
    let lines = counted(&stage);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], lines[1]);
    stage.is_tidy("after a repeated command").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_hook_is_in_doubt_before_the_switch_can_be_given_up_or_begun_anew() {
    let stage = Stage::live().await;
    script(&stage, "warm.sh", "sleep 1");
    let top = "hooks:\n  before_switch:\n    - {name: warm, run: [./warm.sh]}\n";
    killed(&stage, top).await;
    stage.verb("resume").await.ends(4);
    let ran = stage.run(&["abort", &stage.service]).await;
    ran.ends(0);
    assert_eq!(stage.answer().await, "1");
    std::fs::remove_file(count_file(&stage)).unwrap();
    killed(&stage, top).await;
    let ran = stage
        .run(&["resume", &stage.service, "--hook-again", "warm"])
        .await;
    assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
    assert_eq!(counted(&stage).len(), 2);
    stage.is_tidy("after a word").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_in_a_container_killed_with_its_deployer_is_read_back() {
    let stage = Stage::live().await;
    let top = "hooks:\n  after_switch:\n    - {name: check, role: web, command: [once]}\n";
    let slow = Settings {
        variables: vec![("ONCE_MS", "2000".into())],
        ..settings("", top)
    };
    let running = stage.start_deploy("2", &slow);
    let name = format!("{}-2-check", stage.service);
    let look = || async {
        docker::api()
            .inspect_container(&name, None)
            .await
            .ok()?
            .state
    };
    docker::until("the hook runs", || async {
        (look().await?.running == Some(true)).then_some(())
    })
    .await;
    running.kill().await;
    let first = look().await.unwrap().started_at;
    let ran = stage.verb("resume").await;
    assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
    let output = ended(&ran, "check")["output"].as_str().unwrap();
    assert_eq!(output.matches("once begins").count(), 1, "{output}");
    assert_eq!(look().await.unwrap().started_at, first);
    stage.is_tidy("after a killed hook").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_a_hook_and_before_the_switch_the_release() {
    let stage = Stage::live().await;
    script(
        &stage,
        "warm.sh",
        "trap 'echo heard >> heard; exit 1' TERM\nsleep 60 & wait",
    );
    let top = "hooks:\n  before_switch:\n    - {name: warm, run: [./warm.sh]}\n";
    let running = stage.start_deploy("2", &settings("", top));
    begun(&stage, 1).await;
    running.signal(Signal::TERM);
    let ran = running.ended().await;
    assert_eq!(ran.ends(3).outcome(), "refused", "{ran:#?}");
    assert!(stage.checkout().join("heard").exists());
    assert_eq!(ended(&ran, "warm")["stopped"], true);
    assert_eq!(stage.answer().await, "1");
    stage.is_tidy("after a signal").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_done_also_where_its_hooks_cannot_run() {
    let stage = Stage::live().await;
    script(&stage, "undo.sh", "");
    let top = "hooks:\n  on_rollback:\n    - {name: undo, run: [./undo.sh]}\n";
    stage.write_plan("2", &settings("", top));
    stage.run(&["deploy"]).await.ends(0);
    std::fs::remove_dir_all(stage.checkout()).unwrap();
    let back = stage.verb("rollback").await;
    assert_eq!(back.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "1");
    let what = ended(&back, "undo")["failure"]["what"].as_str().unwrap();
    assert!(what.contains("the hook `undo`"), "{what}");
    let moved = back
        .lines
        .iter()
        .position(|line| line["event"] == "switched");
    let hooked = back
        .lines
        .iter()
        .position(|line| line["event"] == "hook-ended");
    assert!(moved.unwrap() < hooked.unwrap());
    stage.is_tidy("after a hook that could not run").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_runs_the_hooks_that_need_none_of_the_deploys_secrets() {
    let stage = Stage::live().await;
    script(&stage, "undo.sh", "");
    let settings = Settings {
        variables: vec![("TOKEN", "${TOKEN}".into())],
        ..settings(
            "",
            "hooks:\n  on_rollback:\n    - {name: undo, run: [./undo.sh]}\n    \
             - {name: clean, role: web, command: [once]}\n    \
             - {name: tell, run: [./undo.sh, \"${TOKEN}\"]}\n",
        )
    };
    stage.write_plan("2", &settings);
    let ran = stage
        .run(&["deploy", "--set", "TOKEN=kept-by-the-pipeline"])
        .await;
    ran.ends(0);
    let back = stage.verb("rollback").await;
    assert_eq!(back.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "1");
    assert_eq!(ended(&back, "undo")["code"], 0);
    assert_eq!(counted(&stage).len(), 1, "{back:#?}");
    for lacks in ["clean", "tell"] {
        let what = ended(&back, lacks)["failure"]["what"].as_str().unwrap();
        assert!(what.ends_with("the variable `TOKEN` is not set"), "{what}");
    }
    stage
        .is_tidy("after a hook without the rest of its plan")
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_outlived_its_deployer_is_waited_for_before_it_is_repeated() {
    let stage = Stage::live().await;
    script(&stage, "warm.sh", "sleep 4\necho ended >> count");
    let top = "hooks:\n  before_switch:\n    - {name: warm, run: [./warm.sh], idempotent: true}\n";
    killed(&stage, top).await;
    let ran = stage.verb("resume").await;
    assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
    let lines = counted(&stage);
    assert_eq!((lines.len(), &lines[0]), (4, &lines[2]), "{lines:?}");
    assert_eq!((&*lines[1], &*lines[3]), ("ended", "ended"), "{lines:?}");
    stage.is_tidy("after two that did not meet").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_command_that_outlived_its_deployer_a_person_is_told_where_it_runs() {
    let stage = Stage::live().await;
    script(
        &stage,
        "warm.sh",
        "echo $$ > pid\nwhile [ -e hold ]; do sleep 0.05; done\necho ended >> count",
    );
    let hold = stage.checkout().join("hold");
    std::fs::write(&hold, "").unwrap();
    let top = "hooks:\n  after_switch:\n    - {name: warm, run: [./warm.sh]}\n";
    killed(&stage, top).await;
    let pid = docker::until("its process is known", || async {
        let pid = std::fs::read_to_string(stage.checkout().join("pid")).ok()?;
        pid.ends_with('\n').then(|| pid.trim().to_owned())
    })
    .await;
    let told = stage.verb("resume").await;
    assert_eq!(told.ends(4).outcome(), "unsure");
    let says = format!("still runs on this machine (process {pid})");
    assert!(tells(&told, &says), "{told:#?}");
    // A person who does not wait is waited for.
    let mut again = stage.start(&["resume", &stage.service, "--hook-again", "warm"]);
    again.intends("hook").await;
    std::fs::remove_file(&hold).unwrap();
    let ran = again.ended().await;
    assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
    let lines = counted(&stage);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!((&*lines[1], &*lines[3]), ("ended", "ended"), "{lines:?}");
    stage.is_tidy("after a word").await;
    stage.end().await;
}

/// Holds the first request that it gets until it is cut, and answers the next ones; hands each over.
async fn holding(requests: usize) -> (u16, tokio::sync::mpsc::Receiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, heard) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        for request in 0..requests {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut all, mut bytes) = (String::new(), vec![0; 8192]);
            while !all.contains("it is") {
                let n = stream.read(&mut bytes).await.unwrap();
                assert!(n > 0, "{all}");
                all += &String::from_utf8_lossy(&bytes[..n]);
            }
            said.send(all).await.unwrap();
            if request > 0 {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            // Its end comes when the other side's process is over, or has its answer.
            while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
        }
    });
    (port, heard)
}

fn key_of(request: &str) -> String {
    let lower = request.to_ascii_lowercase();
    let mut lines = lower.lines();
    let key = lines.find_map(|line| line.strip_prefix("idempotency-key: "));
    key.unwrap_or_else(|| panic!("no key: {request}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_when_its_deployer_is_killed_is_repeated_only_where_it_may_be() {
    let stage = Stage::live().await;
    for (version, idempotent) in [("2", true), ("3", false)] {
        let (port, mut heard) = holding(2).await;
        let top = format!(
            "hooks:\n  after_switch:\n    - {{name: said, idempotent: {idempotent}, \
             http: {{url: \"http://127.0.0.1:{port}/done\", body: \"it is\"}}}}\n"
        );
        let running = stage.start_deploy(version, &settings("", &top));
        let first = heard.recv().await.unwrap();
        running.kill().await;
        let ran = stage.verb("resume").await;
        if idempotent {
            assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
            let second = heard.recv().await.unwrap();
            assert_eq!(key_of(&first), key_of(&second));
        } else {
            assert_eq!(ran.ends(4).outcome(), "unsure", "{ran:#?}");
            assert!(tells(&ran, "--hook-done said"), "{ran:#?}");
            assert!(!tells(&ran, "runs on this machine"), "{ran:#?}");
            let ran = stage
                .run(&["resume", &stage.service, "--hook-done", "said"])
                .await;
            assert_eq!(ran.ends(0).outcome(), "done", "{ran:#?}");
            assert!(heard.try_recv().is_err(), "it was sent again");
        }
        assert_eq!(stage.answer().await, version);
    }
    stage.is_tidy("after killed requests").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_a_hook_in_a_container() {
    let stage = Stage::live().await;
    let top = "hooks:\n  before_switch:\n    - {name: check, role: web, command: [sleep]}\n";
    let running = stage.start_deploy("2", &settings("", top));
    let name = format!("{}-2-check", stage.service);
    docker::until("the hook runs", || async {
        let found = docker::api().inspect_container(&name, None).await.ok()?;
        (found.state?.running == Some(true)).then_some(())
    })
    .await;
    running.signal(Signal::TERM);
    let ran = running.ended().await;
    assert_eq!(ran.ends(3).outcome(), "refused", "{ran:#?}");
    // It ends well when it is asked to, and nothing goes on all the same.
    assert_eq!(ended(&ran, "check")["code"], 0);
    let left = docker::api().inspect_container(&name, None).await;
    assert!(left.is_err(), "the hook's container is left: {left:?}");
    assert_eq!(stage.answer().await, "1");
    stage.is_tidy("after a signal").await;
    stage.end().await;
}
