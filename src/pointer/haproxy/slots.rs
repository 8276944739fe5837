//! What a routing means for the servers of both slots.
//!
//! Pure.

use super::super::PointerError;
use super::table::{Admin, Server};
use crate::core::names::{Release, Slot};
use crate::core::routing::{Route, Routing};

/// The commands that make `desired` true: what shall serve is ready before the rest drains.
///
/// # Errors
/// Where a slot has fewer servers than the release has replicas.
pub(super) fn commands(
    backend: &str,
    servers: &[Server],
    desired: &Routing,
) -> Result<Vec<String>, PointerError> {
    let (mut ready, mut rest) = (Vec::new(), Vec::new());
    for slot in [Slot::Blue, Slot::Green] {
        let of_slot = servers.iter().filter(|server| is_of(server, slot));
        let route = desired
            .routes
            .iter()
            .find(|route| route.slot == slot && route.weight > 0);
        let endpoints = route.map_or(&[][..], |route| &route.endpoints);
        let there = of_slot.clone().count();
        if endpoints.len() > there {
            return Err(PointerError::Failed {
                what: format!(
                    "the backend `{backend}` has {there} servers `{slot}1` and on, and the release has {} replicas",
                    endpoints.len()
                ),
                hint: Some(format!(
                    "make room: `server-template {slot} 1-{} 127.0.0.1:1 disabled`",
                    endpoints.len()
                )),
            });
        }
        let weight = route.map_or(0, |route| share(route, desired));
        for (index, server) in of_slot.enumerate() {
            let name = format!("{backend}/{}", server.name);
            let Some(endpoint) = endpoints.get(index) else {
                if server.admin == Admin::Ready {
                    rest.push(format!("set server {name} state drain"));
                }
                continue;
            };
            if server.address != Some(*endpoint) {
                let (ip, port) = (endpoint.ip(), endpoint.port());
                ready.push(format!("set server {name} addr {ip} port {port}"));
            }
            ready.push(format!("set server {name} weight {weight}"));
            if server.admin != Admin::Ready {
                ready.push(format!("set server {name} state ready"));
            }
        }
    }
    ready.extend(rest);
    Ok(ready)
}

fn is_of(server: &Server, of: Slot) -> bool {
    server.slot().is_some_and(|(slot, _)| slot == of)
}

/// A route's weight per server, of 256 for all that a slot may have.
fn share(route: &Route, desired: &Routing) -> u32 {
    let all: u32 = desired.routes.iter().map(|route| route.weight).sum();
    let replicas = u32::try_from(route.endpoints.len())
        .unwrap_or(u32::MAX)
        .max(1);
    match route.weight == all {
        true => 100,
        // Slots may have different numbers of servers: what counts is what a slot has in all.
        false => (256 * route.weight / all.max(1) / replicas).clamp(1, 256),
    }
}

/// Whether HAProxy sends new requests as `routing` wants it, and nowhere else.
pub(super) fn is_so(servers: &[Server], routing: &Routing) -> bool {
    let served: Vec<_> = servers
        .iter()
        .filter(|server| server.serves())
        .filter_map(|server| Some((server.slot()?.0, server.address?, server.weight)))
        .collect();
    let mut wanted = Vec::new();
    for route in routing.routes.iter().filter(|route| route.weight > 0) {
        let weight = share(route, routing);
        let endpoints = route.endpoints.iter();
        wanted.extend(endpoints.map(|endpoint| (route.slot, *endpoint, weight)));
    }
    let sorted = |mut list: Vec<(Slot, std::net::SocketAddr, u32)>| {
        list.sort_by_key(|(slot, endpoint, _)| (slot.as_str(), *endpoint));
        list
    };
    sorted(served) == sorted(wanted)
}

/// What is found where no record fits: routes of nobody's release.
pub(super) fn routes(servers: &[Server]) -> Vec<Route> {
    let of = |slot: Slot| {
        let serving = servers
            .iter()
            .filter(|server| is_of(server, slot) && server.serves());
        let endpoints: Vec<_> = serving
            .clone()
            .filter_map(|server| server.address)
            .collect();
        (!endpoints.is_empty()).then(|| Route {
            release: Release(0),
            slot,
            weight: serving.map(|server| server.weight).max().unwrap_or(0),
            endpoints,
        })
    };
    [Slot::Blue, Slot::Green]
        .into_iter()
        .filter_map(of)
        .collect()
}
