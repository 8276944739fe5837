//! Socket or engine: which way is taken, and which proxy is believed.

use std::time::{Duration, Instant};

use flipside::pointer::proxy::{Control, Site, overview};
use flipside::pointer::{Pointer, PointerError};
use flipside::proxy::{Options, Server};

use super::kit::{Rig, Seen, named, service, to};

/// The proxy of `rig`, seen from where `directory` is the sockets' directory.
fn seen_from(rig: &Rig, directory: &std::path::Path, control: Control) -> Seen {
    let run_dir = directory.to_owned();
    let site = rig.site.clone();
    Seen(Site {
        run_dir,
        control,
        ..site
    })
}

#[tokio::test]
async fn without_a_socket_the_engine_is_the_way() {
    let rig = Rig::started().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let auto = seen_from(&rig, elsewhere.path(), Control::Auto).pointer();
    assert_eq!(auto.write(None, &to(1, named("x").await)).await, Ok(1));
    let socket = seen_from(&rig, elsewhere.path(), Control::Socket).pointer();
    let Err(PointerError::OutOfReach { why, .. }) = socket.read().await else {
        panic!("no socket, and yet an answer");
    };
    assert!(why.contains("control.sock"), "{why}");
}

#[tokio::test]
async fn another_engines_proxy_is_not_believed() {
    let rig = Rig::started().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Server::start(Options {
        table: elsewhere.path().join("table"),
        socket: elsewhere.path().join(rig.name()).join("control.sock"),
        socket_group: None,
        identity: "another".into(),
        threads: Some(1),
    });
    let other = other.unwrap();
    let socket = seen_from(&rig, elsewhere.path(), Control::Socket).pointer();
    let write = socket.write(None, &to(1, named("x").await)).await;
    let Err(PointerError::Failed { what, hint }) = write else {
        panic!("the wrong proxy was written to: {write:?}");
    };
    assert!(what.contains("is not the proxy"), "{what}");
    assert!(hint.unwrap().contains("--engine URL"));

    let name = service();
    let auto = seen_from(&rig, elsewhere.path(), Control::Auto).of(&name, 1, &[]);
    assert_eq!(auto.read().await, Ok(None));
    let direct = rig.spoken_to(Control::Socket).pointer();
    direct.write(None, &to(1, named("x").await)).await.unwrap();
    let found = overview(&rig.site).await.unwrap();
    assert_eq!(found.unwrap().services.len(), 1);
    other.stop();
}

#[tokio::test]
async fn one_session_carries_a_whole_command() {
    let rig = Rig::started().await;
    let at = named("x").await;
    let mut firsts = Vec::new();
    let mut others = Vec::new();
    for _ in 0..10 {
        let pointer = rig.spoken_to(Control::Exec).pointer();
        let began = Instant::now();
        assert_eq!(pointer.read().await, Ok(None));
        firsts.push(began.elapsed());
        let began = Instant::now();
        pointer.write(None, &to(1, at)).await.unwrap();
        others.push(began.elapsed());
    }
    let (first, other) = (median(firsts), median(others));
    println!("through the engine, median of 10: first call {first:?}, a write after it {other:?}");
    let mut directs = Vec::new();
    for _ in 0..10 {
        let pointer = rig.spoken_to(Control::Socket).pointer();
        let began = Instant::now();
        assert_eq!(pointer.read().await, Ok(None));
        directs.push(began.elapsed());
    }
    let direct = median(directs);
    println!("over the socket, median of 10: first call {direct:?}");
    // No exec is paid for twice.
    assert!(other < first, "{other:?} after {first:?}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
