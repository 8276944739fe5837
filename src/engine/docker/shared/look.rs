//! What stands for the shared roles of a service.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerSummary, RestartPolicy};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::super::names::{self, Kind};
use super::super::{Docker, inspect};
use crate::core::names::{Millis, RoleName, ServiceName};
use crate::core::plan::{Plan, Role, Run};
use crate::core::shared::{Owner, Reach, Shared};
use crate::core::sharing::Sharing;
use crate::core::world::{Container, ContainerState};
use crate::docker::{found, label_filter};
use crate::engine::EngineError;

/// The labels by which Compose finds its own again.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const ROLE: &str = "com.docker.compose.service";
/// On a container of `docker compose run`.
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// A volume that a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) target: String,
    pub(super) volume: String,
    /// Whether the container may write to it.
    pub(super) written: bool,
}

/// A path of the engine's host that a container may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) target: String,
    pub(super) path: String,
}

/// What an engine calls a container's network, in our words.
fn reach(mode: &str) -> Reach {
    match mode.split_once(':') {
        Some(("container", id)) => Reach::Of(id.to_owned()),
        _ if mode == "host" => Reach::Host,
        _ if mode == "none" => Reach::Nowhere,
        _ => Reach::Own,
    }
}

/// What a container takes the place of, as its label says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replaced {
    pub(super) id: String,
    /// The restart policy that it had.
    pub(super) policy: String,
    pub(super) most: i64,
    /// Whether it ran.
    pub(super) ran: bool,
}

/// A container that stands for a shared role.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) container: Container,
    pub(super) since: Option<Millis>,
    pub(super) owner: Owner,
    pub(super) reach: Reach,
    pub(super) settings: String,
    pub(super) replaces: Vec<Replaced>,
    /// What of a Compose project was stopped for it, or for those before it.
    pub(super) stopped: Vec<Replaced>,
    pub(super) mounts: Vec<Mounted>,
    pub(super) bound: Vec<Bound>,
    pub(super) policy: RestartPolicy,
    /// The restart policy that it is to have while it runs.
    pub(super) planned: RestartPolicy,
    /// How often the engine has started it again by itself.
    pub(super) restarts: i64,
    /// Its image, as it was asked for.
    pub(super) image: String,
    /// The networks it is in, by name, and what it is called there besides its own name.
    pub(super) networks: BTreeMap<String, Vec<String>>,
}

/// A new container and what it takes the place of.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) new: Standing,
    pub(super) old: Vec<(Standing, Replaced)>,
}

/// All that stands.
pub(super) struct Looked {
    pub(super) standing: Vec<Standing>,
    pub(super) trials: Vec<Trial>,
    /// What the releases that stand were made for, each once.
    pub(super) sharing: Vec<Sharing>,
}

impl Standing {
    /// Reads the engine's full answer.
    pub(super) fn read(answer: ContainerInspectResponse) -> Self {
        let config = answer.config.clone().unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let host = answer.host_config.clone().unwrap_or_default();
        let networks = answer.network_settings.as_ref();
        let networks = networks.and_then(|settings| settings.networks.clone());
        let networks = networks.unwrap_or_default();
        let service = labels.get(names::SERVICE);
        let own = service.map(|service| crate::core::shared::network(service));
        let endpoint = own.and_then(|name| networks.get(&name).cloned());
        let state = answer.state.clone().unwrap_or_default();
        let since = match state.running {
            Some(true) => state.started_at,
            _ => state.finished_at,
        };
        let mounts = answer.mounts.clone().unwrap_or_default();
        let bound = mounts.iter().filter(|mount| mount.rw != Some(false));
        let bound = bound.filter_map(|mount| match mount.name.as_deref() {
            None | Some("") => Some(Bound {
                target: mount.destination.clone()?,
                path: mount.source.clone()?,
            }),
            Some(_) => None,
        });
        let bound: Vec<_> = bound.collect();
        let mounts = mounts.into_iter().filter_map(|mount| {
            let target = mount.destination?;
            let volume = mount.name.filter(|name| !name.is_empty())?;
            Some(Mounted {
                target,
                volume,
                written: mount.rw != Some(false),
            })
        });
        let restarts = answer.restart_count.unwrap_or_default();
        let mut container = inspect::full(answer);
        container.run = Run::Shared;
        container.address = endpoint.as_ref().and_then(inspect::address);
        let owner = match Kind::Shared.is(&labels) {
            true => Owner::Flipside,
            false => {
                let of_project = labels.get(ROLE).and_then(|name| RoleName::new(name).ok());
                if let Some(role) = of_project {
                    container.role = role;
                }
                Owner::Project(labels.get(PROJECT).cloned().unwrap_or_default())
            }
        };
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let policy = host.restart_policy.unwrap_or_default();
        let planned = serde_json::from_str(&label(names::RESTART));
        let replaces = || serde_json::from_str(&label(names::REPLACES)).unwrap_or_default();
        // An older version remembered no more than what it took the place of.
        let stopped = serde_json::from_str(&label(names::STOPPED)).unwrap_or_else(|_| replaces());
        Self {
            container,
            since: since.as_deref().and_then(inspect::instant),
            owner,
            reach: reach(host.network_mode.as_deref().unwrap_or_default()),
            settings: label(names::SETTINGS),
            replaces: replaces(),
            stopped,
            mounts: mounts.collect(),
            bound,
            planned: planned.unwrap_or_else(|_| policy.clone()),
            policy,
            restarts,
            image: config.image.unwrap_or_default(),
            networks: networks
                .into_iter()
                .map(|(name, endpoint)| (name, endpoint.aliases.unwrap_or_default()))
                .collect(),
        }
    }

