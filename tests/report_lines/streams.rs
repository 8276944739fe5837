//! Reports on streams that are broken, full, slow: promise 10.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::Arc;
use std::time::Duration;

use flipside::core::event::Event;
use flipside::core::names::Millis;
use flipside::core::progress::Progress;
use flipside::error::Error;
use flipside::report::{Loudness, Output, Report};

use super::desk::{Clock, PLAIN, Paper, Setup, failed_deploy, finished, on, show};
use super::whole_deploy;

fn ends() -> (PipeReader, PipeWriter) {
    pipe().unwrap()
}

const SETUPS: [Setup; 3] = [
    PLAIN,
    Setup {
        width: Some(80),
        ..PLAIN
    },
    Setup {
        output: Output::Json,
        ..PLAIN
    },
];

/// Everything a report can be asked, many times over. It comes to an end though nobody reads.
fn storm(report: &dyn Report) {
    for round in 0..200 {
        for (number, event) in (0..).zip(whole_deploy().iter().chain(&failed_deploy())) {
            show(report, round * 100 + number, event);
            report.progress(Progress::Drain {
                left: number,
                limit_ms: 10_000,
            });
        }
        report.warn("careful");
        report.say("talk");
    }
    report.finished(&finished());
    report.error(&Error::NoService);
}

#[test]
fn a_full_pipe_that_nobody_reads_stops_nothing() {
    for setup in SETUPS {
        let ((_out, stdout), (_err, stderr)) = (ends(), ends());
        let clock = Arc::new(Clock::default());
        let report = on(setup, Box::new(stdout), Box::new(stderr), &clock);
        storm(&*report);
        report.close();
    }
}

#[test]
fn closed_streams_stop_nothing() {
    for setup in SETUPS {
        let ((out, stdout), (err, stderr)) = (ends(), ends());
        drop((out, err));
        let clock = Arc::new(Clock::default());
        let report = on(setup, Box::new(stdout), Box::new(stderr), &clock);
        storm(&*report);
        report.close();
    }
}

#[test]
fn a_closed_stderr_leaves_data_alone() {
    let (err, stderr) = ends();
    drop(err);
    for setup in SETUPS {
        let out = Paper::default();
        let clock = Arc::new(Clock::default());
        let stderr = Box::new(stderr.try_clone().unwrap());
        let report = on(setup, Box::new(out.clone()), stderr, &clock);
        report.say("nobody hears");
        report.data(&serde_json::json!("data"), "data");
        report.close();
        assert_eq!(out.text().trim().trim_matches('"'), "data");
    }
}

#[test]
fn a_closed_stdout_leaves_talk_alone() {
    let (out, stdout) = ends();
    drop(out);
    let err = Paper::default();
    let clock = Arc::new(Clock::default());
    let report = on(PLAIN, Box::new(stdout), Box::new(err.clone()), &clock);
    report.data(&serde_json::json!("data"), "data");
    report.say("somebody hears");
    report.close();
    assert_eq!(err.text(), "somebody hears\n");
}

/// Reads a little at a time, as a terminal over a bad line does.
fn slow(mut from: PipeReader) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut some = [0; 4096];
        loop {
            match from.read(&mut some).unwrap() {
                0 => return String::from_utf8(text).unwrap(),
                read => text.extend_from_slice(&some[..read]),
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    })
}

/// A terminal that goes away in the middle of a line.
struct Dying(usize);

