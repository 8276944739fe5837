//! What must hold of a plan's roles before any of them is stood up: an order to start them in, and
//! the external networks they join.

use std::collections::{BTreeMap, HashSet};

use super::{Docker, network};
use crate::core::names::RoleName;
use crate::core::plan::{Condition, Plan, Role, Run};
use crate::core::words::count;
use crate::docker::{refused, refused_hint};
use crate::engine::EngineError;

/// The roles that have containers.
pub(super) fn roles(plan: &Plan) -> impl Iterator<Item = (&RoleName, &Role)> + Clone {
    plan.roles.iter().filter(|(_, role)| role.run != Run::Never)
}

/// What a role's containers are started after: what the plan says, and the role whose network they
/// use, as that is its containers' for as long as these run.
pub(super) fn after(role: &Role) -> BTreeMap<RoleName, Condition> {
    let mut all = role.depends_on.clone();
    if let Some(owner) = &role.network_of {
        all.entry(owner.clone()).or_insert(Condition::Started);
    }
    all
}

/// Refuses roles that wait for each other, or for one that is not there, and those that use a network
/// which is not there.
pub(super) fn check(plan: &Plan) -> Result<(), EngineError> {
    for (name, role) in roles(plan) {
        check_network_of(plan, name, role)?;
    }
    let exposed = plan.roles.get(&plan.exposed.role);
    if let Some(owner) = exposed.and_then(|role| role.network_of.as_ref()) {
        let (name, port) = (&plan.exposed.role, plan.exposed.port);
        return Err(refused_hint(
            format!("`{name}` uses the network of `{owner}` and has no address of its own"),
            format!("write `expose: {owner}:{port}`"),
        ));
    }
    let mut ready: HashSet<&RoleName> = HashSet::new();
    let all: Vec<_> = roles(plan).collect();
    loop {
        let before = ready.len();
        for (name, role) in &all {
            let waits = |other: &RoleName| {
                let runs = all.iter().any(|(name, _)| *name == other);
                runs && !ready.contains(other)
            };
            if !after(role).keys().any(waits) {
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

/// A network is another role's only where each container finds one of its own number there, which
/// runs whenever it does itself.
fn check_network_of(plan: &Plan, name: &RoleName, role: &Role) -> Result<(), EngineError> {
    let Some(owner) = &role.network_of else {
        return Ok(());
    };
    let why = match plan.roles.get(owner) {
        None => "which is none of this release's".to_owned(),
        Some(other) if other.network_of.is_some() => "which has none of its own".to_owned(),
        Some(other) if other.replicas < role.replicas => format!(
            "which has {} for its {}",
            count(other.replicas.into(), "replica"),
            role.replicas
        ),
        Some(Role {
            run: Run::Always, ..
        }) => return Ok(()),
        Some(other) if other.run == Run::LiveOnly && role.run == Run::LiveOnly => return Ok(()),
        Some(_) => "which does not run whenever it does".to_owned(),
    };
    Err(refused_hint(
        format!("role `{name}` uses the network of `{owner}`, {why}"),
        format!("take `network_mode: service:{owner}` away from `{name}`"),
    ))
}

/// External networks of `roles` must be there; on old engines they must not come before `own`, the
/// network that these are made in, by name, because the default route goes to the first. `None` where
/// it may: a shared role, which is asked more than it asks, stays reachable all the same.
pub(super) async fn check_external<'a>(
    engine: &Docker,
    plan: &Plan,
    roles: impl Iterator<Item = (&'a RoleName, &'a Role)>,
    own: Option<&str>,
) -> Result<(), EngineError> {
    // Who uses another's network, or the host's, joins none besides.
    let joining = roles.filter(|(_, role)| role.network_of.is_none() && !role.host.network);
    let joined = joining.flat_map(|(n, r)| r.networks.iter().map(move |k| (n, k)));
    let joined: Vec<_> = joined.collect();
    if joined.is_empty() {
        return Ok(());
    }
    let networks = network::list(&engine.client).await?;
    for (role, key) in joined {
        let Some(name) = plan.external_networks.get(key) else {
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
        if let Some(own) = own.filter(|own| name.as_str() < *own)
            && engine.client.api() < (1, 48)
        {
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
