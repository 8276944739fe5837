//! What every engine, the fake included, must do. Each function is one promise of the trait.

use std::collections::BTreeMap;

use flipside::core::hook::{HookKind, When};
use flipside::core::names::{Release, ServiceName, Slot};
use flipside::core::plan::{ImageSource, Run};
use flipside::core::progress::Silent;
use flipside::core::routing::{Mark, Marks};
use flipside::core::world::{Container, ContainerState};
use flipside::engine::{ContainerHook, Engine, EngineError, Spec, Token};
use futures_util::future::join_all;

use super::clients_contract::Clients;
pub use super::worker_contract::{
    live_only_roles_are_made_and_not_started, workers_come_to_work_and_to_rest,
    workers_of_two_releases_never_run_at_once,
};
use super::{hooks, sample};

/// How to make specs for one engine: a service of the test's own and an image it can run.
pub struct Fixture<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// A service that has nothing on it yet.
    pub service: ServiceName,
    /// An image whose containers keep running.
    pub image: ImageSource,
    /// An image that the engine cannot get.
    pub missing: ImageSource,
    /// Compose on the same engine.
    pub compose: &'a dyn Compose,
    /// Who comes to what stands there.
    pub clients: &'a dyn Clients,
}

/// Compose, as far as an engine sees it: containers with its labels.
pub trait Compose {
    /// Runs a container of a project's service, from this file; answers its name.
    fn up(&self, project: &str, role: &str, file: &str) -> String;
    /// Stops it.
    fn stop(&self, container: &str);
    /// Removes it.
    fn remove(&self, container: &str);
}

impl Fixture<'_> {
    pub fn spec(&self, release: u64, replicas: u32) -> Spec {
        let mut web = sample::role(self.image.clone());
        web.replicas = replicas;
        sample::spec(&self.service, release, vec![("web", web)])
    }

    pub async fn up(&self, spec: &Spec) -> flipside::core::world::Environment {
        let images = self.engine.prepare(spec, &Silent).await.unwrap();
        self.engine.stand_up(spec, &images, &Silent).await.unwrap()
    }

    pub async fn clean(&self, releases: &[u64]) {
        for &release in releases {
            self.engine
                .tear_down(&self.service, Release(release))
                .await
                .unwrap();
        }
    }
}

/// Every promise, one after the other.
pub async fn all(fixture: &Fixture<'_>) {
    nothing_is_nothing(fixture).await;
    prepare_pins_every_role(fixture).await;
    stand_up_twice_is_once(fixture).await;
    environments_are_told_apart(fixture).await;
    tear_down_twice_is_once(fixture).await;
    marks_add_up(fixture).await;
    a_token_has_one_winner(fixture).await;
    a_job_is_done_when_its_environment_stands(fixture).await;
    a_hook_runs_once_in_a_container_of_its_own(fixture).await;
    what_is_not_there_is_said(fixture).await;
    live_only_roles_are_made_and_not_started(fixture).await;
    workers_come_to_work_and_to_rest(fixture).await;
    workers_of_two_releases_never_run_at_once(fixture).await;
    super::ports_contract::all(fixture).await;
    super::sleep_contract::all(fixture).await;
    super::clients_contract::all(fixture).await;
    super::shared_contract::all(fixture).await;
}

pub async fn nothing_is_nothing(f: &Fixture<'_>) {
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
    assert!(f.engine.marks(&f.service).await.unwrap().is_empty());
    assert_eq!(f.engine.tokens(&f.service).await.unwrap(), []);
    assert!(!f.engine.services().await.unwrap().contains(&f.service));
    f.clean(&[1]).await;
}

pub async fn prepare_pins_every_role(f: &Fixture<'_>) {
    let images = f.engine.prepare(&f.spec(1, 1), &Silent).await.unwrap();
    assert_eq!(
        images.keys().map(|role| role.as_str()).collect::<Vec<_>>(),
        ["web"]
    );
    assert!(
        images.values().all(|image| image.contains("sha256:")),
        "{images:?}"
    );
    let mut spec = f.spec(1, 1);
    let role = spec.plan.roles.values_mut().next().unwrap();
    role.image = f.missing.clone();
    let error = f.engine.prepare(&spec, &Silent).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed(_)), "{error:?}");
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
}

