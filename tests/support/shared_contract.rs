//! What every engine must do with shared roles.

use flipside::core::names::Release;
use flipside::core::plan::{Condition, Mount, MountSource, Role, Run};
use flipside::core::progress::Silent;
use flipside::core::shared::{Owner, Removed, Shared};
use flipside::core::world::ContainerState;
use flipside::engine::{EngineError, Spec};

use super::engine_contract::Fixture;
use super::sample;

/// A release of `web` that waits for the shared role `db`, which waits for `queue`.
pub fn spec(f: &Fixture<'_>, release: u64) -> Spec {
    let mut web = sample::role(f.image.clone());
    sample::depends(&mut web, "db", Condition::Started);
    let mut spec = sample::spec(&f.service, release, vec![("web", web)]);
    let mut db = sample::role(f.image.clone());
    db.run = Run::Shared;
    let mut queue = db.clone();
    sample::set(&mut queue, "VERSION", "1");
    sample::depends(&mut db, "queue", Condition::Started);
    sample::set(&mut db, "VERSION", "1");
    spec.plan.shared.insert(sample::role_name("db"), db);
    spec.plan.shared.insert(sample::role_name("queue"), queue);
    spec
}

/// The same with another setting of `db`.
fn changed(f: &Fixture<'_>, release: u64) -> Spec {
    let mut spec = spec(f, release);
    let db = spec.plan.shared.get_mut(&sample::role_name("db")).unwrap();
    sample::set(db, "VERSION", "2");
    spec
}

impl Fixture<'_> {
    async fn shared(&self, spec: Option<&Spec>) -> Vec<Shared> {
        let plan = spec.map(|spec| &spec.plan);
        self.engine.shared(&self.service, plan).await.unwrap()
    }

    /// Holds that a plan is refused before anything of it is made, and what is said of it.
    async fn refused(&self, spec: &Spec) -> Vec<String> {
        let (shared, inspected) = (
            self.shared(None).await,
            self.engine.inspect(&self.service).await,
        );
        let images = self.engine.prepare(spec, &Silent).await.unwrap();
        let told = self.engine.shared(&self.service, Some(&spec.plan)).await;
        let stood_up = self.engine.stand_up(spec, &images, &Silent).await;
        assert_eq!(ids(&self.shared(None).await), ids(&shared));
        assert_eq!(self.engine.inspect(&self.service).await, inspected);
        let both = [told.map(drop), stood_up.map(drop)].into_iter();
        let said = both.map(|refused| match refused {
            Err(EngineError::Failed(failure)) => failure.what,
            other => panic!("not refused: {other:?}"),
        });
        said.collect()
    }

    async fn down(&self, releases: &[u64]) -> Vec<String> {
        self.clean(releases).await;
        let kept = self.engine.tear_down_shared(&self.service).await;
        assert_eq!(self.shared(None).await, []);
        kept.unwrap().kept
    }

    async fn apply(&self, spec: &Spec) -> Result<bool, EngineError> {
        let role = sample::role_name("db");
        let applied = self.engine.apply_shared(&spec.plan, &role, &Silent).await;
        applied.map(|applied| !applied.as_it_was)
    }
}

fn roles(all: &[Shared]) -> Vec<&str> {
    all.iter().map(|one| one.container.role.as_str()).collect()
}

fn ids(all: &[Shared]) -> Vec<String> {
    all.iter().map(|one| one.container.id.clone()).collect()
}

/// Every promise, one after the other.
pub async fn all(fixture: &Fixture<'_>) {
    shared_roles_are_stood_up_once_and_outlive_their_release(fixture).await;
    what_differs_is_told_and_left_alone(fixture).await;
    settings_are_applied_once_and_only_where_they_differ(fixture).await;
    volumes_outlive_everything(fixture).await;
    an_external_volume_is_never_made(fixture).await;
    what_was_shared_is_not_stood_up_beside_itself(fixture).await;
    a_release_that_waits_for_what_has_ended_is_refused(fixture).await;
    what_a_project_of_another_name_has_is_not_made_anew(fixture).await;
    a_live_only_role_does_not_work_beside_a_projects_own(fixture).await;
}

