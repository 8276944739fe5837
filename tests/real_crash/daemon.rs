//! The engine's daemon restarted while a release is live: a second daemon, in a network namespace of
//! its own, so that nobody else's containers stop.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::kit::{Settings, Stage, as_root, quiet, root, sh};
use crate::support::docker;

/// How soon the same release must answer again.
const SOON: Duration = Duration::from_secs(30);

/// A machine of its own, as far as Docker can tell.
pub struct Host {
    name: String,
    dir: TempDir,
    daemon: Option<Child>,
}

impl Host {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    /// One whose daemon keeps its data where `prepare` has made a place for it.
    pub fn with(prepare: impl FnOnce(PathBuf)) -> Self {
        let name = docker::service().as_str().replacen('t', "fs", 1);
        let dir = tempfile::Builder::new().prefix("fd-").tempdir().unwrap();
        let mut host = Self {
            name,
            dir,
            daemon: None,
        };
        root(&["ip", "netns", "add", &host.name]);
        root(&["ip", "-n", &host.name, "link", "set", "lo", "up"]);
        prepare(host.dir.path().join("data"));
        host.start_daemon();
        host
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// That of its network namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.path("docker.sock"))
    }

    /// A command in its network. (Not `ip netns exec`, which hides the cgroups.)
    fn command(&self, words: &[&str]) -> Command {
        let net = format!("--net=/run/netns/{}", self.name);
        let words = [as_root(), &["nsenter", &net], words].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }

