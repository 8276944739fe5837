//! Journals on bad days: shared by several engines, written by a newer flipside, deaf.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use flipside::cmd::ledger::RunLedger;
use flipside::cmd::operator::Runs;
use flipside::cmd::promote::promote;
use flipside::cmd::rollback::{Wanted, roll_back};
use flipside::core::action::Proof;
use flipside::core::event::{Event, Opened, Verb as Opens};
use flipside::core::names::Release;
use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use flipside::engine::Images;
use flipside::error::{Error, Exit};
use flipside::journal::{Journal, Kind, Writer};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::cases::{paused, scenarios, verdict};
use super::doors::{Blow, Moment};
use super::stage::{Actor, Done, Flaw, Machine, Stage, Verb};
use crate::support::facts;
use crate::support::fake_world::lock;
use crate::support::faults::Op;

fn stage(name: &str) -> Arc<Stage> {
    let mut all = scenarios(true).into_iter();
    let scenario = all.find(|scenario| scenario.name == name).unwrap();
    scenario.stage(Core::default(), Flaw::None)
}

fn opened(verb: Opens, engine: &str) -> Event {
    let Event::Opened(opened) = facts::opened(42) else {
        panic!("no opening record");
    };
    Event::Opened(Opened {
        verb,
        engine: engine.into(),
        ..opened
    })
}

/// A run of another engine in the journal of `actor`, as the next one.
async fn elsewhere(actor: &Actor) -> Writer {
    let journal = actor.operator.journal().unwrap();
    let service = &actor.operator.service;
    let next = actor.operator.runs().await.unwrap().next;
    let verb = Opens::Prune {
        releases: vec![],
        force: false,
    };
    let begun = journal.begin(service, next, 1, 0, opened(verb, "fake://another"));
    begun.await.unwrap()
}

/// Who comes after a deploy that was killed as it began to drain.
async fn after_a_killed_deploy(stage: &Arc<Stage>) -> Actor {
    let ann = stage.actor("ann@build", Machine::Here);
    ann.life.strike(Op::Settled, 0, Moment::Before, Blow::Dies);
    assert!(ann.until_struck(Verb::Deploy).await.is_none());
    stage.actor("dan@desk", Machine::Here)
}

