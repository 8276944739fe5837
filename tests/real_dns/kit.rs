//! Name servers of a test's own: directories, free ports, no rights.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flipside::pointer::dns::{Dns, DnsPlan, Kind};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::backends::until;
use crate::support::ports::free_port;

/// The zone that all of them have.
pub const ZONE: &str = "example.org";

/// The service's name in it.
pub const NAME: &str = "shop.example.org";

/// At which a release of it is shown for preview.
pub const PREVIEW: &str = "preview.shop.example.org";

/// The secret of the key that may change it.
pub const SECRET: &str = "zGPhHkVdJ2IVzgS7bKBvfYdwMYgGsbtUqbhqpI2Cvq8=";

/// Which program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Bind,
    Knot,
}

/// What a server is told of the zone.
#[derive(Debug, Clone)]
pub struct Config {
    pub program: Program,
    pub at: SocketAddr,
    /// The server that it gets the zone from; none: it is the primary.
    pub primary: Option<SocketAddr>,
    /// The servers that it tells of changes.
    pub notifies: Vec<SocketAddr>,
    /// Whether it gives the zone away.
    pub transfers: bool,
    /// Whether it has the zone.
    pub knows: bool,
    /// Whether the zone is there when it starts.
    pub loaded: bool,
    /// What the key may change, in the words of BIND's `update-policy`.
    pub policy: &'static str,
    pub algorithm: &'static str,
    /// Lines of the zone's file.
    pub lines: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: Program::Bind,
            at: ([127, 0, 0, 1], free_port()).into(),
            primary: None,
            notifies: Vec::new(),
            transfers: true,
            knows: true,
            loaded: true,
            policy: "grant shop subdomain example.org. ANY;",
            algorithm: "hmac-sha256",
            lines: String::new(),
        }
    }
}

/// One that runs, ended when it is dropped, also by a panic.
pub struct Server {
    dir: TempDir,
    pub config: Config,
    child: Child,
}

