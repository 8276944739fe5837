//! The table a pointer makes true, and what a pointer can do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::names::{Fence, Generation, Millis, Release, Slot};

/// The table: for each environment its endpoints and weight.
///
/// Read from the real thing, written by compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// Counts the moves; each write makes it one more.
    pub generation: Generation,
    /// The lease's number of who wrote it.
    pub fence: Fence,
    /// Who wrote it: `user@host`.
    pub author: String,
    /// Why: `deploy shop@42`.
    pub reason: String,
    /// When, in milliseconds since the epoch, by the writer's clock.
    pub at: Millis,
    /// Environments that get traffic, and others the pointer knows at weight 0.
    pub routes: Vec<Route>,
    /// What became true of releases, where the pointer keeps marks.
    #[serde(default)]
    pub marks: BTreeMap<Release, Marks>,
    /// When an unconfirmed switch goes back by itself. Kept and shown; nothing acts on it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Who is shown to those that ask for the preview; it has a route, at weight 0 where it gets
    /// nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Release>,
    /// What stood there when flipside first came, in the pointer's own words: what a route of
    /// release 0 means. It is put back as it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<serde_json::Value>,
}

/// One environment in a routing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The release whose environment it is; 0 is foreign.
    pub release: Release,
    /// Where it hangs, on pointers that have slots.
    pub slot: Slot,
    /// Its share of new requests, relative to the sum of all weights.
    pub weight: u32,
    /// Where its replicas answer.
    pub endpoints: Vec<SocketAddr>,
}

/// When an unconfirmed switch goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// Milliseconds since the epoch.
    pub at: Millis,
    /// What then becomes true again.
    pub back_to: Vec<Route>,
}

/// What became true of a release after its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// All its probes have passed.
    pub proven: bool,
    /// The generation of the move that made it live, the last time it became so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Generation>,
    /// A rollback or a revert has left it.
    pub withdrawn: bool,
}

/// One mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// All probes have passed.
    Proven,
    /// It has served, from the move with this generation on.
    Served(Generation),
    /// A rollback or a revert has left it.
    Withdrawn,
}

impl Marks {
    /// Adds `mark`. Serving again takes `withdrawn` away.
    pub fn add(&mut self, mark: Mark) {
        match mark {
            Mark::Proven => self.proven = true,
            Mark::Served(generation) => {
                self.served = self.served.max(Some(generation));
                self.withdrawn = false;
            }
            Mark::Withdrawn => self.withdrawn = true,
        }
    }
}

/// What served before flipside came: no release of flipside's, and never modified by it.
pub const FOREIGN: Release = Release(0);

impl Routing {
    /// What served before flipside came: where, and in the pointer's own words.
    #[must_use]
    pub fn foreign(routes: Vec<Route>, foreign: serde_json::Value) -> Self {
        Self {
            generation: 0,
            fence: 0,
            author: String::new(),
            reason: String::new(),
            at: 0,
            routes,
            marks: BTreeMap::new(),
            deadline: None,
            preview: None,
            foreign: Some(foreign),
        }
    }

    /// Whether the traffic goes to what stood there before flipside came, which nobody has taken over
    /// yet.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.generation == 0 && self.foreign.is_some() && self.live() == Some(FOREIGN)
    }

    /// Whether `release` is what stood there before flipside came, and can be put back.
    #[must_use]
    pub fn remembers(&self, release: Release) -> bool {
        release == FOREIGN && self.foreign.is_some() && self.route(FOREIGN).is_some()
    }

    /// The release that gets the traffic: the one with the highest weight above 0.
    #[must_use]
    pub fn live(&self) -> Option<Release> {
        let heaviest = self
            .routes
            .iter()
            .filter(|route| route.weight > 0)
            .max_by_key(|r| r.weight);
        heaviest.map(|route| route.release)
    }

    /// The route of `release`.
    #[must_use]
    pub fn route(&self, release: Release) -> Option<&Route> {
        self.routes.iter().find(|route| route.release == release)
    }
}

/// What a pointer can do: data, not defaults that fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Shares between environments other than all or nothing.
    pub weighted: bool,
    /// Keeps a client on the environment it met first.
    pub sticky: bool,
    /// Shows a candidate before the switch.
    pub preview: bool,
    /// Lets requests in flight end.
    pub drains: bool,
    /// Leaves a connection that is open with the environment it met, whatever comes of that: a way
    /// back resets it at once.
    #[serde(default)]
    pub lingers: bool,
    /// Clients remember where it has sent them, and some for longer than they may: they come to what
    /// it has left long ago.
    #[serde(default)]
    pub cached: bool,
    /// Counts what was in flight and what was cut.
    pub counts: bool,
    /// All of a write becomes true at once, or none.
    pub atomic: bool,
    /// Keeps marks, in the same durable write as the move.
    pub marks: bool,
    /// The longest time until everyone sees a write, in milliseconds.
    pub settle_ms: Millis,
    /// What stops a late writer.
    pub guard: Guard,
}

/// What stops a late writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// The server refuses a lower lease number.
    Fenced,
    /// The server checks what was read.
    CompareAndSet,
    /// Read just before, read back after.
    Checked,
}

/// What became of the requests that were in flight at a switch. `None` is unknown, never a guessed 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drained {
    /// In flight to the old environment at the instant of the switch.
    pub in_flight: Option<u64>,
    /// Of those, how many ended by themselves.
    pub finished: Option<u64>,
    /// Of those, how many were cut at the limit.
    pub cut: Option<u64>,
}
