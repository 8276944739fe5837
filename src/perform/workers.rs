//! Handing over between the live-only containers of two releases: those of one come to rest before
//! those of the other start.

use std::time::Duration;

use tokio::time::timeout;

use super::Performer;
use super::fault::{Fault, insist};
use crate::core::event::{Event, Failure, SwitchRefusal};
use crate::core::names::{Fence, Millis, Release};
use crate::core::plan::Probe;
use crate::core::progress::Progress;
use crate::core::routing::Routing;
use crate::core::words::{millis, release_name};
use crate::core::world::Environment;
use crate::engine::DEFAULT_GRACE_MS;

/// Beyond its containers' own grace, how long a release may take to come to rest.
const REST_SLACK: Duration = Duration::from_secs(30);

impl Performer {
    /// Stops the live-only containers of `releases`, none of which may be live.
    ///
    /// The engine cannot refuse a late act, so the pointer is asked before each, as before a removal.
    pub(super) async fn rest(&self, releases: &[Release], fence: Fence) -> Result<Event, Fault> {
        let stands = self.look_again().await?.into_iter();
        let mut containers = Vec::new();
        // One that has been removed meanwhile has nothing that runs.
        for environment in stands.filter(|stands| releases.contains(&stands.release)) {
            let release = environment.release;
            let routing = self.not_late(fence).await?;
            let live = routing.as_ref().and_then(Routing::live);
            if live.is_none_or(|live| live == release) {
                return Err(Fault::Refused(SwitchRefusal::Moved, routing.map(Box::new)));
            }
            let grace = grace(&environment);
            if environment.workers().any(|worker| worker.runs()) {
                self.with.sink.progress(Progress::Wait {
                    what: format!(
                        "the workers of {} to stop, for up to {}",
                        release_name(self.with.service.as_str(), release),
                        millis(grace)
                    ),
                });
            }
            let what = format!("the engine, which stops the workers of release {release},");
            let limit = Duration::from_millis(grace) + REST_SLACK;
            let rest = || async { Ok(self.with.engine.rest(&self.with.service, release).await?) };
            containers.extend(insist(&what, limit, rest).await?);
        }
        Ok(Event::Rested { containers })
    }

    /// Starts the live-only containers of `release`, which must be live, and watches them settle.
    pub(super) async fn work(&self, release: Release, fence: Fence) -> Result<Event, Fault> {
        let routing = self.not_late(fence).await?;
        if routing.as_ref().and_then(Routing::live) != Some(release) {
            return Err(Fault::Refused(SwitchRefusal::Moved, routing.map(Box::new)));
        }
        let mut stands = self.look_again().await?.into_iter();
        let environment = stands.find(|environment| environment.release == release);
        let environment = environment.ok_or_else(|| self.gone(release))?;
        let policy = &environment.labels.policy;
        // One that was about to come to rest does so first.
        let limit = Duration::from_millis(policy.stand_up_ms + grace(&environment));
        let work = insist("starting workers", limit * 2, || async {
            Ok(self.with.engine.work(&self.with.service, release).await?)
        });
        let containers = timeout(limit, work).await.map_err(|_| {
            Fault::Failed(Failure {
                what: format!(
                    "the workers of release {release} did not start within {}",
                    millis(u64::try_from(limit.as_millis()).unwrap_or(Millis::MAX))
                ),
                hint: Some("allow more with `stand_up: {deadline: 10m}` in the plan".into()),
                replicas: Vec::new(),
            })
        })??;
        let workers = environment.at_work();
        let probes: [Probe; 0] = [];
        self.proving(&workers, &probes)
            .settle(policy.settle_ms)
            .await?;
        Ok(Event::Working { containers })
    }
}

/// How long the live-only containers of an environment may take to stop, in milliseconds.
pub(super) fn grace(environment: &Environment) -> Millis {
    match environment.labels.policy.grace_ms {
        0 => DEFAULT_GRACE_MS,
        grace => grace,
    }
}
