//! What every engine, the fake included, must do. Each function is one promise of the trait.

use std::collections::BTreeMap;

use flipside::core::names::{Release, ServiceName, Slot};
use flipside::core::plan::ImageSource;
use flipside::core::progress::Silent;
use flipside::core::routing::{Mark, Marks};
use flipside::core::world::ContainerState;
use flipside::engine::{Engine, EngineError, Spec, Token};
use futures_util::future::join_all;

use super::sample;

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
}

impl Fixture<'_> {
    pub fn spec(&self, release: u64, replicas: u32) -> Spec {
        let mut web = sample::role(self.image.clone());
        web.replicas = replicas;
        sample::spec(&self.service, release, vec![("web", web)])
    }

    pub(super) async fn up(&self, spec: &Spec) -> flipside::core::world::Environment {
        let images = self.engine.prepare(spec, &Silent).await.unwrap();
        self.engine.stand_up(spec, &images, &Silent).await.unwrap()
    }

    pub(super) async fn clean(&self, releases: &[u64]) {
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
    what_is_not_there_is_said(fixture).await;
    super::sleep_contract::all(fixture).await;
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

pub async fn what_is_not_there_is_said(f: &Fixture<'_>) {
    let name = format!("{}-none", f.service);
    assert_eq!(f.engine.container(&name).await.unwrap(), None);
    let refused = |error| matches!(error, EngineError::Failed(_));
    assert!(refused(f.engine.logs(&name, 5).await.unwrap_err()));
    assert!(refused(f.engine.ended(&name).await.unwrap_err()));
    let command = sample::words(&["x"]);
    assert!(refused(f.engine.exec(&name, &command).await.unwrap_err()));
}
