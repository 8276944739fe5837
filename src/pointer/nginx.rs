//! nginx as a pointer, by a file that its `http` block includes.
//!
//! The file sets one variable, to which the service's `proxy_pass` leads: the name of an upstream with
//! the endpoints of an environment. A switch puts another file in its place, has nginx test it and
//! read it anew. What is running is always asked of nginx: at one path of the service its workers
//! say what that variable is for them, and who they are, so that a reload that was not done, or was
//! done by half of them, is seen.
//!
//! Who wrote the file, when and why stands in its comments, with what was true before: a file that
//! nginx has not read yet is told from one that it has.
//!
//! Guard: `checked`. The file is compared just before it is replaced, and again when nginx runs it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

use super::outside::Outside;
use super::record::{self, Due, Record};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Generation, Millis, Release};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, FOREIGN, Guard, Mark, Routing};
use conf::Runs;
use kept::Kept;
use workers::Family;

mod command;
mod conf;
mod kept;
mod plan;
mod swap;
mod workers;

pub use plan::{NginxPlan, SECTION};

/// How often it is asked what it runs, and which workers are left.
const LOOK: Duration = Duration::from_millis(20);

/// How long a worker may take to say what it runs.
const SAYS: Duration = Duration::from_secs(2);

/// nginx as the pointer of one service.
#[derive(Debug)]
pub struct Nginx {
    plan: NginxPlan,
    outside: Outside,
}

/// What the worker says that took a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    value: String,
    pid: u32,
    runs: Runs,
}

/// What is there.
struct Seen {
    kept: Kept,
    said: Said,
    routing: Option<Routing>,
}

impl Nginx {
    /// A pointer that has not been asked anything yet.
    ///
    /// # Errors
    /// Where the URL is none.
    pub fn new(plan: NginxPlan) -> Result<Self, PointerError> {
        let outside = Outside::new(&plan.url, plan.hosts.first().map(String::as_str))?;
        Ok(Self { plan, outside })
    }

    fn away(&self, why: String) -> PointerError {
        PointerError::OutOfReach {
            pointer: self.describe(),
            why,
        }
    }

    fn lost(&self, why: impl Into<String>) -> PointerError {
        PointerError::Lost {
            pointer: self.describe(),
            why: why.into(),
        }
    }

    fn failed(&self, what: String, hint: &str) -> PointerError {
        PointerError::Failed {
            what,
            hint: Some(hint.to_owned()),
        }
    }

    fn file(&self, verb: &str, error: &std::io::Error) -> PointerError {
        let include = self.plan.include.display();
        match error.kind() {
            std::io::ErrorKind::InvalidData => self.failed(
                format!("`{include}` is not understood: {error}"),
                "where its record is another flipside's, use that or a newer one; \
                 its text must be UTF-8",
            ),
            _ => self.failed(
                format!("the include file `{include}` could not be {verb}: {error}"),
                "see to its directory and its disk, then run this again",
            ),
        }
    }

    /// What a request carries that takes this way.
    fn headers(&self, way: Way) -> Vec<(&str, &str)> {
        match way {
            Way::Service => Vec::new(),
            Way::Preview => self.plan.preview.headers(),
        }
    }

