//! Every place at which a secret can enter a plan holds one of its own, and everything that leaves
//! flipside is searched for all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::kit::{Ran, Running, Stage, docker};

/// Where secrets enter: a word for each, which is part of its value.
const PLACES: &[&str] = &[
    "variable",
    "listed",
    "passed",
    "inside",
    "default",
    "set",
    "dotenv",
    "envfile",
    "command",
    "entrypoint",
    "check",
    "shell",
    "argument",
    "header",
    "probe",
    "file",
    "environ",
    "config",
    "content",
];

/// The value that is planted in a place.
pub fn mark(place: &str) -> String {
    format!("mark-9d3e-{place}-of-a-secret")
}

/// The caller's variable with a place's secret.
fn variable(place: &str) -> String {
    format!("M_{}", place.to_uppercase())
}

/// A plan that puts each secret into its place, and the files that it names.
fn plan(stage: &Stage) {
    let hello = crate::support::docker::hello_binary();
    std::fs::copy(hello, stage.write("hello", "")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(stage.path().join("hello"), executable).unwrap();
    stage.write(
        "Dockerfile",
        "FROM scratch\nARG TOKEN\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n",
    );
    stage.write(".dockerignore", "*\n!hello\n");
    stage.write(".env", format!("M_DOTENV={}\n", mark("dotenv")));
    stage.write("app.env", format!("FROM_FILE={}\n", mark("envfile")));
    stage.write("secret.txt", mark("file"));
    stage.write("config.txt", mark("config"));
    let (service, port, image) = (&stage.service, stage.port, &stage.image);
    let plan = format!(
        r#"name: {service}
services:
  web:
    build: {{ context: ., args: {{ TOKEN: "${{M_ARGUMENT}}" }} }}
    environment:
      PASSWORD: ${{M_VARIABLE}}
      M_PASSED:
      URL: "postgres://shop:${{M_INSIDE}}@db/shop"
      FALLBACK: "${{M_NOWHERE:-${{M_DEFAULT}}}}"
      GIVEN: ${{M_SET}}
      BESIDE: ${{M_DOTENV}}
      EXIT_AT_START: ${{EXIT_AT_START:-}}
    env_file: app.env
    healthcheck: {{ test: [CMD, /hello, check, "${{M_CHECK}}"], interval: 1s }}
    secrets: [key, other]
    configs:
      - {{ source: settings, target: /etc/settings }}
      - {{ source: written, target: /etc/written }}
    stop_grace_period: 1s
  side:
    image: "{image}"
    command: [sleep, "${{M_COMMAND}}"]
    environment: ["LISTED=${{M_LISTED}}"]
    healthcheck: {{ test: "exit 0 # ${{M_SHELL}}", disable: false, interval: 1h }}
    stop_grace_period: 1s
  more:
    image: "{image}"
    entrypoint: [/hello, sleep, "${{M_ENTRYPOINT}}"]
    stop_grace_period: 1s
secrets:
  key: {{ file: ./secret.txt }}
  other: {{ environment: M_ENVIRON }}
configs:
  settings: {{ file: ./config.txt }}
  written: {{ content: "token = ${{M_CONTENT}}" }}
expose: web:8080
probes:
  - http: {{ path: "${{PROBED:-/up}}", headers: {{ Authorization: "Bearer ${{M_HEADER}}" }}, interval: 100ms, deadline: 3s, timeout: 1s }}
  - exec: {{ command: [/hello, check, "${{M_PROBE}}"], interval: 100ms, deadline: 3s, timeout: 1s }}
pointer: {{ proxy: {{ listen: "127.0.0.1:{port}" }} }}
bake: ${{BAKE:-500ms}}
"#
    );
    for place in PLACES {
        let there = match *place {
            "dotenv" | "envfile" | "file" | "config" => true,
            "passed" => plan.contains("M_PASSED:"),
            "environ" => plan.contains("environment: M_ENVIRON"),
            place => plan.contains(&format!("${{{}}}", variable(place))),
        };
        assert!(there, "nothing is planted for `{place}`");
    }
    stage.write("flipside.yaml", plan);
}

/// Holds that nothing planted is there, whole or cut, whatever its letters' case.
#[track_caller]
pub fn nowhere(bytes: &[u8], place: &str) {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    for part in ["mark-9d3e-", "-of-a-secret"] {
        assert!(!text.contains(part), "`{part}` is in {place}: {text}");
    }
}

/// Runs the program as a caller does who has the secrets, and searches what it says.
fn run(stage: &Stage, code: i32, words: &[&str]) -> Ran {
    let ran = begin(stage, words).end();
    ran.ended(code);
    unsaid(&ran);
    ran
}

fn begin(stage: &Stage, words: &[&str]) -> Running {
    let mut command = stage.command(words);
    for place in PLACES {
        if !["set", "dotenv", "envfile", "file", "config"].contains(place) {
            command.env(variable(place), mark(place));
        }
    }
    if ["deploy", "resume"].contains(&words[0]) {
        command.args(["--set", &format!("M_SET={}", mark("set"))]);
    }
    Running::start(command)
}

pub fn unsaid(ran: &Ran) {
    nowhere(ran.out.as_bytes(), "standard output");
    nowhere(ran.err.as_bytes(), "standard error");
}

/// What the engine tells of a service's containers, without what a container is given to run.
fn containers(stage: &Stage) {
    let filter = format!("label=flipside.service={}", stage.service);
    let ids = docker(&["ps", "-aq", "--filter", &filter]);
    let mut words = vec!["inspect"];
    words.extend(ids.lines());
    let mut all: Value = serde_json::from_str(&docker(&words)).unwrap();
    let all = all.as_array_mut().unwrap();
    assert!(all.len() >= 3, "the containers that were to be searched");
    for container in all {
        for own in ["/Config/Env", "/Config/Cmd", "/Config/Entrypoint"] {
            *container.pointer_mut(own).unwrap() = Value::Null;
        }
        for own in ["/Config/Healthcheck", "/Path", "/Args"] {
            if let Some(own) = container.pointer_mut(own) {
                *own = Value::Null;
            }
        }
        nowhere(container.to_string().as_bytes(), "`docker inspect`");
        let image = container["Image"].as_str().unwrap();
        nowhere(docker(&["image", "inspect", image]).as_bytes(), "an image");
        let history = docker(&["history", "--no-trunc", image]);
        nowhere(history.as_bytes(), "an image's history");
    }
}

/// All that the engine tells of a service.
pub fn engine(stage: &Stage) {
    containers(stage);
    let filter = format!("label=flipside.service={}", stage.service);
    for kind in ["network", "volume"] {
        let found = docker(&[kind, "ls", "-q", "--filter", &filter]);
        for name in found.lines() {
            nowhere(docker(&[kind, "inspect", name]).as_bytes(), kind);
        }
    }
    nowhere(docker(&["inspect", &stage.proxy]).as_bytes(), "the proxy");
    let table = Command::new("docker")
        .args(["cp", &format!("{}:/table", stage.proxy), "-"])
        .output()
        .unwrap();
    assert!(table.stdout.len() > 512, "the proxy's table");
    nowhere(&table.stdout, "the proxy's table");
    let logs = Command::new("docker").args(["logs", &stage.proxy]).output();
    let logs = logs.unwrap();
    nowhere(&logs.stdout, "the proxy's log");
    nowhere(&logs.stderr, "the proxy's log");
}

/// Everything below the stage's directory, the journal among it, but for what the test has planted.
pub fn files(directory: &Path, planted: &[&str], read: &mut usize) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = std::fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            files(&path, planted, read);
        } else if kind.is_file() && !planted.contains(&name) {
            nowhere(&std::fs::read(&path).unwrap(), &path.display().to_string());
            *read += 1;
        }
    }
}

