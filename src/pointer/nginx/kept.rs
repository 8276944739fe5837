//! The include file on its disk, and what is on record in it.
//!
//! The record stands in the file's comments. What stood there before flipside came is put back byte
//! for byte, without any: its record stands beside it, in `NAME.conf.record`, and is believed as long
//! as the file says what that one remembers.

use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::super::record::{self, Record};
use super::conf;

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// None: there is no such file.
    pub(super) text: Option<String>,
    pub(super) record: Option<Record>,
    /// Whether the file is as it was written.
    pub(super) is_whole: bool,
}

impl Kept {
    /// What the file says.
    pub(super) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// The file itself, where a link leads to it.
pub(super) async fn place(include: &Path) -> PathBuf {
    let found = tokio::fs::canonicalize(include).await;
    found.unwrap_or_else(|_| include.to_owned())
}

fn beside(place: &Path, end: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(end);
    place.with_file_name(name)
}

/// Its text; none where there is no file.
pub(super) async fn text(place: &Path) -> Result<Option<String>> {
    match tokio::fs::read_to_string(place).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What stands there.
pub(super) async fn read(place: &Path) -> Result<Kept> {
    let text = text(place).await?;
    let (record, is_whole) = match text.as_deref().and_then(conf::record) {
        Some((record, is_whole)) => (Some(record?), is_whole),
        None => (remembered(place, text.as_deref()).await?, true),
    };
    Ok(Kept {
        text,
        record,
        is_whole,
    })
}

/// The record beside a file that says what that one remembers.
async fn remembered(place: &Path, text: Option<&str>) -> Result<Option<Record>> {
    let Some(line) = self::text(&beside(place, ".record")).await? else {
        return Ok(None);
    };
    let record = Record::read(line.trim_end())?;
    let foreign = record.meant().and_then(|routing| routing.foreign.as_ref());
    let is_it = text.is_some() && conf::include(foreign) == text;
    Ok(is_it.then_some(record))
}

/// Puts a record beside the file.
pub(super) async fn remember(place: &Path, record: &Record) -> Result<()> {
    record::replace(&beside(place, ".record"), &record.line()).await
}

/// Takes away what was put beside the file. Idempotent.
pub(super) async fn forget(place: &Path) -> Result<()> {
    remove(&beside(place, ".record")).await
}

async fn remove(path: &Path) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts `text` there, and keeps what stood there at hand: giving it back needs no room on the disk.
pub(super) async fn replace(place: &Path, text: &str) -> Result<()> {
    let old = beside(place, ".before");
    remove(&old).await?;
    match tokio::fs::hard_link(place, &old).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = record::replace(place, text).await;
    if written.is_err() {
        remove(&old).await?;
    }
    written
}

/// Lets go of what was kept at hand.
pub(super) async fn keep(place: &Path) -> Result<()> {
    remove(&beside(place, ".before")).await
}

/// Gives back what stood there.
pub(super) async fn put_back(place: &Path, old: &Kept) -> Result<()> {
    let Some(text) = &old.text else {
        return remove(place).await;
    };
    let at_hand = beside(place, ".before");
    match self::text(&at_hand).await {
        Ok(Some(kept)) if kept == *text => tokio::fs::rename(at_hand, place).await,
        _ => record::replace(place, text).await,
    }
}
