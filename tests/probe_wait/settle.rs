//! Live-only containers that are watched after their start.

use flipside::core::names::Millis;
use flipside::probe::Unfit;

use super::*;

async fn settle(stage: &Stage, settle_ms: Millis) -> Result<(), Unfit> {
    stage.proving().settle(settle_ms).await
}

fn workers(replicas: u32) -> Stage {
    Stage::new(replicas, Vec::new(), script(passes))
}

#[tokio::test(start_paused = true)]
async fn what_runs_to_the_end_has_settled_then_and_not_before() {
    let stage = workers(2);
    settle(&stage, 10_000).await.unwrap();
    assert_eq!(stage.now(), 10_000);
    let told = format!("{:?}", stage.told.lock().unwrap()[0]);
    assert!(
        told.contains("shop-3-web-1 and shop-3-web-2 to settle"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_fails_at_once_with_code_and_log_also_where_it_was_started_again() {
    for revives in [false, true] {
        let mut stage = workers(2);
        stage.ends.insert("web2".into(), (4_321, 3, false));
        stage.revives = revives;
        let failure = failure(settle(&stage, 10_000).await);
        insta::allow_duplicates! {
            insta::assert_snapshot!(failure.what, @"web replica 2 of 2 exited with 3 before it had run for 10 s");
        }
        assert_eq!(failure.replicas[0].logs, ["web2 says hello"]);
        assert_eq!(stage.now(), 4_321);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_healthcheck_fails_and_one_without_a_verdict_does_not() {
    let mut stage = workers(1);
    stage.health = vec![(0, Health::Starting)];
    settle(&stage, 2_000).await.unwrap();
    let mut stage = workers(1);
    stage.health = vec![(0, Health::Starting), (3_100, Health::Unhealthy)];
    let failure = failure(settle(&stage, 10_000).await);
    insta::assert_snapshot!(failure.what, @"web: its HEALTHCHECK says unhealthy");
    assert_eq!(stage.now(), 3_500);
}

#[tokio::test(start_paused = true)]
async fn an_outage_says_nothing_unless_it_lasts_to_the_end() {
    let mut stage = workers(1);
    stage.engine_away = 5_000;
    settle(&stage, 10_000).await.unwrap();
    let mut stage = workers(1);
    stage.engine_away = Millis::MAX;
    let away = settle(&stage, 1_000).await;
    assert!(matches!(away, Err(Unfit::Engine(_))), "{away:?}");
}
