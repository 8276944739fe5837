//! Ctrl-C and SIGTERM in each phase, once and twice.

use rustix::process::Signal;

use super::phase::{Phase, Rig};
use crate::bad_days::{Day, Serves};
use crate::real_verbs::kit::Ran;

/// Longer than any of these days.
const FOR_EVER: u32 = 600_000;

/// What a day ends with where `ran` has left something to do.
fn settle<'a>(rig: &'a Rig, day: Day<'a>, serves: Serves<'_>, ran: &Ran) -> Day<'a> {
    if ran.code != 6 {
        return day;
    }
    let day = day.meanwhile(serves);
    let resumed = rig.stage.run(&["resume", &rig.stage.service]);
    assert!([0, 3].contains(&resumed.code), "{resumed}");
    day.saw("flipside resume shop", &resumed)
}

/// A service whose next release stays in `phase`.
fn rig(phase: Phase) -> Rig {
    // A bake that a resumed run can wait for.
    let wait = if phase == Phase::Bake {
        4_000
    } else {
        FOR_EVER
    };
    Rig::new(phase, wait)
}

/// Ctrl-C in `phase`, which must end with `code`, and is told as that day; SIGTERM ends it so, too.
fn once(day: &'static str, phase: Phase, code: i32) {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let rig = rig(phase);
        let held = rig.hold();
        held.running.signal(signal);
        if phase == Phase::Switch {
            rig.go_on(&held);
        }
        let ran = held.end();
        let serves = match code {
            3 => Serves::Before("old"),
            _ => Serves::New("new"),
        };
        let day = Day::of(day, &rig.stage).naming(name, "SIGINT");
        let day = day.saw("flipside deploy", &ran);
        let day = settle(&rig, day, serves, &ran);
        day.serves(serves);
        ran.ended(code);
        rig.is_tidy();
    }
}

/// Both signals in `phase`, the second before anything has been done about the first.
fn twice(day: &'static str, phase: Phase) {
    let rig = rig(phase);
    let stage = &rig.stage;
    let held = rig.hold();
    for signal in [Signal::STOP, Signal::INT, Signal::TERM, Signal::CONT] {
        held.running.signal(signal);
    }
    let began = std::time::Instant::now();
    let mut ran = held.end();
    // Not even as long as the containers may take to stop.
    assert!(began.elapsed().as_secs() < 2, "{ran}");
    // Whether the first one was told before the second came is a matter of luck.
    let told = ran
        .err
        .lines()
        .filter(|line| !line.contains("asks to stop"));
    ran.err = told.map(|line| format!("{line}\n")).collect();
    let day = Day::of(day, stage).saw("flipside deploy", &ran);
    let serves = match phase.is_switched() {
        true => Serves::New("new"),
        false => Serves::Before("old"),
    };
    let day = day.meanwhile(serves);
    let (typed, settled, serves) = match phase {
        // What it waits for never comes.
        Phase::Prepare | Phase::StandUp | Phase::Prove => {
            let aborted = stage.run(&["abort", &stage.service]);
            ("flipside abort shop", aborted, serves)
        }
        Phase::Switch | Phase::Bake | Phase::Drain | Phase::Retire => {
            let (typed, resumed) = rig.resume();
            (typed, resumed, Serves::New("new"))
        }
    };
    let day = day.saw(typed, &settled);
    day.serves(serves);
    ran.ended(6);
    settled.ended(0);
    rig.is_tidy();
}

#[test]
fn while_images_are_prepared() {
    once("signal-prepare", Phase::Prepare, 3);
    twice("signal-twice-prepare", Phase::Prepare);
}

#[test]
fn while_the_candidate_stands_up() {
    once("signal-stand-up", Phase::StandUp, 3);
    twice("signal-twice-stand-up", Phase::StandUp);
}

#[test]
fn while_the_candidate_is_proven() {
    once("signal-prove", Phase::Prove, 3);
    twice("signal-twice-prove", Phase::Prove);
}

#[test]
fn at_the_switch() {
    once("signal-switch", Phase::Switch, 6);
    twice("signal-twice-switch", Phase::Switch);
}

#[test]
fn during_the_bake() {
    once("signal-bake", Phase::Bake, 6);
    twice("signal-twice-bake", Phase::Bake);
}

#[test]
fn during_the_drain() {
    once("signal-drain", Phase::Drain, 6);
    twice("signal-twice-drain", Phase::Drain);
}

#[test]
fn while_the_oldest_is_retired() {
    once("signal-retire", Phase::Retire, 0);
    twice("signal-twice-retire", Phase::Retire);
}

#[test]
fn a_second_signal_is_told() {
    let rig = Rig::new(Phase::Prove, FOR_EVER);
    let stage = &rig.stage;
    let mut held = rig.hold();
    held.running.signal(Signal::INT);
    held.running.until_shown("asks to stop");
    held.running.signal(Signal::INT);
    let ran = held.end();
    // How far the removal had come is a matter of luck: either way it is given up.
    let aborted = stage.run(&["abort", &stage.service]);
    aborted.ended(0);
    let day = Day::of("signal-twice", stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
    ran.ended(6);
    rig.is_tidy();
}
