//! The proxy killed in the middle of a switch.

use super::kit::{Settings, Stage, as_root, quiet, sh};
use crate::support::docker::{get_soon, until};

/// A fact about the proxy's container.
fn proxy(stage: &Stage, what: &str) -> String {
    sh(&["docker", "inspect", "-f", what, &stage.proxy()])
}

/// Deploys until the proxy has died in the middle of a switch, which is then left for `resume`:
/// it stands still from the last proof on, and is killed when the switch has been begun. The
/// version, and the one before it.
async fn proxy_dies_in_a_switch(stage: &Stage) -> (String, String) {
    for attempt in 2..12 {
        let (before, version) = ((attempt - 1).to_string(), attempt.to_string());
        let pid = proxy(stage, "{{.State.Pid}}");
        let mut running = stage.start_deploy(&version, &Settings::default());
        running.event("proven").await;
        quiet(&[as_root(), &["kill", "-STOP", &pid]].concat());
        running.intends("switch").await;
        quiet(&["docker", "kill", &stage.proxy()]);
        let ran = running.ended().await;
        assert_eq!(proxy(stage, "{{.State.Running}}"), "false");
        match ran.code {
            6 => return (before, version),
            // It had been written to already when it was to stand still.
            0 => drop(sh(&["docker", "start", &stage.proxy()])),
            _ => panic!("{ran:#?}"),
        }
        assert_eq!(comes_back(stage).await, version);
    }
    panic!("no switch was met");
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
    let (before, version) = proxy_dies_in_a_switch(&stage).await;
    sh(&["docker", "start", &stage.proxy()]);
    let back = comes_back(&stage).await;
    assert!([&before, &version].contains(&&back), "{back}");
    let live = stage.status().await["live"]["release"].to_string();
    assert_eq!(back, live, "the table outlives the proxy");
    stage.verb("resume").await.ends(0);
    assert_eq!(stage.answer().await, version);
    // And what it says is still so after another restart.
    quiet(&["docker", "kill", &stage.proxy()]);
    sh(&["docker", "start", &stage.proxy()]);
    assert_eq!(comes_back(&stage).await, version);
    stage.is_tidy("after the restart").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_starts_a_dead_proxy_and_settles_the_switch() {
    let stage = Stage::live().await;
    proxy_dies_in_a_switch(&stage).await;
    stage.deploy("after").await.ends(0);
    assert_eq!(stage.answer().await, "after");
    stage.is_tidy("after the next deploy").await;
    stage.end().await;
}
