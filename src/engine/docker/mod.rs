//! Environments on a Docker engine (20.10 and newer, or what speaks its API).
//!
//! All state is the engine's own: names and labels say what belongs to which release. Nothing here
//! touches what does not carry our labels, retries a refused call but for the next free subnet, or
//! knows of pointers and journals.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{RwLock, mpsc};
use tokio::try_join;

use super::{
    Built, ContainerHook, End, Engine, EngineError, Executed, Images, LogLine, Ran, Spec, Token,
};
use crate::core::event::Failure;
use crate::core::names::{Millis, Release, RoleName, ServiceName};
use crate::core::plan::{Plan, StandbyMode, Text};
use crate::core::progress::Sink;
use crate::core::routing::{Mark, Marks};
use crate::core::shared::{Applied, Removed, Shared};
use crate::core::workers::Rival;
use crate::core::world::{Container, Cost, Environment};
use crate::docker::{Client, OwnImage, label_filter};

mod cgroup;
pub mod clients;
mod context;
mod cost;
mod create;
mod credentials;
mod demands;
mod ends;
mod equip;
mod files;
mod health;
mod hook;
mod host;
mod images;
mod inspect;
mod logs;
mod names;
mod network;
mod once;
mod order;
mod platform;
mod prepare;
mod publish;
mod shared;
mod sleep;
mod stand_up;
mod tear_down;
mod tokens;
mod workers;

use names::Kind;

/// The wait between two tries where the engine lags behind what it has answered itself.
const LAG: Duration = Duration::from_millis(25);

/// A Docker engine.
#[derive(Debug, Clone)]
pub struct Docker {
    client: Client,
    own_image: OwnImage,
    /// Read while the engine makes a network: its answer takes long, and may come after whoever asked
    /// has been called off. Written by whoever removes networks, who would not see that one yet.
    making: Arc<RwLock<()>>,
}

impl Docker {
    /// Environments on the engine that `client` speaks to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            own_image: OwnImage::default(),
            making: Arc::default(),
        }
    }

    /// What flipside itself runs there is of this image.
    #[must_use]
    pub fn with_own_image(self, own_image: OwnImage) -> Self {
        Self { own_image, ..self }
    }

    /// Connects, see [`Client::connect`].
    ///
    /// # Errors
    /// [`EngineError::OutOfReach`] where no engine answers.
    pub async fn connect(address: Option<&str>) -> Result<Self, EngineError> {
        Ok(Self::new(Client::connect(address).await?))
    }

    /// Refuses a plan that asks for what this engine cannot do, as [`Engine::prepare`] does, and
    /// without a call.
    ///
    /// # Errors
    /// The first such thing, and what to write instead.
    pub fn check(&self, plan: &Plan) -> Result<(), Failure> {
        demands::check(plan, self.client.api())
    }

    /// The client, for others who need the same engine.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

#[async_trait]
impl Engine for Docker {
    fn address(&self) -> &str {
        self.client.address()
    }

    async fn prepare(&self, spec: &Spec, sink: &dyn Sink) -> Result<Images, EngineError> {
        prepare::prepare(self, spec, sink).await
    }

    async fn stand_up(
        &self,
        spec: &Spec,
        images: &Images,
        sink: &dyn Sink,
    ) -> Result<Environment, EngineError> {
        stand_up::stand_up(self, spec, images, sink).await
    }

