//! The verbs through a load balancer, and bad days in the middle of one: the service is served all
//! along, `status` tells the truth, and the next command goes on.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::kit::{moves, notes};
use crate::real_crash::kit::{Settings, Stage};
use crate::real_crash::running::{Ran, Running};
use crate::support::aws::{Asked, Fault, Held, KEY};
use crate::support::elb::{Elb, RULE};

/// A service behind a load balancer.
struct Scene {
    stage: Stage,
    elb: Elb,
    settings: Settings,
}

impl Scene {
    async fn empty() -> Self {
        let stage = Stage::new().await;
        let elb = Elb::at(([127, 0, 0, 1], stage.port).into()).await;
        let section = json!({"alb": {
            "rule": RULE,
            "blue": "blue",
            "green": "green",
            "reach": {"published": "127.0.0.1"},
            "healthy": "3s",
            "url": format!("http://{}", elb.at),
            "region": "eu-central-1",
            "endpoint": elb.api.endpoint(),
        }});
        Self {
            settings: Settings {
                pointer: Some(section.to_string()),
                ..Settings::default()
            },
            stage,
            elb,
        }
    }

    /// Release 2 is live, 1 stands by.
    async fn new() -> Self {
        let scene = Self::empty().await;
        scene.deploy("1").await;
        scene.deploy("2").await;
        scene
    }

    fn start(&self, words: &[&str]) -> Running {
        let mut command = self.stage.command(words);
        let nothing = self.stage.checkout().join("nothing");
        command
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env("AWS_CONFIG_FILE", &nothing)
            .env("AWS_SHARED_CREDENTIALS_FILE", &nothing)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", KEY[0])
            .env("AWS_SECRET_ACCESS_KEY", KEY[1]);
        Running::start(command)
    }

    async fn run(&self, words: &[&str]) -> Ran {
        self.start(words).ended().await
    }

    async fn verb(&self, verb: &str) -> Ran {
        self.run(&[verb, &self.stage.service, "--yes"]).await
    }

    fn start_deploy(&self, version: &str, settings: &Settings) -> Running {
        self.stage.write_plan(version, settings);
        self.start(&["deploy"])
    }

    async fn deploy(&self, version: &str) {
        let ran = self.start_deploy(version, &self.settings).ended().await;
        ran.ends(0);
        self.serves(version).await;
    }

    async fn serves(&self, version: &str) {
        assert_eq!(self.stage.answer().await, version);
    }

    async fn status(&self) -> Value {
        let ran = self.run(&["status", &self.stage.service]).await;
        ran.ends(0);
        ran.lines[0].clone()
    }

    /// The word of `status`: the live release, and whether all agree.
    async fn agrees_on(&self, release: u64) {
        let status = self.status().await;
        assert_eq!(status["live"]["release"], release, "{status:#}");
        assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    }

    /// Keeps a request waiting, and starts a rollback that comes to it.
    async fn rolls_back_until(
        &self,
        of: fn(&Asked) -> bool,
        at: fn(Held) -> Fault,
    ) -> (Running, Held) {
        let held = self.elb.api.hold(of, at);
        let running = self.start(&["rollback", &self.stage.service, "--yes"]);
        held.came().await;
        (running, held)
    }

