//! The second name, at which a release is shown for preview: what stands there, and what of it is
//! flipside's. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::RData;

use super::super::authority::sets::RrSet;
use super::super::authority::shown::{At, Shown};
use super::zone::{Names, Seen};
use crate::core::routing::Routing;

/// What stands where a release is or may be shown.
pub(super) type Previews = BTreeMap<At, Option<RrSet>>;

impl Seen {
    /// What is on record as flipside's; a record that cannot be read is told elsewhere.
    fn noted(&self) -> Option<Shown> {
        self.note().ok().flatten()?.shown
    }

    /// The values that stand there.
    fn there(&self, at: &At) -> BTreeSet<RData> {
        let set = self.previews.get(at).and_then(Option::as_ref);
        set.map(|set| set.values.clone()).unwrap_or_default()
    }

    /// Those that are flipside's by the record, whether they stand there or not.
    fn ours(&self, at: &At) -> BTreeSet<RData> {
        let noted = self.noted();
        let noted = noted.filter(|shown| shown.at().as_ref() == Some(at));
        noted.map(|shown| shown.values()).unwrap_or_default()
    }

    /// Whether all that is on record stands there, and nothing beside it.
    pub(super) fn shows_as_noted(&self) -> bool {
        let at = self.noted().and_then(|shown| shown.at());
        at.is_none_or(|at| self.there(&at) == self.ours(&at))
    }

    /// Whether anything of it does.
    pub(super) fn shows(&self) -> bool {
        let at = self.noted().and_then(|shown| shown.at());
        at.is_some_and(|at| !self.there(&at).is_disjoint(&self.ours(&at)))
    }

    /// The same zone, of which nothing at such a name counts.
    pub(super) fn without_previews(&self) -> Self {
        Self {
            previews: Previews::new(),
            ..self.clone()
        }
    }

    /// What is left once flipside's is taken away; what is left alone is left out.
    pub(super) fn cleared(&self) -> Previews {
        let mut left = Previews::new();
        for (at, set) in &self.previews {
            let (Some(set), ours) = (set, self.ours(at)) else {
                continue;
            };
            let values: BTreeSet<RData> = set.values.difference(&ours).cloned().collect();
            if values.len() < set.values.len() {
                let ttl = set.ttl;
                let rest = (!values.is_empty()).then_some(RrSet { ttl, values });
                left.insert(at.clone(), rest);
            }
        }
        left
    }
}

impl Names {
    /// Where the plan has releases shown.
    fn own(&self) -> Option<At> {
        Some(At {
            name: self.preview.clone()?,
            kind: self.kind,
        })
    }

    /// What has to be read: where releases are shown by the plan, and where one is by the record, which
    /// may be of another plan.
    pub(super) fn places(&self, seen: &Seen) -> BTreeSet<At> {
        let noted = seen.noted().and_then(|shown| shown.at());
        self.own().into_iter().chain(noted).collect()
    }

    /// What those are given who ask for the preview.
    pub(super) fn shown<'a>(&self, seen: &'a Seen) -> Option<&'a RrSet> {
        seen.previews.get(&self.own()?)?.as_ref()
    }

    /// What shows the release that a routing shows; why it cannot be.
    fn showing(&self, routing: &Routing) -> Result<Option<(At, RrSet)>, String> {
        let Some(release) = routing.preview else {
            return Ok(None);
        };
        let at = self.own().ok_or("it has no name for a preview")?;
        let route = routing.route(release);
        let route = route.ok_or_else(|| format!("release {release} has no route"))?;
        let values = self.kind.values(route, self.port, self.slot(route.slot))?;
        let ttl = self.ttl;
        Ok(Some((at, RrSet { ttl, values })))
    }

    /// What stands where the plan has releases shown, and is neither flipside's nor what `desired`
    /// wants there.
    pub(super) fn strange(
        &self,
        seen: &Seen,
        desired: Option<&Routing>,
    ) -> Result<BTreeSet<RData>, String> {
        let Some(at) = self.own() else {
            return Ok(BTreeSet::new());
        };
        let wanted = desired.map(|desired| self.showing(desired)).transpose()?;
        let wanted = wanted.flatten().map(|(_, set)| set.values);
        let wanted = wanted.unwrap_or_default();
        let (mut strange, ours) = (seen.there(&at), seen.ours(&at));
        strange.retain(|value| !wanted.contains(value) && !ours.contains(value));
        Ok(strange)
    }

    /// What shall stand at these names once `desired` is true, and how that is noted.
    pub(super) fn previews(
        &self,
        seen: &Seen,
        desired: &Routing,
    ) -> Result<(Previews, Option<Shown>), String> {
        let mut previews = seen.cleared();
        let showing = self.showing(desired)?;
        let shown = showing
            .as_ref()
            .map(|(at, set)| Shown::new(at, set.values.iter().map(ToString::to_string).collect()));
        previews.extend(showing.map(|(at, set)| (at, Some(set))));
        Ok((previews, shown))
    }
}
