//! What a check finds in the body of an answer, and how a proxy that cannot look there says so.

use std::net::SocketAddr;

use flipside::proxy::check::{
    Body, Check, Grpc, Http, HttpBody, Json, Kind, Outcome, Reason, check,
};
use flipside::proxy::control::{Client, ClientError, Code};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::kit::{Proxy, backend, raw, read_head};

const MIB: usize = 1024 * 1024;

fn asking(address: SocketAddr, contains: Option<&str>, body: Body) -> Check {
    let http = Http {
        method: "GET".into(),
        path: "/up".into(),
        headers: vec![],
        expect_status: vec![],
        body_contains: contains.map(str::to_owned),
        tls: None,
    };
    let kind = match body == Body::default() {
        true => Kind::Http(http),
        false => Kind::HttpBody(Box::new(HttpBody { http, body })),
    };
    Check {
        kind,
        address,
        timeout_ms: 5_000,
    }
}

fn matching(address: SocketAddr, pattern: &str) -> Check {
    let body = Body {
        matches: Some(pattern.into()),
        json: None,
    };
    asking(address, None, body)
}

fn saying(address: SocketAddr, pointer: &str, equals: Value) -> Check {
    let json = Json {
        pointer: pointer.into(),
        equals,
    };
    let body = Body {
        matches: None,
        json: Some(json),
    };
    asking(address, None, body)
}

async fn said(asked: Check) -> Result<(), String> {
    match check(&asked).await {
        Outcome::Pass { .. } => Ok(()),
        Outcome::Fail { reason } => Err(reason.to_string()),
    }
}

async fn answering(body: impl Into<Bytes>) -> SocketAddr {
    let body = body.into();
    backend(move |_| {
        let body = body.clone();
        async move { Response::new(Full::from(body)) }
    })
    .await
}

#[tokio::test]
async fn a_pattern_is_looked_for_in_the_whole_body() {
    let up = answering("ok, mostly\nfine").await;
    for pattern in [
        r"^ok\b",
        "fine$",
        "(?i)MOSTLY",
        "(?m)^fine",
        "",
        r"^[^\n]*\n\w{4}$",
    ] {
        assert_eq!(said(matching(up, pattern)).await, Ok(()), "{pattern}");
    }
    let missed = "`^fine` does not match the answer: ok, mostly\nfine";
    assert_eq!(said(matching(up, "^fine")).await, Err(missed.into()));
    let empty = "`.` does not match the answer, which is empty";
    let nothing = answering("").await;
    assert_eq!(said(matching(nothing, ".")).await, Err(empty.into()));
    let bytes = answering(&b"\xff\xfe ok"[..]).await;
    assert_eq!(said(matching(bytes, r"(?-u)^\xff.* ok$")).await, Ok(()));
}

#[tokio::test]
async fn a_pattern_that_is_none_fails_before_anything_is_asked_for() {
    let (address, _) = raw(|_, _| async {}).await;
    let reason = said(matching(address, "(")).await.unwrap_err();
    assert!(reason.contains("the check cannot be asked"), "{reason}");
    assert!(reason.contains("unclosed group"), "{reason}");
}

