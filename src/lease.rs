//! The lock on the engine, and the requests to its holder.
//!
//! A lease is a token `flipside.SERVICE.lease.N` on the engine, where operators with different
//! stores meet. Creating a token is atomic. The holder renews it by creating N+1 and removing N;
//! the highest N holds, and it is the fence that journal and pointer check.
//!
//! # Who is dead
//!
//! A holder on this machine (same boot, same process namespace) is looked up in `/proc`: alive or
//! dead at once. Of one elsewhere only a change of its token shows that it lives, so a watcher
//! waits for one for as long as the lifetime the token names, counted on the watcher's own
//! monotonic clock from when it first saw that token; then it is dead, its token is removed, and
//! N+1 is claimed. No two clocks are ever compared.
//!
//! # What a lease does not promise
//!
//! A holder that is suspended between [`Lease::hold`] and its act may act late. What stops it then
//! is the pointer's guard and the journal's put-if-absent, not the lease.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::core::event::Failure;
use crate::core::names::{Fence, ServiceName};
use crate::engine::{Engine, EngineError};

mod acquire;
mod ask;
mod process;
mod token;

pub use acquire::{acquire, take_over};
pub use ask::{Asked, Reply, Request, ask};
pub use process::Process;
pub use token::Holder;

/// How long a lease lives, and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// A token that has not changed for so long is dead.
    pub lifetime: Duration,
    /// The time between two renewals.
    pub renew: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(15),
            renew: Duration::from_secs(5),
        }
    }
}

/// How long another holder is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: one that is not known to be dead holds.
    Now,
    /// Until it is known whether it lives: at most its lifetime, and not at all on this machine.
    Refuse,
}

/// Who wants the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// `user@host`.
    pub name: String,
    /// The process, by which others on this machine see whether it lives; `None` where that is not
    /// to be seen.
    pub process: Option<Process>,
    /// Where its journal is, for messages.
    pub state: String,
}

impl Who {
    /// This process, as `name`.
    #[must_use]
    pub fn here(name: &str, state: &str) -> Self {
        Self {
            name: name.to_owned(),
            process: Process::here(),
            state: state.to_owned(),
        }
    }
}

/// What came of wanting it.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours.
    Got(Lease),
    /// It is another one's.
    HeldBy(Holder),
}

/// Why a lease holds nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLost {
    /// Another one holds.
    #[error("the service has been taken over by {by}")]
    Taken {
        /// Who.
        by: Holder,
    },
    /// It was not renewed for a whole lifetime and has gone; others may have held meanwhile.
    #[error("the lease has expired: this process stood still for longer than its lifetime")]
    Expired,
    /// It is too old to be trusted, and the engine cannot be asked.
    #[error("it is not known who holds the service: {0}")]
    Unknown(EngineError),
}

/// The lock, held and renewed until it is released or dropped.
///
/// Dropping it only ends the renewal: the token stays, and dies with its lifetime or its process.
#[derive(Debug)]
pub struct Lease {
    held: Arc<Held>,
    renewal: JoinHandle<()>,
}

struct Held {
    engine: Arc<dyn Engine>,
    service: ServiceName,
    who: Who,
    terms: Terms,
    nonce: String,
    /// It was taken from a holder that did not answer and may wake.
    taken: Taken,
    now: Mutex<Standing>,
    /// One renewal at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Who holds the service, if anybody does who may live.
///
/// # Errors
/// Where the engine does not answer.
pub async fn holder(
    engine: &dyn Engine,
    service: &ServiceName,
) -> Result<Option<Holder>, EngineError> {
    let seen = token::leases(engine, service).await?;
    let here = Process::here();
    let dead = |top: &token::Seen| match (&top.process, &here) {
        (Some(process), Some(here)) => matches!(process.life(here), process::Life::Dead),
        _ => false,
    };
    let held = seen.last().filter(|top| !top.free && !dead(top));
    Ok(held.map(token::Seen::holder))
}

/// How a lease was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Free,
    Over,
}

#[derive(Debug, Clone)]
struct Standing {
    number: Fence,
    /// When the call was sent that made this number.
    renewed: Instant,
    lost: Option<LeaseLost>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("service", &self.service)
            .field("nonce", &self.nonce)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Lease {
    fn start(held: Held) -> Self {
        let held = Arc::new(held);
        let renewal = tokio::spawn(Arc::clone(&held).keep());
        Self { held, renewal }
    }

    /// The number it has now; it goes up with each renewal.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.held.standing().number
    }

    /// To be called before each act: answers the fence to act with. No I/O while the last renewal
    /// is young; else it is renewed first, made again where its token has vanished.
    ///
    /// # Errors
    /// Where it is not ours any more, or that cannot be known.
    pub async fn hold(&self) -> Result<Fence, LeaseLost> {
        let standing = self.held.standing();
        if let Some(lost) = standing.lost {
            return Err(lost);
        }
        let lifetime = self.held.terms.lifetime;
        if standing.renewed.elapsed() < lifetime - lifetime / 5 {
            return Ok(standing.number);
        }
        self.held.renew().await
    }

    /// As [`Lease::hold`], but renewed however young the last renewal is: whoever stood still for a
    /// moment may have been taken over in it. Where the engine does not answer, as `hold`.
    ///
    /// # Errors
    /// As [`Lease::hold`].
    pub async fn confirm(&self) -> Result<Fence, LeaseLost> {
        match self.held.renew().await {
            Err(LeaseLost::Unknown(_)) => self.hold().await,
            renewed => renewed,
        }
    }

