//! Which service, which environment, which replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use flipside::proxy::control::{ClientError, Code};
use flipside::proxy::table::Preview;
use http_body_util::Full;
use hyper::Response;
use tokio::sync::Semaphore;

use super::kit::{Proxy, Wire, backend, entry, free_port, named, refusing};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_routed_by_host() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (shop, blog, rest) = (
        named("shop").await,
        named("blog").await,
        named("rest").await,
    );
    let mut one = entry("shop", port, &[(1, 1, &[shop])]);
    one.hosts = vec!["shop.example.:80".into(), "WWW.shop.example".into()];
    let mut two = entry("blog", port, &[(1, 1, &[blog])]);
    two.hosts = vec!["blog.example".into()];
    proxy.route(one).await;
    proxy.route(two).await;

    let mut wire = Wire::open(port).await;
    assert_eq!(wire.get("shop.example", "/").await.body, "shop");
    assert_eq!(wire.get("blog.example:8080", "/").await.body, "blog");
    assert_eq!(wire.get("Www.Shop.Example.", "/").await.body, "shop");
    let unknown = wire.get("other.example", "/").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(
        unknown.body,
        "no service here answers for host `other.example`\n"
    );

    proxy.route(entry("rest", port, &[(1, 1, &[rest])])).await;
    assert_eq!(wire.get("other.example", "/").await.body, "rest");
    wire.send("GET http://blog.example/x HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.body, "blog");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_belongs_to_one_service_of_a_listener() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let mut one = entry("one", port, &[]);
    one.hosts = vec!["a.example".into()];
    proxy.route(one).await;
    let mut two = entry("two", port, &[]);
    two.hosts = vec!["A.example".into()];
    match proxy.control.write(None, two.clone()).await {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.code, Code::HostTaken);
            assert!(
                error
                    .message
                    .contains("`one` already answers host `A.example`")
            );
        }
        other => panic!("{other:?}"),
    }
    two.hosts = vec!["b.example".into()];
    proxy.route(two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_an_environment_is_unavailable() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let idle = named("idle").await;
    proxy.route(entry("shop", port, &[(1, 0, &[idle])])).await;
    assert_eq!(Wire::open(port).await.get("x", "/").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_respected() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (one, two) = (named("one").await, named("two").await);
    proxy
        .route(entry("shop", port, &[(1, 3, &[one]), (2, 1, &[two])]))
        .await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut wire = Wire::open(port).await;
    for _ in 0..2000 {
        *seen.entry(wire.get("x", "/").await.body).or_default() += 1;
    }
    assert!((1380..=1620).contains(&seen["one"]), "{seen:?}");
    let stats = proxy.control.stats("shop").await.unwrap();
    assert_eq!(stats.releases[&1].requests, u64::from(seen["one"]));
    assert_eq!(stats.releases[&2].statuses["2xx"], u64::from(seen["two"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_load_and_the_busy_one_is_spared() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let slow = {
        let gate = gate.clone();
        backend(move |request| {
            let gate = gate.clone();
            async move {
                if request.uri().path() == "/wait" {
                    let _place = gate.acquire().await.unwrap();
                }
                Response::new(Full::from("slow"))
            }
        })
        .await
    };
    let quick = named("quick").await;
    proxy
        .route(entry("shop", port, &[(1, 1, &[slow, quick])]))
        .await;
    let mut wire = Wire::open(port).await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..20 {
        *seen.entry(wire.get("x", "/").await.body).or_default() += 1;
    }
    assert_eq!(seen["slow"], 10);
    assert_eq!(seen["quick"], 10);
    gate.add_permits(100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_replica_is_passed_over() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let there = named("there").await;
    proxy
        .route(entry(
            "shop",
            port,
            &[(1, 1, &[refusing(), there, refusing()])],
        ))
        .await;
    let mut wire = Wire::open(port).await;
    for _ in 0..30 {
        wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
            .await;
        assert_eq!(wire.answer().await.body, "there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_replicas_refuse_the_answer_says_so_and_is_counted() {
    let proxy = Proxy::start().await;
    let port = free_port();
    proxy
        .route(entry("shop", port, &[(7, 1, &[refusing(), refusing()])]))
        .await;
    let answer = Wire::open(port).await.get("x", "/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.body, "no replica could be reached\n");
    let stats = proxy.control.stats("shop").await.unwrap();
    assert_eq!(stats.releases[&7].unreachable, 1);
    assert_eq!(stats.releases[&7].in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_ask_are_shown_the_preview() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (live, next, blog) = (
        named("live").await,
        named("next").await,
        named("blog").await,
    );
    let mut shop = entry("shop", port, &[(1, 100, &[live]), (2, 0, &[next])]);
    shop.hosts = vec!["shop.example".into()];
    shop.preview = Some(Preview {
        release: Some(2),
        header: Some("X-Preview: yes".into()),
        hosts: vec!["Next.shop.example".into()],
    });
    proxy.route(shop.clone()).await;
    let mut wire = Wire::open(port).await;
    assert_eq!(wire.get("shop.example", "/").await.body, "live");
    assert_eq!(wire.get("next.shop.example:80", "/").await.body, "next");
    let asks =
        |value: &str| format!("GET / HTTP/1.1\r\nHost: shop.example\r\nx-preview: {value}\r\n\r\n");
    for (value, who) in [("yes", "next"), ("no", "live"), ("yes, no", "live")] {
        wire.send(&asks(value)).await;
        assert_eq!(wire.answer().await.body, who, "{value}");
    }
    for preview in [false, true] {
        let asked = proxy.control.ask("shop", "/", preview, 2000).await.unwrap();
        assert_eq!(asked.release, Some(if preview { 2 } else { 1 }));
    }

    let mut other = entry("blog", port, &[(1, 1, &[blog])]);
    other.hosts = vec!["next.shop.example".into()];
    let error = proxy.control.write(None, other).await.unwrap_err();
    let ClientError::Refused(refusal) = error else {
        panic!("{error}");
    };
    assert_eq!(refusal.code, Code::HostTaken);

    shop.preview = None;
    proxy.control.write(Some(1), shop).await.unwrap();
    assert_eq!(wire.get("shop.example", "/").await.body, "live");
    assert_eq!(wire.get("next.shop.example", "/").await.status, 404);
}
