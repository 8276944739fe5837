//! Clients that keep an address for longer than they may: what they come to stays until they are gone,
//! and whoever asks is told so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::verbs::Primary;
use crate::real_crash::running::Ran;
use crate::support::verb_scenes::Scene;

/// A client with an open connection, and where that leads.
struct Late(TcpStream);

impl Late {
    async fn at(address: SocketAddr) -> Self {
        let mut late = Self(TcpStream::connect(address).await.unwrap());
        assert_eq!(late.ask().await, "1");
        late
    }

    async fn ask(&mut self) -> String {
        let ask = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
        self.0.write_all(ask).await.unwrap();
        let mut answer = [0; 512];
        let read = self.0.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        answer.rsplit('\n').next().unwrap_or_default().to_owned()
    }
}

async fn standing(scene: &Scene<Primary>) -> Vec<u64> {
    let status = scene.status().await;
    let standby = status["standby"].as_array().unwrap();
    standby
        .iter()
        .filter_map(|it| it["release"].as_u64())
        .collect()
}

/// What a deploy has kept for its clients.
pub fn kept(ran: &Ran) -> &serde_json::Value {
    let line = ran
        .lines
        .iter()
        .find(|line| line["event"] == "clients-seen");
    &line.unwrap_or_else(|| panic!("{ran:#?}"))["clients"]
}

fn pruned(ran: &Ran) -> &serde_json::Value {
    ran.ends(0);
    let line = ran.lines.iter().find(|line| line["event"] == "pruned");
    line.unwrap_or_else(|| panic!("{ran:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_late_clients_come_to_stays_until_they_are_gone() {
    let scene = Scene::<Primary>::new().await;
    let status = scene.status().await;
    let at = &status["standby"][0]["endpoints"][0];
    let at: SocketAddr = at.as_str().unwrap().parse().unwrap();
    let mut late = Late::at(at).await;

    let ran = scene.start_deploy("3").ended().await;
    ran.ends(0);
    scene.serves("3").await;
    assert_eq!(kept(&ran), &json!([{"release": 1, "connections": 1}]));
    assert_eq!(standing(&scene).await, [2, 1]);
    assert_eq!(late.ask().await, "1");

    let service = &scene.stage.service;
    let dry = scene.run(&["prune", service, "--dry-run"]).await;
    assert_eq!(pruned(&dry)["kept"], json!([1]));
    let ran = scene.verb("prune").await;
    assert_eq!(
        (&pruned(&ran)["releases"], &pruned(&ran)["kept"]),
        (&json!([]), &json!([1]))
    );
    assert_eq!(late.ask().await, "1");
    // It can be gone back to as any standby can.
    let back = ["rollback", service, "--to", "1"];
    scene.run(&back).await.ends(0);
    scene.is_live(1).await;
    scene.deploy("4").await;
    assert_eq!(late.ask().await, "1");

    drop(late);
    scene.deploy("5").await;
    assert_eq!(standing(&scene).await, [4]);
    scene.end().await;
}

/// Who will not wait for them says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_by_force_does_not_wait_for_them() {
    let scene = Scene::<Primary>::new().await;
    let status = scene.status().await;
    let at = &status["standby"][0]["endpoints"][0];
    let late = Late::at(at.as_str().unwrap().parse().unwrap()).await;
    scene.deploy("3").await;
    let force = ["prune", &scene.stage.service, "--force"];
    let dry = scene.run(&[&force[..], &["--dry-run"]].concat()).await;
    assert_eq!(pruned(&dry)["releases"], json!([1]));
    let ran = scene.run(&force).await;
    assert_eq!(pruned(&ran)["releases"], json!([1]));
    assert_eq!(standing(&scene).await, [2]);
    drop(late);
    scene.end().await;
}

/// Ctrl-C while it is looked for them is heard at once; what was to go is settled by who goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_while_it_is_looked_is_heard_at_once() {
    let scene = Scene::<Primary>::new().await;
    let mut running = scene.start_deploy("3");
    running.intends("see-clients").await;
    running.signal(Signal::INT);
    let asked = Instant::now();
    let ran = running.ended().await;
    ran.ends(6);
    assert_eq!(ran.outcome(), "interrupted", "{ran:#?}");
    // It is watched for 10 s.
    assert!(asked.elapsed() < Duration::from_secs(5), "{ran:#?}");
    scene.serves("3").await;
    assert_eq!(standing(&scene).await, [2, 1]);
    scene.verb("resume").await.ends(0);
    assert_eq!(standing(&scene).await, [2]);
    scene.end().await;
}
