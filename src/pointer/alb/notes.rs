//! What is remembered of a move, in the tags of the listener or rule: the routing, what hangs on each
//! of the two groups, and what the rule did before flipside came.
//!
//! A tag holds 256 characters of few kinds, so that the record is cut in pieces, in base64. The first
//! tag counts them and says by a digest whether they belong together. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::record::Record;
use super::action::Does;
use super::rules::Words;
use crate::core::names::{Release, Slot};
use crate::core::routing::{FOREIGN, Route, Routing};

/// The key of the first tag, and how those of the others begin.
const KEY: &str = "flipside";

/// How long a tag's value may be.
const VALUE: usize = 256;

/// How many pieces there may be: a resource has 50 tags at most, and some are its owner's.
const PIECES: usize = 44;

/// A target: an address or an instance, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Target(pub(super) String, pub(super) u16);

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.contains(':') {
            true => write!(f, "[{}]:{}", self.0, self.1),
            false => write!(f, "{}:{}", self.0, self.1),
        }
    }
}

/// What hangs on a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) release: Release,
    pub(super) targets: Vec<Target>,
}

/// What hangs on both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Hung {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blue: Option<Held>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    green: Option<Held>,
}

/// Both slots.
pub(super) const SLOTS: [Slot; 2] = [Slot::Blue, Slot::Green];

impl Hung {
    pub(super) fn on(&self, slot: Slot) -> Option<&Held> {
        match slot {
            Slot::Blue => self.blue.as_ref(),
            Slot::Green => self.green.as_ref(),
        }
    }

    pub(super) fn hang(&mut self, slot: Slot, held: Option<Held>) {
        match slot {
            Slot::Blue => self.blue = held,
            Slot::Green => self.green = held,
        }
    }

    /// The slot of a release of flipside's.
    pub(super) fn slot(&self, release: Release) -> Option<Slot> {
        let on = |slot: &Slot| self.on(*slot).is_some_and(|held| held.release == release);
        SLOTS.into_iter().find(on)
    }

    /// The same with the releases of `desired` in it: each keeps its slot, or takes the free one, or
    /// that of a release which gets nothing, now and then. None where there are more than two.
    pub(super) fn with(
        &self,
        desired: &Routing,
        live: Option<Release>,
        targets: impl Fn(&Route) -> Vec<Target>,
    ) -> Option<Self> {
        let mut after = self.clone();
        let ours = desired
            .routes
            .iter()
            .filter(|route| route.release != FOREIGN);
        for route in ours {
            let wanted = [route.slot, route.slot.other()];
            let is_free = |slot: &Slot| after.on(*slot).is_none();
            let is_needed = |slot: Slot| {
                after.on(slot).is_some_and(|held| {
                    desired.routes.iter().any(|route| {
                        route.release == held.release
                            && (route.weight > 0 || route.release != FOREIGN)
                    })
                })
            };
            let is_live =
                |slot: Slot| live.is_some() && after.on(slot).map(|held| held.release) == live;
            let slot = after
                .slot(route.release)
                .or_else(|| wanted.into_iter().find(is_free))
                .or_else(|| {
                    wanted
                        .into_iter()
                        .find(|slot| !is_needed(*slot) && !is_live(*slot))
                })
                .or_else(|| wanted.into_iter().find(|slot| !is_needed(*slot)))?;
            let held = Held {
                release: route.release,
                targets: targets(route),
            };
            after.hang(slot, Some(held));
        }
        Some(after)
    }
}

/// All that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    pub(super) record: Record,
    /// What hangs on the groups by what was true last.
    pub(super) hung: Hung,
    /// What shall, by what is being made true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Hung>,
    /// What a release has pushed out of its slot, which comes back when that is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pushed: Option<Held>,
    /// What the rule did before.
    pub(super) stood: Does,
    /// The conditions of each rule that shows the preview, by what was true last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shown: Vec<Words>,
    /// Those that shall, by what is being made true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shall: Vec<Words>,
}

impl Notes {
    /// What is being made true; none where that is over.
    pub(super) fn meant(&self) -> Option<&Routing> {
        self.next.as_ref().and_then(|_| self.record.meant())
    }

    /// What was made true last.
    pub(super) fn now(&self) -> Option<Routing> {
        self.record.clone().into_routing()
    }

    /// Whether there may be a rule that shows a preview, by what is on record.
    pub(super) fn may_show(&self) -> bool {
        let shows = |routing: &Routing| routing.preview.is_some();
        self.meant().is_some_and(shows) || self.now().as_ref().is_some_and(shows)
    }

    /// As tags; none where they have no room.
    pub(super) fn tags(&self) -> Option<BTreeMap<String, String>> {
        // Only maps with keys other than text cannot be written, and this has none.
        let text = serde_json::to_string(self).unwrap_or_default();
        let text = BASE64_STANDARD.encode(text);
        let pieces: Vec<&str> = (0..text.len())
            .step_by(VALUE)
            .map(|from| &text[from..text.len().min(from + VALUE)])
            .collect();
        if pieces.len() > PIECES {
            return None;
        }
        let mut tags: BTreeMap<_, _> = pieces
            .iter()
            .enumerate()
            .map(|(at, piece)| (key(at), (*piece).to_owned()))
            .collect();
        tags.insert(KEY.into(), head(pieces.len(), &text));
        Some(tags)
    }

