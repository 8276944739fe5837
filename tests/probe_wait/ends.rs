//! Containers that end while they are probed.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_container_out_of_memory_ends_the_wait_at_once() {
    let mut stage = Stage::new(1, vec![up()], script(refused));
    stage.ends.insert("web1".into(), (400, 137, true));
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web exited with 137 (out of memory), 400 ms after probing began");
    insta::assert_snapshot!(failure.hint.unwrap(), @"raise `mem_limit:` of role `web`");
    assert_eq!(failure.replicas[0].logs, ["web1 says hello"]);
    assert_eq!(stage.now(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_has_passed_still_ends_the_wait_when_it_exits() {
    let answer = script(|address, _, _| match last(address) {
        1 => Ok(Ok(())),
        _ => Ok(Err("503 Service Unavailable".into())),
    });
    let mut stage = Stage::new(2, vec![up()], answer);
    stage.ends.insert("web1".into(), (90, 1, false));
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web replica 1 of 2 exited with 1, 90 ms after probing began");
    assert_eq!(failure.replicas.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_the_engine_has_started_again_is_told_by_how_it_ended() {
    let mut stage = Stage::new(1, vec![up()], script(refused));
    stage.ends.insert("web1".into(), (400, 137, true));
    stage.revives = true;
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web exited with 137 (out of memory), 400 ms after probing began");
    insta::assert_snapshot!(failure.hint.unwrap(), @"raise `mem_limit:` of role `web`");
}
