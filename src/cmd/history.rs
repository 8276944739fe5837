//! `flipside history`: runs, and what became of them.

use crate::cli;
use crate::core::event::{Event, Opened, Verb};
use crate::core::names::ServiceName;
use crate::core::state::State;
use crate::error::{Error, Exit, Touched};
use crate::journal::RunLog;
use crate::report::table_width;
use crate::report::tables::{HistoryRow, history_json, history_text};

use super::context::Context;
use super::operator::of_journal;
use super::run::left_to_give;
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
        trust_labels: false,
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

/// How many requests the last move has cut, if that can be told.
fn cut(log: &RunLog, opened: &Opened) -> Option<u64> {
    let moves = matches!(opened.verb, Verb::Deploy { .. } | Verb::Rollback { .. });
    // An end says nothing of what was in doubt before it.
    let events = log.records.iter().map(|record| &record.event);
    let events = events.filter(|event| !matches!(event, Event::Closed { .. }));
    let state = State::fold(events).ok()?;
    let settled = moves && (state.has_moved() || log.outcome().is_some());
    settled.then(|| state.left().cut).flatten()
}

fn row(log: &RunLog) -> Option<HistoryRow> {
    let opened: &Opened = log.opened()?;
    let first = log.records.first()?;
    let last = log.records.last()?;
    let outcome = log.outcome();
    Some(HistoryRow {
        run: log.run,
        verb: opened.verb.clone(),
        by: opened.by.clone(),
        started: first.at,
        took_ms: outcome.map(|_| last.at.saturating_sub(first.at)),
        outcome,
        cut: cut(log, opened),
        trouble: log.trouble.as_ref().map(ToString::to_string),
        again: match outcome {
            Some(_) => Vec::new(),
            None => left_to_give(log),
        },
    })
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]
mod tests {
    use super::*;

    /// What a rollback has cut of which these lines are the rest.
    fn cut_after(rest: &[&str]) -> Option<u64> {
        let opened = r#"{"event":"opened","verb":{"verb":"rollback","from":3,"to":2,"proof":"round"},
            "by":"ann@host","version":"0","policy":POLICY,"marks":"pointer","live":3,"generation":7,
            "opened_with":1,"highest":3}"#;
        let policy = serde_json::to_string(&crate::core::plan::Policy::default()).unwrap();
        let opened = opened.replace("POLICY", &policy);
        let lines = std::iter::once(&*opened).chain(rest.iter().copied());
        let records = lines.zip(0..).map(|(line, seq)| crate::journal::Record {
            v: 1,
            service: ServiceName::new("shop").unwrap(),
            run: 1,
            seq,
            fence: 1,
            at: 0,
            event: serde_json::from_str(line).unwrap(),
        });
        let log = RunLog {
            service: ServiceName::new("shop").unwrap(),
            run: 1,
            records: records.collect(),
            sealed: false,
            trouble: None,
        };
        row(&log).unwrap().cut
    }

    #[test]
    fn what_was_cut_is_told_where_it_is_known_and_only_there() {
        let switch = r#"{"event":"intended","action":{"act":"switch","to":2,"from":3,"expected":7,
            "why":"roll-back","proof":"round"}}"#;
        let switched = r#"{"event":"switched","generation":8,"moved_at":5,"took_us":9}"#;
        let verify = r#"{"event":"intended","action":{"act":"verify","release":2}}"#;
        let verified = r#"{"event":"verified","took_us":9}"#;
        let drain = r#"{"event":"intended","action":{"act":"drain","generation":8}}"#;
        let drained = r#"{"event":"drained","in_flight":3,"finished":1,"cut":2}"#;
        let closed = r#"{"event":"closed","outcome":"refused"}"#;
        assert_eq!(cut_after(&[]), None);
        assert_eq!(cut_after(&[closed]), Some(0));
        assert_eq!(cut_after(&[switch, closed]), None);
        assert_eq!(cut_after(&[switch, switched, closed]), None);
        let whole = [switch, switched, verify, verified, drain, drained, closed];
        assert_eq!(cut_after(&whole), Some(2));
    }
}
