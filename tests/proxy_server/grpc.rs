//! gRPC's health check against HTTP/2 servers that answer well, badly or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flipside::proxy::check::{Check, Grpc, Kind, Outcome, Reason, Stage, check};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::kit::{Proxy, backend, raw, refusing};

/// What a server answers.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    head: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    trailers: Option<&'static [(&'static str, &'static str)]>,
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc+proto")];
const WELL: &[(&str, &str)] = &[("grpc-status", "0")];

/// A good answer with this message.
fn message(message: &[u8]) -> Answer {
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    body.extend_from_slice(message);
    Answer {
        status: 200,
        head: GRPC,
        body,
        trailers: Some(WELL),
    }
}

/// An answer of a head alone.
fn head(status: u16, head: &'static [(&'static str, &'static str)]) -> Answer {
    Answer {
        status,
        head,
        ..Answer::default()
    }
}

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// Answers each call through `answer`, which sees its head and its body; tells when a connection
/// has ended.
async fn server<F>(answer: F) -> (SocketAddr, mpsc::UnboundedReceiver<()>)
where
    F: Fn(&Request<()>, &[u8]) -> Option<Answer> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, ends) = mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, ended) = (answer.clone(), ended.clone());
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(call(request, respond, answer.clone()));
                }
                ended.send(()).unwrap();
            });
        }
    });
    (address, ends)
}

async fn call<F>(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    answer: Arc<F>,
) where
    F: Fn(&Request<()>, &[u8]) -> Option<Answer>,
{
    let (head, mut from) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = from.data().await {
        body.extend_from_slice(&data.unwrap());
    }
    let Some(answer) = answer(&Request::from_parts(head, ()), &body) else {
        return std::future::pending().await;
    };
    let mut response = Response::builder().status(answer.status).body(()).unwrap();
    *response.headers_mut() = fields(answer.head);
    let alone = answer.body.is_empty() && answer.trailers.is_none();
    let mut to = respond.send_response(response, alone).unwrap();
    if !alone {
        let body = Bytes::from(answer.body);
        to.send_data(body, answer.trailers.is_none()).unwrap();
    }
    if let Some(trailers) = answer.trailers {
        to.send_trailers(fields(trailers)).unwrap();
    }
}

fn asking(address: SocketAddr, service: &str) -> Check {
    let service = service.to_owned();
    Check {
        kind: Kind::Grpc(Grpc { service }),
        address,
        timeout_ms: 5_000,
    }
}

async fn said(asked: Check) -> Result<(), String> {
    match check(&asked).await {
        Outcome::Pass { status: None, .. } => Ok(()),
        Outcome::Pass { status, .. } => panic!("{status:?}"),
        Outcome::Fail { reason } => Err(reason.to_string()),
    }
}

async fn said_of(answer: Answer) -> Result<(), String> {
    let (address, _ends) = server(move |_, _| Some(answer.clone())).await;
    said(asking(address, "shop.v1.Cart")).await
}

/// A server with a health service, which knows two services beside itself.
async fn healthy() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    server(|request, body| {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let field = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(field("content-type"), "application/grpc");
        assert_eq!(field("te"), "trailers");
        assert_eq!(field("grpc-timeout"), "5000m");
        Some(match body {
            [0, 0, 0, 0, 0] => message(&[8, 1]),
            [0, 0, 0, 0, 14, 0x0a, 12, service @ ..] if service == b"shop.v1.Cart" => {
                message(&[8, 1])
            }
            [0, 0, 0, 0, 14, 0x0a, 12, service @ ..] if service == b"shop.v1.Bill" => {
                message(&[8, 2])
            }
            _ => head(
                200,
                &[
                    ("content-type", "application/grpc"),
                    ("grpc-status", "5"),
                    ("grpc-message", "unknown service%0A"),
                ],
            ),
        })
    })
    .await
}

#[tokio::test]
async fn a_service_that_serves_passes_and_others_say_how_they_are() {
    let (address, mut ends) = healthy().await;
    assert_eq!(said(asking(address, "")).await, Ok(()));
    assert_eq!(said(asking(address, "shop.v1.Cart")).await, Ok(()));
    let down = said(asking(address, "shop.v1.Bill")).await;
    assert_eq!(
        down,
        Err("it says that `shop.v1.Bill` is NOT_SERVING".into())
    );
    let unknown = said(asking(address, "shop.v1.Stock")).await;
    let reason = "it knows no service `shop.v1.Stock` (NOT_FOUND): unknown service";
    assert_eq!(unknown, Err(reason.into()));
    for _ in 0..4 {
        ends.recv().await.unwrap();
    }
}

