//! What the world means: which release is live, which stand by, what nothing needs, and where
//! engine and pointer disagree. A pure reading; a rollback needs nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{Millis, Release};
use super::plan::Policy;
use super::routing::{FOREIGN, Marks};
use super::state::State;
use super::world::{Environment, World};

/// What the world means for one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// The release that the pointer names.
    pub live: Option<Release>,
    /// Older environments that have served and can be gone back to, best first.
    pub standby: Vec<Release>,
    /// What served before flipside came, where that is not live and can be put back: the last that
    /// is gone back to.
    pub adopted: Option<Release>,
    /// What a rollback or a revert has left, newest first; and what has served only because
    /// somebody said `--force`. Reached by `rollback --to N` alone.
    pub withdrawn: Vec<Release>,
    /// What stands, has never served and is not withdrawn, newest first: a candidate, or what is
    /// left of one.
    pub candidates: Vec<Release>,
    /// Marks from pointer and engine together.
    pub marks: BTreeMap<Release, Marks>,
    /// Where pointer and engine disagree, a sentence each; of workers that is said by
    /// [`super::workers::disagreements`].
    pub disagreements: Vec<String>,
}

/// Reads the world.
#[must_use]
pub fn survey(world: &World) -> View {
    let routing = world.routing.as_ref();
    let live = routing.and_then(super::routing::Routing::live);
    let mut marks = world.engine_marks.clone();
    for (&release, more) in routing.iter().flat_map(|routing| &routing.marks) {
        let known = marks.entry(release).or_default();
        known.proven |= more.proven;
        known.served = known.served.max(more.served);
        known.withdrawn |= more.withdrawn;
    }
    let of = |release| marks.get(&release).copied().unwrap_or_default();
    // The move that made it live may have died before its mark; what a way back has left was marked
    // before the move.
    let moved = routing.map(|routing| routing.generation);
    let served_before_live = |release| match (of(release).served, live.and_then(|l| of(l).served)) {
        (Some(then), Some(now)) => Some(then) < Some(now).max(moved),
        (Some(_), None) => true,
        (None, _) => false,
    };

    let remembered = routing.filter(|routing| routing.remembers(FOREIGN));
    let mut view = View {
        live,
        adopted: remembered
            .map(|_| FOREIGN)
            .filter(|_| live != Some(FOREIGN)),
        ..View::default()
    };
    for environment in world.environments.iter().rev() {
        let release = environment.release;
        let marks = of(release);
        if Some(release) == live {
            continue;
        } else if marks.withdrawn || (live == Some(FOREIGN) && marks.served.is_some()) {
            // Nothing has served before what stood there first: what has, was left by a way back.
            view.withdrawn.push(release);
        } else if served_before_live(release) {
            let kept = match marks.proven {
                true => &mut view.standby,
                false => &mut view.withdrawn,
            };
            kept.push(release);
        } else {
            view.candidates.push(release);
        }
    }
    view.standby
        .sort_by_key(|&release| std::cmp::Reverse(of(release).served));
    view.disagreements = disagreements(world, live);
    view.marks = marks;
    view
}

fn disagreements(world: &World, live: Option<Release>) -> Vec<String> {
    let Some(routing) = &world.routing else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for route in routing.routes.iter().filter(|route| route.weight > 0) {
        let release = route.release;
        if routing.remembers(release) {
            continue;
        }
        match world
            .environments
            .iter()
            .find(|environment| environment.release == release)
        {
            None => found.push(format!(
                "the pointer names release {release}, and no such environment stands on the engine"
            )),
            Some(environment) => {
                let mut there = environment.endpoints();
                let mut named = route.endpoints.clone();
                there.sort_unstable();
                named.sort_unstable();
                if there != named {
                    found.push(format!(
                        "the pointer sends release {release} to {}, and its environment answers \
                         at {}",
                        list(&named),
                        list(&there)
                    ));
                }
                if Some(release) == live && !environment.is_up() {
                    found.push(format!("release {release} is live, and not all of it runs"));
                }
            }
        }
    }
    if live.is_none() && routing.preview.is_none() {
        found.push("the pointer knows the service and sends its traffic nowhere".into());
    }
    found
}

