//! Shared roles: containers that outlive releases, one each, on a network of the service's own. They
//! carry no release, so that nothing that looks at environments sees them.
//!
//! What stands is found by its labels, and by those that Compose writes; never by a name.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::NetworkDisconnectRequest;
use bollard::query_parameters::RemoveContainerOptions;

use super::equip::join;
use super::network::{self, Own, Unasked};
use super::order::{self, roles};
use super::stand_up::about;
use super::tear_down::gone;
use super::{Docker, LAG, health, logs, names};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{Condition, Plan, Role};
use crate::core::shared::{ALIASES, Difference, Owner, Reach, Shared, awaited, in_order, is_alone};
use crate::core::sharing::{Sharing, aliases};
use crate::core::world::ContainerState;
use crate::docker::{found, refused, refused_hint, status};
use crate::engine::{EngineError, Images, Settings};

mod along;
mod apart;
mod apply;
mod beside;
mod elsewhere;
mod external;
mod former;
mod left;
mod look;
mod make;
mod open;
mod remove;
mod rivals;
mod running;
mod steps;
mod volumes;

pub(super) use apart::join_all;
pub(super) use apply::{apply, settle};
pub(super) use left::left;
use look::{Looked, Standing};
use make::Make;
pub(super) use remove::tear_down;
pub(super) use rivals::rivals;
use running::{Running, running};

/// How often a container that shall become something is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The last log lines shown of a container that failed.
const LOG_LINES: u32 = 50;

/// How many environments the shared network has room for at once.
const SIDE_BY_SIDE: u32 = 4;

/// See [`crate::engine::Engine::shared`].
pub(super) async fn shared(
    engine: &Docker,
    service: &ServiceName,
    plan: Option<&Plan>,
) -> Result<Vec<Shared>, EngineError> {
    let looked = look::look(engine, service, plan).await?;
    if let Some(plan) = plan {
        let absent = plan.shared.iter();
        let absent = absent.filter(|(name, _)| looked.of(name).next().is_none());
        check(engine, plan, &looked, absent).await?;
    }
    let network = names::shared_network(service);
    let told = looked.standing.iter().map(|one| {
        let role = plan.and_then(|plan| Some((plan, plan.shared.get(&one.container.role)?)));
        let mut differs = match (role, &one.owner) {
            (Some((plan, role)), Owner::Flipside) => {
                Settings::of(plan, role)?.differences(&one.settings)
            }
            (Some((plan, role)), Owner::Project(_)) => {
                let mut differs = Settings::of(plan, role)?.image_differs(&one.image);
                differs.extend(unnamed(plan, role, one));
                differs
            }
            (None, _) => Vec::new(),
        };
        if let (Some((_, role)), Owner::Flipside, true) = (role, &one.owner, differs.is_empty())
            && looked.is_astray(role, one)
        {
            differs.push(Difference {
                place: "network_mode".into(),
                change: None,
            });
        }
        Ok(Shared {
            halfway: looked.is_halfway(one),
            joined: one.is_joined(&network),
            differs,
            ..one.told()
        })
    });
    let mut told: Vec<_> = told.collect::<Result<_, EngineError>>()?;
    let key = |one: &Shared| (one.container.role.clone(), one.container.name.clone());
    told.sort_by_key(key);
    if plan.is_none() {
        let mut others = beside::beside(engine, service, &looked).await?;
        for one in &mut told {
            one.beside = others.remove(&one.container.id);
        }
    }
    for one in told.iter_mut().filter(|one| one.has_stopped()) {
        let standing = looked.standing.iter();
        let mut standing = standing.filter(|other| other.container.id == one.container.id);
        if let Some(standing) = standing.next() {
            one.taker = volumes::taker(engine, service, standing).await?;
        }
    }
    Ok(told)
}

