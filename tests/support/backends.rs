//! Servers of a test's own, for pointers to send traffic to, and what asks through these.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take before a test gives up.
pub const LONG: Duration = Duration::from_secs(30);

/// Asks until `ask` is content.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Answers every request with `name`.
pub async fn named(name: &'static str) -> SocketAddr {
    let (open, at) = gated(name).await;
    open.send(true).unwrap();
    tokio::spawn(async move { open.closed().await });
    at
}

/// As [`named`], on a listener of the test's own.
pub fn named_at(listener: TcpListener, name: &'static str) {
    let (open, _) = gated_at(listener, name);
    open.send(true).unwrap();
    tokio::spawn(async move { open.closed().await });
}

/// Two as [`named`], at one port of two addresses.
pub async fn named_alike(names: [&'static str; 2]) -> [SocketAddr; 2] {
    until("a port that is free at two addresses", async || {
        let one = TcpListener::bind("127.0.0.1:0").await.ok()?;
        let port = one.local_addr().ok()?.port();
        let two = TcpListener::bind(("127.0.0.2", port)).await.ok()?;
        let mut at = Vec::new();
        for (listener, name) in [one, two].into_iter().zip(names) {
            let (open, found) = gated_at(listener, name);
            open.send(true).unwrap();
            tokio::spawn(async move { open.closed().await });
            at.push(found);
        }
        Some([at[0], at[1]])
    })
    .await
}

/// Answers every request with `name`, once the gate is open.
pub async fn gated(name: &'static str) -> (watch::Sender<bool>, SocketAddr) {
    gated_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), name)
}

fn gated_at(listener: TcpListener, name: &'static str) -> (watch::Sender<bool>, SocketAddr) {
    let at = listener.local_addr().unwrap();
    let (open, gate) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, name, gate.clone()));
        }
    });
    (open, at)
}

async fn answer(mut stream: TcpStream, name: &str, mut gate: watch::Receiver<bool>) {
    while let Some(head) = request(&mut stream).await {
        if gate.wait_for(|open| *open).await.is_err() {
            return;
        }
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
        let written = stream.write_all(answer.as_bytes()).await;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if written.is_err() || head.contains("\r\nconnection: close") {
            return;
        }
    }
}

/// The head of one request without a body; `None` at the end.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(head)
}

/// The whole answer to a GET of `/`, as text; what there was of it where it was cut.
pub async fn get(port: u16, host: &str) -> String {
    get_with(port, host, &[]).await
}

/// A request at `port`, on its way to the one behind the gate `open`, which has read it; what [`get`]
/// answers in the end.
pub async fn get_held(open: &watch::Sender<bool>, port: u16) -> JoinHandle<String> {
    let asked = tokio::spawn(async move { get(port, "shop").await });
    until("the request", async || {
        (open.receiver_count() > 1).then_some(())
    })
    .await;
    asked
}

/// As [`get`], with these lines in its head.
pub async fn get_with(port: u16, host: &str, lines: &[String]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // A connection that is reset has said all that it will say.
    let _cut = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}
