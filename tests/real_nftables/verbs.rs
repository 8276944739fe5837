//! The verbs, and what a client outside sees of them.

use serde_json::Value;

use super::scene::{Scene, lets_through, on_a_machine};
use super::unit;
use crate::real_crash::kit::root;

#[test]
fn a_service_is_released_and_rolled_back_by_the_kernel() {
    let name = "verbs::a_service_is_released_and_rolled_back_by_the_kernel";
    on_a_machine(name, async |mut scene: Scene| {
        scene.settings.replicas = 2;
        let untouched = lets_through();
        scene.with_standby().await;
        assert_ne!(lets_through(), untouched);
        let stage = &scene.stage;
        let status = stage.status().await;
        let agrees = &status["pointer"]["agrees"];
        assert_eq!(
            (&status["live"]["release"], agrees),
            (&Value::from(2), &Value::Bool(true))
        );
        assert_eq!(status["standby"][0]["release"], 1);

        stage.verb("rollback").await.ends(0);
        scene.serves("1");
        assert_eq!(stage.status().await["live"]["release"], 1);
        // The table is gone, as by a hand: that is told, and put right by who says so.
        root(&["nft", "delete", "table", "inet", &scene.table]);
        stage.write_plan("3", &scene.settings);
        stage.run(&["deploy"]).await.ends(4);
        stage.run(&["deploy", "--force"]).await.ends(0);
        scene.serves("3");

        scene.end().await;
        assert_eq!(lets_through(), untouched);
    });
}

/// What a start of the machine takes away comes back by the unit that is printed.
#[test]
fn the_unit_that_is_printed_tells_the_kernel_again() {
    let name = "verbs::the_unit_that_is_printed_tells_the_kernel_again";
    on_a_machine(name, async |scene: Scene| {
        scene.with_standby().await;
        let open = lets_through();
        let known = scene.status().await;
        let printed = async |words: &[&str]| {
            let ran = scene.stage.run(words).await;
            let lines = &ran.ends(0).lines;
            let line = lines.iter().find(|line| line["event"] == "unit");
            line.unwrap()["unit"].as_str().unwrap().to_owned()
        };
        let of_plan = printed(&["unit", "-f", "flipside.yaml"]).await;
        let printed = printed(&["unit", &scene.stage.service]).await;
        assert_eq!(of_plan, printed);
        root(&["nft", "delete", "table", "inet", &scene.table]);
        root(&["iptables", "-F", "DOCKER-USER"]);
        assert_eq!(scene.asked(&scene.at()), None);
        for _ in 0..2 {
            unit::start(&printed);
            scene.serves("2");
            assert_eq!(scene.status().await, known);
            assert_eq!(
                lets_through().matches(&scene.table).count(),
                open.matches(&scene.table).count()
            );
        }
        scene.stage.verb("rollback").await.ends(0);
        scene.serves("1");
        scene.end().await;
    });
}

/// What is shown for preview is at its own port alone, and is there no longer than it is shown.
#[test]
fn a_release_is_shown_at_its_port_and_promoted_or_given_up() {
    let name = "verbs::a_release_is_shown_at_its_port_and_promoted_or_given_up";
    on_a_machine(name, async |mut scene: Scene| {
        scene.settings.replicas = 2;
        scene.deploy("1").await;
        let stage = &scene.stage;
        let shows = async |live: &str, preview: &str| {
            stage.write_plan(preview, &scene.settings);
            let ran = stage.run(&["deploy", "--until-preview"]).await;
            ran.ends(0);
            let how = format!("curl http://{}/", scene.at_preview());
            assert!(ran.talk.contains(&how), "{ran:#?}");
            let status = stage.status().await;
            assert_eq!(status["pointer"]["preview"], how, "{status:#}");
            assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
            for _ in 0..8 {
                scene.serves(live);
                let shown = scene.asked(&scene.at_preview());
                assert_eq!(shown.as_deref(), Some(preview));
            }
        };
        let is_over = |live: &str| {
            scene.serves(live);
            assert_eq!(scene.asked(&scene.at_preview()), None);
            let table = root(&["nft", "list", "table", "inet", &scene.table]);
            assert!(!table.contains("preview"), "{table}");
            let kept = std::fs::read_to_string(stage.state().with_extension("nft")).unwrap();
            assert!(!kept.contains("inet service preview"), "{kept}");
        };
        let load = scene.load().await;
        shows("1", "2").await;
        stage.verb("promote").await.ends(0);
        is_over("2");
        shows("2", "3").await;
        stage.verb("abort").await.ends(0);
        is_over("2");
        shows("2", "4").await;
        stage.verb("rollback").await.ends(0);
        is_over("1");
        load.stop().await;
        scene.end().await;
    });
}
