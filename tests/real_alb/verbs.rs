//! The verbs through a load balancer, and bad days in the middle of one: the service is served all
//! along, `status` tells the truth, and the next command goes on.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::json;
use tokio::process::Command;

use super::kit::{moves, notes};
use crate::real_crash::kit::{Settings, Stage};
use crate::real_crash::running::Running;
use crate::support::aws::{self, Asked, Fault, Held as Gate};
use crate::support::backends::named;
use crate::support::elb::{Elb, RULE};
use crate::support::held::{Held, Moment};
use crate::support::verb_scenes::{self, Kind, Stood, verb_scenes};

type Scene = verb_scenes::Scene<Elb>;

impl Kind for Elb {
    const NAME: &'static str = "alb";

    async fn start(stage: &Stage, stood: Stood) -> Self {
        let elb = Self::at(([127, 0, 0, 1], stage.port).into()).await;
        if stood == Stood::Old {
            elb.register("old", named("old").await);
            elb.set_weights(&[("old", 3)]);
        }
        elb
    }

    fn section(&self) -> String {
        let section = json!({"alb": {
            "rule": RULE,
            "blue": "blue",
            "green": "green",
            "reach": {"published": "127.0.0.1"},
            "healthy": "3s",
            "preview_header": "X-Preview: yes",
            "url": format!("http://{}", self.at),
            "region": "eu-central-1",
            "endpoint": self.api.endpoint(),
        }});
        section.to_string()
    }

    fn hold(&self, moment: Moment) -> Held {
        Held::Gate(self.api.hold(
            moves,
            match moment {
                Moment::Before => Fault::Held,
                Moment::After => Fault::HeldAfter,
            },
        ))
    }

    async fn pretends(&self, pretends: bool) {
        let taken = "<?xml version=\"1.0\"?>\n<ModifyRuleResponse><ModifyRuleResult><Rules/>\
                     </ModifyRuleResult></ModifyRuleResponse>";
        self.api.heals();
        if pretends {
            let says = Fault::Says((200, taken.into()));
            self.api.fault(moves, usize::MAX, says);
        }
    }

    fn asked(&self) -> usize {
        self.api.count(|_| true)
    }

    async fn stop(&mut self) {
        self.api.stop().await;
    }

    async fn again(&mut self) {
        self.api.restart().await;
    }

    /// To the release that is not live: the only other one that is registered.
    async fn by_hand(&self, _: SocketAddr) {
        let weights = self.weights();
        let turned = weights.iter().map(|(group, weight)| {
            let group = if group.contains("blue") {
                "blue"
            } else {
                "green"
            };
            (group, if *weight > 0 { 0 } else { 100 })
        });
        self.set_weights(&turned.collect::<Vec<_>>());
    }

    async fn table(&self) -> String {
        format!("{:?}", self.actions())
    }

    fn dress(&self, command: &mut Command) {
        aws::dress(command);
    }
}

verb_scenes!(Elb:
    one_that_is_killed_after_its_write_is_gone_on_with,
    of_two_at_once_one_is_told_who_has_the_service,
    what_a_hand_has_moved_is_shown_and_left,
    what_stood_there_is_taken_over_and_put_back,
    a_release_is_shown_to_those_who_ask_and_to_nobody_else,
    labels_alone_are_shown_and_lead_nowhere_without_trust,
);

/// Keeps a request waiting, and starts a rollback that comes to it.
async fn rolls_back_until(
    scene: &Scene,
    of: fn(&Asked) -> bool,
    at: fn(Gate) -> Fault,
) -> (Running, Gate) {
    let held = scene.kind.api.hold(of, at);
    let running = scene.start(&["rollback", &scene.stage.service, "--yes"]);
    held.came().await;
    (running, held)
}

