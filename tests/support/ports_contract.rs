//! What every engine must do where the pointer reaches releases at published ports.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use flipside::core::hook::{HookKind, When};
use flipside::core::names::{Release, ServiceName};
use flipside::core::plan::{PointerPlan, StandbyMode};
use flipside::core::progress::Silent;
use flipside::core::world::Environment;
use flipside::engine::{ContainerHook, EngineError, Spec};

use super::engine_contract::Fixture;
use super::{hooks, sample};

/// Every promise, one after the other.
pub async fn all(f: &Fixture<'_>) {
    exposed_replicas_are_published_where_the_pointer_needs_it(f).await;
    a_published_port_is_kept_over_sleep(f).await;
    what_has_no_port_left_is_refused_with_a_way_out(f).await;
}

/// As [`Fixture::spec`], with a pointer that finds releases at ports of this host.
pub fn published(f: &Fixture<'_>, release: u64, replicas: u32) -> Spec {
    published_at(f.spec(release, replicas), "127.0.0.1")
}

/// With a pointer that finds it at ports of this address.
pub fn published_at(mut spec: Spec, address: &str) -> Spec {
    let pointer = format!(r#"{{"exec": {{"reach": {{"published": "{address}"}}}}}}"#);
    let pointer: PointerPlan = serde_json::from_str(&pointer).unwrap();
    spec.plan.pointer = pointer.clone();
    spec.labels.pointer = pointer;
    spec
}

/// Where it answers: as many places as it has replicas, each at a port of the plan's range.
fn places(environment: &Environment, spec: &Spec) -> BTreeSet<SocketAddr> {
    let endpoints = environment.endpoints();
    let all: BTreeSet<_> = endpoints.iter().copied().collect();
    let replicas = spec.plan.roles[&spec.plan.exposed.role].replicas;
    assert_eq!(endpoints.len(), replicas as usize, "{environment:?}");
    assert_eq!(all.len(), endpoints.len(), "{environment:?}");
    let (first, last) = spec.plan.pools.ports;
    for at in &all {
        assert_eq!(at.ip().to_string(), "127.0.0.1");
        assert!((first..=last).contains(&at.port()), "{at}");
    }
    all
}

pub async fn exposed_replicas_are_published_where_the_pointer_needs_it(f: &Fixture<'_>) {
    let mut spec = published(f, 1, 2);
    let beside = sample::role(f.image.clone());
    spec.plan.roles.insert(sample::role_name("beside"), beside);
    let hook = hooks::hook("check", When::BeforeSwitch, HookKind::Container);
    spec.plan.hooks = vec![hook];
    let first = f.up(&spec).await;
    let own = places(&first, &spec);
    for container in &first.containers {
        let is_exposed = container.role == spec.plan.exposed.role;
        assert_eq!(container.published.is_some(), is_exposed, "{container:?}");
        let full = f.engine.container(&container.id).await.unwrap();
        assert_eq!(full.as_ref(), Some(container));
    }
    // What is there keeps its port.
    assert_eq!(f.up(&spec).await, first);
    let images = f.engine.prepare(&spec, &Silent).await.unwrap();
    let check = ContainerHook {
        name: "check".into(),
        turn: None,
        role: spec.plan.exposed.role.clone(),
        command: sample::words(&["once"]),
    };
    let image = &images[&check.role];
    let ran = f.engine.hook(&spec, image, &check, &Silent).await.unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");

    // Two releases, and two services, have ports of their own; and so where only containers are reached.
    let next = published(f, 2, 2);
    let mut other = published(f, 1, 2);
    other.plan.service = ServiceName::new(format!("{}-b", f.service)).unwrap();
    let plain = f.spec(3, 1);
    let (second, other_up) = futures_util::join!(f.up(&next), f.up(&other));
    let plain = f.up(&plain).await;
    assert!(own.is_disjoint(&places(&second, &next)));
    assert!(own.is_disjoint(&places(&other_up, &other)));
    assert!(places(&second, &next).is_disjoint(&places(&other_up, &other)));
    assert_eq!(plain.containers[0].published, None);
    assert_eq!(plain.endpoints()[0].port(), 8080);
    let gone = f.engine.tear_down(&other.plan.service, Release(1)).await;
    gone.unwrap();
    f.clean(&[1, 2, 3]).await;
}

pub async fn a_published_port_is_kept_over_sleep(f: &Fixture<'_>) {
    let spec = published(f, 1, 2);
    let before = f.up(&spec).await;
    for mode in [StandbyMode::Frozen, StandbyMode::Stopped] {
        let freeze = f.engine.freeze(&f.service, Release(1), mode);
        freeze.await.unwrap();
        let asleep = f.engine.inspect(&f.service).await.unwrap().remove(0);
        assert_eq!(asleep.endpoints(), before.endpoints(), "{mode:?}");
        // Nobody else is given what sleeps.
        let mut other = published(f, 2, 1);
        let own = before.endpoints()[0].port();
        other.plan.pools.ports = (own, own);
        let images = f.engine.prepare(&other, &Silent).await.unwrap();
        let refused = f.engine.stand_up(&other, &images, &Silent).await;
        assert!(matches!(refused, Err(EngineError::Failed(_))), "{mode:?}");
        f.clean(&[2]).await;
        let wake = f.engine.wake(&f.service, Release(1), &Silent);
        wake.await.unwrap();
        let awake = f.engine.inspect(&f.service).await.unwrap();
        assert_eq!(awake, std::slice::from_ref(&before), "{mode:?}");
    }
    f.clean(&[1]).await;
}

pub async fn what_has_no_port_left_is_refused_with_a_way_out(f: &Fixture<'_>) {
    let stands = f.up(&published(f, 1, 1)).await;
    let own = stands.endpoints()[0].port();
    let mut spec = published(f, 2, 1);
    spec.plan.pools.ports = (own, own);
    let images = f.engine.prepare(&spec, &Silent).await.unwrap();
    let refused = f.engine.stand_up(&spec, &images, &Silent).await;
    let Err(EngineError::Failed(failure)) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert!(failure.what.contains("no port"), "{failure:?}");
    assert!(failure.hint.unwrap().contains("pools: {ports:"));
    f.clean(&[2]).await;
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), [stands]);
    f.clean(&[1]).await;
}
