//! An nginx of a test's own: a directory, free ports, no rights.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flipside::pointer::nginx::{Nginx as Pointer, NginxPlan};
use flipside::pointer::preview::Asking;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::backends::{get, until};
use crate::support::held::{self, Held, Moment};
use crate::support::ports::free_port;

/// What the include file says where nothing serves yet.
pub const NOTHING: &str = "map $host $flipside_shop { default none; }\n";

/// What its configuration says.
pub struct Config {
    /// Where it listens.
    pub port: u16,
    /// What the include file says at first.
    pub stood: String,
    /// Where its directory is made.
    pub within: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: free_port(),
            stood: NOTHING.into(),
            within: std::env::temp_dir(),
        }
    }
}

/// One that runs, ended when it is dropped, also by a panic.
pub struct Nginx {
    dir: TempDir,
    port: u16,
    child: Child,
    /// What ends it with all that it has started.
    by: Signal,
}

impl Nginx {
    /// With nothing behind it.
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// As [`Nginx::start`], by this configuration.
    pub async fn start_with(config: Config) -> Self {
        let Config {
            port,
            stood,
            within,
        } = config;
        let dir = tempfile::tempdir_in(within).unwrap();
        let at = dir.path().display();
        for below in ["temp", "flipside", "others"] {
            std::fs::create_dir(dir.path().join(below)).unwrap();
        }
        // Workers of another user's could not pass the test's directory.
        let user = match rustix::process::geteuid().is_root() {
            true => "user root root;\n",
            false => "",
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("  {of}_temp_path {at}/temp/{of};\n"))
            .concat();
        let config = format!(
            "{user}daemon off;\n\
             pid {at}/nginx.pid;\n\
             error_log {at}/error.log notice;\n\
             worker_processes 2;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n  access_log off;\n{temporary}  \
             include {at}/flipside/shop.conf;\n  include {at}/others/*.conf;\n  \
             server {{\n    listen 127.0.0.1:{port};\n    \
             location / {{\n      proxy_pass http://$flipside_shop;\n      \
             proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      \
             proxy_set_header Host $host;\n    }}\n    \
             location = /.flipside {{ return 200 \"$flipside_shop $pid\"; }}\n  }}\n}}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let command = dir.path().join("command.sh");
        std::fs::write(&command, held::command()).unwrap();
        std::fs::set_permissions(&command, PermissionsExt::from_mode(0o755)).unwrap();
        let include = dir.path().join("flipside/shop.conf");
        std::fs::write(include, stood).unwrap();
        let child = spawn(dir.path(), &["--pdeathsig", "TERM", "nginx", "-c"]);
        let nginx = Self {
            dir,
            port,
            child,
            by: Signal::TERM,
        };
        nginx.serves().await;
        nginx
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The include file.
    pub fn include(&self) -> PathBuf {
        self.dir.path().join("flipside/shop.conf")
    }

    /// What the include file says.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.include()).unwrap()
    }

    fn command(&self, of: &str, words: &[&str]) -> Vec<String> {
        let path = |file: &str| self.dir.path().join(file).display().to_string();
        let ahead = [path("command.sh"), of.to_owned(), "nginx".to_owned()];
        let words = words.iter().map(|&word| word.to_owned());
        let config = ["-c".to_owned(), path("nginx.conf")];
        ahead.into_iter().chain(words).chain(config).collect()
    }

    /// What a plan says of it.
    pub fn plan(&self) -> NginxPlan {
        NginxPlan {
            include: self.include(),
            url: format!("http://127.0.0.1:{}", self.port),
            hosts: Vec::new(),
            variable: "flipside_shop".into(),
            says: "/.flipside".into(),
            test: self.command("test", &["-t"]),
            reload: self.command("reload", &["-s", "reload"]),
            keepalive: 32,
            preview: Asking {
                header: Some("X-Preview: yes".into()),
                hosts: Vec::new(),
            },
        }
    }

    /// As a plan's `pointer`.
    pub fn section(&self) -> String {
        serde_json::json!({"nginx": self.plan()}).to_string()
    }

    /// The pointer of the one service behind it.
    pub fn pointer(&self) -> Pointer {
        Pointer::new(self.plan()).unwrap()
    }

    /// Keeps the next command of this name waiting, `test` or `reload`.
    pub fn hold(&self, of: &str, moment: Moment) -> Held {
        Held::script(self.dir.path(), of, moment)
    }

    /// Its commands do nothing from now on, and say nothing of it; or all again.
    pub fn pretends(&self, pretends: bool) {
        let path = self.dir.path().join("pretends");
        match pretends {
            true => std::fs::write(path, "").unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }

    /// How many commands were run.
    pub fn asked(&self) -> usize {
        let asked = std::fs::read_to_string(self.dir.path().join("asked"));
        asked.unwrap_or_default().lines().count()
    }

    /// What it says at its path, once it answers.
    pub async fn serves(&self) -> String {
        until("nginx", async || self.says().await).await
    }

    /// What it says at its path.
    pub async fn says(&self) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let at = ("127.0.0.1", self.port);
        let mut stream = tokio::net::TcpStream::connect(at).await.ok()?;
        stream
            .write_all(b"GET /.flipside HTTP/1.0\r\n\r\n")
            .await
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (_, text) = answer.split_once("\r\n\r\n")?;
        Some(text.trim().to_owned())
    }

    /// The processes that start its workers: two while it is upgraded.
    pub fn masters(&self) -> HashSet<Pid> {
        let conf = self.dir.path().join("nginx.conf").display().to_string();
        let is_titled = |pid: &Pid| {
            let title = title(*pid);
            title.starts_with("nginx: master process") && title.contains(&conf)
        };
        // A worker bears its master's title for a moment after its birth.
        let mut masters = all();
        masters.retain(|pid| is_titled(pid) && !children(*pid).is_empty());
        masters
    }

    /// The process that started its workers.
    pub fn master(&self) -> Pid {
        self.masters().into_iter().next().expect("it runs")
    }

    /// Its workers that take requests.
    pub fn workers(&self) -> HashSet<Pid> {
        let mut serving = children(self.master());
        serving.retain(|pid| !title(*pid).contains("is shutting down"));
        serving
    }

    /// Waits until others than these take its requests, and nobody else.
    pub async fn replaced(&self, before: &HashSet<Pid>) {
        until("other workers", async || {
            let now = self.workers();
            (!now.is_empty() && now.is_disjoint(before)).then_some(())
        })
        .await;
        self.serves().await;
    }

    /// Reloaded by somebody else.
    pub async fn reload(&self) {
        let before = self.workers();
        kill_process(self.master(), Signal::HUP).unwrap();
        self.replaced(&before).await;
    }

    /// Ended.
    pub fn stop(&mut self) {
        end(&mut self.child, self.by);
    }

    /// Ended at once with all its workers, without a word to them.
    pub async fn kill(&mut self) {
        let master = self.master();
        // One that stands still gives birth to nobody.
        kill_process(master, Signal::STOP).unwrap();
        let stands = || status(master, "State:").is_some_and(|state| state.starts_with('T'));
        until("a master that stands still", async || {
            stands().then_some(())
        })
        .await;
        let workers = children(master);
        kill_process(master, Signal::KILL).unwrap();
        for worker in workers {
            kill_process(worker, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }

    /// Started again, after it was ended.
    pub async fn again(&mut self) {
        self.child = spawn(self.dir.path(), &["--pdeathsig", "TERM", "nginx", "-c"]);
        self.serves().await;
    }

    /// Started again among processes with numbers of their own, as in a container, by a parent that has
    /// gone.
    pub async fn again_inside(&mut self) {
        self.stop();
        let script = "(\"$(command -v nginx)\" -c \"$0\" & until [ -s \"${0%/*}/nginx.pid\" ]; do sleep 0.01; done)
                      exec sleep 600";
        let words = ["--pdeathsig", "KILL", "unshare", "--pid", "--fork"];
        let more = ["--kill-child", "sh", "-c", script];
        self.child = spawn(self.dir.path(), &[&words[..], &more].concat());
        self.by = Signal::KILL;
        self.serves().await;
    }

    /// The pointer where it is reloaded by a signal to its master.
    pub fn by_signal(&self) -> Pointer {
        let master = self.master().as_raw_nonzero().to_string();
        let reload = ["kill", "-HUP", &master].map(str::to_owned).into();
        Pointer::new(NginxPlan {
            reload,
            ..self.plan()
        })
        .unwrap()
    }

    /// Ended at once, and started again.
    pub async fn restart(&mut self) {
        self.stop();
        self.again().await;
    }

    /// Asks from now on, each time on a connection of its own, until [`Users::stop`].
    pub fn users(&self) -> Users {
        Users::new(self.port)
    }
}

/// Those who ask the service all the time.
pub struct Users {
    over: Arc<AtomicBool>,
    all: Vec<JoinHandle<u64>>,
}

impl Users {
    fn new(port: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ask = |_| {
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = get(port, "shop").await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
                    asked += 1;
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                asked
            })
        };
        let all = (0..4).map(ask).collect();
        Self { over, all }
    }

    /// Each of their requests must have been answered well; how many there were.
    pub async fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let mut asked = 0;
        for user in self.all {
            asked += user.await.unwrap();
        }
        assert!(asked > 0);
        asked
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("error.log"));
            eprintln!("nginx said: {}", log.unwrap_or_default());
        }
        // Whoever is kept waiting waits for nothing any more.
        std::fs::write(self.dir.path().join("go"), "").ok();
        end(&mut self.child, self.by);
    }
}

/// Ends with the test, also where that is killed.
fn spawn(dir: &Path, words: &[&str]) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    Command::new("setpriv")
        .args(words)
        .arg(dir.join("nginx.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The master takes its workers with it.
fn end(child: &mut Child, by: Signal) {
    // One that has been waited for has no number any more.
    if matches!(child.try_wait(), Ok(None))
        && let Some(pid) = Pid::from_raw(child.id() as i32)
    {
        kill_process(pid, by).ok();
    }
    child.wait().ok();
}

fn all() -> HashSet<Pid> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter_map(Pid::from_raw).collect()
}

fn children(of: Pid) -> HashSet<Pid> {
    let mut children = all();
    children.retain(|pid| parent(*pid) == Some(of));
    children
}

fn title(pid: Pid) -> String {
    let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn status(pid: Pid, field: &str) -> Option<String> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

fn parent(pid: Pid) -> Option<Pid> {
    Pid::from_raw(status(pid, "PPid:")?.parse().ok()?)
}
