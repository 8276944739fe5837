//! The journal: what is written is read back, whatever the disk, the power or another operator does.

use std::collections::BTreeSet;
use std::future::ready;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flipside::cmd::operator::Operator;
use flipside::cmd::status;
use flipside::core::event::Event;
use flipside::core::names::Release;
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::error::Error;
use flipside::journal::{Journal, JournalError, Kind, Record, RunLog, Writer, digest_key};
use flipside::lease::Terms;
use flipside::report;

use crate::support::facts::{closed, events, opened, shop};
use crate::support::fake_engine::FakeEngine;
use crate::support::fake_pointer::{FakePointer, FakeVantage};
use crate::support::fake_world::FakeWorld;
use crate::support::faulty_store::{FaultyStore, PutFault};

const AT: u64 = 1_700_000_000_000;

/// A journal in memory that fails as the store is told to.
fn faulty() -> (FaultyStore, Journal) {
    let store = FaultyStore::new();
    let journal = Journal::over(Arc::new(store.clone()), "bucket", Kind::Bucket);
    (store, journal)
}

async fn in_directory() -> (tempfile::TempDir, Journal) {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path().to_str().unwrap()).await;
    (directory, journal.unwrap())
}

async fn begin(journal: &Journal, run: u64) -> Writer {
    let begun = journal.begin(&shop(), run, 1, AT, opened(run + 1)).await;
    begun.unwrap()
}

/// A finished run of four records, not sealed.
async fn finished(journal: &Journal, run: u64) -> Writer {
    let mut writer = begin(journal, run).await;
    for event in [Event::Marked, Event::Baked, closed(Outcome::Done)] {
        writer.append(1, AT + run, event).await.unwrap();
    }
    writer
}

/// The newest run, or what is wrong with it.
async fn newest(journal: &Journal) -> Result<Option<RunLog>, JournalError> {
    let newest = journal.runs(&shop(), 1).await?.pop();
    match newest {
        Some(RunLog {
            trouble: Some(trouble),
            ..
        }) => Err(trouble),
        sound => Ok(sound),
    }
}

