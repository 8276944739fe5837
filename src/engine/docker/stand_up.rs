//! Making what is missing of an environment: network and files in parallel, then every container,
//! each started as soon as what it depends on allows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, Network};
use bollard::query_parameters::CreateContainerOptions;
use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, watch};
use tokio::try_join;

use super::create::{self, Wanted};
use super::equip::{equip, image_entrypoint, keep_host_name};
use super::files::{self, Filling};
use super::inspect;
use super::network::{self, Own, Unasked};
use super::order::{self, roles};
use super::publish::{self, Publishing, Refusal};
use super::tear_down::at_once;
use super::{Docker, LAG, health, hook, names, once, shared};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::names::RoleName;
use crate::core::plan::{Condition, Run};
use crate::core::progress::{Progress, Sink};
use crate::core::world::Environment;
use crate::docker::{found, refused, refused_hint, status};
use crate::engine::{EngineError, Images, Spec};

/// How many containers are created, and how many started, at a time for each core of the engine's:
/// a start waits for disk and network more than it computes.
const AT_A_TIME_PER_CORE: usize = 4;

/// The cores that an engine is taken to have where they are not known: nothing that a deploy asks
/// it names them.
const CORES_ELSEWHERE: usize = 2;

/// How often a container is asked to start while the engine makes more networks of its network's name:
/// each of some killed calls may have left one that comes late.
const STARTS: usize = 16;

/// The longest wait between two looks at a container that shall become healthy: shorter than the
/// 100 ms for which an engine shows the end of one that it starts again.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// What is known of a role while it is being started.
#[derive(Debug, Clone, Copy, Default)]
struct Stage {
    started: u32,
    healthy: bool,
    completed: bool,
}

struct Work<'a> {
    engine: &'a Docker,
    spec: &'a Spec,
    sink: &'a dyn Sink,
    /// Where the exposed replicas are published, where they are.
    publishing: Option<Publishing>,
    creating: Semaphore,
    starting: Semaphore,
    stages: BTreeMap<&'a RoleName, watch::Sender<Stage>>,
    running: AtomicU32,
    total: u32,
}

/// See [`crate::engine::Engine::stand_up`].
pub(super) async fn stand_up(
    engine: &Docker,
    spec: &Spec,
    images: &Images,
    sink: &dyn Sink,
) -> Result<Environment, EngineError> {
    let (plan, release) = (&spec.plan, spec.release);
    files::check(plan)?;
    order::check(plan)?;
    let own = names::network(&plan.service, release);
    order::check_external(engine, plan, roles(plan), Some(&own)).await?;
    shared::stand_up(engine, plan, images)
        .await
        .map_err(acted)?;
    let total = roles(plan).map(|(_, role)| role.replicas).sum();
    let filters = names::filter(&plan.service, Some(release));
    let (there, networks, publishing) = try_join!(
        inspect::containers(engine, filters),
        network::list(&engine.client),
        Publishing::of(engine, spec),
    )?;
    let at_a_time = at_a_time(engine.client.is_local(), available_parallelism().ok());
    let work = Work {
        engine,
        spec,
        sink,
        publishing,
        creating: Semaphore::new(at_a_time),
        starting: Semaphore::new(at_a_time),
        stages: roles(plan)
            .map(|(name, _)| (name, watch::Sender::default()))
            .collect(),
        running: AtomicU32::new(0),
        total,
    };
    let done = work.run(images, &there, &networks).await;
    // From here on parts may have been made: "nothing was done" would be untrue.
    done.map_err(acted)?;
    let mut environments = inspect::environments(engine, &plan.service, Some(release))
        .await
        .map_err(acted)?;
    environments
        .pop()
        .ok_or_else(|| refused("the environment has vanished while it was stood up"))
}

/// How many containers are created, and how many started, at a time. The cores of this machine, as
/// far as they are known, say something of an engine only where it runs here: a large workstation
/// may deploy to a small server.
fn at_a_time(is_local: bool, here: Option<NonZero<usize>>) -> usize {
    let cores = here
        .filter(|_| is_local)
        .map_or(CORES_ELSEWHERE, usize::from);
    cores * AT_A_TIME_PER_CORE
}

/// Turns "nothing was done" into "not known how much".
pub(super) fn acted(error: EngineError) -> EngineError {
    match error {
        EngineError::OutOfReach { engine, why } => EngineError::Lost { engine, why },
        other => other,
    }
}

