//! A proxy in this process, backends that say who they are, and a client that sees every byte.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flipside::proxy::control::{Client, Entry, Written};
use flipside::proxy::table::EnvironmentRoute;
use flipside::proxy::{Limits, Options, Server};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub use crate::support::ports::{free_port, refusing};

pub struct Proxy {
    pub server: Option<Server>,
    pub control: Client,
    pub options: Options,
    _directory: TempDir,
}

impl Proxy {
    pub async fn start() -> Proxy {
        Proxy::start_with(Limits::default()).await
    }

    pub async fn start_with(limits: Limits) -> Proxy {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            table: directory.path().join("table"),
            socket: directory.path().join("run/control.sock"),
            socket_group: None,
            identity: "test-proxy".into(),
            threads: Some(2),
        };
        let server = Server::start_with(options.clone(), limits).unwrap();
        let control = Client::connect(&options.socket).await.unwrap();
        Proxy {
            server: Some(server),
            control,
            options,
            _directory: directory,
        }
    }

    /// Stops it at once and starts another over the same table.
    pub async fn restart(&mut self) {
        drop(self.server.take());
        self.server = Some(Server::start(self.options.clone()).unwrap());
        self.control = Client::connect(&self.options.socket).await.unwrap();
    }

    pub fn table_file(&self, service: &str) -> PathBuf {
        self.options.table.join(format!("{service}.json"))
    }

    /// Routes `service` on `port` to `environments`, whatever it was routed to before.
    pub async fn route(&self, entry: Entry) -> Written {
        let before = self.control.read(&entry.service).await.unwrap();
        let expected = before.map(|before| before.generation);
        self.control.write(expected, entry).await.unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.server.take());
    }
}

/// A proxy in a process of its own.
pub struct Outside {
    directory: TempDir,
    descriptors: u32,
    options: &'static [&'static str],
    running: std::process::Child,
}

/// One thread for traffic.
const ONE_THREAD: &[&str] = &["--threads", "1"];

impl Outside {
    /// Starts one with one thread for traffic that may have so many files open.
    pub fn start(descriptors: u32) -> Outside {
        Outside::start_with(descriptors, ONE_THREAD)
    }

    /// Starts one that nobody tells how many threads to have.
    pub fn start_by_default() -> Outside {
        Outside::start_with(1024, &[])
    }

    fn start_with(descriptors: u32, options: &'static [&'static str]) -> Outside {
        let directory = tempfile::tempdir().unwrap();
        let running = run_in(directory.path(), descriptors, options);
        Outside {
            directory,
            descriptors,
            options,
            running,
        }
    }

    /// The names of its threads.
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.running.id())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            let comm = std::fs::read_to_string(task.unwrap().path().join("comm"));
            comm.unwrap().trim_end().to_owned()
        };
        tasks.map(name).collect()
    }

    /// Bytes of memory that it has.
    pub fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.running.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() * 1024
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    pub fn table(&self) -> PathBuf {
        self.directory.path().join("table")
    }

    /// A connection to it, once it answers.
    pub async fn control(&self) -> Client {
        let socket = self.socket();
        eventually("it answers", || async {
            Client::connect(&socket).await.is_ok()
        })
        .await;
        Client::connect(&socket).await.unwrap()
    }

    /// Kills it and starts another over the same table.
    pub fn kill_and_start(&mut self) {
        self.kill();
        self.running = run_in(self.directory.path(), self.descriptors, self.options);
    }

    fn kill(&mut self) {
        self.running.kill().unwrap();
        self.running.wait().unwrap();
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run_in(directory: &std::path::Path, descriptors: u32, options: &[&str]) -> std::process::Child {
    std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_flipside"))
        .args(["proxy", "run", "--identity", "outside"])
        .args(options)
        .arg("--table")
        .arg(directory.join("table"))
        .arg("--socket")
        .arg(directory.join("control.sock"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

pub fn entry(service: &str, port: u16, environments: &[(u64, u32, &[SocketAddr])]) -> Entry {
    Entry {
        v: 1,
        service: service.into(),
        listen: format!("127.0.0.1:{port}"),
        hosts: vec![],
        generation: 0,
        fence: 1,
        author: "test".into(),
        reason: "test".into(),
        at_ms: 1_700_000_000_000,
        environments: environments
            .iter()
            .map(|(release, weight, endpoints)| EnvironmentRoute {
                release: *release,
                slot: if release % 2 == 0 { "green" } else { "blue" }.into(),
                weight: *weight,
                endpoints: endpoints.to_vec(),
            })
            .collect(),
        marks: BTreeMap::new(),
        deadline: None,
        preview: None,
        slots: BTreeMap::new(),
    }
}

/// As [`entry`], with a slot on each port: blue, then green.
pub fn slots(service: &str, ports: [u16; 2], environments: &[(u64, u32, &[SocketAddr])]) -> Entry {
    let at = ports.map(|port| format!("127.0.0.1:{port}"));
    Entry {
        listen: String::new(),
        slots: ["blue".to_owned(), "green".into()]
            .into_iter()
            .zip(at)
            .collect(),
        ..entry(service, 0, environments)
    }
}

/// Answers every request through `answer`.
pub async fn backend<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ended = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// Answers every request with `name`.
pub async fn named(name: &'static str) -> SocketAddr {
    backend(move |_| async move { Response::new(Full::from(name)) }).await
}

/// Gives every connection to `speak`, with its number from 0; the number of connections so far.
pub async fn raw<F, A>(speak: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, usize) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(speak(stream, number));
        }
    });
    (address, taken)
}