pub async fn shared_roles_are_stood_up_once_and_outlive_their_release(f: &Fixture<'_>) {
    assert_eq!(f.shared(None).await, []);
    let spec = spec(f, 1);
    let images = f.engine.prepare(&spec, &Silent).await.unwrap();
    let pinned: Vec<_> = images.keys().map(|role| role.as_str()).collect();
    assert_eq!(pinned, ["db", "queue", "web"]);
    let environment = f.engine.stand_up(&spec, &images, &Silent).await.unwrap();
    // They are none of the environment's containers.
    let of_release = environment.containers.iter().map(|c| c.role.as_str());
    assert_eq!(of_release.collect::<Vec<_>>(), ["web"]);
    let standing = f.shared(Some(&spec)).await;
    assert_eq!(roles(&standing), ["db", "queue"]);
    for one in &standing {
        assert_eq!(one.container.state, ContainerState::Running, "{one:?}");
        assert_eq!(one.owner, Owner::Flipside);
        assert_eq!((one.differs.as_slice(), one.halfway), (&[][..], false));
    }
    // Once is enough, for the next release as well.
    f.up(&spec).await;
    let second = self::spec(f, 2);
    let images = f.engine.prepare(&second, &Silent).await.unwrap();
    let pinned: Vec<_> = images.keys().map(|role| role.as_str()).collect();
    assert_eq!(pinned, ["web"]);
    f.engine.stand_up(&second, &images, &Silent).await.unwrap();
    assert_eq!(ids(&f.shared(None).await), ids(&standing));
    f.clean(&[1, 2]).await;
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
    assert_eq!(ids(&f.shared(None).await), ids(&standing));
    // What is where it should be is left there.
    assert!(standing.iter().all(|one| one.joined));
    assert_eq!(f.engine.join_shared(&f.service).await, Ok(Vec::new()));
    assert_eq!(ids(&f.shared(None).await), ids(&standing));
    let services = f.engine.services().await.unwrap();
    assert!(services.contains(&f.service), "{services:?}");
    assert_eq!(f.down(&[]).await, [""; 0]);
    let again = f.engine.tear_down_shared(&f.service).await;
    assert_eq!(again, Ok(Removed::default()));
}

pub async fn what_differs_is_told_and_left_alone(f: &Fixture<'_>) {
    f.up(&spec(f, 1)).await;
    let before = f.shared(None).await;
    let changed = changed(f, 2);
    let standing = f.shared(Some(&changed)).await;
    let told: Vec<Vec<_>> = standing
        .iter()
        .map(|one| one.differs.iter().map(|d| d.place.clone()).collect())
        .collect();
    assert_eq!(told, [vec!["environment.VERSION".to_owned()], vec![]]);
    f.up(&changed).await;
    assert_eq!(ids(&f.shared(None).await), ids(&before));
    f.down(&[1, 2]).await;
}

pub async fn settings_are_applied_once_and_only_where_they_differ(f: &Fixture<'_>) {
    let (spec, changed) = (spec(f, 1), changed(f, 2));
    assert_eq!(f.apply(&spec).await, Ok(false), "nothing stands yet");
    f.up(&spec).await;
    let before = f.shared(None).await;
    assert_eq!(f.apply(&spec).await, Ok(false));
    assert_eq!(ids(&f.shared(None).await), ids(&before));
    assert_eq!(f.apply(&changed).await, Ok(true));
    let after = f.shared(Some(&changed)).await;
    assert_eq!(roles(&after), ["db", "queue"]);
    assert_ne!(after[0].container.id, before[0].container.id);
    assert_eq!(after[0].container.name, before[0].container.name);
    assert_eq!(after[0].container.address, before[0].container.address);
    assert_eq!(after[0].container.state, ContainerState::Running);
    assert_eq!(
        (after[0].differs.as_slice(), after[0].halfway),
        (&[][..], false)
    );
    // The other one is not touched.
    assert_eq!(after[1].container.id, before[1].container.id);
    assert_eq!(f.apply(&changed).await, Ok(false));
    assert_eq!(ids(&f.shared(None).await), ids(&after));
    assert_eq!(f.engine.settle_shared(&f.service).await.unwrap(), [""; 0]);
    f.down(&[1]).await;
}

