//! What proposals must leave to each other: nothing that outlives releases may lean on a part of one,
//! and something that users reach must be left to release.

use std::collections::BTreeMap;

use super::facts::Service;
use super::images::{gets_certificates, is_data};
use super::roles::{Proposals, Sights};
use super::way_in::is_told_of;
use crate::core::plan::Run;

/// Settles what first sight has found.
pub(super) fn settle(found: &mut Proposals, sights: &Sights<'_>) {
    share_what_is_needed(found, sights);
    share_with_their_networks(found, sights);
    leave_a_way_in(found, sights.all);
    if proxies(found, sights.all).next().is_some() {
        let certifiers = sights.all.values();
        for service in certifiers.filter(|service| gets_certificates(service)) {
            let why = "it gets certificates for the file's own proxy: let it run with what ends TLS before flipside's pointer";
            found.insert(&service.name, Run::Never, why);
        }
    }
}

/// What shared roles depend on is shared, unless it belongs to the application: then a data image goes
/// without, and another role is none that outlives releases. Each role changes twice at most.
fn share_what_is_needed(found: &mut Proposals, sights: &Sights<'_>) {
    let names = sights.all.keys();
    let mut left: Vec<&str> = names
        .map(String::as_str)
        .filter(|name| found.run(name) == Run::Shared)
        .collect();
    while let Some(name) = left.pop() {
        let service = &sights.all[name];
        if found.run(name) != Run::Shared {
            continue;
        }
        for other in service.depends_on.keys() {
            let Some(needed) = sights.all.get(other) else {
                continue;
            };
            if found.run(other) != Run::Always {
                continue;
            }
            if !sights.is_application(needed) && !found.is_open(other) {
                found.insert(other, Run::Shared, "a shared role depends on it");
                left.push(other);
            } else if !is_data(service) {
                let why =
                    "it seems to outlive releases; yet it depends on a part of the application";
                found.leave_open(name, Run::Shared, why);
                let dependants = sights.dependants(name);
                left.extend(dependants.iter().map(|service| service.name.as_str()));
                break;
            }
        }
    }
}

/// What uses the network of a shared role is shared with it: no release can.
fn share_with_their_networks(found: &mut Proposals, sights: &Sights<'_>) {
    for (name, service) in sights.all {
        let mode = service.keys.get("network_mode").and_then(Option::as_deref);
        let other = mode.and_then(|mode| mode.strip_prefix("service:"));
        let is_shared = other.is_some_and(|other| found.run(other) == Run::Shared);
        if is_shared && found.run(name) != Run::Never && !sights.is_application(service) {
            found.insert(name, Run::Shared, "it uses the network of a shared role");
        }
    }
}

/// Takes back what would leave nothing that users reach.
fn leave_a_way_in(found: &mut Proposals, services: &BTreeMap<String, Service>) {
    let behind: Vec<&String> = proxies(found, services)
        .flat_map(|proxy| proxy.depends_on.keys())
        .collect();
    let is_way_in = |service: &&Service| {
        service.is_reachable() || is_told_of(service) || behind.contains(&&service.name)
    };
    let mut left = services.values().filter(is_way_in);
    if left.any(|service| found.run(&service.name) == Run::Always) {
        return;
    }
    let could = |service: &&Service| {
        !is_data(service) && matches!(found.run(&service.name), Run::Shared | Run::LiveOnly)
    };
    let mut published = services.values().filter(|service| service.is_reachable());
    let mut hidden = services.values().filter(is_way_in);
    let way_in = published.find(could).or_else(|| hidden.find(could));
    if let Some(service) = way_in {
        found.take_back(&service.name);
    }
}

/// The file's own proxies, which are left out.
fn proxies<'a>(
    found: &Proposals,
    services: &'a BTreeMap<String, Service>,
) -> impl Iterator<Item = &'a Service> {
    let left_out: Vec<&Service> = services
        .values()
        .filter(|service| found.run(&service.name) == Run::Never)
        .filter(|service| service.is_reachable())
        .collect();
    left_out.into_iter()
}
