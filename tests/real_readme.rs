//! Every command of the README, run on the engine: in a sandbox of its own, in the README's order,
//! with the README's plan; and the quickstart, which must leave nothing behind.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::ports::free_port;

use super::readme::{Kind, SCRIPTS, blocks, flipside, plan, root};

/// The README's words in a place where they meet nothing else on this machine: the service has a
/// name of its own, and so have proxy, state and port.
struct Sandbox {
    directory: TempDir,
    service: String,
    port: u16,
}

impl Sandbox {
    fn new(what: &str) -> Self {
        let port = free_port();
        let run = match super::support::docker::run() {
            run if run.is_empty() => run,
            run => format!("{run}-"),
        };
        let service = format!("t-{run}{what}-{}-{port}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        Self {
            directory,
            service,
            port,
        }
    }

    fn path(&self) -> PathBuf {
        let own = flipside().parent().unwrap();
        let mut paths = vec![own.to_path_buf()];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        std::env::join_paths(paths).unwrap().into()
    }

    /// The README's text with the sandbox's own service in it.
    fn own(&self, text: &str) -> String {
        text.split_inclusive(|c: char| !c.is_alphanumeric())
            .map(|word| {
                let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
                match bare {
                    "shop" => word.replacen("shop", &self.service, 1),
                    _ => word.to_owned(),
                }
            })
            .collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.directory)
            .env("PATH", self.path())
            .env("FLIPSIDE_STATE", self.directory.path().join("state"))
            .env("FLIPSIDE_PROXY", format!("{}-proxy", self.service))
            .env("PORT", self.port.to_string())
            .env("CI_COMMIT_SHA", "4")
            .stdin(Stdio::null());
        command
    }

    /// Runs lines as a person would type them; every one must succeed.
    fn run(&self, lines: &str) -> Output {
        let lines = self.own(&lines.replace("${{ github.sha }}", "5"));
        let output = self
            .command("bash")
            .args(["-euo", "pipefail", "-c", &lines])
            .output()
            .unwrap();
        assert!(output.status.success(), "{lines}\n{}", shown(&output));
        output
    }

    /// What stands on the engine that has this sandbox's name.
    fn left(&self) -> Vec<String> {
        let label = format!("label=flipside.service={}", self.service);
        let name = format!("name={}", self.service);
        let mut left = Vec::new();
        for filter in [&label, &name] {
            left.extend(docker(&[
                "ps",
                "-a",
                "--filter",
                filter,
                "--format",
                "{{.Names}}",
            ]));
            left.extend(docker(&["network", "ls", "-q", "--filter", filter]));
            left.extend(docker(&["volume", "ls", "-q", "--filter", filter]));
        }
        left.extend(docker(&["images", "-q", "--filter", &label]));
        left
    }
}

impl Drop for Sandbox {
    /// Also after a failure; what is gone already is not missed.
    fn drop(&mut self) {
        for words in [
            &["down", self.service.as_str(), "--yes"],
            &["proxy", "down", "--yes"],
        ] {
            drop(self.command("flipside").args(words).output());
        }
    }
}

