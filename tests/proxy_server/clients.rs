//! Clients that are slow, silent, too many or gone.

use std::sync::Arc;
use std::time::Duration;

use flipside::proxy::Limits;
use flipside::proxy::control::Client;
use http_body_util::Full;
use hyper::Response;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::kit::{
    Outside, Proxy, Wire, backend, entry, eventually, free_port, named, raw, read_head,
};

const LARGE: usize = 16 * 1024 * 1024;

/// A backend with one large answer.
async fn large() -> std::net::SocketAddr {
    backend(|_| async { Response::new(Full::from(vec![b'x'; LARGE])) }).await
}

async fn in_flight(proxy: &Proxy) -> u64 {
    proxy.control.stats("shop").await.unwrap().releases[&1].in_flight
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_the_end_of_its_answer_however_long_it_takes() {
    let limits = Limits {
        idle: Duration::from_millis(200),
        ..Limits::default()
    };
    let proxy = Proxy::start_with(limits).await;
    let port = free_port();
    let large = large().await;
    proxy.route(entry("shop", port, &[(1, 1, &[large])])).await;
    let mut wire = Wire::open_narrow(port).await;
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(wire.head().await.status, 200);
    // From here on all of the rest is in buffers, and the request has been counted out.
    while in_flight(&proxy).await > 0 {
        assert!(wire.take(64 * 1024).await > 0);
    }
    for _ in 0..30 {
        assert!(wire.take(1024).await > 0, "cut after {}", wire.taken);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while wire.take(1024 * 1024).await > 0 {}
    assert_eq!(wire.taken, LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_but_one_whose_backend_pauses_is_not() {
    let limits = Limits {
        take: Duration::from_millis(500),
        ..Limits::default()
    };
    let proxy = Proxy::start_with(limits).await;
    let port = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let go_on = gate.clone();
    let (pausing, _) = raw(move |mut stream, _| {
        let gate = gate.clone();
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\none ";
            stream.write_all(head).await.unwrap();
            gate.acquire().await.unwrap().forget();
            stream.write_all(b"two\n").await.unwrap();
        }
    })
    .await;
    let large = large().await;
    let mut events = entry("events", port, &[(1, 1, &[pausing])]);
    events.hosts = vec!["events.example".into()];
    proxy.route(events).await;
    proxy.route(entry("shop", port, &[(1, 1, &[large])])).await;

    let mut patient = Wire::open(port).await;
    patient
        .send("GET / HTTP/1.1\r\nHost: events.example\r\n\r\n")
        .await;
    patient.until("one ").await;
    let mut stuck = Wire::open(port).await;
    stuck.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("it is on its way", || async {
        in_flight(&proxy).await == 1
    })
    .await;
    eventually("it is given up", || async { in_flight(&proxy).await == 0 }).await;
    stuck.head().await;
    while stuck.take(1024 * 1024).await > 0 {}
    assert!(stuck.taken < LARGE);
    go_on.add_permits(1);
    patient.until("two\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_lock_nobody_out() {
    let proxy = Outside::start(112);
    let control = proxy.control().await;
    let port = free_port();
    let shop = named("shop").await;
    let wanted = entry("shop", port, &[(1, 1, &[shop])]);
    control.write(None, wanted).await.unwrap();
    let mut resting = Wire::open(port).await;
    assert_eq!(resting.get("x", "/").await.body, "shop");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Wire::open(port).await);
    }
    assert_eq!(Wire::open(port).await.get("x", "/").await.body, "shop");
    let asked = control.ask("shop", "/", false, 10_000).await.unwrap();
    assert_eq!((asked.status, asked.release), (200, Some(1)));
    assert_eq!(resting.more().await, 0, "the longest at rest made room");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_backends_leave_file_descriptors_to_the_control_plane() {
    let proxy = Outside::start(112);
    let control = proxy.control().await;
    let port = free_port();
    let hosts = [
        "a.example",
        "b.example",
        "c.example",
        "d.example",
        "e.example",
    ];
    let gate = Arc::new(Semaphore::new(0));
    for host in hosts {
        let gate = gate.clone();
        let waiting = backend(move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Response::new(Full::from("done"))
            }
        });
        let mut wanted = entry(&host[..1], port, &[(1, 1, &[waiting.await])]);
        wanted.hosts = vec![host.into()];
        control.write(None, wanted).await.unwrap();
    }
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(Wire::open(port).await);
    }
    for host in hosts {
        let request = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        for wire in &mut wires {
            wire.send(&request).await;
        }
        eventually("all are in flight", || async {
            let stats = control.stats(&host[..1]).await.unwrap();
            stats.releases[&1].in_flight == 20
        })
        .await;
        gate.add_permits(20);
        for wire in &mut wires {
            assert_eq!(wire.answer().await.body, "done");
        }
    }
    let fresh = Client::connect(&proxy.socket()).await.unwrap();
    assert_eq!(fresh.hello().await.unwrap().identity, "outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_noticed_even_if_it_had_sent_more_than_its_request() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (silent, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    proxy.route(entry("shop", port, &[(1, 1, &[silent])])).await;
    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n").await;
    eventually("it is on its way", || async {
        in_flight(&proxy).await == 1
    })
    .await;
    let socket = socket2::SockRef::from(&wire.stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(wire);
    eventually("it is noticed", || async { in_flight(&proxy).await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cut_off_from_further_ones_by_a_half_close_is_answered() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    proxy.route(entry("shop", port, &[(1, 1, &[shop])])).await;
    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.answer().await.body, "shop");
}

/// Without `--threads`, each core has one worker: a runtime on one thread. Another takes orders.
#[tokio::test]
async fn one_thread_per_core_carries_traffic_unless_told_otherwise() {
    let proxy = Outside::start_by_default();
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut expected: Vec<_> = (0..cores).map(|index| format!("proxy-{index}")).collect();
    expected.push("proxy-control".into());
    expected.sort_unstable();
    // A thread that has begun has its starter's name until it sets its own.
    eventually(&format!("{expected:?}"), || async {
        let mut threads = proxy.threads();
        threads.sort_unstable();
        // A runtime of many threads would show as threads of tokio's own.
        threads.retain(|name| name.starts_with("proxy-") || name.starts_with("tokio"));
        threads == expected
    })
    .await;
}
