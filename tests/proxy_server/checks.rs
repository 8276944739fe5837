//! Why a check failed, in words a person wants to read.

use std::net::SocketAddr;
use std::sync::Arc;

use flipside::proxy::check::{Check, Http, Kind, Outcome, Reason, Stage, StatusRange, Tls, check};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::kit::{Proxy, backend, raw, read_head, refusing};

fn http(address: SocketAddr) -> Check {
    Check {
        kind: Kind::Http(plain()),
        address,
        timeout_ms: 2000,
    }
}

fn plain() -> Http {
    Http {
        method: "GET".into(),
        path: "/up".into(),
        headers: vec![("Host".into(), "shop.example".into())],
        expect_status: vec![],
        body_contains: None,
        tls: None,
    }
}

fn asking(address: SocketAddr, change: impl FnOnce(&mut Http)) -> Check {
    let mut asked = plain();
    change(&mut asked);
    Check {
        kind: Kind::Http(asked),
        ..http(address)
    }
}

async fn reason(asked: Check) -> (Reason, String) {
    match check(&asked).await {
        Outcome::Fail { reason } => (reason.clone(), reason.to_string()),
        passed => panic!("{passed:?}"),
    }
}

async fn passes(asked: Check) -> Option<u16> {
    match check(&asked).await {
        Outcome::Pass { status, .. } => status,
        failed => panic!("{failed:?}"),
    }
}

fn answer(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status);
    let answer = answer.header("location", "https://shop.example/up");
    answer.body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn a_good_endpoint_passes() {
    let up = backend(|request| async move {
        assert_eq!(request.headers()["host"], "shop.example");
        assert_eq!(request.uri().path(), "/up");
        answer(200, "all is well")
    })
    .await;
    assert_eq!(passes(http(up)).await, Some(200));
    assert_eq!(
        passes(asking(up, |it| it.body_contains = Some("is".into()))).await,
        Some(200)
    );
    let tcp = Check {
        kind: Kind::Tcp,
        ..http(up)
    };
    assert_eq!(passes(tcp).await, None);
    let patient = Check {
        timeout_ms: u64::MAX,
        ..http(up)
    };
    assert_eq!(passes(patient).await, Some(200));
}

#[tokio::test]
async fn a_refused_connection_is_named() {
    let nobody = refusing();
    let said = format!("connection refused at {nobody}");
    assert_eq!(
        reason(http(nobody)).await,
        (Reason::Refused { address: nobody }, said)
    );
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let moved = backend(|_| async { answer(301, "") }).await;
    assert_eq!(
        reason(http(moved)).await.1,
        "301 to https://shop.example/up"
    );
    let range = StatusRange { from: 300, to: 399 };
    assert_eq!(
        passes(asking(moved, |it| it.expect_status = vec![range])).await,
        Some(301)
    );
}

#[tokio::test]
async fn a_wrong_status_shows_the_first_200_bytes() {
    let long: &'static str = "no entry ".repeat(100).leak();
    let closed = backend(move |_| async move { answer(403, long) }).await;
    let (found, said) = reason(http(closed)).await;
    assert_eq!(said, format!("403 Forbidden: {}", long[..200].trim()));
    assert!(matches!(found, Reason::Status { status: 403, body } if body.len() == 200));
    let empty = backend(|_| async { answer(503, "") }).await;
    assert_eq!(reason(http(empty)).await.1, "503 Service Unavailable");
}

#[tokio::test]
async fn a_missing_text_shows_what_came_instead() {
    let up = backend(|_| async { answer(200, "starting") }).await;
    let (_, said) = reason(asking(up, |it| it.body_contains = Some("ready".into()))).await;
    assert_eq!(said, "`ready` is not in the answer: starting");
}

#[tokio::test]
async fn silence_times_out_and_says_where() {
    let (silent, _) = raw(|mut stream, _| async move {
        let _until_closed = stream.read(&mut [0; 4096]).await;
        let _until_closed = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let asked = Check {
        timeout_ms: 100,
        ..http(silent)
    };
    let late = Reason::TimedOut {
        after_ms: 100,
        stage: Stage::Answer,
    };
    let said = "connected, but no whole answer within 100 ms".to_owned();
    assert_eq!(reason(asked).await, (late, said));
}

#[tokio::test]
async fn a_closed_connection_and_nonsense_are_told_apart() {
    let (closing, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
    })
    .await;
    assert_eq!(
        reason(http(closing)).await.0,
        Reason::ClosedEarly { address: closing }
    );
    let (resetting, _) = raw(|stream, _| async move {
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        stream.readable().await.unwrap();
    })
    .await;
    assert_eq!(
        reason(http(resetting)).await.0,
        Reason::Reset { address: resetting }
    );
    let (other, _) = raw(|mut stream, _| async move {
        stream
            .write_all(b"220 mail.example ESMTP\r\n\r\n")
            .await
            .unwrap();
        let _until_closed = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert!(matches!(
        reason(http(other)).await.0,
        Reason::BadAnswer { .. }
    ));
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused_unless_that_is_meant() {
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".into()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _asked = stream.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let _sent = stream.write_all(answer).await;
                let _sent = stream.shutdown().await;
            }
        }
    });
    let tls = |insecure| Tls {
        server_name: Some("shop.example".into()),
        insecure,
    };
    let (found, said) = reason(asking(address, |it| it.tls = Some(tls(false)))).await;
    assert!(matches!(found, Reason::Tls { .. }), "{found:?}");
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(
        passes(asking(address, |it| it.tls = Some(tls(true)))).await,
        Some(200)
    );
    let plain = raw(|mut stream, _| async move {
        let _asked = stream.read(&mut [0; 4096]).await;
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    let (plain, _) = plain.await;
    let (found, _) = reason(asking(plain, |it| it.tls = Some(tls(true)))).await;
    assert!(matches!(found, Reason::Tls { .. }), "{found:?}");
}

#[tokio::test]
async fn header_values_are_shown_nowhere() {
    let secret = ("Authorization".to_owned(), "hunter2\n".to_owned());
    let asked = asking(refusing(), |it| it.headers.push(secret));
    assert!(!format!("{asked:?}").contains("hunter2"));
    let up = backend(|_| async { answer(200, "") }).await;
    let (found, said) = reason(Check {
        address: up,
        ..asked
    })
    .await;
    assert!(!format!("{found:?} {said}").contains("hunter2"));
    assert!(said.contains("authorization"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_can_be_made_from_the_proxy() {
    let proxy = Proxy::start().await;
    let nobody = refusing();
    let outcome = proxy.control.check(http(nobody)).await.unwrap();
    let reason = Reason::Refused { address: nobody };
    assert_eq!(outcome, Outcome::Fail { reason });
}
