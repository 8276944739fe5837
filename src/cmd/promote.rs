//! `flipside promote`: switch to a release that waits at its preview, or end the bake of a running
//! deploy.

use crate::cli;
use crate::core::action::Ask;
use crate::core::event::Verb;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::operator::Operator;
use super::run::Ended;
use super::underway::{go_on, put_to, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where nothing is under way, it had to stop again, or the holder does not answer.
pub async fn run(context: &Context, args: &cli::Promote) -> Result<Exit, Error> {
    let operator = context.operator_of_run(&args.service, &args.set).await?;
    let ended = promote(&operator).await?;
    operator.tell_end(&ended);
    Ok(exit_of(ended.outcome))
}

/// Takes the newest run's next step, by oneself or by asking the living operator who drives it.
///
/// # Errors
/// As [`run`].
pub async fn promote(operator: &Operator) -> Result<Ended, Error> {
    let log = unfinished(operator, "promote").await?;
    let opened = log.opened().map(|opened| &opened.verb);
    if !matches!(opened, Some(Verb::Deploy { .. })) {
        // Going on with a rollback would carry it out.
        return Err(Error::NothingUnderWay {
            service: operator.service.to_string(),
            verb: "promote".into(),
        });
    }
    match operator
        .try_acquire(operator.floor().await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let ended = go_on(operator, "promote", Some(Ask::Promote), None, lease).await?;
            Ok(ended)
        }
        Acquired::HeldBy(holder) => put_to(operator, &log, Ask::Promote, &holder.to_string()).await,
    }
}
