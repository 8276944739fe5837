//! What the plan must say of a role or a network besides what the Compose files say.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{self, Service};
use super::roles::Proposal;
use super::text::{always_quoted, quoted};
use super::{Line, Section};
use crate::core::plan::Run;
use crate::plan::tree::Node;

/// Keys that other tools put into Compose files.
const FOREIGN: &[&str] = &["exclude_from_hc"];

/// The line of one role, where it needs any.
pub(super) fn role(
    service: &Service,
    services: &BTreeMap<String, Service>,
    proposals: &BTreeMap<String, Proposal>,
    root: &Node,
    beside: bool,
    expand: &mut facts::Expand<'_>,
) -> Option<Line> {
    let run_of = |name: &str| {
        proposals
            .get(name)
            .map_or(Run::Always, |proposal| proposal.run)
    };
    let run = run_of(&service.name);
    let mut parts: Vec<String> = Vec::new();
    let mut whys: Vec<String> = Vec::new();
    if let Some(proposal) = proposals.get(&service.name) {
        parts.push(format!("run: {}", proposal.run.as_str()));
        whys.push(proposal.why.to_owned());
    }
    if run == Run::Never {
        return Some(line_of(service, parts, &whys));
    }
    let mode = service.keys.get("network_mode");
    if run == Run::Always && mode.is_some_and(|mode| mode.as_deref() == Some("host")) {
        parts.push("network_mode: !reset null".to_owned());
        whys.push("blue and green cannot both have the host's ports".to_owned());
    }
    if let Some((again, why)) = mounts_again(service, run, beside) {
        parts.extend(again);
        whys.push(why);
    }
    if run != Run::Shared {
        let udp = service.ports.iter().any(|port| port.is_udp);
        let taken = service
            .ports
            .iter()
            .any(|port| matches!(port.host, Some(80 | 443)));
        let targets: BTreeSet<u16> = service
            .ports
            .iter()
            .filter(|port| !port.is_udp)
            .map(|port| port.target)
            .collect();
        if udp || taken {
            let listed: Vec<_> = targets.iter().map(|port| format!("\"{port}\"")).collect();
            parts.push(match targets.is_empty() {
                true => "ports: !reset null".to_owned(),
                false => format!("ports: !override [{}]", listed.join(", ")),
            });
            whys.push(match (udp, taken) {
                (true, false) => {
                    "the pointer moves no UDP: what comes there is not served".to_owned()
                }
                (true, true) => "the pointer listens on 80 and 443, and moves no UDP".to_owned(),
                _ => "the pointer listens there now".to_owned(),
            });
        }
    }
    let gone: Vec<&String> = service
        .depends_on
        .keys()
        .filter(|other| {
            !services.contains_key(*other)
                || run_of(other) == Run::Never
                || run == Run::Shared && run_of(other) == Run::Once
        })
        .collect();
    if !gone.is_empty() && service.keys.contains_key("depends_on") {
        let listed: Vec<_> = gone
            .iter()
            .map(|other| format!("{}: !reset null", quoted(other)))
            .collect();
        parts.push(format!("depends_on: {{{}}}", listed.join(", ")));
        let names: Vec<_> = gone.iter().map(|name| format!("`{name}`")).collect();
        let one = gone.len() == 1;
        whys.push(format!(
            "{} {} no part of what it may wait for",
            names.join(", "),
            if one { "is" } else { "are" }
        ));
    }
    if service.links.iter().any(|other| gone.contains(&other)) {
        parts.push("links: !reset null".to_owned());
        whys.push("it links to what is not there".to_owned());
    }
    if run == Run::Once
        && matches!(
            service.restart.as_deref(),
            Some("always" | "unless-stopped")
        )
    {
        parts.push("restart: !reset null".to_owned());
        whys.push("a job is started once".to_owned());
    }
    if run != Run::Shared && service.keys.contains_key("hostname") {
        let networks = facts::get(root, "networks");
        let mut is_external = |name: &String| {
            let network = networks.and_then(|all| facts::get(all, name));
            let external = network.and_then(|network| facts::get(network, "external"));
            external
                .and_then(|node| facts::text(node, expand))
                .as_deref()
                == Some("true")
        };
        if service.networks.iter().any(&mut is_external) {
            parts.push("hostname: !reset null".to_owned());
            whys.push("on an external network that name would lead to every release".to_owned());
        }
    }
    for key in FOREIGN
        .iter()
        .filter(|key| service.keys.contains_key(**key))
    {
        parts.push(format!("{key}: !reset null"));
        whys.push(format!("`{key}` is another tool's"));
    }
    (!parts.is_empty()).then(|| line_of(service, parts, &whys))
}

