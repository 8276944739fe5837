//! A service of a test's own and the program that acts on it, as a person or a pipeline runs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::docker;

pub use crate::support::ports::free_port;

/// The program under test.
pub const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");
/// How long anything may take before a test gives up.
pub const LONG: Duration = Duration::from_secs(120);

/// A directory with plans, a proxy and services of the test's own. All of it is removed when it is
/// dropped, also by a panic.
pub struct Stage {
    pub service: String,
    pub proxy: String,
    pub port: u16,
    pub image: String,
    /// Another engine than the machine's, or another way to it.
    pub engine: Option<String>,
    services: Vec<String>,
    dir: TempDir,
}

impl Stage {
    /// Nothing stands yet.
    pub fn new() -> Self {
        let image = runtime().block_on(async {
            let client = flipside::docker::Client::connect(None).await.unwrap();
            docker::sweep_once().await;
            docker::hello_image(&client).await
        });
        let service = docker::service().to_string();
        let stage = Self {
            proxy: format!("{service}-proxy"),
            services: vec![service.clone()],
            service,
            port: free_port(),
            image,
            engine: None,
            dir: tempfile::tempdir().unwrap(),
        };
        stage.write("flipside.yaml", stage.plan());
        stage
    }

    /// The plan that most tests use; `${…}` lets a test break it.
    pub fn plan(&self) -> String {
        let Self {
            service,
            image,
            port,
            ..
        } = self;
        format!(
            "name: {service}
services:
  web:
    image: ${{IMAGE:-{image}}}
    environment:
      VERSION: ${{VERSION:-1}}
      EXIT_AT_START: ${{EXIT_AT_START:-}}
      HOG: ${{HOG:-}}
      PORT: ${{PORT:-8080}}
      FAIL_AFTER_MS: ${{FAIL_AFTER_MS:-}}
      START_DELAY_MS: ${{START_DELAY_MS:-}}
    mem_limit: 64m
    stop_grace_period: 2s
expose: web:8080
probes:
  - http: {{ path: \"${{PROBED:-/up}}\", interval: 100ms, timeout: 1s, deadline: \"${{DEADLINE:-20s}}\" }}
pointer:
  proxy: {{ listen: \"127.0.0.1:{port}\" }}
drain: {{ limit: 5s }}
bake: ${{BAKE:-0s}}
standby: {{ keep: 1 }}
"
        )
    }

    /// Another service of this test's.
    pub fn another(&mut self) -> String {
        let name = docker::service().to_string();
        self.services.push(name.clone());
        name
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// None of these stands in the journal, or beside it.
    pub fn keeps_unrecorded(&self, marks: &[&str]) {
        let journal = std::process::Command::new("grep")
            .args(["-rlE", &marks.join("|")])
            .arg(self.state())
            .output()
            .unwrap();
        let files = String::from_utf8_lossy(&journal.stdout);
        assert_eq!(files, "", "a secret is in the journal");
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program, in the directory of the plan, without a terminal.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(FLIPSIDE);
        command.args(words);
        self.surround(&mut command);
        command
    }

    /// Gives a command this stage's directory and variables.
    pub fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.path())
            .env("FLIPSIDE_PROXY", &self.proxy)
            .env("FLIPSIDE_STATE", self.state())
            .env("FLIPSIDE_RUN_DIR", self.path().join("run"))
            .env("USER", "ann")
            .env_remove("SUDO_USER")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("GITLAB_CI")
            .envs(self.engine.iter().map(|url| ("DOCKER_HOST", url)))
            .stdin(Stdio::null());
    }

    /// Runs the program to its end.
    pub fn run(&self, words: &[&str]) -> Ran {
        Running::start(self.command(words)).end()
    }

    /// Runs the program, which must end with this code.
    pub fn expect(&self, code: i32, words: &[&str]) -> Ran {
        let ran = self.run(words);
        ran.ended(code);
        ran
    }

    /// Deploys with these values, which must be done.
    pub fn deploy(&self, set: &[&str]) -> Ran {
        let mut words = vec!["deploy"];
        words.extend(set.iter().flat_map(|pair| ["--set", pair]));
        self.expect(0, &words)
    }

    /// Runs the program in the background.
    pub fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }

    /// Runs the program on a terminal of `columns`, where `typed` is typed once `asked` is shown.
    pub fn on_terminal(&self, columns: u16, words: &[&str], asked: &str, typed: &str) -> Ran {
        let line = format!("stty cols {columns}; exec {FLIPSIDE} {}", words.join(" "));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        self.surround(&mut command);
        command.env("TERM", "xterm").stdin(Stdio::piped());
        let mut running = Running::start(command);
        if !asked.is_empty() {
            running.until_shown(asked);
            running.type_in(typed);
        }
        running.end()
    }

    /// `status --output json`.
    pub fn status(&self) -> Value {
        let ran = self.expect(0, &["status", &self.service, "--output", "json"]);
        let lines = ran.json();
        assert_eq!(lines.len(), 1, "{ran}");
        lines[0].clone()
    }

    /// The releases that are live, and that stand by, best first.
    pub fn releases(&self) -> (Option<u64>, Vec<u64>) {
        let status = self.status();
        let standby = status["standby"].as_array().unwrap().iter();
        let standby = standby
            .map(|one| one["release"].as_u64().unwrap())
            .collect();
        (status["live"]["release"].as_u64(), standby)
    }

    /// Body of a GET through the pointer.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.get_for("test", path)
    }

    /// As [`Stage::get`], of a host name.
    pub fn get_for(&self, host: &str, path: &str) -> (u16, String) {
        get(SocketAddr::from(([127, 0, 0, 1], self.port)), host, path)
    }

    /// As [`Stage::get_for`], where perhaps nobody answers.
    pub fn try_get(&self, host: &str, path: &str) -> std::io::Result<(u16, String)> {
        try_get(SocketAddr::from(([127, 0, 0, 1], self.port)), host, path)
    }

    /// Asserts that version `version` answers.
    pub fn serves(&self, version: &str) {
        assert_eq!(self.get("/"), (200, version.to_owned()));
    }

    /// What carries the service's label, leases left out.
    pub fn parts(&self) -> Vec<String> {
        let parts = runtime().block_on(docker::parts(&self.service));
        let lease = |name: &String| name.contains(".lease.");
        parts.into_iter().filter(|name| !lease(name)).collect()
    }

    /// Asserts that nothing of `release` is left.
    pub fn nothing_left_of(&self, release: u64) {
        let service = &self.service;
        let ours = [
            format!("{service}-{release}-"),
            format!("{service}.{release}"),
        ];
        let mut left = self.parts();
        left.retain(|part| ours.iter().any(|name| part.contains(name)));
        assert_eq!(left, [""; 0]);
    }

    /// The name of a release's only container.
    pub fn container(&self, release: u64) -> String {
        let ours = format!("/{}-{release}-", self.service);
        let parts = self.parts();
        let found = parts.iter().find(|name| name.starts_with(&ours));
        let found = found.unwrap_or_else(|| panic!("{ours} is not among {parts:?}"));
        found.trim_start_matches('/').to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for service in std::mem::take(&mut self.services) {
            let removing = std::thread::spawn(move || runtime().block_on(docker::remove(&service)));
            removing.join().ok();
        }
        docker::remove_proxy(&self.proxy);
    }
}

/// One run that ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, out, err } = self;
        write!(f, "exit {code}\n--- stdout\n{out}\n--- stderr\n{err}\n---")
    }
}

