//! The proxy killed in the middle of a switch.

use super::kit::{Settings, Stage, quiet, sh};
use crate::support::docker::{get_soon, until};

/// A deploy whose proxy dies as the switch begins.
async fn proxy_dies_at_the_switch(stage: &Stage) -> i32 {
    let mut running = stage.start_deploy("2", &Settings::default());
    running.intends("switch").await;
    quiet(&["docker", "kill", &stage.proxy()]);
    let ran = running.ended().await;
    // It was done before the proxy died, or was left for `resume`.
    assert!([0, 6].contains(&ran.code), "{ran:#?}");
    let state = ["docker", "inspect", "-f", "{{.State.Running}}"];
    assert_eq!(sh(&[&state[..], &[&stage.proxy()]].concat()), "false");
    ran.code
}

/// The release that answers, once the proxy does.
async fn comes_back(stage: &Stage) -> String {
    let address = ([127, 0, 0, 1], stage.port).into();
    until("the proxy answers", || async {
        let (status, body) = get_soon(address, "/").await;
        (status == 200).then_some(body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_whose_proxy_dies_is_resumed_once_it_is_back() {
    let stage = Stage::live().await;
    let code = proxy_dies_at_the_switch(&stage).await;
    sh(&["docker", "start", &stage.proxy()]);
    let back = comes_back(&stage).await;
    let live = stage.status().await["live"]["release"].to_string();
    assert_eq!(back, live, "the table outlives the proxy");
    let resumed = stage.verb("resume").await;
    if code == 0 {
        resumed.ends(4);
    } else {
        resumed.ends(0);
    }
    assert_eq!(stage.answer().await, "2");
    // And what it says is still so after another restart.
    quiet(&["docker", "kill", &stage.proxy()]);
    sh(&["docker", "start", &stage.proxy()]);
    assert_eq!(comes_back(&stage).await, "2");
    stage.is_tidy("after the restart").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_starts_a_dead_proxy_and_settles_the_switch() {
    let stage = Stage::live().await;
    proxy_dies_at_the_switch(&stage).await;
    stage.deploy("3").await.ends(0);
    assert_eq!(stage.answer().await, "3");
    stage.is_tidy("after the next deploy").await;
    stage.end().await;
}
