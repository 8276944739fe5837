//! What the program itself takes: its start, its size, its memory in a large deploy, and how soon it
//! says that a candidate has failed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bollard::query_parameters::EventsOptions;
use common::{Bounds, Figures, LIMIT, Length, Running, Stage, docker, ms};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::Value;

mod common;

const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");
const MIB: f64 = 1024.0 * 1024.0;
const REPLICAS: u32 = 20;

/// Between two looks at the memory of a process.
const PAUSE: Duration = Duration::from_millis(2);

fn main() -> ExitCode {
    common::main("start, size, memory and bad news", |length, bounds| {
        start(length, bounds);
        size(bounds);
        memory(length, bounds);
        bad_news(length, bounds);
    })
}

fn start(length: Length, bounds: &mut Bounds) {
    let (mut ours, mut least): (Figures, Figures) = Default::default();
    for _ in 0..length.rounds(200, 20) {
        ours.add(run(FLIPSIDE, &["--version"]));
        least.add(run("/bin/true", &[]));
    }
    println!("start");
    println!("  flipside --version  {ours}");
    println!("  /bin/true           {least}");
    bounds.at_most("median", ours.median(), 5.0, " ms");
}

/// From before the start of a process until after its end, in milliseconds.
fn run(program: &str, words: &[&str]) -> f64 {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    Running::start(&mut command).finish();
    ms(begun)
}

fn size(bounds: &mut Bounds) {
    println!("the executable, profile {}", profile());
    let bytes = std::fs::metadata(FLIPSIDE).unwrap().len();
    bounds.at_most("size", bytes as f64 / MIB, 25.0, " MiB");
}

/// The profile of the measured file, by its directory, and what the surroundings change of it.
fn profile() -> String {
    let directory = Path::new(FLIPSIDE).parent().and_then(Path::file_name);
    let changed = std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO_PROFILE_"))
        .map(|(name, value)| format!(", {name}={value}"));
    let changed: String = changed.collect();
    format!("{}{changed}", directory.unwrap().display())
}

fn memory(length: Length, bounds: &mut Bounds) {
    let stage = Stage::new(&format!("deploy: {{ replicas: {REPLICAS} }},"), "");
    println!("most memory resident in a deploy of {REPLICAS} replicas");
    let mut most: f64 = 0.0;
    for round in 0..length.rounds(5, 2) {
        let peak = peak(stage.start_deploy(round as u64 + 1));
        // The first one starts the proxy as well.
        println!("  deploy {}  {peak:.1} MiB", round + 1);
        most = most.max(peak);
    }
    bounds.at_most("most", most, 40.0, " MiB");
}

/// The most memory that a process has had resident until shortly before its end, in MiB.
fn peak(running: Running) -> f64 {
    let status = format!("/proc/{}/status", running.id());
    let mut peak = None;
    while let Some(kib) = high_water(&std::fs::read_to_string(&status).unwrap()) {
        peak = Some(kib);
        std::thread::sleep(PAUSE);
    }
    running.finish();
    peak.expect("it lived long enough to be looked at") / 1024.0
}

/// Of a process that has not ended, in KiB.
fn high_water(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map(|line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

fn bad_news(length: Length, bounds: &mut Bounds) {
    let stage = Stage::new("env_file: web.env,", "");
    let variables = stage.directory().join("web.env");
    std::fs::write(&variables, "").unwrap();
    stage.start_deploy(1).finish();
    std::fs::write(&variables, "EXIT_AT_START=3\n").unwrap();
    let mut took = Figures::default();
    for _ in 0..length.rounds(20, 3) {
        took.add(fail(&stage));
    }
    println!("from the exit of a candidate's container to the line that says so");
    println!("  {took}");
    bounds.at_most("median", took.median(), 1_000.0, " ms");
}

/// A deploy whose container ends at once: from that end to the line `failed`, in milliseconds.
fn fail(stage: &Stage) -> f64 {
    let exit = first_exit(stage.service());
    let words = ["deploy", "--yes", "--output", "json", "--set", "VERSION=2"];
    let mut deploying = Running::start(&mut stage.flipside(&words));
    let mut lines = BufReader::new(deploying.stdout()).lines();
    let failed = lines.find(|line| {
        let line: Value = serde_json::from_str(line.as_ref().unwrap()).unwrap();
        line["event"] == "failed"
    });
    let told = Timestamp::now();
    failed.expect("the line `failed`").unwrap();
    lines.for_each(|line| drop(line.unwrap()));
    deploying.ends(3);
    told.duration_since(exit.join().unwrap()).as_secs_f64() * 1e3
}

/// When the next container of `service` ends, by the engine's clock: this machine's.
fn first_exit(service: &str) -> JoinHandle<Timestamp> {
    let filters = [
        ("event", "die".to_owned()),
        ("label", format!("flipside.service={service}")),
    ];
    let filters = filters.map(|(key, value)| (key.to_owned(), vec![value]));
    let options = EventsOptions {
        filters: Some(HashMap::from(filters)),
        ..EventsOptions::default()
    };
    let waiting = async move {
        let api = docker::api();
        let event = api.events(Some(options)).next().await.unwrap().unwrap();
        let id = event.actor.unwrap().id.unwrap();
        let found = api.inspect_container(&id, None).await.unwrap();
        // The engine starts it again, and again it ends.
        assert!(found.restart_count <= Some(1), "looked at too late");
        found.state.unwrap().finished_at.unwrap().parse().unwrap()
    };
    std::thread::spawn(|| {
        let in_time = async { tokio::time::timeout(LIMIT, waiting).await };
        common::runtime().block_on(in_time).expect("an exit")
    })
}
