//! A Compose project that runs already: its containers are found by their labels, connected, and left
//! alone until `shared apply`. Played by the `docker` command; no Compose is needed.

use flipside::core::plan::{Condition, ImageSource, Mount, MountSource, Run};
use flipside::core::progress::Silent;
use flipside::core::shared::Owner;
use flipside::engine::{Engine, EngineError, Spec};

use super::{docker, inspect, life, runs};
use crate::support::docker::Scope;
use crate::support::sample::{depends, role, role_name, set, spec};

pub struct Project<'a> {
    pub scope: &'a Scope,
    pub name: String,
}

impl<'a> Project<'a> {
    pub fn new(scope: &'a Scope) -> Self {
        let name = format!("{}-proj", scope.service);
        Self { scope, name }
    }

    pub fn image(&self) -> &str {
        match &self.scope.image {
            ImageSource::Pull(image) => image,
            ImageSource::Build(_) => unreachable!("a pulled image"),
        }
    }

    /// Runs container `number` of the project's `db`, with its volume `data`.
    pub fn run(&self, number: u32) -> String {
        self.run_as("db", number, &[])
    }

    /// The same of another role, with more words for the engine.
    pub fn run_as(&self, role: &str, number: u32, more: &[&str]) -> String {
        let volume = format!("{}_data", self.name);
        let of = |key: &str| format!("com.docker.compose.{key}");
        let project = format!("{}={}", of("project"), self.name);
        let called = format!("{}-{role}-{number}", self.name);
        let service = format!("{}={role}", of("service"));
        let one_off = format!("{}=False", of("oneoff"));
        let mount = format!("{volume}:/data");
        docker(&[
            "volume",
            "create",
            "--label",
            &project,
            "--label",
            &format!("{}=data", of("volume")),
            &volume,
        ]);
        let mut words = vec!["run", "-d", "--name", &called, "--restart", "always"];
        for label in [&project, &service, &one_off] {
            words.extend(["--label", label]);
        }
        words.extend(["-v", &mount]);
        words.extend(more);
        words.push(self.image());
        docker(&words);
        called
    }

    /// A plan read from the project's file; `volume` is the name that its volume has there.
    pub fn spec(&self, release: u64, volume: &str) -> Spec {
        let mut web = role(self.scope.image.clone());
        depends(&mut web, "db", Condition::Started);
        let mut spec = spec(&self.scope.service, release, vec![("web", web)]);
        let mut db = role(self.scope.image.clone());
        db.run = Run::Shared;
        db.mounts = vec![Mount {
            target: "/data".into(),
            source: MountSource::Shared(volume.into()),
            read_only: false,
            propagation: None,
        }];
        set(&mut db, "VERSION", "9");
        spec.plan.shared.insert(role_name("db"), db);
        spec.plan.project = Some(self.name.clone());
        spec
    }

    pub async fn up(&self, spec: &Spec) {
        let engine = &self.scope.engine;
        let images = engine.prepare(spec, &Silent).await.unwrap();
        engine.stand_up(spec, &images, &Silent).await.unwrap();
    }
}

pub fn aliases(scope: &Scope, container: &str) -> Vec<String> {
    let network = format!("flipside.{}.shared", scope.service);
    let now = inspect(container);
    let all = &now["NetworkSettings"]["Networks"][&network]["Aliases"];
    let all = all.as_array().cloned().unwrap_or_default().into_iter();
    all.filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn running_containers_are_connected_and_not_touched() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let names = [project.run(1), project.run(2)];
    let before: Vec<_> = names.iter().map(|name| life(name)).collect();
    let volume = format!("{}_data", scope.service);
    let spec = project.spec(1, &volume);
    let told = scope
        .engine
        .shared(&scope.service, Some(&spec.plan))
        .await
        .unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    let owner = Owner::Project(project.name.clone());
    assert!(
        told.iter()
            .all(|one| one.owner == owner && one.differs.is_empty())
    );
    project.up(&spec).await;
    project.up(&project.spec(2, &volume)).await;
    let after: Vec<_> = names.iter().map(|name| life(name)).collect();
    assert_eq!(after, before);
    for name in &names {
        assert!(aliases(&scope, name).contains(&"db".to_owned()));
    }
    // Also known without the plan, by their network.
    let told = scope.engine.shared(&scope.service, None).await.unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    for release in [1, 2] {
        let release = flipside::core::names::Release(release);
        scope
            .engine
            .tear_down(&scope.service, release)
            .await
            .unwrap();
    }
    scope.engine.tear_down_shared(&scope.service).await.unwrap();
    assert!(names.iter().all(|name| runs(name)));
    assert!(aliases(&scope, &names[0]).is_empty());
}

