//! What a rollback takes: from the start of the process to the first answer of the old environment
//! through the proxy, over the proxy's socket and through the engine, in alternating rounds; and to
//! a standby that is frozen, over the socket.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use common::{Bounds, Figures, Length, Poller, Stage, ms};

mod common;

/// Between two questions of the client that waits for the old release.
const PAUSE: Duration = Duration::from_micros(300);

#[derive(Default)]
struct Way {
    answer: Figures,
    end: Figures,
}

fn main() -> ExitCode {
    common::main("rollback to first answer", |length, bounds| {
        let stage = Stage::new("", "");
        stage.deploy_two();
        let (mut socket, mut exec) = (Way::default(), Way::default());
        let mut poller = Poller::new(stage.address, PAUSE);
        for _ in 0..length.rounds(100, 10) {
            for to in [1, 2] {
                roll_back(&stage, to, "socket", &mut poller, &mut socket);
            }
            for to in [1, 2] {
                roll_back(&stage, to, "exec", &mut poller, &mut exec);
            }
        }
        for (name, way) in [("over the socket", &socket), ("over exec", &exec)] {
            println!("{name}");
            println!("  to the first answer  {}", way.answer);
            println!("  to its end           {}", way.end);
        }
        let answer = &socket.answer;
        bounds.at_most("socket, median", answer.median(), 30.0, " ms");
        bounds.at_most("socket, p95", answer.at(95), 60.0, " ms");
        bounds.at_most("exec, median", exec.answer.median(), 120.0, " ms");
        drop(stage);
        from_frozen(length, bounds);
    })
}

/// To and fro between two releases, of which the one gone back to is paused.
fn from_frozen(length: Length, bounds: &mut Bounds) {
    let stage = Stage::new("", "standby: { mode: frozen }");
    stage.deploy_two();
    let (mut frozen, mut wake) = (Way::default(), Figures::default());
    let mut poller = Poller::new(stage.address, PAUSE);
    for round in 0..length.rounds(100, 10) {
        for to in [1, 2] {
            // The deploy has frozen the first; what a rollback leaves runs on.
            if (round, to) != (0, 1) {
                let name = format!("{}-{to}-web-1", stage.service());
                let paused = Command::new("docker").args(["pause", &name]).output();
                assert!(paused.unwrap().status.success(), "{name} is not paused");
            }
            roll_back(&stage, to, "socket", &mut poller, &mut frozen);
        }
    }
    for line in stage.journalled("switched") {
        if let Some(woke) = line["woke_us"].as_f64() {
            wake.add(woke / 1000.0);
        }
    }
    println!("from a frozen standby, over the socket");
    println!("  to the first answer  {}", frozen.answer);
    println!("  to its end           {}", frozen.end);
    println!("  the wake in it       {wake}");
    bounds.at_most("frozen, median", frozen.answer.median(), 80.0, " ms");
}

fn roll_back(stage: &Stage, to: u64, control: &str, poller: &mut Poller, way: &mut Way) {
    poller.ask().unwrap();
    let begun = Instant::now();
    let rolling = stage.start_rollback(to, control);
    way.answer.add(poller.until(Some(&to.to_string()), begun));
    rolling.finish();
    way.end.add(ms(begun));
}
