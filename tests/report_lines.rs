//! What people and pipelines see: the core's narration, the reports that show it, the tables, the
//! errors.

pub mod desk;
mod errors;
mod pipelines;
mod shared;
mod shown;
mod streams;
mod tables;
mod workers;

use flipside::core::action::{Action, Ask, Move, Proof, TIME_UP};
use flipside::core::event::{
    Event, Failure, JobEnd, MarkKeeper, Opened, ReplicaReport, SwitchRefusal, Verb,
};
use flipside::core::hook::{HookEnd, HookWord};
use flipside::core::late::Clients;
use flipside::core::names::{Millis, Release, RoleName, Slot};
use flipside::core::narrate::{Line, Narrator, Tone};
use flipside::core::plan::{Policy, StandbyMode};
use flipside::core::routing::{Drained, Mark, Route, Routing};
use flipside::core::verdict::Outcome;
use flipside::core::words::{clean, count, list, micros, millis};

/// 2026-11-23 12:00:00 UTC.
const NOON: Millis = 1_795_435_200_000;

/// Compares whole outputs; `expected` stands on lines of its own, eight columns in.
#[track_caller]
fn check(actual: &str, expected: &str) {
    let strip = |line: &str| line.get(8..).unwrap_or("").to_owned();
    let expected: Vec<_> = expected.lines().skip(1).map(strip).collect();
    let expected = expected.join("\n");
    let (actual, expected) = (actual.trim_end(), expected.trim_end());
    assert!(
        actual == expected,
        "--- expected\n{expected}\n--- actual\n{actual}\n---"
    );
}

fn opened(verb: Verb, live: Option<u64>) -> Event {
    Event::Opened(Opened {
        verb,
        by: "ana@ci".into(),
        version: "0.1.0".into(),
        policy: Policy {
            bake_ms: 600_000,
            ..Policy::default()
        },
        marks: MarkKeeper::Pointer,
        cached: false,
        live: live.map(Release),
        generation: live,
        fence: 7,
        highest: Release(2),
        engine: String::new(),
        live_only: Vec::new(),
        hooks: Vec::new(),
        pointer: None,
        plan: None,
    })
}

fn deploy(live: Option<u64>) -> Event {
    let verb = Verb::Deploy {
        release: Release(2),
        slot: Slot::Green,
        until_preview: false,
    };
    opened(verb, live)
}

fn intended(action: Action) -> Event {
    Event::Intended { action }
}

fn switch(to: u64, from: Option<u64>, why: Move) -> Event {
    intended(Action::Switch {
        to: Release(to),
        from: from.map(Release),
        expected: Some(3),
        why,
        proof: Proof::Trusted,
    })
}

fn switched() -> Event {
    Event::Switched {
        generation: 4,
        at: NOON,
        took_us: 1_940,
        woke_us: None,
    }
}

fn drained(in_flight: u64, cut: u64) -> Event {
    Event::Drained(Drained {
        in_flight: Some(in_flight),
        finished: Some(in_flight - cut),
        cut: Some(cut),
    })
}

fn closed(outcome: Outcome) -> Event {
    Event::Closed { outcome }
}

fn failure() -> Failure {
    Failure {
        what: "shop@2 did not pass its probes within 30 s".into(),
        hint: Some("answer 200 on `/up`, or change `probes:`".into()),
        replicas: vec![
            ReplicaReport {
                container: "shop-2-web-1".into(),
                reasons: vec!["403 from `/up`: \"forbidden host\"".into()],
                logs: vec![
                    "listening on \u{1b}[32m8080\u{1b}[0m".into(),
                    "\u{1b}]0;pwned\u{7}  GET /up 403".into(),
                ],
            },
            ReplicaReport {
                container: "shop-2-web-2".into(),
                reasons: vec!["exit 137, out of memory".into()],
                logs: Vec::new(),
            },
        ],
    }
}

