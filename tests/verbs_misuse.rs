//! The program misused, or called where nothing can work: no engine is needed, and none is touched.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::CommandFactory;
use flipside::cli::Cli;
use serde_json::Value;
use tempfile::TempDir;

const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");

/// Longer than any deadline of the program's own that may run here.
const LONG: Duration = Duration::from_secs(60);

const PLAN: &str = "\
name: shop
services:
  web: { image: \"registry.invalid/shop:1\" }
expose: web:8080
probes: [ { http: { path: /up } } ]
pointer: { proxy: { listen: \":8080\" } }
bake: 1m
";

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// It ended with `code`, and all of `texts` are among what it said.
    #[track_caller]
    pub fn is(&self, code: i32, texts: &[&str]) -> &Self {
        let Self {
            code: found,
            out,
            err,
        } = self;
        assert_eq!(*found, code, "{out}\n---\n{err}");
        for text in texts {
            let said = out.contains(text) || err.contains(text);
            assert!(said, "`{text}` is missing:\n{out}\n---\n{err}");
        }
        self
    }
}

/// The program in `dir`, with a journal of its own and an engine that is not there.
fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(FLIPSIDE);
    command
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("USER", "ann")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("FLIPSIDE_STATE", dir.join("state"))
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn end(command: &mut Command) -> Ran {
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        out.read_to_end(&mut text).unwrap();
        text
    });
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).unwrap();
        text
    });
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if began.elapsed() > LONG {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |read: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&read.join().unwrap()).into_owned()
    };
    Ran {
        code,
        out: text(reading),
        err: text(errors),
    }
}

#[track_caller]
pub fn run(dir: &Path, words: &[&str]) -> Ran {
    end(&mut command(dir, words))
}

pub fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn planned() -> TempDir {
    directory(&[("flipside.yaml", PLAN.as_bytes())])
}

#[test]
fn help_fits_a_screen_and_tells_the_exit_codes() {
    let dir = planned();
    let help = run(dir.path(), &["--help"]);
    help.is(
        0,
        &[
            "Usage: flipside",
            "rollback",
            "Exit codes:",
            "7  engine, pointer or store",
        ],
    );
    assert!(help.out.lines().count() <= 50, "{}", help.out);
    assert!(help.out.lines().all(|line| line.chars().count() <= 100));
    assert_eq!(help.err, "");
    assert_eq!(run(dir.path(), &["-h"]).out, help.out);
    for verb in Cli::command().get_subcommands() {
        let verb = verb.get_name();
        let help = run(dir.path(), &[verb, "--help"]);
        help.is(0, &[&format!("Usage: flipside {verb}")]);
        assert!(help.out.lines().count() <= 40, "{}", help.out);
    }
}