impl<'a> Work<'a> {
    async fn run(
        &self,
        images: &Images,
        there: &[ContainerSummary],
        networks: &[Network],
    ) -> Result<(), EngineError> {
        let plan = &self.spec.plan;
        let by_name: HashMap<_, _> = there
            .iter()
            .map(|container| (inspect::container_name(container), container))
            .collect();
        let image = |role: &RoleName| {
            let image = images.get(role).map(String::as_str);
            image.ok_or_else(|| refused(format!("role `{role}` has no image: it was not prepared")))
        };
        let filling = try_join_all(roles(plan).map(|(name, role)| async move {
            let state = filling(there, name);
            files::volumes(self.engine, self.spec, (name, role), image(name)?, state).await
        }));
        let (own, _) = try_join!(self.network(there, networks), filling)?;
        let labels = self.labels();
        let mut wanted = Vec::new();
        let mut index = 0;
        for (name, role) in roles(plan) {
            let image_entrypoint = match create::states_entrypoint(role) {
                true => Some(image_entrypoint(self.engine, image(name)?).await?),
                false => None,
            };
            for replica in 1..=role.replicas {
                wanted.push(Wanted {
                    service: &plan.service,
                    release: self.spec.release,
                    name,
                    role,
                    image: image(name)?,
                    image_entrypoint: image_entrypoint.clone(),
                    replica,
                    network: &own,
                    address: own.subnet.address(index),
                    labels: &labels,
                    api: self.engine.client.api(),
                });
                index += 1;
            }
        }
        let started = try_join_all(wanted.iter().map(|wanted| {
            let there = by_name.get(&wanted.container()).copied();
            self.container(wanted, there)
        }));
        let watched = try_join_all(self.awaited().into_iter().map(|role| self.healthy(role)));
        try_join!(started, watched)?;
        // One that the engine has made late for a killed call would make the name ambiguous at the
        // next start of a container.
        own.make_unique(self.engine).await
    }

    fn labels(&self) -> HashMap<String, String> {
        let spec = self.spec;
        let service = &spec.plan.service;
        let mut labels =
            names::of_environment(service, spec.release, spec.slot, self.total, &spec.labels);
        labels.insert(names::OPENED_WITH.into(), spec.opened_with.to_string());
        let project = spec.plan.project.clone();
        labels.extend(project.map(|project| (names::PROJECT.to_owned(), project)));
        labels
    }

    /// The environment's own network: the one that containers of it are in, else the oldest of its
    /// name, else a new one.
    async fn network(
        &self,
        there: &[ContainerSummary],
        networks: &[Network],
    ) -> Result<Own, EngineError> {
        let plan = &self.spec.plan;
        let name = names::network(&plan.service, self.spec.release);
        let used = there
            .iter()
            .find_map(|container| network::id_in(container, &name));
        let Some(found) = network::choose_named(networks, &name, used.as_deref()) else {
            let labels = self.labels();
            let pool = plan.pools.networks;
            let total = self.total + hook::addresses(plan);
            let wanted = network::Wanted {
                name: &name,
                labels,
                pool,
                containers: total,
                unasked: Unasked::Any,
            };
            return network::create(self.engine, wanted, networks).await;
        };
        let ours = found.labels.as_ref().and_then(names::release);
        match (ours, Own::of(&name, found)) {
            (Some(_), Some(own)) => Ok(own),
            _ => Err(refused_hint(
                format!("the network `{name}` is there and was not made by flipside"),
                format!("`docker network rm {name}` removes it, if nothing needs it"),
            )),
        }
    }

    /// Creates one container where it is missing, gives it its files and networks, and starts it
    /// when its turn has come.
    async fn container(
        &self,
        wanted: &Wanted<'_>,
        there: Option<&ContainerSummary>,
    ) -> Result<(), EngineError> {
        use ContainerSummaryStateEnum as S;
        let state = there.and_then(|container| container.state.as_ref());
        let name = wanted.container();
        let labels = there.and_then(|container| container.labels.as_ref());
        if labels.is_some_and(|labels| !names::is_of_run(labels, self.spec.opened_with)) {
            return Err(of_another_run(&name));
        }
        match state {
            Some(S::RUNNING | S::RESTARTING | S::PAUSED | S::EXITED) => {}
            _ => self.make(wanted, &name, labels).await?,
        }
        let runs = matches!(state, Some(S::RUNNING | S::RESTARTING | S::PAUSED));
        match wanted.role.run {
            // A job has run, or runs, where it is not just created.
            Run::Once => {
                if !matches!(
                    state,
                    Some(S::RUNNING | S::RESTARTING | S::PAUSED | S::EXITED)
                ) {
                    self.start_in_turn(wanted, &name).await?;
                }
                once::job(self.engine, wanted, self.sink).await?;
                self.completed(wanted.name);
            }
            // Started after the switch.
            Run::LiveOnly => {}
            Run::Always | Run::Shared | Run::Never if runs => {}
            Run::Always | Run::Shared | Run::Never => {
                self.start_published(wanted, &name, state).await?;
            }
        }
        let done = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.sink.progress(Progress::Start {
            done,
            total: self.total,
        });
        if let Some(stage) = self.stages.get(wanted.name) {
            stage.send_modify(|stage| stage.started += 1);
        }
        Ok(())
    }

