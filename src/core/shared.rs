//! What stands of a service's shared roles: the containers that outlive its releases.

use serde::{Deserialize, Serialize};

use super::names::{Millis, RoleName};
use super::plan::{Condition, Mount, MountSource, Plan, Role, Run};
use super::words::{clean, list};
use super::world::{Container, ContainerState, Health};

/// A container that stands for a shared role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The container; its address is the one on the shared network.
    pub container: Container,
    /// When its present life began, or its last one ended, in milliseconds since the epoch; `None`
    /// where it was never started.
    pub since: Option<Millis>,
    /// Whose it is.
    pub owner: Owner,
    /// On whose network it is.
    pub reach: Reach,
    /// Whether it is on the shared network, of what can be connected to it.
    pub joined: bool,
    /// What has its data open, where it has stopped itself and another service has taken its place.
    pub taker: Option<Taker>,
    /// What has its data open beside it, where both run; told where no plan was given.
    pub beside: Option<Beside>,
    /// Whether it is one of the two that a `shared apply` has left which was cut short.
    pub halfway: bool,
    /// Where the plan asks for something else than what it was made with; empty where no plan was
    /// given. Of what is a Compose project's, only the image is known, and its names on the shared network
    /// once it is in that.
    pub differs: Vec<Difference>,
}

/// A running container of another service's shared role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// Its name.
    pub container: String,
    /// Whose it is.
    pub service: String,
    /// The volume that it has open.
    pub volume: String,
}

/// A container that runs beside a shared role's own, and stands for the same role elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its name.
    pub container: String,
    /// The volume or path that both have open.
    pub data: String,
}

/// Whose the container of a shared role is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Flipside made it.
    Flipside,
    /// It is of a Compose project that ran before; of this name.
    Project(String),
}

/// The place of a [`Difference`] in the names by which a role is reached.
pub const ALIASES: &str = "aliases";

/// On whose network a container is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// On those that it has been connected to, and it can be connected to more.
    #[default]
    Own,
    /// On the host's.
    Host,
    /// On another container's, by its id, and under that one's names.
    Of(String),
    /// On none.
    Nowhere,
}

/// A setting of a shared role that is not as the plan has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Its place in the role: `image`, `environment.POSTGRES_PASSWORD`.
    pub place: String,
    /// What it was and what it is to be, of what is no secret: images, names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<(String, String)>,
}

impl Difference {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let place = clean(&self.place);
        match &self.change {
            Some((old, new)) => format!("`{place}` ({} → {})", clean(old), clean(new)),
            None => format!("`{place}`"),
        }
    }
}

/// Differences in words.
#[must_use]
pub fn differences(all: &[Difference]) -> String {
    list(&all.iter().map(Difference::words).collect::<Vec<_>>())
}

/// What became of a shared role's container when its settings were applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    /// The Compose containers in whose place a new one stands, by name: stopped, and kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Whether there was anything to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_it_was: bool,
}

/// What is left of shared roles that have been removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Their volumes, by name.
    pub kept: Vec<String>,
    /// The containers that still have one of these.
    pub held: Vec<Held>,
    /// A Compose project's containers in whose place flipside's stood.
    pub back: Vec<GivenBack>,
}

/// A container that has a volume which outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The volume, by name.
    pub volume: String,
    /// The container, by name.
    pub container: String,
}

/// A stopped container that has its restart policy again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Its name.
    pub container: String,
    /// The policy, in the engine's words: `unless-stopped`, `on-failure:5`.
    pub policy: String,
}

