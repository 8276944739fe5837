//! Where environments stand: the contract, and the choice among its kinds.
//!
//! An adapter does not retry, sleep for luck, print or read the clock; the caller sets deadlines by
//! dropping the future. Dropping one leaves at most what `inspect` finds and `stand_up` completes.
//! The contract suite in `tests/support/` holds every kind, and the fake, to what is said here.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::core::event::Failure;
use crate::core::names::{Fence, Millis, Release, RoleName, ServiceName, Slot};
use crate::core::plan::{Plan, StandbyMode, Text};
use crate::core::progress::Sink;
use crate::core::routing::{Mark, Marks};
use crate::core::shared::{Applied, Removed, Shared};
use crate::core::workers::Rival;
use crate::core::world::{Container, Cost, Environment, Labels};

pub mod docker;
mod settings;

pub use settings::Settings;

/// What one release's environment shall be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The checked plan.
    pub plan: Plan,
    /// The release.
    pub release: Release,
    /// Its slot.
    pub slot: Slot,
    /// What goes into labels.
    pub labels: Labels,
    /// The number of the lease under which the release was begun: no other begun on this engine has
    /// it, also where two stores gave out one release number.
    pub opened_with: Fence,
}

/// Role → pinned image: an id (`sha256:…`) or a reference with a digest.
pub type Images = BTreeMap<RoleName, String>;

/// Why a call on an engine did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine could not be asked; this call has done nothing.
    #[error("engine {engine} is out of reach: {why}")]
    OutOfReach {
        /// Its address.
        engine: String,
        /// In a person's words.
        why: String,
    },
    /// The connection ended before the answer; whether the call took effect is not known.
    #[error("engine {engine} did not answer to the end: {why}")]
    Lost {
        /// Its address.
        engine: String,
        /// In a person's words.
        why: String,
    },
    /// The engine said no, or the environment is at fault; repeating will not help by itself.
    #[error("{}", .0.what)]
    Failed(Failure),
}

/// A small atomic token on the engine: the lease, a request to its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, unique on the engine.
    pub name: String,
    /// Its labels, without the `flipside.` prefix: text that never changes.
    pub labels: BTreeMap<String, String>,
}

/// An image that a build for a service has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its id (`sha256:…`).
    pub id: String,
    /// Whether it is no whole image but the last step of a stage, or of a build that was cut short:
    /// no environment needs it, but it spares the next build its work.
    pub step: bool,
}

/// What a command in a container answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i64,
    /// The last of what it printed, at most 4 KiB.
    pub output: String,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
}

/// How much of an output is kept, in bytes.
pub const OUTPUT: usize = 4096;

/// How a container that runs once has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
    /// How long it ran.
    pub took_ms: Millis,
    /// The last of what it printed, at most [`OUTPUT`].
    pub output: String,
}

/// A hook that runs in a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerHook {
    /// Its name.
    pub name: String,
    /// What tells the containers of one hook apart that was begun more than once.
    pub turn: Option<String>,
    /// The role that it has all but the command of.
    pub role: RoleName,
    /// What it runs.
    pub command: Vec<Text>,
}

/// One line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The container's name.
    pub container: String,
    /// Without its line end.
    pub line: String,
}

