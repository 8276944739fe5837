//! A write of a preview, its end and its promotion, killed after each of their calls in turn: users are
//! served all along, never by what is only shown, and the next command mends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flipside::core::names::Release;
use flipside::core::routing::{Route, Routing};
use flipside::pointer::Pointer;
use tokio::task::JoinHandle;

use super::kit::{changes, checks, plan, pointer, showing};
use super::preview::{live, said};
use crate::support::aws::{Asked, Fault};
use crate::support::backends::get;
use crate::support::elb::Elb;
use crate::support::pointer_contract::Fixture;

/// Who ask the service all the time, and are answered by one of these alone.
struct Users {
    over: Arc<AtomicBool>,
    task: JoinHandle<u32>,
}

impl Users {
    fn of(at: SocketAddr, allowed: &'static [&'static str]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let task = tokio::spawn(async move {
            let mut asked = 0;
            while !ends.load(Ordering::Relaxed) {
                let said = get(at.port(), "shop").await;
                assert!(allowed.iter().any(|it| said.ends_with(it)), "{said}");
                asked += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            asked
        });
        Self { over, task }
    }

    async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        assert!(self.task.await.unwrap() > 0);
    }
}

/// Writes until so many of its calls are answered, and the next is done and not answered. Whether the
/// write was killed there; else it has come to its end.
async fn killed(
    elb: &Elb,
    of: &dyn Pointer,
    expected: u64,
    desired: &Routing,
    calls: usize,
) -> bool {
    if calls > 0 {
        elb.api.fault(changes, calls, Fault::Passes);
    }
    let held = elb.api.hold(changes, Fault::HeldAfter);
    let is_killed = tokio::select! {
        written = of.write(Some(expected), desired) => {
            written.unwrap();
            false
        }
        () = held.came() => true,
    };
    elb.api.heals();
    is_killed
}

/// As a run gives up a release that is shown, or may be.
async fn gives_up(fixture: &Fixture, of: &dyn Pointer, generation: u64) {
    let found = of.read().await.unwrap().unwrap();
    if found.generation == generation && found.route(Release(3)).is_some() {
        let written = of.write(Some(generation), &fixture.to(2)).await;
        assert_eq!(written, Ok(generation + 1));
    }
    of.forget(1, &[Release(3)]).await.unwrap();
}

/// Nothing of release 3 is left, and 1 stands by.
async fn is_as_before(elb: &Elb, fixture: &Fixture, of: &dyn Pointer, calls: usize) {
    assert!(elb.beside().is_empty(), "{calls}");
    let [one, two] = fixture.at.map(|at| at.port());
    assert_eq!(elb.targets("blue"), [one], "{calls}");
    assert_eq!(elb.targets("green"), [two], "{calls}");
    assert_eq!(said(elb).await, ["two", "two"], "{calls}");
    let found = of.read().await.unwrap().unwrap();
    assert_eq!(
        (found.live(), found.preview),
        (Some(Release(2)), None),
        "{calls}"
    );
    let back = of.write(Some(found.generation), &fixture.to(1)).await;
    assert_eq!(back, Ok(found.generation + 1), "{calls}");
    assert_eq!(said(elb).await, ["one", "one"], "{calls}");
}

fn asks_again(elb: &Elb) -> Arc<dyn Pointer> {
    pointer(&elb.api.endpoint(), showing(plan(elb.at)))
}

#[tokio::test]
async fn one_that_begins_to_show_it_is_gone_on_with() {
    let mut calls = 0;
    loop {
        let elb = Elb::start().await;
        let (fixture, shown) = live(&elb).await;
        let users = Users::of(elb.at, &["two"]);
        if !killed(&elb, fixture.pointer.as_ref(), 2, &shown, calls).await {
            users.stop().await;
            break;
        }
        let next = asks_again(&elb);
        let found = next.read().await.unwrap().unwrap();
        assert_eq!(found.live(), Some(Release(2)), "{calls}");
        match found.preview {
            Some(release) => assert_eq!((release, found.generation), (Release(3), 3), "{calls}"),
            None => assert_eq!(next.write(Some(2), &shown).await, Ok(3), "{calls}"),
        }
        assert_eq!(said(&elb).await, ["three", "two"], "{calls}");
        assert_eq!(elb.beside().len(), 1, "{calls}");
        users.stop().await;
        calls += 1;
    }
    // The note, what is taken out and in, the rule, and the note after it.
    assert!(calls >= 5, "{calls}");
}

/// Killed after each of its calls, which show a release or end that, and given up then.
async fn is_given_up(ends: bool) {
    let mut calls = 0;
    loop {
        let elb = Elb::start().await;
        let (fixture, shown) = live(&elb).await;
        let (expected, desired) = match ends {
            true => {
                fixture.pointer.write(Some(2), &shown).await.unwrap();
                (3, fixture.to(2))
            }
            false => (2, shown),
        };
        let users = Users::of(elb.at, &["two"]);
        if !killed(&elb, fixture.pointer.as_ref(), expected, &desired, calls).await {
            users.stop().await;
            break;
        }
        let next = asks_again(&elb);
        gives_up(&fixture, next.as_ref(), 3).await;
        users.stop().await;
        is_as_before(&elb, &fixture, next.as_ref(), calls).await;
        calls += 1;
    }
    assert!(calls >= 5, "{calls}");
}

