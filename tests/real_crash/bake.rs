//! A release that falls ill during its bake.

use super::kit::{Stage, baking};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_bake_switches_back_by_itself() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let mut running = stage.start_deploy("2", &baking());
    running.intends("watch").await;
    assert_eq!(stage.answer().await, "2");
    stage.get("/break").await;
    let ran = running.ended().await;
    ran.ends(3);
    assert_eq!(ran.outcome(), "rolled_back", "{ran:#?}");
    assert!(ran.lines.iter().any(|line| line["event"] == "verified"));
    assert_eq!(stage.answer().await, "1");
    let status = stage.status().await;
    assert_eq!(status["withdrawn"][0]["release"], 2, "{status:#}");
    load.stop().await;
    // What failed is no way back.
    let again = stage.verb("rollback").await;
    assert_eq!(again.ends(4).error(), "nothing-to-roll-back-to");
    stage.end().await;
}
