//! Live-only roles: which of their containers run, which should, and how one release hands over to
//! another so that they never run in two at once.
//!
//! A pure reading; stopping and starting them is the engine's.

use super::action::Action;
use super::names::{Release, ServiceName};
use super::plan::Run;
use super::state::State;
use super::words::{list, release_name};
use super::world::{Container, ContainerState, Environment, World};

impl Container {
    /// Whether it does anything, or will by itself.
    #[must_use]
    pub fn runs(&self) -> bool {
        match self.state {
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => true,
            ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Gone => false,
        }
    }
}

impl Environment {
    /// The containers of its live-only roles.
    pub fn workers(&self) -> impl Iterator<Item = &Container> {
        let all = self.containers.iter();
        all.filter(|container| container.run == Run::LiveOnly)
    }

    /// That part of it which runs whether it is live or not.
    #[must_use]
    pub fn at_rest(&self) -> Self {
        let workers = u32::try_from(self.workers().count()).unwrap_or(u32::MAX);
        let always = self.containers.iter();
        let always = always.filter(|container| container.run != Run::LiveOnly);
        Self {
            containers: always.cloned().collect(),
            expected: self.expected.saturating_sub(workers),
            ..self.clone()
        }
    }

    /// Its live-only containers alone.
    #[must_use]
    pub fn at_work(&self) -> Self {
        let containers: Vec<_> = self.workers().cloned().collect();
        Self {
            expected: u32::try_from(containers.len()).unwrap_or(u32::MAX),
            containers,
            ..self.clone()
        }
    }
}

/// The releases that have live-only containers, ascending.
#[must_use]
pub fn releases(world: &World) -> Vec<Release> {
    let with = world.environments.iter();
    let with = with.filter(|environment| environment.workers().next().is_some());
    let mut releases: Vec<_> = with.map(|environment| environment.release).collect();
    releases.sort_unstable();
    releases
}

/// What would be done with workers after a move to `to`, if that is one of the releases `with` such;
/// nothing where none of them runs or would.
#[must_use]
pub fn foretold(
    service: &ServiceName,
    world: &World,
    with: &[Release],
    to: Release,
) -> Option<String> {
    let name = |release: Release| release_name(service.as_str(), release);
    let others = world.environments.iter().filter(|e| e.release != to);
    let others = others.filter(|e| e.workers().any(Container::runs));
    let others: Vec<_> = others.map(|e| name(e.release)).collect();
    let starts = with.contains(&to).then(|| name(to));
    match (others.is_empty(), starts) {
        (true, None) => None,
        (true, Some(to)) => Some(format!("would then start the workers of {to}")),
        (false, None) => Some(format!("would then stop the workers of {}", list(&others))),
        (false, Some(to)) => Some(format!(
            "would then stop the workers of {}, and after that start those of {to}",
            list(&others)
        )),
    }
}

/// The next act by which the workers of every other release hand over to those of `live`, which the
/// pointer names: first they all come to rest.
pub(super) fn hand_over(state: &State, live: Release) -> Option<Action> {
    let others = state.opened.live_only.iter().copied();
    let releases: Vec<_> = others.filter(|release| *release != live).collect();
    match releases.is_empty() {
        false => Some(Action::Rest { releases }),
        true => work(state, live),
    }
}

/// The start of the workers of `live`, if it has any; no others run.
pub(super) fn work(state: &State, live: Release) -> Option<Action> {
    let works = state.opened.live_only.contains(&live);
    works.then_some(Action::Work { release: live })
}

/// Where it is not the workers of `live`, and all of them, that run: a sentence each.
pub(super) fn disagreements(world: &World, live: Option<Release>) -> Vec<String> {
    let names = |containers: &[&Container]| {
        let names: Vec<_> = containers.iter().map(|c| format!("`{}`", c.name)).collect();
        list(&names)
    };
    let commands = |containers: &[&Container]| {
        let names: Vec<_> = containers.iter().map(|c| c.name.as_str()).collect();
        names.join(" ")
    };
    let of_live = |environment: &&Environment| Some(environment.release) == live;
    let mut found = Vec::new();
    let others = world.environments.iter().filter(|e| !of_live(e));
    let astray: Vec<_> = others
        .flat_map(Environment::workers)
        .filter(|container| container.runs())
        .collect();
    let here = world.environments.iter().find(of_live);
    let own: Vec<_> = here.iter().flat_map(|e| e.workers()).collect();
    let (runs, idle): (Vec<_>, Vec<_>) = own
        .iter()
        .partition(|container| container.state == ContainerState::Running);
    if !astray.is_empty() {
        let what = match runs.is_empty() {
            true => "live-only containers run in a release that is not live",
            false => "two run: live-only containers run in more than one release",
        };
        found.push(format!(
            "{what}: {}; stop what is not live with: docker stop {}",
            names(&astray),
            commands(&astray)
        ));
    }
    if let (false, Some(live)) = (idle.is_empty(), live) {
        let what = match runs.is_empty() && astray.is_empty() {
            true => "none runs: no live-only container runs",
            false => "not all live-only containers run",
        };
        let also = match astray.is_empty() {
            true => format!("; start with: docker start {}", commands(&idle)),
            false => String::new(),
        };
        found.push(format!(
            "{what}, and release {live} is live: {}{also}",
            names(&idle)
        ));
    }
    found
}
