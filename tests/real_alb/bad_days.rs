//! What goes wrong with AWS's API and with targets, and what is true then.

use flipside::core::event::SwitchRefusal;
use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::pointer::PointerError;

use super::kit::{answers, any, behind, behind_as, moves, notes, plan, pointer};
use crate::support::aws::{Fault, Held, refusal};
use crate::support::elb::Elb;
use crate::support::pointer_contract::Fixture;

fn is_away<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    matches!(said, Err(PointerError::OutOfReach { .. }))
}

/// Release 1 is live.
async fn live() -> (Elb, Fixture) {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    (elb, fixture)
}

#[tokio::test]
async fn an_api_that_is_down_is_out_of_reach_and_the_service_is_served() {
    let (mut elb, fixture) = live().await;
    let pointer = &fixture.pointer;
    let known = pointer.read().await.unwrap();
    elb.api.stop().await;
    assert!(is_away(&pointer.ready(&Silent).await));
    assert!(is_away(&pointer.foresee().await));
    assert!(is_away(&pointer.read().await));
    assert!(is_away(&pointer.write(Some(1), &fixture.to(2)).await));
    let port = elb.at.port();
    assert!(
        crate::support::backends::get(port, "shop")
            .await
            .ends_with("one")
    );
    elb.api.restart().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_looking() {
    let (elb, fixture) = live().await;
    elb.api.fault(moves, 1, Fault::CutAfter);
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn a_request_that_is_lost_on_its_way_moves_nothing() {
    let (elb, fixture) = live().await;
    elb.api.fault(moves, 1, Fault::Cut);
    let lost = fixture.pointer.write(Some(1), &fixture.to(2)).await;
    assert!(matches!(lost, Err(PointerError::Lost { .. })), "{lost:?}");
    answers(&fixture, 1).await;
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

/// The write is done; what it was for cannot be told any more.
#[tokio::test]
async fn an_api_that_is_gone_after_the_write_leaves_what_was_meant_on_record() {
    let (mut elb, fixture) = live().await;
    elb.api.fault(moves, 1, Fault::Dark);
    let lost = fixture.pointer.write(Some(1), &fixture.to(2)).await;
    assert!(matches!(lost, Err(PointerError::Lost { .. })), "{lost:?}");
    elb.api.restart().await;
    let found = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!((found.live(), found.generation), (Some(Release(2)), 2));
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    assert_eq!(fixture.pointer.write(Some(2), &fixture.to(1)).await, Ok(3));
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn one_that_accepts_and_does_not_apply_is_found_out() {
    let (elb, fixture) = live().await;
    elb.deaf(true);
    let lost = fixture
        .pointer
        .write(Some(1), &fixture.to(2))
        .await
        .unwrap_err();
    assert!(lost.to_string().contains("does not use them"), "{lost}");
    answers(&fixture, 1).await;
    elb.deaf(false);
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn what_is_throttled_ten_times_is_done_the_eleventh_time() {
    let (elb, fixture) = live().await;
    let busy = refusal(400, "Throttling", "Rate exceeded");
    elb.api.fault(moves, 10, Fault::Says(busy.clone()));
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
    elb.api.fault(any, 10, Fault::Says(busy));
    assert!(fixture.pointer.read().await.unwrap().is_some());
}

/// What it refuses moves nothing, and what stood by stands by again.
#[tokio::test]
async fn a_move_that_is_refused_is_told_in_its_words() {
    let (elb, fixture) = live().await;
    let denied = refusal(403, "AccessDenied", "not allowed to modify");
    elb.api.fault(moves, 1, Fault::Says(denied));
    let before = (elb.actions(), elb.tags());
    let refused = fixture.pointer.write(Some(1), &fixture.to(2)).await;
    let Err(PointerError::Failed { what, hint }) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains("not allowed to modify"), "{what}");
    assert!(hint.unwrap().contains("flipside help alb"));
    assert_eq!(elb.actions(), before.0);
    assert!(elb.targets("green").is_empty());
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn targets_that_are_never_healthy_are_taken_out_again() {
    let elb = Elb::start().await;
    let fixture = behind_as(&elb, |plan| flipside::pointer::alb::AlbPlan {
        healthy: 1_200,
        ..plan
    })
    .await;
    let pointer = &fixture.pointer;
    let [one, two] = fixture.at.map(|at| at.port());
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let known = pointer.read().await.unwrap();
    let mut third = fixture.to(1);
    third.routes[0].release = Release(3);
    // Nothing answers there.
    third.routes[0].endpoints = vec![([127, 0, 0, 1], 1).into()];
    let refused = pointer.write(Some(2), &third).await;
    let Err(PointerError::Failed { what, .. }) = refused else {
        panic!("{refused:?}");
    };
    let says = |words| assert!(what.contains(words), "{what}");
    says("127.0.0.1:1 is unhealthy (Target.FailedHealthChecks: Health checks failed)");
    // What it had pushed out stands by again.
    assert_eq!(
        (elb.targets("blue"), elb.targets("green")),
        (vec![one], vec![two])
    );
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 2).await;
    pointer.write(Some(2), &fixture.to(1)).await.unwrap();
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn what_a_hand_has_moved_is_shown() {
    let (elb, fixture) = live().await;
    fixture
        .pointer
        .write(Some(1), &fixture.to(2))
        .await
        .unwrap();
    elb.set_weights(&[("blue", 30), ("green", 70)]);
    let found = fixture.pointer.read().await.unwrap().unwrap();
    let weights: Vec<_> = found
        .routes
        .iter()
        .map(|it| (it.release.0, it.weight))
        .collect();
    assert_eq!(weights, [(0, 30), (0, 70)]);
    assert_eq!(found.generation, 2);
    elb.set_weights(&[("blue", 0), ("green", 100)]);
    assert_eq!(
        fixture.pointer.read().await.unwrap().unwrap().live(),
        Some(Release(2))
    );
    // A target that nobody knows gets a share of it all the same.
    elb.register("green", fixture.at[0]);
    assert_eq!(
        fixture.pointer.read().await.unwrap().unwrap().live(),
        Some(Release(0))
    );
    assert_eq!(fixture.pointer.write(Some(2), &fixture.to(2)).await, Ok(3));
    assert_eq!(elb.targets("green"), [fixture.at[1].port()]);
    answers(&fixture, 2).await;
}

/// By the load balancer itself, which then leads to no group at all.
#[tokio::test]
async fn a_hand_that_has_users_answered_otherwise_is_shown() {
    let (elb, fixture) = live().await;
    let [_, answered] = elb.actions();
    elb.set_actions(answered);
    let found = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!((found.live(), found.generation), (None, 1), "{found:?}");
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(1)).await, Ok(2));
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn tags_that_somebody_has_changed_are_not_believed() {
    let (elb, fixture) = live().await;
    let mut tags = elb.tags();
    tags.insert("flipside.record.00".into(), "AAAA".into());
    elb.set_tags(tags);
    let refused = fixture.pointer.read().await.unwrap_err().to_string();
    assert!(refused.contains("do not belong together"), "{refused}");
}

/// One stops at a request of its write; another switches; then it goes on.
async fn stands_still(of: fn(&crate::support::aws::Asked) -> bool, at: fn(Held) -> Fault) {
    let (elb, fixture) = live().await;
    let other = pointer(&elb.api.endpoint(), plan(elb.at));
    let held = elb.api.hold(of, at);
    let late = fixture.to(2);
    let late = fixture.pointer.write(Some(1), &late);
    let meanwhile = async {
        held.came().await;
        let mut desired = fixture.to(2);
        desired.routes[0].release = Release(7);
        desired.fence = 2;
        other.write(Some(1), &desired).await.unwrap();
        held.go();
        desired
    };
    let (late, desired) = tokio::join!(late, meanwhile);
    let Err(PointerError::Refused { why, found }) = late else {
        panic!("{late:?}");
    };
    assert_eq!(why, SwitchRefusal::Moved);
    assert_eq!(found.unwrap().live(), Some(Release(7)));
    let found = other.read().await.unwrap().unwrap();
    assert_eq!((found.routes, found.fence), (desired.routes, 2));
    answers(&fixture, 7).await;
}

#[tokio::test]
async fn one_that_stood_still_after_its_note_moves_nothing() {
    stands_still(notes, Fault::HeldAfter).await;
}

/// The window of its guard.
#[tokio::test]
async fn one_that_stood_still_in_its_write_puts_right_what_it_has_done() {
    stands_still(moves, Fault::Held).await;
}
