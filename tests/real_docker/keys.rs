//! The keys that fewer files have: each read back from the engine, and seen in the container where it
//! shows there.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::{ContainerInspectResponse, NetworkCreateRequest};
use flipside::core::names::Release;
use flipside::core::plan::{
    Build, Device, Healthcheck, Host, ImageSource, Logging, Port, Pull, Role, Run, StandbyMode,
    Text,
};
use flipside::core::progress::Silent;
use flipside::core::world::{Container, ContainerState, Environment};
use flipside::engine::{Engine, Spec};

use super::{down, failure, try_up, up};
use crate::support::docker::{Scope, api, get_soon, hello_binary, machine, until};
use crate::support::sample::{role, role_name, set, spec, words};

async fn inspected(container: &Container) -> ContainerInspectResponse {
    api().inspect_container(&container.id, None).await.unwrap()
}

async fn refusal(scope: &Scope, spec: &Spec) -> String {
    let failure = failure(try_up(scope, spec).await.unwrap_err());
    assert_eq!(scope.parts().await, [""; 0], "something was touched");
    format!("{}; {}", failure.what, failure.hint.unwrap_or_default())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_rarer_keys_reach_the_engine() {
    let scope = Scope::new().await;
    let mut web = role(scope.image.clone());
    web.tty = true;
    web.stdin_open = true;
    web.sysctls = map(&[("net.ipv4.ip_unprivileged_port_start", "77")]);
    web.logging = Some(Logging {
        driver: "local".into(),
        options: [("max-size".to_owned(), Text::public("2m"))].into(),
    });
    web.group_add = vec!["4242".into()];
    web.dns_search = vec!["shop.example".into()];
    web.limits.memory = Some(64 << 20);
    web.limits.memory_reservation = Some(32 << 20);
    web.limits.memory_swap = Some(-1);
    web.platform = Some(format!("linux/{}", machine().await));
    let environment = up(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    let container = &environment.containers[0];
    let full = inspected(container).await;
    let (host, config) = (full.host_config.unwrap(), full.config.unwrap());
    assert_eq!((config.tty, config.open_stdin), (Some(true), Some(true)));
    assert_eq!(
        host.sysctls.unwrap()["net.ipv4.ip_unprivileged_port_start"],
        "77"
    );
    let log = host.log_config.unwrap();
    assert_eq!(log.typ.as_deref(), Some("local"));
    let options = HashMap::from([("max-size".to_owned(), "2m".to_owned())]);
    assert_eq!(log.config, Some(options));
    assert_eq!(host.group_add.unwrap(), ["4242"]);
    assert_eq!(host.dns_search.unwrap(), ["shop.example"]);
    assert_eq!(host.memory_reservation, Some(32 << 20));
    assert_eq!(host.memory_swap, Some(-1));

    let endpoint = environment.endpoints()[0];
    let file = async |path: &str| get_soon(endpoint, &format!("/file?{path}")).await.1;
    let port = file("/proc/sys/net/ipv4/ip_unprivileged_port_start").await;
    assert_eq!(port.trim(), "77");
    let status = file("/proc/self/status").await;
    let groups = status.lines().find(|line| line.starts_with("Groups:"));
    assert!(groups.unwrap().contains("4242"), "{status}");
    let resolver = file("/etc/resolv.conf").await;
    assert!(resolver.contains("search shop.example"), "{resolver}");
    // The seventh field is the terminal that it runs on.
    let stat = file("/proc/self/stat").await;
    assert_ne!(stat.split(' ').nth(6), Some("0"), "{stat}");
    // The engine copies what a container writes after it has been written: four requests, at last.
    let lines = until("all requests in the logs", || async {
        let lines = scope.engine.logs(&container.id, 100).await.unwrap();
        (lines.len() > 4).then_some(lines)
    })
    .await;
    let is_whole = |line: &String| line.starts_with("GET ") && line.ends_with(" 200");
    assert!(lines[1..].iter().all(is_whole), "{lines:?}");
}

#[tokio::test]
async fn aliases_hold_in_the_environments_own_network_alone() {
    let scope = Scope::new().await;
    let outer = format!("outer-{}", scope.service);
    let labels = HashMap::from([("flipside.service".to_owned(), scope.service.to_string())]);
    let network = NetworkCreateRequest {
        name: outer.clone(),
        labels: Some(labels),
        ..Default::default()
    };
    api().create_network(network).await.unwrap();
    let mut web = role(scope.image.clone());
    web.aliases = vec!["shop-web".into(), "www".into()];
    web.networks = vec!["outer".into()];
    let mut spec = spec(&scope.service, 1, vec![("web", web)]);
    spec.plan.external_networks = BTreeMap::from([("outer".into(), outer.clone())]);
    let environment = up(&scope, &spec).await;
    let full = inspected(&environment.containers[0]).await;
    let networks = full.network_settings.unwrap().networks.unwrap();
    let aliases = |name: &str| networks[name].aliases.clone().unwrap_or_default();
    let own = aliases(&format!("0-flipside.{}.1", scope.service));
    for name in ["web", "shop-web", "www"] {
        assert!(own.iter().any(|alias| alias == name), "{own:?}");
        let theirs = aliases(&outer);
        assert!(!theirs.iter().any(|alias| alias == name), "{theirs:?}");
    }
}

/// `web`, and two of `side` that listen on 9090 in its network.
fn beside(scope: &Scope) -> Spec {
    let mut web = role(scope.image.clone());
    set(&mut web, "VERSION", "web");
    web.replicas = 2;
    let mut side = web.clone();
    set(&mut side, "VERSION", "side");
    set(&mut side, "PORT", "9090");
    side.network_of = Some(role_name("web"));
    // The engine refuses each of these together with another's network.
    side.hostname = Some("side".into());
    side.expose = vec![9090];
    side.dns = vec![Ipv4Addr::new(192, 0, 2, 8).into()];
    side.dns_search = vec!["shop.example".into()];
    side.extra_hosts = vec![("db".into(), "192.0.2.7".into())];
    spec(&scope.service, 1, vec![("side", side), ("web", web)])
}

async fn both_answer(environment: &Environment) {
    for endpoint in environment.endpoints() {
        assert_eq!(get_soon(endpoint, "/").await.1, "web");
        let side = SocketAddr::new(endpoint.ip(), 9090);
        assert_eq!(get_soon(side, "/").await.1, "side");
    }
}

#[tokio::test]
async fn a_role_in_the_network_of_another_is_with_its_own_number() {
    let scope = Scope::new().await;
    let spec = beside(&scope);
    let environment = up(&scope, &spec).await;
    assert!(environment.is_up());
    both_answer(&environment).await;
    assert_eq!(environment.endpoints().len(), 2);
    for container in &environment.containers {
        let is_side = container.role.as_str() == "side";
        assert_eq!(container.address.is_none(), is_side, "{container:?}");
        let mode = inspected(container).await.host_config.unwrap().network_mode;
        let owner = format!("{}-1-web-{}", scope.service, container.replica);
        let expected = match is_side {
            true => format!("container:{owner}"),
            false => format!("0-flipside.{}.1", scope.service),
        };
        let mode = mode.unwrap();
        if !mode.starts_with("container:") || mode == expected {
            assert_eq!(mode, expected);
            continue;
        }
        let id = api().inspect_container(&owner, None).await.unwrap().id;
        assert_eq!(mode, format!("container:{}", id.unwrap()));
    }
    let again = up(&scope, &spec).await;
    assert_eq!(again, environment);

    // What was stopped is started in an order in which the network is there first.
    let release = Release(1);
    scope
        .engine
        .freeze(&scope.service, release, StandbyMode::Stopped)
        .await
        .unwrap();
    scope
        .engine
        .wake(&scope.service, release, &Silent)
        .await
        .unwrap();
    both_answer(&scope.engine.inspect(&scope.service).await.unwrap()[0]).await;
    down(&scope, 1).await;
    assert_eq!(scope.parts().await, [""; 0]);
}

#[tokio::test]
async fn a_network_that_is_not_there_whenever_the_role_runs_is_refused() {
    let scope = Scope::new().await;
    let check = async |change: fn(&mut Spec), expected: &str| {
        let mut spec = beside(&scope);
        change(&mut spec);
        let told = refusal(&scope, &spec).await;
        assert!(told.contains(expected), "{told}");
    };
    fn of<'a>(spec: &'a mut Spec, name: &str) -> &'a mut Role {
        spec.plan.roles.get_mut(&role_name(name)).unwrap()
    }
    check(
        |spec| of(spec, "side").network_of = Some(role_name("vpn")),
        "role `side` uses the network of `vpn`, which is none of this release's; \
         take `network_mode: service:vpn` away from `side`",
    )
    .await;
    check(
        |spec| of(spec, "side").network_of = Some(role_name("side")),
        "which has none of its own",
    )
    .await;
    check(
        |spec| of(spec, "web").replicas = 1,
        "which has 1 replica for its 2",
    )
    .await;
    check(
        |spec| of(spec, "web").run = Run::LiveOnly,
        "which does not run whenever it does",
    )
    .await;
    check(
        |spec| spec.plan.exposed.role = role_name("side"),
        "`side` uses the network of `web` and has no address of its own; write `expose: web:8080`",
    )
    .await;
}