    fn completed(&self, role: &RoleName) {
        if let Some(stage) = self.stages.get(role) {
            stage.send_modify(|stage| stage.completed = true);
        }
    }

    /// Where a container is published, if it is.
    fn publishing(&self, wanted: &Wanted<'_>) -> Option<&Publishing> {
        let publishing = self.publishing.as_ref();
        publishing.filter(|publishing| publishing.is_of(wanted.name))
    }

    /// Creates a container with all that it needs for its start. One that is there, with these
    /// `labels`, keeps its port.
    async fn make(
        &self,
        wanted: &Wanted<'_>,
        name: &str,
        labels: Option<&HashMap<String, String>>,
    ) -> Result<(), EngineError> {
        let mut body = wanted.body();
        keep_host_name(self.spec, wanted, &mut body);
        if let Some(publishing) = self.publishing(wanted) {
            let port = match labels.and_then(names::published) {
                Some(port) => port,
                None => publishing.choose(name)?,
            };
            publishing.publish(port, &mut body);
        }
        self.create(wanted, name, body).await?;
        equip(self.engine, self.spec, wanted.role, name).await
    }

    /// Starts one that goes on running. Where something else holds the port that was chosen for it, it
    /// is made anew with another one, which it may be as long as it has never run.
    async fn start_published(
        &self,
        wanted: &Wanted<'_>,
        name: &str,
        state: Option<&ContainerSummaryStateEnum>,
    ) -> Result<(), EngineError> {
        let has_run = state == Some(&ContainerSummaryStateEnum::EXITED);
        let mut tries = 1;
        loop {
            let started = self.start_in_turn(wanted, name).await;
            let (Err(EngineError::Failed(failure)), Some(publishing), false) =
                (&started, self.publishing(wanted), has_run)
            else {
                return started;
            };
            match Refusal::of(&failure.what) {
                None => return started,
                Some(Refusal::NoSuchAddress) => return Err(publishing.no_such_address(name)),
                Some(Refusal::Held) if tries == publish::TRIES => {
                    return Err(publishing.none_left(name));
                }
                Some(Refusal::Held) => {}
            }
            tries += 1;
            at_once(&self.engine.client, name).await?;
            self.make(wanted, name, None).await?;
        }
    }

