//! The engine's disk fills in each phase.

use std::time::Instant;

use super::phase::{Phase, Rig};
use crate::bad_days::{Day, Serves};
use crate::real_crash::daemon::Host;
use crate::real_crash::small::Small;
use crate::real_verbs::kit::docker;
use crate::support::docker::hello_tag;

/// How long a phase lasts that ends by itself.
const SOON: u32 = 2_000;
/// A bake that is longer than a lease lives without being renewed.
const LONG: u32 = 20_000;

/// An engine with its data on a small disk.
struct Full {
    host: Host,
    disk: Small,
}

impl Full {
    fn new() -> Self {
        let mut disk = None;
        let host = Host::with(|data| disk = Some(Small::on(data, "700m")));
        host.load(&hello_tag());
        let disk = disk.unwrap();
        Self { host, disk }
    }

    /// The disk is full from `phase` on, until the deploy has ended with `code`.
    fn day(&self, day: &'static str, phase: Phase, code: i32) {
        let wait = if phase == Phase::Bake { LONG } else { SOON };
        let rig = Rig::on(&self.host, phase, wait);
        let stage = &rig.stage;
        let held = rig.hold();
        if phase == Phase::StandUp {
            self.runs(&format!("{}-2-backend-1", stage.service));
        }
        self.disk.fill();
        if phase == Phase::Bake {
            self.takes_no_volume();
        }
        rig.go_on(&held);
        let ran = held.end();
        let serves = match code {
            3 => Serves::Before("old"),
            _ => Serves::New("new"),
        };
        let day = Day::of(day, stage).naming(&self.data(), "/var/lib/docker");
        let mut day = day.saw("flipside deploy", &ran);
        if code == 6 {
            day = day.meanwhile(serves);
            self.disk.free();
            let (typed, resumed) = rig.resume();
            day = day.saw(typed, &resumed);
        }
        self.disk.free();
        day.serves(serves);
        ran.ended(code);
        rig.is_tidy();
    }

    /// Waits until a container runs.
    fn runs(&self, name: &str) {
        let url = self.host.url();
        let words = ["--host", &url, "inspect", "--format", "{{.State.Running}}"];
        let look = || docker(&[&words[..], &[name]].concat());
        self.host.soon(Instant::now(), look, |said| said == "true");
    }

    /// What an engine knows of its volumes is in a file with some room of its own, by which it takes
    /// a few more. Takes that room, too: no lease is renewed any more.
    fn takes_no_volume(&self) {
        let pad = format!("pad={}", "x".repeat(1_000));
        for n in 0..1_000 {
            let name = format!("pad-{n}");
            let words = ["volume", "create", "--label", &pad, &name];
            if !self.host.docker(&words).status().unwrap().success() {
                return;
            }
        }
        panic!("there is room");
    }

    fn data(&self) -> String {
        let socket = self.host.url();
        socket.replace("unix://", "").replace("docker.sock", "data")
    }
}

#[test]
fn in_each_phase() {
    let full = Full::new();
    full.day("engine-disk-full-prepare", Phase::Prepare, 3);
    full.day("engine-disk-full-stand-up", Phase::StandUp, 3);
    full.day("engine-disk-full-prove", Phase::Prove, 0);
    full.day("engine-disk-full-switch", Phase::Switch, 0);
    full.day("engine-disk-full-bake", Phase::Bake, 6);
    full.day("engine-disk-full-drain", Phase::Drain, 0);
    full.day("engine-disk-full-retire", Phase::Retire, 0);
}
