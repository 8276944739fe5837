//! What a report shows: plain lines, JSON lines, a terminal.

use std::io::Write;
use std::sync::atomic::Ordering;

use flipside::core::action::Action;
use flipside::core::event::Event;
use flipside::core::names::ServiceName;
use flipside::core::progress::Progress;
use flipside::core::verdict::Outcome;
use flipside::error::Error;
use flipside::report::{Colour, Loudness, Output, Shown};

use super::desk::{Desk, PLAIN, Setup, failed_deploy, finished};
use super::{NOON, check, closed, deploy, intended, whole_deploy};

#[test]
fn plain_lines_carry_the_time() {
    let desk = Desk::new(PLAIN);
    desk.show_all(&whole_deploy());
    desk.report.finished(&finished());
    desk.report.close();
    check(
        &desk.err.text(),
        r#"
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        [  0.2s] 1 image ready and pinned after 100 ms
        [  0.3s] shop@2 stands up in slot green
        [  0.4s] 3 replicas started after 100 ms
        [  0.6s] 3 of 3 replicas passed all probes after 9 checks
        [  1.0s] pointer moved to shop@2 in 1.9 ms
        [  1.2s] answered through the pointer 3.2 ms after the move
        [  1.4s] drained: 12 in flight, 12 finished, 0 cut
        [  1.5s] bakes for 10m; failing probes switch back by themselves
        [  1.6s] baked: every probe still passes
        [  1.8s] retired shop@0 (foreign)
        [  1.9s] shop@2 is live, 1.9 s after the start
                   shop@1 stays up as standby: flipside rollback shop
                   switch 1.9 ms · requests in flight 12, cut unknown · 12.3 s in all
    "#,
    );
    assert_eq!(desk.out.text(), "");
}

#[test]
fn quiet_shows_what_went_wrong_only() {
    let desk = Desk::new(Setup {
        loudness: Loudness::Quiet,
        ..PLAIN
    });
    desk.show_all(&failed_deploy());
    desk.report.say("talk");
    desk.report.warn("first\nsecond");
    desk.report.progress(Progress::Drain {
        left: 3,
        limit_ms: 10_000,
    });
    desk.report.data(&serde_json::Value::Null, "data");
    desk.report.finished(&finished());
    desk.report.close();
    check(
        &desk.err.text(),
        r#"
        [  0.2s] failed: shop@2 did not pass its probes within 30 s
                   `shop-2-web-1`: 403 from `/up`: "forbidden host"
                     its last 2 log lines:
                       listening on 8080
                         GET /up 403
                   `shop-2-web-2`: exit 137, out of memory
                   hint: answer 200 on `/up`, or change `probes:`
        [  0.3s] failed: shop@2 was given up after 300 ms: shop@1 serves
        [  0.4s] warning: first
                   second
    "#,
    );
    assert_eq!(desk.out.text(), "data\n");
}

#[test]
fn verbose_shows_asides_and_the_builder() {
    let desk = Desk::new(Setup {
        loudness: Loudness::Verbose,
        ..PLAIN
    });
    desk.report.progress(Progress::Build {
        role: "web".into(),
        line: "Step 1/2 : FROM scratch\n".into(),
    });
    desk.show_all(&whole_deploy()[9..11]);
    desk.report.close();
    check(
        &desk.err.text(),
        r#"
        [  0.0s] building the image of `web`
        [  0.0s] `web`: Step 1/2 : FROM scratch
        [  0.1s] pointer moved to shop@2 in 1.9 ms
        [  0.1s] generation 4
    "#,
    );
}

#[test]
fn a_pipeline_is_never_silent() {
    let desk = Desk::new(PLAIN);
    desk.show_all(&[deploy(Some(1)), intended(Action::Prove)]);
    desk.report
        .progress(Progress::Proving { done: 1, total: 3 });
    desk.report.progress(Progress::Check {
        container: "shop-2-web-1".into(),
        attempt: 14,
        reason: Some("connection refused at 10.213.0.2:8080".into()),
    });
    desk.clock.now.fetch_add(9_000, Ordering::Relaxed);
    desk.wait_for_looks(2);
    assert!(!desk.err.text().contains("still"), "{}", desk.err.text());
    desk.clock.now.fetch_add(3_000, Ordering::Relaxed);
    desk.err.wait_for("still");
    desk.report.close();
    check(
        &desk.err.text(),
        r#"
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        [ 12.2s] still probing shop@2 after 12 s: 1 of 3 replicas passed; `shop-2-web-1`: connection refused at 10.213.0.2:8080 (check 14)
    "#,
    );
}

#[test]
fn an_error_ends_with_its_hint() {
    let desk = Desk::new(PLAIN);
    desk.report.error(&Error::Interrupted {
        service: "shop".into(),
        again: Vec::new(),
    });
    desk.report.close();
    check(
        &desk.err.text(),
        r#"
        error: interrupted; what was done to `shop` is recorded

        hint: flipside resume shop
    "#,
    );
}

