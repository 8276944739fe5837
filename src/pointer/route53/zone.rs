//! What stands in a hosted zone of a service: its record sets, and the record of who wrote them. Pure.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RData, RecordType};
use serde::{Deserialize, Serialize};

use super::super::authority::note::Note;
use super::super::authority::sets::{RrSet, name};
use super::super::record::Record;
use super::set::{Alias, Set, absolute};
use super::shown::Previews;
use super::weights::weights;
use super::{Kind, Route53Plan, text};
use crate::core::names::{Release, Slot};
use crate::core::routing::{FOREIGN, Route, Routing};

/// How many characters Route 53 takes in the value of a TXT record.
const LONGEST: usize = 4_000;

/// What the sets that flipside writes are called, before their slot.
const OURS: &str = "flipside-";

/// What stood there before flipside came, as it is kept in a routing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Foreign {
    #[serde(rename = "type")]
    kind: Kind,
    sets: Vec<Set>,
}

/// The names that are written, and what they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) service: Name,
    pub(super) record: Name,
    /// Where releases are shown for preview.
    pub(super) preview: Option<Name>,
    pub(super) kind: Kind,
    ttl: u32,
    /// By slot, where a name is given.
    slots: [Option<Name>; 2],
    alias_zone: Option<String>,
    /// At which port the service's users ask.
    port: u16,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// In order.
    pub(super) service: Vec<Set>,
    pub(super) record: Vec<Set>,
    /// Where releases are shown for preview, as far as that matters.
    pub(super) previews: Previews,
}

impl Seen {
    /// What it sends users to, for a person.
    pub(super) fn words(&self) -> String {
        let sets: Vec<String> = self.service.iter().map(Set::words).collect();
        match sets.is_empty() {
            true => "nothing".into(),
            false => sets.join("; "),
        }
    }

    /// Whether both are the same in all that matters to both, however the text of the record is
    /// written.
    pub(super) fn says(&self, other: &Self) -> bool {
        let mut previews = self.previews.iter();
        self.service == other.service
            && self.texts() == other.texts()
            && previews.all(|(at, sets)| {
                let other = other.previews.get(at);
                other.is_none_or(|other| in_order(sets) == in_order(other))
            })
    }

    fn texts(&self) -> Vec<Option<Vec<u8>>> {
        let values = self.record.iter().flat_map(|set| &set.records);
        values.map(|value| text::read(value)).collect()
    }

    /// The note in the TXT record; none where there is no record.
    pub(super) fn note(&self) -> Result<Option<Note>, String> {
        if self.record.is_empty() {
            return Ok(None);
        }
        let texts: Option<Vec<_>> = self.texts().into_iter().collect();
        let texts = texts.ok_or("it is no text in quotes")?;
        Note::read(texts.into_iter()).map(Some)
    }

    /// For how many seconds it may be remembered.
    fn remembered(&self) -> u32 {
        let sets = self.service.iter().map(Set::remembered);
        sets.max().unwrap_or_default()
    }
}