/// The mounts of a role once more, where some of them cannot stay as they are: those of another
/// container (`volumes_from`), those that only another tool understands, and the engine's socket in a
/// role of a release.
fn mounts_again(service: &Service, run: Run, beside: bool) -> Option<(Vec<String>, String)> {
    let mut whys = Vec::new();
    let mut parts = Vec::new();
    let mut mounts = service.mounts.clone();
    if !service.volumes_from.is_empty() {
        parts.push("volumes_from: !reset null".to_owned());
        let names = service.volumes_from.join("`, `");
        whys.push(format!(
            "in place of the volumes of `{names}`, whose data has to be copied"
        ));
    }
    if mounts.iter().any(|mount| !mount.foreign.is_empty()) {
        whys.push("another tool makes what is mounted: see that it is there".to_owned());
    }
    let is_socket = |mount: &facts::Mounted| {
        let source = mount.source.as_deref().unwrap_or("");
        source.ends_with("/docker.sock")
    };
    if run == Run::Always && service.has_socket() {
        mounts.retain(|mount| !is_socket(mount));
        whys.push("without the engine's socket, which could change every release".to_owned());
    }
    // Relative paths would begin at the plan's directory, and some mounts say more than is read here.
    let relative = mounts.iter().any(|mount| {
        mount
            .source
            .as_deref()
            .is_some_and(|source| source.starts_with('.'))
    });
    if whys.is_empty() || service.mounts_oddly || relative && !beside {
        return None;
    }
    let listed: Vec<_> = mounts
        .iter()
        .map(|mount| always_quoted(&mount.short))
        .collect();
    parts.push(match listed.is_empty() {
        true => "volumes: !reset null".to_owned(),
        false => format!("volumes: !override [{}]", listed.join(", ")),
    });
    Some((parts, whys.join("; ")))
}

fn line_of(service: &Service, parts: Vec<String>, whys: &[String]) -> Line {
    let text = format!("{}: {{{}}}", quoted(&service.name), parts.join(", "));
    Line::new(Section::Services, text, whys.join("; "))
}

pub(super) fn networks(root: &Node, expand: &mut facts::Expand<'_>) -> Vec<Line> {
    let declared = facts::get(root, "networks");
    let mut found = Vec::new();
    for name in facts::keys(declared) {
        let Some(network) = declared.and_then(|all| facts::get(all, &name)) else {
            continue;
        };
        let mut says =
            |key: &str| facts::get(network, key).and_then(|node| facts::text(node, expand));
        let mut parts = Vec::new();
        let mut whys = Vec::new();
        if says("internal").as_deref() == Some("true") {
            parts.push("internal: !reset null");
            whys.push("an environment has one network, and what is in it may call out");
        }
        if says("driver").is_some_and(|driver| driver != "bridge") && says("external").is_none() {
            parts.push("driver: !reset null");
            whys.push("an environment's network is a bridge");
        }
        if !parts.is_empty() {
            let text = format!("{}: {{{}}}", quoted(&name), parts.join(", "));
            found.push(Line::new(Section::Networks, text, whys.join("; ")));
        }
    }
    found
}
