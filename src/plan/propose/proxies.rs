//! Which role is a reverse proxy that flipside's pointer replaces, and which web server is a part of
//! the application: one that speaks FastCGI to it, or that serves files of its own.

use std::collections::BTreeMap;

use super::facts::{Mounted, Service, bare_image};
use super::images::{is_data, is_looked_into};
use super::roles::works;
use super::words::{has, words};

/// Reverse proxies, by the last part of their images' names.
const PROXIES: &[&str] = &[
    "acme-companion",
    "caddy",
    "caddy-docker-proxy",
    "docker-gen",
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

/// Where web servers have the files that they serve.
const WEB_ROOTS: &[&str] = &[
    "/srv",
    "/usr/local/apache2/htdocs",
    "/usr/share/caddy",
    "/usr/share/nginx",
    "/var/www",
];

/// Directories that two roles may have in common and that hold no application.
const NO_FILES: &[&str] = &["/etc/", "/run/", "/tmp/", "/var/log/", "/var/run/"];

/// Words of a mount that is for certificates.
const CERTIFICATES: &[&str] = &[
    "acme",
    "cert",
    "certbot",
    "certs",
    "challenge",
    "challenges",
    "letsencrypt",
    "ssl",
    "tls",
    "well",
];

/// A reverse proxy of the file's own: a proxy's image, or a web server that others are behind.
pub(super) fn is_proxy(service: &Service, all: &BTreeMap<String, Service>) -> bool {
    if all.len() < 2 {
        return false;
    }
    let image = service.image_name();
    let speaks_fastcgi = || all.values().any(speaks_fastcgi);
    let splits = || !service.has_socket() && behind(service, all).count() > 1;
    if PROXIES.contains(&image.as_str()) {
        let is_server = image == "caddy" && (serves_files(service) || speaks_fastcgi());
        return !is_server && !splits();
    }
    if service.is_built {
        // What is built on a web server or on Caddy may have the application's pages in it.
        let base = service.base.as_deref().map(bare_image);
        let known = |name: &str| name != "caddy" && PROXIES.contains(&name);
        return known(&service.name) || base.as_deref().is_some_and(known);
    }
    if !WEB_SERVERS.contains(&image.as_str()) {
        return false;
    }
    let depends = service.depends_on.keys().filter_map(|name| all.get(name));
    let on: Vec<_> = depends.filter(|other| !is_data(other)).collect();
    service.is_reachable()
        && !on.is_empty()
        && !serves_files(service)
        && !on
            .iter()
            .any(|other| shares_files(service, other) || service.volumes_from.contains(&other.name))
        && !speaks_fastcgi()
        && !splits()
}

/// The roles that a proxy depends on and that may answer what it is asked: where there are several,
/// it chooses among them, which a pointer does not.
fn behind<'a>(
    service: &'a Service,
    all: &'a BTreeMap<String, Service>,
) -> impl Iterator<Item = &'a Service> {
    let depends = service.depends_on.keys().filter_map(|name| all.get(name));
    depends.filter(|other| !is_data(other) && !works(other) && !is_looked_into(other))
}

/// Whether a web server has files of its own to serve.
fn serves_files(service: &Service) -> bool {
    service.mounts.iter().any(|mount| {
        let target = format!("{}/", mount.target.trim_end_matches('/'));
        let is_root = WEB_ROOTS
            .iter()
            .any(|root| target.starts_with(&format!("{root}/")));
        is_root && !is_for_certificates(mount)
    })
}

fn is_for_certificates(mount: &Mounted) -> bool {
    let source = mount.source.as_deref().unwrap_or("");
    has(source, CERTIFICATES) || has(&mount.target, CERTIFICATES)
}

/// Whether both mount one volume or directory: then they are two sides of one application.
pub(super) fn shares_files(one: &Service, other: &Service) -> bool {
    let volumes = one
        .volumes()
        .any(|volume| other.volumes().any(|theirs| theirs == volume));
    let directories = |service: &Service| -> Vec<String> {
        let bound = service.mounts.iter().filter(|mount| mount.is_bind);
        let files = bound.filter(|mount| holds_files(mount));
        files
            .filter_map(|mount| mount.source.as_deref())
            .map(|source| source.trim_end_matches('/').to_owned())
            .collect()
    };
    let theirs = directories(other);
    volumes || directories(one).iter().any(|own| theirs.contains(own))
}

fn holds_files(mount: &Mounted) -> bool {
    let last = mount.target.rsplit('/').next().unwrap_or("");
    !last.contains('.')
        && !NO_FILES.iter().any(|known| mount.target.starts_with(known))
        && !is_for_certificates(mount)
}

/// Whether a role speaks FastCGI or uwsgi's protocol in place of HTTP.
pub(super) fn speaks_fastcgi(service: &Service) -> bool {
    const HTTP: &[&str] = &["apache", "frankenphp", "octane", "roadrunner", "swoole"];
    let image = service.image.as_deref().unwrap_or("");
    let base = service.base.as_deref().unwrap_or("");
    let command = service.command.as_str();
    if [image, base, command]
        .iter()
        .any(|text| text.contains("fpm"))
    {
        return true;
    }
    if words(command).iter().any(|word| word == "uwsgi") && !command.contains("--http") {
        return true;
    }
    let is_php = |name: &str| {
        words(name).iter().any(|word| {
            let version = word.strip_prefix("php");
            version.is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_digit()))
        })
    };
    let served = |port: u16| matches!(port, 80 | 443 | 3000 | 8000 | 8080);
    let mut ports = service.ports.iter().map(|port| port.target);
    let mut exposed = service.exposed.iter().chain(&service.built_to_expose);
    let speaks_http = ports.any(served)
        || exposed.any(|port| served(*port))
        || [image, base].iter().any(|image| has(image, HTTP))
        || command.contains("artisan serve")
        || has(command, HTTP)
        || command.contains("-S ");
    let is_source = service
        .mounts
        .iter()
        .any(|mount| mount.target.starts_with("/var/www"));
    let on_9000 = service.exposed.contains(&9000) && is_source;
    (is_php(&service.name) || is_php(&service.image_name()) || on_9000) && !speaks_http
}
