//! Releases at published ports, through the verbs: behind a load balancer of this machine's, and on an
//! engine of another host.

mod elsewhere;

use std::net::SocketAddr;

use serde_json::Value;

use crate::real_crash::kit::{Load, Settings, Stage};
use crate::real_haproxy::kit::{Config, Haproxy};
use crate::real_nginx::kit as nginx;
use crate::support::docker::{api, get_soon};

/// A kind's section, with releases published at this address.
pub fn published(section: &str, address: &str) -> Settings {
    let mut section: Value = serde_json::from_str(section).unwrap();
    let (_, settings) = section.as_object_mut().unwrap().iter_mut().next().unwrap();
    settings["reach"] = serde_json::json!({"published": address});
    Settings {
        pointer: Some(section.to_string()),
        replicas: 2,
        ..Settings::default()
    }
}

/// Where an environment answers.
pub fn endpoints(of: &Value) -> Vec<SocketAddr> {
    let all = of["endpoints"].as_array().unwrap().iter();
    all.map(|at| at.as_str().unwrap().parse().unwrap())
        .collect()
}

/// Released, released again, gone back and forth and released once more, with load on it all along.
async fn lives(
    stage: &Stage,
    settings: &Settings,
    address: &str,
    load: impl AsyncFnOnce(&Stage) -> Load,
) {
    let deploy = async |version: &str| {
        let ran = stage.start_deploy(version, settings).ended().await;
        ran.ends(0);
        assert_eq!(stage.answer().await, version);
    };
    deploy("1").await;
    let load = load(stage).await;
    deploy("2").await;
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "1");
    for to in ["2", "1", "2", "1"] {
        let words = ["rollback", &stage.service, "--to", to, "--yes"];
        stage.run(&words).await.ends(0);
        assert_eq!(stage.answer().await, to);
    }
    deploy("3").await;
    load.stop().await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 3, "{status:#}");
    assert_eq!(status["live"]["fit"], true, "{status:#}");
    let all = [endpoints(&status["live"]), endpoints(&status["standby"][0])].concat();
    let ports: std::collections::BTreeSet<_> = all.iter().map(SocketAddr::port).collect();
    assert_eq!(ports.len(), 4, "{status:#}");
    for at in all {
        assert_eq!(at.ip().to_string(), address, "{status:#}");
        assert!((20_000..30_000).contains(&at.port()), "{status:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_haproxy_finds_releases_at_their_ports() {
    let stage = Stage::new().await;
    let haproxy = Haproxy::start_with(Config {
        port: stage.port,
        ..Config::default()
    })
    .await;
    let settings = published(&haproxy.section(), "127.0.0.1");
    lives(&stage, &settings, "127.0.0.1", Stage::load).await;

    // A container that is restarted is found where it was.
    let before = stage.status().await;
    let name = format!("{}-3-web-1", stage.service);
    api().restart_container(&name, None).await.unwrap();
    for at in endpoints(&before["live"]) {
        get_soon(at, "/up").await;
    }
    let after = stage.status().await;
    assert_eq!(after["pointer"]["agrees"], true, "{after:#}");
    assert_eq!(after["live"]["endpoints"], before["live"]["endpoints"]);
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "1");
    stage.verb("down").await.ends(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nginx_finds_releases_at_their_ports() {
    let stage = Stage::new().await;
    let server = nginx::Nginx::start_with(nginx::Config {
        port: stage.port,
        ..nginx::Config::default()
    })
    .await;
    let settings = published(&server.section(), "127.0.0.1");
    // A reload closes connections that are kept alive, also one on which a request is on its way.
    lives(&stage, &settings, "127.0.0.1", Stage::repeating_load).await;
    stage.verb("down").await.ends(0);
}

/// A standby that is stopped has its port when it is woken, though nothing listened there meanwhile
/// and other releases came and went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_sleeps_wakes_at_its_port() {
    for standby in ["{ mode: stopped }", "{ mode: frozen }"] {
        let stage = Stage::new().await;
        let haproxy = Haproxy::start_with(Config {
            port: stage.port,
            ..Config::default()
        })
        .await;
        let settings = Settings {
            standby,
            ..published(&haproxy.section(), "127.0.0.1")
        };
        stage.start_deploy("1", &settings).ended().await.ends(0);
        let first = endpoints(&stage.status().await["live"]);
        let load = stage.load().await;
        stage.start_deploy("2", &settings).ended().await.ends(0);
        let status = stage.status().await;
        assert_eq!(endpoints(&status["standby"][0]), first, "{status:#}");
        stage.verb("rollback").await.ends(0);
        assert_eq!(stage.answer().await, "1");
        let status = stage.status().await;
        assert_eq!(endpoints(&status["live"]), first, "{status:#}");
        load.stop().await;
        stage.verb("down").await.ends(0);
    }
}
