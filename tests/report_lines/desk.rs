//! A report with papers for streams and a clock turned by hand.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flipside::core::action::Action;
use flipside::core::event::Event;
use flipside::core::names::{Release, ServiceName};
use flipside::core::verdict::Outcome;
use flipside::report::{
    Colour, Finished, Loudness, Options, Output, Pipeline, Report, Screen, Shown, Streams, open_on,
};

use super::{NOON, closed, deploy, failure, intended};

/// What was written so far.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    #[track_caller]
    pub(super) fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.text().contains(text) {
            assert!(Instant::now() < deadline, "no `{text}` in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A report that writes plain lines on `err`, and whose clock stands.
pub fn plain_lines(err: &Paper) -> Arc<dyn Report> {
    let options = Options {
        output: Output::Human,
        loudness: Loudness::Normal,
    };
    let streams = Streams {
        stdout: Box::new(Paper::default()),
        stderr: Box::new(err.clone()),
        screen: Screen::None,
        colour: Colour::Plain,
        pipeline: None,
        clock: Arc::new(|| 0),
    };
    open_on(options, streams)
}

/// A clock turned by hand, which knows how often it was looked at.
#[derive(Default)]
pub(super) struct Clock {
    pub(super) now: AtomicU64,
    looks: AtomicU64,
}

/// A report, its papers and its clock.
pub(super) struct Desk {
    pub(super) report: Arc<dyn Report>,
    pub(super) out: Paper,
    pub(super) err: Paper,
    pub(super) clock: Arc<Clock>,
    seq: AtomicU64,
}

#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) output: Output,
    pub(super) loudness: Loudness,
    pub(super) width: Option<u16>,
    pub(super) colour: Colour,
    pub(super) pipeline: Option<Pipeline>,
}

pub(super) const PLAIN: Setup = Setup {
    output: Output::Human,
    loudness: Loudness::Normal,
    width: None,
    colour: Colour::Plain,
    pipeline: None,
};

impl Desk {
    pub(super) fn new(setup: Setup) -> Self {
        let (out, err) = (Paper::default(), Paper::default());
        let clock = Arc::new(Clock::default());
        let report = on(setup, Box::new(out.clone()), Box::new(err.clone()), &clock);
        Self {
            report,
            out,
            err,
            clock,
            seq: AtomicU64::new(0),
        }
    }

    pub(super) fn show(&self, event: &Event) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        show(&*self.report, seq, event);
    }

    /// Waits until the painter has looked at the clock `number` times more.
    pub(super) fn wait_for_looks(&self, number: u64) {
        let looks = || self.clock.looks.load(Ordering::Relaxed);
        let (before, deadline) = (looks(), Instant::now() + Duration::from_secs(20));
        while looks() < before + number {
            assert!(Instant::now() < deadline, "nobody looks at the clock");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Shows events, a tenth of a second between two.
    pub(super) fn show_all(&self, events: &[Event]) {
        for event in events {
            self.show(event);
            self.clock.now.fetch_add(100, Ordering::Relaxed);
        }
    }
}

pub(super) fn on(
    setup: Setup,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    clock: &Arc<Clock>,
) -> Arc<dyn Report> {
    let clock = Arc::clone(clock);
    let screen = match setup.width {
        Some(width) => Screen::Terminal(Arc::new(move || width)),
        None => Screen::None,
    };
    let options = Options {
        output: setup.output,
        loudness: setup.loudness,
    };
    let streams = Streams {
        stdout,
        stderr,
        screen,
        colour: setup.colour,
        pipeline: setup.pipeline,
        clock: Arc::new(move || {
            clock.looks.fetch_add(1, Ordering::Relaxed);
            clock.now.load(Ordering::Relaxed)
        }),
    };
    open_on(options, streams)
}

pub(super) fn show(report: &dyn Report, seq: u64, event: &Event) {
    report.event(&Shown {
        service: &ServiceName::new("shop").unwrap(),
        run: 2,
        seq: u32::try_from(seq).unwrap(),
        at: NOON + seq * 100,
        event,
    });
}

pub(super) fn finished() -> Finished {
    Finished {
        outcome: Outcome::Done,
        service: "shop".into(),
        release: Some(Release(2)),
        live: Some(Release(2)),
        elapsed_ms: 12_300,
        requests_in_flight: Some(12),
        requests_cut: None,
        switch_us: Some(1_940),
        rollback_us: None,
        woke_us: None,
    }
}

pub(super) fn failed_deploy() -> Vec<Event> {
    vec![
        deploy(Some(1)),
        intended(Action::Prove),
        Event::Failed(failure()),
        closed(Outcome::Refused),
    ]
}
