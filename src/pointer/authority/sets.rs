//! All records of one name and type, as servers give them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record as Line, RecordType};
use serde::{Deserialize, Serialize};

use crate::core::routing::Route;

/// What a name is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// IPv4 addresses.
    #[default]
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The name of a slot.
    Cname,
}

impl Kind {
    /// As DNS calls it.
    pub fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Cname => RecordType::CNAME,
        }
    }

    /// What sends users who ask at `port` to a release: its addresses, or the name of its `slot`; why
    /// there is nothing.
    pub fn values(
        self,
        route: &Route,
        port: u16,
        slot: Option<&Name>,
    ) -> Result<BTreeSet<RData>, String> {
        if let Some(other) = route.endpoints.iter().find(|at| at.port() != port) {
            return Err(format!(
                "DNS names an address without a port: users ask at port {port}, and release {} answers at {other}",
                route.release
            ));
        }
        let values: BTreeSet<RData> = match self {
            Self::Cname => {
                let named = slot.into_iter().cloned();
                named.map(|name| RData::CNAME(CNAME(name))).collect()
            }
            kind => {
                let addresses = route.endpoints.iter();
                addresses
                    .filter_map(|at| kind.of_address(at.ip()))
                    .collect()
            }
        };
        if values.is_empty() {
            return Err(format!(
                "release {} has nothing that a record of type {} could hold",
                route.release,
                self.record_type()
            ));
        }
        Ok(values)
    }

    /// The value that is this address.
    pub fn of_address(self, address: IpAddr) -> Option<RData> {
        match (self, address) {
            (Self::A, IpAddr::V4(address)) => Some(RData::A(A(address))),
            (Self::Aaaa, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(address))),
            _ => None,
        }
    }

    /// The value that is written so.
    pub fn of_text(self, text: &str) -> Option<RData> {
        match self {
            Self::A | Self::Aaaa => self.of_address(text.parse().ok()?),
            Self::Cname => Some(RData::CNAME(CNAME(name(text)?))),
        }
    }
}

/// A name from a plan, which is always a whole one.
pub fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    (name.num_labels() > 0).then(|| name.to_lowercase())
}

/// All records of one name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSet {
    /// In seconds.
    pub ttl: u32,
    pub values: BTreeSet<RData>,
}

impl RrSet {
    /// Those in an answer.
    pub fn in_answer(answer: &Message, name: &Name, kind: RecordType) -> Option<Self> {
        let lines = answer.answers.iter();
        let lines: Vec<&Line> = lines
            .filter(|line| line.name == *name && line.record_type() == kind)
            .collect();
        Some(Self {
            ttl: lines.iter().map(|line| line.ttl).min()?,
            values: lines.into_iter().map(|line| line.data.clone()).collect(),
        })
    }

    /// The addresses in it.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.values.iter().filter_map(RData::ip_addr).collect()
    }

    /// The name in it.
    pub fn target(&self) -> Option<&Name> {
        self.values.iter().find_map(|value| match value {
            RData::CNAME(target) => Some(&target.0),
            _ => None,
        })
    }
}
