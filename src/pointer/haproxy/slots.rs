//! What a routing means for the servers of a backend: those of both slots, and those that stood there
//! before flipside came.
//!
//! Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::PointerError;
use super::table::{Admin, Server};
use crate::core::names::Slot;
use crate::core::routing::{FOREIGN, Route, Routing};

/// How a server shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    weight: u32,
    admin: Admin,
}

impl Wanted {
    fn serves(&self) -> bool {
        self.admin == Admin::Ready && self.weight > 0
    }

    fn is_shown(&self) -> bool {
        self.admin == Admin::Ready && self.weight == 0
    }
}

/// How `desired` wants the servers that it says something of: those of a release in its slot, in the
/// order of their numbers, or those that stood there before flipside came, as they were.
///
/// # Errors
/// Where a slot has fewer servers than the release has replicas, or nothing is on record of what
/// stood there.
fn wanted(
    backend: &str,
    servers: &[Server],
    desired: &Routing,
) -> Result<Vec<Wanted>, PointerError> {
    let (mut all, mut stood) = (Vec::new(), Vec::new());
    let shown = |route: &&Route| desired.preview == Some(route.release);
    let routes = desired.routes.iter();
    for route in routes.filter(|route| route.weight > 0 || shown(route)) {
        if route.release == FOREIGN {
            let foreign = desired.foreign.clone().unwrap_or_default();
            stood = serde_json::from_value(foreign).map_err(|error| PointerError::Failed {
                what: format!("what the servers of `{backend}` were is not on record: {error}"),
                hint: None,
            })?;
            continue;
        }
        let of_slot = servers
            .iter()
            .filter(|server| server.slot().is_some_and(|(slot, _)| slot == route.slot));
        let (there, slot) = (of_slot.clone().count(), route.slot);
        let replicas = route.endpoints.len();
        if replicas > there {
            return Err(PointerError::Failed {
                what: format!(
                    "the backend `{backend}` has {there} servers `{slot}1` and on, and the release \
                     has {replicas} replicas"
                ),
                hint: Some(format!("make room: {}", lines(replicas))),
            });
        }
        let weight = share(route, desired);
        all.extend(
            of_slot
                .zip(&route.endpoints)
                .map(|(server, endpoint)| Wanted {
                    name: server.name.clone(),
                    address: Some(*endpoint),
                    weight,
                    admin: Admin::Ready,
                }),
        );
    }
    let told: Vec<_> = all.iter().map(|it: &Wanted| it.name.clone()).collect();
    stood.retain(|it: &Wanted| !told.contains(&it.name));
    all.extend(stood);
    Ok(all)
}

/// The lines of a backend with room for so many replicas. Only servers with a name get their
/// addresses back from a state file; the name is looked up nowhere.
pub(super) fn lines(replicas: usize) -> String {
    let of = |slot: Slot| {
        format!(
            "`server-template {slot} 1-{replicas} unset.invalid:1 init-addr last,127.0.0.1 disabled`"
        )
    };
    format!("{} and {}", of(Slot::Blue), of(Slot::Green))
}

/// The commands that make `desired` true: what shall serve is ready before the rest drains.
///
/// # Errors
/// Where a slot has fewer servers than the release has replicas, or nothing is on record of what
/// stood there before flipside came.
pub(super) fn commands(
    backend: &str,
    servers: &[Server],
    desired: &Routing,
) -> Result<Vec<String>, PointerError> {
    let wanted = wanted(backend, servers, desired)?;
    let (mut ready, mut rest) = (Vec::new(), Vec::new());
    for server in servers {
        let name = format!("{backend}/{}", server.name);
        let Some(wanted) = wanted.iter().find(|wanted| wanted.name == server.name) else {
            match server.admin {
                // What was only shown is shown no more: nothing is waited for.
                Admin::Ready if server.is_shown() => {
                    rest.push(format!("set server {name} state maint"));
                }
                Admin::Ready => rest.push(format!("set server {name} state drain")),
                Admin::Drain | Admin::Maint => {}
            }
            continue;
        };
        if let Some(address) = wanted.address.filter(|_| wanted.address != server.address) {
            let (ip, port) = (address.ip(), address.port());
            ready.push(format!("set server {name} addr {ip} port {port}"));
        }
        if wanted.weight != server.weight {
            let weight = wanted.weight;
            ready.push(format!("set server {name} weight {weight}"));
        }
        if wanted.admin != server.admin {
            let list = match wanted.serves() {
                true => &mut ready,
                false => &mut rest,
            };
            list.push(format!("set server {name} state {}", wanted.admin.word()));
        }
    }
    ready.extend(rest);
    Ok(ready)
}

/// A route's weight per server, of 256 for all that a slot may have.
fn share(route: &Route, desired: &Routing) -> u32 {
    let all: u32 = desired.routes.iter().map(|route| route.weight).sum();
    let replicas = u32::try_from(route.endpoints.len())
        .unwrap_or(u32::MAX)
        .max(1);
    match route.weight == all && all > 0 {
        true => 100,
        // Slots may have different numbers of servers: what counts is what a slot has in all.
        // It is shown, and gets no share.
        false if route.weight == 0 => 0,
        false => (256 * route.weight / all.max(1) / replicas).clamp(1, 256),
    }
}

/// Whether HAProxy sends new requests as `routing` wants it, and nowhere else, and shows what it
/// wants to be shown.
pub(super) fn is_so(servers: &[Server], routing: &Routing) -> bool {
    let Ok(wanted) = wanted("", servers, routing) else {
        return false;
    };
    // What stood there before flipside came may be at weight 0 in no slot: that shows nothing.
    let slots: Vec<_> = servers.iter().filter(|it| it.slot().is_some()).collect();
    let shown = |wanted: &Wanted| {
        let is_its = |server: &&&Server| server.name == wanted.name;
        wanted.is_shown() && slots.iter().any(|server| is_its(&server))
    };
    let wanted = wanted.into_iter().filter(|it| it.serves() || shown(it));
    let wanted: BTreeMap<_, _> = wanted
        .map(|server| (server.name, (server.address, server.weight)))
        .collect();
    let serving = servers.iter().filter(|it| it.serves() || it.is_shown());
    let found: BTreeMap<_, _> = serving
        .map(|server| (server.name.clone(), (server.address, server.weight)))
        .collect();
    wanted == found
}

/// What is found where no record fits: routes of nobody's release, one for each slot and one for
/// what is in none.
pub(super) fn routes(servers: &[Server]) -> Vec<Route> {
    let of = |slot: Option<Slot>| {
        let serving = servers.iter().filter(|server| server.serves());
        let of_it = serving.filter(|server| server.slot().map(|(slot, _)| slot) == slot);
        let endpoints: Vec<_> = of_it.clone().filter_map(|server| server.address).collect();
        let weight = of_it.map(|server| server.weight).max()?;
        Some(Route {
            release: FOREIGN,
            slot: slot.unwrap_or(Slot::Blue),
            weight,
            endpoints,
        })
    };
    [None, Some(Slot::Blue), Some(Slot::Green)]
        .into_iter()
        .filter_map(of)
        .collect()
}

/// What serves where nothing is on record; none where nothing does.
pub(super) fn foreign(servers: &[Server]) -> Option<Routing> {
    let routes = routes(servers);
    let all: Vec<_> = servers
        .iter()
        .map(|server| Wanted {
            name: server.name.clone(),
            address: server.address,
            weight: server.weight,
            admin: server.admin,
        })
        .collect();
    let foreign = serde_json::to_value(all).ok()?;
    (!routes.is_empty()).then(|| Routing::foreign(routes, foreign))
}
