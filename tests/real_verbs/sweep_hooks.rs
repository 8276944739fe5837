//! As the sweep of plans, of all that hooks and jobs are given: they succeed and fail, and repeat what
//! they were given, and it is searched for in everything that leaves flipside.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::kit::{Ran, Running, Stage};
use super::sweep::{engine, files, mark, nowhere, unsaid};

/// Where secrets enter hooks and jobs, each by a variable `M_PLACE` of the caller's.
const PLACES: &[&str] = &[
    "role",
    "job",
    "jobword",
    "contained",
    "word",
    "given",
    "listed",
    "path",
    "password",
    "query",
    "field",
    "body",
    "undo",
];

/// What somebody else's server does with a request.
#[derive(Clone, Copy)]
enum Answer {
    /// 200, with all that it was sent.
    Good = 0,
    /// 500, with all that it was sent.
    Bad,
    /// 500, with so much before it that it is cut when it is kept.
    Long,
    /// 302 to the address that was asked for.
    Elsewhere,
    /// Nothing: it hangs up.
    None,
}

/// A server that repeats what it is sent.
struct Server {
    port: u16,
    answer: Arc<AtomicU8>,
    heard: Arc<Mutex<String>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            heard: Arc::default(),
        };
        let (answer, heard) = (server.answer.clone(), server.heard.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut request, mut buffer) = (String::new(), [0; 4096]);
                while !request.ends_with("the end") {
                    let Ok(n @ 1..) = stream.read(&mut buffer) else {
                        break;
                    };
                    request += &String::from_utf8_lossy(&buffer[..n]);
                }
                heard.lock().unwrap().push_str(&request);
                let path = request.split(' ').nth(1).unwrap_or_default();
                let (head, body) = match answer.load(Ordering::Relaxed) {
                    0 => ("200 OK".to_owned(), request.clone()),
                    1 => ("500 Oops".to_owned(), request.clone()),
                    2 => ("500 Oops".to_owned(), format!("{}{path}", "x".repeat(4080))),
                    3 => (format!("302 Found\r\nLocation: {path}"), String::new()),
                    _ => continue,
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).ok();
            }
        });
        server
    }

    fn answers(&self, answer: Answer) {
        self.answer.store(answer as u8, Ordering::Relaxed);
    }
}

/// Tells of itself all that it was given, waits while `hold` is there, and ends as it is told to.
const TELL: &str = "#!/bin/sh
echo begun >> begun
echo \"$1 $GIVEN $LISTED\"
echo \"$GIVEN\" >&2
cat kept.key
while [ -e hold ]; do sleep 0.05; done
[ -z \"$FILL\" ] || { printf %s \"$GIVEN\"; head -c 4080 /dev/zero | tr '\\0' x; }
exit ${TELL_EXIT:-0}
";

fn plan(stage: &Stage, server: &Server) {
    let script = stage.write("tell.sh", TELL);
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (service, port, image) = (&stage.service, stage.port, &stage.image);
    let at = server.port;
    let http = format!(
        "http: {{ url: \"http://ann:${{M_PASSWORD}}@${{AT:-127.0.0.1:{at}}}/${{M_PATH}}?q=${{M_QUERY}}\", \
         headers: {{ X-Token: \"Bearer ${{M_FIELD}}\" }}, body: \"${{M_BODY}} is the end\" }}"
    );
    let plan = format!(
        r#"name: {service}
services:
  web:
    image: "{image}"
    environment: {{ VERSION: "${{M_ROLE}}", OWN: "${{FLIPSIDE_SWEPT}}" }}
    stop_grace_period: 1s
    secrets: [kept]
  job:
    image: "{image}"
    run: once
    command: [once, "${{M_JOBWORD}}"]
    environment: {{ VERSION: "${{M_JOB}}", ONCE_EXIT: "${{JOB_EXIT:-0}}" }}
secrets: {{ kept: {{ file: kept.key }} }}
expose: web:8080
probes:
  - http: {{ path: /up, interval: 100ms, deadline: 10s }}
hooks:
  before_switch:
    - {{ name: contained, role: web, command: ["${{CONTAINED:-once}}", "${{M_CONTAINED}}"] }}
    - name: local
      run: ["${{PROGRAM:-./tell.sh}}", "${{M_WORD}}"]
      environment: ["GIVEN=${{M_GIVEN}}", "LISTED=${{M_LISTED}} ${{FLIPSIDE_SWEPT}}", "FILL=${{FILL:-}}"]
  after_switch:
    - {{ name: asked, {http}, timeout: 20s }}
  on_rollback:
    - {{ name: back-contained, role: web, command: ["${{M_UNDO}}"] }}
    - {{ name: back-local, run: [./tell.sh, "${{M_UNDO}}"], environment: {{ GIVEN: "${{M_GIVEN}}", FILL: "1" }} }}
    - {{ name: back-asked, {http}, timeout: 20s }}
pointer: {{ proxy: {{ listen: "127.0.0.1:{port}" }} }}
"#
    );
    let kept = mark("kept");
    stage.write("kept.key", format!("first\n  {kept}\n"));
    for place in PLACES {
        let variable = format!("${{M_{}}}", place.to_uppercase());
        assert!(plan.contains(&variable), "nothing is planted for `{place}`");
    }
    stage.write("flipside.yaml", plan);
}

/// As a caller does who has the secrets, among them these.
fn begin(stage: &Stage, more: &[(&str, &str)], words: &[&str]) -> Running {
    let mut command = stage.command(words);
    for place in PLACES {
        command.env(format!("M_{}", place.to_uppercase()), mark(place));
    }
    command
        // As an address is sent it is written in another way.
        .env(
            "M_QUERY",
            format!("{} \"ü\" {}", mark("query"), mark("more")),
        )
        .env("FLIPSIDE_SWEPT", mark("swept"))
        .envs(more.iter().copied());
    Running::start(command)
}

fn run(stage: &Stage, code: i32, more: &[(&str, &str)], words: &[&str]) -> Ran {
    let ran = begin(stage, more, words).end();
    ran.ended(code);
    unsaid(&ran);
    let sent = STANDARD.encode(format!("ann:{}", mark("password")));
    ran.never_says(&sent);
    ran
}

/// What is seen of a program and of what it has started, but for the hook's own command.
fn processes(running: &Running) {
    let own = std::fs::read(format!("/proc/{}/cmdline", running.id())).unwrap();
    assert!(!own.is_empty());
    nowhere(&own, "flipside's own command line");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        let line = read("cmdline");
        let hooked = line.windows(7).any(|part| part == b"tell.sh");
        if parent == Some(&running.id().to_string()) && !hooked {
            nowhere(&line, "the command line of what flipside has started");
        }
    }
}

