//! What HAProxy says of its servers.
//!
//! Pure. Columns are found by name: versions add some and move others.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::core::names::Slot;

/// One server of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// Where it sends to; none while it has no address.
    pub(super) address: Option<SocketAddr>,
    /// What it gets relative to the others, 0 to 256.
    pub(super) weight: u32,
    pub(super) admin: Admin,
    /// Whether the configuration has a name for it, not an address.
    pub(super) has_name: bool,
    /// Whether it is up, as far as health checks are made.
    pub(super) up: bool,
}

/// What an operator has made of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Admin {
    /// It gets its share.
    Ready,
    /// Only who belongs to it already.
    Drain,
    /// Nobody.
    Maint,
}

impl Admin {
    /// As `set server … state` takes it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

/// Bits of `srv_admin_state`: maintenance forced, inherited, for want of a resolved name. (That of a
/// server that the configuration calls `disabled` stays for ever, and says nothing of now.)
const MAINT: u32 = 0x01 | 0x02 | 0x20;
/// Draining forced, inherited.
const DRAIN: u32 = 0x08 | 0x10;

impl Server {
    /// Whether new requests reach it.
    pub(super) fn serves(&self) -> bool {
        self.admin == Admin::Ready && self.weight > 0
    }

    /// Whether only those reach it who are led there by name: a preview.
    pub(super) fn is_shown(&self) -> bool {
        self.admin == Admin::Ready && self.weight == 0 && self.slot().is_some()
    }

    /// The slot that its name begins with, and its number there.
    pub(super) fn slot(&self) -> Option<(Slot, u32)> {
        [Slot::Blue, Slot::Green].into_iter().find_map(|slot| {
            let number = self.name.strip_prefix(slot.as_str())?;
            Some((slot, number.parse().ok()?))
        })
    }
}

/// The table with the columns that `#` names, by column.
fn rows(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with('#'));
    let head = lines.next().unwrap_or("#").trim_start_matches('#');
    let columns: Vec<&str> = split(head).collect();
    lines
        .filter(|line| !line.trim().is_empty())
        .map(move |line| columns.iter().copied().zip(split(line)).collect())
}

/// `show servers state` parts its columns by blanks, `show stat` by commas.
fn split(line: &str) -> Box<dyn Iterator<Item = &str> + '_> {
    match line.contains(',') {
        true => Box::new(line.trim().split(',')),
        false => Box::new(line.split_whitespace()),
    }
}

/// Reads `show servers state BACKEND`.
pub(super) fn servers(text: &str) -> Vec<Server> {
    let number = |row: &BTreeMap<&str, &str>, column: &str| row.get(column)?.parse::<u32>().ok();
    rows(text)
        .filter_map(|row| {
            let admin = number(&row, "srv_admin_state")?;
            let address = row.get("srv_addr").and_then(|it| it.parse::<IpAddr>().ok());
            let port = number(&row, "srv_port").and_then(|port| u16::try_from(port).ok());
            Some(Server {
                name: (*row.get("srv_name")?).to_owned(),
                address: address.zip(port).map(Into::into),
                weight: number(&row, "srv_uweight")?,
                admin: match admin {
                    _ if admin & MAINT > 0 => Admin::Maint,
                    _ if admin & DRAIN > 0 => Admin::Drain,
                    _ => Admin::Ready,
                },
                has_name: row.get("srv_fqdn").is_some_and(|name| *name != "-"),
                up: number(&row, "srv_op_state")? == 2,
            })
        })
        .collect()
}

/// What is counted of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Sessions now.
    pub(super) now: u64,
    /// Sessions since HAProxy was started.
    pub(super) all: u64,
}

/// Reads `show stat` of a backend's servers, by their names.
pub(super) fn counts(text: &str) -> BTreeMap<String, Counts> {
    let number = |row: &BTreeMap<&str, &str>, column: &str| {
        row.get(column).and_then(|it| it.parse().ok()).unwrap_or(0)
    };
    let one = |row: BTreeMap<&str, &str>| {
        let counts = Counts {
            now: number(&row, "scur"),
            all: number(&row, "stot"),
        };
        Some(((*row.get("svname")?).to_owned(), counts))
    };
    rows(text).filter_map(one).collect()
}
