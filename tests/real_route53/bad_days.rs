//! What goes wrong with AWS, and what is true then.

use std::sync::Arc;
use std::time::Instant;

use flipside::core::event::SwitchRefusal;
use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::core::routing::Routing;
use flipside::pointer::route53::Route53Plan;
use flipside::pointer::{PointerError, Way};

use super::kit::{NAME, behind, beside};
use crate::support::aws::{Asked, Fault, KEY, refusal};
use crate::support::pointer_contract::Fixture;
use crate::support::route53::Route53;

async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}

fn is_away<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    matches!(said, Err(PointerError::OutOfReach { .. }))
}

fn is_lost<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    matches!(said, Err(PointerError::Lost { .. }))
}

pub fn is_moved<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    let why = SwitchRefusal::Moved;
    matches!(said, Err(PointerError::Refused { why: found, .. }) if *found == why)
}

/// What a call was refused for, with the hint.
pub fn failed<T: std::fmt::Debug>(said: Result<T, PointerError>) -> String {
    match said {
        Err(PointerError::Failed { what, hint }) => format!("{what}\n{}", hint.unwrap_or_default()),
        said => panic!("{said:?}"),
    }
}

fn is_a_look(asked: &Asked) -> bool {
    asked.path.contains("/change/")
}

#[tokio::test]
async fn one_that_is_down_is_out_of_reach_and_remembers_when_it_is_back() {
    let mut server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap();
    server.api.stop().await;
    assert!(is_away(&pointer.ready(&Silent).await));
    assert!(is_away(&pointer.foresee().await));
    assert!(is_away(&pointer.read().await));
    assert!(is_away(&pointer.write(Some(1), &fixture.to(2)).await));
    server.api.restart().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    server.api.restart().await;
    answers(&fixture, 2).await;
    pointer.settled(2, 0, &Silent).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_looking() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    server.api.fault(Asked::changes, 1, Fault::CutAfter);
    assert_eq!(fixture.pointer.write(None, &fixture.to(1)).await, Ok(1));
    answers(&fixture, 1).await;
    // By which id AWS follows it was in that answer: it is found out all the same.
    fixture.pointer.settled(1, 0, &Silent).await.unwrap();
    answers(&fixture, 1).await;
}

/// The same, where nothing can be looked at either; and where the batch has never arrived.
#[tokio::test]
async fn a_write_of_which_nothing_is_known_is_lost_and_the_next_one_finds_out() {
    for fault in [Fault::Dark, Fault::Cut] {
        let mut server = Route53::start().await;
        let fixture = behind(&server, |plan| plan).await;
        server.api.fault(Asked::changes, 1, fault);
        let lost = fixture.pointer.write(None, &fixture.to(1)).await;
        assert!(is_lost(&lost), "{lost:?}");
        server.api.restart().await;
        let second = beside(&server, &fixture);
        assert_eq!(second.write(None, &fixture.to(1)).await, Ok(1));
        assert_eq!(server.shares(NAME, "A"), [("127.0.0.1".to_owned(), 1)]);
    }
}

/// The process that made a move is gone: another waits for it just as well.
#[tokio::test]
async fn a_move_of_one_who_is_gone_is_waited_for() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    server.pending(2);
    let before = server.all();
    beside(&server, &fixture)
        .settled(1, 0, &Silent)
        .await
        .unwrap();
    assert_eq!(server.api.count(is_a_look), 3);
    assert_eq!(server.all().len(), before.len());
    // Nobody else's is taken for it.
    let other = beside(&server, &fixture).settled(7, 0, &Silent).await;
    assert!(
        matches!(other, Err(PointerError::Refused { .. })),
        "{other:?}"
    );
}