/// Starts the deploy of a version by another plan.
fn start_deploy(scene: &Scene, version: &str, settings: &Settings) -> Running {
    scene.stage.write_plan(version, settings);
    scene.start(&["deploy"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_released_and_rolled_back_behind_it() {
    let scene = Scene::before(Stood::Nothing).await;
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
    scene.is_live(3).await;
    let status = scene.status().await;
    assert_eq!(status["pointer"]["kind"], "alb", "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    // What stands by is checked for its health all along, at the port that it publishes.
    for (group, of) in [("blue", &status["standby"][0]), ("green", &status["live"])] {
        let ports = scene.kind.targets(group);
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
    let actions = scene.kind.actions();
    scene.kind.initial(1_000);
    // Longer than any pointer may take to answer.
    let patient = Settings {
        pointer: scene
            .settings
            .pointer
            .as_ref()
            .map(|it| it.replace("3s", "12s")),
        ..scene.settings.clone()
    };
    let failed = start_deploy(&scene, "3", &patient);
    let registered = crate::support::backends::until("a registration", async || {
        let asked = |asked: &Asked| asked.body.starts_with("Action=RegisterTargets");
        (scene.kind.api.count(asked) > 2).then_some(())
    });
    registered.await;
    // What comes back is healthy at once.
    scene.kind.initial(0);
    let failed = failed.ended().await;
    failed.ends(3);
    let said = format!("{:?}", failed.lines);
    assert!(said.contains("Elb.RegistrationInProgress"), "{said}");
    scene.serves("2").await;
    scene.is_live(2).await;
    assert_eq!(scene.kind.actions(), actions);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    load.stop().await;
    scene.end().await;
}

/// The release before is named again, and what had been pushed out stands by again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_in_the_bake_registers_again_what_was_pushed_out() {
    let scene = Scene::new().await;
    let before = (scene.kind.targets("blue"), scene.kind.weights());
    let baking = Settings {
        bake: "10m",
        standby: "{ keep: 2 }",
        ..scene.settings.clone()
    };
    let load = scene.stage.load().await;
    let mut baking = start_deploy(&scene, "3", &baking);
    baking.intends("watch").await;
    scene.serves("3").await;
    scene.verb("abort").await.ends(0);
    baking.ended().await.ends(3);
    scene.serves("2").await;
    scene.is_live(2).await;
    assert_eq!((scene.kind.targets("blue"), scene.kind.weights()), before);
    load.stop().await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.end().await;
}

/// Its rule goes, and what had been pushed out stands by again, healthy, before the verb is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_of_a_preview_registers_again_what_was_pushed_out() {
    let scene = Scene::new().await;
    let before = (scene.kind.targets("blue"), scene.kind.weights());
    let load = scene.stage.load().await;
    scene.stage.write_plan("3", &scene.settings);
    scene.run(&["deploy", "--until-preview"]).await.ends(0);
    assert_eq!(scene.kind.beside().len(), 1);
    assert_ne!(scene.kind.targets("blue"), before.0);
    scene.verb("abort").await.ends(0);
    assert!(scene.kind.beside().is_empty());
    assert_eq!((scene.kind.targets("blue"), scene.kind.weights()), before);
    scene.is_live(2).await;
    // Going back is one request: nothing is waited for.
    scene.kind.initial(1_000);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.kind.initial(0);
    load.stop().await;
    scene.end().await;
}

/// What was begun is taken back by the next command, standby and all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_that_is_killed_at_its_rule_is_given_up() {
    for at in [Fault::Held, Fault::HeldAfter] {
        let scene = Scene::new().await;
        let before = (scene.kind.targets("blue"), scene.kind.weights());
        let of = |asked: &Asked| asked.body.starts_with("Action=CreateRule");
        let held = scene.kind.api.hold(of, at);
        scene.stage.write_plan("3", &scene.settings);
        let running = scene.start(&["deploy", "--until-preview"]);
        held.came().await;
        running.kill().await;
        scene.serves("2").await;
        scene.verb("abort").await.ends(0);
        assert!(scene.kind.beside().is_empty());
        assert_eq!((scene.kind.targets("blue"), scene.kind.weights()), before);
        scene.is_live(2).await;
        scene.verb("rollback").await.ends(0);
        scene.is_live(1).await;
        scene.end().await;
    }
}

/// Its rule is gone already, and its slot not given back yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_of_a_preview_that_is_killed_is_gone_on_with() {
    let scene = Scene::new().await;
    let before = (scene.kind.targets("blue"), scene.kind.weights());
    scene.stage.write_plan("3", &scene.settings);
    scene.run(&["deploy", "--until-preview"]).await.ends(0);
    let of = |asked: &Asked| asked.body.starts_with("Action=DeleteRule");
    let held = scene.kind.api.hold(of, Fault::HeldAfter);
    let running = scene.start(&["abort", &scene.stage.service, "--yes"]);
    held.came().await;
    running.kill().await;
    assert!(scene.kind.beside().is_empty());
    assert_ne!(scene.kind.targets("blue"), before.0);
    scene.serves("2").await;
    scene.verb("abort").await.ends(0);
    assert_eq!((scene.kind.targets("blue"), scene.kind.weights()), before);
    scene.is_live(2).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_before_the_write_has_moved_nothing() {
    let scene = Scene::new().await;
    let (running, held) = rolls_back_until(&scene, notes, Fault::HeldAfter).await;
    running.kill().await;
    held.go();
    scene.serves("2").await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back() {
    let mut scene = Scene::new().await;
    let (running, _never) = rolls_back_until(&scene, moves, Fault::Held).await;
    scene.kind.api.stop().await;
    running.ended().await.ends(6);
    scene.serves("2").await;
    let status = scene.status().await;
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    let refused = scene.start_deploy("3").ended().await;
    assert!([6, 7].contains(&refused.code), "{refused:#?}");
    scene.kind.api.restart().await;
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    scene.end().await;
}

/// One stands still in a rollback, while others roll back and deploy; then it wakes.
async fn stands_still(of: fn(&Asked) -> bool, at: fn(Gate) -> Fault) {
    let scene = Scene::new().await;
    let load = scene.stage.load().await;
    let (stood, held) = rolls_back_until(&scene, of, at).await;
    stood.signal(Signal::STOP);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.serves("3").await;
    scene.is_live(3).await;
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
