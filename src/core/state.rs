//! The state machine of a run: every legal transition in one match.
//!
//! A run's state is the fold of its records. What to do next is `decide`'s to say; nothing here
//! prefers one act over another.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::action::{Action, Ask};
pub use super::course::{
    Applying, Back, Bake, Clearing, Course, Moved, Preview, Sight, Stage, Stood,
};
use super::event::{Event, Failure, Opened, SwitchRefusal, Verb};
use super::hook::Hooks;
use super::late::Clients;
use super::names::{Generation, Release, RoleName};
use super::routing::{Drained, Mark};
use super::world::World;

/// How often in a row an outcome may get lost before the run is left to `resume`.
pub const LOST_LIMIT: u32 = 3;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// How it began.
    pub opened: Opened,
    /// Which way it goes, and how far it has come.
    pub course: Course,
    /// An intent without an outcome.
    pub pending: Option<Action>,
    /// What was asked of it and still holds.
    pub ask: Option<Ask>,
    /// How many outcomes in a row got lost.
    pub lost: u32,
    /// The last move of the pointer.
    pub moved: Option<Moved>,
    /// The generation of the last write of the pointer.
    pub written: Option<Generation>,
    /// What is known of the candidate's preview.
    pub preview: Preview,
    /// Why the release is not kept: the first failure.
    pub failure: Option<Failure>,
    /// Whether anything of the candidate may stand.
    pub stood: Stood,
    /// Role → pinned image.
    pub images: BTreeMap<RoleName, String>,
    /// Where the candidate's exposed replicas answer.
    pub endpoints: Vec<SocketAddr>,
    /// What is known of its hooks.
    pub hooks: Hooks,
    /// Whether it has begun to bake.
    pub bake: Bake,
    /// What was seen of the clients of what is to be removed or put to sleep, since the run was last
    /// taken up.
    pub clients: BTreeMap<Release, Clients>,
    /// What became of the requests in flight at the last move.
    pub drained: Drained,
    /// Whether the pointer must be looked at before anything else is done: another process has
    /// gone on, and meanwhile somebody may have moved it.
    pub sight: Sight,
    /// What the last look at the world found, if it was taken at this stage.
    pub world: Option<Box<World>>,
}

/// An event that cannot follow.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{event} cannot follow: the run is at {course:?} with {pending} pending")]
pub struct Illegal {
    /// What came.
    pub event: String,
    /// Where the run is.
    pub course: Course,
    /// What is pending.
    pub pending: String,
}

impl State {
    /// The state after an opening record.
    ///
    /// # Errors
    /// Where `event` is no opening record.
    pub fn open(event: &Event) -> Result<Self, Illegal> {
        let Event::Opened(opened) = event else {
            return Err(Illegal {
                event: format!("{event:?}"),
                course: Course::Forward(Stage::Opened),
                pending: "no opening record".into(),
            });
        };
        let course = match opened.verb {
            Verb::Deploy { .. } => Course::Forward(Stage::Opened),
            Verb::Rollback { .. } => Course::Back(Back::Decided),
            Verb::HandOver { .. } => Course::Back(Back::Verified),
            Verb::Prune { .. } | Verb::Down { .. } => Course::Clearing(Clearing::Opened),
            Verb::Apply { .. } => Course::Applying(Applying::default()),
        };
        Ok(Self {
            opened: opened.clone(),
            course,
            pending: None,
            ask: None,
            lost: 0,
            moved: None,
            written: None,
            preview: Preview::default(),
            failure: None,
            stood: Stood::Nothing,
            images: BTreeMap::new(),
            endpoints: Vec::new(),
            hooks: Hooks::default(),
            bake: Bake::ToCome,
            clients: BTreeMap::new(),
            drained: Drained::default(),
            sight: Sight::Fresh,
            world: None,
        })
    }

