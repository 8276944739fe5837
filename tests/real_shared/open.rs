//! Data of shared roles that somebody else has open, and data that is elsewhere than the plan says.

use flipside::core::plan::{Mount, MountSource};
use flipside::core::progress::Silent;
use flipside::engine::Engine;

use super::docker;
use super::life;
use super::made::{name, up, with_db};
use super::project::{Project, refusal};
use crate::support::docker::Scope;
use crate::support::sample::role_name;

pub(super) fn mount(source: MountSource, target: &str) -> Mount {
    Mount {
        target: target.into(),
        source,
        read_only: false,
        propagation: None,
    }
}

#[tokio::test]
async fn a_projects_container_that_is_started_again_beside_ours_is_told() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let theirs = project.run(1);
    let volume = format!("{}_data", project.name);
    let spec = project.spec(1, &volume);
    project.up(&spec).await;
    let db = role_name("db");
    let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
    applied.unwrap();
    let ours = name(&scope);
    let ask = async || scope.engine.shared(&scope.service, Some(&spec.plan)).await;
    assert_eq!(ask().await.unwrap().len(), 1);
    // As `docker-compose up -d` does.
    docker(&["start", &theirs]);
    let before = (life(&ours), life(&theirs));
    let (what, hint) = refusal(ask().await);
    assert_eq!(
        what,
        format!(
            "the Compose project's own container `{theirs}` runs again beside `{ours}`, flipside's for \
             the shared role `db`, and both have the volume `{volume}` open"
        )
    );
    assert!(hint.ends_with(&format!("docker stop {theirs}")), "{hint}");
    let mut changed = spec.clone();
    let role = changed.plan.shared.get_mut(&db).unwrap();
    crate::support::sample::set(role, "VERSION", "10");
    refusal(scope.engine.apply_shared(&changed.plan, &db, &Silent).await);
    assert_eq!((life(&ours), life(&theirs)), before);
    docker(&["stop", "-t", "1", &theirs]);
    assert_eq!(ask().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_directory_of_the_host_is_data_too_also_below_and_of_who_is_paused() {
    let scope = Scope::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let below = directory.path().join("pg");
    std::fs::create_dir(&below).unwrap();
    let other = Project::new(&scope);
    let stranger = format!("{}-stranger", scope.service);
    let bound = format!("{}:/data", below.display());
    docker(&[
        "run",
        "-d",
        "--name",
        &stranger,
        "-v",
        &bound,
        other.image(),
    ]);
    let spec = with_db(&scope, |db| {
        db.mounts = vec![mount(MountSource::Host(path.clone()), "/data")];
    });
    let ask = async || scope.engine.shared(&scope.service, Some(&spec.plan)).await;
    let expected = format!(
        "`db` would have the directory `{path}` open beside the container `{stranger}`, which runs"
    );
    assert_eq!(refusal(ask().await).0, expected);
    docker(&["pause", &stranger]);
    assert_eq!(refusal(ask().await).0, expected);
    docker(&["rm", "-f", &stranger]);
    assert_eq!(ask().await, Ok(Vec::new()));
    // Whoever only reads disturbs nobody.
    let reading = format!("{bound}:ro");
    docker(&[
        "run",
        "-d",
        "--name",
        &stranger,
        "-v",
        &reading,
        other.image(),
    ]);
    let told = ask().await;
    docker(&["rm", "-f", &stranger]);
    assert_eq!(told, Ok(Vec::new()));
}

#[tokio::test]
async fn no_container_is_made_anew_on_other_data_than_it_had() {
    let scope = Scope::new().await;
    let [volume, other] = ["data", "fresh"].map(|it| format!("{}_{it}", scope.service));
    let here = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let bind = |dir: &tempfile::TempDir| MountSource::Host(dir.path().display().to_string());
    let with = |data: &str, target: &str, dir: &tempfile::TempDir| {
        with_db(&scope, |db| {
            let data = MountSource::Shared(data.to_owned());
            db.mounts = vec![mount(data, target), mount(bind(dir), "/files")];
        })
    };
    up(&scope, &with(&volume, "/data", &here)).await;
    let (ours, db) = (name(&scope), role_name("db"));
    let before = life(&ours);
    let says = [
        (
            with(&other, "/data", &here),
            format!("has the volume `{volume}` at `/data`, and the plan names `{other}` there"),
        ),
        (
            with(&volume, "/var/data", &here),
            format!("has the volume `{volume}` at `/data`, and the plan has no data there"),
        ),
        (
            with(&volume, "/data", &elsewhere),
            format!(
                "writes to `{}` at `/files`, and the plan names `{}` there",
                here.path().display(),
                elsewhere.path().display()
            ),
        ),
    ];
    for (spec, expected) in says {
        let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
        assert_eq!(refusal(applied).0, format!("`{ours}` {expected}"));
        assert_eq!(life(&ours), before);
    }
    docker(&["rm", "-f", &ours]);
    for volume in [&volume, &other] {
        std::process::Command::new("docker")
            .args(["volume", "rm", "-f", volume])
            .output()
            .unwrap();
    }
}
