//! Names that are given the addresses of slots, from where the proxy forwards: the same two addresses
//! for every release.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tokio::net::TcpStream;

use super::kit::{NAME, Server};
use crate::real_crash::kit::{Settings, Stage, free_port};
use crate::support::docker;

/// One service behind a name, and the addresses of its slots.
struct Scene {
    server: Server,
    stage: Stage,
    slots: [SocketAddr; 2],
}

impl Scene {
    async fn new() -> Self {
        let port = free_port();
        let at = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        Self {
            server: Server::start().await,
            stage: Stage::new().await,
            slots: [at(2), at(3)],
        }
    }

    fn settings(&self) -> Settings {
        let [blue, green] = self.slots;
        let mut said: serde_json::Value =
            serde_json::from_str(&super::section(&self.server, blue.port())).unwrap();
        said["dns"]["reach"] =
            serde_json::json!({"slot": {"blue": blue.to_string(), "green": green.to_string()}});
        Settings {
            standby: "{ keep: 2 }",
            pointer: Some(said.to_string()),
            ..Settings::default()
        }
    }

    async fn deploy(&self, version: &str) {
        let ran = self.stage.start_deploy(version, &self.settings());
        ran.ended().await.ends(0);
    }

    /// The slot that the name is given.
    fn named(&self) -> SocketAddr {
        let address = self.server.dig(NAME, "A").concat();
        (address.parse::<Ipv4Addr>().unwrap(), self.slots[0].port()).into()
    }

    /// What those hear who ask the name now.
    async fn answer(&self) -> String {
        self.at(self.named()).await
    }

    async fn at(&self, slot: SocketAddr) -> String {
        docker::get(slot, "/").await.unwrap().1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_take_turns_on_two_addresses() {
    let scene = Scene::new().await;
    let [blue, green] = scene.slots;
    scene.deploy("1").await;
    assert_eq!(
        (scene.named(), scene.answer().await),
        (blue, "1".to_owned())
    );
    // One who remembers the old address for longer than he may.
    let late = Stage::load_at(blue).await;
    scene.deploy("2").await;
    assert_eq!(
        (scene.named(), scene.answer().await),
        (green, "2".to_owned())
    );
    assert_eq!(scene.at(blue).await, "1");
    late.stop().await;

    let users = Stage::load_at(green).await;
    scene.deploy("3").await;
    assert_eq!(
        (scene.named(), scene.answer().await),
        (blue, "3".to_owned())
    );
    scene.stage.verb("rollback").await.ends(0);
    assert_eq!(
        (scene.named(), scene.answer().await),
        (green, "2".to_owned())
    );
    users.stop().await;

    // It hangs on no slot any more: the way back gives it one first.
    let back = ["rollback", &scene.stage.service, "--to", "1"];
    scene.stage.run(&back).await.ends(0);
    assert_eq!(
        (scene.named(), scene.answer().await),
        (blue, "1".to_owned())
    );
    let status = scene.stage.status().await;
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 1, "{status:#}");

    scene.stage.verb("down").await.ends(0);
    assert_eq!(scene.server.dig(NAME, "A"), [""; 0]);
    for slot in scene.slots {
        // Nobody listens there any more.
        drop(TcpListener::bind(slot).unwrap());
    }
}

/// Whoever can write labels names addresses: without a journal nobody is asked anything there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_journal_the_labels_lead_back_where_they_are_trusted() {
    let scene = Scene::new().await;
    scene.deploy("1").await;
    scene.deploy("2").await;
    scene.stage.lose_journal();
    let service = &scene.stage.service;
    scene.stage.run(&["rollback", service]).await.ends(4);
    assert_eq!(scene.answer().await, "2");
    let trusting = ["rollback", service, "--trust-labels"];
    scene.stage.run(&trusting).await.ends(0);
    assert_eq!(
        (scene.named(), scene.answer().await),
        (scene.slots[0], "1".to_owned())
    );
    let down = ["down", service, "--yes", "--trust-labels"];
    scene.stage.run(&down).await.ends(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_somebody_has_is_told_before_anything_is_touched() {
    let scene = Scene::new().await;
    let held = TcpListener::bind(scene.slots[1]).unwrap();
    let ran = scene.stage.start_deploy("1", &scene.settings());
    let ran = ran.ended().await;
    assert_ne!(ran.code, 0, "{ran:#?}");
    let said = format!("{ran:#?}");
    assert!(said.contains(&scene.slots[1].to_string()), "{said}");
    assert_eq!(scene.server.dig(NAME, "A"), [""; 0]);
    drop(held);
    scene.deploy("1").await;
    assert_eq!(scene.answer().await, "1");
    scene.stage.verb("down").await.ends(0);
}

/// A connection through a slot that is given to another release stays with what it met, and keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_still_connected_through_a_slot_keeps_what_has_left_it() {
    let scene = Scene::new().await;
    let settings = Settings {
        standby: "{ keep: 1 }",
        ..scene.settings()
    };
    let deploy = async |version: &str| {
        let ran = scene.stage.start_deploy(version, &settings).ended().await;
        ran.ends(0);
        ran
    };
    deploy("1").await;
    let _late = TcpStream::connect(scene.slots[0]).await.unwrap();
    deploy("2").await;
    let ran = deploy("3").await;
    let one = serde_json::json!([{"release": 1, "connections": 1}]);
    assert_eq!(super::late::kept(&ran), &one);
    scene.stage.verb("down").await.ends(0);
}