/// An engine.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Its address, for messages.
    fn address(&self) -> &str;

    /// Resolves, pulls or builds the image of every role that runs, and of every shared role of which
    /// nothing stands, and pins it, before anything else is touched.
    async fn prepare(&self, spec: &Spec, sink: &dyn Sink) -> Result<Images, EngineError>;

    /// Makes what is missing of the environment: network, files, containers, and starts them in
    /// dependency order, but for those of live-only roles. Idempotent, also over what a killed call
    /// has left. A job is started at most once, and has ended with 0 when this returns; one that ends
    /// otherwise is a failure.
    ///
    /// Before that, the plan's shared roles: one of which nothing stands gets its one container, in
    /// dependency order, on the service's shared network; the containers of a Compose project that
    /// stand for one are connected to that network under the role's name. What stands is not
    /// touched, whatever its settings are, and what has stopped is not started. Where a role of the
    /// release waits for a shared one, that has come about before anything of the environment is
    /// made; one that has ended, or is unhealthy, is a failure with its last log lines.
    async fn stand_up(
        &self,
        spec: &Spec,
        images: &Images,
        sink: &dyn Sink,
    ) -> Result<Environment, EngineError>;

    /// Brings the live-only containers of a release to rest: none is started again by the engine from
    /// then on, and each is stopped by its own signal and grace and waited for until the engine is
    /// certain that it does not run. Idempotent, also over what a killed call has left. Answers the
    /// names of those that ran.
    async fn rest(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError>;

    /// Starts the live-only containers of a release in dependency order; from then on the engine
    /// starts them again by itself. One that was about to come to rest does so before. Idempotent.
    /// Answers the names of all of them.
    ///
    /// Fails where a live-only container of another release of the service runs, and where the
    /// release has none; then nothing was started.
    async fn work(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError>;

    /// What really exists of a service: every release's environment, whole or in part, ascending.
    async fn inspect(&self, service: &ServiceName) -> Result<Vec<Environment>, EngineError>;

    /// One container as it is now: with its exit code and whether memory ran out, which
    /// [`Engine::inspect`] may leave out. `None` where it is gone.
    async fn container(&self, id: &str) -> Result<Option<Container>, EngineError>;

    /// The services that have anything on this engine.
    async fn services(&self) -> Result<Vec<ServiceName>, EngineError>;

    /// Removes an environment: containers (stopped by their own signal and grace), network,
    /// volumes of the release. Idempotent. Images are kept.
    async fn tear_down(&self, service: &ServiceName, release: Release) -> Result<(), EngineError>;

    /// Puts what runs of an environment to sleep: pauses it where `mode` is frozen, stops it by each
    /// container's own signal and grace where it is stopped, so that nothing starts it again by
    /// itself. Idempotent; what sleeps in another way stays so, and of an environment that is gone
    /// there is nothing to be done.
    async fn freeze(
        &self,
        service: &ServiceName,
        release: Release,
        mode: StandbyMode,
    ) -> Result<(), EngineError>;

    /// Wakes an environment: lets go on what is paused, all at once, and starts in dependency order
    /// what has ended. Only containers that run in every environment. Idempotent. Says nothing of
    /// whether they are fit.
    async fn wake(
        &self,
        service: &ServiceName,
        release: Release,
        sink: &dyn Sink,
    ) -> Result<(), EngineError>;

    /// What containers hold together at `now`, in milliseconds since the epoch. One that is gone
    /// holds nothing.
    async fn cost(&self, containers: &[Container], now: Millis) -> Result<Cost, EngineError>;

    /// How many connections of others lead to the exposed port of each environment's containers, in
    /// the environments' order: those that are open when the first is seen, and 0 where none is for
    /// `watch_ms` milliseconds. What stands in the environment itself and a container's own checks
    /// are no others. May be called by several at once; one that is dropped leaves nothing for long.
    ///
    /// # Errors
    /// Also where it cannot be seen, of one or of all.
    async fn clients(
        &self,
        service: &ServiceName,
        environments: &[Environment],
        watch_ms: Millis,
    ) -> Result<Vec<Result<u64, EngineError>>, EngineError>;

    /// The images that were built here for a service, and what else its builds have left; not those
    /// that its shared roles run on.
    async fn images(&self, service: &ServiceName) -> Result<Vec<Built>, EngineError>;

    /// Removes an image and those beneath it that nothing else needs, unless a container uses it.
    /// None of that id is no error.
    async fn drop_image(&self, id: &str) -> Result<(), EngineError>;

    /// The last `tail` lines of a container.
    async fn logs(&self, container: &str, tail: u32) -> Result<Vec<String>, EngineError>;

    /// Sends the lines of containers as they come, until the receiver is dropped or all have ended.
    async fn follow(
        &self,
        containers: &[String],
        tail: u32,
        lines: tokio::sync::mpsc::Sender<LogLine>,
    ) -> Result<(), EngineError>;

    /// Runs a command in a container to its end.
    async fn exec(&self, container: &str, command: &[Text]) -> Result<Executed, EngineError>;

    /// The marks kept on the engine, by release.
    async fn marks(&self, service: &ServiceName) -> Result<BTreeMap<Release, Marks>, EngineError>;

    /// Adds a mark: durable, atomic, idempotent. [`Mark::Served`] takes a withdrawal away.
    async fn mark(
        &self,
        service: &ServiceName,
        release: Release,
        mark: Mark,
    ) -> Result<(), EngineError>;

    /// Creates a token if none of that name is there; atomic. Answers what is there now, its own or
    /// the winner's.
    async fn claim(&self, service: &ServiceName, token: &Token) -> Result<Token, EngineError>;

    /// All tokens of a service.
    async fn tokens(&self, service: &ServiceName) -> Result<Vec<Token>, EngineError>;

    /// Removes a token; none of that name is no error.
    async fn drop_token(&self, service: &ServiceName, name: &str) -> Result<(), EngineError>;

    /// Waits until the container with this id does not run any more, and answers how it ended, also
    /// where the engine has started it again by then.
    async fn ended(&self, id: &str) -> Result<End, EngineError>;

    /// As [`Engine::ended`], of a container that runs once: with what it printed last and how long
    /// it ran.
    async fn ran(&self, id: &str) -> Result<Ran, EngineError>;

    /// Runs a hook of an environment that stands to its end, in a container with a fixed name, made
    /// from `image`; or waits for it or reads back how it ended where that container is there: it is
    /// started at most once. It is removed with its environment, and is none of its containers.
    async fn hook(
        &self,
        spec: &Spec,
        image: &str,
        hook: &ContainerHook,
        sink: &dyn Sink,
    ) -> Result<Ran, EngineError>;

    /// What stands for the shared roles of a service, by role: containers that flipside made, and
    /// those of a Compose project for roles that have none of these. With a plan: those of its
    /// project, connected or not, and where settings differ from the plan's. Without one: those of
    /// any project that are connected to the shared network, and those of the projects and roles that
    /// the releases which stand were made for, connected or not; and what runs beside them on their
    /// data.
    ///
    /// Fails where a volume is not there that the plan says is external, and where standing the plan up
    /// would make one that outlives releases though its Compose project has it, under that name or
    /// another; where a container runs of a role that was shared, or had another name, or is the
    /// project's, and what the plan has instead would be at work beside it; where a project of another
    /// name has a role that is absent, or a volume, from the [files](Plan::compose_files) of the plan;
    /// and where a network that an absent role joins is not there. So does [`Engine::stand_up`], before
    /// anything is made.
    async fn shared(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Shared>, EngineError>;

    /// The containers of a Compose project that run beside live-only roles which come from its files,
    /// and do the same work: beside the plan's, or, without one, beside those of the releases that
    /// stand. Beside one of its plan's [`Engine::stand_up`] fails, before anything is made.
    async fn rivals(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Rival>, EngineError>;

    /// Makes the container of a shared role anew where its settings differ from the plan's, or where
    /// a Compose project's stand for it; with the same volumes, those without a name included. All
    /// that can fail without the new one running fails before the old one is touched. Then the old
    /// one is stopped by its own signal and grace, and kept until the new one is healthy, or, where
    /// it has no health check, has run for two seconds. Where it does not get there, or not within the
    /// plan's [`stand_up_ms`](crate::core::plan::Policy::stand_up_ms), the old one is put back and
    /// started, and this fails with the new one's last log lines. In the end the old one
    /// is removed; that of a Compose project is left, stopped, disconnected, and never started again
    /// by the engine.
    ///
    /// Idempotent, also over what a killed call has left, with this plan or another. Does nothing
    /// where nothing stands.
    async fn apply_shared(
        &self,
        plan: &Plan,
        role: &RoleName,
        sink: &dyn Sink,
    ) -> Result<Applied, EngineError>;

    /// What was only made on the way to a shared role's container that nobody has, by name: copied
    /// volumes, and the containers that fill them. [`Engine::settle_shared`] removes it.
    async fn left_of_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError>;

    /// Brings to an end what killed calls of [`Engine::apply_shared`] have left: keeps the new
    /// container where that is well by now, puts the old one back where it is not, and removes what
    /// was only made on the way. Waits for no health check. Says what it did, a sentence each.
    async fn settle_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError>;

    /// Connects to the shared network what stands for shared roles, as [`Engine::shared`] tells it
    /// without a plan, and is on none of its own that releases reach: under the names that the
    /// releases which stand have for it. Starts and stops nothing. Idempotent. Says what it did, a
    /// sentence each.
    async fn join_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError>;

    /// Removes the shared containers that flipside made (stopped by their own signal and grace), what
    /// was copied for them, and the shared network; disconnects a Compose project's. Those in whose
    /// place flipside's stood have their restart policies again, and are not started. Volumes that
    /// outlive releases stay. Answers what is left. Idempotent.
    async fn tear_down_shared(&self, service: &ServiceName) -> Result<Removed, EngineError>;

    /// Ends a hook's container: by its stop signal, and by SIGKILL after `grace_ms`. None of that
    /// name is no error.
    async fn stop_hook(
        &self,
        service: &ServiceName,
        release: Release,
        hook: &ContainerHook,
        grace_ms: Millis,
    ) -> Result<(), EngineError>;
}

/// How long a container is given to stop where it says nothing itself, in milliseconds.
pub const DEFAULT_GRACE_MS: Millis = 10_000;