#[test]
fn json_lines_are_the_journals_own_form() {
    let desk = Desk::new(Setup {
        output: Output::Json,
        ..PLAIN
    });
    desk.show_all(&failed_deploy()[1..]);
    desk.report.warn("marks are missing");
    desk.report.say("talk");
    desk.report.finished(&finished());
    desk.report.error(&Error::NoService);
    desk.report.warn("too late");
    desk.report.close();
    check(
        &desk.out.text(),
        r#"
        {"service":"shop","run":2,"seq":0,"at":1795435200000,"event":"intended","action":{"act":"prove"}}
        {"service":"shop","run":2,"seq":1,"at":1795435200100,"event":"failed","what":"shop@2 did not pass its probes within 30 s","hint":"answer 200 on `/up`, or change `probes:`","replicas":[{"container":"shop-2-web-1","reasons":["403 from `/up`: \"forbidden host\""]},{"container":"shop-2-web-2","reasons":["exit 137, out of memory"]}]}
        {"event":"log","service":"shop","run":2,"container":"shop-2-web-1","line":"listening on \u001b[32m8080\u001b[0m"}
        {"event":"log","service":"shop","run":2,"container":"shop-2-web-1","line":"\u001b]0;pwned\u0007  GET /up 403"}
        {"service":"shop","run":2,"seq":2,"at":1795435200200,"event":"closed","outcome":"refused"}
        {"event":"warning","message":"marks are missing"}
        {"event":"finished","outcome":"done","service":"shop","release":2,"live":2,"elapsed_ms":12300,"requests_in_flight":12,"requests_cut":null,"switch_us":1940,"rollback_us":null,"woke_us":null}
    "#,
    );
    check(
        &desk.err.text(),
        r#"
        talk
        error: no service is deployed here

        hint: flipside deploy PLAN
    "#,
    );
}

#[test]
fn json_data_and_errors_are_lines() {
    let desk = Desk::new(Setup {
        output: Output::Json,
        ..PLAIN
    });
    desk.report.data(&serde_json::json!({"a": 1}), "human");
    desk.report.error(&Error::NoService);
    desk.report.close();
    check(
        &desk.out.text(),
        r#"
        {"a":1}
        {"event":"error","error":"no-service","exit":2,"message":"no service is deployed here","hint":"flipside deploy PLAN"}
    "#,
    );
}

/// A terminal of `width` columns, as far as the report uses one: what is left to be seen, and the
/// widest line that ever was.
fn screen(written: &str, width: usize) -> (Vec<String>, usize) {
    let (mut rows, mut row, mut column, mut widest) = (vec![Vec::new()], 0, 0, 0);
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        rows.resize(rows.len().max(row + 2), Vec::new());
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                column = 0;
            }
            '\u{1b}' => {
                assert_eq!(chars.next(), Some('['));
                let mut number = String::new();
                let command = loop {
                    match chars.next().unwrap() {
                        c @ ('0'..='9' | ';') => number.push(c),
                        c => break c,
                    }
                };
                let by: usize = number.parse().unwrap_or(1);
                match command {
                    'A' => row -= by,
                    'B' => row += by,
                    'C' => column += by,
                    'D' => column -= by,
                    'K' => rows[row].clear(),
                    other => panic!("escape sequence with `{other}`"),
                }
            }
            c => {
                if column == width {
                    row += 1;
                    column = 0;
                }
                let line: &mut Vec<char> = &mut rows[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
                widest = widest.max(column);
            }
        }
    }
    let text = |row: Vec<char>| row.into_iter().collect::<String>().trim_end().to_owned();
    (rows.into_iter().map(text).collect(), widest)
}

fn busy(desk: &Desk) {
    let events = whole_deploy();
    desk.show_all(&events[..2]);
    desk.report.progress(Progress::Pull {
        image: "registry/web:2".into(),
        done: 7 << 20,
        total: 30 << 20,
    });
    desk.clock.now.fetch_add(2_000, Ordering::Relaxed);
    desk.err.wait_for("MiB of");
    desk.report.warn("marks are missing on the engine");
    desk.show_all(&events[2..6]);
    desk.report
        .progress(Progress::Proving { done: 1, total: 3 });
    desk.clock.now.fetch_add(2_000, Ordering::Relaxed);
    desk.err.wait_for("1 of 3");
    desk.show_all(&events[6..]);
    desk.report.close();
}

#[test]
fn a_terminal_keeps_lines_and_loses_bars() {
    let desk = Desk::new(Setup {
        width: Some(100),
        ..PLAIN
    });
    busy(&desk);
    let written = desk.err.text();
    assert!(
        written.contains("[====>               ] 7 MiB of 30 MiB"),
        "{written:?}"
    );
    check(
        &screen(&written, 100).0.join("\n"),
        r#"
           0.0s · deploy shop@2, begun by `ana@ci`; shop@1 is live
           2.2s ! marks are missing on the engine
           2.2s ✓ 1 image ready and pinned after 100 ms
           2.3s · shop@2 stands up in slot green
           2.4s ✓ 3 replicas started after 100 ms
           4.6s ✓ 3 of 3 replicas passed all probes after 9 checks
           5.0s ✓ pointer moved to shop@2 in 1.9 ms
           5.2s ✓ answered through the pointer 3.2 ms after the move
           5.4s ✓ drained: 12 in flight, 12 finished, 0 cut
           5.5s · bakes for 10m; failing probes switch back by themselves
           5.6s ✓ baked: every probe still passes
           5.8s · retired shop@0 (foreign)
           5.9s ✓ shop@2 is live, 1.9 s after the start
                  shop@1 stays up as standby: flipside rollback shop
    "#,
    );
}