/// A whole deploy, as a run's journal holds it, a tenth of a second between two records.
fn whole_deploy() -> Vec<Event> {
    let web = RoleName::new("web").unwrap();
    let place = |n| format!("10.213.0.{n}:8080").parse().unwrap();
    vec![
        deploy(Some(1)),
        intended(Action::Prepare),
        Event::Prepared {
            images: [(web, "sha256:2222".into())].into(),
        },
        intended(Action::StandUp),
        Event::StoodUp {
            endpoints: vec![place(2), place(3), place(4)],
            jobs: Vec::new(),
        },
        intended(Action::Prove),
        Event::Proven { checks: 9 },
        intended(Action::Mark {
            release: Release(2),
            mark: Mark::Proven,
        }),
        Event::Marked,
        switch(2, Some(1), Move::Promote),
        switched(),
        intended(Action::Verify {
            release: Release(2),
        }),
        Event::Verified { took_us: 3_290 },
        intended(Action::Drain { generation: 4 }),
        drained(12, 0),
        intended(Action::Watch {
            until: NOON + 1_500 + 600_000,
        }),
        Event::Baked,
        intended(Action::Retire {
            releases: vec![Release(0)],
        }),
        Event::Retired {
            releases: vec![Release(0)],
        },
        closed(Outcome::Done),
    ]
}

/// Tone's first letter and text of each line, a tenth of a second between two events.
fn told(events: &[Event]) -> String {
    let mut narrator = Narrator::new("shop");
    let mut text = String::new();
    for (number, event) in (0..).zip(events) {
        for Line { tone, text: line } in narrator.take(NOON + number * 100, event) {
            let tone = match tone {
                Tone::Step => '.',
                Tone::Good => '+',
                Tone::Warn => '!',
                Tone::Bad => 'x',
                Tone::Detail => '|',
                Tone::Aside => '~',
            };
            text += &format!("{tone} {line}\n");
        }
    }
    text
}

#[test]
fn a_deploy_is_told_in_words() {
    check(
        &told(&whole_deploy()),
        r#"
        . deploy shop@2, begun by `ana@ci`; shop@1 is live
        + 1 image ready and pinned after 100 ms
        ~ `web` is sha256:2222
        . shop@2 stands up in slot green
        + 3 replicas started after 100 ms
        ~ at 10.213.0.2:8080, 10.213.0.3:8080 and 10.213.0.4:8080
        + 3 of 3 replicas passed all probes after 9 checks
        ~ marks shop@2 proven
        + pointer moved to shop@2 in 1.9 ms
        ~ generation 4
        + answered through the pointer 3.2 ms after the move
        + drained: 12 in flight, 12 finished, 0 cut
        . bakes for 10m; failing probes switch back by themselves
        + baked: every probe still passes
        . retired shop@0 (foreign)
        + shop@2 is live, 1.9 s after the start
        | shop@1 stays up as standby: flipside rollback shop
    "#,
    );
}

#[test]
fn a_first_deploy_leaves_nothing_to_roll_back_to() {
    let events = [
        deploy(None),
        intended(Action::StandUp),
        Event::StoodUp {
            endpoints: Vec::new(),
            jobs: Vec::new(),
        },
        intended(Action::Prove),
        Event::Proven { checks: 1 },
        switch(2, None, Move::Promote),
        switched(),
        drained(0, 0),
        closed(Outcome::Done),
    ];
    check(
        &told(&events),
        r#"
        . deploy shop@2, begun by `ana@ci`; nothing is live yet
        . shop@2 stands up in slot green
        + every container runs after 100 ms
        + every replica passed all probes after 1 check
        + pointer moved to shop@2 in 1.9 ms
        ~ generation 4
        + drained: nothing was in flight
        + shop@2 is live, 800 ms after the start
    "#,
    );
}

#[test]
fn a_rollback_is_told_in_words() {
    let verb = Verb::Rollback {
        from: Release(2),
        to: Release(1),
        proof: Proof::Round,
    };
    let events = [
        opened(verb, Some(2)),
        switch(1, Some(2), Move::RollBack),
        switched(),
        Event::Verified { took_us: 870 },
        Event::Drained(Drained::default()),
        closed(Outcome::Done),
    ];
    check(
        &told(&events),
        r#"
        . roll back from shop@2 to shop@1, begun by `ana@ci`
        + pointer moved to shop@1 in 1.9 ms
        ~ generation 4
        + answered through the pointer 870 µs after the move
        . drained: what was in flight, finished and cut is unknown
        + shop@1 is live, 500 ms after the start
        | shop@2 stays up, withdrawn: flipside logs shop --release 2
    "#,
    );
}

