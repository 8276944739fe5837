//! The wall clock jumps an hour, forwards and back, at any moment: what is counted is counted by
//! clocks that do not jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flipside::core::verdict::Outcome;
use flipside::drive::Core;
use tokio::time::Instant;

use super::cases::{paused, scenarios, verdict};
use super::stage::{Flaw, Machine, Verb};
use crate::bad_days::without_an_engine;
use crate::report_lines::desk::{Paper, plain_lines};

const HOUR: i64 = 3_600_000;
/// As long as a deploy's clock is read at most.
const READINGS: u32 = 60;

/// A deploy whose clock jumps by `jump` milliseconds when it is read for the `nth` time: how often it
/// was read, and what was said.
fn deploy(jump: i64, nth: u32) -> (u32, String) {
    let said = Paper::default();
    let report = plain_lines(&said);
    let read = Arc::new(AtomicU32::new(0));
    let readings = Arc::clone(&read);
    paused(async {
        let mut all = scenarios(true).into_iter();
        let scenario = all.find(|it| it.name == "third deploy").unwrap();
        let stage = scenario.stage(Core::default(), Flaw::None);
        let mut ann = stage.actor("ann@build", Machine::Here);
        ann.operator.report = Arc::clone(&report);
        let true_clock = Arc::clone(&ann.operator.clock);
        ann.operator.clock = Arc::new(move || {
            let now = true_clock();
            let jumped = readings.fetch_add(1, Ordering::SeqCst) >= nth;
            now.saturating_add_signed(if jumped { jump } else { 0 })
        });
        let began = Instant::now();
        let done = ann.perform(Verb::Deploy).await;
        let took = began.elapsed();
        assert_eq!(done.outcome(), Some(Outcome::Done), "{jump} at {nth}");
        assert_eq!(verdict(&stage), Ok(()), "{jump} at {nth}");
        let bake = Duration::from_millis(scenario.bake_ms);
        assert!(took >= bake, "baked for {took:?}: {jump} at {nth}");
        assert!(took < 2 * bake, "baked for {took:?}: {jump} at {nth}");
    });
    report.close();
    (read.load(Ordering::SeqCst), said.text())
}

#[test]
fn a_deploy_bakes_for_as_long_as_planned_whatever_the_clock_does() {
    for jump in [HOUR, -HOUR] {
        for nth in 0..READINGS {
            let (readings, _) = deploy(jump, nth);
            assert!(readings > 10 && readings < READINGS, "{readings}");
            if nth > readings {
                break;
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_is_not_seen() {
    for jump in [HOUR, -HOUR] {
        let (readings, _) = deploy(jump, READINGS);
        let (_, said) = deploy(jump, readings / 2);
        without_an_engine("clock-jumps", &said);
    }
}
