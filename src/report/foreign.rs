//! What `status` says of what served before flipside came.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::core::routing::FOREIGN;
use crate::core::words::release_name;

/// What served before flipside came: release 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignView {
    /// Whether the pointer names it.
    pub is_live: bool,
    /// Where it answers, as far as the pointer tells.
    pub endpoints: Vec<SocketAddr>,
}

impl ForeignView {
    /// For pipelines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"live": self.is_live, "endpoints": self.endpoints})
    }

    /// For people, in a line.
    #[must_use]
    pub fn text(&self, service: &str) -> String {
        let name = release_name(service, FOREIGN);
        let places: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        let places = match places.is_empty() {
            true => String::new(),
            false => format!(" at {}", places.join(", ")),
        };
        let does = match self.is_live {
            true => "gets the traffic",
            false => "is remembered",
        };
        format!("\n{name}, from before flipside came, {does}{places}\n")
    }
}
