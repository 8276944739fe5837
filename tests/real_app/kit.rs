//! The guestbook in a place of its own: its plan, its database, and looks into both.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::real_verbs::kit::{LONG, Ran, Running, Stage, docker};

/// A guestbook that is removed when it is dropped, with its data, also by a panic.
pub struct Guestbook {
    stage: Stage,
    images: Images,
}

/// What `python:3` and `postgres:15` are where there is a registry.
struct Images {
    python: String,
    postgres: String,
}

impl Images {
    fn ready() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/app_images.sh");
        let ran = Running::start(Command::new(script)).end_within(3 * LONG);
        ran.ended(0);
        let names: Vec<_> = ran.out.lines().collect();
        let [python, postgres] = names[..] else {
            panic!("{ran}");
        };
        Self {
            python: python.to_owned(),
            postgres: postgres.to_owned(),
        }
    }
}

impl Guestbook {
    /// Its files, its plan and its database; nothing is released yet.
    pub fn new() -> Self {
        let images = Images::ready();
        let stage = Stage::new();
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guestbook");
        copy(Path::new(from), stage.path());
        let book = Self { stage, images };
        let name = format!("name: {}", book.stage.service);
        book.change("compose.yaml", &[("name: guestbook", &name)]);
        book.decide();
        book
    }

    /// Its files alone, as the project of that name that Compose runs: nothing is decided yet.
    pub fn of_compose() -> Self {
        let images = Images::ready();
        let stage = Stage::new();
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guestbook");
        copy(Path::new(from), stage.path());
        std::fs::remove_file(stage.path().join("flipside.yaml")).unwrap();
        let book = Self { stage, images };
        let Stage { service, port, .. } = &book.stage;
        let name = format!("container_name: {service}-");
        let listen = format!("\"{port}:8000\"");
        let words = [
            // This Compose takes the project's name from its caller alone.
            ("name: guestbook\n\n", ""),
            ("container_name: guestbook-", name.as_str()),
            ("\"8000:8000\"", listen.as_str()),
        ];
        book.change("compose.yaml", &words);
        book
    }

    pub fn service(&self) -> &str {
        &self.stage.service
    }

    /// Gives a command what whoever has the images would give it.
    pub fn surround(&self, command: &mut Command) {
        self.stage.surround(command);
        command.env("COMPOSE_PROJECT_NAME", self.service());
        command.env("PYTHON_IMAGE", &self.images.python);
        command.env("POSTGRES_IMAGE", &self.images.postgres);
    }

    /// Takes what `init` proposes, and says what it cannot know: the port of this test's own, and how
    /// long things last.
    fn decide(&self) {
        std::fs::remove_file(self.stage.path().join("flipside.yaml")).unwrap();
        let ran = self.run(&[
            "init",
            "--from",
            "compose.yaml",
            "--yes",
            "-o",
            "flipside.yaml",
        ]);
        ran.ended(0);
        let port = self.stage.port;
        let listen = format!("pointer: {{proxy: {{listen: \"127.0.0.1:{port}\"}}}}");
        let lasts = "drain: 20s\nbake: 1s\nsettle: 1s\nstandby: {keep: 1}\n";
        self.change(
            "flipside.yaml",
            &[("pointer: {proxy: {listen: \":8000\"}}", &listen)],
        );
        let plan = self.stage.path().join("flipside.yaml");
        let text = std::fs::read_to_string(&plan).unwrap();
        std::fs::write(plan, format!("{text}\n{lasts}")).unwrap();
    }

    /// Puts other words into a file, each of which must be there.
    fn change(&self, name: &str, words: &[(&str, &str)]) {
        let path = self.stage.path().join(name);
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in words {
            assert!(text.contains(from), "`{from}` is not in {name}:\n{text}");
            text = text.replace(from, to);
        }
        std::fs::write(path, text).unwrap();
    }