/// What AWS was too busy for is asked again, within what `perform` gives a call.
#[tokio::test]
async fn ten_throttles_in_a_row_are_waited_out() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let busy = |code| Fault::Says(refusal(400, code, "Rate exceeded"));
    let start = Instant::now();
    server.api.fault(Asked::asks, 10, busy("Throttling"));
    assert_eq!(fixture.pointer.read().await, Ok(None));
    assert_eq!(server.api.count(Asked::asks), 12);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    let start = Instant::now();
    server
        .api
        .fault(Asked::changes, 10, busy("PriorRequestNotComplete"));
    assert_eq!(fixture.pointer.write(None, &fixture.to(1)).await, Ok(1));
    assert_eq!(server.api.count(Asked::changes), 11);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    server.api.fault(is_a_look, 10, busy("Throttling"));
    fixture.pointer.settled(1, 0, &Silent).await.unwrap();
}

/// Who never has time is out of reach, in AWS's own words, and nothing is moved.
#[tokio::test]
async fn one_that_throttles_for_good_is_out_of_reach_in_time() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let busy = Fault::Says(refusal(400, "Throttling", "Rate exceeded"));
    let start = Instant::now();
    server.api.fault(Asked::changes, 1_000, busy);
    let said = fixture.pointer.write(None, &fixture.to(1)).await;
    assert!(is_away(&said), "{said:?}");
    let said = said.unwrap_err().to_string();
    assert!(
        said.contains("AWS says Throttling: Rate exceeded (request "),
        "{said}"
    );
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    assert!(server.all().is_empty());
}

#[tokio::test]
async fn what_is_not_allowed_is_foreseen() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let message = "User: arn:aws:iam::123456789012:user/shop is not authorized to perform: route53:ChangeResourceRecordSets";
    let denied = Fault::Says(refusal(403, "AccessDenied", message));
    server.api.fault(Asked::changes, 2, denied);
    for said in [
        failed(fixture.pointer.foresee().await),
        failed(fixture.pointer.write(None, &fixture.to(1)).await),
    ] {
        assert!(
            said.contains(&format!("AWS says AccessDenied: {message}")),
            "{said}"
        );
        assert!(said.contains("(request request-of-the-test)"), "{said}");
        assert!(said.contains("flipside help route53"), "{said}");
        assert!(!said.contains(KEY[1]), "{said}");
    }
    let expired = refusal(
        403,
        "ExpiredToken",
        "The security token included in the request is expired",
    );
    server.api.fault(Asked::asks, 1, Fault::Says(expired));
    let said = failed(fixture.pointer.foresee().await);
    assert!(said.contains("aws sso login"), "{said}");
    assert!(server.all().is_empty());
}

#[tokio::test]
async fn a_wrong_zone_is_told_before_anything_is_moved() {
    let server = Route53::start().await;
    let no_such = behind(&server, |plan| Route53Plan {
        zone: "Z999".into(),
        ..plan
    })
    .await;
    for said in [
        failed(no_such.pointer.ready(&Silent).await),
        failed(no_such.pointer.read().await),
        failed(no_such.pointer.write(None, &no_such.to(1)).await),
    ] {
        assert!(said.contains("NoSuchHostedZone"), "{said}");
        assert!(said.contains("aws route53 list-hosted-zones"), "{said}");
    }
    let other = behind(&server, |plan| Route53Plan {
        name: "shop.example.com".into(),
        url: plan.url.replace(NAME, "shop.example.com"),
        ..plan
    })
    .await;
    for said in [
        failed(other.pointer.ready(&Silent).await),
        failed(other.pointer.foresee().await),
    ] {
        assert!(
            said.contains("is of `example.org`, and the name is not in it"),
            "{said}"
        );
    }
}

/// The guard is AWS's: what was read before somebody else wrote is not written over.
#[tokio::test]
async fn a_writer_that_was_held_between_read_and_write_is_refused() {
    let server = Route53::start().await;
    let late = behind(&server, |plan| plan).await;
    let held = server.api.hold(Asked::changes, Fault::Held);
    let (pointer, desired) = (Arc::clone(&late.pointer), late.to(1));
    let writes = tokio::spawn(async move { pointer.write(None, &desired).await });
    held.came().await;
    let second = beside(&server, &late);
    second.write(None, &late.to(2)).await.unwrap();
    let there = second.read().await.unwrap();
    held.go();
    let why = SwitchRefusal::Moved;
    let found = there.clone().map(Box::new);
    assert_eq!(
        writes.await.unwrap(),
        Err(PointerError::Refused { why, found })
    );
    assert_eq!(second.read().await.unwrap(), there);
}

