//! A role that was shared and is not any more, and a Compose project's own container of one that is a
//! release's: no release stands one up beside it.

use flipside::core::plan::{MountSource, Run};
use flipside::engine::Engine;

use super::made::{name, up, with_db};
use super::open::mount;
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
        "`db` would write to the volume `{volume}` beside the container `{running}` of the Compose project `{}`, \
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
    docker(&["pause", &running]);
    assert_eq!(refusal(ask(&spec).await).0, expected);
    docker(&["unpause", &running]);
    docker(&["stop", "-t", "1", &running]);
    assert_eq!(ask(&spec).await, Ok(Vec::new()));
}

/// A directory is data as a volume is, also one above or below.
#[tokio::test]
async fn a_directory_that_a_former_container_has_open_is_not_written_to_beside_it() {
    let scope = Scope::new().await;
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("pg");
    std::fs::create_dir(&below).unwrap();
    let [above, below] = [directory.path(), &below].map(|path| path.display().to_string());
    let with = |path: &str| {
        with_db(&scope, |db| {
            db.mounts = vec![mount(MountSource::Host(path.to_owned()), "/data")];
        })
    };
    up(&scope, &with(&below)).await;
    let (ours, db) = (name(&scope), role_name("db"));
    let before = life(&ours);
    let mut renamed = with(&above);
    let role = renamed.plan.shared.remove(&db).unwrap();
    renamed.plan.shared.insert(role_name("store"), role);
    let ask = async || {
        scope
            .engine
            .shared(&scope.service, Some(&renamed.plan))
            .await
    };
    let expected = format!(
        "`store` would write to the directory `{above}` beside `{ours}`, the container of the shared \
         role `db`, which is not in the plan any more and still runs"
    );
    assert_eq!(refusal(ask().await).0, expected);
    assert_eq!(life(&ours), before);
    docker(&["rm", "-f", &ours]);
    assert_eq!(ask().await, Ok(Vec::new()));
    // The same of a Compose project's own, of a role that is a release's.
    let project = Project::new(&scope);
    let theirs = project.run_as("db", 1, &["-v", &format!("{below}:/files")]);
    let mut of_release = project.spec(1, "unused");
    let mut db = of_release.plan.shared.remove(&role_name("db")).unwrap();
    db.run = Run::Always;
    db.mounts = vec![mount(MountSource::Host(above.clone()), "/data")];
    of_release.plan.roles.insert(role_name("db"), db);
    let told = scope.engine.shared(&scope.service, Some(&of_release.plan));
    let (what, _) = refusal(told.await);
    assert!(
        what.starts_with(&format!(
            "`db` would write to the directory `{above}` beside the container `{theirs}`"
        )),
        "{what}"
    );
}
