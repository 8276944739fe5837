//! Whole and half environments, their order, their defaults, their failures.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bollard::models::{EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{ListNetworksOptions, StopContainerOptions};
use flipside::core::names::Release;
use flipside::core::plan::{Condition, Healthcheck, Mount, MountSource, Role};
use flipside::core::world::{ContainerState, Health};
use flipside::engine::{Engine, Spec};

use super::{down, failure, try_up, up};
use crate::support::docker::{Scope, api, get_soon, until};
use crate::support::sample::{depends, role, set, spec, words};

fn web(scope: &Scope, replicas: u32) -> Role {
    let mut web = role(scope.image.clone());
    web.replicas = replicas;
    set(&mut web, "VERSION", "one");
    web
}

fn checked(scope: &Scope) -> Role {
    let mut role = role(scope.image.clone());
    role.healthcheck = Some(Healthcheck {
        test: words(&["CMD", "/hello", "check"]),
        interval_ms: Some(200),
        timeout_ms: Some(2_000),
        start_period_ms: Some(0),
        start_interval_ms: None,
        retries: Some(2),
    });
    role
}

pub fn simple(scope: &Scope, replicas: u32) -> Spec {
    spec(&scope.service, 1, vec![("web", web(scope, replicas))])
}

#[tokio::test]
async fn replicas_keep_their_addresses_over_restarts() {
    let scope = Scope::new().await;
    let before = up(&scope, &simple(&scope, 5)).await;
    let distinct: BTreeSet<_> = before.endpoints().into_iter().collect();
    assert_eq!(distinct.len(), 5, "{before:?}");
    let api = api();
    // In another order than they were started in, all stopped at once.
    for container in &before.containers {
        let options = StopContainerOptions {
            t: Some(1),
            ..Default::default()
        };
        api.stop_container(&container.id, Some(options))
            .await
            .unwrap();
    }
    for container in before.containers.iter().rev() {
        api.start_container(&container.id, None).await.unwrap();
    }
    let after = scope.engine.inspect(&scope.service).await.unwrap();
    assert_eq!(after, std::slice::from_ref(&before));
    for (container, endpoint) in before.containers.iter().zip(before.endpoints()) {
        let (status, body) = get_soon(endpoint, "/env?HOSTNAME").await;
        assert_eq!((status, body.as_str()), (200, &container.id[..12]));
    }
}

#[tokio::test]
async fn containers_of_another_run_with_the_same_number_are_not_taken() {
    let scope = Scope::new().await;
    let mut spec = simple(&scope, 1);
    let theirs = up(&scope, &spec).await;
    spec.opened_with += 1;
    let refused = failure(try_up(&scope, &spec).await.unwrap_err());
    assert!(refused.what.contains("another run"), "{}", refused.what);
    let now = scope.engine.inspect(&scope.service).await.unwrap();
    assert_eq!(now, [theirs]);
}

#[tokio::test]
async fn of_two_networks_of_one_name_the_used_one_stays() {
    let scope = Scope::new().await;
    let spec = simple(&scope, 1);
    let before = up(&scope, &spec).await;
    let name = format!("0-flipside.{}.1", scope.service);
    let api = api();
    let used = api.inspect_network(&name, None).await.unwrap();
    let late = NetworkCreateRequest {
        name: name.clone(),
        labels: used.labels.clone(),
        ..NetworkCreateRequest::default()
    };
    api.create_network(late).await.unwrap();
    let after = up(&scope, &spec).await;
    assert_eq!(after.containers, before.containers);
    let networks = api
        .list_networks(None::<ListNetworksOptions>)
        .await
        .unwrap();
    let named = networks
        .into_iter()
        .filter(|network| network.name.as_ref() == Some(&name));
    let ids: Vec<_> = named.map(|network| network.id).collect();
    assert_eq!(ids, [used.id]);
}

