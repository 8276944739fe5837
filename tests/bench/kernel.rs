//! What the kernel costs as a pointer: requests a second through it against those straight to the
//! backend, 64 keep-alive connections of a client in another network namespace, in alternating rounds.
//!
//! With `FLIPSIDE_BLESS` the figures go into the guide.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};

use common::{Bounds, Figures, Length, Running, docker, runtime};
use flipside::core::names::{Release, Slot};
use flipside::core::routing::{Route, Routing};
use flipside::pointer::Pointer as _;
use flipside::pointer::nftables::{Nftables, NftablesPlan};
use support::network::{BACKENDS, HOST, Network};

mod common;
#[path = "../support"]
mod support {
    #[allow(dead_code, reason = "the bench needs no IPv6")]
    pub mod network;
    #[allow(dead_code, reason = "the bench starts what it needs in its own way")]
    pub mod shell;
}

/// Set in the host's namespace: what all names begin with.
const NAMES: &str = "FLIPSIDE_BENCH_NETWORK";
/// Of each round and way.
const SECONDS: u64 = 2;
/// The least that the requests through it may be, of those straight to the backend.
const LEAST: f64 = 0.95;

fn main() -> ExitCode {
    if let Ok(names) = std::env::var(NAMES) {
        return common::main("requests through the kernel", |length, bounds| {
            measure(&names, length, bounds);
        });
    }
    // This program again, in the host's namespace.
    let network = Network::new(docker::service().to_string());
    let begin = Network::at(&network.names, "host");
    let mut within = Command::new(&begin[0])
        .args(&begin[1..])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args().skip(1))
        .env(NAMES, &network.names)
        .spawn()
        .unwrap();
    common::pass_signals_to(within.id());
    let ran = within.wait().unwrap();
    match ran.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measure(names: &str, length: Length, bounds: &mut Bounds) {
    let mut hello = part(names, "one", "hello");
    let _hello = Running::start(hello.env("VERSION", "1").stdout(Stdio::null()));
    let state = tempfile::tempdir().unwrap();
    let at = format!("{HOST}:80");
    let pointer = Nftables::new(NftablesPlan {
        table: "flipside_bench".into(),
        listen: vec![at.clone()],
        url: format!("http://{at}"),
        hosts: Vec::new(),
        preview: Vec::new(),
        state: state.path().join("table.nft"),
        nft: "nft".into(),
        keep_flows: false,
    });
    let written = runtime().block_on(pointer.unwrap().write(None, &routing()));
    written.unwrap();
    let (mut through, mut straight) = (Figures::default(), Figures::default());
    // The first round is for the caches.
    for round in 0..=length.rounds(15, 2) {
        for turn in 0..2 {
            let (address, figures) = match (round + turn) % 2 {
                0 => (BACKENDS[0], &mut straight),
                _ => (at.as_str(), &mut through),
            };
            let per_second = per_second(names, address);
            if round > 0 {
                figures.add(per_second);
            }
        }
    }
    let (through, straight) = (through.median(), straight.median());
    let ratio = through / straight;
    println!("  through the kernel  {through:.0} requests a second");
    println!("  straight            {straight:.0}");
    bounds.at_least("ratio of medians", ratio, LEAST);
    let thousands = through / 1e3;
    common::bless(
        "kernel",
        &format!(
            "nftables, 64 connections of a client elsewhere: {thousands:.1} thousand requests a second, \
             {ratio:.2} × straight\n"
        ),
    );
}

/// All to the one backend.
fn routing() -> Routing {
    Routing {
        generation: 0,
        fence: 1,
        author: "bench@here".into(),
        reason: "deploy shop@1".into(),
        at: 0,
        routes: vec![Route {
            release: Release(1),
            slot: Slot::Blue,
            weight: 100,
            endpoints: vec![BACKENDS[0].parse().unwrap()],
        }],
        marks: BTreeMap::new(),
        deadline: None,
        preview: None,
        foreign: None,
    }
}

/// An example's program, in a namespace.
fn part(names: &str, at: &str, example: &str) -> Command {
    let begin = Network::at(names, at);
    let mut command = Command::new(&begin[0]);
    command.args(&begin[1..]).arg(common::example(example));
    command.stdin(Stdio::null());
    command
}

/// Requests a second, by the load client without rests.
fn per_second(names: &str, address: &str) -> f64 {
    let mut load = part(names, "client", "load");
    load.args([address, "--connections", "64", "--rest-ms", "0"])
        .args(["--seconds", &SECONDS.to_string()])
        .args(["--requests", "1000000000"])
        .stdout(Stdio::piped());
    let told = Running::start(&mut load).finish().stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["failed"], 0, "{told}");
    told["sent"].as_f64().unwrap() / SECONDS as f64
}
