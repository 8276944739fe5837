//! Bad days in the middle of a verb, with a HAProxy whose socket is reached by a relay: as all kinds
//! meet them, and what only HAProxy has.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use super::kit::{Config, Haproxy};
use super::relay::{Relay, Trouble};
use crate::real_crash::kit::Stage;
use crate::real_crash::running::Running;
use crate::support::backends::named;
use crate::support::held::{Held, Moment};
use crate::support::verb_scenes::{Kind, Scene, Stood, verb_scenes};

/// A HAProxy, and what flipside has to pass to come to it.
struct Relayed {
    haproxy: Haproxy,
    relay: Relay,
}

impl Kind for Relayed {
    const NAME: &'static str = "haproxy";

    async fn start(stage: &Stage, stood: Stood) -> Self {
        let stood = match stood {
            Stood::Nothing => Vec::new(),
            Stood::Old => vec![
                format!("server old {} weight 7", named("old").await),
                "server oldest 127.0.0.1:1 weight 5 disabled".into(),
            ],
        };
        let haproxy = Haproxy::start_with(Config {
            port: stage.port,
            stood,
            ..Config::default()
        })
        .await;
        let relay = Relay::start(haproxy.path(), &haproxy.socket(), Trouble::None);
        Self { haproxy, relay }
    }

    fn section(&self) -> String {
        let mut section: Value = serde_json::from_str(&self.haproxy.section()).unwrap();
        section["haproxy"]["socket"] = self.relay.path.display().to_string().into();
        section.to_string()
    }

    fn hold(&self, moment: Moment) -> Held {
        self.relay.hold("set server", moment)
    }

    async fn pretends(&self, pretends: bool) {
        self.relay.does(match pretends {
            true => Trouble::Swallowed,
            false => Trouble::None,
        });
    }

    fn asked(&self) -> usize {
        self.relay.lines()
    }

    async fn stop(&mut self) {
        self.haproxy.stop();
    }

    async fn again(&mut self) {
        self.haproxy.restart().await;
    }

    async fn by_hand(&self, there: SocketAddr) {
        self.haproxy.sends_to(there).await;
    }

    async fn table(&self) -> String {
        self.haproxy.table().await
    }
}

verb_scenes!(Relayed:
    one_that_is_killed_after_its_write_is_gone_on_with,
    one_that_is_down_is_told_before_anything_is_stood_up,
    one_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back,
    one_that_accepts_and_does_not_apply_is_found_out,
    of_two_at_once_one_is_told_who_has_the_service,
    what_a_hand_has_moved_is_shown_and_left,
    what_stood_there_is_taken_over_and_put_back,
    labels_alone_are_shown_and_lead_nowhere_without_trust,
);

/// Keeps a line waiting, and starts a rollback that comes to it.
async fn rolls_back_until(
    scene: &Scene<Relayed>,
    begins: &'static str,
    moment: Moment,
) -> (Running, Held) {
    let held = scene.kind.relay.hold(begins, moment);
    let running = scene.start(&["rollback", &scene.stage.service, "--yes"]);
    held.came().await;
    (running, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_before_the_write_has_moved_nothing() {
    let scene = Scene::<Relayed>::new().await;
    let users = scene.kind.users(&scene.stage).await;
    let (running, held) = rolls_back_until(&scene, "show cli level", Moment::After).await;
    running.kill().await;
    held.go();
    scene.serves("2").await;
    scene.says(2).await;
    scene.verb("rollback").await.ends(0);
    scene.is_live(1).await;
    users.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_the_switch_and_the_first_answer_changes_nothing() {
    let mut scene = Scene::<Relayed>::new().await;
    let (running, held) = rolls_back_until(&scene, "show stat", Moment::Before).await;
    scene.kind.again().await;
    held.go();
    running.ended().await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}

/// One stands still in a rollback at such a line, while others roll back and deploy; then it wakes.
async fn stands_still(begins: &'static str, moment: Moment) {
    let scene = Scene::<Relayed>::new().await;
    let users = scene.kind.users(&scene.stage).await;
    let (stood, held) = rolls_back_until(&scene, begins, moment).await;
    stood.signal(Signal::STOP);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.is_live(3).await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    users.stop().await;
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
