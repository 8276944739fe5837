//! `flipside promote`: end the bake of a running deploy.

use crate::cli;
use crate::core::action::Ask;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::operator::Operator;
use super::run::Ended;
use super::underway::{floor, go_on, put_to, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where nothing is under way, it had to stop again, or the holder does not answer.
pub async fn run(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_run(arg, &[]).await?;
    if let Some(ended) = promote(&operator).await? {
        operator.report.finished(&operator.finished(&ended));
        return Ok(exit_of(ended.outcome));
    }
    Ok(Exit::Done)
}

/// Ends the bake of the newest run; `None` where a living operator has been told to.
///
/// # Errors
/// As [`run`].
pub async fn promote(operator: &Operator) -> Result<Option<Ended>, Error> {
    unfinished(operator, "promote").await?;
    match operator
        .try_acquire(floor(operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let ended = go_on(operator, "promote", Some(Ask::Promote), lease).await?;
            Ok(Some(ended))
        }
        Acquired::HeldBy(holder) => {
            put_to(operator, Ask::Promote, &holder.to_string()).await?;
            Ok(None)
        }
    }
}
