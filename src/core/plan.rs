//! The checked plan: what a plan file means once every word in it has been understood.
//!
//! Built by `plan/`, read by everything else. Nothing here reads files or variables. Only the parts
//! that labels and the journal carry ([`Probe`], [`PointerPlan`], [`Policy`]) can be serialised;
//! roles cannot, because they hold secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::{Millis, RoleName, ServiceName};
pub use super::text::Text;
pub use hook::{Hook, HookAct, HookRequest};
pub use pointer::PointerPlan;
pub use probe::{GrpcProbe, HeaderField, HttpProbe, JsonValue, Probe, ProbeKind, ProbeTls, Verify};
pub use reach::{Reach, Slots};

mod hook;
mod pointer;
mod probe;
mod reach;

/// A whole plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `name:`.
    pub service: ServiceName,
    /// `services:` that belong to a release, by name.
    pub roles: BTreeMap<RoleName, Role>,
    /// `services:` that outlive releases, by name: [`Run::Shared`]. No release touches them; roles of
    /// both kinds may name them in [`Role::depends_on`].
    pub shared: BTreeMap<RoleName, Role>,
    /// The Compose project from whose files the roles come: its running containers may be the shared
    /// roles.
    pub project: Option<String>,
    /// Those files, absolute, as they are called and where they really are: their containers may
    /// be a project's of another name. Empty where the plan calls it otherwise than Compose does by
    /// itself: then it is decided.
    pub compose_files: Vec<PathBuf>,
    /// Networks that exist already and that roles join beside the environment's own, by the name
    /// roles use for them → the name on the engine. Own networks of a plan are folded into the
    /// environment's one network.
    pub external_networks: BTreeMap<String, String>,
    /// Volumes that exist already, by their names on the engine: no release and no shared role makes
    /// one of these.
    pub external_volumes: BTreeSet<String>,
    /// `expose:`.
    pub exposed: Exposed,
    /// `probes:`; empty only where the plan says `probes: none`.
    pub probes: Vec<Probe>,
    /// `hooks:`, in the order in which they run.
    pub hooks: Vec<Hook>,
    /// `pointer:`.
    pub pointer: PointerPlan,
    /// `bake:`, `standby:`, `drain:` and the like.
    pub policy: Policy,
    /// `engine:`.
    pub engine: Option<String>,
    /// `pools:`.
    pub pools: Pools,
    /// What stands in the files of `secrets:`, as far as it is text: hidden wherever it is repeated.
    pub hidden: Vec<Text>,
}

/// The role and port that the pointer sends traffic to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// The role.
    pub role: RoleName,
    /// The port its containers listen on.
    pub port: u16,
}

/// Where subnets and published ports are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools {
    /// Address and prefix length, `10.213.0.0/16` by default; the prefix is at most 26.
    pub networks: (std::net::Ipv4Addr, u8),
    /// The first and the last of the host's ports at which containers are published, 20000 to 29999
    /// by default.
    pub ports: (u16, u16),
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            networks: (std::net::Ipv4Addr::new(10, 213, 0, 0), 16),
            ports: (20_000, 29_999),
        }
    }
}

/// What the loop needs to know of a plan; kept in the opening record, so that a resumed run never
/// reads an edited plan file, and in labels, so that a rollback needs neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How long to stand up a candidate, images ready.
    pub stand_up_ms: Millis,
    /// How long after a switch failing probes switch back by themselves.
    pub bake_ms: Millis,
    /// How long requests in flight may take to end after a switch, before they are cut.
    pub drain_ms: Millis,
    /// How many older environments that have served are kept, at least.
    pub keep: u32,
    /// How long they are kept, at least.
    pub keep_for_ms: Millis,
    /// How many are kept, at most, whatever their age; no less than `keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// How a standby waits.
    pub standby_mode: StandbyMode,
    /// How long a rollback's proof of its target may take.
    pub proof_ms: Millis,
    /// How long live-only containers must have run, without an end, before the release is kept.
    #[serde(skip_serializing_if = "is_default_settle")]
    pub settle_ms: Millis,
    /// The longest time that a live-only container may take to stop; 0 where there is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub grace_ms: Millis,
}

/// How long live-only containers are watched where the plan says nothing, in milliseconds.
const SETTLE_MS: Millis = 10_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_default_settle(ms: &Millis) -> bool {
    *ms == SETTLE_MS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(ms: &Millis) -> bool {
    *ms == 0
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            stand_up_ms: 300_000,
            bake_ms: 0,
            drain_ms: 30_000,
            keep: 1,
            keep_for_ms: 0,
            max: None,
            standby_mode: StandbyMode::Running,
            proof_ms: 1_000,
            settle_ms: SETTLE_MS,
            grace_ms: 0,
        }
    }
}

