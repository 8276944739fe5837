//! An engine in memory: a first-class kind, held to the contract like the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use flipside::core::event::Failure;
use flipside::core::names::{Millis, Release, RoleName, ServiceName};
use flipside::core::plan::{ImageSource, Plan, Role, Run, StandbyMode, Text};
use flipside::core::progress::Sink;
use flipside::core::routing::{Mark, Marks};
use flipside::core::shared::{Applied, Removed, Shared};
use flipside::core::workers::Rival;
use flipside::core::world::{Container, ContainerState, Cost, Environment};
use flipside::engine::{
    Built, ContainerHook, End, Engine, EngineError, Executed, Images, LogLine, Ran, Spec, Token,
};

use super::fake_compose::Rivals;
use super::fake_shared::SharedRoles;
use super::fake_world::{FakeWorld, Met, Shared as World, call, lock};
use super::faults::Op;
use super::hooks;

/// One operator's way to the engine of a [`FakeWorld`].
#[derive(Clone)]
pub struct FakeEngine {
    /// The world it leads into.
    pub world: World,
    address: String,
    cut: Arc<AtomicBool>,
}

impl FakeEngine {
    /// An engine of its own, empty.
    pub fn new() -> Self {
        Self::over(&FakeWorld::new())
    }

    /// Another way to the same engine.
    pub fn over(world: &World) -> Self {
        Self {
            world: Arc::clone(world),
            address: "fake://engine".into(),
            cut: Arc::default(),
        }
    }

    /// From now on this way leads nowhere; others still do.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// And now it does again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        op: Op,
        effect: impl FnOnce(&mut FakeWorld, usize) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.address.clone();
        let met = if self.cut.load(Ordering::SeqCst) {
            Met::OutOfReach
        } else {
            call(&self.world, op, effect).await
        };
        match met {
            Met::Done(done) => Ok(done),
            Met::OutOfReach => Err(EngineError::OutOfReach {
                engine,
                why: "connection refused".into(),
            }),
            Met::Lost => Err(EngineError::Lost {
                engine,
                why: "connection reset".into(),
            }),
            Met::Refused(what) => Err(failed(what)),
        }
    }
}

pub(super) fn failed(what: impl Into<String>) -> EngineError {
    EngineError::Failed(Failure {
        what: what.into(),
        ..Failure::default()
    })
}

fn no_such(container: &str) -> EngineError {
    failed(format!("no container `{container}`"))
}

#[async_trait]
impl Engine for FakeEngine {
    fn address(&self) -> &str {
        &self.address
    }

    async fn prepare(&self, spec: &Spec, _: &dyn Sink) -> Result<Images, EngineError> {
        let roles = spec.plan.roles.iter();
        let roles = roles.filter(|(_, role)| role.run != Run::Never);
        let standing = lock(&self.world).shared_of(&spec.plan.service, Some(&spec.plan));
        let stands = |name: &RoleName| standing.iter().any(|one| one.container.role == *name);
        let absent = spec.plan.shared.iter().filter(|(name, _)| !stands(name));
        let roles = roles.chain(absent);
        let id = |name| format!("sha256:{name}-{}", spec.release);
        let images: Images = roles.map(|(name, _)| (name.clone(), id(name))).collect();
        let missing = |role: &Role| matches!(&role.image, ImageSource::Pull(name) if name.starts_with("registry.invalid/"));
        if spec.plan.roles.values().any(missing) {
            return Err(failed("no such image"));
        }
        let service = spec.plan.service.clone();
        let missing = |role: &Role| matches!(&role.image, ImageSource::Pull(name) if name.starts_with("registry.invalid/"));
        if spec.plan.roles.values().any(missing) {
            return Err(failed("there is no such image"));
        }
        self.call(Op::Prepare, move |world, limit| {
            let built = images.values().take(limit).cloned();
            world.built.entry(service).or_default().extend(built);
            images
        })
        .await
    }

