//! A pointer that reaches environments by their slots: what a record in DNS can name.
//!
//! Each slot has an address of its own, the same for every release; there the proxy on the engine
//! forwards to the environment that is attached. So a move has two halves. First what is to serve is
//! attached to a slot that nobody is sent to, which moves no traffic; then the pointer itself is
//! given that slot's address. What is read of either is put together again: a route of this pointer
//! has the containers' own addresses, like that of any other, where its slot forwards to them, and
//! the slot's address where it does not.
//!
//! Of two writers each first raises the fence at the forwarder, so a late one attaches nothing to a
//! slot that has come to serve meanwhile. The guard of the move is that of the pointer itself.
//!
//! A standby whose slot another release has taken is given one again by the move that goes back to
//! it: that is one more write of the forwarder's table, and nothing of it is slow.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::record::{self, Due};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::names::{Fence, Generation, Millis, Release, Slot};
use crate::core::plan::Slots;
use crate::core::progress::Sink;
use crate::core::routing::{Capabilities, Drained, FOREIGN, Mark, Route, Routing};

/// A pointer whose routes lead to the addresses of slots, and what forwards from there.
pub struct Slotted {
    pointer: Arc<dyn Pointer>,
    forwarder: Arc<dyn Pointer>,
    slots: Slots,
}

/// Both halves of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Halves {
    /// What hangs on the slots.
    attached: Vec<Route>,
    /// What the pointer says: each release's slot, and its address in place of the containers'.
    said: Vec<Route>,
}

impl Slotted {
    /// `pointer`, which is given addresses of `slots`; `forwarder` keeps for each slot a route with
    /// the environment that is attached there.
    #[must_use]
    pub fn new(pointer: Arc<dyn Pointer>, forwarder: Arc<dyn Pointer>, slots: Slots) -> Self {
        Self {
            pointer,
            forwarder,
            slots,
        }
    }

    async fn both(&self) -> Result<(Option<Routing>, Option<Routing>), PointerError> {
        tokio::try_join!(self.pointer.read(), self.forwarder.read())
    }

    /// The slot whose address a route names.
    fn slot_of(&self, route: &Route) -> Option<Slot> {
        match route.endpoints.as_slice() {
            [only] => self.slots.at(*only),
            _ => None,
        }
    }

    /// What the pointer says, with what its slots forward to.
    fn through(&self, said: Routing, forwarder: Option<&Routing>) -> Routing {
        let attached = |slot: Slot, release: Release| {
            let route = forwarder?.route(release)?;
            (route.slot == slot).then(|| route.endpoints.clone())
        };
        let routes = said.routes.iter().map(|route| {
            let named = self.slot_of(route);
            let endpoints = named.and_then(|slot| attached(slot, route.release));
            Route {
                slot: named.unwrap_or(route.slot),
                endpoints: endpoints.unwrap_or_else(|| route.endpoints.clone()),
                ..route.clone()
            }
        });
        Routing {
            routes: routes.collect(),
            ..said
        }
    }

    /// As what is refused is shown: as it is read.
    fn shown(&self, error: PointerError, forwarder: Option<&Routing>) -> PointerError {
        match error {
            PointerError::Refused { why, found } => PointerError::Refused {
                why,
                found: found.map(|found| Box::new(self.through(*found, forwarder))),
            },
            other => other,
        }
    }

    /// The same, by what hangs on the slots now.
    async fn told<T>(&self, told: Result<T, PointerError>) -> Result<T, PointerError> {
        match told {
            Err(refused @ PointerError::Refused { .. }) => {
                let now = self.forwarder.read().await?;
                Err(self.shown(refused, now.as_ref()))
            }
            other => other,
        }
    }

    /// What has to be attached and said for `desired`. A release keeps the slot that it hangs on; one
    /// that hangs on none gets its own, or the other where somebody is sent to that.
    fn halves(
        &self,
        desired: &Routing,
        said: Option<&Routing>,
        forwarder: Option<&Routing>,
    ) -> Result<Halves, PointerError> {
        let said = said.map_or(&[][..], |said| &said.routes);
        let attached = forwarder.map_or(&[][..], |forwarder| &forwarder.routes);
        let mut held: BTreeMap<Slot, Release> = BTreeMap::new();
        for route in said.iter().filter(|route| route.weight > 0) {
            held.extend(self.slot_of(route).map(|slot| (slot, route.release)));
        }
        let mut halves = Halves {
            attached: attached.to_vec(),
            said: Vec::new(),
        };
        let mut given: Vec<Slot> = Vec::new();
        for route in &desired.routes {
            let release = route.release;
            if release == FOREIGN {
                halves.said.push(route.clone());
                continue;
            }
            let hangs = attached.iter().find(|there| there.release == release);
            let wishes = hangs.map(|there| there.slot).into_iter();
            let wishes = wishes.chain([route.slot, route.slot.other()]);
            let is_free = |slot: &Slot| {
                !given.contains(slot) && held.get(slot).is_none_or(|holder| *holder == release)
            };
            let slot = { wishes }
                .find(is_free)
                .ok_or_else(|| self.taken(release))?;
            given.push(slot);
            halves
                .attached
                .retain(|there| there.slot != slot && there.release != release);
            halves.attached.push(Route {
                slot,
                weight: 100,
                ..route.clone()
            });
            halves.said.push(Route {
                slot,
                endpoints: vec![self.slots.of(slot)],
                ..route.clone()
            });
        }
        halves.attached.sort_by_key(|route| route.slot);
        Ok(halves)
    }