#[test]
fn a_failed_candidate_shows_reasons_logs_and_what_still_serves() {
    let events = [
        deploy(Some(1)),
        intended(Action::Prove),
        Event::Failed(failure()),
        intended(Action::TearDown {
            release: Release(2),
        }),
        Event::TornDown {
            release: Release(2),
        },
        closed(Outcome::Refused),
    ];
    check(
        &told(&events),
        r#"
        . deploy shop@2, begun by `ana@ci`; shop@1 is live
        x shop@2 did not pass its probes within 30 s
        | `shop-2-web-1`: 403 from `/up`: "forbidden host"
        |   its last 2 log lines:
        |     listening on 8080
        |       GET /up 403
        | `shop-2-web-2`: exit 137, out of memory
        | hint: answer 200 on `/up`, or change `probes:`
        + shop@1 still serves
        . removed shop@2
        x shop@2 was given up after 500 ms: shop@1 serves
    "#,
    );
}

#[test]
fn a_release_that_fails_in_its_bake_is_switched_back() {
    let events = [
        deploy(Some(1)),
        switch(2, Some(1), Move::Promote),
        switched(),
        drained(7, 2),
        intended(Action::Watch {
            until: NOON + 60_300,
        }),
        Event::Failed(Failure {
            what: "`shop-2-web-1` failed 3 probes in a row".into(),
            ..Failure::default()
        }),
        switch(1, Some(2), Move::Revert),
        switched(),
        closed(Outcome::RolledBack),
    ];
    check(
        &told(&events),
        r#"
        . deploy shop@2, begun by `ana@ci`; shop@1 is live
        + pointer moved to shop@2 in 1.9 ms
        ~ generation 4
        ! drained: 7 in flight, 5 finished, 2 cut
        . bakes for 10m; failing probes switch back by themselves
        x `shop-2-web-1` failed 3 probes in a row
        ! the pointer goes back to shop@1
        + pointer moved to shop@1 in 1.9 ms
        ~ generation 4
        x shop@2 was switched back after 800 ms: shop@1 serves
    "#,
    );
}

#[test]
fn a_release_that_another_run_has_gone_back_from_is_not_said_to_serve() {
    let events = [
        deploy(Some(1)),
        switch(2, Some(1), Move::Promote),
        switched(),
        closed(Outcome::RolledBack),
    ];
    let text = told(&events);
    assert!(
        text.ends_with("x shop@2 was switched back after 300 ms\n"),
        "{text}"
    );
}

#[test]
fn a_bake_is_told_whole_unless_another_process_has_begun_it() {
    let watch = || intended(Action::Watch { until: NOON + 300 });
    let resumed = Event::Resumed {
        by: "bob@laptop".into(),
    };
    let events = [deploy(Some(1)), resumed.clone(), watch(), resumed, watch()];
    check(
        &told(&events),
        r#"
        . deploy shop@2, begun by `ana@ci`; shop@1 is live
        . `bob@laptop` goes on with it
        . bakes for 10m; failing probes switch back by themselves
        . `bob@laptop` goes on with it
        . its bake has passed meanwhile: every probe is asked once more
    "#,
    );
}