/// How a standby waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum StandbyMode {
    /// It runs.
    #[default]
    Running,
    /// Its containers are paused: they keep their memory and get no CPU.
    Frozen,
    /// Its containers are stopped: they hold nothing but disk.
    Stopped,
}

/// When a role runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    /// In every environment, live or not.
    #[default]
    Always,
    /// Only in the environment that the pointer names, and never in two at once.
    LiveOnly,
    /// A job of the release: to its end, once, before anything is switched.
    Once,
    /// Outlives releases: a database, a queue. Stood up where it is absent, never touched after.
    Shared,
    /// Left out.
    Never,
}

impl Run {
    /// The word for it, in plans and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::LiveOnly => "live-only",
            Self::Once => "once",
            Self::Shared => "shared",
            Self::Never => "never",
        }
    }

    /// Whether it is [`Run::Always`].
    #[must_use]
    pub fn is_always(&self) -> bool {
        *self == Self::Always
    }
}

/// How long a job may run where its role does not say.
pub const JOB_TIMEOUT_MS: Millis = 600_000;

/// One role, in Compose's words. Where a field is `None`, the image's or the engine's value holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// `run:`.
    pub run: Run,
    /// Where the image comes from.
    pub image: ImageSource,
    /// `pull_policy:`.
    pub pull: Pull,
    /// `command:`; an empty list clears the image's.
    pub command: Option<Vec<Text>>,
    /// `entrypoint:`; an empty list clears the image's.
    pub entrypoint: Option<Vec<Text>>,
    /// Variables, `env_file` and `environment` merged.
    pub environment: BTreeMap<String, Text>,
    /// Files and directories of the release, copied in: secrets, configs, read-only relative binds.
    pub files: Vec<FileMount>,
    /// Volumes and absolute binds.
    pub mounts: Vec<Mount>,
    /// `tmpfs:`: path → options as Docker takes them (`size=64m,mode=1777`), empty for none.
    pub tmpfs: BTreeMap<String, String>,
    /// `healthcheck:`.
    pub healthcheck: Option<Healthcheck>,
    /// `depends_on:`.
    pub depends_on: BTreeMap<RoleName, Condition>,
    /// `timeout:` of a job, 10 min by default: how long it may run.
    pub timeout_ms: Millis,
    /// `deploy.replicas`, at least 1.
    pub replicas: u32,
    /// CPU and memory limits.
    pub limits: Limits,
    /// `stop_signal:`.
    pub stop_signal: Option<String>,
    /// `stop_grace_period:`, 10 s by default.
    pub stop_grace_ms: Millis,
    /// `user:`.
    pub user: Option<String>,
    /// `working_dir:`.
    pub working_dir: Option<String>,
    /// `read_only:`.
    pub read_only: bool,
    /// `cap_add:`, upper case, without `CAP_`.
    pub cap_add: Vec<String>,
    /// `cap_drop:`, likewise.
    pub cap_drop: Vec<String>,
    /// `security_opt:`.
    pub security_opt: Vec<String>,
    /// `ulimits:`: name → soft and hard.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// `labels:`.
    pub labels: BTreeMap<String, String>,
    /// `init:`.
    pub init: Option<bool>,
    /// `extra_hosts:`: name → address.
    pub extra_hosts: Vec<(String, String)>,
    /// `dns:`.
    pub dns: Vec<IpAddr>,
    /// External networks joined, by their key in [`Plan::external_networks`].
    pub networks: Vec<String>,
    /// `hostname:`; of a release's role a name in its own network alone, as [`Role::aliases`] are.
    pub hostname: Option<String>,
    /// `expose:`: documentation of the ports a role listens on.
    pub expose: Vec<u16>,
    /// Further names by which the roles beside it reach it, in its own network alone.
    pub aliases: Vec<String>,
    /// `network_mode: service:ROLE`: the role whose network its containers use, replica by replica;
    /// they have no address of their own then. It holds for one life of that role's container: once
    /// the engine has started that again by itself, these are in a network that has ended, and after a
    /// restart of the engine they may stay down, since it starts all in no order. Either is mended by
    /// `docker restart` of these.
    pub network_of: Option<RoleName>,
    /// `tty:`.
    pub tty: bool,
    /// `stdin_open:`.
    pub stdin_open: bool,
    /// `sysctls:`.
    pub sysctls: BTreeMap<String, String>,
    /// `logging:`; `None` is the engine's json-file, rotated.
    pub logging: Option<Logging>,
    /// `group_add:`, names or numbers.
    pub group_add: Vec<String>,
    /// `dns_search:`.
    pub dns_search: Vec<String>,
    /// `platform:`, such as `linux/amd64`.
    pub platform: Option<String>,
    /// What only a shared role may have of the host.
    pub host: Host,
}

