//! `stop_signal`, `security_opt`, `cap_add`, `cap_drop`, `group_add` and `sysctls`: what a role's
//! processes may do, and how they are ended.

use std::collections::BTreeMap;

use super::fields::{Field, instead, role_path, take_away};
use super::nearest::nearest;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use crate::core::RoleName;

/// `stop_signal`: a number, or a name that every engine knows.
pub(super) fn signal(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    const NAMES: [&str; 35] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
        "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
        "RTMIN",
    ];
    let text = reader.public(node, "a signal such as `SIGTERM`")?;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = text
        .parse::<u8>()
        .is_ok_and(|number| (1..=64).contains(&number));
    if number {
        return Some(text);
    }
    if NAMES.contains(&name) || is_real_time(name) {
        return Some(format!("SIG{name}"));
    }
    let help = match nearest(name, NAMES) {
        Some(near) => format!("did you mean `SIG{near}`?"),
        None => "write a signal such as `SIGTERM` or `SIGQUIT`".to_owned(),
    };
    reader.wrong(node.span, format!("`{text}` is not a signal"), help);
    None
}

/// `RTMIN+1` to `RTMIN+15`, `RTMAX-14` to `RTMAX`.
fn is_real_time(name: &str) -> bool {
    let within = |text: &str, most: u8| {
        let plain = text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
        plain && text.parse::<u8>().is_ok_and(|number| number <= most)
    };
    let (above, below) = (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-"));
    name == "RTMAX"
        || above.is_some_and(|text| within(text, 15))
        || below.is_some_and(|text| within(text, 14))
}

/// `security_opt`: what the engine knows of it.
pub(super) fn security_options(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    role: &RoleName,
) -> Vec<String> {
    let place = (role_path(role), "security_opt");
    let what = "a list such as `[no-new-privileges:true]`";
    let Some(items) = reader.list_at(field.node, (&place.0, place.1), what) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for item in items {
        let Some(text) = reader.public(item, "an option such as `no-new-privileges:true`") else {
            continue;
        };
        let (name, value) = match text.split_once([':', '=']) {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        let message = match (name, value) {
            ("no-new-privileges", None | Some("true" | "false"))
            | ("seccomp", Some("unconfined")) => {
                found.push(text);
                continue;
            }
            ("label" | "apparmor", Some(value)) if !value.is_empty() => {
                found.push(text);
                continue;
            }
            ("seccomp", Some(_)) => {
                "seccomp profiles from files are not supported in this version".to_owned()
            }
            ("systempaths", _) => "`systempaths` is not supported in this version".to_owned(),
            _ => {
                reader.wrong(
                    item.span,
                    format!("`{text}` is not a security option"),
                    "write `no-new-privileges:true`, `seccomp=unconfined`, `apparmor=PROFILE` or `label=…`",
                );
                continue;
            }
        };
        unknown.push((item.span, message));
    }
    for (span, message) in unknown {
        let help = match (span.is_compose(), found.as_slice()) {
            (false, _) => "remove it".to_owned(),
            (true, []) => take_away(field.key, &role_path(role), "security_opt"),
            (true, kept) => {
                let kept: Vec<_> = kept.iter().map(|text| format!("\"{text}\"")).collect();
                let line = format!("security_opt: !override [{}]", kept.join(", "));
                instead(field.key, &role_path(role), &line)
            }
        };
        reader.wrong(span, message, help);
    }
    found
}

/// `cap_add` and `cap_drop`, in capitals and without `CAP_`.
pub(super) fn capabilities(
    reader: &mut Reader<'_>,
    node: &Node,
    place: (&str, &str),
) -> Vec<String> {
    const NAMES: [&str; 42] = [
        "ALL",
        "AUDIT_CONTROL",
        "AUDIT_READ",
        "AUDIT_WRITE",
        "BLOCK_SUSPEND",
        "BPF",
        "CHECKPOINT_RESTORE",
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "IPC_OWNER",
        "KILL",
        "LEASE",
        "LINUX_IMMUTABLE",
        "MAC_ADMIN",
        "MAC_OVERRIDE",
        "MKNOD",
        "NET_ADMIN",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_RAW",
        "PERFMON",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_CHROOT",
        "SYS_MODULE",
        "SYS_NICE",
        "SYS_PACCT",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "SYSLOG",
        "WAKE_ALARM",
    ];
    let what = "a list such as `[NET_BIND_SERVICE]`";
    let Some(items) = reader.list_at(node, place, what) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let Some(text) = reader.public(item, "a capability such as `NET_BIND_SERVICE`") else {
            continue;
        };
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if NAMES.contains(&name) {
            found.push(name.to_owned());
            continue;
        }
        let help = match nearest(name, NAMES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a capability such as `NET_BIND_SERVICE`, or `ALL`".to_owned(),
        };
        reader.wrong(item.span, format!("`{text}` is not a capability"), help);
    }
    found
}

/// `group_add`: names or numbers of groups.
pub(super) fn groups(reader: &mut Reader<'_>, node: &Node, path: &str) -> Vec<String> {
    const WHAT: &str = "a group's name or number";
    let Some(items) = reader.list_at(node, (path, "group_add"), "a list of groups") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let Some(text) = reader.public(item, WHAT) else {
            continue;
        };
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == ':') {
            let message = format!("`{text}` is not a group");
            reader.wrong(item.span, message, format!("write {WHAT}"));
            continue;
        }
        found.push(text);
    }
    found
}

/// `sysctls`: as a map or as a list of `name=value`.
pub(super) fn sysctls(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    const HELP: &str = "write `net.core.somaxconn: 1024`";
    let mut found = BTreeMap::new();
    let mut insert = |reader: &mut Reader<'_>, span: Span, name: &str, value: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if name.is_empty() || !name.contains('.') || !name.chars().all(plain) || value.is_empty() {
            reader.wrong(span, format!("`{name}` is no setting of the kernel"), HELP);
        } else {
            found.insert(name.to_owned(), value.to_owned());
        }
    };
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                if let Some(text) = reader.public(value, "one value") {
                    insert(reader, key.span, &key.text, &text);
                }
            }
        }
        Value::List(items) => {
            for item in items {
                if let Some(text) = reader.public(item, "`name=value`") {
                    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                    insert(reader, item.span, name, value);
                }
            }
        }
        _ => reader.expected(node, "`name: value`, or a list of `name=value`"),
    }
    found
}
