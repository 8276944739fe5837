//! What is said of secrets by those who must know them: the engine, the builder, the application.

use super::kit::{Ran, Stage};

const MARKS: [&str; 5] = [
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
fn what_the_engine_or_the_application_repeats_of_a_secret_is_hidden() {
    let stage = Stage::new();
    let [argument, header, program, check, long] = MARKS;
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
    stage.keeps_unrecorded(&MARKS);
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