/// Whether a Compose project's container was joined before the plan gave its role all its names. The
/// engine gives one that is connected no more of them, and connecting it anew would cut off who uses it.
fn unnamed(plan: &Plan, role: &Role, one: &Standing) -> Option<Difference> {
    let network = names::shared_network(&plan.service);
    let has = one.networks.get(&network)?;
    let wanted = aliases(&one.container.role, role);
    let known: Vec<_> = wanted
        .iter()
        .filter(|name| has.contains(name))
        .cloned()
        .collect();
    (known.len() < wanted.len()).then(|| Difference {
        place: ALIASES.into(),
        change: Some((known.join(", "), wanted.join(", "))),
    })
}

/// Refuses a plan that would begin with other data than is meant, or beside who has it open: nothing
/// of it has been made yet, neither of its release nor of the shared roles that are `absent`.
async fn check<'a>(
    engine: &Docker,
    plan: &'a Plan,
    looked: &Looked,
    absent: impl Iterator<Item = (&'a RoleName, &'a Role)> + Clone,
) -> Result<(), EngineError> {
    let running = running(engine).await?;
    elsewhere::check(engine, plan, &running, absent.clone()).await?;
    let all = roles(plan).chain(absent.clone());
    check_data(engine, plan, looked, &running, all, absent.clone()).await?;
    former::check(engine, plan, looked, &running).await?;
    order::check_external(engine, plan, absent, None).await
}

/// Refuses roles of which `all` would begin with other data than is meant, or that would be `made`
/// beside who has it open.
async fn check_data<'a>(
    engine: &Docker,
    plan: &'a Plan,
    looked: &Looked,
    running: &[Running],
    all: impl Iterator<Item = (&'a RoleName, &'a Role)> + Clone,
    made: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> Result<(), EngineError> {
    external::check(engine, plan).await?;
    external::check_taken_over(engine, plan, all.clone()).await?;
    volumes::check(engine, plan, all).await?;
    open::check(engine, plan, looked, running, made).await
}

/// The shared roles of a plan for which nothing stands.
pub(super) async fn absent(engine: &Docker, plan: &Plan) -> Result<Vec<RoleName>, EngineError> {
    if plan.shared.is_empty() {
        return Ok(Vec::new());
    }
    let looked = look::look(engine, &plan.service, Some(plan)).await?;
    let absent = plan.shared.keys().filter(|name| {
        // One that was never started is made anew.
        let mut made = looked.of(name);
        made.all(|one| one.owner == Owner::Flipside && !looked.is_halfway(one) && is_new(one))
    });
    Ok(absent.cloned().collect())
}

/// The images that the shared roles of a service run on.
pub(super) async fn images(
    engine: &Docker,
    service: &ServiceName,
) -> Result<BTreeSet<String>, EngineError> {
    let looked = look::look(engine, service, None).await?;
    let images = looked
        .standing
        .into_iter()
        .map(|one| one.container.image_id);
    Ok(images.collect())
}

/// Stands up what is missing of a plan's shared roles, see [`crate::engine::Engine::stand_up`].
pub(super) async fn stand_up(
    engine: &Docker,
    plan: &Plan,
    images: &Images,
) -> Result<(), EngineError> {
    if is_alone(plan) {
        return Ok(());
    }
    rivals::check(engine, plan).await?;
    if plan.shared.is_empty() {
        let looked = look::look(engine, &plan.service, Some(plan)).await?;
        return check(engine, plan, &looked, std::iter::empty()).await;
    }
    let service = &plan.service;
    let looked = look::look(engine, &plan.service, Some(plan)).await?;
    let missing = |name: &&RoleName| looked.of(name).all(is_new);
    let absent = plan.shared.iter().filter(|(name, _)| missing(name));
    check(engine, plan, &looked, absent).await?;
    let own = network(engine, plan).await?;
    let sharing = Sharing::of(plan);
    let mut taken: Vec<_> = looked.addresses().collect();
    for name in in_order(plan) {
        let role = &plan.shared[name];
        let theirs: Vec<_> = looked.theirs(name).collect();
        for one in theirs.iter().filter(|one| one.reach == Reach::Own) {
            let uses = Reach::Of(one.container.id.clone());
            let on_it = |other: &_| looked.theirs(other).any(|other| other.reach == uses);
            let names = sharing.names(name, on_it);
            join(engine, &own.name, &one.container.name, &names).await?;
        }
        let ours = looked.of(name).filter(|one| one.owner == Owner::Flipside);
        for one in ours.filter(|one| !is_new(one) && !one.is_joined(&own.name)) {
            let names = sharing.names(name, |_| false);
            join(engine, &own.name, &one.container.name, &names).await?;
        }
        if !theirs.is_empty() || !looked.of(name).all(is_new) || looked.trial(name).is_some() {
            continue;
        }
        let image = images.get(name).ok_or_else(|| {
            refused(format!(
                "the shared role `{name}` has no image: it was not prepared"
            ))
        })?;
        for (other, condition) in &role.depends_on {
            comes_about(engine, plan, other, *condition).await?;
        }
        let address = free_address(&own, &taken)?;
        taken.push(address);
        let make = Make {
            engine,
            plan,
            name,
            role,
            image,
            network: &own,
            address,
            uses: uses(&looked, service, role),
            called: names::shared_container(service, name),
            replaces: &[],
            stopped: &[],
            carried: Vec::new(),
        };
        make.make().await?;
        start(engine, &make.called).await?;
    }
    for (name, condition) in awaited(plan) {
        comes_about(engine, plan, name, condition).await?;
    }
    Ok(())
}

