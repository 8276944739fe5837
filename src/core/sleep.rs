//! How standbys sleep: which of them should and do not, and what sleeps that must not.
//!
//! The mode that counts is the live release's. A standby that sleeps already stays so, whatever the
//! plan says now: the rollback to it wakes it.

use super::action::{Action, Ask};
use super::course::Clearing;
use super::decide::Next;
use super::event::Verb;
use super::late;
use super::names::Release;
use super::plan::{Policy, StandbyMode};
use super::routing::Routing;
use super::state::State;
use super::survey;
use super::verdict::Outcome;
use super::world::{Container, ContainerState, Environment, World};

impl Environment {
    /// How it sleeps, if it does: where something of it is paused it is frozen, whoever did that;
    /// where `mode` is [`StandbyMode::Stopped`] and something of it has ended, it is stopped. Under
    /// any other mode what has ended has failed.
    #[must_use]
    pub fn asleep(&self, mode: StandbyMode) -> Option<StandbyMode> {
        let any = |is: fn(&ContainerState) -> bool| self.always().any(|c| is(&c.state));
        if any(|state| *state == ContainerState::Paused) {
            return Some(StandbyMode::Frozen);
        }
        let ended = any(|state| matches!(state, ContainerState::Exited { .. }));
        (mode == StandbyMode::Stopped && ended).then_some(StandbyMode::Stopped)
    }

    /// Its containers that run in every environment: jobs have ended, and live-only ones rest by
    /// themselves.
    pub fn always(&self) -> impl Iterator<Item = &Container> {
        let all = self.containers.iter();
        all.filter(|container| container.run.is_always())
    }

    /// Whether anything of it runs, or is about to again.
    fn is_awake(&self) -> bool {
        let mut states = self.always().map(|container| &container.state);
        states.any(|state| matches!(state, ContainerState::Running | ContainerState::Restarting))
    }
}

/// How an environment waits, in a word: `runs`, `frozen`, `stopped`.
#[must_use]
pub fn word(mode: StandbyMode) -> &'static str {
    match mode {
        StandbyMode::Running => "runs",
        StandbyMode::Frozen => "frozen",
        StandbyMode::Stopped => "stopped",
    }
}

/// The mode in which a standby may have been put to sleep: what the live release's plan says, else
/// its own.
#[must_use]
pub fn mode_of(live: Option<&Environment>, standby: &Environment) -> StandbyMode {
    let said = |environment: &Environment| environment.labels.policy.standby_mode;
    match live.map(said) {
        None | Some(StandbyMode::Running) => said(standby),
        Some(mode) => mode,
    }
}

/// How an environment of `world` sleeps, if it does.
#[must_use]
pub fn found_asleep(environment: &Environment, world: &World) -> Option<StandbyMode> {
    let live = world.routing.as_ref().and_then(Routing::live);
    let live = world.environments.iter().find(|e| Some(e.release) == live);
    environment.asleep(mode_of(live, environment))
}

/// The standbys that run and should not, by the live release's `policy`, ascending.
#[must_use]
pub fn awake(world: &World, policy: &Policy) -> Vec<Release> {
    if policy.standby_mode == StandbyMode::Running {
        return Vec::new();
    }
    let standbys = survey::survey(world).standby;
    let idle = |release: &Release| {
        let routing = world.routing.as_ref();
        let route = routing.and_then(|routing| routing.route(*release));
        route.is_none_or(|route| route.weight == 0) && standbys.contains(release)
    };
    let awake = world.environments.iter().filter(|e| e.is_awake());
    awake.map(|e| e.release).filter(idle).collect()
}

/// What gets the traffic and sleeps.
#[must_use]
pub fn live_asleep(world: &World) -> Option<Release> {
    let live = world.routing.as_ref().and_then(Routing::live)?;
    let found = world.environments.iter().find(|e| e.release == live)?;
    let mode = found.labels.policy.standby_mode;
    found.asleep(mode).map(|_| live)
}

/// Whether a run's plan knows of sleep at all: one that does not looks for nothing.
pub(super) fn matters(state: &State) -> bool {
    state.opened.policy.standby_mode != StandbyMode::Running
}

/// Whether a run is a `prune` that has to look how the environments sleep.
pub(super) fn mends(state: &State) -> bool {
    matters(state) && matches!(state.opened.verb, Verb::Prune { .. })
}

/// Whether the last look found `release` live and asleep.
pub(super) fn sleeps(state: &State, release: Release) -> bool {
    let world = state.world.as_ref();
    world.and_then(|world| live_asleep(world)) == Some(release)
}

/// Puts the standbys to sleep that run and should not, unless clients still come to them; `None`
/// where there is nothing to do.
pub(super) fn settle(state: &State, world: &World) -> Option<Action> {
    let policy = &state.opened.policy;
    let awake = late::without_awake(state, awake(world, policy));
    if let Some(look) = late::look(state, world, awake.iter().copied()) {
        return Some(look);
    }
    (!awake.is_empty()).then_some(Action::Sleep {
        releases: awake,
        mode: policy.standby_mode,
    })
}

/// What `prune` does at its end: wakes what gets the traffic, and puts to sleep what woke.
pub(super) fn mend(state: &State, world: &World, clearing: Clearing) -> Next {
    match live_asleep(world) {
        Some(release) if clearing == Clearing::Cleared => Next::Act(Action::Wake { release }),
        _ => match settle(state, world) {
            None => Next::End(Outcome::Done),
            Some(Action::SeeClients { .. }) if state.ask == Some(Ask::Leave) => {
                Next::End(Outcome::Interrupted)
            }
            Some(action) => Next::Act(action),
        },
    }
}
