//! What the benches share: a service of their own on the real engine with its proxy, journal and
//! plan; whole `flipside` processes; a client that waits for an answer; figures and their bounds.
//!
//! Everything made here is removed again: at the end, by a panic, by SIGINT and by SIGTERM.
#![allow(dead_code, reason = "not every bench uses every part")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

#[path = "../../support/docker.rs"]
pub mod docker;
mod figures;
mod poll;

pub use figures::{Bounds, Figures, load_average};
#[allow(unused_imports, reason = "not every bench waits for an answer")]
pub use poll::Poller;

/// How a bench was asked to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// For figures to be quoted.
    Full,
    /// A few rounds, to see that it works.
    Quick,
}

impl Length {
    pub fn rounds(self, full: usize, quick: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// How the flag begins that names what is to be measured, of several.
const ONLY: &str = "--only=";

/// Whether that was asked for, by its first word; where nothing is named all is.
pub fn is_wanted(name: &str) -> bool {
    let only = std::env::args().find_map(|flag| flag.strip_prefix(ONLY).map(str::to_owned));
    only.is_none_or(|only| only.split(',').any(|one| one == name))
}

/// Whether all is to be measured, and the guide to be told.
fn is_blessed() -> bool {
    let is_all = !std::env::args().any(|flag| flag.starts_with(ONLY));
    is_all && std::env::var_os("FLIPSIDE_BLESS").is_some()
}

/// Gives the page of the pointers another text between two marks, where that is asked for.
pub fn bless(mark: &str, text: &str) {
    if !is_blessed() {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/pointers.md");
    let known = std::fs::read_to_string(&page).unwrap();
    let (begin, end) = (
        format!("<!-- {mark} -->\n"),
        format!("<!-- end of {mark} -->\n"),
    );
    let (before, rest) = known.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    std::fs::write(&page, format!("{before}{begin}{text}{end}{after}")).unwrap();
}

/// Runs a bench: its flags, its tools, its end.
pub fn main(what: &str, bench: impl FnOnce(Length, &mut Bounds)) -> ExitCode {
    let mut length = Length::Full;
    for flag in std::env::args().skip(1) {
        match flag.as_str() {
            "--quick" => length = Length::Quick,
            only if only.starts_with(ONLY) => {}
            // Cargo's own.
            "--bench" => {}
            other => {
                eprintln!(
                    "`{other}` is neither `--quick`, few rounds to see that it works, nor \
                     `{ONLY}NAME,NAME`"
                );
                return ExitCode::from(2);
            }
        }
    }
    build_examples();
    clean_up_on_signals();
    println!("{what}; load average {}", load_average());
    let mut bounds = Bounds::default();
    bench(length, &mut bounds);
    println!("load average {}", load_average());
    bounds.end()
}

/// The server that is released and the client that makes load, of the same profile as this bench.
fn build_examples() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut build = Command::new(cargo);
    // What cargo tells a bench of itself would make a build script run again, and all after it.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        let told = ["CARGO_MANIFEST", "CARGO_PKG_"]
            .iter()
            .any(|prefix| told.starts_with(prefix));
        if told {
            build.env_remove(&name);
        }
    }
    let built = build
        .args(["build", "--quiet", "--profile", "bench"])
        .args(["--example", "hello", "--example", "load"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the examples could not be built");
}

/// One of the examples' executables.
pub fn example(name: &str) -> PathBuf {
    docker::hello_binary().with_file_name(name)
}

/// What must not outlive the bench.
#[derive(Debug, Clone)]
struct Rest {
    service: String,
    others: Vec<String>,
    proxy: String,
    directory: PathBuf,
}

static RESTS: Mutex<Vec<Rest>> = Mutex::new(Vec::new());
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rest {
    fn remove(&self) {
        // Of a pointer that is the kernel only this leaves nothing; others may have gone already.
        self.flipside(&["down", &self.service, "--yes"])
            .output()
            .ok();
        let names: Vec<String> = self.others.iter().chain([&self.service]).cloned().collect();
        // A runtime of its own: whoever ends may be inside another.
        let removing = std::thread::spawn(move || {
            let runtime = runtime();
            for name in names {
                runtime.block_on(docker::remove(&name));
            }
        });
        if removing.join().is_err() {
            eprintln!("{} could not be removed from the engine", self.service);
        }
        let down = self.flipside(&["proxy", "down", "--yes"]).output();
        match down {
            Ok(down) if down.status.success() => {}
            Ok(down) => eprintln!("{}", String::from_utf8_lossy(&down.stderr)),
            Err(error) => eprintln!("the proxy {} stays: {error}", self.proxy),
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{} stays: {error}", self.directory.display());
        }
    }

    fn flipside(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command
            .args(words)
            .env("FLIPSIDE_STATE", self.directory.join("state"))
            .env("FLIPSIDE_PROXY", &self.proxy)
            .env("FLIPSIDE_RUN_DIR", self.directory.join("run"))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn until_a_signal() {
    runtime().block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).unwrap();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
}

/// Lets a bench that is another process of this one's, and waited for, end where this one is told to.
pub fn pass_signals_to(child: u32) {
    let child = i32::try_from(child).ok();
    let child = child.and_then(rustix::process::Pid::from_raw).unwrap();
    std::thread::spawn(move || {
        loop {
            until_a_signal();
            rustix::process::kill_process(child, rustix::process::Signal::TERM).ok();
        }
    });
}

fn clean_up_on_signals() {
    std::thread::spawn(|| {
        until_a_signal();
        for &child in lock(&CHILDREN).iter() {
            if let Some(child) = i32::try_from(child)
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            {
                rustix::process::kill_process(child, rustix::process::Signal::KILL).ok();
            }
        }
        let rests = std::mem::take(&mut *lock(&RESTS));
        rests.iter().for_each(Rest::remove);
        std::process::exit(130);
    });
}

/// A runtime for calls of the engine's API.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A process that is ended with its owner.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        // Held while it starts, so that no signal comes between its start and its entry.
        let mut children = lock(&CHILDREN);
        let child = command.spawn().unwrap();
        children.push(child.id());
        Self(Some(child))
    }

    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// What it says, to be read while it runs.
    pub fn stdout(&mut self) -> ChildStdout {
        self.0.as_mut().unwrap().stdout.take().unwrap()
    }

    /// Waits for its end; another exit code than 0 ends the bench with what it said.
    pub fn finish(self) -> Output {
        self.ends(0)
    }

    /// Waits for its end; another exit code than `code` ends the bench with what it said.
    pub fn ends(mut self, code: i32) -> Output {
        let child = self.0.take().unwrap();
        let id = child.id();
        let output = child.wait_with_output().unwrap();
        lock(&CHILDREN).retain(|&other| other != id);
        assert!(
            output.status.code() == Some(code),
            "{}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
            lock(&CHILDREN).retain(|&other| other != child.id());
        }
    }
}

/// A service of the bench's own.
pub struct Stage {
    rest: Rest,
    /// Where the proxy serves it.
    pub address: SocketAddr,
    /// The example server's image, by name.
    pub image: String,
}

impl Stage {
    /// `web` is what the plan says of its one role beside image and VERSION, `top` what it says
    /// beside that; both in YAML's flow style, `web` each line with a comma at its end.
    pub fn new(web: &str, top: &str) -> Self {
        let (service, bare) = (docker::service(), docker::service());
        let directory = tempfile::tempdir().unwrap().keep();
        let rest = Rest {
            proxy: format!("{service}-proxy"),
            service: service.to_string(),
            others: vec![bare.to_string()],
            directory,
        };
        lock(&RESTS).push(rest.clone());
        let image = runtime().block_on(async {
            let client = flipside::docker::Client::connect(None).await.unwrap();
            docker::hello_image(&client).await
        });
        let address = free_address();
        let stage = Self {
            rest,
            address,
            image,
        };
        let proxy = format!("{{ proxy: {{ listen: \"{address}\" }} }}");
        stage.write_plan(web, top, &proxy);
        stage
    }

    /// Gives the plan another pointer, in YAML's flow style.
    pub fn point_with(&self, pointer: &str) {
        self.write_plan("", "", pointer);
    }

    fn write_plan(&self, web: &str, top: &str, pointer: &str) {
        let (service, image) = (&self.rest.service, &self.image);
        let standby = match top.contains("standby:") {
            true => "",
            false => "standby: { keep: 1 }\n",
        };
        let plan = format!(
            "name: {service}\n\
             services:\n  web: {{ {web} image: \"{image}\", environment: {{ VERSION: \"${{VERSION}}\" }} }}\n\
             expose: web:8080\n\
             probes:\n  - http: {{ path: /up, deadline: 2m }}\n\
             pointer: {pointer}\n\
             bake: 0s\n{standby}{top}\n"
        );
        std::fs::write(self.directory().join("flipside.yaml"), plan).unwrap();
    }

    pub fn service(&self) -> &str {
        &self.rest.service
    }

    /// A second name, whose things are removed as well.
    pub fn bare(&self) -> &str {
        &self.rest.others[0]
    }

    /// Where plan and journal (`state`) are.
    pub fn directory(&self) -> &Path {
        &self.rest.directory
    }

    /// A command of the program under test, with this service's proxy and journal.
    pub fn flipside(&self, words: &[&str]) -> Command {
        self.rest.flipside(words)
    }

    pub fn start_deploy(&self, version: u64) -> Running {
        let version = format!("VERSION={version}");
        Running::start(&mut self.flipside(&["deploy", "--yes", "--set", &version]))
    }

    pub fn start_rollback(&self, to: u64, control: &str) -> Running {
        let to = to.to_string();
        Running::start(&mut self.flipside(&[
            "rollback",
            self.service(),
            "--yes",
            "--to",
            &to,
            "--proxy-control",
            control,
        ]))
    }

    /// The records of one event, of all runs that have ended.
    pub fn journalled(&self, event: &str) -> Vec<serde_json::Value> {
        let runs = self.directory().join("state/journal").join(self.service());
        let mut found = Vec::new();
        for run in std::fs::read_dir(runs).unwrap() {
            let text = std::fs::read_to_string(run.unwrap().path()).unwrap_or_default();
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            found.extend(lines.filter(|line: &serde_json::Value| line["event"] == event));
        }
        found
    }

    /// Releases 1 and 2, which say 1 and 2; 2 is live.
    pub fn deploy_two(&self) {
        for version in [1, 2] {
            self.start_deploy(version).finish();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut rests = lock(&RESTS);
        rests.retain(|rest| rest.service != self.rest.service);
        self.rest.remove();
    }
}

/// An address of this machine that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// From `begun` until now, in milliseconds.
pub fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// The longest that anything here may take.
pub const LIMIT: Duration = Duration::from_secs(120);
