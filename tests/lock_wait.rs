//! `--lock-wait`: a holder who lives is waited for, for as long as was said and no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flipside::cmd::operator::{Held, Operator};
use flipside::drive::Core;
use flipside::error::Error;
use flipside::journal::JournalError;
use flipside::lease::{Acquired, Lease, Patience, Terms, Who, acquire};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::report_lines::desk::{Paper, plain_lines};
use crate::support::facts::shop;
use crate::support::fake_engine::FakeEngine;
use crate::support::fake_pointer::{FakePointer, FakeVantage};
use crate::support::fake_world::{FakeWorld, Shared};
use crate::support::hooks;

const SECOND: Duration = Duration::from_secs(1);

/// How long it takes at most until one elsewhere is seen to live: its next renewal.
const SEEN: Duration = Duration::from_secs(6);

/// Someone who wants the service, and what that one is told.
struct Waiter {
    operator: Operator,
    err: Paper,
}

impl Waiter {
    fn new(world: &Shared, lock_wait: Duration) -> Self {
        let err = Paper::default();
        let operator = Operator {
            outside: None,
            service: shop(),
            engine: Arc::new(FakeEngine::over(world)),
            pointer: Arc::new(FakePointer::over(world, &shop())),
            vantage: Arc::new(FakeVantage {
                world: Arc::clone(world),
            }),
            journal: Err(JournalError::OutOfReach {
                store: "nowhere".into(),
                why: "there is none".into(),
                hint: None,
            }),
            report: plain_lines(&err),
            clock: Arc::new(|| 0),
            author: "bob@b".into(),
            terms: Terms::default(),
            lock_wait,
            core: Core::default(),
            hooks: hooks::deployer(world),
            reload: Arc::new(|_| Box::pin(async { Err(Error::NoService) })),
            began: std::time::Instant::now(),
        };
        Self { operator, err }
    }

    async fn wants(&self, floor: u64) -> Result<Held, Error> {
        self.operator.acquire(async || Ok(floor)).await
    }

    /// What was told on standard error.
    fn told(&self) -> String {
        self.operator.report.close();
        self.err.text()
    }
}

/// One who holds the service, of whose process nobody here knows anything.
async fn held(world: &Shared) -> Lease {
    let who = Who {
        name: "ann@a".into(),
        process: None,
        state: "/var/lib/flipside".into(),
    };
    let engine = Arc::new(FakeEngine::over(world));
    let (terms, patience) = (Terms::default(), Patience::Refuse);
    match acquire(engine, &shop(), &who, 0, terms, patience).await {
        Ok(Acquired::Got(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

fn held_by(wanted: Result<Held, Error>) -> String {
    match wanted {
        Err(Error::HeldBy { service, holder }) if service == "shop" => holder,
        Err(other) => panic!("{other}"),
        Ok(held) => panic!("got {:?}", held.lease),
    }
}

#[tokio::test(start_paused = true)]
async fn a_living_holder_is_waited_for_and_named() {
    let world = FakeWorld::new();
    let lease = held(&world).await;
    let waiter = Waiter::new(&world, SECOND * 600);
    let began = Instant::now();
    let letting_go = async {
        sleep(SECOND * 100).await;
        lease.release().await.unwrap();
    };
    let (wanted, ()) = tokio::join!(waiter.wants(0), letting_go);
    let waited = began.elapsed();
    assert!((SECOND * 100..SECOND * 107).contains(&waited), "{waited:?}");
    let ours = wanted.unwrap();
    assert!(ours.lease.hold().await.is_ok());
    let told = waiter.told();
    let said = "ann@a (journal in /var/lib/flipside) holds `shop`: waiting for up to 10m\n";
    assert_eq!(told.matches(said).count(), 1, "{told}");
    let shown = "waiting for ann@a to let go of `shop`\n";
    assert_eq!(told.matches(shown).count(), 1, "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_runs_out_and_the_holder_is_named() {
    for seconds in [1, 30, 600] {
        let world = FakeWorld::new();
        let _lease = held(&world).await;
        let waiter = Waiter::new(&world, SECOND * seconds);
        let began = Instant::now();
        let holder = held_by(waiter.wants(0).await);
        assert_eq!(holder, "ann@a (journal in /var/lib/flipside)");
        let (waited, limit) = (began.elapsed(), SECOND * seconds);
        assert!((limit..limit + SEEN).contains(&waited), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_the_answer_comes_as_soon_as_the_holder_is_seen_to_live() {
    let world = FakeWorld::new();
    let _lease = held(&world).await;
    let waiter = Waiter::new(&world, Duration::ZERO);
    let began = Instant::now();
    held_by(waiter.wants(0).await);
    assert!(began.elapsed() < SEEN, "{:?}", began.elapsed());
    assert_eq!(waiter.told(), "");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_meanwhile_is_not_waited_for_to_the_end() {
    let world = FakeWorld::new();
    let lease = held(&world).await;
    let waiter = Waiter::new(&world, SECOND * 600);
    let began = Instant::now();
    let dying = async {
        sleep(SECOND * 20).await;
        drop(lease);
    };
    let (wanted, ()) = tokio::join!(waiter.wants(0), dying);
    assert!(wanted.is_ok());
    let waited = began.elapsed();
    // Its lifetime is 15 s, and counts from when its last token was first seen.
    assert!((SECOND * 30..SECOND * 45).contains(&waited), "{waited:?}");
}

/// The holder goes on for as long as it holds, and may have acted with any number since.
#[tokio::test(start_paused = true)]
async fn what_the_holder_did_meanwhile_counts() {
    let world = FakeWorld::new();
    let lease = held(&world).await;
    let waiter = Waiter::new(&world, SECOND * 60);
    let floor = AtomicU64::new(7);
    let acting = async {
        sleep(SECOND * 20).await;
        floor.store(70, Ordering::Relaxed);
        lease.release().await.unwrap();
    };
    let wanting = waiter
        .operator
        .acquire(async || Ok(floor.load(Ordering::Relaxed)));
    let (wanted, ()) = tokio::join!(wanting, acting);
    assert_eq!(wanted.unwrap().lease.fence(), 71);
}

#[tokio::test(start_paused = true)]
async fn of_many_who_wait_each_gets_its_turn() {
    let world = FakeWorld::new();
    let lease = held(&world).await;
    let waiters: Vec<_> = (0..4).map(|_| Waiter::new(&world, SECOND * 600)).collect();
    let turns = waiters.iter().map(async |waiter| {
        let held = waiter.wants(0).await.unwrap();
        sleep(SECOND * 3).await;
        held.lease.hold().await.unwrap();
        held.lease.release().await.unwrap();
    });
    let letting_go = async {
        sleep(SECOND * 10).await;
        lease.release().await.unwrap();
    };
    tokio::join!(join_all(turns), letting_go);
}
