//! The watch over what has just been started and that no probe asks: live-only containers.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::tell::{self, Case};
use super::{Proving, Unfit};
use crate::core::names::Millis;
use crate::core::progress::Progress;
use crate::core::words::{list, millis};
use crate::core::world::Health;

/// How often the health of containers is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the engine may take for one look, in milliseconds.
const LOOK_LIMIT: Millis = 3_000;

impl Proving<'_> {
    /// Holds that every container runs from now on for `settle_ms` milliseconds.
    ///
    /// # Errors
    /// [`Unfit::Failed`] at once where one ends, is started again, or is unhealthy; the others where
    /// at the end the engine cannot be asked.
    pub async fn settle(&self, settle_ms: Millis) -> Result<(), Unfit> {
        let until = Instant::now() + Duration::from_millis(settle_ms);
        let when = format!(" before it had run for {}", millis(settle_ms));
        tokio::select! {
            biased;
            exits = self.exits(Duration::ZERO) => Err(self.fell(exits, &when).await),
            settled = self.look_until(until) => settled,
        }
    }

    async fn look_until(&self, until: Instant) -> Result<(), Unfit> {
        let names = self.environment.containers.iter();
        let names: Vec<_> = names.map(|container| container.name.clone()).collect();
        loop {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            self.sink.progress(Progress::Wait {
                what: format!("{} to settle", list(&names)),
            });
            self.none_is_ill().await?;
            if left == 0 {
                return self.unasked(now).await;
            }
            sleep_until(until.min(now + LOOK)).await;
        }
    }

    /// An engine that cannot be asked says nothing against a container; at the end it must.
    async fn none_is_ill(&self) -> Result<(), Unfit> {
        let mut cases = Vec::new();
        for container in &self.environment.containers {
            let looked = self.within(LOOK_LIMIT, self.engine.container(&container.id));
            let Ok(Some(now)) = looked.await else {
                continue;
            };
            let reason = match (tell::stopped(&now.state), now.health) {
                (Some(stopped), _) => stopped,
                (None, Health::Unhealthy) => "its HEALTHCHECK says unhealthy".into(),
                (None, Health::None | Health::Starting | Health::Healthy) => continue,
            };
            cases.push(Case {
                what: tell::sentence(&tell::replica(self.environment, container), &reason),
                hint: tell::exit_hint(&now.state, &container.role),
                container,
                reasons: vec![reason],
            });
        }
        match cases.is_empty() {
            true => Ok(()),
            false => Err(Unfit::Failed(self.failure(cases).await)),
        }
    }
}
