//! The lock: one holder at a time, a dead one's frees itself, a late one's acts are refused.

use std::sync::Arc;
use std::time::Duration;

use flipside::core::action::Ask;
use flipside::engine::{Engine, EngineError, Token};
use flipside::lease::{
    Acquired, Holder, Lease, LeaseLost, Patience, Process, Reply, Terms, Who, acquire, ask,
    take_over,
};
use tokio::time::{Instant, sleep};

use crate::support::facts::shop;
use crate::support::fake_engine::FakeEngine;
use crate::support::fake_world::{FakeWorld, lock};
use crate::support::faults::{Fault, Op};

const SECOND: Duration = Duration::from_secs(1);

/// Somebody of whose process nobody here knows anything.
fn far(name: &str) -> Who {
    Who {
        name: name.into(),
        process: None,
        state: "/var/lib/flipside".into(),
    }
}

async fn want(engine: &FakeEngine, who: &Who, floor: u64, patience: Patience) -> Acquired {
    let engine = Arc::new(engine.clone());
    acquire(engine, &shop(), who, floor, Terms::default(), patience)
        .await
        .unwrap()
}

fn got(acquired: Acquired) -> Lease {
    match acquired {
        Acquired::Got(lease) => lease,
        Acquired::HeldBy(holder) => panic!("held by {holder}"),
    }
}

fn refused(acquired: Acquired) -> Holder {
    match acquired {
        Acquired::Got(lease) => panic!("got {lease:?}"),
        Acquired::HeldBy(holder) => holder,
    }
}

async fn over(engine: &FakeEngine, who: &Who, floor: u64) -> Acquired {
    let engine = Arc::new(engine.clone());
    take_over(engine, &shop(), who, floor, Terms::default())
        .await
        .unwrap()
}