pub async fn stand_up_twice_is_once(f: &Fixture<'_>) {
    let spec = f.spec(1, 2);
    let first = f.up(&spec).await;
    assert!(first.is_up(), "{first:?}");
    assert_eq!(
        (first.release, first.expected, first.slot),
        (Release(1), 2, Slot::Blue)
    );
    assert_eq!(first.labels, spec.labels);
    let addresses: std::collections::BTreeSet<_> = first.endpoints().into_iter().collect();
    assert_eq!(addresses.len(), 2, "{first:?}");
    let second = f.up(&spec).await;
    assert_eq!(first, second);
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), [first]);
    f.clean(&[1]).await;
}

pub async fn environments_are_told_apart(f: &Fixture<'_>) {
    let mut green = f.spec(2, 1);
    green.slot = Slot::Green;
    let green = f.up(&green).await;
    let blue = f.up(&f.spec(1, 1)).await;
    assert_ne!(blue.endpoints(), green.endpoints());
    let found = f.engine.inspect(&f.service).await.unwrap();
    assert_eq!(found, [blue.clone(), green.clone()]);
    assert!(f.engine.services().await.unwrap().contains(&f.service));
    let container = &green.containers[0];
    let full = f.engine.container(&container.id).await.unwrap().unwrap();
    assert_eq!(&full, container);
    assert_eq!(full.state, ContainerState::Running);
    f.clean(&[1]).await;
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), [green]);
    f.clean(&[2]).await;
}

pub async fn tear_down_twice_is_once(f: &Fixture<'_>) {
    let environment = f.up(&f.spec(1, 1)).await;
    f.engine
        .mark(&f.service, Release(1), Mark::Proven)
        .await
        .unwrap();
    f.engine
        .mark(&f.service, Release(2), Mark::Proven)
        .await
        .unwrap();
    f.clean(&[1, 1]).await;
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
    let gone = f
        .engine
        .container(&environment.containers[0].id)
        .await
        .unwrap();
    assert_eq!(gone, None);
    let marks = f.engine.marks(&f.service).await.unwrap();
    assert_eq!(marks.keys().collect::<Vec<_>>(), [&Release(2)]);
    f.clean(&[2]).await;
}

pub async fn marks_add_up(f: &Fixture<'_>) {
    let add = |release, mark| async move {
        f.engine
            .mark(&f.service, Release(release), mark)
            .await
            .unwrap();
    };
    for _ in 0..2 {
        add(1, Mark::Proven).await;
        add(1, Mark::Served(3)).await;
    }
    add(2, Mark::Served(4)).await;
    add(2, Mark::Withdrawn).await;
    let expected = |served, proven, withdrawn| Marks {
        proven,
        served: Some(served),
        withdrawn,
    };
    let marks = f.engine.marks(&f.service).await.unwrap();
    let wanted = BTreeMap::from([
        (Release(1), expected(3, true, false)),
        (Release(2), expected(4, false, true)),
    ]);
    assert_eq!(marks, wanted);
    add(2, Mark::Served(6)).await;
    let marks = f.engine.marks(&f.service).await.unwrap();
    assert_eq!(marks[&Release(2)], expected(6, false, false));
    f.clean(&[1, 2]).await;
    assert!(f.engine.marks(&f.service).await.unwrap().is_empty());
}

pub async fn a_token_has_one_winner(f: &Fixture<'_>) {
    let name = format!("flipside.{}.lease.1", f.service);
    let claim = |holder: usize| {
        let token = Token {
            name: name.clone(),
            labels: BTreeMap::from([("holder".to_owned(), holder.to_string())]),
        };
        async move { f.engine.claim(&f.service, &token).await.unwrap() }
    };
    let answers = join_all((0..16).map(claim)).await;
    let winner = &answers[0];
    assert!(answers.iter().all(|answer| answer == winner), "{answers:?}");
    assert_eq!(winner.labels.len(), 1, "{winner:?}");
    assert_eq!(
        f.engine.tokens(&f.service).await.unwrap(),
        std::slice::from_ref(winner)
    );
    f.clean(&[1]).await;
    assert_eq!(f.engine.tokens(&f.service).await.unwrap().len(), 1);
    for _ in 0..2 {
        f.engine.drop_token(&f.service, &name).await.unwrap();
    }
    assert_eq!(f.engine.tokens(&f.service).await.unwrap(), []);
}