#[test]
fn a_secret_leaves_only_for_where_it_is_to_be() {
    let stage = Stage::new();
    plan(&stage);
    run(&stage, 0, &["check", "-vv", "--set", "M_SET=x"]);
    run(&stage, 0, &["deploy", "-vv"]);
    let told = |path: &str| stage.get(path).1;
    let arrived: BTreeMap<&str, String> = BTreeMap::from([
        ("variable", told("/env?PASSWORD")),
        ("passed", told("/env?M_PASSED")),
        ("inside", told("/env?URL")),
        ("default", told("/env?FALLBACK")),
        ("set", told("/env?GIVEN")),
        ("dotenv", told("/env?BESIDE")),
        ("envfile", told("/env?FROM_FILE")),
        ("file", told("/file?/run/secrets/key")),
        ("environ", told("/file?/run/secrets/other")),
        ("config", told("/file?/etc/settings")),
        ("content", told("/file?/etc/written")),
    ]);
    for (place, found) in arrived {
        assert!(found.contains(&mark(place)), "{place}: {found}");
    }
    engine(&stage);

    run(&stage, 0, &["deploy", "-vv", "--output", "json"]);
    run(&stage, 3, &["deploy", "-vv", "--set", "EXIT_AT_START=1"]);
    run(
        &stage,
        3,
        &["deploy", "--output", "json", "--set", "PROBED=/fail"],
    );
    run(&stage, 0, &["deploy", "-vv", "--dry-run"]);
    let mut killed = begin(
        &stage,
        &["deploy", "-vv", "--output", "json", "--set", "BAKE=10m"],
    );
    killed.until_shown("\"watch\"");
    unsaid(&killed.kill());
    let words = ["resume", &stage.service, "-vv", "--output", "json"];
    let mut resumed = begin(&stage, &words);
    resumed.until_shown("\"watch\"");
    run(&stage, 0, &["promote", &stage.service, "-vv"]);
    let resumed = resumed.end();
    resumed.ended(0);
    unsaid(&resumed);
    for words in [
        &["status", &stage.service, "-vv"][..],
        &["status", &stage.service, "--output", "json"],
        &["history", &stage.service, "--output", "json"],
        &["logs", &stage.service],
        &["rollback", &stage.service, "--dry-run", "-vv"],
        &[
            "rollback",
            &stage.service,
            "--yes",
            "--output",
            "json",
            "-vv",
        ],
        &["proxy", "status", "--output", "json"],
        &["prune", &stage.service, "-vv"],
    ] {
        run(&stage, 0, words);
    }
    engine(&stage);
    let mut read = 0;
    let planted = ["secret.txt", "config.txt", "app.env", ".env"];
    files(stage.path(), &planted, &mut read);
    assert!(
        read > 10,
        "the journal's files are among what was read: {read}"
    );
    run(&stage, 0, &["down", &stage.service, "--yes", "-vv"]);
}
