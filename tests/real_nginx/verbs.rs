//! Bad days in the middle of a verb: the service is served all along, `status` tells the truth, and the
//! next command goes on.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use super::kit::{Config, NOTHING, Nginx};
use crate::real_crash::kit::Stage;
use crate::real_crash::running::Running;
use crate::support::backends::named;
use crate::support::held::{Held, Moment};
use crate::support::verb_scenes::{self, Kind, Stood, verb_scenes};

type Scene = verb_scenes::Scene<Nginx>;

impl Kind for Nginx {
    const NAME: &'static str = "nginx";

    async fn start(stage: &Stage, stood: Stood) -> Self {
        let stood = match stood {
            Stood::Nothing => NOTHING.into(),
            Stood::Old => format!(
                "upstream old {{ server {}; }}\nmap $host $flipside_shop {{ default old; }}\n",
                named("old").await
            ),
        };
        Self::start_with(Config {
            port: stage.port,
            stood,
            ..Config::default()
        })
        .await
    }

    fn section(&self) -> String {
        self.section()
    }

    fn hold(&self, moment: Moment) -> Held {
        self.hold("reload", moment)
    }

    async fn pretends(&self, pretends: bool) {
        self.pretends(pretends);
    }

    fn asked(&self) -> usize {
        self.asked()
    }

    async fn stop(&mut self) {
        self.stop();
    }

    async fn again(&mut self) {
        self.again().await;
    }

    async fn by_hand(&self, there: SocketAddr) {
        let text = self.text();
        let lines = text
            .lines()
            .map(|line| match line.starts_with("    server ") {
                true => format!("    server {there};\n"),
                false => format!("{line}\n"),
            });
        std::fs::write(self.include(), lines.collect::<String>()).unwrap();
        self.reload().await;
    }

    async fn table(&self) -> String {
        self.text()
    }
}

verb_scenes!(Nginx:
    a_restart_between_the_switch_and_the_first_answer_changes_nothing,
    one_that_accepts_and_does_not_apply_is_found_out,
    of_two_at_once_one_is_told_who_has_the_service,
    what_a_hand_has_moved_is_shown_and_left,
    what_stood_there_is_taken_over_and_put_back,
    labels_alone_are_shown_and_lead_nowhere_without_trust,
);

/// Keeps a command waiting, and starts a rollback that comes to it.
async fn rolls_back_until(scene: &Scene, of: &str, moment: Moment) -> (Running, Held) {
    let held = scene.kind.hold(of, moment);
    let running = scene.start(&["rollback", &scene.stage.service, "--yes"]);
    held.came().await;
    (running, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_between_the_write_and_its_own_look_is_gone_on_with() {
    let scene = Scene::new().await;
    let load = scene.kind.users();
    let before = scene.kind.workers();
    let (running, held) = rolls_back_until(&scene, "reload", Moment::After).await;
    running.kill().await;
    held.go();
    scene.kind.replaced(&before).await;
    scene.says(1).await;
    scene.serves("1").await;
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_before_nginx_has_read_the_file_has_moved_nothing() {
    let scene = Scene::new().await;
    let load = scene.kind.users();
    let (running, held) = rolls_back_until(&scene, "test", Moment::Before).await;
    running.kill().await;
    held.go();
    scene.serves("2").await;
    scene.says(2).await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    load.stop().await;
    scene.end().await;
}

/// A candidate is in the file that nginx has not read, and is given up by the next deploy: a reload by
/// somebody, or a start of nginx, must not lead to what has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_given_up_after_a_kill_is_in_no_file() {
    let mut scene = Scene::new().await;
    let load = scene.kind.users();
    // After one look ahead or two it is written.
    let leads_to_3 = || scene.kind.text().contains("_3 {");
    let mut held = scene.kind.hold("test", Moment::Before);
    let running = scene.start_deploy("3");
    held.came().await;
    while !leads_to_3() {
        held.went().await;
        held = scene.kind.hold("test", Moment::Before);
        held.came().await;
    }
    running.kill().await;
    held.went().await;
    scene.says(2).await;
    // The next one has settled what the killed one left when it looks ahead.
    let held = scene.kind.hold("test", Moment::Before);
    let next = scene.start_deploy("4");
    held.came().await;
    assert!(!leads_to_3(), "{}", scene.kind.text());
    scene.kind.reload().await;
    scene.serves("2").await;
    scene.says(2).await;
    assert_eq!(scene.status().await["pointer"]["agrees"], true);
    load.stop().await;
    scene.kind.restart().await;
    scene.serves("2").await;
    held.go();
    next.ended().await.ends(0);
    scene.serves("4").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back() {
    let mut scene = Scene::new().await;
    let (running, held) = rolls_back_until(&scene, "test", Moment::After).await;
    scene.kind.stop();
    held.go();
    let cut_short = running.ended().await;
    cut_short.ends(6);
    let said = format!("{:?}", cut_short.lines);
    assert!(said.contains("go on with: flipside resume"), "{said}");
    let status = scene.status().await;
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.kind.again().await;
    scene.serves("2").await;
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_told_before_anything_is_stood_up() {
    let mut scene = Scene::new().await;
    scene.kind.stop();
    let refused = scene.start_deploy("3").ended().await;
    refused.ends(7);
    let status = scene.status().await;
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.kind.again().await;
    let theirs = scene.kind.path().join("others/theirs.conf");
    std::fs::write(&theirs, "sevrer { }\n").unwrap();
    let refused = scene.start_deploy("3").ended().await;
    assert!(refused.talk.contains("unknown directive"), "{refused:#?}");
    let status = scene.status().await;
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    std::fs::remove_file(theirs).unwrap();
    scene.deploy("3").await;
    scene.end().await;
}

/// One stands still in a rollback at such a command, while others deploy; then it wakes.
async fn stands_still(of: &str, moment: Moment) {
    let scene = Scene::new().await;
    let load = scene.kind.users();
    let before = scene.kind.workers();
    let (stood, held) = rolls_back_until(&scene, of, moment).await;
    stood.signal(Signal::STOP);
    // The one that stands still has moved nothing, or has moved to 1.
    let to = match moment {
        Moment::Before => "1",
        Moment::After => "2",
    };
    if moment == Moment::After {
        scene.kind.replaced(&before).await;
        scene.serves("1").await;
    }
    // Nobody has told yet that 2 has served, where the one that left it stands still.
    let words = ["rollback", &scene.stage.service, "--to", to, "--force"];
    scene.run(&words).await.ends(0);
    scene.serves(to).await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.serves("3").await;
    scene.is_live(3).await;
    scene.kind.reload().await;
    scene.serves("3").await;
    scene.verb("rollback").await.ends(0);
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
