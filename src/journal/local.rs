//! The local directory: where it is by default, how it is made, the digest key beside the records,
//! and what the kernel's errors mean to a person.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use object_store::local::LocalFileSystem;
use rustix::fs::{Access, access};

use super::{JournalError, own_directory};

/// Where the journal is where nobody says otherwise: `/var/lib/flipside` if it can be written or
/// made, else `$XDG_STATE_HOME/flipside`, else `~/.local/state/flipside`.
#[must_use]
pub fn default_location() -> PathBuf {
    default_among(Path::new("/var/lib"), |name| std::env::var_os(name))
}

fn default_among(system: &Path, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let shared = system.join("flipside");
    let decisive = if shared.exists() { &shared } else { system };
    if access(decisive, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        return shared;
    }
    // The XDG base directory specification has relative paths ignored.
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map_or(shared, |state| state.join("flipside"))
}

/// The directory an address names.
pub(super) fn path_of(url: &str) -> Result<PathBuf, JournalError> {
    let unusable = |why: &str| JournalError::Unusable {
        url: url.to_owned(),
        why: why.to_owned(),
    };
    let path = match url.split_once("://") {
        None => Path::new(url),
        Some(("file", path)) if path.starts_with('/') => Path::new(path),
        Some(("file", _)) => return Err(unusable("a file:// address needs an absolute path")),
        Some(("s3" | "gs" | "az", _)) => {
            return Err(unusable("object stores are not in this build"));
        }
        Some(_) => return Err(unusable("only directories are known")),
    };
    if url.is_empty() {
        return Err(unusable("it is empty"));
    }
    std::path::absolute(path).map_err(|error| unusable(&error.to_string()))
}

/// Opens the directory, made if it is not there, away from the runtime's own threads: a mount may
/// hang.
pub(super) async fn open(root: &Path) -> Result<LocalFileSystem, JournalError> {
    let directory = root.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_now(&directory)).await;
    opened.unwrap_or_else(|panicked| {
        Err(in_words(
            &root.display().to_string(),
            &io::Error::other(panicked),
        ))
    })
}

/// Records are for the operator's eyes only.
fn open_now(root: &Path) -> Result<LocalFileSystem, JournalError> {
    let shown = root.display().to_string();
    make(root, 0o755).map_err(|error| in_words(&shown, &error))?;
    make(&own_directory(root), 0o700).map_err(|error| in_words(&shown, &error))?;
    let store = LocalFileSystem::new_with_prefix(root);
    let store = store.map_err(|error| out_of_reach(&shown, &error))?;
    Ok(store.with_fsync(true))
}

/// Makes a directory and its missing parents, so that a power cut does not take them back.
fn make(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(Path::new("/"));
    make(parent, 0o755)?;
    match DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    File::open(parent)?.sync_all()
}

/// The names in the directory `key` below `root`, in no order; none where it is not there. One pass
/// on one thread: a listing of the store asks for each file's size and time as well.
pub(super) async fn names(root: &Path, key: &str) -> Result<Vec<String>, JournalError> {
    let directory = root.join(key);
    let read = move || -> io::Result<Vec<String>> {
        let entries = match directory.read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    };
    let names = tokio::task::spawn_blocking(read).await;
    let names = names.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
    names.map_err(|error| in_words(&root.display().to_string(), &error))
}

/// The key with which secrets are digested, so that a change can be seen and no value guessed:
/// 32 random bytes in `digest.key` in `directory`, made once, readable by its owner only.
///
/// # Errors
/// [`JournalError::OutOfReach`], and [`JournalError::Damaged`] where the file holds something else.
pub fn digest_key(directory: &Path) -> Result<[u8; 32], JournalError> {
    let path = directory.join("digest.key");
    let shown = directory.display().to_string();
    let key = match read_key(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(directory, 0o755).and_then(|()| make_key(directory, &path))
        }
        read => read,
    };
    match key {
        Ok(bytes) => <[u8; 32]>::try_from(bytes).map_err(|bytes| JournalError::Damaged {
            key: path.display().to_string(),
            why: format!("it has {} bytes instead of 32", bytes.len()),
        }),
        Err(error) => Err(in_words(&shown, &error)),
    }
}

fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a new key beside its place and links it there; whoever comes second reads the first's.
fn make_key(directory: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut random = [0; 40];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let (key, suffix) = random.split_at(32);
    let suffix = crate::core::words::hex(suffix);
    let staged = directory.join(format!(".digest.key.{suffix}"));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    let linked = file
        .write_all(key)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&staged, path));
    std::fs::remove_file(&staged)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    File::open(directory)?.sync_all()?;
    read_key(path)
}

/// What an error of the store means, by the kernel's error at its root where there is one.
pub(super) fn out_of_reach(store: &str, error: &object_store::Error) -> JournalError {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return in_words(store, io);
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    JournalError::OutOfReach {
        store: store.to_owned(),
        why: innermost(error),
        hint: None,
    }
}

fn innermost(error: &object_store::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

fn in_words(store: &str, error: &io::Error) -> JournalError {
    use io::ErrorKind as Kind;
    let elsewhere = "or keep the journal elsewhere: `--state DIRECTORY`";
    let (why, hint) = match error.kind() {
        Kind::StorageFull => (
            "the disk is full".to_owned(),
            Some(format!("make room (`df {store}`), {elsewhere}")),
        ),
        Kind::QuotaExceeded => (
            "your disk quota is used up".to_owned(),
            Some(format!("make room, {elsewhere}")),
        ),
        Kind::PermissionDenied => (
            "you may not read or write it".to_owned(),
            Some(format!("run as its owner (`ls -ld {store}`), {elsewhere}")),
        ),
        Kind::ReadOnlyFilesystem => (
            "the file system is read-only".to_owned(),
            Some(format!("see `dmesg` for why, {elsewhere}")),
        ),
        Kind::NotADirectory | Kind::AlreadyExists => (
            "it is not a directory".to_owned(),
            Some("give a directory: `--state DIRECTORY`".to_owned()),
        ),
        _ => (error.to_string(), None),
    };
    JournalError::OutOfReach {
        store: store.to_owned(),
        why,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            set.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).into())
        }
    }

    #[test]
    fn the_default_is_the_shared_directory_where_it_can_be_made() {
        let system = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let found = default_among(system.path(), variables(&[("HOME", "/h")]));
        assert_eq!(found, system.path().join("flipside"));
    }

    #[test]
    fn else_it_is_in_the_users_state() {
        let nowhere = Path::new("/nonexistent");
        for (set, expected) in [
            (
                &[("XDG_STATE_HOME", "/x"), ("HOME", "/h")][..],
                "/x/flipside",
            ),
            (
                &[("XDG_STATE_HOME", "x"), ("HOME", "/h")],
                "/h/.local/state/flipside",
            ),
            (&[("HOME", "/h")], "/h/.local/state/flipside"),
            (&[], "/nonexistent/flipside"),
        ] {
            assert_eq!(default_among(nowhere, variables(set)), Path::new(expected));
        }
    }

    #[test]
    fn addresses_this_build_cannot_use_are_bad_input() {
        for url in [
            "s3://bucket/x",
            "gs://b",
            "az://b",
            "http://x",
            "file://x",
            "",
        ] {
            let refused = path_of(url);
            assert!(
                matches!(refused, Err(JournalError::Unusable { .. })),
                "{url}"
            );
        }
        assert_eq!(path_of("file:///srv/x"), Ok("/srv/x".into()));
    }
}
