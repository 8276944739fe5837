//! Whether a container that others wait for is healthy, as its HEALTHCHECK says.

use super::{Docker, inspect, logs};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::world::{ContainerState, Health};
use crate::docker::{found, refused_hint};
use crate::engine::EngineError;

/// The last log lines shown of a container that failed.
const LOG_LINES: u32 = 50;

/// Whether a container is healthy by now; an end of it, and that it has no health check, is a failure.
pub(super) async fn is_healthy(engine: &Docker, name: &str) -> Result<bool, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(name, None).await);
    let answer = answer.map_err(|error| client.fault(error))?;
    let state = answer
        .as_ref()
        .and_then(|container| container.state.clone());
    let (code, oom) = state.map_or((0, false), |state| {
        let oom = state.oom_killed.unwrap_or_default();
        (state.exit_code.unwrap_or_default(), oom)
    });
    let container = answer.map(inspect::full);
    let why = match container.map(|c| (c.state, c.health)) {
        Some((ContainerState::Running, Health::Healthy)) => return Ok(true),
        Some((ContainerState::Running, Health::Starting)) => return Ok(false),
        Some((ContainerState::Running, Health::None)) => {
            return Err(refused_hint(
                format!("`{name}` is waited for to be healthy and has no health check"),
                "give it a `healthcheck:`, or wait for `condition: service_started`",
            ));
        }
        Some((ContainerState::Running, Health::Unhealthy)) => {
            "its health check failed as often as it may".to_owned()
        }
        Some((ContainerState::Exited { .. } | ContainerState::Restarting, _)) => ended(code, oom),
        Some((ContainerState::Created | ContainerState::Paused | ContainerState::Gone, _))
        | None => "it does not run any more".to_owned(),
    };
    // What happened is worth more than the logs: an engine that withholds them hides nothing.
    let logs = logs::tail(engine, name, LOG_LINES)
        .await
        .unwrap_or_default();
    Err(EngineError::Failed(Failure {
        what: format!("`{name}`, which others wait for, did not become healthy: {why}"),
        hint: None,
        replicas: vec![ReplicaReport {
            container: name.to_owned(),
            reasons: vec![why],
            logs,
        }],
    }))
}

fn ended(code: i64, oom: bool) -> String {
    match oom {
        true => format!("exit {code}, OOM-killed"),
        false => format!("exit {code}"),
    }
}
