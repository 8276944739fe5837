//! What goes through the proxy, and what keeps it from doing so.

use std::net::TcpListener;
use std::sync::Mutex;

use flipside::core::names::Release;
use flipside::core::plan::{GrpcProbe, HttpProbe, JsonValue};
use flipside::core::progress::{Progress, Silent, Sink};
use flipside::pointer::proxy::{Control, overview};
use flipside::pointer::{Pointer, PointerError, Way};
use flipside::probe::{Question, Vantage, VantageError};
use flipside::proxy::control::Client;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

use super::kit::{LONG, Rig, free_port, gated, get, named, to, until};

#[derive(Default)]
struct Seen(Mutex<Vec<Progress>>);

impl Sink for Seen {
    fn progress(&self, step: Progress) {
        self.0.lock().unwrap().push(step);
    }
}

#[tokio::test]
async fn two_services_share_a_listener_by_host() {
    let rig = Rig::started().await;
    let port = free_port();
    let [shop, blog] = [["shop.example"], ["blog.example"]].map(|hosts| rig.on(port, &hosts));
    shop.write(None, &to(1, named("shop").await)).await.unwrap();
    blog.write(None, &to(7, named("blog").await)).await.unwrap();
    assert!(get(port, "shop.example").await.ends_with("shop"));
    assert!(get(port, "blog.example").await.ends_with("blog"));
    assert_eq!(
        blog.ask(Way::Service, "/").await.unwrap().release,
        Some(Release(7))
    );

    let third = rig.on(port, &["blog.example"]);
    let Err(PointerError::Failed { what, hint }) =
        third.write(None, &to(1, named("x").await)).await
    else {
        panic!("a host was given away twice");
    };
    assert!(what.contains("blog.example"), "{what}");
    assert!(hint.unwrap().contains("host:"));
    assert_eq!(third.read().await, Ok(None));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let rig = Rig::started().await;
    let port = free_port();
    let squatter = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let pointer = rig.on(port, &[]);
    let desired = to(1, named("one").await);
    let Err(PointerError::Failed { what, hint }) = pointer.write(None, &desired).await else {
        panic!("a port was used twice");
    };
    assert!(what.contains(&format!("127.0.0.1:{port}")), "{what}");
    assert!(hint.unwrap().contains(&format!("sport = :{port}")));
    assert_eq!(pointer.read().await, Ok(None));
    drop(squatter);
    assert_eq!(pointer.write(None, &desired).await, Ok(1));
}

#[tokio::test]
async fn what_was_in_flight_is_counted() {
    let rig = Rig::started().await;
    let port = free_port();
    let pointer = rig.on(port, &[]);
    let (open, slow) = gated("slow").await;
    let quick = named("quick").await;
    let in_flight = async || {
        until("a request in flight", async || {
            let found = overview(&rig.site).await.unwrap();
            let (_, stats) = found?.services.pop()?;
            (stats.releases.get(&1)?.in_flight == 1).then_some(())
        })
        .await;
    };

    pointer.write(None, &to(1, slow)).await.unwrap();
    let cut = tokio::spawn(get(port, "any"));
    in_flight().await;
    let second = pointer.write(Some(1), &to(2, quick)).await.unwrap();
    assert!(get(port, "any").await.ends_with("quick"));
    let seen = Seen::default();
    let drained = pointer.settled(second, 100, &seen).await.unwrap();
    assert_eq!(
        (drained.in_flight, drained.finished, drained.cut),
        (Some(1), Some(0), Some(1))
    );
    assert!(seen.0.lock().unwrap().contains(&Progress::Drain {
        left: 1,
        limit_ms: 100
    }));
    assert!(!cut.await.unwrap().ends_with("slow"));

    let third = pointer.write(Some(second), &to(1, slow)).await.unwrap();
    let finished = tokio::spawn(get(port, "any"));
    in_flight().await;
    let fourth = pointer.write(Some(third), &to(2, quick)).await.unwrap();
    open.send(true).unwrap();
    let drained = pointer.settled(fourth, 20_000, &Silent).await.unwrap();
    assert_eq!(
        (drained.in_flight, drained.finished, drained.cut),
        (Some(1), Some(1), Some(0))
    );
    assert!(finished.await.unwrap().ends_with("slow"));
}

