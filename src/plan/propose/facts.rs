//! What the services of Compose files say, as far as it bears on a decision. Read leniently: what is
//! wrong with a file is the reader's to say.

use std::collections::BTreeMap;

use super::super::again::at_home;
use super::super::bind::reaches_engine;
use super::super::limits::runs_to_its_end;
use super::super::merge::colon_separated;
use super::super::ports::range;
use super::super::tmpfs::unknown_option;
use super::super::tree::{Node, Value};
use super::super::typed::is_true;
use crate::core::plan::Run;

/// A service, with its variables substituted where they have a value.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub name: String,
    /// As written, `None` where it is built.
    pub image: Option<String>,
    pub is_built: bool,
    /// Whether a variable is in its image's name or tag.
    pub image_varies: bool,
    /// Where it is built.
    pub build: Build,
    /// The image that it is built on.
    pub base: Option<String>,
    /// What its Dockerfile exposes.
    pub built_to_expose: Vec<u16>,
    /// The command's words, and the entrypoint's.
    pub command: String,
    pub restart: Option<String>,
    /// Whether a Swarm runs it to its end (`deploy.mode`).
    pub is_swarm_job: bool,
    /// Role → condition.
    pub depends_on: BTreeMap<String, String>,
    pub ports: Vec<Published>,
    /// `expose`.
    pub exposed: Vec<u16>,
    pub mounts: Vec<Mounted>,
    /// What it mounts in memory by the long form of `volumes`, in the short one of `tmpfs`.
    pub tmpfs: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// The words of a health check that is not disabled.
    pub healthcheck: Option<String>,
    pub is_checked: bool,
    /// Whether the health check holds what only variables say.
    pub checks_with_variables: bool,
    /// Whether it mounts something that cannot be written again in a short form.
    pub mounts_oddly: bool,
    /// Keys that are written on it, with what stands there where that is one value.
    pub keys: BTreeMap<String, Option<String>>,
    pub networks: Vec<String>,
    pub profiles: Vec<String>,
    /// `links`: other services.
    pub links: Vec<String>,
    /// `volumes_from`: other services, without their modes.
    pub volumes_from: Vec<String>,
    /// Those of `volumes_from` that are only read.
    pub reads_from: Vec<String>,
}

/// What is said of a build, as far as it leads to a Dockerfile.
#[derive(Debug, Default)]
pub(super) struct Build {
    pub context: Option<String>,
    pub dockerfile: Option<String>,
    pub inline: Option<String>,
    pub target: Option<String>,
}

/// Keys that a deployment tool puts into mounts, to make what is mounted.
const FOREIGN: &[&str] = &["content", "isDirectory", "is_directory"];

/// A port.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// The host's address, in brackets where it is one of IPv6.
    pub address: Option<String>,
    pub host: Option<u16>,
    pub target: u16,
    pub is_udp: bool,
}

/// Something that is mounted.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounted {
    /// `None` where it has no name.
    pub source: Option<String>,
    pub target: String,
    /// The target as it is written, variables and all.
    pub written_target: String,
    pub is_read_only: bool,
    pub is_bind: bool,
    /// The source as it is written, variables and all.
    pub written: String,
    /// The whole of it in the short form, likewise.
    pub short: String,
    /// Keys of its long form that only other tools know.
    pub foreign: Vec<String>,
    /// Whether the files give it no name, and the plan does.
    pub is_named_here: bool,
    /// Whether the plan has to say it, since the files do not say it of this role.
    pub is_added: bool,
    /// Whether the files have it in a home directory (`~`), and the plan by a variable.
    pub is_at_home: bool,
}

impl Mounted {
    /// Whether the engine's socket is in it.
    pub(super) fn has_socket(&self) -> bool {
        let source = self.source.as_deref().filter(|_| self.is_bind);
        source.is_some_and(|source| reaches_engine(source, &self.target))
    }
}

/// An image's name without registry, organisation and tag.
pub(super) fn bare_image(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split([':', '@']).next().unwrap_or(last);
    name.to_ascii_lowercase()
}

impl Service {
    /// The image's name without registry, organisation and tag.
    pub(super) fn image_name(&self) -> String {
        bare_image(self.image.as_deref().unwrap_or(""))
    }

    /// Volumes of the top level that it mounts.
    pub(super) fn volumes(&self) -> impl Iterator<Item = &str> {
        let named = self.mounts.iter().filter(|mount| !mount.is_bind);
        named.filter_map(|mount| mount.source.as_deref())
    }

