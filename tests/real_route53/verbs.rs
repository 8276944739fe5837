//! The verbs through Route 53, and bad days in the middle of one: the service is served all along,
//! `status` tells the truth, and the next command goes on.

use std::net::{IpAddr, SocketAddr};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::kit::NAME;
use crate::real_crash::kit::{Settings, Stage};
use crate::real_crash::running::{Ran, Running};
use crate::support::aws::{Asked, Fault, Held, KEY};
use crate::support::backends::{named_at, until};
use crate::support::docker;
use crate::support::route53::{ID, Route53};

/// At which port releases answer.
const PORT: u16 = 8080;

/// A service in Route 53.
struct Scene {
    stage: Stage,
    server: Route53,
    settings: Settings,
}

/// A batch that moves something, and not one that only finds out.
fn is_a_move(asked: &Asked) -> bool {
    asked.changes() && asked.body.contains("<Action>CREATE</Action>")
}

impl Scene {
    async fn empty() -> Self {
        let server = Route53::start().await;
        let section = json!({"route53": {
            "zone": ID,
            "name": NAME,
            "ttl": "1s",
            "servers": [server.server.to_string()],
            "url": format!("http://{NAME}:{PORT}"),
            "endpoint": server.api.endpoint(),
        }});
        Self {
            stage: Stage::new().await,
            settings: Settings {
                pointer: Some(section.to_string()),
                ..Settings::default()
            },
            server,
        }
    }

    /// Release 2 is live, 1 stands by.
    async fn new() -> Self {
        let scene = Self::empty().await;
        scene.deploy("1").await;
        scene.deploy("2").await;
        scene
    }

