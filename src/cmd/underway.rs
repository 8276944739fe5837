//! `flipside resume`, `abort` and `promote`: verbs aimed at a run that has not ended. Where a living
//! operator drives it, it is asked; where none does, this one goes on with it.

use std::sync::Arc;
use std::time::Duration;

use crate::cli;
use crate::core::action::Ask;
use crate::core::survey::View;
use crate::core::verdict::Outcome;
use crate::core::world::World;
use crate::error::{Error, Exit, Touched, exit_of};
use crate::journal::RunLog;
use crate::lease::{self, Acquired, Lease, Reply};

use super::asks;
use super::context::Context;
use super::operator::{Ended, Operator, highest, of_journal};

/// How long the holder of the lease has to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Runs `resume`.
///
/// # Errors
/// Where nothing is under way, somebody else drives it, or it had to stop again.
pub async fn resume(context: &Context, args: &cli::Resume) -> Result<Exit, Error> {
    let operator = context.operator_of_run(&args.service, &args.set).await?;
    let ended = resume_run(&operator).await?;
    operator.report.finished(&operator.finished(&ended));
    Ok(exit_of(ended.outcome))
}

/// Goes on with the newest run that has not ended.
///
/// # Errors
/// As [`resume`].
pub async fn resume_run(operator: &Operator) -> Result<Ended, Error> {
    unfinished(operator, "resume").await?;
    match operator.try_acquire(floor(operator).await?).await? {
        Acquired::Got(lease) => go_on(operator, "resume", None, lease).await,
        Acquired::HeldBy(holder) => Err(Error::HeldBy {
            service: operator.service.to_string(),
            holder: holder.to_string(),
        }),
    }
}

/// Runs `abort`: done when the release has been given up.
///
/// # Errors
/// As [`resume`]; and where the holder does not answer.
pub async fn abort(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_service(arg).await?;
    let Some(ended) = abort_run(&operator).await? else {
        return Ok(Exit::Done);
    };
    operator.report.finished(&operator.finished(&ended));
    Ok(exit_of(ended.outcome))
}

/// Gives the newest run up; `None` where a living operator has been told to.
///
/// # Errors
/// As [`abort`].
pub async fn abort_run(operator: &Operator) -> Result<Option<Ended>, Error> {
    unfinished(operator, "abort").await?;
    match operator.try_acquire(floor(operator).await?).await? {
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

/// Runs `promote`: ends the bake.
///
/// # Errors
/// As [`abort`].
pub async fn promote(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_service(arg).await?;
    unfinished(&operator, "promote").await?;
    match operator.try_acquire(floor(&operator).await?).await? {
        Acquired::Got(lease) => {
            let ended = go_on(&operator, "promote", Some(Ask::Promote), lease).await?;
            operator.report.finished(&operator.finished(&ended));
            Ok(exit_of(ended.outcome))
        }
        Acquired::HeldBy(holder) => put_to(&operator, Ask::Promote, &holder.to_string()).await,
    }
}

/// The newest run, if it has not ended.
async fn unfinished(operator: &Operator, verb: &str) -> Result<RunLog, Error> {
    operator.journal()?;
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    runs.into_iter()
        .find(|log| log.outcome().is_none() && log.opened().is_some())
        .ok_or_else(|| Error::NothingUnderWay {
            service: operator.service.to_string(),
            verb: verb.into(),
        })
}

async fn floor(operator: &Operator) -> Result<u64, Error> {
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    let routing =
        operator.pointer.read().await.map_err(|error| {
            Error::of_pointer(operator.service.as_str(), error, Touched::Nothing)
        })?;
    Ok(highest(
        &runs,
        &World {
            routing,
            ..World::default()
        },
        &View::default(),
    )
    .0)
}

async fn go_on(
    operator: &Operator,
    verb: &str,
    ask: Option<Ask>,
    lease: Lease,
) -> Result<Ended, Error> {
    let lease = Arc::new(lease);
    let mut asks = asks::listen(Arc::clone(&lease), Arc::clone(&operator.report));
    // Read again, now that nobody else writes.
    let ended = match unfinished(operator, verb).await {
        Ok(log) => operator.go_on(&log, ask, &lease, &mut asks.heard).await,
        Err(error) => Err(error),
    };
    operator.let_go(&lease).await;
    ended
}

/// Leaves a request with the holder and waits until it has been taken.
async fn put_to(operator: &Operator, ask: Ask, holder: &str) -> Result<Exit, Error> {
    let of_engine = |error| Error::of_engine(error, Touched::Nothing);
    let (engine, service) = (Arc::clone(&operator.engine), &operator.service);
    let asked = lease::ask(engine, service, &ask, &operator.author)
        .await
        .map_err(of_engine)?;
    let reply = match &asked {
        Some(asked) => asked.answered(ANSWER).await.map_err(of_engine)?,
        None => Reply::Gone,
    };
    let holder = match reply {
        Reply::Taken => {
            let what =
                format!("{holder} has been told; `flipside status {service}` shows the rest");
            operator.report.say(&what);
            return Ok(Exit::Done);
        }
        Reply::Gone => format!("{holder}, who has just let go: try again"),
        Reply::Silent => format!("{holder}, who does not answer"),
    };
    if let Some(asked) = asked {
        asked.withdraw().await.map_err(of_engine)?;
    }
    Err(Error::HeldBy {
        service: service.to_string(),
        holder,
    })
}
