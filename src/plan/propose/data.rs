//! What becomes of what roles write: volumes by name, and paths that are bound.

use std::collections::{BTreeMap, BTreeSet};

use super::super::tree::Node;
use super::facts::{self, Expand, Service, get};
use crate::core::plan::Run;

/// A line under `volumes`.
#[derive(Debug, Clone)]
pub(super) struct VolumeLine {
    pub name: String,
    pub value: String,
    pub why: String,
}

/// Names of volumes that hold nothing anybody would miss.
const FLEETING: &[&str] = &[
    "cache",
    "node_modules",
    "run",
    "socket",
    "sockets",
    "tmp",
    "temp",
];

/// A decision for each volume of the top level that a role mounts.
pub(super) fn volumes(
    root: &Node,
    services: &BTreeMap<String, Service>,
    run: &dyn Fn(&str) -> Run,
    (service, project): (&str, Option<&str>),
    expand: &mut Expand<'_>,
) -> Vec<VolumeLine> {
    let declared = get(root, "volumes");
    let mut found = Vec::new();
    let mut names = facts::keys(declared);
    let used = services.values().flat_map(Service::volumes);
    for name in used {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    for name in names {
        let own = declared.and_then(|all| get(all, &name));
        let users: Vec<&Service> = services
            .values()
            .filter(|service| run(&service.name) != Run::Never)
            .filter(|service| service.volumes().any(|volume| volume == name))
            .collect();
        let told = own.map(|own| facts::keys(Some(own))).unwrap_or_default();
        let says = |key: &str| told.iter().any(|told| told == key);
        let external = own
            .and_then(|own| get(own, "external"))
            .and_then(|node| facts::text(node, expand));
        if users.is_empty() || external.as_deref() == Some("true") {
            continue;
        }
        let engine_name = match says("name") {
            true => String::new(),
            false => {
                let project = project.unwrap_or(service);
                format!(", name: {project}_{name}")
            }
        };
        let of_release = users.iter().filter(|user| run(&user.name) != Run::Shared);
        let writers: Vec<&str> = of_release
            .filter(|user| user.writes_to(&name))
            .map(|user| user.name.as_str())
            .collect();
        if says("driver_opts") || says("driver") {
            let mut value = format!("{{external: true{engine_name}");
            for key in ["driver", "driver_opts"] {
                if says(key) {
                    value.push_str(&format!(", {key}: !reset null"));
                }
            }
            value.push('}');
            let why =
                "Compose made it with options of its own; make it yourself where it is not there";
            found.push(VolumeLine {
                name,
                value,
                why: why.to_owned(),
            });
            continue;
        }
        let fleeting = FLEETING.contains(&name.as_str());
        if fleeting && !writers.is_empty() && writers.len() == users.len() && !says("name") {
            found.push(VolumeLine {
                name,
                value: "{keep: per-release}".to_owned(),
                why: "its name says that nobody misses what is in it".to_owned(),
            });
            continue;
        }
        let of_release: Vec<String> = writers.iter().map(|name| format!("`{name}`")).collect();
        let released = users.iter().any(|user| run(&user.name) != Run::Shared);
        let why = match (of_release.as_slice(), released) {
            ([], false) => {
                "of what outlives releases; the name is Compose's, so that its data is found"
                    .to_owned()
            }
            ([], true) => "read by releases, and written elsewhere".to_owned(),
            (writers, _) => format!(
                "{} may write to it; two releases have it open while both stand",
                crate::core::words::list(writers)
            ),
        };
        found.push(VolumeLine {
            name,
            value: format!("{{keep: across-releases{engine_name}}}"),
            why,
        });
    }
    found
}

/// A path that roles bind.
#[derive(Debug, Clone)]
pub(super) struct PathLine {
    pub path: String,
    pub why: String,
}

/// What the paths that are bound become.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub shared: Vec<PathLine>,
    pub copied: Vec<PathLine>,
}

/// A decision for each path that a role binds and may write to, and for each of the host's.
pub(super) fn paths(services: &BTreeMap<String, Service>, run: &dyn Fn(&str) -> Run) -> Paths {
    let mut found = Paths::default();
    let mut seen = BTreeSet::new();
    for service in services
        .values()
        .filter(|service| run(&service.name) != Run::Never)
    {
        for mount in service.mounts.iter().filter(|mount| mount.is_bind) {
            let Some(source) = &mount.source else {
                continue;
            };
            if source.ends_with("/docker.sock") && run(&service.name) == Run::Always {
                continue;
            }
            let name = &service.name;
            if source.starts_with('/') {
                if seen.insert(source.clone()) {
                    found.shared.push(PathLine {
                        path: mount.written.clone(),
                        why: format!(
                            "`{name}` has it at {}; every release shares it",
                            mount.target
                        ),
                    });
                }
            } else if source.starts_with('.') && !mount.is_read_only && seen.insert(source.clone())
            {
                let read = is_read(source, &mount.target);
                let (lines, why) = match read {
                    true => (
                        &mut found.copied,
                        format!(
                            "`{name}` has it at {}, and seems only to read it",
                            mount.target
                        ),
                    ),
                    false => (
                        &mut found.shared,
                        format!(
                            "`{name}` writes to it at {}: it stays on this machine, for every release",
                            mount.target
                        ),
                    ),
                };
                lines.push(PathLine {
                    path: mount.written.clone(),
                    why,
                });
            }
        }
    }
    found
}

/// Whether a path looks like settings, which are read, and not like data, which is written.
fn is_read(source: &str, target: &str) -> bool {
    const ENDINGS: &[&str] = &[
        ".cfg",
        ".cnf",
        ".conf",
        ".crt",
        ".css",
        ".env",
        ".html",
        ".ini",
        ".js",
        ".json",
        ".key",
        ".pem",
        ".php",
        ".properties",
        ".sh",
        ".sql",
        ".template",
        ".toml",
        ".txt",
        ".xml",
        ".yaml",
        ".yml",
    ];
    const SETTINGS: &[&str] = &[
        "docker-entrypoint-initdb.d",
        "provisioning",
        "conf.d",
        "initdb",
        "init-scripts",
    ];
    let last = source
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(source);
    ENDINGS.iter().any(|ending| last.ends_with(ending))
        || SETTINGS
            .iter()
            .any(|word| source.contains(word) || target.contains(word))
        || last.starts_with("Caddyfile")
}
