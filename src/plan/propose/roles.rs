//! When each role should run, as far as its file gives it away. A proposal, with its reason: a person
//! decides.

use std::collections::BTreeMap;

use super::facts::Service;
use crate::core::plan::Run;

/// Images that hold data, by the last part of their names or a word of it.
const DATA: &[&str] = &[
    "arangodb",
    "cassandra",
    "chroma",
    "clickhouse",
    "cockroach",
    "consul",
    "couchdb",
    "crate",
    "dragonfly",
    "elasticsearch",
    "etcd",
    "gel",
    "edgedb",
    "garage",
    "influxdb",
    "kafka",
    "keydb",
    "loki",
    "mariadb",
    "meilisearch",
    "memcached",
    "milvus",
    "minio",
    "mongo",
    "mongodb",
    "mssql",
    "mysql",
    "nats",
    "neo4j",
    "opensearch",
    "openldap",
    "percona",
    "pgvector",
    "pgvecto",
    "postgis",
    "postgres",
    "postgresql",
    "qdrant",
    "questdb",
    "rabbitmq",
    "redis",
    "redpanda",
    "rethinkdb",
    "seaweedfs",
    "solr",
    "surrealdb",
    "timescaledb",
    "typesense",
    "valkey",
    "vault",
    "vectorchord",
    "weaviate",
    "zookeeper",
];

/// Where databases keep their data.
const DATA_DIRECTORIES: &[&str] = &[
    "/bitnami/mariadb",
    "/bitnami/postgresql",
    "/data/db",
    "/var/lib/clickhouse",
    "/var/lib/mysql",
    "/var/lib/postgresql",
    "/var/lib/rabbitmq",
];

/// Words of an image's name that make it a tool beside such a one.
const TOOLS: &[&str] = &[
    "admin",
    "adminer",
    "backup",
    "cli",
    "client",
    "commander",
    "console",
    "dump",
    "exporter",
    "express",
    "insight",
    "mcli",
    "mc",
    "migrate",
    "proxy",
    "sentinel",
    "ui",
    "web",
];

/// Reverse proxies, by the last part of their images' names.
const PROXIES: &[&str] = &[
    "acme-companion",
    "caddy",
    "caddy-docker-proxy",
    "docker-letsencrypt-nginx-proxy-companion",
    "envoy",
    "haproxy",
    "letsencrypt-nginx-proxy-companion",
    "nginx-proxy",
    "nginx-proxy-manager",
    "swag",
    "traefik",
];

/// Web servers that are a proxy where they stand before another role.
const WEB_SERVERS: &[&str] = &[
    "angie",
    "apache",
    "httpd",
    "nginx",
    "nginx-unprivileged",
    "openresty",
];

const MIGRATIONS: &[&str] = &[
    "bootstrap",
    "bucket",
    "buckets",
    "createbucket",
    "createbuckets",
    "create-bucket",
    "init",
    "initdb",
    "initializer",
    "install",
    "migrate",
    "migration",
    "migrations",
    "migrator",
    "prestart",
    "seed",
    "setup",
    "upgrade",
];

const TIMED: &[&str] = &[
    "beat",
    "cron",
    "crond",
    "crontab",
    "scheduler",
    "schedule",
    "ofelia",
];

const WORKERS: &[&str] = &[
    "celery", "consumer", "queue", "sidekiq", "worker", "workers",
];

const TEMPLATES: &[&str] = &["base", "common", "default", "defaults", "template"];

/// What is proposed for a role, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Proposal {
    pub run: Run,
    pub why: &'static str,
}

/// What is proposed for roles, by name; the others simply run always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Proposals(BTreeMap<String, Proposal>);

impl Proposals {
    /// What is proposed for a role.
    pub(in super::super) fn get(&self, role: &str) -> Option<&Proposal> {
        self.0.get(role)
    }

    /// How a role would run.
    pub(super) fn run(&self, role: &str) -> Run {
        self.get(role).map_or(Run::Always, |proposal| proposal.run)
    }

    fn insert(&mut self, role: &str, run: Run, why: &'static str) {
        self.0.insert(role.to_owned(), Proposal { run, why });
    }
}

