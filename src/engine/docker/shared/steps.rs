//! The steps of an exchange of containers. Each can be done twice, and looks at nothing but what the
//! containers' labels say.

use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::RenameContainerOptions;

use super::super::{Docker, names};
use super::look::{self, Replaced, Standing, Trial};
use super::{disconnect, gone, remove, start, volumes};
use crate::core::names::{RoleName, ServiceName};
use crate::core::shared::{GivenBack, Owner, Reach};
use crate::docker::{refused_hint, status};
use crate::engine::EngineError;

/// What the engine does not start again by itself.
const NEVER: RestartPolicy = RestartPolicy {
    name: Some(RestartPolicyNameEnum::NO),
    maximum_retry_count: None,
};

/// What a new container is called while it is on trial.
pub(super) fn new_name(service: &ServiceName, role: &RoleName) -> String {
    format!("{}.new", names::shared_container(service, role))
}

/// Stops the old ones, those first that use another's network, and gives the new ones their names.
pub(super) async fn stop_old(
    engine: &Docker,
    service: &ServiceName,
    begun: &[Trial],
) -> Result<(), EngineError> {
    let client = &engine.client;
    for trial in begun.iter().rev() {
        let new = &trial.new.container;
        let called = names::shared_container(service, &new.role);
        for (old, _) in &trial.old {
            let id = &old.container.id;
            restart(engine, id, &NEVER).await?;
            gone(client, client.docker.stop_container(id, None).await)?;
            // What takes the place of a Compose project's gets its name in the end: that says that it
            // has.
            if old.owner == Owner::Flipside {
                rename(engine, &old.container.name, id, &format!("{called}.old")).await?;
                rename(engine, &new.name, &new.id, &called).await?;
            }
        }
    }
    Ok(())
}

/// Starts a new one, which the engine starts again from then on as planned; why it does not start,
/// where the engine says no.
pub(super) async fn started(
    engine: &Docker,
    new: &Standing,
) -> Result<Option<String>, EngineError> {
    let id = &new.container.id;
    restart(engine, id, &new.planned).await?;
    match start(engine, id).await {
        Ok(()) => Ok(None),
        Err(EngineError::Failed(failure)) => Ok(Some(
            failure
                .replicas
                .into_iter()
                .flat_map(|replica| replica.reasons)
                .next()
                .unwrap_or(failure.what),
        )),
        Err(error) => Err(error),
    }
}

/// The new ones stay. What they have replaced is removed, or left where it is not ours.
pub(super) async fn finish(
    engine: &Docker,
    service: &ServiceName,
    begun: &[Trial],
) -> Result<(), EngineError> {
    let network = names::shared_network(service);
    for trial in begun {
        let new = &trial.new.container;
        let called = names::shared_container(service, &new.role);
        for (old, _) in &trial.old {
            if old.owner == Owner::Flipside {
                remove(engine, &old.container.id).await?;
            }
        }
        rename(engine, &new.name, &new.id, &called).await?;
        for (old, _) in &trial.old {
            if old.owner != Owner::Flipside && old.reach == Reach::Own {
                disconnect(engine, &network, &old.container.id).await?;
            }
        }
    }
    volumes::sweep(engine, service).await
}

/// The old ones have their names, their restart policies and their work again, and the new ones go.
/// Where an old one does not start any more, the new ones are started again: better those than none.
pub(super) async fn put_back(
    engine: &Docker,
    service: &ServiceName,
    begun: &[Trial],
) -> Result<(), EngineError> {
    let client = &engine.client;
    for trial in begun.iter().rev() {
        let new = &trial.new.container;
        gone(client, client.docker.stop_container(&new.id, None).await)?;
        // From here on only the old one is started again by the engine itself.
        restart(engine, &new.id, &NEVER).await?;
        rename(engine, &new.name, &new.id, &new_name(service, &new.role)).await?;
    }
    for trial in begun {
        match start_old(engine, service, trial).await {
            Ok(()) => {}
            Err(EngineError::Failed(failure)) => {
                let role = &trial.new.container.role;
                // By now they have other names.
                let now = look::look(engine, service, None).await?.together(role);
                stop_old(engine, service, &now).await?;
                for trial in &now {
                    started(engine, &trial.new).await?;
                }
                return Err(refused_hint(
                    format!(
                        "the old container of the shared role `{role}` does not start again ({}), \
                         and the new one was started",
                        failure.what
                    ),
                    "see why; once nothing of the old one is needed, remove it, and apply again: \
                     flipside shared apply",
                ));
            }
            Err(error) => return Err(error),
        }
    }
    for trial in begun.iter().rev() {
        remove(engine, &trial.new.container.id).await?;
    }
    volumes::sweep(engine, service).await
}

