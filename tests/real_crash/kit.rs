//! A service of a test's own: the real program on the real engine, behind a proxy of its own, with
//! load on it. Nothing of it is left when its test ends, also by a panic.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::docker;

pub use super::running::{Load, Ran, Running};
pub use crate::support::ports::free_port;
pub use crate::support::shell::{as_root, quiet, root, sh};

/// The program under test.
pub const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");

/// How long an engine may take for what a killed call has asked of it.
const LATE: Duration = Duration::from_secs(30);

/// What a plan says, where tests differ.
#[derive(Debug, Clone)]
pub struct Settings {
    pub bake: &'static str,
    pub replicas: usize,
    /// How long its containers may take to stop.
    pub grace: &'static str,
    pub standby: &'static str,
    /// Lines of the role's `environment:`.
    pub variables: Vec<(&'static str, String)>,
    /// Lines of further roles.
    pub roles: String,
    /// Lines of the top level.
    pub top: String,
    /// What sends the traffic, where that is not the proxy: `pointer`'s value.
    pub pointer: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bake: "0s",
            replicas: 1,
            grace: "2s",
            standby: "{ keep: 1 }",
            variables: Vec::new(),
            roles: String::new(),
            top: String::new(),
            pointer: None,
        }
    }
}

/// A bake that no test waits for.
pub fn baking() -> Settings {
    Settings {
        bake: "10m",
        ..Settings::default()
    }
}

/// The service, its plan's directory, its store, its proxy.
pub struct Stage {
    pub service: String,
    pub port: u16,
    /// The first lines of its Dockerfile.
    image: String,
    /// Another engine than the machine's.
    engine: Option<String>,
    dir: TempDir,
}

impl Stage {
    /// A name, a port and directories; nothing on the engine yet.
    pub async fn new() -> Self {
        // Its sweeper takes away what killed test runs have left.
        drop(docker::Scope::new().await);
        let image = format!("FROM {}\n", docker::hello_tag());
        Self::with(image, None)
    }

    /// On an engine that has no images and no network of this machine's.
    pub fn on(engine: String) -> Self {
        let image = "FROM scratch\nCOPY hello /\nENTRYPOINT [\"/hello\"]\n";
        let stage = Self::with(image.into(), Some(engine));
        std::fs::copy(docker::hello_binary(), stage.checkout().join("hello")).unwrap();
        stage
    }

