//! `flipside abort`: give an unfinished release up.

use crate::cli;
use crate::core::action::Ask;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::operator::Operator;
use super::run::Ended;
use super::underway::{as_asked, go_on, put_to, unfinished};

/// Runs the verb: done when the release has been given up.
///
/// # Errors
/// Where nothing is under way, it had to stop again, or the holder does not answer.
pub async fn run(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_run(arg, &[]).await?;
    let ended = abort(&operator).await?;
    operator.tell_unused(&ended).await;
    operator.tell_end(&ended);
    Ok(exit_of(ended.outcome))
}

/// Gives the newest run up, by oneself or by asking the living operator who drives it.
///
/// # Errors
/// As [`run`].
pub async fn abort(operator: &Operator) -> Result<Ended, Error> {
    let log = unfinished(operator, "abort").await?;
    match operator
        .try_acquire(operator.floor().await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let mut ended = go_on(operator, "abort", Some(Ask::Abort), None, lease).await?;
            ended.outcome = as_asked(&Ask::Abort, &ended.state.opened.verb, ended.outcome);
            Ok(ended)
        }
        Acquired::HeldBy(holder) => put_to(operator, &log, Ask::Abort, &holder.to_string()).await,
    }
}
