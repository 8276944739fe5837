//! Hooks in memory: what each comes to, how often each was begun, and which have ended well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flipside::core::hook::{HookKind, HookPlan, When};
use flipside::core::names::{Release, ServiceName};
use flipside::core::plan::{Hook, HookAct, HookRequest, Text};
use flipside::core::progress::Sink;
use flipside::engine::{ContainerHook, EngineError, Ran, Spec};
use flipside::hook::{Call, Hooks, Stop, Told};
use tokio::time::Instant;

use super::fake_engine::FakeEngine;
use super::fake_world::{FakeWorld, Shared, lock};
use super::faults::Op;
use super::sample::{role_name, words};

/// How long a hook takes.
const TAKES: Duration = Duration::from_millis(400);

/// A container that runs a hook.
#[derive(Debug, Clone)]
struct Contained {
    service: ServiceName,
    release: Release,
    ends: Instant,
    code: Option<i64>,
}

/// What is known of hooks.
#[derive(Debug, Clone, Default)]
pub struct HookBook {
    /// What hooks come to; 0 where nothing is said.
    pub codes: BTreeMap<String, i64>,
    /// How often each was begun, by its container or its key, and whether that may be repeated.
    pub begun: BTreeMap<String, (u32, bool)>,
    /// Those that have ended well.
    pub well: BTreeSet<(Release, String)>,
    containers: BTreeMap<String, Contained>,
}

impl HookBook {
    fn begin(&mut self, what: &str, idempotent: bool) {
        let (times, _) = self.begun.entry(what.to_owned()).or_insert((0, idempotent));
        *times += 1;
    }

    fn end(&mut self, release: Release, hook: &str) -> i64 {
        let code = self.codes.get(hook).copied().unwrap_or_default();
        if code == 0 {
            self.well.insert((release, hook.to_owned()));
        }
        code
    }

    /// Containers go with their environment.
    pub fn remove(&mut self, service: &ServiceName, release: Release) {
        let other = |found: &Contained| found.service != *service || found.release != release;
        self.containers.retain(|_, found| other(found));
    }

    /// How they ended stays, whatever becomes of the clock.
    pub fn settle(&mut self) {
        for container in self.containers.values_mut() {
            container.code.get_or_insert(0);
        }
    }
}

fn container_name(service: &ServiceName, release: Release, hook: &ContainerHook) -> String {
    let turn = hook.turn.as_ref().map(|turn| format!(".{turn}"));
    format!(
        "{service}-{release}-{}{}",
        hook.name,
        turn.unwrap_or_default()
    )
}

/// See [`flipside::engine::Engine::hook`].
pub async fn contained(
    engine: &FakeEngine,
    spec: &Spec,
    hook: &ContainerHook,
) -> Result<Ran, EngineError> {
    let (service, release) = (&spec.plan.service, spec.release);
    let run = spec.opened_with;
    let name = container_name(service, release, hook);
    let (made, whose) = (name.clone(), service.clone());
    let begun = move |world: &mut FakeWorld, _: usize| {
        if world.hooks.containers.contains_key(&made) {
            return;
        }
        // Two stores may give out one number: those are two releases.
        world.hooks.begin(&format!("{made} of {run}"), false);
        let container = Contained {
            service: whose,
            release,
            ends: Instant::now() + TAKES,
            code: None,
        };
        world.hooks.containers.insert(made, container);
    };
    engine.call(Op::Hook, begun).await?;
    loop {
        let (ends, code) = match lock(&engine.world).hooks.containers.get(&name) {
            Some(found) => (found.ends, found.code),
            None => return Err(super::fake_engine::failed("the container is gone")),
        };
        if code.is_none() && Instant::now() < ends {
            let step = Duration::from_millis(50);
            tokio::time::sleep(step.min(ends - Instant::now())).await;
            continue;
        }
        let mut world = lock(&engine.world);
        let code = match code {
            Some(code) => code,
            None => world.hooks.end(release, &hook.name),
        };
        if let Some(found) = world.hooks.containers.get_mut(&name) {
            found.code = Some(code);
        }
        return Ok(Ran {
            code,
            oom: false,
            took_ms: 400,
            output: format!("{} says {code}", hook.name),
        });
    }
}

/// See [`flipside::engine::Engine::stop_hook`].
pub fn stop(world: &Shared, service: &ServiceName, release: Release, hook: &ContainerHook) {
    let name = container_name(service, release, hook);
    let mut world = lock(world);
    if let Some(found) = world.hooks.containers.get_mut(&name) {
        found.code.get_or_insert(143);
    }
}

/// The deployer of a [`FakeWorld`].
pub struct FakeHooks(pub Shared);

#[async_trait]
impl Hooks for FakeHooks {
    async fn call(&self, call: Call<'_>, mut stop: Stop, _: &dyn Sink) -> Told {
        let name = &call.hook.plan.name;
        lock(&self.0)
            .hooks
            .begin(call.key, call.hook.plan.idempotent);
        let why = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Some("was stopped".to_owned()),
            () = tokio::time::sleep(TAKES) => match lock(&self.0).hooks.end(call.release, name) {
                0 => None,
                code => Some(format!("exited with {code}")),
            },
        };
        Told {
            code: why.is_none().then_some(0),
            status: None,
            output: format!("{name} says"),
            why,
        }
    }
}

/// A hook of a kind, which is not idempotent.
pub fn hook(name: &str, when: When, kind: HookKind) -> Hook {
    Hook {
        plan: HookPlan {
            name: name.into(),
            when,
            kind,
            idempotent: false,
        },
        timeout_ms: 60_000,
        act: match kind {
            HookKind::Container => HookAct::Container {
                role: role_name("web"),
                command: words(&["once"]),
            },
            HookKind::Command => HookAct::Command {
                command: words(&["./warm.sh"]),
                environment: BTreeMap::new(),
                directory: "/".into(),
            },
            HookKind::Http => HookAct::Http(HookRequest {
                url: Text::public("http://192.0.2.1/"),
                method: "POST".into(),
                headers: vec![],
                body: None,
                status: vec![(200, 299)],
            }),
        },
    }
}

/// The deployer of a world that nobody else looks at.
pub fn deployer(world: &Shared) -> Arc<dyn Hooks> {
    Arc::new(FakeHooks(Arc::clone(world)))
}
