//! An Application Load Balancer of AWS's as a pointer: a listener's default action, or a rule, that
//! forwards to two target groups, one for each slot.
//!
//! A switch registers a release's targets in the slot that is free, or that of the older standby, waits
//! until the load balancer itself finds them healthy, and shifts the weights in one request. The other
//! group stays in the rule at weight 0 with its targets: it is checked for its health, and going back
//! is the same request.
//!
//! A preview is shown by rules of flipside's own before the service's, which lead those who ask for it
//! to the candidate's group.
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
use crate::core::names::{Fence, Generation, Millis, Release, ServiceName, Slot};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, FOREIGN, Guard, Mark, Route, Routing};
use action::Does;
use api::{Api, Health};
use aws_sdk_elasticloadbalancingv2::types::Action;
use judged::judge;
use notes::{Held, Hung, Notes, SLOTS, Target};
use rules::Words;
use table::{GROUPS, Stood, There};

mod action;
mod api;
mod judged;
mod moving;
mod notes;
mod previewing;
mod rules;
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
    /// The conditions of the rules that show a preview, by the record.
    shown: Vec<Words>,
    /// Whether something was begun that has not come true.
    is_begun: bool,
}

impl Alb {
    /// A pointer that has not been asked anything yet.
    ///
    /// # Errors
    /// Where the URL, the ARN or the endpoint is none.
    pub fn new(service: ServiceName, plan: AlbPlan) -> Result<Self, PointerError> {
        let aws = Aws::new(plan.aws.clone(), None)?;
        Self::by(service, plan, aws)
    }

    /// One that asks this AWS, whatever the plan says of it.
    ///
    /// # Errors
    /// Where the URL or the ARN is none.
    pub fn by(service: ServiceName, plan: AlbPlan, aws: Aws) -> Result<Self, PointerError> {
        Ok(Self {
            outside: Outside::new(&plan.url, plan.hosts.first().map(String::as_str))?,
            api: Api::new(service, &plan, aws, name(&plan))?,
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

    async fn there(&self, notes: Option<&Notes>) -> Result<(Vec<Action>, There), PointerError> {
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
        let rules = self.rules(notes).await?;
        Ok((
            actions,
            There {
                does,
                groups,
                health,
                rules,
            },
        ))
    }

    async fn look(&self) -> Result<Seen, PointerError> {
        let notes = self.api.notes().await?;
        let (actions, there) = self.there(notes.as_ref()).await?;
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
                shown: Vec::new(),
                is_begun: false,
            });
        };
        let judged = judge(&there, known);
        Ok(Seen {
            actions,
            there,
            notes,
            routing: judged.routing,
            hung: judged.hung,
            shown: judged.shown,
            is_begun: judged.is_begun,
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
            preview: self.plan.preview.is_possible(),
            drains: true,
            lingers: false,
            cached: false,
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
        self.api.fits().await?;
        self.has_room(&self.look().await?.there)
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.api.fits().await?;
        let Seen { actions, there, .. } = self.look().await?;
        self.has_room(&there)?;
        match self.plan.preview.is_possible() {
            true => self
                .asks(&actions, &there, there.group(Slot::Blue))
                .map(drop),
            false => Ok(()),
        }
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
        if does.as_ref() != Some(&seen.there.does) || !self.is_ours(&step).await? {
            return Err(self.moved().await);
        }
        let hung = async {
            // Who asks for the preview meets what serves, before anything becomes of the candidate.
            self.hide(&seen.there.rules.ours).await?;
            self.hang(&seen, &step).await
        };
        if let Err(error) = hung.await {
            return Err(self.given_up(&seen, &step, error).await);
        }
        if !self.is_ours(&step).await? {
            return Err(self.moved().await);
        }
        let shifted = async {
            self.show(&step).await?;
            self.shift(&seen, &step).await
        };
        if let Err(error) = shifted.await {
            return Err(self.given_up(&seen, &step, error).await);
        }
        if !self.is_ours(&step).await? {
            return Err(self.too_late(&step).await);
        }
        self.vacate(&seen, &step).await?;
        let mut hung = step.hung;
        if let Some((slot, held)) = step.back {
            self.api.hang(slot, &held.targets).await?;
            hung.hang(slot, Some(held));
        }
        let done = Notes {
            record: Record::of(&step.desired),
            hung,
            next: None,
            pushed: step.pushed,
            shown: step.meant.shall.clone(),
            shall: Vec::new(),
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
        let headers = match way {
            Way::Service => Vec::new(),
            Way::Preview if self.plan.preview.is_possible() => self.plan.preview.headers(),
            Way::Preview => return Err(PointerError::no_preview(&self.describe())),
        };
        let before = self.look().await?.routing;
        let asked = self.outside.text(path, &headers).await;
        let (status, _) = asked.map_err(|why| PointerError::OutOfReach {
            pointer: self.describe(),
            why,
        })?;
        let after = self.look().await?.routing;
        let only = |routing: &Option<Routing>| {
            let routing = routing.as_ref()?;
            if let (Way::Preview, Some(shown)) = (way, routing.preview) {
                return Some(shown);
            }
            let mut serving = routing.routes.iter().filter(|route| route.weight > 0);
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
        let host = self.plan.hosts.first().map(String::as_str);
        self.plan.preview.command(&self.plan.url, host)
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(PointerError::no_marks(&self.describe()))
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        match releases.is_empty() {
            true => Ok(()),
            false => self.take_back(fence, releases).await,
        }
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let seen = self.look().await?;
        let Some(notes) = &seen.notes else {
            // What stands there is not flipside's.
            return Ok(());
        };
        self.hide(&seen.there.rules.ours).await?;
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
            let begun = notes.next.as_ref().filter(|_| seen.is_begun);
            let mut held = [Some(&seen.hung), begun].into_iter().flatten();
            let is_ours = |held: &Held| held.release != FOREIGN;
            if held.any(|hung| hung.on(slot).is_some_and(is_ours)) {
                self.api.hang(slot, &[]).await?;
            }
        }
        self.api.forget().await
    }
}
