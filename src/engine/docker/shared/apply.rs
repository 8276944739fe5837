//! A shared role's container made anew: the old one is stopped and kept until the new one is well.
//!
//! Which is the old one, and what it was like, stands in the new one's label from its creation on,
//! before the old one is touched. Names say nothing, and every step can be done twice: whoever finds
//! the two goes on from where a killed call was.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::RenameContainerOptions;

use super::super::demands;
use super::super::order;
use super::super::stand_up::acted;
use super::super::{Docker, files, names, prepare};
use super::look::{self, Looked, Mounted, Replaced, Standing, Trial};
use super::make::Make;
use super::{
    LOG_LINES, LOOK, disconnect, external, free_address, gone, network, remove, start, volumes,
};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::Plan;
use crate::core::progress::Sink;
use crate::core::shared::{Applied, Owner};
use crate::core::world::{ContainerState, Health};
use crate::docker::{refused, status};
use crate::engine::{EngineError, Settings};

/// How long one without a health check must have run, without an end, to be kept.
const SETTLE: Duration = Duration::from_secs(2);

/// See [`crate::engine::Engine::apply_shared`].
pub(in super::super) async fn apply(
    engine: &Docker,
    plan: &Plan,
    name: &RoleName,
    sink: &dyn Sink,
) -> Result<Applied, EngineError> {
    let service = &plan.service;
    let role = plan.shared.get(name);
    let role = role.ok_or_else(|| refused(format!("the plan has no shared role `{name}`")))?;
    files::check(plan)?;
    let settings = Settings::of(plan, role)?;
    let mut looked = look::look(engine, service, Some(plan)).await?;
    if let Some(trial) = looked.trial(name).cloned() {
        // One that was never started may lack its files.
        let was_started = trial.new.container.state != ContainerState::Created;
        if was_started && settings.differences(&trial.new.settings).is_empty() {
            return go_on(engine, plan, &trial).await.map_err(acted);
        }
        end(engine, service, &trial).await.map_err(acted)?;
        looked = look::look(engine, service, Some(plan)).await?;
    }
    let standing: Vec<&Standing> = looked.of(name).collect();
    let as_planned = standing
        .iter()
        .all(|one| one.owner == Owner::Flipside && settings.differences(&one.settings).is_empty());
    if as_planned {
        return Ok(Applied {
            as_it_was: true,
            ..Applied::default()
        });
    }
    demands::check(plan, engine.client.api()).map_err(EngineError::Failed)?;
    external::check(engine, plan).await?;
    external::check_taken_over(engine, plan, std::iter::once((name, role))).await?;
    volumes::check(engine, plan, std::iter::once((name, role))).await?;
    volumes::check_unused(engine, plan, std::iter::once((name, role))).await?;
    volumes::check_kept(role, &standing)?;
    order::check_external(engine, plan, std::iter::once((name, role)), None).await?;
    let images = prepare::images(engine, service, &[(name, role)], sink).await?;
    let own = network(engine, plan).await?;
    let replaces: Vec<_> = standing.iter().map(|one| replaced(one)).collect();
    let make = Make {
        engine,
        plan,
        name,
        role,
        image: &images[name],
        network: &own,
        address: address(&looked, &own, &standing)?,
        called: format!("{}.new", names::shared_container(service, name)),
        replaces: &replaces,
        carried: nameless(&standing),
    };
    for one in &standing {
        if one.owner != Owner::Flipside {
            // From here on that it is connected says that it is yet to be replaced.
            let aliases = super::make::aliases(name, role);
            super::join(engine, &own.name, &one.container.id, &aliases).await?;
        }
    }
    make.make().await.map_err(acted)?;
    let looked = look::look(engine, service, Some(plan))
        .await
        .map_err(acted)?;
    let trial = looked
        .trial(name)
        .ok_or_else(|| refused(format!("`{}` has vanished", make.called)))?;
    go_on(engine, plan, trial).await.map_err(acted)
}