#[tokio::test]
async fn what_a_role_has_of_the_host_reaches_the_engine() {
    let scope = Scope::new().await;
    let mut web = role(scope.image.clone());
    web.host = Host {
        devices: vec![Device {
            host: "/dev/null".into(),
            container: "/dev/nothing".into(),
            permissions: "rw".into(),
        }],
        pid: true,
        ipc: true,
        ports: vec![Port {
            address: Some(Ipv4Addr::LOCALHOST.into()),
            published: None,
            target: 8080,
            udp: false,
        }],
        ..Host::default()
    };
    let mut edge = role(scope.image.clone());
    edge.command = Some(words(&["sleep"]));
    edge.host.network = true;
    let roles = vec![("web", web), ("edge", edge)];
    let environment = up(&scope, &spec(&scope.service, 1, roles)).await;
    let [edge, web] = &environment.containers[..] else {
        panic!("{environment:?}");
    };
    let full = inspected(web).await;
    let host = full.host_config.unwrap();
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.pid_mode.as_deref(), Some("host"));
    assert_eq!(host.ipc_mode.as_deref(), Some("host"));
    let device = host.devices.unwrap().remove(0);
    assert_eq!(device.path_in_container.as_deref(), Some("/dev/nothing"));
    assert_eq!(device.cgroup_permissions.as_deref(), Some("rw"));
    let ports = full.network_settings.unwrap().ports.unwrap();
    let place = ports["8080/tcp"].clone().unwrap().remove(0);
    assert_eq!(place.host_ip.as_deref(), Some("127.0.0.1"));
    let port = place.host_port.unwrap().parse().unwrap();
    let place = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    assert_eq!(get_soon(place, "/file?/dev/nothing").await.0, 200);
    // Among the host's processes it is not the first.
    let own = get_soon(place, "/file?/proc/self/stat").await.1;
    assert_ne!(own.split(' ').next(), Some("1"), "{own}");

    let host = inspected(edge).await.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    assert_eq!(
        (edge.address, &edge.state),
        (None, &ContainerState::Running)
    );
}

