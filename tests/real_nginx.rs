//! nginx as a pointer: the contract on the real server, its shares, and what stood there before.

mod bad_days;
pub mod kit;
mod verbs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flipside::core::names::{Release, Slot};
use flipside::core::progress::Silent;
use flipside::core::routing::{Drained, Route, Routing};
use flipside::pointer::nginx::{Nginx as NginxPointer, NginxPlan};
use flipside::pointer::preview::Asking;
use flipside::pointer::{Pointer, Way};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::real_crash::kit::{Settings, Stage, example};
use crate::support::backends::{gated, get, get_held, named};
use crate::support::pointer_contract::{self, Fixture};
use kit::{Config, Nginx};

/// Releases 1 and 2, behind a pointer.
async fn behind(pointer: NginxPointer) -> Fixture {
    Fixture {
        pointer: Arc::new(pointer),
        at: [named("one").await, named("two").await],
    }
}

async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}

/// So much for each of the two releases.
fn shares(fixture: &Fixture, one: u32, two: u32) -> Routing {
    let mut shared = fixture.to(1);
    shared.routes[0].weight = one;
    shared.routes.push(Route {
        release: Release(2),
        slot: Slot::Green,
        weight: two,
        endpoints: vec![fixture.at[1]],
    });
    shared
}

#[tokio::test]
async fn the_contract_holds() {
    let at = [named("one").await, named("two").await];
    let mut all = Vec::new();
    for _ in 0..pointer_contract::PROMISES {
        all.push(Nginx::start().await);
    }
    let next = std::cell::Cell::new(0);
    pointer_contract::all(async || Fixture {
        pointer: Arc::new(all[next.replace(next.get() + 1)].pointer()),
        at,
    })
    .await;
}

#[tokio::test]
async fn a_name_of_its_own_leads_to_the_preview() {
    let nginx = Nginx::start().await;
    let plan = NginxPlan {
        preview: Asking {
            header: None,
            hosts: vec!["next.shop.example".into()],
        },
        hosts: vec!["shop.example".into()],
        ..nginx.plan()
    };
    let url = &plan.url;
    let told = format!("curl -H 'Host: next.shop.example' {url}");
    let fixture = behind(NginxPointer::new(plan.clone()).unwrap()).await;
    assert_eq!(fixture.pointer.preview(), Some(told));
    pointer_contract::a_preview_is_seen_by_those_who_ask(&fixture).await;
    let mut shown = shares(&fixture, 100, 0);
    shown.preview = Some(Release(2));
    fixture.pointer.write(Some(3), &shown).await.unwrap();
    for (host, name) in [("shop.example", "one"), ("next.shop.example", "two")] {
        let answer = get(nginx.port(), host).await;
        assert!(answer.ends_with(name), "{host}: {answer}");
    }
    let both = NginxPlan {
        preview: Asking {
            header: Some("X-Preview: yes".into()),
            ..plan.preview
        },
        ..plan
    };
    let told = format!(
        "curl -H 'Host: shop.example' -H 'X-Preview: yes' {}",
        both.url
    );
    let pointer = NginxPointer::new(both).unwrap();
    assert_eq!(pointer.preview(), Some(told));
}

#[tokio::test]
async fn a_switch_outlives_a_reload_a_restart_and_a_kill() {
    let mut nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let said = pointer.read().await.unwrap();
    nginx.reload().await;
    assert_eq!(pointer.read().await.unwrap(), said);
    nginx.restart().await;
    assert_eq!(pointer.read().await.unwrap(), said);
    nginx.kill().await;
    nginx.again().await;
    assert_eq!(pointer.read().await.unwrap(), said);
    answers(&fixture, 2).await;
}

