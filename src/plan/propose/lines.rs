//! What the plan must say of a role or a network besides what the Compose files say.

use std::collections::BTreeSet;

use super::facts::{self, Service};
use super::text::{always_quoted, quoted};
use super::{Known, Line, Section};
use crate::core::plan::Run;
use crate::plan::tree::Node;

/// Keys that other tools put into Compose files.
const FOREIGN: &[&str] = &["exclude_from_hc"];

/// The line of one role, where it needs any.
pub(super) fn role(
    service: &Service,
    known: &Known<'_>,
    expand: &mut facts::Expand<'_>,
) -> Option<Line> {
    let run_of = |name: &str| known.proposals.run(name);
    let run = run_of(&service.name);
    let mut parts: Vec<String> = Vec::new();
    let mut whys: Vec<String> = Vec::new();
    if let Some(proposal) = known.proposals.get(&service.name) {
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
    if let Some((again, why)) = mounts_again(service, run, known.beside) {
        parts.extend(again);
        whys.push(why);
    }
    if run != Run::Shared
        && let Some((again, why)) = ports_again(service)
    {
        parts.push(again);
        whys.extend(why);
    }
    if let Some((again, why)) = waits_again(service, run, known) {
        parts.extend(again);
        whys.extend(why);
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
        let networks = facts::get(known.root, "networks");
        let mut is_external = |name: &String| {
            let network = networks.and_then(|all| facts::get(all, name));
            network.is_some_and(|network| facts::is_external(network, expand))
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
    if let Some(open) = known.proposals.open(&service.name) {
        let run = format!("run: {}", open.run.as_str());
        if parts.is_empty() {
            let line = line_of(service, vec![run], &[open.why.to_owned()]);
            return Some(line.left_open());
        }
        whys.push(format!("perhaps `{run}` as well: {}", open.why));
    }
    (!parts.is_empty()).then(|| line_of(service, parts, &whys))
}

/// The ports of a role of a release once more, without those of the host that the pointer has, or
/// that nobody serves.
fn ports_again(service: &Service) -> Option<(String, Vec<String>)> {
    let udp = service.ports.iter().any(|port| port.is_udp);
    let publishes = |host| service.ports.iter().any(|port| port.host == Some(host));
    let (plain, tls) = (publishes(80), publishes(443));
    if !(udp || plain || tls) {
        return None;
    }
    let tcp = service.ports.iter().filter(|port| !port.is_udp);
    let targets: BTreeSet<u16> = tcp.map(|port| port.target).collect();
    let listed: Vec<_> = targets.iter().map(|port| format!("\"{port}\"")).collect();
    let again = match targets.is_empty() {
        true => "ports: !reset null".to_owned(),
        false => format!("ports: !override [{}]", listed.join(", ")),
    };
    let mut whys = Vec::new();
    if tls {
        whys.push(
            "nothing serves 443 then: the pointer ends no TLS, so put what does in front of it"
                .to_owned(),
        );
    } else if plain {
        whys.push("80 is left to the pointer".to_owned());
    }
    if udp {
        whys.push("the pointer moves no UDP: what comes there is not served".to_owned());
    }
    Some((again, whys))
}

/// What a role waits for once more, without what is not there when it starts.
fn waits_again(
    service: &Service,
    run: Run,
    known: &Known<'_>,
) -> Option<(Vec<String>, Vec<String>)> {
    let run_of = |name: &str| known.proposals.run(name);
    let written = facts::get(known.root, "services");
    let (mut off, mut never, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for other in service.depends_on.keys() {
        let is_on = known.services.contains_key(other);
        let is_later = run_of(other) == Run::LiveOnly && matches!(run, Run::Always | Run::Once);
        if !is_on && written.is_some_and(|all| all.get(other).is_some()) {
            off.push(other);
        } else if is_later {
            later.push(other);
        } else if !is_on
            || run_of(other) == Run::Never
            || run == Run::Shared && run_of(other) != Run::Shared
        {
            never.push(other);
        }
    }
    let gone: BTreeSet<&String> = [&*off, &*never, &*later].concat().into_iter().collect();
    if gone.is_empty() {
        return None;
    }
    let (mut parts, mut whys) = (Vec::new(), Vec::new());
    if service.keys.contains_key("depends_on") {
        let listed: Vec<_> = gone
            .iter()
            .map(|other| format!("{}: !reset null", quoted(other)))
            .collect();
        parts.push(format!("depends_on: {{{}}}", listed.join(", ")));
        for (names, what) in [
            (&off, "off: the profile is not chosen"),
            (&never, "no part of what it may wait for"),
            (&later, "started only after the switch"),
        ] {
            let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            if !names.is_empty() {
                whys.push(format!("{} {verb} {what}", quoted.join(", ")));
            }
        }
    }
    if service.links.iter().any(|other| gone.contains(other)) {
        parts.push("links: !reset null".to_owned());
        whys.push("it links to what is not there".to_owned());
    }
    Some((parts, whys))
}

/// The mounts of a role once more, where some of them cannot stay as they are: those without a name,
/// those of another container (`volumes_from`), those that only another tool understands, and the
/// engine's socket in a role of a release. What is known by its target is added, the rest is written
/// anew.
fn mounts_again(service: &Service, run: Run, beside: bool) -> Option<(Vec<String>, String)> {
    let mut whys = Vec::new();
    let mut parts = Vec::new();
    let is_named_here = service.mounts.iter().any(|mount| mount.is_named_here);
    if !service.volumes_from.is_empty() {
        parts.push("volumes_from: !reset null".to_owned());
        let names = service.volumes_from.join("`, `");
        whys.push(match is_named_here {
            true => format!("in place of the volumes of `{names}`, whose data has to be copied"),
            false => format!("in place of the volumes of `{names}`"),
        });
    } else if is_named_here {
        whys.push("with a name for its data, by which it can be kept".to_owned());
    }
    if service.mounts.iter().any(|mount| mount.is_at_home) {
        whys.push("`~` is the home of whoever runs this, and `HOME` says which".to_owned());
    }
    // Relative paths would begin at the plan's directory, and some mounts say more than is read here.
    let relative = service.mounts.iter().any(|mount| {
        let source = mount.source.as_deref().unwrap_or("");
        source.starts_with('.')
    });
    let may_drop = !service.mounts_oddly && (beside || !relative);
    let is_foreign = service.mounts.iter().any(|mount| !mount.foreign.is_empty());
    let drops_socket = service.loses_the_socket(run);
    if may_drop && is_foreign {
        whys.push("another tool makes what is mounted: see that it is there".to_owned());
    }
    if may_drop && drops_socket {
        whys.push("without the engine's socket, which could change every release".to_owned());
    }
    if whys.is_empty() {
        return None;
    }
    let anew = may_drop && (is_foreign || drops_socket);
    let listed: Vec<_> = service
        .mounts
        .iter()
        .filter(|mount| match anew {
            true => !(drops_socket && mount.has_socket()),
            false => mount.is_added,
        })
        .map(|mount| always_quoted(&mount.short))
        .collect();
    match (anew, listed.is_empty()) {
        (true, true) => parts.push("volumes: !reset null".to_owned()),
        (true, false) => parts.push(format!("volumes: !override [{}]", listed.join(", "))),
        (false, true) => {}
        (false, false) => parts.push(format!("volumes: [{}]", listed.join(", "))),
    }
    if anew && !service.tmpfs.is_empty() {
        let listed: Vec<_> = service
            .tmpfs
            .iter()
            .map(|text| always_quoted(text))
            .collect();
        parts.push(format!("tmpfs: [{}]", listed.join(", ")));
    }
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
        let mut parts = Vec::new();
        let mut whys = Vec::new();
        if facts::says_yes(network, "internal", expand) {
            parts.push("internal: !reset null");
            whys.push("an environment has one network, and what is in it may call out");
        }
        let mut says =
            |key: &str| facts::get(network, key).and_then(|node| facts::text(node, expand));
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
