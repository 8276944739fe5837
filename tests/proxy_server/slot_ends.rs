//! How connections through a slot are carried, and how they end.

use std::sync::Arc;
use std::time::Duration;

use flipside::proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::kit::{Outside, Proxy, Wire, entry, eventually, free_port, named, raw, slots};
use super::slots::{connect, echo, end, heard, holds, in_flight, met, ports};

/// How often a [`pattern`] is said: together more than what the systems on the way buffer, 64 MB.
const TIMES: usize = 1_000;

/// What a stream says over and over: of a prime length, so that no block that is lost or comes twice
/// goes unseen.
fn pattern() -> Vec<u8> {
    let byte = |at: u32| (at.wrapping_mul(2_654_435_761) >> 16) as u8;
    (0..65_521).map(byte).collect()
}

async fn say_all(mut to: impl tokio::io::AsyncWrite + Unpin) {
    let pattern = pattern();
    for _ in 0..TIMES {
        to.write_all(&pattern).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

async fn hear_all(mut from: impl tokio::io::AsyncRead + Unpin) {
    let pattern = pattern();
    let mut block = vec![0; pattern.len()];
    for time in 0..TIMES {
        from.read_exact(&mut block).await.unwrap();
        assert!(block == pattern, "after {time}");
    }
    assert_eq!(from.read(&mut block).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_streams_come_whole_in_both_directions_at_once() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (tell, mut told) = mpsc::channel(1);
    let speak = move |stream: TcpStream, _| {
        let tell = tell.clone();
        async move {
            let (from, to) = stream.into_split();
            tokio::join!(say_all(to), hear_all(from));
            tell.send(()).await.unwrap();
        }
    };
    let (one, _) = raw(speak).await;
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let (from, to) = connect(at[0]).await.unwrap().into_split();
    tokio::join!(say_all(to), hear_all(from));
    assert_eq!(told.recv().await, Some(()));
    eventually("it is counted out", || async {
        in_flight(&proxy.control, 1).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_may_be_done_before_the_other() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    // Answers only once all has been said.
    let (patient, _) = raw(|mut stream, _| async move {
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(b"got ").await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
    })
    .await;
    // Says all that it has to say at once, and then listens.
    let (tell, mut told) = mpsc::channel(1);
    let (hasty, _) = raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            stream.write_all(b"go on").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            tell.send(said).await.unwrap();
        }
    })
    .await;
    let both = [(1, 100, &[patient][..]), (2, 100, &[hasty])];
    proxy.route(slots("shop", [blue, green], &both)).await;

    let mut first = connect(blue).await.unwrap();
    first.write_all(b"all of it").await.unwrap();
    first.shutdown().await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "got all of it");

    let mut second = connect(green).await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "go on");
    for word in ["and ", "on ", "and on"] {
        second.write_all(word.as_bytes()).await.unwrap();
    }
    assert_eq!(in_flight(&proxy.control, 2).await, 1);
    second.shutdown().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "and on and on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_holds_up_its_replica_and_nobody_else() {
    // In a process of its own it shows what it keeps for a client.
    let proxy = Outside::start(1024);
    let control = proxy.control().await;
    let at = ports();
    let (tell, mut told) = mpsc::channel(TIMES);
    let speak = move |mut stream: TcpStream, number| {
        let tell = tell.clone();
        async move {
            if number > 0 {
                stream.write_all(b"one.").await.unwrap();
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                return;
            }
            let pattern = pattern();
            for time in 0..TIMES {
                let mut writing = std::pin::pin!(stream.write_all(&pattern));
                let taken = tokio::time::timeout(Duration::from_secs(1), &mut writing).await;
                if taken.is_err() {
                    tell.send(time).await.unwrap();
                    writing.await.unwrap();
                }
            }
        }
    };
    let (one, _) = raw(speak).await;
    let wanted = slots("shop", at, &[(1, 100, &[one])]);
    control.write(None, wanted).await.unwrap();
    let before = proxy.resident();
    let stuck = connect(at[0]).await.unwrap();
    let said = told.recv().await.unwrap();
    assert!(said < TIMES / 2, "{said} times 64 KiB were taken");
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes are kept");
    let (mut other, name) = met(at[0]).await;
    assert_eq!(name, "one.");
    holds(&mut other).await;
    hear_all(stuck).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_off_is_told_to_the_other_end() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    let (tell, mut told) = mpsc::channel(1);
    let (listening, _) = raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            stream.write_all(b"one.").await.unwrap();
            tell.send(end(&mut stream).await).await.unwrap();
        }
    })
    .await;
    let (breaking, _) = raw(|mut stream, _| async move {
        stream.write_all(b"half").await.unwrap();
        heard(&mut stream, 4).await;
        reset(stream);
    })
    .await;
    let both = [(1, 100, &[listening][..]), (2, 100, &[breaking])];
    proxy.route(slots("shop", [blue, green], &both)).await;

    let (gone, _) = met(blue).await;
    reset(gone);
    assert_eq!(told.recv().await.unwrap(), (0, true));

    // Also where it had said before that it has no more to say.
    let (mut gone, _) = met(blue).await;
    gone.shutdown().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), (0, false));
    let (mut kept, _) = met(green).await;
    kept.write_all(b"ping").await.unwrap();
    assert_eq!(end(&mut kept).await, (0, true));
    drop(gone);
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// It has said that it says no more, waits for an answer, and is gone: its replica, still at work,
/// learns of it although nothing is to be read or written.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_after_its_last_word_is_noticed() {
    let proxy = Proxy::start().await;
    let at = ports();
    let (tell, mut told) = mpsc::channel(4);
    let (working, _) = raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            stream.write_all(b"one.").await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            tell.send(String::from("all said")).await.unwrap();
            let gone = stream.ready(tokio::io::Interest::ERROR).await;
            tell.send(format!("{:?}", gone.unwrap().is_error()))
                .await
                .unwrap();
        }
    })
    .await;
    proxy
        .route(slots("shop", at, &[(1, 100, &[working])]))
        .await;
    let (mut asking, _) = met(at[0]).await;
    asking.shutdown().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "all said");
    assert_eq!(in_flight(&proxy.control, 1).await, 1);
    reset(asking);
    let gone = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
    assert_eq!(gone.unwrap().unwrap(), "true");
    eventually("it is counted out", || async {
        in_flight(&proxy.control, 1).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_no_reason_to_end() {
    let limits = Limits {
        idle: Duration::from_millis(200),
        head: Duration::from_millis(200),
        take: Duration::from_millis(200),
        answer: Duration::from_millis(200),
        ..Limits::default()
    };
    let proxy = Proxy::start_with(limits).await;
    let at = ports();
    let web = free_port();
    let (one, shop) = (echo("one.").await, named("web").await);
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    proxy.route(entry("web", web, &[(1, 1, &[shop])])).await;
    let (mut silent, _) = met(at[0]).await;
    // By the time that one who asks for nothing is sent away, twice over, so would it have been.
    for _ in 0..2 {
        assert_eq!(Wire::open(web).await.more().await, 0);
    }
    holds(&mut silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_connections_end_and_cuts_the_rest() {
    let limits = Limits {
        stop: Duration::from_secs(1),
        ..Limits::default()
    };
    let mut proxy = Proxy::start_with(limits).await;
    let at = ports();
    let one = echo("one.").await;
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let (mut ending, _) = met(at[0]).await;
    let (mut staying, _) = met(at[0]).await;
    let server = proxy.server.take().unwrap();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    eventually("nobody new is let in", || async {
        connect(at[0]).await.is_err()
    })
    .await;
    holds(&mut staying).await;
    holds(&mut ending).await;
    ending.shutdown().await.unwrap();
    assert_eq!(end(&mut ending).await, (0, false));
    assert_eq!(end(&mut staying).await, (0, true));
    stopping.await.unwrap();
}

/// Connections through slots have nothing that they could be spared for, so they are not; nor do
/// they take what the control plane needs.
#[tokio::test(flavor = "multi_thread")]
async fn file_descriptors_are_left_for_the_control_plane() {
    let proxy = Outside::start(112);
    let control = proxy.control().await;
    let at = ports();
    let web = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let (one, shop) = (echo("one.").await, named("web").await);
    let wanted = slots("shop", at, &[(1, 100, &[one])]);
    control.write(None, wanted).await.unwrap();
    control
        .write(None, entry("web", web, &[(1, 1, &[shop])]))
        .await
        .unwrap();
    let mut resting = Wire::open(web).await;
    assert_eq!(resting.get("x", "/").await.body, "web");
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(met(at[0]).await.0);
    }
    assert_eq!(resting.more().await, 0, "one at rest made room");
    // One more waits until there is room.
    let go_on = gate.clone();
    let waiting = tokio::spawn(async move {
        let mut late = connect(at[0]).await.unwrap();
        go_on.add_permits(1);
        heard(&mut late, 4).await
    });
    gate.acquire().await.unwrap().forget();
    for _ in 0..20 {
        control.hello().await.unwrap();
    }
    for stream in &mut held {
        holds(stream).await;
    }
    assert!(!waiting.is_finished());
    held.pop();
    assert_eq!(waiting.await.unwrap(), "one.");
}
