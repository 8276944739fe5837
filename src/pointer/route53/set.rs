//! One record set of Route 53, whole: what is read is what is deleted, remembered and put back.

use std::collections::BTreeSet;

use aws_sdk_route53::error::BuildError;
use aws_sdk_route53::types::{
    AliasTarget, GeoLocation, ResourceRecord, ResourceRecordSet, ResourceRecordSetFailover,
    ResourceRecordSetRegion, RrType,
};
use hickory_proto::rr::{Name, RData};
use serde::{Deserialize, Serialize};

use super::super::authority::servers::plain;
use super::super::authority::sets::name;

/// For how many seconds the answer of an alias is remembered, which has the TTL of what it names:
/// that of a load balancer.
const ALIAS: u32 = 60;

/// One record set, but for its name and type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Set {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) records: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alias: Option<Alias>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_check: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failover: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) multi_value: Option<bool>,
    /// Continent, country and subdivision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) geo: Option<[Option<String>; 3]>,
}

/// What an alias is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) zone: String,
    pub(super) name: String,
    pub(super) evaluate: bool,
}

impl Set {
    /// As it was read; none where it has something that could not be put back.
    pub(super) fn read(set: &ResourceRecordSet) -> Option<Self> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let read = Self {
            id: text(set.set_identifier()),
            weight: set.weight(),
            ttl: set.ttl(),
            records: set
                .resource_records()
                .iter()
                .map(|record| record.value().to_owned())
                .collect(),
            alias: set.alias_target().map(|alias| Alias {
                zone: alias.hosted_zone_id().to_owned(),
                name: alias.dns_name().to_owned(),
                evaluate: alias.evaluate_target_health(),
            }),
            health_check: text(set.health_check_id()),
            region: text(set.region().map(ResourceRecordSetRegion::as_str)),
            failover: text(set.failover().map(ResourceRecordSetFailover::as_str)),
            multi_value: set.multi_value_answer(),
            geo: set.geo_location().map(|geo| {
                [
                    text(geo.continent_code()),
                    text(geo.country_code()),
                    text(geo.subdivision_code()),
                ]
            }),
        };
        let back = read.write(set.name(), set.r#type()).ok()?;
        let same = ResourceRecordSet::clone(set);
        // A list that is empty and one that is not there are the same to AWS.
        (back == same || same.resource_records.as_ref().is_some_and(Vec::is_empty)).then_some(read)
    }

    /// As AWS is told.
    pub(super) fn write(&self, name: &str, kind: &RrType) -> Result<ResourceRecordSet, BuildError> {
        let records = self.records.iter();
        let records = records.map(|value| ResourceRecord::builder().value(value).build());
        let records: Vec<ResourceRecord> = records.collect::<Result<_, _>>()?;
        let alias = self.alias.as_ref().map(|alias| {
            AliasTarget::builder()
                .hosted_zone_id(&alias.zone)
                .dns_name(&alias.name)
                .evaluate_target_health(alias.evaluate)
                .build()
        });
        let geo = self.geo.as_ref().map(|[continent, country, subdivision]| {
            GeoLocation::builder()
                .set_continent_code(continent.clone())
                .set_country_code(country.clone())
                .set_subdivision_code(subdivision.clone())
                .build()
        });
        ResourceRecordSet::builder()
            .name(name)
            .r#type(kind.clone())
            .set_set_identifier(self.id.clone())
            .set_weight(self.weight)
            .set_ttl(self.ttl)
            .set_resource_records((!records.is_empty()).then_some(records))
            .set_alias_target(alias.transpose()?)
            .set_health_check_id(self.health_check.clone())
            .set_region(self.region.as_deref().map(Into::into))
            .set_failover(self.failover.as_deref().map(Into::into))
            .set_multi_value_answer(self.multi_value)
            .set_geo_location(geo)
            .build()
    }

    /// A TXT record.
    pub(super) fn of_text(value: String, ttl: u32) -> Self {
        Self {
            ttl: Some(ttl.into()),
            records: vec![value],
            ..Self::default()
        }
    }

    /// Whether both send the same share of users to the same place.
    pub(super) fn sends_as(&self, other: &Self) -> bool {
        let bare = |set: &Self| Self {
            ttl: None,
            health_check: None,
            ..set.clone()
        };
        bare(self) == bare(other)
    }

    /// What it gives everybody who asks, and nothing else: its records, or what it is an alias of; none
    /// where it has a share or a condition.
    pub(super) fn plain(&self) -> Option<BTreeSet<String>> {
        let bare = Self {
            ttl: self.ttl,
            records: self.records.clone(),
            alias: self.alias.clone(),
            ..Self::default()
        };
        let records = self.records.iter().cloned();
        let alias = self.alias.iter().map(|alias| alias.name.clone());
        (bare == *self).then(|| records.chain(alias).collect())
    }

    /// It without these of its records; none where nothing is left.
    pub(super) fn without(&self, records: &BTreeSet<String>) -> Option<Self> {
        let Some(mine) = self.plain().filter(|mine| !mine.is_disjoint(records)) else {
            return Some(self.clone());
        };
        let mut rest = self.clone();
        rest.records.retain(|record| !records.contains(record));
        (!mine.is_subset(records)).then_some(rest)
    }

    /// Whether anybody is sent there.
    pub(super) fn is_used(&self) -> bool {
        self.weight != Some(0)
    }

    /// For how many seconds it may be remembered.
    pub(super) fn remembered(&self) -> u32 {
        let ttl = self.ttl.and_then(|ttl| u32::try_from(ttl).ok());
        ttl.unwrap_or(ALIAS)
    }

    /// Its values, as the servers of the zone give them; none of an alias.
    pub(super) fn values(&self, read: impl Fn(&str) -> Option<RData>) -> Vec<RData> {
        self.records.iter().filter_map(|text| read(text)).collect()
    }

    /// The name that it leads to.
    pub(super) fn target(&self, is_cname: bool) -> Option<Name> {
        match &self.alias {
            Some(alias) => name(&alias.name),
            None if is_cname => name(self.records.first()?),
            None => None,
        }
    }

    /// For a person: `192.0.2.1 (weight 9)`.
    pub(super) fn words(&self) -> String {
        let what = match &self.alias {
            Some(alias) => format!("alias {}", alias.name.trim_end_matches('.')),
            None => self.records.join(", "),
        };
        match self.weight {
            Some(weight) => format!("{what} (weight {weight})"),
            None => what,
        }
    }
}

/// The name of an alias as Route 53 gives it back.
pub(super) fn absolute(name: &Name) -> String {
    format!("{}.", plain(name))
}