impl Ran {
    #[track_caller]
    pub fn ended(&self, code: i32) {
        assert_eq!(self.code, code, "{self}");
    }

    /// All of these are on the screen.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) {
        for text in texts {
            let found = self.out.contains(text) || self.err.contains(text);
            assert!(found, "`{text}` is missing: {self}");
        }
    }

    #[track_caller]
    pub fn never_says(&self, text: &str) {
        let found = self.out.contains(text) || self.err.contains(text);
        assert!(!found, "`{text}` is there: {self}");
    }

    /// Standard output, every line of it JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.out.lines().map(line).collect()
    }

    /// The line of standard output that tells of an error.
    #[track_caller]
    pub fn error(&self) -> Value {
        let mut lines = self.json().into_iter();
        let found = lines.find(|line| line["event"] == "error");
        found.unwrap_or_else(|| panic!("no error: {self}"))
    }

    /// The last line of standard output, which tells how it ended.
    #[track_caller]
    pub fn finished(&self) -> Value {
        let lines = self.json();
        let last = lines.last().unwrap_or_else(|| panic!("no line: {self}"));
        assert_eq!(last["event"], "finished", "{self}");
        let fields = [
            "outcome",
            "service",
            "release",
            "live",
            "elapsed_ms",
            "requests_in_flight",
            "requests_cut",
        ];
        for field in fields {
            assert!(last.get(field).is_some(), "no `{field}` in {last}");
        }
        last.clone()
    }
}

/// A run that goes on; killed where the test ends before it.
pub struct Running {
    child: Child,
    out: Gathered,
    err: Gathered,
}

struct Gathered {
    text: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Gathered {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let text = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let theirs = text.clone();
        let reader = stream.map(|mut stream| {
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    theirs.lock().unwrap().extend_from_slice(&buffer[..read]);
                }
            })
        });
        Self { text, reader }
    }

    fn now(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.now()
    }
}

impl Running {
    /// Starts a command with both outputs gathered.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Gathered::of(child.stdout.take());
        let err = Gathered::of(child.stderr.take());
        Self { child, out, err }
    }

    /// Waits until `text` has been written to either stream.
    #[track_caller]
    pub fn until_shown(&mut self, text: &str) {
        let end = Instant::now() + LONG;
        loop {
            let (out, err) = (self.out.now(), self.err.now());
            if out.contains(text) || err.contains(text) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "`{text}` did not come ({ended:?}):\n{out}\n---\n{err}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(self) -> Ran {
        self.end_within(LONG)
    }

    /// Kills it, and gives what it has said.
    pub fn kill(mut self) -> Ran {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits for the end, which must come in time.
    #[track_caller]
    pub fn end_within(mut self, limit: Duration) -> Ran {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let (out, err) = (self.out.now(), self.err.now());
            assert!(Instant::now() < end, "no end:\n{out}\n---\n{err}");
            std::thread::sleep(Duration::from_millis(5));
        };
        Ran {
            code: status.code().unwrap_or(-1),
            out: self.out.whole(),
            err: self.err.whole(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A process that is over when its test is.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The `docker` command's standard output.
pub fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// One GET on a connection of its own: status and body.
pub fn get(at: SocketAddr, host: &str, path: &str) -> (u16, String) {
    try_get(at, host, path).unwrap()
}

/// As [`get`], where perhaps nobody answers.
fn try_get(at: SocketAddr, host: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parts.ok_or_else(|| std::io::Error::other(answer))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