    pub fn start_daemon(&mut self) {
        let group = sh(&["id", "-gn"]);
        let [data, exec, pid] = ["data", "exec", "pid"].map(|name| self.path(name));
        let url = self.url();
        let mut log = std::fs::File::options();
        let log = log.create(true).append(true).open(self.path("log"));
        let log = log.unwrap();
        let mut command = self.command(&["dockerd", "--data-root", &data, "--exec-root", &exec]);
        command.args(["--host", &url, "--pidfile", &pid, "--group", &group]);
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        while !self.docker(&["version"]).status().unwrap().success() {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < end, "the daemon does not answer: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the daemon in good order.
    pub fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        if let Ok(pid) = std::fs::read_to_string(self.path("pid")) {
            quiet(&[as_root(), &["kill", "-TERM", pid.trim()]].concat());
        }
        daemon.wait().ok();
    }

    /// As if the power went: the daemon, its containerd, its shims and all containers die at once.
    /// (A daemon that is killed alone stops what it finds running when it comes back, and 20.10
    /// then leaves it stopped.)
    pub fn cut_power(&mut self) {
        let script = r#"
            for command in $(grep -ls "$1/exec" /proc/[0-9]*/cmdline); do
                pid=${command#/proc/}; pid=${pid%/cmdline}
                [ "$pid" = $$ ] || all="$all $pid $(cat /proc/$pid/task/*/children)"
            done
            kill -KILL $(cat "$1/pid") $all
            rm -f "$1/pid" "$1/exec/containerd/containerd.pid"
        "#;
        let dir = self.dir.path().to_str().unwrap();
        quiet(&[as_root(), &["sh", "-c", script, "sh", dir]].concat());
        if let Some(mut daemon) = self.daemon.take() {
            daemon.wait().ok();
        }
    }

    pub fn docker(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.url()]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        command
    }

    /// The body of a GET from within its network, if there is a whole answer.
    pub fn get(&self, address: &str, path: &str) -> Option<String> {
        let (host, port) = address.rsplit_once(':').unwrap();
        let script = "exec 3<>/dev/tcp/$1/$2 || exit 1
            printf 'GET %s HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n' \"$3\" >&3
            cat <&3";
        let words = [
            "timeout", "5", "bash", "-c", script, "get", host, port, path,
        ];
        let said = self.command(&words).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let (head, body) = said.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    }

    /// Lets this machine's own clients in at `port`, which is the same there and here.
    pub fn door(&self, port: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (net, port) = (format!("--net=/run/netns/{}", self.name), port.to_string());
        // Whoever is behind the door says when it is over.
        let script = "exec 3<>/dev/tcp/127.0.0.1/$1 4<&0 || exit
            cat <&4 >&3 & cat <&3; kill $!";
        std::thread::spawn(move || {
            let words = ["nsenter", &net, "bash", "-c", script, "door", &port];
            let words = [as_root(), &words].concat();
            while let Ok((client, _)) = listener.accept() {
                let mut command = Command::new(words[0]);
                let end = |stream: TcpStream| Stdio::from(OwnedFd::from(stream));
                command.args(&words[1..]).stderr(Stdio::null());
                command.stdin(end(client.try_clone().unwrap()));
                command.stdout(end(client));
                let mut child = command.spawn().unwrap();
                std::thread::spawn(move || child.wait());
            }
        });
    }

    /// Gives this machine's image to its daemon.
    pub fn load(&self, image: &str) {
        let script = "docker save \"$1\" | docker --host \"$2\" load";
        sh(&["sh", "-c", script, "sh", image, &self.url()]);
    }

    /// Who answers at each endpoint: version and container.
    pub fn identities(&self, endpoints: &[String]) -> BTreeMap<String, Option<(String, String)>> {
        let who = |at: &String| Some((self.get(at, "/")?, self.get(at, "/env?HOSTNAME")?));
        endpoints.iter().map(|at| (at.clone(), who(at))).collect()
    }

    /// Looks until `is` says so, [`SOON`] at most.
    pub fn soon<T: std::fmt::Debug>(
        &self,
        since: Instant,
        look: impl Fn() -> T,
        is: impl Fn(&T) -> bool,
    ) -> T {
        loop {
            let seen = look();
            if is(&seen) {
                return seen;
            }
            if since.elapsed() >= SOON {
                let words = ["--host", &self.url(), "ps", "-a"];
                let stands = sh(&[&["docker"], &words[..]].concat());
                let log = std::fs::read_to_string(self.path("log")).unwrap();
                let log: Vec<_> = log.lines().rev().take(40).collect();
                panic!("not within {SOON:?}: {seen:?}\n{stands}\n{log:#?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let script = format!(
            "docker --host {url} ps -aq | xargs -r docker --host {url} rm -fv",
            url = self.url()
        );
        quiet(&["timeout", "60", "sh", "-c", &script]);
        self.stop_daemon();
        self.cut_power();
        let exec = self.path("exec");
        let script = format!(
            "ip netns del {name}; grep -o ' {dir}/[^ ]*' /proc/mounts | sort -r | xargs -r umount -l; \
             rm -rf {exec} {data}",
            name = self.name,
            dir = self.dir.path().display(),
            data = self.path("data"),
        );
        quiet(&[as_root(), &["sh", "-c", &script]].concat());
    }
}

fn endpoints(of: &Value) -> Vec<String> {
    let all = of["endpoints"].as_array().unwrap().iter();
    all.map(|at| at.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_daemon_brings_the_same_release_back() {
    let mut host = Host::start();
    let stage = Stage::on(host.url());
    let three = Settings {
        replicas: 3,
        ..Settings::default()
    };
    for version in ["1", "2"] {
        stage.write_plan(version, &three);
        stage.run(&["deploy"]).await.ends(0);
    }
    let front = format!("127.0.0.1:{}", stage.port);
    assert_eq!(host.get(&front, "/").as_deref(), Some("2"));
    let status = stage.status().await;
    let (live, standby) = (&status["live"], &status["standby"][0]);
    let all = [endpoints(live), endpoints(standby)].concat();
    let before = host.identities(&all);
    assert_eq!(before.len(), 6, "{before:?}");
    let versions = before.values().flatten().map(|(version, _)| version);
    assert_eq!(versions.filter(|version| *version == "2").count(), 3);

    for end in [Host::stop_daemon, Host::cut_power] {
        end(&mut host);
        host.start_daemon();
        let since = Instant::now();
        host.soon(
            since,
            || host.get(&front, "/"),
            |said| said.as_deref() == Some("2"),
        );
        // Each address is the container's that it was, not another's.
        host.soon(since, || host.identities(&all), |now| *now == before);
        let status = stage.status().await;
        assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
        assert_eq!(status["live"]["fit"], true, "{status:#}");
    }
    stage.verb("rollback").await.ends(0);
    assert_eq!(host.get(&front, "/").as_deref(), Some("1"));
    stage.verb("down").await.ends(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_daemon_wakes_what_was_frozen_which_is_reported_and_mended() {
    let mut host = Host::start();
    let modes = [
        ("frozen", "{ mode: frozen }"),
        ("stopped", "{ mode: stopped }"),
    ];
    let mut stages = Vec::new();
    for (mode, standby) in modes {
        let stage = Stage::on(host.url());
        for version in ["1", "2"] {
            let settings = Settings {
                standby,
                ..Settings::default()
            };
            stage.write_plan(version, &settings);
            stage.run(&["deploy"]).await.ends(0);
        }
        stages.push((mode, stage));
    }
    host.stop_daemon();
    host.start_daemon();
    for (mode, stage) in &stages {
        let front = format!("127.0.0.1:{}", stage.port);
        let answers = |version: &'static str| {
            let look = || host.get(&front, "/");
            host.soon(Instant::now(), look, |said| {
                said.as_deref() == Some(version)
            });
        };
        answers("2");
        let status = stage.status().await;
        let told = status["disagreements"].to_string();
        let woke = told.contains("runs, and the plan says frozen: flipside prune");
        assert_eq!(woke, *mode == "frozen", "{mode}: {status:#}");
        stage.verb("prune").await.ends(0);
        let status = stage.status().await;
        assert_eq!(status["standby"][0]["asleep"], *mode, "{status:#}");
        assert_eq!(status["disagreements"], serde_json::json!([]), "{status:#}");
        stage.verb("rollback").await.ends(0);
        answers("1");
        stage.verb("down").await.ends(0);
    }
}
