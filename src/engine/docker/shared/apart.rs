//! What stands for a shared role and is not on the shared network: Compose has made its container anew,
//! or a hand has disconnected it. Joined under the names that the releases which stand have for it.

use super::super::equip::join;
use super::super::{Docker, names};
use super::look::{self, Looked, Standing};
use crate::core::names::ServiceName;
use crate::core::shared::Reach;
use crate::engine::EngineError;

/// See [`crate::engine::Engine::join_shared`].
pub(in super::super) async fn join_all(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<String>, EngineError> {
    let looked = look::look(engine, service, None).await?;
    let network = names::shared_network(service);
    let mut did = Vec::new();
    for one in &looked.standing {
        if looked.is_halfway(one) || one.is_joined(&network) {
            continue;
        }
        let (name, known_as) = (&one.container.name, looked.names(one));
        join(engine, &network, name, &known_as).await?;
        did.push(format!(
            "`{name}` was not on the network `{network}`; it has been joined as {}",
            known_as.join(", ")
        ));
    }
    Ok(did)
}

impl Standing {
    /// Whether it is on this network, or cannot be connected to any.
    pub(super) fn is_joined(&self, network: &str) -> bool {
        self.reach != Reach::Own || self.networks.contains_key(network)
    }
}

impl Looked {
    /// The names that the releases which stand have for what stands for a role, each once.
    fn names(&self, one: &Standing) -> Vec<String> {
        let role = &one.container.role;
        let uses = Reach::Of(one.container.id.clone());
        let on_it = |other: &_| self.theirs(other).any(|other| other.reach == uses);
        let mut names = vec![role.to_string()];
        for sharing in &self.sharing {
            for name in sharing.names(role, on_it) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}
