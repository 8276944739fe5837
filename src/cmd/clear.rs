//! What `prune` and `down` share: runs that only remove.

use crate::core::event::Verb;
use crate::core::plan::Policy;
use crate::core::survey::{View, survey};
use crate::core::world::World;
use crate::error::{Error, Touched};
use crate::journal::RunLog;

use super::operator::{Held, Operator, highest, of_journal};
use super::run::{Ended, Opening};

/// Begins a run that removes what `verb` names, and drives it to its end.
pub(super) async fn clear(
    operator: &Operator,
    verb: Verb,
    runs: &[RunLog],
    world: &World,
    held: &mut Held,
) -> Result<Ended, Error> {
    let (_, newest) = highest(runs, world, &survey(world));
    let opened = operator.opening(verb, Policy::default(), world, held.lease.fence(), newest);
    let run = runs.first().map_or(1, |log| log.run + 1);
    let opening = Opening {
        run,
        opened,
        spec: None,
        seen: Vec::new(),
    };
    operator.begin(opening, world, held).await
}

/// Takes the lease, whether or not the pointer can be asked.
pub(super) async fn hold(operator: &Operator) -> Result<Held, Error> {
    operator.journal()?;
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    let routing = operator.pointer.read().await.unwrap_or_default();
    let world = World {
        routing,
        ..World::default()
    };
    operator
        .acquire(highest(&runs, &world, &View::default()).0)
        .await
}
