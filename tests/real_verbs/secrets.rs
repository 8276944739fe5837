//! Secrets are told to the containers and the probes, and to nobody else.

use super::kit::{Ran, Stage, docker};

const MARKS: [&str; 8] = [
    "mark-of-the-variable-93a1",
    "mark-of-the-file-5b07",
    "mark-of-the-secret-e2c4",
    "mark-of-the-argument-7f18",
    "mark-of-the-header-d60b",
    "mark-of-the-program-4c9e",
    "mark-of-the-check-18ba",
    "mark-of-the-long",
];

fn nowhere(text: &str, place: &str) {
    for mark in MARKS {
        assert!(!text.contains(mark), "`{mark}` is in {place}: {text}");
    }
}

fn unsaid(ran: &Ran) {
    nowhere(&ran.out, "standard output");
    nowhere(&ran.err, "standard error");
}

#[test]
fn secrets_are_in_no_journal_no_label_and_on_no_screen() {
    let stage = Stage::new();
    let [variable, file, secret, argument, header, ..] = MARKS;
    std::fs::copy(
        crate::support::docker::hello_binary(),
        stage.write("hello", ""),
    )
    .unwrap();
    std::fs::set_permissions(
        stage.path().join("hello"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    stage.write(
        "Dockerfile",
        "FROM scratch\nARG TOKEN\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n",
    );
    stage.write("app.env", format!("FROM_FILE={file}\n"));
    stage.write("secret.txt", secret);
    stage.write(".dockerignore", "*\n!hello\n");
    let (service, port) = (&stage.service, stage.port);
    let plan = format!(
        "name: {service}
services:
  web:
    build: {{ context: ., args: {{ TOKEN: \"${{TOKEN}}\" }} }}
    environment:
      PASSWORD: ${{PASSWORD}}
      EXIT_AT_START: ${{EXIT_AT_START:-}}
    env_file: app.env
    secrets: [key]
secrets:
  key: {{ file: ./secret.txt }}
expose: web:8080
probes:
  - http: {{ path: \"${{PROBED:-/up}}\", headers: {{ Authorization: \"${{HEADER}}\" }}, deadline: 3s, timeout: 1s }}
pointer: {{ proxy: {{ listen: \"127.0.0.1:{port}\" }} }}
bake: 1s
hooks:
  before_switch:
    - {{ name: leak, run: [/bin/echo, \"${{PASSWORD}}\", is, \"${{LEAK}}\"], environment: {{ LEAK: \"${{HEADER}}\" }} }}
    - {{ name: talk, run: [/bin/sh, -c, \"env; exit ${{LEAKED:-0}}\"], environment: {{ LEAK: \"${{HEADER}}\" }} }}
"
    );
    stage.write("flipside.yaml", plan);
    let deploy = |more: &[&str], code: i32| {
        let mut words = vec!["deploy"];
        words.extend_from_slice(more);
        let mut command = stage.command(&words);
        command
            .env("PASSWORD", variable)
            .env("TOKEN", argument)
            .env("HEADER", header)
            .env("LEAK", variable);
        let ran = super::kit::Running::start(command).end();
        ran.ended(code);
        unsaid(&ran);
    };
    deploy(&["-vv"], 0);
    assert_eq!(
        stage.get("/env?PASSWORD").1,
        variable,
        "it is there to be used"
    );
    assert_eq!(stage.get("/env?FROM_FILE").1, file);
    assert_eq!(stage.get("/file?/run/secrets/key").1, secret);
    deploy(&["-vv", "--output", "json"], 0);
    deploy(&["-vv", "--output", "json", "--set", "EXIT_AT_START=1"], 3);
    deploy(&["-vv", "--set", "PROBED=/fail"], 3);
    deploy(&["-vv", "--set", "LEAKED=4"], 3);
    deploy(&["-vv", "--dry-run"], 0);
    for words in [
        &["status", service, "-vv"][..],
        &["status", service, "--output", "json"],
        &["history", service, "--output", "json"],
        &["rollback", service, "--dry-run", "-vv"],
        &["rollback", service, "--yes", "--output", "json", "-vv"],
        &["proxy", "status", "--output", "json"],
    ] {
        unsaid(&stage.expect(0, words));
    }
    unrecorded(&stage);
    let filter = format!("label=flipside.service={service}");
    for kind in ["container", "network", "volume"] {
        let all: &[&str] = if kind == "container" { &["-a"] } else { &[] };
        let mut words = vec![kind, "ls", "-q", "--filter", &filter];
        words.extend(all);
        for name in docker(&words).lines() {
            let labels = match kind {
                "container" => "{{json .Config.Labels}}",
                _ => "{{json .Labels}}",
            };
            let labels = docker(&[kind, "inspect", "--format", labels, name]);
            assert!(labels.contains("flipside.service"), "{labels}");
            nowhere(&labels, "labels");
        }
    }
}

fn unrecorded(stage: &Stage) {
    let journal = std::process::Command::new("grep")
        .args(["-rlE", &MARKS.join("|")])
        .arg(stage.state())
        .output()
        .unwrap();
    let files = String::from_utf8_lossy(&journal.stdout);
    assert_eq!(files, "", "a secret is in the journal");
}

#[test]
fn what_the_engine_or_the_application_repeats_of_a_secret_is_hidden() {
    let stage = Stage::new();
    let [_, _, _, argument, header, program, check, long] = MARKS;
    let long = format!("{long}-{}", "x".repeat(300));
    stage.write(
        "Dockerfile",
        format!(
            "FROM {}\nARG TOKEN\nRUN [\"/hello\", \"nonsense\"]\n",
            stage.image
        ),
    );
    let (service, port, image) = (&stage.service, stage.port, &stage.image);
    let plan = |role: &str, probe: &str| {
        stage.write(
            "flipside.yaml",
            format!(
                "name: {service}
services:
  web: {{ {role}, stop_grace_period: 1s }}
expose: web:8080
probes:
  - {probe}
pointer: {{ proxy: {{ listen: \"127.0.0.1:{port}\" }} }}
"
            ),
        );
    };
    let refused = |says: &[&str]| {
        for words in [&["deploy", "-vv"][..], &["deploy", "--output", "json"]] {
            let mut command = stage.command(words);
            command
                .env("TOKEN", argument)
                .env("HEADER", header)
                .env("LONG", &long)
                .env("PROGRAM", program)
                .env("CHECK", check);
            let ran = super::kit::Running::start(command).end();
            ran.ended(3);
            unsaid(&ran);
            let said = format!("{}{}", ran.out, ran.err);
            assert!(says.iter().all(|text| said.contains(text)), "{ran}");
        }
    };
    let image = format!("image: \"{image}\"");
    let up = "http: { path: /up, timeout: 1s, deadline: 1s }";

    // The application repeats what it was sent: a part of it, and more of it than is shown.
    for header in ["Bearer ${HEADER}", "Bearer ${LONG}"] {
        let probe = format!(
            "http: {{ path: /headers, contains: nowhere, timeout: 1s, deadline: 1s, headers: {{ Authorization: \"{header}\" }} }}"
        );
        plan(&image, &probe);
        refused(&["`nowhere` is not in the answer", "[secret]"]);
    }
    plan(
        &image,
        "exec: { command: [/hello, \"${CHECK}\"], timeout: 1s, deadline: 1s }",
    );
    refused(&["exit 2", "`[secret]` is none of"]);
    // The engine quotes what it cannot start, the builder the arguments of a step that failed.
    plan(&format!("{image}, entrypoint: [\"/${{PROGRAM}}\"]"), up);
    refused(&["[secret]", "no such file or directory"]);
    plan("build: { context: ., args: { TOKEN: \"${TOKEN}\" } }", up);
    refused(&["non-zero code: 2"]);
    unrecorded(&stage);
}

#[test]
fn a_release_is_proven_by_a_command_in_its_container() {
    let stage = Stage::new();
    let plan = stage.plan();
    let probe = plan.lines().find(|line| line.contains("- http:")).unwrap();
    let exec = "  - exec: { command: [/hello, \"${CHECK:-check}\"], interval: 100ms, timeout: 2s, deadline: \"${DEADLINE:-20s}\" }";
    stage.write("flipside.yaml", plan.replace(probe, exec));
    stage.deploy(&[]);
    stage.serves("1");
    let words = [
        "deploy",
        "--set",
        "CHECK=nonsense",
        "--set",
        "DEADLINE=2s",
        "--set",
        "VERSION=2",
    ];
    stage
        .expect(3, &words)
        .says(&["did not pass `exec`", "exit 2"]);
    stage.serves("1");
}
