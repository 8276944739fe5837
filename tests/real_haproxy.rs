//! HAProxy as a pointer: the contract on the real server, and what it forgets.

mod bad_days;
pub mod kit;
mod preview;
mod relay;
mod verbs;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::pointer::{PointerError, Way};

use crate::real_crash::kit::{Settings, Stage};
use crate::support::backends::{LONG, gated, get, get_held, get_with, named};
use crate::support::docker;
use crate::support::over_tcp::OverTcp;
use crate::support::pointer_contract::{self, Fixture};
use kit::{Config, Haproxy};

#[tokio::test]
async fn the_contract_holds() {
    let at = [named("one").await, named("two").await];
    let mut all = Vec::new();
    for _ in 0..pointer_contract::PROMISES {
        all.push(Haproxy::start().await);
    }
    let next = std::cell::Cell::new(0);
    pointer_contract::all(async || Fixture {
        pointer: Arc::new(all[next.replace(next.get() + 1)].pointer()),
        at,
    })
    .await;
}

#[tokio::test]
async fn a_switch_outlives_a_reload_and_a_restart() {
    let mut haproxy = Haproxy::start().await;
    let at = [named("one").await, named("two").await];
    let pointer = Arc::new(haproxy.pointer());
    let fixture = Fixture { pointer, at };
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    pointer.settled(2, 1_000, &Silent).await.unwrap();
    let said = pointer.read().await.unwrap();
    haproxy.reload().await;
    assert_eq!(pointer.read().await.unwrap(), said);
    haproxy.restart().await;
    assert_eq!(pointer.read().await.unwrap(), said);
    let answer = pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(2)));
}

/// What is in flight at a switch ends by itself, or is cut at the limit; both are counted.
#[tokio::test]
async fn what_is_in_flight_ends_or_is_cut_and_is_counted() {
    for ends in [true, false] {
        let haproxy = Haproxy::start().await;
        let (open, slow) = gated("slow").await;
        let fixture = Fixture {
            pointer: Arc::new(haproxy.pointer()),
            at: [slow, named("two").await],
        };
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let port = haproxy.port();
        let asked = get_held(&open, port).await;
        pointer.write(Some(1), &fixture.to(2)).await.unwrap();
        assert!(get(port, "shop").await.ends_with("two"));
        let limit_ms = if ends { 20_000 } else { 300 };
        let settled = tokio::spawn({
            let pointer = Arc::clone(pointer);
            async move { pointer.settled(2, limit_ms, &Silent).await }
        });
        if ends {
            let early = tokio::time::timeout(Duration::from_millis(300), end_of(&settled));
            assert!(early.await.is_err(), "something is in flight");
            open.send(true).unwrap();
        }
        let drained = settled.await.unwrap().unwrap();
        let (finished, cut) = if ends { (1, 0) } else { (0, 1) };
        let expected = (Some(1), Some(finished), Some(cut));
        let found = (drained.in_flight, drained.finished, drained.cut);
        assert_eq!(found, expected);
        let answer = tokio::time::timeout(LONG, asked).await.expect("an end");
        assert_eq!(answer.unwrap().ends_with("slow"), ends);
    }
}

/// Until it is over.
async fn end_of<T>(settled: &tokio::task::JoinHandle<T>) {
    while !settled.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_replica_is_asked_and_one_too_many_is_told_with_the_lines_that_make_room() {
    let haproxy = Haproxy::start().await;
    let names = ["a", "b", "c", "d"];
    let mut endpoints = Vec::new();
    for name in names {
        endpoints.push(named(name).await);
    }
    let fixture = Fixture {
        pointer: Arc::new(haproxy.pointer()),
        at: [endpoints[0], named("two").await],
    };
    let mut all = fixture.to(1);
    all.routes[0].endpoints = endpoints.clone();
    let pointer = &fixture.pointer;
    assert_eq!(pointer.write(None, &all).await, Ok(1));
    let mut answers = BTreeSet::new();
    for _ in 0..40 {
        let answer = get(haproxy.port(), "shop").await;
        answers.extend(names.into_iter().find(|name| answer.ends_with(name)));
    }
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), names);

    all.routes[0].endpoints.push(fixture.at[1]);
    let refused = pointer.write(Some(1), &all).await;
    let Err(PointerError::Failed { what, hint }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        what.contains("has 4 servers") && what.contains("5 replicas"),
        "{what}"
    );
    assert!(hint.unwrap().contains("server-template blue 1-5 "));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(
        (found.generation, &found.routes[0].endpoints),
        (1, &endpoints)
    );
}

/// A server that drains still serves those whom a cookie or a stick table leads to it: only while the
/// drain lasts.
#[tokio::test]
async fn who_is_held_by_a_cookie_or_a_stick_table_is_let_go_by_the_end_of_a_drain() {
    let cookie: &[_] = &[
        "dynamic-cookie-key of-the-test",
        "cookie SERVED insert indirect nocache dynamic",
    ];
    let table: &[_] = &[
        "stick-table type string len 32 size 1k expire 1h",
        "stick on req.hdr(x-user)",
    ];
    for held_by in [cookie, table] {
        let haproxy = Haproxy::start_with(Config {
            stood: held_by.iter().map(|line| (*line).to_owned()).collect(),
            ..Config::default()
        })
        .await;
        let fixture = Fixture {
            pointer: Arc::new(haproxy.pointer()),
            at: [named("one").await, named("two").await],
        };
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let mut ann = User::new("ann", &haproxy);
        assert_eq!(ann.asks().await, "one", "{held_by:?}");
        assert_eq!(ann.cookie.is_some(), held_by == cookie);
        pointer.write(Some(1), &fixture.to(2)).await.unwrap();
        assert_eq!(ann.asks().await, "one", "{held_by:?}");
        assert_eq!(User::new("bob", &haproxy).asks().await, "two");
        pointer.settled(2, 5_000, &Silent).await.unwrap();
        assert_eq!(ann.asks().await, "two", "{held_by:?}");

        pointer.write(Some(2), &fixture.to(1)).await.unwrap();
        pointer.settled(3, 5_000, &Silent).await.unwrap();
        assert_eq!(ann.asks().await, "one", "{held_by:?}");
    }
}