/// `logging:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// The engine's log driver.
    pub driver: String,
    /// Its options; a collector's token may be among them.
    pub options: BTreeMap<String, Text>,
}

/// What a role has of its host. Two releases side by side could not both have it, so that only
/// [`Run::Shared`] has any of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// `privileged:`.
    pub privileged: bool,
    /// `devices:`.
    pub devices: Vec<Device>,
    /// `network_mode: host`.
    pub network: bool,
    /// `pid: host`.
    pub pid: bool,
    /// `ipc: host`.
    pub ipc: bool,
    /// `ports:`.
    pub ports: Vec<Port>,
    /// `restart:`.
    pub restart: Restart,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path on the host.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// Of `rwm`.
    pub permissions: String,
}

/// A port of the host's that leads to one of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The host's address; `None`: all.
    pub address: Option<IpAddr>,
    /// The host's port; `None`: one that the engine chooses.
    pub published: Option<u16>,
    /// The container's port.
    pub target: u16,
    /// Whether it is one of UDP.
    pub udp: bool,
}

/// When the engine starts a shared role's container again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Never.
    No,
    /// Always.
    Always,
    /// After every end and every start of the engine, unless somebody has stopped it.
    #[default]
    UnlessStopped,
    /// After an end with another code than 0, at most so often; `None`: without a bound.
    OnFailure(Option<u32>),
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// `image:`, a reference as written.
    Pull(String),
    /// `build:`.
    Build(Build),
}

/// `build:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// The directory, absolute.
    pub context: std::path::PathBuf,
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, Text>,
    /// The stage.
    pub target: Option<String>,
    /// A tag to give the image besides (`image:` beside `build:`).
    pub tag: Option<String>,
}

/// `pull_policy:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// Where the engine has no such image.
    #[default]
    Missing,
    /// At each deploy.
    Always,
    /// Never.
    Never,
}

/// Files copied into the containers of a role.
#[derive(Debug, Clone, PartialEq)]
pub struct FileMount {
    /// The absolute path in the container.
    pub target: String,
    /// What stands there.
    pub content: FileContent,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq)]
pub enum FileContent {
    /// A single file.
    File {
        /// Its bytes.
        source: FileSource,
        /// Numeric owner.
        uid: u32,
        /// Numeric group.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// A directory of the deployer, copied into a volume and mounted read-only.
    Directory(std::path::PathBuf),
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum FileSource {
    /// A file of the deployer, absolute.
    Path(std::path::PathBuf),
    /// A value (a config's `content:`, a variable).
    Value(Text),
}

/// A mount that is not copied.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// The absolute path in the container.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Whether the container may write.
    pub read_only: bool,
    /// How mounts below a path of the host spread, such as `rslave`; of a shared role's only.
    pub propagation: Option<&'static str>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq)]
pub enum MountSource {
    /// A new volume of this release's own; the name as in the plan, `None` for an anonymous one.
    PerRelease(Option<String>),
    /// A volume that outlives releases, by its name on the engine.
    Shared(String),
    /// An absolute path of the engine's host, which the plan declares shared.
    Host(String),
}

/// `healthcheck:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`; empty: the image's own.
    pub test: Vec<Text>,
    /// Time between two checks.
    pub interval_ms: Option<Millis>,
    /// How long one may take.
    pub timeout_ms: Option<Millis>,
    /// How long failures do not count after the start.
    pub start_period_ms: Option<Millis>,
    /// Time between two checks within the start period; engines with API 1.44 and newer know it.
    pub start_interval_ms: Option<Millis>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
}

/// What of another role is waited for before a role starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its containers have been started.
    Started,
    /// Their HEALTHCHECK says healthy.
    Healthy,
    /// They have ended with 0; of jobs only.
    Completed,
}

/// Limits of one container.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes reserved.
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 for as much swap as there is.
    pub memory_swap: Option<i64>,
    /// Processes; 4096 by default.
    pub pids: Option<i64>,
    /// Bytes of `/dev/shm`.
    pub shm: Option<i64>,
}
