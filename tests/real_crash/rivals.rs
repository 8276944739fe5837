//! Two operators who want the same service.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{Either, select};
use rustix::process::Signal;

use super::kit::{Running, Settings, Stage, baking};
use crate::support::docker::{self, until};

fn other_store(stage: &Stage) -> PathBuf {
    stage.state().with_file_name("other")
}

/// A deploy with a store of its own.
fn elsewhere(stage: &Stage) -> Running {
    let mut command = stage.command(&["deploy"]);
    command.env("FLIPSIDE_STATE", other_store(stage));
    Running::start(command)
}

/// The words by which a lease tells this machine's user.
fn holder() -> String {
    flipside::cmd::context::author()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_deploy_is_told_who_holds_the_service() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let mut first = stage.start_deploy("2", &baking());
    first.intends("watch").await;
    for second in [stage.start(&["deploy"]), elsewhere(&stage)] {
        let second = second.ended().await;
        assert_eq!(second.ends(5).error(), "held-by");
        assert!(second.message().contains(&holder()), "{second:#?}");
    }
    assert_eq!(stage.answer().await, "2");
    stage.verb("promote").await.ends(0);
    first.ended().await.ends(0);
    stage.is_tidy("after the first").await;
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_deploy_that_waits_goes_on_after_the_first() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let mut first = stage.start_deploy("2", &baking());
    first.intends("watch").await;
    stage.write_plan("3", &Settings::default());
    let second = stage.start(&["deploy", "--lock-wait", "5m"]);
    second.handles_signals().await;
    assert_eq!(stage.answer().await, "2");
    stage.verb("promote").await.ends(0);
    first.ended().await.ends(0);
    let second = second.ended().await;
    assert_eq!(second.ends(0).outcome(), "done");
    let said = format!("holds `{}`: waiting for up to 5m", stage.service);
    assert!(second.talk.contains(&said), "{second:#?}");
    assert!(second.talk.contains(&holder()), "{second:#?}");
    assert_eq!(stage.answer().await, "3");
    stage.is_tidy("after both").await;
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_ends_too_early_touches_nothing() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let mut first = stage.start_deploy("2", &baking());
    first.intends("watch").await;
    let alone = docker::parts(&stage.service).await;

    let service = stage.service.as_str();
    for words in [
        &["deploy"][..],
        &["prune", service],
        &["resume", service],
        &["down", service, "--yes"],
    ] {
        let ran = stage
            .run(&[words, &["--lock-wait", "1500ms"]].concat())
            .await;
        assert_eq!(ran.ends(5).error(), "held-by", "{words:?}");
        assert!(ran.message().contains(&holder()), "{ran:#?}");
        assert!(ran.took >= Duration::from_millis(1500), "{ran:#?}");
    }
    for signal in [Signal::INT, Signal::TERM] {
        let waiting = stage.start(&["deploy", "--lock-wait", "5m"]);
        waiting.handles_signals().await;
        waiting.signal(signal);
        let ran = waiting.ended().await;
        assert_eq!(ran.ends(5).error(), "held-by");
        assert_eq!(ran.outcome(), "refused", "{ran:#?}");
        let warned = ran.lines.iter().find(|line| line["event"] == "warning");
        let warned = warned.and_then(|line| line["message"].as_str());
        assert!(
            warned.is_some_and(|text| text.contains("not waiting")),
            "{ran:#?}"
        );
    }

    // Leases are renewed meanwhile; nothing else has come or gone.
    let lease = format!("{service}.lease.");
    let without = |parts: Vec<String>| -> Vec<String> {
        let others = parts.into_iter().filter(|part| !part.contains(&lease));
        others.collect()
    };
    assert_eq!(without(docker::parts(service).await), without(alone));
    assert_eq!(stage.answer().await, "2");
    stage.verb("promote").await.ends(0);
    first.ended().await.ends(0);
    stage.is_tidy("after the first").await;
    load.stop().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_deploys_at_once_one_proceeds() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    for round in 0..4 {
        stage.write_plan(&format!("round-{round}"), &baking());
        // With one store, and with two.
        let (rival, store) = if round % 2 == 0 {
            (stage.start(&["deploy"]), stage.state())
        } else {
            (elsewhere(&stage), other_store(&stage))
        };
        let one = Box::pin(stage.start(&["deploy"]).ended());
        let other = Box::pin(rival.ended());
        // The winner bakes for as long as it is let: the loser ends first.
        let (loser, winner, store) = match select(one, other).await {
            Either::Left((loser, winner)) => (loser, winner, store),
            Either::Right((loser, winner)) => (loser, winner, stage.state()),
        };
        assert_eq!(loser.ends(5).error(), "held-by");
        let version = format!("round-{round}");
        until("the winner bakes", || async {
            (stage.answer().await == version).then_some(())
        })
        .await;
        let mut promote = stage.command(&["promote", &stage.service]);
        promote.env("FLIPSIDE_STATE", store);
        Running::start(promote).ended().await.ends(0);
        winner.await.ends(0);
        assert!(loser.message().contains(&holder()), "{loser:#?}");
        assert_eq!(stage.answer().await, format!("round-{round}"));
    }
    load.stop().await;
    stage.end().await;
}
