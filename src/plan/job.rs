//! `run: once`: what a job says besides what any role says, and what it cannot say.

use super::fields::{Field, Fields, role_path, take_away};
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::plan::{JOB_TIMEOUT_MS, Run};
use crate::core::{Millis, RoleName};

/// `timeout`: how long a job may run.
pub(super) fn timeout(reader: &mut Reader<'_>, fields: &mut Fields<'_>, run: Run) -> Millis {
    let Some(field) = fields.take_full(reader, "timeout") else {
        return JOB_TIMEOUT_MS;
    };
    if run != Run::Once {
        reader.wrong(
            field.key,
            "`timeout` is for jobs, and this role is none",
            "remove it, or write `run: once` beside it",
        );
    }
    positive(reader, field.node, "timeout").unwrap_or(JOB_TIMEOUT_MS)
}

/// A duration that is not 0.
pub(super) fn positive(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<Millis> {
    let found = reader.duration(node)?;
    if found == 0 {
        reader.wrong(
            node.span,
            format!("`{name}` cannot be 0"),
            "write a duration such as `30s`",
        );
        return None;
    }
    Some(found)
}

/// Where a role says how many replicas it has.
pub(super) fn replicas_place(fields: &Fields<'_>) -> Option<Span> {
    if let Some(field) = fields.peek("scale") {
        return Some(field.key);
    }
    let Value::Map(entries) = &fields.peek("deploy")?.node.value else {
        return None;
    };
    let mut keys = entries.iter().map(|(key, _)| key);
    keys.find(|key| key.text == "replicas").map(|key| key.span)
}

/// A job has one container, and so has a shared role.
pub(super) fn check_replicas(
    reader: &mut Reader<'_>,
    place: Option<Span>,
    replicas: u32,
    (role, run): (&RoleName, Run),
) {
    if let (Some(place), true) = (place, replicas != 1) {
        let message = match run {
            Run::Shared => format!("a shared role has one container, and this one has {replicas}"),
            _ => format!("a job runs once, and this one has {replicas} replicas"),
        };
        let path = role_path(role);
        let away = match (place.is_compose(), reader.written(place)) {
            (false, _) => "remove `replicas`".to_owned(),
            (true, Some("scale")) => take_away(place, &path, "scale"),
            (true, _) => take_away(place, &format!("{path}.deploy"), "replicas"),
        };
        let help = format!("{away}, or write one role for each");
        reader.wrong(place, message, help);
    }
}

/// `restart` of a job, which is never started a second time.
pub(super) fn restart(reader: &mut Reader<'_>, field: Field<'_>, policy: &str, role: &RoleName) {
    let span = field.node.span;
    match policy {
        "no" => {}
        "on-failure" => reader.note(
            span,
            "`restart: on-failure` means nothing to a job: it is started once, and its failure ends the release",
        ),
        _ => reader.wrong(
            span,
            format!("`restart: {policy}` would start a job again and again"),
            format!(
                "{}: a job is started once",
                take_away(field.key, &role_path(role), "restart")
            ),
        ),
    }
}
