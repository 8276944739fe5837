//! Hooks in containers: one for each beginning, with all that a role of the release has but its
//! command, its place in the load and its name on the network.

use std::collections::{BTreeMap, HashMap};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, StopContainerOptions};

use super::create::{self, Wanted};
use super::equip::{equip, image_entrypoint};
use super::names::{self, Kind};
use super::network::{self, Own};
use super::order::roles;
use super::stand_up::{about, acted, of_another_run, uncreated};
use super::tear_down::gone;
use super::{Docker, LAG, once};
use crate::core::names::{Millis, Release, ServiceName};
use crate::core::plan::{Healthcheck, HookAct, Plan, Role, Run, Text};
use crate::core::progress::Sink;
use crate::docker::{found, refused, refused_hint, status};
use crate::engine::{ContainerHook, EngineError, Ran, Spec};

/// How many addresses the hooks of a plan need.
pub(super) fn addresses(plan: &Plan) -> u32 {
    let hooks = plan.hooks.iter();
    let contained = hooks.filter(|hook| matches!(hook.act, HookAct::Container { .. }));
    u32::try_from(contained.count()).unwrap_or(u32::MAX)
}

/// See [`crate::engine::Engine::hook`].
pub(super) async fn hook(
    engine: &Docker,
    spec: &Spec,
    image: &str,
    hook: &ContainerHook,
    sink: &dyn Sink,
) -> Result<Ran, EngineError> {
    let service = &spec.plan.service;
    let name = names::hook(service, spec.release, &hook.name, hook.turn.as_deref());
    let role = role(&spec.plan, hook)?;
    if !is_there(engine, spec, hook, &name).await? {
        let body = body(engine, spec, image, hook, &role).await?;
        let platform = role.platform.clone().unwrap_or_default();
        create(engine, spec, hook, &name, platform, body)
            .await
            .map_err(acted)?;
    }
    let begin = async {
        if !once::is_unstarted(engine, &name).await? {
            return Ok(());
        }
        equip(engine, spec, &role, &name).await?;
        start(engine, &name).await
    };
    begin.await.map_err(acted)?;
    once::to_its_end(engine, &name, &hook.name, sink)
        .await
        .map_err(acted)
}

/// See [`crate::engine::Engine::stop_hook`].
pub(super) async fn stop(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
    hook: &ContainerHook,
    grace_ms: Millis,
) -> Result<(), EngineError> {
    let name = names::hook(service, release, &hook.name, hook.turn.as_deref());
    let seconds = i32::try_from(grace_ms.div_ceil(1000)).unwrap_or(i32::MAX);
    let options = StopContainerOptions {
        t: Some(seconds),
        ..StopContainerOptions::default()
    };
    let client = &engine.client;
    gone(
        client,
        client.docker.stop_container(&name, Some(options)).await,
    )
}

/// The role with the hook's command. It is no replica: nobody asks it, and it says nothing to those
/// who watch for labels.
fn role(plan: &Plan, hook: &ContainerHook) -> Result<Role, EngineError> {
    let role = plan.roles.get(&hook.role);
    let role = role.ok_or_else(|| {
        let (name, role) = (&hook.name, &hook.role);
        refused(format!(
            "the hook `{name}` is for the role `{role}`, which is not in the plan"
        ))
    })?;
    Ok(Role {
        run: Run::Once,
        command: Some(hook.command.clone()),
        healthcheck: Some(Healthcheck {
            test: vec![Text::public("NONE")],
            interval_ms: None,
            timeout_ms: None,
            start_period_ms: None,
            start_interval_ms: None,
            retries: None,
        }),
        labels: BTreeMap::new(),
        hostname: None,
        expose: Vec::new(),
        aliases: Vec::new(),
        replicas: 1,
        ..role.clone()
    })
}

fn labels(spec: &Spec, hook: &ContainerHook) -> HashMap<String, String> {
    let mut labels = names::of_release(&spec.plan.service, spec.release, Kind::Hook);
    labels.insert(names::OPENED_WITH.into(), spec.opened_with.to_string());
    labels.insert(names::HOOK.into(), hook.name.clone());
    labels
}

