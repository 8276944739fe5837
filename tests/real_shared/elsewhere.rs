//! A Compose project that was started from the plan's own files under another name: nothing begins anew
//! beside it, or beside the volume that it has left.

use std::path::Path;

use flipside::core::names::Release;
use flipside::core::plan::Run;
use flipside::core::progress::Silent;
use flipside::engine::{Engine, Spec};

use super::project::{Project, refusal};
use super::{containers, docker, inspect, life, stage};
use crate::real_verbs::kit::Stage;
use crate::support::docker::Scope;
use crate::support::sample::{role, spec};

/// A stage whose `db` is a Compose file's.
fn composed() -> (Stage, String) {
    let stage = stage();
    let compose = format!("services:\n  db: {{ image: {} }}\n", stage.image);
    stage.write("compose.yaml", compose);
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    let plan = plan.replace("service_healthy", "service_started");
    let plan = format!("compose: compose.yaml\n{plan}");
    stage.write("flipside.yaml", &plan);
    (stage, plan)
}

/// Runs `db` of a project as Compose labels it; `files` may be empty, as of an old Compose.
fn run(stage: &Stage, project: &str, directory: &Path, files: &str) -> String {
    let of = |key: &str, value: &str| format!("--label=com.docker.compose.{key}={value}");
    let name = format!("{project}-db-1");
    let directory = directory.display().to_string();
    docker(&[
        "run",
        "-d",
        "--name",
        &name,
        &of("project", project),
        &of("service", "db"),
        &of("oneoff", "False"),
        &of("project.working_dir", &directory),
        &of("project.config_files", files),
        &stage.image,
    ]);
    name
}

#[test]
fn a_project_that_was_started_under_another_name_is_not_left_aside() {
    let (stage, plan) = composed();
    let other = format!("{}-prod", stage.service);
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("current");
    std::os::unix::fs::symlink(stage.path(), &link).unwrap();
    let file = stage.path().join("compose.yaml").display().to_string();
    let elsewhere = Path::new("/srv/elsewhere");
    // What Compose would call it by itself, as `init` writes it, decides nothing.
    let directory = stage.path().file_name().unwrap().to_string_lossy();
    let by_itself = directory.trim_start_matches('.').to_lowercase();
    let said = format!("project: {by_itself}\n{plan}");
    let from = [
        (stage.path(), "compose.yaml", &plan),
        (elsewhere, file.as_str(), &plan),
        (link.as_path(), "", &said),
    ];
    let service = &stage.service;
    for (directory, files, plan) in from {
        stage.write("flipside.yaml", plan);
        let theirs = run(&stage, &other, directory, files);
        let before = life(&theirs);
        let expected = format!(
            "error: `db` would be made anew beside the container `{theirs}` of the Compose project \
             `{other}`, which comes from the same Compose file; the plan looks for the project \
             `{by_itself}`\n\nhint: go on with that one: write `project: {other}` into the plan; if \
             `db` is to begin afresh, write a name there that is no project's: `project: \
             {service}-fresh`\n"
        );
        for words in [
            &["deploy"][..],
            &["deploy", "--dry-run"],
            &["shared", "apply", "--yes"],
        ] {
            let refused = stage.expect(4, words);
            assert!(refused.err.ends_with(&expected), "{refused}");
        }
        assert_eq!(stage.parts(), [""; 0]);
        assert_eq!(life(&theirs), before);
        docker(&["rm", "-f", &theirs]);
    }
    // Also one that has been stopped. As told, it goes on; or another one begins.
    let theirs = run(&stage, &other, stage.path(), "compose.yaml");
    docker(&["stop", "-t", "1", &theirs]);
    stage.expect(4, &["deploy"]);
    stage.write("flipside.yaml", format!("project: {service}-fresh\n{plan}"));
    let dry = stage.expect(0, &["deploy", "--dry-run"]);
    dry.says(&["would stand up the shared role `db`"]);
    docker(&["start", &theirs]);
    let before = life(&theirs);
    stage.write("flipside.yaml", format!("project: {other}\n{plan}"));
    stage.deploy(&[]);
    assert_eq!(containers(&stage), [""; 0]);
    assert_eq!(life(&theirs), before);
    let network = format!("flipside.{service}.shared");
    let joined = &inspect(&theirs)["NetworkSettings"]["Networks"][&network];
    assert!(joined.is_object(), "{joined}");
}

