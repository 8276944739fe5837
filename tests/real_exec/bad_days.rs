//! What goes wrong between a command and what it moves, and what is true then.

use flipside::core::event::SwitchRefusal;
use flipside::core::names::Release;
use flipside::core::routing::Route;
use flipside::pointer::{Pointer, PointerError, Way};

use super::kit::{answers, behind, example, wrapped};
use crate::real_haproxy::kit::Haproxy;
use crate::support::backends::until;

/// In a script: this is a `write`.
const IS_WRITE: &str = "case $request in *'\"op\":\"write\"'*)";

/// In a script: the example does it.
const GO_ON: &str = "printf '%s\\n' \"$request\" | \"$@\"";

fn is_lost<T: std::fmt::Debug>(said: &Result<T, PointerError>, why: &str) {
    let Err(PointerError::Lost { why: said, .. }) = said else {
        panic!("{said:?}");
    };
    assert!(said.contains(why), "{said}");
}

#[tokio::test]
async fn a_haproxy_that_is_down_is_out_of_its_reach_until_it_is_back() {
    let mut haproxy = Haproxy::start().await;
    let fixture = behind(example(&haproxy)).await;
    let pointer = &fixture.pointer;
    haproxy.stop();
    let away = |said: Result<(), PointerError>| {
        let Err(PointerError::OutOfReach { why, .. }) = said else {
            panic!("{said:?}");
        };
        assert!(why.contains("Error"), "{why}");
    };
    away(pointer.foresee().await);
    away(pointer.read().await.map(drop));
    away(pointer.write(None, &fixture.to(1)).await.map(drop));
    haproxy.restart().await;
    assert_eq!(pointer.write(None, &fixture.to(1)).await, Ok(1));
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn one_that_fails_before_it_writes_has_moved_nothing_and_can_be_told_again() {
    let haproxy = Haproxy::start().await;
    let text = format!("{IS_WRITE} echo no luck >&2; exit 3;; esac; {GO_ON}");
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let lost = fixture.pointer.write(None, &fixture.to(1)).await;
    is_lost(
        &lost,
        "asked for `write`, it exited with 3, and says: no luck",
    );
    assert_eq!(fixture.pointer.read().await, Ok(None));
    let whole = example(&haproxy);
    assert_eq!(whole.write(None, &fixture.to(1)).await, Ok(1));
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn one_that_fails_after_it_has_written_has_moved_and_the_next_write_finds_it_done() {
    let haproxy = Haproxy::start().await;
    let text = format!("{GO_ON}; {IS_WRITE} exit 3;; esac");
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let lost = fixture.pointer.write(None, &fixture.to(1)).await;
    is_lost(&lost, "it exited with 3");
    answers(&fixture, 1).await;
    assert_eq!(fixture.pointer.write(None, &fixture.to(1)).await, Ok(1));
}

#[tokio::test]
async fn one_that_takes_new_routes_and_does_not_use_them_is_found_out() {
    let haproxy = Haproxy::start().await;
    let text = format!("{IS_WRITE} echo '{{\"ok\": true}}'; exit;; esac; {GO_ON}");
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let lost = fixture.pointer.write(None, &fixture.to(1)).await;
    is_lost(
        &lost,
        "it took the new routes, and says that others are used",
    );
    assert_eq!(fixture.pointer.read().await, Ok(None));
}

#[tokio::test]
async fn one_that_keeps_no_note_is_found_out() {
    let haproxy = Haproxy::start().await;
    let note = haproxy.path().join("note");
    let text = format!("{GO_ON}; {IS_WRITE} rm {};; esac", note.display());
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let lost = fixture.pointer.write(None, &fixture.to(1)).await;
    is_lost(&lost, "did not keep the note");
}

#[tokio::test]
async fn one_that_answers_a_write_with_nothing_is_lost() {
    let haproxy = Haproxy::start().await;
    let text = format!("{IS_WRITE} echo '{{}}'; exit;; esac; {GO_ON}");
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let lost = fixture.pointer.write(None, &fixture.to(1)).await;
    is_lost(&lost, "answered neither `ok` nor `refused`");
}

/// Stopped between its look and its write, while somebody else moves the pointer.
#[tokio::test]
async fn of_two_writers_the_one_who_looked_too_early_is_refused() {
    let haproxy = Haproxy::start().await;
    let other = behind(example(&haproxy)).await;
    other.pointer.write(None, &other.to(1)).await.unwrap();
    let before = other.pointer.read().await.unwrap().unwrap();
    let (reached, go) = (haproxy.path().join("reached"), haproxy.path().join("go"));
    let text = format!(
        "{IS_WRITE} touch {}; until [ -e {} ]; do sleep 0.01; done;; esac; {GO_ON}",
        reached.display(),
        go.display()
    );
    let late = behind(wrapped(&haproxy, &text)).await;
    let writes = tokio::spawn({
        let (pointer, desired) = (late.pointer.clone(), late.to(2));
        async move { pointer.write(Some(1), &desired).await }
    });
    until("its write", async || reached.exists().then_some(())).await;
    let newer = other.pointer.write(Some(1), &other.to(2)).await;
    std::fs::write(&go, "").unwrap();
    assert_eq!(newer, Ok(2));
    let found = other.pointer.read().await.unwrap();
    assert_ne!(found.as_ref(), Some(&before));
    assert_eq!(
        writes.await.unwrap(),
        Err(PointerError::Refused {
            why: SwitchRefusal::Moved,
            found: found.clone().map(Box::new),
        })
    );
    assert_eq!(other.pointer.read().await.unwrap(), found);
}

/// Its writer dies between the write and the word that it is over: what was meant is on record.
#[tokio::test]
async fn a_write_whose_writer_died_is_the_routing_that_it_meant() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(example(&haproxy)).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let [first, second] = ["first", "second"].map(|name| haproxy.path().join(name));
    let text = format!(
        "{IS_WRITE} [ -e {first} ] && touch {second} && sleep 600; touch {first};; esac; {GO_ON}",
        first = first.display(),
        second = second.display()
    );
    let dies = behind(wrapped(&haproxy, &text)).await;
    let desired = fixture.to(2);
    let writes = tokio::spawn({
        let desired = desired.clone();
        async move { dies.pointer.write(Some(1), &desired).await }
    });
    until("its second write", async || second.exists().then_some(())).await;
    writes.abort();
    assert!(writes.await.unwrap_err().is_cancelled());
    let found = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!(
        (found.generation, found.routes),
        (2, desired.routes.clone())
    );
    assert_eq!(fixture.pointer.write(Some(1), &desired).await, Ok(2));
    answers(&fixture, 2).await;
    fixture
        .pointer
        .write(Some(2), &fixture.to(1))
        .await
        .unwrap();
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn one_that_fails_between_its_note_and_its_move_reads_as_it_was() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(example(&haproxy)).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = fixture.pointer.read().await.unwrap();
    let keeps = "import json, sys; \
                 open(sys.argv[1], \"w\").write(json.load(sys.stdin)[\"desired\"][\"note\"])";
    let note = haproxy.path().join("note");
    let text = format!(
        "{IS_WRITE} printf '%s' \"$request\" | python3 -c '{keeps}' {}; exit 3;; esac; {GO_ON}",
        note.display()
    );
    let fails = behind(wrapped(&haproxy, &text)).await;
    is_lost(
        &fails.pointer.write(Some(1), &fixture.to(2)).await,
        "exited with 3",
    );
    let kept = std::fs::read_to_string(&note).unwrap();
    assert!(kept.contains("shop@2"), "{kept}");
    assert_eq!(fixture.pointer.read().await.unwrap(), known);
    assert_eq!(fixture.pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

/// Somebody sets a server by hand: it is seen, and not taken for a move of ours.
#[tokio::test]
async fn what_a_hand_has_changed_is_seen() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(example(&haproxy)).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = fixture.pointer.read().await.unwrap().unwrap();
    haproxy.says("set server shop/blue1 state maint").await;
    let found = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!(found.generation, known.generation);
    assert_ne!(found.routes, known.routes);
}

#[tokio::test]
async fn one_that_says_no_is_told_in_its_words() {
    let haproxy = Haproxy::start().await;
    let fixture = behind(example(&haproxy)).await;
    let mut many = fixture.to(1);
    many.routes[0].endpoints = [fixture.at[0]; 5].into();
    let refused = fixture.pointer.write(None, &many).await;
    let Err(PointerError::Failed { what, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        what.contains("fewer servers than there are replicas"),
        "{what}"
    );
    assert_eq!(fixture.pointer.read().await, Ok(None));
}

#[tokio::test]
async fn one_that_knows_no_shares_is_not_asked_for_them() {
    let haproxy = Haproxy::start().await;
    let text =
        format!("case $request in *capabilities*) echo '{{\"v\": 1}}'; exit;; esac; {GO_ON}");
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let mut shared = fixture.to(1);
    shared.routes.extend(fixture.to(2).routes);
    let refused = fixture.pointer.write(None, &shared).await;
    assert!(
        matches!(refused, Err(PointerError::Failed { .. })),
        "{refused:?}"
    );
    assert_eq!(fixture.pointer.read().await, Ok(None));
    let able = fixture.pointer.capabilities();
    assert!(!able.weighted && !able.drains && !able.counts && !able.atomic && !able.preview);
    assert!(!able.cached);
}

/// Before one of those is left, it is looked for clients that still come.
#[tokio::test]
async fn one_whose_clients_keep_an_address_says_so() {
    let haproxy = Haproxy::start().await;
    let text = format!(
        "case $request in *capabilities*) echo '{{\"v\": 1, \"cached\": true}}'; exit;; esac; {GO_ON}"
    );
    let fixture = behind(wrapped(&haproxy, &text)).await;
    fixture.pointer.foresee().await.unwrap();
    assert!(fixture.pointer.capabilities().cached);
}

/// A command of before there were previews: it is never told of one.
#[tokio::test]
async fn one_that_knows_no_preview_is_not_asked_for_it() {
    let haproxy = Haproxy::start().await;
    let text = format!(
        "case $request in *'\"preview\":{{'*) exit 9;; *capabilities*) echo '{{\"v\": 1}}'; exit;; esac; {GO_ON}"
    );
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let pointer = &fixture.pointer;
    pointer.foresee().await.unwrap();
    assert_eq!(pointer.preview(), None);
    let mut shown = fixture.to(1);
    shown.routes.push(Route {
        weight: 0,
        ..fixture.to(2).routes[0].clone()
    });
    let first = pointer.write(None, &shown).await.unwrap();
    shown.preview = Some(Release(2));
    let refused = pointer.write(Some(first), &shown).await;
    let Err(PointerError::Failed { what, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains("shows no preview"), "{what}");
    assert!(pointer.ask(Way::Preview, "/").await.is_err());
    answers(&fixture, 1).await;
}

/// It says that it shows one, and does not: that is found out before anybody is told of it.
#[tokio::test]
async fn one_that_keeps_its_preview_to_itself_is_found_out() {
    let haproxy = Haproxy::start().await;
    let hides = "s/\"preview\": {[^}]*}/\"preview\": null/";
    let text = format!(
        "case $request in *'\"op\":\"read\"'*) {GO_ON} | sed '{hides}'; exit;; esac; {GO_ON}"
    );
    let fixture = behind(wrapped(&haproxy, &text)).await;
    let first = fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let mut shown = fixture.to(1);
    shown.routes.push(Route {
        weight: 0,
        ..fixture.to(2).routes[0].clone()
    });
    shown.preview = Some(Release(2));
    // What it hides is missing in what is compared as well.
    let lost = fixture.pointer.write(Some(first), &shown).await;
    is_lost(&lost, "says that others are used");
    answers(&fixture, 1).await;
}
