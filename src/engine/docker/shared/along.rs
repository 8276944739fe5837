//! What uses the network of a shared role's container. It is left without one when that container is
//! made anew, and so is made anew with it.

use super::look::{Looked, Standing};
use super::running::Running;
use crate::core::names::RoleName;
use crate::core::plan::{Plan, Role};
use crate::core::shared::Reach;
use crate::docker::refused_hint;
use crate::engine::EngineError;

/// The shared roles whose containers use the network of one of these. Refuses where something else
/// that runs does.
pub(super) fn along<'a>(
    plan: &'a Plan,
    looked: &Looked,
    running: &[Running],
    standing: &[&Standing],
) -> Result<Vec<(&'a RoleName, &'a Role)>, EngineError> {
    let is_one = |id: &str| standing.iter().any(|one| one.container.id == id);
    let uses = |one: &Standing| matches!(&one.reach, Reach::Of(id) if is_one(id));
    let planned = |role: &RoleName| plan.shared.contains_key(role);
    let known = looked
        .standing
        .iter()
        .filter(|one| planned(&one.container.role));
    for container in running {
        let mut known = known.clone();
        let is_known = known.any(|one| one.container.id == container.id);
        let owner = container.network_of.as_deref();
        let Some(owner) = owner.filter(|id| is_one(id) && !is_known) else {
            continue;
        };
        let name = &container.name;
        let owner = standing.iter().find(|one| one.container.id == owner);
        let owner = owner.map_or("", |one| &one.container.name);
        return Err(refused_hint(
            format!("`{name}` uses the network of `{owner}`, and would be left without one"),
            format!("make its role `run: shared` as well, or stop it first: docker stop {name}"),
        ));
    }
    let along = plan.shared.iter();
    let along = along.filter(|(name, _)| {
        known
            .clone()
            .any(|one| one.container.role == **name && uses(one))
    });
    Ok(along.collect())
}