fn list(addresses: &[std::net::SocketAddr]) -> String {
    if addresses.is_empty() {
        return "no address".into();
    }
    addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether the routing itself names something else than what stands: somebody's hand.
#[must_use]
pub fn is_drift(world: &World) -> bool {
    let Some(routing) = &world.routing else {
        return false;
    };
    let weighted = || routing.routes.iter().filter(|route| route.weight > 0);
    let releases: BTreeSet<_> = weighted().map(|route| route.release).collect();
    // No strategy so far shares traffic between releases.
    if releases.len() > 1 {
        return true;
    }
    let stands = |release| {
        world
            .environments
            .iter()
            .find(|e: &&Environment| e.release == release)
    };
    weighted()
        .filter(|route| !routing.remembers(route.release))
        .any(|route| {
            stands(route.release).is_none_or(|environment| {
                let mut there = environment.endpoints();
                let mut named = route.endpoints.clone();
                there.sort_unstable();
                named.sort_unstable();
                there != named
            })
        })
}

/// What a finished deploy may remove: standbys beyond those that `policy` keeps, and what is left of
/// earlier candidates and withdrawn releases; never the live release or its first standby.
#[must_use]
pub fn retirable(world: &World, policy: &Policy, now: Millis) -> Vec<Release> {
    let view = survey(world);
    let Some(live) = view.live else {
        return Vec::new();
    };
    let keep = policy.keep.max(1) as usize;
    let most = most(policy);
    let mut gone: Vec<Release> = view
        .standby
        .iter()
        .enumerate()
        .filter(|&(at, _)| at >= keep)
        .filter(|&(at, _)| {
            let left_by = if at == 0 { live } else { view.standby[at - 1] };
            let left = created(world, left_by);
            at >= most || now.saturating_sub(left) >= policy.keep_for_ms
        })
        .map(|(_, &release)| release)
        .collect();
    gone.extend(view.withdrawn);
    gone.extend(view.candidates);
    gone.retain(|&release| !has_traffic(world, release));
    gone.sort_unstable();
    gone
}

/// Of `releases`, those to which clients may still come that remember them, ascending: what has
/// served, but for standbys and withdrawn ones beyond the most that `policy` allows of each.
#[must_use]
pub fn remembered(
    world: &World,
    policy: &Policy,
    releases: impl IntoIterator<Item = Release>,
) -> Vec<Release> {
    let view = survey(world);
    let most = most(policy);
    let standbys = view.standby.iter().take(most);
    let served = standbys.chain(view.withdrawn.iter().take(most));
    let served: BTreeSet<_> = served.copied().collect();
    let releases: BTreeSet<_> = releases.into_iter().collect();
    served.intersection(&releases).copied().collect()
}

/// How many standbys there are at most.
fn most(policy: &Policy) -> usize {
    let keep = policy.keep.max(1);
    policy.max.map_or(usize::MAX, |max| max.max(keep) as usize)
}

/// What no removal may touch, whatever was decided earlier: what gets traffic, the live release and
/// the standbys that `policy` keeps.
#[must_use]
pub fn spared(world: &World, policy: &Policy) -> Vec<Release> {
    // Of a service that its pointer does not know nothing serves, and nothing stands by.
    if world.routing.is_none() {
        return Vec::new();
    }
    let view = survey(world);
    let standbys = view.standby.iter().take(policy.keep.max(1) as usize);
    let weighted = world
        .environments
        .iter()
        .map(|environment| environment.release);
    let weighted = weighted.filter(|&release| has_traffic(world, release));
    view.live
        .into_iter()
        .chain(standbys.copied())
        .chain(weighted)
        .collect()
}

fn has_traffic(world: &World, release: Release) -> bool {
    let route = world
        .routing
        .as_ref()
        .and_then(|routing| routing.route(release));
    let shown = world.routing.as_ref().and_then(|routing| routing.preview);
    route.is_some_and(|route| route.weight > 0 || shown == Some(release))
}

/// What `prune` may remove: as [`retirable`], but withdrawn releases are kept for study.
#[must_use]
pub fn prunable(world: &World, policy: &Policy, now: Millis) -> Vec<Release> {
    let withdrawn = survey(world).withdrawn;
    let mut gone = retirable(world, policy, now);
    gone.retain(|release| !withdrawn.contains(release));
    gone
}

/// A standby was left when the release after it was made, as nearly as the engine can tell.
fn created(world: &World, release: Release) -> Millis {
    world
        .environments
        .iter()
        .find(|e| e.release == release)
        .map_or(0, |e| e.created)
}

/// What a deploy that has come to its end may remove, as far as it has looked.
///
/// A deploy that found no routing of flipside's removes nothing: what stands may have served before
/// the pointer lost its memory.
pub(super) fn unneeded(state: &State, world: &World) -> Vec<Release> {
    if state
        .opened
        .generation
        .is_none_or(|generation| generation == 0)
    {
        return Vec::new();
    }
    let now = state.moved.map_or(0, |moved| moved.at);
    let mut gone = retirable(world, &state.opened.policy, now);
    let left = state.moved.and_then(|moved| moved.from);
    gone.retain(|&release| release != state.release() && Some(release) != left);
    gone
}