    async fn rest(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError> {
        workers::rest(self, service, release).await
    }

    async fn work(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError> {
        workers::work(self, service, release).await
    }

    async fn inspect(&self, service: &ServiceName) -> Result<Vec<Environment>, EngineError> {
        inspect::environments(self, service, None).await
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, EngineError> {
        inspect::container(self, id).await
    }

    async fn services(&self) -> Result<Vec<ServiceName>, EngineError> {
        let any = || label_filter(&[(names::SERVICE, "")]);
        let (containers, networks, volumes) = try_join!(
            inspect::containers(self, any()),
            inspect::networks(self, any()),
            inspect::volumes(self, any()),
        )?;
        let of_containers = containers
            .into_iter()
            .filter_map(|container| container.labels);
        let of_networks = networks.into_iter().filter_map(|network| network.labels);
        let of_volumes = volumes.into_iter().map(|volume| volume.labels);
        // Whoever runs an image of ours by hand gets a container with the image's labels.
        let is_ours = |labels: &HashMap<String, String>| {
            ![Kind::Image, Kind::Step].iter().any(|kind| kind.is(labels))
        };
        let all = of_containers.chain(of_networks).chain(of_volumes);
        let all = all.filter(is_ours);
        let names = all.filter_map(|mut labels| labels.remove(names::SERVICE));
        let names: BTreeSet<_> = names
            .filter_map(|name| ServiceName::new(name).ok())
            .collect();
        Ok(names.into_iter().collect())
    }

    async fn clients(
        &self,
        service: &ServiceName,
        environments: &[Environment],
        watch_ms: Millis,
    ) -> Result<Vec<Result<u64, EngineError>>, EngineError> {
        clients::clients(self, service, environments, watch_ms).await
    }

    async fn images(&self, service: &ServiceName) -> Result<Vec<Built>, EngineError> {
        self.list_images(service).await
    }

    async fn drop_image(&self, id: &str) -> Result<(), EngineError> {
        self.remove_image(id).await
    }

    async fn tear_down(&self, service: &ServiceName, release: Release) -> Result<(), EngineError> {
        tear_down::tear_down(self, service, release).await
    }

    async fn freeze(
        &self,
        service: &ServiceName,
        release: Release,
        mode: StandbyMode,
    ) -> Result<(), EngineError> {
        sleep::freeze(self, service, release, mode).await
    }

    async fn wake(
        &self,
        service: &ServiceName,
        release: Release,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        sleep::wake(self, service, release, sink).await
    }

    async fn cost(&self, containers: &[Container], now: Millis) -> Result<Cost, EngineError> {
        cost::cost(self, containers, now).await
    }

    async fn logs(&self, container: &str, tail: u32) -> Result<Vec<String>, EngineError> {
        logs::tail(self, container, tail).await
    }

    async fn follow(
        &self,
        containers: &[String],
        tail: u32,
        lines: mpsc::Sender<LogLine>,
    ) -> Result<(), EngineError> {
        logs::follow(self, containers, tail, lines).await
    }

    async fn exec(&self, container: &str, command: &[Text]) -> Result<Executed, EngineError> {
        logs::exec(self, container, command).await
    }

    async fn marks(&self, service: &ServiceName) -> Result<BTreeMap<Release, Marks>, EngineError> {
        tokens::marks(self, service).await
    }

    async fn mark(
        &self,
        service: &ServiceName,
        release: Release,
        mark: Mark,
    ) -> Result<(), EngineError> {
        tokens::mark(self, service, release, mark).await
    }

    async fn claim(&self, service: &ServiceName, token: &Token) -> Result<Token, EngineError> {
        tokens::claim(self, service, token).await
    }

    async fn tokens(&self, service: &ServiceName) -> Result<Vec<Token>, EngineError> {
        tokens::tokens(self, service).await
    }

    async fn drop_token(&self, _: &ServiceName, name: &str) -> Result<(), EngineError> {
        tokens::drop_token(self, name).await
    }

    async fn ended(&self, id: &str) -> Result<End, EngineError> {
        ends::ended(self, id).await
    }

    async fn ran(&self, id: &str) -> Result<Ran, EngineError> {
        once::ran(self, id).await
    }

    async fn hook(
        &self,
        spec: &Spec,
        image: &str,
        hook: &ContainerHook,
        sink: &dyn Sink,
    ) -> Result<Ran, EngineError> {
        hook::hook(self, spec, image, hook, sink).await
    }

    async fn shared(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Shared>, EngineError> {
        shared::shared(self, service, plan).await
    }

    async fn rivals(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Rival>, EngineError> {
        shared::rivals(self, service, plan).await
    }

    async fn apply_shared(
        &self,
        plan: &Plan,
        role: &RoleName,
        sink: &dyn Sink,
    ) -> Result<Applied, EngineError> {
        shared::apply(self, plan, role, sink).await
    }

    async fn left_of_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        shared::left(self, service).await
    }

    async fn settle_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        shared::settle(self, service).await
    }

    async fn join_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        shared::join_all(self, service).await
    }

    async fn tear_down_shared(&self, service: &ServiceName) -> Result<Removed, EngineError> {
        shared::tear_down(self, service).await
    }

    async fn stop_hook(
        &self,
        service: &ServiceName,
        release: Release,
        hook: &ContainerHook,
        grace_ms: Millis,
    ) -> Result<(), EngineError> {
        hook::stop(self, service, release, hook, grace_ms).await
    }
}