#[tokio::test]
async fn one_that_begins_to_show_it_is_given_up() {
    is_given_up(false).await;
}

#[tokio::test]
async fn one_that_ends_it_is_gone_on_with() {
    is_given_up(true).await;
}

#[tokio::test]
async fn one_that_promotes_it_is_gone_on_with() {
    let mut calls = 0;
    loop {
        let elb = Elb::start().await;
        let (fixture, shown) = live(&elb).await;
        fixture.pointer.write(Some(2), &shown).await.unwrap();
        let users = Users::of(elb.at, &["two", "three"]);
        let promoted = Routing {
            routes: vec![Route {
                weight: 100,
                ..shown.routes[1].clone()
            }],
            ..fixture.to(2)
        };
        if !killed(&elb, fixture.pointer.as_ref(), 3, &promoted, calls).await {
            users.stop().await;
            break;
        }
        let next = asks_again(&elb);
        let found = next.read().await.unwrap().unwrap();
        match found.live() {
            Some(Release(2)) => {
                assert_eq!(found.generation, 3, "{calls}");
                assert_eq!(next.write(Some(3), &promoted).await, Ok(4), "{calls}");
            }
            live => assert_eq!((live, found.generation), (Some(Release(3)), 4), "{calls}"),
        }
        assert_eq!(said(&elb).await, ["three", "three"], "{calls}");
        assert!(elb.beside().is_empty(), "{calls}");
        assert_eq!(elb.targets("green"), [fixture.at[1].port()], "{calls}");
        users.stop().await;
        calls += 1;
    }
    assert!(calls >= 4, "{calls}");
}

/// Who gives it up for one that was killed comes to an end when what was pushed out is whole again.
#[tokio::test]
async fn what_comes_back_is_looked_at_before_it_is_over() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    // Its targets are registered, and no rule shows it yet.
    assert!(killed(&elb, fixture.pointer.as_ref(), 2, &shown, 2).await);
    let next = asks_again(&elb);
    let [one, _] = fixture.at.map(|at| at.port());
    assert_ne!(elb.targets("blue"), [one]);
    elb.initial(3);
    let looks = elb.api.count(checks);
    next.forget(1, &[Release(3)]).await.unwrap();
    assert!(elb.api.count(checks) > looks + 3);
    is_as_before(&elb, &fixture, next.as_ref(), 2).await;
}

/// Nothing serves, and nothing is left of it.
#[tokio::test]
async fn a_first_one_that_is_killed_leaves_nothing() {
    let mut calls = 0;
    loop {
        let elb = Elb::start().await;
        let before = elb.actions();
        let fixture = super::kit::behind_as(&elb, showing).await;
        let mut shown = fixture.shown();
        shown.routes.remove(0);
        if calls > 0 {
            elb.api.fault(changes, calls, Fault::Passes);
        }
        let held = elb.api.hold(changes, Fault::HeldAfter);
        let is_killed = tokio::select! {
            written = fixture.pointer.write(None, &shown) => { written.unwrap(); false }
            () = held.came() => true,
        };
        elb.api.heals();
        if !is_killed {
            break;
        }
        let next = asks_again(&elb);
        match next.read().await.unwrap() {
            Some(found) => {
                assert_eq!(
                    (found.generation, found.preview),
                    (1, Some(Release(2))),
                    "{calls}"
                );
                next.remove(1).await.unwrap();
            }
            None => next.forget(1, &[Release(2)]).await.unwrap(),
        }
        assert_eq!(next.read().await, Ok(None), "{calls}");
        assert!(elb.beside().is_empty(), "{calls}");
        assert!(
            elb.targets("blue").is_empty() && elb.targets("green").is_empty(),
            "{calls}"
        );
        assert!(elb.tags().is_empty(), "{calls}");
        assert_eq!(elb.actions(), before, "{calls}");
        calls += 1;
    }
    assert!(calls >= 4, "{calls}");
}

/// One that is late has stopped at its rule, while another one has moved on; then it wakes.
#[tokio::test]
async fn one_that_comes_late_leaves_no_rule() {
    let creates = |asked: &Asked| asked.body.starts_with("Action=CreateRule");
    for at in [Fault::Held, Fault::HeldAfter] {
        let elb = Elb::start().await;
        let (fixture, shown) = live(&elb).await;
        let held = elb.api.hold(creates, at);
        let other = asks_again(&elb);
        let meanwhile = async {
            held.came().await;
            let desired = Routing {
                fence: 2,
                ..fixture.to(1)
            };
            let found = other.read().await.unwrap().unwrap();
            other.write(Some(found.generation), &desired).await.unwrap();
            held.go();
        };
        let (late, ()) = tokio::join!(fixture.pointer.write(Some(2), &shown), meanwhile);
        assert!(late.is_err(), "{late:?}");
        assert!(elb.beside().is_empty());
        assert_eq!(said(&elb).await, ["one", "one"]);
        let found = other.read().await.unwrap().unwrap();
        assert_eq!((found.live(), found.fence), (Some(Release(1)), 2));
    }
}
