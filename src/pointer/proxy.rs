//! The embedded proxy as a pointer, and as a place to check from.
//!
//! One proxy per engine serves every service on it. This adapter finds the proxy's container or
//! starts one ([`container`]), holds one verified connection to it ([`line`]), and puts its words
//! into the core's ([`words`]). It does not know how the proxy serves, makes no decision about
//! releases, and pools nothing between services.
//!
//! # Why a connection can be trusted
//!
//! The socket's directory can be written by root alone, so a false socket there is not the danger;
//! the right socket of the *wrong engine* is: a proxy of the same name here, while `--engine` names
//! another machine. So each new connection is held against the label of the container on the
//! engine that was asked for, before the first request goes out on it. That look at the engine runs
//! beside connecting and saying hello, and beside the engine's own inspection in the commands that
//! use both, so it costs no time of its own; later calls go over the same connection without it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::core::names::{Fence, Generation, Millis, Release, ServiceName, Slot};
use crate::core::plan::Slots;
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, Guard, Mark, Routing};
use crate::docker::{Client, OwnImage};
use crate::probe::{Question, Vantage, VantageError};
use crate::proxy::control::{ClientError, Code, Op, PROTOCOL};

use super::preview::{self, Asking};
use super::section::{Key, ReachKind, Reaching, Remark, Section, Stand, Takes};
use super::{Answer, Pointer, PointerError, Way};
use line::{Line, Reached, Ways};

mod container;
mod foresee;
mod line;
mod overview;
mod probing;
mod words;

pub use line::Control;
pub use overview::{Overview, TakenDown, overview, served_elsewhere, take_down, take_down_if_idle};
pub use probing::Probing;

/// `pointer: {proxy: …}`.
pub const SECTION: Section = Section {
    kind: "proxy",
    means: "Flipside's own load balancer.",
    example: "`listen: \":8080\"`",
    keys: &[
        Key {
            name: "listen",
            also: None,
            takes: Takes::Listen,
            missing: Some((
                "the proxy needs an address to listen on",
                "add `listen: \":8080\"`",
            )),
            means: "Address and port, such as \":8080\".",
        },
        Key {
            name: "hosts",
            also: Some("host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names that it answers for; every one by default.",
        },
        preview::HEADER,
        preview::HOSTS,
    ],
    advised: &[("tls", "end TLS in front of the proxy")],
    reaching: Reaching {
        from: Stand::Engine,
        ways: &[ReachKind::Container],
        beyond: (
            "the proxy stands on the engine's host, where the containers' own addresses are",
            "remove the line",
        ),
    },
    complete: |settings| {
        settings
            .entry("hosts")
            .or_insert_with(|| Vec::<String>::new().into());
        preview::wrong(settings)
            .map(Remark::from)
            .into_iter()
            .collect()
    },
};

/// The embedded proxy's part of a service: its settings in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyPlan {
    /// Address and port as in `:8080`, `127.0.0.1:8080`, `[::1]:8080`; empty where it has slots.
    pub listen: String,
    /// Host names, lower case; empty: every request of that listener that names no other service's.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// How those who want it ask for the preview.
    #[serde(flatten)]
    pub preview: Asking,
    /// Where it passes connections on unread instead, to the environment that hangs on the slot. No
    /// plan says so of this pointer itself: it is what stands behind another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Slots>,
}

impl ProxyPlan {
    /// At the addresses of `slots`, for a pointer in front that names these.
    #[must_use]
    pub fn at(slots: Slots) -> Self {
        Self {
            listen: String::new(),
            hosts: Vec::new(),
            preview: Asking::default(),
            slots: Some(slots),
        }
    }

    /// Its slots in the proxy's words.
    fn slots(&self) -> BTreeMap<String, String> {
        let slots = self.slots.iter();
        let named = |slot: Slot, of: &Slots| (slot.to_string(), of.of(slot).to_string());
        slots
            .flat_map(|of| [Slot::Blue, Slot::Green].map(|slot| named(slot, of)))
            .collect()
    }

    /// Where it is.
    fn place(&self) -> String {
        match &self.slots {
            Some(Slots { blue, green }) => format!("slots {blue}, {green}"),
            None => self.listen.clone(),
        }
    }

