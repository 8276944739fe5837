//! `flipside resume`: go on with a run that was cut short.

use crate::cli;
use crate::error::{Error, Exit, exit_of};
use crate::lease::{Acquired, Patience};

use super::context::Context;
use super::underway::{floor, go_on, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where nothing is under way, somebody else drives it, or it had to stop again.
pub async fn run(context: &Context, args: &cli::Resume) -> Result<Exit, Error> {
    let operator = context.operator_of_run(&args.service, &args.set).await?;
    unfinished(&operator, "resume").await?;
    let ended = match operator
        .try_acquire(floor(&operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => go_on(&operator, "resume", None, lease).await?,
        Acquired::HeldBy(holder) => {
            let service = operator.service.to_string();
            return Err(Error::HeldBy {
                service,
                holder: holder.to_string(),
            });
        }
    };
    operator.report.finished(&operator.finished(&ended));
    Ok(exit_of(ended.outcome))
}
