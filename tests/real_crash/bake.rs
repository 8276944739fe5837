//! A release that falls ill during its bake.

use super::kit::{Settings, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_bake_switches_back_by_itself() {
    let stage = Stage::live().await;
    let load = stage.load();
    let ill = Settings {
        bake: "40s",
        variables: vec![("FAIL_AFTER_MS", "4000".into())],
        ..Settings::default()
    };
    stage.write_plan("2", &ill);
    let ran = stage.run(&["deploy"]).await;
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
