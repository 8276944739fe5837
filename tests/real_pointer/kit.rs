//! A proxy of a test's own on the real engine, and servers behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use flipside::core::names::{Release, ServiceName, Slot};
use flipside::core::plan::ProxyPlan;
use flipside::core::progress::Silent;
use flipside::core::routing::{Route, Routing};
use flipside::docker::Client;
use flipside::pointer::proxy::{Control, Newer, ProxyOptions, ProxyPointer, Site};
use flipside::pointer::{Pointer, PointerError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The program under test.
pub const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");

/// How long anything may take before a test gives up.
pub const LONG: Duration = Duration::from_secs(30);

/// A proxy of the test's own: removed when it is dropped, also by a panic.
pub struct Rig {
    pub site: Site,
    _run: TempDir,
}

impl Rig {
    /// A name and a directory; nothing on the engine yet.
    pub async fn new() -> Self {
        let run = tempfile::tempdir().unwrap();
        let client = Client::connect(None).await.unwrap();
        let name = format!("t-{:08x}-proxy", getrandom::u32().unwrap());
        let mut site = Site::new(client, name);
        site.run_dir = run.path().to_owned();
        site.binary = FLIPSIDE.into();
        Self { site, _run: run }
    }

    /// One that runs.
    pub async fn started() -> Self {
        let rig = Self::new().await;
        ready(&rig.pointer()).await.unwrap();
        rig
    }

    /// The same proxy, spoken to in another way.
    pub fn spoken_to(&self, control: Control) -> Seen {
        let site = self.site.clone();
        Seen(Site { control, ..site })
    }

    /// The pointer of a new service on a free port.
    pub fn pointer(&self) -> ProxyPointer {
        self.spoken_to(Control::Auto).pointer()
    }

    /// The pointer of a new service on `port`, answering for `hosts`.
    pub fn on(&self, port: u16, hosts: &[&str]) -> ProxyPointer {
        self.spoken_to(Control::Auto).on(port, hosts)
    }

    pub fn name(&self) -> &str {
        &self.site.name
    }

    pub fn socket(&self) -> PathBuf {
        self.site.run_dir.join(self.name()).join("control.sock")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let image = inspect(self.name(), "{{.Config.Image}}");
        let volume = format!("{}.table", self.name());
        docker(&["rm", "-f", "-v", self.name()]);
        docker(&["volume", "rm", "-f", &volume]);
        // The last test to end takes the image away; the engine refuses it to the others.
        if image.starts_with("flipside-proxy:") {
            docker(&["rmi", &image]);
        }
    }
}

/// A proxy seen in one way.
pub struct Seen(pub Site);

impl Seen {
    pub fn pointer(&self) -> ProxyPointer {
        self.on(free_port(), &[])
    }

    pub fn on(&self, port: u16, hosts: &[&str]) -> ProxyPointer {
        self.of(&service(), port, hosts)
    }

    pub fn of(&self, service: &ServiceName, port: u16, hosts: &[&str]) -> ProxyPointer {
        let plan = ProxyPlan {
            listen: format!("127.0.0.1:{port}"),
            hosts: hosts.iter().map(|&host| host.into()).collect(),
        };
        self.with(service, Some(plan))
    }

    pub fn with(&self, service: &ServiceName, plan: Option<ProxyPlan>) -> ProxyPointer {
        ProxyPointer::new(ProxyOptions {
            site: self.0.clone(),
            service: service.clone(),
            plan,
            newer: Newer::Refuse,
        })
    }
}

pub fn service() -> ServiceName {
    ServiceName::new(format!("t-{:08x}", getrandom::u32().unwrap())).unwrap()
}

pub async fn ready(pointer: &ProxyPointer) -> Result<(), PointerError> {
    let ready = tokio::time::timeout(LONG, pointer.ready(&Silent));
    ready.await.expect("ready within half a minute")
}

/// All traffic to `release`, answered at `at`.
pub fn to(release: u64, at: SocketAddr) -> Routing {
    Routing {
        generation: 0,
        fence: 1,
        author: "ann@here".into(),
        reason: format!("deploy shop@{release}"),
        at: 1_700_000_000_000,
        routes: vec![Route {
            release: Release(release),
            slot: Slot::Blue,
            weight: 100,
            endpoints: vec![at],
        }],
        marks: [].into(),
        deadline: None,
    }
}

pub fn docker(words: &[&str]) -> Output {
    Command::new("docker").args(words).output().unwrap()
}

/// `docker inspect` with a template.
pub fn inspect(name: &str, template: &str) -> String {
    let output = docker(&["inspect", "--format", template, name]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

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

/// Answers every request with `name`, once the gate is open.
pub async fn gated(name: &'static str) -> (watch::Sender<bool>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    while request(&mut stream).await.is_some() {
        if gate.wait_for(|open| *open).await.is_err() {
            return;
        }
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
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
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // A connection that is reset has said all that it will say.
    let _cut = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}