#[test]
fn version_is_one_line() {
    let version = run(planned().path(), &["--version"]);
    version.is(0, &[]);
    assert_eq!(
        version.out,
        format!("flipside {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_flags_are_bad_input() {
    let dir = planned();
    run(dir.path(), &[]).is(2, &["Usage: flipside"]);
    run(dir.path(), &["deplo"]).is(2, &["deploy"]);
    run(dir.path(), &["deploy", "--sett", "A=1"]).is(2, &["--set"]);
    run(dir.path(), &["deploy", "--set", "A"]).is(2, &["KEY=VALUE"]);
    run(dir.path(), &["deploy", "a.yaml", "-f", "b.yaml"]).is(2, &["cannot be used with"]);
    run(dir.path(), &["deploy", "-q", "-v"]).is(2, &["cannot be used with"]);
    run(dir.path(), &["rollback", "--to", "last"]).is(2, &["--to"]);
    run(dir.path(), &["status", "--output", "yaml"]).is(2, &["human", "json"]);
    run(dir.path(), &["deploy", "--lock-wait", "30"]).is(2, &["carries a unit", "`30s`"]);
    run(dir.path(), &["prune", "--lock-wait", "soon"]).is(2, &["such as `30s`"]);
    run(dir.path(), &["rollback", "--lock-wait", "30s"]).is(2, &["--lock-wait"]);
    run(dir.path(), &["down", "a", "b"]).is(2, &["unexpected argument"]);
}

#[test]
fn a_plan_is_found_or_named() {
    let none = directory(&[]);
    run(none.path(), &["check"]).is(2, &["flipside.yaml: there is no plan here", "hint:"]);
    run(none.path(), &["check", "x.yaml"]).is(2, &["x.yaml"]);
    let only = directory(&[("plans/only.yaml", PLAN.as_bytes())]);
    run(only.path(), &["check"]).is(0, &["plans/only.yaml is good", "service `shop`"]);
    let two = directory(&[
        ("plans/a.yaml", PLAN.as_bytes()),
        ("plans/b.yaml", PLAN.as_bytes()),
    ]);
    run(two.path(), &["check"]).is(2, &["`a.yaml` and `b.yaml`", "-f plans/a.yaml"]);
    run(two.path(), &["check", "-f", "plans/b.yaml"]).is(0, &["plans/b.yaml is good"]);
}

#[test]
fn a_bad_plan_is_bad_input_with_its_place() {
    let deep = [b"[".repeat(20_000), b"]".repeat(20_000)].concat();
    let large = [PLAN.as_bytes(), &b"# padding\n".repeat(5 << 20 >> 3)].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"", "flipside.yaml:1:1"),
        (b"\x7fELF\x02\x01\0\0\xff\xfe", "flipside.yaml:1:"),
        (&large, "flipside.yaml"),
        (&deep, "flipside.yaml:1:"),
        (b"name: shop\nname: shop\n", "flipside.yaml:2:1"),
        (b"name: Not_A_Label\n", "flipside.yaml:1:7"),
        (b"name: shop\nservises: {}\n", "did you mean `services`?"),
        (b"name: shop\nservices: 3\n", "flipside.yaml:2:11"),
        (b"name: ${NOT_SET}\n", "flipside.yaml:1:7"),
    ];
    for (text, place) in cases {
        let dir = directory(&[("flipside.yaml", text)]);
        for verb in ["check", "deploy"] {
            run(dir.path(), &[verb]).is(2, &["error:", place]);
        }
        let left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["flipside.yaml"], "nothing was touched");
        let json = run(dir.path(), &["check", "--output", "json"]);
        let lines: Vec<Value> = json
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let last = lines.last().unwrap();
        assert_eq!(
            (&last["event"], &last["exit"]),
            (&"error".into(), &2.into())
        );
        assert!(!last["problems"].as_array().unwrap().is_empty(), "{last}");
    }
}

#[test]
fn a_dead_engine_is_out_of_reach_and_the_hint_says_what_to_do() {
    let dir = planned();
    for words in [
        &["deploy"][..],
        &["deploy", "--dry-run"],
        &["status", "shop"],
        &["rollback", "shop", "--yes"],
        &["down", "shop", "--yes"],
        &["prune", "shop"],
        &["logs", "shop"],
        &["proxy", "status"],
    ] {
        let ran = run(dir.path(), words);
        ran.is(7, &["error:", "/nonexistent/docker.sock", "hint:"]);
        assert_eq!(ran.out, "");
    }
    run(dir.path(), &["status", "--engine", "tcp://127.0.0.1:1"]).is(7, &["127.0.0.1:1"]);
    run(dir.path(), &["status", "--engine", "nonsense"]).is(7, &["nonsense"]);
}

#[test]
fn an_engine_that_never_answers_is_out_of_reach() {
    let dir = planned();
    let socket = dir.path().join("deaf.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let engine = format!("unix://{}", socket.display());
    let taking = std::thread::spawn(move || listener.incoming().take(3).collect::<Vec<_>>());
    let ran: Vec<_> = [
        &["status", "shop"][..],
        &["deploy"],
        &["rollback", "shop", "--yes"],
    ]
    .into_iter()
    .map(|words| {
        let mut command = command(dir.path(), words);
        command.env("DOCKER_HOST", &engine);
        std::thread::spawn(move || end(&mut command))
    })
    .collect();
    for ran in ran {
        ran.join().unwrap().is(7, &["no answer within", "hint:"]);
    }
    drop(taking.join().unwrap());
}

#[test]
fn an_engine_that_stops_answering_is_out_of_reach() {
    let dir = planned();
    let socket = dir.path().join("half.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Answers the greeting, and nothing else.
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            if head[..read].starts_with(b"GET /_ping") {
                use std::io::Write;
                let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";
                stream.write_all(answer).unwrap();
            }
            kept.push(stream);
        }
    });
    let engine = format!("unix://{}", socket.display());
    // Whoever reads it without need waits for ever.
    let key = dir.path().join("deaf/digest.key");
    std::fs::create_dir(key.parent().unwrap()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, rustix::fs::Mode::RUSR).unwrap();
    let ran: Vec<_> = [
        &["status"][..],
        &["status", "shop"],
        &["deploy"],
        &["deploy", "--dry-run"],
        &["rollback", "shop", "--yes"],
        &["down", "shop", "--yes"],
        &["logs", "shop"],
    ]
    .into_iter()
    .map(|words| {
        let mut command = command(dir.path(), words);
        command.env("DOCKER_HOST", &engine);
        if words != ["deploy"] {
            command.env("FLIPSIDE_STATE", dir.path().join("deaf"));
        }
        std::thread::spawn(move || end(&mut command))
    })
    .collect();
    for ran in ran {
        ran.join().unwrap().is(7, &["no answer within"]);
    }
}

