//! What is true by the record, held against what is there: the routing, what hangs on the groups, and
//! which rules show the preview.
//!
//! Pure.

use super::notes::{Hung, Notes, SLOTS};
use super::rules::Words;
use super::table::There;
use crate::core::routing::Routing;

/// What is true.
pub(super) struct Judged {
    /// None where the service is not known yet.
    pub(super) routing: Option<Routing>,
    pub(super) hung: Hung,
    /// The conditions of the rules that show its preview, by the record.
    pub(super) shown: Vec<Words>,
    /// Whether something that was begun has not come true.
    pub(super) is_begun: bool,
}

/// What is true by `known`: what was to come true, where all of it has; else what was true before, with
/// what is found in place of what is not as it should be.
///
/// The rules that show a preview are made last and removed first. So one that is missing says that the
/// move which needs it, or which has removed it, is not done: unless what comes after has come.
pub(super) fn judge(there: &There, known: &Notes) -> Judged {
    let next = known.next.as_ref();
    let all: Vec<&Hung> = [&known.hung].into_iter().chain(next).collect();
    let by_weights = |routing: &Routing| all.iter().any(|hung| there.is_so(routing, hung));
    let (now, meant) = (known.now(), known.meant());
    if let (Some(meant), Some(next)) = (meant, next)
        && by_weights(meant)
        && there.shows(meant, &[next], &known.shall)
        && there.has_come(&known.hung, next)
    {
        let is_so = there.is_so(meant, next);
        return Judged {
            routing: Some(meant.clone()),
            hung: if is_so { next } else { &known.hung }.clone(),
            shown: known.shall.clone(),
            is_begun: false,
        };
    }
    let is_begun = next.is_some();
    let of_now = |routing| Judged {
        routing,
        hung: known.hung.clone(),
        shown: known.shown.clone(),
        is_begun,
    };
    let found = |routing: Routing| Routing {
        preview: there.shown(&all, &known.shown),
        ..routing
    };
    match (now, meant) {
        (Some(now), _) if by_weights(&now) && there.shows(&now, &all, &known.shown) => {
            of_now(Some(now))
        }
        (Some(now), _) if by_weights(&now) => of_now(Some(found(now))),
        // A first move that was begun, and has moved nothing.
        (None, Some(_)) if there.serving().is_empty() && there.does.leads_as(&known.stood) => {
            of_now(None)
        }
        (_, Some(meant)) if by_weights(meant) && meant.live().is_some() => Judged {
            routing: Some(Routing {
                preview: there.shown(&all, &known.shall),
                ..meant.clone()
            }),
            hung: next.unwrap_or(&known.hung).clone(),
            shown: known.shall.clone(),
            is_begun: false,
        },
        _ => {
            let never = |_: &Routing| false;
            of_now(known.record.clone().judge(never, there.routes()).map(found))
        }
    }
}

impl There {
    /// Whether what `next` has on groups that get no traffic is there, and its health is told.
    fn has_come(&self, before: &Hung, next: &Hung) -> bool {
        let serving = self.serving();
        let is_there = |slot| {
            let wanted = next.on(slot).map(|held| held.targets.clone());
            let mut wanted = wanted.unwrap_or_default();
            wanted.sort();
            let mut there = self.targets(slot);
            there.sort();
            there == wanted && self.is_told(slot)
        };
        SLOTS
            .into_iter()
            .filter(|slot| before.on(*slot) != next.on(*slot) && !serving.contains(slot))
            .all(is_there)
    }

    /// Whether the rules that show a preview are there as `routing` wants it.
    pub(super) fn shows(&self, routing: &Routing, all: &[&Hung], words: &[Words]) -> bool {
        match routing.preview {
            None => self.rules.ours.is_empty(),
            Some(_) => self.shown(all, words) == routing.preview,
        }
    }
}
