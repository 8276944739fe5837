//! A small HTTP service to release: the quickstart and the tests put it into an image of its own.
//!
//! | path | answers |
//! | --- | --- |
//! | `/` | the text of `VERSION` |
//! | `/up` | 200; 503 with `FAIL_UP=1`, or once `FAIL_AFTER_MS` have passed or `/break` was asked for, or while nobody in its networks is called `NEEDS` |
//! | `/break` | 200; from now on `/up` is 503 |
//! | `/fail`, `/redirect` | 500; 301 to `/` |
//! | `/slow?ms=N` | after N milliseconds |
//! | `/stream?ms=N&n=K` | K chunks, N milliseconds apart |
//! | `/headers` | the request's header fields |
//! | `/ws` with `Upgrade: echo` | every byte it is sent |
//! | `/exit?code=N` | nothing: it ends |
//! | `/env?NAME`, `/file?PATH`, `/stat?PATH` | a variable; a file; its `UID GID MODE` |
//!
//! `PORT` (8080) is where it listens. `START_DELAY_MS` delays that, `EXIT_AT_START=N` prevents it,
//! `HOG=1` takes memory until the kernel ends it, `DEAF=1` hears no SIGTERM. `hello check` exits with 0 if `/up` is 200;
//! `hello sleep` does nothing, `hello echo` repeats what it reads. `hello once` runs to its end: it
//! adds a line to the file `COUNT`, waits `ONCE_MS` and exits with `ONCE_EXIT`. SIGTERM lets requests
//! in flight end.
//!
//! `hello work` is a worker: it holds the lock of the file `WORK` and writes there that it begins and
//! ends, or that another is at work. `WORK_MS=N` ends it with 3 after so long; stopping takes it
//! `STOP_MS`.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, LOCATION, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether `/break` was asked for.
static BROKEN: AtomicBool = AtomicBool::new(false);

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match std::env::args().nth(1).as_deref() {
        None => runtime.block_on(serve()),
        Some("check") => Ok(check()),
        Some("work") => runtime.block_on(work()),
        Some("sleep") => runtime.block_on(async {
            signal(SignalKind::terminate())?.recv().await;
            Ok(ExitCode::SUCCESS)
        }),
        Some("echo") => {
            // Not `std::io::copy`: standard output keeps what follows its last line end.
            let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
            let mut buffer = [0; 8192];
            loop {
                match input.read(&mut buffer)? {
                    0 => return Ok(ExitCode::SUCCESS),
                    n => output.write_all(&buffer[..n])?,
                }
                output.flush()?;
            }
        }
        Some("once") => once(),
        Some(other) => {
            eprintln!("`{other}` is none of `check`, `echo`, `once`, `sleep` and `work`");
            Ok(ExitCode::from(2))
        }
    }
}

fn once() -> Result<ExitCode, Failure> {
    let version = variable("VERSION").unwrap_or_default();
    println!("once begins, VERSION is `{version}`");
    if let Some(path) = variable("COUNT") {
        let mut file = std::fs::OpenOptions::new();
        writeln!(file.create(true).append(true).open(path)?, "{version}")?;
    }
    std::thread::sleep(Duration::from_millis(number("ONCE_MS").unwrap_or_default()));
    let code = number("ONCE_EXIT").unwrap_or_default();
    println!("once exits with {code}");
    Ok(ExitCode::from(u8::try_from(code)?))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    variable(name)?.parse().ok()
}

fn port() -> u16 {
    let port = number("PORT").and_then(|port| u16::try_from(port).ok());
    port.unwrap_or(8080)
}

async fn serve() -> Result<ExitCode, Failure> {
    let mut ended = signal(SignalKind::terminate())?;
    if let Some(code) = number("EXIT_AT_START") {
        println!("exiting with {code}, as EXIT_AT_START says");
        return Ok(ExitCode::from(u8::try_from(code)?));
    }
    if variable("HOG").is_some() {
        hog();
    }
    let delay = number("START_DELAY_MS").unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(delay)).await;
    let listener = TcpListener::bind(("0.0.0.0", port())).await?;
    println!("listening on {}", listener.local_addr()?);
    let begun = Instant::now();
    let (stop, stopped) = watch::channel(());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = ended.recv() => match variable("DEAF") {
                None => break,
                Some(_) => continue,
            },
        };
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, begun));
            let http = hyper::server::conn::http1::Builder::new();
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection.with_upgrades());
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                println!("connection: {error}");
            }
        });
    }
    println!("stopping");
    drop((listener, stopped));
    stop.send(()).ok();
    stop.closed().await;
    Ok(ExitCode::SUCCESS)
}