    /// As others are told of it.
    pub(super) fn told(&self) -> Shared {
        Shared {
            container: self.container.clone(),
            since: self.since,
            owner: self.owner.clone(),
            reach: self.reach.clone(),
            joined: true,
            taker: None,
            beside: None,
            halfway: false,
            differs: Vec::new(),
        }
    }

    /// The volumes, by name, and the paths of the host to which it may write.
    pub(super) fn data(&self) -> impl Iterator<Item = &str> {
        let volumes = self.mounts.iter().filter(|mount| mount.written);
        let volumes = volumes.map(|mount| mount.volume.as_str());
        volumes.chain(self.bound.iter().map(|bound| bound.path.as_str()))
    }

    pub(super) fn runs(&self) -> bool {
        matches!(
            self.container.state,
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
        )
    }
}

impl Trial {
    /// Whether it cannot end without the other: its container uses the network of that one's, or did.
    fn needs(&self, other: &Self) -> bool {
        let uses =
            |one: &Standing, owner: &Standing| one.reach == Reach::Of(owner.container.id.clone());
        let mut olds = self.old.iter().map(|(old, _)| old);
        uses(&self.new, &other.new)
            || olds.any(|old| other.old.iter().any(|(owner, _)| uses(old, owner)))
    }
}

impl Looked {
    /// What stands for a role: ours, else a Compose project's.
    pub(super) fn of(&self, role: &RoleName) -> impl Iterator<Item = &Standing> {
        let of = self.standing.iter();
        of.filter(move |one| one.container.role == *role)
    }

    /// What of a Compose project stands for a role.
    pub(super) fn theirs(&self, role: &RoleName) -> impl Iterator<Item = &Standing> {
        self.of(role).filter(|one| one.owner != Owner::Flipside)
    }

    /// What a killed apply has left of a role.
    pub(super) fn trial(&self, role: &RoleName) -> Option<&Trial> {
        let mut trials = self.trials.iter();
        trials.find(|trial| trial.new.container.role == *role)
    }

    /// The trials that end together with a role's: first the one whose network the others use.
    pub(super) fn together(&self, role: &RoleName) -> Vec<Trial> {
        let Some(asked) = self.trial(role) else {
            return Vec::new();
        };
        let first = self.trials.iter().find(|other| asked.needs(other));
        let first = first.unwrap_or(asked);
        let others = self.trials.iter().filter(|other| other.needs(first));
        std::iter::once(first).chain(others).cloned().collect()
    }

    /// All trials, together where they end together.
    pub(super) fn all_together(&self) -> Vec<Vec<Trial>> {
        let trials = self.trials.iter();
        let firsts = trials.filter(|one| !self.trials.iter().any(|other| one.needs(other)));
        let roles = firsts.map(|one| &one.new.container.role);
        roles.map(|role| self.together(role)).collect()
    }

    /// Whether a container uses the network of one that does not stand, or not any more, for the
    /// role whose network it is to use.
    pub(super) fn is_astray(&self, role: &Role, one: &Standing) -> bool {
        let Some(owner) = &role.network_of else {
            return false;
        };
        let uses = |owner: &Standing| one.reach == Reach::Of(owner.container.id.clone());
        self.trial(owner).is_none() && !self.of(owner).any(uses)
    }

    pub(super) fn is_halfway(&self, one: &Standing) -> bool {
        self.trial(&one.container.role).is_some()
    }
}

