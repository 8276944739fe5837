//! `flipside promote`: end the bake of a running deploy.

use crate::cli;
use crate::core::action::Ask;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::underway::{floor, go_on, put_to, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where nothing is under way, it had to stop again, or the holder does not answer.
pub async fn run(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_run(arg, &[]).await?;
    unfinished(&operator, "promote").await?;
    match operator
        .try_acquire(floor(&operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let ended = go_on(&operator, "promote", Some(Ask::Promote), lease).await?;
            operator.report.finished(&operator.finished(&ended));
            Ok(exit_of(ended.outcome))
        }
        Acquired::HeldBy(holder) => put_to(&operator, Ask::Promote, &holder.to_string()).await,
    }
}
