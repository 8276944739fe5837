//! An engine on another host, as far as anybody can tell: in a network of its own, which this machine
//! reaches by one address of it and whose containers' own addresses it does not reach at all.

use std::process::Stdio;

use serde_json::Value;

use super::{endpoints, published};
use crate::real_crash::daemon::Host;
use crate::real_crash::kit::{Settings, Stage, root};
use crate::real_haproxy::kit::{Config, Haproxy};
use crate::support::over_tcp::OverTcp;

struct Elsewhere {
    host: Host,
    /// Its address, seen from here.
    address: String,
    engine: OverTcp,
}

impl Elsewhere {
    async fn start() -> Self {
        let host = Host::start();
        let number = getrandom::u32().unwrap();
        let [block, net, low, _] = number.to_be_bytes();
        let (net, low) = (format!("198.{}.{net}", 18 + block % 2), low & 0xfc);
        let (link, here) = (format!("v{number:08x}"), format!("{net}.{}/30", low + 1));
        let address = format!("{net}.{}", low + 2);
        let there = format!("{address}/30");
        let name = host.name();
        root(&[
            "ip", "link", "add", &link, "type", "veth", "peer", "name", "up0", "netns", name,
        ]);
        root(&["ip", "addr", "add", &here, "dev", &link]);
        root(&["ip", "link", "set", &link, "up"]);
        root(&["ip", "-n", name, "addr", "add", &there, "dev", "up0"]);
        root(&["ip", "-n", name, "link", "set", "up0", "up"]);
        let socket = host.url().trim_start_matches("unix://").to_owned();
        Self {
            engine: OverTcp::to(socket).await,
            host,
            address,
        }
    }

    /// The names of what runs there.
    fn running(&self) -> String {
        let mut command = self.host.docker(&["ps", "--format", "{{.Names}}"]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_here_leads_to_releases_there_and_probes_come_from_the_proxy_there() {
    let there = Elsewhere::start().await;
    let stage = Stage::on(there.engine.address.clone());
    let haproxy = Haproxy::start_with(Config {
        port: stage.port,
        ..Config::default()
    })
    .await;
    // Without it the plan is refused, and nothing is touched.
    let plain = Settings {
        pointer: Some(haproxy.section()),
        ..Settings::default()
    };
    stage.start_deploy("0", &plain).ended().await.ends(2);
    assert_eq!(there.running(), "");

    let settings = published(&haproxy.section(), &there.address);
    let deploy = async |version: &str| {
        let ran = stage.start_deploy(version, &settings).ended().await;
        ran.ends(0);
        assert_eq!(stage.answer().await, version);
    };
    deploy("1").await;
    assert!(
        there.running().contains(&stage.proxy()),
        "{}",
        there.running()
    );
    let load = stage.load().await;
    deploy("2").await;
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "1");
    load.stop().await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["fit"], true, "{status:#}");
    let all = endpoints(&status["live"]);
    assert_eq!(all.len(), 2, "{status:#}");
    assert!(all.iter().all(|at| at.ip().to_string() == there.address));

    // What does not pass says from where it was asked.
    let broken = Settings {
        variables: vec![("FAIL_UP", "yes".into())],
        ..settings.clone()
    };
    stage.write_plan("3", &broken);
    let plan = stage.checkout().join("flipside.yaml");
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replace("deadline: 30s", "deadline: 2s")).unwrap();
    let failed = stage.run(&["deploy"]).await;
    failed.ends(3);
    let said = format!("{:?}", failed.lines);
    let from = format!("asked from proxy {}", stage.proxy());
    assert!(said.contains(&from), "{said}");
    assert_eq!(stage.answer().await, "1");

    // A proxy that somebody has taken away is there again when something is to be asked.
    let mut gone = there.host.docker(&["rm", "-fv", &stage.proxy()]);
    assert!(gone.status().unwrap().success());
    let words = ["rollback", &stage.service, "--to", "2", "--yes"];
    stage.run(&words).await.ends(0);
    assert_eq!(stage.answer().await, "2");
    assert!(
        there.running().contains(&stage.proxy()),
        "{}",
        there.running()
    );

    // It goes with the last service that needs it.
    stage.verb("down").await.ends(0);
    assert_eq!(there.running(), "");
    let mut left = there.host.docker(&["volume", "ls", "-q"]);
    let left = left.stdout(Stdio::piped()).output().unwrap();
    assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_there_stays_while_another_service_needs_it() {
    let there = Elsewhere::start().await;
    let mut stages: Vec<(Stage, Haproxy)> = Vec::new();
    for _ in 0..2 {
        let stage = Stage::on(there.engine.address.clone());
        let haproxy = Haproxy::start_with(Config {
            port: stage.port,
            ..Config::default()
        })
        .await;
        stages.push((stage, haproxy));
    }
    // Both by one proxy, as they are by default.
    let proxy = stages[0].0.proxy();
    let mut names = Vec::new();
    for (stage, haproxy) in &stages {
        let settings = published(&haproxy.section(), &there.address);
        stage.write_plan("1", &settings);
        stage.run(&["deploy", "--proxy", &proxy]).await.ends(0);
        assert_eq!(stage.answer().await, "1");
        names.push(stage.service.clone());
    }
    let down = async |index: usize| {
        let words = ["down", &names[index], "--yes", "--proxy", &proxy];
        stages[index].0.run(&words).await.ends(0);
    };
    down(0).await;
    assert!(there.running().contains(&proxy), "{}", there.running());
    let status = stages[1]
        .0
        .run(&["status", &names[1], "--proxy", &proxy])
        .await;
    let status: &Value = &status.lines[0];
    assert_eq!(status["live"]["fit"], true, "{status:#}");
    down(1).await;
    assert_eq!(there.running(), "");
}
