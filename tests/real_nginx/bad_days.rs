//! What goes wrong with nginx, and what is true then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flipside::core::event::SwitchRefusal;
use flipside::core::names::Release;
use flipside::core::progress::{Progress, Silent, Sink};
use flipside::core::routing::{Drained, Routing};
use flipside::pointer::nginx::{Nginx as NginxPointer, NginxPlan};
use flipside::pointer::{Pointer, PointerError, Way};
use rustix::process::{Signal, kill_process};

use super::kit::{Config, Nginx};
use super::{answers, behind, shares};
use crate::real_crash::kit::root;
use crate::real_crash::small::Small;
use crate::support::backends::{gated, get_held, until};
use crate::support::held::Moment;

fn is_away<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    matches!(said, Err(PointerError::OutOfReach { .. }))
}

#[track_caller]
fn failed<T: std::fmt::Debug>(said: Result<T, PointerError>, words: &str) {
    let Err(PointerError::Failed { what, hint }) = said else {
        panic!("{said:?}");
    };
    assert!(what.contains(words), "{what}");
    assert!(hint.is_some());
}

#[track_caller]
fn lost<T: std::fmt::Debug>(said: Result<T, PointerError>, words: &str) {
    let Err(PointerError::Lost { why, .. }) = said else {
        panic!("{said:?}");
    };
    assert!(why.contains(words), "{why}");
}

#[track_caller]
fn moved<T: std::fmt::Debug>(said: &Result<T, PointerError>) {
    let is = matches!(
        said,
        Err(PointerError::Refused {
            why: SwitchRefusal::Moved,
            ..
        })
    );
    assert!(is, "{said:?}");
}

#[tokio::test]
async fn one_that_is_down_is_out_of_reach_and_remembers_when_it_is_back() {
    let mut nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let (known, text) = (pointer.read().await.unwrap(), nginx.text());
    nginx.stop();
    assert!(is_away(&pointer.ready(&Silent).await));
    assert!(is_away(&pointer.foresee().await));
    assert!(is_away(&pointer.read().await));
    assert!(is_away(&pointer.write(Some(1), &fixture.to(2)).await));
    assert_eq!(nginx.text(), text);
    nginx.again().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
}

/// It goes down while its configuration is tested, and after it was told to reload.
#[tokio::test]
async fn one_that_goes_down_in_a_write_comes_back_with_what_was_true_before() {
    for (of, moment) in [("test", Moment::After), ("reload", Moment::After)] {
        let mut nginx = Nginx::start().await;
        let fixture = behind(nginx.pointer()).await;
        let pointer = Arc::clone(&fixture.pointer);
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let (known, text) = (pointer.read().await.unwrap(), nginx.text());
        let held = nginx.hold(of, moment);
        let desired = fixture.to(2);
        let writes = tokio::spawn({
            let (pointer, desired) = (Arc::clone(&pointer), desired.clone());
            async move { pointer.write(Some(1), &desired).await }
        });
        held.came().await;
        assert_ne!(nginx.text(), text);
        nginx.stop();
        held.go();
        let said = writes.await.unwrap();
        assert!(matches!(said, Err(PointerError::Lost { .. })), "{said:?}");
        assert_eq!(nginx.text(), text, "{of}");
        nginx.again().await;
        assert_eq!(pointer.read().await.unwrap(), known);
        assert_eq!(pointer.write(Some(1), &desired).await, Ok(2));
        answers(&fixture, 2).await;
    }
}