#[tokio::test]
async fn a_value_in_json_is_told_apart_from_another_and_from_none() {
    let up = answering(r#"{"status":"DOWN","checks":[{"name":"db","ms":1.0}]}"#).await;
    assert_eq!(said(saying(up, "/status", json!("DOWN"))).await, Ok(()));
    assert_eq!(said(saying(up, "/checks/0/ms", json!(1))).await, Ok(()));
    let differs = r#"`/status` is "DOWN", not "UP""#;
    let found = said(saying(up, "/status", json!("UP"))).await;
    assert_eq!(found, Err(differs.into()));
    let found = said(saying(up, "/state", json!("UP"))).await;
    assert_eq!(found, Err("no `/state` in the answer".into()));
    let page = answering("<html>starting</html>").await;
    let found = said(saying(page, "/status", json!("UP"))).await;
    let none = "the answer is no JSON at 1:1: <html>starting</html>";
    assert_eq!(found, Err(none.into()));
}

#[tokio::test]
async fn all_that_is_asked_of_a_body_must_hold() {
    let up = answering(r#"{"status":"UP"}"#).await;
    let body = |pattern: &str, equals: &str| Body {
        matches: Some(pattern.into()),
        json: Some(Json {
            pointer: "/status".into(),
            equals: json!(equals),
        }),
    };
    let holds = |text, pattern, equals| said(asking(up, Some(text), body(pattern, equals)));
    assert_eq!(holds("stat", "UP", "UP").await, Ok(()));
    for (text, pattern, equals, why) in [
        ("state", "UP", "UP", "`state` is not in the answer"),
        ("stat", "DOWN", "UP", "`DOWN` does not match"),
        ("stat", "UP", "DOWN", "`/status` is \"UP\""),
    ] {
        let reason = holds(text, pattern, equals).await.unwrap_err();
        assert!(reason.starts_with(why), "{reason}");
    }
}

#[tokio::test]
async fn a_body_longer_than_is_read_says_so() {
    let mut text = vec![b' '; MIB];
    text[0] = b'a';
    text[MIB - 1] = b'z';
    let fits = answering(text.clone()).await;
    assert_eq!(said(matching(fits, "^a *z$")).await, Ok(()));
    assert_eq!(said(asking(fits, Some("z"), Body::default())).await, Ok(()));

    text.extend(*b"!");
    let longer = answering(text).await;
    let too_long = Err("the answer is longer than 1024 KiB, which are all that is read".to_owned());
    // Cut off at the limit, it would match.
    assert_eq!(said(matching(longer, "^a *z$")).await, too_long);
    assert_eq!(said(saying(longer, "", json!(1))).await, too_long);
    assert_eq!(
        said(asking(longer, Some("z"), Body::default())).await,
        Ok(())
    );
    let missed = said(asking(longer, Some("!"), Body::default())).await;
    let missed = missed.unwrap_err();
    let begin = "`!` is not in the first MiB of the answer: a";
    assert!(missed.starts_with(begin), "{missed}");
}

/// A body without an end costs no more than its first MiB.
#[tokio::test]
async fn a_body_without_an_end_is_left() {
    let (endless, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    let reason = said(saying(endless, "/status", json!("UP"))).await;
    let reason = reason.unwrap_err();
    assert!(reason.starts_with("the answer is longer than"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_looked_into_from_the_proxy() {
    let proxy = Proxy::start().await;
    let up = answering(r#"{"status":"DOWN"}"#).await;
    let ask = |asked: Check| proxy.control.check(asked);
    let passed = ask(matching(up, "DOWN")).await.unwrap();
    assert!(matches!(
        passed,
        Outcome::Pass {
            status: Some(200),
            ..
        }
    ));
    let reason = Reason::JsonDiffers {
        pointer: "/status".into(),
        found: "\"DOWN\"".into(),
        wanted: "\"UP\"".into(),
    };
    let failed = ask(saying(up, "/status", json!("UP"))).await.unwrap();
    assert_eq!(failed, Outcome::Fail { reason });
}

/// What version 0.1.0 knew of checks, as it read them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FirstKind {
    Http(FirstHttp),
    Tcp,
}

#[derive(Debug, Deserialize)]
struct FirstHttp {
    path: String,
}

/// A proxy of that version: it passes every check that it can read, and refuses the rest.
fn first_proxy() -> Client {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (from, mut to) = tokio::io::split(theirs);
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let request: Value = serde_json::from_str(&line).unwrap();
            let id = &request["id"];
            let kind = serde_json::from_value(request["check"]["kind"].clone());
            let passed = json!({"outcome": {"pass": {"took_us": 1, "status": null}}});
            let reply = match kind {
                Ok(FirstKind::Http(http)) if http.path != "/up" => panic!("{line}"),
                Ok(FirstKind::Http(_) | FirstKind::Tcp) => json!({"id": id, "ok": passed}),
                Err(error) => {
                    let message = error.to_string();
                    json!({"id": id, "error": {"code": "bad_request", "message": message}})
                }
            };
            to.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
        }
    });
    Client::over(ours)
}

#[tokio::test]
async fn a_proxy_that_does_not_know_a_check_passes_nothing_unseen() {
    let first = first_proxy();
    let address = ([127, 0, 0, 1], 9).into();
    let plain = asking(address, Some("ok"), Body::default());
    assert!(matches!(first.check(plain).await, Ok(Outcome::Pass { .. })));
    for asked in [
        matching(address, "ok"),
        saying(address, "/status", json!("UP")),
        Check {
            kind: Kind::Grpc(Grpc {
                service: String::new(),
            }),
            ..matching(address, "")
        },
    ] {
        match first.check(asked).await {
            Err(ClientError::Refused(refusal)) => assert_eq!(refusal.code, Code::BadRequest),
            other => panic!("{other:?}"),
        }
    }
}

/// What a later version adds to these checks is refused too.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_with_a_word_of_a_later_version_is_refused() {
    let proxy = Proxy::start().await;
    let mut stream = tokio::net::UnixStream::connect(&proxy.options.socket)
        .await
        .unwrap();
    let check = json!({
        "kind": {"http_body": {
            "http": {"method": "GET", "path": "/"},
            "body": {"matches": "ok", "weather": "fine"},
        }},
        "address": "127.0.0.1:9",
        "timeout_ms": 1000,
    });
    let request = json!({"v": 1, "id": 1, "op": "check", "check": check});
    let line = format!("{request}\n");
    stream.write_all(line.as_bytes()).await.unwrap();
    let reply = BufReader::new(stream).lines().next_line().await.unwrap();
    let reply: Value = serde_json::from_str(&reply.unwrap()).unwrap();
    assert_eq!(reply["error"]["code"], "bad_request", "{reply}");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.contains("unknown field `weather`"), "{message}");
}
