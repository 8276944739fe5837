//! A pointer and a vantage in memory: first-class kinds, held to their contracts like the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flipside::core::event::SwitchRefusal;
use flipside::core::names::{Fence, Generation, Millis, Release, ServiceName};
use flipside::core::progress::Sink;
use flipside::core::routing::{Capabilities, Drained, FOREIGN, Guard, Mark, Routing};
use flipside::core::world::ContainerState;
use flipside::pointer::{Answer, Pointer, PointerError, Way};
use flipside::probe::{Question, Vantage, VantageError};

use super::fake_world::{FakeWorld, Met, Shared, call, lock};
use super::faults::Op;

/// The pointer of one service in a [`FakeWorld`]. Whether it keeps marks is the world's
/// `pointer_keeps_marks`; what a drain shows is the world's `drained`.
#[derive(Clone)]
pub struct FakePointer {
    /// The world it leads into.
    pub world: Shared,
    service: ServiceName,
}

/// What a call does, or why it does not.
type Done<T> = Result<T, (SwitchRefusal, Option<Box<Routing>>)>;

impl FakePointer {
    /// The pointer of `service` in `world`.
    pub fn over(world: &Shared, service: &ServiceName) -> Self {
        Self {
            world: Arc::clone(world),
            service: service.clone(),
        }
    }

    /// A hand that edits the routing, past every guard.
    pub fn edit(&self, edit: impl FnOnce(&mut Routing)) {
        let mut world = lock(&self.world);
        if let Some(routing) = world.routings.get_mut(&self.service) {
            edit(routing);
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        op: Op,
        effect: impl FnOnce(&mut FakeWorld, &ServiceName) -> Done<T> + Send + 'static,
    ) -> Result<T, PointerError> {
        let pointer = self.describe();
        let service = self.service.clone();
        let met = call(&self.world, op, move |world, _| effect(world, &service));
        match met.await {
            Met::Done(Ok(done)) => Ok(done),
            Met::Done(Err((why, found))) => Err(PointerError::Refused { why, found }),
            Met::OutOfReach => Err(PointerError::OutOfReach {
                pointer,
                why: "connection refused".into(),
            }),
            Met::Lost => Err(PointerError::Lost {
                pointer,
                why: "connection reset".into(),
            }),
            Met::Refused(what) => Err(PointerError::Failed { what, hint: None }),
        }
    }
}

/// Lets a fence through that is not lower than any seen, and remembers it: as the embedded proxy
/// does, with the service's routing, for as long as there is one.
fn pass(world: &mut FakeWorld, service: &ServiceName, fence: Fence) -> Done<()> {
    if Some(&fence) < world.fences.get(service) {
        let found = world.routings.get(service).cloned().map(Box::new);
        return Err((SwitchRefusal::Fenced, found));
    }
    if let Some(routing) = world.routings.get_mut(service) {
        routing.fence = fence;
        world.fences.insert(service.clone(), fence);
    }
    Ok(())
}

fn write(
    world: &mut FakeWorld,
    service: &ServiceName,
    expected: Option<Generation>,
    desired: Routing,
) -> Done<Generation> {
    pass(world, service, desired.fence)?;
    let next = expected.unwrap_or(0) + 1;
    let found = world.routings.get(service);
    if let Some(found) = found
        && found.generation == next
        && found.routes == desired.routes
        && found.preview == desired.preview
    {
        return Ok(next);
    }
    if found.map(|found| found.generation) != expected {
        return Err((SwitchRefusal::Moved, found.cloned().map(Box::new)));
    }
    let mut written = Routing {
        generation: next,
        ..desired
    };
    if !world.pointer_keeps_marks {
        written.marks.clear();
    }
    world.fences.insert(service.clone(), written.fence);
    world.routings.insert(service.clone(), written);
    Ok(next)
}

/// The release that answers: the live one, or the one that is shown, if a replica of it runs where
/// the routing says.
fn answer(world: &FakeWorld, service: &ServiceName, way: Way) -> Answer {
    let nothing = Answer {
        release: None,
        status: Some(503),
    };
    let Some(routing) = world.routing(service) else {
        return nothing;
    };
    let meant = match way {
        Way::Service => routing.live(),
        Way::Preview => routing.preview.or(routing.live()),
    };
    if meant == Some(FOREIGN) {
        return Answer {
            release: meant,
            status: Some(200),
        };
    }
    let live = meant.and_then(|release| routing.route(release));
    let standing = world.environments(service);
    let answers = live.is_some_and(|route| {
        let containers = standing.iter().flat_map(|e| &e.containers);
        let mut running = containers.filter(|c| c.state == ContainerState::Running);
        running.any(|c| route.endpoints.iter().any(|e| Some(e.ip()) == c.address))
    });
    match live {
        Some(route) if answers => Answer {
            release: world
                .displaced
                .get(&route.release)
                .copied()
                .or(Some(route.release)),
            status: Some(200),
        },
        _ => nothing,
    }
}

#[async_trait]
impl Pointer for FakePointer {
    fn describe(&self) -> String {
        "fake pointer".into()
    }

