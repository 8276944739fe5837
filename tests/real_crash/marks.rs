//! Killed before and after each mark, then without a journal: the pointer's own memory is enough to
//! roll back.

use super::kit::{Running, Settings, Stage};

/// Where a deploy is killed.
#[derive(Debug, Clone, Copy)]
enum At {
    Event(&'static str),
    Intent(&'static str),
}

const BEFORE_THE_SWITCH: [At; 5] = [
    At::Event("opened"),
    At::Intent("stand-up"),
    At::Event("stood-up"),
    At::Event("proven"),
    At::Intent("switch"),
];
const AFTER_THE_SWITCH: [At; 4] = [
    At::Event("switched"),
    At::Event("verified"),
    At::Intent("drain"),
    At::Event("closed"),
];

async fn reach(running: &mut Running, at: At) {
    match at {
        At::Event(name) => running.event(name).await,
        At::Intent(act) => running.intends(act).await,
    };
}

async fn killed_without_a_journal(at: At) {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let mut running = stage.start_deploy("2", &Settings::default());
    reach(&mut running, at).await;
    let killed = running.kill().await;
    stage.rests().await;
    stage.lose_journal();
    let status = stage.status().await;
    let live = status["live"]["release"].as_u64();
    let rolled = stage.verb("rollback").await;
    let context = format!("{at:?}: {killed:#?}\n{status:#}\n{rolled:#?}");
    match live {
        Some(1) => {
            assert_eq!(rolled.code, 4, "{context}");
            assert_eq!(rolled.error(), "nothing-to-roll-back-to", "{context}");
        }
        Some(2) => assert_eq!(rolled.code, 0, "{context}"),
        _ => panic!("{context}"),
    }
    assert_eq!(stage.answer().await, "1", "{context}");
    if matches!(at, At::Event("switched" | "verified" | "closed")) {
        assert_eq!(live, Some(2), "{context}");
    }
    // And a new journal begins where the old one was lost.
    let next = stage.deploy("3").await;
    assert_eq!(next.code, 0, "{context}: {next:#?}");
    assert_eq!(stage.answer().await, "3");
    stage.is_tidy(&context).await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_without_a_mark_is_never_rolled_back_to() {
    for at in BEFORE_THE_SWITCH {
        killed_without_a_journal(at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_marks_of_a_switch_are_there_with_it() {
    for at in AFTER_THE_SWITCH {
        killed_without_a_journal(at).await;
    }
}