fn docker(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| format!("{} {line}", arguments[0]))
        .collect()
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn every_command_does_what_it_says() {
    let sandbox = Sandbox::new("readme");
    let at = |name: &str| sandbox.directory.path().join(name);
    std::fs::write(at("flipside.yaml"), sandbox.own(&plan())).unwrap();
    std::fs::copy(root().join("examples/shop/Dockerfile"), at("Dockerfile")).unwrap();
    std::fs::copy(super::support::docker::hello_binary(), at("hello")).unwrap();

    // What is taken down in the middle of the page is needed again by the pipelines below it.
    let (mut ran, mut down) = (0, Vec::new());
    for (block, kind) in blocks() {
        match kind {
            Kind::Scripts(lines) => {
                let known = |line: &String| SCRIPTS.contains(&line.split(' ').next().unwrap());
                assert!(lines.iter().all(known), "README.md:{}", block.line);
            }
            Kind::Plan => {}
            Kind::Commands(lines) if lines.contains("flipside down") => down.push(lines),
            Kind::Commands(lines) => {
                sandbox.run(&lines);
                ran += 1;
            }
            Kind::Pipeline(commands) => {
                for command in commands {
                    sandbox.run(&command);
                    ran += 1;
                }
            }
        }
    }
    assert!(ran >= 4, "{ran} blocks");
    assert_eq!(down.len(), 1);
    let last = std::fs::read_to_string(at("deploy.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "finished");
    assert_eq!(last["outcome"], "done");
    sandbox.run(&down[0]);
    sandbox.run("flipside proxy down --yes");
    assert_eq!(sandbox.left(), Vec::<String>::new());
}

/// It builds where these tests were built, and the same, so that nothing is built twice, or put in the
/// place of what other tests run.
fn quickstart(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command("bash");
    command
        .arg(root().join("examples/quickstart.sh"))
        .env("FLIPSIDE_QUICKSTART_NAME", &sandbox.service)
        .env("FLIPSIDE_QUICKSTART_WHOLE", "1")
        .env("TMPDIR", sandbox.directory.path())
        .env_remove("FLIPSIDE_STATE")
        .env_remove("FLIPSIDE_PROXY")
        .env_remove("PORT");
    command
}

#[test]
fn the_quickstart_tells_its_story_and_leaves_nothing() {
    let sandbox = Sandbox::new("quick");
    let output = quickstart(&sandbox).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    for expected in [
        "answers: version 1",
        "answers: version 2",
        "exiting with 3, as EXIT_AT_START says",
        "exit code 3: refused",
        "requests failed        0",
        "rollback to release 1  ",
    ] {
        assert!(told.contains(expected), "`{expected}`: {}", shown(&output));
    }
    // How long it took, the build not counted.
    let whole = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("the whole story "));
    let seconds = whole.and_then(|rest| rest.trim().strip_suffix(" s"));
    let seconds = seconds.and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some(), "{}", shown(&output));
    assert!(!told.contains('\u{1b}'), "colours outside a terminal");
    assert_eq!(sandbox.left(), Vec::<String>::new());
    let files = std::fs::read_dir(&sandbox.directory).unwrap().count();
    assert_eq!(files, 0, "files are left");
}

/// A child that does not outlive its test.
struct Stopped(std::process::Child);

impl Stopped {
    fn stop(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.stop();
            drop(self.0.wait());
        }
    }
}

#[test]
fn the_quickstart_clears_up_when_it_is_stopped() {
    let sandbox = Sandbox::new("stopped");
    let mut command = quickstart(&sandbox);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Stopped(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(240);
    while !sandbox.left().iter().any(|line| line.contains("-1-web-1")) {
        assert!(Instant::now() < deadline, "release 1 does not stand up");
        assert_eq!(child.0.try_wait().unwrap(), None, "it ended too early");
        std::thread::sleep(Duration::from_millis(100));
    }
    child.stop();
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
    // What the engine was asked for when that came may still come and go.
    while !sandbox.left().is_empty() {
        let left = sandbox.left();
        assert!(Instant::now() < deadline, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_quickstart_that_keeps_says_how_to_look_at_it_and_how_to_remove_it() {
    let sandbox = Sandbox::new("kept");
    let output = quickstart(&sandbox).arg("--keep").output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    let (_, told) = told.split_once("Left running, as --keep says").unwrap();
    let lines: Vec<_> = told
        .lines()
        .map(|line| line.trim().trim_start_matches("look:"))
        .map(|line| line.trim_start_matches("remove:").trim())
        .filter(|line| !line.is_empty())
        .collect();
    let [status, address, removal @ ..] = lines.as_slice() else {
        panic!("{told}");
    };
    let seen = sandbox.run(&format!("{status} --output json"));
    let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(seen["live"]["release"], 1, "{seen}");
    let (host, _) = address
        .trim_start_matches("http://")
        .split_once('/')
        .unwrap();
    let at = host.parse().unwrap();
    let (code, body) = super::real_verbs::kit::get(at, host, "/");
    assert_eq!((code, body.trim()), (200, "1"));
    assert_eq!(removal.len(), 3, "{told}");
    for line in removal {
        sandbox.run(line);
    }
    assert_eq!(sandbox.left(), Vec::<String>::new());
    let files = std::fs::read_dir(&sandbox.directory).unwrap().count();
    assert_eq!(files, 0, "files are left");
}