#[test]
fn runs_of_another_engine_hide_none_of_this_ones() {
    paused(async {
        let stage = stage("third deploy");
        let next = after_a_killed_deploy(&stage).await;
        for _ in 0..20 {
            elsewhere(&next).await;
        }
        let done = next.perform(Verb::Resume).await;
        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn refused_rollbacks_hide_no_deploy_however_many_they_are() {
    paused(async {
        let stage = stage("third deploy");
        let next = after_a_killed_deploy(&stage).await;
        let operator = &next.operator;
        for _ in 0..9 {
            let verb = Opens::Rollback {
                from: Release(3),
                to: Release(2),
                proof: Proof::Round,
            };
            let run = operator.runs().await.unwrap().next;
            let first = opened(verb, operator.engine.address());
            let begun = operator.journal().unwrap();
            let mut writer = begun.begin(&stage.service, run, 1, 0, first).await.unwrap();
            let closed = facts::closed(Outcome::Stuck);
            writer.append(1, 0, closed).await.unwrap();
            writer.seal().await.unwrap();
        }
        let done = next.perform(Verb::Resume).await;
        assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
    });
}

#[test]
fn a_run_whose_number_was_taken_meanwhile_gets_the_next() {
    let rollback = Opens::Rollback {
        from: Release(42),
        to: Release(41),
        proof: Proof::Round,
    };
    let deploy = Opens::Deploy {
        release: Release(42),
        slot: flipside::core::names::Slot::Blue,
        until_preview: false,
    };
    for verb in [rollback, deploy] {
        paused(async {
            let stage = stage("rollback");
            let actor = stage.actor("ann@build", Machine::Here);
            let operator = &actor.operator;
            let run = operator.runs().await.unwrap().next;
            elsewhere(&actor).await;
            let Event::Opened(first) = opened(verb, "fake://engine") else {
                panic!("no opening record");
            };
            let (report, clock) = (Arc::clone(&operator.report), Arc::clone(&operator.clock));
            let ledger = RunLedger::open(
                &operator.journal,
                &stage.service,
                run,
                &first,
                report,
                clock,
                operator.core.goes_on,
            );
            ledger.await.unwrap();
            assert_eq!(operator.runs().await.unwrap()[0].run, run + 1);
        });
    }
}

#[test]
fn what_a_newer_flipside_has_written_stops_every_verb_but_rollback() {
    for verb in [Verb::Deploy, Verb::Prune, Verb::Resume, Verb::Abort] {
        paused(async {
            let stage = newer().await;
            let done = stage.actor("ann@build", Machine::Here).perform(verb).await;
            let Done::Refused(error) = done else {
                panic!("{verb:?}: {done:?}");
            };
            assert!(matches!(error, Error::TooNew { .. }), "{verb:?}: {error}");
            assert_eq!(error.exit(), Exit::Decide);
        });
    }
    paused(async {
        let stage = newer().await;
        let ann = stage.actor("ann@build", Machine::Here);
        let refused = promote(&ann.operator).await.unwrap_err();
        assert!(matches!(refused, Error::TooNew { .. }), "{refused}");
        let back = ann.perform(Verb::Rollback).await;
        assert_eq!(back.outcome(), Some(Outcome::Done), "{back:?}");
        assert_eq!(verdict(&stage), Ok(()));
    });
}

/// A stage in whose journal the newest run is of a version still to come.
async fn newer() -> Arc<Stage> {
    let stage = stage("rollback");
    let actor = stage.actor("eve@desk", Machine::Here);
    let key = format!("journal/shop/{:020}.000000.json", u64::MAX - 3);
    let record = PutPayload::from_static(br#"{"v": 99}"#);
    let put = actor.tape.store.put(&Path::from(key), record).await;
    put.unwrap();
    stage
}

/// Takes every request and answers none.
#[derive(Debug, Default)]
struct Deaf {
    asked: AtomicU32,
}

impl fmt::Display for Deaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deaf")
    }
}

impl Deaf {
    async fn never<T>(&self) -> T {
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[async_trait]
impl ObjectStore for Deaf {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.never().await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.never().await
    }

    async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
        self.never().await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        futures_util::stream::pending().boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        futures_util::stream::pending().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        self.never().await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        self.never().await
    }
}

#[test]
fn a_rollback_waits_once_for_a_journal_that_does_not_answer() {
    paused(async {
        let stage = stage("rollback");
        let store = Arc::new(Deaf::default());
        let mut ann = stage.actor("ann@build", Machine::WithoutStore);
        let deaf = Arc::clone(&store) as Arc<dyn ObjectStore>;
        ann.operator.journal = Ok(Journal::over(deaf, "deaf", Kind::Directory));
        stage.checker().begin();
        stage.checker().unrecorded("nowhere");
        let operator = &ann.operator;
        let world = operator.look().await.unwrap();
        let known = operator.runs().await.unwrap_or_else(Runs::unread);
        let wanted = Wanted {
            to: None,
            proof: Proof::Round,
        };
        let ended = roll_back(operator, wanted, world, &known).await.unwrap();
        assert_eq!(ended.outcome, Outcome::Done);
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        assert_eq!(verdict(&stage), Ok(()));
    });
}

#[test]
fn what_was_forced_live_is_not_proven_by_it() {
    for pointer_keeps_marks in [true, false] {
        paused(async {
            let mut all = scenarios(pointer_keeps_marks).into_iter();
            let rollback = all.find(|scenario| scenario.name == "rollback").unwrap();
            let stage = rollback.stage(Core::default(), Flaw::None);
            let spec = facts::spec(7, &stage.plan);
            lock(&stage.world).stand_up(&spec, &Images::new(), usize::MAX);
            let ann = stage.actor("ann@build", Machine::Here);
            let operator = &ann.operator;
            let world = operator.look().await.unwrap();
            let known = operator.runs().await.unwrap();
            let wanted = Wanted {
                to: Some(Release(7)),
                proof: Proof::Trusted,
            };
            let ended = roll_back(operator, wanted, world, &known).await.unwrap();
            assert_eq!(
                (ended.outcome, ended.state.live()),
                (Outcome::Done, Some(Release(7)))
            );

            let done = stage
                .actor("dan@desk", Machine::Here)
                .perform(Verb::Deploy)
                .await;
            assert_eq!(done.outcome(), Some(Outcome::Done), "{done:?}");
            let world = operator.look().await.unwrap();
            let view = flipside::core::survey::survey(&world);
            let marks = view.marks[&Release(7)];
            assert!(!marks.proven && marks.served.is_some(), "{marks:?}");
            assert!(view.withdrawn.contains(&Release(7)), "{view:?}");
            assert!(!view.standby.contains(&Release(7)), "{view:?}");
        });
    }
}