    /// The program, as whoever has the images would start it.
    fn run(&self, words: &[&str]) -> Ran {
        let mut command = self.stage.command(words);
        command.env("PYTHON_IMAGE", &self.images.python);
        command.env("POSTGRES_IMAGE", &self.images.postgres);
        Running::start(command).end()
    }

    fn database(&self) -> String {
        format!("{}-shared-db", self.stage.service)
    }

    /// Which container the database is, and since when it has run.
    pub fn database_since(&self) -> String {
        let since = "{{.Id}} {{.State.StartedAt}}";
        docker(&["inspect", "--format", since, &self.database()])
    }

    pub fn write(&self, name: &str, text: &str) {
        self.stage.write(name, text);
    }

    /// Deploys a release, which must go well; its last line of JSON.
    pub fn deploy(&self, release: &str) -> Value {
        let set = format!("RELEASE={release}");
        self.moves(&["deploy", "--set", &set, "--output", "json"], release)
    }

    /// Goes back to a release, likewise.
    pub fn roll_back(&self, release: &str) -> Value {
        let service = &self.stage.service;
        self.moves(&["rollback", service, "--yes", "--output", "json"], release)
    }

    fn moves(&self, words: &[&str], to: &str) -> Value {
        let ran = self.run(words);
        ran.ended(0);
        let (status, body) = self.ask("GET", "/", "").unwrap();
        assert_eq!(status, 200, "{body}");
        assert_eq!(body.lines().next(), Some(&*format!("release {to}")));
        ran.finished()
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.stage.port))
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        ask(self.address(), method, path, body)
    }

    pub fn upload(&self, name: &str, text: &str) -> u16 {
        self.ask("PUT", &format!("/uploads/{name}"), text)
            .unwrap()
            .0
    }

    pub fn download(&self, name: &str) -> (u16, String) {
        self.ask("GET", &format!("/uploads/{name}"), "").unwrap()
    }

    /// Whether the pages of a release have no handler for SIGTERM, so that they, as PID 1, ignore it.
    pub fn ignores_sigterm(&self, release: u64) -> bool {
        let web = format!("{}-{release}-web-1", self.stage.service);
        let status = docker(&["exec", &web, "cat", "/proc/1/status"]);
        let mut caught = status
            .lines()
            .filter_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.next().unwrap().trim(), 16).unwrap();
        caught & (1 << 14) == 0
    }

    /// The database's answer: a row a line, its fields joined by `|`.
    pub fn rows(&self, question: &str) -> Vec<String> {
        self.rows_in(&self.database(), question)
    }

    /// As [`Self::rows`], of a database in another container.
    pub fn rows_in(&self, container: &str, question: &str) -> Vec<String> {
        let line = "psql --username \"$POSTGRES_USER\" --no-align --tuples-only --command \"$0\"";
        let output = Command::new("docker")
            .args(["exec", container, "sh", "-c", line, question])
            .output()
            .unwrap();
        assert!(output.status.success(), "{question}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What a page says of the release that it is of.
    pub fn release(&self) -> String {
        let (status, body) = self.ask("GET", "/", "").unwrap();
        assert_eq!(status, 200, "{body}");
        body.lines().next().unwrap_or_default().to_owned()
    }

    pub fn until_it_answers(&self) {
        let end = Instant::now() + LONG;
        while !self
            .ask("GET", "/up", "")
            .is_ok_and(|(status, _)| status == 200)
        {
            assert!(Instant::now() < end, "the project does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn until_all_jobs_are_done(&self) {
        let end = Instant::now() + LONG;
        loop {
            let left = self.rows("SELECT count(*) FROM jobs WHERE done_in IS NULL");
            if left == ["0"] {
                return;
            }
            assert!(Instant::now() < end, "jobs that nobody does: {left:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One request on a connection of its own: status and body.
pub fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(LONG))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: book\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parts.ok_or_else(|| std::io::Error::other(answer))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