/// So it is where a hand changes no more than the TTL, or adds a record of its own.
#[tokio::test]
async fn a_hand_that_comes_between_read_and_write_is_not_overwritten() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let held = server.api.hold(Asked::changes, Fault::Held);
    let (pointer, desired) = (Arc::clone(&fixture.pointer), fixture.to(2));
    let writes = tokio::spawn(async move { pointer.write(Some(1), &desired).await });
    held.came().await;
    let there = server.sets(NAME, "A").concat();
    let rest = there
        .split_once("</Type>")
        .unwrap()
        .1
        .replace("<TTL>1<", "<TTL>9<");
    server.without(NAME, "A");
    server.by_hand(NAME, "A", rest.trim_end_matches("</ResourceRecordSet>"));
    let by_hand = server.all();
    held.go();
    let said = writes.await.unwrap();
    assert!(
        matches!(said, Err(PointerError::Refused { .. })),
        "{said:?}"
    );
    assert_eq!(server.all(), by_hand);
}

#[tokio::test]
async fn of_many_writers_at_once_one_wins() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    for round in 1..=3 {
        let writers = (0..4).map(|writer| {
            let pointer = beside(&server, &fixture);
            let desired = Routing {
                author: format!("writer {writer}"),
                ..fixture.to(1 + round % 2)
            };
            async move { pointer.write(Some(round), &desired).await }
        });
        let said = futures_util::future::join_all(writers).await;
        let won = said.iter().filter(|said| **said == Ok(round + 1)).count();
        let refused = said.iter().filter(|said| {
            let why = SwitchRefusal::Moved;
            matches!(said, Err(PointerError::Refused { why: found, .. }) if *found == why)
        });
        assert_eq!((won, refused.count()), (1, 3), "{said:?}");
    }
}

/// Somebody changes the name by hand: it is seen, and not taken for a move of ours.
#[tokio::test]
async fn what_a_hand_has_changed_is_seen() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap().unwrap();
    let more = "<SetIdentifier>theirs</SetIdentifier><Weight>9</Weight><TTL>1</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.7</Value></ResourceRecord></ResourceRecords>";
    server.by_hand(NAME, "A", more);
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(found.generation, known.generation);
    assert_eq!(found.live(), Some(Release(0)));
    server.without(NAME, "A");
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.generation, found.live()), (known.generation, None));
    let record = format!("_flipside.{NAME}");
    server.without(&record, "TXT");
    let text = "<TTL>1</TTL><ResourceRecords><ResourceRecord><Value>\"hello\"</Value></ResourceRecord></ResourceRecords>";
    server.by_hand(&record, "TXT", text);
    let said = failed(pointer.read().await);
    assert!(
        said.contains(&format!("`{record}` cannot be read")),
        "{said}"
    );
}

/// A server that goes on giving the old address holds a move up, also where AWS calls it INSYNC.
#[tokio::test]
async fn a_name_server_that_is_stuck_is_waited_for_and_named() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.settled(1, 0, &Silent).await.unwrap();
    server.stuck(true);
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let waits = Arc::new(std::sync::Mutex::new(String::new()));
    let sink = Told(Arc::clone(&waits));
    let settled = pointer.settled(2, 0, &sink);
    let told = crate::support::backends::until("a word of the server", async || {
        let said = waits.lock().unwrap().clone();
        said.contains("still says 127.0.0.1").then_some(said)
    });
    let frees = async {
        let said = told.await;
        assert!(said.contains(&server.server.to_string()), "{said}");
        server.stuck(false);
    };
    let (settled, ()) = tokio::join!(settled, frees);
    settled.unwrap();
}

/// What a wait is told.
struct Told(Arc<std::sync::Mutex<String>>);

impl flipside::core::progress::Sink for Told {
    fn progress(&self, progress: flipside::core::progress::Progress) {
        if let flipside::core::progress::Progress::Wait { what } = progress {
            *self.0.lock().unwrap() += &what;
        }
    }
}
