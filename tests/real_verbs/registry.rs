//! An image registry of a test's own, on loopback, and what is pushed to it.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::kit::{LONG, free_port};

/// `hunter2` as the registry's password file has it.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.";
/// `ann:hunter2` as Docker's own configuration has it.
const LOGIN: &str = "YW5uOmh1bnRlcjI=";

/// Who may pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Only `ann`, by her password.
    Closed,
}

/// A registry that ends with its test.
pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub host: String,
    child: Child,
    dir: TempDir,
}

impl Registry {
    pub fn start(door: Door) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("127.0.0.1:{}", free_port());
        let store = dir.path().join("store");
        let mut config = format!(
            "version: 0.1\nlog: {{ level: error }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{host}\" }}\n",
            store.display()
        );
        if door == Door::Closed {
            let path = dir.path().join("passwords");
            std::fs::write(&path, format!("ann:{HASH}\n")).unwrap();
            config += &format!(
                "auth: {{ htpasswd: {{ realm: tests, path: {} }} }}\n",
                path.display()
            );
        }
        let path = dir.path().join("registry.yml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", path.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the package docker-registry is missing: ./tests/run.sh installs it");
        let registry = Self { host, child, dir };
        let address: SocketAddr = registry.host.parse().unwrap();
        let end = Instant::now() + LONG;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Pushes an image, made from `base` with a blob of its own, under `tag`, and takes that tag from
    /// the engine: its reference. The label `flipside.test` has the registry's name.
    pub fn push(&self, base: &str, tag: &str) -> String {
        let reference = format!("{}/web:{tag}", self.host);
        let context = tempfile::tempdir().unwrap();
        let mut blob = vec![0; 200_000];
        getrandom::fill(&mut blob).unwrap();
        std::fs::write(context.path().join("blob"), blob).unwrap();
        let file = format!(
            "FROM {base}\nLABEL flipside.test={}\nCOPY blob /blob\n",
            self.host
        );
        std::fs::write(context.path().join("Dockerfile"), file).unwrap();
        let place = context.path().to_str().unwrap();
        self.docker(&["build", "--quiet", "--tag", &reference, place]);
        self.docker(&["push", "--quiet", &reference]);
        self.docker(&["rmi", &reference]);
        reference
    }

    /// A directory with Docker's configuration, where the registry's password stands.
    pub fn login(&self) -> PathBuf {
        let entry = serde_json::json!({ "auths": { &self.host: { "auth": LOGIN } } });
        self.configuration("login", &entry)
    }

    /// A directory with Docker's configuration, where a program is named that knows the password.
    /// The program lies in the same directory.
    pub fn helper(&self) -> PathBuf {
        let entry = serde_json::json!({ "credHelpers": { &self.host: "of-a-test" } });
        let place = self.configuration("helper", &entry);
        let program = place.join("docker-credential-of-a-test");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = get ] && read -r host && [ \"$host\" = \"{}\" ] || exit 1\n\
             echo '{{\"Username\":\"ann\",\"Secret\":\"hunter2\"}}'\n",
            self.host
        );
        std::fs::write(&program, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        place
    }

    /// A directory with a configuration that knows no registry.
    pub fn stranger(&self) -> PathBuf {
        self.configuration("stranger", &serde_json::json!({}))
    }

    fn configuration(&self, name: &str, entry: &serde_json::Value) -> PathBuf {
        let place = self.dir.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("config.json"), entry.to_string()).unwrap();
        place
    }

    /// Docker's own client, which knows the password and the classic builder.
    #[track_caller]
    fn docker(&self, words: &[&str]) {
        let output = Command::new("docker")
            .args(words)
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_CONFIG", self.login())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