pub async fn a_job_is_done_when_its_environment_stands(f: &Fixture<'_>) {
    let mut spec = f.spec(1, 1);
    let mut job = sample::role(f.image.clone());
    job.run = Run::Once;
    job.command = Some(sample::words(&["once"]));
    spec.plan.roles.insert(sample::role_name("migrate"), job);
    let first = f.up(&spec).await;
    assert!(first.is_up(), "{first:?}");
    assert_eq!(first.expected, 2);
    let is_job = |container: &&Container| container.role.as_str() == "migrate";
    let job = first.containers.iter().find(is_job).unwrap();
    let done = ContainerState::Exited {
        code: 0,
        oom: false,
    };
    assert_eq!((job.run, &job.state), (Run::Once, &done));
    let ran = f.engine.ran(&job.id).await.unwrap();
    assert_eq!((ran.code, ran.oom), (0, false));
    assert!(!ran.output.is_empty());
    // Stood up once more it is not started again, nor made again.
    let second = f.up(&spec).await;
    assert_eq!(first, second);
    let again = f.engine.ran(&job.id).await.unwrap();
    assert_eq!(again, ran);
    f.clean(&[1]).await;
    let gone = f.engine.container(&job.id).await.unwrap();
    assert_eq!(gone, None);
}

pub async fn a_hook_runs_once_in_a_container_of_its_own(f: &Fixture<'_>) {
    let mut spec = f.spec(1, 2);
    let names = ["check", "again"];
    let planned = |name| hooks::hook(name, When::BeforeSwitch, HookKind::Container);
    spec.plan.hooks = names.map(planned).into();
    let images = f.engine.prepare(&spec, &Silent).await.unwrap();
    let stood = f.up(&spec).await;
    let image = images.values().next().unwrap();
    let hook = |name: &str, turn: Option<&str>| ContainerHook {
        name: name.into(),
        turn: turn.map(str::to_owned),
        role: sample::role_name("web"),
        command: sample::words(&["once"]),
    };
    let check = hook("check", None);
    let first = f.engine.hook(&spec, image, &check, &Silent).await.unwrap();
    assert_eq!((first.code, first.oom), (0, false), "{first:?}");
    // Asked for again it is read back.
    let second = f.engine.hook(&spec, image, &check, &Silent).await.unwrap();
    assert_eq!(first, second);
    // Several have room beside each other, and a new turn is a new container.
    let turn = hook("check", Some("1"));
    let again = hook("again", None);
    let (turn, again) = futures_util::join!(
        f.engine.hook(&spec, image, &turn, &Silent),
        f.engine.hook(&spec, image, &again, &Silent)
    );
    assert_eq!((turn.unwrap().code, again.unwrap().code), (0, 0));
    // It is none of the environment's containers.
    let found = f.engine.inspect(&f.service).await.unwrap();
    assert_eq!(found[0].containers, stood.containers);
    assert!(found[0].is_up(), "{found:?}");
    for unknown in [hook("never", None), check] {
        let stopped = f
            .engine
            .stop_hook(&f.service, Release(1), &unknown, 1_000)
            .await;
        assert_eq!(stopped, Ok(()));
    }
    f.clean(&[1]).await;
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
}

pub async fn what_is_not_there_is_said(f: &Fixture<'_>) {
    let name = format!("{}-none", f.service);
    assert_eq!(f.engine.container(&name).await.unwrap(), None);
    let refused = |error| matches!(error, EngineError::Failed(_));
    assert!(refused(f.engine.logs(&name, 5).await.unwrap_err()));
    assert!(refused(f.engine.ended(&name).await.unwrap_err()));
    assert!(refused(f.engine.ran(&name).await.unwrap_err()));
    let command = sample::words(&["x"]);
    assert!(refused(f.engine.exec(&name, &command).await.unwrap_err()));
}
