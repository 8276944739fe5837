//! Shared roles taken away: flipside's own containers go, a Compose project's have what was theirs again.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::super::{Docker, inspect, names};
use super::look::{self, Trial};
use super::{disconnect, gone, remove, steps, sweep_helpers, volumes};
use crate::core::names::ServiceName;
use crate::core::shared::{Held, Owner, Reach, Removed};
use crate::docker::label_filter;
use crate::engine::EngineError;

/// See [`crate::engine::Engine::tear_down_shared`].
pub(in super::super) async fn tear_down(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Removed, EngineError> {
    let client = &engine.client;
    let looked = look::look(engine, service, None).await?;
    // What was to take the place of a Compose project's, and has not, gives it back.
    let theirs = |trial: &Trial| {
        trial
            .old
            .iter()
            .any(|(old, _)| old.owner != Owner::Flipside)
    };
    let begun = looked.all_together();
    let begun: Vec<_> = begun.iter().filter(|all| all.iter().any(theirs)).collect();
    for together in &begun {
        steps::put_back(engine, service, together).await?;
    }
    let looked = match begun.is_empty() {
        true => looked,
        false => look::look(engine, service, None).await?,
    };
    let network = names::shared_network(service);
    let (ours, theirs): (Vec<_>, Vec<_>) = looked
        .standing
        .iter()
        .partition(|one| one.owner == Owner::Flipside);
    let copied = volumes::copied(engine, service).await?;
    let mounted = ours.iter().flat_map(|one| &one.mounts);
    let kept: BTreeSet<String> = mounted
        .map(|mount| mount.volume.clone())
        .filter(|volume| !copied.contains(volume))
        .collect();
    let ends = ours.iter().map(|one| async {
        let id = &one.container.id;
        steps::never_again(engine, id).await?;
        gone(client, client.docker.stop_container(id, None).await)
    });
    try_join_all(ends).await?;
    // Only now: of the two no daemon that comes back may start both.
    let mut back = Vec::new();
    for was in ours.iter().flat_map(|one| &one.stopped) {
        back.extend(steps::give_back(engine, was).await?);
    }
    try_join_all(ours.iter().map(|one| remove(engine, &one.container.id))).await?;
    sweep_helpers(engine, service).await?;
    volumes::sweep(engine, service).await?;
    for one in theirs.iter().filter(|one| one.reach == Reach::Own) {
        disconnect(engine, &network, &one.container.id).await?;
    }
    // An engine lets racers make two of one name.
    let filter = label_filter(&[
        (names::SERVICE, service.as_str()),
        (names::KIND, names::Kind::Shared.as_str()),
    ]);
    for id in inspect::networks(engine, filter)
        .await?
        .into_iter()
        .filter_map(|n| n.id)
    {
        super::super::tear_down::network(engine, &id).await?;
    }
    let mut held = Vec::new();
    for volume in &kept {
        let filter = [("volume".to_owned(), vec![volume.clone()])];
        let having = inspect::containers(engine, filter.into()).await?;
        held.extend(having.iter().map(|container| Held {
            volume: volume.clone(),
            container: inspect::container_name(container),
        }));
    }
    Ok(Removed {
        kept: kept.into_iter().collect(),
        held,
        back,
    })
}
