//! What a look at the world says to a run: whether a move has happened, and, to one that another
//! process has begun, whether the world is still the one it was begun in.

use std::net::SocketAddr;

use super::action::Ask;
use super::event::Verb;
use super::names::{Generation, Release};
use super::routing::{Route, Routing};
use super::state::{Back, Course, Moved, Stage, State};
use super::survey::is_drift;
use super::world::World;

impl State {
    /// A switch whose answer is missing or was a refusal: it has happened if the pointer names `to`
    /// at the next number. It has not if the pointer is where it was. Else somebody else moved it.
    pub(super) fn settle_switch(
        &mut self,
        to: Release,
        from: Option<Release>,
        expected: Option<Generation>,
        found: Option<&Routing>,
    ) {
        let next = expected.map_or(1, |generation| generation + 1);
        match found {
            Some(routing) if routing.live() == Some(to) && routing.generation >= next => {
                let Routing { generation, at, .. } = *routing;
                self.move_to(Moved {
                    to,
                    from,
                    generation,
                    at,
                });
            }
            found if found.map(|routing| routing.generation) == expected => {}
            _ => self.course = Course::Stuck,
        }
    }

    /// A pointer that does not say what the last move made it say was moved by somebody else.
    pub(super) fn compare(&mut self, found: Option<&Routing>) {
        let Some(moved) = self.moved else { return };
        let said = found.map(|routing| (routing.live(), routing.generation));
        if said != Some((Some(moved.to), moved.generation)) {
            self.course = Course::Stuck;
        }
    }

    /// The first look after another process has begun the run. A proof that it has seen is not
    /// trusted: the candidate proves itself again. Where the pointer has moved since, a release of
    /// this number may be another operator's: the candidate is given up. What a hand has edited is
    /// left to a person, unless the run was to end here anyway.
    pub(super) fn distrust(&mut self, world: &World) {
        let ends = matches!(self.ask, Some(Ask::Abort | Ask::Settle | Ask::Leave));
        match self.course {
            Course::Forward(stage) if stage < Stage::Switched => {
                if self.is_elsewhere(world) {
                    self.course = Course::GivingUp;
                } else if is_drift(world) && !ends {
                    self.course = Course::Stuck;
                } else if stage >= Stage::Proven {
                    self.course = Course::Forward(Stage::StoodUp);
                }
            }
            Course::Back(Back::Decided) if self.moved.is_none() => {
                // A rollback that has lost its journal may have moved it there itself.
                let there = world.routing.as_ref().and_then(Routing::live) == Some(self.release());
                let elsewhere = self.is_elsewhere(world) && !there;
                if (elsewhere || is_drift(world)) && !ends {
                    self.course = Course::Stuck;
                }
            }
            Course::Forward(_) | Course::Back(Back::Decided) if self.is_edited(world) => {
                self.course = Course::Stuck;
            }
            Course::Forward(_)
            | Course::GivingUp
            | Course::Back(_)
            | Course::Clearing(_)
            | Course::Applying(_)
            | Course::Stuck
            | Course::Closed(_) => {}
        }
    }

    /// Whether the pointer has moved since the run was opened, and not by it.
    fn is_elsewhere(&self, world: &World) -> bool {
        let found = world.routing.as_ref().map(|routing| routing.generation);
        found != self.expected()
    }

    /// Whether the pointer sends the traffic of a deployed release elsewhere than to where it was
    /// stood up.
    fn is_edited(&self, world: &World) -> bool {
        let Verb::Deploy { release, .. } = self.opened.verb else {
            return false;
        };
        let (Some(moved), Some(routing)) = (self.moved, &world.routing) else {
            return false;
        };
        let weighted = routing.routes.iter().filter(|route| route.weight > 0);
        let named: Vec<&Route> = weighted.collect();
        moved.to == release
            && !matches!(*named, [route] if sorted(&route.endpoints) == sorted(&self.endpoints))
    }
}

fn sorted(endpoints: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut sorted = endpoints.to_vec();
    sorted.sort_unstable();
    sorted
}