    async fn end(self) {
        self.verb("down").await.ends(0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_released_and_rolled_back_behind_it() {
    let scene = Scene::empty().await;
    scene.deploy("1").await;
    let load = scene.stage.load().await;
    scene.deploy("2").await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    for to in ["2", "1", "2", "1"] {
        let words = ["rollback", &scene.stage.service, "--to", to, "--yes"];
        scene.run(&words).await.ends(0);
        scene.serves(to).await;
    }
    scene.deploy("3").await;
    scene.agrees_on(3).await;
    let status = scene.status().await;
    assert_eq!(status["pointer"]["kind"], "alb", "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    // What stands by is checked for its health all along, at the port that it publishes.
    for (group, of) in [("blue", &status["standby"][0]), ("green", &status["live"])] {
        let ports = scene.elb.targets(group);
        let at: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        assert_eq!(json!(at), of["endpoints"], "{status:#}");
        assert!((20_000..30_000).contains(&ports[0]), "{ports:?}");
    }
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_never_healthy_is_given_up_with_the_reasons() {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let actions = scene.elb.actions();
    scene.elb.initial(1_000);
    // Longer than any pointer may take to answer.
    let patient = Settings {
        pointer: scene
            .settings
            .pointer
            .as_ref()
            .map(|it| it.replace("3s", "12s")),
        ..scene.settings.clone()
    };
    let failed = scene.start_deploy("3", &patient);
    let registered = crate::support::backends::until("a registration", async || {
        let asked = |asked: &Asked| asked.body.starts_with("Action=RegisterTargets");
        (scene.elb.api.count(asked) > 2).then_some(())
    });
    registered.await;
    // What comes back is healthy at once.
    scene.elb.initial(0);
    let failed = failed.ended().await;
    failed.ends(3);
    let said = format!("{:?}", failed.lines);
    assert!(said.contains("Elb.RegistrationInProgress"), "{said}");
    scene.serves("2").await;
    scene.agrees_on(2).await;
    assert_eq!(scene.elb.actions(), actions);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    load.stop().await;
    scene.end().await;
}

/// The release before is named again, and what had been pushed out stands by again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_in_the_bake_registers_again_what_was_pushed_out() {
    let scene = Scene::new().await;
    let before = (scene.elb.targets("blue"), scene.elb.weights());
    let baking = Settings {
        bake: "10m",
        standby: "{ keep: 2 }",
        ..scene.settings.clone()
    };
    let load = scene.stage.load().await;
    let mut baking = scene.start_deploy("3", &baking);
    baking.intends("watch").await;
    scene.serves("3").await;
    scene.verb("abort").await.ends(0);
    baking.ended().await.ends(3);
    scene.serves("2").await;
    scene.agrees_on(2).await;
    assert_eq!((scene.elb.targets("blue"), scene.elb.weights()), before);
    load.stop().await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_between_the_write_and_its_own_look_is_gone_on_with() {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let (running, held) = scene.rolls_back_until(moves, Fault::HeldAfter).await;
    running.kill().await;
    held.go();
    scene.serves("1").await;
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.agrees_on(1).await;
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_before_the_write_has_moved_nothing() {
    let scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until(notes, Fault::HeldAfter).await;
    running.kill().await;
    held.go();
    scene.serves("2").await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.agrees_on(1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back() {
    let mut scene = Scene::new().await;
    let (running, _never) = scene.rolls_back_until(moves, Fault::Held).await;
    scene.elb.api.stop().await;
    running.ended().await.ends(6);
    scene.serves("2").await;
    let status = scene.status().await;
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    let refused = scene.start_deploy("3", &scene.settings).ended().await;
    assert!([6, 7].contains(&refused.code), "{refused:#?}");
    scene.elb.api.restart().await;
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.agrees_on(1).await;
    scene.end().await;
}

/// One stands still in a rollback, while others roll back and deploy; then it wakes.
async fn stands_still(of: fn(&Asked) -> bool, at: fn(Held) -> Fault) {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let (stood, held) = scene.rolls_back_until(of, at).await;
    stood.signal(Signal::STOP);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    scene.agrees_on(3).await;
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.serves("3").await;
    scene.agrees_on(3).await;
    load.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_before_its_write_moves_nothing() {
    stands_still(notes, Fault::HeldAfter).await;
}

/// The window of its guard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_in_its_write_puts_right_what_it_has_done() {
    stands_still(moves, Fault::Held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_told_who_has_the_service() {
    let scene = Scene::new().await;
    let held = scene.elb.api.hold(moves, Fault::Held);
    let first = scene.start_deploy("3", &scene.settings);
    held.came().await;
    scene.run(&["deploy"]).await.ends(5);
    held.go();
    first.ended().await.ends(0);
    scene.serves("3").await;
    scene.agrees_on(3).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hand_has_moved_is_shown_and_left() {
    let scene = Scene::new().await;
    scene.elb.set_weights(&[("blue", 100), ("green", 0)]);
    scene.serves("1").await;
    let status = scene.status().await;
    assert_eq!(status["pointer"]["agrees"], false, "{status:#}");
    let refused = scene.start_deploy("3", &scene.settings).ended().await;
    refused.ends(4);
    assert_eq!(refused.error(), "drifted", "{refused:#?}");
    scene.serves("1").await;
    scene.run(&["deploy", "--force"]).await.ends(0);
    scene.serves("3").await;
    scene.agrees_on(3).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stood_there_is_adopted_and_gone_back_to() {
    let scene = Scene::empty().await;
    let old = crate::support::backends::named("old").await;
    scene.elb.register("old", old);
    scene.elb.set_weights(&[("old", 3)]);
    let before = scene.elb.actions();
    let refused = scene.start_deploy("1", &scene.settings).ended().await;
    refused.ends(4);
    scene.serves("old").await;
    let load = scene.stage.load().await;
    scene.run(&["deploy", "--adopt"]).await.ends(0);
    scene.serves("1").await;
    scene.verb("rollback").await.ends(0);
    scene.serves("old").await;
    assert_eq!(scene.elb.actions(), before);
    load.stop().await;
    scene.end().await;
}