#[tokio::test]
async fn a_restart_before_the_first_answer_changes_nothing() {
    let mut nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = Arc::clone(&fixture.pointer);
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let held = nginx.hold("reload", Moment::After);
    let writes = tokio::spawn({
        let (pointer, desired) = (Arc::clone(&pointer), fixture.to(2));
        async move { pointer.write(Some(1), &desired).await }
    });
    held.came().await;
    nginx.kill().await;
    nginx.again().await;
    held.go();
    assert_eq!(writes.await.unwrap(), Ok(2));
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn a_broken_file_of_somebody_elses_is_named_and_the_old_one_is_back() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let (known, text) = (pointer.read().await.unwrap(), nginx.text());
    let theirs = nginx.path().join("others/theirs.conf");
    std::fs::write(&theirs, "sevrer { }\n").unwrap();
    let words = "[emerg] ";
    let why = "unknown directive \"sevrer\" in ";
    for said in [
        pointer.foresee().await,
        pointer.write(Some(1), &fixture.to(2)).await.map(drop),
    ] {
        failed(said.clone(), words);
        failed(said, why);
    }
    assert_eq!(nginx.text(), text);
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
    std::fs::remove_file(theirs).unwrap();
    nginx.reload().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn a_reload_that_fails_or_is_not_permitted_moves_nothing() {
    let nginx = Nginx::start().await;
    let master = nginx.master().as_raw_nonzero().to_string();
    let mut reloads = vec![(
        vec!["sh", "-c", "echo no luck >&2; exit 3"],
        "exited with 3, and says: no luck",
    )];
    if rustix::process::geteuid().is_root() {
        let nobody = ["setpriv", "--reuid", "65534", "--clear-groups"];
        let words = [&nobody[..], &["kill", "-HUP", &master]].concat();
        reloads.push((words, "not permitted"));
    }
    reloads.push((vec!["/nowhere/nginx"], "the program is not there"));
    let fixture = behind(nginx.pointer()).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let (known, text) = (fixture.pointer.read().await.unwrap(), nginx.text());
    for (reload, words) in reloads {
        let reload = reload.into_iter().map(str::to_owned).collect();
        let pointer = NginxPointer::new(NginxPlan {
            reload,
            ..nginx.plan()
        })
        .unwrap();
        let said = pointer.write(Some(1), &fixture.to(2)).await;
        failed(said, words);
        assert_eq!(nginx.text(), text);
        assert_eq!(pointer.read().await.unwrap(), known);
    }
    nginx.reload().await;
    answers(&fixture, 1).await;
    fixture
        .pointer
        .write(Some(1), &fixture.to(2))
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_says_that_it_reloads_and_does_not_is_found_out() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let (known, text) = (fixture.pointer.read().await.unwrap(), nginx.text());
    let deaf = NginxPointer::new(NginxPlan {
        reload: vec!["true".into()],
        ..nginx.plan()
    })
    .unwrap();
    let begun = Instant::now();
    let said = deaf.write(Some(1), &fixture.to(2)).await;
    lost(said, "runs `flipside_shop_1_1_1` after");
    // The caller gives it 10 s.
    assert!(begun.elapsed() < Duration::from_secs(9));
    assert_eq!(deaf.read().await.unwrap(), known);
    // What nginx has not read must not come true at somebody's reload.
    assert_eq!(nginx.text(), text);
    nginx.reload().await;
    answers(&fixture, 1).await;
    let write = fixture.pointer.write(Some(1), &fixture.to(2)).await;
    assert_eq!(write, Ok(2));
    answers(&fixture, 2).await;
}

/// The command comes back before nginx has done anything, and nginx takes its time.
#[tokio::test]
async fn a_reload_that_comes_late_is_waited_for() {
    let nginx = Nginx::start().await;
    let master = nginx.master().as_raw_nonzero();
    let late = NginxPlan {
        reload: vec![
            "sh".into(),
            "-c".into(),
            format!("(sleep 1; kill -HUP {master}) >/dev/null 2>&1 &"),
        ],
        ..nginx.plan()
    };
    let fixture = behind(NginxPointer::new(late).unwrap()).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_leaves_shares_as_they_are() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer
        .write(None, &shares(&fixture, 90, 10))
        .await
        .unwrap();
    let known = pointer.read().await.unwrap();
    nginx.reload().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
}

/// The include file is on a disk of its own, which nginx reads it from as well.
async fn on_a_small_disk() -> (Nginx, Small, NginxPlan) {
    let mut nginx = Nginx::start().await;
    let small = nginx.path().join("small");
    let disk = Small::on(small.clone(), "64k");
    let include = small.join("shop.conf");
    std::fs::copy(nginx.include(), &include).unwrap();
    let conf = nginx.path().join("nginx.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, text.replace("flipside/shop.conf", "small/shop.conf")).unwrap();
    nginx.restart().await;
    let plan = NginxPlan {
        include,
        ..nginx.plan()
    };
    (nginx, disk, plan)
}

#[tokio::test]
async fn a_disk_without_room_for_the_file_stops_a_write_before_it_moves_anything() {
    let (nginx, disk, plan) = on_a_small_disk().await;
    let text = || std::fs::read_to_string(&plan.include).unwrap();
    let fixture = behind(NginxPointer::new(plan.clone()).unwrap()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let (known, before) = (pointer.read().await.unwrap(), text());
    disk.fill();
    let said = pointer.write(Some(1), &fixture.to(2)).await;
    failed(said, "could not be written: No space left");
    assert_eq!(pointer.read().await.unwrap(), known);
    assert_eq!(text(), before);
    nginx.reload().await;
    answers(&fixture, 1).await;
    disk.free();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
    drop(nginx);
}

/// The disk is full when the old file is to be put back.
#[tokio::test]
async fn putting_the_old_file_back_needs_no_room() {
    let (nginx, disk, plan) = on_a_small_disk().await;
    let text = || std::fs::read_to_string(&plan.include).unwrap();
    let fixture = behind(NginxPointer::new(plan.clone()).unwrap()).await;
    let pointer = Arc::clone(&fixture.pointer);
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let before = text();
    let theirs = nginx.path().join("others/theirs.conf");
    std::fs::write(&theirs, "sevrer { }\n").unwrap();
    let held = nginx.hold("test", Moment::Before);
    let writes = tokio::spawn({
        let desired = fixture.to(2);
        async move { pointer.write(Some(1), &desired).await }
    });
    held.came().await;
    disk.fill();
    held.go();
    failed(writes.await.unwrap(), "unknown directive");
    assert_eq!(text(), before);
    std::fs::remove_file(theirs).unwrap();
    nginx.reload().await;
    answers(&fixture, 1).await;
    drop(nginx);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_told_before_anything_is_done() {
    let (nginx, _disk, plan) = on_a_small_disk().await;
    let small = nginx.path().join("small").display().to_string();
    let fixture = behind(NginxPointer::new(plan).unwrap()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    root(&["mount", "-o", "remount,ro", &small]);
    failed(pointer.foresee().await, "could not be written");
    let said = pointer.write(Some(1), &fixture.to(2)).await;
    failed(said, "could not be written");
    answers(&fixture, 1).await;
    root(&["mount", "-o", "remount,rw", &small]);
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
    drop(nginx);
}

/// One has written the file and tests it; meanwhile the other one does all of its work.
#[tokio::test]
async fn of_two_at_once_the_one_who_was_overtaken_is_refused() {
    for of in ["test", "reload"] {
        let nginx = Nginx::start().await;
        let fixture = behind(nginx.pointer()).await;
        let pointer = Arc::clone(&fixture.pointer);
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let held = nginx.hold(of, Moment::Before);
        let writes = tokio::spawn({
            let (pointer, desired) = (Arc::clone(&pointer), fixture.to(2));
            async move { pointer.write(Some(1), &desired).await }
        });
        held.came().await;
        let other = Routing {
            fence: 2,
            ..fixture.to(1)
        };
        assert_eq!(pointer.write(Some(1), &other).await, Ok(2));
        held.go();
        moved(&writes.await.unwrap());
        let found = pointer.read().await.unwrap().unwrap();
        assert_eq!((found.fence, found.live()), (2, Some(Release(1))));
        nginx.reload().await;
        answers(&fixture, 1).await;
    }
}

/// A writer dies when the file is written, and nginx has not read it.
#[tokio::test]
async fn a_write_whose_writer_died_is_told_from_one_that_came_true() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = Arc::clone(&fixture.pointer);
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap();
    let dies = async || {
        let held = nginx.hold("reload", Moment::Before);
        let writes = tokio::spawn({
            let (pointer, desired) = (Arc::clone(&pointer), fixture.to(2));
            async move { pointer.write(Some(1), &desired).await }
        });
        held.came().await;
        writes.abort();
        assert!(writes.await.unwrap_err().is_cancelled());
    };
    dies().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
    // Its release goes: somebody's reload must not lead to it.
    pointer.forget(1, &[Release(3)]).await.unwrap();
    assert!(nginx.text().contains("_2_1_2"));
    pointer.forget(1, &[Release(2)]).await.unwrap();
    assert!(!nginx.text().contains("_2_1_2"), "{}", nginx.text());
    assert_eq!(pointer.read().await.unwrap(), known);
    nginx.reload().await;
    answers(&fixture, 1).await;
    // It stays: whoever reloads makes it true.
    dies().await;
    nginx.reload().await;
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.generation, found.live()), (2, Some(Release(2))));
    assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn a_first_write_whose_writer_died_is_forgotten_with_its_release() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = Arc::clone(&fixture.pointer);
    let held = nginx.hold("reload", Moment::Before);
    let writes = tokio::spawn({
        let (pointer, desired) = (Arc::clone(&pointer), fixture.to(1));
        async move { pointer.write(None, &desired).await }
    });
    held.came().await;
    writes.abort();
    writes.await.unwrap_err();
    let found = pointer.read().await.unwrap();
    assert_eq!(found.as_ref().and_then(Routing::live), None);
    pointer.forget(1, &[Release(1)]).await.unwrap();
    nginx.reload().await;
    assert_eq!(pointer.read().await, Ok(None));
    assert_eq!(pointer.write(None, &fixture.to(1)).await, Ok(1));
}

#[tokio::test]
async fn what_a_hand_has_changed_is_seen() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap().unwrap();
    let text = nginx.text();
    let by_hand = text.replace(&fixture.at[0].to_string(), &fixture.at[1].to_string());
    // The record keeps what it said; only what nginx reads is changed.
    let (record, _) = text.split_once("# sum ").unwrap();
    let (_, body) = by_hand.split_once("# sum ").unwrap();
    std::fs::write(nginx.include(), format!("{record}# sum {body}")).unwrap();
    // Before nginx has read it, and after.
    for _ in 0..2 {
        let found = pointer.read().await.unwrap().unwrap();
        assert_eq!(found.generation, known.generation);
        assert_eq!(found.routes[0].release, Release(0));
        assert_eq!(found.routes[0].endpoints, [fixture.at[1]]);
        nginx.reload().await;
    }
    // One that says nothing of flipside any more.
    let theirs = format!(
        "map $host $flipside_shop {{ default {}; }}\n",
        fixture.at[1]
    );
    std::fs::write(nginx.include(), theirs).unwrap();
    for generation in [1, 0] {
        let found = pointer.read().await.unwrap().unwrap();
        assert_eq!(found.generation, generation);
        assert_eq!(found.live(), Some(Release(0)));
        assert_eq!(found.routes[0].endpoints, [fixture.at[1]]);
        nginx.reload().await;
    }
    moved(&pointer.write(Some(1), &fixture.to(2)).await);
}

/// Counts what is said to be left, and shows the most.
#[derive(Default)]
struct Most(AtomicU64);

impl Sink for Most {
    fn progress(&self, progress: Progress) {
        if let Progress::Drain { left, .. } = progress {
            self.0.fetch_max(left, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_holds_a_drain_up_to_its_limit_and_goes_on() {
    let nginx = Nginx::start().await;
    let (open, slow) = gated("slow").await;
    let mut fixture = behind(nginx.pointer()).await;
    fixture.at[0] = slow;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let asked = get_held(&open, nginx.port()).await;
    // The workers of before end what they have begun, and take nothing new.
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    for _ in 0..20 {
        answers(&fixture, 2).await;
    }
    let (most, begun) = (Most::default(), Instant::now());
    let drained = pointer.settled(2, 400, &most).await;
    assert_eq!(drained, Ok(Drained::default()));
    assert_eq!(most.0.into_inner(), 1);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    open.send(true).unwrap();
    assert!(asked.await.unwrap().ends_with("slow"));
}

/// Two masters run while the program is upgraded, and a reload reaches one of them.
#[tokio::test]
async fn an_upgrade_that_is_under_way_is_let_end_first() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut nginx = Nginx::start().await;
    nginx.again_inside().await;
    let fixture = behind(nginx.by_signal()).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let (known, text) = (pointer.read().await.unwrap(), nginx.text());
    let old = nginx.master();
    kill_process(old, Signal::USR2).unwrap();
    until("a second master", async || {
        (nginx.masters().len() == 2).then_some(())
    })
    .await;
    until("its workers", async || pointer.foresee().await.err()).await;
    assert_eq!(pointer.read().await.unwrap(), known);
    failed(pointer.foresee().await, "two masters run");
    failed(
        pointer.write(Some(1), &fixture.to(2)).await,
        "two masters run",
    );
    assert_eq!(nginx.text(), text);
    kill_process(old, Signal::QUIT).unwrap();
    until("the old one's end", async || pointer.foresee().await.ok()).await;
    let pointer = nginx.by_signal();
    assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
    nginx.reload().await;
    answers(&fixture, 2).await;
}

/// A server block without the location says nothing of what runs.
#[tokio::test]
async fn one_that_does_not_say_what_it_runs_is_told_what_to_add() {
    let nginx = Nginx::start().await;
    let fixture = behind(nginx.pointer()).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let mute = NginxPointer::new(NginxPlan {
        says: "/else".into(),
        ..nginx.plan()
    })
    .unwrap();
    for said in [mute.ready(&Silent).await, mute.read().await.map(drop)] {
        let Err(PointerError::Failed { what, hint }) = said else {
            panic!("{said:?}");
        };
        assert!(
            what.contains("does not say at `/else` what it runs"),
            "{what}"
        );
        let line = "location = /else { return 200 \"$flipside_shop $pid\"; }";
        assert!(hint.unwrap().contains(line));
    }
}

/// Its numbers are others than this machine's, as in a container.
#[tokio::test]
async fn workers_in_a_container_are_seen_from_outside() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut nginx = Nginx::start().await;
    nginx.again_inside().await;
    let (open, slow) = gated("slow").await;
    let mut fixture = behind(nginx.by_signal()).await;
    fixture.at[0] = slow;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let asked = get_held(&open, nginx.port()).await;
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let most = Most::default();
    pointer.settled(2, 400, &most).await.unwrap();
    assert_eq!(most.0.into_inner(), 1);
    open.send(true).unwrap();
    assert!(asked.await.unwrap().ends_with("slow"));
    let begun = Instant::now();
    pointer.settled(2, 20_000, &Silent).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    answers(&fixture, 2).await;
    let answer = pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.status, Some(200));
}

#[tokio::test]
async fn a_placeholder_that_was_there_first_is_no_service() {
    let nginx = Nginx::start_with(Config {
        stood: "map $host $flipside_shop { default \"\"; }".into(),
        ..Config::default()
    })
    .await;
    assert_eq!(nginx.pointer().read().await, Ok(None));
}