async fn body(
    engine: &Docker,
    spec: &Spec,
    image: &str,
    hook: &ContainerHook,
    role: &Role,
) -> Result<ContainerCreateBody, EngineError> {
    let service = &spec.plan.service;
    let networks = network::list(&engine.client).await?;
    let name = names::network(service, spec.release);
    let own = network::choose_named(&networks, &name, None);
    let own = own.and_then(|own| Own::of(&name, own)).ok_or_else(|| {
        refused(format!(
            "the network of {service}@{} is gone, and the hook `{}` needs it",
            spec.release, hook.name
        ))
    })?;
    let image_entrypoint = match create::states_entrypoint(role) {
        true => Some(image_entrypoint(engine, image).await?),
        false => None,
    };
    let labels = labels(spec, hook);
    let wanted = Wanted {
        service,
        release: spec.release,
        name: &hook.role,
        role,
        image,
        image_entrypoint,
        replica: 0,
        address: own.subnet.address(index(spec, hook)),
        network: &own,
        labels: &labels,
        api: engine.client.api(),
    };
    let mut body = wanted.body();
    let joined = body.networking_config.as_mut();
    let endpoints = joined.and_then(|config| config.endpoints_config.as_mut());
    for endpoint in endpoints.into_iter().flat_map(HashMap::values_mut) {
        endpoint.aliases = None;
    }
    body.labels = Some(labels.clone());
    Ok(body)
}

/// Addresses of hooks come behind those of all replicas.
fn index(spec: &Spec, hook: &ContainerHook) -> u32 {
    let replicas: u32 = roles(&spec.plan).map(|(_, role)| role.replicas).sum();
    let hooks = spec.plan.hooks.iter();
    let mut contained = hooks.filter(|hook| matches!(hook.act, HookAct::Container { .. }));
    let at = contained.position(|other| other.plan.name == hook.name);
    replicas + u32::try_from(at.unwrap_or_default()).unwrap_or_default()
}

async fn create(
    engine: &Docker,
    spec: &Spec,
    hook: &ContainerHook,
    name: &str,
    platform: String,
    body: ContainerCreateBody,
) -> Result<(), EngineError> {
    let client = &engine.client;
    loop {
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: platform.clone(),
        };
        let created = client.docker.create_container(Some(options), body.clone());
        match created.await {
            Ok(_) => return Ok(()),
            Err(error) if status(&error) == Some(409) => {
                if is_there(engine, spec, hook, name).await? {
                    return Ok(());
                }
                tokio::time::sleep(LAG).await;
            }
            Err(error) => return Err(uncreated(name, client.fault(error))),
        }
    }
}

/// Whether this very hook's container is there; one of the same name that is not is refused.
async fn is_there(
    engine: &Docker,
    spec: &Spec,
    hook: &ContainerHook,
    name: &str,
) -> Result<bool, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(name, None).await);
    let Some(container) = answer.map_err(|error| client.fault(error))? else {
        return Ok(false);
    };
    let theirs = container.config.and_then(|config| config.labels);
    let theirs = theirs.unwrap_or_default();
    let own = labels(spec, hook);
    let same = [names::SERVICE, names::RELEASE, names::KIND, names::HOOK];
    if same.iter().any(|key| theirs.get(*key) != own.get(*key)) {
        return Err(refused_hint(
            format!("the name `{name}` is taken by a container that is not of this release"),
            format!("`docker rm {name}` removes it, if nothing needs it"),
        ));
    }
    match names::is_of_run(&theirs, spec.opened_with) {
        true => Ok(true),
        false => Err(of_another_run(name)),
    }
}

async fn start(engine: &Docker, name: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    match client.docker.start_container(name, None).await {
        Ok(()) => Ok(()),
        // A killed call has started it.
        Err(error) if status(&error) == Some(304) => Ok(()),
        Err(error) => Err(about(name, "did not start", client.fault(error))),
    }
}
