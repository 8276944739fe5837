//! A second name, at which a release is shown: what is flipside's there comes and goes with its own
//! updates, and what is not is left alone.

use std::sync::Arc;

use flipside::core::names::Release;
use flipside::core::routing::Routing;
use flipside::pointer::dns::{Dns, DnsPlan, Kind};
use flipside::pointer::{Pointer, Way};

use super::bad_days::{failed, is_moved};
use super::behind;
use super::kit::{Config, NAME, PREVIEW, Server, ZONE};
use super::relay::{Relay, Trouble};
use super::verbs::Primary;
use crate::support::held::Moment;
use crate::support::verb_scenes::{Scene, Stood};

async fn asked(pointer: &Arc<dyn Pointer>) -> Option<Release> {
    pointer.ask(Way::Preview, "/").await.unwrap().release
}

#[tokio::test]
async fn what_is_not_flipsides_at_the_name_is_refused_and_left() {
    for (line, shown) in [
        ("preview.shop 60 A 192.0.2.7\n", "192.0.2.7"),
        ("preview.shop 60 CNAME other\n", "other.example.org."),
        ("*.shop 60 A 192.0.2.8\n", "192.0.2.8"),
    ] {
        let server = Server::start_with(Config {
            lines: line.into(),
            ..Config::default()
        })
        .await;
        let before = server.lines(PREVIEW, "A");
        assert!(before.concat().contains(shown), "{before:?}");
        let fixture = behind(|port| server.with_preview(port)).await;
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let serial = server.serial();
        for said in [
            failed(pointer.foresee_preview().await),
            failed(pointer.write(Some(1), &fixture.shown()).await),
        ] {
            assert!(said.contains(&format!("not flipside's: {shown}")), "{said}");
            assert!(
                said.contains(&format!("remove the records of `{PREVIEW}`")),
                "{said}"
            );
            assert!(said.contains("`preview_host`"), "{said}");
        }
        assert_eq!(server.serial(), serial);
        // Nothing but a preview is held up by it.
        pointer.foresee().await.unwrap();
        pointer.write(Some(1), &fixture.to(2)).await.unwrap();
        pointer.remove(1).await.unwrap();
        assert_eq!(server.lines(PREVIEW, "A"), before);
        assert_eq!(server.dig(NAME, "A"), [""; 0]);
    }
}

/// Where nothing serves yet, the service's name is given nothing.
#[tokio::test]
async fn the_first_release_can_be_shown() {
    let server = Server::start().await;
    let fixture = behind(|port| server.with_preview(port)).await;
    let pointer = &fixture.pointer;
    let mut shown = fixture.shown();
    shown.routes.remove(0);
    pointer.foresee_preview().await.unwrap();
    assert_eq!(server.serial(), 1);
    shown.generation = pointer.write(None, &shown).await.unwrap();
    assert_eq!(pointer.read().await.unwrap(), Some(shown.clone()));
    assert_eq!(server.dig(NAME, "A"), [""; 0]);
    assert_eq!(server.dig(PREVIEW, "A"), ["127.0.0.2"]);
    assert_eq!(asked(pointer).await, Some(Release(2)));
    assert!(pointer.ask(Way::Service, "/").await.is_err());
    pointer.foresee_preview().await.unwrap();
    assert_eq!(server.serial(), 2);
    pointer.remove(1).await.unwrap();
    assert_eq!(server.dig(PREVIEW, "A"), [""; 0]);
    assert_eq!(pointer.read().await, Ok(None));
}

/// Seen as what it is: no move of the service, and no preview of flipside's.
#[tokio::test]
async fn what_a_hand_does_at_the_name_is_seen() {
    let server = Server::start().await;
    let fixture = behind(|port| server.with_preview(port)).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let shown = Routing {
        generation: pointer.write(Some(1), &fixture.shown()).await.unwrap(),
        ..fixture.shown()
    };
    server.by_hand(&format!("add {PREVIEW} 60 A 192.0.2.7"));
    // Some of those who ask still see it: it is shown, and not known to answer.
    assert_eq!(pointer.read().await.unwrap(), Some(shown.clone()));
    server.by_hand(&format!(
        "delete {PREVIEW} A 127.0.0.2\nadd {PREVIEW} 60 A 127.0.0.1"
    ));
    let replaced = Routing {
        preview: None,
        ..shown
    };
    assert_eq!(pointer.read().await.unwrap(), Some(replaced));
    server.by_hand(&format!("delete {PREVIEW} A 192.0.2.7"));
    assert_eq!(asked(pointer).await, None);
    // It keeps nobody from going on.
    pointer.write(Some(2), &fixture.to(2)).await.unwrap();
    assert_eq!(server.dig(PREVIEW, "A"), ["127.0.0.1"]);
    assert_eq!(server.dig(NAME, "A"), ["127.0.0.2"]);
}

#[tokio::test]
async fn what_a_hand_has_added_is_left_when_the_preview_is_over() {
    let server = Server::start().await;
    let fixture = behind(|port| server.with_preview(port)).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.shown()).await.unwrap();
    server.by_hand(&format!("add {PREVIEW} 1 A 192.0.2.7"));
    pointer.write(Some(2), &fixture.to(1)).await.unwrap();
    assert_eq!(server.dig(PREVIEW, "A"), ["192.0.2.7"]);
    assert_eq!(pointer.read().await.unwrap().unwrap().preview, None);
}