impl Names {
    /// By a plan; none where one of its names is none.
    pub(super) fn new(plan: &Route53Plan, port: u16) -> Option<Self> {
        let slot = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => name(text).map(Some),
        };
        let service = name(&plan.name)?;
        let record = Name::from_ascii("_flipside").ok()?;
        Some(Self {
            record: record.append_domain(&service).ok()?,
            service,
            preview: match plan.preview_hosts.as_slice() {
                [] => None,
                [only] => Some(name(only)?),
                _ => return None,
            },
            kind: plan.kind,
            ttl: u32::try_from(plan.ttl / 1000).ok()?,
            slots: [slot(&plan.blue)?, slot(&plan.green)?],
            alias_zone: plan.alias_zone.clone(),
            port,
        })
    }

    pub(super) fn kind(&self) -> RecordType {
        self.kind.record_type()
    }

    /// At which port users ask.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn slot(&self, slot: Slot) -> Option<&Name> {
        match slot {
            Slot::Blue => self.slots[0].as_ref(),
            Slot::Green => self.slots[1].as_ref(),
        }
    }

    /// What makes a routing true, with what `seen` has beside it that is kept; why it cannot be.
    pub(super) fn wanted(&self, routing: &Routing, seen: &Seen) -> Result<Vec<Set>, String> {
        let (foreign, mut ours): (Vec<&Route>, Vec<&Route>) = routing
            .routes
            .iter()
            .partition(|route| route.release == FOREIGN);
        ours.retain(|route| !self.is_only_shown(route, routing));
        let is_used = |route: &&&Route| route.weight > 0;
        let used = ours.iter().filter(is_used).count();
        match (foreign.iter().filter(is_used).count(), used) {
            (0, 0) if routing.preview.is_some() => {}
            (0, 0) => return Err("no release would get anything".into()),
            (0, _) => {}
            (_, 0) => return self.foreign(routing),
            _ => {
                return Err(
                    "what stood there before flipside came is put back whole: it gets no share"
                        .into(),
                );
            }
        }
        let mut shares = Vec::new();
        for route in &ours {
            let sets = self.of_route(route)?;
            shares.push((route, sets));
        }
        for slot in [Slot::Blue, Slot::Green] {
            if ours.iter().filter(|route| route.slot == slot).count() > 1 {
                return Err(format!("two releases hang on the slot {slot}"));
            }
        }
        let parts: Vec<_> = shares
            .iter()
            .map(|(route, sets)| (route.weight, sets.len()))
            .collect();
        let mut wanted = Vec::new();
        for ((route, sets), weight) in shares.into_iter().zip(weights(&parts)) {
            for (index, set) in sets.into_iter().enumerate() {
                let id = identifier(route.slot, index);
                let kept = seen.service.iter().find(|set| set.id.as_ref() == Some(&id));
                wanted.push(Set {
                    health_check: kept.and_then(|set| set.health_check.clone()),
                    id: Some(id),
                    weight: Some(weight),
                    ..set
                });
            }
        }
        wanted.sort();
        Ok(wanted)
    }

    /// One set for each value of a route: Route 53 takes no more in a weighted one.
    pub(super) fn of_route(&self, route: &Route) -> Result<Vec<Set>, String> {
        let slot = self.slot(route.slot);
        if let (Some(zone), Some(slot)) = (&self.alias_zone, slot) {
            return Ok(vec![Set {
                alias: Some(Alias {
                    zone: zone.clone(),
                    name: absolute(slot),
                    evaluate: false,
                }),
                ..Set::default()
            }]);
        }
        let values = self.kind.values(route, self.port, slot)?;
        let set = |value: &RData| Set::of_text(value.to_string(), self.ttl);
        Ok(values.iter().map(set).collect())
    }

    fn foreign(&self, routing: &Routing) -> Result<Vec<Set>, String> {
        let foreign = routing.foreign.clone().unwrap_or_default();
        let foreign: Foreign = serde_json::from_value(foreign)
            .map_err(|error| format!("what stood there before is not known: {error}"))?;
        Ok(foreign.sets)
    }

    /// What the zone says, where that is what is on record, and for how many seconds something else
    /// may be remembered.
    pub(super) fn routing(&self, seen: &Seen) -> Result<(Option<Routing>, u32), String> {
        let ttl = seen.remembered();
        let found = (!seen.service.is_empty()).then(|| self.stranger(seen));
        let Some(note) = seen.note()? else {
            return Ok((found, ttl));
        };
        let found = found.map(|found| found.routes);
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

    /// Whether all that is seen is what is on record.
    pub(super) fn fits(&self, seen: &Seen, routing: &Routing) -> bool {
        self.is_so(seen, routing) && seen.shows_as_noted()
    }

    /// Whether users are sent where a routing wants them.
    fn is_so(&self, seen: &Seen, routing: &Routing) -> bool {
        self.wanted(routing, seen).is_ok_and(|wanted| {
            let mut pairs = wanted.iter().zip(&seen.service);
            wanted.len() == seen.service.len() && pairs.all(|(one, other)| one.sends_as(other))
        })
    }

    /// What is not on record.
    fn stranger(&self, seen: &Seen) -> Routing {
        let addresses = self.addresses(seen).into_iter();
        let route = Route {
            release: FOREIGN,
            slot: Slot::Blue,
            weight: 100,
            endpoints: addresses.map(|ip| (ip, self.port).into()).collect(),
        };
        let foreign = Foreign {
            kind: self.kind,
            sets: seen.service.clone(),
        };
        // Texts and numbers can always be written.
        let foreign = serde_json::to_value(foreign).unwrap_or_default();
        Routing::foreign(vec![route], foreign)
    }

    /// The values that users may be given; none where an alias is among them, of which only AWS knows
    /// them.
    pub(super) fn given(&self, seen: &Seen) -> Option<Vec<RData>> {
        let used = || seen.service.iter().filter(|set| set.is_used());
        if used().any(|set| set.alias.is_some()) {
            return None;
        }
        Some(used().flat_map(|set| self.values(set)).collect())
    }

    /// Whether what a server says is what it should say.
    pub(super) fn is_given(&self, given: &[RData], said: Option<&RrSet>) -> bool {
        said.is_some_and(|set| set.values.iter().all(|value| given.contains(value)))
    }

    fn values(&self, set: &Set) -> Vec<RData> {
        set.values(|text| self.kind.of_text(text))
    }

    fn addresses(&self, seen: &Seen) -> Vec<IpAddr> {
        let used = seen.service.iter().filter(|set| set.is_used());
        let values = used.flat_map(|set| self.values(set));
        values.filter_map(|value| value.ip_addr()).collect()
    }

    /// Of these the set that most users are given.
    pub(super) fn heaviest<'a>(&self, sets: &'a [Set]) -> Option<&'a Set> {
        let used = sets.iter().filter(|set| set.is_used());
        used.max_by_key(|set| set.weight)
    }

    /// Where that leads: a name, or addresses.
    pub(super) fn leads(&self, set: &Set) -> Result<Name, Vec<IpAddr>> {
        let target = set.target(self.kind == Kind::Cname);
        target.ok_or_else(|| {
            let values = self.values(set).into_iter();
            values.filter_map(|value| value.ip_addr()).collect()
        })
    }

    /// The zone once a routing has been made true.
    pub(super) fn after(&self, seen: &Seen, desired: &Routing) -> Result<Seen, String> {
        let (previews, shown) = self.previews(seen, desired)?;
        let wanted = Seen {
            service: self.wanted(desired, seen)?,
            record: Vec::new(),
            previews,
        };
        let note = Note {
            record: Record::of(desired),
            late: seen.remembered().max(wanted.remembered()),
            shown,
        };
        let value = text::written(&note.text());
        if value.len() > LONGEST {
            return Err(format!(
                "its record would have {} characters, and Route 53 takes {LONGEST}",
                value.len()
            ));
        }
        Ok(Seen {
            record: vec![Set::of_text(value, self.ttl)],
            ..wanted
        })
    }

    /// The release that a set belongs to.
    pub(super) fn release(&self, set: &Set, routing: &Routing) -> Option<Release> {
        let ours = set.id.as_deref().and_then(|id| id.strip_prefix(OURS));
        let mut used = routing.routes.iter().filter(|route| route.weight > 0);
        let route = used.find(|route| match ours {
            None => route.release == FOREIGN,
            Some(id) => {
                let slot = route.slot.to_string();
                route.release != FOREIGN && id.split('-').next() == Some(slot.as_str())
            }
        })?;
        Some(route.release)
    }
}

/// Sets, however their records are listed.
fn in_order(sets: &[Set]) -> Vec<Set> {
    let mut sets = sets.to_vec();
    sets.iter_mut().for_each(|set| set.records.sort());
    sets.sort();
    sets
}

/// What the set of a slot is called: `flipside-blue`, and for further values `flipside-blue-2`.
fn identifier(slot: Slot, index: usize) -> String {
    match index {
        0 => format!("{OURS}{slot}"),
        index => format!("{OURS}{slot}-{}", index + 1),
    }
}
