//! What the embedded proxy costs: requests a second through it against those straight to the
//! container, 64 keep-alive connections, in alternating rounds. Has no bound: the client takes a
//! part of the same cores.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};

use common::{Figures, Running, Stage, docker};

mod common;

const SECONDS: u64 = 2;

fn main() -> ExitCode {
    common::main("requests through the proxy", |length, _| {
        let stage = Stage::new("", "");
        stage.start_deploy(1).finish();
        let direct = container(&stage);
        let (mut through, mut straight) = (Figures::default(), Figures::default());
        for _ in 0..length.rounds(15, 2) {
            through.add(per_second(stage.address) / 1e3);
            straight.add(per_second(direct) / 1e3);
        }
        let (proxy, container) = (through.median(), straight.median());
        println!("  through the proxy  {proxy:.1} thousand requests a second");
        println!("  straight           {container:.1}");
        println!("  ratio of medians   {:.2}", proxy / container);
    })
}

/// The address of the one container.
fn container(stage: &Stage) -> SocketAddr {
    let name = format!("{}-1-web-1", stage.service());
    let found = common::runtime().block_on(async {
        let found = docker::api().inspect_container(&name, None).await;
        found.unwrap().network_settings.unwrap().networks.unwrap()
    });
    let mut addresses = found.into_values().filter_map(|network| network.ip_address);
    SocketAddr::new(addresses.next().unwrap().parse().unwrap(), 8080)
}

/// Requests a second, by the load client without rests.
fn per_second(address: SocketAddr) -> f64 {
    let (address, seconds) = (address.to_string(), SECONDS.to_string());
    let mut load = Command::new(common::example("load"));
    load.args([&address, "--connections", "64", "--rest-ms", "0"])
        .args(["--seconds", &seconds, "--requests", "1000000000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let told = Running::start(&mut load).finish().stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["failed"], 0, "{told}");
    told["sent"].as_f64().unwrap() / SECONDS as f64
}
