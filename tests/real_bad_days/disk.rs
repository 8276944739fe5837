//! The journal's disk fills in each phase.

use super::phase::{Phase, Rig};
use crate::bad_days::{Day, Serves};

/// How long a phase lasts that ends by itself.
const SOON: u32 = 2_000;

/// The disk is full from `phase` on, until the deploy has ended.
fn full(day: &'static str, phase: Phase) {
    let (rig, disk) = Rig::on_small_disk(phase, SOON);
    let stage = &rig.stage;
    let held = rig.hold();
    disk.fill();
    rig.go_on(&held);
    let stopped = held.end();
    disk.free();
    let moved = phase.is_switched() || phase == Phase::Switch;
    let day = Day::of(day, stage).saw("flipside deploy", &stopped);
    let day = day.meanwhile(match moved {
        true => Serves::New("new"),
        false => Serves::Before("old"),
    });
    let (typed, resumed) = rig.resume();
    let day = day.saw(typed, &resumed);
    day.serves(Serves::New("new"));
    stopped.ended(6);
    resumed.ended(0);
    rig.is_tidy();
}

#[test]
fn while_images_are_prepared() {
    full("disk-full-prepare", Phase::Prepare);
}

#[test]
fn while_the_candidate_stands_up() {
    full("disk-full-stand-up", Phase::StandUp);
}

#[test]
fn while_the_candidate_is_proven() {
    full("disk-full-prove", Phase::Prove);
}

#[test]
fn at_the_switch() {
    full("disk-full-switch", Phase::Switch);
}

#[test]
fn during_the_bake() {
    full("disk-full-bake", Phase::Bake);
}

#[test]
fn during_the_drain() {
    full("disk-full-drain", Phase::Drain);
}

#[test]
fn while_the_oldest_is_retired() {
    full("disk-full-retire", Phase::Retire);
}

#[test]
fn before_anything_is_done() {
    let (rig, disk) = Rig::on_small_disk(Phase::Prove, SOON);
    let stage = &rig.stage;
    disk.fill();
    let refused = stage.run(&["deploy"]);
    let day = Day::of("disk-full", stage).saw("flipside deploy", &refused);
    day.serves(Serves::Before("old"));
    refused.ended(7);
    disk.free();
    rig.is_tidy();
}

/// The one thing that goes on without a journal.
#[test]
fn a_rollback_needs_no_disk() {
    let (rig, disk) = Rig::on_small_disk(Phase::Prove, SOON);
    let stage = &rig.stage;
    stage.deploy(&["VERSION=newer"]);
    disk.fill();
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("disk-full-rollback", stage).saw("flipside rollback shop", &back);
    day.serves(Serves::New("old"));
    back.ended(0);
    disk.free();
}