#[tokio::test]
async fn a_privileged_role_is_not_hardened() {
    let scope = Scope::new().await;
    let mut web = role(scope.image.clone());
    web.host.privileged = true;
    // An engine that is not privileged itself creates it and cannot start it.
    try_up(&scope, &spec(&scope.service, 1, vec![("web", web)]))
        .await
        .ok();
    let name = format!("{}-1-web-1", scope.service);
    let full = api().inspect_container(&name, None).await.unwrap();
    let host = full.host_config.unwrap();
    assert_eq!(host.privileged, Some(true));
    let security = host.security_opt.unwrap_or_default();
    assert!(!security.iter().any(|word| word.starts_with("no-new")));
    assert_eq!(host.cap_drop.unwrap_or_default(), [""; 0]);
}

#[tokio::test]
async fn a_health_check_that_the_engine_does_not_know_is_refused_first() {
    let scope = Scope::new().await;
    let (major, minor) = scope.engine.client().api();
    let mut web = role(scope.image.clone());
    web.healthcheck = Some(Healthcheck {
        test: words(&["CMD", "/hello", "check"]),
        interval_ms: None,
        timeout_ms: None,
        start_period_ms: Some(5_000),
        start_interval_ms: Some(100),
        retries: None,
    });
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    if (major, minor) >= (1, 44) {
        let environment = up(&scope, &spec).await;
        let config = inspected(&environment.containers[0]).await.config.unwrap();
        let check = config.healthcheck.unwrap();
        assert_eq!(check.start_interval, Some(100_000_000));
        return;
    }
    let expected = format!(
        "role `web`: `healthcheck.start_interval` needs API 1.44, and this engine speaks \
         {major}.{minor}; write `ignore: [start_interval]` in the plan, or use Docker 25 or newer"
    );
    assert_eq!(refusal(&scope, &spec).await, expected);
    let before = scope.engine.check(&spec.plan).unwrap_err();
    assert!(expected.starts_with(&before.what), "{before:?}");
    // One that outlives releases is of the same plan.
    let mut shared = spec.clone();
    let web = shared
        .plan
        .roles
        .insert(role_name("web"), role(scope.image.clone()));
    shared.plan.shared = BTreeMap::from([(role_name("db"), web.unwrap())]);
    let told = refusal(&scope, &shared).await;
    assert!(told.starts_with("role `db`: "), "{told}");
}

