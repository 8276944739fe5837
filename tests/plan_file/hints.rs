//! What is wrong with a Compose file is mended in the plan: whoever takes the hint word for word, and
//! changes nothing else, has a good plan.

use super::compose::Case;
use super::fixture::Fixture;

/// Texts in backticks that say something at a plan's top level.
fn lines(said: &str) -> Vec<&str> {
    const KEYS: [&str; 6] = [
        "services: ",
        "volumes: ",
        "networks: ",
        "secrets: ",
        "project: ",
        "shared_paths: ",
    ];
    let hints = said.lines().filter_map(|line| line.split_once("= hint: "));
    let quoted = hints.flat_map(|(_, hint)| hint.split('`').skip(1).step_by(2));
    let mut found: Vec<&str> = Vec::new();
    for line in quoted.filter(|text| KEYS.iter().any(|key| text.starts_with(key))) {
        let key = line.split(':').next();
        // Of several ways out the first, of each section.
        if !found.iter().any(|known| known.split(':').next() == key) {
            found.push(line);
        }
    }
    found
}

/// A Compose file in `directory`, what a team has decided on it so far, and the only thing that is
/// wrong.
fn follow(directory: &str, compose: &str, decided: &str, wrong: &str) {
    let fixture = Fixture::new();
    let decided = if decided.is_empty() {
        "services: {}"
    } else {
        decided
    };
    let files = [("compose.yaml", compose), ("decided.yaml", decided)]
        .map(|(name, text)| (format!("{directory}{name}"), format!("{text}\n")));
    let beside = [
        ("app.env", "A=1\n"),
        ("data/x", "x"),
        ("app/Dockerfile", "FROM scratch\n"),
    ];
    let beside = beside.map(|(name, text)| (format!("{directory}{name}"), text.to_owned()));
    let files: Vec<_> = files.into_iter().chain(beside).collect();
    let case = |top: &str| Case::given(top, files.clone());
    let said = case("").with(&fixture, |plan| fixture.said(plan));
    assert!(said.contains(wrong), "{compose}\n{said}");
    let lines = lines(&said);
    assert!(!lines.is_empty(), "no line to take: {said}");
    let top = lines
        .join("\n")
        .replace("PATH", "tls.key")
        .replace("./DIR", "./app");
    let then = case(&top).with(&fixture, |plan| fixture.said(plan));
    assert!(then.starts_with("accepted"), "{compose}\n{top}\n{then}");
}

