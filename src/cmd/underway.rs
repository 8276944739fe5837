//! What `resume`, `abort` and `promote` share: they are aimed at a run that has not ended. Where a
//! living operator drives it, it is asked; where none does, this one goes on with it.

use std::sync::Arc;
use std::time::Duration;

use crate::core::action::Ask;
use crate::core::event::Verb;
use crate::core::verdict::Outcome;
use crate::error::{Error, Touched};
use crate::journal::RunLog;
use crate::lease::{self, Asked, Lease, Reply};

use super::hooks::Word;
use super::operator::{Held, Operator, of_journal};
use super::recall;
use super::run::{Ended, left_to_give};

/// How long the holder of the lease has to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a run that has been told may take to come to its end, draining included.
const END: Duration = Duration::from_mins(3);
/// How often the journal is looked at for that end.
const LOOK: Duration = Duration::from_millis(100);

/// The run that is under way.
pub(super) async fn unfinished(operator: &Operator, verb: &str) -> Result<RunLog, Error> {
    operator.journal()?;
    let runs = operator.need_runs().await?;
    recall::unfinished(&runs)
        .cloned()
        .ok_or_else(|| Error::NothingUnderWay {
            service: operator.service.to_string(),
            verb: verb.into(),
        })
}

/// Goes on with the run that has not ended, `word` and `ask` put to it first.
pub(super) async fn go_on(
    operator: &Operator,
    verb: &str,
    ask: Option<Ask>,
    word: Option<&Word>,
    lease: Lease,
) -> Result<Ended, Error> {
    let mut held = operator.listen(lease);
    // Read again, now that nobody else writes.
    let ended = while_held(operator, verb, ask, word, &mut held).await;
    operator.let_go(held).await;
    ended
}

async fn while_held(
    operator: &Operator,
    verb: &str,
    ask: Option<Ask>,
    word: Option<&Word>,
    held: &mut Held,
) -> Result<Ended, Error> {
    let log = unfinished(operator, verb).await?;
    let ended = operator.go_on(&log, ask, word, held).await?;
    if let (Verb::Rollback { .. }, Outcome::Done) = (&ended.state.opened.verb, ended.outcome) {
        let runs = operator.need_runs().await?;
        operator.settle_left(&runs, held).await;
    }
    // The pointer may have moved on by another one's hand, who has not come to the workers.
    let moved_on = match ended.outcome {
        Outcome::Refused => true,
        Outcome::Stuck => ended.state.failure.is_none(),
        Outcome::Done
        | Outcome::RolledBack
        | Outcome::Previewed
        | Outcome::Unsure
        | Outcome::Interrupted => false,
    };
    let leaves = ended.state.ask == Some(Ask::Leave);
    if moved_on
        && !leaves
        && let Err(error) = hand_over(operator, held).await
    {
        let service = &operator.service;
        operator.report.warn(&format!(
            "the workers were not looked after: {error}; go on with: flipside resume {service}"
        ));
    }
    Ok(ended)
}

async fn hand_over(operator: &Operator, held: &mut Held) -> Result<(), Error> {
    let (mut runs, mut world) = (operator.need_runs().await?, operator.look().await?);
    operator.hand_over(&mut runs, &mut world, held).await?;
    Ok(())
}

/// Leaves a request with the holder, waits until it has been taken and what was under way has ended.
pub(super) async fn put_to(
    operator: &Operator,
    log: &RunLog,
    ask: Ask,
    holder: &str,
) -> Result<Ended, Error> {
    let of_engine = |error| Error::of_engine(error, Touched::Nothing);
    let (engine, service) = (Arc::clone(&operator.engine), &operator.service);
    let asked = lease::ask(engine, service, &ask, &operator.author)
        .await
        .map_err(of_engine)?;
    let reply = match &asked {
        Some(asked) => Some((asked.answered(ANSWER).await.map_err(of_engine)?, asked)),
        None => None,
    };
    let holder = match reply {
        Some((Reply::Taken, asked)) => {
            return follow(operator, log, &ask, asked, holder).await;
        }
        Some((Reply::Silent, _)) => format!("{holder}, who does not answer"),
        Some((Reply::Gone, _)) | None => format!("{holder}, who has just let go: try again"),
    };
    if let Some(asked) = asked {
        asked.withdraw().await.map_err(of_engine)?;
    }
    Err(Error::HeldBy {
        service: service.to_string(),
        holder,
    })
}

/// Waits for the end of another one's run, for as long as that one holds the service, and tells it
/// as if it were this one's.
async fn follow(
    operator: &Operator,
    log: &RunLog,
    ask: &Ask,
    asked: &Asked,
    holder: &str,
) -> Result<Ended, Error> {
    let service = operator.service.to_string();
    operator
        .report
        .say(&format!("{holder} has been told; waiting for the end"));
    // Workers may have to stop and to settle, on the way there and on the way back.
    let workers = log.opened().map_or(0, |opened| {
        2 * (opened.policy.grace_ms + opened.policy.settle_ms)
    });
    let (run, limit) = (log.run, END + Duration::from_millis(workers));
    let end = tokio::time::Instant::now() + limit;
    while tokio::time::Instant::now() < end {
        // Asked first: whoever lets go has written its end before. An engine that does not answer
        // says nothing.
        let held = asked.is_held().await.unwrap_or(true);
        let runs = operator.runs().await;
        let runs = runs.map_err(|error| of_journal(error, Touched::Something))?;
        let log = runs.iter().find(|log| log.run == run);
        if let Some((log, outcome)) = log.and_then(|log| Some((log, log.outcome()?))) {
            let state = operator.read_back(log)?;
            let ended = Ended {
                outcome: as_asked(ask, &state.opened.verb, outcome),
                state,
                moved_us: None,
                woke_us: None,
            };
            operator.report.say(&match ended.outcome {
                Outcome::Done => format!("{} of `{service}` has taken effect", name(ask)),
                Outcome::Stuck if outcome == Outcome::Done => format!(
                    "too late: the release had been finished; go back with: flipside rollback {service}"
                ),
                _ => format!("see what became of it: flipside status {service}"),
            });
            return Ok(ended);
        }
        if !held {
            operator
                .report
                .warn(&format!("{holder} has let go before the end"));
            let again = log.map_or_else(Vec::new, left_to_give);
            return Err(Error::Interrupted { service, again });
        }
        tokio::time::sleep(LOOK).await;
    }
    let holder = format!("{holder}, who has been told and has not come to an end");
    Err(Error::HeldBy { service, holder })
}

/// What the outcome of a run that does `verb` means to who asked for it. A rollback that has moved
/// the pointer already is finished, and not undone.
pub(super) fn as_asked(ask: &Ask, verb: &Verb, outcome: Outcome) -> Outcome {
    match (ask, verb, outcome) {
        (Ask::Abort, _, Outcome::Refused | Outcome::RolledBack) => Outcome::Done,
        (Ask::Abort, Verb::Deploy { .. } | Verb::HandOver { .. }, Outcome::Done) => Outcome::Stuck,
        (_, _, outcome) => outcome,
    }
}

fn name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Abort => "abort",
        Ask::Promote => "promote",
        Ask::Yield | Ask::Settle | Ask::Leave => "what was asked",
    }
}
