//! The fake pointer, held to the pointer's contract.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use flipside::core::names::{Release, ServiceName, Slot};
use flipside::core::plan::{ImageSource, Slots};
use flipside::core::progress::Silent;
use flipside::core::routing::{Route, Routing};
use flipside::engine::Engine;
use flipside::pointer::Pointer;
use flipside::pointer::slot::Slotted;

use crate::support::facts;
use crate::support::faults::{Fault, Op};

use crate::support::fake_engine::FakeEngine;
use crate::support::fake_pointer::FakePointer;
use crate::support::fake_world::{FakeWorld, Shared, lock};
use crate::support::pointer_contract::{self, Fixture};
use crate::support::sample;

/// What stands, and where the releases answer.
async fn stands(keeps_marks: bool) -> (Shared, ServiceName, [SocketAddr; 3]) {
    let world = FakeWorld::new();
    lock(&world).pointer_keeps_marks = keeps_marks;
    let engine = FakeEngine::over(&world);
    let service = ServiceName::new("shop").unwrap();
    let mut at = Vec::new();
    for release in [1, 2, 3] {
        let web = sample::role(ImageSource::Pull("web:1".into()));
        let spec = sample::spec(&service, release, vec![("web", web)]);
        let images = engine.prepare(&spec, &Silent).await.unwrap();
        let stood = engine.stand_up(&spec, &images, &Silent).await.unwrap();
        at.push(stood.endpoints()[0]);
    }
    (world, service, at.try_into().unwrap())
}

async fn fixture(keeps_marks: bool) -> Fixture {
    let (world, service, at) = stands(keeps_marks).await;
    Fixture {
        pointer: Arc::new(FakePointer::over(&world, &service)),
        at: [at[0], at[1]],
    }
}

const SLOTS: Slots = {
    const fn at(last: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 80)
    }
    Slots {
        blue: at(10),
        green: at(11),
    }
};

/// As one who acts on the service has it.
fn slotted(world: &Shared, service: &ServiceName) -> Slotted {
    lock(world).slots = Some(SLOTS);
    let forwarder = FakePointer::over(world, &FakeWorld::slots_of(service));
    let pointer = FakePointer::over(world, service);
    Slotted::new(Arc::new(pointer), Arc::new(forwarder), SLOTS)
}

#[tokio::test(start_paused = true)]
async fn the_fake_keeps_the_contract() {
    pointer_contract::all(async || fixture(true).await).await;
}

#[tokio::test(start_paused = true)]
async fn the_fake_without_marks_keeps_the_contract() {
    pointer_contract::all(async || fixture(false).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_pointer_with_slots_keeps_the_contract() {
    pointer_contract::all(async || {
        let (world, service, at) = stands(false).await;
        Fixture {
            pointer: Arc::new(slotted(&world, &service)),
            at: [at[0], at[1]],
        }
    })
    .await;
}

/// Release 3 was about to take the slot of release 1, to which another one has gone back meanwhile:
/// nothing is attached to a slot that serves.
#[tokio::test(start_paused = true)]
async fn who_comes_late_attaches_nothing_to_a_slot_that_serves() {
    let (world, service, at) = stands(false).await;
    let to = |release: u64, fence| Routing {
        fence,
        routes: vec![Route {
            release: Release(release),
            slot: [Slot::Green, Slot::Blue][release as usize % 2],
            weight: 100,
            endpoints: vec![at[release as usize - 1]],
        }],
        ..facts::foreign()
    };
    let [late, other] = [(); 2].map(|()| slotted(&world, &service));
    late.write(None, &to(1, 1)).await.unwrap();
    late.write(Some(1), &to(2, 1)).await.unwrap();
    lock(&world).faults.plan(Op::Write, [Fault::Late]);
    late.write(Some(2), &to(3, 2)).await.unwrap_err();
    other.write(Some(2), &to(1, 3)).await.unwrap();
    lock(&world).land_late();
    let met = lock(&world).routing(&service).unwrap();
    assert_eq!(met.live(), Some(Release(1)));
    assert_eq!(met.routes[0].endpoints, [at[0]]);
    assert_eq!(other.read().await.unwrap().unwrap().routes, met.routes);
}