/// See [`crate::engine::Engine::settle_shared`].
pub(in super::super) async fn settle(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<String>, EngineError> {
    let looked = look::look(engine, service, None).await?;
    let mut did = Vec::new();
    for trial in &looked.trials {
        did.push(end(engine, service, trial).await.map_err(acted)?);
    }
    super::sweep_helpers(engine, service).await.map_err(acted)?;
    volumes::sweep(engine, service).await.map_err(acted)?;
    Ok(did)
}

/// Ends a trial by what its new container is now.
async fn end(engine: &Docker, service: &ServiceName, trial: &Trial) -> Result<String, EngineError> {
    let role = &trial.new.container.role;
    let new = &trial.new.container;
    let may_be = new.state == ContainerState::Running && new.health != Health::Starting;
    if may_be
        && verdict(engine, &new.id, trial.new.restarts)
            .await?
            .is_none()
    {
        finish(engine, service, trial).await?;
        return Ok(format!(
            "the new container of the shared role `{role}` was kept"
        ));
    }
    put_back(engine, service, trial).await?;
    Ok(format!(
        "the old container of the shared role `{role}` was put back"
    ))
}

/// Every step of the exchange that has not been done.
async fn go_on(engine: &Docker, plan: &Plan, trial: &Trial) -> Result<Applied, EngineError> {
    let service = &plan.service;
    let (client, new) = (&engine.client, &trial.new.container);
    let called = names::shared_container(service, &new.role);
    for (old, _) in &trial.old {
        let id = &old.container.id;
        restart(engine, id, RestartPolicyNameEnum::NO, None).await?;
        gone(client, client.docker.stop_container(id, None).await)?;
        if old.owner == Owner::Flipside {
            rename(engine, &old.container.name, id, &format!("{called}.old")).await?;
        }
    }
    rename(engine, &new.name, &new.id, &called).await?;
    let failed = match started(engine, &new.id).await? {
        None => in_time(engine, plan, &new.id).await?,
        why => why,
    };
    if let Some(why) = failed {
        // What happened is worth more than the logs: an engine that withholds them hides nothing.
        let logs = super::logs::tail(engine, &new.id, LOG_LINES).await;
        let found = look::look(engine, service, Some(plan)).await?;
        let trial = found.trial(&new.role).unwrap_or(trial);
        put_back(engine, service, trial).await?;
        return Err(EngineError::Failed(Failure {
            what: format!(
                "the shared role `{}` did not come up with its new settings, and the old container \
                 was put back: {why}",
                new.role
            ),
            hint: None,
            replicas: vec![ReplicaReport {
                container: called,
                reasons: vec![why],
                logs: logs.unwrap_or_default(),
            }],
        }));
    }
    finish(engine, service, trial).await?;
    let kept = trial
        .old
        .iter()
        .filter(|(old, _)| old.owner != Owner::Flipside);
    Ok(Applied {
        kept: kept.map(|(old, _)| old.container.name.clone()).collect(),
        as_it_was: false,
    })
}

/// Starts the new one; why it does not, where the engine says no.
async fn started(engine: &Docker, id: &str) -> Result<Option<String>, EngineError> {
    match start(engine, id).await {
        Ok(()) => Ok(None),
        Err(EngineError::Failed(failure)) => Ok(Some(
            failure
                .replicas
                .into_iter()
                .flat_map(|replica| replica.reasons)
                .next()
                .unwrap_or(failure.what),
        )),
        Err(error) => Err(error),
    }
}

/// Why a new container is not well, once that is known; `None` where it is. The engine has started it
/// again so many times before this.
async fn verdict(engine: &Docker, id: &str, restarts: i64) -> Result<Option<String>, EngineError> {
    let mut ran = Duration::ZERO;
    loop {
        let Some(now) = look::one(engine, id).await? else {
            return Ok(Some("it is gone".into()));
        };
        if now.restarts > restarts {
            return Ok(Some("it ended, and was started again".into()));
        }
        match (&now.container.state, now.container.health) {
            (ContainerState::Running, Health::Healthy) => return Ok(None),
            (ContainerState::Running, Health::Unhealthy) => {
                return Ok(Some("its health check failed as often as it may".into()));
            }
            (ContainerState::Running, Health::None) if ran >= SETTLE => return Ok(None),
            (ContainerState::Running | ContainerState::Paused, _) => {}
            _ => return Ok(Some(now.told().does())),
        }
        tokio::time::sleep(LOOK).await;
        ran += LOOK;
    }
}

/// As [`verdict`] of one that has just been started, which has as long as the plan allows.
async fn in_time(engine: &Docker, plan: &Plan, id: &str) -> Result<Option<String>, EngineError> {
    let limit = Duration::from_millis(plan.policy.stand_up_ms);
    match tokio::time::timeout(limit, verdict(engine, id, 0)).await {
        Ok(verdict) => verdict,
        Err(_) => {
            let does = look::one(engine, id).await?.map(|one| one.told().does());
            let does = does.unwrap_or_else(|| "gone".into());
            Ok(Some(format!("after {} s it is {does}", limit.as_secs())))
        }
    }
}

/// The new one stays. What it has replaced is removed, or left where it is not ours.
async fn finish(engine: &Docker, service: &ServiceName, trial: &Trial) -> Result<(), EngineError> {
    let called = names::shared_container(service, &trial.new.container.role);
    let network = names::shared_network(service);
    for (old, _) in &trial.old {
        match old.owner {
            Owner::Flipside => remove(engine, &old.container.id).await?,
            Owner::Project(_) => disconnect(engine, &network, &old.container.id).await?,
        }
    }
    rename(
        engine,
        &trial.new.container.name,
        &trial.new.container.id,
        &called,
    )
    .await?;
    volumes::sweep(engine, service).await
}

/// The old one has its name, its restart policy and its work again, and the new one goes.
async fn put_back(
    engine: &Docker,
    service: &ServiceName,
    trial: &Trial,
) -> Result<(), EngineError> {
    let client = &engine.client;
    let new = &trial.new.container;
    let called = names::shared_container(service, &new.role);
    // From here on only the old one is started again by the engine itself.
    restart(engine, &new.id, RestartPolicyNameEnum::NO, None).await?;
    gone(client, client.docker.stop_container(&new.id, None).await)?;
    rename(engine, &new.name, &new.id, &format!("{called}.new")).await?;
    for (old, was) in &trial.old {
        let id = &old.container.id;
        if old.owner == Owner::Flipside {
            rename(engine, &old.container.name, id, &called).await?;
        }
        let policy = was.policy.parse().unwrap_or(RestartPolicyNameEnum::NO);
        restart(engine, id, policy, Some(was.most)).await?;
        if was.ran {
            start(engine, id).await?;
        }
    }
    remove(engine, &new.id).await?;
    volumes::sweep(engine, service).await
}

fn replaced(one: &Standing) -> Replaced {
    let name = one.policy.name.unwrap_or(RestartPolicyNameEnum::NO);
    Replaced {
        id: one.container.id.clone(),
        policy: name.to_string(),
        most: one.policy.maximum_retry_count.unwrap_or_default(),
        ran: one.runs(),
    }
}

/// The address of the one that is replaced, where it has one that was asked for.
fn address(
    looked: &Looked,
    own: &super::Own,
    standing: &[&Standing],
) -> Result<Ipv4Addr, EngineError> {
    let ours = standing.iter().filter(|one| one.owner == Owner::Flipside);
    let mut had = ours.filter_map(|one| match one.container.address {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    });
    match had.next() {
        Some(address) => Ok(address),
        None => free_address(own, &looked.addresses().collect::<Vec<_>>()),
    }
}

/// The volumes that the engine has given a name of its own: what an image declares. Their content is
/// nobody's but this container's.
fn nameless(standing: &[&Standing]) -> Vec<Mounted> {
    let is_nameless = |name: &str| name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit());
    let mounts = standing.iter().flat_map(|one| &one.mounts);
    let nameless = mounts.filter(|mount| is_nameless(&mount.volume));
    nameless.cloned().collect()
}

