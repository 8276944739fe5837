//! `kill -9` at moments spread over a deploy and over a rollback; then any of the three verbs goes
//! on. And what a resumed run reads beside the journal.

use std::time::Duration;

use super::kit::{Ran, Settings, Stage, says};

const DEPLOYS: u32 = 20;
const ROLLBACKS: u32 = 10;

/// The verbs that go on after a kill, in turn.
#[derive(Debug, Clone, Copy)]
enum On {
    Deploy,
    Resume,
    RollBack,
}

const TURNS: [On; 3] = [On::Deploy, On::Resume, On::RollBack];

/// A moment of the `n`th of `all` equal parts of `took`.
fn moment(took: Duration, n: u32, all: u32) -> Duration {
    let jitter = getrandom::u32().unwrap() % 1000;
    took * (n * 1000 + jitter) / (all * 1000)
}

/// Whether the newest run in the journal has come to its end, or there is none that began.
async fn nothing_is_under_way(stage: &Stage) -> bool {
    let history = stage.run(&["history", &stage.service, "-n", "1"]).await;
    history.ends(0);
    let newest = &history.lines[0]["runs"][0];
    newest.is_null() || !newest["outcome"].is_null()
}

/// `resume` goes on with what is under way, and says so where nothing is.
async fn resume(stage: &Stage, context: &str) -> Ran {
    let idle = nothing_is_under_way(stage).await;
    let ran = stage.verb("resume").await;
    let expected = if idle { 4 } else { 0 };
    assert_eq!(ran.code, expected, "{context}: {ran:#?}");
    if idle {
        assert_eq!(ran.error(), "nothing-under-way", "{context}");
    }
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_killed_at_any_moment_is_gone_on_with() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let undisturbed = stage.deploy("2").await;
    undisturbed.ends(0);
    let mut live = "2".to_owned();
    let mut before = "1".to_owned();
    for n in 0..DEPLOYS {
        let (version, after) = (format!("{n}-killed"), format!("{n}-after"));
        let moment = moment(undisturbed.took, n, DEPLOYS);
        let running = stage.start_deploy(&version, &Settings::default());
        tokio::time::sleep(moment).await;
        let killed = running.kill().await;
        let context = format!(
            "killed {moment:?} into a deploy of {:?}: {killed:#?}",
            undisturbed.took
        );
        assert_ne!(killed.code, 1, "{context}");
        let said = stage.answer().await;
        assert!(said == live || said == version, "{context}: {said}");
        match TURNS[n as usize % 3] {
            On::Deploy => {
                let ran = stage.deploy(&after).await;
                assert_eq!(ran.code, 0, "{context}: {ran:#?}");
                assert_eq!(stage.answer().await, after, "{context}");
            }
            On::Resume => {
                let ran = resume(&stage, &context).await;
                let now = stage.answer().await;
                let resumed = ran.code == 0 || killed.outcome() == "done";
                assert!(now == version || (!resumed && now == live), "{context}");
            }
            On::RollBack => {
                let ran = stage.verb("rollback").await;
                assert_eq!(ran.code, 0, "{context}: {ran:#?}");
                // The killed one's last write may have come after the look above.
                let back = stage.answer().await;
                let was_new = said == version;
                assert!(back == live || (!was_new && back == before), "{context}");
            }
        }
        stage.is_tidy(&context).await;
        let now = stage.answer().await;
        if now != live {
            before = std::mem::replace(&mut live, now);
        }
    }
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_killed_at_any_moment_is_gone_on_with() {
    let stage = Stage::with_standby().await;
    let load = stage.load().await;
    let undisturbed = stage.verb("rollback").await;
    undisturbed.ends(0);
    for n in 0..ROLLBACKS {
        let [old, new, after] = ["old", "new", "after"].map(|word| format!("{n}-{word}"));
        stage.deploy(&old).await.ends(0);
        stage.deploy(&new).await.ends(0);
        let moment = moment(undisturbed.took, n, ROLLBACKS);
        let running = stage.start(&["rollback", &stage.service, "--yes"]);
        tokio::time::sleep(moment).await;
        let killed = running.kill().await;
        let context = format!(
            "killed {moment:?} into a rollback of {:?}: {killed:#?}",
            undisturbed.took
        );
        let said = stage.answer().await;
        assert!(said == old || said == new, "{context}: {said}");
        match TURNS[n as usize % 3] {
            On::Deploy => {
                let ran = stage.deploy(&after).await;
                assert_eq!(ran.code, 0, "{context}: {ran:#?}");
                assert_eq!(stage.answer().await, after, "{context}");
            }
            On::Resume => {
                let ran = resume(&stage, &context).await;
                let back = ran.code == 0 || said == old;
                let expected = if back { &old } else { &new };
                assert_eq!(&stage.answer().await, expected, "{context}");
            }
            // What the killed one left is no standby: a second rollback never goes there.
            On::RollBack => {
                let ran = stage.verb("rollback").await;
                let moved = ran.error() == "nothing-to-roll-back-to";
                let expected = if moved { 4 } else { 0 };
                assert_eq!(ran.code, expected, "{context}: {ran:#?}");
                assert_eq!(stage.answer().await, old, "{context}");
            }
        }
        stage.is_tidy(&context).await;
    }
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_deploy_waits_for_its_digest_key_no_longer_than_for_the_journal() {
    let stage = Stage::live().await;
    let slow = Settings {
        variables: vec![("START_DELAY_MS", "1500".into())],
        bake: "2s",
        ..Settings::default()
    };
    let mut running = stage.start_deploy("2", &slow);
    running.intends("prove").await;
    running.kill().await;
    let (key, kept) = (stage.state().join("digest.key"), stage.state().join("kept"));
    std::fs::rename(&key, &kept).unwrap();
    // Whoever opens it waits for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, rustix::fs::Mode::RUSR).unwrap();
    let hung = stage.verb("resume").await;
    assert_eq!(hung.ends(7).error(), "store-out-of-reach", "{hung:#?}");
    let state = stage.state();
    let expected = [state.to_str().unwrap(), "no answer within 5 s"];
    assert!(says(hung.message(), &expected), "{hung:#?}");
    assert_eq!(stage.answer().await, "1");

    std::fs::rename(&kept, &key).unwrap();
    let mut running = stage.start(&["resume", &stage.service]);
    running.intends("watch").await;
    running.kill().await;
    // After the switch the labels say all that a resumed run needs.
    std::fs::rename(&key, &kept).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(stage.verb("resume").await.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "2");
    stage.is_tidy("after the resumes").await;
    stage.end().await;
}
