//! What `status` says of shared roles.

use serde_json::{Value, json};

use super::tables::{ago, calm};
use crate::core::names::Millis;
use crate::core::shared::{Owner, Shared};
use crate::core::words::clean;

/// A table of them, and what a person has to do about one.
pub(super) fn text(all: &[Shared], now: Millis, width: u16) -> String {
    if all.is_empty() {
        return String::new();
    }
    let heads = ["shared role", "container", "state", "since", "whose"];
    let rows = all.iter().map(|one| {
        [
            one.container.role.to_string(),
            clean(&one.container.name),
            match one.halfway {
                true => format!("{}, halfway", one.does()),
                false => one.does(),
            },
            one.since
                .map_or_else(|| "-".into(), |since| ago(since, now)),
            match &one.owner {
                Owner::Flipside => "flipside".into(),
                Owner::Project(project) => format!("Compose project {}", clean(project)),
            },
        ]
    });
    let mut text = format!("\n{}\n", calm(width, heads, &rows.collect::<Vec<_>>(), &[]));
    if all.iter().any(|one| one.halfway) {
        text += "halfway: a `shared apply` was cut short; go on with: flipside shared apply\n";
    }
    for one in all.iter().filter(|one| one.has_stopped() && !one.halfway) {
        let name = clean(&one.container.name);
        text += &format!("`{name}` has stopped; {}\n", one.way_on());
    }
    text
}

/// One of them for pipelines.
pub(super) fn json(one: &Shared) -> Value {
    json!({
        "role": one.container.role,
        "container": one.container.name,
        "state": one.container.state,
        "health": one.container.health,
        "since": one.since,
        "project": match &one.owner {
            Owner::Flipside => None,
            Owner::Project(project) => Some(project),
        },
        "halfway": one.halfway,
    })
}
