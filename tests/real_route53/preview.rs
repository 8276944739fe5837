//! A second name, at which a release is shown: what is flipside's there comes and goes with its own
//! batches, and what is not is left alone.

use std::sync::Arc;

use flipside::core::names::Release;
use flipside::core::routing::Routing;
use flipside::pointer::route53::Route53Plan;
use flipside::pointer::{Pointer, Way};
use serde_json::Value;

use super::bad_days::{failed, is_moved};
use super::kit::{self, NAME, PREVIEW, behind, with_preview};
use super::verbs::Scene;
use crate::support::aws::Fault;
use crate::support::pointer_contract::Fixture;
use crate::support::route53::{Route53, ZONE};
use crate::support::verb_scenes::Stood;

/// A set of one value, in AWS's own form.
fn value(value: &str) -> String {
    format!(
        "<TTL>60</TTL><ResourceRecords><ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords>"
    )
}

fn shown(server: &Route53) -> Vec<(String, i64)> {
    server.shares(PREVIEW, "A")
}

async fn asked(pointer: &Arc<dyn Pointer>) -> Option<Release> {
    pointer.ask(Way::Preview, "/").await.unwrap().release
}

/// Where nothing serves yet, the service's name is given nothing; then it is switched to.
pub async fn the_first_release_is_shown_and_promoted(fixture: &Fixture) {
    let pointer = &fixture.pointer;
    let mut shown = fixture.shown();
    shown.routes.remove(0);
    pointer.foresee_preview().await.unwrap();
    shown.generation = pointer.write(None, &shown).await.unwrap();
    assert_eq!(pointer.read().await.unwrap(), Some(shown.clone()));
    assert_eq!(asked(pointer).await, Some(Release(2)));
    assert!(pointer.ask(Way::Service, "/").await.is_err());
    pointer.foresee_preview().await.unwrap();
    let switched = pointer.write(Some(1), &fixture.to(2)).await;
    assert_eq!(switched, Ok(2));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.preview, found.live()), (None, Some(Release(2))));
    assert!(pointer.ask(Way::Preview, "/").await.is_err());
}

#[tokio::test]
async fn the_first_release_can_be_shown() {
    let server = Route53::start().await;
    let fixture = with_preview(&server).await;
    the_first_release_is_shown_and_promoted(&fixture).await;
    fixture
        .pointer
        .write(Some(2), &fixture.shown())
        .await
        .unwrap();
    fixture.pointer.remove(1).await.unwrap();
    assert_eq!(server.all(), [""; 0]);
}

#[tokio::test]
async fn what_is_not_flipsides_at_the_name_is_refused_and_left() {
    let weighted = format!(
        "<SetIdentifier>theirs</SetIdentifier><Weight>7</Weight>{}",
        value("192.0.2.7")
    );
    for (kind, rest, told) in [
        ("A", value("192.0.2.7"), "192.0.2.7"),
        ("A", weighted, "192.0.2.7 (weight 7)"),
        ("CNAME", value("other.example"), "other.example"),
    ] {
        let server = Route53::start().await;
        server.by_hand(PREVIEW, kind, &rest);
        let before = server.all();
        let fixture = with_preview(&server).await;
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        for said in [
            failed(pointer.foresee_preview().await),
            failed(pointer.write(Some(1), &fixture.shown()).await),
        ] {
            assert!(said.contains(&format!("not flipside's: {told}")), "{said}");
            assert!(
                said.contains(&format!("remove the records of `{PREVIEW}`")),
                "{said}"
            );
            assert!(said.contains("`preview_host`"), "{said}");
        }
        assert_eq!(pointer.read().await.unwrap().unwrap().generation, 1);
        // Nothing but a preview is held up by it.
        pointer.foresee().await.unwrap();
        pointer.write(Some(1), &fixture.to(2)).await.unwrap();
        pointer.remove(1).await.unwrap();
        assert_eq!(server.all(), before);
    }
}

/// One that has no weight is given to users where no other is healthy.
#[tokio::test]
async fn what_is_only_shown_has_no_record_at_the_services_name() {
    let server = Route53::start().await;
    let fixture = with_preview(&server).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let mut desired = fixture.shown();
    let port = fixture.at[0].port();
    desired.routes[1]
        .endpoints
        .push(([127, 0, 0, 3], port).into());
    pointer.write(Some(1), &desired).await.unwrap();
    assert_eq!(server.shares(NAME, "A"), [("127.0.0.1".to_owned(), 1)]);
    assert_eq!(shown(&server), [("127.0.0.2,127.0.0.3".to_owned(), -1)]);
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(
        (found.preview, found.routes),
        (Some(Release(2)), desired.routes)
    );
}

