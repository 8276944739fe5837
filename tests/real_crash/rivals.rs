//! Two operators who want the same service.

use std::path::PathBuf;

use futures_util::future::{Either, select};

use super::kit::{Running, Stage, baking};
use crate::support::docker::until;

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
