//! Shared roles: giving them the plan's settings, removing them, and saying which of them keeps a
//! release from standing up.

use std::time::Duration;

use super::fault::Fault;
use super::{LOOK, PREPARE, Performer, REMOVE};
use crate::core::event::{Event, Failure, ReplicaReport, Verb};
use crate::core::names::{Fence, RoleName};
use crate::core::plan::Condition;
use crate::core::shared::{Removed, Shared, awaited};
use crate::core::state::State;
use crate::core::world::{ContainerState, Health};
use crate::engine::Spec;

/// The last log lines shown of a container that failed.
const LOG_LINES: u32 = 50;

impl Performer {
    /// The engine sees to it that a new container does not take too long; where itself does, the old
    /// one is put back.
    pub(super) async fn apply_shared(
        &self,
        state: &State,
        role: &RoleName,
        fence: Fence,
    ) -> Result<Event, Fault> {
        // A pointer that cannot be asked keeps nobody from mending a database.
        if let Ok(Some(_)) = self.routing().await {
            self.not_late(fence).await?;
        }
        let (engine, service) = (&self.with.engine, &self.with.service);
        if let Verb::Apply { settles: true, .. } = state.opened.verb {
            let mut settled = self.settle_shared().await?;
            settled.extend(engine.join_shared(service).await?);
            return Ok(Event::Applied {
                role: role.clone(),
                kept: Vec::new(),
                as_it_was: settled.is_empty(),
                settled,
            });
        }
        let Ok(spec) = self.spec() else {
            let did = self.settle_shared().await?;
            let mut what = "the plan could not be read again".to_owned();
            for did in did {
                what += &format!("; {did}");
            }
            return Err(Fault::Failed(Failure {
                what,
                hint: Some("flipside shared apply".into()),
                replicas: Vec::new(),
            }));
        };
        // With those that use its network, which are made anew with it.
        let together = spec.plan.shared.iter();
        let together = together
            .filter(|(name, other)| *name == role || other.network_of.as_ref() == Some(role));
        let up = Duration::from_millis(state.opened.policy.stand_up_ms);
        let each = together.map(|(_, one)| up * 2 + Duration::from_millis(one.stop_grace_ms));
        let limit = PREPARE + each.sum::<Duration>();
        let apply = engine.apply_shared(&spec.plan, role, self.with.sink.as_ref());
        match tokio::time::timeout(limit, apply).await {
            Ok(applied) => {
                let applied = applied?;
                Ok(Event::Applied {
                    role: role.clone(),
                    kept: applied.kept,
                    as_it_was: applied.as_it_was,
                    settled: Vec::new(),
                })
            }
            Err(_) => {
                let did = self.settle_shared().await?;
                let seconds = limit.as_secs();
                Err(Fault::Failed(Failure {
                    what: format!(
                        "the shared role `{role}` of `{service}` did not come up within {seconds} \
                         s: {}",
                        did.join("; ")
                    ),
                    hint: Some("allow more with `stand_up: {deadline: 10m}` in the plan".into()),
                    replicas: Vec::new(),
                }))
            }
        }
    }

    /// Ends what was begun with shared roles, and removes what is left of it.
    pub(super) async fn settle_shared(&self) -> Result<Vec<String>, Fault> {
        let settle = self.with.engine.settle_shared(&self.with.service);
        let settled = tokio::time::timeout(REMOVE, settle).await;
        Ok(settled.map_err(|_| Fault::Lost("shared roles are still being put back".into()))??)
    }

    pub(super) async fn remove_shared(&self) -> Result<Event, Fault> {
        let removed = self.with.engine.tear_down_shared(&self.with.service);
        let removed = tokio::time::timeout(REMOVE, removed).await;
        let Removed { kept, held, back } =
            removed.map_err(|_| Fault::Lost("shared roles are still being removed".into()))??;
        Ok(Event::SharedRemoved { kept, held, back })
    }

    /// Why a release did not stand up in time: a shared role that it waits for, where it is that.
    pub(super) async fn too_slow(&self, spec: &Spec, limit: Duration) -> Fault {
        let seconds = limit.as_secs();
        let hint = Some("allow more with `stand_up: {deadline: 10m}` in the plan".into());
        let (engine, service) = (&self.with.engine, &self.with.service);
        let mut standing = Vec::new();
        if !spec.plan.shared.is_empty() {
            let look = tokio::time::timeout(LOOK, engine.shared(service, Some(&spec.plan)));
            standing = look.await.ok().and_then(Result::ok).unwrap_or_default();
        }
        let waits = awaited(&spec.plan)
            .into_iter()
            .find_map(|(role, condition)| {
                let mut of = standing.iter().filter(|one| one.container.role == *role);
                let first = of.clone().next()?;
                (!of.any(|one| is_ready(one, condition))).then_some(first)
            });
        let Some(one) = waits else {
            return Fault::Failed(Failure {
                what: format!(
                    "release {} did not stand up within {seconds} s",
                    spec.release
                ),
                hint,
                replicas: Vec::new(),
            });
        };
        let (name, does) = (&one.container.name, one.does());
        let logs = tokio::time::timeout(LOOK, engine.logs(name, LOG_LINES)).await;
        Fault::Failed(Failure {
            what: format!(
                "release {} did not stand up within {seconds} s: it waits for the shared role `{}`, \
                 and `{name}` is {does}",
                spec.release, one.container.role
            ),
            hint,
            replicas: vec![ReplicaReport {
                container: name.clone(),
                reasons: vec![does],
                logs: logs.ok().and_then(Result::ok).unwrap_or_default(),
            }],
        })
    }
}

fn is_ready(one: &Shared, condition: Condition) -> bool {
    let healthy = one.container.health == Health::Healthy;
    one.container.state == ContainerState::Running && (condition != Condition::Healthy || healthy)
}
