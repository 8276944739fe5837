//! Backends that close, die or lie, and what may be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flipside::proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::{Proxy, Wire, entry, eventually, free_port, named, raw, read_head};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A backend that answers the first request of a connection, and reads the second only to close.
async fn forgetful(requests: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let speak = move |mut stream: tokio::net::TcpStream, _| {
        let requests = requests.clone();
        async move {
            for wanted in [true, false] {
                if read_head(&mut stream).await.is_empty() {
                    return;
                }
                requests.fetch_add(1, Ordering::SeqCst);
                if wanted {
                    stream.write_all(OK).await.unwrap();
                }
            }
        }
    };
    raw(speak).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_on_a_connection_that_had_gone_stale_is_sent_again() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let requests = Arc::new(AtomicUsize::new(0));
    let address = forgetful(requests.clone()).await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    for _ in 0..5 {
        let answer = wire.get("x", "/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
    assert_eq!(
        requests.load(Ordering::SeqCst),
        9,
        "every reuse was tried and lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_may_have_been_read_is_not_sent_again() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let requests = Arc::new(AtomicUsize::new(0));
    let address = forgetful(requests.clone()).await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    wire.send(post).await;
    assert_eq!(wire.answer().await.status, 200);
    wire.send(post).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.body, "the replica closed without an answer\n");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closed_while_idle_costs_no_request_not_even_a_post() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (tell, mut closed) = tokio::sync::mpsc::channel(1);
    let (address, taken) = raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            stream.shutdown().await.unwrap();
            tell.send(()).await.unwrap();
        }
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    for round in 1..=5 {
        wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(wire.answer().await.status, 200);
        assert_eq!(taken.load(Ordering::SeqCst), round);
        // On loopback the end of the connection has then arrived.
        closed.recv().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_lost_by_one_replica_goes_to_another() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (dying, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
    })
    .await;
    let there = named("there").await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[dying, there])]))
        .await;
    let mut wire = Wire::open(port).await;
    for _ in 0..6 {
        assert_eq!(wire.get("x", "/").await.body, "there");
    }
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .await;
    wire.answer().await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .await;
    wire.answer().await;
    let stats = proxy.control.stats("shop").await.unwrap();
    assert_eq!(
        stats.releases[&1].unreachable, 1,
        "one of two went to the dying one"
    );
}

/// A proxy, and a client of it, whose backend breaks its chunked answer off.
pub async fn before_an_answer_that_breaks_off() -> (Proxy, Wire) {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (address, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        let part = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
        stream.write_all(part).await.unwrap();
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let wire = Wire::open(port).await;
    (proxy, wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let (proxy, mut wire) = before_an_answer_that_breaks_off().await;
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let seen = wire.rest().await;
    assert!(seen.contains("part"), "{seen}");
    assert!(!seen.contains("0\r\n\r\n"), "{seen}");
    eventually("nothing is in flight", || async {
        proxy.control.stats("shop").await.unwrap().releases[&1].in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_a_backend_is_a_bad_gateway() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (address, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"SSH-2.0-x\r\n\r\n").await.unwrap();
        let _until_closed = stream.read(&mut [0; 8]).await;
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    assert_eq!(Wire::open(port).await.get("x", "/").await.status, 502);
    let unasked = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let _until_closed = stream.read(&mut [0; 8]).await;
    });
    let (address, _) = unasked.await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    assert_eq!(Wire::open(port).await.get("x", "/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_environment_went_away_before_it_was_reached_goes_to_the_new_one() {
    let proxy = Arc::new(Proxy::start().await);
    let port = free_port();
    let new = named("new").await;
    // A backlog of one that nobody takes from: connecting there hangs until its limit.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let full = full.listen(0).unwrap();
    let hanging = full.local_addr().unwrap();
    let _first = tokio::net::TcpStream::connect(hanging).await.unwrap();
    proxy
        .route(entry("shop", port, &[(1, 1, &[hanging])]))
        .await;
    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("it is on its way", || async {
        proxy.control.stats("shop").await.unwrap().releases[&1].in_flight == 1
    })
    .await;
    proxy.route(entry("shop", port, &[(2, 1, &[new])])).await;
    assert_eq!(wire.answer().await.body, "new");
}

fn short() -> Limits {
    Limits {
        answer: Duration::from_millis(1500),
        head: Duration::from_millis(400),
        idle: Duration::from_millis(1600),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_answer_is_given_up_but_a_slow_upload_is_not() {
    let proxy = Proxy::start_with(short()).await;
    let port = free_port();
    let (address, _) = raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        let mut body = [0; 8];
        if head.starts_with("POST") && stream.read_exact(&mut body).await.is_ok() {
            stream.write_all(OK).await.unwrap();
        }
        let _until_closed = stream.read(&mut body).await;
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    let answer = wire.get("x", "/").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.body, "the replica did not answer in time\n");
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n")
        .await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        wire.send("x").await;
    }
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dawdles_over_a_head_is_closed_before_one_that_rests() {
    let proxy = Proxy::start_with(short()).await;
    let port = free_port();
    let shop = named("shop").await;
    proxy.route(entry("shop", port, &[(1, 1, &[shop])])).await;
    let began = std::time::Instant::now();
    let mut silent = Wire::open(port).await;
    let mut resting = Wire::open(port).await;
    let mut dawdling = Wire::open(port).await;
    for wire in [&mut resting, &mut dawdling] {
        assert_eq!(wire.get("x", "/").await.status, 200);
    }
    let dawdle = async {
        dawdling.send("GET / HT").await;
        assert_eq!(dawdling.more().await, 0);
        began.elapsed()
    };
    let rest = async {
        assert_eq!(resting.more().await, 0);
        began.elapsed()
    };
    let say_nothing = async { assert_eq!(silent.more().await, 0) };
    let (dawdled, rested, ()) = tokio::join!(dawdle, rest, say_nothing);
    assert!(dawdled >= Duration::from_millis(400), "{dawdled:?}");
    assert!(rested >= Duration::from_millis(1500), "{rested:?}");
}