#[tokio::test]
async fn addresses_are_checked_from_the_proxy() {
    let rig = Rig::started().await;
    let pointer = rig.pointer();
    let at = named("up").await;
    let probe = |contains: &str| {
        Question::Http(HttpProbe {
            port: at.port(),
            method: "GET".into(),
            path: "/up".into(),
            headers: vec![],
            status: vec![(200, 299)],
            contains: Some(contains.into()),
            matches: None,
            json: None,
            tls: None,
        })
    };
    let body = |matches: Option<&str>, equals: Option<Value>| {
        let Question::Http(http) = probe("up") else {
            panic!("an http probe")
        };
        let pointer = String::new();
        Question::Http(HttpProbe {
            matches: matches.map(str::to_owned),
            json: equals.map(|equals| Box::new(JsonValue { pointer, equals })),
            ..http
        })
    };
    let closed = ([127, 0, 0, 1], free_port()).into();
    assert_eq!(pointer.check(at, &Question::Tcp, 5_000).await, Ok(Ok(())));
    assert_eq!(pointer.check(at, &probe("up"), 5_000).await, Ok(Ok(())));
    let other = pointer.check(at, &probe("down"), 5_000).await.unwrap();
    assert!(other.unwrap_err().contains("`down` is not in the answer"));
    let matching = pointer.check(at, &body(Some("^u.$"), None), 5_000).await;
    assert_eq!(matching, Ok(Ok(())));
    let other = pointer.check(at, &body(Some("^p"), None), 5_000).await;
    let reason = other.unwrap().unwrap_err();
    assert_eq!(reason, "`^p` does not match the answer: up");
    let text = pointer
        .check(at, &body(None, Some("up".into())), 5_000)
        .await;
    let reason = text.unwrap().unwrap_err();
    assert_eq!(reason, "the answer is no JSON at 1:1: up");
    let grpc = Question::Grpc(GrpcProbe {
        port: at.port(),
        service: String::new(),
    });
    let other = pointer.check(at, &grpc, 5_000).await.unwrap();
    assert!(other.unwrap_err().contains("HTTP/2"));
    let refused = pointer.check(closed, &Question::Tcp, 5_000).await.unwrap();
    assert_eq!(refused, Err(format!("connection refused at {closed}")));
    assert_eq!(pointer.place(), format!("proxy {}", rig.name()));
}

/// One that answers as the first version did stands in for it.
#[tokio::test]
async fn a_proxy_that_is_too_old_for_a_check_says_so() {
    let rig = Rig::started().await;
    let real = Client::connect(&rig.socket()).await.unwrap();
    let mut hello = serde_json::to_value(real.hello().await.unwrap()).unwrap();
    hello["version"] = "0.0.9".into();
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = elsewhere.path().join(rig.name());
    std::fs::create_dir(&directory).unwrap();
    let listener = UnixListener::bind(directory.join("control.sock")).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (from, mut to) = stream.into_split();
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let request: Value = serde_json::from_str(&line).unwrap();
            let id = &request["id"];
            let reply = match request["op"].as_str().unwrap() {
                "hello" => json!({"id": id, "ok": hello}),
                _ => {
                    let message = "unknown variant `http_body`, expected `http` or `tcp`";
                    json!({"id": id, "error": {"code": "bad_request", "message": message}})
                }
            };
            to.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
        }
    });
    let mut seen = rig.spoken_to(Control::Socket);
    seen.0.run_dir = elsewhere.path().to_owned();
    let pointer = seen.pointer();
    let question = Question::Http(HttpProbe {
        port: 9,
        method: "GET".into(),
        path: "/up".into(),
        headers: vec![],
        status: vec![(200, 299)],
        contains: None,
        matches: Some("ok".into()),
        json: None,
        tls: None,
    });
    let check = pointer.check(([127, 0, 0, 1], 9).into(), &question, 5_000);
    let checked = tokio::time::timeout(LONG, check).await.unwrap();
    let Err(error @ VantageError::Unable { .. }) = checked else {
        panic!("{checked:?}");
    };
    let said = error.to_string();
    let begin = format!(
        "proxy {} is older than this flipside (it is of 0.0.9)",
        rig.name()
    );
    assert!(said.starts_with(&begin), "{said}");
    assert!(
        said.contains(&format!("`docker rm -f {}`", rig.name())),
        "{said}"
    );
    assert!(said.contains("`flipside proxy status`"), "{said}");
}
