//! The second name, at which a release is shown for preview: what stands there, and what of it is
//! flipside's. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::authority::shown::{At, Shown};
use super::set::Set;
use super::zone::{Names, Seen};
use crate::core::names::Release;
use crate::core::routing::{Route, Routing};

/// What stands where a release is or may be shown, in order.
pub(super) type Previews = BTreeMap<At, Vec<Set>>;

impl Seen {
    /// What is on record as flipside's; a record that cannot be read is told elsewhere.
    fn noted(&self) -> Option<Shown> {
        self.note().ok().flatten()?.shown
    }

    fn there(&self, at: &At) -> &[Set] {
        self.previews.get(at).map_or(&[], Vec::as_slice)
    }

    /// What is flipside's by the record, whether it stands there or not.
    fn ours(&self, at: &At) -> BTreeSet<String> {
        let noted = self.noted();
        let noted = noted.filter(|shown| shown.at().as_ref() == Some(at));
        noted
            .map(|shown| shown.records().clone())
            .unwrap_or_default()
    }

    /// Whether all that is on record stands there, and nothing beside it.
    pub(super) fn shows_as_noted(&self) -> bool {
        let at = self.noted().and_then(|shown| shown.at());
        at.is_none_or(|at| match self.there(&at) {
            [only] => only.plain() == Some(self.ours(&at)),
            _ => false,
        })
    }

    /// Whether anything of it does.
    pub(super) fn shows(&self) -> bool {
        let at = self.noted().and_then(|shown| shown.at());
        at.is_some_and(|at| {
            let ours = self.ours(&at);
            let mut plain = self.there(&at).iter().filter_map(Set::plain);
            plain.any(|records| !records.is_disjoint(&ours))
        })
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
        for (at, sets) in &self.previews {
            let ours = self.ours(at);
            let rest: Vec<Set> = sets.iter().filter_map(|set| set.without(&ours)).collect();
            if rest != *sets {
                left.insert(at.clone(), rest);
            }
        }
        left
    }
}

impl Names {
    /// Where the plan has releases shown.
    pub(super) fn own(&self) -> Option<At> {
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
    pub(super) fn shown<'a>(&self, seen: &'a Seen) -> &'a [Set] {
        self.own().map_or(&[], |at| seen.there(&at))
    }

    /// What shows the release that a routing shows: one set, which has no share to give; why it cannot
    /// be.
    fn showing(&self, routing: &Routing) -> Result<Option<(At, Set)>, String> {
        let Some(release) = routing.preview else {
            return Ok(None);
        };
        let at = self.own().ok_or("it has no name for a preview")?;
        let route = routing.route(release);
        let route = route.ok_or_else(|| format!("release {release} has no route"))?;
        let mut sets = self.of_route(route)?.into_iter();
        let first = sets.next().unwrap_or_default();
        let set = sets.fold(first, |mut all, next| {
            all.records.extend(next.records);
            all
        });
        Ok(Some((at, set)))
    }

    /// What stands where the plan has releases shown, and is neither flipside's nor what `desired`
    /// wants there.
    pub(super) fn strange(
        &self,
        seen: &Seen,
        desired: Option<&Routing>,
    ) -> Result<Vec<Set>, String> {
        let Some(at) = self.own() else {
            return Ok(Vec::new());
        };
        let wanted = desired.map(|desired| self.showing(desired)).transpose()?;
        let wanted = wanted.flatten().and_then(|(_, set)| set.plain());
        let mut known = seen.ours(&at);
        known.extend(wanted.unwrap_or_default());
        let strange = seen.there(&at).iter().filter_map(|set| set.without(&known));
        Ok(strange.collect())
    }

    /// What shall stand at these names once `desired` is true, and how that is noted.
    pub(super) fn previews(
        &self,
        seen: &Seen,
        desired: &Routing,
    ) -> Result<(Previews, Option<Shown>), String> {
        let mut previews = seen.cleared();
        let Some((at, set)) = self.showing(desired)? else {
            return Ok((previews, None));
        };
        let shown = Shown::new(&at, set.plain().unwrap_or_default());
        previews.insert(at, vec![set]);
        Ok((previews, Some(shown)))
    }

    /// Whether a route is there for the preview alone: its release has no record at the service's name,
    /// not even one that has no weight, which is given to users where no other is healthy.
    pub(super) fn is_only_shown(&self, route: &Route, routing: &Routing) -> bool {
        route.weight == 0 && routing.preview == Some(route.release)
    }

    /// The release that those are led to by `set` who ask for the preview.
    pub(super) fn release_shown(&self, set: &Set, routing: &Routing) -> Option<Release> {
        let (_, wanted) = self.showing(routing).ok().flatten()?;
        let (wanted, given) = (wanted.plain()?, set.plain()?);
        let leads = !given.is_empty() && given.is_subset(&wanted);
        routing.preview.filter(|_| leads)
    }
}
