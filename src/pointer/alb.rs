//! An Application Load Balancer of AWS's as a pointer: a listener's default action, or a rule, that
//! forwards to two target groups, one for each slot.
//!
//! A switch registers a release's targets in the slot that is free, or that of the older standby, waits
//! until the load balancer itself finds them healthy, and shifts the weights in one request. The other
//! group stays in the rule at weight 0 with its targets: it is checked for its health, and going back
//! is the same request.
//!
//! Who moved it, when and why, and what hangs on each group, stands in the tags of the listener or
//! rule.
//!
//! Guard: `checked`. Between the last look at the tags and the request somebody else may write.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::aws::Aws;
use super::outside::Outside;
use super::record::{self, Due, Record};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::names::{Fence, Generation, Millis, Release, Slot};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, FOREIGN, Guard, Mark, Route, Routing};
use action::Does;
use api::{Api, Health};
use aws_sdk_elasticloadbalancingv2::types::Action;
use notes::{Hung, Notes, SLOTS, Target};
use table::{GROUPS, Stood, There};

mod action;
mod api;
mod moving;
mod notes;
mod said;
mod table;

pub use said::{AlbPlan, SECTION};

/// How often targets are asked for, while they are waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Within which the load balancer's nodes take a move: AWS names no bound, and it is seconds.
const NODES: Millis = 10_000;

/// An Application Load Balancer as the pointer of one service.
#[derive(Debug)]
pub struct Alb {
    plan: AlbPlan,
    api: Api,
    outside: Outside,
}

/// What is there, with what is on record of it.
struct Seen {
    actions: Vec<Action>,
    there: There,
    notes: Option<Notes>,
    routing: Option<Routing>,
    hung: Hung,
}

impl Alb {
    /// A pointer that has not been asked anything yet.
    ///
    /// # Errors
    /// Where the URL, the ARN or the endpoint is none.
    pub fn new(plan: AlbPlan) -> Result<Self, PointerError> {
        let aws = Aws::new(plan.aws.clone(), None)?;
        Self::by(plan, aws)
    }

    /// One that asks this AWS, whatever the plan says of it.
    ///
    /// # Errors
    /// Where the URL or the ARN is none.
    pub fn by(plan: AlbPlan, aws: Aws) -> Result<Self, PointerError> {
        Ok(Self {
            outside: Outside::new(&plan.url, plan.hosts.first().map(String::as_str))?,
            api: Api::new(&plan, aws, name(&plan))?,
            plan,
        })
    }

    fn lost(&self, why: impl Into<String>) -> PointerError {
        PointerError::Lost {
            pointer: self.describe(),
            why: why.into(),
        }
    }

    fn failed(&self, what: &str, hint: &str) -> PointerError {
        PointerError::Failed {
            what: format!("{}: {what}", self.describe()),
            hint: Some(hint.to_owned()),
        }
    }

    /// How a release's endpoints are called as targets.
    fn targets(&self, route: &Route) -> Vec<Target> {
        let of = |at: &std::net::SocketAddr| {
            let host = self.plan.target.clone();
            Target(host.unwrap_or_else(|| at.ip().to_string()), at.port())
        };
        route.endpoints.iter().map(of).collect()
    }

    async fn there(&self) -> Result<(Vec<Action>, There), PointerError> {
        let [blue, green] = SLOTS;
        let actions = self.api.actions().await?;
        let does = Does::of(&actions).ok_or_else(|| {
            self.failed(
                "what its rule does is not known here",
                "use a newer flipside, or another rule",
            )
        })?;
        let groups = [
            self.api.group(blue).await?.to_owned(),
            self.api.group(green).await?.to_owned(),
        ];
        let health = self.api.health().await?;
        Ok((
            actions,
            There {
                does,
                groups,
                health,
            },
        ))
    }

    async fn look(&self) -> Result<Seen, PointerError> {
        let notes = self.api.notes().await?;
        let (actions, there) = self.there().await?;
        let Some(known) = &notes else {
            let mut others = Vec::new();
            for share in there.does.shares() {
                if share.weight > 0 && !there.groups.contains(&share.group) {
                    let health = self.api.health_in(&share.group).await?.into_iter();
                    others.extend(health.filter(Health::is_there).map(|it| it.target));
                }
            }
            let routing = there.foreign(&others);
            let mut hung = Hung::default();
            if let Some(stood) = routing.as_ref().and_then(Stood::of) {
                stood.hang(&mut hung, &there.groups);
            }
            return Ok(Seen {
                actions,
                there,
                notes,
                routing,
                hung,
            });
        };
        let next = known.next.clone().unwrap_or_default();
        let is_so =
            |routing: &Routing| there.is_so(routing, &known.hung) || there.is_so(routing, &next);
        let routing = known.record.clone().judge(is_so, there.routes());
        let is_next = known.record.clone().into_routing() != routing
            && routing
                .as_ref()
                .is_some_and(|routing| there.is_so(routing, &next));
        let hung = if is_next { next } else { known.hung.clone() };
        Ok(Seen {
            actions,
            there,
            notes,
            routing,
            hung,
        })
    }

    /// Refuses a rule that cannot take both groups.
    fn has_room(&self, there: &There) -> Result<(), PointerError> {
        let others = there.does.shares().iter();
        let others = others.filter(|share| !there.groups.contains(&share.group));
        match others.count() + SLOTS.len() > GROUPS {
            false => Ok(()),
            true => Err(self.failed(
                "its rule has no room for two more target groups",
                "an action has 5 at most: take some out, or use another rule",
            )),
        }
    }
}

