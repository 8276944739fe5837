//! Live-only roles: which of their containers run, which should, and how one release hands over to
//! another so that they never run in two at once.
//!
//! A pure reading; stopping and starting them is the engine's.

use super::action::Action;
use super::event::Failure;
use super::names::{Release, RoleName, ServiceName};
use super::plan::{Plan, Run};
use super::routing::Routing;
use super::state::State;
use super::survey::is_drift;
use super::words::{clean, list, release_name};
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

/// A container of a Compose project that runs beside a live-only role, whose work it does as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// The role of both.
    pub role: RoleName,
    /// Its name.
    pub container: String,
    /// The Compose project whose it is.
    pub project: String,
    /// The command that stops it for good.
    pub stop: String,
}

impl Rival {
    fn what(&self) -> String {
        format!(
            "`{}` is live-only, and the container `{}` of the Compose project `{}` runs",
            self.role,
            clean(&self.container),
            clean(&self.project)
        )
    }

    /// What a person should know of it, and the way on.
    #[must_use]
    pub fn words(&self) -> String {
        let stop = clean(&self.stop);
        format!("{}: two may work at once; stop it: {stop}", self.what())
    }

    /// Why nothing begins beside it.
    #[must_use]
    pub fn refusal(&self) -> Failure {
        Failure {
            what: format!("{}: two would work at once", self.what()),
            hint: Some(format!("stop it first: {}", self.stop)),
            replicas: Vec::new(),
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

/// Containers that run in an older release whether it is live or not, although their roles are
/// live-only in `plan`: until that release is retired two may run at once. By name, ascending.
#[must_use]
pub fn outlived(world: &World, plan: &Plan) -> Vec<String> {
    let live_only = |container: &&Container| {
        let role = plan.roles.get(&container.role);
        role.is_some_and(|role| role.run == Run::LiveOnly)
    };
    let all = world.environments.iter().flat_map(|e| &e.containers);
    let always = all.filter(|container| container.run.is_always() && container.runs());
    let mut names: Vec<_> = always
        .filter(live_only)
        .map(|container| container.name.clone())
        .collect();
    names.sort_unstable();
    names
}

/// What would be done with workers after a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foretold {
    /// The releases whose workers would be stopped, ascending.
    pub stops: Vec<Release>,
    /// The release whose workers would be started then.
    pub starts: Option<Release>,
}

impl Foretold {
    /// Of a move to `to`, if that is one of the releases `with` workers.
    #[must_use]
    pub fn of(world: &World, with: &[Release], to: Release) -> Self {
        let others = world.environments.iter().filter(|e| e.release != to);
        let run = others.filter(|e| e.workers().any(Container::runs));
        Self {
            stops: run.map(|environment| environment.release).collect(),
            starts: with.contains(&to).then_some(to),
        }
    }

    /// For people; nothing where nothing would be done.
    #[must_use]
    pub fn words(&self, service: &ServiceName) -> Option<String> {
        let name = |release: &Release| release_name(service.as_str(), *release);
        let stops: Vec<_> = self.stops.iter().map(name).collect();
        let stops = list(&stops);
        match (self.stops.is_empty(), self.starts.as_ref().map(name)) {
            (true, None) => None,
            (true, Some(to)) => Some(format!("would then start the workers of {to}")),
            (false, None) => Some(format!("would then stop the workers of {stops}")),
            (false, Some(to)) => Some(format!(
                "would then stop the workers of {stops}, and after that start those of {to}"
            )),
        }
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

/// The live release, where the workers that run are not its own, all of them, and no others; none
/// where a hand has changed what the pointer says, since nothing then says who is to work.
#[must_use]
pub fn astray(world: &World) -> Option<Release> {
    let live = world.routing.as_ref().and_then(Routing::live)?;
    let wrong = |environment: &Environment| {
        let is_live = environment.release == live;
        environment.workers().any(|worker| worker.runs() != is_live)
    };
    let astray = world.environments.iter().any(wrong) && !is_drift(world);
    astray.then_some(live)
}

/// Where it is not the workers of the live release, and all of them, that run: a sentence each.
#[must_use]
pub fn disagreements(world: &World) -> Vec<String> {
    let Some(routing) = &world.routing else {
        return Vec::new();
    };
    let live = routing.live();
    let names = |containers: &[&Container]| {
        let names: Vec<_> = containers.iter().map(|c| format!("`{}`", c.name)).collect();
        list(&names)
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
        found.push(format!("{what}: {}", names(&astray)));
    }
    if let (false, Some(live)) = (idle.is_empty(), live) {
        let what = match runs.is_empty() && astray.is_empty() {
            true => "none runs: no live-only container runs",
            false => "not all live-only containers run",
        };
        found.push(format!(
            "{what}, and release {live} is live: {}",
            names(&idle)
        ));
    }
    found
}