/// A volume that outlives releases, at `/data`.
fn keeps(role: &mut Role, volume: &str) {
    role.mounts = vec![Mount {
        target: "/data".into(),
        source: MountSource::Shared(volume.into()),
        read_only: false,
        propagation: None,
    }];
}

pub async fn an_external_volume_is_never_made(f: &Fixture<'_>) {
    let volume = format!("{}_outer", f.service);
    let mut of_shared = spec(f, 1);
    let db = of_shared.plan.shared.get_mut(&sample::role_name("db"));
    keeps(db.unwrap(), &volume);
    let mut of_release = f.spec(1, 1);
    let web = of_release.plan.roles.get_mut(&sample::role_name("web"));
    keeps(web.unwrap(), &volume);
    for given in [&of_shared, &of_release] {
        let mut spec = given.clone();
        spec.plan.external_volumes.insert(volume.clone());
        // Who asks twice finds that the first time has made nothing.
        for said in [f.refused(&spec).await, f.refused(&spec).await].concat() {
            assert!(said.contains(&volume), "{said}");
        }
    }
    // Once it is there, it is as any other.
    f.up(&of_shared).await;
    assert_eq!(f.down(&[1]).await, [volume.as_str()]);
    for mut spec in [of_shared, of_release] {
        spec.plan.external_volumes.insert(volume.clone());
        f.up(&spec).await;
        f.down(&[1]).await;
    }
}

/// Of two databases on one directory neither knows of the other.
pub async fn what_was_shared_is_not_stood_up_beside_itself(f: &Fixture<'_>) {
    let volume = format!("{}_db", f.service);
    let (db, other) = (sample::role_name("db"), sample::role_name("store"));
    let mut before = spec(f, 1);
    keeps(before.plan.shared.get_mut(&db).unwrap(), &volume);
    f.up(&before).await;
    let mut of_release = spec(f, 2);
    let mut role = of_release.plan.shared.remove(&db).unwrap();
    (role.run, role.depends_on) = (Run::Always, std::collections::BTreeMap::new());
    keeps(&mut role, &volume);
    of_release.plan.roles.insert(db.clone(), role);
    let mut renamed = before.clone();
    let role = renamed.plan.shared.remove(&db).unwrap();
    renamed.plan.shared.insert(other, role);
    renamed.release = Release(2);
    let web = renamed.plan.roles.get_mut(&sample::role_name("web"));
    web.unwrap().depends_on.clear();
    for spec in [&of_release, &renamed] {
        for said in f.refused(spec).await {
            assert!(said.contains("`db`"), "{said}");
        }
    }
    // One that is left out is nobody's concern, and neither is one that has gone.
    let mut without = renamed.clone();
    without.plan.shared.remove(&sample::role_name("store"));
    f.up(&without).await;
    f.down(&[1, 2]).await;
    f.up(&of_release).await;
    f.down(&[2]).await;
}

pub async fn volumes_outlive_everything(f: &Fixture<'_>) {
    let volume = format!("{}_data", f.service);
    let with = |mut spec: Spec| {
        let db = spec.plan.shared.get_mut(&sample::role_name("db")).unwrap();
        keeps(db, &volume);
        spec
    };
    f.up(&with(spec(f, 1))).await;
    assert_eq!(f.apply(&with(changed(f, 2))).await, Ok(true));
    assert_eq!(f.down(&[1]).await, [volume.as_str()]);
}

pub async fn a_release_that_waits_for_what_has_ended_is_refused(f: &Fixture<'_>) {
    let mut spec = spec(f, 1);
    let db = spec.plan.shared.get_mut(&sample::role_name("db")).unwrap();
    // Waited for to be healthy, and without a health check.
    db.healthcheck = None;
    let web = spec.plan.roles.get_mut(&sample::role_name("web")).unwrap();
    sample::depends(web, "db", Condition::Healthy);
    let images = f.engine.prepare(&spec, &Silent).await.unwrap();
    let refused = f.engine.stand_up(&spec, &images, &Silent).await;
    let Err(EngineError::Failed(failure)) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert!(failure.what.contains("db"), "{failure:?}");
    // Nothing of the environment was made.
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
    let gone = f.engine.tear_down(&f.service, Release(1)).await;
    assert_eq!(gone, Ok(()));
    f.down(&[]).await;
}

