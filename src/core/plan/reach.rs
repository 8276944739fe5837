//! How a pointer reaches what it sends traffic to.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::core::names::Slot;

/// At which addresses a pointer finds an environment's replicas. In labels and in the journal the
/// setting `reach`: `"container"`, `{"published": "192.0.2.7"}`, `{"slot": {"blue": …, "green": …}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// At the containers' own: from the engine's host, and from networks that are routed to it.
    #[default]
    Container,
    /// At this address of the engine's host, each replica at a port of its own that flipside chose.
    Published(IpAddr),
    /// At the address of the environment's slot, from where the proxy on the engine forwards.
    Slot(Slots),
}

/// The addresses of the two slots: what a record in DNS can name, the same for every release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// That of blue.
    pub blue: SocketAddr,
    /// That of green.
    pub green: SocketAddr,
}

impl Slots {
    /// The address of `slot`.
    #[must_use]
    pub fn of(self, slot: Slot) -> SocketAddr {
        match slot {
            Slot::Blue => self.blue,
            Slot::Green => self.green,
        }
    }

    /// Whose address this is.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Option<Slot> {
        [Slot::Blue, Slot::Green]
            .into_iter()
            .find(|&slot| self.of(slot) == address)
    }
}
