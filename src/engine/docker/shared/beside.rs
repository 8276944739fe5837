//! What runs beside a shared role's own container on the same data, told where no plan is at hand: a
//! Compose project's container for the same role, and another service's shared one.

use std::collections::BTreeMap;

use super::super::Docker;
use super::super::names::{self, Kind};
use super::look::Looked;
use super::running::running;
use crate::core::names::ServiceName;
use crate::core::shared::{Beside, Owner};
use crate::engine::EngineError;

/// What is beside flipside's own containers, by the id of these.
pub(super) async fn beside(
    engine: &Docker,
    service: &ServiceName,
    looked: &Looked,
) -> Result<BTreeMap<String, Beside>, EngineError> {
    let ours = looked.standing.iter();
    let ours = ours.filter(|one| one.owner == Owner::Flipside && one.runs());
    let ours: Vec<_> = ours.filter(|one| !looked.is_halfway(one)).collect();
    let mut found = BTreeMap::new();
    if ours.is_empty() {
        return Ok(found);
    }
    for container in running(engine).await? {
        let of = container.labels.get(names::SERVICE).map(String::as_str);
        if of == Some(service.as_str()) {
            continue;
        }
        for one in &ours {
            // A backup or a shell that a person has opened is no second database.
            let same = of.is_none() && container.is_of(&one.container.role);
            if !same && !Kind::Shared.is(&container.labels) {
                continue;
            }
            if let Some(data) = container.writes(&one.data().collect()) {
                let other = Beside {
                    container: container.name.clone(),
                    data: data.to_owned(),
                };
                found.entry(one.container.id.clone()).or_insert(other);
            }
        }
    }
    Ok(found)
}