    /// The state after all of `events`, the first of which opens the run.
    ///
    /// # Errors
    /// Where one cannot follow, or there is none.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, Illegal> {
        let mut events = events.into_iter();
        let none = Event::Seen {
            what: "nothing".into(),
        };
        let opened = Self::open(events.next().unwrap_or(&none))?;
        events.try_fold(opened, |state, event| state.apply(event))
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// Where it cannot follow.
    pub fn apply(mut self, event: &Event) -> Result<Self, Illegal> {
        use Event as E;
        let course = self.course;
        match (course, self.pending.clone(), event) {
            // An end is an end.
            (Course::Closed(_), _, E::Seen { .. }) | (_, _, E::Seen { .. }) => {}
            (Course::Closed(_), _, _) => return Err(self.illegal(event)),
            (_, _, E::Closed { outcome }) => {
                self.pending = None;
                self.course = Course::Closed(*outcome);
            }

            // Asks come at any time; what they turn is settled below, once nothing is pending.
            (_, _, E::Asked { ask, .. }) => self.hear(ask),
            (_, _, E::Resumed { .. }) => {
                self.ask = None;
                self.lost = 0;
                self.world = None;
                self.clients.clear();
                self.sight = Sight::Stale;
                self.bake = self.bake.resumed();
            }

            // An intent, where its act belongs.
            (_, None, E::Intended { action }) if self.permits(action) => {
                if *action == Action::StandUp {
                    self.stood = Stood::Something;
                }
                if matches!(action, Action::Watch { .. }) {
                    self.bake = self.bake.watched();
                }
                self.pending = Some(action.clone());
            }

            // That has taken its time: the world is to be looked at again.
            (_, Some(Action::SeeClients { .. }), E::ClientsSeen { clients }) => {
                self.world = None;
                self.pending = None;
                self.lost = 0;
                let seen = clients.iter().map(|one| (one.release, one.clone()));
                self.clients.extend(seen);
            }

            // An outcome that got lost: the intent stays, the world will tell.
            (_, _, E::Lost { .. }) => self.lost += 1,
            (_, pending, E::Observed { world }) => {
                self.pending = None;
                if let Some(Action::Switch {
                    to, expected, from, ..
                }) = pending
                {
                    self.settle_switch(to, from, expected, world.routing.as_ref());
                } else if let Some(Action::Preview { .. }) = pending {
                    self.settle_preview(world.routing.as_ref());
                } else if let Some(Action::Hook { name, .. }) = pending {
                    self.doubt(&name);
                    self.compare(world.routing.as_ref());
                } else if let Some(Action::Apply { .. }) = pending {
                    self.doubt_applied();
                } else {
                    self.compare(world.routing.as_ref());
                }
                if self.sight == Sight::Stale {
                    self.distrust(world);
                }
                self.sight = Sight::Fresh;
                self.world = Some(world.clone());
            }

            // Hooks, forward and back.
            (_, Some(Action::Hook { name, .. }), E::HookEnded(end)) if end.name == name => {
                self.hook_ended(end);
            }
            (_, _, E::HookSettled { name, word, .. })
                if self.hook_in_doubt() == Some(name.as_str()) =>
            {
                self.hook_settled(name, *word);
            }

            // Forward.
            (Course::Forward(_), Some(Action::Prepare), E::Prepared { images }) => {
                self.images = images.clone();
                self.reach(Stage::Prepared);
            }
            (Course::Forward(_), Some(Action::StandUp), E::StoodUp { endpoints, .. }) => {
                self.endpoints = endpoints.clone();
                self.reach(Stage::StoodUp);
            }
            (Course::Forward(_), Some(Action::Prove), E::Proven { .. }) => {
                self.reach(Stage::Proven);
            }
            (
                Course::Forward(_),
                Some(Action::Mark {
                    mark: Mark::Proven, ..
                }),
                E::Marked,
            ) => {
                self.reach(Stage::Marked);
            }
            (Course::Forward(_), Some(Action::Preview { .. }), E::Previewed { generation }) => {
                self.shown(*generation);
                self.reach(Stage::Shown);
            }
            (
                Course::Forward(_),
                Some(Action::Mark {
                    mark: Mark::Served(_),
                    ..
                }),
                E::Marked | E::Failed(_),
            ) => self.reach(Stage::Served),
            (Course::Forward(_), Some(Action::Watch { .. }), E::Baked) => self.reach(Stage::Baked),
            (Course::Forward(_), Some(Action::Retire { .. }), E::Retired { .. } | E::Failed(_)) => {
                self.reach(Stage::Retired);
            }
            // A standby that would not go to sleep runs on: `status` says so, `prune` mends it.
            (Course::Forward(_), Some(Action::Sleep { .. }), E::Slept { .. } | E::Failed(_)) => {
                self.reach(Stage::Slept);
            }
            (Course::Back(_), Some(Action::Wake { .. }), E::Woken { .. }) => {
                self.reach_back(Back::Woken);
            }
            (Course::Clearing(_), Some(Action::Wake { .. }), E::Woken { .. }) => {
                self.reach_clearing(Clearing::Woken);
            }
            (Course::Clearing(_), Some(Action::Sleep { .. }), E::Slept { .. }) => {
                self.reach_clearing(Clearing::Slept);
            }

            // Both ways.
            (_, Some(Action::Switch { to, from, .. }), E::Switched { generation, at, .. }) => {
                self.pending = None;
                self.move_to(Moved {
                    to,
                    from,
                    generation: *generation,
                    at: *at,
                });
            }
            (
                _,
                Some(Action::Switch {
                    to, from, expected, ..
                }),
                E::SwitchRefused { why, found },
            ) => {
                self.pending = None;
                match why {
                    SwitchRefusal::Fenced => self.ask = Some(Ask::Yield),
                    SwitchRefusal::Moved | SwitchRefusal::Drifted => {
                        self.settle_switch(to, from, expected, found.as_deref());
                        if self.moved.is_none_or(|moved| moved.to != to) {
                            self.course = Course::Stuck;
                        }
                    }
                }
            }
            (Course::Forward(stage), Some(Action::Verify { .. }), E::Verified { .. }) => {
                self.reach(match stage {
                    Stage::Shown => Stage::Previewed,
                    _ => Stage::Verified,
                });
            }
            (Course::Back(_), Some(Action::Verify { .. }), E::Verified { .. }) => {
                self.reach_back(Back::Verified);
            }
            (Course::Forward(_), Some(Action::Rest { .. }), E::Rested { .. }) => {
                self.reach(Stage::Rested);
            }
            (Course::Back(_), Some(Action::Rest { .. }), E::Rested { .. }) => {
                self.reach_back(Back::Rested);
            }
            (Course::Forward(_), Some(Action::Work { .. }), E::Working { .. }) => {
                self.reach(Stage::Working);
            }
            (Course::Back(_), Some(Action::Work { .. }), E::Working { .. }) => {
                self.reach_back(Back::Working);
            }
            (Course::Forward(_), Some(Action::Drain { .. }), E::Drained(drained)) => {
                self.drained = *drained;
                self.reach(Stage::Drained);
            }
            (Course::Back(_), Some(Action::Drain { .. }), E::Drained(drained)) => {
                self.drained = *drained;
                self.reach_back(Back::Drained);
            }

            // Another act than a switch that the pointer refused: somebody else has taken over, or
            // has moved it.
            (_, Some(_), E::SwitchRefused { why, .. }) => {
                self.pending = None;
                match why {
                    SwitchRefusal::Fenced => self.ask = Some(Ask::Yield),
                    SwitchRefusal::Moved | SwitchRefusal::Drifted => self.course = Course::Stuck,
                }
            }

            // Back.
            (
                Course::Back(_),
                Some(Action::Mark {
                    mark: Mark::Served(_),
                    ..
                }),
                E::Marked | E::Failed(_),
            ) => self.reach_back(Back::Served),
            (
                Course::Back(_),
                Some(Action::Mark {
                    mark: Mark::Withdrawn,
                    ..
                }),
                E::Marked | E::Failed(_),
            ) => self.reach_back(Back::Withdrawn),

            // Giving up. What could not be removed is `prune`'s to find.
            (Course::GivingUp, Some(Action::Hide { .. }), E::Hidden { generation }) => {
                self.hidden(*generation);
            }
            (Course::GivingUp, Some(Action::Hide { .. }), E::Failed(_)) => {
                self.hidden(self.written);
            }
            (_, Some(Action::TearDown { .. }), E::TornDown { .. } | E::Failed(_)) => {
                self.pending = None;
                self.lost = 0;
                self.stood = Stood::Nothing;
            }

            // Clearing.
            (Course::Clearing(_), Some(Action::Disconnect), E::Disconnected) => {
                self.reach_clearing(Clearing::Disconnected);
            }
            (Course::Clearing(_), Some(Action::Retire { .. }), E::Retired { .. }) => {
                self.reach_clearing(Clearing::Cleared);
            }

            (Course::Clearing(_), Some(Action::RemoveShared), E::SharedRemoved { .. }) => {
                self.reach_clearing(Clearing::Bare);
            }

            // Shared roles.
            (Course::Applying(at), Some(Action::Apply { role }), E::Applied { role: done, .. })
                if role == *done =>
            {
                self.applied(at.done);
            }
            (Course::Applying(_), Some(_), E::Failed(failure)) => {
                self.pending = None;
                self.lost = 0;
                self.failure = Some(failure.clone());
            }

            // A failure turns a deploy round; on the way back only a person can help.
            (Course::Forward(stage), Some(_), E::Failed(failure)) => {
                self.pending = None;
                self.lost = 0;
                self.failure = Some(failure.clone());
                self.course = self.turned(stage);
            }
            (Course::Back(_) | Course::Clearing(_), Some(_), E::Failed(failure)) => {
                self.pending = None;
                self.lost = 0;
                self.failure.get_or_insert_with(|| failure.clone());
                self.course = Course::Stuck;
            }
            _ => return Err(self.illegal(event)),
        }
        self.heed();
        Ok(self)
    }

