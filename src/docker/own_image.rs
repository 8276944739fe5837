//! An image of flipside itself, for what it runs on an engine: the embedded proxy, and who looks on
//! beside a container.

use std::path::PathBuf;

use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures_util::StreamExt;

use super::binary;
use super::{Client, ScratchFile, ScratchImage, is_missing, refused_hint, status};
use crate::engine::EngineError;

/// The label of images built here, and its value.
pub(crate) const KIND: (&str, &str) = ("flipside.kind", "proxy-image");
/// The name under which they are tagged.
pub(crate) const REPOSITORY: &str = "flipside-proxy";
/// Where the executable is in them.
const EXECUTABLE: &str = "/flipside";

/// Which image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnImage {
    /// One that somebody has made; else one is built of [`OwnImage::binary`].
    pub given: Option<String>,
    /// The static executable to build one of.
    pub binary: PathBuf,
}

impl Default for OwnImage {
    fn default() -> Self {
        Self {
            given: None,
            binary: "/proc/self/exe".into(),
        }
    }
}

impl OwnImage {
    /// Makes sure that the engine has it, and names it. Idempotent.
    ///
    /// # Errors
    /// Where it can neither be built nor pulled, or the engine does not answer.
    pub async fn ensure(&self, client: &Client) -> Result<String, EngineError> {
        match &self.given {
            Some(image) => {
                have(client, image).await?;
                Ok(image.clone())
            }
            None => self.build(client).await,
        }
    }

    /// Takes away what was built and nothing uses any more. Idempotent; `image` is what
    /// [`OwnImage::ensure`] has named.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub(crate) async fn leave(&self, client: &Client, image: &str) -> Result<(), EngineError> {
        if self.given.is_some() {
            return Ok(());
        }
        let options = None::<RemoveImageOptions>;
        match client.docker.remove_image(image, options, None).await {
            // What is used is another's to remove.
            Err(error) if !is_missing(&error) && status(&error) != Some(409) => {
                Err(client.fault(error))
            }
            _ => Ok(()),
        }
    }

    /// An image with the executable and nothing else.
    async fn build(&self, client: &Client) -> Result<String, EngineError> {
        let no = |why: String| {
            refused_hint(
                format!("no image of flipside can be built: this flipside {why}"),
                "name an image that has one: --proxy-image IMAGE",
            )
        };
        let path = self.binary.clone();
        let read = tokio::task::spawn_blocking(move || binary::read(&path)).await;
        let read = read.unwrap_or_else(|panicked| Err(format!("cannot be read: {panicked}")));
        let binary = read.map_err(no)?;
        let tag = format!("{REPOSITORY}:{}", binary.digest);
        match client.docker.inspect_image(&tag).await {
            Ok(_) => return Ok(tag),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(client.fault(error)),
        }
        let engine = client.docker.version().await;
        let engine = engine.map_err(|error| client.fault(error))?;
        let (os, machine) = (
            engine.os.unwrap_or_default(),
            engine.arch.unwrap_or_default(),
        );
        if os != "linux" || machine != binary.machine {
            return Err(no(format!(
                "is for linux/{}, the engine is {os}/{machine}",
                binary.machine
            )));
        }
        let (label, value) = KIND;
        let image = ScratchImage {
            name: tag.clone(),
            files: vec![ScratchFile {
                path: EXECUTABLE.into(),
                source: self.binary.clone(),
                mode: 0o755,
            }],
            entrypoint: vec![EXECUTABLE.into()],
            labels: [(label.to_owned(), value.to_owned())].into(),
            machine,
        };
        client.load_scratch_image(image).await?;
        Ok(tag)
    }
}

/// Makes sure that the engine has `image`.
async fn have(client: &Client, image: &str) -> Result<(), EngineError> {
    match client.docker.inspect_image(image).await {
        Ok(_) => return Ok(()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(client.fault(error)),
    }
    let options = CreateImageOptions {
        from_image: Some(image.to_owned()),
        ..CreateImageOptions::default()
    };
    let mut pulling = Box::pin(client.docker.create_image(Some(options), None, None));
    while let Some(step) = pulling.next().await {
        step.map_err(|error| match client.fault(error) {
            EngineError::Failed(failure) => refused_hint(
                format!(
                    "the engine cannot pull the image `{image}` of flipside: {}",
                    failure.what
                ),
                format!("docker pull {image}, or name another with --proxy-image IMAGE"),
            ),
            away => away,
        })?;
    }
    Ok(())
}
