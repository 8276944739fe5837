//! Whether two things of one plan want the same port of the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::read::Reader;
use super::source::Span;
use crate::core::names::RoleName;
use crate::core::plan::{PointerPlan, Role};

/// Says which shared role publishes the port that the proxy is to listen on.
pub(super) fn listener(
    reader: &mut Reader<'_>,
    place: Span,
    pointer: &PointerPlan,
    shared: &BTreeMap<RoleName, Role>,
) {
    let listen = pointer.settings.get("listen").and_then(Value::as_str);
    let listen = listen.unwrap_or("");
    let Some((address, port)) = listen.rsplit_once(':') else {
        return;
    };
    let address = address.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let port = port.parse::<u16>().ok();
    for (name, role) in shared {
        let mut ports = role.host.ports.iter();
        let is_taken = ports.any(|own| {
            !own.udp && own.published == port && port.is_some() && overlap(own.address, address)
        });
        if is_taken {
            reader.wrong(
                place,
                format!(
                    "the proxy is to listen on `{listen}`, and `{name}`, which is shared, publishes it"
                ),
                format!(
                    "name another port here, or publish another one: `services: {{{name}: {{ports: !override [\"HOST:CONTAINER\"]}}}}`"
                ),
            );
        }
    }
}

/// Whether what listens on the one address is in the way of what would on the other.
fn overlap(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || one.is_unspecified() || other.is_unspecified(),
        _ => true,
    }
}
