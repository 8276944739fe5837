//! What images are known for, by their names and by what they mount.

use super::super::files::is_below;
use super::facts::Service;
use super::tasks::{self, Task};
use super::words::{has, words};

/// Images that hold data, by the last part of their names or a word of it.
const DATA: &[&str] = &[
    "activemq",
    "arangodb",
    "artemis",
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
    "oracle",
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
    "scylla",
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

/// Those of them that are words of other things too.
const AMBIGUOUS: &[&str] = &[
    "artemis",
    "chroma",
    "consul",
    "crate",
    "dragonfly",
    "garage",
    "gel",
    "loki",
    "oracle",
    "vault",
];

/// Where databases keep their data.
const DATA_DIRECTORIES: &[&str] = &[
    "/bitnami/cassandra",
    "/bitnami/clickhouse",
    "/bitnami/elasticsearch",
    "/bitnami/etcd",
    "/bitnami/kafka",
    "/bitnami/mariadb",
    "/bitnami/minio",
    "/bitnami/mongodb",
    "/bitnami/mysql",
    "/bitnami/opensearch",
    "/bitnami/postgresql",
    "/bitnami/rabbitmq",
    "/bitnami/redis",
    "/bitnami/valkey",
    "/bitnami/zookeeper",
    "/cockroach/cockroach-data",
    "/consul/data",
    "/data/db",
    "/etcd-data",
    "/meili_data",
    "/opt/couchdb/data",
    "/opt/oracle/oradata",
    "/prometheus",
    "/qdrant/storage",
    "/usr/share/elasticsearch/data",
    "/usr/share/opensearch/data",
    "/var/lib/arangodb3",
    "/var/lib/cassandra",
    "/var/lib/clickhouse",
    "/var/lib/etcd",
    "/var/lib/influxdb",
    "/var/lib/influxdb2",
    "/var/lib/kafka",
    "/var/lib/mysql",
    "/var/lib/neo4j",
    "/var/lib/postgresql",
    "/var/lib/questdb",
    "/var/lib/rabbitmq",
    "/var/lib/scylla",
    "/var/lib/weaviate",
    "/var/opt/mssql",
    "/vault/data",
    "/vault/file",
    "/victoria-metrics-data",
];

/// Where applications keep a database in one file, which two of them cannot both have.
const ONE_FILE: &[&str] = &["/var/lib/grafana"];

/// Images whose data nobody else may have open, beside those of databases.
const LOCKING: &[&str] = &[
    "gitlab-ce",
    "gitlab-ee",
    "graphite-statsd",
    "jellyfin",
    "mimir",
    "pgadmin4",
    "pihole",
    "portainer-ce",
    "prowlarr",
    "radarr",
    "sonarr",
    "tempo",
    "uptime-kuma",
    "vaultwarden",
    "victoria-metrics",
];

/// Words of an image's name that make it a tool beside such a one.
const TOOLS: &[&str] = &[
    "admin",
    "adminer",
    "api",
    "backup",
    "box",
    "bridge",
    "cli",
    "client",
    "commander",
    "connect",
    "console",
    "consumer",
    "dump",
    "exporter",
    "express",
    "indexer",
    "insight",
    "ksql",
    "ksqldb",
    "maker",
    "mc",
    "mcli",
    "meta",
    "migrate",
    "mirror",
    "operator",
    "producer",
    "proxy",
    "registry",
    "replicator",
    "rest",
    "router",
    "sentinel",
    "studio",
    "ui",
    "web",
    "worker",
];

/// What developers and operators look into an application with, by a word of the image's name or the
/// role's.
const LOOKED_INTO: &[&str] = &[
    "adminer",
    "akhq",
    "alertmanager",
    "cadvisor",
    "cloudbeaver",
    "commander",
    "dozzle",
    "exporter",
    "flower",
    "grafana",
    "jaeger",
    "kafdrop",
    "kafka-ui",
    "localstack",
    "maildev",
    "mailcatcher",
    "mailhog",
    "mailpit",
    "mongo-express",
    "opentelemetry",
    "otel",
    "otelcol",
    "pgadmin",
    "pgadmin4",
    "pgweb",
    "phpmyadmin",
    "portainer",
    "prometheus",
    "redisinsight",
    "smtp4dev",
    "swagger-ui",
    "zipkin",
];

/// What replaces containers by itself.
const REPLACERS: &[&str] = &["ouroboros", "watchtower"];

const CERTIFIERS: &[&str] = &["acme.sh", "certbot", "lego"];

/// Whether a role's data outlives releases, as far as image, mounts and name say.
pub(super) fn is_data(service: &Service) -> bool {
    let keeps = keeps_a_database(service) || is_built_data(service);
    (is_data_image(service) || keeps) && !has(&service.image_name(), TOOLS)
}

/// Whether it watches over servers of data, and keeps none.
pub(super) fn watches_data(service: &Service) -> bool {
    let is_told_to = || {
        let mut words = service.command.split_whitespace();
        words.any(|word| word == "--sentinel" || word.ends_with("redis-sentinel"))
    };
    has(&service.image_name(), &["sentinel"]) || is_data_image(service) && is_told_to()
}

/// Whether its image is a known one that holds data, and it runs no client from it.
pub(super) fn is_data_image(service: &Service) -> bool {
    let image = service.image_name();
    let organisation = service.image.as_deref().unwrap_or("");
    let by_image = (names_data(&image) || organisation.contains("mssql")) && !service.is_built;
    let is_client = matches!(
        tasks::of_command(&service.command),
        Some(Task::Client | Task::Rounds | Task::Timed)
    );
    by_image && !is_client
}

/// Whether an image's name is that of one that holds data. A word that means other things too says
/// nothing among others.
fn names_data(image: &str) -> bool {
    let is_known = |word: &str| {
        let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
        DATA.contains(&word) || DATA.contains(&bare)
    };
    let told = |word: &String| is_known(word) && !AMBIGUOUS.contains(&word.as_str());
    is_known(image) || words(image).iter().any(told)
}

/// Whether a role's name is a database's and says nothing else.
fn is_all_data(name: &str) -> bool {
    const BESIDE: &[&str] = &[
        "db", "main", "master", "node", "primary", "replica", "server",
    ];
    let is_number = |word: &str| word.bytes().all(|c| c.is_ascii_digit());
    names_data(name)
        && !has(name, AMBIGUOUS)
        && words(name)
            .iter()
            .all(|word| names_data(word) || BESIDE.contains(&word.as_str()) || is_number(word))
}

/// Whether it is built and named like a database, or built on one, and keeps something.
fn is_built_data(service: &Service) -> bool {
    let keeps = service.mounts.iter().any(|mount| !mount.is_read_only);
    let has_image = service.image.is_some() && !service.is_built;
    if has_image || !keeps || has(&service.name, tasks::PREPARING) {
        return false;
    }
    let name = service.name.to_ascii_lowercase();
    let by_name = is_all_data(&name);
    let base = service.base.as_deref().map(super::facts::bare_image);
    let by_base = base.is_some_and(|base| names_data(&base) && !has(&base, TOOLS));
    let has_volume = service.volumes().any(|volume| service.writes_to(volume));
    by_name || by_base && has_volume && !has(&name, TOOLS)
}

/// Whether what it mounts is where a database keeps its data, whatever it is built from.
pub(super) fn keeps_a_database(service: &Service) -> bool {
    mounts_one_of(service, DATA_DIRECTORIES)
}

/// Whether it keeps a database in one file, beside what an application may be.
pub(super) fn keeps_one_file(service: &Service) -> bool {
    mounts_one_of(service, ONE_FILE)
}

/// Whether it keeps a database in files that nobody else may have open, as far as that can be told.
pub(super) fn locks_its_data(service: &Service) -> bool {
    let says = |value: &String| value.to_ascii_lowercase().contains("sqlite");
    let writes = service.mounts.iter().any(|mount| !mount.is_read_only);
    let by_image = LOCKING.contains(&service.image_name().as_str());
    keeps_one_file(service)
        || keeps_a_database(service)
        || writes && (by_image || service.environment.values().any(says))
}

fn mounts_one_of(service: &Service, directories: &[&str]) -> bool {
    let written = service.mounts.iter().filter(|mount| !mount.is_read_only);
    written
        .map(|mount| &mount.target)
        .any(|target| directories.iter().any(|known| is_below(target, known)))
}

/// Whether people look into an application with it, and no user comes to it.
pub(super) fn is_looked_into(service: &Service) -> bool {
    has(&service.image_name(), LOOKED_INTO) || has(&service.name, LOOKED_INTO)
}

/// Whether it would replace containers by itself.
pub(super) fn replaces_containers(service: &Service) -> bool {
    has(&service.image_name(), REPLACERS)
}

/// Whether it gets certificates.
pub(super) fn gets_certificates(service: &Service) -> bool {
    CERTIFIERS.contains(&service.image_name().as_str()) || has(&service.name, &["certbot"])
}
