//! A network of a test's own, in whose host the test itself runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use flipside::pointer::nftables::{Nftables, NftablesPlan};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::backends::until;
use crate::support::docker::service;
use crate::support::network::Network;

pub use crate::support::network::{BACKENDS, BACKENDS_6, HOST, HOST_6};

/// Set in the host's namespace: what all names begin with.
const NAMES: &str = "FLIPSIDE_TEST_NETWORK";

/// Set for a process that is a backend, or a client.
const PART: &str = "FLIPSIDE_TEST_PART";

/// Runs `body` in a host of its own: the test named `name` is run again, in its namespace.
pub fn inside(name: &str, body: impl AsyncFnOnce(Host)) {
    if let Ok(names) = std::env::var(NAMES) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        return runtime.block_on(async { body(Host::new(names).await).await });
    }
    let network = Network::new(service().to_string());
    let name = format!("real_nftables::{name}");
    let mut ran = command(&network.names, "host", &name);
    let ran = ran.env(NAMES, &network.names).status().unwrap();
    assert!(ran.success(), "{name} in its network: {ran}");
}

/// This very program in a namespace, for one of its tests; ended with who began it.
fn command(names: &str, at: &str, test: &str) -> Command {
    let begin = Network::at(names, at);
    let mut command = Command::new(&begin[0]);
    command
        .args(&begin[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"]);
    command
}

fn part(names: &str, at: &str, part: &str) -> Child {
    command(names, at, "real_nftables::net::plays_a_part")
        .env_remove(NAMES)
        .env(PART, part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the other namespaces run: nothing, for whoever runs all tests.
#[test]
fn plays_a_part() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    match part.split_once(' ') {
        Some(("serve", name)) => serve(name),
        Some(("ask", at)) => ask_at(at),
        _ => panic!("{part}"),
    }
}

/// Answers every request with `name`, on connections that stay open.
fn serve(name: &str) {
    let listener = TcpListener::bind("[::]:8080").unwrap();
    for stream in listener.incoming() {
        let name = name.to_owned();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                let is_end = line == "\r\n";
                line.clear();
                if is_end {
                    let length = name.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// A connection, from this port if one is named.
fn connect(at: &str, from: Option<u16>) -> std::io::Result<TcpStream> {
    let at: SocketAddr = at.parse().unwrap();
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    if let Some(port) = from {
        socket.set_reuse_address(true)?;
        let any: IpAddr = match at.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        socket.bind(&SocketAddr::new(any, port).into())?;
    }
    socket.connect_timeout(&at.into(), Duration::from_secs(2))?;
    Ok(socket.into())
}

/// For each line: one request on one connection, and a line with its answer or how it ended.
fn ask_at(at: &str) {
    let mut stream = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let from = line.strip_prefix("from ").map(|port| port.parse().unwrap());
        if line == "new" || from.is_some() {
            stream = None;
        }
        let said = || -> std::io::Result<String> {
            let open = match &mut stream {
                Some(open) => open,
                none => none.insert(connect(at, from)?),
            };
            open.set_read_timeout(Some(Duration::from_secs(5)))?;
            open.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")?;
            let mut answer = [0; 256];
            let read = open.read(&mut answer)?;
            let text = String::from_utf8_lossy(&answer[..read]).into_owned();
            Ok(text.rsplit('\n').next().unwrap_or_default().to_owned())
        };
        match { said }() {
            Ok(said) => println!("said {said}"),
            Err(error) => println!("said {:?}", error.kind()),
        }
    }
}

/// The host, as a test sees it from within.
pub struct Host {
    names: String,
    pub dir: TempDir,
    servers: Vec<Child>,
}

impl Host {
    async fn new(names: String) -> Self {
        let servers = ["one", "two"].map(|name| part(&names, name, &format!("serve {name}")));
        let host = Self {
            names,
            dir: tempfile::tempdir().unwrap(),
            servers: servers.into(),
        };
        for at in BACKENDS.into_iter().chain(BACKENDS_6) {
            let at: SocketAddr = at.parse().unwrap();
            until("a backend", async || TcpStream::connect(at).ok()).await;
        }
        host
    }

    /// A plan of its own for this port of the host's.
    pub fn plan(&self, port: u16) -> NftablesPlan {
        NftablesPlan {
            table: format!("flipside_shop{port}"),
            listen: vec![format!("{HOST}:{port}")],
            url: format!("http://{HOST}:{port}"),
            hosts: Vec::new(),
            preview: vec![format!("{HOST}:{}", port + 1000)],
            state: self.dir.path().join(format!("shop{port}.nft")),
            nft: "nft".into(),
            keep_flows: false,
        }
    }

    pub fn pointer(&self, port: u16) -> Nftables {
        Nftables::new(self.plan(port)).unwrap()
    }

    /// A client in its own namespace.
    pub fn client(&self, at: &str) -> Client {
        let mut child = part(&self.names, "client", &format!("ask {at}"));
        Client {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// A script of the test's own beside its files.
    pub fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

/// Runs a program of the host's, and gives what it says.
pub fn says(words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    let ran = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ran.status.success(), "{words:?}: {}", text(&ran.stderr));
    text(&ran.stdout)
}

/// One that asks from another namespace.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    /// On the connection that it has; or how that ended.
    pub fn ask(&mut self) -> String {
        self.line("again")
    }

    /// On a new one.
    pub fn ask_anew(&mut self) -> String {
        self.line("new")
    }

    /// On a new one, from this port of its own.
    pub fn ask_from(&mut self, port: u16) -> String {
        self.line(&format!("from {port}"))
    }

    fn line(&mut self, word: &str) -> String {
        writeln!(self.stdin, "{word}").unwrap();
        loop {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "a client that says nothing"
            );
            if let Some((_, said)) = line.trim_end().split_once("said ") {
                return said.to_owned();
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