/// The kernel lets the lock go where the worker is killed, and knows of it in every container.
async fn work() -> Result<ExitCode, Failure> {
    let mut ended = signal(SignalKind::terminate())?;
    let path = variable("WORK").ok_or("WORK names no file")?;
    let mut log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)?;
    let version = variable("VERSION").unwrap_or_else(|| "hello".into());
    if log.try_lock().is_err() {
        writeln!(log, "{version} finds another at work")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(log, "{version} begins")?;
    println!("at work");
    let most = number("WORK_MS").map_or(Duration::MAX, Duration::from_millis);
    if tokio::time::timeout(most, ended.recv()).await.is_err() {
        println!("no work left");
        writeln!(log, "{version} gives up")?;
        return Ok(ExitCode::from(3));
    }
    let stop = number("STOP_MS").unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(stop)).await;
    writeln!(log, "{version} ends")?;
    Ok(ExitCode::SUCCESS)
}

fn hog() -> ! {
    let mut all = Vec::new();
    loop {
        // Pages count only once they are written to.
        all.push(vec![1u8; 1 << 20]);
        println!("holding {} MiB", all.len());
    }
}

async fn answer(request: Request<Incoming>, begun: Instant) -> Result<Response<Body>, Failure> {
    let line = format!("{} {}", request.method(), request.uri());
    let response = route(request, begun).await?;
    println!("{line} {}", response.status().as_u16());
    Ok(response)
}

async fn route(request: Request<Incoming>, begun: Instant) -> Result<Response<Body>, Failure> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found.and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let wait = Duration::from_millis(parameter("ms").unwrap_or(100));
    Ok(match request.uri().path() {
        "/" => text(200, variable("VERSION").unwrap_or_else(|| "hello".into())),
        "/up" => text(if is_up(begun).await { 200 } else { 503 }, ""),
        "/break" => {
            BROKEN.store(true, Ordering::Relaxed);
            text(200, "broken, as asked")
        }
        "/fail" => text(500, "failed, as asked"),
        "/redirect" => {
            let mut response = text(301, "");
            response.headers_mut().insert(LOCATION, "/".parse()?);
            response
        }
        "/slow" => {
            tokio::time::sleep(wait).await;
            text(200, "slow")
        }
        "/stream" => {
            let chunks = stream::iter(0..parameter("n").unwrap_or(10)).then(move |n| async move {
                tokio::time::sleep(wait).await;
                Ok(Frame::data(Bytes::from(format!("chunk {n}\n"))))
            });
            Response::new(StreamBody::new(chunks).boxed_unsync())
        }
        "/headers" => {
            let fields = request.headers().iter();
            let lines = fields.map(|(name, value)| {
                format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
            });
            text(200, lines.collect::<String>())
        }
        "/ws" => echo(request)?,
        "/exit" => {
            let code = parameter("code").unwrap_or(1);
            println!("exiting with {code}, as asked");
            std::process::exit(i32::try_from(code)?);
        }
        "/env" => match std::env::var(&query) {
            Ok(value) => text(200, value),
            Err(error) => text(404, error.to_string()),
        },
        "/file" => match std::fs::read(&query) {
            Ok(bytes) => text(200, bytes),
            Err(error) => text(404, error.to_string()),
        },
        "/stat" => match std::fs::metadata(&query) {
            Ok(stat) => {
                let mode = stat.mode() & 0o7777;
                text(200, format!("{} {} {mode:04o}", stat.uid(), stat.gid()))
            }
            Err(error) => text(404, error.to_string()),
        },
        _ => text(404, "not here"),
    })
}

async fn is_up(begun: Instant) -> bool {
    let late = number("FAIL_AFTER_MS").map(Duration::from_millis);
    let broken = BROKEN.load(Ordering::Relaxed) || variable("FAIL_UP").is_some();
    let has = match variable("NEEDS") {
        Some(name) => is_known(&name).await.unwrap_or(false),
        None => true,
    };
    has && !broken && late.is_none_or(|late| begun.elapsed() < late)
}

/// Whether the engine's own name server has an address for a name of one part.
async fn is_known(name: &str) -> Result<bool, Failure> {
    let mut query = vec![
        0,
        1,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        u8::try_from(name.len())?,
    ];
    query.extend(name.bytes());
    // The end of the name, type A, class IN.
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.send_to(&query, "127.0.0.11:53").await?;
    let mut answer = [0; 512];
    let limit = Duration::from_millis(500);
    let length = tokio::time::timeout(limit, socket.recv(&mut answer)).await??;
    Ok(length > 12 && answer[3] & 15 == 0 && answer[6..8] != [0, 0])
}

fn text(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn echo(request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    if !request.headers().contains_key(UPGRADE) {
        return Ok(text(426, "send `Upgrade: echo`"));
    }
    let protocol = request.headers()[UPGRADE].clone();
    tokio::spawn(async move {
        let Ok(stream) = hyper::upgrade::on(request).await else {
            return;
        };
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(stream));
        if let Err(error) = tokio::io::copy(&mut reader, &mut writer).await {
            println!("echo: {error}");
        }
    });
    let mut response = text(101, "");
    response
        .headers_mut()
        .insert(CONNECTION, "upgrade".parse()?);
    response.headers_mut().insert(UPGRADE, protocol);
    Ok(response)
}

fn check() -> ExitCode {
    match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => ExitCode::SUCCESS,
        Ok(answer) => {
            println!("{}", answer.lines().next().unwrap_or("no answer"));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn ask() -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port()))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