    fn capabilities(&self) -> Capabilities {
        let world = lock(&self.world);
        Capabilities {
            weighted: true,
            sticky: false,
            preview: true,
            drains: true,
            lingers: world.pointer_lingers,
            cached: world.pointer_is_cached,
            counts: true,
            atomic: true,
            marks: world.pointer_keeps_marks,
            settle_ms: 0,
            guard: Guard::Fenced,
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.call(Op::Ready, |_, _| Ok(())).await
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.call(Op::Foresee, |_, _| Ok(())).await
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        self.call(Op::Read, |world, service| {
            Ok(world.routings.get(service).cloned())
        })
        .await
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let desired = desired.clone();
        self.call(Op::Write, move |world, service| {
            write(world, service, expected, desired)
        })
        .await
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        _: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let limit = Duration::from_millis(limit_ms);
        lock(&self.world).drain_limits.push(limit);
        let takes = lock(&self.world).drain_takes.min(limit);
        tokio::time::sleep(takes).await;
        let none = Drained {
            in_flight: Some(0),
            finished: Some(0),
            cut: Some(0),
        };
        self.call(Op::Settled, move |world, _| {
            Ok(world.drained.get(&generation).copied().unwrap_or(none))
        })
        .await
    }

    async fn ask(&self, way: Way, _: &str) -> Result<Answer, PointerError> {
        self.call(Op::Ask, move |world, service| {
            Ok(answer(world, service, way))
        })
        .await
    }

    fn preview(&self) -> Option<String> {
        Some("the fake's own way".into())
    }

    async fn mark(&self, fence: Fence, release: Release, mark: Mark) -> Result<(), PointerError> {
        if !lock(&self.world).pointer_keeps_marks {
            return Err(PointerError::Failed {
                what: "this pointer keeps no marks".into(),
                hint: None,
            });
        }
        self.call(Op::MarkPointer, move |world, service| {
            pass(world, service, fence)?;
            if let Some(routing) = world.routings.get_mut(service) {
                routing.marks.entry(release).or_default().add(mark);
            }
            Ok(())
        })
        .await
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        let releases = releases.to_vec();
        self.call(Op::Forget, move |world, service| {
            pass(world, service, fence)?;
            if let Some(routing) = world.routings.get_mut(service) {
                routing
                    .marks
                    .retain(|release, _| !releases.contains(release));
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, fence: Fence) -> Result<(), PointerError> {
        self.call(Op::Remove, move |world, service| {
            pass(world, service, fence)?;
            world.routings.remove(service);
            world.fences.remove(service);
            Ok(())
        })
        .await
    }
}

/// A place from which the containers of a [`FakeWorld`] can be checked.
#[derive(Clone)]
pub struct FakeVantage {
    /// The world it leads into.
    pub world: Shared,
}

#[async_trait]
impl Vantage for FakeVantage {
    fn place(&self) -> String {
        "fake vantage".into()
    }

    async fn check(
        &self,
        address: SocketAddr,
        _: &Question,
        _: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        let met = call(&self.world, Op::Check, move |world, _| world.check(address));
        let why = match met.await {
            Met::Done(answer) => return Ok(answer),
            Met::OutOfReach => "connection refused".into(),
            Met::Lost => "connection reset".into(),
            Met::Refused(why) => why,
        };
        Err(VantageError::Away {
            place: self.place(),
            why,
        })
    }
}
