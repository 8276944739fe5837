//! An engine and a pointer whose short calls end in time, whoever calls them: a socket that takes a
//! call and never answers is out of reach, and not a command that hangs.
//!
//! What may rightly last (pulling, standing up, removing, draining, following) has its limit where
//! it is asked for, and passes through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{LOOK, POINTER};
use crate::core::names::{Fence, Generation, Millis, Release, RoleName, ServiceName};
use crate::core::plan::{Plan, StandbyMode, Text};
use crate::core::progress::Sink;
use crate::core::routing::{Capabilities, Drained, Mark, Marks, Routing};
use crate::core::shared::{Applied, Removed, Shared};
use crate::core::workers::Rival;
use crate::core::world::{Container, Cost, Environment};
use crate::engine::{
    Built, ContainerHook, End, Engine, EngineError, Executed, Images, LogLine, Ran, Spec, Token,
};
use crate::pointer::{Answer, Pointer, PointerError, Way};
use crate::probe::{Vantage, VantageError};

/// How long the pointer may take to be made ready, its container started from nothing included.
const READY: Duration = Duration::from_mins(2);

/// How long an engine may take to be connected to.
pub const CONNECT: Duration = Duration::from_secs(10);

/// The most that a standstill costs who waits [`while_running`].
const STEP: Duration = Duration::from_millis(100);

/// Why there is no answer.
#[must_use]
pub fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// Waits for `call` for as long as this process has run for `limit` meanwhile: one that was stopped, or
/// whose machine slept, has the time it had left to look back at what it has done. `None` where the
/// limit is reached.
pub(super) async fn while_running<T>(limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    let mut left = limit;
    while !left.is_zero() {
        let step = left.min(STEP);
        match tokio::time::timeout(step, &mut call).await {
            Ok(done) => return Some(done),
            Err(_) => left -= step,
        }
    }
    None
}

/// Makes sure that addresses can be checked from a vantage.
///
/// # Errors
/// Where they cannot, or not in time.
pub async fn begin(vantage: &dyn Vantage, sink: &dyn Sink) -> Result<(), VantageError> {
    let begun = tokio::time::timeout(READY, vantage.begin(sink)).await;
    begun.unwrap_or_else(|_| {
        Err(VantageError::Away {
            place: vantage.place(),
            why: no_answer(READY),
        })
    })
}

/// An engine whose short calls end in time.
pub struct BoundedEngine(pub Arc<dyn Engine>);

impl BoundedEngine {
    /// A call that only asks.
    async fn asks<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Fallible<T> {
        tokio::time::timeout(LOOK, call).await.unwrap_or_else(|_| {
            Err(EngineError::OutOfReach {
                engine: self.address().into(),
                why: no_answer(LOOK),
            })
        })
    }

    /// A call that may have taken effect when its answer does not come.
    async fn acts<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Fallible<T> {
        tokio::time::timeout(LOOK, call).await.unwrap_or_else(|_| {
            Err(EngineError::Lost {
                engine: self.address().into(),
                why: no_answer(LOOK),
            })
        })
    }
}

type Fallible<T> = Result<T, EngineError>;

#[async_trait]
impl Engine for BoundedEngine {
    fn address(&self) -> &str {
        self.0.address()
    }

    async fn prepare(&self, spec: &Spec, sink: &dyn Sink) -> Fallible<Images> {
        self.0.prepare(spec, sink).await
    }

    async fn stand_up(
        &self,
        spec: &Spec,
        images: &Images,
        sink: &dyn Sink,
    ) -> Fallible<Environment> {
        self.0.stand_up(spec, images, sink).await
    }

    async fn rest(&self, service: &ServiceName, release: Release) -> Fallible<Vec<String>> {
        self.0.rest(service, release).await
    }

    async fn work(&self, service: &ServiceName, release: Release) -> Fallible<Vec<String>> {
        self.0.work(service, release).await
    }

    async fn inspect(&self, service: &ServiceName) -> Fallible<Vec<Environment>> {
        self.asks(self.0.inspect(service)).await
    }

    async fn container(&self, id: &str) -> Fallible<Option<Container>> {
        self.asks(self.0.container(id)).await
    }

    async fn services(&self) -> Fallible<Vec<ServiceName>> {
        self.asks(self.0.services()).await
    }

    async fn tear_down(&self, service: &ServiceName, release: Release) -> Fallible<()> {
        self.0.tear_down(service, release).await
    }

    async fn freeze(
        &self,
        service: &ServiceName,
        release: Release,
        mode: StandbyMode,
    ) -> Fallible<()> {
        self.0.freeze(service, release, mode).await
    }

    async fn wake(&self, service: &ServiceName, release: Release, sink: &dyn Sink) -> Fallible<()> {
        self.0.wake(service, release, sink).await
    }

    async fn cost(&self, containers: &[Container], now: Millis) -> Fallible<Cost> {
        self.asks(self.0.cost(containers, now)).await
    }

    async fn clients(
        &self,
        service: &ServiceName,
        environments: &[Environment],
        watch_ms: Millis,
    ) -> Fallible<Vec<Fallible<u64>>> {
        self.0.clients(service, environments, watch_ms).await
    }

    async fn images(&self, service: &ServiceName) -> Fallible<Vec<Built>> {
        self.asks(self.0.images(service)).await
    }

    async fn drop_image(&self, id: &str) -> Fallible<()> {
        self.acts(self.0.drop_image(id)).await
    }

    async fn logs(&self, container: &str, tail: u32) -> Fallible<Vec<String>> {
        self.asks(self.0.logs(container, tail)).await
    }