/// Each request is drawn anew; a release with a weight of 0 is in no line.
#[tokio::test]
async fn shares_are_kept_to_a_hundredth() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &shares(&fixture, 3, 1)).await.unwrap();
    let mut two = 0;
    for _ in 0..400 {
        let answer = get(nginx.port(), "shop").await;
        two += u32::from(answer.ends_with("two"));
    }
    // Six standard deviations.
    assert!((48..=152).contains(&two), "{two} of 400");
    // One request says nothing about the next.
    let answer = pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, None);
    pointer
        .write(Some(1), &shares(&fixture, 9_999, 1))
        .await
        .unwrap();
    assert!(nginx.text().contains("    0.01% flipside_shop_2_1_2;\n"));
    pointer
        .write(Some(2), &shares(&fixture, 1, 0))
        .await
        .unwrap();
    assert!(!nginx.text().contains('%'), "{}", nginx.text());
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn every_replica_is_asked() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let mut desired = fixture.to(1);
    desired.routes[0].endpoints = fixture.at.to_vec();
    fixture.pointer.write(None, &desired).await.unwrap();
    let mut all = std::collections::BTreeSet::new();
    for _ in 0..16 {
        let answer = get(nginx.port(), "shop").await;
        all.extend(answer.lines().last().map(str::to_owned));
    }
    assert_eq!(all, ["one".to_owned(), "two".to_owned()].into());
}

/// What no flipside has written, odd bytes and all.
fn stood(at: std::net::SocketAddr) -> String {
    format!(
        "# Ärger? Ask\tbob.  \r\nupstream old {{ server {at}; }}\n\n\
         map $host $flipside_shop {{ default old; }} # no newline at the end"
    )
}

#[tokio::test]
async fn what_stood_there_is_taken_over_and_put_back() {
    let old = named("old").await;
    let nginx = Nginx::start_with(Config {
        stood: stood(old),
        ..Config::default()
    })
    .await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(found.routes[0].endpoints, [old]);
    pointer_contract::what_stood_there_is_put_back(&fixture).await;
    assert_eq!(nginx.text(), stood(old));
    assert!(get(nginx.port(), "shop").await.ends_with("old"));
    answers(&fixture, 0).await;
    // As long as nobody touches it, it is known who has put it back.
    let back = pointer.read().await.unwrap().unwrap();
    assert_eq!((back.generation, back.author.as_str()), (2, "ann@here"));
    nginx.reload().await;
    assert_eq!(pointer.read().await.unwrap(), Some(back.clone()));
    let again = Routing {
        foreign: back.foreign.clone(),
        ..fixture.to(2)
    };
    assert_eq!(pointer.write(Some(2), &again).await, Ok(3));
    answers(&fixture, 2).await;
    let back = Routing { ..back };
    assert_eq!(pointer.write(Some(3), &back).await, Ok(4));
    assert_eq!(nginx.text(), stood(old));
    // What stood there is not flipside's to take away.
    pointer.remove(1).await.unwrap();
    assert_eq!(nginx.text(), stood(old));
    let left = std::fs::read_dir(nginx.path().join("flipside")).unwrap();
    assert_eq!(left.count(), 1);
    assert_eq!(pointer.read().await.unwrap().unwrap().generation, 0);
}

#[tokio::test]
async fn what_stood_there_is_not_lost_when_a_service_goes() {
    let nginx = Nginx::start_with(Config {
        stood: stood(named("old").await),
        ..Config::default()
    })
    .await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    let there = pointer.read().await.unwrap().unwrap();
    let adopted = Routing {
        foreign: there.foreign,
        ..fixture.to(1)
    };
    pointer.write(Some(0), &adopted).await.unwrap();
    pointer.remove(1).await.unwrap();
    assert_eq!(pointer.read().await, Ok(None));
    assert!(nginx.text().contains("# before flipside: upstream old {"));
}