/// As a terminal does that is asked to stop: it writes at the cursor.
#[test]
fn an_echoed_ctrl_c_leaves_no_bar_behind() {
    let desk = Desk::new(Setup {
        width: Some(100),
        ..PLAIN
    });
    let events = whole_deploy();
    let proven = |event: &Event| matches!(event, Event::Proven { .. });
    let proven = events.iter().position(proven).unwrap();
    desk.show_all(&events[..proven]);
    for done in [1, 2] {
        desk.report.progress(Progress::Proving { done, total: 3 });
        desk.clock.now.fetch_add(2_000, Ordering::Relaxed);
        desk.err.wait_for(&format!("{done} of 3"));
        desk.err.clone().write_all(b"^C").unwrap();
    }
    desk.report.warn("`SIGINT` asks to stop");
    desk.show_all(&events[proven..]);
    desk.report.close();
    let left = screen(&desk.err.text(), 100).0.join("\n");
    for row in ["probing", "of 3 replicas passed  ", "[=", "^C"] {
        assert!(!left.contains(row), "{left}");
    }
}

#[test]
fn builds_and_drains_have_bars() {
    let desk = Desk::new(Setup {
        width: Some(100),
        ..PLAIN
    });
    let events = whole_deploy();
    let sees = |bar: &str| {
        desk.clock.now.fetch_add(2_000, Ordering::Relaxed);
        desk.err.wait_for(bar);
    };
    let says = |line: &str| {
        let (role, line) = ("web".to_owned(), line.to_owned());
        desk.report.progress(Progress::Build { role, line });
    };
    desk.show_all(&events[..2]);
    says("Step 3/4 : RUN make");
    sees("[==========>         ] `web`: Step 3/4 : RUN make");
    says("cc -o web web.c");
    sees("[==========>         ] `web`: cc -o web web.c");
    let drained = |event: &Event| matches!(event, Event::Drained(_));
    let drained = events.iter().position(drained).unwrap();
    desk.show_all(&events[2..drained]);
    for left in [12, 3] {
        let limit_ms = 10_000;
        desk.report.progress(Progress::Drain { left, limit_ms });
    }
    sees("[===============>    ] 3 requests in flight, cut after 10 s");
    desk.show_all(&events[drained..]);
    desk.report.close();
    let left = screen(&desk.err.text(), 100).0.join("\n");
    assert!(!left.contains("[="), "{left}");
}

#[test]
fn a_narrow_terminal_is_not_torn_by_bars() {
    let desk = Desk::new(Setup {
        width: Some(40),
        ..PLAIN
    });
    busy(&desk);
    let (rows, widest) = screen(&desk.err.text(), 40);
    assert!(widest <= 40);
    let left: Vec<_> = rows
        .iter()
        .filter(|row| row.contains("MiB") || row.contains("1 of 3"))
        .collect();
    assert_eq!(left, Vec::<&String>::new());
    assert!(
        rows.join("").contains("shop@1 stays up as standby"),
        "{rows:#?}"
    );
}

#[test]
fn colours_only_where_they_are_wanted() {
    let paint = |colour| {
        let desk = Desk::new(Setup {
            width: Some(80),
            colour,
            ..PLAIN
        });
        desk.show_all(&failed_deploy());
        desk.report.close();
        desk.err.text()
    };
    assert!(paint(Colour::Ansi).contains("\u{1b}[1m\u{1b}[31m"));
    assert!(!paint(Colour::Plain).contains('\u{1b}'));
}

#[test]
fn what_is_over_at_once_is_never_shown_as_under_way() {
    let desk = Desk::new(Setup {
        width: Some(80),
        ..PLAIN
    });
    for event in whole_deploy() {
        desk.show(&event);
    }
    desk.report.close();
    assert!(!desk.err.text().contains("probing"), "{}", desk.err.text());
}

#[test]
fn a_question_waits_for_its_answer_on_the_same_line() {
    let desk = Desk::new(Setup {
        width: Some(80),
        ..PLAIN
    });
    desk.report.ask("roll back? [y/N] ");
    assert_eq!(desk.err.text(), "roll back? [y/N] ");
}

#[test]
fn a_resumed_run_is_told_with_what_came_before() {
    let desk = Desk::new(PLAIN);
    let service = ServiceName::new("shop").unwrap();
    for (seq, event) in (0..).zip(&whole_deploy()[..11]) {
        desk.report.recall(&Shown {
            service: &service,
            run: 2,
            seq,
            at: NOON,
            event,
        });
    }
    desk.show_all(&[closed(Outcome::Done)]);
    desk.report.close();
    check(
        &desk.err.text(),
        r#"
        [  0.0s] shop@2 is live, 0 ms after the start
                   shop@1 stays up as standby: flipside rollback shop
    "#,
    );
}