/// Lines of the role `web`, those of the top level, what is decided, and what is said.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("volumes: ['/data']", "", "", "has no name"),
    (
        "volumes: ['/data', '/srv/data/', {type: volume, target: /c}]",
        "",
        "services: {web: {volumes: ['one:/data', 'two:/c']}}\nvolumes: {one: {keep: per-release}, two: {keep: per-release}}",
        "has no name",
    ),
    ("volumes: ['${WORD_DIR:-/data}']", "", "", "has no name"),
    ("pull_policy: build", "", "", "to build it from"),
    (
        "build: ./app\n    pull_policy: never",
        "",
        "",
        "`never` forbids it",
    ),
    (
        "mem_limit: 128m\n    memswap_limit: 64m",
        "",
        "",
        "less than `mem_limit`",
    ),
    (
        "models: [llm]",
        "models: {llm: {model: 'ai/small'}}",
        "",
        "`models`",
    ),
    (
        "restart: sometimes",
        "",
        "",
        "`sometimes` is not a restart policy",
    ),
    (
        "security_opt: ['seccomp:x.json']",
        "",
        "",
        "seccomp profiles",
    ),
    (
        "security_opt: ['seccomp:x.json', 'no-new-privileges:true', 'apparmor=x']",
        "",
        "",
        "seccomp profiles",
    ),
    (
        "security_opt: [systempaths=unconfined]",
        "",
        "",
        "`systempaths` is not supported",
    ),
    (
        "volumes: [{type: volume, source: a, target: /a, read_only: true, volume: {nocopy: true}}]",
        "volumes: {a: }",
        "volumes: {a: {keep: per-release}}",
        "`nocopy` is not supported",
    ),
    (
        "volumes: [{type: volume, source: a, target: /a, volume: {subpath: x}}]",
        "volumes: {a: }",
        "volumes: {a: {keep: per-release}}",
        "`subpath` is not supported",
    ),
    (
        "volumes: ['a:/a:nocopy', 'b:/b:ro']",
        "volumes: {a: , b: }",
        "volumes: {a: {keep: per-release}, b: {keep: per-release}}",
        "the mode `nocopy` is not supported",
    ),
    (
        "volumes: [{type: bind, source: ./data, target: /a, read_only: true, bind: {propagation: rslave}}]",
        "",
        "",
        "how mounts spread",
    ),
    (
        "volumes: ['./data:/a:ro,rslave']",
        "",
        "",
        "how mounts spread",
    ),
    (
        "env_file: [{path: app.env, format: raw}]",
        "",
        "",
        "`format` is not supported",
    ),
    (
        "env_file: [./app.env, {path: ./app.env, format: raw}, {path: nope, required: false}]",
        "",
        "",
        "`format` is not supported",
    ),
    (
        "volumes: ['a:/a']",
        "volumes: {a: {driver: rexray}}",
        "",
        "the volume driver `rexray` is not supported",
    ),
    (
        "volumes: ['a:/a']",
        "volumes: {a: {driver_opts: {type: nfs, device: ':/x'}}}",
        "",
        "`driver_opts` is not supported",
    ),
    (
        "volumes: ['a:/a']",
        "volumes: {a: {name: b, driver: x, driver_opts: {type: nfs}}}",
        "",
        "the volume driver `x` is not supported",
    ),
    (
        "networks: [back]",
        "networks: {back: {internal: true}}",
        "",
        "is internal",
    ),
    (
        "networks: [back.end]",
        "networks: {back.end: {driver: overlay}}",
        "",
        "the network driver `overlay` is not supported",
    ),
    (
        "image: '${COMPOSE_PROJECT_NAME}:1'",
        "",
        "",
        "`COMPOSE_PROJECT_NAME` is not set",
    ),
    (
        "secrets: [tls]",
        "secrets: {tls: {external: true, name: x}}",
        "",
        "`external` is not supported",
    ),
    (
        "secrets: [tls]",
        "secrets: {tls: {external: true}}",
        "",
        "`external` is not supported",
    ),
    (
        "volumes: [{type: bind, source: ./data, target: /c, read_only: true, bind: {recursive: disabled}}]",
        "",
        "",
        "`recursive` is not a key",
    ),
    (
        "volumes: ['./data:/d:ro', {type: tmpfs, target: /c, tmpfs: {size: 9000000, mode: 0700, zzzzz: 1}}]",
        "",
        "",
        "`zzzzz` is not a key",
    ),
    (
        "volumes: [{type: tmpfs, target: /c, tmpfs: {mode: 1777}}]",
        "",
        "",
        "`1777` is not a mode",
    ),
    ("volumes: ['~/pg:/pg']", "", "", "home directory"),
    (
        "volumes: [{type: bind, source: '~/conf', target: /conf, read_only: true}]",
        "",
        "",
        "home directory",
    ),
    (
        r"volumes: ['C:\data:/i', './data:/d:ro', {type: tmpfs, target: /t}]",
        "",
        "",
        "a path of Windows",
    ),
    (
        "volumes: ['v:/v:ro']",
        "volumes: {v: }",
        "",
        "which `web` reads",
    ),
    (
        "ports: ['5000:5000/sctp', {target: 80, published: '8080'}]",
        "",
        "",
        "SCTP",
    ),
    ("ports: ['5000:5000/sctp']", "", "", "SCTP"),
    (
        "ports: [{target: 80, published: '8080', strange: 1}, '9000:9000']",
        "",
        "",
        "`strange` is not a key",
    ),
    (
        "secrets: [{source: tls, target: x, strange: 1}]",
        "secrets: {tls: {file: ./data/x}}",
        "",
        "`strange` is not a key",
    ),
    (
        "healthcheck: {test: [curl, -f, 'say \"x\"']}",
        "",
        "",
        "no health check",
    ),
    ("healthcheck: {test: [CMD]}", "", "", "no health check"),
    ("healthcheck: {test: ''}", "", "", "runs nothing"),
    ("cap_add: ALL", "", "", "where a list is due"),
    ("group_add: '7'", "", "", "where a list is due"),
    ("ulimits: {strange: 1}", "", "", "is not a limit"),
    (
        "build: {context: 'https://example.org/x.git'}",
        "",
        "",
        "that is fetched",
    ),
];

#[test]
fn a_hint_about_a_compose_file_is_a_line_for_the_plan() {
    for directory in ["", "deploy/"] {
        for (role, top, decided, wrong) in CASES {
            let image = if role.contains("image:") {
                ""
            } else {
                "    image: app:1\n"
            };
            let compose = format!("services:\n  web:\n{image}    {role}\n{top}");
            if directory.is_empty() || !wrong.contains("external") {
                follow(directory, &compose, decided, wrong);
            }
        }
    }
}

/// Other roles beside `web`, what is decided on them, and what is said.
const BESIDE: &[(&str, &str, &str)] = &[
    (
        "job: {image: 'app:1', restart: always}",
        "services: {job: {run: once}}",
        "would start a job again and again",
    ),
    (
        "none: {image: 'app:1', deploy: {replicas: 0}}",
        "",
        "at least one replica",
    ),
    (
        "none: {image: 'app:1', scale: 0}",
        "",
        "at least one replica",
    ),
    (
        "job: {image: 'app:1', healthcheck: {test: a}}\n  b: {image: 'app:1', depends_on: {job: {condition: service_healthy}}}",
        "services: {job: {run: once}}",
        "is a job: it ends",
    ),
    (
        "c: {image: 'app:1', healthcheck: {disable: true}}\n  b.c: {image: 'app:1', depends_on: {c: {condition: service_healthy}}}",
        "",
        "can never be healthy",
    ),
    (
        "my.app: {image: 'app:1', strange: {a: b}}",
        "",
        "`strange` is not a key",
    ),
    (
        "my.app: {image: 'app:1', build: {context: app, network: host}}",
        "",
        "`network` is not supported",
    ),
    (
        "my.app: {image: 'app:1', privileged: true}",
        "",
        "every right on the host",
    ),
    (
        "my.app: {image: 'app:1', network_mode: none}",
        "",
        "a role without a network",
    ),
    (
        "my.app: {image: 'app:1', volumes: [/data]}",
        "",
        "has no name",
    ),
];

#[test]
fn a_hint_about_another_role_is_a_line_too_also_where_its_name_has_dots() {
    for (roles, decided, wrong) in BESIDE {
        let compose = format!("services:\n  web: {{image: 'app:1'}}\n  {roles}");
        follow("", &compose, decided, wrong);
    }
}
