//! The table's directory: one file per service, each replaced whole or not at all.
//!
//! A file that cannot be read harms only itself: it stays where it is and is reported. It does not
//! decide who may write what.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::{Entry, VERSION};

/// How the names of files begin that are not whole yet.
const UNFINISHED: &str = ".entry-";

/// The name of the file that keeps room for the next save.
const SPARE: &str = ".spare";
/// Its size: more than an entry of hundreds of replicas takes.
const SPARE_BYTES: usize = 64 << 10;

/// A file of the table that is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadEntry {
    /// The service, by its file's name.
    pub service: String,
    /// Name of the file in the table's directory.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether a newer flipside wrote it; such a file is never replaced.
    #[serde(default)]
    pub newer: bool,
}

impl BadEntry {
    /// A readable entry of `service` that is not served.
    pub fn of(service: &str, reason: String) -> BadEntry {
        BadEntry {
            service: service.to_owned(),
            file: file_name(service),
            reason,
            newer: false,
        }
    }
}

/// What the directory held at the start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The entries that can be served.
    pub entries: BTreeMap<String, Arc<Entry>>,
    /// The files that cannot.
    pub bad: Vec<BadEntry>,
}

/// The table's directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens `directory`, creating it where it is missing, and clears away what a kill in the
    /// middle of a save has left.
    ///
    /// # Errors
    ///
    /// Where it can be neither found nor created.
    pub fn open(directory: &Path) -> io::Result<Store> {
        fs::create_dir_all(directory)?;
        for file in fs::read_dir(directory)? {
            let file = file?;
            if file
                .file_name()
                .as_encoded_bytes()
                .starts_with(UNFINISHED.as_bytes())
            {
                fs::remove_file(file.path())?;
            }
        }
        let store = Store {
            directory: directory.to_owned(),
        };
        store.keep_room();
        Ok(store)
    }

    /// Reads every entry.
    ///
    /// # Errors
    ///
    /// Only where the directory itself cannot be read.
    pub fn load(&self) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        for file in fs::read_dir(&self.directory)? {
            let path = file?.path();
            let (Some(stem), Some(name)) = (
                path.file_stem().and_then(|stem| stem.to_str()),
                path.file_name().and_then(|name| name.to_str()),
            ) else {
                continue;
            };
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path, stem) {
                Ok(entry) => {
                    loaded.entries.insert(stem.to_owned(), Arc::new(entry));
                }
                Err((reason, newer)) => loaded.bad.push(BadEntry {
                    service: stem.to_owned(),
                    file: name.to_owned(),
                    reason,
                    newer,
                }),
            }
        }
        loaded.bad.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(loaded)
    }

    /// Saves `entry`; once this returns it survives a power cut. A full disk has room for it: what
    /// was kept for that is given up, and taken again once there is room.
    ///
    /// # Errors
    ///
    /// Nothing was changed, as far as the disk still answers: where the file was already replaced
    /// and only the directory could not be synced, `before` is put back.
    pub fn save(&self, entry: &Entry, before: Option<&Entry>) -> io::Result<()> {
        let path = self.path(&entry.service);
        match self.replace(&path, entry) {
            Err(error) if is_full(&error) && self.give_room() => self.replace(&path, entry)?,
            replaced => replaced?,
        }
        self.keep_room();
        self.sync().map_err(|error| {
            let back = match before {
                Some(before) => self.replace(&path, before),
                None => fs::remove_file(&path),
            };
            after(error, back)
        })
    }

    /// Removes the entry of `service`, if there is one; once this returns it stays away after a
    /// power cut.
    ///
    /// # Errors
    ///
    /// Nothing was changed, as far as the disk still answers: where only the directory could not be
    /// synced, the file gets its name back.
    pub fn remove(&self, service: &str) -> io::Result<()> {
        let path = self.path(service);
        let aside = self.directory.join(format!("{UNFINISHED}{service}"));
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        self.sync()
            .map_err(|error| after(error, fs::rename(&aside, &path)))?;
        // Gone in any case by the next start.
        if let Err(error) = fs::remove_file(&aside) {
            tracing::warn!(%error, file = %aside.display(), "a removed entry was left over");
        }
        Ok(())
    }

    /// Keeps a copy of an unreadable file under another name, where it is never read.
    ///
    /// # Errors
    ///
    /// Where the file cannot be copied.
    pub fn keep_copy(&self, service: &str) -> io::Result<()> {
        let path = self.path(service);
        match fs::copy(&path, path.with_extension("json.bad")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    fn path(&self, service: &str) -> PathBuf {
        self.directory.join(file_name(service))
    }

    fn replace(&self, path: &Path, entry: &Entry) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(entry)?;
        text.push(b'\n');
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.directory)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failed| failed.error)?;
        Ok(())
    }

    /// Has a file that can be given up, unless it is there. A disk without room for it has none for
    /// anything else either, so that is no reason to refuse a start or a move.
    fn keep_room(&self) {
        let path = self.directory.join(SPARE);
        let whole = |found: fs::Metadata| found.len() == SPARE_BYTES as u64;
        if fs::metadata(&path).is_ok_and(whole) {
            return;
        }
        let kept = File::create(&path).and_then(|mut file| {
            file.write_all(&[0; SPARE_BYTES])?;
            file.sync_all()
        });
        if let Err(error) = kept {
            tracing::warn!(%error, file = %path.display(), "no room is kept for the next move");
            // Half of it would stand in the way of the next move.
            fs::remove_file(&path).ok();
        }
    }

    /// Gives up the room that was kept; whether there was any.
    fn give_room(&self) -> bool {
        fs::remove_file(self.directory.join(SPARE)).is_ok()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// `error`, and what became of putting back what was there before.
fn after(error: io::Error, back: io::Result<()>) -> io::Error {
    match back {
        Ok(()) => error,
        Err(back) => io::Error::new(
            error.kind(),
            format!("{error}; the entry before could not be put back: {back}"),
        ),
    }
}

fn file_name(service: &str) -> String {
    format!("{service}.json")
}

fn read(path: &Path, service: &str) -> Result<Entry, (String, bool)> {
    /// Enough of any version to know it.
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }

    let text = fs::read(path).map_err(|error| (error.to_string(), false))?;
    let version: Versioned =
        serde_json::from_slice(&text).map_err(|error| (error.to_string(), false))?;
    if version.v > VERSION {
        let reason = format!("version {} was written by a newer flipside", version.v);
        return Err((reason, true));
    }
    let entry: Entry = serde_json::from_slice(&text).map_err(|error| (error.to_string(), false))?;
    entry.check().map_err(|reason| (reason, false))?;
    if entry.service != service {
        return Err((format!("it names the service `{}`", entry.service), false));
    }
    Ok(entry)
}
