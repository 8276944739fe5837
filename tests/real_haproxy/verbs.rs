//! Bad days in the middle of a verb: the service is served all along, `status` tells the truth, and the
//! next command goes on.

use rustix::process::Signal;
use serde_json::Value;

use super::kit::{Config, Haproxy};
use super::relay::{Held, Moment, Relay, Trouble};
use crate::real_crash::kit::{Settings, Stage};
use crate::real_crash::running::Running;

/// A service with a standby behind a HAProxy, whose socket is reached by a relay.
struct Scene {
    stage: Stage,
    haproxy: Haproxy,
    relay: Relay,
    settings: Settings,
}

impl Scene {
    /// Release 2 is live, 1 stands by.
    async fn new() -> Self {
        let stage = Stage::new().await;
        let haproxy = Haproxy::start_with(Config {
            port: stage.port,
            ..Config::default()
        })
        .await;
        let relay = Relay::start(haproxy.path(), &haproxy.socket(), Trouble::None);
        let mut section: Value = serde_json::from_str(&haproxy.section()).unwrap();
        section["haproxy"]["socket"] = relay.path.display().to_string().into();
        let settings = Settings {
            pointer: Some(section.to_string()),
            ..Settings::default()
        };
        let scene = Self {
            stage,
            haproxy,
            relay,
            settings,
        };
        scene.deploy("1").await;
        scene.deploy("2").await;
        scene
    }

    async fn deploy(&self, version: &str) {
        let ran = self
            .stage
            .start_deploy(version, &self.settings)
            .ended()
            .await;
        ran.ends(0);
        self.serves(version).await;
    }

    async fn serves(&self, version: &str) {
        assert_eq!(self.stage.answer().await, version);
    }

    /// The word of `status`: the live release, and whether all agree.
    async fn status(&self) -> (Value, Value) {
        let status = self.stage.status().await;
        let live = status["pointer"]["routing"]["routes"].as_array();
        let live = live.and_then(|routes| routes.iter().find(|route| route["weight"] != 0));
        let live = live.map_or(Value::Null, |route| route["release"].clone());
        (live, status["pointer"]["agrees"].clone())
    }

    /// Keeps a line waiting, and starts a rollback that comes to it.
    async fn rolls_back_until(&self, begins: &'static str, moment: Moment) -> (Running, Held) {
        let held = self.relay.hold(begins, moment);
        let words = ["rollback", &self.stage.service, "--yes"];
        let running = self.stage.start(&words);
        held.came().await;
        (running, held)
    }

    async fn end(self) {
        self.stage.verb("down").await.ends(0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_between_the_write_and_its_own_look_is_gone_on_with() {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let (running, held) = scene.rolls_back_until("set server", Moment::After).await;
    running.kill().await;
    held.go();
    scene.serves("1").await;
    assert_eq!(scene.status().await.0, 1);
    scene.stage.verb("resume").await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_before_the_write_has_moved_nothing() {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let (running, held) = scene
        .rolls_back_until("show cli level", Moment::After)
        .await;
    running.kill().await;
    held.go();
    scene.serves("2").await;
    assert_eq!(scene.status().await.0, 2);
    scene.stage.verb("rollback").await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back() {
    let mut scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until("set server", Moment::Before).await;
    scene.haproxy.stop();
    held.go();
    let cut_short = running.ended().await;
    cut_short.ends(6);
    let said = format!("{:?}", cut_short.lines);
    assert!(said.contains("go on with: flipside resume"), "{said}");
    let status = scene.stage.status().await;
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.haproxy.restart().await;
    scene.serves("2").await;
    scene.stage.verb("resume").await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_the_switch_and_the_first_answer_changes_nothing() {
    let mut scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until("show stat", Moment::Before).await;
    scene.haproxy.restart().await;
    held.go();
    running.ended().await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_down_is_told_before_anything_is_stood_up() {
    let mut scene = Scene::new().await;
    scene.haproxy.stop();
    let refused = scene.stage.start_deploy("3", &scene.settings).ended().await;
    refused.ends(7);
    let status = scene.stage.status().await;
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.haproxy.restart().await;
    scene.deploy("3").await;
    scene.end().await;
}

/// One stands still in a rollback at such a line, while others roll back and deploy; then it wakes.
async fn stands_still(begins: &'static str, moment: Moment) {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let (stood, held) = scene.rolls_back_until(begins, moment).await;
    stood.signal(Signal::STOP);
    scene.stage.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()));
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.serves("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()), "{late:#?}");
    scene.stage.verb("rollback").await.ends(0);
    scene.serves("1").await;
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_before_its_look_moves_nothing() {
    stands_still("show cli level", Moment::After).await;
}

/// The window of its guard: what was read before it stood still is not true any more. What it has
/// done by then it finds out, and puts right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_in_its_write_puts_right_what_it_has_done() {
    stands_still("set server", Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_told_who_has_the_service() {
    let scene = Scene::new().await;
    let held = scene.relay.hold("set server", Moment::Before);
    let first = scene.stage.start_deploy("3", &scene.settings);
    held.came().await;
    let second = scene.stage.run(&["deploy"]).await;
    second.ends(5);
    held.go();
    first.ended().await.ends(0);
    scene.serves("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()));
    scene.end().await;
}

/// What a hand has moved is shown with what it should be, and left until somebody says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hand_has_moved_is_shown_and_left() {
    let scene = Scene::new().await;
    for line in ["blue1 state ready", "green1 state maint"] {
        scene.haproxy.says(&format!("set server shop/{line}")).await;
    }
    scene.serves("1").await;
    assert_eq!(scene.status().await.1, false);
    let refused = scene.stage.start_deploy("3", &scene.settings).ended().await;
    refused.ends(4);
    assert_eq!(refused.error(), "drifted", "{refused:#?}");
    scene.serves("1").await;
    scene.stage.run(&["deploy", "--force"]).await.ends(0);
    scene.serves("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()));
    scene.end().await;
}