#[tokio::test]
async fn an_image_of_another_platform_is_refused_in_words() {
    let scope = Scope::new().await;
    let (has, wanted) = platforms().await;
    let id = match &scope.image {
        ImageSource::Pull(id) => id.clone(),
        ImageSource::Build(_) => panic!("an image by its id"),
    };
    let mut web = role(scope.image.clone());
    web.platform = Some(wanted.into());
    web.pull = Pull::Never;
    let told = refusal(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    let of_another = format!(
        "role `web`: the image `{id}` on the engine is of {has}, and `platform:` says {wanted}; "
    );
    let expected = format!(
        "{of_another}`pull_policy: never` forbids pulling another; `docker load` one of that \
         platform there, or take `platform:` away from `web`"
    );
    assert_eq!(told, expected);

    // One by a name that no registry answers for.
    let name = format!("registry.invalid/{}", scope.service);
    api()
        .tag_image(
            &id,
            Some(bollard::query_parameters::TagImageOptions {
                repo: Some(name.clone()),
                tag: Some("1".into()),
            }),
        )
        .await
        .unwrap();
    let reference = format!("{name}:1");
    let mut web = role(ImageSource::Pull(reference.clone()));
    web.platform = Some(wanted.into());
    let spec_of = |web: &Role| spec(&scope.service, 1, vec![("web", web.clone())]);
    let told = refusal(&scope, &spec_of(&web)).await;
    assert!(
        told.starts_with(&of_another.replace(&id, &reference))
            && told.contains("cannot be reached by the engine"),
        "{told}"
    );
    web.platform = Some(has.into());
    let images = scope.engine.prepare(&spec_of(&web), &Silent).await;
    api()
        .remove_image(
            &reference,
            None::<bollard::query_parameters::RemoveImageOptions>,
            None,
        )
        .await
        .unwrap();
    assert_eq!(images.unwrap()[&role_name("web")], id);
}

#[tokio::test]
async fn a_build_of_another_platform_is_refused_in_words() {
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    // The classic builder gives the engine's own architecture to what begins with nothing.
    let dockerfile = "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n";
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::copy(hello_binary(), dir.path().join("hello")).unwrap();
    let mut web = role(ImageSource::Build(Build {
        context: dir.path().into(),
        dockerfile: "Dockerfile".into(),
        args: BTreeMap::new(),
        target: None,
        tag: None,
    }));
    let (has, wanted) = platforms().await;
    web.platform = Some(has.into());
    let spec_of = |web: &Role| spec(&scope.service, 1, vec![("web", web.clone())]);
    let images = scope.engine.prepare(&spec_of(&web), &Silent).await;
    let image = &images.unwrap()[&role_name("web")];
    let image = api().inspect_image(image).await.unwrap();
    let is = format!("{}/{}", image.os.unwrap(), image.architecture.unwrap());
    assert_eq!(is, has);
    web.platform = Some(wanted.into());
    let expected = format!(
        "role `web`: what was built is of {has}, and `platform:` says {wanted}; name images of that \
         platform under `FROM`, or take `platform:` away from `web`"
    );
    assert_eq!(refusal(&scope, &spec_of(&web)).await, expected);
}

/// The engine's platform, and another.
async fn platforms() -> (&'static str, &'static str) {
    match machine().await.as_str() {
        "arm64" => ("linux/arm64", "linux/amd64"),
        _ => ("linux/amd64", "linux/arm64"),
    }
}
