//! What must hold of a plan's roles before any of them is stood up: an order to start them in, and
//! the external networks they join.

use std::collections::HashSet;

use bollard::models::Network;

use super::{Docker, names};
use crate::core::names::RoleName;
use crate::core::plan::{Plan, Role, Run};
use crate::docker::{refused, refused_hint};
use crate::engine::{EngineError, Spec};

/// The roles that have containers.
pub(super) fn roles(plan: &Plan) -> impl Iterator<Item = (&RoleName, &Role)> {
    plan.roles.iter().filter(|(_, role)| role.run != Run::Never)
}

/// Refuses roles that wait for each other, or for one that is not there.
pub(super) fn check(plan: &Plan) -> Result<(), EngineError> {
    let mut ready: HashSet<&RoleName> = HashSet::new();
    let all: Vec<_> = roles(plan).collect();
    loop {
        let before = ready.len();
        for (name, role) in &all {
            let waits = |other: &RoleName| {
                let runs = all.iter().any(|(name, _)| *name == other);
                runs && !ready.contains(other)
            };
            if !role.depends_on.keys().any(waits) {
                ready.insert(name);
            }
        }
        if ready.len() == all.len() {
            return Ok(());
        }
        if ready.len() == before {
            let stuck = all.iter().filter(|(name, _)| !ready.contains(name));
            let stuck: Vec<_> = stuck.map(|(name, _)| format!("`{name}`")).collect();
            return Err(refused_hint(
                format!("the roles {} wait for each other", stuck.join(", ")),
                "take one of their `depends_on:` away",
            ));
        }
    }
}

/// External networks must be there; on old engines they must not come before the environment's own
/// by name, because the default route goes to the first.
pub(super) fn check_external(
    engine: &Docker,
    spec: &Spec,
    networks: &[Network],
) -> Result<(), EngineError> {
    let own = names::network(&spec.plan.service, spec.release);
    for (role, key) in roles(&spec.plan).flat_map(|(n, r)| r.networks.iter().map(move |k| (n, k))) {
        let Some(name) = spec.plan.external_networks.get(key) else {
            return Err(refused(format!(
                "role `{role}` joins the network `{key}`, which the plan does not name as external"
            )));
        };
        if !networks
            .iter()
            .any(|network| network.name.as_ref() == Some(name))
        {
            return Err(refused_hint(
                format!("role `{role}` joins the network `{name}`, which is not on the engine"),
                format!("make it with `docker network create {name}`"),
            ));
        }
        if *name < own && engine.client.api() < (1, 48) {
            return Err(refused_hint(
                format!(
                    "the network `{name}` would take the default route: this engine gives it to the first name, before `{own}`"
                ),
                "rename the network, or use Docker 28 or newer",
            ));
        }
    }
    Ok(())
}
