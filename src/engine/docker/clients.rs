//! Who is connected to an environment: looked at from beside its containers, in their networks, by a
//! container of flipside's own image that shares the network and nothing else; so it is seen on every
//! engine and of every image, however clients come there.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::CreateContainerOptions;
use futures_util::future::join_all;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::{ProcError, ProcResult};
use tokio::time::Instant;

use super::names::{self, Kind};
use super::stand_up::acted;
use super::tear_down::at_once;
use super::{Docker, once};
use crate::core::names::{Millis, ServiceName};
use crate::core::world::{Container, ContainerState, Environment};
use crate::docker::{is_missing, refused};
use crate::engine::EngineError;

/// How often the image may be taken away in between.
const TRIES: usize = 16;

/// Nobody: what is looked at is there for all to read.
const USER: &str = "65534:65534";

/// See [`crate::engine::Engine::clients`].
pub(super) async fn clients(
    engine: &Docker,
    service: &ServiceName,
    environment: &Environment,
    watch_ms: Millis,
) -> Result<u64, EngineError> {
    let exposed = &environment.labels.exposed;
    // So are labels read that nobody can read.
    if exposed.port == 0 {
        return Err(refused("its labels do not say at which port it is reached"));
    }
    let stands = |container: &&Container| {
        use ContainerState::{Paused, Running};
        container.role == exposed.role && matches!(container.state, Running | Paused)
    };
    let containers: Vec<_> = environment.containers.iter().filter(stands).collect();
    if containers.is_empty() {
        return Ok(0);
    }
    let (own_image, client) = (&engine.own_image, &engine.client);
    let image = own_image.ensure(client).await.map_err(acted)?;
    let look = Look {
        engine,
        service,
        environment,
        image: &image,
        watch_ms,
    };
    let looks = containers
        .into_iter()
        .map(|container| look.beside(container));
    let seen = join_all(looks).await;
    // Where no proxy runs of it, it was made for this alone.
    if let Err(error) = own_image.leave(client, &image).await {
        tracing::warn!(%error, "the image {image} stays");
    }
    let clients = seen.iter().flatten().sum();
    match seen.into_iter().find_map(Result::err) {
        Some(error) if clients == 0 => Err(acted(error)),
        _ => Ok(clients),
    }
}

/// What is looked at, and with what.
struct Look<'a> {
    engine: &'a Docker,
    service: &'a ServiceName,
    environment: &'a Environment,
    image: &'a str,
    watch_ms: Millis,
}

impl Look<'_> {
    async fn beside(&self, container: &Container) -> Result<u64, EngineError> {
        let client = &self.engine.client;
        let name = format!("{}.clients", container.name);
        // One that a killed call has left has nobody to tell.
        at_once(client, &name).await?;
        self.create(container, &name).await?;
        let ran = match client.docker.start_container(&name, None).await {
            Ok(()) => once::ran(self.engine, &name).await,
            Err(error) => Err(client.fault(error)),
        };
        at_once(client, &name).await?;
        let ran = ran?;
        let said = ran.output.trim();
        match (ran.code, said.parse()) {
            (0, Ok(seen)) => Ok(seen),
            (code, _) => Err(refused(format!(
                "what looks for clients of `{}` exited with {code}: {said}",
                container.name
            ))),
        }
    }

    async fn create(&self, container: &Container, name: &str) -> Result<(), EngineError> {
        let client = &self.engine.client;
        let mut tries = 0;
        loop {
            let options = CreateContainerOptions {
                name: Some(name.to_owned()),
                ..CreateContainerOptions::default()
            };
            let body = self.body(container);
            match client.docker.create_container(Some(options), body).await {
                Ok(_) => return Ok(()),
                // Somebody who needs the image no more has taken it away.
                Err(error) if is_missing(&error) && tries < TRIES => {
                    tries += 1;
                    self.engine.own_image.ensure(client).await?;
                }
                Err(error) => return Err(client.fault(error)),
            }
        }
    }

    fn body(&self, container: &Container) -> ContainerCreateBody {
        let (environment, port) = (self.environment, self.environment.labels.exposed.port);
        let (port, watch) = (port.to_string(), format!("{}ms", self.watch_ms));
        let command = ["proxy", "clients", "--port", &port, "--watch", &watch];
        let mut command: Vec<_> = command.map(str::to_owned).into();
        let own = environment.containers.iter().filter_map(|one| one.address);
        command.extend(own.flat_map(|ip| ["--but".to_owned(), ip.to_string()]));
        let host = HostConfig {
            network_mode: Some(format!("container:{}", container.id)),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some([("max-size".to_owned(), "1m".to_owned())].into()),
            }),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            readonly_rootfs: Some(true),
            pids_limit: Some(64),
            ..HostConfig::default()
        };
        let labels = names::of_release(self.service, environment.release, Kind::Helper);
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            cmd: Some(command),
            user: Some(USER.into()),
            labels: Some(labels),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

/// How long until it is looked again: what opens and ends in between is only seen where this side has
/// ended it.
const AGAIN: Duration = Duration::from_millis(10);

/// How many connections lead to `port` of the network that this process is in, without those of `but`
/// and of the network itself: as soon as there are any, and 0 once there was none for `watch`.
///
/// # Errors
/// Where the kernel does not list them.
pub async fn seen(port: u16, but: &[IpAddr], watch: Duration) -> ProcResult<u64> {
    let until = Instant::now() + watch;
    let is_open = |one: &TcpNetEntry| {
        use TcpState::{Established, NewSynRecv, SynRecv};
        matches!(one.state, Established | SynRecv | NewSynRecv)
    };
    let mut before: Option<BTreeSet<SocketAddr>> = None;
    loop {
        let all = connections(port, but)?;
        // What the client had ended when the look began may have ended before it was left; and what
        // is frozen never ends its side.
        let before = before.get_or_insert_with(|| {
            let over = all.iter().filter(|one| !is_open(one));
            over.map(|one| one.remote_address).collect()
        });
        let counts = |one: &&TcpNetEntry| is_open(one) || !before.contains(&one.remote_address);
        match all.iter().filter(counts).count() {
            0 if Instant::now() >= until => return Ok(0),
            0 => tokio::time::sleep(AGAIN).await,
            clients => return Ok(clients as u64),
        }
    }
}

fn connections(port: u16, but: &[IpAddr]) -> ProcResult<Vec<TcpNetEntry>> {
    let mut all = tcp()?;
    match tcp6() {
        Ok(more) => all.extend(more),
        // A kernel without IPv6 has no list of it.
        Err(ProcError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    all.retain(|one| {
        let from = one.remote_address.ip().to_canonical();
        let is_client = !matches!(one.state, TcpState::Listen | TcpState::Close);
        let is_own = from.is_loopback() || but.contains(&from);
        one.local_address.port() == port && is_client && !is_own
    });
    Ok(all)
}
