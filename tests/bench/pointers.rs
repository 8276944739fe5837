//! What a switch takes and costs, by the kind of pointer: each a whole `flipside rollback` process,
//! alternating between two releases, while 64 keep-alive connections ask. Kinds take turns.
//!
//! With `FLIPSIDE_BLESS` the table goes into the guide. `-- --only=haproxy,nftables` measures these two
//! alone.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::any::Any;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::{Bounds, Figures, Poller, Running, Stage, runtime};
use haproxy::{Config, Haproxy};
use nginx::Nginx;
use rustix::process::{Pid, Signal, kill_process};

mod common;
#[allow(dead_code, reason = "the bench only starts it")]
#[path = "../real_haproxy/kit.rs"]
mod haproxy;
#[allow(dead_code, reason = "the bench only starts it")]
#[path = "../real_nginx/kit.rs"]
mod nginx;
#[path = "../support"]
mod support {
    #[allow(dead_code, reason = "the bench waits and asks in its own way")]
    pub mod backends;
    #[allow(dead_code, reason = "the bench keeps nothing waiting")]
    pub mod held;
    #[allow(dead_code, reason = "nothing of the bench is to be refused")]
    pub mod ports;
}

/// Keep-alive connections of the load.
const CONNECTIONS: &str = "64";
/// Milliseconds that each rests between two requests: some 3,000 requests a second.
const REST_MS: &str = "20";
/// Between two questions of the client that waits for the other release.
const PAUSE: Duration = Duration::from_micros(300);
/// Switches of one kind before it is another's turn: to and fro, so an even number.
const TURN: u64 = 20;

/// A kind of pointer, and how it is made ready for a stage.
struct Kind {
    name: &'static str,
    /// The most that the median may be, in milliseconds.
    bound: Option<f64>,
    /// Whether it may lose nothing.
    loses_nothing: bool,
    /// Requests on one connection of the load; none: all of them.
    per_connection: Option<&'static str>,
    /// Where the service is reached, where that is not the stage's address.
    at: fn(&Stage) -> SocketAddr,
    serve: fn(&Stage) -> Server,
}

/// What most are like: the embedded proxy is as the stage's plan has it, and a deploy starts it.
const PLAIN: Kind = Kind {
    name: "proxy",
    bound: None,
    loses_nothing: true,
    per_connection: None,
    at: |stage| stage.address,
    serve: |_| Box::new(()),
};

/// What serves at the stage's address until it is dropped.
type Server = Box<dyn Any>;

const KINDS: &[Kind] = &[
    PLAIN,
    Kind {
        name: "haproxy",
        bound: Some(40.0),
        serve: |stage| {
            let haproxy = runtime().block_on(Haproxy::start_with(Config {
                port: stage.address.port(),
                within: stage.directory().to_owned(),
                ..Config::default()
            }));
            stage.point_with(&haproxy.section());
            Box::new(haproxy)
        },
        ..PLAIN
    },
    // Connections stay where they are: these come and go, as clients do.
    Kind {
        name: "nftables, `keep_flows`",
        bound: Some(40.0),
        per_connection: Some("25"),
        at: on_the_bridge,
        serve: |stage| by_the_kernel(stage, true),
        ..PLAIN
    },
    // A way back resets what is open, in the middle of a request too.
    Kind {
        name: "nftables",
        bound: Some(40.0),
        loses_nothing: false,
        at: on_the_bridge,
        serve: |stage| by_the_kernel(stage, false),
        ..PLAIN
    },
    Kind {
        name: "nginx",
        // As fast as its reload allows.
        bound: None,
        serve: |stage| {
            let nginx = runtime().block_on(Nginx::start_with(nginx::Config {
                port: stage.address.port(),
                within: stage.directory().to_owned(),
                ..nginx::Config::default()
            }));
            stage.point_with(&nginx.section());
            Box::new(nginx)
        },
        ..PLAIN
    },
];

/// The engine's own address: the kernel sends nothing to containers that comes to 127.0.0.1.
fn on_the_bridge(stage: &Stage) -> SocketAddr {
    let said = Command::new("ip")
        .args(["-4", "-o", "addr", "show", "docker0"])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let address = said
        .split_whitespace()
        .skip_while(|word| *word != "inet")
        .nth(1);
    let address = address
        .and_then(|it| it.split('/').next())
        .expect("docker0 has an address");
    SocketAddr::new(address.parse().unwrap(), stage.address.port())
}