fn names(engine: &FakeEngine) -> Vec<String> {
    lock(&engine.world).tokens.keys().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_gets_it_above_every_number_seen() {
    let engine = FakeEngine::new();
    let lease = got(want(&engine, &far("ann@a"), 41, Patience::Refuse).await);
    assert_eq!(lease.fence(), 42);
    assert_eq!(lease.hold().await, Ok(42));
    let token = lock(&engine.world).tokens["flipside.shop.lease.42"]
        .1
        .clone();
    let label = |name: &str| token.labels[name].clone();
    assert_eq!(label("kind"), "lease");
    assert_eq!(label("holder"), "ann@a");
    assert_eq!(label("lifetime_ms"), "15000");
    assert_eq!(label("state"), "/var/lib/flipside");
    lease.release().await.unwrap();
    assert!(names(&engine).is_empty());
    assert!(lease.hold().await.is_err(), "what was let go holds nothing");
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_and_leaves_one_token() {
    let engine = FakeEngine::new();
    let lease = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    sleep(SECOND * 61).await;
    assert_eq!(lease.fence(), 13);
    assert_eq!(names(&engine), ["flipside.shop.lease.13"]);
    let asked = lock(&engine.world).faults.calls.len();
    assert_eq!(lease.hold().await, Ok(13));
    assert_eq!(lock(&engine.world).faults.calls.len(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_living_holder_elsewhere_is_named_once_it_renews() {
    let engine = FakeEngine::new();
    let _held = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    let began = Instant::now();
    let holder = refused(want(&engine, &far("bob@b"), 0, Patience::Refuse).await);
    assert!(began.elapsed() < SECOND * 6, "{:?}", began.elapsed());
    assert_eq!(holder.name, "ann@a");
    assert_eq!(holder.to_string(), "ann@a (journal in /var/lib/flipside)");
}

#[tokio::test(start_paused = true)]
async fn without_patience_the_answer_comes_at_once() {
    let engine = FakeEngine::new();
    let _held = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    let began = Instant::now();
    refused(want(&engine, &far("bob@b"), 0, Patience::Now).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_elsewhere_frees_itself_after_its_lifetime() {
    let engine = FakeEngine::new();
    let dead = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    drop(dead);
    let began = Instant::now();
    let lease = got(want(&engine, &far("bob@b"), 0, Patience::Refuse).await);
    let waited = began.elapsed();
    assert!((SECOND * 15..SECOND * 16).contains(&waited), "{waited:?}");
    assert_eq!(lease.fence(), 2);
    assert_eq!(names(&engine), ["flipside.shop.lease.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_holder_on_this_machine_is_known_to_live_or_not_at_once() {
    let engine = FakeEngine::new();
    let here = Who::here("ann@a", "/srv/state");
    let lease = got(want(&engine, &here, 0, Patience::Refuse).await);
    let began = Instant::now();
    let holder = refused(want(&engine, &here, 0, Patience::Refuse).await);
    assert_eq!(holder.pid, Some(std::process::id()));
    drop(lease);

    let mut gone = Process::here().unwrap();
    gone.started -= 1;
    lock(&engine.world).tokens.clear();
    let dead = Who {
        process: Some(gone),
        ..here.clone()
    };
    drop(got(want(&engine, &dead, 0, Patience::Refuse).await));
    got(want(&engine, &here, 0, Patience::Now).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn of_many_who_race_one_gets_it_whatever_their_stores_say() {
    for same_floor in [true, false] {
        let world = FakeWorld::new();
        let racers: Vec<_> = (0..8u64)
            .map(|n| {
                let engine = FakeEngine::over(&world);
                let floor = if same_floor { 0 } else { n * 3 };
                tokio::spawn(async move {
                    let who = far(&format!("r{n}@h"));
                    want(&engine, &who, floor, Patience::Refuse).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        let mut named = Vec::new();
        for racer in racers {
            match racer.await.unwrap() {
                Acquired::Got(lease) => winners.push(lease),
                Acquired::HeldBy(holder) => named.push(holder.name),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(named.len(), 7);
        let winner = &lock(&world).tokens;
        assert_eq!(winner.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_find_it_dead_one_gets_it() {
    let world = FakeWorld::new();
    let dead = want(&FakeEngine::over(&world), &far("x@x"), 0, Patience::Refuse).await;
    drop(got(dead));
    let racers: Vec<_> = (0..8u64)
        .map(|n| {
            let engine = FakeEngine::over(&world);
            tokio::spawn(async move {
                want(&engine, &far(&format!("r{n}@h")), n, Patience::Refuse).await
            })
        })
        .collect();
    let mut leases = Vec::new();
    for racer in racers {
        if let Acquired::Got(lease) = racer.await.unwrap() {
            leases.push(lease);
        }
    }
    assert_eq!(leases.len(), 1, "{leases:?}");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_holder_finds_out_when_it_wakes() {
    let world = FakeWorld::new();
    let (ann, bob) = (FakeEngine::over(&world), FakeEngine::over(&world));
    let frozen = got(want(&ann, &far("ann@a"), 0, Patience::Refuse).await);
    ann.cut();
    sleep(SECOND * 14).await;
    assert!(matches!(frozen.hold().await, Err(LeaseLost::Unknown(_))));
    let new = got(want(&bob, &far("bob@b"), 0, Patience::Refuse).await);
    ann.mend();
    let lost = frozen.hold().await.unwrap_err();
    assert!(
        matches!(&lost, LeaseLost::Taken { by } if by.name == "bob@b"),
        "{lost}"
    );
    assert_eq!(new.hold().await, Ok(new.fence()));
    assert_eq!(
        names(&bob),
        [format!("flipside.shop.lease.{}", new.fence())]
    );
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_stood_still_while_another_came_and_went_has_lost_it() {
    let world = FakeWorld::new();
    let (ann, bob) = (FakeEngine::over(&world), FakeEngine::over(&world));
    let frozen = got(want(&ann, &far("ann@a"), 0, Patience::Refuse).await);
    ann.cut();
    let new = got(want(&bob, &far("bob@b"), 0, Patience::Refuse).await);
    new.release().await.unwrap();
    ann.mend();
    assert_eq!(frozen.hold().await, Err(LeaseLost::Expired));
    assert!(names(&bob).is_empty());
}

#[tokio::test(start_paused = true)]
async fn taking_over_does_not_wait_and_outlasts_its_release() {
    let world = FakeWorld::new();
    let (ann, bob) = (FakeEngine::over(&world), FakeEngine::over(&world));
    let silent = got(want(&ann, &far("ann@a"), 0, Patience::Refuse).await);
    ann.cut();
    let began = Instant::now();
    let taken = got(over(&bob, &far("bob@b"), 5).await);
    assert_eq!((taken.fence(), began.elapsed()), (6, Duration::ZERO));
    assert_eq!(names(&bob), ["flipside.shop.lease.6"]);
    taken.release().await.unwrap();
    taken.release().await.unwrap();
    assert_eq!(names(&bob), ["flipside.shop.lease.7"]);

    // The holder wakes within its lifetime: its lease looks young, its next renewal tells it.
    ann.mend();
    sleep(SECOND * 6).await;
    let lost = silent.hold().await.unwrap_err();
    assert!(matches!(lost, LeaseLost::Taken { .. }), "{lost}");

    // What the release has left keeps nobody out, and goes with the next holder.
    let began = Instant::now();
    let next = got(want(&bob, &far("eve@e"), 0, Patience::Now).await);
    assert_eq!((next.fence(), began.elapsed()), (8, Duration::ZERO));
    next.release().await.unwrap();
    assert!(names(&bob).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_save_the_holder_that_is_being_taken_from() {
    let world = FakeWorld::new();
    let (ann, bob) = (FakeEngine::over(&world), FakeEngine::over(&world));
    let silent = got(want(&ann, &far("ann@a"), 0, Patience::Refuse).await);
    let bob_at = far("bob@b");
    let mut taking = std::pin::pin!(over(&bob, &bob_at, 0));
    let looks = |world: &FakeWorld| {
        let calls = world.faults.calls.iter();
        calls.filter(|op| **op == Op::Tokens).count()
    };
    let before = looks(&lock(&world));
    while looks(&lock(&world)) == before {
        assert!(futures_util::poll!(&mut taking).is_pending());
    }
    // It has looked, and has not claimed yet.
    assert_eq!(silent.confirm().await, Ok(2));
    let taken = got(taking.await);
    assert_eq!(taken.fence(), 3);
    assert!(silent.confirm().await.is_err());
    assert_eq!(names(&bob), ["flipside.shop.lease.3"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_take_over_at_once_one_gets_it() {
    let world = FakeWorld::new();
    let held = want(&FakeEngine::over(&world), &far("x@x"), 0, Patience::Refuse).await;
    drop(got(held));
    let take = |name: &'static str| {
        let engine = FakeEngine::over(&world);
        tokio::spawn(async move { over(&engine, &far(name), 0).await })
    };
    let (ann, bob) = (take("ann@a"), take("bob@b"));
    let both = [ann.await.unwrap(), bob.await.unwrap()];
    let got = both.iter().filter(|a| matches!(a, Acquired::Got(_)));
    assert_eq!(got.count(), 1, "{both:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pruned_token_is_made_again() {
    let engine = FakeEngine::new();
    let lease = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    lock(&engine.world).tokens.clear();
    sleep(SECOND * 6).await;
    assert_eq!(lease.hold().await, Ok(2));
    assert_eq!(names(&engine), ["flipside.shop.lease.2"]);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_made_sure_of() {
    for (op, fault) in [
        (Op::Claim, Fault::LostAfter),
        (Op::Claim, Fault::LostBefore),
        (Op::Claim, Fault::Late),
        (Op::DropToken, Fault::LostAfter),
        (Op::DropToken, Fault::LostBefore),
    ] {
        let engine = FakeEngine::new();
        drop(got(want(&engine, &far("dead@x"), 0, Patience::Refuse).await));
        lock(&engine.world).faults.plan(op, [fault.clone()]);
        let lease = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
        lock(&engine.world).land_late();
        lock(&engine.world).faults.plan(op, [fault]);
        sleep(SECOND * 21).await;
        assert!(lease.hold().await.is_ok());
        lease.release().await.unwrap();
        assert!(names(&engine).is_empty(), "{op:?}: {:?}", names(&engine));
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_out_of_reach_is_said() {
    let engine = FakeEngine::new();
    engine.cut();
    let (terms, patience) = (Terms::default(), Patience::Refuse);
    let refused = acquire(Arc::new(engine), &shop(), &far("ann@a"), 0, terms, patience)
        .await
        .unwrap_err();
    assert!(matches!(refused, EngineError::OutOfReach { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_found_and_answered() {
    let engine = FakeEngine::new();
    let shared: Arc<dyn Engine> = Arc::new(engine.clone());
    let nobody = ask(Arc::clone(&shared), &shop(), &Ask::Abort, "bob@b").await;
    assert!(nobody.unwrap().is_none());

    let lease = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    let asked = ask(Arc::clone(&shared), &shop(), &Ask::Yield, "bob@b").await;
    let asked = asked.unwrap().unwrap();
    assert_eq!(asked.answered(SECOND * 2).await.unwrap(), Reply::Silent);

    let pending = lease.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!((&pending[0].ask, &*pending[0].by), (&Ask::Yield, "bob@b"));
    lease.answer(&pending[0]).await.unwrap();
    assert_eq!(asked.answered(SECOND * 2).await.unwrap(), Reply::Taken);
    asked.withdraw().await.unwrap();

    let asked = ask(Arc::clone(&shared), &shop(), &Ask::Abort, "bob@b").await;
    let asked = asked.unwrap().unwrap();
    lease.release().await.unwrap();
    assert_eq!(asked.answered(SECOND * 2).await.unwrap(), Reply::Gone);
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_dead_holder_are_not_the_next_ones() {
    let engine = FakeEngine::new();
    let shared: Arc<dyn Engine> = Arc::new(engine.clone());
    let dead = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    let asked = ask(Arc::clone(&shared), &shop(), &Ask::Abort, "bob@b").await;
    assert!(asked.unwrap().is_some());
    drop(dead);
    let lease = got(want(&engine, &far("eve@e"), 0, Patience::Refuse).await);
    assert_eq!(lease.pending().await.unwrap(), []);
    lease.release().await.unwrap();
    assert!(names(&engine).is_empty());
}

#[tokio::test(start_paused = true)]
async fn several_may_ask_at_once() {
    let engine = FakeEngine::new();
    let lease = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    let asking: Vec<_> = (0..5)
        .map(|n| {
            let engine: Arc<dyn Engine> = Arc::new(engine.clone());
            let by = format!("r{n}@h");
            tokio::spawn(async move { ask(engine, &shop(), &Ask::Promote, &by).await })
        })
        .collect();
    for one in asking {
        assert!(one.await.unwrap().unwrap().is_some());
    }
    let pending = lease.pending().await.unwrap();
    let mut by: Vec<_> = pending.iter().map(|request| request.by.clone()).collect();
    by.sort();
    assert_eq!(by, ["r0@h", "r1@h", "r2@h", "r3@h", "r4@h"]);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_nonsense_do_no_harm() {
    let engine = FakeEngine::new();
    for name in ["flipside.shop.lease.x", "flipside.shop.ask.", "other"] {
        let token = Token {
            name: name.into(),
            labels: [("kind".to_owned(), "lease".to_owned())].into(),
        };
        engine.claim(&shop(), &token).await.unwrap();
    }
    let lease = got(want(&engine, &far("ann@a"), 0, Patience::Now).await);
    assert_eq!(lease.pending().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_labels_takes_nothing_over() {
    let engine = FakeEngine::new();
    let lease = got(want(&engine, &far("ann@a"), 0, Patience::Refuse).await);
    let bare = Token {
        name: format!("flipside.shop.lease.{}", lease.fence() + 1),
        labels: [].into(),
    };
    engine.claim(&shop(), &bare).await.unwrap();
    sleep(60 * SECOND).await;
    lease.hold().await.unwrap();
    assert_eq!(names(&engine).len(), 1);
}