    /// How a person asks for the preview.
    fn how(&self) -> Option<String> {
        let port = self.listen.rsplit(':').next().filter(|port| *port != "80");
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let host = match self.listen.rsplit_once(':') {
            None | Some(("" | "[::]" | "0.0.0.0", _)) => "localhost",
            Some((host, _)) => host,
        };
        let url = format!("http://{host}{port}/");
        let name = self.hosts.first().map(String::as_str);
        self.preview.command(&url, name)
    }
}

/// The directory on the engine's host with one directory per proxy, which holds its socket.
pub const RUN_DIR: &str = "/var/lib/flipside/run";

/// How long a request through the proxy's own listener may take, where the caller does not give up
/// earlier, in milliseconds.
const ASK_LIMIT_MS: Millis = 10_000;
/// The first wait for a proxy that has been started; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// The longest wait for a proxy that has been started.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long a proxy that has been started is waited for at its socket alone.
const SOCKET_FIRST: Duration = Duration::from_millis(500);
/// How many starts without an answer are too many.
const STARTS: i64 = 3;

/// Which proxy, and how it is reached.
#[derive(Debug, Clone)]
pub struct Site {
    /// The engine it runs on.
    pub docker: Client,
    /// Its container's name.
    pub name: String,
    /// The image to start it from.
    pub image: OwnImage,
    /// How it is spoken to.
    pub control: Control,
    /// As [`RUN_DIR`].
    pub run_dir: PathBuf,
}

impl Site {
    /// The proxy in the container `name`, reached whichever way works.
    #[must_use]
    pub fn new(docker: Client, name: impl Into<String>) -> Self {
        Self {
            docker,
            name: name.into(),
            image: OwnImage::default(),
            control: Control::Auto,
            run_dir: RUN_DIR.into(),
        }
    }

    fn describe(&self) -> String {
        format!("proxy {}", self.name)
    }

    fn away(&self, why: impl Into<String>) -> PointerError {
        PointerError::OutOfReach {
            pointer: self.describe(),
            why: why.into(),
        }
    }
}

/// What to make of a proxy that speaks a newer control protocol than this flipside knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// Refuse it: for all verbs but those below.
    Refuse,
    /// Use the subset that every version has: for a rollback, and for looking.
    Subset,
}

/// What a [`ProxyPointer`] needs.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Which proxy.
    pub site: Site,
    /// The service whose pointer it is.
    pub service: ServiceName,
    /// Where the service listens; `None` where no plan is at hand: what the proxy's own entry says
    /// is then kept.
    pub plan: Option<ProxyPlan>,
    /// What to make of a newer proxy.
    pub newer: Newer,
}

/// The embedded proxy as the pointer of one service.
#[derive(Debug)]
pub struct ProxyPointer {
    line: Line,
    service: ServiceName,
    plan: Option<ProxyPlan>,
    newer: Newer,
    /// What the proxy itself said last of where the service is, while it showed something or had
    /// slots.
    said: Mutex<Option<ProxyPlan>>,
}

/// What a call does to the pointer, which decides what a lost answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It only asks.
    Asks,
    /// It may have changed something.
    Acts,
}

impl ProxyPointer {
    /// A pointer that has not been asked anything yet.
    #[must_use]
    pub fn new(options: ProxyOptions) -> Self {
        Self {
            line: Line::to(options.site),
            service: options.service,
            plan: options.plan,
            newer: options.newer,
            said: Mutex::default(),
        }
    }

    fn site(&self) -> &Site {
        self.line.site()
    }

    /// The connection; `None` where the engine has no such proxy.
    async fn link(&self) -> Result<Option<line::Link>, PointerError> {
        match self.line.reach(Ways::All).await? {
            Reached::Open(link) => Ok(Some(link)),
            Reached::Absent => Ok(None),
            Reached::Stopped(_) => Err(self.site().away(format!(
                "its container is stopped (`docker start {}` starts it again)",
                self.site().name
            ))),
            Reached::Deaf(_, why) => Err(self.site().away(why)),
        }
    }

    /// The connection, where there must be one.
    async fn needed(&self) -> Result<line::Link, PointerError> {
        let link = self.link().await?;
        link.ok_or_else(|| self.site().away("the engine has no container of this name"))
    }

