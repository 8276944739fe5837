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
use crate::lease::{self, Acquired, Lease, Patience, Reply};

use super::context::Context;
use super::operator::{Operator, highest, of_journal};
use super::run::Ended;

/// How long the holder of the lease has to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a run that has been told may take to come to its end, draining included.
const END: Duration = Duration::from_mins(3);
/// How often the journal is looked at for that end.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `resume`.
///
/// # Errors
/// Where nothing is under way, somebody else drives it, or it had to stop again.
pub async fn resume(context: &Context, args: &cli::Resume) -> Result<Exit, Error> {
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

/// Runs `abort`: done when the release has been given up.
///
/// # Errors
/// As [`resume`]; and where the holder does not answer.
pub async fn abort(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_service(arg).await?;
    let log = unfinished(&operator, "abort").await?;
    match operator
        .try_acquire(floor(&operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let mut ended = go_on(&operator, "abort", Some(Ask::Abort), lease).await?;
            // What was asked for is done, though the release is not.
            ended.outcome = as_asked(&Ask::Abort, ended.outcome);
            operator.report.finished(&operator.finished(&ended));
            Ok(exit_of(ended.outcome))
        }
        Acquired::HeldBy(holder) => put_to(&operator, &log, Ask::Abort, &holder.to_string()).await,
    }
}

/// Runs `promote`: ends the bake.
///
/// # Errors
/// As [`abort`].
pub async fn promote(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_service(arg).await?;
    let log = unfinished(&operator, "promote").await?;
    match operator
        .try_acquire(floor(&operator).await?, Patience::Refuse)
        .await?
    {
        Acquired::Got(lease) => {
            let ended = go_on(&operator, "promote", Some(Ask::Promote), lease).await?;
            operator.report.finished(&operator.finished(&ended));
            Ok(exit_of(ended.outcome))
        }
        Acquired::HeldBy(holder) => {
            put_to(&operator, &log, Ask::Promote, &holder.to_string()).await
        }
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
    let mut held = operator.listen(lease);
    // Read again, now that nobody else writes.
    let ended = match unfinished(operator, verb).await {
        Ok(log) => operator.go_on(&log, ask, &mut held).await,
        Err(error) => Err(error),
    };
    operator.let_go(held).await;
    ended
}

/// Leaves a request with the holder, waits until it has been taken and what was under way has ended.
async fn put_to(operator: &Operator, log: &RunLog, ask: Ask, holder: &str) -> Result<Exit, Error> {
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
        Reply::Taken => return follow(operator, log.run, &ask, holder).await,
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

/// Waits for the end of another one's run, and tells it as if it were this one's.
async fn follow(operator: &Operator, run: u64, ask: &Ask, holder: &str) -> Result<Exit, Error> {
    let service = operator.service.to_string();
    operator
        .report
        .say(&format!("{holder} has been told; waiting for the end"));
    let end = tokio::time::Instant::now() + END;
    while tokio::time::Instant::now() < end {
        let runs = operator.runs().await;
        let runs = runs.map_err(|error| of_journal(error, Touched::Something))?;
        let log = runs.iter().find(|log| log.run == run);
        if let Some((log, outcome)) = log.and_then(|log| Some((log, log.outcome()?))) {
            let ended = Ended {
                outcome: as_asked(ask, outcome),
                state: operator.read_back(log)?,
                moved_us: None,
            };
            operator.report.say(&match ended.outcome {
                Outcome::Done => format!("{} of `{service}` has taken effect", name(ask)),
                Outcome::Stuck if outcome == Outcome::Done => format!(
                    "too late: the release had been finished; go back with: flipside rollback {service}"
                ),
                _ => format!("see what became of it: flipside status {service}"),
            });
            operator.report.finished(&operator.finished(&ended));
            return Ok(exit_of(ended.outcome));
        }
        tokio::time::sleep(LOOK).await;
    }
    let holder = format!("{holder}, who has been told and has not come to an end");
    Err(Error::HeldBy { service, holder })
}

/// What a run's outcome means to who asked for it.
fn as_asked(ask: &Ask, outcome: Outcome) -> Outcome {
    match (ask, outcome) {
        (Ask::Abort, Outcome::Refused | Outcome::RolledBack) => Outcome::Done,
        (Ask::Abort, Outcome::Done) => Outcome::Stuck,
        (_, outcome) => outcome,
    }
}

fn name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Abort => "abort",
        Ask::Promote => "promote",
        Ask::Yield | Ask::Settle | Ask::Leave => "what was asked",
    }
}
