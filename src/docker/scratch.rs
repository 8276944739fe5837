//! Images out of nothing but files, handed to the engine whole.
//!
//! The archive is that of `docker save` (image specification 1.2: `manifest.json`, a configuration,
//! a layer). Everything in it follows from the files, so that two who make the same image at the
//! same time make one image, and there are no steps that one who is killed could leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;

use bollard::query_parameters::ImportImageOptions;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::image::{append, header, tar_stream};
use super::{Client, refused};
use crate::core::words::hex;
use crate::engine::EngineError;

/// The size of a tar's blocks, in bytes.
const BLOCK: u64 = 512;

/// An image of files and nothing else.
#[derive(Debug, Clone)]
pub struct ScratchImage {
    /// What it is tagged: `name:tag`.
    pub name: String,
    /// Its files, in this order.
    pub files: Vec<ScratchFile>,
    /// Its entrypoint.
    pub entrypoint: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The machine in Docker's words: `amd64`.
    pub machine: String,
}

/// One file of an image.
#[derive(Debug, Clone)]
pub struct ScratchFile {
    /// Its absolute path in the image.
    pub path: String,
    /// The file of this machine with its bytes.
    pub source: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

impl Client {
    /// Gives `image` to the engine. Doing it twice changes nothing; cut short it leaves nothing.
    /// Somebody else may have taken it away again when this returns.
    ///
    /// # Errors
    /// Where a file cannot be read, or the engine does not take it.
    pub async fn load_scratch_image(&self, image: ScratchImage) -> Result<(), EngineError> {
        let name = image.name.clone();
        let tar = tar_stream(move |tar| {
            let (size, digest) = measure(&image.files)?;
            append(tar, "config.json", &image.configuration(&digest), 0o644)?;
            append(tar, "manifest.json", &image.manifest(), 0o644)?;
            let mut header = header(size, 0o644);
            tar.append_data(&mut header, "layer.tar", layer(&image.files)?)
        });
        let (body, unread) = tar.split();
        let options = ImportImageOptions {
            quiet: true,
            ..ImportImageOptions::default()
        };
        let body = bollard::body_try_stream(body);
        let mut answers = Box::pin(self.docker.import_image(options, body, None));
        while let Some(answer) = answers.next().await {
            answer.map_err(|error| match unread.get() {
                Some(why) => refused(format!("the image `{name}`: {why}")),
                None => self.fault(error),
            })?;
        }
        Ok(())
    }
}

impl ScratchImage {
    fn configuration(&self, layer: &str) -> Vec<u8> {
        let configuration = serde_json::json!({
            "os": "linux",
            "architecture": self.machine,
            // Of the files' making nothing is known that would be the same everywhere.
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": self.entrypoint, "Labels": self.labels},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "flipside"}],
        });
        configuration.to_string().into_bytes()
    }

    fn manifest(&self) -> Vec<u8> {
        let manifest = serde_json::json!([{
            "Config": "config.json",
            "RepoTags": [self.name],
            "Layers": ["layer.tar"],
        }]);
        manifest.to_string().into_bytes()
    }
}

/// How many bytes the layer has, and their SHA-256 in hexadecimal digits.
fn measure(files: &[ScratchFile]) -> io::Result<(u64, String)> {
    let mut layer = layer(files)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = layer.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    Ok((size, hex(&hash.finalize())))
}

/// The layer: a tar of the files, and of the directories above them, read as it goes.
fn layer(files: &[ScratchFile]) -> io::Result<Box<dyn Read>> {
    let mut layer: Box<dyn Read> = Box::new(io::empty());
    let mut directories = BTreeSet::new();
    for file in files {
        let path = file.path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            let directory = &path[..=at];
            if directories.insert(directory) {
                let mut header = header(0, 0o755);
                header.set_entry_type(tar::EntryType::Directory);
                layer = Box::new(layer.chain(block(header, directory)?));
            }
        }
        let unreadable =
            |error: io::Error| io::Error::other(format!("`{}`: {error}", file.source.display()));
        let source = File::open(&file.source).map_err(unreadable)?;
        let size = source.metadata().map_err(unreadable)?.len();
        let padding = io::repeat(0).take(size.next_multiple_of(BLOCK) - size);
        let head = block(header(size, file.mode), path)?;
        layer = Box::new(layer.chain(head).chain(source.take(size)).chain(padding));
    }
    Ok(Box::new(layer.chain(io::repeat(0).take(2 * BLOCK))))
}

fn block(mut header: tar::Header, path: &str) -> io::Result<Cursor<Vec<u8>>> {
    header.set_path(path)?;
    header.set_cksum();
    Ok(Cursor::new(header.as_bytes().to_vec()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_a_tar_of_its_files_and_of_the_directories_above_them() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("bytes");
        std::fs::write(&source, b"hello").unwrap();
        let file = |path: &str| ScratchFile {
            path: path.into(),
            source: source.clone(),
            mode: 0o755,
        };
        let files = [file("/bin/a"), file("/bin/b"), file("/c")];
        let mut bytes = Vec::new();
        layer(&files).unwrap().read_to_end(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap(), text)
        });
        let plain = |path: &str| (path.to_owned(), 0o755, "hello".to_owned());
        assert_eq!(
            entries.collect::<Vec<_>>(),
            [
                ("bin/".to_owned(), 0o755, String::new()),
                plain("bin/a"),
                plain("bin/b"),
                plain("c")
            ]
        );
        let (size, digest) = measure(&files).unwrap();
        assert_eq!(size, bytes.len() as u64);
        assert_eq!(digest, hex(&Sha256::digest(&bytes)));
    }
}