/// Volumes do not say where they come from: a container of the project has to.
#[tokio::test]
async fn a_volume_that_a_project_of_another_name_has_left_is_told() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let (service, other) = (&scope.service, &project.name);
    // No other test's volume is called so.
    let key = format!("data-{service}");
    let (left, volume) = (format!("{other}_{key}"), format!("{service}_{key}"));
    let of = |what: &str, value: &str| format!("--label=com.docker.compose.{what}={value}");
    let labels = [of("project", other), of("volume", &key)];
    docker(&["volume", "create", &labels[0], &labels[1], &left]);
    let with = |volume: &str| {
        let mut spec = project.spec(1, volume);
        spec.plan.project = Some(format!("{service}-here"));
        spec.plan.compose_files = vec![format!("/srv/{service}/compose.yaml").into()];
        spec
    };
    let ask = async |spec: &Spec| scope.engine.shared(service, Some(&spec.plan)).await;
    let says = |volume: &str| {
        format!(
            "`db` would begin with a new, empty volume `{volume}`, and the Compose project `{other}` \
             has left a `{key}` in `{left}`"
        )
    };
    let spec = with(&volume);
    // Nothing says that it is more than a name which both have.
    assert_eq!(ask(&spec).await, Ok(Vec::new()));
    let from = |path: &str| of("project.working_dir", path);
    let of_others = project.run_as("mail", 1, &[&from("/srv/mail")]);
    assert_eq!(ask(&spec).await, Ok(Vec::new()));
    docker(&["rm", "-f", &of_others]);
    let of_files = project.run_as("mail", 1, &[&from(&format!("/srv/{service}"))]);
    docker(&["stop", "-t", "1", &of_files]);
    let (what, hint) = refusal(ask(&spec).await);
    assert_eq!(what, says(&volume));
    assert_eq!(
        hint,
        format!(
            "if that is this project, which was called otherwise, write `project: {other}` and \
             `volumes: {{{key}: {{keep: across-releases, name: {left}}}}}` into the plan; if it shall \
             begin empty, make it: docker volume create {volume}"
        )
    );
    // The name that `init` writes is the wrong project's as well.
    let of_init = format!("{service}-here_{key}");
    assert_eq!(refusal(ask(&with(&of_init)).await).0, says(&of_init));
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    refusal(scope.engine.stand_up(&spec, &images, &Silent).await);
    assert_eq!(scope.parts().await, [""; 0]);
    // As told.
    let mut named = project.spec(1, &left);
    named
        .plan
        .compose_files
        .clone_from(&spec.plan.compose_files);
    assert_eq!(ask(&named).await, Ok(Vec::new()));
    let mut decided = spec.clone();
    decided.plan.compose_files.clear();
    assert_eq!(ask(&decided).await, Ok(Vec::new()));
    docker(&["volume", "create", &volume]);
    assert_eq!(ask(&spec).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_worker_of_a_project_of_another_name_is_a_second_one_too() {
    let scope = Scope::new().await;
    let (other, service) = (Project::new(&scope), &scope.service);
    let directory = format!("/srv/{service}");
    let label = format!("--label=com.docker.compose.project.working_dir={directory}");
    let mut worker = role(scope.image.clone());
    worker.run = Run::LiveOnly;
    let web = role(scope.image.clone());
    let mut spec = spec(service, 1, vec![("web", web), ("worker", worker)]);
    spec.plan.project = Some(format!("{service}-here"));
    spec.plan.compose_files = vec![format!("{directory}/compose.yaml").into()];
    let ask = async || scope.engine.shared(service, Some(&spec.plan)).await;
    let theirs = other.run_as("worker", 1, &[&label]);
    let (what, hint) = refusal(ask().await);
    let begins = format!("`worker` would be made anew beside the container `{theirs}`");
    assert!(what.starts_with(&begins), "{what}");
    assert!(
        hint.contains(&format!("`project: {}`", other.name)),
        "{hint}"
    );
    // Nor does it do any harm to have one that rests, or has handed over.
    docker(&["stop", "-t", "1", &theirs]);
    assert_eq!(ask().await, Ok(Vec::new()));
    other.up(&spec).await;
    scope.engine.work(service, Release(1)).await.unwrap();
    docker(&["start", &theirs]);
    assert_eq!(ask().await, Ok(Vec::new()));
    scope.engine.rest(service, Release(1)).await.unwrap();
    assert_eq!(refusal(ask().await).0, what);
    let here = Project {
        scope: &scope,
        name: format!("{service}-here"),
    };
    docker(&["stop", "-t", "1", &here.run_as("worker", 1, &[])]);
    assert_eq!(ask().await, Ok(Vec::new()));
}
