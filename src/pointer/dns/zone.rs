//! What stands in a zone of a service: its addresses, and the record of who wrote them. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record as Line, RecordType};
use serde::{Deserialize, Serialize};

use super::super::Way;
use super::super::authority::note::{self, Note};
use super::super::authority::sets::{Kind, RrSet, name};
use super::super::record::Record;
use super::DnsPlan;
use super::shown::Previews;
use crate::core::names::{Release, Slot};
use crate::core::routing::{Route, Routing};

/// What stood there before flipside came, as it is kept in a routing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Foreign {
    #[serde(rename = "type")]
    kind: Kind,
    ttl: u32,
    records: Vec<String>,
}

/// The names that are written, and what they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) zone: Name,
    pub(super) service: Name,
    pub(super) record: Name,
    /// Where releases are shown for preview.
    pub(super) preview: Option<Name>,
    pub(super) kind: Kind,
    pub(super) ttl: u32,
    /// By slot, where a name is given.
    slots: [Option<Name>; 2],
    /// At which port the service's users ask.
    pub(super) port: u16,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) service: Option<RrSet>,
    pub(super) record: Option<RrSet>,
    /// Where releases are shown for preview, as far as that matters.
    pub(super) previews: Previews,
}

impl Seen {
    /// Whether both say the same of all that matters to both, however long it may be kept.
    pub(super) fn says(&self, other: &Self) -> bool {
        let mut previews = self.previews.iter();
        self.sends_as(other)
            && values(&self.record) == values(&other.record)
            && previews.all(|(at, set)| {
                let other = other.previews.get(at);
                other.is_none_or(|other| values(set) == values(other))
            })
    }

    /// Whether both send users to the same places.
    pub(super) fn sends_as(&self, other: &Self) -> bool {
        values(&self.service) == values(&other.service)
    }

    /// Its addresses or its target, for a person.
    pub(super) fn words(&self) -> String {
        match &self.service {
            None => "nothing".into(),
            Some(set) => {
                let values: Vec<String> = set.values.iter().map(ToString::to_string).collect();
                values.join(", ")
            }
        }
    }

