//! What a routing means for a rule and its two target groups.
//!
//! Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::action::{Does, Share};
use super::api::Health;
use super::notes::{Held, Hung, SLOTS, Target};
use super::rules::Rules;
use crate::core::names::Slot;
use crate::core::routing::{FOREIGN, Route, Routing};

/// The highest weight of a group.
const MOST: u32 = 999;

/// How many groups an action may have.
pub(super) const GROUPS: usize = 5;

/// What stood there when flipside first came, in what [`Routing::foreign`] keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stood {
    does: Does,
    blue: Vec<Target>,
    green: Vec<Target>,
}

impl Stood {
    pub(super) fn of(routing: &Routing) -> Option<Self> {
        serde_json::from_value(routing.foreign.clone()?).ok()
    }

    /// Hangs on each group that served what did.
    pub(super) fn hang(&self, hung: &mut Hung, groups: &[String; 2]) {
        for (slot, (targets, group)) in SLOTS
            .into_iter()
            .zip([&self.blue, &self.green].into_iter().zip(groups))
        {
            if self.does.share(group).is_some_and(|weight| weight > 0) {
                let held = Held {
                    release: FOREIGN,
                    targets: targets.clone(),
                };
                hung.hang(slot, Some(held));
            }
        }
    }
}

/// What is there: what the rule does, and what hangs on the groups.
#[derive(Debug, Clone)]
pub(super) struct There {
    pub(super) does: Does,
    /// The groups' ARNs.
    pub(super) groups: [String; 2],
    /// How their targets are.
    pub(super) health: [Vec<Health>; 2],
    /// The listener's rules, where one of them may show a preview; else none.
    pub(super) rules: Rules,
}

impl There {
    pub(super) fn group(&self, slot: Slot) -> &str {
        &self.groups[usize::from(slot == Slot::Green)]
    }

    /// The targets of a slot that are to stay.
    pub(super) fn targets(&self, slot: Slot) -> Vec<Target> {
        let all = &self.health[usize::from(slot == Slot::Green)];
        let there = all.iter().filter(|health| health.is_there());
        there.map(|health| health.target.clone()).collect()
    }

    /// Whether it is told of all targets of a slot how they are.
    pub(super) fn is_told(&self, slot: Slot) -> bool {
        let all = &self.health[usize::from(slot == Slot::Green)];
        all.iter().all(|health| health.state != "initial")
    }

    /// What the rule shall do for `desired`; none where what stood there is not on record.
    pub(super) fn wanted(&self, desired: &Routing, hung: &Hung) -> Option<Does> {
        let is_foreign = |route: &&Route| route.release == FOREIGN;
        let foreign = desired.routes.iter().find(is_foreign);
        if foreign.is_some_and(|route| route.weight > 0) {
            return Some(Stood::of(desired)?.does);
        }
        let most = desired.routes.iter().map(|route| route.weight).max();
        let scale = |weight: u32| match most {
            Some(most) if most > MOST && weight > 0 => {
                let share = u64::from(weight) * u64::from(MOST) / u64::from(most);
                u32::try_from(share).unwrap_or(MOST).max(1)
            }
            _ => weight,
        };
        let mut shares: Vec<Share> = SLOTS
            .into_iter()
            .map(|slot| {
                let held = hung.on(slot).filter(|held| held.release != FOREIGN);
                let route = held.and_then(|held| desired.route(held.release));
                Share {
                    group: self.group(slot).to_owned(),
                    weight: route.map_or(0, |route| scale(route.weight)),
                }
            })
            .collect();
        // What stood there is checked for its health as well, so that it can be gone back to.
        let stood = foreign.and_then(|_| Stood::of(desired));
        let others = stood.iter().flat_map(|stood| stood.does.shares());
        for other in others.filter(|share| !self.groups.contains(&share.group)) {
            if shares.len() < GROUPS {
                shares.push(Share {
                    weight: 0,
                    ..other.clone()
                });
            }
        }
        let is_served = shares.iter().any(|share| share.weight > 0);
        is_served.then(|| self.does.with(shares))
    }

    /// The rule with both groups in it, so that they are checked for their health; the traffic goes
    /// where it went. None where they are in it, or nothing is served that could be disturbed.
    pub(super) fn attached(&self) -> Option<Does> {
        let Does::Forward { shares, .. } = &self.does else {
            return None;
        };
        let is_new = |group: &&String| self.does.share(group).is_none();
        let new = self.groups.iter().filter(is_new).map(|group| Share {
            group: group.clone(),
            weight: 0,
        });
        let all: Vec<Share> = shares.iter().cloned().chain(new).collect();
        (all.len() > shares.len()).then(|| self.does.with(all))
    }

    /// Whether the rule sends requests as `routing` wants it, to what `hung` says, and nowhere else.
    pub(super) fn is_so(&self, routing: &Routing, hung: &Hung) -> bool {
        let Some(wanted) = self.wanted(routing, hung) else {
            return routing.live().is_none() && self.serving().is_empty();
        };
        let mut serving = self.serving().into_iter();
        wanted.weights() == self.does.weights()
            && serving.all(|slot| {
                let known = hung.on(slot).map(|held| &held.targets);
                let known: BTreeSet<Target> = known.into_iter().flatten().cloned().collect();
                known == self.targets(slot).into_iter().collect()
            })
    }

    /// The slots that get traffic.
    pub(super) fn serving(&self) -> Vec<Slot> {
        let gets = |slot: &Slot| {
            let share = self.does.share(self.group(*slot));
            share.is_some_and(|weight| weight > 0)
        };
        SLOTS.into_iter().filter(gets).collect()
    }

    /// What is found where no record fits: a route of nobody's release for each group.
    pub(super) fn routes(&self) -> Vec<Route> {
        let shares = self.does.shares().iter().filter(|share| share.weight > 0);
        let of = |share: &Share| {
            let slot = SLOTS
                .into_iter()
                .find(|slot| self.group(*slot) == share.group);
            let targets = slot.map(|slot| self.targets(slot)).unwrap_or_default();
            Route {
                release: FOREIGN,
                slot: slot.unwrap_or(Slot::Blue),
                weight: share.weight,
                endpoints: endpoints(&targets),
            }
        };
        shares.map(of).collect()
    }

    /// What serves where nothing is on record, given the targets of groups that are in no slot.
    pub(super) fn foreign(&self, others: &[Target]) -> Option<Routing> {
        let [blue, green] = SLOTS.map(|slot| self.targets(slot));
        let of_slots = self.serving().into_iter();
        let of_slots = of_slots.flat_map(|slot| self.targets(slot));
        let serving: Vec<Target> = of_slots.chain(others.iter().cloned()).collect();
        if serving.is_empty() {
            return None;
        }
        let route = Route {
            release: FOREIGN,
            slot: Slot::Blue,
            weight: 100,
            endpoints: endpoints(&serving),
        };
        let stood = Stood {
            does: self.does.clone(),
            blue,
            green,
        };
        let foreign = serde_json::to_value(stood).ok()?;
        Some(Routing::foreign(vec![route], foreign))
    }
}

fn endpoints(targets: &[Target]) -> Vec<SocketAddr> {
    let of = |target: &Target| Some(SocketAddr::new(target.0.parse().ok()?, target.1));
    targets.iter().filter_map(of).collect()
}