async fn start_old(
    engine: &Docker,
    service: &ServiceName,
    trial: &Trial,
) -> Result<(), EngineError> {
    let client = &engine.client;
    let called = names::shared_container(service, &trial.new.container.role);
    for (old, was) in &trial.old {
        let id = &old.container.id;
        if old.owner == Owner::Flipside {
            rename(engine, &old.container.name, id, &called).await?;
        }
        // The engine may still be stopping it for a killed call, and would do so after a start.
        if is_never(&old.policy) {
            gone(client, client.docker.stop_container(id, None).await)?;
        }
        restart(engine, id, &was.policy()).await?;
        if was.ran {
            start(engine, id).await?;
        }
    }
    Ok(())
}

/// From here on the engine does not start it again by itself.
pub(super) async fn never_again(engine: &Docker, id: &str) -> Result<(), EngineError> {
    restart(engine, id, &NEVER).await
}

/// Gives a Compose project's container that was stopped the restart policy back which it had, unless
/// somebody has given it another one since; `None` where it is gone, or runs.
pub(super) async fn give_back(
    engine: &Docker,
    was: &Replaced,
) -> Result<Option<GivenBack>, EngineError> {
    let Some(now) = look::one(engine, &was.id).await? else {
        return Ok(None);
    };
    if now.owner == Owner::Flipside {
        return Ok(None);
    }
    let mut policy = now.policy.clone();
    if is_never(&policy) {
        policy = was.policy();
        restart(engine, &was.id, &policy).await?;
    }
    let name = policy.name.unwrap_or(RestartPolicyNameEnum::NO);
    let policy = match policy.maximum_retry_count.filter(|most| *most > 0) {
        Some(most) => format!("{name}:{most}"),
        None => name.to_string(),
    };
    let container = now.container.name.clone();
    Ok((!now.runs()).then_some(GivenBack { container, policy }))
}

fn is_never(policy: &RestartPolicy) -> bool {
    let name = policy.name.unwrap_or(RestartPolicyNameEnum::NO);
    matches!(
        name,
        RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY
    )
}

impl Replaced {
    fn policy(&self) -> RestartPolicy {
        RestartPolicy {
            name: Some(self.policy.parse().unwrap_or(RestartPolicyNameEnum::NO)),
            maximum_retry_count: Some(self.most),
        }
    }
}

async fn rename(engine: &Docker, from: &str, id: &str, to: &str) -> Result<(), EngineError> {
    if from == to {
        return Ok(());
    }
    let client = &engine.client;
    let options = RenameContainerOptions {
        name: to.to_owned(),
    };
    match client.docker.rename_container(id, options).await {
        Ok(()) => Ok(()),
        // The engine refuses the name that it has: a killed call has given it.
        Err(error) if status(&error) == Some(400) || status(&error) == Some(409) => {
            match look::one(engine, id).await? {
                Some(now) if now.container.name == to => Ok(()),
                _ => Err(client.fault(error)),
            }
        }
        Err(error) => Err(client.fault(error)),
    }
}

/// Sets the restart policy; of a container that is gone none is needed.
async fn restart(engine: &Docker, id: &str, policy: &RestartPolicy) -> Result<(), EngineError> {
    let on_failure = policy.name == Some(RestartPolicyNameEnum::ON_FAILURE);
    let body = ContainerUpdateBody {
        restart_policy: Some(RestartPolicy {
            name: policy.name.or(NEVER.name),
            maximum_retry_count: policy.maximum_retry_count.filter(|_| on_failure),
        }),
        ..ContainerUpdateBody::default()
    };
    let client = &engine.client;
    gone(client, client.docker.update_container(id, body).await)
}
