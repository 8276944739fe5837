//! `flipside down`: take a service away, the live environment included.

use crate::cli;
use crate::core::event::Verb;
use crate::core::verdict::Outcome;
use crate::error::{Error, Exit, exit_of};

use super::clear::{by_live_plan, hold};
use super::context::{Answer, Context};
use super::operator::{Held, Operator};
use super::run::Ended;

/// Runs the verb.
///
/// # Errors
/// Where the engine cannot be asked, somebody else holds the service, or it would have to ask and
/// cannot.
pub async fn run(context: &Context, args: &cli::Down) -> Result<Exit, Error> {
    let mut operator = context.operator_of_service(&args.service).await?;
    operator.lock_wait = args.lock.lock_wait;
    let world = operator.look_or_absent().await?;
    let service = &operator.service;
    if world.environments.is_empty() && world.routing.is_none() {
        return Err(operator.unknown().await);
    }
    let stands: Vec<_> = world
        .environments
        .iter()
        .map(|e| format!("{service}@{}", e.release))
        .collect();
    let what = format!(
        "take `{service}` down, with {}",
        crate::core::words::list(&stands)
    );
    if !context.common.yes {
        if !context.may_ask() {
            return Err(Error::NeedsYes { what });
        }
        if context.confirm(&operator.report, &format!("{what}? [y/N] "))? == Answer::No {
            return Err(Error::Declined {
                what: format!("take `{service}` down"),
            });
        }
    }
    let ended = down(&operator).await?;
    if ended.outcome == Outcome::Done {
        super::proxy::end_if_idle(context, &operator).await?;
    }
    Ok(exit_of(ended.outcome))
}

/// Takes the service away, without asking.
///
/// # Errors
/// As [`run`].
pub async fn down(operator: &Operator) -> Result<Ended, Error> {
    let mut held = hold(operator).await?;
    let ended = while_held(operator, &mut held).await;
    operator.let_go(held).await;
    ended
}

async fn while_held(operator: &Operator, held: &mut Held) -> Result<Ended, Error> {
    let runs = operator.need_runs().await?;
    for log in runs
        .iter()
        .filter(|log| log.outcome().is_none() && log.opened().is_some())
    {
        let outcome = match operator.read_back(log)?.has_moved() {
            // It served until now.
            true => Outcome::Done,
            false => Outcome::Refused,
        };
        operator.supersede(log, None, outcome, held).await?;
    }
    let world = operator.look_or_absent().await?;
    let releases = world
        .environments
        .iter()
        .map(|environment| environment.release)
        .collect();
    by_live_plan(operator, Verb::Down { releases }, &runs, &world, held).await
}
