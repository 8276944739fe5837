//! What happens to headers, framing and bodies on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::{BodyExt, Full};
use hyper::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

use super::kit::{Proxy, Wire, backend, entry, eventually, free_port, raw, read_head};

/// A proxy before a backend that answers with `answer` and remembers the head it got.
pub async fn with_answer(answer: &'static str) -> (Proxy, u16, Arc<Mutex<String>>) {
    let proxy = Proxy::start().await;
    let port = free_port();
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = seen.clone();
    let (address, _) = raw(move |mut stream, _| {
        let keep = keep.clone();
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                // The last chunk of a body looks like a head of its own to this simple reader.
                if !head.contains(" HTTP/1.1\r\n") {
                    continue;
                }
                *keep.lock().await = head.to_lowercase();
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("HTTP/1.0") {
                    return;
                }
            }
        }
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    (proxy, port, seen)
}

pub const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_one_connection_do_not_reach_the_backend() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    let mut wire = Wire::open(port).await;
    wire.send(
        "GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, X-Mine, Host\r\n\
         X-Mine: 1\r\nX-Other: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: basic x\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\
         Flipside-Trace: guess\r\nForwarded: for=1.2.3.4\r\n\r\n",
    )
    .await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("flipside-release"), None);
    let seen = seen.lock().await.clone();
    assert!(seen.starts_with("get /a?b=c http/1.1\r\n"), "{seen}");
    for kept in [
        "host: shop.example\r\n",
        "x-other: 2\r\n",
        "forwarded: for=1.2.3.4\r\n",
    ] {
        assert!(seen.contains(kept), "{kept} not in {seen}");
    }
    for gone in [
        "x-mine",
        "keep-alive",
        "proxy-",
        "te:",
        "upgrade",
        "http2-settings",
        "flipside",
        "connection",
    ] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_one_connection_do_not_reach_the_client() {
    let (_proxy, port, _) = with_answer(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nX-Other: 2\r\n\
         Keep-Alive: timeout=1\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let mut wire = Wire::open(port).await;
    for _ in 0..2 {
        let answer = wire.get("x", "/").await;
        assert_eq!(answer.body, "ok");
        assert_eq!(answer.header("x-other"), Some("2"));
        for gone in [
            "x-mine",
            "keep-alive",
            "upgrade",
            "proxy-authenticate",
            "connection",
        ] {
            assert_eq!(answer.header(gone), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_tell_the_backend_who_asked() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    let mut wire = Wire::open(port).await;
    wire.get("shop.example:99", "/").await;
    let plain = seen.lock().await.clone();
    assert!(plain.contains("x-forwarded-for: 127.0.0.1\r\n"), "{plain}");
    assert!(plain.contains("x-forwarded-proto: http\r\n"));
    assert!(plain.contains("x-forwarded-host: shop.example:99\r\n"));
    assert!(plain.contains(&format!("x-forwarded-port: {port}\r\n")));
    assert!(plain.contains("host: shop.example:99\r\n"));

    wire.send(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\r\n",
    )
    .await;
    wire.answer().await;
    let chained = seen.lock().await.clone();
    assert!(
        chained.contains("x-forwarded-for: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\n"),
        "{chained}"
    );
    assert!(
        chained.contains("x-forwarded-proto: https\r\n"),
        "a neighbour is believed"
    );
    assert!(chained.contains("x-forwarded-port: 443\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn smuggling_shapes_are_refused_or_made_plain() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    for bad in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
    ] {
        let mut wire = Wire::open(port).await;
        wire.send(bad).await;
        assert_eq!(wire.head().await.status, 400, "{bad:?}");
    }
    let mut wire = Wire::open(port).await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status, 501);
    assert!(
        seen.lock().await.is_empty(),
        "one of them reached the backend"
    );

    for both in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let mut wire = Wire::open(port).await;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{both}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        wire.send(&request).await;
        assert_eq!(wire.head().await.status, 200);
        assert!(
            !wire.rest().await.contains("HTTP/1.1"),
            "the connection ends after it"
        );
        let seen = seen.lock().await.clone();
        assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
        assert!(!seen.contains("content-length"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_with_trailers() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (address, _) = raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.to_lowercase().contains("te: trailers"), "{head}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
            .await
            .unwrap();
        // Each chunk comes back only once it has gone in: nothing is held back on either side.
        for _ in 0..3 {
            let mut chunk = [0; 9];
            stream.read_exact(&mut chunk).await.unwrap();
            stream.write_all(&chunk).await.unwrap();
        }
        let mut end = [0; 5];
        stream.read_exact(&mut end).await.unwrap();
        stream.write_all(b"0\r\nX-Sum: 9\r\n\r\n").await.unwrap();
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    assert_eq!(wire.head().await.status, 200);
    for _ in 0..3 {
        wire.send("4\r\nping\r\n").await;
        assert_eq!(
            wire.until("ping\r\n").await.trim_start_matches("4\r\n"),
            "ping\r\n"
        );
    }
    wire.send("0\r\n\r\n").await;
    assert!(
        wire.until("\r\n\r\n")
            .await
            .to_lowercase()
            .contains("x-sum: 9")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_arrives_whole() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let echo = backend(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Full::from(body))
    })
    .await;
    proxy.route(entry("shop", port, &[(1, 1, &[echo])])).await;
    let body = "0123456789abcdef".repeat(256 * 1024);
    let mut wire = Wire::open(port).await;
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    wire.send(&head).await;
    let (mut from, mut to) = wire.stream.into_split();
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        to.write_all(sent.as_bytes()).await.unwrap();
        to
    });
    let mut answer = Vec::new();
    while !answer.ends_with(body.as_bytes()) {
        assert!(from.read_buf(&mut answer).await.unwrap() > 0);
    }
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_continue_head_and_http_1_0_work() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    let mut wire = Wire::open(port).await;
    wire.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // The scripted backend sends a body to HEAD; what counts is that the client gets none.
    let head = wire.head().await;
    assert_eq!(head.header("content-length"), Some("2"));

    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"));
    assert!(seen.lock().await.contains("host: 127.0.0.1:"));

    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.body, "ok");
    wire.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n").await;
    assert!(wire.rest().await.ends_with("ok"));

    let proxy = Proxy::start().await;
    let port = free_port();
    let echo = backend(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Full::from(body))
    })
    .await;
    proxy.route(entry("echo", port, &[(1, 1, &[echo])])).await;
    let mut wire = Wire::open(port).await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status, 100);
    wire.send("body").await;
    assert_eq!(wire.answer().await.body, "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_backend_is_understood() {
    let (_proxy, port, _) = with_answer("HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\nto the end").await;
    let mut wire = Wire::open(port).await;
    for _ in 0..2 {
        let answer = wire.get("x", "/").await;
        assert_eq!(answer.body, "to the end");
        assert!(answer.head.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_comes_through_while_the_request_goes_on() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (address, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
            .await
            .unwrap();
        let mut rest = vec![0; 64 * 1024];
        while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nfirst")
        .await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, "big"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_at_once_and_a_client_that_leaves_ends_the_request() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (left, mut leaving) = tokio::sync::mpsc::channel(1);
    let (address, taken) = raw(move |mut stream, _| {
        let left = left.clone();
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
            stream.write_all(head).await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
            left.send(()).await.unwrap();
        }
    })
    .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    wire.until("data: 1\n\n").await;
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    drop(wire);
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), leaving.recv()).await;
    assert!(waited.is_ok(), "the backend was not told");
    eventually("nothing is in flight", || async {
        proxy.control.stats("shop").await.unwrap().releases[&1].in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let address =
        backend(
            |request| async move { Response::new(Full::from(request.uri().path().to_owned())) },
        )
        .await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[address])]))
        .await;
    let mut wire = Wire::open(port).await;
    let paths = ["/a", "/b", "/c", "/d"];
    let all: String = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    wire.send(&all).await;
    for path in paths {
        assert_eq!(wire.answer().await.body, path);
    }
}
