//! The one loop around the core: decide, journal the intent, perform, journal the outcome, apply,
//! report.
//!
//! A run that begins and a run that was read back from the journal go through the same loop. What
//! the loop may not do without: the lease, checked before every act, and the journal, without which
//! only a rollback goes on.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::core::action::{Action, Ask, TIME_UP};
use crate::core::decide::{Next, decide};
use crate::core::event::{Event, Verb};
use crate::core::names::Fence;
use crate::core::state::{Illegal, State};
use crate::core::verdict::Outcome;
use crate::perform::Performer;

/// How long a candidate may take to go after a signal.
const SIGNALLED: Duration = Duration::from_secs(5);

/// How often a long act looks whether the lease is still held.
const LOOK: Duration = Duration::from_secs(1);

/// Where records go: the journal, or standard error where a rollback finds it out of reach.
#[async_trait]
pub trait Ledger: Send {
    /// Makes `event` durable, where that is possible or needed, and shows it.
    async fn record(&mut self, fence: Fence, event: &Event) -> Result<Written, LedgerError>;
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the journal.
    Durable,
    /// It has only been shown: whoever goes on with the run does not know of it.
    Shown,
}

/// A record could not be made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct LedgerError {
    /// In a person's words.
    pub why: String,
}

/// The lock, as the loop sees it.
#[async_trait]
pub trait Hold: Send + Sync {
    /// The lease's number, once it is certain that it is still held.
    async fn hold(&self) -> Result<Fence, Unheld>;

    /// As [`Hold::hold`], and asked of the engine however young the last renewal is. Where the
    /// engine cannot be asked, the last renewal counts.
    async fn confirm(&self) -> Result<Fence, Unheld>;
}

/// Why the lock cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unheld {
    /// Another operator has the service.
    #[error("{by} has taken over")]
    Taken {
        /// Who.
        by: String,
    },
    /// The engine cannot be asked, and the last renewal is too old to count.
    #[error("{why}")]
    Away {
        /// Why it cannot.
        why: String,
    },
    /// It has run out: others may have held the service meanwhile.
    #[error("{why}")]
    Expired {
        /// What has happened.
        why: String,
    },
}

/// The pure core, by its functions; tests put broken ones in.
#[derive(Clone, Copy)]
pub struct Core {
    /// [`crate::core::decide::decide`].
    pub decide: fn(&State) -> Next,
    /// [`State::apply`].
    pub apply: fn(State, &Event) -> Result<State, Illegal>,
    /// [`goes_on_without_journal`].
    pub goes_on: fn(&Verb) -> bool,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            decide,
            apply: State::apply,
            goes_on: goes_on_without_journal,
        }
    }
}

/// Something that was asked of a run from outside, and by whom.
pub type Asked = (Ask, String);

/// Why a run stopped without an end of its own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stopped {
    /// The lease is not held any more, or that cannot be known.
    #[error(transparent)]
    Unheld(#[from] Unheld),
    /// The journal does not take records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A bug: the core decided what it does not allow.
    #[error("a bug in flipside: {0}")]
    Illegal(#[from] Illegal),
}

/// The loop, with all it needs.
pub struct Drive<'a> {
    /// The core.
    pub core: Core,
    /// Performs actions.
    pub performer: &'a Performer,
    /// Where records go.
    pub ledger: &'a mut dyn Ledger,
    /// The lock.
    pub lease: &'a dyn Hold,
    /// What is asked of the run from outside.
    pub asks: &'a mut mpsc::Receiver<Asked>,
}