    /// Whether it may write to a volume of the top level.
    pub(super) fn writes_to(&self, volume: &str) -> bool {
        let of_volume =
            |mount: &&Mounted| !mount.is_bind && mount.source.as_deref() == Some(volume);
        self.mounts
            .iter()
            .filter(of_volume)
            .any(|mount| !mount.is_read_only)
    }

    /// Whether it publishes a port that a pointer can move.
    pub(super) fn is_reachable(&self) -> bool {
        self.ports.iter().any(|port| !port.is_udp)
    }

    /// Whether it asks for something that two releases side by side cannot have.
    pub(super) fn wants_the_host(&self) -> bool {
        self.wants_more_than_the_socket() || self.has_socket()
    }

    /// As [`Self::wants_the_host`], the engine's socket aside.
    pub(super) fn wants_more_than_the_socket(&self) -> bool {
        let says = |key: &str, value: &str| {
            self.keys
                .get(key)
                .is_some_and(|said| said.as_deref() == Some(value))
        };
        let privileged = self.keys.get("privileged");
        let privileged = privileged.and_then(|said| said.as_deref());
        privileged.is_some_and(is_true)
            || self.keys.contains_key("devices")
            || says("network_mode", "host")
            || says("pid", "host")
            || says("ipc", "host")
    }

    /// Whether a plan takes the engine's socket from it: a role of a release may not have it.
    pub(super) fn loses_the_socket(&self, run: Run) -> bool {
        matches!(run, Run::Always | Run::LiveOnly) && self.has_socket()
    }

    /// Whether it has the engine's socket.
    pub(super) fn has_socket(&self) -> bool {
        self.mounts.iter().any(Mounted::has_socket)
    }
}

/// Gives a text with its variables, as far as they have a value.
pub(super) type Expand<'e> = dyn FnMut(&str) -> String + 'e;

/// All services of a merged tree, by name.
pub(super) fn services(root: &Node, expand: &mut Expand<'_>) -> BTreeMap<String, Service> {
    let Some(Value::Map(entries)) = get(root, "services").map(|node| &node.value) else {
        return BTreeMap::new();
    };
    let read = entries.iter().map(|(key, node)| {
        let service = service(&key.text, node, expand);
        (key.text.clone(), service)
    });
    read.collect()
}

/// The value at a key of a map.
pub(super) fn get<'t>(node: &'t Node, key: &str) -> Option<&'t Node> {
    node.get(key).filter(|node| !node.is_null())
}

/// The keys of a map.
pub(super) fn keys(node: Option<&Node>) -> Vec<String> {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn text(node: &Node, expand: &mut Expand<'_>) -> Option<String> {
    node.text().map(expand)
}

/// The texts of a list, or the one text.
fn texts(node: Option<&Node>, expand: &mut Expand<'_>) -> Vec<String> {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => {
            let mut found = Vec::new();
            for item in items {
                found.extend(text(item, expand));
            }
            found
        }
        Some(Value::Scalar { text, .. }) => vec![expand(text)],
        _ => Vec::new(),
    }
}

/// `NAME: value` or `NAME=value`.
fn pairs(node: Option<&Node>, expand: &mut Expand<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            for (key, node) in entries {
                found.insert(key.text.clone(), text(node, expand).unwrap_or_default());
            }
        }
        Some(Value::List(_)) => {
            for item in texts(node, expand) {
                let (key, value) = item.split_once('=').unwrap_or((&item, ""));
                found.insert(key.to_owned(), value.to_owned());
            }
        }
        _ => {}
    }
    found
}