/// The container whose network a role is to use: what stands for that one, else what will.
fn uses(looked: &Looked, service: &ServiceName, role: &Role) -> Option<String> {
    let owner = role.network_of.as_ref()?;
    let stands = looked.of(owner).find(|one| !is_new(one));
    Some(stands.map_or_else(
        || names::shared_container(service, owner),
        |one| one.container.id.clone(),
    ))
}

/// Whether a container of ours was made and never started: what a killed call has left.
fn is_new(one: &Standing) -> bool {
    one.owner == Owner::Flipside && one.container.state == ContainerState::Created
}

async fn start(engine: &Docker, name: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    match client.docker.start_container(name, None).await {
        Ok(()) => Ok(()),
        // It runs.
        Err(error) if status(&error) == Some(304) => Ok(()),
        Err(error) => Err(about(name, "did not start", client.fault(error))),
    }
}

/// Waits until what is asked of a shared role is true of one of its containers. None that could
/// still get there is a failure.
async fn comes_about(
    engine: &Docker,
    plan: &Plan,
    role: &RoleName,
    condition: Condition,
) -> Result<(), EngineError> {
    loop {
        let looked = look::look(engine, &plan.service, Some(plan)).await?;
        let all: Vec<_> = looked.of(role).collect();
        let running = all
            .iter()
            .filter(|one| one.container.state == ContainerState::Running);
        let mut unfit = None;
        for one in running {
            let healthy = match condition {
                Condition::Started | Condition::Completed => Ok(true),
                Condition::Healthy => health::is_healthy(engine, &one.container.name).await,
            };
            match healthy {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    unfit = None;
                    break;
                }
                Err(EngineError::Failed(failure)) => unfit = Some(failure),
                Err(error) => return Err(error),
            }
        }
        match unfit {
            Some(failure) => return Err(EngineError::Failed(failure)),
            None if all
                .iter()
                .any(|one| one.container.state == ContainerState::Running) => {}
            None => {
                return Err(not_running(engine, &plan.service, role, all.first().copied()).await);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn not_running(
    engine: &Docker,
    service: &ServiceName,
    role: &RoleName,
    one: Option<&Standing>,
) -> EngineError {
    let Some(one) = one else {
        return refused(format!(
            "nothing stands for the shared role `{role}` any more"
        ));
    };
    let name = &one.container.name;
    let mut told = one.told();
    let taker = volumes::taker(engine, service, one).await;
    told.taker = taker.ok().flatten();
    let does = told.does();
    // What happened is worth more than the logs: an engine that withholds them hides nothing.
    let logs = logs::tail(engine, name, LOG_LINES)
        .await
        .unwrap_or_default();
    EngineError::Failed(Failure {
        what: format!(
            "the shared role `{role}`, which others wait for, does not run: `{name}` {does}"
        ),
        hint: Some(match told.taker {
            None => format!("see why, then {}", told.way_on()),
            Some(_) => told.way_on(),
        }),
        replicas: vec![ReplicaReport {
            container: name.clone(),
            reasons: vec![does],
            logs,
        }],
    })
}

/// The shared network; made where it is missing.
async fn network(engine: &Docker, plan: &Plan) -> Result<Own, EngineError> {
    let service = &plan.service;
    let name = names::shared_network(service);
    let networks = network::list(&engine.client).await?;
    if let Some(found) = network::choose_named(&networks, &name, None) {
        let labels = found.labels.clone().unwrap_or_default();
        let ours = names::Kind::Shared.is(&labels)
            && labels.get(names::SERVICE).map(String::as_str) == Some(service.as_str());
        return match (ours, Own::of(&name, found)) {
            (true, Some(own)) => Ok(own),
            _ => Err(refused_hint(
                format!("the network `{name}` is there and was not made by flipside"),
                format!("`docker network rm {name}` removes it, if nothing needs it"),
            )),
        };
    }
    let replicas: u32 = roles(plan).map(|(_, role)| role.replicas).sum();
    let shared = u32::try_from(plan.shared.len()).unwrap_or(u32::MAX);
    let needed = (replicas * SIDE_BY_SIDE).max(shared + 2) * 2;
    // Room for plans to come, where the pool has some.
    let roomy = if plan.pools.networks.1 <= 22 { 250 } else { 0 };
    let wanted = network::Wanted {
        name: &name,
        labels: names::of_service(service, names::Kind::Shared),
        pool: plan.pools.networks,
        containers: needed.max(roomy),
        unasked: Unasked::UpperHalf,
    };
    network::create(engine, wanted, &networks).await
}

fn free_address(
    own: &Own,
    taken: &[std::net::Ipv4Addr],
) -> Result<std::net::Ipv4Addr, EngineError> {
    let mut all = (0..own.subnet.lower_half()).map(|index| own.subnet.address(index));
    all.find(|address| !taken.contains(address)).ok_or_else(|| {
        refused(format!(
            "the network `{}` has no free address left",
            own.name
        ))
    })
}

/// Removes a container of ours by its id, and never a volume with it.
async fn remove(engine: &Docker, id: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    let options = RemoveContainerOptions {
        v: false,
        force: true,
        ..RemoveContainerOptions::default()
    };
    gone(
        client,
        client.docker.remove_container(id, Some(options)).await,
    )
}

async fn disconnect(engine: &Docker, network: &str, container: &str) -> Result<(), EngineError> {
    let client = &engine.client;
    let request = NetworkDisconnectRequest {
        container: container.to_owned(),
        force: Some(true),
    };
    match client.docker.disconnect_network(network, request).await {
        Ok(()) => Ok(()),
        Err(error) => match client.fault(error) {
            EngineError::Failed(failure) if failure.what.contains("is not connected") => Ok(()),
            EngineError::Failed(failure) if failure.what.contains("No such") => Ok(()),
            other => Err(other),
        },
    }
}

/// Containers that were only there to be filled through, for a killed call.
async fn sweep_helpers(engine: &Docker, service: &ServiceName) -> Result<(), EngineError> {
    let helpers = left::helpers(engine, service).await?;
    for id in helpers.into_iter().filter_map(|helper| helper.id) {
        remove(engine, &id).await?;
    }
    Ok(())
}

/// Waits until a container that the engine is still making for a killed call can be looked at, or is
/// gone; `None` where it is.
async fn settled(engine: &Docker, name: &str) -> Result<Option<Standing>, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(name, None).await);
    let answer = answer.map_err(|error| client.fault(error))?;
    let Some(answer) = answer else {
        tokio::time::sleep(LAG).await;
        return Ok(None);
    };
    Ok(Some(Standing::read(answer)))
}

impl Looked {
    /// Addresses that are asked for.
    fn addresses(&self) -> impl Iterator<Item = std::net::Ipv4Addr> {
        let ours = self.standing.iter();
        let ours = ours.filter(|one| one.owner == Owner::Flipside);
        ours.filter_map(|one| match one.container.address {
            Some(std::net::IpAddr::V4(address)) => Some(address),
            _ => None,
        })
    }
}