    /// The note in the TXT record; none where there is no record.
    pub(super) fn note(&self) -> Result<Option<Note>, String> {
        let Some(set) = &self.record else {
            return Ok(None);
        };
        let texts = set.values.iter().filter_map(|value| match value {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        Note::read(texts).map(Some)
    }
}

fn values(set: &Option<RrSet>) -> Option<&BTreeSet<RData>> {
    set.as_ref().map(|set| &set.values)
}

impl Names {
    /// By a plan; none where one of its names is none.
    pub(super) fn new(plan: &DnsPlan, port: u16) -> Option<Self> {
        let slot = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => name(text).map(Some),
        };
        let service = name(&plan.name)?;
        Some(Self {
            zone: name(&plan.zone)?,
            record: Name::from_ascii("_flipside")
                .ok()?
                .append_domain(&service)
                .ok()?,
            service,
            preview: match plan.preview_hosts.as_slice() {
                [] => None,
                [only] => Some(name(only)?),
                _ => return None,
            },
            kind: plan.kind,
            ttl: plan.seconds(),
            slots: [slot(&plan.blue)?, slot(&plan.green)?],
            port,
        })
    }

    pub(super) fn kind(&self) -> RecordType {
        self.kind.record_type()
    }

    pub(super) fn slot(&self, slot: Slot) -> Option<&Name> {
        match slot {
            Slot::Blue => self.slots[0].as_ref(),
            Slot::Green => self.slots[1].as_ref(),
        }
    }

    /// What makes a routing true, nothing where it only shows a release; why it cannot be.
    pub(super) fn wanted(&self, routing: &Routing) -> Result<Option<RrSet>, String> {
        let mut chosen = routing.routes.iter().filter(|route| route.weight > 0);
        let route = match (chosen.next(), chosen.next()) {
            (Some(route), None) => route,
            (None, _) if routing.preview.is_some() => return Ok(None),
            _ => return Err("DNS gives no shares: all traffic goes to one release".into()),
        };
        if route.release == Release(0) {
            return self.foreign(routing).map(Some);
        }
        let values = self.kind.values(route, self.port, self.slot(route.slot))?;
        Ok(Some(RrSet {
            ttl: self.ttl,
            values,
        }))
    }

    fn foreign(&self, routing: &Routing) -> Result<RrSet, String> {
        let foreign = routing.foreign.clone().unwrap_or_default();
        let foreign: Foreign = serde_json::from_value(foreign)
            .map_err(|error| format!("what stood there before is not known: {error}"))?;
        let values = foreign.records.iter();
        let values = values.map(|text| {
            let value = foreign.kind.of_text(text);
            value.ok_or_else(|| format!("`{text}` is no value of a record"))
        });
        let values: BTreeSet<RData> = values.collect::<Result<_, _>>()?;
        Ok(RrSet {
            ttl: foreign.ttl,
            values,
        })
    }

    /// What the zone says, where that is what is on record, and for how long something else may be
    /// remembered.
    pub(super) fn routing(&self, seen: &Seen) -> Result<(Option<Routing>, u32), String> {
        let ttl = seen.service.as_ref().map_or(0, |set| set.ttl);
        let Some(note) = seen.note()? else {
            let found = seen.service.as_ref().map(|set| self.stranger(set));
            return Ok((found, ttl));
        };
        let found = seen.service.as_ref().map(|set| self.stranger(set).routes);
        let routing = note.record.judge(
            |routing| self.is_so(seen, routing),
            found.unwrap_or_default(),
        );
        let routing = routing.map(|routing| Routing {
            preview: routing.preview.filter(|_| seen.shows()),
            ..routing
        });
        Ok((routing, ttl.max(note.late)))
    }

    /// Whether the service's name is given what a routing wants.
    fn is_so(&self, seen: &Seen, routing: &Routing) -> bool {
        let wanted = self.wanted(routing);
        wanted.is_ok_and(|wanted| values(&wanted) == values(&seen.service))
    }

    /// Whether all that is seen is what is on record.
    pub(super) fn fits(&self, seen: &Seen, routing: &Routing) -> bool {
        self.is_so(seen, routing) && seen.shows_as_noted()
    }

    /// What is not on record.
    fn stranger(&self, set: &RrSet) -> Routing {
        let addresses = set.addresses().into_iter();
        let route = Route {
            release: Release(0),
            slot: Slot::Blue,
            weight: 100,
            endpoints: addresses.map(|ip| (ip, self.port).into()).collect(),
        };
        let foreign = Foreign {
            kind: self.kind,
            ttl: set.ttl,
            records: set.values.iter().map(ToString::to_string).collect(),
        };
        Routing {
            generation: 0,
            fence: 0,
            author: String::new(),
            reason: String::new(),
            at: 0,
            routes: vec![route],
            marks: std::collections::BTreeMap::new(),
            deadline: None,
            preview: None,
            // A list of texts and numbers can always be written.
            foreign: serde_json::to_value(foreign).ok(),
        }
    }

    /// The zone once a routing has been made true.
    pub(super) fn after(&self, seen: &Seen, desired: &Routing) -> Result<Seen, String> {
        let wanted = self.wanted(desired)?;
        let (previews, shown) = self.previews(seen, desired)?;
        let ttl = |set: &Option<RrSet>| set.as_ref().map_or(0, |set| set.ttl);
        let note = Note {
            record: Record::of(desired),
            late: ttl(&seen.service).max(ttl(&wanted)),
            shown,
        };
        let text = note.text();
        let text = TXT::from_bytes(note::strings(&text).collect());
        Ok(Seen {
            service: wanted,
            previews,
            record: Some(RrSet {
                ttl: self.ttl,
                values: [RData::TXT(text)].into(),
            }),
        })
    }

    /// The update that makes `after` of `before`, if that still stands there (RFC 2136, 2.4 and 2.5).
    /// Of what already is as it shall be it changes nothing, and is refused all the same where the
    /// key may not change it. Where releases are shown it concerns those names alone that `after` has.
    pub(super) fn update(&self, before: &Seen, after: &Seen) -> Message {
        let mut update = Message::query();
        update.metadata.op_code = OpCode::Update;
        update.metadata.recursion_desired = false;
        update.add_query(Query::query(self.zone.clone(), RecordType::SOA));
        let names = [
            (&self.service, self.kind(), &before.service, &after.service),
            (&self.record, RecordType::TXT, &before.record, &after.record),
        ];
        let previews = after.previews.iter().map(|(at, after)| {
            let before = before.previews.get(at).unwrap_or(&None);
            (&at.name, at.kind.record_type(), before, after)
        });
        for (name, kind, before, after) in names.into_iter().chain(previews) {
            let nothing = |class, kind| {
                let mut line = Line::update0(name.clone(), 0, kind);
                line.dns_class = class;
                line
            };
            let lines = |set: &RrSet, ttl| -> Vec<Line> {
                let values = set.values.iter().cloned();
                values
                    .map(|value| Line::from_rdata(name.clone(), ttl, value))
                    .collect()
            };
            match before {
                Some(before) => update.add_answers(lines(before, 0)),
                // A CNAME bears no other record beside it, and a server leaves it out without a word.
                None if kind == RecordType::CNAME => {
                    update.add_answer(nothing(DNSClass::NONE, RecordType::ANY))
                }
                None => update.add_answer(nothing(DNSClass::NONE, kind)),
            };
            if before != after || after.is_none() {
                update.add_authority(nothing(DNSClass::ANY, kind));
            }
            if let Some(after) = after {
                update.add_authorities(lines(after, after.ttl));
            }
        }
        update
    }

    /// The release that a name or addresses belong to, of those to which this way leads.
    pub(super) fn release(&self, way: Way, set: &RrSet, routing: &Routing) -> Option<Release> {
        let addresses = set.addresses();
        let mut routes = routing.routes.iter().filter(|route| match way {
            Way::Service => route.weight > 0,
            Way::Preview => routing.preview == Some(route.release),
        });
        let route = routes.find(|route| match self.kind {
            Kind::Cname if route.release != Release(0) => self.slot(route.slot) == set.target(),
            Kind::Cname => true,
            _ => {
                let leads = |ip: &IpAddr| route.endpoints.iter().any(|at| at.ip() == *ip);
                !addresses.is_empty() && addresses.iter().all(leads)
            }
        })?;
        Some(route.release)
    }
}
