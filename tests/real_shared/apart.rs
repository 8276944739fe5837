//! A shared role whose container Compose has made anew, or that a hand has stopped or removed, while a
//! release uses it: `status` keeps its row and says what mends it, and what it says mends it.

use flipside::core::names::Release;
use flipside::core::plan::{Mount, MountSource};
use flipside::engine::Engine;

use super::made::{name, up, with_db};
use super::project::{Project, aliases};
use super::{db, docker, exists, inspect, life, runs, stage};
use crate::real_verbs::kit::{Ran, Stage};
use crate::support::docker::Scope;
use crate::support::sample::role_name;

/// A stage whose `web` is not fit while it does not find `db`, which is a Compose project's.
struct Composed {
    stage: Stage,
    project: String,
}

impl Composed {
    fn new() -> Self {
        let stage = Stage::new();
        let project = format!("{}-proj", stage.service);
        let composed = Self { stage, project };
        let image = &composed.stage.image;
        composed.stage.write(
            "compose.yaml",
            format!("services: {{ db: {{ image: \"{image}\" }} }}\n"),
        );
        let plan = composed.stage.plan();
        let plan = plan.replacen("services:\n", "services:\n  db: { run: shared }\n", 1);
        let plan = plan.replacen("      PORT", "      NEEDS: db\n      PORT", 1);
        let plan = plan + &format!("compose: compose.yaml\nproject: {}\n", composed.project);
        composed.stage.write("flipside.yaml", plan);
        composed.make();
        composed
    }

    fn db(&self) -> String {
        format!("{}-db-1", self.project)
    }

    /// Makes the project's container, as Compose does.
    fn make(&self) {
        let of = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
        let (project, role) = (of("project", &self.project), of("service", "db"));
        let name = self.db();
        let words = ["run", "-d", "--name", &name, "--label", &project, "--label"];
        docker(&[&words[..], &[&role, &self.stage.image]].concat());
    }

    /// As `docker compose up -d --force-recreate db` does.
    fn make_anew(&self) {
        docker(&["rm", "-f", &self.db()]);
        self.make();
    }

    fn network(&self) -> String {
        format!("flipside.{}.shared", self.stage.service)
    }

    fn is_joined(&self) -> bool {
        let network = &inspect(&self.db())["NetworkSettings"]["Networks"][&self.network()];
        let names = network["Aliases"].as_array().cloned().unwrap_or_default();
        names.contains(&"db".into())
    }

    fn expect(&self, code: i32, words: &[&str]) -> Ran {
        let mut all = words.to_vec();
        all.insert(1, &self.stage.service);
        self.stage.expect(code, &all)
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        let container = self.db();
        let mut remove = std::process::Command::new("docker");
        remove.args(["rm", "-fv", &container]).output().ok();
    }
}

#[test]
fn one_that_compose_has_made_anew_is_told_and_joined_again_as_it_runs() {
    let it = Composed::new();
    it.stage.deploy(&[]);
    assert!(it.is_joined());
    it.make_anew();
    let before = life(&it.db());
    let status = it.expect(0, &["status"]);
    let (name, network, service) = (it.db(), it.network(), &it.stage.service);
    status.says(&[
        "running, not joined",
        &format!(
            "`{name}` is not on the network `{network}`, and no release reaches `db`; join it, which \
             restarts nothing: flipside resume {service}"
        ),
        "is not fit",
    ]);
    assert_eq!(it.stage.status()["shared"][0]["joined"], false);
    let resumed = it.expect(0, &["resume"]);
    resumed.says(&[
        "see to the shared role `db`",
        &format!("`{name}` was not on the network `{network}`; it has been joined as db"),
    ]);
    assert!(it.is_joined());
    assert_eq!(life(&name), before);
    let status = it.expect(0, &["status"]);
    status.never_says("not joined");
    status.never_says("is not fit");
    // Nothing is under way any more.
    it.expect(4, &["resume"]);
}

#[test]
fn a_rollback_joins_what_its_standby_needs() {
    let it = Composed::new();
    it.stage.deploy(&["VERSION=one"]);
    it.stage.deploy(&["VERSION=two"]);
    it.make_anew();
    let before = life(&it.db());
    let foretold = it.expect(4, &["rollback", "--dry-run"]);
    let (name, network, service) = (it.db(), it.network(), &it.stage.service);
    foretold.says(&[
        &format!("the shared role `db`: `{name}` is not on the network `{network}`"),
        &format!("join it, which restarts nothing: flipside resume {service}"),
    ]);
    assert!(!it.is_joined());
    let back = it.expect(0, &["rollback", "--yes"]);
    back.says(&[&format!("`{name}` was not on the network `{network}`")]);
    it.stage.serves("one");
    assert!(it.is_joined());
    assert_eq!(life(&name), before);
}