/// Somebody who is known by a name, and by the cookie that was given last.
struct User {
    name: &'static str,
    port: u16,
    cookie: Option<String>,
}

impl User {
    fn new(name: &'static str, haproxy: &Haproxy) -> Self {
        let port = haproxy.port();
        Self {
            name,
            port,
            cookie: None,
        }
    }

    /// Asks once, over a connection of its own: who answers.
    async fn asks(&mut self) -> String {
        let cookie = self.cookie.iter().map(|cookie| format!("Cookie: {cookie}"));
        let name = format!("X-User: {}", self.name);
        let lines: Vec<String> = cookie.chain([name]).collect();
        let answer = get_with(self.port, "shop.example", &lines).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let given = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let (cookie, _) = value.split_once(';')?;
            name.eq_ignore_ascii_case("set-cookie")
                .then(|| cookie.to_owned())
        });
        self.cookie = given.or(self.cookie.take());
        body.to_owned()
    }
}

/// Two servers of somebody's, of different weights, and one that takes no part.
fn stood(at: [SocketAddr; 2]) -> Config {
    let [old, older] = at;
    Config {
        stood: vec![
            format!("server old {old} weight 7"),
            format!("server older {older} weight 3"),
            "server oldest 127.0.0.1:1 weight 5 disabled".into(),
        ],
        ..Config::default()
    }
}

/// How the servers are: names, addresses, weights and what is asked of them.
async fn servers(haproxy: &Haproxy) -> Vec<Vec<String>> {
    let said = haproxy.says("show servers state shop").await;
    let rows = said.lines().filter(|line| line.contains(" shop "));
    let columns = |row: &str| -> Vec<String> {
        let all: Vec<&str> = row.split_whitespace().collect();
        [3, 4, 6, 7, 18].map(|at| all[at].to_owned()).into()
    };
    rows.map(columns)
        .filter(|row| row[0].starts_with("old"))
        .collect()
}

#[tokio::test]
async fn what_stood_there_is_taken_over_and_put_back() {
    let others = [named("old").await, named("older").await];
    let haproxy = Haproxy::start_with(stood(others)).await;
    let fixture = Fixture {
        pointer: Arc::new(haproxy.pointer()),
        at: [named("one").await, named("two").await],
    };
    let before = servers(&haproxy).await;
    assert_eq!(before.len(), 3, "{before:?}");
    pointer_contract::what_stood_there_is_put_back(&fixture).await;
    assert_eq!(servers(&haproxy).await, before);
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stood_there_is_adopted_and_gone_back_to() {
    let stage = Stage::new().await;
    let others = [named("old").await, named("old").await];
    let haproxy = Haproxy::start_with(Config {
        port: stage.port,
        ..stood(others)
    })
    .await;
    let settings = Settings {
        pointer: Some(haproxy.section()),
        ..Settings::default()
    };
    let before = servers(&haproxy).await;
    let refused = stage.start_deploy("1", &settings).ended().await;
    refused.ends(4);
    let says = |words| assert!(refused.talk.contains(words), "{}", refused.talk);
    says("something that is not flipside's serves");
    says("flipside deploy --adopt");
    assert_eq!(stage.answer().await, "old");
    let load = stage.load().await;
    stage.run(&["deploy", "--adopt"]).await.ends(0);
    assert_eq!(stage.answer().await, "1");
    let status = stage.status().await;
    assert_eq!(status["live"]["release"], 1, "{status:#}");
    assert_eq!(status["foreign"]["live"], false, "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "old");
    assert_eq!(servers(&haproxy).await, before);
    let status = stage.status().await;
    assert_eq!(status["foreign"]["live"], true, "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["withdrawn"][0]["release"], 1, "{status:#}");
    stage.start_deploy("2", &settings).ended().await.ends(0);
    assert_eq!(stage.answer().await, "2");
    load.stop().await;
    stage.verb("down").await.ends(0);
}

/// Containers' own addresses are of the engine's host alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_elsewhere_is_out_of_its_reach() {
    let stage = Stage::new().await;
    let haproxy = Haproxy::start().await;
    let engine = OverTcp::to(docker::socket()).await;
    let settings = Settings {
        pointer: Some(haproxy.section()),
        ..Settings::default()
    };
    stage.write_plan("1", &settings);
    for verb in ["check", "deploy"] {
        let refused = stage.run(&[verb, "--engine", &engine.address]).await;
        refused.ends(2);
        let says = |words| assert!(refused.talk.contains(words), "{}", refused.talk);
        says("reached from the engine's host alone");
        says("`reach: {published: 192.0.2.7}`");
        says("let the embedded proxy there be the pointer");
    }
    assert!(!haproxy.plan().state.exists());
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
        pointer: Some(haproxy.section()),
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
    // More often than a look at the journal goes back.
    for to in ["2", "1", "2", "1", "2", "1"] {
        let words = ["rollback", &stage.service, "--to", to, "--yes"];
        stage.run(&words).await.ends(0);
        assert_eq!(stage.answer().await, to);
    }
    deploy("3").await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["kind"], "haproxy", "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 3, "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    load.stop().await;
    stage.verb("down").await.ends(0);
}
