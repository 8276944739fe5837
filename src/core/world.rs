//! What really exists, as engine and pointer tell it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::names::{Millis, Release, RoleName, Slot};
use super::plan::{Exposed, PointerPlan, Policy, Probe, Reach, Run};
use super::routing::{Marks, Routing};
use super::sharing::Sharing;

/// Everything known about one service at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct World {
    /// What stands on the engine, by release.
    pub environments: Vec<Environment>,
    /// What the pointer says; `None` where it knows nothing of the service.
    pub routing: Option<Routing>,
    /// Marks kept on the engine; those that the pointer keeps are in its routing.
    pub engine_marks: BTreeMap<Release, Marks>,
}

/// The containers, network and volumes that stand for one release. Whole or in part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Whose it is.
    pub release: Release,
    /// Where it hangs.
    pub slot: Slot,
    /// When its first part was made, in milliseconds since the epoch, by the engine's clock.
    pub created: Millis,
    /// Its containers, by role and replica.
    pub containers: Vec<Container>,
    /// How many containers it should have.
    pub expected: u32,
    /// Its own network, volumes and other parts besides containers, by name on the engine.
    pub parts: Vec<String>,
    /// What its labels say.
    pub labels: Labels,
}

/// What is true at an environment's creation, as its labels carry it.
///
/// Anyone who can create a container can write labels: from them nothing is executed, and no file
/// or variable is read on the operator's machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    /// The role and port that get traffic.
    pub exposed: Exposed,
    /// Probes; of a secret header only its name, of an exec probe not its command.
    pub probes: Vec<Probe>,
    /// The pointer's kind and parameters.
    pub pointer: PointerPlan,
    /// Bake, drain, retention.
    pub policy: Policy,
    /// The shared roles that it was made for; `None` where an older version has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// The engine's name.
    pub name: String,
    /// Whose.
    pub role: RoleName,
    /// Which, from 1.
    pub replica: u32,
    /// When it runs.
    #[serde(default, skip_serializing_if = "Run::is_always")]
    pub run: Run,
    /// The pinned image's id.
    pub image_id: String,
    /// Its address on the environment's own network.
    pub address: Option<IpAddr>,
    /// The port of the engine's host that leads to its exposed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// What it does.
    pub state: ContainerState,
    /// What its HEALTHCHECK said last.
    pub health: Health,
}

impl Container {
    /// Whether it does what its role asks of it: of a job, that it has ended with 0; else that it
    /// runs.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match self.run {
            Run::Once => matches!(self.state, ContainerState::Exited { code: 0, .. }),
            Run::Always | Run::LiveOnly | Run::Shared | Run::Never => {
                self.state == ContainerState::Running
            }
        }
    }
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running.
    Running,
    /// Paused.
    Paused,
    /// The engine is starting it again after an exit.
    Restarting,
    /// Ended.
    Exited {
        /// Its exit code.
        code: i64,
        /// Whether the kernel ended it for want of memory.
        oom: bool,
    },
    /// Being removed, or dead.
    Gone,
}

/// What a HEALTHCHECK said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The container has none.
    #[default]
    None,
    /// No verdict yet.
    Starting,
    /// It passed.
    Healthy,
    /// It failed as often as it may.
    Unhealthy,
}

/// What containers hold while they stand. `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Memory now, in bytes, without what is only cached.
    pub memory: Option<u64>,
    /// CPU since they were started, as a share of one core; 0 while they are paused.
    pub cpu: Option<f64>,
    /// What they have written beside their images and volumes, in bytes.
    pub disk: Option<u64>,
}

impl Cost {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            memory: self.memory.zip(other.memory).map(|(a, b)| a + b),
            cpu: self.cpu.zip(other.cpu).map(|(a, b)| a + b),
            disk: self.disk.zip(other.disk).map(|(a, b)| a + b),
        }
    }
}

impl Environment {
    /// Where the pointer finds its exposed replicas, in replica order: at their own addresses, or at
    /// the ports at which they are published. None where a newer version's way to reach them is not
    /// understood.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        let exposed = &self.labels.exposed;
        let Ok(reach) = self.labels.pointer.reach() else {
            return Vec::new();
        };
        let at = |container: &Container| -> Option<SocketAddr> {
            Some(match reach {
                Reach::Published(host) => (host, container.published?).into(),
                Reach::Container | Reach::Slot(_) => (container.address?, exposed.port).into(),
            })
        };
        let replicas = self.containers.iter().filter(|c| c.role == exposed.role);
        let mut found: Vec<_> = replicas
            .filter_map(|container| Some((container.replica, at(container)?)))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, at)| at).collect()
    }

    /// Whether every container it should have is there, and all that run whether it is live or not
    /// do so; of a job, that it is done.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let here = self.at_rest();
        let well = here.containers.iter().filter(|c| c.is_well()).count();
        well == here.expected as usize
    }
}
