//! Showing a candidate to those who ask for it, and hiding it again.

use std::time::Duration;

use super::bounded::while_running;
use super::fault::Fault;
use super::{POINTER, Performer};
use crate::core::event::{Event, MarkKeeper, SwitchRefusal};
use crate::core::names::{Fence, Generation, Release};
use crate::core::routing::{Mark, Marks, Route, Routing};
use crate::core::state::State;

impl Performer {
    /// Shows the candidate beside what serves, to those who ask for it.
    pub(super) async fn show(
        &self,
        state: &State,
        expected: Option<Generation>,
        fence: Fence,
    ) -> Result<Event, Fault> {
        let candidate = self.environment(state.release()).await?;
        let found = self.routing().await?;
        self.is_as_left(found.as_ref(), expected, state.opened.live)?;
        let route = Route {
            release: candidate.release,
            slot: candidate.slot,
            weight: 0,
            endpoints: candidate.endpoints(),
        };
        let shown = found.as_ref().is_some_and(|found| {
            found.preview == Some(route.release) && found.route(route.release) == Some(&route)
        });
        let generation = match (shown, expected) {
            (true, Some(generation)) => generation,
            _ => {
                let mut desired = self.beside(found.as_ref(), state, "preview", fence);
                desired.preview = Some(route.release);
                if state.opened.marks == MarkKeeper::Pointer {
                    let marks: &mut Marks = desired.marks.entry(route.release).or_default();
                    marks.add(Mark::Proven);
                }
                desired.routes.push(route);
                self.write(expected, desired).await?
            }
        };
        Ok(Event::Previewed { generation })
    }

    /// Takes the candidate out of sight, and out of the table: a write that was cut short may have done
    /// the first alone. Where the pointer has moved on both are done.
    pub(super) async fn hide(
        &self,
        state: &State,
        release: Release,
        expected: Generation,
        fence: Fence,
    ) -> Result<Event, Fault> {
        let found = self.routing().await?;
        let is_in_it = found
            .as_ref()
            .is_some_and(|found| found.generation == expected && found.route(release).is_some());
        if !is_in_it {
            return Ok(Event::Hidden { generation: None });
        }
        if state.opened.generation.is_none() {
            // It knew nothing of the service before.
            self.disconnect(fence).await?;
            return Ok(Event::Hidden { generation: None });
        }
        let desired = self.beside(found.as_ref(), state, "give up", fence);
        match self.write(Some(expected), desired).await {
            Ok(generation) => Ok(Event::Hidden {
                generation: Some(generation),
            }),
            Err(Fault::Refused(SwitchRefusal::Moved, _)) => Ok(Event::Hidden { generation: None }),
            Err(fault) => Err(fault),
        }
    }

    /// What was found, without the candidate of `state`.
    fn beside(&self, found: Option<&Routing>, state: &State, verb: &str, fence: Fence) -> Routing {
        let release = state.release();
        let routes = found.map_or(&[][..], |found| &found.routes);
        let routes = routes.iter().filter(|route| route.release != release);
        Routing {
            generation: found.map_or(0, |found| found.generation) + 1,
            fence,
            author: self.with.author.clone(),
            reason: format!("{verb} {}@{release}", self.with.service),
            at: (self.with.clock)(),
            routes: routes.cloned().collect(),
            marks: found.map_or_else(Default::default, |found| found.marks.clone()),
            deadline: None,
            preview: None,
            foreign: found.and_then(|found| found.foreign.clone()),
        }
    }

    /// One write, and what it made true remembered.
    pub(super) async fn write(
        &self,
        expected: Option<Generation>,
        desired: Routing,
    ) -> Result<Generation, Fault> {
        let write = self.with.pointer.write(expected, &desired);
        let limit = POINTER + Duration::from_millis(self.with.pointer.patience_ms());
        let generation = while_running(limit, write).await.ok_or_else(|| {
            Fault::Lost(format!("{} did not answer", self.with.pointer.describe()))
        })??;
        self.remember_routes(Some(&Routing {
            generation,
            ..desired
        }));
        Ok(generation)
    }
}
