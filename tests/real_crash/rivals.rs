//! Two operators who want the same service.

use super::kit::{Running, Settings, Stage, baking};

/// A deploy with a store of its own.
fn elsewhere(stage: &Stage) -> Running {
    let mut command = stage.command(&["deploy"]);
    command.env("FLIPSIDE_STATE", stage.state().with_file_name("other"));
    Running::start(command)
}

/// The words by which a lease tells this machine's user.
fn holder() -> String {
    flipside::cmd::context::author()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_deploy_is_told_who_holds_the_service() {
    let stage = Stage::live().await;
    let load = stage.load();
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
    let load = stage.load();
    let settings = Settings {
        bake: "3s",
        ..Settings::default()
    };
    for round in 0..4 {
        stage.write_plan(&format!("round-{round}"), &settings);
        // With one store, and with two.
        let rival = if round % 2 == 0 {
            stage.start(&["deploy"])
        } else {
            elsewhere(&stage)
        };
        let both = tokio::join!(stage.start(&["deploy"]).ended(), rival.ended());
        let mut both = [both.0, both.1];
        both.sort_by_key(|ran| ran.code);
        let [winner, loser] = both;
        winner.ends(0);
        assert_eq!(loser.ends(5).error(), "held-by");
        assert!(loser.message().contains(&holder()), "{loser:#?}");
        assert_eq!(stage.answer().await, format!("round-{round}"));
    }
    load.stop().await;
    stage.end().await;
}