fn service(name: &str, node: &Node, expand: &mut Expand<'_>) -> Service {
    let mut found = Service {
        name: name.to_owned(),
        is_built: get(node, "build").is_some(),
        image_varies: get(node, "image").is_some_and(has_variables),
        build: get(node, "build").map_or_else(Build::default, |node| build(node, expand)),
        environment: pairs(get(node, "environment"), expand),
        labels: pairs(get(node, "labels"), expand),
        ..Service::default()
    };
    let mut one = |key: &str| get(node, key).and_then(|node| text(node, expand));
    found.image = one("image");
    found.restart = one("restart");
    let command = texts(get(node, "command"), expand);
    let entrypoint = texts(get(node, "entrypoint"), expand);
    found.command = [entrypoint, command].concat().join(" ");
    match get(node, "depends_on").map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            for (key, node) in entries {
                let condition = get(node, "condition").and_then(|node| text(node, expand));
                let condition = condition.unwrap_or_default();
                found.depends_on.insert(key.text.clone(), condition);
            }
        }
        Some(Value::List(_)) => {
            for name in texts(get(node, "depends_on"), expand) {
                found.depends_on.insert(name, String::new());
            }
        }
        _ => {}
    }
    for link in texts(get(node, "links"), expand) {
        let to = link.split(':').next().unwrap_or(&link).to_owned();
        found.depends_on.entry(to.clone()).or_default();
        found.links.push(to);
    }
    if let Some(Value::List(items)) = get(node, "ports").map(|node| &node.value) {
        for item in items {
            found.ports.extend(port(item, expand));
        }
    }
    let exposed = texts(get(node, "expose"), expand);
    let exposed = exposed.iter().filter(|text| !text.ends_with("/udp"));
    found.exposed = exposed
        .filter_map(|text| range(text.trim_end_matches("/tcp")))
        .map(|range| *range.start())
        .collect();
    if let Some(Value::List(items)) = get(node, "volumes").map(|node| &node.value) {
        for item in items {
            found.mounts_oddly |= is_odd(item);
            found.tmpfs.extend(tmpfs(item));
            found.mounts.extend(mount(item, expand));
        }
    }
    if let Some(check) = get(node, "healthcheck") {
        let words = texts(get(check, "test"), expand);
        let disabled = get(check, "disable").and_then(|node| text(node, expand));
        let disabled = disabled.as_deref().is_some_and(is_true);
        found.is_checked = !words.is_empty() && words[0] != "NONE" && !disabled;
        found.healthcheck = found.is_checked.then(|| words.join(" "));
        found.checks_with_variables = get(check, "test").is_some_and(has_variables);
    }
    let deploy = get(node, "deploy");
    found.labels.extend(pairs(
        deploy.and_then(|deploy| get(deploy, "labels")),
        expand,
    ));
    let mode = deploy.and_then(|deploy| get(deploy, "mode"));
    let mode = mode.and_then(|node| text(node, expand));
    found.is_swarm_job = mode.as_deref().is_some_and(runs_to_its_end);
    found.networks = match get(node, "networks").map(|node| &node.value) {
        Some(Value::List(_)) => texts(get(node, "networks"), expand),
        _ => keys(get(node, "networks")),
    };
    found.profiles = texts(get(node, "profiles"), expand);
    let others = texts(get(node, "volumes_from"), expand);
    let name_of = |text: &String| text.split(':').next().unwrap_or(text).to_owned();
    found.volumes_from = others.iter().map(name_of).collect();
    let only_read = others.iter().filter(|text| text.ends_with(":ro"));
    found.reads_from = only_read.map(name_of).collect();
    if let Value::Map(entries) = &node.value {
        for (key, node) in entries {
            let value = text(node, expand);
            found.keys.insert(key.text.clone(), value);
        }
    }
    found
}

fn build(node: &Node, expand: &mut Expand<'_>) -> Build {
    let mut one = |key: &str| get(node, key).and_then(|node| text(node, expand));
    let (dockerfile, inline) = (one("dockerfile"), one("dockerfile_inline"));
    let (target, context) = (one("target"), one("context"));
    Build {
        context: context.or_else(|| text(node, expand)),
        dockerfile,
        inline,
        target,
    }
}

/// Whether any of it is a variable that has no default, or one that a value of today would replace.
fn has_variables(node: &Node) -> bool {
    let mut found = false;
    node.each(&mut |node| {
        if let Value::Scalar { text, .. } = &node.value {
            found |= text.replace("$$", "").contains('$');
        }
    });
    found
}

/// Whether the short form says less than what is written.
fn is_odd(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => !entries.iter().all(|(key, value)| match key.text.as_str() {
            "type" | "source" | "target" | "read_only" | "consistency" => true,
            "bind" => keys(Some(value))
                .iter()
                .all(|key| key == "create_host_path"),
            "volume" => keys(Some(value)).is_empty(),
            "tmpfs" => {
                let short = tmpfs(node).unwrap_or_default();
                let options = short.split_once(':').map_or("", |(_, options)| options);
                let known = |key: &String| key == "size" || key == "mode";
                keys(Some(value)).iter().all(known) && unknown_option(options).is_none()
            }
            key => FOREIGN.contains(&key),
        }),
        Value::Scalar { .. } => false,
        _ => true,
    }
}

/// `type: tmpfs` in the short form of the key `tmpfs`, as it is written.
fn tmpfs(node: &Node) -> Option<String> {
    let as_written = |node: &Node, key: &str| get(node, key)?.text().map(str::to_owned);
    if as_written(node, "type").as_deref() != Some("tmpfs") {
        return None;
    }
    let options = get(node, "tmpfs");
    let option = |key: &str| Some(format!("{key}={}", as_written(options?, key)?));
    let options: Vec<_> = ["size", "mode"].into_iter().filter_map(option).collect();
    let target = as_written(node, "target")?;
    Some(match options.is_empty() {
        true => target,
        false => format!("{target}:{}", options.join(",")),
    })
}