/// Seen as what it is: no move of the service, and no preview of flipside's.
#[tokio::test]
async fn what_a_hand_does_at_the_name_is_seen_and_left() {
    let server = Route53::start().await;
    let fixture = with_preview(&server).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.shown()).await.unwrap();
    let was = pointer.read().await.unwrap().unwrap();
    let both = value("127.0.0.2</Value></ResourceRecord><ResourceRecord><Value>192.0.2.7");
    server.without(PREVIEW, "A");
    server.by_hand(PREVIEW, "A", &both);
    // Some of those who ask still see it: it is shown, and goes without what stands beside it.
    assert_eq!(pointer.read().await.unwrap(), Some(was.clone()));
    pointer.write(Some(2), &fixture.to(1)).await.unwrap();
    assert_eq!(shown(&server), [("192.0.2.7".to_owned(), -1)]);
    server.without(PREVIEW, "A");
    pointer.write(Some(3), &fixture.shown()).await.unwrap();
    server.without(PREVIEW, "A");
    server.by_hand(PREVIEW, "A", &value("127.0.0.1"));
    let replaced = Routing {
        generation: 4,
        preview: None,
        ..was
    };
    assert_eq!(pointer.read().await.unwrap(), Some(replaced));
    assert_eq!(asked(pointer).await, None);
    pointer.write(Some(4), &fixture.to(2)).await.unwrap();
    assert_eq!(shown(&server), [("127.0.0.1".to_owned(), -1)]);
}

/// A plan may be given another name while a release is shown, or none.
#[tokio::test]
async fn what_is_shown_by_an_earlier_plan_goes_with_the_next_write() {
    let server = Route53::start().await;
    let fixture = with_preview(&server).await;
    let old = format!("old.shop.{ZONE}");
    let of = |preview_hosts| {
        let plan = kit::plan(&server, NAME, fixture.at[0].port());
        let plan = Route53Plan {
            preview_hosts,
            ..plan
        };
        kit::pointer(&server.api.endpoint(), plan)
    };
    let (before, without) = (of(vec![old.clone()]), of(Vec::new()));
    before.write(None, &fixture.shown()).await.unwrap();
    assert_eq!(server.shares(&old, "A").len(), 1);
    fixture
        .pointer
        .write(Some(1), &fixture.shown())
        .await
        .unwrap();
    assert_eq!(server.shares(&old, "A").len(), 0);
    assert_eq!(shown(&server).len(), 1);
    let said = failed(without.write(Some(2), &fixture.shown()).await);
    assert!(said.contains("shows no preview"), "{said}");
    without.write(Some(2), &fixture.to(1)).await.unwrap();
    assert_eq!(shown(&server).len(), 0);
}

/// The guard is Route 53's there as well.
#[tokio::test]
async fn a_record_that_comes_between_read_and_write_is_not_overwritten() {
    let server = Route53::start().await;
    let fixture = with_preview(&server).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let waits = server.api.hold(super::verbs::is_a_move, Fault::Held);
    let (pointer, desired) = (Arc::clone(&fixture.pointer), fixture.shown());
    let held = tokio::spawn(async move { pointer.write(Some(1), &desired).await });
    waits.came().await;
    server.by_hand(PREVIEW, "A", &value("192.0.2.7"));
    waits.go();
    let refused = held.await.unwrap();
    assert!(is_moved(&refused), "{refused:?}");
    assert_eq!(shown(&server), [("192.0.2.7".to_owned(), -1)]);
    assert_eq!(fixture.pointer.read().await.unwrap().unwrap().generation, 1);
}

#[tokio::test]
async fn a_name_of_another_zone_is_told() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| Route53Plan {
        preview_hosts: vec!["preview.shop.example.com".into()],
        ..plan
    })
    .await;
    fixture.pointer.foresee().await.unwrap();
    let said = failed(fixture.pointer.foresee_preview().await);
    assert!(said.contains("is not in the zone `example.org`"), "{said}");
    assert!(said.contains("ends in `.example.org`"), "{said}");
}

/// Told before anything is stood up; and gone with the release that is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_could_not_be_shown_is_refused_at_once() {
    let scene = Scene::before(Stood::Nothing).await;
    scene.deploy("1").await;
    scene.kind.by_hand(PREVIEW, "A", &value("192.0.2.7"));
    scene.stage.write_plan("2", &scene.settings);
    let ran = scene.run(&["deploy", "--until-preview"]).await;
    ran.ends(4);
    let said = format!("{:?} {}", ran.lines, ran.talk);
    assert!(said.contains("not flipside's: 192.0.2.7"), "{said}");
    let status = scene.status().await;
    assert_eq!(status["unfinished"], Value::Null, "{status:#}");
    assert_eq!(status["candidate"], Value::Null, "{status:#}");
    scene.deploy("2").await;
    scene.kind.without(PREVIEW, "A");
    scene.stage.write_plan("3", &scene.settings);
    scene.run(&["deploy", "--until-preview"]).await.ends(0);
    assert_eq!(shown(&scene.kind).len(), 1);
    scene.verb("abort").await.ends(0);
    assert_eq!(shown(&scene.kind).len(), 0);
    scene.is_live(2).await;
    scene.end().await;
}
