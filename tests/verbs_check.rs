//! `flipside check --keys`: what became of every value.

use serde_json::{Value, json};

use super::verbs_misuse::{directory, run};

const PLAN: &str = "\
name: shop
compose: compose.yaml
services: {db: {run: never}}
expose: web:8080
probes: none
pointer: {proxy: {listen: \":8080\"}}
";

const COMPOSE: &str = "\
version: '3'
x-mine: [1]
services:
  web:
    image: app:1
    container_name: shop
    command:
    environment: {PASSWORD: \"${PASSWORD}\"}
  db: {image: \"pg:1\"}
";

#[test]
fn every_value_is_told_with_its_file_line_and_path() {
    let dir = directory(&[
        ("flipside.yaml", PLAN.as_bytes()),
        ("compose.yaml", COMPOSE.as_bytes()),
    ]);
    let words = ["check", "--keys", "--set", "PASSWORD=MARKER-5c1e"];
    let said = run(dir.path(), &words);
    said.is(0, &["flipside.yaml is good"]);
    assert!(!said.out.contains("MARKER"), "{}", said.out);
    let expected = [
        ("flipside.yaml:1", "name", "used"),
        ("flipside.yaml:2", "compose", "used"),
        ("flipside.yaml:3", "services.db.run", "left-out"),
        ("flipside.yaml:4", "expose", "used"),
        ("flipside.yaml:5", "probes", "used"),
        ("flipside.yaml:6", "pointer.proxy.listen", "used"),
        ("compose.yaml:1", "version", "translated"),
        ("compose.yaml:2", "x-mine.0", "left-out"),
        ("compose.yaml:5", "services.web.image", "used"),
        (
            "compose.yaml:6",
            "services.web.container_name",
            "translated",
        ),
        ("compose.yaml:7", "services.web.command", "empty"),
        (
            "compose.yaml:8",
            "services.web.environment.PASSWORD",
            "used",
        ),
        ("compose.yaml:9", "services.db.image", "left-out"),
    ];
    let lines = expected.map(|(place, path, fate)| format!("{place:15}  {path:33}  {fate}\n"));
    assert!(said.out.starts_with(&lines.concat()), "{}", said.out);
}

/// A plan whose pointer is of this kind.
fn pointed(pointer: &str) -> String {
    PLAN.replace("{proxy: {listen: \":8080\"}}", pointer)
        .replace(
            "compose: compose.yaml\nservices: {db: {run: never}}",
            "services: {web: {image: 'a:1'}}",
        )
}

const HAPROXY: &str =
    "socket: /run/a.sock, backend: shop, state: /run/shop.state, url: 'http://127.0.0.1'";

/// Whether an engine is elsewhere is told by its address: it need not be up.
#[test]
fn what_a_pointer_cannot_reach_is_refused_with_the_ways_out() {
    let haproxy = pointed(&format!("{{haproxy: {{{HAPROXY}}}}}"));
    let dir = directory(&[("flipside.yaml", haproxy.as_bytes())]);
    run(dir.path(), &["check"]).is(0, &["flipside.yaml is good"]);
    let away = ["check", "--engine", "tcp://192.0.2.1:2375"];
    let says = [
        "flipside.yaml:5:",
        "reached from the engine's host alone, and the engine is tcp://192.0.2.1:2375",
        "`reach: {published: 192.0.2.7}`",
        "run flipside on that host",
        "pointer: {proxy: {listen: \":8080\"}}",
    ];
    run(dir.path(), &away).is(2, &says);
    let dry = ["deploy", "--dry-run", "--engine", "tcp://192.0.2.1:2375"];
    run(dir.path(), &dry).is(2, &says);
    // The plan's own engine is the one that counts.
    let own = format!("{haproxy}engine: ssh://ann@edge.example\n");
    let dir = directory(&[("flipside.yaml", own.as_bytes())]);
    run(dir.path(), &["check"]).is(2, &["and the engine is ssh://ann@edge.example"]);
    let own = format!("{haproxy}engine: unix:///run/other.sock\n");
    let dir = directory(&[("flipside.yaml", own.as_bytes())]);
    run(dir.path(), &away).is(0, &["is good"]);

    let reached = pointed(&format!(
        "{{haproxy: {{{HAPROXY}, reach: {{published: 192.0.2.7}}}}}}"
    ));
    let dir = directory(&[("flipside.yaml", reached.as_bytes())]);
    run(dir.path(), &away).is(0, &["is good"]);
    let proxy = pointed("{proxy: {listen: ':80'}}");
    let dir = directory(&[("flipside.yaml", proxy.as_bytes())]);
    run(dir.path(), &away).is(0, &["is good"]);

    let kernel =
        "{nftables: {table: flipside_shop, listen: '192.0.2.7:80', url: 'http://192.0.2.7'}}";
    let dir = directory(&[("flipside.yaml", pointed(kernel).as_bytes())]);
    let said = run(dir.path(), &away);
    said.is(2, &["hint: run flipside on that host"]);
    assert!(!said.err.contains("published:"), "{}", said.err);

    let name =
        "{dns: {server: 192.0.2.1, zone: example.org, name: shop.example.org, key_file: a.key}}";
    let dir = directory(&[("flipside.yaml", pointed(name).as_bytes())]);
    let said = run(dir.path(), &away);
    said.is(0, &["only where a network is routed to that host"]);
    assert!(!run(dir.path(), &["check"]).err.contains("routed"));
}

#[test]
fn they_are_told_where_something_is_wrong_too_and_as_json() {
    let wrong = COMPOSE.replace("container_name", "contaner_name");
    let dir = directory(&[
        ("flipside.yaml", PLAN.as_bytes()),
        ("compose.yaml", wrong.as_bytes()),
    ]);
    let words = ["check", "--keys", "--set", "PASSWORD=x"];
    let said = run(dir.path(), &words);
    said.is(2, &["did you mean `container_name`?"]);
    assert!(said.out.contains("services.web.contaner_name"));
    assert!(!said.err.contains("services.web.command"), "{}", said.err);

    let said = run(dir.path(), &[&words[..], &["--output", "json"]].concat());
    said.is(2, &[]);
    let first: Value = serde_json::from_str(said.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["event"], "keys");
    let refused = json!({
        "file": "compose.yaml", "line": 6, "path": ["services", "web", "contaner_name"],
        "fate": "refused",
    });
    assert!(
        first["keys"].as_array().unwrap().contains(&refused),
        "{first}"
    );
}

#[test]
fn a_file_that_is_no_yaml_has_none() {
    let dir = directory(&[("flipside.yaml", b"name: [")]);
    let said = run(dir.path(), &["check", "--keys"]);
    said.is(2, &["this is not valid YAML"]);
    assert_eq!(said.out, "");
}

/// Reading stops where something is wrong, and what comes after is not called unread for it.
#[test]
fn what_reading_has_not_come_to_is_no_defect() {
    let compose = "\
services:
  web:
    image: app:1
    healthcheck: {disable: maybe, test: [CMD, a], interval: 5s, retries: 2}
    secrets: [{source: key, uid: me, gid: '2', mode: '0400'}]
secrets: {key: {file: key}}
";
    let plan = "\
name: shop
compose: compose.yaml
services: {my web: {image: 'app:1'}}
expose: web:8080
probes: [{http: {path: /}}]
pointer: {proxy: {listen: \":8080\"}}
";
    let dir = directory(&[
        ("flipside.yaml", plan.as_bytes()),
        ("compose.yaml", compose.as_bytes()),
        ("key", b"x"),
    ]);
    let said = run(dir.path(), &["check", "--keys"]);
    said.is(2, &["`maybe` is not a truth value"]);
    let fate = |path: &str| {
        let lines = said.out.lines().filter(|line| line.contains(path));
        let fates: Vec<_> = lines
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        fates.join(" ")
    };
    assert!(!said.out.contains("unread"), "{}", said.out);
    for (path, expected) in [
        ("healthcheck.disable", "refused"),
        ("healthcheck.test.0", "used"),
        ("healthcheck.interval", "used"),
        ("healthcheck.retries", "used"),
        ("secrets.0.uid", "refused"),
        ("secrets.0.gid", "used"),
        ("secrets.0.mode", "used"),
        ("expose ", "not-reached"),
        ("probes.0.http.path", "not-reached"),
    ] {
        assert_eq!(fate(path), expected, "{path}: {}", said.out);
    }
}
