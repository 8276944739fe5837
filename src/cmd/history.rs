//! `flipside history`: runs, and what became of them.

use crate::cli;
use crate::core::event::{Event, Opened, Verb};
use crate::core::names::ServiceName;
use crate::error::{Error, Exit, Touched};
use crate::journal::RunLog;
use crate::report::table_width;
use crate::report::tables::{HistoryRow, history_json, history_text};

use super::context::Context;
use super::operator::of_journal;
use super::status;

/// Runs the verb. Needs the journal only where a service is named.
///
/// # Errors
/// Where the journal cannot be read.
pub async fn run(context: &Context, args: &cli::History) -> Result<Exit, Error> {
    let away = |error| of_journal(error, Touched::Nothing);
    let journal = context.journal().await.map_err(away)?;
    let known = journal.services().await.map_err(away)?;
    let service = match &args.service.service {
        Some(name) => known
            .iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| {
                let known = known.iter().map(ToString::to_string).collect();
                Error::UnknownService {
                    name: name.clone(),
                    known,
                }
            })?,
        None => match known.as_slice() {
            [] => return Err(Error::NoService),
            [only] => only,
            _ => {
                let known = known.iter().map(ToString::to_string).collect();
                return Err(Error::SeveralServices { known });
            }
        },
    };
    let runs = journal.runs(service, args.limit).await.map_err(away)?;
    let rows: Vec<HistoryRow> = runs.iter().filter_map(row).collect();
    let text = history_text(service.as_str(), &rows, table_width());
    context
        .report
        .data(&history_json(service.as_str(), &rows), &text);
    for disagreement in disagreements(context, service).await {
        context.report.warn(&disagreement);
    }
    Ok(Exit::Done)
}

/// Where journal, engine and pointer disagree, or why that cannot be said. A history is the
/// journal's, and shown without them.
async fn disagreements(context: &Context, service: &ServiceName) -> Vec<String> {
    let arg = cli::ServiceArg {
        service: Some(service.to_string()),
    };
    let looked = async {
        let operator = context.operator_of_service(&arg).await?;
        status::look(&operator).await
    };
    match looked.await {
        Ok(view) => view.disagreements,
        Err(error) => vec![format!("engine and pointer were not asked: {error}")],
    }
}

fn row(log: &RunLog) -> Option<HistoryRow> {
    let opened: &Opened = log.opened()?;
    let first = log.records.first()?;
    let last = log.records.last()?;
    let drained = log
        .records
        .iter()
        .rev()
        .find_map(|record| match &record.event {
            Event::Drained(drained) => Some(*drained),
            _ => None,
        });
    let outcome = log.outcome();
    let moved = log
        .records
        .iter()
        .any(|record| matches!(record.event, Event::Switched { .. }));
    let cut = match opened.verb {
        // What served before was not left.
        Verb::Deploy { .. } | Verb::Rollback { .. } if outcome.is_some() && !moved => Some(0),
        _ => drained.and_then(|drained| drained.cut),
    };
    Some(HistoryRow {
        run: log.run,
        verb: opened.verb.clone(),
        by: opened.by.clone(),
        started: first.at,
        took_ms: outcome.map(|_| last.at.saturating_sub(first.at)),
        outcome,
        cut,
        trouble: log.trouble.as_ref().map(ToString::to_string),
    })
}
