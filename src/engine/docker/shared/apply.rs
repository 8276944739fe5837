//! A shared role's container made anew: the old one is stopped and kept until the new one is well.
//!
//! Which is the old one, and what it was like, stands in the new one's label from its creation on,
//! before the old one is touched. Names say nothing, and every step can be done twice: whoever finds
//! the two goes on from where a killed call was.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bollard::models::RestartPolicyNameEnum;

use super::super::demands;
use super::super::order;
use super::super::stand_up::acted;
use super::super::{Docker, files, names, prepare};
use super::along::along;
use super::look::{self, Mounted, Replaced, Standing, Trial};
use super::make::{Make, taken};
use super::running::running;
use super::steps::{finish, new_name, put_back, started, stop_old};
use super::{LOG_LINES, LOOK, check_data, free_address, network, volumes};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::Plan;
use crate::core::progress::{Progress, Sink};
use crate::core::shared::{Applied, Owner, Reach};
use crate::core::sharing::aliases;
use crate::core::world::{ContainerState, Health};
use crate::docker::refused;
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
    let begun = looked.together(name);
    if let Some(first) = begun.first() {
        // One that was never started may lack its files.
        let was_started = first.new.container.state != ContainerState::Created;
        if was_started && are_as_planned(plan, &begun)? {
            return go_on(engine, plan, &begun, sink).await.map_err(acted);
        }
        end(engine, service, &begun).await.map_err(acted)?;
        looked = look::look(engine, service, Some(plan)).await?;
    }
    let standing: Vec<&Standing> = looked.of(name).collect();
    let as_planned = standing.iter().all(|one| {
        one.owner == Owner::Flipside
            && settings.differences(&one.settings).is_empty()
            && !looked.is_astray(role, one)
    });
    if as_planned {
        return Ok(Applied {
            as_it_was: true,
            ..Applied::default()
        });
    }
    demands::check(plan, engine.client.api()).map_err(EngineError::Failed)?;
    let running = running(engine).await?;
    let mut roles = vec![(name, role)];
    roles.extend(along(plan, &looked, &running, &standing)?);
    let all = roles.iter().copied();
    check_data(engine, plan, &looked, &running, all.clone(), all.clone()).await?;
    for (name, role) in &roles {
        let standing: Vec<_> = looked.of(name).collect();
        volumes::check_kept(role, &standing)?;
        check_name(engine, service, name, &standing).await?;
    }
    order::check_external(engine, plan, all, None).await?;
    let images = prepare::images(engine, service, &roles, sink).await?;
    let own = network(engine, plan).await?;
    for (name, role) in &roles {
        let theirs = looked.theirs(name).filter(|one| one.reach == Reach::Own);
        for one in theirs {
            // From here on that it is connected says that it is yet to be replaced.
            let aliases = aliases(name, role);
            super::join(engine, &own.name, &one.container.id, &aliases).await?;
        }
    }
    let mut taken: Vec<_> = looked.addresses().collect();
    for (at, &(name, role)) in roles.iter().enumerate() {
        let standing: Vec<_> = looked.of(name).collect();
        let replaces: Vec<_> = standing.iter().map(|one| replaced(one)).collect();
        let stopped = standing.iter().flat_map(|one| match one.owner {
            Owner::Flipside => one.stopped.clone(),
            Owner::Project(_) => vec![replaced(one)],
        });
        let stopped: Vec<_> = stopped.collect();
        let with_it = at > 0 && role.network_of.as_ref() == Some(roles[0].0);
        let address = address(&taken, &own, &standing)?;
        taken.push(address);
        let make = Make {
            engine,
            plan,
            name,
            role,
            image: &images[name],
            network: &own,
            address,
            uses: match with_it {
                true => Some(new_name(service, roles[0].0)),
                false => super::uses(&looked, service, role),
            },
            called: new_name(service, name),
            replaces: &replaces,
            stopped: &stopped,
            carried: nameless(&standing),
        };
        make.make().await.map_err(acted)?;
    }
    let looked = look::look(engine, service, Some(plan)).await;
    let begun = looked.map_err(acted)?.together(name);
    if begun.is_empty() {
        let what = format!("`{}` has vanished", new_name(service, name));
        return Err(acted(refused(what)));
    }
    go_on(engine, plan, &begun, sink).await.map_err(acted)
}

