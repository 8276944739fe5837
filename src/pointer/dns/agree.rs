//! Whether all servers of a zone say what its primary says, which alone takes updates.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::rr::{Name, RData, RecordType};

use super::super::PointerError;
use super::super::authority::question::serial;
use super::super::authority::servers::{self, Place, Server};
use super::super::authority::{self, Asked};
use super::zone::Seen;
use super::{Dns, Looked};
use crate::core::progress::Sink;

impl Dns {
    /// The addresses of a name: by the primary where that knows the zone, else by the machine's resolver.
    pub(super) async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, PointerError> {
        if !self.names.zone.zone_of(name) {
            let found = servers::of_the_world(name).await;
            return found.map_err(|why| self.away(why));
        }
        let (four, six) = tokio::try_join!(
            self.asked(name, RecordType::A),
            self.asked(name, RecordType::AAAA)
        )?;
        let lines = four.answers.iter().chain(&six.answers);
        Ok(lines.filter_map(|line| line.data.ip_addr()).collect())
    }

    /// Who answers users.
    async fn authoritative(&self) -> Result<Vec<Server>, PointerError> {
        let places = match self.servers.is_empty() {
            false => self.servers.clone(),
            true => {
                let answer = self.asked(&self.names.zone, RecordType::NS).await?;
                let lines = answer.answers.iter();
                lines
                    .filter_map(|line| match &line.data {
                        RData::NS(name) => Some(Place::called(&name.0)),
                        _ => None,
                    })
                    .collect()
            }
        };
        let mut servers = Vec::new();
        for place in places {
            let addresses = match place.name() {
                Some(name) => self.addresses(name).await?,
                None => Vec::new(),
            };
            servers.extend(place.at(addresses));
        }
        servers.sort();
        servers.dedup();
        Ok(servers)
    }

    /// What a server tells users instead of what the primary says; none where they agree.
    async fn apart(&self, server: &Server, primary: &Seen) -> Option<String> {
        let asked = Asked {
            zone: &self.names.zone,
            name: &self.names.service,
            kind: self.names.kind(),
        };
        authority::apart(server, asked, |service| {
            let seen = Seen {
                service,
                ..Seen::default()
            };
            (!seen.sends_as(primary)).then(|| seen.words())
        })
        .await
        .map(|apart| apart.to_string())
    }

    /// Waits until every authoritative server says what the primary says: for how long what they said
    /// before may be remembered from then on.
    pub(super) async fn agree(
        &self,
        limit: Duration,
        sink: &dyn Sink,
    ) -> Result<Duration, PointerError> {
        let (looked, apart) = authority::agree(limit, sink, || self.compared()).await?;
        match apart.is_empty() {
            true => Ok(looked.late),
            false => Err(self.stuck(&looked.seen, &apart).await),
        }
    }

    /// What the primary says, and which servers say something else.
    async fn compared(&self) -> Result<(Looked, Vec<String>), PointerError> {
        let looked = self.look().await?;
        let servers = self.authoritative().await?;
        let asked = servers.iter();
        let asked = asked.map(|server| self.apart(server, &looked.seen));
        let apart = join_all(asked).await.into_iter().flatten().collect();
        Ok((looked, apart))
    }

    async fn stuck(&self, primary: &Seen, apart: &[String]) -> PointerError {
        let zone = &self.plan.zone;
        let serial = match self.primary().await {
            Ok((at, _)) => serial(at, &self.names.zone).await,
            Err(_) => None,
        };
        let serial = serial.map_or_else(String::new, |serial| format!(" (serial {serial})"));
        self.failed(
            format!(
                "not all servers of the zone `{zone}` have heard of the move to {}{serial}: {}",
                primary.words(),
                apart.join("; ")
            ),
            format!(
                "see why it does not get the zone from the primary (in BIND `rndc retransfer {zone}` there), or take it out of the zone's NS or the plan's `servers`"
            ),
        )
    }
}
