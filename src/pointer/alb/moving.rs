//! A move, step by step: what it means, how a release's targets become healthy before anything is sent to
//! them, the shift, and the way back where it is not made.

use std::time::Duration;

use tokio::time::Instant;

use super::super::record::Record;
use super::super::{Pointer, PointerError};
use super::action::Does;
use super::notes::{Held, Hung, Notes, SLOTS};
use super::previewing::is_shown;
use super::rules::Says;
use super::table::Stood;
use super::{Alb, LOOK, Seen};
use crate::core::event::SwitchRefusal;
use crate::core::names::Slot;
use crate::core::routing::{FOREIGN, Routing};

/// A move, from what was seen to what it means.
pub(super) struct Step {
    pub(super) desired: Routing,
    pub(super) hung: Hung,
    /// What the rule shall do; none where it goes on with what it does, which serves nobody.
    does: Option<Does>,
    pub(super) meant: Notes,
    /// What comes back to the slot that the release given up had taken.
    pub(super) back: Option<(Slot, Held)>,
    /// What is pushed out of its slot once the move is made.
    pub(super) pushed: Option<Held>,
    /// The rules that shall show the preview.
    pub(super) shows: Vec<Says>,
    /// The slot that a release leaves which was only shown, and what comes back to it.
    pub(super) leaves: Option<(Slot, Option<Held>)>,
}

impl Alb {
    /// What a move means.
    pub(super) fn step(&self, seen: &Seen, desired: Routing) -> Result<Step, PointerError> {
        let live = seen.routing.as_ref().and_then(Routing::live);
        let hung = seen
            .hung
            .with(&desired, live, |route| self.targets(route))
            .ok_or_else(|| {
                self.failed(
                    "two target groups hold two releases, and this is one more",
                    "take one out first",
                )
            })?;
        let mut hung = hung;
        if desired.live() == Some(FOREIGN)
            && let Some(stood) = Stood::of(&desired)
        {
            stood.hang(&mut hung, &seen.there.groups);
        }
        let known = seen.notes.as_ref().and_then(|notes| notes.pushed.clone());
        let leaves = self.leaves(seen, &desired, &hung, known.as_ref());
        if let Some((slot, back)) = &leaves {
            hung.hang(*slot, back.clone());
        }
        let does = seen.there.wanted(&desired, &hung);
        let is_nothing = desired.live().is_none() && seen.there.serving().is_empty();
        if does.is_none() && !is_nothing {
            return Err(self.failed(
                "what served before flipside came is not on record",
                "see what is kept: flipside status",
            ));
        }
        let shows = self.shows(seen, &desired, &hung)?;
        let pushed_out = SLOTS.into_iter().find_map(|slot| {
            let (before, after) = (seen.hung.on(slot)?, hung.on(slot)?);
            let is_it = before.release != after.release;
            // What was only shown is given up, and comes back to nothing.
            (is_it && !is_shown(seen.routing.as_ref(), before.release)).then(|| before.clone())
        });
        let back = self.comes_back(seen, &desired, known.as_ref());
        let is_away = |held: &Held| hung.slot(held.release).is_none() && back.is_none();
        let after = match &pushed_out {
            Some(_) => pushed_out.clone(),
            None => known.clone().filter(is_away),
        };
        let stood = seen
            .notes
            .as_ref()
            .map_or(&seen.there.does, |notes| &notes.stood);
        Ok(Step {
            meant: Notes {
                record: Record::of_move(seen.routing.as_ref(), &desired),
                hung: seen.hung.clone(),
                next: Some(hung.clone()),
                // Until it is back it is what comes back.
                pushed: pushed_out.or(known),
                stood: stood.clone(),
                shown: seen.shown.clone(),
                shall: shows.iter().map(Says::words).collect(),
            },
            desired,
            hung,
            does,
            back,
            pushed: after,
            shows,
            leaves,
        })
    }

    /// The rules that shall show the preview.
    fn shows(
        &self,
        seen: &Seen,
        desired: &Routing,
        hung: &Hung,
    ) -> Result<Vec<Says>, PointerError> {
        let Some(release) = desired.preview else {
            return Ok(Vec::new());
        };
        match hung.slot(release) {
            Some(slot) if self.plan.preview.is_possible() => {
                self.asks(&seen.actions, &seen.there, seen.there.group(slot))
            }
            _ => Err(PointerError::no_preview(&self.describe())),
        }
    }