#[test]
fn a_standby_that_was_put_to_sleep_is_not_said_to_be_up() {
    let slept = Event::Slept {
        releases: vec![Release(1)],
        mode: StandbyMode::Frozen,
    };
    let moved = switch(2, Some(1), Move::Promote);
    let events = [
        deploy(Some(1)),
        moved,
        switched(),
        slept,
        closed(Outcome::Done),
    ];
    let text = told(&events);
    let end = "| shop@1 sleeps as standby: flipside rollback shop\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn what_is_kept_for_late_clients_is_told_with_the_way_on() {
    let seen = |release, connections, why: Option<&str>| Clients {
        release: Release(release),
        connections,
        why: why.map(str::to_owned),
    };
    let unseen = Some("no image of flipside can be built");
    let clients = vec![
        seen(1, Some(1), None),
        seen(2, None, unseen),
        seen(3, None, unseen),
        seen(4, Some(0), None),
        seen(5, Some(0), None),
    ];
    let looked = intended(Action::SeeClients {
        releases: clients.iter().map(|one| one.release).collect(),
    });
    check(
        &told(&[looked, Event::ClientsSeen { clients }]),
        r#"
        . no clients come to shop@4 and shop@5 any more after 100 ms
        ! shop@1 stays as it is: clients still come to it (1 connection)
        ! whether clients still come to shop@2 cannot be seen: no image of flipside can be built
        ! whether clients still come to shop@3 cannot be seen: no image of flipside can be built
        | what cannot be seen is not put to sleep, and the newest of it not removed
        | hint: the next deploy looks again, and for standbys `flipside prune shop`: with `--force` it waits for nobody
    "#,
    );
}

#[test]
fn what_others_do_is_told() {
    let found = Routing {
        generation: 9,
        fence: 8,
        author: "bob@laptop".into(),
        reason: "rollback shop@1".into(),
        at: NOON,
        routes: vec![Route {
            release: Release(1),
            slot: Slot::Blue,
            weight: 1,
            endpoints: Vec::new(),
        }],
        marks: [].into(),
        deadline: None,
        preview: None,
        foreign: None,
    };
    let asked = |ask| Event::Asked {
        ask,
        by: "bob@laptop".into(),
    };
    let events = [
        deploy(Some(1)),
        asked(Ask::Yield),
        asked(Ask::Abort),
        asked(Ask::Promote),
        Event::Asked {
            ask: Ask::Yield,
            by: format!("{TIME_UP}5 s"),
        },
        Event::Seen {
            what: "shop@1 got generation 9 without a record".into(),
        },
        Event::SwitchRefused {
            why: SwitchRefusal::Moved,
            found: Some(Box::new(found)),
        },
        Event::SwitchRefused {
            why: SwitchRefusal::Fenced,
            found: None,
        },
        Event::Lost {
            why: "the connection was reset".into(),
        },
        closed(Outcome::Stuck),
        closed(Outcome::Interrupted),
    ];
    check(
        &told(&events),
        r#"
        . deploy shop@2, begun by `ana@ci`; shop@1 is live
        ! `bob@laptop` asks for the service: a rollback is waiting
        ! `bob@laptop` asks to give the release up
        ! `bob@laptop` asks for the next step
        ! shop@2 is not gone after 5 s
        ! found without a record: shop@1 got generation 9 without a record
        x the pointer was not moved: somebody else has moved it
        | the pointer names shop@1, generation 9, written by `bob@laptop`: rollback shop@1
        | hint: flipside status shop
        x the pointer was not moved: another operator has taken over
        | hint: flipside status shop
        ! it is not known what became of it: the connection was reset
        x stuck after 900 ms: a person must decide; shop@1 serves
        | hint: flipside status shop
        ! interrupted after 1 s; shop@1 serves
        | hint: flipside resume shop
    "#,
    );
}

#[test]
fn the_logs_of_many_replicas_do_not_bury_the_reason() {
    let replica = |number| ReplicaReport {
        container: format!("shop-2-web-{number}"),
        reasons: vec!["connection refused at 10.213.0.2:8080".into()],
        logs: vec!["panicked".into(); 50],
    };
    let events = [Event::Failed(Failure {
        what: "no".into(),
        hint: None,
        replicas: (1..=20).map(replica).collect(),
    })];
    let text = told(&events);
    assert_eq!(text.matches("connection refused").count(), 20);
    assert_eq!(text.matches("panicked").count(), 150);
    assert!(
        text.contains("| the logs of 17 replicas more are left out"),
        "{text}"
    );
}

#[test]
fn a_run_read_from_the_middle_is_told_too() {
    for start in 0..whole_deploy().len() {
        told(&whole_deploy()[start..]);
    }
    let middle = [switched(), closed(Outcome::Done)];
    check(
        &told(&middle),
        r#"
        + pointer moved in 1.9 ms
        ~ generation 4
        + done, 100 ms after the start
    "#,
    );
}