    /// With credentials, or with none from anywhere.
    fn start_as(&self, key: Option<[&str; 2]>, words: &[&str]) -> Running {
        let mut command = self.stage.command(words);
        for name in ["AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        let nothing = self.stage.checkout().join("nothing");
        command
            .env("AWS_CONFIG_FILE", &nothing)
            .env("AWS_SHARED_CREDENTIALS_FILE", &nothing)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        if let Some([id, secret]) = key {
            command
                .env("AWS_ACCESS_KEY_ID", id)
                .env("AWS_SECRET_ACCESS_KEY", secret);
        }
        Running::start(command)
    }

    fn start(&self, words: &[&str]) -> Running {
        self.start_as(Some(KEY), words)
    }

    async fn run(&self, words: &[&str]) -> Ran {
        self.start(words).ended().await
    }

    async fn verb(&self, verb: &str) -> Ran {
        self.run(&[verb, &self.stage.service, "--yes"]).await
    }

    fn start_deploy(&self, version: &str) -> Running {
        self.stage.write_plan(version, &self.settings);
        self.start(&["deploy"])
    }

    async fn deploy(&self, version: &str) {
        self.start_deploy(version).ended().await.ends(0);
        self.serves(version).await;
    }

    /// Who answers at the address that users are given.
    async fn serves(&self, version: &str) {
        let shares = self.server.shares(NAME, "A");
        let [(address, _)] = shares.as_slice() else {
            panic!("{shares:?}");
        };
        let at = SocketAddr::from((address.parse::<IpAddr>().unwrap(), PORT));
        assert_eq!(docker::get(at, "/").await.unwrap().1, version);
    }

    async fn status(&self) -> Value {
        let ran = self.run(&["status", &self.stage.service]).await;
        ran.ends(0);
        ran.lines[0].clone()
    }

    /// Which release is live, by the word of `status`, with which all agree.
    async fn is_live(&self, release: u64) {
        let status = self.status().await;
        assert_eq!(status["pointer"]["kind"], "route53", "{status:#}");
        assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
        assert_eq!(status["live"]["release"], release, "{status:#}");
    }

    /// A rollback whose batch waits.
    async fn rolls_back_until(&self, fault: fn(Held) -> Fault) -> (Running, Held) {
        let held = self.server.api.hold(is_a_move, fault);
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
    scene.server.pending(2);
    scene.deploy("1").await;
    scene.deploy("2").await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    let status = scene.status().await;
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    scene.verb("down").await.ends(0);
    assert_eq!(scene.server.all(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stood_there_is_taken_over_and_put_back() {
    let scene = Scene::empty().await;
    let (host, listener) = until("an address", async || {
        let mut byte = [0; 2];
        getrandom::fill(&mut byte).unwrap();
        let host = IpAddr::from([127, 78, byte[0].clamp(1, 250), byte[1].clamp(1, 250)]);
        Some((host, TcpListener::bind((host, PORT)).await.ok()?))
    })
    .await;
    named_at(listener, "before");
    let rest = format!(
        "<TTL>2</TTL><ResourceRecords><ResourceRecord><Value>{host}</Value></ResourceRecord></ResourceRecords>"
    );
    scene.server.by_hand(NAME, "A", &rest);
    let before = scene.server.all();
    let refused = scene.start_deploy("1").ended().await;
    refused.ends(4);
    assert_eq!(scene.server.all(), before);
    scene.run(&["deploy", "--adopt"]).await.ends(0);
    scene.serves("1").await;
    let service = &scene.stage.service;
    let back = ["rollback", service, "--to", "0", "--yes"];
    scene.run(&back).await.ends(0);
    assert_eq!(scene.server.sets(NAME, "A"), before);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_between_the_write_and_its_own_look_is_gone_on_with() {
    let scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until(Fault::HeldAfter).await;
    running.kill().await;
    held.go();
    scene.serves("1").await;
    let status = scene.status().await;
    assert_eq!(
        status["pointer"]["routing"]["routes"][0]["release"], 1,
        "{status:#}"
    );
    // AWS's name for the change died with it.
    scene.server.pending(2);
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back() {
    let mut scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until(Fault::Held).await;
    let before = scene.server.all();
    scene.server.api.stop().await;
    held.go();
    let cut_short = running.ended().await;
    cut_short.ends(6);
    assert_eq!(scene.server.all(), before, "{cut_short:#?}");
    let said = format!("{:?}", cut_short.lines);
    assert!(said.contains("go on with: flipside resume"), "{said}");
    let status = scene.status().await;
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.server.api.restart().await;
    scene.serves("2").await;
    scene.verb("resume").await.ends(0);
    scene.serves("1").await;
    scene.is_live(1).await;
    scene.end().await;
}

/// Users ask name servers, which go on answering.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_down_after_the_write_is_waited_for() {
    let mut scene = Scene::new().await;
    scene.server.pending(1);
    let is_a_look: fn(&Asked) -> bool = |asked| asked.path.contains("/change/");
    let held = scene.server.api.hold(is_a_look, Fault::Held);
    let running = scene.start(&["rollback", &scene.stage.service, "--yes"]);
    held.came().await;
    scene.server.api.stop().await;
    scene.serves("1").await;
    scene.server.api.restart().await;
    running.ended().await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_down_is_told_before_anything_is_stood_up() {
    let mut scene = Scene::new().await;
    scene.server.api.stop().await;
    scene.start_deploy("3").ended().await.ends(7);
    let status = scene.status().await;
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    assert!(status["pointer"]["away"].is_string(), "{status:#}");
    scene.server.api.restart().await;
    scene.deploy("3").await;
    scene.end().await;
}

/// One stands still between its read and its write, while others roll back and deploy; then it wakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_in_its_write_moves_nothing() {
    let scene = Scene::new().await;
    let (stood, held) = scene.rolls_back_until(Fault::Held).await;
    stood.signal(Signal::STOP);
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    let there = scene.server.all();
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    assert_eq!(scene.server.all(), there);
    scene.serves("3").await;
    scene.is_live(3).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_told_who_has_the_service() {
    let scene = Scene::new().await;
    let held = scene.server.api.hold(is_a_move, Fault::Held);
    let first = scene.start_deploy("3");
    held.came().await;
    scene.run(&["deploy"]).await.ends(5);
    held.go();
    first.ended().await.ends(0);
    scene.serves("3").await;
    scene.is_live(3).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_nowhere_are_told_with_where_they_were_looked_for() {
    let scene = Scene::empty().await;
    scene.stage.write_plan("1", &scene.settings);
    let refused = scene.start_as(None, &["deploy"]).ended().await;
    assert_ne!(refused.code, 0, "{refused:#?}");
    let said = format!("{:?}", refused.lines);
    assert!(said.contains("AWS_ACCESS_KEY_ID"), "{said}");
    assert!(said.contains("aws sts get-caller-identity"), "{said}");
    assert_eq!(scene.server.api.count(|_| true), 0);
    // What AWS is told of the secret is a signature.
    let deployed = scene.run(&["deploy"]).await;
    deployed.ends(0);
    let said = format!("{:?}", deployed.lines);
    assert!(!said.contains(KEY[1]), "{said}");
    scene.end().await;
}