    fn taken(&self, release: Release) -> PointerError {
        PointerError::Failed {
            what: format!(
                "release {release} can hang on neither slot: {} sends users to both",
                self.pointer.describe()
            ),
            hint: Some("let it send all users to one release first".into()),
        }
    }

    /// Makes the forwarder say what hangs where, under the fence of `by`.
    async fn attach(
        &self,
        found: Option<&Routing>,
        attached: Vec<Route>,
        by: &Routing,
    ) -> Result<(), PointerError> {
        let desired = Routing {
            routes: attached,
            marks: BTreeMap::new(),
            deadline: None,
            preview: None,
            foreign: None,
            ..by.clone()
        };
        let generation = found.map(|found| found.generation);
        match self.forwarder.write(generation, &desired).await {
            Ok(_) => Ok(()),
            Err(PointerError::Refused { why, .. }) => Err(PointerError::Refused {
                why,
                found: self.read().await?.map(Box::new),
            }),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Pointer for Slotted {
    fn describe(&self) -> String {
        self.pointer.describe()
    }

    fn capabilities(&self) -> Capabilities {
        // What is attached is written before the move: a mark in the same write would say that a
        // release has served which may never do so.
        Capabilities {
            marks: false,
            ..self.pointer.capabilities()
        }
    }

    async fn ready(&self, sink: &dyn Sink) -> Result<(), PointerError> {
        self.forwarder.ready(sink).await?;
        self.pointer.ready(sink).await
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        tokio::try_join!(self.forwarder.foresee(), self.pointer.foresee()).map(drop)
    }

    async fn foresee_preview(&self) -> Result<(), PointerError> {
        self.pointer.foresee_preview().await
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        let (said, forwarder) = self.both().await?;
        Ok(said.map(|said| self.through(said, forwarder.as_ref())))
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let (said, forwarder) = self.both().await?;
        let forwarder = forwarder.as_ref();
        let halves = self.halves(desired, said.as_ref(), forwarder)?;
        let desired = Routing {
            routes: halves.said,
            ..desired.clone()
        };
        let due = record::due(said.as_ref(), expected, &desired);
        if let Due::Nothing(generation) = due.map_err(|error| self.shown(error, forwarder))? {
            return Ok(generation);
        }
        let before = forwarder.map_or_else(Vec::new, |forwarder| forwarder.routes.clone());
        self.attach(forwarder, halves.attached.clone(), &desired)
            .await?;
        let moved = self.pointer.write(expected, &desired).await;
        if let Err(PointerError::Refused { .. } | PointerError::Failed { .. }) = moved
            && before != halves.attached
        {
            // Nothing was moved: what hung there before may still have users who come late. If this
            // does not succeed, or is never come to, the next move attaches what it needs.
            let now = self.forwarder.read().await.ok().flatten();
            let back = self.attach(now.as_ref(), before, &desired).await;
            if let Err(error) = back {
                tracing::debug!(%error, "what hung on the slots before was not attached again");
            }
        }
        self.told(moved).await
    }

    fn patience_ms(&self) -> Millis {
        self.pointer.patience_ms()
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        self.pointer.settled(generation, limit_ms, sink).await
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        let answer = self.pointer.ask(way, path).await?;
        let Some(release) = answer.release.filter(|release| *release != FOREIGN) else {
            return Ok(answer);
        };
        // The pointer tells by the slot, and what hangs there answers.
        let (said, forwarder) = self.both().await?;
        let route = said.as_ref().and_then(|said| said.route(release));
        let slot = route.and_then(|route| self.slot_of(route));
        let attached = forwarder.iter().flat_map(|forwarder| &forwarder.routes);
        let there = { attached }.find(|attached| Some(attached.slot) == slot);
        Ok(Answer {
            release: there.map(|attached| attached.release),
            ..answer
        })
    }

    fn preview(&self) -> Option<String> {
        self.pointer.preview()
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(PointerError::no_marks(&self.describe()))
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        self.told(self.pointer.forget(fence, releases).await)
            .await?;
        let Some(found) = self.forwarder.read().await? else {
            return Ok(());
        };
        let is_gone = |route: &Route| releases.contains(&route.release);
        if found.routes.iter().any(is_gone) {
            let mut left = found.routes.clone();
            left.retain(|route| !is_gone(route));
            let by = Routing {
                fence,
                ..found.clone()
            };
            self.attach(Some(&found), left, &by).await?;
        }
        Ok(())
    }

    async fn remove(&self, fence: Fence) -> Result<(), PointerError> {
        self.told(self.pointer.remove(fence).await).await?;
        self.forwarder.remove(fence).await
    }
}
