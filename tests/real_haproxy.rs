//! HAProxy as a pointer: the contract on the real server, and what it forgets.

mod bad_days;
mod kit;
mod relay;

use std::sync::Arc;

use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::pointer::Way;

use crate::real_crash::kit::{Settings, Stage};
use crate::support::backends::named;
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
    deploy("3").await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["kind"], "haproxy", "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 3, "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    load.stop().await;
    stage.verb("down").await.ends(0);
}
