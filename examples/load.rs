//! Puts load on a service and tells what became of every request.
//!
//! Some keep-alive connections ask for the same path again and again, at a pace, until a number of
//! requests, a time or SIGTERM ends it; then one line of JSON is printed:
//!
//! ```json
//! {"sent":1200,"failed":0,"closed_idle":2,"repeated":0,"p50_us":410,"p99_us":2100,"by_version":{"1":700,"2":500},"failures":{}}
//! ```
//!
//! - `sent`: requests of which at least one byte went out, or whose connection could not be opened.
//! - `failed`: those of `sent` without a whole answer of status 200 in time. Without `--repeat` nothing
//!   is sent twice.
//! - `closed_idle`: connections that the server closed while nothing was under way. No request was
//!   lost by them; the next one went over a new connection.
//! - `repeated`: with `--repeat`, those of `sent` whose connection, used before, ended without a byte
//!   of an answer, and that were asked once more over a new one, as browsers do.
//! - `by_version`: answers by what they say of themselves: the field `x-version`, else the number
//!   in the body's first line.
//!
//! It follows no redirects, speaks no TLS, and does not say how much a server could take: it keeps
//! its pace.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// Puts load on a service and tells what became of every request.
#[derive(Debug, Clone, Parser)]
struct Flags {
    /// Where to connect.
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// Path to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Field `Host` [default: the address].
    #[arg(long)]
    host: Option<String>,
    /// Connections kept open.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Ask once more, over a new connection, where a used one ends before any of an answer: a GET may
    /// be repeated then (RFC 9110, section 9.2.2).
    #[arg(long)]
    repeat: bool,
    /// Requests on one connection, before another one takes its place [default: no limit].
    #[arg(long)]
    per_connection: Option<u64>,
    /// Milliseconds that a connection rests between two requests.
    #[arg(long, default_value_t = 5)]
    rest_ms: u64,
    /// Requests at most.
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// Seconds at most.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Seconds that one request may take.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Print the line `answered` at the first whole answer.
    #[arg(long)]
    announce: bool,
}

/// What came of the requests of one connection, or of all.
#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    closed_idle: u64,
    repeated: u64,
    took_us: Vec<u32>,
    by_version: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
}

/// Whether the first answer has been told of.
static ANSWERED: Once = Once::new();

type Sender = SendRequest<Empty<Bytes>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = Flags::parse();
    let address = flags
        .address
        .to_socket_addrs()?
        .next()
        .ok_or("the address names nothing")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let totals = runtime.block_on(run(flags, address))?;
    println!("{}", totals.into_json());
    Ok(())
}

async fn run(flags: Flags, address: SocketAddr) -> std::io::Result<Totals> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    let left = Arc::new(AtomicU64::new(flags.requests));
    let seconds = flags.seconds;
    let flags = Arc::new(flags);
    let mut connections: Vec<_> = (0..flags.connections)
        .map(|_| {
            let (flags, left, stopped) = (flags.clone(), left.clone(), stopped.clone());
            tokio::spawn(ask_on(flags, address, left, stopped))
        })
        .collect();
    let mut all = Totals::default();
    let gathered = async {
        for connection in &mut connections {
            match connection.await {
                Ok(totals) => all.add(totals),
                Err(error) => return Err(std::io::Error::other(error)),
            }
        }
        Ok(())
    };
    tokio::pin!(gathered);
    tokio::select! {
        done = &mut gathered => done?,
        _ = terminate.recv() => { stop.send_replace(true); gathered.await?; }
        _ = interrupt.recv() => { stop.send_replace(true); gathered.await?; }
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {
            stop.send_replace(true);
            gathered.await?;
        }
    }
    Ok(all)
}

