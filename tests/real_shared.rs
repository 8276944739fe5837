//! Shared roles on a real engine: stood up once, left alone, applied on a person's word, and never
//! lost by a kill.

mod apart;
mod applies;
mod cut_short;
mod deploys;
mod elsewhere;
mod external;
mod former;
mod given_back;
mod kills;
mod made;
mod networks;
mod open;
mod project;
mod reach;
mod removal;
mod rivals;
mod secrets;
mod taken;
mod together;
mod unused;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::real_verbs::kit::{LONG, Ran, Stage, docker};

/// A stage whose `web` waits for the shared role `db`, which has a volume.
fn stage() -> Stage {
    let stage = Stage::new();
    let (service, image, port) = (&stage.service, &stage.image, stage.port);
    let plan = format!(
        "name: {service}
services:
  web:
    image: {image}
    environment:
      VERSION: ${{VERSION:-1}}
    depends_on: {{ db: {{ condition: service_healthy }} }}
    stop_grace_period: 2s
  db:
    image: ${{DB_IMAGE:-{image}}}
    run: shared
    environment:
      VERSION: ${{DB:-1}}
      EXIT_AT_START: ${{DB_EXIT:-}}
      START_DELAY_MS: ${{DB_DELAY:-}}
    volumes: [\"data:/data\"]
    healthcheck:
      test: [CMD, /hello, check]
      interval: 200ms
      timeout: 2s
      retries: ${{DB_RETRIES:-50}}
    stop_grace_period: 2s
volumes: {{ data: {{ keep: across-releases }} }}
expose: web:8080
probes:
  - http: {{ path: /up, interval: 100ms, timeout: 1s, deadline: 20s }}
pointer:
  proxy: {{ listen: \"127.0.0.1:{port}\" }}
drain: {{ limit: 5s }}
stand_up: {{ deadline: \"${{DEADLINE:-60s}}\" }}
standby: {{ keep: 1 }}
"
    );
    stage.write("flipside.yaml", plan);
    stage
}

/// The name of the container of `db`.
fn db(stage: &Stage) -> String {
    format!("{}-shared-db", stage.service)
}

fn inspect(container: &str) -> Value {
    let all: Value = serde_json::from_str(&docker(&["inspect", container])).unwrap();
    all[0].clone()
}

/// What a restart or a replacement would change.
fn life(container: &str) -> (Value, Value) {
    let now = inspect(container);
    (now["Id"].clone(), now["State"]["StartedAt"].clone())
}

/// When the engine starts it again by itself.
fn policy(container: &str) -> String {
    let now = inspect(container);
    let name = now["HostConfig"]["RestartPolicy"]["Name"].as_str();
    name.unwrap_or_default().to_owned()
}

fn exists(container: &str) -> bool {
    let all = docker(&["ps", "-a", "--format", "{{.Names}}"]);
    all.lines().any(|name| name == container)
}

fn runs(container: &str) -> bool {
    inspect(container)["State"]["Running"] == true
}

fn variable(container: &str, name: &str) -> String {
    let now = inspect(container);
    let all = now["Config"]["Env"].as_array().unwrap();
    let before = format!("{name}=");
    let mut of = all
        .iter()
        .filter_map(|text| text.as_str()?.strip_prefix(&before));
    of.next().unwrap_or_default().to_owned()
}

/// Kills a command as soon as `when` is true of the shared roles' containers.
fn killed(stage: &Stage, words: &[&str], when: impl Fn(&[String]) -> bool) {
    let running = stage.start(words);
    let end = Instant::now() + LONG;
    while !when(&containers(stage)) {
        assert!(Instant::now() < end, "it never came to that");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::KILL);
    running.kill();
}

/// Containers that carry the shared role's label, whatever they are called.
fn containers(stage: &Stage) -> Vec<String> {
    let service = format!("label=flipside.service={}", stage.service);
    let list = docker(&[
        "ps",
        "-a",
        "--filter",
        &service,
        "--filter",
        "label=flipside.kind=shared",
        "--format",
        "{{.Names}}",
    ]);
    let mut names: Vec<_> = list.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn apply(stage: &Stage, code: i32, set: &[&str]) -> Ran {
    let mut words = vec!["shared", "apply", "--yes"];
    words.extend(set.iter().flat_map(|pair| ["--set", pair]));
    stage.expect(code, &words)
}