fn port(node: &Node, expand: &mut Expand<'_>) -> Option<Published> {
    if let Value::Map(_) = &node.value {
        let mut one = |key: &str| get(node, key).and_then(|node| text(node, expand));
        let target = range(&one("target")?)?;
        let host = one("published").and_then(|text| range(&text));
        return Some(Published {
            address: one("host_ip").map(|ip| match ip.contains(':') && !ip.starts_with('[') {
                true => format!("[{ip}]"),
                false => ip,
            }),
            host: host.map(|range| *range.start()),
            target: *target.start(),
            is_udp: one("protocol").as_deref() == Some("udp"),
        });
    }
    let text = text(node, expand)?;
    let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let parts = colon_separated(ports);
    let target = range(parts.last()?)?;
    let host = parts.len().checked_sub(2).and_then(|at| range(parts[at]));
    let address = match parts.len() {
        0..=2 => None,
        more => Some(parts[..more - 2].join(":")),
    };
    Some(Published {
        address: address.filter(|address| !matches!(address.as_str(), "" | "0.0.0.0" | "[::]")),
        host: host.map(|range| *range.start()),
        target: *target.start(),
        is_udp: protocol == "udp",
    })
}

/// Whether a key of a map says yes.
pub(super) fn says_yes(map: &Node, key: &str, expand: &mut Expand<'_>) -> bool {
    let said = get(map, key).and_then(|node| text(node, expand));
    said.as_deref().is_some_and(is_true)
}

/// Whether a volume or a network is there already: `external: true`, or `external: {name: NAME}`.
pub(super) fn is_external(declared: &Node, expand: &mut Expand<'_>) -> bool {
    let named = get(declared, "external").is_some_and(|it| matches!(it.value, Value::Map(_)));
    named || says_yes(declared, "external", expand)
}

fn mount(node: &Node, expand: &mut Expand<'_>) -> Option<Mounted> {
    let as_written = |node: &Node| node.text().unwrap_or("").to_owned();
    if let Value::Map(_) = &node.value {
        let written = |key: &str| get(node, key).map(as_written);
        let mut one = |key: &str| get(node, key).and_then(|node| text(node, expand));
        let kind = one("type")?;
        if kind == "tmpfs" {
            return None;
        }
        let is_read_only = one("read_only").as_deref().is_some_and(is_true);
        // In the short form a path without a dot would be a volume's name.
        let as_said = written("source").unwrap_or_default();
        let at_home = at_home(&as_said);
        let is_at_home = kind == "bind" && at_home != as_said;
        let source = written("source").map(|source| match kind.as_str() {
            _ if is_at_home => at_home.clone(),
            "bind" if !source.starts_with(['.', '/', '~', '$']) => format!("./{source}"),
            _ => source,
        });
        let parts = [
            source,
            written("target"),
            is_read_only.then(|| "ro".to_owned()),
        ];
        return Some(Mounted {
            source: match is_at_home {
                true => Some(expand(&at_home)),
                false => one("source"),
            },
            target: get(node, "target").and_then(|node| text(node, expand))?,
            written_target: written("target").unwrap_or_default(),
            is_read_only,
            is_bind: kind == "bind",
            written: if is_at_home { at_home } else { as_said },
            is_at_home,
            is_added: is_at_home,
            short: parts.into_iter().flatten().collect::<Vec<_>>().join(":"),
            foreign: keys(Some(node))
                .into_iter()
                .filter(|key| FOREIGN.contains(&key.as_str()))
                .collect(),
            ..Mounted::default()
        });
    }
    let short = at_home(node.text()?);
    let is_at_home = node.text() != Some(short.as_str());
    let text = expand(&short);
    let parts = colon_separated(&text);
    let (source, target, modes) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, modes] => (Some(*source), *target, *modes),
        _ => return None,
    };
    let as_written = colon_separated(&short);
    let written = as_written[0].to_owned();
    let written_target = as_written
        .get(1)
        .unwrap_or(&as_written[0])
        .trim_end_matches('/');
    Some(Mounted {
        source: source.map(str::to_owned),
        target: target.to_owned(),
        written_target: written_target.to_owned(),
        is_read_only: modes.split(',').any(|mode| mode == "ro"),
        is_bind: is_at_home || source.is_some_and(|source| source.starts_with(['.', '/', '~'])),
        written,
        short,
        is_at_home,
        is_added: is_at_home,
        ..Mounted::default()
    })
}
