//! The fake pointer, held to the pointer's contract.

use std::sync::Arc;

use flipside::core::names::ServiceName;
use flipside::core::plan::ImageSource;
use flipside::core::progress::Silent;
use flipside::engine::Engine;

use crate::support::fake_engine::FakeEngine;
use crate::support::fake_pointer::FakePointer;
use crate::support::fake_world::{FakeWorld, lock};
use crate::support::pointer_contract::{self, Fixture};
use crate::support::sample;

async fn fixture(keeps_marks: bool) -> Fixture {
    let world = FakeWorld::new();
    lock(&world).pointer_keeps_marks = keeps_marks;
    let engine = FakeEngine::over(&world);
    let service = ServiceName::new("shop").unwrap();
    let mut at = Vec::new();
    for release in [1, 2] {
        let web = sample::role(ImageSource::Pull("web:1".into()));
        let spec = sample::spec(&service, release, vec![("web", web)]);
        let images = engine.prepare(&spec, &Silent).await.unwrap();
        let stood = engine.stand_up(&spec, &images, &Silent).await.unwrap();
        at.push(stood.endpoints()[0]);
    }
    Fixture {
        pointer: Arc::new(FakePointer::over(&world, &service)),
        at: [at[0], at[1]],
    }
}

#[tokio::test(start_paused = true)]
async fn the_fake_keeps_the_contract() {
    pointer_contract::all(async || fixture(true).await).await;
}

#[tokio::test(start_paused = true)]
async fn the_fake_without_marks_keeps_the_contract() {
    pointer_contract::all(async || fixture(false).await).await;
}