    /// The slot of a release that was shown, and has no part in `desired`; with what it had pushed out.
    fn leaves(
        &self,
        seen: &Seen,
        desired: &Routing,
        hung: &Hung,
        pushed: Option<&Held>,
    ) -> Option<(Slot, Option<Held>)> {
        let routes = seen.routing.iter().flat_map(|routing| &routing.routes);
        let releases = routes.map(|route| route.release);
        let mut given_up = releases.filter(|release| {
            is_shown(seen.routing.as_ref(), *release) && desired.route(*release).is_none()
        });
        let slot = given_up.find_map(|release| hung.slot(release))?;
        let back = pushed.filter(|held| hung.slot(held.release).is_none());
        Some((slot, back.cloned()))
    }

    /// What the live release had pushed out of its slot, where this move goes back to the one before.
    fn comes_back(
        &self,
        seen: &Seen,
        desired: &Routing,
        pushed: Option<&Held>,
    ) -> Option<(Slot, Held)> {
        let (live, to) = (seen.routing.as_ref()?.live()?, desired.live()?);
        let (slot, _) = (seen.hung.slot(live)?, seen.hung.slot(to)?);
        let is_left = live != to && desired.route(live).is_none();
        // What is shown already has pushed it out, and is not given up.
        let is_back = is_left && !is_shown(seen.routing.as_ref(), to);
        let is_away = |held: &&Held| seen.hung.slot(held.release).is_none();
        let pushed = pushed.filter(|_| is_back).filter(is_away)?;
        Some((slot, pushed.clone()))
    }

