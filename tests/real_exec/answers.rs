//! Commands that cannot be started, end badly or answer what cannot be understood: each is an error
//! that says what, why and what mends it.

use std::time::{Duration, Instant};

use flipside::core::progress::Silent;
use flipside::pointer::exec::{Exec, ExecPlan};
use flipside::pointer::{Pointer, PointerError};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::kit::{pointer, script};
use crate::support::backends::until;

fn plan(program: String) -> ExecPlan {
    ExecPlan {
        command: vec![program],
        timeout: 20_000,
        url: "http://127.0.0.1:1".into(),
        hosts: Vec::new(),
    }
}

/// A command that does as `text` says.
fn does(text: &str) -> (TempDir, Exec) {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), text);
    (directory, pointer(plan(program)))
}

/// One that says what it can do, and does as `text` says with every other `$request`.
fn can(text: &str) -> (TempDir, Exec) {
    does(&format!(
        "read -r request; case $request in *capabilities*) echo '{{\"v\": 1}}'; exit;; esac\n{text}"
    ))
}

/// What is said of a failure, with what mends it.
fn failed<T: std::fmt::Debug>(said: Result<T, PointerError>) -> String {
    match said {
        Err(PointerError::Failed { what, hint }) => format!("{what} {}", hint.unwrap()),
        other => panic!("{other:?}"),
    }
}

fn away<T: std::fmt::Debug>(said: Result<T, PointerError>) -> String {
    match said {
        Err(PointerError::OutOfReach { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn one_that_is_not_there_or_may_not_be_run_is_told_with_what_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name| directory.path().join(name).display().to_string();
    let said = failed(pointer(plan(at("none"))).read().await);
    has(&said, &["/none cannot be started", "not there", "chmod +x"]);
    std::fs::write(at("plain"), "#!/bin/sh\n").unwrap();
    let said = failed(pointer(plan(at("plain"))).read().await);
    has(
        &said,
        &["/plain cannot be started", "may not run it", "chmod +x"],
    );
}

#[tokio::test]
async fn one_that_ends_badly_is_out_of_reach_with_its_last_words() {
    let (_directory, pointer) =
        can("for n in 1 2 3 4 5; do echo \"line $n\" >&2; done; echo '{}'; exit 7");
    let why = away(pointer.read().await);
    has(
        &why,
        &[
            "asked for `read`, it exited with 7",
            "says: line 3; line 4; line 5",
        ],
    );
    let (_directory, pointer) = does("kill -9 $$");
    has(&away(pointer.read().await), &["ended by signal 9"]);
}

#[tokio::test]
async fn answers_that_are_no_object_are_told_as_they_begin() {
    for (text, parts) in [
        ("true", ["it answered nothing", "flipside help exec"]),
        ("echo so be it", ["not one JSON object", "`so be it`"]),
        ("echo '[]'", ["not one JSON object", "`[]`"]),
        (
            "echo '{\"routes\": []}{\"routes\": []}'",
            ["not one JSON object", "trailing characters"],
        ),
        ("echo '{\"routes\": 7}'", ["not understood", "invalid type"]),
        (
            "head -c 1048577 /dev/zero | tr '\\0' ' '; echo '{\"routes\": []}'",
            ["longer than 1 MiB", "flipside help exec"],
        ),
        (
            "echo '{\"routes\": [], \"note\": \"mine\"}'",
            ["a note that cannot be read", "the flipside that wrote it"],
        ),
    ] {
        let (_directory, pointer) = can(text);
        has(&failed(pointer.read().await), &parts);
    }
    let (_directory, pointer) = can("echo '{\"routes\": []}'");
    assert_eq!(pointer.read().await, Ok(None));
}

#[tokio::test]
async fn one_of_another_version_is_not_asked_for_more() {
    let (_directory, pointer) = does("echo '{\"v\": 2}'");
    let said = failed(pointer.ready(&Silent).await);
    has(&said, &["speaks version 2", "this flipside version 1"]);
    let (_directory, pointer) = does("echo '{}'");
    has(
        &failed(pointer.foresee().await),
        &["does not say which version", "\"v\": 1"],
    );
}

#[tokio::test]
async fn it_knows_whose_pointer_it_is() {
    let (_directory, pointer) = can("echo \"$FLIPSIDE_SERVICE $request\" >&2; exit 1");
    let why = away(pointer.read().await);
    has(
        &why,
        &[
            "shop {",
            r#""op":"read""#,
            r#""service":"shop""#,
            r#""v":1"#,
        ],
    );
}

/// It is killed with all that it has started, and held to nothing that it holds open.
#[tokio::test]
async fn one_that_does_not_end_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("child");
    let text = format!("sleep 600 & echo $! >{}; wait", path.display());
    let slow = pointer(ExecPlan {
        timeout: 1_000,
        ..plan(script(directory.path(), &text))
    });
    has(&away(slow.read().await), &["did not end within 1 s"]);
    let child = std::fs::read_to_string(&path).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    until("the end of its child", async || {
        // What is dead and not yet waited for is a zombie.
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_it_leaves_running_does_not_hold_its_answer_back() {
    let (directory, pointer) = can("sleep 60 & echo $! >\"$0.child\"; echo '{\"routes\": []}'");
    let began = Instant::now();
    assert_eq!(pointer.read().await, Ok(None));
    assert!(began.elapsed() < Duration::from_secs(15));
    let child = std::fs::read_to_string(directory.path().join("command.sh.child")).unwrap();
    let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::KILL).unwrap();
}
