//! Which role and port users reach, and how it could be proved fit, as far as a file gives it away.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Service;
use super::images::is_looked_into;
use super::roles::Proposals;
use super::words::has;
use crate::core::plan::Run;

/// A role and its port, and how that is known.
#[derive(Debug, Clone)]
pub(super) struct WayIn {
    pub role: String,
    pub port: u16,
    pub why: String,
}

/// Ports that web servers and well-known applications listen on where nothing says so.
const KNOWN: &[(&str, u16)] = &[
    ("apache", 80),
    ("caddy", 80),
    ("forgejo", 3000),
    ("ghost", 2368),
    ("gitea", 3000),
    ("grafana", 3000),
    ("httpd", 80),
    ("n8n", 5678),
    ("nextcloud", 80),
    ("nginx", 80),
    ("phpmyadmin", 80),
    ("plausible", 8000),
    ("uptime", 3001),
    ("wordpress", 80),
];

/// Names that a role has which users reach.
const NAMES: &[&str] = &[
    "proxy",
    "nginx",
    "gateway",
    "web",
    "webserver",
    "www",
    "site",
    "app",
    "frontend",
    "front",
    "ui",
    "server",
    "webapp",
    "rails",
    "django",
    "flask",
    "api",
    "backend",
];

/// The role and port that most looks like it, among those that run always; and all others that could
/// be meant.
pub(super) fn way_in(
    services: &BTreeMap<String, Service>,
    proposals: &Proposals,
    project: Option<&str>,
) -> (Option<WayIn>, Vec<WayIn>) {
    let mut found: Vec<(u32, WayIn)> = Vec::new();
    let candidates = || {
        let all = services.values();
        all.filter(|service| proposals.run(&service.name) == Run::Always)
    };
    let needed: BTreeSet<&String> = candidates()
        .flat_map(|service| service.depends_on.keys())
        .collect();
    // What the file's own proxy stands before is what users reach.
    let fronted: BTreeSet<&String> = services
        .values()
        .filter(|service| proposals.run(&service.name) == Run::Never && service.is_reachable())
        .flat_map(|service| service.depends_on.keys())
        .collect();
    for service in candidates() {
        let mut seen: Vec<u16> = Vec::new();
        for (weight, port, why) in ports(service) {
            if seen.contains(&port) {
                continue;
            }
            seen.push(port);
            let name = name_weight(service, project);
            // What others depend on is behind them.
            let behind = if needed.contains(&service.name) { 0 } else { 5 };
            let front = if fronted.contains(&service.name) {
                15
            } else {
                0
            };
            let looked_into = if is_looked_into(service) { 30 } else { 0 };
            let way = WayIn {
                role: service.name.clone(),
                port,
                why,
            };
            let weight = (weight + name + behind + front).saturating_sub(looked_into);
            found.push((weight, way));
        }
    }
    if found.is_empty() {
        found.extend(guess(services, proposals, project));
    }
    // Of the same weight, the first in the alphabet: the sort is stable.
    found.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut ways = found.into_iter().map(|(_, way)| way);
    (ways.next(), ways.collect())
}

/// Where nothing in the file names a port: the role that is most likely, and a port to be replaced.
/// One that serves UDP is none of HTTP's.
fn guess(
    services: &BTreeMap<String, Service>,
    proposals: &Proposals,
    project: Option<&str>,
) -> Option<(u32, WayIn)> {
    let candidates = services.values().filter(|service| {
        proposals.run(&service.name) == Run::Always && !service.ports.iter().any(|port| port.is_udp)
    });
    let role = candidates.max_by_key(|service| name_weight(service, project))?;
    let way = WayIn {
        role: role.name.clone(),
        port: 8080,
        why: "A GUESS, since nothing in the file names a port: write the one it listens on"
            .to_owned(),
    };
    Some((0, way))
}

fn name_weight(service: &Service, project: Option<&str>) -> u32 {
    let name = service.name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(['-', '_', '.']).collect();
    let at = NAMES.iter().position(|known| words.contains(known));
    let known = at.map_or(0, |at| 10 - (at as u32) / 4);
    known
        + if project == Some(name.as_str()) {
            10
        } else {
            0
        }
}

/// Whether a role has a name that one has which users reach.
pub(super) fn is_named_like_one(service: &Service) -> bool {
    has(&service.name, NAMES)
}

/// Whether a person would open it in a browser, by its name.
pub(super) fn is_named_like_a_page(service: &Service) -> bool {
    const PAGES: &[&str] = &["app", "front", "frontend", "web", "www", "server", "ui"];
    has(&service.name, PAGES)
}

/// Ports of protocols other than HTTP.
const NO_HTTP: &[u16] = &[
    21, 22, 25, 53, 110, 143, 465, 587, 993, 995, 1025, 1143, 1883, 2222, 3306, 3389, 4317, 5432,
    5672, 6379, 8883, 9229, 11211, 27017,
];

/// Ports that releases publish today and that no pointer leads to then, as `api:4000`.
pub(super) fn unserved(
    way: &WayIn,
    services: &BTreeMap<String, Service>,
    proposals: &Proposals,
) -> Vec<String> {
    let of_release = services
        .values()
        .filter(|service| matches!(proposals.run(&service.name), Run::Always | Run::LiveOnly));
    let published = of_release.flat_map(|service| {
        let targets: BTreeSet<u16> = service
            .ports
            .iter()
            // Those have a word of their own.
            .filter(|port| !port.is_udp && port.host != Some(443))
            .map(|port| port.target)
            .collect();
        targets
            .into_iter()
            .map(|target| (service.name.as_str(), target))
    });
    published
        .filter(|(role, port)| (*role, *port) != (way.role.as_str(), way.port))
        .map(|(role, port)| format!("{role}:{port}"))
        .collect()
}

