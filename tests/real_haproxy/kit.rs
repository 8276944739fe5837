//! A HAProxy of a test's own: a directory, free ports, no rights.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flipside::pointer::haproxy::{Haproxy as Pointer, HaproxyPlan};
use flipside::pointer::preview::Asking;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::backends::until;
use crate::support::ports::free_port;

/// What its configuration says.
pub struct Config {
    /// Where it listens.
    pub port: u16,
    /// The level of its socket.
    pub level: &'static str,
    /// The weight that its servers begin with.
    pub weight: u32,
    /// The address of its servers.
    pub servers: &'static str,
    /// What serves already: a line of its backend for each.
    pub stood: Vec<String>,
    /// Where its directory is made.
    pub within: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: free_port(),
            level: "admin",
            weight: 1,
            servers: "unset.invalid:1 init-addr last,127.0.0.1",
            stood: Vec::new(),
            within: std::env::temp_dir(),
        }
    }
}

/// One that runs, ended when it is dropped, also by a panic.
pub struct Haproxy {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl Haproxy {
    /// With four servers per slot, all in maintenance.
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// As [`Haproxy::start`], by this configuration.
    pub async fn start_with(config: Config) -> Self {
        let Config {
            port,
            level,
            weight,
            servers,
            stood,
            within,
        } = config;
        let stood: String = stood.iter().map(|line| format!("  {line}\n")).collect();
        let dir = tempfile::tempdir_in(within).unwrap();
        let at = dir.path().display();
        let config = format!(
            "global\n\
             \x20 stats socket {at}/admin.sock mode 600 level {level} expose-fd listeners\n\
             defaults\n\
             \x20 mode http\n\
             \x20 timeout connect 2s\n\
             \x20 timeout client 30s\n\
             \x20 timeout server 30s\n\
             frontend web\n\
             \x20 bind 127.0.0.1:{port}\n\
             \x20 default_backend shop\n\
             backend shop\n\
             \x20 load-server-state-from-file local\n\
             \x20 server-state-file-name {at}/shop.state\n\
             \x20 acl preview req.hdr(x-preview) -m str yes\n\
             \x20 use-server blue1 if preview {{ srv_is_up(blue1) }} {{ srv_weight(blue1) 0 }}\n\
             \x20 use-server green1 if preview {{ srv_is_up(green1) }} {{ srv_weight(green1) 0 }}\n\
             \x20 server-template blue 1-4 {servers} weight {weight} disabled\n\
             \x20 server-template green 1-4 {servers} weight {weight} disabled\n\
             {stood}"
        );
        std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
        let child = spawn(dir.path());
        let haproxy = Self { dir, port, child };
        haproxy.serves().await;
        haproxy
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where users ask it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its socket's path.
    pub fn socket(&self) -> String {
        self.dir.path().join("admin.sock").display().to_string()
    }

    /// What a plan says of it.
    pub fn plan(&self) -> HaproxyPlan {
        HaproxyPlan {
            socket: self.socket(),
            backend: "shop".into(),
            state: self.dir.path().join("shop.state"),
            url: format!("http://127.0.0.1:{}", self.port),
            hosts: Vec::new(),
            preview: Asking {
                header: Some("X-Preview: yes".into()),
                hosts: Vec::new(),
            },
        }
    }

    /// As a plan's `pointer`.
    pub fn section(&self) -> String {
        serde_json::json!({"haproxy": self.plan()}).to_string()
    }

    /// The pointer of the one service behind it.
    pub fn pointer(&self) -> Pointer {
        Pointer::new(self.plan()).unwrap()
    }

    /// Says a line to its socket, as a person would, and answers what it says.
    pub async fn says(&self, line: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::UnixStream::connect(self.socket())
            .await
            .unwrap();
        stream
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    /// Its servers that take part: names, addresses, weights and what is asked of them. What drains, or
    /// has drained, does not.
    pub async fn table(&self) -> String {
        let rows = self.rows().await.into_iter();
        let used = rows.filter(|row| row[2] == "0");
        used.map(|row| row.join(" ") + "\n").collect()
    }

    /// Sends all requests to the server that is `there`, as a person would.
    pub async fn sends_to(&self, there: std::net::SocketAddr) {
        for row in self.rows().await {
            let is_it = format!("{}:{}", row[1], row[4]) == there.to_string();
            let now = if is_it { "ready" } else { "maint" };
            let order = format!("set server shop/{} state {now}", row[0]);
            self.says(&order).await;
        }
    }

    async fn rows(&self) -> Vec<Vec<String>> {
        let state = self.says("show servers state shop").await;
        let rows = state.lines().filter(|row| row.contains(" shop "));
        let columns = |row: &str| -> Vec<String> {
            let all: Vec<&str> = row.split_whitespace().collect();
            [3, 4, 6, 7, 18].map(|at| all[at].to_owned()).into()
        };
        rows.map(columns).collect()
    }

    async fn serves(&self) -> u32 {
        let socket = self.socket();
        until("a worker", async || worker(&socket).await).await
    }

    /// `systemctl reload haproxy`. A master that has only just begun to wait may take a signal and
    /// not heed it: it is told again until another worker answers.
    pub async fn reload(&self) {
        let before = self.serves().await;
        let master = Pid::from_raw(self.child.id() as i32).unwrap();
        let socket = self.socket();
        let mut told = Instant::now();
        kill_process(master, Signal::USR2).unwrap();
        until("another worker", async || {
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                kill_process(master, Signal::USR2).unwrap();
            }
            let pid = worker(&socket).await?;
            (pid != before).then_some(())
        })
        .await;
    }

    /// Ended.
    pub fn stop(&mut self) {
        end(&mut self.child);
    }

    /// Ended at once, and started again.
    pub async fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.dir.path());
        self.serves().await;
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log"));
            eprintln!("haproxy said: {}", log.unwrap_or_default());
        }
        end(&mut self.child);
    }
}

fn spawn(dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    // Ends with the test, also where that is killed.
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "haproxy", "-W"])
        .arg("-f")
        .arg(dir.join("haproxy.cfg"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The master takes its workers with it on SIGTERM; what does not go is killed.
fn end(child: &mut Child) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        kill_process(pid, Signal::TERM).ok();
    }
    child.wait().ok();
}

/// The process that answers at the socket.
async fn worker(socket: &str) -> Option<u32> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(socket).await.ok()?;
    stream.write_all(b"show info\n").await.ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.ok()?;
    let pid = said.lines().find_map(|line| line.strip_prefix("Pid: "))?;
    pid.trim().parse().ok()
}