/// Whether what was begun is what the plan asks for.
fn are_as_planned(plan: &Plan, begun: &[Trial]) -> Result<bool, EngineError> {
    for trial in begun {
        let Some(role) = plan.shared.get(&trial.new.container.role) else {
            return Ok(false);
        };
        if !Settings::of(plan, role)?
            .differences(&trial.new.settings)
            .is_empty()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// See [`crate::engine::Engine::settle_shared`].
pub(in super::super) async fn settle(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<String>, EngineError> {
    let looked = look::look(engine, service, None).await?;
    let mut did = Vec::new();
    for begun in looked.all_together() {
        did.extend(end(engine, service, &begun).await.map_err(acted)?);
    }
    super::sweep_helpers(engine, service).await.map_err(acted)?;
    volumes::sweep(engine, service).await.map_err(acted)?;
    Ok(did)
}

/// Ends what was begun by what the new containers are now; says what became of each role.
async fn end(
    engine: &Docker,
    service: &ServiceName,
    begun: &[Trial],
) -> Result<Vec<String>, EngineError> {
    let role = |trial: &Trial| trial.new.container.role.clone();
    if are_well(engine, begun).await? {
        finish(engine, service, begun).await?;
        let kept = |trial| {
            format!(
                "the new container of the shared role `{}` was kept",
                role(trial)
            )
        };
        return Ok(begun.iter().map(kept).collect());
    }
    put_back(engine, service, begun).await?;
    let back = |trial| {
        format!(
            "the old container of the shared role `{}` was put back",
            role(trial)
        )
    };
    Ok(begun.iter().map(back).collect())
}

async fn are_well(engine: &Docker, begun: &[Trial]) -> Result<bool, EngineError> {
    for Trial { new, .. } in begun {
        let now = &new.container;
        let may_be = now.state == ContainerState::Running && now.health != Health::Starting;
        if !may_be || verdict(engine, &now.id, new.restarts).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every step of the exchange that has not been done.
async fn go_on(
    engine: &Docker,
    plan: &Plan,
    begun: &[Trial],
    sink: &dyn Sink,
) -> Result<Applied, EngineError> {
    let service = &plan.service;
    let first = &begun[0].new.container;
    let failed = match exchange(engine, plan, begun, sink).await {
        Ok(None) => {
            finish(engine, service, begun).await?;
            let old = begun.iter().flat_map(|trial| &trial.old);
            let kept = old.filter(|(old, _)| old.owner != Owner::Flipside);
            return Ok(Applied {
                kept: kept.map(|(old, _)| old.container.name.clone()).collect(),
                as_it_was: false,
            });
        }
        Ok(Some(failed)) => failed,
        Err(EngineError::Failed(failure)) => Unwell {
            role: first.role.clone(),
            container: first.name.clone(),
            why: failure.what,
            logs: Vec::new(),
        },
        Err(error) => return Err(error),
    };
    let found = look::look(engine, service, Some(plan)).await?;
    let found = found.together(&first.role);
    let begun = if found.is_empty() { begun } else { &found };
    let (role, why) = (&failed.role, &failed.why);
    let (back, hint) = match put_back(engine, service, begun).await {
        Ok(()) if begun.len() > 1 => ("and the old containers were put back".to_owned(), None),
        Ok(()) => ("and the old container was put back".to_owned(), None),
        Err(EngineError::Failed(failure)) => (failure.what, failure.hint),
        Err(error) => return Err(error),
    };
    Err(EngineError::Failed(Failure {
        what: format!(
            "the shared role `{role}` did not come up with its new settings, {back}: {why}"
        ),
        hint,
        replicas: vec![ReplicaReport {
            container: failed.container,
            reasons: vec![failed.why],
            logs: failed.logs,
        }],
    }))
}

/// A new container that cannot be kept.
struct Unwell {
    role: RoleName,
    container: String,
    why: String,
    logs: Vec<String>,
}

/// Stops the old ones and starts the new ones; answers the first that is not well in time.
async fn exchange(
    engine: &Docker,
    plan: &Plan,
    begun: &[Trial],
    sink: &dyn Sink,
) -> Result<Option<Unwell>, EngineError> {
    for trial in begun {
        if trial.old.iter().any(|(old, _)| old.runs()) {
            let role = trial.new.container.role.to_string();
            sink.progress(Progress::Stop { role });
        }
    }
    stop_old(engine, &plan.service, begun).await?;
    for trial in begun {
        let new = &trial.new.container;
        let failed = match started(engine, &trial.new).await? {
            None => in_time(engine, plan, &new.id).await?,
            why => why,
        };
        if let Some(why) = failed {
            // What happened is worth more than the logs: an engine that withholds them hides nothing.
            let logs = super::logs::tail(engine, &new.id, LOG_LINES).await;
            return Ok(Some(Unwell {
                role: new.role.clone(),
                container: names::shared_container(&plan.service, &new.role),
                why,
                logs: logs.unwrap_or_default(),
            }));
        }
    }
    Ok(None)
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

fn replaced(one: &Standing) -> Replaced {
    let name = one.policy.name.unwrap_or(RestartPolicyNameEnum::NO);
    Replaced {
        id: one.container.id.clone(),
        policy: name.to_string(),
        most: one.policy.maximum_retry_count.unwrap_or_default(),
        ran: one.runs(),
    }
}

/// Refuses to take the place of a Compose project's containers where the name that a new one gets in
/// the end is taken.
async fn check_name(
    engine: &Docker,
    service: &ServiceName,
    role: &RoleName,
    standing: &[&Standing],
) -> Result<(), EngineError> {
    let called = names::shared_container(service, role);
    let is_own = standing.iter().any(|one| one.owner == Owner::Flipside);
    match is_own || look::one(engine, &called).await?.is_none() {
        true => Ok(()),
        false => Err(taken(&called)),
    }
}

/// The address of the one that is replaced, where it has one that was asked for.
fn address(
    taken: &[Ipv4Addr],
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
        None => free_address(own, taken),
    }
}

/// The volumes that the engine has given a name of its own: what an image declares. Their content is
/// nobody's but this container's.
fn nameless(standing: &[&Standing]) -> Vec<Mounted> {
    let mounts = standing.iter().flat_map(|one| &one.mounts);
    let nameless = mounts.filter(|mount| volumes::is_nameless(&mount.volume));
    nameless.cloned().collect()
}
