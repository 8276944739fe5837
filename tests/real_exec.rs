//! A command as a pointer: the contract with the example's, before a real HAProxy, and commands that
//! go wrong.

mod answers;
mod bad_days;
mod kit;
mod verbs;

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use flipside::core::progress::Silent;
use flipside::core::routing::Guard;
use flipside::pointer::Pointer;

use crate::real_crash::kit::{Settings, Stage};
use crate::real_haproxy::kit::{Config, Haproxy};
use crate::support::backends::named;
use crate::support::pointer_contract::{self, Fixture};
use kit::{behind, example, section};

#[tokio::test]
async fn the_contract_holds() {
    let at = [named("one").await, named("two").await];
    let mut all = Vec::new();
    for _ in 0..pointer_contract::PROMISES {
        all.push(Haproxy::start().await);
    }
    let next = Cell::new(0);
    pointer_contract::all(async || {
        let pointer = example(&all[next.replace(next.get() + 1)]);
        // What it can do is known once it was asked.
        pointer.ready(&Silent).await.unwrap();
        let able = pointer.capabilities();
        assert!(able.weighted && able.drains && able.counts && able.preview && !able.atomic);
        assert_eq!(able.guard, Guard::Checked);
        Fixture {
            pointer: Arc::new(pointer),
            at,
        }
    })
    .await;
}

/// A server of somebody's, and one that takes no part.
fn stood(at: SocketAddr) -> Config {
    Config {
        stood: vec![
            format!("server old {at} weight 7"),
            "server oldest 127.0.0.1:1 weight 5 disabled".into(),
        ],
        ..Config::default()
    }
}

#[tokio::test]
async fn what_stood_there_is_taken_over_and_put_back() {
    let haproxy = Haproxy::start_with(stood(named("old").await)).await;
    let fixture = behind(example(&haproxy)).await;
    let servers = async || {
        let said = haproxy.says("show servers state shop").await;
        let rows = said.lines().filter(|line| line.contains(" old"));
        let columns = |row: &str| -> Vec<String> {
            let all: Vec<&str> = row.split_whitespace().collect();
            [3, 4, 6, 7, 18].map(|at| all[at].to_owned()).into()
        };
        rows.map(columns).collect::<Vec<_>>()
    };
    let before = servers().await;
    assert_eq!(before.len(), 2, "{before:?}");
    pointer_contract::what_stood_there_is_put_back(&fixture).await;
    assert_eq!(servers().await, before);
    kit::answers(&fixture, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_released_and_rolled_back_behind_it() {
    let stage = Stage::new().await;
    let haproxy = Haproxy::start_with(Config {
        port: stage.port,
        ..Config::default()
    })
    .await;
    let settings = Settings {
        pointer: Some(section(&haproxy)),
        ..Settings::default()
    };
    let deploy = async |version: &str| {
        let ran = stage.start_deploy(version, &settings).ended().await;
        ran.ends(0);
        assert_eq!(stage.answer().await, version);
    };
    deploy("1").await;
    let load = stage.load().await;
    deploy("2").await;
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "1");
    let status = stage.status().await;
    assert_eq!(status["pointer"]["kind"], "exec", "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 1, "{status:#}");
    load.stop().await;
    stage.verb("down").await.ends(0);
}
