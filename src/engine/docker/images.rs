//! Images that were built here: which there are, and removing them.

use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use tokio::try_join;

use super::names::{self, KIND, Kind};
use super::{Docker, shared};
use crate::core::names::ServiceName;
use crate::docker::{found, is_missing, label_filter, status};
use crate::engine::{Built, EngineError};

/// What the engine answers where a container uses an image.
const CONFLICT: u16 = 409;

impl Docker {
    pub(super) async fn list_images(
        &self,
        service: &ServiceName,
    ) -> Result<Vec<Built>, EngineError> {
        let (images, steps) = try_join!(
            self.labelled(service, Kind::Image),
            self.labelled(service, Kind::Step),
        )?;
        let mut built = Vec::new();
        for image in images {
            if self.ends_with_our_label(&image.id).await? {
                built.push(Built {
                    id: image.id,
                    step: false,
                });
            }
        }
        // One that somebody has given a name is theirs.
        let steps = steps.into_iter().filter(|image| !is_named(image));
        built.extend(steps.map(|image| Built {
            id: image.id,
            step: true,
        }));
        let used = shared::images(self, service).await?;
        built.retain(|image| !used.contains(&image.id));
        Ok(built)
    }

    /// The images with a service's labels of one kind that are no step of another image.
    async fn labelled(
        &self,
        service: &ServiceName,
        kind: Kind,
    ) -> Result<Vec<ImageSummary>, EngineError> {
        let labels = [(names::SERVICE, service.as_str()), (KIND, kind.as_str())];
        let options = ListImagesOptionsBuilder::default()
            .filters(&label_filter(&labels))
            .build();
        let client = self.client();
        let listed = client.docker.list_images(Some(options)).await;
        listed.map_err(|error| client.fault(error))
    }

    /// Whether our builder's label was the last thing done to an image. Images that others have made
    /// from one of ours inherit its labels, and are not ours.
    async fn ends_with_our_label(&self, id: &str) -> Result<bool, EngineError> {
        let client = self.client();
        let history = found(client.docker.image_history(id).await);
        let history = history.map_err(|error| client.fault(error))?;
        let last = history.and_then(|steps| steps.into_iter().next());
        Ok(last.is_some_and(|last| last.created_by.contains("LABEL flipside.")))
    }

    pub(super) async fn remove_image(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().build();
        let client = self.client();
        match client.docker.remove_image(id, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) || status(&error) == Some(CONFLICT) => Ok(()),
            Err(error) => Err(client.fault(error)),
        }
    }
}

/// Whether an image has a name besides its id.
fn is_named(image: &ImageSummary) -> bool {
    image.repo_tags.iter().any(|tag| tag != "<none>:<none>")
}