/// Of a project that was started with `-p`, the file's own name is another's.
pub async fn what_a_project_of_another_name_has_is_not_made_anew(f: &Fixture<'_>) {
    let file = format!("/srv/{}/compose.yaml", f.service);
    let (own, other) = (f.service.to_string(), format!("{}-prod", f.service));
    let mut spec = spec(f, 1);
    spec.plan.project = Some(own.clone());
    spec.plan.compose_files = vec![file.clone().into()];
    let running = f.compose.up(&other, "db", &file);
    let refused = async || {
        for said in f.refused(&spec).await {
            assert!(said.contains(&running) && said.contains(&other), "{said}");
        }
    };
    refused().await;
    f.compose.stop(&running);
    refused().await;
    // Named, it is found; and where the plan calls the project otherwise than Compose does, it is meant.
    let mut named = spec.clone();
    (named.plan.project, named.plan.compose_files) = (Some(other), Vec::new());
    let standing = f.shared(Some(&named)).await;
    assert_eq!(standing[0].container.name, running);
    let mut decided = spec.clone();
    decided.plan.compose_files.clear();
    assert_eq!(f.shared(Some(&decided)).await, []);
    // Of other files, of another role, or beside what stands already, it is nobody's concern.
    let mut of_others = spec.clone();
    of_others.plan.compose_files = vec![format!("/srv/{own}-other/compose.yaml").into()];
    assert_eq!(f.shared(Some(&of_others)).await, []);
    f.compose.remove(&running);
    let without = f.compose.up(&format!("{own}-more"), "mail", &file);
    f.up(&spec).await;
    f.compose.remove(&without);
    let late = f.compose.up(&format!("{own}-late"), "db", &file);
    f.up(&spec).await;
    f.compose.remove(&late);
    f.down(&[1]).await;
}

/// Never two at once, whoever has started the other.
pub async fn a_live_only_role_does_not_work_beside_a_projects_own(f: &Fixture<'_>) {
    let file = format!("/srv/{}/compose.yaml", f.service);
    let project = format!("{}-proj", f.service);
    let mut worker = sample::role(f.image.clone());
    worker.run = Run::LiveOnly;
    let mut spec = f.spec(1, 1);
    spec.plan.roles.insert(sample::role_name("worker"), worker);
    spec.plan.project = Some(project.clone());
    let theirs = f.compose.up(&project, "worker", &file);
    let rivals = async |plan| f.engine.rivals(&f.service, plan).await.unwrap();
    let images = f.engine.prepare(&spec, &Silent).await.unwrap();
    let refused = f.engine.stand_up(&spec, &images, &Silent).await;
    let rival = rivals(Some(&spec.plan)).await.remove(0);
    assert_eq!(refused, Err(EngineError::Failed(rival.refusal())));
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
    // What mends shared roles does not wait for that.
    assert_eq!(f.shared(Some(&spec)).await, []);
    let mut always = spec.clone();
    let role = always.plan.roles.get_mut(&sample::role_name("worker"));
    role.unwrap().run = Run::Always;
    assert_eq!(rivals(Some(&always.plan)).await, []);
    f.compose.stop(&theirs);
    f.up(&spec).await;
    assert_eq!(rivals(None).await, []);
    f.compose.remove(&theirs);
    let again = f.compose.up(&project, "worker", &file);
    let rivals = rivals(None).await;
    assert_eq!(rivals.len(), 1, "{rivals:?}");
    assert_eq!(
        (rivals[0].container.as_str(), rivals[0].role.as_str()),
        (again.as_str(), "worker")
    );
    assert_eq!(rivals[0].stop, format!("docker stop {again}"));
    f.compose.remove(&again);
    f.down(&[1]).await;
}
