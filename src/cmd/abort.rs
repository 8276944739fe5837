//! `flipside abort`: give an unfinished release up.

use crate::cli;
use crate::core::action::Ask;
use crate::core::verdict::Outcome;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::operator::Operator;
use super::run::Ended;
use super::underway::{floor, go_on, put_to, unfinished};

/// Runs the verb: done when the release has been given up.
///
/// # Errors
/// Where nothing is under way, it had to stop again, or the holder does not answer.
pub async fn run(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_run(arg, &[]).await?;
    if let Some(ended) = abort(&operator).await? {
        operator.report.finished(&operator.finished(&ended));
        return Ok(exit_of(ended.outcome));
    }
    Ok(Exit::Done)
}

/// Gives the newest run up; `None` where a living operator has been told to.
///
/// # Errors
/// As [`run`].
pub async fn abort(operator: &Operator) -> Result<Option<Ended>, Error> {
    unfinished(operator, "abort").await?;
    match operator
        .try_acquire(floor(operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let mut ended = go_on(operator, "abort", Some(Ask::Abort), lease).await?;
            if matches!(ended.outcome, Outcome::Refused | Outcome::RolledBack) {
                // What was asked for is done, though the release is not.
                ended.outcome = Outcome::Done;
            }
            Ok(Some(ended))
        }
        Acquired::HeldBy(holder) => {
            put_to(operator, Ask::Abort, &holder.to_string()).await?;
            Ok(None)
        }
    }
}
