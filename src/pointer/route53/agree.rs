//! When a move has reached all of Route 53's servers.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;

use super::super::PointerError;
use super::super::authority::servers::{self, Place, Server, plain};
use super::super::authority::{self, Apart, Asked};
use super::api::Told;
use super::{Looked, PROPAGATION, Route53};
use crate::core::names::Generation;
use crate::core::progress::{Progress, Sink};
use crate::core::routing::Routing;

/// The shortest and the longest time between two questions whether a change is everywhere.
const LOOKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(4)];

/// How long the addresses of a name server may take to be found.
const FIND: Duration = Duration::from_secs(3);

impl Route53 {
    /// The addresses of a name: those that stand in the zone, where it is in it; else by the machine's
    /// resolver.
    pub(super) async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, PointerError> {
        if !self.zone().await?.name.zone_of(name) {
            let found = servers::of_the_world(name).await;
            return found.map_err(|why| self.away(why));
        }
        let (four, six) = tokio::try_join!(
            self.sets(name, RecordType::A),
            self.sets(name, RecordType::AAAA)
        )?;
        let values = four.iter().chain(&six).flat_map(|set| &set.records);
        Ok(values.filter_map(|text| text.parse().ok()).collect())
    }

    /// Waits until the move with this generation is everywhere: for how long what stood there before
    /// may be remembered from then on.
    pub(super) async fn agree(
        &self,
        generation: Generation,
        limit: Duration,
        sink: &dyn Sink,
    ) -> Result<Duration, PointerError> {
        let end = Instant::now() + limit;
        let id = match self.change_of(generation) {
            Some(id) => id,
            None => self.again(generation).await?,
        };
        self.in_sync(&id, end, sink).await?;
        let rest = end.saturating_duration_since(Instant::now());
        let (looked, apart) = authority::agree(rest, sink, || self.compared()).await?;
        if apart.is_empty() {
            return Ok(looked.late);
        }
        Err(self.failed(
            format!(
                "the change is INSYNC, and not all servers of the zone say so: {}",
                apart.join("; ")
            ),
            format!(
                "see that the registrar's name servers of `{}` are those of the hosted zone `{}`, or take what is no server of it out of `servers`",
                self.plan.name, self.plan.zone
            ),
        ))
    }

    /// Of a move whose maker is gone nobody knows by which id AWS follows it: the same is made once
    /// more, of exactly what stands there, and is everywhere no sooner than what it repeats.
    async fn again(&self, generation: Generation) -> Result<String, PointerError> {
        let looked = self.look().await?;
        let is_it = |routing: &Routing| routing.generation == generation;
        if !looked.routing.as_ref().is_some_and(is_it) {
            return Err(self.moved(looked.routing));
        }
        let seen = looked.seen.without_previews();
        match self.tell(&seen, &seen).await? {
            Told::Taken(id) => {
                self.remember(generation, &id);
                Ok(id)
            }
            Told::Unfit(_) => Err(self.moved(self.look().await?.routing)),
        }
    }

    async fn in_sync(&self, id: &str, end: Instant, sink: &dyn Sink) -> Result<(), PointerError> {
        let [mut wait, longest] = LOOKS;
        loop {
            let why = match self.is_everywhere(id).await {
                Ok(true) => return Ok(()),
                Ok(false) => "it is PENDING".to_owned(),
                // Asked for a look only: it may be back.
                Err(PointerError::OutOfReach { why, .. }) => why,
                Err(error) => return Err(error),
            };
            if Instant::now() >= end {
                return Err(self.failed(
                    format!("the change `{id}` has not reached all of Route 53's servers: {why}"),
                    format!(
                        "ask again with: aws route53 get-change --id {id}; usual is less than {} s",
                        PROPAGATION.as_secs()
                    ),
                ));
            }
            sink.progress(Progress::Wait {
                what: format!("Route 53's servers: {why}"),
            });
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Who answers users, and whether each of them must be reached.
    async fn authoritative(&self) -> Result<(Vec<Server>, bool), PointerError> {
        if !self.servers.is_empty() {
            let found = self.servers.iter().map(|place| async {
                let addresses = match place.name() {
                    Some(name) => self.addresses(name).await?,
                    None => Vec::new(),
                };
                Ok(place.at(addresses))
            });
            let found = join_all(found).await.into_iter();
            let found: Vec<_> = found.collect::<Result<_, PointerError>>()?;
            return Ok((found.concat(), true));
        }
        let named = self.zone().await?.servers.iter().map(|name| async {
            let found = tokio::time::timeout(FIND, servers::of_the_world(name)).await;
            let addresses = found.unwrap_or_else(|_| Ok(Vec::new())).unwrap_or_default();
            Place::called(name).at(addresses)
        });
        Ok((join_all(named).await.concat(), false))
    }

    /// What the zone says, and which servers say something else.
    async fn compared(&self) -> Result<(Looked, Vec<String>), PointerError> {
        let looked = self.look().await?;
        let Some(given) = self
            .names
            .given(&looked.seen)
            .filter(|given| !given.is_empty())
        else {
            return Ok((looked, Vec::new()));
        };
        let zone = &self.zone().await?.name;
        let (servers, must) = self.authoritative().await?;
        let asked = Asked {
            zone,
            name: &self.names.service,
            kind: self.names.kind(),
        };
        let names = &self.names;
        let apart = servers.iter().map(|server| {
            authority::apart(server, asked, |said| {
                let is_so = names.is_given(&given, said.as_ref());
                (!is_so).then(|| {
                    let values = said.map(|set| set.values).unwrap_or_default();
                    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                    match values.is_empty() {
                        true => format!("nothing of `{}`", plain(&names.service)),
                        false => values.join(", "),
                    }
                })
            })
        });
        let apart = join_all(apart).await.into_iter().flatten();
        let apart = apart.filter(|apart| must || matches!(apart, Apart::Says(_)));
        Ok((looked, apart.map(|apart| apart.to_string()).collect()))
    }
}