impl Shared {
    /// What it does, in words: `healthy`, `running`, `exited with 1`.
    #[must_use]
    pub fn does(&self) -> String {
        match (&self.container.state, self.container.health) {
            (ContainerState::Running, Health::Healthy) => "healthy".into(),
            (ContainerState::Running, Health::Unhealthy) => "unhealthy".into(),
            (ContainerState::Running, Health::Starting) => "running, not healthy yet".into(),
            (ContainerState::Running, Health::None) => "running".into(),
            (ContainerState::Created, _) => "created, never started".into(),
            (ContainerState::Paused, _) => "paused".into(),
            (ContainerState::Restarting, _) => "restarting".into(),
            (ContainerState::Exited { code, oom: false }, _) => format!("exited with {code}"),
            (ContainerState::Exited { code, oom: true }, _) => {
                format!("exited with {code}, OOM-killed")
            }
            (ContainerState::Gone, _) => "being removed".into(),
        }
    }

    /// What a person does with one that has stopped: starts it, but not beside another that has its
    /// data open.
    #[must_use]
    pub fn way_on(&self) -> String {
        let name = clean(&self.container.name);
        let Some(taker) = &self.taker else {
            return format!("start it: docker start {name}");
        };
        let (other, service) = (clean(&taker.container), clean(&taker.service));
        let (role, volume) = (&self.container.role, clean(&taker.volume));
        let network = network(&service);
        format!(
            "do not start it: `{other}`, a shared role of `{service}`, has its volume `{volume}` open, \
             and both would write to it; use that one, with `run: never` at `{role}` and its network \
             `{network}` as an external one, or take it back: flipside down {service} \
             --shared, then docker start {name}"
        )
    }

    /// Whether it could be connected to the shared network, and is not.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        !self.joined && !self.halfway
    }

    /// What a person does for releases to reach it again; `None` where they do, as far as it goes.
    #[must_use]
    pub fn mend(&self, service: &str) -> Option<String> {
        match (self.halfway, self.has_stopped(), self.joined) {
            (true, _, _) | (false, false, true) => None,
            (false, true, true) => Some(self.way_on()),
            (false, true, false) => Some(format!(
                "{}, then join it: flipside resume {service}",
                self.way_on()
            )),
            (false, false, false) => Some(format!(
                "join it, which restarts nothing: flipside resume {service}"
            )),
        }
    }

    /// What keeps releases from it; `None` where nothing is known to.
    #[must_use]
    pub fn trouble(&self, service: &str) -> Option<String> {
        let (name, network) = (clean(&self.container.name), network(service));
        match (self.halfway, self.has_stopped(), self.joined) {
            (true, _, _) | (false, false, true) => None,
            (false, true, _) => Some(format!("`{name}` {}", self.does())),
            (false, false, false) => Some(format!("`{name}` is not on the network `{network}`")),
        }
    }

    /// That another has its data open, and what a person does about it.
    #[must_use]
    pub fn not_alone(&self) -> Option<String> {
        let other = self.beside.as_ref()?;
        let (ours, theirs) = (clean(&self.container.name), clean(&other.container));
        Some(format!(
            "`{theirs}` runs beside `{ours}`, and both have `{}` open: of two databases on one \
             directory neither knows of the other; stop it, and see that nothing starts it again: \
             docker update --restart=no {theirs} && docker stop {theirs}",
            clean(&other.data)
        ))
    }

    /// Whether a person has to start it: the engine does not by itself, and a deploy does not
    /// either.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        let ended = matches!(self.container.state, ContainerState::Exited { .. });
        let theirs = matches!(self.owner, Owner::Project(_));
        ended || theirs && self.container.state == ContainerState::Created
    }
}

/// The network of a service's shared roles, behind an environment's own by name.
#[must_use]
pub fn network(service: &str) -> String {
    format!("flipside.{service}.shared")
}