#[tokio::test]
async fn a_network_alone_is_completed() {
    let scope = Scope::new().await;
    let spec = simple(&scope, 2);
    let whole = up(&scope, &spec).await;
    for container in &whole.containers {
        remove(&container.id).await;
    }
    let half = scope
        .engine
        .inspect(&scope.service)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (half.expected, half.is_up(), half.labels),
        (2, false, spec.labels.clone())
    );
    let again = up(&scope, &spec).await;
    assert!(again.is_up());
    assert_eq!(again.endpoints(), whole.endpoints());
}

#[tokio::test]
async fn two_of_five_containers_are_completed() {
    let scope = Scope::new().await;
    let spec = simple(&scope, 5);
    let whole = up(&scope, &spec).await;
    for container in &whole.containers[1..4] {
        remove(&container.id).await;
    }
    let again = up(&scope, &spec).await;
    assert!(again.is_up());
    assert_eq!(again.endpoints(), whole.endpoints());
    assert_eq!(again.containers[0], whole.containers[0]);
    assert_eq!(again.containers[4], whole.containers[4]);
}

#[tokio::test]
async fn created_and_not_started_is_completed() {
    let scope = Scope::new().await;
    let mut other = role(scope.image.clone());
    other.command = Some(words(&["sleep"]));
    let mut late = web(&scope, 1);
    depends(&mut late, "other", Condition::Healthy);
    // Nothing ever becomes healthy: standing up is dropped while `web` is created, not started.
    other.healthcheck = checked(&scope).healthcheck;
    let mut spec = spec(&scope.service, 1, vec![("web", late), ("other", other)]);
    let attempt = up(&scope, &spec);
    let created = until("web is created", || async {
        let found = scope.engine.inspect(&scope.service).await.unwrap().pop()?;
        let web = found
            .containers
            .into_iter()
            .find(|c| c.role.as_str() == "web")?;
        (web.state == ContainerState::Created).then_some(web.id)
    });
    let id = tokio::select! {
        _ = attempt => panic!("stood up"),
        id = created => id,
    };
    for role in spec.plan.roles.values_mut() {
        role.depends_on.clear();
    }
    let environment = up(&scope, &spec).await;
    assert!(environment.is_up());
    assert!(
        environment
            .containers
            .iter()
            .any(|container| container.id == id)
    );
}

