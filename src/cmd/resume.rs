//! `flipside resume`: go on with a run that was cut short.

use crate::cli;
use crate::error::{Error, Exit, exit_of};

use super::context::Context;
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
    let ended = resume(&operator).await?;
    operator.tell_end(&ended);
    Ok(exit_of(ended.outcome))
}

/// Goes on with the newest run that has not ended.
///
/// # Errors
/// As [`run`].
pub async fn resume(operator: &Operator) -> Result<Ended, Error> {
    unfinished(operator, "resume").await?;
    let lease = operator.lease(async || operator.floor().await).await?;
    go_on(operator, "resume", None, lease).await
}
