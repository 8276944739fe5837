//! A copy of the table in a file, with the record in its first line.

use std::io::{ErrorKind, Result, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// How the line with the record begins.
const COMMENT: &str = "# flipside ";

/// A copy that is on the disk, beside its place: putting it there needs no more room.
#[derive(Debug)]
pub(super) struct Copy {
    beside: NamedTempFile,
    place: PathBuf,
}

impl Copy {
    /// Writes it.
    pub(super) async fn stage(place: &Path, record: &str, whole: &str) -> Result<Self> {
        let text = format!("{COMMENT}{record}\n{whole}");
        let place = place.to_owned();
        blocking(move || {
            let directory = directory(&place);
            std::fs::create_dir_all(directory)?;
            let mut beside = NamedTempFile::new_in(directory)?;
            beside.write_all(text.as_bytes())?;
            beside.as_file().sync_all()?;
            Ok(Self { beside, place })
        })
        .await
    }

    /// Puts it in its place.
    pub(super) async fn keep(self) -> Result<()> {
        blocking(move || {
            let kept = self.beside.persist(&self.place);
            kept.map_err(|error| error.error)?;
            std::fs::File::open(directory(&self.place))?.sync_all()
        })
        .await
    }
}

fn directory(place: &Path) -> &Path {
    place.parent().unwrap_or(Path::new("/"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other)?
}

/// The record in a copy; none where there is none.
pub(super) async fn line(place: &Path) -> Result<Option<String>> {
    match tokio::fs::read_to_string(place).await {
        Ok(text) => {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(COMMENT));
            Ok(line.map(str::to_owned))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes it away. Idempotent.
pub(super) async fn remove(place: &Path) -> Result<()> {
    match tokio::fs::remove_file(place).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
