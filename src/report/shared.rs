//! What `status` says of shared roles.

use serde_json::{Value, json};

use super::tables::{StatusView, ago, calm};
use crate::core::names::Millis;
use crate::core::shared::{Owner, Shared, network};
use crate::core::words::{clean, list, release_name};

/// A table of them, and what a person has to do about one.
pub(super) fn text(view: &StatusView, now: Millis, width: u16) -> String {
    let (all, service) = (&view.shared, &view.service);
    if all.is_empty() && view.gone.is_empty() {
        return String::new();
    }
    let heads = ["shared role", "container", "state", "since", "whose"];
    let rows = all.iter().map(|one| {
        [
            one.container.role.to_string(),
            clean(&one.container.name),
            match (one.halfway, one.joined) {
                (true, _) => format!("{}, halfway", one.does()),
                (false, true) => one.does(),
                (false, false) => format!("{}, not joined", one.does()),
            },
            one.since
                .map_or_else(|| "-".into(), |since| ago(since, now)),
            match &one.owner {
                Owner::Flipside => "flipside".into(),
                Owner::Project(project) => format!("Compose project {}", clean(project)),
            },
        ]
    });
    let gone = view.gone.iter().map(|gone| {
        let role = gone.role.to_string();
        [role, "-".into(), "gone".into(), "-".into(), "-".into()]
    });
    let rows: Vec<_> = rows.chain(gone).collect();
    let mut text = format!("\n{}\n", calm(width, heads, &rows, &[]));
    if all.iter().any(|one| one.halfway) {
        text += "halfway: a `shared apply` was cut short; go on with: flipside shared apply\n";
    }
    for one in all {
        let (name, role) = (clean(&one.container.name), &one.container.role);
        let what = match one.has_stopped() {
            true => format!("`{name}` has stopped"),
            false => format!(
                "`{name}` is not on the network `{}`, and no release reaches `{role}`",
                network(service)
            ),
        };
        if let Some(mend) = one.mend(service) {
            text += &format!("{what}; {mend}\n");
        }
        if let Some(not_alone) = one.not_alone() {
            text += &format!("{not_alone}\n");
        }
    }
    for gone in &view.gone {
        let releases = gone.releases.iter();
        let names: Vec<_> = releases.map(|one| release_name(service, *one)).collect();
        let uses = if names.len() == 1 { "uses" } else { "use" };
        text += &format!(
            "nothing stands for `{}`, which {} {uses}; {}\n",
            gone.role,
            list(&names),
            gone.mend(service)
        );
    }
    if let Some(unused) = &view.unused {
        text += &format!("{}\n", clean(unused));
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
        "joined": one.joined,
        "beside": one.beside.as_ref().map(|other| &other.container),
    })
}
