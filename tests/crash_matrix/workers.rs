//! Live-only roles: never two at once, whatever happens, and the live release's at the end.

use flipside::core::routing::Routing;
use flipside::core::verdict::Outcome;
use flipside::core::world::Environment;
use std::time::Duration;

use super::cases::{Case, DONE, Meanwhile, PLAIN, Scenario};
use super::checker::Checker;
use super::stage::Verb;
use super::sweep::{cuts, learn, play};
use crate::support::fake_workers::works;
use crate::support::fake_world::{Behaviour, FakeWorld, lock};

fn second_ends(world: &mut FakeWorld) {
    let exits = Behaviour::exits(3, Duration::from_secs(1));
    world.behave(2, "worker", Some(2), exits);
}

/// All of them, with one keeper of marks.
pub fn scenarios(pointer_keeps_marks: bool) -> Vec<Scenario> {
    let plain = Scenario {
        name: "first deploy with workers",
        pointer_keeps_marks,
        workers: 2,
        ..PLAIN
    };
    let two = &[Verb::Deploy, Verb::Deploy];
    vec![
        plain,
        Scenario {
            name: "third deploy with workers",
            before: two,
            bake_ms: 4_000,
            ..plain
        },
        Scenario {
            name: "deploy whose worker ends",
            before: &[Verb::Deploy],
            wrong: second_ends,
            ends: &[Outcome::RolledBack],
            ..plain
        },
        Scenario {
            name: "rollback with workers",
            before: two,
            verb: Verb::Rollback,
            ends: DONE,
            ..plain
        },
        Scenario {
            name: "down with workers",
            before: two,
            verb: Verb::Down,
            ..plain
        },
    ]
}

impl Checker {
    /// 2: live-only containers never run in two releases at once.
    pub fn two_work(&mut self, environments: &[Environment]) {
        let working = environments.iter();
        let working = working.filter(|e| e.containers.iter().any(works));
        let working: Vec<_> = working.map(|e| e.release).collect();
        if working.len() > 1 {
            self.breaks(
                2,
                format!("live-only containers of {working:?} run at once"),
            );
        }
    }

    /// 2: when a run has ended, those of the live release run, all of them, and no others.
    pub fn works(&mut self) {
        let (environments, live) = {
            let world = lock(self.world());
            let live = world.routings.get(self.service()).and_then(Routing::live);
            (world.environments(self.service()), live)
        };
        for environment in environments {
            let release = environment.release;
            let all = environment.workers().count();
            let at_work = environment.containers.iter().filter(|c| works(c)).count();
            let expected = if Some(release) == live { all } else { 0 };
            if at_work != expected {
                let how = format!(
                    "{live:?} is live, and {at_work} of {all} live-only containers of {release} run"
                );
                self.breaks(2, how);
            }
        }
    }
}

#[test]
fn a_daemon_that_restarts_where_the_operator_was_killed_starts_none_twice() {
    for marks in [true, false] {
        let cases = scenarios(marks).into_iter().flat_map(|scenario| {
            let mut cases = cuts(scenario, &learn(scenario));
            for case in &mut cases {
                case.meanwhile = Meanwhile::Restart;
            }
            cases
        });
        play(&cases.collect::<Vec<Case>>());
    }
}
