//! The fake engine, held to the engine's contract.

use std::any::Any;
use std::net::SocketAddr;

use async_trait::async_trait;
use flipside::core::names::{Release, ServiceName};
use flipside::core::plan::ImageSource;

use crate::support::clients_contract::Clients;
use crate::support::engine_contract::{self, Fixture};
use crate::support::fake_compose::FakeCompose;
use crate::support::fake_engine::FakeEngine;
use crate::support::fake_world::lock;

/// Those of the fake world.
struct FakeClients(FakeEngine);

/// One of them.
struct Connection(FakeEngine, Release);

#[async_trait(?Send)]
impl Clients for FakeClients {
    async fn connect(&self, release: Release, _: SocketAddr) -> Box<dyn Any> {
        let FakeClients(engine) = self;
        *lock(&engine.world).clients.entry(release).or_default() += 1;
        Box::new(Connection(engine.clone(), release))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Self(engine, release) = self;
        *lock(&engine.world).clients.entry(*release).or_default() -= 1;
    }
}

#[tokio::test(start_paused = true)]
async fn the_fake_keeps_the_contract() {
    let engine = FakeEngine::new();
    let service = ServiceName::new("shop").unwrap();
    engine_contract::all(&Fixture {
        engine: &engine,
        service: service.clone(),
        compose: &FakeCompose(engine.clone(), service),
        clients: &FakeClients(engine.clone()),
        image: ImageSource::Pull("web:1".into()),
        missing: ImageSource::Pull("registry.invalid/none:1".into()),
    })
    .await;
}
