//! What `docker compose config` writes can be read: it is what a file with `include` or `extends` is
//! passed as. `config-2.yaml` is the second version's output for `examples/guestbook`, `config-1.29.yaml`
//! the first one's (without `name`, which that one does not know), with `DIRECTORY` for the project's.

use std::collections::BTreeMap;
use std::path::Path;

use flipside::core::plan::{FileContent, FileSource, ImageSource, MountSource, Plan, Role, Text};
use flipside::plan::propose::draft;
use flipside::plan::{self, Fate};

use crate::support::sample::NO_INPUTS;

const GUESTBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guestbook");

/// The plan that is proposed for `compose` in `directory`, accepted as it is.
fn accepted(directory: &Path, compose: &str) -> Plan {
    let file = directory.join("compose.yaml");
    std::fs::write(&file, compose).unwrap();
    let draft = draft(&[file], directory, &NO_INPUTS).unwrap_or_else(|error| panic!("{error}"));
    let path = directory.join("flipside.yaml");
    std::fs::write(&path, draft.text()).unwrap();
    let accounted = plan::account(&path, &NO_INPUTS);
    let loaded = accounted
        .loaded
        .unwrap_or_else(|error| panic!("{}\n{error}", draft.text()));
    let unread = accounted
        .entries
        .iter()
        .find(|entry| entry.fate == Fate::Unread);
    assert_eq!(unread, None);
    loaded.plan
}

/// A role as its containers are: where a value comes from makes no difference.
fn shown(role: &Role) -> String {
    let words = |words: &Option<Vec<Text>>| {
        let words = words.iter().flatten().map(Text::reveal);
        words.collect::<Vec<_>>().join(" ")
    };
    let variables: Vec<_> = role
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={}", value.reveal()))
        .collect();
    let check = role.healthcheck.as_ref().map(|check| {
        let test = words(&Some(check.test.clone()));
        (
            test,
            check.interval_ms,
            check.timeout_ms,
            check.start_period_ms,
            check.retries,
        )
    });
    let logging = role.logging.as_ref().map(|logging| {
        let options = logging.options.iter();
        let options: Vec<_> = options
            .map(|(name, value)| (name, value.reveal()))
            .collect();
        format!("{} {options:?}", logging.driver)
    });
    let image = match &role.image {
        ImageSource::Build(build) => {
            let arguments = build.args.iter();
            let arguments: Vec<_> = arguments
                .map(|(name, value)| (name, value.reveal()))
                .collect();
            format!(
                "{} {} {arguments:?}",
                build.context.display(),
                build.dockerfile
            )
        }
        ImageSource::Pull(image) => image.clone(),
    };
    format!(
        "{image}\n{:?} {} {variables:?}\n{:?} {:?} {check:?} {logging:?} {:?} {:?} {}",
        role.run,
        words(&role.command),
        role.mounts,
        role.depends_on,
        role.aliases,
        role.host.restart,
        role.stop_grace_ms,
    )
}

fn all(plan: &Plan) -> BTreeMap<String, String> {
    let roles = plan.roles.iter().chain(&plan.shared);
    roles
        .map(|(name, role)| (name.to_string(), shown(role)))
        .collect()
}

#[test]
fn what_compose_writes_of_the_guestbook_is_the_guestbook() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("guestbook");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(
        format!("{GUESTBOOK}/Dockerfile"),
        directory.join("Dockerfile"),
    )
    .unwrap();
    std::fs::write(
        directory.join(".env"),
        "POSTGRES_USER=guestbook\nPOSTGRES_PASSWORD=pw\n",
    )
    .unwrap();
    let own = std::fs::read_to_string(format!("{GUESTBOOK}/compose.yaml")).unwrap();
    let own = accepted(&directory, &own);
    std::fs::remove_file(directory.join(".env")).unwrap();
    assert_eq!(own.roles.len(), 3);
    for written in [
        include_str!("../compose/config-2.yaml"),
        include_str!("../compose/config-1.29.yaml"),
    ] {
        let written = written.replace("DIRECTORY", &directory.display().to_string());
        let theirs = accepted(&directory, &written);
        assert_eq!(all(&theirs), all(&own));
        assert_eq!(theirs.service, own.service);
        assert_eq!(theirs.project, own.project);
        assert_eq!(theirs.exposed, own.exposed);
    }
}

/// Forms of the second version's output that the guestbook has none of.
const MORE: &str = "\
name: shop
services:
  web:
    command: null
    configs:
      - source: motd
        target: /etc/motd
    deploy:
      replicas: 2
      resources:
        limits:
          cpus: 0.5
          memory: \"67108864\"
      placement: {}
    entrypoint: null
    env_file:
      - path: DIRECTORY/app.env
        required: true
    extra_hosts:
      - host.docker.internal=host-gateway
    image: app:1
    mem_limit: \"67108864\"
    networks:
      front: null
    ports:
      - mode: ingress
        host_ip: 127.0.0.1
        target: 8080
        published: \"8080\"
        protocol: tcp
    secrets:
      - source: key
        target: /run/secrets/key
    stop_grace_period: 1m0s
    tmpfs:
      - /spool
    ulimits:
      nofile:
        soft: 1024
        hard: 2048
    volumes:
      - type: bind
        source: DIRECTORY/nginx.conf
        target: /etc/nginx.conf
        read_only: true
        bind:
          create_host_path: true
      - type: bind
        source: DIRECTORY/data
        target: /data
        bind:
          create_host_path: true
      - type: bind
        source: DIRECTORY/settings.conf
        target: /etc/settings.conf
        bind: {}
      - type: volume
        source: cache
        target: /cache
        volume: {}
      - type: tmpfs
        target: /scratch
        tmpfs:
          size: \"1048576\"
networks:
  front:
    name: shop_front
    ipam: {}
volumes:
  cache:
    name: shop_cache
secrets:
  key:
    name: shop_key
    file: DIRECTORY/key
configs:
  motd:
    name: shop_motd
    content: |
      costs $$5
";

#[test]
fn paths_that_compose_makes_absolute_are_those_beside_the_file() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("shop");
    std::fs::create_dir(&directory).unwrap();
    for file in ["app.env", "nginx.conf", "settings.conf", "key"] {
        std::fs::write(directory.join(file), "A=1\n").unwrap();
    }
    let written = MORE.replace("DIRECTORY", &directory.display().to_string());
    let plan = accepted(&directory, &written);
    let web = plan.roles.values().next().unwrap();
    let mut copied: Vec<_> = web.files.iter().map(|file| file.target.as_str()).collect();
    copied.sort_unstable();
    let expected = [
        "/etc/motd",
        "/etc/nginx.conf",
        "/etc/settings.conf",
        "/run/secrets/key",
    ];
    assert_eq!(copied, expected);
    let motd = web.files.iter().find(|file| file.target == "/etc/motd");
    let FileContent::File { source, .. } = &motd.unwrap().content else {
        panic!("a config is a file");
    };
    assert_eq!(*source, FileSource::Value(Text::public("costs $5\n")));
    let data = directory.join("data").display().to_string();
    let mounts: Vec<_> = web
        .mounts
        .iter()
        .map(|mount| mount.source.clone())
        .collect();
    let cache = MountSource::Shared("shop_cache".into());
    assert_eq!(mounts, [MountSource::Host(data), cache]);
    assert_eq!(web.tmpfs["/scratch"], "size=1048576");
    assert_eq!(web.limits.memory, Some(67_108_864));
    assert_eq!(web.stop_grace_ms, 60_000);
}