#[tokio::test]
async fn apply_takes_their_place_with_their_data_and_keeps_them() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = project.run(1);
    let adopted = format!("{}_data", project.name);
    project.up(&project.spec(1, &adopted)).await;
    let spec = project.spec(2, &adopted);
    let db = role_name("db");
    let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent);
    assert_eq!(applied.await.unwrap().kept, [old.as_str()]);
    let new = format!("{}-shared-db", scope.service);
    assert!(runs(&new) && !runs(&old));
    assert_eq!(inspect(&new)["Mounts"][0]["Name"], adopted);
    assert_eq!(inspect(&old)["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert!(aliases(&scope, &old).is_empty());
    assert!(aliases(&scope, &new).contains(&"db".to_owned()));
    // From here on it is flipside's own.
    let before = life(&new);
    project.up(&spec).await;
    assert_eq!(life(&new), before);
    assert!(!runs(&old));
}

#[tokio::test]
async fn apply_that_fails_lets_them_go_on() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = project.run(1);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    let db = spec.plan.shared.get_mut(&role_name("db")).unwrap();
    set(db, "EXIT_AT_START", "3");
    let failed = scope
        .engine
        .apply_shared(&spec.plan, &role_name("db"), &Silent)
        .await;
    let Err(EngineError::Failed(failure)) = failed else {
        panic!("{failed:?}");
    };
    assert!(failure.what.contains("was put back"), "{failure:?}");
    assert!(runs(&old));
    assert_eq!(
        inspect(&old)["HostConfig"]["RestartPolicy"]["Name"],
        "always"
    );
    assert!(aliases(&scope, &old).contains(&"db".to_owned()));
}

#[tokio::test]
async fn an_empty_volume_never_takes_the_place_of_a_full_one() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let old = project.run(1);
    let volume = format!("{}_data", scope.service);
    let spec = project.spec(1, &volume);
    let refusal = |failed: EngineError| match failed {
        EngineError::Failed(failure) => (failure.what, failure.hint.unwrap()),
        other => panic!("{other:?}"),
    };
    let applied = scope
        .engine
        .apply_shared(&spec.plan, &role_name("db"), &Silent)
        .await;
    let (what, hint) = refusal(applied.unwrap_err());
    let there = format!("{}_data", project.name);
    let expected = format!(
        "`db` would begin with a new, empty volume `{volume}`, and the Compose project `{}` has its \
         `data` in `{there}`",
        project.name
    );
    assert_eq!(what, expected);
    let line = format!("`volumes: {{data: {{keep: across-releases, name: {there}}}}}`");
    assert!(hint.contains(&line), "{hint}");
    assert!(runs(&old));
    // Nor where nothing of the project is left but the volume.
    docker(&["rm", "-f", &old]);
    let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
    assert_eq!(refusal(told.unwrap_err()).0, expected);
}

pub(super) fn refusal<T: std::fmt::Debug>(answer: Result<T, EngineError>) -> (String, String) {
    match answer {
        Err(EngineError::Failed(failure)) => (failure.what, failure.hint.unwrap_or_default()),
        other => panic!("no refusal: {other:?}"),
    }
}