    /// The release that the run is about: of a deploy the new one, of a rollback the one gone back
    /// to, of a hand-over the live one.
    #[must_use]
    pub fn release(&self) -> Release {
        match self.opened.verb {
            Verb::Deploy { release, .. } => release,
            Verb::Rollback { to, .. } | Verb::HandOver { to } => to,
            Verb::Prune { .. } | Verb::Down { .. } | Verb::Apply { .. } => {
                self.opened.live.unwrap_or_default()
            }
        }
    }

    /// The release that serves now, as far as this run knows.
    #[must_use]
    pub fn live(&self) -> Option<Release> {
        self.moved.map(|moved| moved.to).or(self.opened.live)
    }

    /// Whether the pointer has been moved by this run.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.moved.is_some()
    }

    /// What became of the requests in flight to what the last move has left: of a run that has moved
    /// nothing none were, and while a move is in doubt nothing is known.
    #[must_use]
    pub fn left(&self) -> Drained {
        match (self.moved, &self.pending) {
            (_, Some(Action::Switch { .. })) => Drained::default(),
            (Some(_), _) => self.drained,
            (None, _) => Drained {
                in_flight: Some(0),
                finished: Some(0),
                cut: Some(0),
            },
        }
    }

    fn reach(&mut self, stage: Stage) {
        self.world = None;
        self.pending = None;
        self.lost = 0;
        self.course = Course::Forward(stage);
    }

    fn reach_back(&mut self, back: Back) {
        self.world = None;
        self.pending = None;
        self.lost = 0;
        self.course = Course::Back(back);
    }

    fn reach_clearing(&mut self, clearing: Clearing) {
        if clearing >= Clearing::Cleared {
            self.world = None;
        }
        self.pending = None;
        self.lost = 0;
        self.course = Course::Clearing(clearing);
    }

    pub(super) fn move_to(&mut self, moved: Moved) {
        self.moved = Some(moved);
        self.written = Some(moved.generation);
        self.preview = Preview::default();
        self.drained = Drained::default();
        match self.course {
            Course::Back(_) => self.reach_back(Back::Moved),
            _ => self.reach(Stage::Switched),
        }
    }

    /// Takes an ask. A weaker one never takes the place of a stronger, and a bake that has not
    /// begun cannot be ended.
    fn hear(&mut self, ask: &Ask) {
        let early = matches!(self.course, Course::Forward(stage) if stage < Stage::Switched);
        let doubtful = matches!(self.pending, Some(Action::Switch { .. }));
        if *ask == Ask::Promote && early && !doubtful {
            self.preview.promoted |= self.preview.shown;
            return;
        }
        if self
            .ask
            .as_ref()
            .is_none_or(|held| held.strength() <= ask.strength())
        {
            self.ask = Some(ask.clone());
        }
    }

    /// Where a deploy goes that cannot go on.
    pub(super) fn turned(&self, stage: Stage) -> Course {
        if stage < Stage::Switched {
            Course::GivingUp
        } else if self.opened.live.is_some() {
            Course::Back(Back::Decided)
        } else {
            Course::Stuck
        }
    }

    /// Turns the run as it was asked to, once nothing is pending.
    fn heed(&mut self) {
        let (Course::Forward(stage), None) = (self.course, &self.pending) else {
            return;
        };
        match self.ask {
            Some(Ask::Abort) => self.course = self.turned(stage),
            Some(Ask::Leave | Ask::Settle) if stage < Stage::Switched => {
                self.course = Course::GivingUp;
            }
            _ => {}
        }
    }

    fn illegal(&self, event: &Event) -> Illegal {
        let mut event = format!("{event:?}");
        event.truncate(
            event
                .char_indices()
                .nth(200)
                .map_or(event.len(), |(at, _)| at),
        );
        let pending = self
            .pending
            .as_ref()
            .map_or("nothing".into(), |a| format!("{a:?}"));
        Illegal {
            event,
            course: self.course,
            pending,
        }
    }
}
