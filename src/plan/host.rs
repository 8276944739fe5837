//! What a role wants of the host itself: `privileged`, `devices`, `pid`, `ipc`. Only a role that is
//! `run: shared` in the plan's own words may have it.

use super::fields::{Field, Fields, role_path, take_away};
use super::read::Reader;
use super::tree::{Node, Value};
use crate::core::RoleName;
use crate::core::plan::{Device, Host, Run};

/// Why a release may not have it, and the two ways on.
fn refuse(reader: &mut Reader<'_>, field: Field<'_>, key: &str, role: &RoleName, what: &str) {
    let away = take_away(field.key, &role_path(role), key);
    reader.wrong(
        field.key,
        format!("`{role}` wants {what}, which two releases side by side would share"),
        format!("if it does without, {away}; if it outlives releases, write `services: {{{role}: {{run: shared}}}}`"),
    );
}

/// Reads them.
pub(super) fn host(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    role: &RoleName,
    run: Run,
) -> Host {
    let mut host = Host::default();
    let may = run == Run::Shared;
    if let Some(field) = fields.take("privileged") {
        host.privileged = reader.boolean(field.node).unwrap_or(false);
        if host.privileged && !may {
            refuse(reader, field, "privileged", role, "every right on the host");
        }
    }
    let place = fields.below("devices");
    if let Some(field) = fields.take("devices") {
        host.devices = devices(reader, field.node, &place);
        if !host.devices.is_empty() && !may {
            refuse(reader, field, "devices", role, "devices of the host");
        }
    }
    for (key, what) in [
        ("pid", "the host's processes"),
        ("ipc", "the host's shared memory"),
    ] {
        let Some(field) = fields.take(key) else {
            continue;
        };
        match reader.public(field.node, "`host`").as_deref() {
            Some("host") if may => match key {
                "pid" => host.pid = true,
                _ => host.ipc = true,
            },
            Some("host") => refuse(reader, field, key, role, what),
            Some(other) => reader.wrong(
                field.node.span,
                format!("`{key}: {other}` is not supported"),
                take_away(field.key, &role_path(role), key),
            ),
            None => {}
        }
    }
    host
}

fn devices(reader: &mut Reader<'_>, node: &Node, place: &str) -> Vec<Device> {
    let path = place.trim_end_matches(".devices");
    let what = "a list such as `[/dev/fuse]`";
    let Some(items) = reader.list_at(node, (path, "devices"), what) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let (host, container, permissions) = match &item.value {
            Value::Map(_) => {
                let Some(mut fields) = reader.fields(item, place, "`source` and `target`") else {
                    continue;
                };
                fields.items = Some(items);
                let mut take = |reader: &mut Reader<'_>, name| {
                    let field = fields.take(name);
                    field.and_then(|field| reader.public(field.node, "a path"))
                };
                let read = (
                    take(reader, "source"),
                    take(reader, "target"),
                    take(reader, "permissions"),
                );
                fields.finish(reader, &[]);
                read
            }
            _ => {
                let Some(text) = reader.public(item, "a device such as `/dev/fuse`") else {
                    continue;
                };
                let mut parts = text.splitn(3, ':').map(str::to_owned);
                (parts.next(), parts.next(), parts.next())
            }
        };
        let permissions = permissions.unwrap_or_else(|| "rwm".to_owned());
        let container = container.or_else(|| host.clone());
        match (host, container) {
            (Some(host), Some(container))
                if host.starts_with('/')
                    && container.starts_with('/')
                    && permissions.chars().all(|c| "rwm".contains(c)) =>
            {
                found.push(Device {
                    host,
                    container,
                    permissions,
                });
            }
            _ => reader.wrong(
                item.span,
                "this is no device of the host",
                "write `/dev/NAME`, or `/dev/NAME:/dev/NAME:rwm`",
            ),
        }
    }
    found
}