/// Kills a deploy while its local command runs.
fn killed(stage: &Stage) {
    stage.write("hold", "");
    std::fs::remove_file(stage.path().join("begun")).ok();
    let mut running = begin(stage, &[], &["deploy", "-vv"]);
    running.until_shown("contained");
    let end = std::time::Instant::now() + super::kit::LONG;
    while !stage.path().join("begun").exists() {
        assert!(std::time::Instant::now() < end, "the hook does not begin");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    processes(&running);
    unsaid(&running.kill());
}

#[test]
fn what_hooks_and_jobs_are_given_leaves_only_for_where_it_is_to_be() {
    let stage = Stage::new();
    let server = Server::start();
    plan(&stage, &server);
    run(&stage, 0, &[], &["check", "-vv"]);
    run(&stage, 0, &[], &["deploy", "--dry-run", "-vv"]);
    let ran = run(&stage, 0, &[], &["deploy", "-vv"]);
    ran.says(&["[secret]"]);
    let heard = server.heard.lock().unwrap().clone();
    for place in ["path", "query", "field", "body"] {
        assert!(heard.contains(&mark(place)), "{place}: {heard}");
    }
    assert!(heard.contains(&STANDARD.encode(format!("ann:{}", mark("password")))));

    let json = ["deploy", "--output", "json"];
    let (word, host) = (mark("program"), "Mark-9D3E-Host.invalid");
    let (path, refused) = (format!("./{word}"), "127.0.0.1:1");
    run(&stage, 3, &[("TELL_EXIT", "3"), ("FILL", "1")], &json)
        .says(&["`local` exited with 3", "xxx"]);
    run(&stage, 3, &[("PROGRAM", &path)], &json).says(&["cannot be started"]);
    run(&stage, 3, &[("CONTAINED", &word)], &["deploy", "-vv"]).says(&["is none of"]);
    run(&stage, 3, &[("JOB_EXIT", "4")], &json).says(&["the job `job` exited with 4"]);
    for (answer, says) in [
        (Answer::Bad, "was answered 500"),
        (Answer::Long, "was answered 500"),
        (Answer::Elsewhere, "was answered 302"),
        (Answer::None, "the hook `asked`"),
    ] {
        server.answers(answer);
        run(&stage, 3, &[], &json).says(&[says, "back-local"]);
    }
    for at in [host, refused] {
        run(&stage, 3, &[("AT", at)], &["deploy", "-vv"]).says(&["the hook `asked`"]);
    }
    server.answers(Answer::Good);

    killed(&stage);
    let service = &stage.service;
    run(&stage, 4, &[], &["resume", service, "-vv"]).says(&["--hook-again local"]);
    std::fs::remove_file(stage.path().join("hold")).unwrap();
    let again = [
        "resume",
        service,
        "--hook-again",
        "local",
        "--output",
        "json",
    ];
    run(&stage, 0, &[], &again);
    killed(&stage);
    std::fs::remove_file(stage.path().join("hold")).unwrap();
    run(&stage, 0, &[], &["abort", service, "-vv"]);
    server.answers(Answer::Bad);
    run(&stage, 0, &[], &["logs", service]).says(&["once begins, VERSION is `[secret]`"]);
    engine(&stage);
    let back = ["rollback", service, "--yes", "-vv", "--output", "json"];
    run(&stage, 0, &[("TELL_EXIT", "5")], &back).says(&["exited with 5", "was answered 500"]);
    for words in [
        &["status", service, "-vv"][..],
        &["history", service, "--output", "json"],
        &["history", service],
        &["prune", service, "-vv"],
    ] {
        run(&stage, 0, &[], words);
    }
    engine(&stage);
    let mut read = 0;
    files(stage.path(), &["kept.key"], &mut read);
    assert!(
        read > 10,
        "the journal's files are among what was read: {read}"
    );
    run(&stage, 0, &[], &["down", service, "--yes", "-vv"]);
}