    /// What an error of a call means.
    fn fault(&self, error: ClientError, effect: Effect) -> PointerError {
        let refusal = match error {
            ClientError::Refused(refusal) => *refusal,
            ClientError::Io(_) | ClientError::Answer(_) => {
                let (pointer, why) = (self.describe(), error.to_string());
                return match effect {
                    Effect::Asks => PointerError::OutOfReach { pointer, why },
                    Effect::Acts => PointerError::Lost { pointer, why },
                };
            }
        };
        words::refusal(refusal, self.site(), &self.service, self.plan.as_ref())
    }

    /// What the plan says of where the service is; without one, what the proxy did.
    fn told<T>(&self, of: impl FnOnce(&ProxyPlan) -> Option<T>) -> Option<T> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        of(self.plan.as_ref().or(said.as_ref())?)
    }

    fn has_slots(&self) -> bool {
        self.told(|plan| plan.slots).is_some()
    }

    fn accept(&self, link: &line::Link) -> Result<(), PointerError> {
        self.plan
            .iter()
            .try_for_each(|plan| link.knows(plan, self.site()))?;
        let hello = &link.hello;
        if self.newer == Newer::Subset || hello.protocol <= PROTOCOL {
            return Ok(());
        }
        Err(PointerError::Failed {
            what: format!(
                "the proxy `{}` is of flipside {} and speaks control protocol {}; this flipside \
                 knows {PROTOCOL}",
                self.site().name,
                hello.version,
                hello.protocol
            ),
            hint: Some(format!("use flipside {} or newer", hello.version)),
        })
    }
}

#[async_trait]
impl Pointer for ProxyPointer {
    fn describe(&self) -> String {
        match &self.plan {
            Some(plan) => format!("{} ({})", self.site().describe(), plan.place()),
            None => self.site().describe(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            weighted: !self.has_slots(),
            sticky: false,
            preview: self.preview().is_some(),
            drains: true,
            lingers: false,
            cached: false,
            counts: true,
            atomic: true,
            marks: true,
            settle_ms: 0,
            guard: Guard::Fenced,
        }
    }

    async fn ready(&self, sink: &dyn Sink) -> Result<(), PointerError> {
        let site = self.site();
        let starting = || {
            sink.progress(Progress::Wait {
                what: format!("the proxy `{}` to start", site.name),
            });
        };
        let (mut starts, mut restarts) = (0, None);
        let (mut wait, mut waited) = (FIRST_WAIT, Duration::ZERO);
        loop {
            // Commands stay on the connection that is made here, so the quick one is worth a wait.
            let ways = match starts {
                1.. if waited < SOCKET_FIRST => Ways::SocketFirst,
                _ => Ways::All,
            };
            match self.line.reach(ways).await? {
                Reached::Open(link) => return self.accept(&link),
                Reached::Absent => {
                    starting();
                    container::create(site).await?;
                }
                Reached::Stopped(found) => {
                    if starts == STARTS {
                        return Err(container::ends_at_once(site, &found).await);
                    }
                    starting();
                    starts += 1;
                    container::start(site, &found).await?;
                }
                Reached::Deaf(found, _) => {
                    let before = *restarts.get_or_insert(found.restarts);
                    if found.restarts >= before + STARTS {
                        return Err(container::ends_at_once(site, &found).await);
                    }
                }
            }
            // A wait for the container, which the caller limits.
            tokio::time::sleep(wait).await;
            waited += wait;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        match &self.plan {
            Some(plan) => foresee::foresee(&self.line, &self.service, plan).await,
            None => Ok(()),
        }
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        let Some(link) = self.link().await? else {
            return Ok(None);
        };
        let entry = link.client().read(self.service.as_str()).await;
        let entry = entry.map_err(|error| self.fault(error, Effect::Asks))?;
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) =
            entry.as_ref().and_then(words::said);
        entry
            .map(|entry| words::routing(entry, self.site()))
            .transpose()
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let link = self.needed().await?;
        if let Some(plan) = &self.plan {
            link.knows(plan, self.site())?;
        }
        let service = self.service.as_str();
        // What a routing does not name (listener, hosts, preview) is kept.
        let before = match link.client().read(service).await {
            Ok(before) => before,
            Err(ClientError::Refused(refusal)) if refusal.code == Code::BadEntry => None,
            Err(error) => return Err(self.fault(error, Effect::Asks)),
        };
        let entry = words::entry(&self.service, self.plan.as_ref(), before, desired)?;
        let written = link.client().write(expected, entry.clone()).await;
        let written = written.map_err(|error| self.fault(error, Effect::Acts))?;
        let now = link.client().read(service).await;
        match now.map_err(|error| self.fault(error, Effect::Acts))? {
            Some(now) if now.generation == written.generation && now.says_the_same_as(&entry) => {
                Ok(written.generation)
            }
            now => Err(PointerError::Lost {
                pointer: self.describe(),
                why: match now {
                    Some(now) => format!("`{}` wrote right afterwards: {}", now.author, now.reason),
                    None => "the service was removed right afterwards".into(),
                },
            }),
        }
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let link = self.needed().await?;
        let show = |progress: crate::proxy::control::Progress| {
            sink.progress(Progress::Drain {
                left: progress.left,
                limit_ms,
            });
        };
        let settled = link
            .client()
            .settle(self.service.as_str(), generation, limit_ms, show)
            .await
            .map_err(|error| self.fault(error, Effect::Acts))?;
        Ok(Drained {
            in_flight: settled.in_flight,
            finished: settled.finished,
            cut: settled.cut,
        })
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        if way == Way::Preview && self.preview().is_none() {
            return Err(PointerError::no_preview(&self.describe()));
        }
        if self.has_slots() {
            return Err(PointerError::Failed {
                what: format!(
                    "{} passes connections on unread and can ask nothing through them",
                    self.describe()
                ),
                hint: None,
            });
        }
        let link = self.needed().await?;
        let asked = link
            .client()
            .ask(
                self.service.as_str(),
                path,
                way == Way::Preview,
                ASK_LIMIT_MS,
            )
            .await
            .map_err(|error| self.fault(error, Effect::Asks))?;
        Ok(Answer {
            release: asked.release.map(Release),
            status: Some(asked.status),
        })
    }

    fn preview(&self) -> Option<String> {
        self.told(ProxyPlan::how)
    }

    async fn mark(&self, fence: Fence, release: Release, mark: Mark) -> Result<(), PointerError> {
        let link = self.needed().await?;
        let (mark, generation) = words::mark(mark);
        let op = Op::Mark {
            service: self.service.to_string(),
            release: release.0,
            fence,
            mark,
            generation,
        };
        let done = link.client().call(op).await;
        done.map_err(|error| self.fault(error, Effect::Acts))?;
        Ok(())
    }

    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        let Some(link) = self.link().await? else {
            return Ok(());
        };
        let op = Op::Forget {
            service: self.service.to_string(),
            releases: releases.iter().map(|release| release.0).collect(),
            fence,
        };
        match link.client().call(op).await {
            Ok(_) => Ok(()),
            Err(ClientError::Refused(refusal)) if refusal.code == Code::UnknownService => Ok(()),
            Err(error) => Err(self.fault(error, Effect::Acts)),
        }
    }

