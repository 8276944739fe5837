//! Files and directories beside the plan that are copied into an environment: that they are there,
//! and the keyed digest by which a resumed run sees that they have not changed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use hmac::Mac;

use super::read::Reader;
use super::tree::Node;
use crate::core::plan::{FileSource, Text};
use crate::core::words::hex;

/// How much may be copied from one path, in bytes.
const MOST_BYTES: u64 = 512 << 20;
/// Up to what size the text of a secret's file is looked for in what is shown, in bytes.
const MOST_HIDDEN: u64 = 64 << 10;
/// How many entries a directory may have in all.
const MOST_ENTRIES: usize = 50_000;

/// What a path beside the plan is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    File(PathBuf),
    Directory(PathBuf),
}

/// A single file named in the plan.
pub(super) fn given_file(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<FileSource> {
    let text = reader.public(node, "the path of a file")?;
    match found(reader, node, &text, place)? {
        Found::File(path) => Some(FileSource::Path(path)),
        Found::Directory(_) => {
            reader.wrong(node.span, format!("`{text}` is a directory"), "name a file");
            None
        }
    }
}

/// What stands in a secret's file, where that is text: what is no text, or too much, is nothing that
/// an application would print by the line.
pub(super) fn hidden(source: &FileSource) -> Option<Text> {
    let FileSource::Path(path) = source else {
        return None;
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(MOST_HIDDEN + 1).read_to_end(&mut bytes).ok()?;
    let fits = bytes.len() as u64 <= MOST_HIDDEN;
    let text = fits.then(|| String::from_utf8(bytes).ok())??;
    (!text.trim().is_empty()).then(|| Text::secret(text))
}

/// The file or directory at a path of the plan, its digest kept under `place`.
pub(super) fn found(
    reader: &mut Reader<'_>,
    node: &Node,
    text: &str,
    place: &str,
) -> Option<Found> {
    let path = reader.resolve(node.span, text);
    let result = digest(reader, &path, place);
    match result {
        Ok((found, digest)) => {
            reader.seal_file(node.span, place, digest);
            Some(found)
        }
        Err(Unfit::Io(error)) => {
            reader.wrong(
                node.span,
                format!("`{text}` cannot be read: {error}"),
                reader.paths_begin(node.span),
            );
            None
        }
        Err(Unfit::Kind) => {
            reader.wrong(
                node.span,
                format!("`{text}` is, or holds, something that is neither file nor directory"),
                "only files, directories and symbolic links are copied",
            );
            None
        }
        Err(Unfit::Large) => {
            reader.wrong(
                node.span,
                format!("`{text}` is larger than 512 MiB or has more than {MOST_ENTRIES} entries"),
                "put it into the image or into a volume",
            );
            None
        }
    }
}

enum Unfit {
    Io(std::io::Error),
    Kind,
    Large,
}

impl From<std::io::Error> for Unfit {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn digest(reader: &Reader<'_>, path: &Path, place: &str) -> Result<(Found, String), Unfit> {
    let mut mac = reader.mac(place);
    let mut left = MOST_BYTES;
    let kind = fs::metadata(path)?;
    if kind.is_file() {
        contents(path, &mut mac, &mut left)?;
        return Ok((
            Found::File(path.to_path_buf()),
            hex(&mac.finalize().into_bytes()),
        ));
    }
    if !kind.is_dir() {
        return Err(Unfit::Kind);
    }
    let mut entries = 0;
    let mut open = vec![path.to_path_buf()];
    while let Some(directory) = open.pop() {
        let mut children = fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
        entries += children.len();
        if entries > MOST_ENTRIES {
            return Err(Unfit::Large);
        }
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let at = child.path();
            let kind = fs::symlink_metadata(&at)?;
            let name = at
                .strip_prefix(path)
                .unwrap_or(&at)
                .as_os_str()
                .as_encoded_bytes();
            mac.update(&(name.len() as u64).to_le_bytes());
            mac.update(name);
            if kind.is_dir() {
                mac.update(b"d");
                open.push(at);
            } else if kind.is_symlink() {
                let target = fs::read_link(&at)?;
                let target = target.as_os_str().as_encoded_bytes();
                mac.update(b"l");
                mac.update(&(target.len() as u64).to_le_bytes());
                mac.update(target);
            } else if kind.is_file() {
                mac.update(if executable(&kind) { b"x" } else { b"f" });
                mac.update(&kind.len().to_le_bytes());
                contents(&at, &mut mac, &mut left)?;
            } else {
                return Err(Unfit::Kind);
            }
        }
    }
    Ok((
        Found::Directory(path.to_path_buf()),
        hex(&mac.finalize().into_bytes()),
    ))
}

/// The one bit of a mode that a checkout keeps; the others differ with the caller's umask, and a
/// run may be resumed from another machine.
fn executable(kind: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    kind.permissions().mode() & 0o100 != 0
}

fn contents(path: &Path, mac: &mut impl Mac, left: &mut u64) -> Result<(), Unfit> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        mac.update(&buffer[..read]);
        *left = left.checked_sub(read as u64).ok_or(Unfit::Large)?;
    }
}

/// An absolute path without a `..` and without a slash at its end; `None` where it is none.
pub(super) fn absolute(text: &str) -> Option<String> {
    if !text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return None;
    }
    let parts: Vec<_> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    Some(format!("/{}", parts.join("/")))
}

/// Why a text cannot be the name of a volume or a network on the engine, if it cannot.
pub(super) fn engine_name(text: &str) -> Result<(), &'static str> {
    let good = text.len() <= 200
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    if !good {
        return Err(
            "use 1 to 200 of a-z, A-Z, 0-9, `.`, `_` and `-`, with a letter or digit first",
        );
    }
    if text.starts_with("flipside") && text[8..].starts_with(['.', '-']) {
        return Err("names that begin with `flipside.` or `flipside-` are flipside's own");
    }
    Ok(())
}

/// Whether `path` is `above` or stands below it; both absolute.
pub(super) fn is_below(path: &str, above: &str) -> bool {
    above == "/"
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