    /// Lets go, for good: its tokens are removed, and it holds nothing from then on. One that was taken over leaves a token that says it is
    /// free, so that the holder it was taken from, should it wake, sees a higher number; the next
    /// holder removes that.
    ///
    /// # Errors
    /// Where the engine does not answer; the token then dies with its lifetime or its process.
    pub async fn release(&self) -> Result<(), EngineError> {
        self.renewal.abort();
        let held = &self.held;
        let _turn = held.turn.lock().await;
        let standing = held.standing();
        // What was lost has been cleared away already, and so has what was released before.
        if standing.lost.is_some() {
            return Ok(());
        }
        held.amend(|now| now.lost = Some(LeaseLost::Expired));
        let mut keep = None;
        if held.taken == Taken::Over {
            let free = token::free(held, standing.number + 1);
            keep = Some(held.engine.claim(&held.service, &free).await?.name);
        }
        let seen = token::leases(&*held.engine, &held.service).await?;
        for ours in seen.iter().filter(|seen| seen.nonce == held.nonce) {
            if keep.as_ref() != Some(&ours.name) {
                held.engine.drop_token(&held.service, &ours.name).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Held {
    fn standing(&self) -> Standing {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    fn amend(&self, amend: impl FnOnce(&mut Standing)) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        amend(&mut now);
    }

    /// Renews until it is lost.
    async fn keep(self: Arc<Self>) {
        let mut due = self.standing().renewed + self.terms.renew;
        loop {
            tokio::time::sleep_until(due).await;
            due = match self.renew().await {
                Ok(_) => self.standing().renewed + self.terms.renew,
                // The engine may come back before the lifetime is over.
                Err(LeaseLost::Unknown(_)) => Instant::now() + self.terms.renew / 5,
                Err(LeaseLost::Taken { .. } | LeaseLost::Expired) => return,
            };
        }
    }

    /// Creates the next token and removes those before it.
    async fn renew(&self) -> Result<Fence, LeaseLost> {
        let _turn = self.turn.lock().await;
        let standing = self.standing();
        if let Some(lost) = standing.lost {
            return Err(lost);
        }
        match self.renew_from(&standing).await {
            Err(lost @ (LeaseLost::Taken { .. } | LeaseLost::Expired)) => {
                self.amend(|now| now.lost = Some(lost.clone()));
                let seen = self.leases().await.unwrap_or_default();
                let ours = seen.iter().filter(|seen| seen.nonce == self.nonce);
                self.drop_all(ours.map(|seen| &seen.name)).await;
                Err(lost)
            }
            renewed => renewed,
        }
    }

    async fn renew_from(&self, standing: &Standing) -> Result<Fence, LeaseLost> {
        let sent = Instant::now();
        // While it was dead to others they may have held and let go, which leaves no trace.
        if sent - standing.renewed >= self.terms.lifetime {
            let seen = self.leases().await?;
            if !seen.iter().any(|seen| seen.nonce == self.nonce) {
                let other = seen.last().map(token::Seen::holder);
                return Err(other.map_or(LeaseLost::Expired, |by| LeaseLost::Taken { by }));
            }
            self.refuse_higher(&seen, standing.number)?;
        }
        let next = standing.number + 1;
        let wanted = token::lease(self, next);
        let claimed = self.engine.claim(&self.service, &wanted).await;
        let claimed = claimed.map_err(LeaseLost::Unknown)?;
        if !claimed.labels.contains_key("nonce") {
            // Nobody's: an engine whose disk is full makes one and keeps no word of it.
            self.drop_all(std::iter::once(&claimed.name)).await;
            let what = format!("the engine has made `{}` without its labels", claimed.name);
            return Err(LeaseLost::Unknown(EngineError::Failed(Failure {
                what,
                ..Failure::default()
            })));
        }
        if claimed.labels.get("nonce") != Some(&self.nonce) {
            let by = token::Seen::holder(&token::Seen::of(next, &claimed));
            return Err(LeaseLost::Taken { by });
        }
        let seen = self.leases().await?;
        self.refuse_higher(&seen, next)?;
        self.amend(|now| {
            now.number = next;
            now.renewed = sent;
        });
        let lower = seen.iter().filter(|seen| seen.number < next);
        self.drop_all(lower.map(|seen| &seen.name)).await;
        Ok(next)
    }

    async fn leases(&self) -> Result<Vec<token::Seen>, LeaseLost> {
        let seen = token::leases(&*self.engine, &self.service).await;
        seen.map_err(LeaseLost::Unknown)
    }

    fn refuse_higher(&self, seen: &[token::Seen], number: Fence) -> Result<(), LeaseLost> {
        let others = seen.iter().rev().filter(|seen| seen.nonce != self.nonce);
        match others.take(1).find(|seen| seen.number > number) {
            Some(higher) => Err(LeaseLost::Taken {
                by: higher.holder(),
            }),
            None => Ok(()),
        }
    }

    /// Removes tokens. What cannot be removed now is met again by the next renewal or the next
    /// holder, and misleads nobody meanwhile: a lease that is not the highest is no lease, and a
    /// request that is for another holder is no request.
    async fn drop_all<'a>(&self, names: impl Iterator<Item = &'a String>) {
        for token in names {
            let dropped = self.engine.drop_token(&self.service, token).await;
            if let Err(error) = dropped {
                tracing::debug!(token, %error, "an old token stays for now");
            }
        }
    }
}