/// A plan may be given another name while a release is shown, or none.
#[tokio::test]
async fn what_is_shown_by_an_earlier_plan_goes_with_the_next_write() {
    let server = Server::start().await;
    let fixture = behind(|port| server.with_preview(port)).await;
    let old = format!("old.shop.{ZONE}");
    let of = |preview_hosts| {
        let plan = server.plan(fixture.at[0].port());
        Dns::new(DnsPlan {
            preview_hosts,
            ..plan
        })
        .unwrap()
    };
    let (before, without) = (of(vec![old.clone()]), of(Vec::new()));
    before.write(None, &fixture.shown()).await.unwrap();
    assert_eq!(server.dig(&old, "A"), ["127.0.0.2"]);
    fixture
        .pointer
        .write(Some(1), &fixture.shown())
        .await
        .unwrap();
    assert_eq!(server.dig(&old, "A"), [""; 0]);
    assert_eq!(server.dig(PREVIEW, "A"), ["127.0.0.2"]);
    assert!(!without.capabilities().preview);
    let refused = without.write(Some(2), &fixture.shown()).await;
    let said = failed(refused);
    assert!(said.contains("shows no preview"), "{said}");
    without.write(Some(2), &fixture.to(1)).await.unwrap();
    assert_eq!(server.dig(PREVIEW, "A"), [""; 0]);
}

/// The key is asked for no more than it needs: that it may change the second name is foreseen where a
/// release shall be shown.
#[tokio::test]
async fn what_the_policy_does_not_allow_is_foreseen_of_a_preview() {
    let server = Server::start_with(Config {
        policy: "grant shop name shop.example.org. A; grant shop name _flipside.shop.example.org. TXT;",
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| server.with_preview(port)).await;
    let pointer = &fixture.pointer;
    pointer.foresee().await.unwrap();
    pointer.write(None, &fixture.to(1)).await.unwrap();
    for said in [
        failed(pointer.foresee_preview().await),
        failed(pointer.write(Some(1), &fixture.shown()).await),
    ] {
        assert!(said.contains("REFUSED"), "{said}");
        let grant = format!("grant shop. name {PREVIEW} A;");
        assert!(said.contains(&grant), "{said}");
    }
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
}

/// The guard is the server's there as well.
#[tokio::test]
async fn a_record_that_comes_between_read_and_write_is_not_overwritten() {
    let server = Server::start().await;
    let relay = Relay::start(server.at(), Trouble::None).await;
    let fixture = behind(|port| {
        Dns::new(DnsPlan {
            server: relay.at.to_string(),
            preview_hosts: vec![PREVIEW.into()],
            ..server.plan(port)
        })
        .unwrap()
    })
    .await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let waits = relay.kept().hold((), Moment::Before);
    let (pointer, desired) = (Arc::clone(&fixture.pointer), fixture.shown());
    let held = tokio::spawn(async move { pointer.write(Some(1), &desired).await });
    waits.came().await;
    server.by_hand(&format!("add {PREVIEW} 60 A 192.0.2.7"));
    waits.go();
    let refused = held.await.unwrap();
    assert!(is_moved(&refused), "{refused:?}");
    assert_eq!(server.dig(PREVIEW, "A"), ["192.0.2.7"]);
    assert_eq!(fixture.pointer.read().await.unwrap().unwrap().generation, 1);
}

#[tokio::test]
async fn names_of_slots_show_a_release_as_well_and_other_records_are_told() {
    let server = Server::start_with(Config {
        lines: "blue A 127.0.0.1\ngreen A 127.0.0.2\npreview.shop 60 TXT hello\n".into(),
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| {
        Dns::new(DnsPlan {
            kind: Kind::Cname,
            blue: Some(format!("blue.{ZONE}")),
            green: Some(format!("green.{ZONE}")),
            preview_hosts: vec![PREVIEW.into()],
            ..server.plan(port)
        })
        .unwrap()
    })
    .await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    for said in [
        failed(pointer.foresee_preview().await),
        failed(pointer.write(Some(1), &fixture.shown()).await),
    ] {
        let which = format!("`{PREVIEW}` has records of other types");
        assert!(said.contains(&which), "{said}");
    }
    server.by_hand(&format!("delete {PREVIEW} TXT"));
    pointer.foresee_preview().await.unwrap();
    pointer.write(Some(1), &fixture.shown()).await.unwrap();
    assert_eq!(server.dig(PREVIEW, "CNAME"), [format!("green.{ZONE}.")]);
    assert_eq!(asked(pointer).await, Some(Release(2)));
}

/// Told before anything is stood up; and gone with the release that is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_could_not_be_shown_is_refused_at_once() {
    let scene = Scene::<Primary>::before(Stood::Nothing).await;
    scene.deploy("1").await;
    scene
        .kind
        .server
        .by_hand(&format!("add {PREVIEW} 60 A 192.0.2.7"));
    scene.stage.write_plan("2", &scene.settings);
    let ran = scene.run(&["deploy", "--until-preview"]).await;
    ran.ends(4);
    let said = format!("{:?} {}", ran.lines, ran.talk);
    assert!(said.contains("not flipside's: 192.0.2.7"), "{said}");
    let status = scene.status().await;
    assert_eq!(status["unfinished"], serde_json::Value::Null, "{status:#}");
    assert_eq!(status["candidate"], serde_json::Value::Null, "{status:#}");
    scene.deploy("2").await;
    scene.kind.server.by_hand(&format!("delete {PREVIEW} A"));
    scene.stage.write_plan("3", &scene.settings);
    scene.run(&["deploy", "--until-preview"]).await.ends(0);
    assert_eq!(scene.kind.server.dig(PREVIEW, "A").len(), 1);
    scene.verb("abort").await.ends(0);
    assert_eq!(scene.kind.server.dig(PREVIEW, "A"), [""; 0]);
    scene.is_live(2).await;
    scene.end().await;
}