#[tokio::test]
async fn every_state_but_serving_fails_in_words() {
    for (bytes, state) in [
        (&[][..], "UNKNOWN"),
        (&[8, 0], "UNKNOWN"),
        (&[8, 3], "SERVICE_UNKNOWN"),
        (&[8, 9], "state 9"),
    ] {
        let reason = format!("it says that `shop.v1.Cart` is {state}");
        assert_eq!(said_of(message(bytes)).await, Err(reason));
    }
    let (address, _ends) = server(|_, _| Some(message(&[8, 2]))).await;
    let whole = said(asking(address, "")).await;
    assert_eq!(whole, Err("it says that it is NOT_SERVING".into()));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_name() {
    const KIND: (&str, &str) = ("content-type", "application/grpc");
    let unimplemented = head(200, &[KIND, ("grpc-status", "12")]);
    let reason = "it has no gRPC health service (UNIMPLEMENTED)";
    assert_eq!(said_of(unimplemented).await, Err(reason.into()));
    let denied = head(
        200,
        &[KIND, ("grpc-status", "16"), ("grpc-message", "who%3F")],
    );
    let reason = "it does not say how it is (UNAUTHENTICATED): who?";
    assert_eq!(said_of(denied).await, Err(reason.into()));
    let late = Answer {
        trailers: Some(&[("grpc-status", "77")]),
        ..message(&[8, 1])
    };
    let reason = "it does not say how it is (gRPC status 77)";
    assert_eq!(said_of(late).await, Err(reason.into()));
    let (address, _ends) = server(|_, _| Some(head(200, &[KIND, ("grpc-status", "5")]))).await;
    let reason = "it does not say how it is as a whole (NOT_FOUND)";
    assert_eq!(said(asking(address, "")).await, Err(reason.into()));
}

#[tokio::test]
async fn http_2_that_is_not_grpc_is_told() {
    let good = message(&[8, 1]);
    let body = |body: &[u8]| Answer {
        body: body.to_vec(),
        ..good.clone()
    };
    for (answer, why) in [
        (head(404, &[]), "it answers 404 Not Found"),
        (head(200, &[]), "its answer does not say what it is"),
        (
            head(200, &[("content-type", "text/html")]),
            "its answer is `text/html`",
        ),
        (head(200, GRPC), "it ends without a `grpc-status`"),
        (
            Answer {
                trailers: None,
                ..good.clone()
            },
            "it ends without a `grpc-status`",
        ),
        (
            body(&[0, 0, 0, 0, 2, 8]),
            "its answer is not one whole message",
        ),
        (body(&[]), "its answer is not one whole message"),
        (body(&[1, 0, 0, 0, 2, 8, 1]), "its answer is compressed"),
        (
            body(&[0, 0, 0, 0, 2, 8, 0x80]),
            "its answer is no HealthCheckResponse",
        ),
        (body(&[0; 20_000]), "its answer is longer than 16 KiB"),
    ] {
        let reason = format!("no gRPC answer: {why}");
        assert_eq!(said_of(answer).await, Err(reason));
    }
}

#[tokio::test]
async fn what_speaks_no_http_2_is_told_by_what_it_speaks() {
    let plain = backend(|_| async { Response::new(Full::from("hello")) }).await;
    let reason = said(asking(plain, "")).await.unwrap_err();
    let begin = format!("{plain} closes the connection at the greeting of HTTP/2");
    assert!(reason.starts_with(&begin), "{reason}");
    for (spoken, why) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            "answers in HTTP/1, and gRPC is HTTP/2",
        ),
        (
            b"\x15\x03\x01\x00\x02\x02\x46",
            "does not speak HTTP/2 without TLS",
        ),
        (
            b"220 mail.example ESMTP\r\n",
            "does not speak HTTP/2 without TLS",
        ),
    ] {
        let (address, _) = raw(move |mut stream, _| async move {
            let _greeting = stream.read(&mut [0; 4096]).await;
            stream.write_all(spoken).await.unwrap();
            let _until_closed = stream.read(&mut [0; 4096]).await;
        })
        .await;
        let reason = said(asking(address, "")).await;
        assert_eq!(reason, Err(format!("{address} {why}")));
    }
    let nobody = refusing();
    let reason = format!("connection refused at {nobody}");
    assert_eq!(said(asking(nobody, "")).await, Err(reason));
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_leaves_nothing_behind() {
    let (address, mut ends) = server(|_, _| None).await;
    let asked = Check {
        timeout_ms: 200,
        ..asking(address, "")
    };
    let late = Reason::TimedOut {
        after_ms: 200,
        stage: Stage::Answer,
    };
    assert_eq!(check(&asked).await, Outcome::Fail { reason: late });
    let ended = tokio::time::timeout(Duration::from_secs(10), ends.recv());
    assert_eq!(ended.await.unwrap(), Some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_asked_from_the_proxy() {
    let proxy = Proxy::start().await;
    let (address, _ends) = healthy().await;
    let passed = proxy.control.check(asking(address, "shop.v1.Cart")).await;
    assert!(matches!(passed, Ok(Outcome::Pass { .. })), "{passed:?}");
    let failed = proxy.control.check(asking(address, "shop.v1.Bill")).await;
    let reason = Reason::GrpcState {
        service: "shop.v1.Bill".into(),
        state: "NOT_SERVING".into(),
    };
    assert_eq!(failed.unwrap(), Outcome::Fail { reason });
}