async fn latest(journal: &Journal) -> RunLog {
    newest(journal).await.unwrap().unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.join("journal/shop")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_event_reads_back_as_written() {
    for (event, seq) in events().into_iter().zip(0..) {
        let record = Record {
            v: 1,
            service: shop(),
            run: 7,
            seq,
            fence: 3,
            at: AT,
            event,
        };
        let line = serde_json::to_string(&record).unwrap();
        assert!(!line.contains('\n'));
        let names = serde_json::from_str::<serde_json::Value>(&line).unwrap();
        assert_eq!(names["v"], 1, "{line}");
        let back: Record = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(back, record);
    }
}

/// The file is what version 1 wrote, for ever. A new kind of event is a new line at its end; a line
/// that is there is never edited.
#[test]
fn what_version_1_wrote_is_still_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-v1.jsonl");
    let records: Vec<Record> = events()
        .into_iter()
        .zip(0..)
        .map(|(event, seq)| Record {
            v: 1,
            service: shop(),
            run: 7,
            seq,
            fence: 3,
            at: AT + u64::from(seq),
            event,
        })
        .collect();
    if std::env::var_os("FLIPSIDE_WRITE_GOLDEN").is_some() {
        let lines = records.iter().map(|r| serde_json::to_string(r).unwrap());
        std::fs::write(&path, lines.map(|line| line + "\n").collect::<String>()).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let read = golden
        .lines()
        .map(|line| serde_json::from_str::<Record>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    assert_eq!(read.collect::<Vec<_>>(), records);
}

#[tokio::test]
async fn a_run_is_appended_resumed_sealed_and_read_back() {
    let (directory, journal) = in_directory().await;
    assert_eq!(newest(&journal).await.unwrap(), None);
    assert_eq!(journal.services().await.unwrap(), []);

    let mut writer = begin(&journal, 1).await;
    writer.append(1, AT + 1, Event::Marked).await.unwrap();
    drop(writer);
    let log = latest(&journal).await;
    assert_eq!((log.records.len(), log.sealed), (2, false));
    assert_eq!(log.outcome(), None);
    assert_eq!(log.release(), Some(Release(2)));

    let mut writer = journal.resume(&log).await.unwrap();
    let last = writer.append(2, AT + 2, closed(Outcome::Done)).await;
    assert_eq!(last.unwrap().seq, 2);
    let unsealed = latest(&journal).await;
    writer.seal().await.unwrap();
    assert_eq!(files(directory.path()).len(), 1);

    let sealed = latest(&journal).await;
    assert!(sealed.sealed);
    assert_eq!(sealed.records, unsealed.records);
    assert_eq!(sealed.outcome(), Some(Outcome::Done));
    assert_eq!(sealed.fence(), 2);
    assert_eq!(journal.services().await.unwrap(), [shop()]);
}

#[tokio::test]
async fn records_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, journal) = in_directory().await;
    begin(&journal, 1).await;
    let mode = std::fs::metadata(directory.path().join("journal")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn an_unfinished_run_is_not_sealed() {
    let (_directory, journal) = in_directory().await;
    begin(&journal, 1).await.seal().await.unwrap();
    assert!(!latest(&journal).await.sealed);
}

#[tokio::test]
async fn newest_runs_come_first_sealed_or_not() {
    for journal in [in_directory().await, {
        let directory = tempfile::tempdir().unwrap();
        (directory, faulty().1)
    }] {
        let (_directory, journal) = journal;
        for run in 1..=12 {
            let writer = finished(&journal, run).await;
            if run % 3 != 0 {
                writer.seal().await.unwrap();
            }
        }
        begin(&journal, 13).await;
        let runs = journal.runs(&shop(), 5).await.unwrap();
        let numbers: Vec<_> = runs.iter().map(|log| log.run).collect();
        assert_eq!(numbers, [13, 12, 11, 10, 9]);
        assert_eq!(latest(&journal).await.run, 13);
        assert_eq!(journal.runs(&shop(), 99).await.unwrap().len(), 13);
    }
}

#[tokio::test]
async fn a_crash_between_sealing_and_deleting_loses_nothing() {
    let (store, journal) = faulty();
    store.keep_deleted();
    finished(&journal, 1).await.seal().await.unwrap();
    let log = latest(&journal).await;
    assert_eq!((log.records.len(), log.sealed), (4, true));
    // Sealing again, as whoever cleans up does, meets its own object.
    let again = journal.resume(&log).await.unwrap();
    again.seal().await.unwrap();
}

#[tokio::test]
async fn a_second_writer_is_told_that_it_was_overtaken() {
    let (_directory, journal) = in_directory().await;
    let mut late = begin(&journal, 1).await;
    let log = latest(&journal).await;
    let mut new = journal.resume(&log).await.unwrap();
    new.append(2, AT, Event::Marked).await.unwrap();
    let refused = late.append(1, AT, Event::Baked).await.unwrap_err();
    assert!(
        matches!(&refused, JournalError::Overtaken { key } if key.ends_with(".000001.json")),
        "{refused}"
    );
    assert_eq!(latest(&journal).await.records[1].event, Event::Marked);
    let begun = journal.begin(&shop(), 1, 3, AT, opened(3)).await;
    assert!(matches!(begun, Err(JournalError::Overtaken { .. })));
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused_before_anything_is_written() {
    let (store, journal) = faulty();
    store.ignore_put_if_absent();
    let refused = journal.begin(&shop(), 1, 1, AT, opened(2)).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, JournalError::NotHonoured { .. }));
    assert!(refused.hint().unwrap().contains("--state"));
    assert_eq!(newest(&journal).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_disk_is_said_in_words_and_the_append_can_be_repeated() {
    let (store, journal) = faulty();
    let mut writer = begin(&journal, 1).await;
    store.fail_put(1, PutFault::Fails(ErrorKind::StorageFull));
    let full = writer.append(1, AT, Event::Marked).await.unwrap_err();
    assert_eq!(
        full.to_string(),
        "the journal in bucket is out of reach: the disk is full"
    );
    assert!(full.hint().unwrap().contains("--state"));
    writer.append(1, AT + 1, Event::Marked).await.unwrap();
    assert_eq!(latest(&journal).await.records.len(), 2);
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_not_taken_for_another_operators() {
    for repeated in [Event::Marked, Event::Baked] {
        let (store, journal) = faulty();
        let mut writer = begin(&journal, 1).await;
        store.fail_put(1, PutFault::LosesItsAnswer);
        let lost = writer.append(1, AT, Event::Marked).await;
        assert!(matches!(lost, Err(JournalError::OutOfReach { .. })));
        writer.append(1, AT + 5, repeated.clone()).await.unwrap();
        let log = latest(&journal).await;
        let mut expected = vec![Event::Marked];
        if repeated != Event::Marked {
            expected.push(repeated);
        }
        let read: Vec<_> = log.records[1..].iter().map(|r| r.event.clone()).collect();
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn a_damaged_record_is_named_and_hides_no_older_run() {
    for (damage, said) in [
        (&b""[..], "it is empty"),
        (b"\0\0\0\0", "it is no record"),
        (b"{\"v\":1,\"servi", "it is no record"),
        (b"{\"v\":1}", "it is no record"),
    ] {
        let (directory, journal) = in_directory().await;
        finished(&journal, 1).await.seal().await.unwrap();
        let mut writer = begin(&journal, 2).await;
        writer.append(1, AT, Event::Marked).await.unwrap();
        let last = &files(directory.path())[1];
        std::fs::write(last, damage).unwrap();

        let refused = newest(&journal).await.unwrap_err();
        let text = refused.to_string();
        assert!(text.contains(said), "{text}");
        assert!(text.contains(last.to_str().unwrap()), "{text}");
        let hint = refused.hint().unwrap();
        assert!(hint.contains(&format!("mv {}", last.display())), "{hint}");

        let runs = journal.runs(&shop(), 9).await.unwrap();
        assert_eq!((runs[0].run, runs[0].records.len()), (2, 1));
        assert_eq!(runs[0].trouble, Some(refused));
        assert_eq!((runs[1].run, runs[1].trouble.clone()), (1, None));
        assert!(journal.resume(&runs[0]).await.is_err());

        // The way out that the hint names.
        std::fs::rename(last, last.with_extension("json.damaged")).unwrap();
        let log = latest(&journal).await;
        assert_eq!(log.records.len(), 1);
        let mut writer = journal.resume(&log).await.unwrap();
        writer.append(2, AT, Event::Baked).await.unwrap();
        assert_eq!(latest(&journal).await.records.len(), 2);
    }
}

#[tokio::test]
async fn a_record_missing_in_the_middle_is_damage() {
    let (directory, journal) = in_directory().await;
    finished(&journal, 1).await;
    std::fs::remove_file(&files(directory.path())[1]).unwrap();
    let refused = newest(&journal).await.unwrap_err();
    assert!(refused.to_string().contains("it is missing"), "{refused}");
}

#[tokio::test]
async fn a_torn_sealed_run_is_damage_unless_its_single_records_are_there() {
    let (directory, journal) = in_directory().await;
    finished(&journal, 1).await.seal().await.unwrap();
    let path = &files(directory.path())[0];
    let whole = std::fs::read_to_string(path).unwrap();
    for end in [
        0,
        10,
        whole.len() / 2,
        whole.trim_end().rfind('\n').unwrap() + 1,
    ] {
        std::fs::write(path, &whole[..end]).unwrap();
        let refused = newest(&journal).await.unwrap_err();
        assert!(matches!(refused, JournalError::Damaged { .. }), "{refused}");
    }
    for (line, seq) in whole.lines().zip(0..) {
        let single = path.with_file_name(format!("{:020}.{seq:06}.json", u64::MAX - 1));
        std::fs::write(single, line).unwrap();
    }
    let log = latest(&journal).await;
    assert_eq!((log.records.len(), log.trouble), (4, None));
}

#[tokio::test]
async fn a_record_in_anothers_place_is_damage() {
    let (directory, journal) = in_directory().await;
    finished(&journal, 1).await;
    let files = files(directory.path());
    std::fs::copy(&files[2], &files[1]).unwrap();
    let refused = newest(&journal).await.unwrap_err();
    assert!(
        refused.to_string().contains("belongs elsewhere"),
        "{refused}"
    );
}

#[tokio::test]
async fn only_newer_than_known_is_refused() {
    let (directory, journal) = in_directory().await;
    begin(&journal, 1).await;
    let path = &files(directory.path())[0];
    let line = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, line.replacen("{", "{\"unheard_of\":[1],", 1)).unwrap();
    assert_eq!(latest(&journal).await.records.len(), 1);
    std::fs::write(path, line.replacen("\"v\":1", "\"v\":2", 1)).unwrap();
    let refused = newest(&journal).await.unwrap_err();
    assert!(matches!(refused, JournalError::Newer { v: 2, .. }));
}

#[tokio::test]
async fn a_thousand_runs_cost_no_more_requests_than_ten() {
    let (store, journal) = faulty();
    for run in 1..=1_000 {
        finished(&journal, run).await.seal().await.unwrap();
    }
    begin(&journal, 1_001).await;
    store.take_requests();

    latest(&journal).await;
    let asked = store.take_requests();
    assert_eq!((asked.lists, asked.gets, asked.puts), (1, 1, 0));
    assert!(asked.listed <= 2, "{asked:?}");

    assert_eq!(journal.runs(&shop(), 20).await.unwrap().len(), 20);
    let asked = store.take_requests();
    assert_eq!((asked.lists, asked.gets, asked.puts), (1, 20, 0));
    assert!(asked.listed <= 21, "{asked:?}");
}

/// What `flipside status` itself asks of the store, whatever it does with the answers.
#[tokio::test]
async fn status_of_a_thousand_releases_asks_the_store_five_times() {
    let (store, journal) = faulty();
    for run in 1..=1_000 {
        finished(&journal, run).await.seal().await.unwrap();
    }
    let world = FakeWorld::new();
    let operator = Operator {
        outside: None,
        service: shop(),
        engine: Arc::new(FakeEngine::over(&world)),
        pointer: Arc::new(FakePointer::over(&world, &shop())),
        vantage: Arc::new(FakeVantage { world }),
        journal: Ok(journal),
        report: report::open(report::Options {
            output: report::Output::Human,
            loudness: report::Loudness::Quiet,
        }),
        clock: Arc::new(|| AT),
        author: "ann@host".into(),
        terms: Terms::default(),
        lock_wait: Duration::ZERO,
        core: Core::default(),
        hooks: Arc::new(flipside::hook::Here),
        reload: Arc::new(|_| Box::pin(ready(Err(Error::NoService)))),
        began: Instant::now(),
    };
    store.take_requests();
    status::look(&operator).await.unwrap();
    let asked = store.take_requests();
    assert_eq!((asked.lists, asked.gets, asked.puts), (1, 4, 0));
    assert!(asked.listed <= 5, "{asked:?}");
}

#[tokio::test]
async fn a_reader_meets_a_run_whole_while_it_is_being_sealed() {
    let (_directory, journal) = in_directory().await;
    let writer = finished(&journal, 1).await;
    let reading = {
        let journal = journal.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                assert_eq!(latest(&journal).await.records.len(), 4);
            }
        })
    };
    writer.seal().await.unwrap();
    reading.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Journal::open(file.to_str().unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("not a directory"), "{refused}");
    let refused = Journal::open("s3://bucket/journal").await.unwrap_err();
    assert!(matches!(refused, JournalError::Unusable { .. }));
    let in_proc = Journal::open("/proc/flipside").await.unwrap_err();
    assert!(matches!(in_proc, JournalError::OutOfReach { .. }));
}

#[test]
fn the_digest_key_is_made_once_whoever_comes_first() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("state");
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let root = root.clone();
            std::thread::spawn(move || digest_key(&root).unwrap())
        })
        .collect();
    let keys: BTreeSet<_> = makers.into_iter().map(|m| m.join().unwrap()).collect();
    assert_eq!(keys.len(), 1);
    let names = std::fs::read_dir(&root).unwrap();
    assert_eq!(names.count(), 1);
    let path = root.join("digest.key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&path, "short").unwrap();
    let refused = digest_key(&root).unwrap_err();
    assert!(matches!(refused, JournalError::Damaged { .. }), "{refused}");
}
