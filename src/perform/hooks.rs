//! A hook: what it is to do, where it runs, how long it may, and how it ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::fault::Fault;
use super::masked::MaskedSink;
use super::{Performer, micros};
use crate::core::event::{Event, Failure, Verb};
use crate::core::hook::HookEnd;
use crate::core::mask::Mask;
use crate::core::names::{Millis, Release, ServiceName};
use crate::core::plan::{Hook, HookAct};
use crate::core::progress::Sink;
use crate::core::state::{Course, State};
use crate::core::words::{hex, millis};
use crate::engine::{ContainerHook, EngineError, Ran, Spec};
use crate::hook::{Call, Told};

/// Reads again what a release was to be: from the journal's record of its plan.
pub type Recall =
    Arc<dyn Fn(Release) -> BoxFuture<'static, Result<Recalled, String>> + Send + Sync>;

/// What is known of a release whose hooks run.
#[derive(Debug, Clone)]
pub struct Recalled {
    /// Its hooks. Without `spec` only those that run on the deployer.
    pub hooks: Vec<Hook>,
    /// What its environment was to be, where all of its plan can be read.
    pub spec: Option<Spec>,
    /// Why there are no others, in a line.
    pub why: String,
}

/// How long a container has between its stop signal and SIGKILL, in milliseconds.
const GRACE_MS: Millis = 3_000;
/// How long what was told to end may take to have ended.
const ENDING: Duration = Duration::from_secs(8);
/// How often it is told so.
const TRIES: usize = 3;

impl Recalled {
    /// What is secret in what is known.
    #[must_use]
    pub fn mask(&self) -> Mask {
        match &self.spec {
            Some(spec) => Mask::of_plan(&spec.plan),
            None => Mask::of_hooks(&self.hooks),
        }
    }
}

impl From<Spec> for Recalled {
    fn from(spec: Spec) -> Self {
        Self {
            hooks: spec.plan.hooks.clone(),
            spec: Some(spec),
            why: "it is not in the plan".into(),
        }
    }
}

/// Why a hook was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Its time was over.
    Late,
    /// Something was asked of the run.
    Asked,
}

/// A hook that is to run now.
struct Due<'a> {
    service: &'a ServiceName,
    release: Release,
    hook: &'a Hook,
    sink: &'a dyn Sink,
}

impl Performer {
    /// Asks the hook that runs now, if one does, to end.
    pub fn stop_hook(&self) {
        self.stop.send_replace(true);
    }

    /// Runs a hook to its end, or reads back how it ended; what the last move left is drained
    /// meanwhile.
    pub(super) async fn hook(
        &self,
        state: &State,
        name: &str,
        repeat: u32,
    ) -> Result<Event, Fault> {
        self.stop.send_replace(false);
        let release = subject(state);
        let known = match self.known_of(release).await {
            Ok(known) => known,
            Err(why) => return Ok(Event::HookEnded(self.unknown(name, release, &why))),
        };
        let Some(hook) = known.hooks.iter().find(|hook| hook.plan.name == name) else {
            return Ok(Event::HookEnded(self.unknown(name, release, &known.why)));
        };
        let mask = Arc::new(known.mask());
        let sink = MaskedSink {
            mask: Arc::clone(&mask),
            sink: Arc::clone(&self.with.sink),
        };
        let due = Due {
            service: &self.with.service,
            release,
            hook,
            sink: &sink,
        };
        let began = Instant::now();
        let ended = async {
            match (&hook.act, &known.spec) {
                (HookAct::Container { .. }, None) => Ok(self.unknown(name, release, &known.why)),
                (HookAct::Container { role, command }, Some(spec)) => {
                    let contained = ContainerHook {
                        name: name.to_owned(),
                        turn: turn(state, repeat),
                        role: role.clone(),
                        command: command.clone(),
                    };
                    self.contained(state, &due, spec, &contained).await
                }
                (HookAct::Command { .. } | HookAct::Http(_), _) => {
                    Ok(self.outside(state, &due, began).await)
                }
            }
        };
        let end = tokio::select! {
            end = ended => end?,
            never = self.draining(state) => match never {},
        };
        Ok(mask.event(Event::HookEnded(end)))
    }

    /// The end of a hook that is not run, since that it began cannot be written down.
    pub fn leave_out(&self, state: &State, name: &str) -> Event {
        let why = "the journal does not take that it begins, so it could be begun twice";
        Event::HookEnded(self.unknown(name, subject(state), why))
    }

    /// What the release was to be: the candidate's plan is at hand, that of one which is left is read
    /// again.
    async fn known_of(&self, release: Release) -> Result<Recalled, String> {
        match &self.with.spec {
            Some(spec) if spec.release == release => Ok(spec.clone().into()),
            _ => (self.with.recall)(release).await,
        }
    }

    /// The end of a hook that never began.
    fn unknown(&self, name: &str, release: Release, why: &str) -> HookEnd {
        let service = &self.with.service;
        HookEnd {
            name: name.to_owned(),
            skipped: true,
            failure: Some(Failure {
                what: format!("the hook `{name}` of {service}@{release} was left out: {why}"),
                ..Failure::default()
            }),
            ..HookEnd::default()
        }
    }

