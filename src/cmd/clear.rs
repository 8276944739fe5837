//! What `prune`, `down` and a hand-over of workers share: runs that have no plan of their own.

use crate::core::event::Verb;
use crate::core::plan::Policy;
use crate::core::survey::{View, survey};
use crate::core::world::World;
use crate::error::Error;

use super::operator::{Held, Operator, Runs, highest};
use super::run::{Ended, Opening};

/// Begins a run that goes by what the live release's plan says, and drives it to its end.
pub(super) async fn by_live_plan(
    operator: &Operator,
    verb: Verb,
    runs: &Runs,
    world: &World,
    held: &mut Held,
) -> Result<Ended, Error> {
    let (_, newest) = highest(runs, world, &survey(world));
    let policy = live_policy(world);
    let opened = operator.opening(verb, policy, world, held.lease.fence(), newest);
    let run = runs.next;
    let opening = Opening {
        run,
        opened,
        spec: None,
        seen: Vec::new(),
        unread: None,
    };
    operator.begin(opening, world, held).await
}

/// What the live release's plan says of retention.
pub(super) fn live_policy(world: &World) -> Policy {
    let live = survey(world).live;
    let mut all = world.environments.iter();
    let live = all.find(|environment| Some(environment.release) == live);
    live.map_or_else(Policy::default, |live| live.labels.policy.clone())
}

/// Takes the lease, whether or not the pointer can be asked.
pub(super) async fn hold(operator: &Operator) -> Result<Held, Error> {
    operator.journal()?;
    let floor = async || {
        let runs = operator.need_runs().await?;
        let routing = operator.pointer.read().await.unwrap_or_default();
        let world = World {
            routing,
            ..World::default()
        };
        Ok(highest(&runs, &world, &View::default()).0)
    };
    operator.acquire(floor).await
}
