//! Requests and answers that are framed badly, oddly, or so that two readers might differ.

use std::sync::atomic::Ordering;
use std::time::Duration;

use flipside::proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::headers::{PLAIN, with_answer};
use super::kit::{Proxy, Wire, entry, free_port, raw, read_head};
use super::trouble::before_an_answer_that_breaks_off;

async fn unreachable(proxy: &Proxy) -> u64 {
    proxy.control.stats("shop").await.unwrap().releases[&1].unreachable
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one_by_an_http_1_0_client() {
    let (_proxy, mut wire) = before_an_answer_that_breaks_off().await;
    wire.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n").await;
    let mut seen = Vec::new();
    let ended = wire.stream.read_to_end(&mut seen).await;
    let error = ended.expect_err("the end looked like that of a whole answer");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_a_chunked_answer_is_not_passed_on() {
    let (_proxy, port, _) = with_answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let mut wire = Wire::open(port).await;
    for _ in 0..2 {
        let answer = wire.get("x", "/").await;
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(answer.body, "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_another_transfer_coding_is_a_bad_gateway() {
    for coding in ["gzip", "gzip, chunked", "chunked, chunked"] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        let (_proxy, port, _) = with_answer(head.leak()).await;
        let answer = Wire::open(port).await.get("x", "/").await;
        assert_eq!(answer.status, 502, "{coding}");
        assert!(answer.body.contains("transfer coding"), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_not_asked_for_again() {
    let broken = [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    ];
    for answer in broken {
        let proxy = Proxy::start().await;
        let port = free_port();
        let speak = move |mut stream: tokio::net::TcpStream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _until_closed = stream.read(&mut [0; 8]).await;
        };
        let ((one, ones), (two, twos)) = (raw(speak).await, raw(speak).await);
        proxy
            .route(entry("shop", port, &[(1, 1, &[one, two])]))
            .await;
        let got = Wire::open(port).await.get("x", "/").await;
        assert_eq!(got.status, 502);
        assert_eq!(got.body, "the replica's answer is not HTTP\n");
        let asked = ones.load(Ordering::SeqCst) + twos.load(Ordering::SeqCst);
        assert_eq!((asked, unreachable(&proxy).await), (1, 1));
    }
}

/// A proxy before a backend that takes whatever comes and never answers.
async fn never_answered(limits: Limits) -> (Proxy, u16) {
    let proxy = Proxy::start_with(limits).await;
    let port = free_port();
    let (address, _) = raw(|mut stream, _| async move {
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.unwrap_or(0) > 0 {}
    })
    .await;
    let wanted = entry("shop", port, &[(1, 1, &[address])]);
    proxy.route(wanted).await;
    (proxy, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_chunk_is_the_clients_fault() {
    let (proxy, port) = never_answered(Limits::default()).await;
    let mut wire = Wire::open(port).await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n")
        .await;
    assert_eq!(wire.head().await.status, 400);
    assert_eq!(unreachable(&proxy).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stops_is_the_clients_fault() {
    let limits = Limits {
        answer: Duration::from_millis(500),
        ..Limits::default()
    };
    let (proxy, port) = never_answered(limits).await;
    let mut wire = Wire::open(port).await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nx")
        .await;
    assert_eq!(wire.head().await.status, 408);
    assert_eq!(unreachable(&proxy).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_header_fields_pass_both_ways() {
    let fields: String = (0..200).map(|it| format!("X-{it}: {it}\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
    let (proxy, port, seen) = with_answer(answer.leak()).await;
    let asked = proxy.control.ask("shop", "/", false, 10_000).await.unwrap();
    assert_eq!(asked.status, 200);
    let mut wire = Wire::open(port).await;
    wire.send(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
        .await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("x-199")), (200, Some("199")));
    assert!(seen.lock().await.contains("x-199: 199\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_hosts_that_mean_nothing_are_refused() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    for bad in [
        "GET evil.example HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b/c@d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ] {
        let mut wire = Wire::open(port).await;
        wire.send(bad).await;
        assert_eq!(wire.head().await.status, 400, "{bad:?}");
    }
    assert!(seen.lock().await.is_empty());
    for plain in ["a.example", "[::1]:80", "xn--a_b", ""] {
        let answer = Wire::open(port).await.get(plain, "/").await;
        assert_eq!(answer.status, 200, "{plain:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_becomes_what_the_backend_understands() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    let mut wire = Wire::open(port).await;
    for (target, line) in [
        ("GET http://b.example", "get / http/1.1\r\n"),
        ("GET http://me:pass@b.example/x?y", "get /x?y http/1.1\r\n"),
    ] {
        wire.send(&format!("{target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(wire.answer().await.status, 200);
        let seen = seen.lock().await.clone();
        assert!(seen.starts_with(line), "{seen}");
        assert!(seen.contains("\r\nhost: b.example\r\n"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_cannot_change_its_protocol() {
    let (_proxy, port, seen) = with_answer(PLAIN).await;
    let mut wire = Wire::open(port).await;
    wire.send("GET / HTTP/1.0\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.body, "ok");
    assert!(!seen.lock().await.contains("upgrade"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_do_not_say_who_asked() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let (address, _) = raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            read_head(&mut stream).await;
            let body = read_head(&mut stream).await;
            tell.send(body.to_lowercase()).await.unwrap();
            stream.write_all(PLAIN.as_bytes()).await.unwrap();
        }
    })
    .await;
    let wanted = entry("shop", port, &[(1, 1, &[address])]);
    proxy.route(wanted).await;
    let mut wire = Wire::open(port).await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Sum, X-Forwarded-For\r\n\r\n\
         0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 9\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.status, 200);
    let trailers = told.recv().await.unwrap();
    assert!(trailers.contains("x-sum: 9"), "{trailers}");
    assert!(!trailers.contains("6.6.6.6"), "{trailers}");
}