async fn rename(engine: &Docker, from: &str, id: &str, to: &str) -> Result<(), EngineError> {
    if from == to {
        return Ok(());
    }
    let client = &engine.client;
    let options = RenameContainerOptions {
        name: to.to_owned(),
    };
    match client.docker.rename_container(id, options).await {
        Ok(()) => Ok(()),
        // The engine refuses the name that it has: a killed call has given it.
        Err(error) if status(&error) == Some(400) || status(&error) == Some(409) => {
            match look::one(engine, id).await? {
                Some(now) if now.container.name == to => Ok(()),
                _ => Err(client.fault(error)),
            }
        }
        Err(error) => Err(client.fault(error)),
    }
}

/// Sets the restart policy; of a container that is gone none is needed.
async fn restart(
    engine: &Docker,
    id: &str,
    name: RestartPolicyNameEnum,
    most: Option<i64>,
) -> Result<(), EngineError> {
    let body = ContainerUpdateBody {
        restart_policy: Some(RestartPolicy {
            name: Some(name),
            maximum_retry_count: most.filter(|_| name == RestartPolicyNameEnum::ON_FAILURE),
        }),
        ..ContainerUpdateBody::default()
    };
    let client = &engine.client;
    gone(client, client.docker.update_container(id, body).await)
}