    async fn follow(
        &self,
        containers: &[String],
        tail: u32,
        lines: tokio::sync::mpsc::Sender<LogLine>,
    ) -> Fallible<()> {
        self.0.follow(containers, tail, lines).await
    }

    async fn exec(&self, container: &str, command: &[Text]) -> Fallible<Executed> {
        self.0.exec(container, command).await
    }

    async fn marks(&self, service: &ServiceName) -> Fallible<BTreeMap<Release, Marks>> {
        self.asks(self.0.marks(service)).await
    }

    async fn mark(&self, service: &ServiceName, release: Release, mark: Mark) -> Fallible<()> {
        self.acts(self.0.mark(service, release, mark)).await
    }

    async fn claim(&self, service: &ServiceName, token: &Token) -> Fallible<Token> {
        self.acts(self.0.claim(service, token)).await
    }

    async fn tokens(&self, service: &ServiceName) -> Fallible<Vec<Token>> {
        self.asks(self.0.tokens(service)).await
    }

    async fn drop_token(&self, service: &ServiceName, name: &str) -> Fallible<()> {
        self.acts(self.0.drop_token(service, name)).await
    }

    async fn ended(&self, id: &str) -> Fallible<End> {
        self.0.ended(id).await
    }

    async fn ran(&self, id: &str) -> Fallible<Ran> {
        self.0.ran(id).await
    }

    async fn hook(
        &self,
        spec: &Spec,
        image: &str,
        hook: &ContainerHook,
        sink: &dyn Sink,
    ) -> Fallible<Ran> {
        self.0.hook(spec, image, hook, sink).await
    }

    async fn shared(&self, service: &ServiceName, plan: Option<&Plan>) -> Fallible<Vec<Shared>> {
        self.asks(self.0.shared(service, plan)).await
    }

    async fn rivals(&self, service: &ServiceName, plan: Option<&Plan>) -> Fallible<Vec<Rival>> {
        self.asks(self.0.rivals(service, plan)).await
    }

    async fn apply_shared(
        &self,
        plan: &Plan,
        role: &RoleName,
        sink: &dyn Sink,
    ) -> Fallible<Applied> {
        self.0.apply_shared(plan, role, sink).await
    }

    async fn left_of_shared(&self, service: &ServiceName) -> Fallible<Vec<String>> {
        self.asks(self.0.left_of_shared(service)).await
    }

    async fn settle_shared(&self, service: &ServiceName) -> Fallible<Vec<String>> {
        self.0.settle_shared(service).await
    }

    async fn join_shared(&self, service: &ServiceName) -> Fallible<Vec<String>> {
        self.acts(self.0.join_shared(service)).await
    }

    async fn tear_down_shared(&self, service: &ServiceName) -> Fallible<Removed> {
        self.0.tear_down_shared(service).await
    }

    async fn stop_hook(
        &self,
        service: &ServiceName,
        release: Release,
        hook: &ContainerHook,
        grace_ms: Millis,
    ) -> Fallible<()> {
        let stop = self.0.stop_hook(service, release, hook, grace_ms);
        self.acts(stop).await
    }
}

/// A pointer whose short calls end in time.
pub struct BoundedPointer(pub Arc<dyn Pointer>);

impl BoundedPointer {
    async fn asks<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, PointerError>>,
    ) -> Result<T, PointerError> {
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(PointerError::OutOfReach {
                pointer: self.describe(),
                why: no_answer(limit),
            })
        })
    }
}

#[async_trait]
impl Pointer for BoundedPointer {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn patience_ms(&self) -> Millis {
        self.0.patience_ms()
    }

    async fn ready(&self, sink: &dyn Sink) -> Result<(), PointerError> {
        // What hangs before anything is started hangs for good.
        let looked = tokio::time::timeout(POINTER, self.0.read()).await;
        if looked.is_err() {
            return Err(PointerError::OutOfReach {
                pointer: self.describe(),
                why: no_answer(POINTER),
            });
        }
        self.asks(READY, self.0.ready(sink)).await
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.asks(POINTER, self.0.foresee()).await
    }

    async fn foresee_preview(&self) -> Result<(), PointerError> {
        self.asks(POINTER, self.0.foresee_preview()).await
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        self.asks(POINTER, self.0.read()).await
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        self.0.write(expected, desired).await
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        self.0.settled(generation, limit_ms, sink).await
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        self.asks(POINTER, self.0.ask(way, path)).await
    }

    fn preview(&self) -> Option<String> {
        self.0.preview()
    }

    async fn mark(&self, fence: Fence, release: Release, mark: Mark) -> Result<(), PointerError> {
        self.0.mark(fence, release, mark).await
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        self.0.forget(fence, releases).await
    }

    async fn remove(&self, fence: Fence) -> Result<(), PointerError> {
        self.0.remove(fence).await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use tokio::time::{Instant, advance, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_given_up_at_the_limit() {
        let start = Instant::now();
        let waited = while_running(LIMIT, std::future::pending::<()>()).await;
        assert_eq!((waited, start.elapsed().as_secs()), (None, 10));
        assert_eq!(while_running(LIMIT, async { 7 }).await, Some(7));
    }

    /// Each of its steps is one that a clock without the standstill would have let it make.
    #[tokio::test(start_paused = true)]
    async fn a_standstill_is_not_counted() {
        let slow = async {
            for _ in 0..9 {
                sleep(Duration::from_secs(1)).await;
            }
            7
        };
        let waiting = tokio::spawn(while_running(LIMIT, slow));
        for _ in 0..3 {
            sleep(Duration::from_secs(1)).await;
            advance(Duration::from_hours(1)).await;
        }
        assert_eq!(waiting.await.unwrap(), Some(7));
    }
}