    async fn get(&self, way: Way, path: &str) -> Result<(u16, String), PointerError> {
        let headers = self.headers(way);
        let answer = timeout(SAYS, self.outside.text(path, &headers)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {SAYS:?}")));
        answer.map_err(|why| self.away(why))
    }

    /// What the worker says that takes a request now.
    async fn says(&self, way: Way) -> Result<Said, PointerError> {
        let (status, text) = self.get(way, &self.plan.says).await?;
        let said = text.rsplit_once(' ').and_then(|(value, pid)| {
            let value = value.trim().to_owned();
            Some(Said {
                runs: Runs::of(&self.plan.variable, &value),
                pid: pid.trim().parse().ok()?,
                value,
            })
        });
        let NginxPlan { variable, says, .. } = &self.plan;
        said.filter(|_| status == 200).ok_or_else(|| {
            self.failed(
                format!(
                    "{} does not say at `{says}` what it runs; its answer has status {status}",
                    self.describe()
                ),
                &format!(
                    "give the service's server block `location = {says} {{ return 200 \
                     \"${variable} $pid\"; }}` and reload nginx: flipside help nginx"
                ),
            )
        })
    }

    /// What stands in the file.
    async fn kept(&self) -> Result<Kept, PointerError> {
        let place = kept::place(&self.plan.include).await;
        let kept = kept::read(&place).await;
        kept.map_err(|error| self.file("read", &error))
    }

    /// What nginx says, with what is on record of it. The file is read last: it always knows what was
    /// true before.
    async fn look(&self) -> Result<Seen, PointerError> {
        let said = self.says(Way::Service).await?;
        let kept = self.kept().await?;
        Ok(Seen {
            routing: judge(&kept, &said),
            kept,
            said,
        })
    }

    /// nginx's processes, where they can be seen.
    async fn family(&self, said: &Said) -> Result<Option<Family>, PointerError> {
        let family = workers::family(said.pid).await;
        match family.as_ref().is_some_and(|it| it.masters.len() > 1) {
            false => Ok(family),
            true => Err(self.failed(
                format!(
                    "{} is being upgraded: two masters run, and a reload would reach one",
                    self.describe()
                ),
                "end the upgrade, `kill -QUIT` the old master or the new one, then run this again",
            )),
        }
    }

    /// The file for `desired`, after `found`.
    fn text(&self, found: Option<&Routing>, desired: &Routing) -> Result<String, PointerError> {
        let mut serving = desired.routes.iter().filter(|route| route.weight > 0);
        match (
            serving.clone().count(),
            serving.any(|it| it.release == FOREIGN),
        ) {
            (_, false) => {
                let record = Record::of_move(found, desired);
                Ok(conf::whole(&self.plan, &record, desired))
            }
            (1, true) => conf::include(desired.foreign.as_ref())
                .map(str::to_owned)
                .ok_or_else(|| PointerError::Failed {
                    what: "what the include file said before flipside came is not on record".into(),
                    hint: None,
                }),
            (_, true) => Err(self.failed(
                "what stood in the include file before flipside came is all or nothing".into(),
                "switch without shares",
            )),
        }
    }
}

/// What is true by the file and by what a worker says.
fn judge(kept: &Kept, said: &Said) -> Option<Routing> {
    let found = match said.runs {
        Runs::Nothing => Vec::new(),
        Runs::Other | Runs::Ours(..) => conf::routes(kept.text(), &said.value),
    };
    let Some(record) = kept.record.clone() else {
        return match said.runs {
            Runs::Nothing => None,
            Runs::Other => Some(Routing::foreign(found, conf::foreign(kept.text()))),
            // Its file has gone, or is another one that it has not read.
            Runs::Ours(generation, fence, _) => Some(Routing {
                generation,
                fence,
                foreign: None,
                ..Routing::foreign(found, serde_json::Value::Null)
            }),
        };
    };
    let routing = record.judge(|routing| said.runs.is(routing), found.clone())?;
    Some(match kept.is_whole {
        true => routing,
        false => Routing {
            routes: found,
            ..routing
        },
    })
}

#[async_trait]
impl Pointer for Nginx {
    fn describe(&self) -> String {
        format!("nginx {}", self.plan.include.display())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            weighted: true,
            sticky: false,
            preview: self.preview().is_some(),
            drains: true,
            lingers: false,
            cached: false,
            counts: false,
            atomic: false,
            marks: false,
            settle_ms: 0,
            guard: Guard::Checked,
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.says(Way::Service).await.map(drop)
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        let seen = self.look().await?;
        self.family(&seen.said).await?;
        let place = kept::place(&self.plan.include).await;
        let directory = place.parent().unwrap_or(std::path::Path::new("/"));
        let may = rustix::fs::access(directory, rustix::fs::Access::WRITE_OK);
        may.map_err(|error| self.file("written", &error.into()))?;
        self.test(Instant::now() + swap::LIMIT).await
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        Ok(self.look().await?.routing)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let seen = self.look().await?;
        let generation = match record::due(seen.routing.as_ref(), expected, desired)? {
            Due::Nothing(generation) => return Ok(generation),
            Due::Write(generation) => generation,
        };
        let desired = Routing {
            generation,
            ..desired.clone()
        };
        let text = self.text(seen.routing.as_ref(), &desired)?;
        let place = kept::place(&self.plan.include).await;
        let is_foreign = desired.live() == Some(FOREIGN);
        if is_foreign {
            let record = Record::of_move(seen.routing.as_ref(), &desired);
            let kept = kept::remember(&place, &record).await;
            kept.map_err(|error| self.file("written", &error))?;
        }
        self.swap(&seen, &text, |said| said.runs.is(&desired))
            .await?;
        if !is_foreign {
            let forgotten = kept::forget(&place).await;
            tracing::debug!(?forgotten, "a record beside the file");
        }
        Ok(generation)
    }