    async fn create(
        &self,
        wanted: &Wanted<'_>,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<(), EngineError> {
        let client = &self.engine.client;
        let _turn = self.creating.acquire().await.map_err(closed)?;
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: wanted.role.platform.clone().unwrap_or_default(),
        };
        loop {
            let created = client
                .docker
                .create_container(Some(options.clone()), body.clone());
            match created.await {
                Ok(_) => return Ok(()),
                Err(error) if status(&error) == Some(409) => {
                    if self.is_there(wanted, name).await? {
                        return Ok(());
                    }
                    tokio::time::sleep(LAG).await;
                }
                Err(error) => return Err(uncreated(name, client.fault(error))),
            }
        }
    }

    /// The name is taken: by a stranger; by this very container, left by a killed call; or by this
    /// one while the engine, asked by such a call, is still making it. Then it is listed, and yet
    /// not there for any other call.
    async fn is_there(&self, wanted: &Wanted<'_>, name: &str) -> Result<bool, EngineError> {
        let client = &self.engine.client;
        let answer = found(client.docker.inspect_container(name, None).await);
        let Some(container) = answer.map_err(|error| client.fault(error))? else {
            return Ok(false);
        };
        let labels = container.config.and_then(|config| config.labels);
        let labels = labels.unwrap_or_default();
        let service = labels.get(names::SERVICE).map(String::as_str);
        let ours = service == Some(wanted.service.as_str())
            && names::release(&labels) == Some(wanted.release)
            && names::role(&labels) == (wanted.name.clone(), wanted.replica);
        if ours && !names::is_of_run(&labels, self.spec.opened_with) {
            return Err(of_another_run(name));
        }
        if ours {
            return Ok(true);
        }
        Err(refused_hint(
            format!("the name `{name}` is taken by a container that is not of this release"),
            format!(
                "`docker rm {name}` removes it, if nothing needs it; or deploy under another --name"
            ),
        ))
    }

    async fn start_in_turn(&self, wanted: &Wanted<'_>, name: &str) -> Result<(), EngineError> {
        for (role, condition) in order::after(wanted.role) {
            let (Some(stage), Some(other)) =
                (self.stages.get(&role), self.spec.plan.roles.get(&role))
            else {
                continue;
            };
            let mut stage = stage.subscribe();
            let ready = |stage: &Stage| match condition {
                Condition::Started => stage.started >= other.replicas,
                Condition::Healthy => stage.healthy,
                Condition::Completed => stage.completed,
            };
            stage.wait_for(ready).await.map_err(closed)?;
        }
        let _turn = self.starting.acquire().await.map_err(closed)?;
        // A killed call may have started it since it was listed.
        if wanted.role.run == Run::Once && !once::is_unstarted(self.engine, name).await? {
            return Ok(());
        }
        let client = &self.engine.client;
        let mut tries = 0;
        loop {
            let Err(error) = client.docker.start_container(name, None).await else {
                return Ok(());
            };
            tries += 1;
            if tries == STARTS || !error.to_string().contains("is ambiguous") {
                return Err(about(name, "did not start", client.fault(error)));
            }
            // The engine has just made another network of that name, for a killed call.
            wanted.network.make_unique(self.engine).await?;
        }
    }

    /// The roles that others, which start here, wait for to be healthy.
    fn awaited(&self) -> HashSet<&'a RoleName> {
        let waiting = roles(&self.spec.plan).filter(|(_, role)| role.run != Run::LiveOnly);
        let all = waiting.flat_map(|(_, role)| &role.depends_on);
        let healthy = all.filter(|(_, condition)| **condition == Condition::Healthy);
        let names = healthy.map(|(name, _)| name);
        names
            .filter(|name| self.stages.contains_key(name))
            .collect()
    }

    /// Waits until every container of a role is healthy; an end of one is a failure at once.
    async fn healthy(&self, role: &RoleName) -> Result<(), EngineError> {
        let (Some(stage), Some(plan)) = (self.stages.get(role), self.spec.plan.roles.get(role))
        else {
            return Ok(());
        };
        let all_started = |stage: &Stage| stage.started >= plan.replicas;
        stage
            .subscribe()
            .wait_for(all_started)
            .await
            .map_err(closed)?;
        for replica in 1..=plan.replicas {
            let service = &self.spec.plan.service;
            let name = names::container(service, self.spec.release, role, replica);
            let mut wait = Duration::from_millis(20);
            while !health::is_healthy(self.engine, &name).await? {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_LOOK);
            }
        }
        stage.send_modify(|stage| stage.healthy = true);
        Ok(())
    }
}

/// Two stores that do not know of each other give out one release number twice; and what the engine
/// makes late for a killed call may meet a run that does not know of it.
pub(super) fn of_another_run(name: &str) -> EngineError {
    refused_hint(
        format!(
            "the container `{name}` is of another run, which was given the same release number"
        ),
        "`flipside status` shows what stands; then deploy again, or `flipside resume` with the --state of that run",
    )
}

/// A semaphore or channel of ours that was closed: only while everything is being dropped.
fn closed<E>(_: E) -> EngineError {
    refused("standing up was given up")
}

/// That a container could not be made: there is nothing more to say of it.
pub(super) fn uncreated(name: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Failed(failure) => EngineError::Failed(Failure {
            what: format!("container `{name}` cannot be created: {}", failure.what),
            ..failure
        }),
        other => other,
    }
}

pub(super) fn about(name: &str, did: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Failed(failure) => EngineError::Failed(Failure {
            what: format!("container `{name}` {did}: {}", failure.what),
            hint: failure.hint,
            replicas: vec![ReplicaReport {
                container: name.to_owned(),
                reasons: vec![failure.what],
                logs: Vec::new(),
            }],
        }),
        other => other,
    }
}

/// A role whose containers have been started has whole volumes: they are filled before that.
fn filling(there: &[ContainerSummary], role: &RoleName) -> Filling {
    let started = there.iter().any(|container| {
        let of_role = container
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::ROLE));
        of_role.is_some_and(|name| name == role.as_str())
            && container.state != Some(ContainerSummaryStateEnum::CREATED)
    });
    match started {
        true => Filling::Done,
        false => Filling::Needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_machine_starts_more_at_a_time() {
        let cores = NonZero::new;
        assert_eq!(at_a_time(true, cores(1)), 4);
        assert_eq!(at_a_time(true, cores(2)), 8);
        assert_eq!(at_a_time(true, cores(16)), 64);
        assert_eq!(at_a_time(true, None), 8);
        // Of an engine elsewhere, this machine's cores say nothing.
        assert_eq!(at_a_time(false, cores(1)), 8);
        assert_eq!(at_a_time(false, cores(16)), 8);
    }
}
