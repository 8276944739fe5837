//! A role that was shared and is not any more, and a Compose project's own container of one that is a
//! release's: no release stands one up beside it.

use flipside::core::plan::Run;
use flipside::engine::Engine;

use super::project::{Project, refusal};
use super::{containers, db, docker, life, stage};
use crate::support::docker::Scope;
use crate::support::sample::role_name;

#[test]
fn a_role_that_is_not_shared_any_more_is_refused_while_its_container_runs() {
    let stage = stage();
    stage.deploy(&[]);
    let (db, before, parts) = (db(&stage), life(&db(&stage)), stage.parts());
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    stage.write("flipside.yaml", plan.replace("    run: shared\n", ""));
    let service = &stage.service;
    let expected = format!(
        "error: `db` is of each release now, and its shared container `{db}` still runs: there would be \
         two of them\n\nhint: keep `run: shared` at `db`; or end it first, which every release that uses \
         it sees: docker stop {db} && docker rm {db}; or all of them: flipside down {service} --shared \
         --yes --confirm {service}\n"
    );
    for words in [&["deploy"][..], &["deploy", "--dry-run"]] {
        let refused = stage.expect(4, words);
        assert!(refused.err.ends_with(&expected), "{}", refused.err);
    }
    assert_eq!(life(&db), before);
    assert_eq!(stage.parts(), parts);
    docker(&["stop", &db]);
    docker(&["rm", &db]);
    stage.deploy(&[]);
    assert_eq!(containers(&stage), [""; 0]);
}

#[tokio::test]
async fn a_release_does_not_write_to_what_a_projects_own_container_has_open() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let running = project.run(1);
    let before = life(&running);
    let volume = format!("{}_data", project.name);
    let mut spec = project.spec(1, &volume);
    let mut db = spec.plan.shared.remove(&role_name("db")).unwrap();
    db.run = Run::Always;
    spec.plan.roles.insert(role_name("db"), db);
    let ask = async |spec: &flipside::engine::Spec| {
        scope.engine.shared(&scope.service, Some(&spec.plan)).await
    };
    let (what, hint) = refusal(ask(&spec).await);
    let expected = format!(
        "`db` would write to `{volume}` beside the container `{running}` of the Compose project `{}`, \
         which runs and has it open",
        project.name
    );
    assert_eq!(what, expected);
    assert!(hint.contains("`run: shared`"), "{hint}");
    assert!(hint.contains(&format!("docker stop {running}")), "{hint}");
    // Whoever only reads disturbs nobody.
    let mut reads = spec.clone();
    let db = reads.plan.roles.get_mut(&role_name("db")).unwrap();
    db.mounts[0].read_only = true;
    assert_eq!(ask(&reads).await, Ok(Vec::new()));
    assert_eq!(life(&running), before);
    docker(&["stop", "-t", "1", &running]);
    assert_eq!(ask(&spec).await, Ok(Vec::new()));
}
