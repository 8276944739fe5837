//! A Compose project's worker that runs beside a live-only role of a release: never two at once.

use super::{docker, exists, life, policy, runs, stage};
use crate::real_verbs::kit::Stage;

/// A stage whose live-only `worker` is of a Compose file, and the project of that.
fn composed() -> (Stage, String) {
    let stage = stage();
    let (project, image) = (format!("{}-proj", stage.service), &stage.image);
    let worker = format!("services:\n  worker: {{ image: {image}, stop_grace_period: 2s }}\n");
    stage.write("compose.yaml", format!("name: {project}\n{worker}"));
    let plan = stage.plan();
    let plan = plan.replace(
        "expose:",
        "  worker: { run: live-only }\nsettle: 1s\nexpose:",
    );
    stage.write("flipside.yaml", format!("compose: compose.yaml\n{plan}"));
    (stage, project)
}

fn run(stage: &Stage, project: &str, number: u32, more: &[&str]) -> String {
    let of = |key: &str, value: &str| format!("--label=com.docker.compose.{key}={value}");
    let name = format!("{project}-worker-{number}");
    let labels = [of("project", project), of("service", "worker")];
    let mut words = vec!["run", "-d", "--name", &name];
    words.extend(labels.iter().map(String::as_str));
    words.extend(more);
    words.push(&stage.image);
    docker(&words);
    name
}

/// Types the command that a message ends with.
fn type_in(command: &str) {
    let typed = std::process::Command::new("sh")
        .args(["-ec", command])
        .output();
    assert!(typed.unwrap().status.success(), "{command}");
}

#[test]
fn a_deploy_does_not_begin_while_a_projects_worker_runs() {
    let (stage, project) = composed();
    let always = run(&stage, &project, 1, &["--restart", "always"]);
    let before = life(&always);
    let what = format!(
        "`worker` is live-only, and the container `{always}` of the Compose project `{project}` runs"
    );
    let stop = format!("docker update --restart=no {always} && docker stop {always}");
    let expected =
        format!("error: {what}: two would work at once\n\nhint: stop it first: {stop}\n");
    let refuses = || {
        for words in [&["deploy"][..], &["deploy", "--dry-run"]] {
            let refused = stage.expect(4, words);
            assert!(refused.err.ends_with(&expected), "{refused}");
        }
        assert_eq!(stage.parts(), [""; 0]);
    };
    refuses();
    assert!(!exists(&stage.proxy));
    docker(&["pause", &always]);
    refuses();
    docker(&["unpause", &always]);
    assert_eq!(life(&always), before);
    type_in(&stop);
    assert_eq!(policy(&always), "no");
    // Whoever runs a command in one by hand does no worker's work.
    let by_hand = run(
        &stage,
        &project,
        2,
        &["--label=com.docker.compose.oneoff=True"],
    );
    stage.deploy(&[]);
    docker(&["rm", "-f", &by_hand]);
    stage
        .expect(0, &["status", &stage.service])
        .never_says("two may work");

    // Started again, by old habit.
    docker(&["start", &always]);
    let warned = format!("{what}: two may work at once; stop it: docker stop {always}");
    assert_eq!(stage.status()["disagreements"][0], warned);
    let shown = stage.expect(0, &["status", &stage.service]);
    let shown = shown.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(&format!("warning: {warned}")), "{shown}");
    let parts = stage.parts();
    let refused = stage.expect(4, &["deploy"]);
    refused.says(&[&what, &format!("stop it first: docker stop {always}")]);
    assert_eq!(stage.parts(), parts);
    type_in(&format!("docker stop -t 1 {always}"));
    stage.deploy(&[]);
    // It keeps no rollback from going back.
    docker(&["start", &always]);
    stage.expect(0, &["rollback", &stage.service, "--yes"]);
    assert!(runs(&always));
}
