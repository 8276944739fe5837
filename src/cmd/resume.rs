//! `flipside resume`: go on with a run that was cut short.

use crate::cli;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::operator::Operator;
use super::run::Ended;
use super::underway::{floor, go_on, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where nothing is under way, somebody else drives it, or it had to stop again.
pub async fn run(context: &Context, args: &cli::Resume) -> Result<Exit, Error> {
    let operator = context.operator_of_run(&args.service, &args.set).await?;
    let ended = resume(&operator).await?;
    operator.report.finished(&operator.finished(&ended));
    Ok(exit_of(ended.outcome))
}

/// Goes on with the newest run that has not ended.
///
/// # Errors
/// As [`run`].
pub async fn resume(operator: &Operator) -> Result<Ended, Error> {
    unfinished(operator, "resume").await?;
    match operator
        .try_acquire(floor(operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => go_on(operator, "resume", None, lease).await,
        Acquired::HeldBy(holder) => Err(Error::HeldBy {
            service: operator.service.to_string(),
            holder: holder.to_string(),
        }),
    }
}