/// Of two databases on one directory neither knows of the other.
#[tokio::test]
async fn a_volume_that_a_strangers_container_has_open_is_not_opened_beside_it() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let name = project.run(1);
    let before = life(&name);
    // Read in another directory, the file is another project's.
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    spec.plan.project = Some("elsewhere".into());
    let (what, hint) = refusal(scope.engine.shared(&scope.service, Some(&spec.plan)).await);
    assert!(
        what.contains(&format!("beside the container `{name}`")),
        "{what}"
    );
    assert!(
        hint.contains(&format!("`project: {}`", project.name)),
        "{hint}"
    );
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    refusal(scope.engine.stand_up(&spec, &images, &Silent).await);
    assert_eq!(life(&name), before);
    assert!(
        scope
            .engine
            .shared(&scope.service, None)
            .await
            .unwrap()
            .is_empty()
    );
    spec.plan.project = Some(project.name.clone());
    project.up(&spec).await;
    assert_eq!(life(&name), before);
}

#[tokio::test]
async fn the_place_of_a_container_with_its_data_elsewhere_is_not_taken() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let name = project.run(1);
    let spec = project.spec(1, &format!("{}-fresh", scope.service));
    project.up(&spec).await;
    let before = life(&name);
    let applied = scope
        .engine
        .apply_shared(&spec.plan, &role_name("db"), &Silent)
        .await;
    let (what, hint) = refusal(applied);
    assert!(
        what.contains(&format!("`{name}` has the volume `{}_data`", project.name)),
        "{what}"
    );
    assert!(
        hint.contains(&format!("`name: {}_data`", project.name)),
        "{hint}"
    );
    assert_eq!(life(&name), before);
    assert!(runs(&name));
}

/// A line that was written to keep the project's data never begins without any.
#[tokio::test]
async fn a_volume_that_is_taken_over_by_name_is_there() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    docker(&["rm", "-f", &project.run(1)]);
    let (there, missing) = (
        format!("{}_data", project.name),
        format!("{}_dta", project.name),
    );
    let spec = project.spec(1, &missing);
    let ask = || scope.engine.shared(&scope.service, Some(&spec.plan));
    let (what, hint) = refusal(ask().await);
    let expected = format!(
        "`db` would begin with a new, empty volume `{missing}`: the plan takes it over from the Compose \
         project `{}`, which has `{there}` on the engine",
        project.name
    );
    assert_eq!(what, expected);
    assert!(
        hint.ends_with(&format!("docker volume create {missing}")),
        "{hint}"
    );
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    refusal(scope.engine.stand_up(&spec, &images, &Silent).await);
    assert_eq!(scope.parts().await, [""; 0]);
    // Of a project that was never here nothing is missed.
    docker(&["volume", "rm", &there]);
    assert_eq!(ask().await, Ok(Vec::new()));
}

/// The engine adds no name to one that is connected: what it is not called yet is told.
#[tokio::test]
async fn a_name_that_came_later_is_told() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let name = project.run(1);
    let before = life(&name);
    let volume = format!("{}_data", project.name);
    project.up(&project.spec(1, &volume)).await;
    let mut spec = project.spec(2, &volume);
    let differs = async |spec: &Spec| {
        let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
        let told = told.unwrap().remove(0).differs.into_iter();
        told.map(|one| one.words()).collect::<Vec<_>>()
    };
    assert_eq!(differs(&spec).await, [""; 0]);
    let db = spec.plan.shared.get_mut(&role_name("db")).unwrap();
    db.aliases = vec!["store".into()];
    project.up(&spec).await;
    assert_eq!(differs(&spec).await, ["`aliases` (db → db, store)"]);
    assert_eq!(life(&name), before);
    let db = role_name("db");
    scope
        .engine
        .apply_shared(&spec.plan, &db, &Silent)
        .await
        .unwrap();
    assert_eq!(differs(&spec).await, [""; 0]);
    let new = format!("{}-shared-db", scope.service);
    assert!(aliases(&scope, &new).contains(&"store".to_owned()));
}
