//! The embedded proxy as a pointer, on a real engine: its container, its socket, its words.

mod image;
mod kit;
mod life;
mod reach;
mod slots;
mod traffic;

use std::sync::Arc;

use crate::support::pointer_contract::{self, Fixture};
use flipside::pointer::proxy::Control;
use kit::{Rig, named};

async fn keeps_the_contract(control: Control) {
    let rig = Rig::started().await;
    let at = [named("one").await, named("two").await];
    pointer_contract::all(async || Fixture {
        pointer: Arc::new(rig.spoken_to(control).pointer()),
        at,
    })
    .await;
}

#[tokio::test]
async fn the_contract_holds_over_its_socket() {
    keeps_the_contract(Control::Socket).await;
}

#[tokio::test]
async fn the_contract_holds_through_the_engine() {
    keeps_the_contract(Control::Exec).await;
}
