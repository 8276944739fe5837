//! What goes wrong with HAProxy, and what is true then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use flipside::core::names::{Release, Slot};
use flipside::core::progress::Silent;
use flipside::core::routing::Route;
use flipside::pointer::haproxy::{Haproxy as HaproxyPointer, HaproxyPlan};
use flipside::pointer::{Pointer, PointerError, Way};

use super::kit::{Config, Haproxy};
use super::relay::{Relay, Trouble};
use crate::real_crash::small::Small;
use crate::support::backends::named;
use crate::support::pointer_contract::Fixture;

/// Releases 1 and 2, behind a pointer.
async fn behind(pointer: HaproxyPointer) -> Fixture {
    Fixture {
        pointer: Arc::new(pointer),
        at: [named("one").await, named("two").await],
    }
}

async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}

fn is_away<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    matches!(said, Err(PointerError::OutOfReach { .. }))
}

#[tokio::test]
async fn one_that_is_down_is_out_of_reach_and_remembers_when_it_is_back() {
    let mut haproxy = Haproxy::start().await;
    let fixture = behind(haproxy.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap();
    haproxy.stop();
    assert!(is_away(&pointer.ready(&Silent).await));
    assert!(is_away(&pointer.foresee().await));
    assert!(is_away(&pointer.read().await));
    assert!(is_away(&pointer.write(Some(1), &fixture.to(2)).await));
    haproxy.restart().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn a_socket_that_may_change_nothing_is_told_before_anything_is() {
    let haproxy = Haproxy::start_with(Config {
        level: "user",
        ..Config::default()
    })
    .await;
    let fixture = behind(haproxy.pointer()).await;
    let refused = fixture.pointer.write(None, &fixture.to(1)).await;
    let Err(PointerError::Failed { what, hint }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        what.contains("does not let this socket change anything"),
        "{what}"
    );
    assert!(hint.unwrap().contains("level admin"));
    assert!(!haproxy.plan().state.exists());
}

#[tokio::test]
async fn one_that_takes_words_and_does_nothing_is_found_out() {
    let haproxy = Haproxy::start().await;
    let relay = Relay::start(haproxy.path(), &haproxy.socket(), Trouble::Swallowed);
    let plan = HaproxyPlan {
        socket: relay.path.display().to_string(),
        ..haproxy.plan()
    };
    let deaf = behind(HaproxyPointer::new(plan).unwrap()).await;
    let lost = deaf.pointer.write(None, &deaf.to(1)).await;
    assert!(matches!(lost, Err(PointerError::Lost { .. })), "{lost:?}");
    assert!(relay.changes.load(Ordering::Relaxed) > 0);
    // Nothing is routed, and it says so; whoever has its ear goes on.
    assert_eq!(
        deaf.pointer.read().await.unwrap().and_then(|it| it.live()),
        None
    );
    let pointer = haproxy.pointer();
    assert_eq!(pointer.read().await.unwrap().and_then(|it| it.live()), None);
    let found = pointer.read().await.unwrap().map(|it| it.generation);
    pointer.write(found, &deaf.to(1)).await.unwrap();
    assert_eq!(
        pointer.ask(Way::Service, "/").await.unwrap().release,
        Some(Release(1))
    );
}

#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_looking() {
    let haproxy = Haproxy::start().await;
    let relay = Relay::start(haproxy.path(), &haproxy.socket(), Trouble::CutOff);
    let plan = HaproxyPlan {
        socket: relay.path.display().to_string(),
        ..haproxy.plan()
    };
    let fixture = behind(HaproxyPointer::new(plan).unwrap()).await;
    assert_eq!(fixture.pointer.write(None, &fixture.to(1)).await, Ok(1));
    answers(&fixture, 1).await;
}

/// A writer that was killed between the write and its own look has left what it meant on record.
#[tokio::test]
async fn a_write_whose_writer_died_is_the_routing_that_it_meant() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(haproxy.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let state = haproxy.plan().state;
    let before = std::fs::read_to_string(&state).unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let after = pointer.read().await.unwrap().unwrap();
    // What stood there in between: the old record, and beside it what is to become true.
    let record = |text: &str| -> serde_json::Value {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("# flipside "));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    let mut between = record(&before);
    between["next"] = record(&std::fs::read_to_string(&state).unwrap())["now"].clone();
    let line = format!("# flipside {between}");
    let lines = before
        .lines()
        .map(|known| match known.starts_with("# flipside ") {
            true => line.as_str(),
            false => known,
        });
    std::fs::write(&state, lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert_eq!(pointer.read().await.unwrap(), Some(after));
    assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

/// HAProxy takes no address from its state file for these.
#[tokio::test]
async fn servers_that_would_lose_their_addresses_are_refused() {
    let haproxy = Haproxy::start_with(Config {
        servers: "127.0.0.1:1",
        ..Config::default()
    })
    .await;
    let fixture = behind(haproxy.pointer()).await;
    for refused in [
        fixture.pointer.foresee().await,
        fixture.pointer.write(None, &fixture.to(1)).await.map(drop),
    ] {
        let Err(PointerError::Failed { what, hint }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            what.contains("a reload would take their addresses"),
            "{what}"
        );
        assert!(hint.unwrap().contains("init-addr last"));
    }
    assert!(!haproxy.plan().state.exists());
}

#[tokio::test]
async fn servers_that_begin_with_weight_0_serve() {
    let haproxy = Haproxy::start_with(Config {
        weight: 0,
        ..Config::default()
    })
    .await;
    let fixture = behind(haproxy.pointer()).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_leaves_shares_as_they_are() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(haproxy.pointer()).await;
    let pointer = &fixture.pointer;
    let mut shared = fixture.to(1);
    shared.routes[0].weight = 90;
    shared.routes.push(Route {
        release: Release(2),
        slot: Slot::Green,
        weight: 10,
        endpoints: vec![fixture.at[1]],
    });
    pointer.write(None, &shared).await.unwrap();
    let known = pointer.read().await.unwrap();
    haproxy.reload().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
}

/// What cannot be remembered is not done: a reload would forget it.
#[tokio::test]
async fn a_disk_without_room_for_the_state_file_stops_a_write_before_it_moves_anything() {
    let haproxy = Haproxy::start().await;
    let small = haproxy.path().join("small");
    let disk = Small::on(small.clone(), "64k");
    let plan = HaproxyPlan {
        state: small.join("shop.state"),
        ..haproxy.plan()
    };
    let fixture = behind(HaproxyPointer::new(plan).unwrap()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap();
    disk.fill();
    let refused = pointer.write(Some(1), &fixture.to(2)).await;
    assert!(
        matches!(refused, Err(PointerError::Failed { .. })),
        "{refused:?}"
    );
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
    disk.free();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
}

/// Somebody sets a server by hand: it is seen, and not taken for a move of ours.
#[tokio::test]
async fn what_a_hand_has_changed_is_seen() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(haproxy.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap().unwrap();
    haproxy.says("set server shop/blue1 state maint").await;
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(found.generation, known.generation);
    assert_ne!(found.routes, known.routes);
}