/// Whether something in the file tells of a port that it listens on.
pub(super) fn names_a_port(service: &Service) -> bool {
    is_told_of(service) || !named_ports(service).is_empty()
}

/// Whether what usually listens at a port speaks another protocol than HTTP.
pub(super) fn speaks_no_http(port: u16) -> bool {
    NO_HTTP.contains(&port)
}

/// Whether labels or variables tell another proxy to send users to a role.
pub(super) fn is_told_of(service: &Service) -> bool {
    let mut labels = service.labels.keys();
    service.environment.contains_key("VIRTUAL_HOST")
        || labels.any(|key| {
            key.starts_with("traefik.http.routers.") || key.ends_with(".loadbalancer.server.port")
        })
}

/// Whether a role seems to speak TLS at a port.
pub(super) fn speaks_tls(service: &Service, port: u16) -> bool {
    let mut published = service.ports.iter().filter(|own| own.target == port);
    port == 443 || port == 8443 && published.any(|port| port.host == Some(443))
}

/// The ports that something in the file names, with how much that says.
fn ports(service: &Service) -> Vec<(u32, u16, String)> {
    let mut found = named_ports(service);
    let labels = service.labels.keys();
    let mut routers = labels.filter(|key| key.starts_with("traefik.http.routers."));
    // Another proxy is told to send users there.
    let told = match service.environment.contains_key("VIRTUAL_HOST") {
        true => Some("VIRTUAL_HOST"),
        false => routers.next().map(String::as_str),
    };
    if let Some(told) = told {
        if found.is_empty() {
            found.push((20, 80, format!("its `{told}`, and no other port")));
        }
        for (weight, ..) in &mut found {
            *weight += 30;
        }
    }
    for (weight, port, _) in &mut found {
        if speaks_no_http(*port) {
            *weight = weight.saturating_sub(35);
        }
    }
    found.sort_by_key(|(weight, ..)| std::cmp::Reverse(*weight));
    found
}

fn named_ports(service: &Service) -> Vec<(u32, u16, String)> {
    let mut found = Vec::new();
    for (at, port) in service.ports.iter().filter(|port| !port.is_udp).enumerate() {
        let first = if at == 0 { 3 } else { 0 };
        let well_known = match port.host {
            Some(80 | 443) => 12,
            Some(8080 | 8000 | 3000 | 5000) => 4,
            _ => 0,
        };
        let tls = if speaks_tls(service, port.target) {
            25
        } else {
            0
        };
        let weight: u32 = 40 + first + well_known - tls;
        let why = match port.host {
            Some(host) => format!("published as {host}"),
            None => "published".to_owned(),
        };
        found.push((weight, port.target, why));
    }
    for (key, value) in &service.labels {
        if key.ends_with(".loadbalancer.server.port")
            && let Ok(port) = value.parse()
        {
            found.push((38, port, format!("its label `{key}` says so")));
        }
    }
    for (key, value) in &service.environment {
        let from_name = key
            .strip_prefix("SERVICE_FQDN_")
            .or_else(|| key.strip_prefix("SERVICE_URL_"))
            .and_then(|rest| rest.rsplit('_').next()?.parse::<u16>().ok());
        if let Some(port) = from_name {
            found.push((36, port, format!("its variable `{key}` says so")));
        } else if let (
            "VIRTUAL_PORT" | "PORT" | "HTTP_PORT" | "SERVER_PORT" | "APP_PORT",
            Ok(port),
        ) = (key.as_str(), value.parse())
        {
            let weight = if key == "VIRTUAL_PORT" { 45 } else { 30 };
            found.push((weight, port, format!("its variable `{key}` says so")));
        }
    }
    for port in &service.exposed {
        found.push((28, *port, "it exposes it".to_owned()));
    }
    for port in &service.built_to_expose {
        found.push((26, *port, "its Dockerfile exposes it".to_owned()));
    }
    if let Some(port) = service
        .healthcheck
        .as_deref()
        .and_then(checked)
        .map(|(port, _)| port)
    {
        found.push((24, port, "its health check asks there".to_owned()));
    }
    let image = service.image_name();
    let words: Vec<&str> = image.split(['-', '_', '.']).collect();
    if let Some((_, port)) = KNOWN.iter().find(|(known, _)| words.contains(known)) {
        found.push((
            20,
            *port,
            format!("`{image}` listens there unless told otherwise"),
        ));
    }
    found
}

/// The port that a health check asks of its own container, and the path where it asks by a URL.
pub(super) fn checked(words: &str) -> Option<(u16, Option<String>)> {
    for host in ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"] {
        let tcp = format!("/dev/tcp/{host}/");
        if let Some(at) = words.find(&tcp) {
            let rest = &words[at + tcp.len()..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            return Some((rest[..digits].parse().ok()?, None));
        }
        let Some(at) = words.find(&format!("http://{host}")) else {
            continue;
        };
        let rest = &words[at + "http://".len() + host.len()..];
        let (port, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                (rest[..digits].parse().ok()?, &rest[digits..])
            }
            None => (80, rest),
        };
        let end = rest
            .find(|c: char| c.is_whitespace() || "'\"|;)&>`$".contains(c))
            .unwrap_or(rest.len());
        let path = match &rest[..end] {
            "" => "/",
            path if path.starts_with('/') => path,
            _ => "/",
        };
        return Some((port, Some(path.to_owned())));
    }
    None
}