#[test]
fn what_is_under_way_has_a_name_until_its_outcome() {
    let mut narrator = Narrator::new("shop");
    let mut doing = Vec::new();
    for event in whole_deploy() {
        narrator.take(NOON, &event);
        doing.extend(narrator.doing());
    }
    let expected = "preparing images, standing up shop@2, probing shop@2, marking shop@2, moving \
                    the pointer to shop@2, asking shop@2 through the pointer, draining shop@1, \
                    baking shop@2, retiring shop@0 (foreign)";
    assert_eq!(doing.join(", "), expected);
    assert_eq!(narrator.doing(), None);
}

#[test]
fn durations_read_as_people_write_them() {
    for (us, text) in [
        (0, "0 µs"),
        (850, "850 µs"),
        (1_900, "1.9 ms"),
        (2_000, "2 ms"),
        (31_700, "31 ms"),
        (999_999, "999 ms"),
        (1_250_000, "1.2 s"),
        (30_000_000, "30 s"),
        (130_000_000, "2m 10s"),
        (3_600_000_000, "1h"),
        (11_100_000_000, "3h 5m"),
        (352_800_000_000, "4d 2h"),
    ] {
        assert_eq!(micros(us), text, "{us}");
    }
    assert_eq!(millis(0), "0 ms");
    assert_eq!(millis(Millis::MAX), "213503982d 8h");
}

#[test]
fn plurals_and_lists_are_right() {
    assert_eq!(count(1, "check"), "1 check");
    assert_eq!(count(0, "check"), "0 checks");
    let names = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(list(&names[..0]), "nothing");
    assert_eq!(list(&names[..1]), "a");
    assert_eq!(list(&names[..2]), "a and b");
    assert_eq!(list(&names), "a, b and c");
}

#[test]
fn foreign_text_cannot_paint_on_the_terminal() {
    assert_eq!(
        clean("a\u{1b}[2J\u{1b}[1;31mb\rc\u{8}\td\u{202e}e"),
        "abc de"
    );
    assert_eq!(
        clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}!"),
        "link!"
    );
    assert_eq!(clean("cut off \u{1b}["), "cut off ");
    assert_eq!(clean("\u{9b}31mü"), "31mü");
}

#[test]
fn jobs_and_hooks_are_told_with_what_they_printed_last() {
    let hook = |end: HookEnd| {
        Event::HookEnded(HookEnd {
            name: "warm".into(),
            took_ms: 1_500,
            ..end
        })
    };
    let failure = Failure {
        what: "the hook `warm` exited with 3".into(),
        hint: Some("look at it".into()),
        ..Failure::default()
    };
    let events = [
        deploy(Some(1)),
        intended(Action::StandUp),
        Event::StoodUp {
            endpoints: Vec::new(),
            jobs: vec![JobEnd {
                role: RoleName::new("migrate").unwrap(),
                code: 0,
                took_ms: 900,
                output: "table a\ntable \u{1b}[31mb".into(),
            }],
        },
        hook(HookEnd {
            status: Some(204),
            ..HookEnd::default()
        }),
        hook(HookEnd {
            code: Some(3),
            output: "cannot".into(),
            failure: Some(failure.clone()),
            ..HookEnd::default()
        }),
        hook(HookEnd {
            failure: Some(failure),
            skipped: true,
            ..HookEnd::default()
        }),
        Event::HookSettled {
            name: "warm".into(),
            word: HookWord::Done,
            by: "bob@desk".into(),
        },
    ];
    let lines = told(&events);
    for expected in [
        "job `migrate` ended with 0 after 900 ms",
        "  table a",
        "hook `warm` was answered 204 after 1.5 s",
        "the hook `warm` exited with 3",
        "  cannot",
        "hint: look at it",
        "`bob@desk` says that the hook `warm` has done what it had to do",
    ] {
        assert!(lines.contains(expected), "{expected}:\n{lines}");
    }
    assert!(!lines.contains('\u{1b}'), "{lines}");
}
