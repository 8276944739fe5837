//! A thousand switches under load: each a whole `flipside rollback` process, alternating between
//! two releases, while 64 keep-alive connections ask. Counts requests lost and connections closed
//! while nothing was under way.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use common::{Figures, Running, Stage, ms};
use rustix::process::{Pid, Signal, kill_process};

mod common;

/// Keep-alive connections of the load.
const CONNECTIONS: &str = "64";
/// Milliseconds that each rests between two requests: some 3,000 requests a second.
const REST_MS: &str = "20";

fn main() -> ExitCode {
    common::main("switches under load", |length, bounds| {
        let stage = Stage::new("", "");
        stage.deploy_two();
        let address = stage.address.to_string();
        let mut load = Command::new(common::example("load"));
        load.args([&address, "--connections", CONNECTIONS, "--rest-ms", REST_MS])
            .args(["--seconds", "3600", "--requests", "1000000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let load = Running::start(&mut load);
        let mut took = Figures::default();
        let begun = Instant::now();
        let rounds = length.rounds(500, 25);
        for _ in 0..rounds {
            for to in [1, 2] {
                let begun = Instant::now();
                stage.start_rollback(to, "auto").finish();
                took.add(ms(begun));
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let pid = Pid::from_raw(i32::try_from(load.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let told = load.finish().stdout;
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        println!(
            "{} switches in {seconds:.1} s, each process {took}",
            2 * rounds
        );
        println!("  {told}");
        let count = |name: &str| told[name].as_f64().unwrap();
        assert!(count("sent") > 1000.0, "there was no load");
        for release in ["1", "2"] {
            let served = told["by_version"][release].as_u64();
            assert!(served > Some(0), "release {release} never answered");
        }
        bounds.at_most("requests lost", count("failed"), 0.0, "");
        bounds.at_most("connections closed", count("closed_idle"), 0.0, "");
    })
}