    /// nginx tells neither what is in flight nor what is cut, and old workers end what others have
    /// asked of them as well: they are waited for, and left to themselves at `limit_ms`.
    async fn settled(
        &self,
        _: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let gone = async {
            loop {
                let said = self.says(Way::Service).await?;
                let Some(family) = workers::family(said.pid).await else {
                    // Who cannot see them waits as long as they may take.
                    return std::future::pending().await;
                };
                if family.leaving.is_empty() {
                    return Ok(());
                }
                let left = family.leaving.len() as u64;
                sink.progress(Progress::Drain { left, limit_ms });
                sleep(LOOK).await;
            }
        };
        match timeout(Duration::from_millis(limit_ms), gone).await {
            Ok(gone) => gone?,
            Err(_) => tracing::debug!("old workers are left to themselves"),
        }
        Ok(Drained::default())
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        if way == Way::Preview && self.preview().is_none() {
            return Err(PointerError::no_preview(&self.describe()));
        }
        let before = self.says(way).await?;
        let (status, _) = self.get(way, path).await?;
        let Seen { said, routing, .. } = self.look().await?;
        let said = match way {
            Way::Service => said,
            Way::Preview => self.says(way).await?,
        };
        let routes = routing.iter().flat_map(|routing| &routing.routes);
        let serving = routes.filter(|route| route.weight > 0).count();
        // Of a share one request says nothing about the next.
        let is_told = said.runs == before.runs && (serving < 2 || way == Way::Preview);
        Ok(Answer {
            release: said.runs.release().filter(|_| is_told),
            status: Some(status),
        })
    }

    fn preview(&self) -> Option<String> {
        let host = self.plan.hosts.first().map(String::as_str);
        self.plan.preview.command(&self.plan.url, host)
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(PointerError::no_marks(&self.describe()))
    }

    /// A write that was begun for one of them and that nginx has not read must not come true at its
    /// next reload: the file says again what nginx runs.
    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError> {
        if releases.is_empty() {
            return Ok(());
        }
        let Seen {
            kept,
            said,
            routing,
        } = self.look().await?;
        let meant = kept.record.as_ref().and_then(Record::meant);
        let Some((meant, now)) = meant.zip(routing.as_ref()) else {
            return Ok(());
        };
        let names = |release: &Release| meant.route(*release).is_some_and(|it| it.weight > 0);
        let is_begun = meant != now && said.runs.is(now) && kept.is_whole;
        if !is_begun || !releases.iter().any(names) {
            return Ok(());
        }
        if meant.fence > fence {
            return Err(PointerError::Refused {
                why: SwitchRefusal::Fenced,
                found: Some(Box::new(now.clone())),
            });
        }
        let text = match now.live() {
            None => conf::nowhere(&self.plan, None),
            Some(_) => self.text(None, now)?,
        };
        let place = kept::place(&self.plan.include).await;
        let written = record::replace(&place, &text).await;
        written.map_err(|error| self.file("written", &error))
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let seen = self.look().await?;
        let place = kept::place(&self.plan.include).await;
        if let Some(routing) = &seen.routing
            && routing.live() != Some(FOREIGN)
        {
            let text = conf::nowhere(&self.plan, conf::include(routing.foreign.as_ref()));
            let is_gone = |said: &Said| said.runs == Runs::Nothing;
            self.swap(&seen, &text, is_gone).await?;
        }
        let forgotten = kept::forget(&place).await;
        forgotten.map_err(|error| self.file("removed", &error))
    }
}
