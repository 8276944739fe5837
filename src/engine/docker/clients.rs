//! Who is connected to an environment: looked at from beside its containers, in their networks, by a
//! container of flipside's own image that shares the network and nothing else; so it is seen on every
//! engine and of every image, however clients come there.

use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{AttachContainerOptions, CreateContainerOptions};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::Docker;
use super::names::{self, Kind};
use super::stand_up::acted;
use super::tear_down::to_the_end;
use crate::core::names::{Millis, ServiceName};
use crate::core::world::{Container, ContainerState, Environment};
use crate::docker::{is_missing, random, refused};
use crate::engine::{EngineError, OUTPUT};

mod seen;

pub use seen::seen;

/// What stands in the name of what looks, behind the name of the container that is looked at.
pub const NAMED: &str = ".clients.";

/// How often the image may be taken away in between.
const TRIES: usize = 16;

/// How long a look may take beside the time for which it is watched.
const SLACK: Duration = Duration::from_secs(30);

/// How many containers are looked at at a time.
const AT_A_TIME: usize = 64;

/// Nobody: what is looked at is there for all to read.
const USER: &str = "65534:65534";

/// See [`crate::engine::Engine::clients`].
pub(super) async fn clients(
    engine: &Docker,
    service: &ServiceName,
    environments: &[Environment],
    watch_ms: Millis,
) -> Result<Vec<Result<u64, EngineError>>, EngineError> {
    let (engine, service) = (engine.clone(), service.clone());
    let environments = environments.to_vec();
    // One that is dropped comes to its end by itself, and takes away what it has made.
    let look = async move { look(&engine, &service, &environments, watch_ms).await };
    let looked = tokio::spawn(look).await;
    looked.unwrap_or_else(|panicked| Err(refused(format!("the look has failed: {panicked}"))))
}

async fn look(
    engine: &Docker,
    service: &ServiceName,
    environments: &[Environment],
    watch_ms: Millis,
) -> Result<Vec<Result<u64, EngineError>>, EngineError> {
    let watched: Vec<_> = environments.iter().map(watched).collect();
    let any = |it: &Result<Vec<_>, _>| it.as_ref().is_ok_and(|some| !some.is_empty());
    if !watched.iter().any(any) {
        let nobody = |it: Result<Vec<_>, _>| it.map(|_| 0);
        return Ok(watched.into_iter().map(nobody).collect());
    }
    let (own_image, client) = (&engine.own_image, &engine.client);
    let image = own_image.ensure(client).await.map_err(acted)?;
    let look = Look {
        engine,
        service,
        image: &image,
        watch_ms,
        turns: Semaphore::new(AT_A_TIME),
    };
    let looks = environments.iter().zip(watched);
    let limit = Duration::from_millis(watch_ms) + SLACK;
    let looks = looks.map(|(environment, watched)| async {
        // One that is stuck hides no other.
        let seen = tokio::time::timeout(limit, look.at(environment, watched)).await;
        seen.unwrap_or_else(|_| {
            let name = environment.release;
            Err(refused(format!(
                "what looks for clients of release {name} does not come to its end"
            )))
        })
    });
    let seen = join_all(looks).await;
    // Where no proxy runs of it, it was made for this alone.
    if let Err(error) = own_image.leave(client, &image).await {
        tracing::warn!(%error, "the image {image} stays");
    }
    Ok(seen)
}

/// The containers of an environment to which clients come.
fn watched(environment: &Environment) -> Result<Vec<&Container>, EngineError> {
    let exposed = &environment.labels.exposed;
    // So are labels read that nobody can read.
    if exposed.port == 0 {
        return Err(refused("its labels do not say at which port it is reached"));
    }
    let stands = |container: &&Container| {
        use ContainerState::{Paused, Running};
        container.role == exposed.role && matches!(container.state, Running | Paused)
    };
    Ok(environment.containers.iter().filter(stands).collect())
}

/// One of its own for each look: who has no lease may look at the same time.
fn name(container: &str) -> Result<String, EngineError> {
    let random = u32::from_ne_bytes(random()?);
    Ok(format!("{container}{NAMED}{random:08x}"))
}

/// With what is looked.
struct Look<'a> {
    engine: &'a Docker,
    service: &'a ServiceName,
    image: &'a str,
    watch_ms: Millis,
    turns: Semaphore,
}

impl Look<'_> {
    async fn at(
        &self,
        environment: &Environment,
        watched: Result<Vec<&Container>, EngineError>,
    ) -> Result<u64, EngineError> {
        let looks = watched?.into_iter().map(|it| self.beside(environment, it));
        let seen = join_all(looks).await;
        let clients = seen.iter().flatten().sum();
        match seen.into_iter().find_map(Result::err) {
            Some(error) if clients == 0 => Err(acted(error)),
            _ => Ok(clients),
        }
    }

    async fn beside(
        &self,
        environment: &Environment,
        container: &Container,
    ) -> Result<u64, EngineError> {
        let _turn = self.turns.acquire().await;
        let client = &self.engine.client;
        let name = name(&container.name)?;
        self.create(environment, container, &name).await?;
        let said = self.said(&name).await;
        // It goes by itself, unless it has never run.
        if let Err(error) = to_the_end(client, &name).await {
            tracing::warn!(%error, "the container {name} stays");
        }
        let said = said?;
        let said = said.trim();
        said.parse().map_err(|_| {
            let whose = &container.name;
            refused(match said {
                "" => format!("what looks for clients of `{whose}` said nothing"),
                said => format!("what looks for clients of `{whose}` said: {said}"),
            })
        })
    }

    async fn create(
        &self,
        environment: &Environment,
        container: &Container,
        name: &str,
    ) -> Result<(), EngineError> {
        let client = &self.engine.client;
        let mut tries = 0;
        loop {
            let options = CreateContainerOptions {
                name: Some(name.to_owned()),
                ..CreateContainerOptions::default()
            };
            let body = self.body(environment, container);
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

    /// Starts it, and reads what it says until it ends.
    async fn said(&self, name: &str) -> Result<String, EngineError> {
        let client = &self.engine.client;
        let fault = |error| client.fault(error);
        let options = AttachContainerOptions {
            stream: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = client.docker.attach_container(name, Some(options)).await;
        let mut output = attached.map_err(fault)?.output;
        let started = client.docker.start_container(name, None).await;
        started.map_err(fault)?;
        let mut said = Vec::new();
        while let Some(frame) = output.next().await {
            if said.len() < OUTPUT {
                said.extend(frame.map_err(fault)?.into_bytes());
            }
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn body(&self, environment: &Environment, container: &Container) -> ContainerCreateBody {
        let port = environment.labels.exposed.port.to_string();
        let watch = format!("{}ms", self.watch_ms);
        let command = ["proxy", "clients", "--port", &port, "--watch", &watch];
        let mut command: Vec<_> = command.map(str::to_owned).into();
        let own = environment.containers.iter().filter_map(|one| one.address);
        command.extend(own.flat_map(|ip| ["--but".to_owned(), ip.to_string()]));
        let host = HostConfig {
            network_mode: Some(format!("container:{}", container.id)),
            // Who called it may be gone.
            auto_remove: Some(true),
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".into()),
                config: None,
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
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}