    async fn stand_up(
        &self,
        spec: &Spec,
        images: &Images,
        _: &dyn Sink,
    ) -> Result<Environment, EngineError> {
        if let Some(why) = lock(&self.world).refuses(&spec.plan) {
            return Err(failed(why));
        }
        lock(&self.world).lacks_ports(spec)?;
        let rivals = lock(&self.world).rivals(&spec.plan.service, Some(&spec.plan));
        if let Some(rival) = rivals.first() {
            return Err(EngineError::Failed(rival.refusal()));
        }
        let (wanted, pinned) = (spec.clone(), images.clone());
        let begun = self.call(Op::StandUp, move |world, limit| {
            let left = Self::begin_shared(world, &wanted.plan, &pinned, limit)?;
            Some(world.stand_up(&wanted, &pinned, left))
        });
        let begun = match begun.await? {
            Some(begun) => begun,
            None => {
                self.until_shared(&spec.plan).await?;
                lock(&self.world).stand_up(spec, images, usize::MAX)
            }
        };
        let is_job = |container: &&Container| container.run == Run::Once;
        let jobs: Vec<_> = begun.containers.iter().filter(is_job).collect();
        if jobs.is_empty() {
            return Ok(begun);
        }
        for job in jobs {
            let End { code, oom } = self.ended(&job.id).await?;
            lock(&self.world).settle(&job.id);
            if code != 0 {
                return Err(failed(format!(
                    "the job `{}` exited with {code}, oom: {oom}",
                    job.role
                )));
            }
        }
        Ok(lock(&self.world).stand_up(spec, images, usize::MAX))
    }

