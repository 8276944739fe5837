//! Taking the lease in one's turn: at once, or after a wait for the operator who holds the service.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::core::names::Fence;
use crate::core::progress::Progress;
use crate::core::survey::View;
use crate::core::words::{clean, millis};
use crate::core::world::World;
use crate::error::{Error, Touched};
use crate::lease::{Acquired, Holder, Lease, Patience};

use super::operator::{Held, Operator, highest};

/// How often a holder who is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Operator {
    /// The highest lease number that journal and pointer have seen.
    ///
    /// # Errors
    /// Where one of them cannot be asked.
    pub async fn floor(&self) -> Result<Fence, Error> {
        let (runs, routing) = tokio::join!(self.need_runs(), self.pointer.read());
        let routing = routing
            .map_err(|error| Error::of_pointer(self.service.as_str(), error, Touched::Nothing))?;
        let world = World {
            routing,
            ..World::default()
        };
        Ok(highest(&runs?, &world, &View::default()).0)
    }

    /// Takes the lease and listens, as [`Operator::lease`].
    ///
    /// # Errors
    /// As [`Operator::lease`].
    pub async fn acquire(
        &self,
        floor: impl AsyncFn() -> Result<Fence, Error>,
    ) -> Result<Held, Error> {
        Ok(self.listen(self.lease(floor).await?))
    }

    /// Takes the lease. Where another operator holds it, that one is waited for, `lock_wait` at
    /// most; SIGINT or SIGTERM ends the wait, as if the time were over. `floor` is asked again
    /// after a wait: whoever held has raised it.
    ///
    /// # Errors
    /// [`Error::HeldBy`], where `floor` fails, and where the engine cannot be asked.
    pub async fn lease(
        &self,
        floor: impl AsyncFn() -> Result<Fence, Error>,
    ) -> Result<Lease, Error> {
        let end = Instant::now() + self.lock_wait;
        let first = self.try_acquire(floor().await?, Patience::Refuse);
        let mut holder = match first.await? {
            Acquired::Got(lease) => return Ok(lease),
            Acquired::HeldBy(holder) => holder,
        };
        if Instant::now() < end {
            self.say_who(&holder);
        }
        let mut stop = Box::pin(self.signalled());
        while Instant::now() < end {
            self.report.progress(Progress::Wait {
                what: format!("{} to let go of `{}`", holder.name, self.service),
            });
            let next = async {
                tokio::time::sleep_until(end.min(Instant::now() + LOOK)).await;
                self.try_above(&floor).await
            };
            tokio::select! {
                biased;
                name = &mut stop => {
                    self.report.warn(&format!("{name}: not waiting any longer"));
                    break;
                }
                tried = next => match tried? {
                    Acquired::Got(lease) => return Ok(lease),
                    Acquired::HeldBy(now) => holder = now,
                },
            }
        }
        Err(Error::HeldBy {
            service: self.service.to_string(),
            holder: holder.to_string(),
        })
    }

    /// Tries once, above what the floor is at the end: a holder may raise it while it is looked at.
    async fn try_above(
        &self,
        floor: &impl AsyncFn() -> Result<Fence, Error>,
    ) -> Result<Acquired, Error> {
        let mut above = floor().await?;
        loop {
            let lease = match self.try_acquire(above, Patience::Refuse).await? {
                Acquired::Got(lease) => lease,
                held => return Ok(held),
            };
            let raised = floor().await;
            if raised.as_ref().is_ok_and(|raised| *raised < lease.fence()) {
                return Ok(Acquired::Got(lease));
            }
            let released = lease.release().await;
            released.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
            above = raised?;
        }
    }

    fn say_who(&self, holder: &Holder) {
        let (holder, service) = (clean(&holder.to_string()), &self.service);
        let wait = u64::try_from(self.lock_wait.as_millis()).unwrap_or(u64::MAX);
        let wait = millis(wait);
        self.report.say(&format!(
            "{holder} holds `{service}`: waiting for up to {wait}"
        ));
    }

    /// The name of the first signal that asks this process to end.
    async fn signalled(&self) -> &'static str {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let [Ok(mut interrupt), Ok(mut terminate)] = kinds.map(signal) else {
            self.report.warn("signals cannot be handled here");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    }
}