impl Server {
    /// A primary.
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// By this configuration.
    pub async fn start_with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &config);
        let zone = format!(
            "$TTL 1\n@ SOA ns1 hostmaster 1 3600 3600 86400 1\n@ NS ns1\n\
             ns1 A {}\n{}",
            config.at.ip(),
            config.lines
        );
        if config.loaded {
            std::fs::write(dir.path().join("zone"), zone).unwrap();
        }
        std::fs::write(dir.path().join("key"), key(config.algorithm, SECRET)).unwrap();
        let child = spawn(dir.path(), config.program);
        let server = Self { dir, config, child };
        server.answers().await;
        server
    }

    /// What gets the zone from `primary`.
    pub fn secondary(at: SocketAddr, primary: SocketAddr) -> Config {
        Config {
            at,
            primary: Some(primary),
            ..Config::default()
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn at(&self) -> SocketAddr {
        self.config.at
    }

    /// What a plan says of it, for a service that answers at `port`.
    pub fn plan(&self, port: u16) -> DnsPlan {
        DnsPlan {
            server: self.at().to_string(),
            zone: ZONE.into(),
            name: NAME.into(),
            kind: Kind::A,
            ttl: 1_000,
            key_file: Some(self.path().join("key")),
            key_variable: None,
            servers: vec![self.at().to_string()],
            blue: None,
            green: None,
            url: format!("http://{NAME}:{port}"),
            preview_hosts: Vec::new(),
        }
    }

    /// As [`Server::pointer`], with a name at which releases are shown.
    pub fn with_preview(&self, port: u16) -> Dns {
        let preview_hosts = vec![PREVIEW.into()];
        let plan = self.plan(port);
        Dns::new(DnsPlan {
            preview_hosts,
            ..plan
        })
        .unwrap()
    }

    /// As [`Server::plan`], as a pointer.
    pub fn pointer(&self, port: u16) -> Dns {
        Dns::new(self.plan(port)).unwrap()
    }

    /// What it says of a name: each value on a line of its own, sorted.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.at(), &["+short", name, kind])
    }

    /// What it says of a name, with TTLs.
    pub fn lines(&self, name: &str, kind: &str) -> Vec<String> {
        let lines = dig(self.at(), &["+noall", "+answer", name, kind]);
        let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.into_iter().map(words).collect()
    }

    pub fn serial(&self) -> u32 {
        let soa = self.dig(ZONE, "SOA").concat();
        soa.split_whitespace().nth(2).unwrap().parse().unwrap()
    }

    /// Changes the zone as a person would, who has the key.
    pub fn by_hand(&self, orders: &str) {
        let at = self.at();
        let orders = format!(
            "server {} {}\nzone {ZONE}\n{orders}\nsend\n",
            at.ip(),
            at.port()
        );
        let file = self.path().join("orders");
        std::fs::write(&file, orders).unwrap();
        let ran = Command::new("nsupdate")
            .arg("-k")
            .arg(self.path().join("key"))
            .arg(file)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }

    /// Gives the zone away from now on, or no longer.
    pub async fn gives_away(&mut self, transfers: bool) {
        self.config.transfers = transfers;
        write(self.path(), &self.config);
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        until("its new configuration", async || {
            let all = dig(self.at(), &["+noall", "+answer", ZONE, "AXFR"]);
            let given = all.iter().any(|line| line.contains("SOA"));
            (given == transfers).then_some(())
        })
        .await;
    }

    /// Writes its configuration anew; the next start reads it.
    pub fn configure(&self) {
        write(self.path(), &self.config);
    }

    /// Held, as a machine that hangs.
    pub fn hang(&self) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
    }

    /// Ended.
    pub fn stop(&mut self) {
        end(&mut self.child);
    }

    /// Started again.
    pub async fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.dir.path(), self.config.program);
        self.answers().await;
    }

    async fn answers(&self) {
        let soa = || dig(self.at(), &["+noall", "+comments", ZONE, "SOA"]).concat();
        until("a name server", async || {
            soa().contains("status: ").then_some(())
        })
        .await;
        if self.config.knows && self.config.loaded {
            until("its zone", async || {
                soa().contains("status: NOERROR").then_some(())
            })
            .await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A key as `tsig-keygen` writes it.
pub fn key(algorithm: &str, secret: &str) -> String {
    format!("key \"shop\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n")
}

fn dig(at: SocketAddr, words: &[&str]) -> Vec<String> {
    let ran = Command::new("dig")
        .arg(format!("@{}", at.ip()))
        .args([
            "-p",
            &at.port().to_string(),
            "+norec",
            "+time=1",
            "+tries=1",
        ])
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn write(dir: &Path, config: &Config) {
    let (name, text) = match config.program {
        Program::Bind => ("named.conf", bind(dir, config)),
        Program::Knot => ("knot.conf", knot(dir, config)),
    };
    std::fs::write(dir.join(name), text).unwrap();
}

fn bind(dir: &Path, config: &Config) -> String {
    let Config {
        at,
        policy,
        algorithm,
        ..
    } = config;
    let dir = dir.display();
    let mut zone = String::new();
    if config.knows {
        let place = |at: &SocketAddr| format!("{} port {};", at.ip(), at.port());
        let role = match &config.primary {
            None => format!("type primary; update-policy {{ {policy} }};"),
            Some(primary) => format!(
                "type secondary; masterfile-format text; primaries {{ {} }};\n\
                 \x20 min-refresh-time 1; max-refresh-time 1; min-retry-time 1; max-retry-time 1;",
                place(primary)
            ),
        };
        let notifies: String = config.notifies.iter().map(place).collect();
        let transfers = if config.transfers { "any" } else { "none" };
        zone = format!(
            "zone \"{ZONE}\" {{\n\
             \x20 {role}\n\
             \x20 file \"zone\";\n\
             \x20 notify explicit; also-notify {{ {notifies} }}; notify-delay 0;\n\
             \x20 allow-transfer {{ {transfers}; }};\n\
             }};\n"
        );
    }
    format!(
        "options {{\n\
         \x20 directory \"{dir}\";\n\
         \x20 listen-on port {} {{ {}; }};\n\
         \x20 listen-on-v6 {{ none; }};\n\
         \x20 pid-file \"{dir}/pid\";\n\
         \x20 session-keyfile \"{dir}/session\";\n\
         \x20 recursion no;\n\
         \x20 dnssec-validation no;\n\
         \x20 empty-zones-enable no;\n\
         \x20 serial-query-rate 1000;\n\
         }};\n\
         controls {{ }};\n\
         {}{zone}",
        at.port(),
        at.ip(),
        key(algorithm, SECRET)
    )
}

/// In contrast to BIND it listens at any address of the machine, not only at those of interfaces.
fn knot(dir: &Path, config: &Config) -> String {
    let dir = dir.display();
    let (at, algorithm) = (config.at, config.algorithm);
    let place = |at: &SocketAddr| format!("{}@{}", at.ip(), at.port());
    let mut remotes = String::new();
    let mut zone = String::new();
    if let Some(primary) = &config.primary {
        remotes += &format!(" - id: primary\n   address: {}\n", place(primary));
        zone += "   master: primary\n";
    }
    for other in &config.notifies {
        remotes += &format!(" - id: other\n   address: {}\n", place(other));
        zone += "   notify: other\n";
    }
    format!(
        "server:\n  rundir: {dir}\n  listen: {}\n\
         database:\n  storage: {dir}\n\
         log:\n - target: stderr\n   any: info\n\
         key:\n - id: shop\n   algorithm: {algorithm}\n   secret: {SECRET}\n\
         remote:\n{remotes}\
         acl:\n - id: change\n   key: shop\n   action: update\n   \
         update-owner: name\n   update-owner-match: sub-or-equal\n   update-owner-name: [{ZONE}.]\n \
         - id: follow\n   address: 127.0.0.0/8\n   action: [notify, transfer]\n\
         zone:\n - domain: {ZONE}\n   storage: {dir}\n   file: zone\n   acl: [change, follow]\n{zone}",
        place(&at),
    )
}

fn spawn(dir: &Path, program: Program) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    // Ends with the test, also where that is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    match program {
        Program::Bind => command
            .args(["named", "-g", "-n", "1", "-c"])
            .arg(dir.join("named.conf")),
        Program::Knot => command.args(["knotd", "-c"]).arg(dir.join("knot.conf")),
    };
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// At once: also one that is held.
fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}