/// No request is lost on its way; what a reload does to idle connections is seen, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_under_load_lose_no_request() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let mut command = Command::new(example("load"));
    command
        .args([&format!("127.0.0.1:{}", nginx.port())])
        .args(["--seconds", "3600", "--connections", "8", "--rest-ms", "5"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    let kept_alive = command.spawn().unwrap();
    let users = nginx.users();
    for switch in 1..=40 {
        let to = fixture.to(1 + switch % 2);
        assert_eq!(pointer.write(Some(switch), &to).await, Ok(switch + 1));
    }
    users.stop().await;
    let load = kept_alive.id().and_then(|id| Pid::from_raw(id as i32));
    kill_process(load.unwrap(), Signal::TERM).unwrap();
    let said = kept_alive.wait_with_output().await.unwrap().stdout;
    let total: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert!(total["closed_idle"].as_u64() > Some(0), "{total}");
    // Sent at the very moment at which the connection was closed: read by nobody.
    for (why, _) in total["failures"].as_object().unwrap() {
        let is_closed = [
            "connection closed before",
            "Connection reset",
            "Broken pipe",
        ];
        assert!(is_closed.iter().any(|end| why.contains(end)), "{total}");
    }
}

/// The old workers are waited for, and not longer.
#[tokio::test]
async fn a_drain_ends_with_the_old_workers() {
    let nginx = Nginx::start().await;
    let (open, slow) = gated("slow").await;
    let mut fixture = behind(nginx.pointer()).await;
    fixture.at[0] = slow;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let asked = get_held(&open, nginx.port()).await;
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let begun = Instant::now();
    let settled = tokio::spawn({
        let pointer = Arc::clone(pointer);
        async move { pointer.settled(2, 20_000, &Silent).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(300), async {
        while !settled.is_finished() {
            tokio::task::yield_now().await;
        }
    });
    assert!(early.await.is_err(), "a worker still has a request");
    open.send(true).unwrap();
    assert!(asked.await.unwrap().ends_with("slow"));
    // Nobody counts what was in flight: unknown, and never a guessed 0.
    assert_eq!(settled.await.unwrap(), Ok(Drained::default()));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stood_there_is_adopted_and_gone_back_to() {
    let stage = Stage::new().await;
    let text = stood(named("old").await);
    let nginx = Nginx::start_with(Config {
        port: stage.port,
        stood: text.clone(),
        ..Config::default()
    })
    .await;
    let settings = Settings {
        pointer: Some(nginx.section()),
        ..Settings::default()
    };
    let refused = stage.start_deploy("1", &settings).ended().await;
    refused.ends(4);
    let says = |words| assert!(refused.talk.contains(words), "{}", refused.talk);
    says("something that is not flipside's serves");
    says("flipside deploy --adopt");
    assert_eq!(stage.answer().await, "old");
    let load = nginx.users();
    stage.run(&["deploy", "--adopt"]).await.ends(0);
    assert_eq!(stage.answer().await, "1");
    let status = stage.status().await;
    assert_eq!(status["live"]["release"], 1, "{status:#}");
    assert_eq!(status["foreign"]["live"], false, "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "old");
    assert_eq!(nginx.text(), text);
    let status = stage.status().await;
    assert_eq!(status["foreign"]["live"], true, "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    stage.start_deploy("2", &settings).ended().await.ends(0);
    assert_eq!(stage.answer().await, "2");
    load.stop().await;
    stage.verb("down").await.ends(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_released_and_rolled_back_behind_it() {
    let stage = Stage::new().await;
    let nginx = Nginx::start_with(Config {
        port: stage.port,
        ..Config::default()
    })
    .await;
    let settings = Settings {
        pointer: Some(nginx.section()),
        ..Settings::default()
    };
    let deploy = async |version: &str| {
        let ran = stage.start_deploy(version, &settings).ended().await;
        ran.ends(0);
        assert_eq!(stage.answer().await, version);
    };
    deploy("1").await;
    let load = nginx.users();
    deploy("2").await;
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "1");
    deploy("3").await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["kind"], "nginx", "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 3, "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    load.stop().await;
    stage.verb("down").await.ends(0);
    assert!(nginx.text().contains("default none;"));
}
