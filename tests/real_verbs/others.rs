//! Verbs aimed at what another process does, and processes that begin at the same moment.

use super::kit::{Stage, free_port};
use crate::bad_days::{Day, Serves};

#[test]
fn abort_gives_up_what_another_process_bakes() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=good"]);
    let mut baking = stage.start(&["deploy", "--set", "VERSION=new", "--set", "BAKE=90s"]);
    baking.until_shown("bakes for");
    stage.serves("new");
    let ran = stage.expect(0, &["abort", &stage.service, "--output", "json"]);
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(finished["live"], 1);
    let baked = baking.end();
    baked.ended(3);
    baked.says(&["asks to give the release up", "goes back to"]);
    stage.serves("good");
}

#[test]
fn promote_ends_the_bake_of_another_process() {
    let stage = Stage::new();
    let mut baking = stage.start(&["deploy", "--set", "BAKE=90s"]);
    baking.until_shown("bakes for");
    let ran = stage.expect(0, &["promote", &stage.service]);
    ran.says(&["has been told", "promote of"]);
    let baked = baking.end();
    baked.ended(0);
    baked.says(&["asks for the next step", "@1 is live"]);
}

#[test]
fn a_second_deploy_is_told_who_holds_the_service() {
    let stage = Stage::new();
    let mut baking = stage.start(&["deploy", "--set", "BAKE=90s"]);
    baking.until_shown("bakes for");
    let second = stage.expect(5, &["deploy"]);
    let day = Day::of("held", &stage).saw("flipside deploy", &second);
    day.serves(Serves::Before("1"));
    let second = stage.expect(5, &["deploy", "--output", "json"]);
    let last = second.error();
    assert_eq!(
        (&last["error"], &last["exit"]),
        (&"held-by".into(), &5.into())
    );
    assert!(last["message"].as_str().unwrap().contains("ann@"));
    stage.expect(0, &["promote", &stage.service]);
    baking.end().ended(0);
}

#[test]
fn abort_of_what_a_dead_process_left() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=good"]);
    let mut baking = stage.start(&["deploy", "--set", "VERSION=new", "--set", "BAKE=90s"]);
    baking.until_shown("bakes for");
    drop(baking);
    stage
        .expect(0, &["status", &stage.service])
        .says(&["unfinished: deploy", "go on with: flipside resume"]);
    stage.expect(0, &["abort", &stage.service]);
    stage.serves("good");
    for verb in ["abort", "resume", "promote"] {
        let none = stage.expect(4, &[verb, &stage.service]);
        none.says(&["nothing is under way", "hint: flipside status"]);
    }
}

#[test]
fn two_first_deploys_share_one_new_proxy_and_one_listener() {
    let mut stage = Stage::new();
    let other = stage.another();
    let plan = |host: &str| {
        let listen = format!("127.0.0.1:{}\"", stage.port);
        let hosts = format!("{listen}, host: {host}");
        stage.plan().replace(&listen, &hosts)
    };
    stage.write("flipside.yaml", plan("one.example"));
    stage.write("other.yaml", plan("other.example"));
    let first = stage.start(&["deploy", "--set", "VERSION=one"]);
    let words = [
        "deploy",
        "other.yaml",
        "--name",
        &other,
        "--set",
        "VERSION=other",
    ];
    let second = stage.start(&words);
    let (first, second) = (first.end(), second.end());
    let day = Day::of("first-deploys-race", &stage).saw("flipside deploy", &first);
    let day = day.naming(&other, "cart");
    let day = day.saw("flipside deploy cart.yaml", &second);
    first.ended(0);
    second.ended(0);
    assert_eq!(stage.get_for("one.example", "/").1, "one");
    assert_eq!(stage.get_for("other.example", "/").1, "other");
    day.told("the new one");
    let (status, _) = stage.get_for("nobody.example", "/");
    assert_eq!(status, 404);
    stage.expect(0, &["down", &other, "--yes"]);
    assert_eq!(stage.get_for("one.example", "/").1, "one");
}

#[test]
fn roles_with_replicas_and_without_probes_stand_up_in_order() {
    let stage = Stage::new();
    let image = &stage.image;
    let (service, port) = (&stage.service, free_port());
    let plan = format!(
        "name: {service}
services:
  web:
    image: {image}
    deploy: {{ replicas: 3 }}
    depends_on:
      backend: {{ condition: service_healthy }}
  backend:
    image: {image}
    environment: {{ START_DELAY_MS: 300 }}
    healthcheck: {{ test: [\"CMD\", \"/hello\", \"check\"], interval: 200ms, timeout: 1s, retries: 20 }}
  worker:
    image: {image}
    command: [sleep]
    stop_grace_period: 1s
expose: web:8080
probes:
  - http: {{ path: /up }}
  - health: {{ role: backend }}
pointer: {{ proxy: {{ listen: \"127.0.0.1:{port}\" }} }}
"
    );
    stage.write("flipside.yaml", plan);
    let ran = stage.expect(0, &["deploy"]);
    ran.says(&["3 replicas started", "3 of 3 replicas passed all probes"]);
    let status = stage.status();
    assert_eq!(status["live"]["endpoints"].as_array().unwrap().len(), 3);
    let logs = stage.expect(0, &["logs", service, "--role", "worker"]);
    assert_eq!(logs.out, "");
    stage.expect(0, &["down", service, "--yes"]);
    assert_eq!(stage.parts(), [""; 0]);
}
