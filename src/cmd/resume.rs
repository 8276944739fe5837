//! `flipside resume`: go on with a run that was cut short.

use crate::cli;
use crate::core::hook::HookWord;
use crate::core::shared::Shared;
use crate::core::verdict::Outcome;
use crate::core::workers;
use crate::error::{Error, Exit, exit_of};

use super::clear::hold;
use super::context::Context;
pub use super::hooks::Word;
use super::operator::Operator;
use super::run::Ended;
use super::underway::{go_on, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where nothing is under way, somebody else drives it, or it had to stop again.
pub async fn run(context: &Context, args: &cli::Resume) -> Result<Exit, Error> {
    let mut operator = context.operator_of_run(&args.service, &args.set).await?;
    operator.lock_wait = args.lock.lock_wait;
    let done = args.hook_done.clone().map(|name| (name, HookWord::Done));
    let again = args.hook_again.clone().map(|name| (name, HookWord::Again));
    let ended = resume(&operator, done.or(again).as_ref()).await?;
    operator.tell_unused(&ended).await;
    operator.tell_end(&ended);
    Ok(exit_of(ended.outcome))
}

/// Goes on with the newest run that has not ended, with a word on its hook in doubt, if one is said.
/// Where there is none, shared roles that releases do not reach are joined, and the workers are handed
/// over to the live release if they have yet to be.
///
/// # Errors
/// As [`run`].
pub async fn resume(operator: &Operator, word: Option<&Word>) -> Result<Ended, Error> {
    let log = match unfinished(operator, "resume").await {
        Err(nothing @ Error::NothingUnderWay { .. }) if word.is_none() => {
            return set_right(operator).await?.ok_or(nothing);
        }
        log => log?,
    };
    if let Some(word) = word {
        operator.word(&log, word)?;
    }
    let lease = operator.lease(async || operator.floor().await).await?;
    go_on(operator, "resume", None, word, lease).await
}

/// Joins what releases do not reach of shared roles, and hands the workers over, where no record says
/// that somebody was to.
async fn set_right(operator: &Operator) -> Result<Option<Ended>, Error> {
    let (looked, standing) = tokio::join!(operator.look(), operator.shared());
    let astray = looked.is_ok_and(|world| workers::astray(&world).is_some());
    let apart = standing.is_ok_and(|standing| standing.iter().any(Shared::is_apart));
    if !astray && !apart {
        return Ok(None);
    }
    let mut held = hold(operator).await?;
    let done = async {
        let mut runs = operator.need_runs().await?;
        let mut world = operator.look_or_absent().await?;
        let joined = operator.see_to(Shared::is_apart, &runs, &world, &mut held);
        let joined = joined.await?;
        if !astray
            || joined
                .as_ref()
                .is_some_and(|ended| ended.outcome != Outcome::Done)
        {
            return Ok(joined);
        }
        runs = operator.need_runs().await?;
        let handed = operator.hand_over(&mut runs, &mut world, &mut held);
        Ok(handed.await?.or(joined))
    };
    let done = done.await;
    operator.let_go(held).await;
    done
}