/// One connection to the proxy.
pub struct Wire {
    pub stream: TcpStream,
    /// Bytes of a body that were taken and thrown away.
    pub taken: usize,
    buffer: Vec<u8>,
}

/// One answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Wire {
    pub async fn open(port: u16) -> Wire {
        Wire::over(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    /// As [`Wire::open`], but the system takes little before it is asked for.
    pub async fn open_narrow(port: u16) -> Wire {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let address = ([127, 0, 0, 1], port).into();
        Wire::over(socket.connect(address).await.unwrap())
    }

    fn over(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            taken: 0,
            buffer: vec![],
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn get(&mut self, host: &str, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.send(&request).await;
        self.answer().await
    }

    /// Reads until `wanted` has come; everything up to its end.
    pub async fn until(&mut self, wanted: &str) -> String {
        let wanted = wanted.as_bytes();
        loop {
            let found = self
                .buffer
                .windows(wanted.len())
                .position(|it| it == wanted);
            if let Some(at) = found {
                let rest = self.buffer.split_off(at + wanted.len());
                let text = std::mem::replace(&mut self.buffer, rest);
                return String::from_utf8(text).unwrap();
            }
            assert!(
                self.more().await > 0,
                "closed before `{wanted:?}`: {:?}",
                self.seen()
            );
        }
    }

    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Reads what comes next; 0 where the connection is closed or reset.
    pub async fn more(&mut self) -> usize {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(Duration::from_secs(10), read).await;
        read.expect("nothing came for ten seconds").unwrap_or(0)
    }

    /// Takes up to `most` bytes of a body and throws them away; 0 where there are no more.
    pub async fn take(&mut self, most: usize) -> usize {
        let read = if self.buffer.is_empty() {
            let mut bytes = vec![0; most];
            let read = self.stream.read(&mut bytes);
            let read = tokio::time::timeout(Duration::from_secs(10), read).await;
            read.expect("nothing came for ten seconds").unwrap_or(0)
        } else {
            std::mem::take(&mut self.buffer).len()
        };
        self.taken += read;
        read
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await > 0 {}
        self.seen()
    }

    pub async fn head(&mut self) -> Answer {
        let head = self.until("\r\n\r\n").await;
        Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body: String::new(),
        }
    }

    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.more().await > 0, "closed inside a body");
            }
            let rest = self.buffer.split_off(length);
            let body = std::mem::replace(&mut self.buffer, rest);
            answer.body = String::from_utf8(body).unwrap();
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let size = self.until("\r\n").await;
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                if size == 0 {
                    answer.body += self.until("\r\n").await.trim_end();
                    break;
                }
                let chunk = self.until("\r\n").await;
                assert_eq!(chunk.len(), size + 2);
                answer.body += chunk.trim_end_matches("\r\n");
            }
        }
        answer
    }
}

/// Reads one request head from a backend's connection; empty where it was closed.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Waits until `holds`, for at most ten seconds.
pub async fn eventually<A: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> A) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < patience, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Wire {
    /// One answer as text, or nothing where the connection was closed before one.
    pub async fn rest_of_one(&mut self) -> String {
        while !self.seen().contains("\r\n\r\n") {
            if self.more().await == 0 {
                return self.seen();
            }
        }
        let answer = self.answer().await;
        answer.head + &answer.body
    }
}
