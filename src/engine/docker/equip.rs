//! What a container needs between its creation and its start, whoever it is made for.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, EndpointSettings, NetworkConnectRequest};

use super::create::Wanted;
use super::{Docker, files, names};
use crate::core::plan::Role;
use crate::docker::refused;
use crate::engine::{EngineError, Spec};

/// In bytes, of Linux (`sethostname(2)`).
const LONGEST_HOST_NAME: usize = 64;

/// The entrypoint of an image; none is an empty one.
pub(super) async fn image_entrypoint(
    engine: &Docker,
    image: &str,
) -> Result<Vec<String>, EngineError> {
    let client = &engine.client;
    let answer = client.docker.inspect_image(image).await;
    let answer = answer.map_err(|error| client.fault(error))?;
    Ok(answer
        .config
        .and_then(|config| config.entrypoint)
        .unwrap_or_default())
}

/// Gives a container its files and external networks, before its start.
pub(super) async fn equip(
    engine: &Docker,
    spec: &Spec,
    role: &Role,
    name: &str,
) -> Result<(), EngineError> {
    if let Some(tar) = files::single_files(role) {
        files::put(engine, name, tar).await?;
    }
    // The engine lets one that uses another's network join none besides.
    let networks = role.networks.iter();
    for key in networks.filter(|_| role.network_of.is_none()) {
        let Some(network) = spec.plan.external_networks.get(key) else {
            continue;
        };
        // No alias: one there would name blue and green alike.
        join(engine, network, name, &[]).await?;
    }
    if !spec.plan.shared.is_empty() && role.network_of.is_none() {
        let network = names::shared_network(&spec.plan.service);
        join(engine, &network, name, &[]).await?;
    }
    Ok(())
}

/// Keeps a role's `hostname` to the release: the engine makes it an alias on every network that the
/// container is in, and on that of the shared roles it would name the containers of all releases alike.
/// The name as it is leads to it in its own network; its containers call themselves by one with a second
/// part that no other release has.
pub(super) fn keep_host_name(spec: &Spec, wanted: &Wanted<'_>, body: &mut ContainerCreateBody) {
    let Some(name) = body.hostname.take_if(|_| !spec.plan.shared.is_empty()) else {
        return;
    };
    let unique = format!("{name}.{}-{}", spec.release, wanted.replica);
    body.hostname = Some(unique).filter(|unique| unique.len() <= LONGEST_HOST_NAME);
    let networks = body.networking_config.as_mut();
    let networks = networks.and_then(|config| config.endpoints_config.as_mut());
    for own in networks.into_iter().flat_map(HashMap::values_mut) {
        own.aliases.get_or_insert_default().push(name.clone());
    }
}

/// Connects a container to a network, where it is not; under `aliases` besides its own name.
pub(super) async fn join(
    engine: &Docker,
    network: &str,
    container: &str,
    aliases: &[String],
) -> Result<(), EngineError> {
    let client = &engine.client;
    let request = NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(EndpointSettings {
            aliases: (!aliases.is_empty()).then(|| aliases.to_vec()),
            ..EndpointSettings::default()
        }),
    };
    match client.docker.connect_network(network, request).await {
        Ok(()) => Ok(()),
        Err(error) => match client.fault(error) {
            EngineError::Failed(failure) if failure.what.contains("already exists") => Ok(()),
            EngineError::Failed(failure) => Err(refused(format!(
                "`{container}` cannot join `{network}`: {}",
                failure.what
            ))),
            other => Err(other),
        },
    }
}