impl Drive<'_> {
    /// Drives a run to its end, or to where it must stop. The state says how far it came also where
    /// it stopped.
    pub async fn run(&mut self, state: &mut State) -> Result<Outcome, Stopped> {
        loop {
            while let Ok((ask, by)) = self.asks.try_recv() {
                self.note(state, Event::Asked { ask, by }).await?;
            }
            match (self.core.decide)(state) {
                Next::End(open) if open.stays_open() => return Ok(open),
                Next::End(outcome) => {
                    self.note(state, Event::Closed { outcome }).await?;
                    return Ok(outcome);
                }
                Next::Act(action) => {
                    let mut written = Written::Durable;
                    if action != Action::Observe {
                        let intent = Event::Intended {
                            action: action.clone(),
                        };
                        written = self.note(state, intent).await?;
                    }
                    let outcome = match (&action, written) {
                        // Whoever goes on with the run would begin it a second time.
                        (Action::Hook { name, .. }, Written::Shown)
                            if !state.repeats_by_itself(name) =>
                        {
                            self.performer.leave_out(state, name)
                        }
                        _ => self.act(state, &action).await?,
                    };
                    let outcome = self.believe(&action, outcome).await?;
                    self.note(state, outcome).await?;
                }
            }
        }
    }

    /// Performs `action`, unless something is asked that cannot wait for its end.
    async fn act(&mut self, state: &mut State, action: &Action) -> Result<Event, Stopped> {
        let fence = self.lease.hold().await?;
        if matches!(action, Action::TearDown { .. }) {
            return self.tear_down(state, action, fence).await;
        }
        if matches!(action, Action::Rest { .. } | Action::Work { .. }) {
            return self.hand_over(state, action, fence).await;
        }
        if matches!(action, Action::Hook { .. }) {
            return self.hook(state, action, fence).await;
        }
        if matches!(action, Action::Apply { .. } | Action::RemoveShared) {
            return self.whole(state, action, fence).await;
        }
        let performed = self.performer.perform(state, action, fence);
        if !may_be_dropped(action) {
            return Ok(performed.await);
        }
        tokio::select! {
            biased;
            Some((ask, by)) = self.asks.recv() => Ok(Event::Asked { ask, by }),
            event = performed => Ok(event),
            unheld = lost(self.lease) => Err(unheld.into()),
        }
    }

    /// Does what takes its time and cannot be cut short. What is asked meanwhile is noted at once, so
    /// that whoever asks is not left without an answer, and waits.
    async fn whole(
        &mut self,
        state: &mut State,
        action: &Action,
        fence: Fence,
    ) -> Result<Event, Stopped> {
        let (begun, performer) = (state.clone(), self.performer);
        let mut performed = pin!(performer.perform(&begun, action, fence));
        loop {
            tokio::select! {
                biased;
                event = &mut performed => return Ok(event),
                Some((ask, by)) = self.asks.recv() => {
                    let noted = self.note(state, Event::Asked { ask, by }).await;
                    if noted.is_err() {
                        performed.as_mut().await;
                    }
                    noted?;
                }
            }
        }
    }

    /// Stops workers or starts them. Only what takes the service away or turns the run round cuts
    /// that short: nothing else may leave the workers of neither release at work.
    async fn hand_over(
        &mut self,
        state: &mut State,
        action: &Action,
        fence: Fence,
    ) -> Result<Event, Stopped> {
        let (begun, performer) = (state.clone(), self.performer);
        let mut performed = pin!(performer.perform(&begun, action, fence));
        loop {
            tokio::select! {
                biased;
                Some((ask, by)) = self.asks.recv() => {
                    if matches!(ask, Ask::Yield | Ask::Abort) {
                        return Ok(Event::Asked { ask, by });
                    }
                    self.note(state, Event::Asked { ask, by }).await?;
                }
                event = &mut performed => return Ok(event),
                unheld = lost(self.lease) => return Err(unheld.into()),
            }
        }
    }

    /// Removes a candidate. A signal, before it or meanwhile, leaves it [`SIGNALLED`] to come to its
    /// end; whatever else is asked is noted, and waits.
    async fn tear_down(
        &mut self,
        state: &mut State,
        action: &Action,
        fence: Fence,
    ) -> Result<Event, Stopped> {
        let (begun, performer) = (state.clone(), self.performer);
        let mut performed = pin!(performer.perform(&begun, action, fence));
        let limit = || Instant::now() + SIGNALLED;
        let mut end = (state.ask == Some(Ask::Leave)).then(limit);
        loop {
            tokio::select! {
                biased;
                event = &mut performed => return Ok(event),
                () = until(end) => return Ok(Event::Asked {
                    ask: Ask::Yield,
                    by: format!("{TIME_UP}{} s", SIGNALLED.as_secs()),
                }),
                Some((ask, by)) = self.asks.recv() => {
                    if ask == Ask::Leave {
                        end.get_or_insert_with(limit);
                    }
                    self.note(state, Event::Asked { ask, by }).await?;
                }
            }
        }
    }

    /// Runs a hook. What is asked meanwhile may end it, by the same signals as any process; what it
    /// has come to by then is its outcome.
    async fn hook(
        &mut self,
        state: &mut State,
        action: &Action,
        fence: Fence,
    ) -> Result<Event, Stopped> {
        let (begun, performer) = (state.clone(), self.performer);
        let mut performed = pin!(performer.perform(&begun, action, fence));
        let mut unheld = pin!(lost(self.lease));
        loop {
            tokio::select! {
                biased;
                event = &mut performed => return Ok(event),
                unheld = &mut unheld => {
                    performer.stop_hook();
                    performed.as_mut().await;
                    return Err(unheld.into());
                }
                Some((ask, by)) = self.asks.recv() => {
                    let ends = state.ends_hook(&ask);
                    // The hook is ended even where this cannot be written down.
                    if ends {
                        performer.stop_hook();
                    }
                    let noted = self.note(state, Event::Asked { ask, by }).await;
                    if noted.is_err() {
                        performer.stop_hook();
                        performed.as_mut().await;
                    }
                    noted?;
                }
            }
        }
    }

    /// What went wrong may be the work of one who has taken over, from a process that stood still
    /// for less than its lease lives: then nothing of it is this run's, and nothing is recorded. And
    /// where the pointer does not refuse what comes too late, a move that went well may have come too
    /// late.
    async fn believe(&self, action: &Action, event: Event) -> Result<Event, Stopped> {
        match event {
            Event::Switched { .. } | Event::Previewed { .. } | Event::Hidden { .. }
                if !self.performer.is_fenced() =>
            {
                self.lease.confirm().await?;
                Ok(event)
            }
            Event::SwitchRefused { why, found } => {
                let fence = self.lease.hold().await?;
                self.lease.confirm().await?;
                if let Some(found) = found.as_ref().filter(|found| found.fence > fence) {
                    let by = found.author.clone();
                    return Err(Unheld::Taken { by }.into());
                }
                Ok(match action {
                    Action::Switch { .. } => Event::SwitchRefused { why, found },
                    _ => Event::Lost {
                        why: "the pointer has seen another operator".into(),
                    },
                })
            }
            Event::Failed(failure) => {
                self.lease.confirm().await?;
                Ok(Event::Failed(failure))
            }
            event => Ok(event),
        }
    }

    async fn note(&mut self, state: &mut State, event: Event) -> Result<Written, Stopped> {
        let next = (self.core.apply)(state.clone(), &event)?;
        let fence = self.lease.hold().await?;
        let written = self.ledger.record(fence, &event).await?;
        *state = next;
        Ok(written)
    }
}