    /// Waits until all targets of these slots are healthy.
    ///
    /// # Errors
    /// How the others are, where they are not in time; or that ELBv2 cannot be asked.
    async fn healthy(&self, wanted: &[(Slot, &Held)]) -> Result<Result<(), String>, PointerError> {
        let end = Instant::now() + Duration::from_millis(self.plan.healthy);
        loop {
            let ill = self.ill(wanted).await;
            if ill.as_ref().is_ok_and(Vec::is_empty) {
                return Ok(Ok(()));
            }
            if Instant::now() + LOOK > end {
                return ill.map(|ill| Err(ill.join("; ")));
            }
            match ill {
                // It may be asked again.
                Ok(_) | Err(PointerError::OutOfReach { .. }) => tokio::time::sleep(LOOK).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// What is not healthy of these, and why.
    async fn ill(&self, wanted: &[(Slot, &Held)]) -> Result<Vec<String>, PointerError> {
        let mut ill = Vec::new();
        for (slot, held) in wanted {
            let there = self.api.health_of(*slot).await?;
            for target in &held.targets {
                match there.iter().find(|health| health.target == *target) {
                    Some(health) if health.state == "healthy" => {}
                    Some(health) => ill.push(health.to_string()),
                    None => ill.push(format!("{target} is not registered")),
                }
            }
        }
        Ok(ill)
    }

    /// Registers the targets of a step, so that they are healthy before anything is sent to them.
    pub(super) async fn hang(&self, seen: &Seen, step: &Step) -> Result<(), PointerError> {
        match (seen.there.attached(), &seen.there.does, &step.does) {
            (Some(attached), ..) => self.api.modify(&attached.put(&seen.actions)).await?,
            (None, Does::Forward { .. }, _) => {}
            // Nobody is served whom this could disturb, and without it nothing is checked.
            (None, _, Some(does)) => self.api.modify(&does.put(&seen.actions)).await?,
            (None, _, None) => self.show(step).await?,
        }
        let mut waited_for = Vec::new();
        for slot in SLOTS {
            let group = seen.there.group(slot);
            let weight = step.does.as_ref().and_then(|does| does.share(group));
            let weight = weight.unwrap_or(0);
            let Some(held) = step.hung.on(slot) else {
                continue;
            };
            if step.leaves.as_ref().is_some_and(|(left, _)| *left == slot) {
                continue;
            }
            if weight == 0 && step.meant.hung.on(slot) == Some(held) {
                continue;
            }
            match seen.there.serving().contains(&slot) {
                // What serves there does so until the others are healthy.
                true => self.api.add(slot, &held.targets).await?,
                false => self.api.hang(slot, &held.targets).await?,
            }
            waited_for.push((slot, held));
        }
        match self.healthy(&waited_for).await? {
            Ok(()) => Ok(()),
            Err(ill) => Err(self.failed(
                &format!("the release's targets are not healthy: {ill}"),
                "see the group's health check, and that its host lets the load balancer in",
            )),
        }
    }

    /// What is to be said of a step that failed like this. Where it was refused, and nobody else has come
    /// since, what hung there before is put back.
    pub(super) async fn given_up(
        &self,
        seen: &Seen,
        step: &Step,
        error: PointerError,
    ) -> PointerError {
        let PointerError::Failed { what, hint } = error else {
            return error;
        };
        let undone = match self.is_ours(step).await {
            Ok(true) => self.undo(seen, step).await,
            Ok(false) => return self.moved().await,
            Err(error) => Err(error),
        };
        let what = match undone {
            Ok(Ok(())) => what,
            Ok(Err(ill)) => format!("{what}; what stood by is not healthy again: {ill}"),
            Err(error) => format!("{what}; what stood by is not registered again: {error}"),
        };
        PointerError::Failed { what, hint }
    }

    /// Puts back what hung there before a step that was not made, and waits until it is healthy.
    ///
    /// # Errors
    /// How it is, where it is not in time; or that ELBv2 cannot be asked.
    async fn undo(&self, seen: &Seen, step: &Step) -> Result<Result<(), String>, PointerError> {
        let mut back = Vec::new();
        for slot in SLOTS {
            let targets = seen.there.targets(slot);
            if step.hung.on(slot) == step.meant.hung.on(slot) && !targets.is_empty() {
                continue;
            }
            self.api.hang(slot, &targets).await?;
            back.push((
                slot,
                Held {
                    release: FOREIGN,
                    targets,
                },
            ));
        }
        let wanted: Vec<(Slot, &Held)> = back.iter().map(|(slot, held)| (*slot, held)).collect();
        let is_whole = self.healthy(&wanted).await?;
        self.show_again(seen).await?;
        self.api.modify(&seen.there.does.put(&seen.actions)).await?;
        match &seen.notes {
            Some(notes) => self.api.note(notes).await?,
            None => self.api.forget().await?,
        }
        Ok(is_whole)
    }

    /// Whether what this step means is on record still.
    pub(super) async fn is_ours(&self, step: &Step) -> Result<bool, PointerError> {
        Ok(self.api.notes().await?.as_ref() == Some(&step.meant))
    }

    pub(super) async fn moved(&self) -> PointerError {
        match self.look().await {
            Ok(seen) => PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: seen.routing.map(Box::new),
            },
            Err(error) => error,
        }
    }

    /// Somebody else has written since this write's look: what is on record is theirs, and is made true
    /// again.
    pub(super) async fn too_late(&self, step: &Step) -> PointerError {
        let put_right = async {
            let (actions, there) = self.there(Some(&step.meant)).await?;
            let Some(theirs) = self.api.notes().await? else {
                self.hide(&there.rules.ours).await?;
                return Ok(None);
            };
            if !theirs.may_show() {
                self.hide(&there.rules.ours).await?;
            }
            let hung = theirs.hung.clone();
            // Who is at it hangs up what is needed by themselves.
            let is_at_rest = theirs.next.is_none();
            let Some(routing) = theirs.record.into_routing() else {
                return Ok(None);
            };
            for slot in SLOTS.into_iter().filter(|_| is_at_rest) {
                if let Some(held) = hung.on(slot) {
                    self.api.hang(slot, &held.targets).await?;
                }
            }
            let shown = routing.preview.filter(|_| is_at_rest);
            if let Some(slot) = shown.and_then(|release| hung.slot(release)) {
                self.hide(&there.rules.ours).await?;
                for says in self.asks(&actions, &there, there.group(slot))? {
                    self.api.create_rule(&says).await?;
                }
            }
            if let Some(does) = there.wanted(&routing, &hung) {
                self.api.modify(&does.put(&actions)).await?;
            }
            Ok(Some(routing))
        };
        match put_right.await {
            Ok(found) => PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: found.map(Box::new),
            },
            Err(error) => error,
        }
    }

    /// Shifts the weights, and looks whether they are.
    pub(super) async fn shift(&self, seen: &Seen, step: &Step) -> Result<(), PointerError> {
        for slot in seen.there.serving() {
            let held = step.hung.on(slot);
            if let Some(held) = held.filter(|held| seen.there.targets(slot) != held.targets) {
                self.api.hang(slot, &held.targets).await?;
            }
        }
        let attached = seen.there.attached();
        let does = attached.as_ref().unwrap_or(&seen.there.does);
        let new = step.does.as_ref().filter(|new| *new != does);
        let said = match new {
            Some(new) => self.api.modify(&new.put(&seen.actions)).await,
            None => Ok(()),
        };
        if let Err(error @ PointerError::Failed { .. }) = said {
            return Err(error);
        }
        // Whatever became of the answer, what it has done is seen by looking.
        let (_, there) = self
            .there(Some(&step.meant))
            .await
            .map_err(|error| self.lost(error.to_string()))?;
        let is_shown = there.shows(&step.desired, &[&step.hung], &step.meant.shall);
        let is_moved = there.is_so(&step.desired, &step.hung);
        if is_moved && is_shown {
            return Ok(());
        }
        said?;
        match self.is_ours(step).await? {
            true if is_moved => {
                Err(self.lost("its rules for the preview are not as they should be"))
            }
            true => Err(self.lost("it took the new weights and does not use them")),
            false => Err(self.too_late(step).await),
        }
    }
}