#[tokio::test]
async fn what_the_plan_says_reaches_the_engine() {
    let scope = Scope::new().await;
    let mut web = web(&scope, 1);
    web.tmpfs = BTreeMap::from([("/scratch".into(), "size=1m,mode=1777".into())]);
    web.ulimits = BTreeMap::from([("nofile".into(), (1000, 2000))]);
    web.limits.memory = Some(64 << 20);
    web.limits.memory_reservation = Some(32 << 20);
    web.limits.nano_cpus = Some(500_000_000);
    web.limits.shm = Some(8 << 20);
    web.labels = BTreeMap::from([
        ("team".into(), "shop".into()),
        ("flipside.release".into(), "99".into()),
    ]);
    web.extra_hosts = vec![("db".into(), "192.0.2.7".into())];
    web.dns = vec![Ipv4Addr::new(192, 0, 2, 8).into()];
    web.hostname = Some("shopfront".into());
    web.user = Some("12:34".into());
    web.working_dir = Some("/work".into());
    web.stop_signal = Some("SIGINT".into());
    web.stop_grace_ms = 1_500;
    web.init = Some(false);
    web.cap_drop = vec!["CHOWN".into()];
    web.cap_add = vec!["SYS_TIME".into()];
    web.expose = vec![8080];
    web.healthcheck = checked(&scope).healthcheck;
    web.mounts = vec![
        Mount {
            target: "/data".into(),
            source: MountSource::PerRelease(Some("data".into())),
            read_only: false,
            propagation: None,
        },
        Mount {
            target: "/host".into(),
            source: MountSource::Host("/sys/class".into()),
            read_only: true,
            propagation: None,
        },
        Mount {
            target: "/anonymous".into(),
            source: MountSource::PerRelease(None),
            read_only: false,
            propagation: None,
        },
    ];
    let environment = up(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    let full = api()
        .inspect_container(&environment.containers[0].id, None)
        .await
        .unwrap();
    let host = full.host_config.unwrap();
    let config = full.config.unwrap();
    assert_eq!(host.tmpfs.unwrap()["/scratch"], "size=1m,mode=1777");
    let ulimit = host.ulimits.unwrap().remove(0);
    assert_eq!((ulimit.soft, ulimit.hard), (Some(1000), Some(2000)));
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.memory_reservation, Some(32 << 20));
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.shm_size, Some(8 << 20));
    assert_eq!(host.extra_hosts.unwrap(), ["db:192.0.2.7"]);
    assert_eq!(host.dns.unwrap(), ["192.0.2.8"]);
    assert_eq!(host.cap_drop.unwrap(), ["CHOWN", "NET_RAW"]);
    assert_eq!(host.cap_add.unwrap(), ["SYS_TIME"]);
    assert_eq!(host.init, Some(false));
    assert_eq!(config.hostname.as_deref(), Some("shopfront"));
    assert_eq!(config.user.as_deref(), Some("12:34"));
    assert_eq!(config.working_dir.as_deref(), Some("/work"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(config.stop_timeout, Some(2));
    assert_eq!(config.exposed_ports.unwrap(), ["8080/tcp"]);
    let check = config.healthcheck.unwrap();
    assert_eq!(
        (check.interval, check.retries),
        (Some(200_000_000), Some(2))
    );
    let labels = config.labels.unwrap();
    assert_eq!(
        (labels["team"].as_str(), labels["flipside.release"].as_str()),
        ("shop", "1")
    );
    let mounts = full.mounts.unwrap();
    let mount = |target: &str| {
        let mut all = mounts.iter();
        all.find(|mount| mount.destination.as_deref() == Some(target))
            .unwrap()
    };
    let data = format!("flipside.{}.1.volume.data", scope.service);
    assert_eq!(mount("/data").name.as_deref(), Some(data.as_str()));
    assert_eq!(
        (mount("/host").source.as_deref(), mount("/host").rw),
        (Some("/sys/class"), Some(false))
    );
    let anonymous = mount("/anonymous").name.clone().unwrap();
    down(&scope, 1).await;
    assert_eq!(scope.parts().await, [""; 0]);
    assert!(api().inspect_volume(&anonymous).await.is_err());
}

#[tokio::test]
async fn containers_are_hardened_unless_the_plan_loosens_it() {
    let scope = Scope::new().await;
    let strict = web(&scope, 1);
    let mut loose = web(&scope, 1);
    loose.security_opt = vec!["no-new-privileges:false".into()];
    loose.cap_add = vec!["NET_RAW".into()];
    loose.limits.pids = Some(64);
    let environment = up(
        &scope,
        &spec(&scope.service, 1, vec![("web", strict), ("loose", loose)]),
    )
    .await;
    for container in &environment.containers {
        let full = api().inspect_container(&container.id, None).await.unwrap();
        let host = full.host_config.unwrap();
        let log = host.log_config.unwrap();
        let options = log.config.unwrap();
        assert_eq!(
            (options["max-size"].as_str(), options["max-file"].as_str()),
            ("10m", "3")
        );
        let restart = host.restart_policy.unwrap().name.unwrap();
        assert_eq!(restart.to_string(), "unless-stopped");
        let (security, dropped, pids) = match container.role.as_str() {
            "web" => (
                "no-new-privileges:true",
                Some(vec!["NET_RAW".to_owned()]),
                4096,
            ),
            _ => ("no-new-privileges:false", None, 64),
        };
        assert_eq!(host.security_opt.unwrap(), [security]);
        assert_eq!(host.cap_drop.filter(|list| !list.is_empty()), dropped);
        assert_eq!(host.pids_limit, Some(pids));
    }
}

#[tokio::test]
async fn a_subnet_already_taken_is_passed_over() {
    let scope = Scope::new().await;
    let name = format!("taken-{}", scope.service);
    let labels = HashMap::from([("flipside.service".to_owned(), scope.service.to_string())]);
    let network = NetworkCreateRequest {
        name: name.clone(),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some("10.214.7.64/27".into()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        labels: Some(labels),
        ..Default::default()
    };
    api().create_network(network).await.unwrap();
    let mut spec = simple(&scope, 1);
    spec.plan.pools.networks = (Ipv4Addr::new(10, 214, 7, 64), 25);
    let environment = up(&scope, &spec).await;
    // The pool's first piece: 10.214.7.0/26, its second one overlaps.
    assert_eq!(environment.endpoints()[0].to_string(), "10.214.7.2:8080");
    spec.release = Release(2);
    let full = failure(try_up(&scope, &spec).await.unwrap_err());
    assert!(
        full.what.contains("no piece of 10.214.7.0/25 is free"),
        "{full:?}"
    );
    super::pools::assert_mends(&full.hint.unwrap());
}

#[tokio::test]
async fn two_services_at_once_get_networks_of_their_own() {
    let (one, two) = (Scope::new().await, Scope::new().await);
    let (specs_one, specs_two) = (simple(&one, 1), simple(&two, 1));
    let (a, b) = tokio::join!(up(&one, &specs_one), up(&two, &specs_two));
    assert!(a.is_up() && b.is_up());
    assert_ne!(a.endpoints(), b.endpoints());
}

#[tokio::test]
async fn one_release_stood_up_twice_at_once_has_one_network() {
    let scope = Scope::new().await;
    let spec = simple(&scope, 2);
    let (a, b) = tokio::join!(try_up(&scope, &spec), try_up(&scope, &spec));
    assert!(a.is_ok() || b.is_ok(), "{a:?} {b:?}");
    let environment = up(&scope, &spec).await;
    assert!(environment.is_up());
    assert_eq!(scope.parts().await.len(), 3, "{:?}", scope.parts().await);
}

#[tokio::test]
async fn roles_find_each_other_and_start_in_order() {
    let scope = Scope::new().await;
    let mut db = checked(&scope);
    set(&mut db, "START_DELAY_MS", "400");
    let mut web = web(&scope, 2);
    depends(&mut web, "db", Condition::Healthy);
    let mut edge = role(scope.image.clone());
    edge.command = Some(words(&["sleep"]));
    depends(&mut edge, "web", Condition::Started);
    let roles = vec![("web", web), ("edge", edge), ("db", db)];
    let environment = up(&scope, &spec(&scope.service, 1, roles)).await;
    let mut starts = BTreeMap::new();
    for container in &environment.containers {
        let full = api().inspect_container(&container.id, None).await.unwrap();
        let started: String = full.state.unwrap().started_at.unwrap();
        let entry = starts
            .entry(container.role.to_string())
            .or_insert_with(Vec::new);
        entry.push(started.parse::<jiff::Timestamp>().unwrap());
        if container.role.as_str() == "db" {
            assert_eq!(container.health, Health::Healthy);
        }
    }
    assert!(
        starts["db"].iter().max() < starts["web"].iter().min(),
        "{starts:?}"
    );
    assert!(
        starts["web"].iter().max() < starts["edge"].iter().min(),
        "{starts:?}"
    );
}

#[tokio::test]
async fn a_dependency_that_ends_is_a_failure_at_once() {
    let scope = Scope::new().await;
    let mut db = checked(&scope);
    set(&mut db, "EXIT_AT_START", "23");
    let mut web = web(&scope, 1);
    depends(&mut web, "db", Condition::Healthy);
    let spec = spec(&scope.service, 1, vec![("web", web), ("db", db)]);
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    let report = &failed.replicas[0];
    assert_eq!(report.container, format!("{}-1-db-1", scope.service));
    assert!(report.reasons[0].contains("exit 23"), "{failed:?}");
    assert!(
        report
            .logs
            .iter()
            .any(|line| line.contains("exiting with 23")),
        "{failed:?}"
    );
    down(&scope, 1).await;
    assert_eq!(scope.parts().await, [""; 0]);
}

#[tokio::test]
async fn roles_that_wait_for_each_other_are_refused() {
    let scope = Scope::new().await;
    let (mut web, mut db) = (web(&scope, 1), web(&scope, 1));
    depends(&mut web, "db", Condition::Started);
    depends(&mut db, "web", Condition::Started);
    let spec = spec(&scope.service, 1, vec![("web", web), ("db", db)]);
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    assert_eq!(failed.what, "the roles `db`, `web` wait for each other");
    assert_eq!(scope.parts().await, [""; 0]);
}

#[tokio::test]
async fn a_container_that_cannot_start_is_named_with_the_engines_words() {
    let scope = Scope::new().await;
    let mut web = web(&scope, 1);
    web.entrypoint = Some(words(&["/no-such-program"]));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    assert!(
        failed
            .what
            .contains(&format!("`{}-1-web-1` did not start", scope.service)),
        "{failed:?}"
    );
    assert!(failed.what.contains("no-such-program"), "{failed:?}");
}

#[tokio::test]
async fn memory_that_ran_out_is_told_of_one_container() {
    let scope = Scope::new().await;
    let mut web = web(&scope, 1);
    web.limits.memory = Some(16 << 20);
    set(&mut web, "HOG", "1");
    let environment = up(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    let id = environment.containers[0].id.clone();
    // The engine may hear why after it has heard that it ended.
    let code = until("memory has run out", || async {
        match scope.engine.container(&id).await.unwrap().unwrap().state {
            ContainerState::Exited { code, oom: true } => Some(code),
            _ => None,
        }
    })
    .await;
    assert_eq!(code, 137);
    // The engine starts it again each time; stopping leaves its last end.
    api().stop_container(&id, None).await.unwrap();
    let listed = scope.engine.inspect(&scope.service).await.unwrap();
    let listed = &listed[0].containers[0].state;
    assert!(
        matches!(listed, ContainerState::Exited { code: 137, .. }),
        "{listed:?}"
    );
}

#[tokio::test]
async fn external_networks_know_only_unique_names() {
    let scope = Scope::new().await;
    let outer = format!("outer-{}", scope.service);
    let labels = HashMap::from([("flipside.service".to_owned(), scope.service.to_string())]);
    let create = |name: &str| NetworkCreateRequest {
        name: name.to_owned(),
        labels: Some(labels.clone()),
        ..Default::default()
    };
    api().create_network(create(&outer)).await.unwrap();
    let mut web = web(&scope, 1);
    web.networks = vec!["shared".into()];
    let mut spec = spec(&scope.service, 1, vec![("web", web)]);
    spec.plan.external_networks = BTreeMap::from([("shared".into(), outer.clone())]);
    for _ in 0..2 {
        up(&scope, &spec).await;
    }
    let name = format!("{}-1-web-1", scope.service);
    let full = api().inspect_container(&name, None).await.unwrap();
    let networks = full.network_settings.unwrap().networks.unwrap();
    let aliases = |network: &EndpointSettings| network.aliases.clone().unwrap_or_default();
    assert!(
        !aliases(&networks[&outer]).contains(&"web".to_owned()),
        "{networks:?}"
    );
    let own = format!("0-flipside.{}.1", scope.service);
    assert!(
        aliases(&networks[&own]).contains(&"web".to_owned()),
        "{networks:?}"
    );
    spec.release = Release(2);
    spec.plan.external_networks = BTreeMap::from([("shared".into(), "no-such".into())]);
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    assert_eq!(
        failed.hint.as_deref(),
        Some("make it with `docker network create no-such`")
    );
    let early = format!("0-a-{}", scope.service);
    api().create_network(create(&early)).await.unwrap();
    spec.plan.external_networks = BTreeMap::from([("shared".into(), early)]);
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    assert!(failed.what.contains("default route"), "{failed:?}");
}

pub async fn remove(id: &str) {
    let options = bollard::query_parameters::RemoveContainerOptions {
        force: true,
        ..Default::default()
    };
    api().remove_container(id, Some(options)).await.unwrap();
}
