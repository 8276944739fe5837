//! `flipside resume`: go on with a run that was cut short.

use crate::cli;
use crate::core::hook::HookWord;
use crate::core::workers;
use crate::error::{Error, Exit, exit_of};

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
    operator.tell_end(&ended);
    Ok(exit_of(ended.outcome))
}

/// Goes on with the newest run that has not ended, with a word on its hook in doubt, if one is said.
/// Where there is none, the workers are handed over to the live release if they have yet to be.
///
/// # Errors
/// As [`run`].
pub async fn resume(operator: &Operator, word: Option<&Word>) -> Result<Ended, Error> {
    let log = match unfinished(operator, "resume").await {
        Err(nothing @ Error::NothingUnderWay { .. }) if word.is_none() => {
            return hand_over(operator).await?.ok_or(nothing);
        }
        log => log?,
    };
    if let Some(word) = word {
        operator.word(&log, word)?;
    }
    let lease = operator.lease(async || operator.floor().await).await?;
    go_on(operator, "resume", None, word, lease).await
}

/// Hands the workers over, where no record says that somebody was to.
async fn hand_over(operator: &Operator) -> Result<Option<Ended>, Error> {
    let looked = operator.look().await;
    if !looked.is_ok_and(|world| workers::astray(&world).is_some()) {
        return Ok(None);
    }
    let mut held = operator.acquire(async || operator.floor().await).await?;
    let handed = async {
        let (mut runs, mut world) = (operator.need_runs().await?, operator.look().await?);
        operator.hand_over(&mut runs, &mut world, &mut held).await
    };
    let handed = handed.await;
    operator.let_go(held).await;
    handed
}
