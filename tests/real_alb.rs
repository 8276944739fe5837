//! A load balancer of AWS's as a pointer: the contract, on a scripted server and on an emulator.

mod bad_days;
mod kills;
pub mod kit;
mod preview;
mod slots;
mod verbs;

use crate::support::backends::named;
use crate::support::elb::Elb;
use crate::support::pointer_contract::{self, Fixture};
use kit::{behind, plan, pointer, showing};

#[tokio::test]
async fn the_contract_holds() {
    let at = [named("one").await, named("two").await];
    let mut all = Vec::new();
    for _ in 0..pointer_contract::PROMISES {
        all.push(Elb::start().await);
    }
    let next = std::cell::Cell::new(0);
    pointer_contract::all(async || {
        let elb = &all[next.replace(next.get() + 1)];
        Fixture {
            pointer: pointer(&elb.api.endpoint(), showing(plan(elb.at))),
            at,
        }
    })
    .await;
}

#[tokio::test]
async fn what_stood_there_is_taken_over_and_put_back() {
    let elb = Elb::start().await;
    elb.register("old", named("old").await);
    elb.set_weights(&[("old", 7)]);
    let before = elb.actions();
    pointer_contract::what_stood_there_is_put_back(&behind(&elb).await).await;
    assert_eq!(elb.actions(), before);
}
