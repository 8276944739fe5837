//! The images that a service's builds have left: which of them nothing needs, and removing those.

use super::fault::Fault;
use super::{Performer, REMOVE};
use crate::core::world::Environment;
use crate::engine::{Built, EngineError};

/// Which images are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Whole ones: what the next build can begin from stays.
    Whole,
    /// All.
    WithSteps,
}

/// Those of `images` that no container of `standing` was made from.
#[must_use]
pub fn unneeded(standing: &[Environment], images: Vec<Built>) -> Vec<Built> {
    let containers = standing
        .iter()
        .flat_map(|environment| &environment.containers);
    let used: Vec<&String> = containers.map(|container| &container.image_id).collect();
    images
        .into_iter()
        .filter(|image| !used.contains(&&image.id))
        .collect()
}

impl Performer {
    /// Removes the images that were built for the service and that nothing which stands needs.
    pub(super) async fn drop_images(&self, what: Which) -> Result<(), Fault> {
        let (engine, service) = (&self.with.engine, &self.with.service);
        let drop = async {
            let standing = engine.inspect(service).await?;
            let unneeded = unneeded(&standing, engine.images(service).await?);
            for image in unneeded {
                if what == Which::WithSteps || !image.step {
                    engine.drop_image(&image.id).await?;
                }
            }
            Ok::<_, EngineError>(())
        };
        Ok(tokio::time::timeout(REMOVE, drop)
            .await
            .map_err(|_| Fault::Lost("images are still being removed".into()))??)
    }
}