    async fn remove(&self, fence: Fence) -> Result<(), PointerError> {
        let Some(link) = self.link().await? else {
            return Ok(());
        };
        let removed = link.client().remove(self.service.as_str(), fence).await;
        removed.map_err(|error| self.fault(error, Effect::Acts))?;
        Ok(())
    }
}

#[async_trait]
impl Vantage for ProxyPointer {
    fn place(&self) -> String {
        self.site().describe()
    }

    async fn check(
        &self,
        address: std::net::SocketAddr,
        question: &Question,
        timeout_ms: Millis,
    ) -> Result<Result<(), String>, VantageError> {
        let cannot = |error: PointerError| VantageError::Away {
            place: self.place(),
            why: match error {
                PointerError::OutOfReach { why, .. } | PointerError::Lost { why, .. } => why,
                other => other.to_string(),
            },
        };
        let check = match question.check(address, timeout_ms) {
            Ok(check) => check,
            Err(reason) => return Ok(Err(reason)),
        };
        let link = self.needed().await.map_err(cannot)?;
        match link.client().check(check).await {
            Ok(outcome) => Ok(words::verdict(outcome)),
            // Whatever a check asks, a proxy that knows its words obeys it.
            Err(ClientError::Refused(refusal)) if refusal.code == Code::BadRequest => {
                Err(VantageError::Unable {
                    place: self.place(),
                    why: words::too_old(&link.hello.version, self.site()),
                })
            }
            Err(error) => Err(cannot(self.fault(error, Effect::Asks))),
        }
    }
}
