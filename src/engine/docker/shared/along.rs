//! What uses the network of a shared role's container. It is left without one when that container is
//! made anew, and so is made anew with it.

use super::super::{Docker, inspect};
use super::look::{Looked, Standing};
use crate::core::names::RoleName;
use crate::core::plan::{Plan, Role};
use crate::core::shared::Reach;
use crate::docker::refused_hint;
use crate::engine::EngineError;

/// The shared roles whose containers use the network of one of these. Refuses where something else
/// that runs does.
pub(super) async fn along<'a>(
    engine: &Docker,
    plan: &'a Plan,
    looked: &Looked,
    standing: &[&Standing],
) -> Result<Vec<(&'a RoleName, &'a Role)>, EngineError> {
    let is_one = |id: &str| standing.iter().any(|one| one.container.id == id);
    let uses = |one: &Standing| matches!(&one.reach, Reach::Of(id) if is_one(id));
    let planned = |role: &RoleName| plan.shared.contains_key(role);
    let known = looked
        .standing
        .iter()
        .filter(|one| planned(&one.container.role));
    let running = [("status".to_owned(), vec!["running".to_owned()])];
    for container in inspect::containers(engine, running.into()).await? {
        let mode = container.host_config.as_ref();
        let mode = mode.and_then(|host| host.network_mode.as_deref());
        let owner = mode.and_then(|mode| mode.strip_prefix("container:"));
        let is_known = known
            .clone()
            .any(|one| Some(&one.container.id) == container.id.as_ref());
        let Some(owner) = owner.filter(|id| is_one(id) && !is_known) else {
            continue;
        };
        let name = inspect::container_name(&container);
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
