//! Late clients: those that come to what the pointer has left long ago, because they remember longer
//! than they may where it had sent them. What they still come to is neither removed nor put to sleep.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::event::Verb;
use super::names::Release;
use super::state::State;
use super::world::World;
use super::{sleep, survey};

/// What was seen of the clients of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients {
    /// Which environment's.
    pub release: Release,
    /// How many connections of theirs there were; `None` where that could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Those of `releases` that are not removed: to which clients come, and the newest of those where that
/// cannot be seen. If that is so for good, each deploy would keep one more.
pub fn kept<'a>(
    seen: impl IntoIterator<Item = &'a Clients>,
    releases: &[Release],
) -> BTreeSet<Release> {
    let seen = seen.into_iter();
    let of_these = seen.filter(|one| releases.contains(&one.release));
    let (seen, unseen): (Vec<_>, Vec<_>) = of_these.partition(|one| one.connections.is_some());
    let newest = unseen.iter().map(|one| one.release).max();
    let late = seen.iter().filter(|one| one.connections != Some(0));
    late.map(|one| one.release).chain(newest).collect()
}

/// Those of `releases` that are not put to sleep: to which clients come, or where that cannot be seen.
pub fn kept_awake<'a>(
    seen: impl IntoIterator<Item = &'a Clients>,
    releases: &[Release],
) -> BTreeSet<Release> {
    let late = seen.into_iter().filter(|one| one.connections != Some(0));
    let late = late.map(|one| one.release);
    late.filter(|release| releases.contains(release)).collect()
}

/// The look that is due before any of `releases` is removed or put to sleep.
pub(super) fn look(
    state: &State,
    world: &World,
    releases: impl IntoIterator<Item = Release>,
) -> Option<Action> {
    let waits = match state.opened.verb {
        Verb::Prune { force, .. } => !force,
        Verb::Deploy { .. } => true,
        Verb::Rollback { .. } | Verb::HandOver { .. } | Verb::Down { .. } | Verb::Apply { .. } => {
            false
        }
    };
    if !waits || !state.opened.cached {
        return None;
    }
    let unseen = releases.into_iter();
    let unseen = unseen.filter(|release| !state.clients.contains_key(release));
    let releases = survey::remembered(world, &state.opened.policy, unseen);
    (!releases.is_empty()).then_some(Action::SeeClients { releases })
}

/// The look that is due before any of `releases` is removed: one for all, with what is to be put to
/// sleep after that, since it takes its time.
pub(super) fn look_before_removal(
    state: &State,
    world: &World,
    releases: &[Release],
) -> Option<Action> {
    let restless = sleep::awake(world, &state.opened.policy);
    look(state, world, releases.iter().copied().chain(restless))
}

/// Takes out of `releases` those that are [`kept`].
pub(super) fn without_kept(state: &State, mut releases: Vec<Release>) -> Vec<Release> {
    let kept = kept(state.clients.values(), &releases);
    releases.retain(|release| !kept.contains(release));
    releases
}

/// Takes out of `releases` those that are [`kept_awake`].
pub(super) fn without_awake(state: &State, mut releases: Vec<Release>) -> Vec<Release> {
    let awake = kept_awake(state.clients.values(), &releases);
    releases.retain(|release| !awake.contains(release));
    releases
}
