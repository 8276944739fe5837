//! The fake engine, held to the engine's contract.

use flipside::core::names::ServiceName;
use flipside::core::plan::ImageSource;

use crate::support::engine_contract::{self, Fixture};
use crate::support::fake_compose::FakeCompose;
use crate::support::fake_engine::FakeEngine;

#[tokio::test(start_paused = true)]
async fn the_fake_keeps_the_contract() {
    let engine = FakeEngine::new();
    let service = ServiceName::new("shop").unwrap();
    engine_contract::all(&Fixture {
        engine: &engine,
        service: service.clone(),
        compose: &FakeCompose(engine.clone(), service),
        image: ImageSource::Pull("web:1".into()),
        missing: ImageSource::Pull("registry.invalid/none:1".into()),
    })
    .await;
}
