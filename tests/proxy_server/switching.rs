//! The instant of the switch, and what was in flight at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::kit::{Proxy, Wire, backend, entry, eventually, free_port, named, raw, read_head};

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_no_connection_closes_across_switches_under_load() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (blue, green) = (named("blue").await, named("green").await);
    proxy.route(entry("shop", port, &[(1, 1, &[blue])])).await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (stop, served) = (stop.clone(), served.clone());
            tokio::spawn(async move {
                let mut wire = Wire::open(port).await;
                let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
                while !stop.load(Ordering::Relaxed) {
                    let answer = if served.load(Ordering::Relaxed).is_multiple_of(3) {
                        wire.send(post).await;
                        wire.answer().await
                    } else {
                        wire.get("x", "/").await
                    };
                    assert_eq!(answer.status, 200);
                    assert!(["blue", "green"].contains(&answer.body.as_str()));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut watcher = Wire::open(port).await;
    for turn in 0..40 {
        let before = served.load(Ordering::Relaxed);
        let (release, address, name) = match turn % 2 {
            0 => (2, green, "green"),
            _ => (1, blue, "blue"),
        };
        let written = proxy
            .route(entry("shop", port, &[(release, 1, &[address])]))
            .await;
        assert_eq!(
            watcher.get("x", "/").await.body,
            name,
            "at once, on an old connection"
        );
        let in_flight = written.in_flight_old.unwrap();
        assert!(in_flight <= 65, "{in_flight}");
        let generation = written.generation;
        let settled = proxy
            .control
            .settle("shop", generation, 5000, |_| {})
            .await
            .unwrap();
        assert_eq!(settled.in_flight, Some(in_flight));
        assert_eq!(settled.finished, Some(in_flight));
        assert_eq!((settled.cut, settled.kept), (Some(0), Some(0)));
        eventually("traffic goes on", || async {
            served.load(Ordering::Relaxed) > before + 64
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let stats = proxy.control.stats("shop").await.unwrap();
    let counted: u64 = stats.releases.values().map(|it| it.requests).sum();
    assert_eq!(counted, served.load(Ordering::Relaxed) + 40);
    assert!(stats.releases.values().all(|it| it.unreachable == 0));
}

/// A backend whose requests to `/wait` end when the semaphore allows it.
async fn waiting(name: &'static str, gate: Arc<Semaphore>) -> std::net::SocketAddr {
    backend(move |request| {
        let gate = gate.clone();
        async move {
            if request.uri().path() == "/wait" {
                gate.acquire().await.unwrap().forget();
            }
            Response::new(Full::from(name))
        }
    })
    .await
}

async fn in_flight(proxy: &Proxy, release: u64) -> u64 {
    proxy.control.stats("shop").await.unwrap().releases[&release].in_flight
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_finishes_or_is_cut_and_the_numbers_add_up() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let old = waiting("old", gate.clone()).await;
    let new = named("new").await;
    proxy.route(entry("shop", port, &[(1, 1, &[old])])).await;
    let mut wires = Vec::new();
    for _ in 0..5 {
        let mut wire = Wire::open(port).await;
        wire.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
        wires.push(wire);
    }
    eventually("five are in flight", || async {
        in_flight(&proxy, 1).await == 5
    })
    .await;
    let written = proxy.route(entry("shop", port, &[(2, 1, &[new])])).await;
    assert_eq!(written.in_flight_old, Some(5));
    gate.add_permits(3);
    eventually("two are left", || async { in_flight(&proxy, 1).await == 2 }).await;
    let mut told = Vec::new();
    let settling = proxy
        .control
        .settle("shop", written.generation, 50, |it| told.push(it.left));
    let settled = settling.await.unwrap();
    assert_eq!(settled.in_flight, Some(5));
    assert_eq!(settled.finished, Some(3));
    assert_eq!(settled.cut, Some(2));
    assert_eq!(told.last(), Some(&2), "{told:?}");
    let mut closed = 0;
    for wire in &mut wires {
        let answer = wire.rest_of_one().await;
        if answer.is_empty() {
            closed += 1;
        } else {
            assert!(answer.ends_with("old"), "{answer}");
        }
    }
    assert_eq!(closed, 2);
    let again = proxy
        .control
        .settle("shop", written.generation, 0, |_| {})
        .await
        .unwrap();
    assert_eq!(again, settled, "asked again, the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_does_not_cut_an_environment_that_is_back() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let old = waiting("old", gate.clone()).await;
    let new = named("new").await;
    proxy.route(entry("shop", port, &[(1, 1, &[old])])).await;
    let mut wire = Wire::open(port).await;
    wire.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("one is in flight", || async {
        in_flight(&proxy, 1).await == 1
    })
    .await;
    let forth = proxy.route(entry("shop", port, &[(2, 1, &[new])])).await;
    let back = proxy.route(entry("shop", port, &[(1, 1, &[old])])).await;
    assert_eq!(back.in_flight_old, Some(0));
    let settled = proxy
        .control
        .settle("shop", forth.generation, 50, |_| {})
        .await
        .unwrap();
    assert_eq!((settled.in_flight, settled.kept), (Some(1), Some(1)));
    assert_eq!((settled.finished, settled.cut), (Some(0), Some(0)));
    gate.add_permits(1);
    assert_eq!(wire.answer().await.body, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_forgotten_by_a_restart_and_says_so() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let (one, two) = (named("one").await, named("two").await);
    proxy.route(entry("shop", port, &[(1, 1, &[one])])).await;
    let written = proxy.route(entry("shop", port, &[(2, 1, &[two])])).await;
    proxy.restart().await;
    assert_eq!(Wire::open(port).await.get("x", "/").await.body, "two");
    let settled = proxy
        .control
        .settle("shop", written.generation, 100, |_| {})
        .await
        .unwrap();
    assert_eq!(settled.in_flight, None);
    assert_eq!((settled.finished, settled.cut), (None, None));
}

/// A backend that changes protocol and echoes.
async fn echoing() -> std::net::SocketAddr {
    let speak = |mut stream: tokio::net::TcpStream, _| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: k\r\n"), "{head}");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nhello";
        stream.write_all(head).await.unwrap();
        let mut bytes = [0; 1024];
        loop {
            match stream.read(&mut bytes).await.unwrap_or(0) {
                0 => return,
                read => stream.write_all(&bytes[..read]).await.unwrap(),
            }
        }
    };
    raw(speak).await.0
}

async fn websocket(port: u16) -> Wire {
    let mut wire = Wire::open(port).await;
    wire.send(
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: k\r\n\r\n",
    )
    .await;
    let head = wire.head().await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("a"));
    wire.until("hello").await;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_echo_are_in_flight_and_are_cut_only_at_the_limit() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let old = echoing().await;
    let new = named("new").await;
    proxy.route(entry("shop", port, &[(1, 1, &[old])])).await;
    let mut leaving = websocket(port).await;
    let mut staying = websocket(port).await;
    assert_eq!(in_flight(&proxy, 1).await, 2);
    let written = proxy.route(entry("shop", port, &[(2, 1, &[new])])).await;
    assert_eq!(written.in_flight_old, Some(2));

    for wire in [&mut leaving, &mut staying] {
        wire.send("still here").await;
        wire.until("still here").await;
    }
    drop(leaving);
    eventually("one has left", || async { in_flight(&proxy, 1).await == 1 }).await;
    let settled = proxy
        .control
        .settle("shop", written.generation, 50, |_| {})
        .await
        .unwrap();
    assert_eq!(settled.in_flight, Some(2));
    assert_eq!((settled.finished, settled.cut), (Some(1), Some(1)));
    assert_eq!(staying.more().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_end_and_closes_idle_connections() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let slow = waiting("slow", gate.clone()).await;
    proxy.route(entry("shop", port, &[(1, 1, &[slow])])).await;
    let mut idle = Wire::open(port).await;
    assert_eq!(idle.get("x", "/").await.body, "slow");
    let mut busy = Wire::open(port).await;
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("one is in flight", || async {
        in_flight(&proxy, 1).await == 1
    })
    .await;
    let server = proxy.server.take().unwrap();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    assert_eq!(idle.more().await, 0);
    gate.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!(answer.body, "slow");
    assert_eq!(answer.header("connection"), Some("close"));
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_what_is_no_longer_routed_are_closed() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (left, mut leaving) = tokio::sync::mpsc::channel(1);
    let (old, _) = raw(move |mut stream, _| {
        let left = left.clone();
        async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold";
            stream.write_all(answer).await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
            left.send(()).await.unwrap();
        }
    })
    .await;
    let new = named("new").await;
    proxy.route(entry("shop", port, &[(1, 1, &[old])])).await;
    let mut wire = Wire::open(port).await;
    assert_eq!(wire.get("x", "/").await.body, "old");
    proxy.route(entry("shop", port, &[(2, 1, &[new])])).await;
    let waited = tokio::time::timeout(Duration::from_secs(10), leaving.recv()).await;
    assert_eq!(waited.unwrap(), Some(()));
    assert_eq!(
        wire.get("x", "/").await.body,
        "new",
        "the client's own was not"
    );
}

/// A backend that is gone, with all its connections, when what is returned is dropped.
async fn mortal(name: &'static str) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let (alive, dying) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            tell.send(named(name).await).unwrap();
            let _dropped = dying.await;
        });
    });
    (told.await.unwrap(), alive)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_can_be_removed_as_soon_as_it_has_settled() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (mut address, mut alive) = mortal("up").await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered: Vec<_> = (0..16).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let clients: Vec<_> = answered
        .iter()
        .map(|answered| {
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut wire = Wire::open(port).await;
                while !stop.load(Ordering::Relaxed) {
                    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
                        .await;
                    assert_eq!(wire.answer().await.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for release in 2..22 {
        let before = alive;
        (address, alive) = mortal("up").await;
        let routed = proxy
            .route(entry("shop", port, &[(release, 1, &[address])]))
            .await;
        let settling = proxy
            .control
            .settle("shop", routed.generation, 5000, |_| {});
        assert_eq!(settling.await.unwrap().cut, Some(0));
        drop(before);
    }
    eventually("all have been answered often", || async {
        let mut answered = answered.iter();
        answered.all(|it| it.load(Ordering::Relaxed) > 20)
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let stats = proxy.control.stats("shop").await.unwrap();
    assert!(
        stats
            .releases
            .values()
            .all(|it| it.unreachable == 0 && it.in_flight == 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let options = flipside::proxy::Options {
        table: directory.path().join("table"),
        socket: directory.path().join("control.sock"),
        socket_group: None,
        identity: "run".into(),
        threads: None,
    };
    let socket = options.socket.clone();
    let running = std::thread::spawn(move || flipside::proxy::run(options));
    // The socket answers only after the signals are taken care of.
    eventually("it answers", || async {
        flipside::proxy::control::Client::connect(&socket)
            .await
            .is_ok()
    })
    .await;
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || running.join().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    ended.unwrap().unwrap().unwrap();
}
