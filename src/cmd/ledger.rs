//! Records: into the journal and onto the report; of a rollback without a journal, onto standard
//! error.

use std::sync::Arc;

use async_trait::async_trait;

use crate::core::event::{Event, Opened, Verb};
use crate::core::names::{Fence, Millis, ServiceName};
use crate::drive::{Ledger, LedgerError, Written};
use crate::journal::{Journal, JournalError, RunLog, Writer};
use crate::perform::Clock;
use crate::report::{Report, Shown};

use super::operator::within;

/// How many numbers are tried that turn out to be taken.
const NUMBERS: u32 = 8;

/// What a store is called whose address is not at hand.
const STORE_WORDS: &str = "its store";

/// What a run does when its journal cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Stop,
    GoOn,
}

/// The ledger of one run.
pub struct RunLedger {
    service: ServiceName,
    run: u64,
    seq: u32,
    writer: Option<Writer>,
    without: Without,
    report: Arc<dyn Report>,
    clock: Clock,
}

impl RunLedger {
    /// Opens a run: its first record is durable when this returns, or `opened` may go on without,
    /// as `goes_on` says.
    ///
    /// # Errors
    /// Where the journal does not take the record and the run may not go on without.
    pub async fn open(
        journal: &Result<Journal, JournalError>,
        service: &ServiceName,
        run: u64,
        opened: &Opened,
        report: Arc<dyn Report>,
        clock: Clock,
        goes_on: fn(&Verb) -> bool,
    ) -> Result<Self, LedgerError> {
        let event = Event::Opened(opened.clone());
        let at = clock();
        let begun = match journal {
            Ok(journal) => begin(journal, service, run, opened.fence, at, &event).await,
            Err(error) => Err(error.clone()),
        };
        let without = if goes_on(&opened.verb) {
            Without::GoOn
        } else {
            Without::Stop
        };
        let service = service.clone();
        let run = begun.as_ref().map_or(run, Writer::run);
        let mut ledger = Self {
            service,
            run,
            seq: 0,
            writer: None,
            without,
            report,
            clock,
        };
        match begun {
            Ok(writer) => ledger.writer = Some(writer),
            Err(error) => ledger.lose(&error, opened.fence, &event)?,
        }
        ledger.show(at, &event);
        Ok(ledger)
    }

    /// Goes on with a run that was read back.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn resume(
        journal: &Journal,
        log: &RunLog,
        report: Arc<dyn Report>,
        clock: Clock,
    ) -> Result<Self, LedgerError> {
        let writer = journal.resume(log).await.map_err(|error| words(&error))?;
        for record in &log.records {
            report.recall(&Shown {
                service: &log.service,
                run: log.run,
                seq: record.seq,
                at: record.at,
                event: &record.event,
            });
        }
        let seq = log.records.last().map_or(0, |record| record.seq + 1);
        Ok(Self {
            service: log.service.clone(),
            run: log.run,
            seq,
            writer: Some(writer),
            without: Without::Stop,
            report,
            clock,
        })
    }

    /// Seals a finished run.
    ///
    /// # Errors
    /// Where the journal cannot be written; its single records are still there.
    pub async fn seal(&mut self) -> Result<(), LedgerError> {
        match self.writer.take() {
            Some(writer) => writer.seal().await.map_err(|error| words(&error)),
            None => Ok(()),
        }
    }

    fn lose(
        &mut self,
        error: &JournalError,
        fence: Fence,
        event: &Event,
    ) -> Result<(), LedgerError> {
        // Before the first record is written, nobody else can have gone on with this run.
        let overtaken = matches!(error, JournalError::Overtaken { .. }) && self.writer.is_some();
        if self.without == Without::Stop || overtaken {
            return Err(words(error));
        }
        if self.writer.take().is_some() || self.seq == 0 {
            self.report.warn(&format!(
                "{error}; the rollback goes on without it, and its records follow here"
            ));
        }
        self.spill(fence, event);
        Ok(())
    }

    /// A record that no journal takes: one JSON line on standard error.
    fn spill(&self, fence: Fence, event: &Event) {
        let line = serde_json::json!({
            "service": self.service, "run": self.run, "seq": self.seq, "fence": fence,
            "at": (self.clock)(), "record": event,
        });
        self.report.record(&line.to_string());
    }

    fn show(&mut self, at: u64, event: &Event) {
        let shown = Shown {
            service: &self.service,
            run: self.run,
            seq: self.seq,
            at,
            event,
        };
        self.report.event(&shown);
        self.seq += 1;
    }
}

/// Begins a run. Where an operator of another engine with the same journal has taken its number
/// meanwhile, it gets the next.
async fn begin(
    journal: &Journal,
    service: &ServiceName,
    mut run: u64,
    fence: Fence,
    at: Millis,
    opened: &Event,
) -> Result<Writer, JournalError> {
    let mut tries = 0..NUMBERS;
    loop {
        let begun = journal.begin(service, run, fence, at, opened.clone());
        match within(journal.address(), begun).await {
            Err(JournalError::Overtaken { .. }) if tries.next().is_some() => {
                let newest = within(journal.address(), journal.runs(service, 1)).await?;
                run = newest.first().map_or(run, |log| log.run) + 1;
            }
            begun => return begun,
        }
    }
}

fn words(error: &JournalError) -> LedgerError {
    let hint = error
        .hint()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    // Which store it is, is said by who tells this.
    let why = match error {
        JournalError::OutOfReach { why, .. } => why.clone(),
        error => error.to_string(),
    };
    LedgerError {
        why: format!("{why}{hint}"),
    }
}

#[async_trait]
impl Ledger for RunLedger {
    async fn record(&mut self, fence: Fence, event: &Event) -> Result<Written, LedgerError> {
        let at = (self.clock)();
        match &mut self.writer {
            Some(writer) => {
                let appended = writer.append(fence, at, event.clone());
                if let Err(error) = within(STORE_WORDS, appended).await {
                    self.lose(&error, fence, event)?;
                }
            }
            None => self.spill(fence, event),
        }
        self.show(at, event);
        Ok(match self.writer {
            Some(_) => Written::Durable,
            None => Written::Shown,
        })
    }
}