/// What it is called: by the load balancer's own name.
fn name(plan: &AlbPlan) -> String {
    let balancer = said::balancer(&plan.rule).unwrap_or_default();
    let name = balancer.rsplit('/').nth(1).unwrap_or_default();
    format!("alb {name}")
}

#[async_trait]
impl Pointer for Alb {
    fn describe(&self) -> String {
        name(&self.plan)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            weighted: true,
            sticky: false,
            preview: false,
            drains: true,
            lingers: false,
            counts: false,
            atomic: false,
            marks: false,
            settle_ms: NODES,
            guard: Guard::Checked,
        }
    }

    fn patience_ms(&self) -> Millis {
        // For a release's targets, and once more for those that come back where these fail.
        2 * self.plan.healthy + NODES
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.foresee().await
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.api.fits().await?;
        let seen = self.look().await?;
        self.has_room(&seen.there)
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        Ok(self.look().await?.routing)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let seen = self.look().await?;
        let generation = match record::due(seen.routing.as_ref(), expected, desired)? {
            Due::Nothing(generation) => return Ok(generation),
            Due::Write(generation) => generation,
        };
        self.api.fits().await?;
        self.has_room(&seen.there)?;
        let desired = Routing {
            generation,
            ..desired.clone()
        };
        let step = self.step(&seen, desired)?;
        self.api.note(&step.meant).await?;
        let does = Does::of(&self.api.actions().await?);
        if does.as_ref() != Some(&seen.there.does) {
            return Err(self.moved().await);
        }
        if let Err(error) = self.hang(&seen, &step).await {
            return Err(self.given_up(&seen, &step, error).await);
        }
        if !self.is_ours(&step).await? {
            return Err(self.moved().await);
        }
        if let Err(error) = self.shift(&seen, &step).await {
            return Err(self.given_up(&seen, &step, error).await);
        }
        if !self.is_ours(&step).await? {
            return Err(self.too_late().await);
        }
        let mut hung = step.hung;
        if let Some((slot, held)) = step.back {
            self.api.hang(slot, &held.targets).await?;
            hung.hang(slot, Some(held));
        }
        let done = Notes {
            record: Record::of(&step.desired),
            hung,
            next: None,
            ..step.meant
        };
        let noted = self.api.note(&done).await;
        noted.map_err(|error| self.lost(error.to_string()))?;
        Ok(generation)
    }

    /// What is in flight to the group that the move left is known to nobody but the load balancer, so
    /// the whole of `limit_ms` passes. What has come back to its slot by this move is waited for.
    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let seen = self.look().await?;
        let is_at = |routing: &Routing| routing.generation == generation;
        if !seen.routing.as_ref().is_some_and(is_at) {
            return Ok(Drained::default());
        }
        let serving = seen.there.serving();
        let left = SLOTS.into_iter().find(|slot| !serving.contains(slot));
        let is_empty = |slot: Slot| seen.there.targets(slot).is_empty();
        let Some(left) = left.filter(|slot| !is_empty(*slot)) else {
            return Ok(Drained::default());
        };
        sink.progress(Progress::Wait {
            what: "requests in flight to end: the load balancer does not say how many there are"
                .into(),
        });
        let end = Instant::now() + Duration::from_millis(limit_ms);
        tokio::time::sleep_until(end).await;
        let late = end + Duration::from_millis(NODES);
        while limit_ms > 0 && Instant::now() < late {
            let health = self.api.health_of(left).await?;
            if health.iter().all(|health| health.state != "initial") {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Drained::default())
    }

    /// Who answered is known where the rule leads to one release alone, before and after.
    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        if way == Way::Preview {
            return Err(PointerError::no_preview(&self.describe()));
        }
        let before = self.look().await?.routing;
        let status = self.outside.get(path).await;
        let status = status.map_err(|why| PointerError::OutOfReach {
            pointer: self.describe(),
            why,
        })?;
        let after = self.look().await?.routing;
        let only = |routing: &Option<Routing>| {
            let routes = &routing.as_ref()?.routes;
            let mut serving = routes.iter().filter(|route| route.weight > 0);
            let first = serving.next()?.release;
            serving.next().is_none().then_some(first)
        };
        // With these it answers by itself.
        let is_its_own = [502, 503, 504].contains(&status);
        let release = only(&before).filter(|_| !is_its_own && only(&before) == only(&after));
        Ok(Answer {
            release,
            status: Some(status),
        })
    }

    fn preview(&self) -> Option<String> {
        None
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(PointerError::no_marks(&self.describe()))
    }

    async fn forget(&self, _: Fence, _: &[Release]) -> Result<(), PointerError> {
        Ok(())
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let seen = self.look().await?;
        let Some(notes) = &seen.notes else {
            // What stands there is not flipside's.
            return Ok(());
        };
        let is_foreign = |routing: &Routing| routing.live() == Some(FOREIGN);
        if !seen.routing.as_ref().is_some_and(is_foreign) {
            let is_served = |routing: &Routing| routing.foreign.is_some();
            let stood = match seen.routing.as_ref().is_some_and(is_served) {
                true => Does::nothing(),
                false => notes.stood.clone(),
            };
            self.api.modify(&stood.put(&seen.actions)).await?;
        }
        for slot in SLOTS {
            let held = seen.hung.on(slot);
            if held.is_some_and(|held| held.release != FOREIGN) {
                self.api.hang(slot, &[]).await?;
            }
        }
        self.api.forget().await
    }
}