    async fn rest(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError> {
        let lives = lock(&self.world).begin_rest(service, release);
        let service = service.clone();
        self.call(Op::Rest, move |world, limit| {
            world.rest(&service, release, &lives, limit)
        })
        .await
    }

    async fn work(
        &self,
        service: &ServiceName,
        release: Release,
    ) -> Result<Vec<String>, EngineError> {
        let service = service.clone();
        let work = move |world: &mut FakeWorld, limit| world.work(&service, release, limit);
        self.call(Op::Work, work).await?.map_err(failed)
    }

    async fn inspect(&self, service: &ServiceName) -> Result<Vec<Environment>, EngineError> {
        let service = service.clone();
        self.call(Op::Inspect, move |world, _| world.environments(&service))
            .await
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, EngineError> {
        let id = id.to_owned();
        self.call(Op::Container, move |world, _| world.container(&id))
            .await
    }

    async fn services(&self) -> Result<Vec<ServiceName>, EngineError> {
        self.call(Op::Services, |world, _| world.services()).await
    }

    async fn freeze(
        &self,
        service: &ServiceName,
        release: Release,
        mode: StandbyMode,
    ) -> Result<(), EngineError> {
        let service = service.clone();
        self.call(Op::Freeze, move |world, limit| {
            world.freeze(&service, release, mode, limit);
        })
        .await
    }

    async fn wake(
        &self,
        service: &ServiceName,
        release: Release,
        _: &dyn Sink,
    ) -> Result<(), EngineError> {
        let service = service.clone();
        self.call(Op::Wake, move |world, limit| {
            world.wake(&service, release, limit);
        })
        .await
    }

    async fn cost(&self, containers: &[Container], _: Millis) -> Result<Cost, EngineError> {
        let ids: Vec<_> = containers.iter().map(|c| c.id.clone()).collect();
        self.call(Op::Cost, move |world, _| world.cost(&ids)).await
    }

    async fn clients(
        &self,
        _: &ServiceName,
        environments: &[Environment],
        _: Millis,
    ) -> Result<Vec<Result<u64, EngineError>>, EngineError> {
        let all = environments.to_vec();
        self.call(Op::Clients, move |world, _| {
            let clients = all.iter().map(|it| Ok(world.clients_of(it)));
            clients.collect()
        })
        .await
    }

    async fn images(&self, service: &ServiceName) -> Result<Vec<Built>, EngineError> {
        let service = service.clone();
        self.call(Op::Images, move |world, _| {
            let built = world.built.get(&service).into_iter().flatten();
            let whole = |id: &String| Built {
                id: id.clone(),
                step: false,
            };
            let shared = world.shared.iter().map(|one| &one.container.fixed.image_id);
            let shared: Vec<_> = shared.collect();
            built.filter(|id| !shared.contains(id)).map(whole).collect()
        })
        .await
    }

    async fn drop_image(&self, id: &str) -> Result<(), EngineError> {
        let id = id.to_owned();
        self.call(Op::DropImage, move |world, _| world.drop_image(&id))
            .await
    }

    async fn tear_down(&self, service: &ServiceName, release: Release) -> Result<(), EngineError> {
        let service = service.clone();
        self.call(Op::TearDown, move |world, limit| {
            world.tear_down(&service, release, limit);
        })
        .await
    }

    async fn logs(&self, container: &str, tail: u32) -> Result<Vec<String>, EngineError> {
        let id = container.to_owned();
        let lines = self.call(Op::Logs, move |world, _| world.logs(&id)).await?;
        let mut lines = lines.ok_or_else(|| no_such(container))?;
        let first = lines.len().saturating_sub(tail as usize);
        Ok(lines.split_off(first))
    }

    async fn follow(
        &self,
        containers: &[String],
        tail: u32,
        lines: tokio::sync::mpsc::Sender<LogLine>,
    ) -> Result<(), EngineError> {
        self.call(Op::Follow, |_, _| ()).await?;
        for container in containers {
            for line in self.logs(container, tail).await? {
                let container = container.clone();
                if lines.send(LogLine { container, line }).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn exec(&self, container: &str, _: &[Text]) -> Result<Executed, EngineError> {
        let id = container.to_owned();
        let answer = self.call(Op::Exec, move |world, _| world.exec(&id)).await?;
        answer.ok_or_else(|| failed(format!("container `{container}` does not run")))
    }

    async fn marks(&self, service: &ServiceName) -> Result<BTreeMap<Release, Marks>, EngineError> {
        let service = service.clone();
        self.call(Op::Marks, move |world, _| {
            let marks = world.marks.iter().filter(|((s, _), _)| *s == service);
            marks.map(|((_, release), &m)| (*release, m)).collect()
        })
        .await
    }

    async fn mark(
        &self,
        service: &ServiceName,
        release: Release,
        mark: Mark,
    ) -> Result<(), EngineError> {
        let key = (service.clone(), release);
        self.call(Op::MarkEngine, move |world, _| {
            world.marks.entry(key).or_default().add(mark);
        })
        .await
    }

    async fn claim(&self, service: &ServiceName, token: &Token) -> Result<Token, EngineError> {
        let (service, token) = (service.clone(), token.clone());
        self.call(Op::Claim, move |world, _| {
            let there = world.tokens.entry(token.name.clone());
            there.or_insert((service, token)).1.clone()
        })
        .await
    }

    async fn tokens(&self, service: &ServiceName) -> Result<Vec<Token>, EngineError> {
        let service = service.clone();
        self.call(Op::Tokens, move |world, _| {
            let tokens = world.tokens.values().filter(|(s, _)| *s == service);
            tokens.map(|(_, token)| token.clone()).collect()
        })
        .await
    }

    async fn drop_token(&self, _: &ServiceName, name: &str) -> Result<(), EngineError> {
        let name = name.to_owned();
        self.call(Op::DropToken, move |world, _| {
            world.tokens.remove(&name);
        })
        .await
    }

    async fn ended(&self, id: &str) -> Result<End, EngineError> {
        loop {
            let name = id.to_owned();
            let (state, ends_at, changed) = self
                .call(Op::Ended, move |world, _| {
                    let ends_at = world.fake_container(&name).and_then(|c| c.ends_at());
                    // Registered before the lock is let go, so that no change is missed.
                    let changed = world.changed().notified_owned();
                    (world.container(&name).map(|c| c.state), ends_at, changed)
                })
                .await?;
            match state {
                None => return Err(no_such(id)),
                Some(ContainerState::Exited { code, oom }) => return Ok(End { code, oom }),
                Some(_) => {}
            }
            match ends_at {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    async fn ran(&self, id: &str) -> Result<Ran, EngineError> {
        let End { code, oom } = self.ended(id).await?;
        let output = self.logs(id, 50).await?.join("\n");
        Ok(Ran {
            code,
            oom,
            took_ms: 0,
            output,
        })
    }

    async fn hook(
        &self,
        spec: &Spec,
        _: &str,
        hook: &ContainerHook,
        _: &dyn Sink,
    ) -> Result<Ran, EngineError> {
        hooks::contained(self, spec, hook).await
    }

    async fn shared(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Shared>, EngineError> {
        self.look_shared(service, plan).await
    }

    async fn rivals(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Rival>, EngineError> {
        self.look_rivals(service, plan).await
    }

    async fn apply_shared(
        &self,
        plan: &Plan,
        role: &RoleName,
        _: &dyn Sink,
    ) -> Result<Applied, EngineError> {
        self.apply(plan, role).await
    }

    /// What it makes on the way has no parts.
    async fn left_of_shared(&self, _: &ServiceName) -> Result<Vec<String>, EngineError> {
        self.call(Op::Shared, |_, _| Vec::new()).await
    }

    async fn settle_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        self.settle(service).await
    }

    async fn join_shared(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        self.join(service).await
    }

    async fn tear_down_shared(&self, service: &ServiceName) -> Result<Removed, EngineError> {
        self.remove(service).await
    }

    async fn stop_hook(
        &self,
        service: &ServiceName,
        release: Release,
        hook: &ContainerHook,
        _: u64,
    ) -> Result<(), EngineError> {
        hooks::stop(&self.world, service, release, hook);
        Ok(())
    }
}
