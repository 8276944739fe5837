//! Slots: connections passed on unread, and the switch between those they are passed to.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use flipside::proxy::control::{Client, Code, Mark, Settled};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::kit::{Outside, Proxy, Wire, entry, eventually, free_port, named, raw, refusing, slots};
use super::orders::refusal;

/// Says its name to everyone who comes, and then whatever is said to it.
pub async fn echo(name: &'static str) -> SocketAddr {
    let speak = move |mut stream: TcpStream, _| async move {
        let _gone = stream.write_all(name.as_bytes()).await;
        let (mut from, mut to) = stream.split();
        let _gone = tokio::io::copy(&mut from, &mut to).await;
        let _gone = to.shutdown().await;
    };
    raw(speak).await.0
}

pub fn ports() -> [u16; 2] {
    [free_port(), free_port()]
}

pub async fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port)).await
}

/// A connection, and who it is to.
pub async fn met(port: u16) -> (TcpStream, String) {
    let mut stream = connect(port).await.unwrap();
    let name = heard(&mut stream, 4).await;
    (stream, name)
}

pub async fn heard(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    let read = stream.read_exact(&mut bytes);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    read.expect("nothing came for ten seconds").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What is said on `stream` comes back.
pub async fn holds(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(heard(stream, 4).await, "ping");
}

/// How a connection ends: what was still said, and whether it was reset.
pub async fn end(stream: &mut TcpStream) -> (usize, bool) {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    match read.expect("no end for ten seconds") {
        Ok(_) => (bytes.len(), false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes.len(), true),
        Err(error) => panic!("{error}"),
    }
}

pub async fn in_flight(control: &Client, release: u64) -> u64 {
    control.stats("shop").await.unwrap().releases[&release].in_flight
}

fn settled(in_flight: u64, finished: u64, cut: u64, kept: u64) -> Settled {
    Settled {
        in_flight: Some(in_flight),
        finished: Some(finished),
        cut: Some(cut),
        kept: Some(kept),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slot_leads_to_its_own_environment() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    let (one, two) = (echo("one.").await, echo("two.").await);
    let both = slots("shop", [blue, green], &[(1, 100, &[one]), (2, 100, &[two])]);
    proxy.route(both).await;
    let (mut at_blue, name) = met(blue).await;
    assert_eq!(name, "one.");
    let (mut at_green, name) = met(green).await;
    assert_eq!(name, "two.");
    holds(&mut at_blue).await;
    holds(&mut at_green).await;
    let stats = proxy.control.stats("shop").await.unwrap().releases;
    assert_eq!((stats[&1].requests, stats[&1].in_flight), (1, 1));
    assert_eq!((stats[&2].requests, stats[&2].in_flight), (1, 1));
    drop((at_blue, at_green));
    eventually("both are counted out", || async {
        in_flight(&proxy.control, 1).await + in_flight(&proxy.control, 2).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_given_away_keeps_its_connections_until_the_limit() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    let (one, two, three) = (echo("one.").await, echo("two.").await, echo("tri.").await);
    let at = [blue, green];
    proxy
        .route(slots("shop", at, &[(1, 100, &[one]), (2, 100, &[two])]))
        .await;
    let (mut staying, _) = met(blue).await;
    let (leaving, _) = met(blue).await;
    let (mut other, _) = met(green).await;
    let mut taken = slots("shop", at, &[(3, 100, &[three]), (2, 100, &[two])]);
    taken.marks.entry(3).or_default().proven = true;
    let written = proxy.route(taken).await;
    assert_eq!(written.in_flight_old, Some(2));
    let (mut newer, name) = met(blue).await;
    assert_eq!(name, "tri.");
    for stream in [&mut staying, &mut other, &mut newer] {
        holds(stream).await;
    }
    drop(leaving);
    eventually("one has left", || async {
        in_flight(&proxy.control, 1).await == 1
    })
    .await;
    let mut told = Vec::new();
    let settling = proxy
        .control
        .settle("shop", written.generation, 50, |it| told.push(it.left));
    assert_eq!(settling.await.unwrap(), settled(2, 1, 1, 0));
    assert_eq!(told, [1]);
    assert_eq!(end(&mut staying).await, (0, true));
    for stream in [&mut other, &mut newer] {
        holds(stream).await;
    }
    let now = proxy.control.read("shop").await.unwrap().unwrap();
    assert!(now.marks[&3].proven);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_is_reset_on_both_sides() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let speak = move |mut stream: TcpStream, _| {
        let tell = tell.clone();
        async move {
            stream.write_all(b"one.").await.unwrap();
            tell.send(end(&mut stream).await).await.unwrap();
        }
    };
    let (one, _) = raw(speak).await;
    let two = echo("two.").await;
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let (mut held, _) = met(at[0]).await;
    held.write_all(b"half a").await.unwrap();
    let written = proxy.route(slots("shop", at, &[(3, 100, &[two])])).await;
    let settling = proxy.control.settle("shop", written.generation, 0, |_| {});
    assert_eq!(settling.await.unwrap(), settled(1, 0, 1, 0));
    assert_eq!(end(&mut held).await, (0, true));
    let (_, reset) = told.recv().await.unwrap();
    assert!(reset, "the replica takes what it has for whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_back_keeps_its_connections() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (one, three) = (echo("one.").await, echo("tri.").await);
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let (mut held, _) = met(at[0]).await;
    let forth = proxy.route(slots("shop", at, &[(3, 100, &[three])])).await;
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let settling = proxy.control.settle("shop", forth.generation, 20, |_| {});
    assert_eq!(settling.await.unwrap(), settled(1, 0, 0, 1));
    holds(&mut held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_where_no_environment_hangs() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    let (one, two) = (echo("one.").await, echo("two.").await);
    let at = [blue, green];
    let refused = async |port| {
        let refused = connect(port).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    };
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    refused(green).await;
    // A standby that the pointer knows at weight 0 is not attached.
    proxy
        .route(slots("shop", at, &[(1, 100, &[one]), (2, 0, &[two])]))
        .await;
    refused(green).await;
    proxy
        .route(slots("shop", at, &[(1, 100, &[one]), (2, 100, &[two])]))
        .await;
    let (mut held, name) = met(green).await;
    assert_eq!(name, "two.");
    let taken = proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    refused(green).await;
    assert_eq!(taken.in_flight_old, Some(1));
    holds(&mut held).await;
    held.shutdown().await.unwrap();
    assert_eq!(end(&mut held).await, (0, false));
    let settling = proxy
        .control
        .settle("shop", taken.generation, 5_000, |_| {});
    assert_eq!(settling.await.unwrap(), settled(1, 1, 0, 0));
    let listeners = proxy.control.hello().await.unwrap().listeners;
    assert_eq!(listeners.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_is_passed_over() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (one, also) = (echo("one.").await, echo("too.").await);
    let endpoints = [refusing(), one, refusing(), also];
    proxy
        .route(slots("shop", at, &[(1, 100, &endpoints)]))
        .await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(met(at[0]).await);
    }
    let of = |wanted| held.iter().filter(|(_, name)| name == wanted).count();
    assert!(of("one.") >= 5 && of("too.") >= 5, "{}", of("one."));

    proxy
        .route(slots("shop", at, &[(3, 100, &[refusing(), refusing()])]))
        .await;
    // The reset may come before the system has said that it is connected.
    match connect(at[0]).await {
        Ok(mut nobody) => assert_eq!(end(&mut nobody).await, (0, true)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let stats = proxy.control.stats("shop").await.unwrap().releases;
    assert_eq!((stats[&3].requests, stats[&3].unreachable), (1, 1));
    // It is counted out behind its reset.
    eventually("it is counted out", || async {
        in_flight(&proxy.control, 3).await == 0
    })
    .await;
}

/// Short connections, one after another; each has to get its answer from start to end.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_lost_over_many_switches() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (one, three) = (echo("one.").await, echo("tri.").await);
    let two = echo("two.").await;
    let to = |release, address| slots("shop", at, &[(release, 100, &[address]), (2, 100, &[two])]);
    proxy.route(to(1, one)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let (stop, served) = (stop.clone(), served.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (mut stream, name) = met(at[0]).await;
                    assert!(["one.", "tri."].contains(&name.as_str()), "{name}");
                    holds(&mut stream).await;
                    stream.shutdown().await.unwrap();
                    assert_eq!(end(&mut stream).await, (0, false));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for turn in 0..40 {
        let before = served.load(Ordering::Relaxed);
        let (release, address, name) = match turn % 2 {
            0 => (3, three, "tri."),
            _ => (1, one, "one."),
        };
        let written = proxy.route(to(release, address)).await;
        assert_eq!(met(at[0]).await.1, name, "at once");
        let in_flight = written.in_flight_old.unwrap();
        let settling = proxy
            .control
            .settle("shop", written.generation, 5_000, |_| {});
        assert_eq!(settling.await.unwrap(), settled(in_flight, in_flight, 0, 0));
        eventually("traffic goes on", || async {
            served.load(Ordering::Relaxed) > before + 64
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let stats = proxy.control.stats("shop").await.unwrap().releases;
    let counted: u64 = stats.values().map(|it| it.requests).sum();
    assert_eq!(counted, served.load(Ordering::Relaxed) + 40);
    assert!(stats.values().all(|it| it.unreachable == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_stay_where_they_are() {
    let proxy = Outside::start(8192);
    let control = proxy.control().await;
    let at = ports();
    let (one, three) = (echo("one.").await, echo("tri.").await);
    let wanted = slots("shop", at, &[(1, 100, &[one])]);
    control.write(None, wanted).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(met(at[0]).await.0);
    }
    assert_eq!(in_flight(&control, 1).await, 1000);
    let wanted = slots("shop", at, &[(3, 100, &[three])]);
    let written = control.write(Some(1), wanted).await.unwrap();
    assert_eq!(written.in_flight_old, Some(1000));
    for stream in &mut held {
        holds(stream).await;
    }
    held.truncate(400);
    eventually("the others are counted out", || async {
        in_flight(&control, 1).await == 400
    })
    .await;
    let settling = control.settle("shop", written.generation, 100, |_| {});
    assert_eq!(settling.await.unwrap(), settled(1000, 600, 400, 0));
    for stream in &mut held {
        assert_eq!(end(stream).await, (0, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_a_removal_and_a_question_are_answered() {
    let proxy = Proxy::start().await;
    let at = ports();
    let one = echo("one.").await;
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let (mut held, _) = met(at[0]).await;
    let marked = proxy.control.mark("shop", 1, 1, Mark::Proven).await;
    assert_eq!(marked.unwrap().generation, 1);
    holds(&mut held).await;
    let asked = refusal(proxy.control.ask("shop", "/", false, 1_000).await);
    assert_eq!(asked.code, Code::BadRequest);
    assert!(asked.message.contains("has slots"), "{}", asked.message);
    assert!(proxy.control.remove("shop", 1).await.unwrap().existed);
    assert_eq!(end(&mut held).await, (0, true));
    let refused = connect(at[0]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(!proxy.table_file("shop").exists());
}

/// From HTTP to slots on the same port and back, by one write each.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_can_become_a_slot() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (web, one) = (named("web").await, echo("one.").await);
    proxy.route(entry("shop", at[0], &[(2, 1, &[web])])).await;
    assert_eq!(Wire::open(at[0]).await.get("x", "/").await.body, "web");
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let (mut held, name) = met(at[0]).await;
    assert_eq!(name, "one.");
    let back = proxy.route(entry("shop", at[0], &[(2, 1, &[web])])).await;
    assert_eq!(back.in_flight_old, Some(1));
    assert_eq!(Wire::open(at[0]).await.get("x", "/").await.body, "web");
    holds(&mut held).await;
}
