//! What was only made on the way to a shared role's container, and stays where a call was killed.

use bollard::models::ContainerSummary;

use super::super::names::{self, Kind};
use super::super::{Docker, inspect};
use super::volumes;
use crate::core::names::ServiceName;
use crate::docker::label_filter;
use crate::engine::EngineError;

/// See [`crate::engine::Engine::left_of_shared`].
pub(in super::super) async fn left(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<String>, EngineError> {
    let helpers = helpers(engine, service).await?;
    let mut left: Vec<_> = helpers.iter().map(inspect::container_name).collect();
    left.extend(volumes::unused(engine, service).await?);
    Ok(left)
}

/// The containers that were only made to fill a shared role's volume.
pub(super) async fn helpers(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let kind = Kind::Helper.as_str();
    let filter = label_filter(&[(names::SERVICE, service.as_str()), (names::KIND, kind)]);
    let mut listed = inspect::containers(engine, filter).await?;
    listed.retain(|container| {
        let labels = container.labels.as_ref();
        labels.is_none_or(|labels| names::release(labels).is_none())
    });
    Ok(listed)
}
