//! The fake engine, held to the engine's contract.

use flipside::core::plan::ImageSource;

use crate::support::engine_contract::{self, Fixture};
use crate::support::facts;
use crate::support::fake_engine::FakeEngine;

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let engine = FakeEngine::new();
    let fixture = Fixture {
        engine: &engine,
        service: facts::shop(),
        image: ImageSource::Pull("shop:1".into()),
        missing: ImageSource::Pull("registry.invalid/none:1".into()),
    };
    engine_contract::all(&fixture).await;
}