impl Write for Dying {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let taken = octets.len().min(self.0).min(7);
        self.0 -= taken;
        match taken {
            0 => Err(std::io::Error::from_raw_os_error(5)),
            taken => Ok(taken),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dying_terminal_stops_nothing() {
    for left in [0, 1, 50, 1_000] {
        let setup = Setup {
            width: Some(80),
            ..PLAIN
        };
        let clock = Arc::new(Clock::default());
        let report = on(setup, Box::new(Dying(left)), Box::new(Dying(left)), &clock);
        storm(&*report);
        report.close();
    }
}

#[test]
fn data_is_never_cut_short_by_a_slow_reader() {
    for output in [Output::Human, Output::Json] {
        let (out, stdout) = ends();
        let clock = Arc::new(Clock::default());
        let setup = Setup { output, ..PLAIN };
        let report = on(setup, Box::new(stdout), Box::new(std::io::sink()), &clock);
        let text = "x".repeat(20 << 20);
        let reader = std::thread::spawn(move || {
            let mut out = out;
            let mut all = String::new();
            out.read_to_string(&mut all).unwrap();
            all
        });
        report.data(&serde_json::json!(text), &text);
        report.close();
        drop(report);
        let read = reader.join().unwrap();
        assert!(read.trim_end().trim_matches('"') == text, "{}", read.len());
    }
}

#[test]
fn a_slow_reader_loses_progress_but_no_fact() {
    let (out, stdout) = ends();
    let reader = slow(out);
    let clock = Arc::new(Clock::default());
    let setup = Setup {
        output: Output::Json,
        ..PLAIN
    };
    let report = on(setup, Box::new(stdout), Box::new(std::io::sink()), &clock);
    for seq in 0..5_000 {
        show(&*report, seq, &Event::Proven { checks: seq });
    }
    report.finished(&finished());
    report.close();
    drop(report);
    let text = reader.join().unwrap();
    assert_eq!(text.lines().count(), 5_001);
    assert!(text.lines().last().unwrap().contains("finished"));
}

#[test]
fn what_waits_for_a_dead_reader_is_bounded() {
    let (out, stdout) = ends();
    let clock = Arc::new(Clock::default());
    let setup = Setup {
        output: Output::Json,
        ..PLAIN
    };
    let report = on(setup, Box::new(stdout), Box::new(std::io::sink()), &clock);
    let what = "x".repeat(100_000);
    for seq in 0..200 {
        let event = Event::Seen { what: what.clone() };
        show(&*report, seq, &event);
    }
    report.finished(&finished());
    let mut text = String::new();
    let reader = std::thread::spawn(move || {
        let mut out = out;
        out.read_to_string(&mut text).unwrap();
        text
    });
    report.close();
    drop(report);
    let text = reader.join().unwrap();
    assert!(text.len() < 10 << 20, "{} octets waited", text.len());
    let last: Vec<_> = text.lines().rev().take(2).collect();
    assert!(last[0].contains(r#""event":"finished""#), "{}", last[0]);
    assert!(last[1].contains("lines were left out"), "{}", last[1]);
}

/// A switch must not wait for a screen: what a caller is held up is bounded by its own work.
#[test]
fn the_clock_of_the_caller_is_not_the_clock_of_the_reader() {
    let (_err, stderr) = ends();
    let clock = Arc::new(Clock::default());
    let report = on(PLAIN, Box::new(std::io::sink()), Box::new(stderr), &clock);
    storm(&*report);
    let calls: Millis = 1_000;
    for left in 0..calls {
        report.progress(Progress::Drain {
            left,
            limit_ms: 10_000,
        });
        show(&*report, left, &Event::Baked);
    }
}

#[test]
fn records_that_no_journal_takes_are_shown_at_any_loudness() {
    for setup in SETUPS {
        let (out, err) = (Paper::default(), Paper::default());
        let clock = Arc::new(Clock::default());
        let quiet = Setup {
            loudness: Loudness::Quiet,
            ..setup
        };
        let report = on(quiet, Box::new(out.clone()), Box::new(err.clone()), &clock);
        report.say("talk");
        report.record(r#"{"record":1}"#);
        report.close();
        assert!(err.text().contains("{\"record\":1}\n"), "{}", err.text());
        assert_eq!(out.text(), "");
    }
}

#[test]
fn records_that_no_journal_takes_are_kept_for_a_slow_reader() {
    for setup in SETUPS {
        let ((_out, stdout), (mut err, stderr)) = (ends(), ends());
        let clock = Arc::new(Clock::default());
        let report = on(setup, Box::new(stdout), Box::new(stderr), &clock);
        let long = "x".repeat(1 << 20);
        for _ in 0..10 {
            report.say(&long);
        }
        report.record("the record");
        let reading = std::thread::spawn(move || {
            let mut said = String::new();
            err.read_to_string(&mut said).unwrap();
            said
        });
        report.close();
        drop(report);
        assert!(reading.join().unwrap().contains("the record"));
    }
}
