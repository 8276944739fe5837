//! What every engine must see of those who come to an environment.

use std::any::Any;
use std::net::SocketAddr;

use async_trait::async_trait;
use flipside::core::names::{Millis, Release};
use flipside::core::plan::StandbyMode;
use flipside::core::world::Environment;

use super::backends::until;
use super::engine_contract::Fixture;

/// How long nobody is awaited, in milliseconds.
const WATCH: Millis = 200;

/// Who comes to an environment from elsewhere.
#[async_trait(?Send)]
pub trait Clients {
    /// Opens a connection to an endpoint of a release; it ends when it is dropped.
    async fn connect(&self, release: Release, endpoint: SocketAddr) -> Box<dyn Any>;
}

/// Every promise, one after the other.
pub async fn all(f: &Fixture<'_>) {
    nobody_comes_to_what_nobody_knows(f).await;
    an_open_connection_is_seen_until_it_ends(f).await;
    what_is_frozen_keeps_its_clients_and_what_has_ended_has_none(f).await;
}

async fn seen(f: &Fixture<'_>, environment: &Environment) -> u64 {
    let one = std::slice::from_ref(environment);
    let seen = f.engine.clients(&f.service, one, WATCH).await;
    let [seen] = &seen.unwrap()[..] else {
        panic!("not one answer");
    };
    *seen.as_ref().unwrap()
}

async fn freeze(f: &Fixture<'_>, mode: StandbyMode) {
    let freeze = f.engine.freeze(&f.service, Release(1), mode);
    freeze.await.unwrap();
}

async fn again(f: &Fixture<'_>, release: u64) -> Environment {
    let mut all = f.engine.inspect(&f.service).await.unwrap().into_iter();
    all.find(|it| it.release == Release(release)).unwrap()
}

/// Twice, as who was killed looks again.
pub async fn nobody_comes_to_what_nobody_knows(f: &Fixture<'_>) {
    let environment = f.up(&f.spec(1, 2)).await;
    for _ in 0..2 {
        assert_eq!(seen(f, &environment).await, 0);
    }
    assert_eq!(again(f, 1).await.containers, environment.containers);
    f.clean(&[1]).await;
}

pub async fn an_open_connection_is_seen_until_it_ends(f: &Fixture<'_>) {
    let old = f.up(&f.spec(1, 2)).await;
    let new = f.up(&f.spec(2, 1)).await;
    let [one, other] = old.endpoints()[..] else {
        panic!("{old:?}");
    };
    let first = f.clients.connect(Release(1), other).await;
    assert_eq!((seen(f, &old).await, seen(f, &new).await), (1, 0));
    let second = f.clients.connect(Release(1), one).await;
    assert_eq!(seen(f, &old).await, 2);
    drop((first, second));
    until("the end of the connections", async || {
        (seen(f, &old).await == 0).then_some(())
    })
    .await;
    f.clean(&[1, 2]).await;
}

pub async fn what_is_frozen_keeps_its_clients_and_what_has_ended_has_none(f: &Fixture<'_>) {
    let environment = f.up(&f.spec(1, 1)).await;
    let open = f.clients.connect(Release(1), environment.endpoints()[0]);
    let open = open.await;
    freeze(f, StandbyMode::Frozen).await;
    assert_eq!(seen(f, &again(f, 1).await).await, 1);
    // What is frozen does not end its side.
    drop(open);
    until("the end of the connection", async || {
        (seen(f, &again(f, 1).await).await == 0).then_some(())
    })
    .await;
    freeze(f, StandbyMode::Stopped).await;
    assert_eq!(seen(f, &again(f, 1).await).await, 0);
    f.clean(&[1]).await;
}
