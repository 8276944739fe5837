//! Keys, and reading what lies under them. Writes nothing.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::record::{self, Place, Record, RunLog};
use super::{Journal, JournalError, Kind, local};
use crate::core::names::ServiceName;

/// The first part of every key.
pub(super) const ROOT: &str = "journal";

/// How many objects are fetched at a time.
const AT_A_TIME: usize = 8;

/// What one key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Single(u32),
    Sealed,
}

/// The objects of one run, as a listing shows them.
#[derive(Debug, Default)]
struct Objects {
    /// Places in the run, ascending.
    singles: Vec<u32>,
    sealed: Option<Path>,
}

fn directory(service: &ServiceName) -> Path {
    Path::from_iter([ROOT, service.as_str()])
}

/// Runs count up and keys sort upwards, so the newest run gets the lowest key.
fn key(service: &ServiceName, run: u64, rest: &str) -> Path {
    directory(service).join(format!("{:020}.{rest}", u64::MAX - run))
}

pub(super) fn single_key(service: &ServiceName, run: u64, seq: u32) -> Path {
    key(service, run, &format!("{seq:06}.json"))
}

pub(super) fn sealed_key(service: &ServiceName, run: u64) -> Path {
    key(service, run, "sealed.jsonl")
}

/// The run and part a key names; `None` for whatever else people put there.
fn parse(key: &Path) -> Option<(u64, Part)> {
    let (run, rest) = key.filename()?.split_once('.')?;
    if run.len() != 20 {
        return None;
    }
    let run = u64::MAX - run.parse::<u64>().ok()?;
    let part = match rest {
        "sealed.jsonl" => Part::Sealed,
        single => Part::Single(single.strip_suffix(".json")?.parse().ok()?),
    };
    Some((run, part))
}

pub(super) async fn services(journal: &Journal) -> Result<Vec<ServiceName>, JournalError> {
    let root = Path::from(ROOT);
    let listing = journal.store.list_with_delimiter(Some(&root)).await;
    let listing = listing.map_err(|error| journal.out_of_reach(&error))?;
    let names = listing.common_prefixes.iter();
    let mut services: Vec<_> = names
        .filter_map(|prefix| ServiceName::new(prefix.filename()?).ok())
        .collect();
    services.sort_unstable();
    Ok(services)
}

pub(super) async fn runs(
    journal: &Journal,
    service: &ServiceName,
    limit: usize,
) -> Result<Vec<RunLog>, JournalError> {
    let listed = list(journal, service, limit).await?;
    let newest = listed.into_iter().rev().take(limit);
    futures_util::stream::iter(newest)
        .map(|(run, objects)| read_run(journal, service, run, objects))
        .buffered(AT_A_TIME)
        .try_collect()
        .await
}

/// The objects of the newest `limit` runs at least, by run.
async fn list(
    journal: &Journal,
    service: &ServiceName,
    limit: usize,
) -> Result<BTreeMap<u64, Objects>, JournalError> {
    let mut runs: BTreeMap<u64, Objects> = BTreeMap::new();
    let directory = directory(service);
    let mut listing = match &journal.root {
        None => {
            let listing = journal.store.list(Some(&directory));
            listing.map_ok(|object| object.location).boxed()
        }
        Some(root) => {
            let names = local::names(root, directory.as_ref()).await?;
            let keys = names
                .into_iter()
                .map(|name| Ok(directory.clone().join(name)));
            futures_util::stream::iter(keys).boxed()
        }
    };
    loop {
        let key = match listing.try_next().await {
            Ok(Some(key)) => key,
            Ok(None) => break,
            // A service without records has no directory.
            Err(object_store::Error::NotFound { .. }) => break,
            Err(error) => return Err(journal.out_of_reach(&error)),
        };
        let Some((run, part)) = parse(&key) else {
            continue;
        };
        if journal.kind == Kind::Bucket && runs.len() == limit && !runs.contains_key(&run) {
            break;
        }
        let objects = runs.entry(run).or_default();
        match part {
            Part::Single(seq) => objects.singles.push(seq),
            Part::Sealed => objects.sealed = Some(key),
        }
    }
    for objects in runs.values_mut() {
        objects.singles.sort_unstable();
    }
    Ok(runs)
}

/// Reads one run: sealed where it is and is sound, else from its single records.
async fn read_run(
    journal: &Journal,
    service: &ServiceName,
    run: u64,
    objects: Objects,
) -> Result<RunLog, JournalError> {
    let sealed = match objects.sealed {
        Some(key) => read_sealed(journal, service, run, &key).await?,
        None => None,
    };
    match sealed {
        Some(log) if log.trouble.is_none() || objects.singles.is_empty() => return Ok(log),
        Some(troubled) => {
            let singles = read_singles(journal, service, run, &objects.singles).await?;
            let whole = singles.filter(|log| log.trouble.is_none() && log.outcome().is_some());
            return Ok(whole.unwrap_or(troubled));
        }
        None => {}
    }
    if let Some(log) = read_singles(journal, service, run, &objects.singles).await? {
        return Ok(log);
    }
    let key = sealed_key(service, run);
    let sealed = read_sealed(journal, service, run, &key).await?;
    sealed.ok_or_else(|| JournalError::Damaged {
        key: journal.place(&key),
        why: "its single records have gone, and it is not there".to_owned(),
    })
}

/// A sealed run; `None` where the object is not there.
async fn read_sealed(
    journal: &Journal,
    service: &ServiceName,
    run: u64,
    key: &Path,
) -> Result<Option<RunLog>, JournalError> {
    let Some(bytes) = fetch(journal, key).await? else {
        return Ok(None);
    };
    let (records, trouble) = record::read_sealed(&bytes, &journal.place(key), service, run);
    Ok(Some(RunLog {
        service: service.clone(),
        run,
        records,
        sealed: true,
        trouble,
    }))
}

/// The single records of a run up to the first that is missing, damaged or newer than known.
/// `None` where one has gone since the listing: the run has been sealed meanwhile.
async fn read_singles(
    journal: &Journal,
    service: &ServiceName,
    run: u64,
    listed: &[u32],
) -> Result<Option<RunLog>, JournalError> {
    let mut log = RunLog {
        service: service.clone(),
        run,
        records: Vec::new(),
        sealed: false,
        trouble: None,
    };
    let mut fetched = futures_util::stream::iter(listed.to_vec())
        .map(|seq| async move {
            let key = single_key(service, run, seq);
            let bytes = fetch(journal, &key).await?;
            Ok::<_, JournalError>((seq, key, bytes))
        })
        .buffered(AT_A_TIME);
    for expected in 0.. {
        let Some((seq, key, bytes)) = fetched.try_next().await? else {
            break;
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let read = if seq == expected {
            Record::read(&bytes, &journal.place(&key), Place { service, run, seq })
        } else {
            Err(JournalError::Damaged {
                key: journal.place(&single_key(service, run, expected)),
                why: "it is missing, though later ones are there".to_owned(),
            })
        };
        match read {
            Ok(record) => log.records.push(record),
            Err(trouble) => {
                log.trouble = Some(trouble);
                break;
            }
        }
    }
    Ok(Some(log))
}

/// An object's bytes; `None` where it is gone.
pub(super) async fn fetch(
    journal: &Journal,
    key: &Path,
) -> Result<Option<bytes::Bytes>, JournalError> {
    let answer = match journal.store.get(key).await {
        Ok(answer) => answer.bytes().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(journal.out_of_reach(&error)),
    }
}