#[test]
fn a_rollback_without_its_database_says_so_and_how_to_get_it_back() {
    let it = Composed::new();
    it.stage.deploy(&["VERSION=one"]);
    it.stage.deploy(&["VERSION=two"]);
    docker(&["stop", "-t", "1", &it.db()]);
    let name = it.db();
    let refused = it.expect(4, &["rollback", "--yes"]);
    refused.says(&[
        &format!("the shared role `db`: `{name}` exited with"),
        &format!("hint: start it: docker start {name}; go back all the same"),
    ]);
    docker(&["rm", "-f", &name]);
    let service = &it.stage.service;
    let mends = format!(
        "where Compose had made its container: docker compose up -d db, then flipside resume {service}"
    );
    let refused = it.expect(4, &["rollback", "--yes"]);
    refused.says(&["nothing stands for the shared role `db`", &mends]);
    let status = it.expect(0, &["status"]);
    let uses = format!("nothing stands for `db`, which {service}@1 and {service}@2 use; {mends}");
    status.says(&["gone", &uses]);
    assert_eq!(it.stage.status()["shared_gone"][0]["role"], "db");
    it.make();
    it.expect(0, &["resume"]);
    it.expect(0, &["rollback", "--yes"]);
    it.stage.serves("one");
}

#[test]
fn an_own_one_that_is_gone_is_stood_up_on_its_data_by_the_deploy_that_is_named() {
    let stage = stage();
    stage.deploy(&[]);
    let db = db(&stage);
    let service = &stage.service;
    let network = format!("flipside.{service}.shared");
    docker(&["network", "disconnect", &network, &db]);
    let status = stage.expect(0, &["status", service]);
    status.says(&["healthy, not joined", &format!("flipside resume {service}")]);
    let before = life(&db);
    stage.expect(0, &["resume", service]);
    let is_named = || {
        let now = inspect(&db);
        let names = now["NetworkSettings"]["Networks"][&network]["Aliases"].as_array();
        names.is_some_and(|names| names.contains(&"db".into()))
    };
    assert!(is_named());
    assert_eq!(life(&db), before);
    // So does a deploy.
    docker(&["network", "disconnect", &network, &db]);
    stage.deploy(&[]);
    assert!(is_named());
    assert_eq!(life(&db), before);

    docker(&["rm", "-f", &db]);
    let status = stage.expect(0, &["status", service]);
    status.says(&[&format!(
        "nothing stands for `db`, which {service}@1 and {service}@2 use; a deploy makes one on its \
         volumes: flipside deploy"
    )]);
    stage.deploy(&["VERSION=two"]);
    assert!(runs(&db));
    let status = stage.expect(0, &["status", service]);
    status.never_says("nothing stands");
}

/// As [`Composed`] sees it from outside, with all the names of a role.
#[tokio::test]
async fn it_is_joined_under_every_name_that_a_release_has_for_it() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = project.run(1);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    let role = spec.plan.shared.get_mut(&role_name("db")).unwrap();
    role.aliases = vec!["store".into()];
    spec.labels.sharing = Some(flipside::core::sharing::Sharing::of(&spec.plan));
    project.up(&spec).await;
    let before = aliases(&scope, &old);
    docker(&["rm", "-f", &old]);
    let new = project.run(1);
    // Another role of the project is none of ours.
    let other = project.run_as("cache", 1, &[]);
    let joined = scope.engine.join_shared(&scope.service).await.unwrap();
    assert_eq!(joined.len(), 1, "{joined:?}");
    assert!(joined[0].ends_with("joined as db, store"), "{joined:?}");
    for name in ["db", "store"] {
        let name = name.to_owned();
        assert!(before.contains(&name) && aliases(&scope, &new).contains(&name));
    }
    assert_eq!(aliases(&scope, &other), [""; 0]);
    let again = scope.engine.join_shared(&scope.service).await;
    assert_eq!(again, Ok(Vec::new()));
    scope
        .engine
        .tear_down(&scope.service, Release(1))
        .await
        .unwrap();
}

#[tokio::test]
async fn two_on_one_volume_are_told_without_a_plan() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let volume = format!("{}_data", project.name);
    let spec = with_db(&scope, |db| {
        db.mounts = vec![Mount {
            target: "/data".into(),
            source: MountSource::Shared(volume.clone()),
            read_only: false,
            propagation: None,
        }];
    });
    up(&scope, &spec).await;
    let rival = async || {
        let told = scope.engine.shared(&scope.service, None).await.unwrap();
        let ours = told
            .into_iter()
            .find(|one| one.container.name == name(&scope));
        ours.unwrap().not_alone()
    };
    assert_eq!(rival().await, None);
    // Another role's that has it open, a backup perhaps, is no second database.
    let backup = project.run_as("backup", 1, &[]);
    assert_eq!(rival().await, None);
    let theirs = project.run(1);
    let told = rival().await.unwrap();
    let expected = format!(
        "`{theirs}` runs beside `{}`, and both have `{volume}` open",
        name(&scope)
    );
    assert!(told.starts_with(&expected), "{told}");
    assert!(told.ends_with(&format!("docker stop {theirs}")), "{told}");
    docker(&["stop", "-t", "1", &theirs]);
    assert_eq!(rival().await, None);
    docker(&["rm", "-f", &backup, &name(&scope)]);
    assert!(exists(&theirs));
}