    async fn contained(
        &self,
        state: &State,
        due: &Due<'_>,
        spec: &Spec,
        contained: &ContainerHook,
    ) -> Result<HookEnd, Fault> {
        let service = due.service;
        let image = match state.images.get(&contained.role) {
            Some(image) if spec.release == state.release() => image.clone(),
            _ => self.image_of(spec.release, contained).await?,
        };
        let mut running = pin!(self.with.engine.hook(spec, &image, contained, due.sink));
        let (ran, cut) = tokio::select! {
            ran = &mut running => (ran, None),
            cut = self.cut(due.hook.timeout_ms) => {
                let mut ended = None;
                for _ in 0..TRIES {
                    let stop = self.with.engine.stop_hook(service, spec.release, contained, GRACE_MS);
                    stop.await?;
                    ended = timeout(ENDING, &mut running).await.ok();
                    if ended.is_some() {
                        break;
                    }
                }
                let name = &contained.name;
                let still = || Fault::Lost(format!("the hook `{name}` was told to end and has not"));
                (ended.ok_or_else(still)?, Some(cut))
            }
        };
        let told = match ran {
            Ok(ran) => told(ran),
            Err(EngineError::Failed(failure)) => {
                let name = &due.hook.plan.name;
                let end = HookEnd {
                    name: name.clone(),
                    failure: Some(Failure {
                        what: format!("the hook `{name}` failed: {}", failure.what),
                        ..failure
                    }),
                    ..HookEnd::default()
                };
                return Ok(end);
            }
            Err(error) => return Err(error.into()),
        };
        let (told, took_ms) = told;
        Ok(end(due.hook, told, took_ms, cut))
    }

    /// The image that the containers of a role were made from: the registry is not asked again.
    async fn image_of(&self, release: Release, hook: &ContainerHook) -> Result<String, Fault> {
        let environment = self.environment(release).await?;
        let mut containers = environment.containers.iter();
        let container = containers.find(|container| container.role == hook.role);
        container
            .map(|container| container.image_id.clone())
            .ok_or_else(|| {
                Fault::Failed(Failure {
                    what: format!("no container of the role `{}` is left", hook.role),
                    ..Failure::default()
                })
            })
    }

    async fn outside(&self, state: &State, due: &Due<'_>, began: Instant) -> HookEnd {
        let key = key(state, due);
        let call = Call {
            service: due.service,
            release: due.release,
            key: &key,
            hook: due.hook,
        };
        let (stop, stopped) = watch::channel(false);
        let mut running = pin!(self.with.hooks.call(call, stopped, due.sink));
        let (told, cut) = tokio::select! {
            told = &mut running => (told, None),
            cut = self.cut(due.hook.timeout_ms) => {
                stop.send_replace(true);
                let told = timeout(ENDING, &mut running).await;
                (told.unwrap_or_default(), Some(cut))
            }
        };
        let took_ms = micros(began.elapsed()) / 1000;
        end(due.hook, told, took_ms, cut)
    }

    /// Ends when a hook is to be cut short.
    async fn cut(&self, limit: Millis) -> Cut {
        let mut stop = self.stop.subscribe();
        let asked = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = asked => Cut::Asked,
            () = tokio::time::sleep(Duration::from_millis(limit)) => Cut::Late,
        }
    }
}

/// The release that a hook is of: the candidate, or the one that was left.
fn subject(state: &State) -> Release {
    match (state.course, &state.opened.verb) {
        (Course::Back(_), Verb::Rollback { from, .. }) => *from,
        (_, Verb::Deploy { release, .. }) => *release,
        _ => state.release(),
    }
}

/// What tells the containers of one hook apart: a release may be left more than once.
fn turn(state: &State, repeat: u32) -> Option<String> {
    let run = match state.opened.verb {
        Verb::Rollback { .. } => Some(format!("r{}", state.opened.fence)),
        _ => None,
    };
    match (run, repeat) {
        (run, 0) => run,
        (None, repeat) => Some(repeat.to_string()),
        (Some(run), repeat) => Some(format!("{run}.{repeat}")),
    }
}

/// The same on each repetition, and on no other call: of the engine, the run, the release and the
/// hook.
fn key(state: &State, due: &Due<'_>) -> String {
    let (engine, service, run) = (&state.opened.engine, due.service, state.opened.fence);
    let (release, hook) = (due.release, &due.hook.plan.name);
    let digest = Sha256::digest(format!("{engine}\0{service}\0{run}\0{release}\0{hook}"));
    hex(&digest[..16])
}

fn told(ran: Ran) -> (Told, Millis) {
    let why = match (ran.code, ran.oom) {
        (0, _) => None,
        (code, true) => Some(format!("exited with {code} (out of memory)")),
        (code, false) => Some(format!("exited with {code}")),
    };
    let told = Told {
        code: Some(ran.code),
        status: None,
        output: ran.output,
        why,
    };
    (told, ran.took_ms)
}

fn end(hook: &Hook, told: Told, took_ms: Millis, cut: Option<Cut>) -> HookEnd {
    let name = &hook.plan.name;
    let failure = match (cut, &told.why) {
        // It may have ended by itself at that very moment.
        (None, None) | (Some(Cut::Asked), None) => None,
        (None, Some(why)) => Some(Failure {
            what: format!("the hook `{name}` {why}"),
            ..Failure::default()
        }),
        (Some(Cut::Late), _) => Some(Failure {
            what: format!(
                "the hook `{name}` did not end within {} and was stopped",
                millis(hook.timeout_ms)
            ),
            hint: Some(format!(
                "allow more with `timeout: 30m` on the hook `{name}`"
            )),
            replicas: Vec::new(),
        }),
        (Some(Cut::Asked), Some(_)) => Some(Failure {
            what: format!("the hook `{name}` was stopped"),
            ..Failure::default()
        }),
    };
    HookEnd {
        name: name.clone(),
        code: told.code,
        status: told.status,
        took_ms,
        output: told.output,
        stopped: cut == Some(Cut::Asked) && failure.is_some(),
        failure,
        skipped: false,
    }
}
