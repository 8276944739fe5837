//! Images that were built here: which there are, and removing them.

use std::collections::HashMap;

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};

use super::Docker;
use crate::core::names::ServiceName;
use crate::docker::{is_missing, status};
use crate::engine::EngineError;

/// What the engine answers where a container uses an image.
const CONFLICT: u16 = 409;

impl Docker {
    pub(super) async fn list_images(
        &self,
        service: &ServiceName,
    ) -> Result<Vec<String>, EngineError> {
        let labels = vec![
            format!("flipside.service={service}"),
            "flipside.kind=image".to_owned(),
        ];
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let client = self.client();
        let listed = client.docker.list_images(Some(options)).await;
        let listed = listed.map_err(|error| client.fault(error))?;
        Ok(listed.into_iter().map(|image| image.id).collect())
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