    /// What these tags say; none where they say nothing.
    ///
    /// # Errors
    /// Where it cannot be understood.
    pub(super) fn of_tags(tags: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let Some(said) = tags.get(KEY) else {
            return Ok(None);
        };
        let count = said.split(' ').nth(1).and_then(|count| count.parse().ok());
        let count: usize = count.ok_or_else(|| format!("the tag `{KEY}` says `{said}`"))?;
        let pieces = (0..count.min(PIECES)).map(|at| tags.get(&key(at)).map(String::as_str));
        let text: Option<String> = pieces.collect();
        let text = text.ok_or("a piece of it is missing")?;
        if *said != head(count, &text) {
            return Err("its pieces do not belong together".into());
        }
        let text = BASE64_STANDARD.decode(text).map_err(|it| it.to_string())?;
        let notes = serde_json::from_slice(&text).map_err(|it| it.to_string())?;
        Ok(Some(notes))
    }

    /// Whether a tag is one of these.
    pub(super) fn is_of(key: &str) -> bool {
        key == KEY || key.starts_with("flipside.record.")
    }
}

fn key(at: usize) -> String {
    format!("{KEY}.record.{at:02}")
}

fn head(count: usize, text: &str) -> String {
    let digest = Sha256::digest(text);
    let digest: String = digest[..8].iter().map(|it| format!("{it:02x}")).collect();
    format!("1 {count} {digest}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn held(release: u64) -> Held {
        Held {
            release: Release(release),
            targets: vec![Target("10.0.0.1".into(), 20_000)],
        }
    }

    fn to(routes: &[(u64, Slot, u32)]) -> Routing {
        let route = |(release, slot, weight): &(u64, Slot, u32)| Route {
            release: Release(*release),
            slot: *slot,
            weight: *weight,
            endpoints: vec![([10, 0, 0, 1], 20_000).into()],
        };
        Routing {
            foreign: None,
            ..Routing::foreign(routes.iter().map(route).collect(), serde_json::Value::Null)
        }
    }

    fn after(before: &Hung, desired: &Routing, live: u64) -> [Option<u64>; 2] {
        let targets = |_: &Route| vec![Target("10.0.0.1".into(), 20_000)];
        let after = before.with(desired, Some(Release(live)), targets).unwrap();
        SLOTS.map(|slot| after.on(slot).map(|held| held.release.0))
    }

    #[test]
    fn a_release_takes_the_free_slot_and_then_that_of_the_standby() {
        let mut hung = Hung::default();
        let desired = |release| to(&[(release, Slot::Blue, 100)]);
        assert_eq!(after(&hung, &desired(1), 0), [Some(1), None]);
        hung.hang(Slot::Blue, Some(held(1)));
        assert_eq!(after(&hung, &desired(2), 1), [Some(1), Some(2)]);
        hung.hang(Slot::Green, Some(held(2)));
        assert_eq!(after(&hung, &desired(3), 2), [Some(3), Some(2)]);
        assert_eq!(after(&hung, &desired(3), 1), [Some(1), Some(3)]);
        assert_eq!(after(&hung, &desired(1), 2), [Some(1), Some(2)]);
        let both = to(&[(2, Slot::Blue, 90), (3, Slot::Blue, 10)]);
        assert_eq!(after(&hung, &both, 2), [Some(3), Some(2)]);
    }

    fn notes(length: usize) -> Notes {
        let mut routing = to(&[(1, Slot::Blue, 100)]);
        routing.reason = "é".repeat(length);
        Notes {
            record: Record::of(&routing),
            hung: Hung::default(),
            next: None,
            pushed: None,
            stood: Does::nothing(),
            shown: Vec::new(),
            shall: Vec::new(),
        }
    }

    #[test]
    fn what_is_noted_is_read_again_and_never_half_of_it() {
        let before = notes(900);
        let mut tags = before.tags().unwrap();
        assert!(tags.len() > 5, "{tags:?}");
        let fits = |text: &str| {
            let allowed = |it: char| it.is_ascii_alphanumeric() || " _.:/=+-@".contains(it);
            text.len() <= VALUE && text.chars().all(allowed)
        };
        assert!(tags.iter().all(|(key, value)| fits(key) && fits(value)));
        assert!(tags.keys().all(|key| Notes::is_of(key)));
        assert_eq!(Notes::of_tags(&tags).unwrap(), Some(before));
        // What a longer record has left is in nobody's way.
        let shorter = notes(1);
        tags.extend(shorter.tags().unwrap());
        assert_eq!(Notes::of_tags(&tags).unwrap(), Some(shorter));
        tags.insert(key(0), "AAAA".into());
        Notes::of_tags(&tags).unwrap_err();
        tags.remove(&key(0));
        Notes::of_tags(&tags).unwrap_err();
        assert_eq!(notes(20_000).tags(), None);
    }
}
