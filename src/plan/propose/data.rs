//! What becomes of what roles write: volumes by name, and paths that are bound.

use std::collections::BTreeSet;

use super::super::bind::is_beside;
use super::super::files::is_below;
use super::Known;
use super::facts::{self, Expand, Mounted, Service, get};
use super::images::locks_its_data;
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

/// Last parts of where an image's own files are mounted over by themselves, to keep them.
const OF_THE_IMAGE: &[&str] = &[".next", ".venv", "dist", "vendor"];

/// Whether a volume without a name, mounted there, holds nothing anybody would miss.
fn is_fleeting(target: &str) -> bool {
    let last = last_part(target);
    FLEETING.contains(&last) || OF_THE_IMAGE.contains(&last)
}

/// A decision for each volume of the top level that a role mounts.
pub(super) fn volumes(known: &Known<'_>, expand: &mut Expand<'_>) -> Vec<VolumeLine> {
    let services = known.services;
    let run = |name: &str| known.proposals.run(name);
    let declared = get(known.root, "volumes");
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
        if users.is_empty() || own.is_some_and(|own| facts::is_external(own, expand)) {
            continue;
        }
        let mut mounts = users.iter().flat_map(|user| &user.mounts);
        let invented =
            mounts.find(|mount| mount.is_named_here && mount.source.as_deref() == Some(&*name));
        let engine_name = match says("name") || invented.is_some() {
            true => String::new(),
            false => {
                let project = known.project.unwrap_or(known.service);
                format!(", name: {project}_{name}")
            }
        };
        let of_release = users.iter().filter(|user| run(&user.name) != Run::Shared);
        let writers: Vec<&str> = of_release
            .filter(|user| user.writes_to(&name))
            .map(|user| user.name.as_str())
            .collect();
        let driver = own.and_then(|own| get(own, "driver"));
        let driver = driver.and_then(|node| facts::text(node, expand));
        if says("driver_opts") || driver.is_some_and(|driver| driver != "local") {
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
        let fleeting = match invented {
            Some(mount) => is_fleeting(&mount.target),
            None => FLEETING.contains(&name.as_str()),
        };
        if fleeting && !writers.is_empty() && writers.len() == users.len() && !says("name") {
            found.push(VolumeLine {
                name,
                value: "{keep: per-release}".to_owned(),
                why: match invented {
                    Some(_) => "its place says that nobody misses what is in it".to_owned(),
                    None => "its name says that nobody misses what is in it".to_owned(),
                },
            });
            continue;
        }
        let of_release: Vec<String> = writers.iter().map(|name| format!("`{name}`")).collect();
        let released = users.iter().any(|user| run(&user.name) != Run::Shared);
        let why = match (of_release.as_slice(), released) {
            ([], false) if invented.is_some() => {
                "of what outlives releases; it had no name, so that its data has to be copied"
                    .to_owned()
            }
            ([], false) => {
                "of what outlives releases; the name is Compose's, so that its data is found"
                    .to_owned()
            }
            ([], true) if invented.is_some() => {
                "read by releases; it had no name, so that its data has to be copied".to_owned()
            }
            ([], true) => "read by releases, and written elsewhere".to_owned(),
            (writers, _) => format!(
                "{} may write to it{}{}",
                crate::core::words::list(writers),
                both_have_it(&users, known),
                match invented {
                    Some(_) => "; it had no name, so that its data has to be copied",
                    None => "",
                }
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

/// What it means for what is open that blue and green both stand for a while.
fn both_have_it(users: &[&Service], known: &Known<'_>) -> String {
    let of_release = users
        .iter()
        .filter(|user| known.proposals.run(&user.name) != Run::Shared);
    if of_release.clone().next().is_none() {
        return String::new();
    }
    let open = "two releases have it open while both stand";
    match of_release.clone().find(|user| locks_its_data(user)) {
        None => format!("; {open}"),
        Some(user) => format!(
            "; {open}, and `{}` SEEMS TO KEEP A DATABASE IN IT, which then breaks",
            user.name
        ),
    }
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
pub(super) fn paths(known: &Known<'_>) -> Paths {
    let mut found = Paths::default();
    let mut seen = BTreeSet::new();
    let run = |service: &Service| known.proposals.run(&service.name);
    let services = || {
        let services = known.services.values();
        services.filter(move |service| run(service) != Run::Never)
    };
    for service in services() {
        for mount in service.mounts.iter().filter(|mount| mount.is_bind) {
            let Some(source) = &mount.source else {
                continue;
            };
            if mount.has_socket() && service.loses_the_socket(run(service)) {
                continue;
            }
            let beside = is_beside(known.directory, source);
            let is_the_hosts = mount.is_at_home || source.starts_with('/') && !beside;
            let is_decided = is_the_hosts
                || (beside || source.starts_with('.'))
                    && (!mount.is_read_only || is_written(source));
            if !is_decided || !seen.insert(source.clone()) {
                continue;
            }
            let users: Vec<&Service> = services()
                .filter(|other| binds(other, source, |_| true))
                .collect();
            let writers: Vec<&Service> = users
                .iter()
                .copied()
                .filter(|other| binds(other, source, |mount| !mount.is_read_only))
                .collect();
            let (names, verb) = named(&users);
            let target = &mount.target;
            if is_the_hosts {
                found.shared.push(PathLine {
                    path: mount.written.clone(),
                    why: format!("{names} {verb} it at {target}; every release shares it"),
                });
                continue;
            }
            let is_only_read = writers.iter().all(|writer| {
                let mut mounts = writer.mounts.iter();
                mounts.all(|mount| {
                    mount.source.as_ref() != Some(source) || is_read(source, &mount.target)
                })
            });
            let (lines, why) = match is_only_read {
                _ if writers.is_empty() => (
                    &mut found.shared,
                    format!(
                        "{names} {verb} it at {target} to read, and its name says that another writes to it"
                    ),
                ),
                true => (
                    &mut found.copied,
                    format!("{names} {verb} it at {target}, and seems only to read it"),
                ),
                false => (
                    &mut found.shared,
                    match is_the_source(source) {
                        false => format!(
                            "{names} {verb} it at {target}: it stays on this machine, for every release{}",
                            both_have_it(&writers, known)
                        ),
                        true => format!(
                            "{names} {verb} the source itself at {target}: blue and green run on the same files. If the image has them, drop the mount: `services: {{{}: {{volumes: !override [...]}}}}`",
                            service.name
                        ),
                    },
                ),
            };
            let project = known.directory.display().to_string();
            let below = source.strip_prefix(&project).filter(|_| beside);
            lines.push(PathLine {
                path: below.map_or_else(|| mount.written.clone(), |rest| format!(".{rest}")),
                why,
            });
        }
    }
    found
}

fn binds(service: &Service, source: &str, is_so: impl Fn(&Mounted) -> bool) -> bool {
    let mut mounts = service.mounts.iter().filter(|mount| mount.is_bind);
    mounts.any(|mount| mount.source.as_deref() == Some(source) && is_so(mount))
}

/// Roles, and the verb that goes with them.
fn named(services: &[&Service]) -> (String, &'static str) {
    let names: Vec<String> = services
        .iter()
        .map(|service| format!("`{}`", service.name))
        .collect();
    let verb = if names.len() == 1 { "has" } else { "have" };
    (crate::core::words::list(&names), verb)
}

/// Files that look like settings and are written to: Traefik keeps its certificates in one.
const WRITTEN: &[&str] = &["acme.json"];

fn last_part(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a path is known to be data by its name, also where a role only reads it.
fn is_written(source: &str) -> bool {
    WRITTEN.contains(&last_part(source))
}

/// Whether a path holds the Compose file, and so most likely the source of what is built beside it.
fn is_the_source(source: &str) -> bool {
    source
        .split('/')
        .all(|part| matches!(part, "" | "." | ".."))
}

/// Whether a path that a role may write to looks like settings, which are read, and not like data.
/// What may be either (`.json`, `.txt`) is data: a copy of data loses what is written to it.
fn is_read(source: &str, target: &str) -> bool {
    const ENDINGS: &[&str] = &[
        ".cfg",
        ".cnf",
        ".conf",
        ".crt",
        ".env",
        ".ini",
        ".key",
        ".pem",
        ".properties",
        ".sh",
        ".sql",
        ".template",
        ".toml",
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
    const READ_AT: &[&str] = &[
        "/etc/alertmanager",
        "/etc/caddy",
        "/etc/haproxy",
        "/etc/loki",
        "/etc/nginx",
        "/etc/odoo",
        "/etc/otel",
        "/etc/otelcol",
        "/etc/prometheus",
        "/etc/sentry",
        "/etc/traefik",
    ];
    let last = last_part(source);
    if is_written(source) {
        return false;
    }
    READ_AT.iter().any(|known| is_below(target, known))
        || ENDINGS.iter().any(|ending| last.ends_with(ending))
        || SETTINGS
            .iter()
            .any(|word| source.contains(word) || target.contains(word))
        || last.starts_with("Caddyfile")
}
