//! Terminals, pipes that nobody reads, streams that are closed: the switch happens all the same.

use std::process::{Command, Stdio};

use super::kit::{FLIPSIDE, Ran, Running, Stage};
use crate::bad_days::{Day, Serves};

fn shell(stage: &Stage, line: &str) -> Running {
    let mut command = Command::new("/bin/sh");
    stage.surround(&mut command);
    command.args(["-c", line]);
    Running::start(command)
}

#[test]
fn closed_streams_never_stop_a_switch() {
    let stage = Stage::new();
    for (version, streams) in [
        ("one", ">&-"),
        ("two", "2>&-"),
        ("three", "<&- >&- 2>&-"),
        ("four", "--output json >/dev/full 2>/dev/full"),
    ] {
        let line = format!("exec {FLIPSIDE} deploy --set VERSION={version} {streams}");
        let ran = shell(&stage, &line).end();
        ran.ended(0);
        stage.serves(version);
        if streams == "2>&-" {
            let day = Day::of("stderr-closed", &stage).saw("flipside deploy", &ran);
            day.serves(Serves::New(version));
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_never_stops_a_switch() {
    let stage = Stage::new();
    for (version, output) in [("one", "human"), ("two", "json")] {
        let set = format!("VERSION={version}");
        let mut command = stage.command(&["deploy", "-vv", "--set", &set, "--output", output]);
        let (reader, writer) = std::io::pipe().unwrap();
        // Filled to the brim before the program begins.
        fill(&writer);
        let errors = writer.try_clone().unwrap();
        command.stdout(writer).stderr(errors).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let end = std::time::Instant::now() + super::kit::LONG;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if std::time::Instant::now() > end {
                child.kill().unwrap();
                panic!("it waits for its reader");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
        drop(reader);
        stage.serves(version);
        if output == "human" {
            let ran = Ran {
                code: 0,
                out: String::new(),
                err: String::new(),
            };
            let day = Day::of("pipe-full", &stage).saw("flipside deploy", &ran);
            day.serves(Serves::New(version));
        }
    }
}

fn fill(writer: &std::io::PipeWriter) {
    use std::os::fd::AsFd;
    let flags = rustix::fs::fcntl_getfl(writer.as_fd()).unwrap();
    rustix::fs::fcntl_setfl(writer.as_fd(), flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(writer.as_fd(), &[b'.'; 4096]).is_ok() {}
    while rustix::io::write(writer.as_fd(), b".").is_ok() {}
    rustix::fs::fcntl_setfl(writer.as_fd(), flags).unwrap();
}

#[test]
fn a_terminal_shows_what_is_under_way() {
    let stage = Stage::new();
    let words = ["deploy", "--set", "START_DELAY_MS=1500", "--set", "BAKE=2s"];
    let ran = stage.on_terminal(80, &words, "", "");
    ran.ended(0);
    ran.says(&[
        "probing",
        "0 of 1 replica passed",
        "connection refused at",
        "baking",
        "left",
        "✓",
    ]);
    // Bars are cleared: what is left at the end is facts.
    let last = ran.out.trim_end().lines().last().unwrap();
    assert!(last.contains("in all"), "{ran}");
}

#[test]
fn a_terminal_shows_how_far_a_drain_is() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=one"]);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| stage.get("/slow?ms=4000"));
        let ran = stage.on_terminal(80, &["deploy", "--set", "VERSION=two"], "", "");
        ran.ended(0);
        ran.says(&[
            "1 request in flight, cut after",
            "1 in flight, 1 finished, 0 cut",
        ]);
        assert_eq!(slow.join().unwrap(), (200, "slow".into()));
    });
}

#[test]
fn a_pipeline_that_knows_groups_and_annotations_gets_them() {
    let stage = Stage::new();
    let run = |words: &[&str], variable: &str| {
        let mut command = stage.command(words);
        command.env(variable, "true");
        Running::start(command).end()
    };
    let slow = ["deploy", "--set", "START_DELAY_MS=12000"];
    let ran = run(&slow, "GITHUB_ACTIONS");
    ran.ended(0);
    ran.says(&["\n::group::probing", "\n::endgroup::\n"]);
    let ran = run(&["deploy", "--set", "EXIT_AT_START=3"], "GITHUB_ACTIONS");
    ran.ended(3);
    ran.says(&["\n::error title=flipside::web exited with 3"]);
    ran.never_says("failed:");
    let ran = run(&slow, "GITLAB_CI");
    ran.ended(0);
    ran.says(&[
        "section_start:",
        ":flipside_1\r\u{1b}[0Kprobing",
        "section_end:",
    ]);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let stage = Stage::new();
    let line = format!("TERM=dumb exec {FLIPSIDE} deploy");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    stage.surround(&mut command);
    let ran = Running::start(command).end();
    ran.ended(0);
    ran.says(&["s] ", "@1 is live"]);
    ran.never_says("\x1b");
    ran.never_says("✓");
}