/// Looks at all that stands for the shared roles of a service, see [`crate::engine::Engine::shared`].
pub(super) async fn look(
    engine: &Docker,
    service: &ServiceName,
    plan: Option<&Plan>,
) -> Result<Looked, EngineError> {
    let all = inspect::containers(engine, names::filter(service, None)).await?;
    let is_shared = |container: &ContainerSummary| {
        let labels = container.labels.as_ref();
        labels.is_some_and(|labels| Kind::Shared.is(labels))
    };
    let (ours, releases): (Vec<_>, Vec<_>) = all.into_iter().partition(is_shared);
    let mut sharing: Vec<Sharing> = Vec::new();
    let said = releases.iter().filter_map(|one| one.labels.as_ref());
    for said in said.filter_map(names::sharing) {
        if !sharing.contains(&said) {
            sharing.push(said);
        }
    }
    let mut standing = each(engine, &ids(ours)).await?;
    let network = names::shared_network(service);
    let trials = trials(engine, service, &standing).await?;
    let is_ours = |role: &RoleName| standing.iter().any(|one| one.container.role == *role);
    let mut theirs = of_project(engine, &network, plan).await?;
    if plan.is_none() {
        theirs.extend(of_releases(engine, &sharing).await?);
        theirs.sort_by(|a, b| a.container.id.cmp(&b.container.id));
        theirs.dedup_by(|a, b| a.container.id == b.container.id);
    }
    let theirs = theirs.into_iter();
    let theirs: Vec<_> = theirs
        .filter(|one| !is_ours(&one.container.role))
        .filter(|one| plan.is_none_or(|plan| plan.shared.contains_key(&one.container.role)))
        .collect();
    standing.extend(theirs);
    standing.sort_by(|a, b| a.container.name.cmp(&b.container.name));
    Ok(Looked {
        standing,
        trials,
        sharing,
    })
}

/// One container; `None` where it is gone.
pub(super) async fn one(engine: &Docker, id: &str) -> Result<Option<Standing>, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(id, None).await);
    let answer = answer.map_err(|error| client.fault(error))?;
    Ok(answer.map(Standing::read))
}

async fn each(engine: &Docker, ids: &[String]) -> Result<Vec<Standing>, EngineError> {
    let found = try_join_all(ids.iter().map(|id| one(engine, id))).await?;
    Ok(found.into_iter().flatten().collect())
}

fn ids(listed: Vec<ContainerSummary>) -> Vec<String> {
    listed.into_iter().filter_map(|one| one.id).collect()
}

/// New containers of which what they take the place of is still there: an own one, or a Compose
/// project's that has not been left.
async fn trials(
    engine: &Docker,
    service: &ServiceName,
    ours: &[Standing],
) -> Result<Vec<Trial>, EngineError> {
    let network = names::shared_network(service);
    let mut trials = Vec::new();
    for new in ours.iter().filter(|one| !one.replaces.is_empty()) {
        let mut old = Vec::new();
        for replaced in &new.replaces {
            let Some(found) = one(engine, &replaced.id).await? else {
                continue;
            };
            // The last thing that is done to it says that it has been left: it is disconnected. One that
            // cannot be connected has been left when the new one has its name.
            let left = match (&found.owner, &found.reach) {
                (Owner::Flipside, _) => false,
                (Owner::Project(_), Reach::Own) => !found.networks.contains_key(&network),
                (Owner::Project(_), _) => {
                    let role = &new.container.role;
                    new.container.name == names::shared_container(service, role)
                }
            };
            if !left {
                old.push((found, replaced.clone()));
            }
        }
        if !old.is_empty() {
            let new = new.clone();
            trials.push(Trial { new, old });
        }
    }
    Ok(trials)
}

/// Whether the labels are those of a container of `docker compose run`.
pub(super) fn is_one_off(labels: &HashMap<String, String>) -> bool {
    let said = labels.get(ONE_OFF);
    said.is_some_and(|said| said.eq_ignore_ascii_case("true"))
}

/// What of the plan's Compose project stands; without a plan, what of any is on the network.
async fn of_project(
    engine: &Docker,
    network: &str,
    plan: Option<&Plan>,
) -> Result<Vec<Standing>, EngineError> {
    let filters = match plan.map(|plan| &plan.project) {
        Some(None) => return Ok(Vec::new()),
        Some(Some(project)) => label_filter(&[(PROJECT, project.as_str()), (ROLE, "")]),
        None => HashMap::from([
            ("network".to_owned(), vec![network.to_owned()]),
            (
                "label".to_owned(),
                vec![PROJECT.to_owned(), ROLE.to_owned()],
            ),
        ]),
    };
    theirs(engine, filters).await
}

/// What stands for the shared roles of the releases that stand, of their Compose projects.
async fn of_releases(engine: &Docker, sharing: &[Sharing]) -> Result<Vec<Standing>, EngineError> {
    let mut found = Vec::new();
    for said in sharing {
        let Some(project) = said.project.as_deref().filter(|_| !said.roles.is_empty()) else {
            continue;
        };
        let all = theirs(engine, label_filter(&[(PROJECT, project), (ROLE, "")])).await?;
        let meant = |one: &Standing| said.roles.contains_key(&one.container.role);
        found.extend(all.into_iter().filter(meant));
    }
    Ok(found)
}

/// A Compose project's containers of these, but for those of `docker compose run`.
async fn theirs(
    engine: &Docker,
    filters: HashMap<String, Vec<String>>,
) -> Result<Vec<Standing>, EngineError> {
    let listed = inspect::containers(engine, filters).await?;
    let theirs = listed.into_iter().filter(|container| {
        let labels = container.labels.as_ref();
        let ours = |labels: &HashMap<_, _>| labels.contains_key(names::SERVICE);
        labels.is_some_and(|labels| !is_one_off(labels) && !ours(labels))
    });
    each(engine, &ids(theirs.collect())).await
}