/// Ends at `end`, if there is one.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Ends when the lease is not held: one who was frozen while a bake went on must not sit it out.
async fn lost(lease: &dyn Hold) -> Unheld {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(unheld) = lease.hold().await {
            return unheld;
        }
    }
}

/// Acts that something asked from outside may cut short. What they leave is found by looking.
fn may_be_dropped(action: &Action) -> bool {
    match action {
        Action::Prepare
        | Action::StandUp
        | Action::Prove
        | Action::Verify { .. }
        | Action::Drain { .. }
        | Action::Watch { .. }
        | Action::SeeClients { .. } => true,
        Action::Observe
        | Action::Mark { .. }
        | Action::Preview { .. }
        | Action::Hide { .. }
        | Action::Switch { .. }
        | Action::Rest { .. }
        | Action::Work { .. }
        | Action::Retire { .. }
        | Action::Hook { .. }
        // What a stop that is given up does to a container, the engine does later.
        | Action::Sleep { .. }
        | Action::Wake { .. }
        | Action::Disconnect
        // Its old container may be stopped, and the new one not be there.
        | Action::Apply { .. }
        | Action::RemoveShared
        | Action::TearDown { .. } => false,
    }
}

/// Whether a run may go on when its journal cannot be written: only a rollback may.
#[must_use]
pub fn goes_on_without_journal(verb: &Verb) -> bool {
    match verb {
        Verb::Rollback { .. } => true,
        Verb::Deploy { .. }
        | Verb::HandOver { .. }
        | Verb::Prune { .. }
        | Verb::Down { .. }
        | Verb::Apply { .. } => false,
    }
}
