//! Bad days in the middle of a verb: the service is served all along, `status` tells the truth, and the
//! next command goes on.

use rustix::process::Signal;

use super::scene::{Scene, on_a_machine};
use crate::real_crash::small::Small;
use crate::support::held::Moment;

#[test]
fn one_that_is_killed_between_the_write_and_its_own_look_is_gone_on_with() {
    let name = "hard_verbs::one_that_is_killed_between_the_write_and_its_own_look_is_gone_on_with";
    on_a_machine(name, async |scene: Scene| {
        scene.with_standby().await;
        let load = scene.load().await;
        let (running, held) = scene.rolls_back_until("write", Moment::After).await;
        running.kill().await;
        held.went().await;
        scene.serves("1");
        assert_eq!(scene.status().await.0, 1);
        scene.stage.verb("resume").await.ends(0);
        scene.serves("1");
        assert_eq!(scene.status().await, (1.into(), true.into()));
        load.stop().await;
        scene.end().await;
    });
}

/// The program that it had started for its write goes on alone, later, when others have written: the
/// kernel refuses that.
#[test]
fn one_that_is_killed_before_its_write_moves_nothing_even_late() {
    let name = "hard_verbs::one_that_is_killed_before_its_write_moves_nothing_even_late";
    on_a_machine(name, async |scene: Scene| {
        scene.with_standby().await;
        let load = scene.load().await;
        let (running, held) = scene.rolls_back_until("write", Moment::Before).await;
        running.kill().await;
        scene.serves("2");
        assert_eq!(scene.status().await.0, 2);
        scene.deploy("3").await;
        held.went().await;
        scene.no_program_is_left().await;
        scene.serves("3");
        assert_eq!(scene.status().await, (3.into(), true.into()));
        scene.stage.verb("rollback").await.ends(0);
        scene.serves("2");
        load.stop().await;
        scene.end().await;
    });
}

/// One stands still in a rollback, before or after its write, while others move the pointer and
/// deploy; then it wakes.
async fn stands_still(scene: Scene, moment: Moment) {
    scene.with_standby().await;
    let load = scene.load().await;
    let (stood, held) = scene.rolls_back_until("write", moment).await;
    stood.signal(Signal::STOP);
    // The one that stands still has moved nothing, or has moved to 1.
    let to = match moment {
        Moment::Before => "1",
        Moment::After => "2",
    };
    if moment == Moment::After {
        scene.serves("1");
    }
    // Nobody has told yet that 2 has served, where the one that left it stands still.
    let words = ["rollback", &scene.stage.service, "--to", to, "--force"];
    scene.stage.run(&words).await.ends(0);
    scene.serves(to);
    scene.deploy("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()));
    held.went().await;
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.serves("3");
    assert_eq!(scene.status().await, (3.into(), true.into()), "{late:#?}");
    scene.stage.verb("rollback").await.ends(0);
    scene.serves(to);
    load.stop().await;
    scene.end().await;
}

#[test]
fn one_that_stood_still_before_its_write_is_refused_by_the_kernel() {
    let name = "hard_verbs::one_that_stood_still_before_its_write_is_refused_by_the_kernel";
    on_a_machine(name, async |scene| {
        stands_still(scene, Moment::Before).await
    });
}

#[test]
fn one_that_stood_still_before_its_own_look_finds_that_others_have_moved_on() {
    let name =
        "hard_verbs::one_that_stood_still_before_its_own_look_finds_that_others_have_moved_on";
    on_a_machine(name, async |scene| stands_still(scene, Moment::After).await);
}

#[test]
fn of_two_at_once_one_is_told_who_has_the_service() {
    let name = "hard_verbs::of_two_at_once_one_is_told_who_has_the_service";
    on_a_machine(name, async |scene: Scene| {
        scene.with_standby().await;
        let load = scene.load().await;
        scene.stage.write_plan("3", &scene.settings);
        let held = scene.hold("write", Moment::Before);
        let first = scene.stage.start(&["deploy"]);
        held.came().await;
        let second = scene.stage.run(&["deploy"]).await;
        assert_eq!(second.ends(5).error(), "held-by");
        scene.serves("2");
        held.go();
        first.ended().await.ends(0);
        scene.serves("3");
        assert_eq!(scene.status().await, (3.into(), true.into()));
        load.stop().await;
        scene.end().await;
    });
}

/// What could not be told again after a start of the machine is not done.
#[test]
fn with_no_room_for_the_copy_nothing_moves() {
    let name = "hard_verbs::with_no_room_for_the_copy_nothing_moves";
    on_a_machine(name, async |mut scene: Scene| {
        let small = scene.dir.path().join("small");
        let disk = Small::on(small.clone(), "64k");
        scene.keep_in(&small.join("shop.nft"));
        scene.with_standby().await;
        let load = scene.load().await;
        disk.fill();
        let refused = scene.stage.verb("rollback").await;
        refused.ends(4);
        let said = &refused.talk;
        assert!(
            said.contains("shop.nft") && said.contains("No space left"),
            "{refused:#?}"
        );
        scene.serves("2");
        assert_eq!(scene.status().await, (2.into(), true.into()));
        scene.stage.write_plan("3", &scene.settings);
        let refused = scene.stage.run(&["deploy"]).await;
        refused.ends(3);
        scene.serves("2");
        let status = scene.stage.status().await;
        assert_eq!(status["candidate"], serde_json::Value::Null, "{status:#}");
        disk.free();
        scene.stage.verb("rollback").await.ends(0);
        scene.serves("1");
        scene.deploy("4").await;
        assert_eq!(scene.status().await.1, true);
        load.stop().await;
        scene.end().await;
    });
}