fn by_the_kernel(stage: &Stage, keep_flows: bool) -> Server {
    let at = on_the_bridge(stage);
    let pointer = serde_json::json!({"nftables": {
        "table": format!("flipside_{}", stage.service().replace('-', "_")),
        "listen": at.to_string(),
        "url": format!("http://{at}"),
        "state": stage.directory().join("table.nft"),
        "keep_flows": keep_flows,
    }});
    stage.point_with(&pointer.to_string());
    Box::new(())
}

/// A kind at work, and what was measured of it.
struct Measured {
    kind: &'static Kind,
    /// Ended before the stage's directory is removed.
    _server: Server,
    stage: Stage,
    answer: Figures,
    sent: u64,
    lost: u64,
    closed: u64,
    repeated: u64,
}

impl Measured {
    fn new(kind: &'static Kind) -> Self {
        let stage = Stage::new("", "");
        let server = (kind.serve)(&stage);
        stage.deploy_two();
        Self {
            kind,
            _server: server,
            stage,
            answer: Figures::default(),
            sent: 0,
            lost: 0,
            closed: 0,
            repeated: 0,
        }
    }

    /// Some switches under load.
    fn turn(&mut self) {
        let load = self.load();
        let address = (self.kind.at)(&self.stage);
        let mut poller = Poller::new(address, PAUSE);
        if address != self.stage.address {
            poller = poller.anew();
        }
        for to in (0..TURN).map(|turn| 1 + turn % 2) {
            poller.ask().unwrap();
            let begun = Instant::now();
            let rolling = self.stage.start_rollback(to, "auto");
            self.answer.add(poller.until(Some(&to.to_string()), begun));
            rolling.finish();
        }
        let pid = Pid::from_raw(i32::try_from(load.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&load.finish().stdout).unwrap();
        for release in ["1", "2"] {
            let served = told["by_version"][release].as_u64();
            assert!(served > Some(0), "release {release} never answered");
        }
        if told["failures"]
            .as_object()
            .is_some_and(|why| !why.is_empty())
        {
            println!("  {}: {}", self.kind.name, told["failures"]);
        }
        let count = |name: &str| told[name].as_u64().unwrap();
        self.sent += count("sent");
        self.lost += count("failed");
        self.closed += count("closed_idle");
        self.repeated += count("repeated");
    }

    fn load(&self) -> Running {
        let mut load = Command::new(common::example("load"));
        let per_connection = self.kind.per_connection.iter();
        load.arg((self.kind.at)(&self.stage).to_string())
            .args(per_connection.flat_map(|most| ["--per-connection", most]))
            .args([
                "--repeat",
                "--connections",
                CONNECTIONS,
                "--rest-ms",
                REST_MS,
            ])
            .args(["--seconds", "3600", "--requests", "1000000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Running::start(&mut load)
    }

    fn row(&self) -> String {
        let (median, p95) = (self.answer.median(), self.answer.at(95));
        format!(
            "| {} | {median:.1} ms | {p95:.1} ms | {} of {} | {} | {} |\n",
            self.kind.name, self.lost, self.sent, self.closed, self.repeated
        )
    }

    fn judge(&self, bounds: &mut Bounds) {
        let name = self.kind.name;
        println!("{name}: to the first answer  {}", self.answer);
        if self.kind.loses_nothing {
            bounds.at_most(&format!("{name}, requests lost"), self.lost as f64, 0.0, "");
        }
        if let Some(bound) = self.kind.bound {
            let median = self.answer.median();
            bounds.at_most(&format!("{name}, median"), median, bound, " ms");
        }
    }
}

fn main() -> ExitCode {
    common::main("switches, by the kind of pointer", |length, bounds| {
        let kinds = KINDS.iter().filter(|kind| common::is_wanted(kind.name));
        let mut all: Vec<Measured> = kinds.map(Measured::new).collect();
        for _ in 0..length.rounds(10, 1) {
            all.iter_mut().for_each(Measured::turn);
        }
        let mut table = String::from(
            "| kind | median | p95 | requests lost | closed while idle | repeated |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for measured in &all {
            measured.judge(bounds);
            table += &measured.row();
        }
        println!("\n{table}");
        common::bless("measured", &format!("\n{table}\n"));
    })
}
