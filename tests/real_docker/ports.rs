//! Published ports: what holds them besides, how long they are kept, and what an address means.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use flipside::core::names::Release;
use flipside::core::plan::Pools;
use flipside::core::world::Environment;
use flipside::engine::docker::Docker;
use flipside::engine::{Engine, Spec};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::stand_up::simple;
use super::{down, failure, try_up, up};
use crate::real_crash::daemon::Host;
use crate::real_crash::kit::sh;
use crate::support::docker::{Scope, api, get_soon};
use crate::support::ports_contract::published_at;

fn published(scope: &Scope, replicas: u32) -> Spec {
    published_at(simple(scope, replicas), "127.0.0.1")
}

/// Ports of this host that follow each other, each held by a listener: of those that the kernel gives
/// to nobody by itself.
fn row(count: u16) -> Vec<TcpListener> {
    for _ in 0..1_000 {
        let first = 30_000 + u16::try_from(getrandom::u32().unwrap() % 2_700).unwrap();
        let all = (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let Ok(all) = all.collect() {
            return all;
        }
    }
    panic!("no {count} free ports in a row");
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// A range of four ports of which something else holds all but one: whichever the search begins
/// with, those that the engine refuses are passed over.
#[tokio::test]
async fn a_port_that_something_else_holds_is_passed_over() {
    let scope = Scope::new().await;
    for free in 0..4 {
        let mut held = row(4);
        let range = (port(&held[0]), port(&held[3]));
        let free = held.remove(free);
        let expected = port(&free);
        drop(free);
        let mut spec = published(&scope, 1);
        spec.plan.pools.ports = range;
        let environment = up(&scope, &spec).await;
        let at = environment.endpoints()[0];
        assert_eq!((at.port(), environment.is_up()), (expected, true));
        get_soon(at, "/up").await;
        assert_eq!(up(&scope, &spec).await, environment);
        down(&scope, 1).await;
    }
}

#[tokio::test]
async fn a_range_that_is_held_as_a_whole_is_told_with_what_to_do() {
    let scope = Scope::new().await;
    let held = row(3);
    let mut spec = published(&scope, 1);
    spec.plan.pools.ports = (port(&held[0]), port(&held[2]));
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    let range = format!("from {} to {}", port(&held[0]), port(&held[2]));
    assert!(failed.what.contains(&range), "{failed:?}");
    assert!(failed.hint.unwrap().contains("`pools: {ports: "));
    // With another range the same release comes up.
    spec.plan.pools = Pools::default();
    assert!(up(&scope, &spec).await.is_up());
    down(&scope, 1).await;
}

#[tokio::test]
async fn an_address_that_is_not_the_hosts_names_the_line() {
    let scope = Scope::new().await;
    let spec = published_at(simple(&scope, 1), "192.0.2.7");
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    let expected = "`192.0.2.7` is not an address of the engine's host";
    assert!(failed.what.contains(expected), "{failed:?}");
    assert!(
        failed
            .hint
            .unwrap()
            .contains("`reach: {published: ADDRESS}`")
    );
    down(&scope, 1).await;
}

/// Who answers at each endpoint: a container's own name for itself.
async fn who(environment: &Environment) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for at in environment.endpoints() {
        let (_, name) = get_soon(at, "/env?HOSTNAME").await;
        all.insert(at.to_string(), name);
    }
    all
}

#[tokio::test]
async fn a_port_is_the_same_containers_after_its_restart() {
    let scope = Scope::new().await;
    let spec = published(&scope, 3);
    let before = up(&scope, &spec).await;
    let answers = who(&before).await;
    let api = api();
    for container in &before.containers {
        api.stop_container(&container.id, None).await.unwrap();
    }
    for container in before.containers.iter().rev() {
        api.start_container(&container.id, None).await.unwrap();
    }
    api.restart_container(&before.containers[0].id, None)
        .await
        .unwrap();
    let after = scope
        .engine
        .inspect(&scope.service)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(after.endpoints(), before.endpoints());
    assert_eq!(who(&after).await, answers);
    down(&scope, 1).await;
}

/// Calls that are given up at every moment; what they have left keeps its port.
#[tokio::test]
async fn what_a_killed_call_has_left_keeps_its_port() {
    let scope = Scope::new().await;
    let spec = published(&scope, 4);
    let mut ports: BTreeMap<String, u16> = BTreeMap::new();
    for millis in [40, 80, 120, 160, 200, 300, 400, 600] {
        let limit = Duration::from_millis(millis);
        let given_up = tokio::time::timeout(limit, try_up(&scope, &spec)).await;
        let stands = scope.engine.inspect(&scope.service).await.unwrap();
        for container in stands
            .iter()
            .flat_map(|environment| &environment.containers)
        {
            let port = container.published.unwrap();
            let before = *ports.entry(container.name.clone()).or_insert(port);
            assert_eq!(before, port, "{} after {millis} ms", container.name);
        }
        if given_up.is_ok() {
            break;
        }
    }
    let whole = up(&scope, &spec).await;
    assert_eq!(who(&whole).await.len(), 4);
    for container in &whole.containers {
        let before = ports.get(&container.name).copied();
        assert!(
            before.is_none() || before == container.published,
            "{whole:?}"
        );
    }
    down(&scope, 1).await;
}

/// Several that want ports of one narrow range at the same moment get on with each other: who comes
/// second to a port takes the next.
#[tokio::test]
async fn services_that_choose_at_the_same_moment_get_ports_of_their_own() {
    let first = Scope::new().await;
    let range = {
        let free = row(12);
        (port(&free[0]), port(&free[11]))
    };
    let scopes = [first, Scope::new().await, Scope::new().await];
    let ups: FuturesUnordered<_> = scopes
        .iter()
        .map(|scope| {
            let mut spec = published(scope, 4);
            spec.plan.pools.ports = range;
            async move { up(scope, &spec).await }
        })
        .collect();
    let all: Vec<Environment> = ups.collect().await;
    let mut answers = BTreeMap::new();
    for environment in &all {
        answers.extend(who(environment).await);
    }
    assert_eq!(answers.len(), 12, "{answers:?}");
    for scope in &scopes {
        down(scope, 1).await;
    }
}

/// No container of a hook is published, whatever role it is of.
#[tokio::test]
async fn containers_say_what_is_published_and_only_exposed_ones_are() {
    let scope = Scope::new().await;
    let environment = up(&scope, &published(&scope, 2)).await;
    for container in &environment.containers {
        let full = api().inspect_container(&container.id, None).await.unwrap();
        let bound = full.network_settings.unwrap().ports.unwrap();
        let bound = bound["8080/tcp"].clone().unwrap();
        let bound: Vec<_> = bound
            .into_iter()
            .map(|binding| (binding.host_ip.unwrap(), binding.host_port.unwrap()))
            .collect();
        let expected = container.published.unwrap().to_string();
        assert_eq!(bound, [("127.0.0.1".to_owned(), expected)]);
    }
    down(&scope, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_daemon_publishes_the_same_containers_at_the_same_ports() {
    let mut host = Host::start();
    let scope = Scope::new().await;
    let flipside::core::plan::ImageSource::Pull(image) = &scope.image else {
        panic!("an image by its name");
    };
    let tag = crate::support::docker::hello_tag();
    host.load(&tag);
    let engine = Docker::connect(Some(&host.url())).await.unwrap();
    let id = sh(&[
        "docker",
        "--host",
        &host.url(),
        "inspect",
        "-f",
        "{{.Id}}",
        &tag,
    ]);
    assert_eq!(id.trim(), image);
    let spec = published(&scope, 3);
    let images = engine.prepare(&spec, &flipside::core::progress::Silent);
    let images = images.await.unwrap();
    let stood = engine.stand_up(&spec, &images, &flipside::core::progress::Silent);
    let before = stood.await.unwrap();
    let endpoints: Vec<_> = before.endpoints().iter().map(ToString::to_string).collect();
    let answering = |now: &BTreeMap<_, Option<(String, String)>>| {
        now.len() == 3 && now.values().all(Option::is_some)
    };
    let answers = host.soon(Instant::now(), || host.identities(&endpoints), answering);
    for end in [Host::stop_daemon, Host::cut_power] {
        end(&mut host);
        host.start_daemon();
        host.soon(
            Instant::now(),
            || host.identities(&endpoints),
            |now| *now == answers,
        );
        let engine = Docker::connect(Some(&host.url())).await.unwrap();
        let now = engine.inspect(&scope.service).await.unwrap().remove(0);
        assert_eq!(now.endpoints(), before.endpoints());
    }
    let engine = Docker::connect(Some(&host.url())).await.unwrap();
    engine.tear_down(&scope.service, Release(1)).await.unwrap();
}