/// The words of a name: what stands between `-`, `_` and `.`.
fn words(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(['-', '_', '.', ' ', '/', ':']);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn has(name: &str, known: &[&str]) -> bool {
    known.contains(&name)
        || words(name)
            .iter()
            .any(|word| known.contains(&word.as_str()))
}

/// Proposals for all roles but those that simply run always.
pub(super) fn proposals(services: &BTreeMap<String, Service>) -> Proposals {
    let mut found = Proposals::default();
    for (name, service) in services {
        if let Some(Proposal { run, why }) = first_sight(service, services) {
            found.insert(name, run, why);
        }
    }
    settle(&mut found, services);
    found
}

fn first_sight(service: &Service, all: &BTreeMap<String, Service>) -> Option<Proposal> {
    let name = service.name.as_str();
    let dependants: Vec<&Service> = all
        .values()
        .filter(|other| other.depends_on.contains_key(name))
        .collect();
    let propose = |run, why| Some(Proposal { run, why });
    let lends = all
        .values()
        .any(|other| other.volumes_from.contains(&service.name));
    if lends && service.ports.is_empty() && dependants.is_empty() && does_nothing(service) {
        return propose(Run::Never, "a container only for its volumes");
    }
    if is_proxy(service, all) {
        return propose(
            Run::Never,
            "the file's own reverse proxy: flipside's pointer is that",
        );
    }
    let awaited = dependants.iter().any(|other| {
        other
            .depends_on
            .get(name)
            .is_some_and(|c| c == "service_completed_successfully")
    });
    if awaited {
        return propose(Run::Once, "others wait for it to complete");
    }
    let ends = matches!(service.restart.as_deref(), None | Some("no"))
        || service
            .restart
            .as_deref()
            .is_some_and(|restart| restart.starts_with("on-failure"));
    if ends && has(name, MIGRATIONS) && service.ports.is_empty() && !is_data(service) {
        return propose(
            Run::Once,
            "it ends, and its name says that it prepares something",
        );
    }
    if is_data(service) {
        return propose(
            Run::Shared,
            "a known data image: its data outlives releases",
        );
    }
    let on_data = service
        .depends_on
        .keys()
        .filter_map(|other| all.get(other))
        .any(is_data);
    let serves_files = dependants.iter().any(|other| shares_files(service, other));
    if !dependants.is_empty()
        && !on_data
        && !serves_files
        && !service.is_built
        && service.volumes().next().is_some()
        && service
            .ports
            .iter()
            .all(|port| !matches!(port.host, Some(80 | 443)))
        && !looks_like_the_way_in(service)
    {
        return propose(
            Run::Shared,
            "others depend on it, and it keeps data in a volume",
        );
    }
    let udp_alone = !service.ports.is_empty() && service.ports.iter().all(|port| port.is_udp);
    if (service.wants_the_host() || udp_alone) && all.len() > 1 && !looks_like_the_way_in(service) {
        return propose(
            Run::Shared,
            "it needs what two releases side by side cannot both have",
        );
    }
    if has(name, TIMED) || has(&service.image_name(), TIMED) || is_timed(&service.command) {
        return propose(
            Run::LiveOnly,
            "it does things at their times, which two would do twice",
        );
    }
    if has(name, WORKERS) && service.ports.is_empty() {
        return propose(
            Run::LiveOnly,
            "it works by itself, which only the live release's should",
        );
    }
    let template = has(name, TEMPLATES) && service.ports.is_empty() && dependants.is_empty();
    if template && all.len() > 1 && shares_its_image(service, all) {
        return propose(Run::Never, "a template that other roles are made from");
    }
    None
}

/// Whether a container is there only to be: it runs nothing that goes on.
fn does_nothing(service: &Service) -> bool {
    let first = service.command.split_whitespace().next().unwrap_or("");
    let command = first.rsplit('/').next().unwrap_or(first);
    let idle = matches!(command, "true" | "echo" | "sleep" | "tail");
    idle || service.command.is_empty()
        && matches!(service.image_name().as_str(), "busybox" | "alpine")
}

fn is_timed(command: &str) -> bool {
    let words = words(command);
    words.iter().any(|word| word == "beat" || word == "crond") || command.contains("schedule:work")
}

fn shares_its_image(service: &Service, all: &BTreeMap<String, Service>) -> bool {
    let same = |other: &&Service| other.name != service.name && other.image == service.image;
    all.values().any(|other| same(&other))
}

/// Whether a person would open it in a browser.
fn looks_like_the_way_in(service: &Service) -> bool {
    const WAYS_IN: &[&str] = &["app", "front", "frontend", "web", "www", "server", "ui"];
    has(&service.name, WAYS_IN) && !service.ports.is_empty()
}

pub(super) fn is_data(service: &Service) -> bool {
    let image = service.image_name();
    let words = words(&image);
    let known = DATA.contains(&image.as_str())
        || words.iter().any(|word| {
            let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
            DATA.contains(&word.as_str()) || DATA.contains(&bare)
        });
    let organisation = service.image.as_deref().unwrap_or("");
    let mssql = organisation.contains("mssql");
    let tool = words.iter().any(|word| TOOLS.contains(&word.as_str()));
    let by_image = (known || mssql) && !service.is_built;
    (by_image || keeps_a_database(service)) && !tool
}

/// Whether what it mounts is where a database keeps its data, whatever it is built from.
fn keeps_a_database(service: &Service) -> bool {
    let known = |target: &str| {
        let target = target.trim_end_matches('/');
        DATA_DIRECTORIES
            .iter()
            .any(|known| target == *known || target.starts_with(&format!("{known}/")))
    };
    service
        .mounts
        .iter()
        .any(|mount| !mount.is_read_only && known(&mount.target))
}

/// Whether both mount one volume: then they are two sides of one application.
fn shares_files(one: &Service, other: &Service) -> bool {
    one.volumes()
        .any(|volume| other.volumes().any(|theirs| theirs == volume))
}

/// A reverse proxy of the file's own: a proxy's image, or a web server that others are behind. One
/// that speaks FastCGI to what is behind it is part of the application.
fn is_proxy(service: &Service, all: &BTreeMap<String, Service>) -> bool {
    if all.len() < 2 {
        return false;
    }
    let image = service.image_name();
    if PROXIES.contains(&image.as_str()) {
        return true;
    }
    if !WEB_SERVERS.contains(&image.as_str()) || service.is_built {
        return false;
    }
    let behind: Vec<_> = service
        .depends_on
        .keys()
        .filter_map(|name| all.get(name))
        .filter(|other| !is_data(other))
        .collect();
    let speaks_fastcgi = |other: &&Service| {
        let image = other.image.as_deref().unwrap_or("");
        image.contains("fpm") || other.command.contains("fpm")
    };
    let is_way_in = service.ports.iter().any(|port| !port.is_udp);
    is_way_in
        && !behind.is_empty()
        && !all.values().any(|other| speaks_fastcgi(&other))
        && !behind.iter().any(|other| shares_files(service, other))
}

/// Takes back what could not stand beside what others need.
fn settle(found: &mut Proposals, services: &BTreeMap<String, Service>) {
    // Each turn settles a role for good; more turns than there are pairs would go in circles.
    for _ in 0..=services.len() * services.len() {
        let mut changed = false;
        for (name, service) in services {
            let own = found.run(name);
            for other in service
                .depends_on
                .keys()
                .filter(|other| services.contains_key(*other))
            {
                let theirs = found.run(other);
                // What runs before the switch cannot wait for what runs after it.
                if theirs == Run::LiveOnly && !matches!(own, Run::LiveOnly | Run::Never) {
                    found.0.remove(other);
                    changed = true;
                }
                // What outlives releases cannot depend on a part of one.
                if own == Run::Shared && matches!(theirs, Run::Always | Run::LiveOnly) {
                    if is_data(service) || !services[other].is_built {
                        found.insert(other, Run::Shared, "a shared role depends on it");
                    } else {
                        found.0.remove(name);
                    }
                    changed = true;
                    break;
                }
            }
        }
        if !changed {
            break;
        }
    }
    // Something that users reach must be left to release.
    let mut left = services
        .values()
        .filter(|service| found.run(&service.name) == Run::Always);
    if !left.any(Service::is_reachable) {
        let candidates = services.values().filter(|service| !is_data(service));
        let way_in = candidates
            .filter(|service| service.is_reachable())
            .find(|service| matches!(found.run(&service.name), Run::Shared | Run::LiveOnly));
        if let Some(service) = way_in {
            found.0.remove(&service.name);
        }
    }
}
