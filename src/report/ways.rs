//! What one can do next, a line each.

use super::tables::StatusView;
use crate::core::routing::Routing;
use crate::core::words::{clean, promote, resume};

/// What one can do now, the likeliest last.
pub(super) fn ways_on(view: &StatusView) -> Vec<String> {
    let service = &view.service;
    let mut ways = Vec::new();
    if let Some(holder) = &view.lease {
        ways.push(format!("held by `{}`", clean(holder)));
    }
    match (&view.unfinished, &view.lease, &view.pointer.preview) {
        (None, ..) => {}
        (Some(run), Some(_), _) => ways.push(format!("under way: {}", clean(run))),
        (Some(run), None, Some(how)) => {
            ways.push(format!("waits at its preview: {}", clean(run)));
            ways.extend(after_preview(service, how, &view.again));
        }
        (Some(run), None, None) => ways.push(format!(
            "unfinished: {}; go on with: {}",
            clean(run),
            resume(service, &view.again)
        )),
    }
    match (view.standby.first(), view.withdrawn.first()) {
        _ if view.pointer.away.is_some() => {
            ways.push(format!(
                "start the pointer as the warning says, then look again: flipside status {service}"
            ));
        }
        (Some(_), _) => ways.push(format!("roll back with: flipside rollback {service}")),
        (None, _)
            if view
                .pointer
                .routing
                .as_ref()
                .is_some_and(Routing::is_foreign) =>
        {
            ways.push(
                "take over what serves now, as release 0, with: flipside deploy --adopt".into(),
            )
        }
        (None, _) if view.foreign.as_ref().is_some_and(|it| !it.is_live) => ways.push(format!(
            "back to what served before flipside came: flipside rollback {service}"
        )),
        (None, Some(kept)) => ways.push(format!(
            "no standby; back to a withdrawn one: flipside rollback {service} --to {}",
            kept.release
        )),
        (None, None) if view.live.is_some() => {
            ways.push("no standby yet: the next deploy leaves one".into());
        }
        (None, None) => ways.push("deploy it with: flipside deploy".into()),
    }
    ways
}

/// What one can do with a release that waits at its preview; `how` it is asked for.
pub(crate) fn after_preview(service: &str, how: &str, again: &[String]) -> [String; 3] {
    [
        format!("see it with: {how}"),
        format!("switch to it with: {}", promote(service, again)),
        format!("give it up with: flipside abort {service}"),
    ]
}
