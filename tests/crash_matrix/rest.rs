//! What must be so when nobody acts any more: nothing is under way, and nothing is left behind.

use std::sync::Arc;

use flipside::core::names::Release;
use flipside::core::plan::StandbyMode;
use flipside::core::routing::Routing;
use flipside::core::survey::survey;
use flipside::core::verdict::Outcome;
use flipside::core::world::{Environment, World};
use flipside::error::Exit;

use super::cases::{Case, Verdict, brief, unfinished, verdict};
use super::checker::stands;
use super::stage::{Done, Machine, Stage, Verb};
use crate::support::fake_world::lock;

impl Case {
    /// 5: nothing is under way, what is named answers, and after `prune` nothing is left that has
    /// no business there.
    pub async fn comes_to_rest(&self, stage: &Arc<Stage>) -> Verdict {
        if unfinished(stage) {
            let dan = stage.actor("dan@desk", Machine::Here);
            let mut done = dan.perform(Verb::Resume).await;
            // A person says of each hook in doubt that it has done what it had to do.
            while done.outcome() == Some(Outcome::Unsure) {
                done = stage.say_done(&done).await;
            }
            // What was under way before it waits still.
            if done.outcome() == Some(Outcome::Stuck) && unfinished(stage) {
                done = dan.perform(Verb::Resume).await;
            }
            if done.outcome() == Some(Outcome::Previewed) {
                done = dan.perform(Verb::Promote).await;
            }
            let ended = match done.outcome() {
                Some(Outcome::Done | Outcome::RolledBack | Outcome::Refused) => true,
                // Another machine has moved the pointer on: a person is told so, once.
                Some(Outcome::Stuck) => self.ways.iter().any(|(at, _)| *at != Machine::Here),
                Some(Outcome::Previewed | Outcome::Unsure | Outcome::Interrupted) | None => false,
            };
            if !ended || unfinished(stage) {
                return Err(format!(
                    "promise 5: `resume` at the end came to {}",
                    brief(&done)
                ));
            }
        }
        // Late clients go at last; what they were kept for goes then.
        lock(&stage.world).clients.clear();
        let pruner = stage.actor("dan@desk", Machine::Here);
        let pruned = pruner.perform(Verb::Prune).await;
        let spoilt = pruned == Done::Exit(Exit::Decide) && self.scenario.spoilt(stage);
        if pruned != Done::Exit(Exit::Done) && !spoilt {
            return Err(format!("promise 5: `prune` at the end came to {pruned:?}"));
        }
        verdict(stage)?;
        if !spoilt {
            stage.checker().works();
        }
        verdict(stage)?;
        let checker = stage.checker();
        let world = lock(&stage.world);
        for role in stage.plan.shared.keys() {
            let standing = world.shared_of(&stage.service, None);
            let of: Vec<_> = standing
                .iter()
                .filter(|one| one.container.role == *role)
                .collect();
            // A first deploy may have been given up before it came to that.
            let well = of.iter().all(|one| !one.halfway && !one.has_stopped());
            if of.len() > 1 || !well {
                return Err(format!("promise 5: in the end `{role}` is {of:?}"));
            }
        }
        let taken_down = self.ways.iter().any(|(_, verb)| *verb == Verb::DownShared);
        for role in stage.plan.shared.keys().filter(|_| !taken_down) {
            let of = world.shared.iter();
            let of = of.filter(|one| one.service == stage.service);
            let of: Vec<_> = of
                .filter(|one| one.container.fixed().role == *role)
                .collect();
            let running: usize = of.iter().map(|one| one.running()).sum();
            if !of.is_empty() && running != 1 {
                return Err(format!(
                    "promise 5: in the end {running} containers of `{role}` run"
                ));
            }
        }
        let environments = world.environments(&stage.service);
        let routing = world.routings.get(&stage.service).cloned();
        let live = routing.as_ref().and_then(Routing::live);
        let standby = checker.standby();
        let up = |release: Release| {
            environments
                .iter()
                .any(|e| e.release == release && Environment::is_up(e))
        };
        let serves = |release: Release| {
            let remembers = |it: &Routing| it.remembers(release);
            up(release) || routing.as_ref().is_some_and(remembers)
        };
        if let Some(live) = live.filter(|live| !serves(*live)) {
            return Err(format!(
                "promise 3: the pointer names {live}, which does not run"
            ));
        }
        let marks = world
            .marks
            .iter()
            .filter(|((s, _), _)| *s == stage.service)
            .map(|((_, release), marks)| (*release, *marks));
        let view = survey(&World {
            engine_marks: marks.collect(),
            routing,
            environments: environments.clone(),
        });
        let more = stage.plan.policy.keep.saturating_sub(1) as usize;
        let more = view.standby.iter().skip(1).take(more);
        let more: Vec<_> = more.copied().collect();
        let needed = |release: Release| {
            Some(release) == live
                || Some(release) == standby
                || more.contains(&release)
                || (live.is_some() && checker.withdrawn().contains(&release))
        };
        let left: Vec<_> = environments
            .iter()
            .map(|e| e.release)
            .filter(|release| !needed(*release))
            .collect();
        if !left.is_empty() {
            return Err(format!(
                "promise 5: {left:?} is left behind (live {live:?}, standby {standby:?})"
            ));
        }
        let found = |release: Release| environments.iter().find(|e| e.release == release);
        let mode = self.scenario.mode;
        let restless = view.standby.iter().filter_map(|it| found(*it));
        let mut restless = restless.filter(|e| e.asleep(mode) != Some(mode));
        if mode != StandbyMode::Running
            && let Some(restless) = restless.next()
        {
            return Err(format!(
                "promise 5: {} stands by awake after a prune",
                restless.release
            ));
        }
        if let Some(standby) = standby.filter(|it| found(*it).is_some_and(stands))
            && view.standby.first() != Some(&standby)
        {
            return Err(format!(
                "promise 3: {standby} stands by, and {:?} would be gone back to",
                view.standby
            ));
        }
        let standing = environments.iter().flat_map(|e| &e.containers);
        let shared = world.shared_of(&stage.service, None);
        let standing = standing.chain(shared.iter().map(|one| &one.container));
        let used: Vec<_> = standing.map(|container| &container.image_id).collect();
        let built = world.built.get(&stage.service).into_iter().flatten();
        let images: Vec<_> = built.filter(|id| !used.contains(id)).collect();
        if !images.is_empty() {
            return Err(format!("promise 5: the images {images:?} are left behind"));
        }
        let leases = world
            .tokens
            .values()
            .filter(|(s, token)| *s == stage.service && !token.labels.contains_key("free"));
        let leases: Vec<_> = leases.map(|(_, token)| token.name.clone()).collect();
        match leases.is_empty() {
            true => Ok(()),
            false => Err(format!("promise 5: {leases:?} are left behind")),
        }
    }
}