    fn with(image: String, engine: Option<String>) -> Self {
        let dir = tempfile::Builder::new().prefix("fs-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("plan")).unwrap();
        Self {
            service: docker::service().to_string(),
            port: free_port(),
            image,
            engine,
            dir,
        }
    }

    /// One whose release 1 is live.
    pub async fn live() -> Self {
        let stage = Self::new().await;
        stage.deploy("1").await.ends(0);
        stage
    }

    /// One whose release 2 is live and whose release 1 stands by.
    pub async fn with_standby() -> Self {
        let stage = Self::live().await;
        stage.deploy("2").await.ends(0);
        stage
    }

    pub fn proxy(&self) -> String {
        format!("{}-proxy", self.service)
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn checkout(&self) -> PathBuf {
        self.dir.path().join("plan")
    }

    /// What workers share.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub fn control(&self) -> PathBuf {
        let run = self.dir.path().join("run");
        run.join(self.proxy()).join("control.sock")
    }

    /// Writes the plan and the Dockerfile of a version. Each version has an image of its own.
    pub fn write_plan(&self, version: &str, settings: &Settings) {
        let (service, port) = (&self.service, self.port);
        let Settings {
            bake,
            replicas,
            grace,
            roles,
            top,
            standby,
            pointer,
            ..
        } = settings;
        let proxy = format!("{{ proxy: {{ listen: \"127.0.0.1:{port}\" }} }}");
        let pointer = pointer.as_ref().unwrap_or(&proxy);
        let mut variables = format!("      VERSION: \"{version}\"\n");
        for (name, value) in &settings.variables {
            variables += &format!("      {name}: \"{value}\"\n");
        }
        let plan = format!(
            "name: {service}\n\
             services:\n  web:\n    build: .\n    environment:\n{variables}    \
             stop_grace_period: {grace}\n    deploy: {{ replicas: {replicas} }}\n{roles}\
             expose: web:8080\n\
             probes:\n  - http: {{ path: /up, interval: 100ms, deadline: 30s }}\n\
             pointer: {pointer}\n\
             drain: 5s\n\
             bake: {bake}\n\
             standby: {standby}\n{top}"
        );
        let image = format!("{}ENV BUILT_FOR={service}-{version}\n", self.image);
        std::fs::write(self.checkout().join("flipside.yaml"), plan).unwrap();
        std::fs::write(self.checkout().join("Dockerfile"), image).unwrap();
    }

    /// `flipside` with these words, in the plan's directory where that is there.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(FLIPSIDE);
        let checkout = self.checkout();
        let here = if checkout.exists() {
            checkout
        } else {
            self.dir.path().to_owned()
        };
        command
            .args(words)
            .args(["--output", "json"])
            .args(self.engine.iter().flat_map(|url| ["--engine", url]))
            .current_dir(here)
            .env("FLIPSIDE_STATE", self.state())
            .env("FLIPSIDE_PROXY", self.proxy())
            .env("FLIPSIDE_RUN_DIR", self.dir.path().join("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, words: &[&str]) -> Ran {
        Running::start(self.command(words)).ended().await
    }

    /// Starts it.
    pub fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }

    /// Deploys a version without a bake.
    pub async fn deploy(&self, version: &str) -> Ran {
        self.write_plan(version, &Settings::default());
        self.run(&["deploy"]).await
    }

    /// Starts the deploy of a version.
    pub fn start_deploy(&self, version: &str, settings: &Settings) -> Running {
        self.write_plan(version, settings);
        self.start(&["deploy"])
    }

    /// A verb on this service.
    pub async fn verb(&self, verb: &str) -> Ran {
        self.run(&[verb, &self.service, "--yes"]).await
    }

    pub async fn status(&self) -> Value {
        let ran = self.run(&["status", &self.service]).await;
        ran.ends(0);
        ran.lines[0].clone()
    }

    /// What the service says through the proxy: its version.
    pub async fn answer(&self) -> String {
        self.get("/").await
    }

    /// The body of an answer through the proxy.
    pub async fn get(&self, path: &str) -> String {
        let address = ([127, 0, 0, 1], self.port).into();
        let (status, body) = docker::get(address, path).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Keeps some connections asking from now on until [`Load::stop`].
    pub async fn load(&self) -> Load {
        Self::load_at(([127, 0, 0, 1], self.port).into()).await
    }

    /// The same, by clients that ask once more where a connection that they had used before ends
    /// without a byte of an answer, as browsers do.
    pub async fn repeating_load(&self) -> Load {
        let address = ([127, 0, 0, 1], self.port).into();
        Self::load_with(address, &["--repeat"]).await
    }

    /// As [`Stage::load`], of another address.
    pub async fn load_at(address: SocketAddr) -> Load {
        Self::load_with(address, &[]).await
    }

    async fn load_with(address: SocketAddr, words: &[&str]) -> Load {
        let mut command = Command::new(example("load"));
        command
            .args([&address.to_string(), "--announce", "--seconds", "3600"])
            .args(["--connections", "4", "--rest-ms", "10"])
            .args(words)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Load::start(command).await
    }

    /// Removes the journal, and all that lies beside it.
    pub fn lose_journal(&self) {
        std::fs::remove_dir_all(self.state()).unwrap();
    }

    /// After `prune`: pointer, engine and journal agree, the service answers, and nothing stands
    /// that is not live, standby or withdrawn. Only what the engine makes for a killed call after a
    /// prune has looked is left to the next one.
    pub async fn is_tidy(&self, context: &str) -> Value {
        let deadline = Instant::now() + LATE;
        loop {
            let before = self.stands().await;
            let pruned = self.verb("prune").await;
            assert_eq!(pruned.code, 0, "{context}: prune: {pruned:#?}");
            let status = self.status().await;
            assert_eq!(
                status["pointer"]["agrees"], true,
                "{context}: {status:#}\n{pruned:#?}"
            );
            for field in ["unfinished", "lease"] {
                assert_eq!(status[field], Value::Null, "{context}: {status:#}");
            }
            self.answer().await;
            let left = self.left(&status).await;
            if left.is_empty() {
                return status;
            }
            let late = left.iter().any(|part| !before.contains(part));
            assert!(
                late && Instant::now() < deadline,
                "{context}: left behind: {left:#?}\n{status:#}\n{pruned:#?}"
            );
        }
    }

    /// Everything of the service, by name, and its images by id.
    async fn stands(&self) -> Vec<String> {
        let parts = parts(&self.service).await.into_iter();
        let parts = parts.map(|(part, _)| part);
        parts.chain(images(&self.service).await).collect()
    }

    /// What is neither live, standby nor withdrawn, by its name.
    async fn left(&self, status: &Value) -> Vec<String> {
        let (kept, used) = (kept(status), image_ids(status));
        let parts = parts(&self.service).await.into_iter();
        let parts = parts
            .filter(|(_, release)| release.is_none_or(|release| !kept.contains(&release)))
            .map(|(part, _)| part);
        let images = images(&self.service).await.into_iter();
        let images = images.filter(|image| !used.contains(image));
        parts.chain(images).collect()
    }

    /// Waits until what the engine does for a killed call has come to rest: nothing comes or goes
    /// over some looks.
    pub async fn rests(&self) {
        let deadline = Instant::now() + LATE;
        let (mut before, mut same) = (self.stands().await, 0);
        while same < 4 {
            assert!(Instant::now() < deadline, "no rest: {before:#?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.stands().await;
            same = if now == before { same + 1 } else { 0 };
            before = now;
        }
    }

    /// Takes the service down, and finds nothing of it any more but what the engine makes late for
    /// a killed call: that is for the next prune to find.
    pub async fn end(self) {
        let before = self.stands().await;
        self.verb("down").await.ends(0);
        let deadline = Instant::now() + LATE;
        loop {
            let left = self.stands().await;
            if left.is_empty() {
                break;
            }
            let late = left.iter().any(|part| !before.contains(part));
            assert!(late && Instant::now() < deadline, "left behind: {left:#?}");
            self.verb("prune").await;
        }
        self.run(&["proxy", "down", "--yes"]).await.ends(0);
        let proxy = sh(&[
            "docker",
            "ps",
            "-aq",
            "--filter",
            &format!("name={}", self.proxy()),
        ]);
        assert_eq!(proxy, "");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let (service, proxy) = (self.service.clone(), self.proxy());
        // A runtime of its own: the test's may be ending, or be single-threaded and blocked here.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(docker::remove(&service));
            docker::remove_proxy(&proxy);
        });
        cleaner.join().ok();
    }
}

/// The releases that a status names as live, standby or withdrawn.
fn kept(status: &Value) -> BTreeSet<u64> {
    shown(status)
        .filter_map(|it| it["release"].as_u64())
        .collect()
}

fn image_ids(status: &Value) -> BTreeSet<String> {
    let ids = shown(status).filter_map(|it| it["image_ids"].as_array());
    ids.flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect()
}

fn shown(status: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["standby", "withdrawn"].into_iter();
    let lists = lists.filter_map(|list| status[list].as_array()).flatten();
    std::iter::once(&status["live"]).chain(lists)
}

/// Containers, networks and volumes of a service, each with its release where it has one. Leases
/// and requests have none.
async fn parts(service: &str) -> Vec<(String, Option<u64>)> {
    let label = format!("label=flipside.service={service}");
    let row = "{{.Name}}\t{{.Label \"flipside.release\"}}";
    let containers = "{{.Names}}\t{{.Label \"flipside.release\"}}";
    let listed = [
        sh(&[
            "docker", "ps", "-a", "--filter", &label, "--format", containers,
        ]),
        sh(&[
            "docker", "network", "ls", "--filter", &label, "--format", row,
        ]),
        sh(&[
            "docker", "volume", "ls", "--filter", &label, "--format", row,
        ]),
    ];
    let rows = listed.iter().flat_map(|list| list.lines());
    rows.map(|row| {
        let (name, release) = row.split_once('\t').unwrap_or((row, ""));
        (name.to_owned(), release.parse().ok())
    })
    .collect()
}

async fn images(service: &str) -> Vec<String> {
    let label = format!("label=flipside.service={service}");
    let listed = sh(&["docker", "images", "-q", "--no-trunc", "--filter", &label]);
    listed.lines().map(str::to_owned).collect()
}

/// An example's binary, beside the test's own.
pub fn example(name: &str) -> PathBuf {
    let path = docker::hello_binary().with_file_name(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`",
        path.display()
    );
    path
}

/// Whether a line of `text` has all of `words`.
pub fn says(text: &str, words: &[&str]) -> bool {
    text.lines()
        .any(|line| words.iter().all(|word| line.contains(word)))
}
