//! What stands of a service's shared roles: the containers that outlive its releases.

use serde::{Deserialize, Serialize};

use super::names::{Millis, RoleName};
use super::plan::{Condition, Mount, MountSource, Plan, Run};
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
    /// Whether it is one of the two that a `shared apply` has left which was cut short.
    pub halfway: bool,
    /// Where the plan asks for something else than what it was made with; empty where no plan was
    /// given. Of what is a Compose project's, only the image is known, and its names on the shared network
    /// once it is in that.
    pub differs: Vec<Difference>,
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

    /// Whether a person has to start it: the engine does not by itself, and a deploy does not
    /// either.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        let ended = matches!(self.container.state, ContainerState::Exited { .. });
        let theirs = matches!(self.owner, Owner::Project(_));
        ended || theirs && self.container.state == ContainerState::Created
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