#[test]
fn a_journal_that_cannot_be_written_stops_a_deploy() {
    let dir = directory(&[
        ("flipside.yaml", PLAN.as_bytes()),
        ("file", b"not a directory"),
    ]);
    for state in ["file", "file/below"] {
        let state = dir.path().join(state);
        let mut command = command(dir.path(), &["deploy"]);
        command.env("FLIPSIDE_STATE", &state);
        end(&mut command).is(7, &["error:", "file", "hint:", "--state"]);
    }
}

#[test]
fn streams_that_are_closed_change_no_exit_code() {
    let dir = planned();
    for (line, code) in [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&- <&-", 0),
        (">/dev/full 2>/dev/full", 0),
    ] {
        let mut shell = command(dir.path(), &[]);
        shell = {
            let mut sh = Command::new("/bin/sh");
            sh.current_dir(dir.path()).env_clear().envs(
                shell
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
            sh
        };
        shell.args(["-c", &format!("{FLIPSIDE} check {line}")]);
        assert_eq!(end(&mut shell).code, code, "{line}");
        shell = {
            let mut sh = Command::new("/bin/sh");
            sh.current_dir(dir.path()).env_clear().envs(
                shell
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
            sh
        };
        shell.args(["-c", &format!("{FLIPSIDE} status shop {line}")]);
        assert_eq!(end(&mut shell).code, 7, "{line}");
    }
}

#[test]
fn colour_is_for_those_who_want_it() {
    let dir = planned();
    let coloured = |variables: &[(&str, &str)]| {
        let mut command = command(dir.path(), &["status", "shop"]);
        command.envs(variables.iter().copied());
        end(&mut command).err.contains('\x1b')
    };
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&[("TERM", "dumb")]));
}

#[test]
fn history_of_a_journal_needs_no_engine() {
    let dir = planned();
    run(dir.path(), &["history"]).is(2, &["no service is deployed here"]);
    run(dir.path(), &["history", "shop"]).is(2, &["no service `shop` here"]);
    run(dir.path(), &["history", "Not/A/Name"]).is(2, &["error:"]);
}

#[test]
fn a_digest_key_that_cannot_be_read_in_time_is_out_of_reach() {
    let dir = planned();
    let key = dir.path().join("state/digest.key");
    std::fs::create_dir(key.parent().unwrap()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, rustix::fs::Mode::RUSR).unwrap();
    run(dir.path(), &["deploy"]).is(7, &["no answer within", "--state"]);
}

#[test]
fn check_and_a_dry_run_make_nothing() {
    let dir = planned();
    let state = dir.path().join("new/deep");
    for (words, code) in [(&["check"][..], 0), (&["deploy", "--dry-run"], 7)] {
        let mut command = command(dir.path(), words);
        command.env("FLIPSIDE_STATE", &state);
        end(&mut command).is(code, &[]);
        assert!(!dir.path().join("new").exists(), "{words:?}");
    }
    let mut nowhere = command(dir.path(), &["check"]);
    nowhere.env("FLIPSIDE_STATE", "/proc/flipside");
    end(&mut nowhere).is(0, &["is good"]);
}

#[test]
fn the_last_line_names_the_service_of_the_plan() {
    let dir = planned();
    for (words, service) in [
        (&["deploy", "--output", "json"][..], "shop"),
        (&["deploy", "--output", "json", "--name", "stage"], "stage"),
    ] {
        let ran = run(dir.path(), words);
        let last: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&last["event"], &last["service"]),
            (&"finished".into(), &service.into())
        );
    }
}
