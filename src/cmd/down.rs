//! `flipside down`: take a service away, the live environment included.

use crate::cli;
use crate::core::event::Verb;
use crate::core::names::ServiceName;
use crate::core::verdict::Outcome;
use crate::error::{Error, Exit, exit_of};

use super::clear::{by_live_plan, hold};
use super::context::{Answer, Context};
use super::operator::{Held, Operator};
use super::run::Ended;
use super::shared::own_roles;

/// What becomes of the shared roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// They go on running.
    Stay,
    /// They are removed, but for their volumes.
    Also,
}

/// That `--yes` alone does not take shared roles away.
fn unconfirmed(service: &ServiceName) -> Error {
    Error::BadFlags {
        what: format!("`--shared --yes` removes the shared roles of `{service}` without asking"),
        instead: Some(format!("name the service once more: --confirm {service}")),
    }
}

/// Runs the verb.
///
/// # Errors
/// Where the engine cannot be asked, somebody else holds the service, or it would have to ask and
/// cannot.
pub async fn run(context: &Context, args: &cli::Down) -> Result<Exit, Error> {
    let mut operator = context.operator_of_service(&args.service).await?;
    operator.lock_wait = args.lock.lock_wait;
    let world = operator.look_or_absent().await?;
    let standing = operator.shared().await?;
    let shared = own_roles(&standing);
    let service = &operator.service;
    let alone = args.shared && !standing.is_empty();
    if world.environments.is_empty() && world.routing.is_none() && !alone {
        return Err(operator.unknown().await);
    }
    let given = args.confirm.as_deref();
    if given.is_some_and(|given| given != service.as_str()) {
        return Err(unconfirmed(service));
    }
    let stands: Vec<_> = world
        .environments
        .iter()
        .map(|e| format!("{service}@{}", e.release))
        .collect();
    let what = match stands.as_slice() {
        [] => format!("take `{service}` down"),
        all => format!(
            "take `{service}` down, with {}",
            crate::core::words::list(all)
        ),
    };
    if args.shared && context.common.yes && given.is_none() {
        return Err(unconfirmed(service));
    }
    if !context.common.yes {
        if !context.may_ask() {
            return Err(Error::NeedsYes { what });
        }
        if context.confirm(&operator.report, &format!("{what}? [y/N] "))? == Answer::No {
            return Err(Error::Declined {
                what: format!("take `{service}` down"),
            });
        }
        if args.shared {
            let roles = shared.as_deref().unwrap_or("none");
            let question = format!(
                "and the shared roles too ({roles}), which every release has used: their containers \
                 and their network go, their volumes stay; type the name of the service: "
            );
            if context.ask(&operator.report, &question)? != service.as_str() {
                return Err(Error::Declined {
                    what: format!("take `{service}` down"),
                });
            }
        }
    }
    let also = match args.shared {
        true => Shared::Also,
        false => Shared::Stay,
    };
    let ended = down(&operator, also).await?;
    if let (Shared::Stay, Some(roles)) = (also, shared) {
        operator.report.say(&format!(
            "the shared roles go on running ({roles}); this removes them too: flipside down {service} \
             --shared"
        ));
    }
    if ended.outcome == Outcome::Done {
        super::proxy::end_if_idle(context, &operator).await?;
    }
    Ok(exit_of(ended.outcome))
}

/// Takes the service away, without asking.
///
/// # Errors
/// As [`run`].
pub async fn down(operator: &Operator, shared: Shared) -> Result<Ended, Error> {
    let mut held = hold(operator).await?;
    let ended = while_held(operator, shared, &mut held).await;
    operator.let_go(held).await;
    ended
}

async fn while_held(operator: &Operator, shared: Shared, held: &mut Held) -> Result<Ended, Error> {
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
    let mut runs = operator.need_runs().await?;
    let world = operator.look_or_absent().await?;
    // What a `shared apply` has left halfway would stop an old container for good.
    if shared == Shared::Stay
        && let Some(ended) = operator.settle_shared(&mut runs, &world, held).await?
    {
        return Ok(ended);
    }
    let releases = world
        .environments
        .iter()
        .map(|environment| environment.release)
        .collect();
    let shared = shared == Shared::Also;
    let verb = Verb::Down { releases, shared };
    by_live_plan(operator, verb, &runs, &world, held).await
}