/// What keeps releases from reaching shared roles by their names, each with what a person can do:
/// the engine connects a container to no second network that uses the host's, another one's or none.
/// `network` is the shared one.
#[must_use]
pub fn unreached(plan: &Plan, standing: &[Shared], network: &str) -> Vec<String> {
    let mut told = Vec::new();
    for (name, role) in &plan.shared {
        let of: Vec<_> = standing
            .iter()
            .filter(|one| one.container.role == *name)
            .collect();
        let on_host = match of.as_slice() {
            [] => role.host.network,
            all => all.iter().any(|one| one.reach == Reach::Host),
        };
        if on_host && !is_named(plan, name) {
            told.push(format!(
                "the shared role `{name}` uses the host's network and is reached through the host \
                 alone; name it for each role that uses it: `extra_hosts: [\"{name}=host-gateway\"]`"
            ));
        }
        for one in of {
            let container = clean(&one.container.name);
            match &one.reach {
                Reach::Of(owner) if !standing.iter().any(|other| other.container.id == *owner) => {
                    let owner = owner.get(..12).unwrap_or(owner);
                    told.push(format!(
                        "`{container}`, which stands for the shared role `{name}`, uses the network \
                         of a container that stands for none; releases reach it once that is \
                         connected: docker network connect --alias {name} {network} {owner}"
                    ));
                }
                Reach::Nowhere => told.push(format!(
                    "`{container}`, which stands for the shared role `{name}`, is on no network, \
                     and no release reaches it; a container of flipside's own is: flipside shared \
                     apply"
                )),
                Reach::Of(_) | Reach::Host | Reach::Own => {}
            }
        }
    }
    told
}

/// Whether the roles that wait for a shared one, or where none does, one at all, have an address for
/// its name.
fn is_named(plan: &Plan, name: &RoleName) -> bool {
    let named = |role: &&Role| {
        role.extra_hosts
            .iter()
            .any(|(host, _)| host == name.as_str())
    };
    let roles = || plan.roles.values();
    let mut waiting = roles().filter(|role| role.depends_on.contains_key(name));
    match roles().any(|role| role.depends_on.contains_key(name)) {
        true => waiting.all(|role| named(&role)),
        false => roles().any(|role| named(&role)),
    }
}

/// The roles for which nothing that stands runs, or will be started by a deploy, with one container
/// of each.
pub fn stopped(standing: &[Shared]) -> impl Iterator<Item = &Shared> {
    standing.iter().filter(|one| {
        let same = |other: &&Shared| other.container.role == one.container.role;
        let mut all = standing.iter().filter(same);
        let first = standing.iter().find(same) == Some(one);
        first && all.all(Shared::has_stopped)
    })
}

/// The shared roles that roles of a release wait for, and what of them; the most that any waits for.
#[must_use]
pub fn awaited(plan: &Plan) -> Vec<(&RoleName, Condition)> {
    let mut found: Vec<(&RoleName, Condition)> = Vec::new();
    let roles = plan.roles.values().filter(|role| role.run != Run::Never);
    for (name, condition) in roles.flat_map(|role| &role.depends_on) {
        if !plan.shared.contains_key(name) {
            continue;
        }
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some(known) if *condition == Condition::Healthy => known.1 = *condition,
            Some(_) => {}
            None => found.push((name, *condition)),
        }
    }
    found
}

/// Whether nothing that outlives a release may matter to one of this plan: no shared role, no data, and
/// no Compose project that has either.
#[must_use]
pub fn is_alone(plan: &Plan) -> bool {
    let mut mounts = plan.roles.values().flat_map(|role| &role.mounts);
    let outlives = |mount: &Mount| !matches!(mount.source, MountSource::PerRelease(_));
    plan.shared.is_empty() && plan.project.is_none() && !mounts.any(outlives)
}

/// The shared roles of a plan, each after those that it depends on.
#[must_use]
pub fn in_order(plan: &Plan) -> Vec<&RoleName> {
    let mut ordered: Vec<&RoleName> = Vec::new();
    while ordered.len() < plan.shared.len() {
        let left = plan
            .shared
            .iter()
            .filter(|(name, _)| !ordered.contains(name));
        let left: Vec<_> = left.collect();
        let ready = left.iter().find(|(_, role)| {
            let mut after = role.depends_on.keys();
            after.all(|other| !plan.shared.contains_key(other) || ordered.contains(&other))
        });
        // The reader refuses roles that wait for each other.
        let Some((name, _)) = ready.or(left.first()) else {
            break;
        };
        ordered.push(name);
    }
    ordered
}
