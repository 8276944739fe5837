//! Bad days in the middle of a verb: the service is served all along, `status` tells the truth, and the
//! next command goes on.

use rustix::process::Signal;
use serde_json::Value;

use super::kit::{Config, Held, Moment, Nginx};
use crate::real_crash::kit::{Settings, Stage};
use crate::real_crash::running::Running;

/// A service with a standby behind an nginx.
struct Scene {
    stage: Stage,
    nginx: Nginx,
    settings: Settings,
}

impl Scene {
    /// Release 2 is live, 1 stands by.
    async fn new() -> Self {
        let stage = Stage::new().await;
        let nginx = Nginx::start_with(Config {
            port: stage.port,
            ..Config::default()
        })
        .await;
        let settings = Settings {
            pointer: Some(nginx.section()),
            ..Settings::default()
        };
        let scene = Self {
            stage,
            nginx,
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

    /// Keeps a command waiting, and starts a rollback that comes to it.
    async fn rolls_back_until(&self, of: &str, moment: Moment) -> (Running, Held) {
        let held = self.nginx.hold(of, moment);
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
    let load = scene.nginx.users();
    let before = scene.nginx.workers();
    let (running, held) = scene.rolls_back_until("reload", Moment::After).await;
    running.kill().await;
    held.go();
    scene.nginx.replaced(&before).await;
    assert_eq!(scene.status().await.0, 1);
    scene.serves("1").await;
    scene.stage.verb("resume").await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_before_nginx_has_read_the_file_has_moved_nothing() {
    let scene = Scene::new().await;
    let load = scene.nginx.users();
    let (running, held) = scene.rolls_back_until("test", Moment::Before).await;
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

/// A candidate is in the file that nginx has not read, and is given up by the next deploy: a reload by
/// somebody, or a start of nginx, must not lead to what has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_given_up_after_a_kill_is_in_no_file() {
    let mut scene = Scene::new().await;
    let load = scene.nginx.users();
    // After one look ahead or two it is written.
    let leads_to_3 = || scene.nginx.text().contains("_3 {");
    let mut held = scene.nginx.hold("test", Moment::Before);
    let running = scene.stage.start_deploy("3", &scene.settings);
    held.came().await;
    while !leads_to_3() {
        held.went().await;
        held = scene.nginx.hold("test", Moment::Before);
        held.came().await;
    }
    running.kill().await;
    held.went().await;
    assert_eq!(scene.status().await.0, 2);
    // The next one has settled what the killed one left when it looks ahead.
    let held = scene.nginx.hold("test", Moment::Before);
    let next = scene.stage.start_deploy("4", &scene.settings);
    held.came().await;
    assert!(!leads_to_3(), "{}", scene.nginx.text());
    scene.nginx.reload().await;
    scene.serves("2").await;
    assert_eq!(scene.status().await, (2.into(), true.into()));
    load.stop().await;
    scene.nginx.restart().await;
    scene.serves("2").await;
    held.go();
    next.ended().await.ends(0);
    scene.serves("4").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back() {
    let mut scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until("test", Moment::After).await;
    scene.nginx.stop();
    held.go();
    let cut_short = running.ended().await;
    cut_short.ends(6);
    let said = format!("{:?}", cut_short.lines);
    assert!(said.contains("go on with: flipside resume"), "{said}");
    let status = scene.stage.status().await;
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.nginx.again().await;
    scene.serves("2").await;
    scene.stage.verb("resume").await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_the_switch_and_the_first_answer_changes_nothing() {
    let mut scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until("reload", Moment::After).await;
    scene.nginx.restart().await;
    held.go();
    running.ended().await.ends(0);
    scene.serves("1").await;
    assert_eq!(scene.status().await, (1.into(), true.into()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_told_before_anything_is_stood_up() {
    let mut scene = Scene::new().await;
    scene.nginx.stop();
    let refused = scene.stage.start_deploy("3", &scene.settings).ended().await;
    refused.ends(7);
    let status = scene.stage.status().await;
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.nginx.again().await;
    let theirs = scene.nginx.path().join("others/theirs.conf");
    std::fs::write(&theirs, "sevrer { }\n").unwrap();
    let refused = scene.stage.start_deploy("3", &scene.settings).ended().await;
    assert!(refused.talk.contains("unknown directive"), "{refused:#?}");
    let status = scene.stage.status().await;
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    std::fs::remove_file(theirs).unwrap();
    scene.deploy("3").await;
    scene.end().await;
}

/// One stands still in a rollback at such a command, while others deploy; then it wakes.
async fn stands_still(of: &str, moment: Moment) {
    let scene = Scene::new().await;
    let load = scene.nginx.users();
    let before = scene.nginx.workers();
    let (stood, held) = scene.rolls_back_until(of, moment).await;
    stood.signal(Signal::STOP);
    // The one that stands still has moved nothing, or has moved to 1.
    let to = match moment {
        Moment::Before => "1",
        Moment::After => "2",
    };
    if moment == Moment::After {
        scene.nginx.replaced(&before).await;
        scene.serves("1").await;
    }
    // Nobody has told yet that 2 has served, where the one that left it stands still.
    let words = ["rollback", &scene.stage.service, "--to", to, "--force"];
    scene.stage.run(&words).await.ends(0);
    scene.serves(to).await;
    scene.deploy("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()));
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.serves("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()), "{late:#?}");
    scene.nginx.reload().await;
    scene.serves("3").await;
    scene.stage.verb("rollback").await.ends(0);
    scene.serves(to).await;
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_before_its_reload_moves_nothing() {
    stands_still("reload", Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_before_its_own_look_finds_that_others_have_moved_on() {
    stands_still("reload", Moment::After).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_told_who_has_the_service() {
    let scene = Scene::new().await;
    let held = scene.nginx.hold("reload", Moment::Before);
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
    let text = scene.nginx.text();
    let (record, body) = text.split_once("# sum ").unwrap();
    let body = body.replace("    server ", "    server 127.0.0.1:1 backup;\n    server ");
    std::fs::write(scene.nginx.include(), format!("{record}# sum {body}")).unwrap();
    let by_hand = scene.nginx.text();
    scene.nginx.reload().await;
    assert_eq!(scene.status().await.1, false);
    let refused = scene.stage.start_deploy("3", &scene.settings).ended().await;
    refused.ends(4);
    assert_eq!(refused.error(), "drifted", "{refused:#?}");
    assert_eq!(scene.nginx.text(), by_hand);
    scene.serves("2").await;
    scene.stage.run(&["deploy", "--force"]).await.ends(0);
    scene.serves("3").await;
    assert_eq!(scene.status().await, (3.into(), true.into()));
    scene.end().await;
}