/// One connection's requests; what is under way when it is told to stop is finished.
async fn ask_on(
    flags: Arc<Flags>,
    address: SocketAddr,
    left: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) -> Totals {
    let mut totals = Totals::default();
    let mut open: Option<Sender> = None;
    let patience = Duration::from_secs(flags.patience);
    let rest = Duration::from_millis(flags.rest_ms);
    while !*stopped.borrow() && take_one(&left) {
        let begun = Instant::now();
        let asked = ask(&flags, address, &mut open, &mut totals);
        let answer = timeout(patience, asked)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        totals.sent += 1;
        if flags
            .per_connection
            .is_some_and(|most| totals.sent.is_multiple_of(most))
        {
            open = None;
        }
        match answer {
            Ok(version) => {
                if flags.announce {
                    ANSWERED.call_once(|| println!("answered"));
                }
                let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
                totals.took_us.push(took);
                *totals.by_version.entry(version).or_default() += 1;
            }
            Err(why) => {
                open = None;
                *totals.failures.entry(why).or_default() += 1;
            }
        }
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
    totals
}

fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

/// One request, over the open connection where there is one. Its answer's version, or why there is
/// no whole answer.
async fn ask(
    flags: &Flags,
    address: SocketAddr,
    open: &mut Option<Sender>,
    totals: &mut Totals,
) -> Result<String, String> {
    let host = flags.host.as_ref().unwrap_or(&flags.address);
    let new = || {
        Request::get(&flags.path)
            .header("host", host)
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())
    };
    let mut request = new()?;
    loop {
        let fresh = open.is_none();
        let mut sender = match open.take() {
            Some(sender) => sender,
            None => connect(address).await?,
        };
        if !fresh && sender.ready().await.is_err() {
            totals.closed_idle += 1;
            continue;
        }
        match sender.try_send_request(request).await {
            Ok(answer) => {
                let version = version_of(answer).await?;
                *open = Some(sender);
                return Ok(version);
            }
            Err(mut refused) => match refused.take_message() {
                // The connection was found closed before a byte went out.
                Some(unsent) if !fresh => {
                    totals.closed_idle += 1;
                    request = unsent;
                }
                None if flags.repeat && !fresh && ended(refused.error()) => {
                    totals.repeated += 1;
                    request = new()?;
                }
                _ => return Err(format!("no answer: {}", chain(refused.error()))),
            },
        }
    }
}

/// Whether a connection ended before any of an answer had come.
fn ended(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let kind = source
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    let reset = [
        std::io::ErrorKind::ConnectionReset,
        std::io::ErrorKind::BrokenPipe,
    ];
    error.is_incomplete_message() || kind.is_some_and(|kind| reset.contains(&kind))
}

async fn connect(address: SocketAddr) -> Result<Sender, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    stream
        .set_nodelay(true)
        .map_err(|error| format!("no connection: {error}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("no connection: {}", chain(&error)))?;
    // How a connection ends is seen by the request on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn version_of(answer: hyper::Response<hyper::body::Incoming>) -> Result<String, String> {
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| format!("answer cut short: {}", chain(&error)))?
        .to_bytes();
    if head.status != StatusCode::OK {
        return Err(format!("status {}", head.status.as_u16()));
    }
    let said = head.headers.get("x-version").map(|value| value.as_bytes());
    let first_line = body.split(|byte| *byte == b'\n').next();
    let version = match said {
        Some(said) => String::from_utf8_lossy(said).into_owned(),
        None => String::from_utf8_lossy(first_line.unwrap_or_default())
            .chars()
            .filter(char::is_ascii_digit)
            .collect(),
    };
    Ok(if version.is_empty() {
        "unknown".to_owned()
    } else {
        version
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.sent += other.sent;
        self.closed_idle += other.closed_idle;
        self.repeated += other.repeated;
        self.took_us.extend(other.took_us);
        for (version, count) in other.by_version {
            *self.by_version.entry(version).or_default() += count;
        }
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }

    fn into_json(mut self) -> serde_json::Value {
        self.took_us.sort_unstable();
        let at = |percent: usize| {
            let last = self.took_us.len().checked_sub(1)?;
            self.took_us.get(last * percent / 100).copied()
        };
        json!({
            "sent": self.sent,
            "failed": self.failures.values().sum::<u64>(),
            "closed_idle": self.closed_idle,
            "repeated": self.repeated,
            "p50_us": at(50),
            "p99_us": at(99),
            "by_version": self.by_version,
            "failures": self.failures,
        })
    }
}
