//! A service behind the kernel, with an engine of the test's own in a network of its own, and a client
//! outside it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::real_crash::daemon::Host;
use crate::real_crash::kit::{Settings, Stage, as_root, example, quiet, root};
use crate::real_crash::running::{Load, Running};
use crate::support::backends::until;
use crate::support::held::{self, Held, Moment};

/// Set within the network: the engine's address, and the name of the client's namespace.
const INSIDE: &str = "FLIPSIDE_TEST_HOST";

/// The host's address, as the client has it.
pub const AT: &str = "10.9.0.1";

/// A client's namespace, joined to a host's, removed when it is dropped.
struct Client(String);

impl Client {
    fn of(host: &str) -> Self {
        let client = Self(format!("{host}c"));
        let ip = |words: &str| {
            let words: Vec<_> = ["ip"].into_iter().chain(words.split(' ')).collect();
            root(&words);
        };
        let name = &client.0;
        ip(&format!("netns add {name}"));
        ip(&format!(
            "-n {host} link add out type veth peer name up0 netns {name}"
        ));
        for (at, link, last) in [(host, "out", 1), (name, "up0", 2)] {
            ip(&format!("-n {at} addr add 10.9.0.{last}/24 dev {link}"));
            ip(&format!("-n {at} link set {link} up"));
        }
        ip(&format!("-n {name} route add default via {AT}"));
        client
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        quiet(&[as_root(), &["ip", "netns", "del", &self.0]].concat());
    }
}

/// Runs `body` on a machine of its own: the test named `name` is run again, in its network.
pub fn on_a_machine(name: &str, body: impl AsyncFnOnce(Scene)) {
    if let Ok(inside) = std::env::var(INSIDE) {
        let (url, client) = inside.split_once(' ').unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(body(Scene::new(url, client)));
    }
    let host = Host::start();
    let client = Client::of(host.name());
    let name = format!("real_nftables::{name}");
    let net = format!("--net=/run/netns/{}", host.name());
    let begin = [
        as_root(),
        &["setpriv", "--pdeathsig", "KILL", "nsenter", &net],
    ]
    .concat();
    let ran = Command::new(begin[0])
        .args(&begin[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(INSIDE, format!("{} {}", host.url(), client.0))
        .status()
        .unwrap();
    assert!(ran.success(), "{name} in its network: {ran}");
}

/// The service and its pointer; nothing is deployed yet.
pub struct Scene {
    pub stage: Stage,
    pub settings: Settings,
    pub table: String,
    /// Where `nft` is run by a command that can be held.
    pub dir: TempDir,
    nft: String,
    client: String,
}

impl Scene {
    fn new(url: &str, client: &str) -> Self {
        let stage = Stage::on(url.to_owned());
        let table = format!("flipside_{}", stage.service.replace('-', "_"));
        let dir = tempfile::tempdir().unwrap();
        let command = script(&dir, "command", &held::command());
        let nft = format!(
            "#!/bin/sh\ncase $1 in -f) of=write ;; *) of=list ;; esac\nexec {command} $of nft \"$@\"\n"
        );
        let nft = script(&dir, "nft", &nft);
        let mut scene = Self {
            settings: Settings::default(),
            client: client.to_owned(),
            table,
            nft,
            stage,
            dir,
        };
        let state = scene.stage.state().with_extension("nft");
        scene.keep_in(&state);
        scene
    }

    /// Says in the plan where the copy of the table is kept.
    pub fn keep_in(&mut self, state: &Path) {
        let pointer = serde_json::json!({"nftables": {
            "table": self.table,
            "listen": self.at(),
            "preview": self.at_preview(),
            "url": format!("http://{}", self.at()),
            "state": state,
            "nft": self.nft,
            // What is open stays where it is: no client sees anything of a rollback.
            "keep_flows": true,
        }});
        self.settings.pointer = Some(pointer.to_string());
    }

    /// Release 2 is live, 1 stands by.
    pub async fn with_standby(&self) {
        for version in ["1", "2"] {
            self.deploy(version).await;
        }
    }

    pub fn at(&self) -> String {
        format!("{AT}:{}", self.stage.port)
    }

    pub fn at_preview(&self) -> String {
        format!("{AT}:{}", self.stage.port + 1)
    }

    pub async fn deploy(&self, version: &str) {
        self.stage.write_plan(version, &self.settings);
        self.stage.run(&["deploy"]).await.ends(0);
        self.serves(version);
    }

    /// What a client outside is answered, on a connection of its own.
    pub fn serves(&self, version: &str) {
        assert_eq!(self.asked(&self.at()).as_deref(), Some(version));
    }

    /// The body of an answer, if there is any.
    pub fn asked(&self, at: &str) -> Option<String> {
        let script = "exec 3<>/dev/tcp/$1/$2 || exit 1
            printf 'GET / HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n' >&3
            cat <&3";
        let (net, (ip, port)) = (self.net(), at.split_once(':').unwrap());
        let words = [
            "nsenter", &net, "timeout", "5", "bash", "-c", script, "get", ip, port,
        ];
        let words = [as_root(), &words].concat();
        let ran = Command::new(words[0]).args(&words[1..]).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        let (head, body) = said.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 200 "), "{said}");
        Some(body.to_owned())
    }

    /// Keeps clients outside asking, on connections that come and go, until [`Load::stop`].
    pub async fn load(&self) -> Load {
        let net = self.net();
        let words = [as_root(), &["nsenter", &net]].concat();
        let mut command = tokio::process::Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(example("load"))
            .args([&self.at(), "--announce", "--seconds", "3600"])
            .args(["--connections", "4", "--rest-ms", "10"])
            .args(["--per-connection", "5"])
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true);
        Load::start(command).await
    }

    fn net(&self) -> String {
        format!("--net=/run/netns/{}", self.client)
    }

    /// The word of `status`: the live release, and whether all agree.
    pub async fn status(&self) -> (Value, Value) {
        let status = self.stage.status().await;
        let live = status["pointer"]["routing"]["routes"].as_array();
        let live = live.and_then(|routes| routes.iter().find(|route| route["weight"] != 0));
        let live = live.map_or(Value::Null, |route| route["release"].clone());
        (live, status["pointer"]["agrees"].clone())
    }

    /// Keeps the next `write` or `list` waiting.
    pub fn hold(&self, of: &str, moment: Moment) -> Held {
        Held::script(self.dir.path(), of, moment)
    }

    /// Keeps one waiting, and starts a rollback that comes to it.
    pub async fn rolls_back_until(&self, of: &str, moment: Moment) -> (Running, Held) {
        let held = self.hold(of, moment);
        let words = ["rollback", &self.stage.service, "--yes"];
        let running = self.stage.start(&words);
        held.came().await;
        (running, held)
    }

    /// Waits until none of the commands that were held runs any more.
    pub async fn no_program_is_left(&self) {
        let of_ours = self.dir.path().to_str().unwrap();
        until("the end of what was held", async || {
            let all = std::fs::read_dir("/proc").unwrap().flatten();
            let mut lines =
                all.filter_map(|one| std::fs::read_to_string(one.path().join("cmdline")).ok());
            let is_ours = |line: String| line.contains(of_ours) && line.contains("/command");
            (!lines.any(is_ours)).then_some(())
        })
        .await;
    }

    pub async fn end(self) {
        self.stage.verb("down").await.ends(0);
        assert!(!root(&["nft", "list", "ruleset"]).contains(&self.table));
    }
}

/// The rules that let clients through to containers.
pub fn lets_through() -> String {
    root(&["iptables", "-S", "DOCKER-USER"])
}

fn script(dir: &TempDir, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}
