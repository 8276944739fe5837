//! A command of the user's as a pointer.
//!
//! Each call is a process of its own: it reads one JSON object and answers one. What a routing says
//! beside endpoints and weights is a note that the command keeps with them and gives back; so a
//! rollback needs the command and nothing else. What the command says is believed.
//!
//! Guard: what the command claims. `checked`: between the last look and the write somebody else may
//! write. `compare-and-set`: the command holds what was read against what is there.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::outside::Outside;
use super::record::{self, Due, Record};
use super::section::{Key, Reaching, Remark, Section, Takes, Wrong};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Generation, Millis, Release, ServiceName};
use crate::core::progress::Sink;
use crate::core::routing::{Capabilities, Drained, Mark, Routing};
use call::Trouble;
use words::{Able, Asked, Left, Said, VERSION, Written};

mod call;
mod words;

/// `pointer: {exec: …}`.
pub const SECTION: Section = Section {
    kind: "exec",
    means: "A command of your own, by JSON on its stdin and stdout.",
    example: "`command: [./switch, shop]` and the like",
    keys: &[
        Key {
            name: "command",
            also: None,
            takes: Takes::Command,
            missing: Some((
                "this pointer is a command, and none is named",
                "add `command: [./switch, shop]`: a program and its words",
            )),
            means: "A program and its words, run without a shell; one with a slash is beside the plan.",
        },
        Key {
            name: "timeout",
            also: None,
            takes: Takes::Duration,
            missing: None,
            means: "How long one call of the command may take; 5s.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `http://127.0.0.1/`"),
            missing: Some((
                "after a switch the service is asked from outside, and nothing says where",
                "add `url: http://127.0.0.1`, where it is reached",
            )),
            means: "Where the service is reached: asked after each switch.",
        },
        Key {
            name: "hosts",
            also: Some("host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names of the service; the first is the Host header of what is asked.",
        },
    ],
    advised: &[],
    reaching: Reaching::ANY,
    complete,
};

/// How long one call may take where a plan does not say.
const TIMEOUT: Millis = 5_000;

fn complete(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let timeout = settings
        .entry("timeout")
        .or_insert_with(|| TIMEOUT.into())
        .as_u64();
    let wrong = (timeout == Some(0)).then(|| Wrong {
        key: "timeout",
        message: "no command answers in no time".into(),
        help: "write a time such as `5s`".into(),
    });
    wrong.map(Remark::from).into_iter().collect()
}

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// A program, absolute where it has a slash, and its words.
    pub command: Vec<String>,
    /// How long one call may take.
    pub timeout: Millis,
    /// Where the service is reached.
    pub url: String,
    /// Host names, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// A command as the pointer of one service.
#[derive(Debug)]
pub struct Exec {
    service: ServiceName,
    plan: ExecPlan,
    outside: Outside,
    able: OnceLock<Able>,
}

/// What a call that did not come to its end has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    Perhaps,
}

impl Exec {
    /// A pointer that has not been asked anything yet.
    ///
    /// # Errors
    /// Where the URL is none.
    pub fn new(service: ServiceName, plan: ExecPlan) -> Result<Self, PointerError> {
        let outside = Outside::new(&plan.url, plan.hosts.first().map(String::as_str))?;
        Ok(Self {
            service,
            plan,
            outside,
            able: OnceLock::new(),
        })
    }

    fn lost(&self, why: impl Into<String>) -> PointerError {
        PointerError::Lost {
            pointer: self.describe(),
            why: why.into(),
        }
    }

    fn failed(&self, what: &str, hint: &str) -> PointerError {
        PointerError::Failed {
            what: format!("{} {what}", self.describe()),
            hint: Some(hint.to_owned()),
        }
    }

    /// One call: `op`, with what belongs to it.
    async fn call<T: DeserializeOwned>(
        &self,
        op: &str,
        does: Does,
        with: Value,
        more_ms: Millis,
    ) -> Result<T, PointerError> {
        let mut request = json!({"v": VERSION, "op": op, "service": self.service});
        if let (Value::Object(request), Value::Object(with)) = (&mut request, with) {
            request.extend(with);
        }
        let variables = [("FLIPSIDE_SERVICE", self.service.as_str())];
        let limit = Duration::from_millis(self.plan.timeout.saturating_add(more_ms));
        let answer = call::call(&self.plan.command, &variables, &request, limit).await;
        let answer = answer.and_then(|answer| {
            T::deserialize(Value::Object(answer))
                .map_err(|error| Trouble::Unclear(format!("its answer is not understood: {error}")))
        });
        answer.map_err(|trouble| match trouble {
            Trouble::Unstarted(why) => self.failed(
                &format!("cannot be started: {why}"),
                "see that the program is there and may be run (`chmod +x`), then run this again",
            ),
            Trouble::Failed(why) | Trouble::Unclear(why) if does == Does::Perhaps => {
                self.lost(format!("asked for `{op}`, {why}"))
            }
            Trouble::Failed(why) => PointerError::OutOfReach {
                pointer: self.describe(),
                why: format!("asked for `{op}`, {why}"),
            },
            Trouble::Unclear(why) => self.failed(
                &format!("was asked for `{op}`: {why}"),
                "let it answer with one JSON object: flipside help exec",
            ),
        })
    }

    /// What it says that it can do: asked once.
    async fn able(&self) -> Result<&Able, PointerError> {
        if let Some(able) = self.able.get() {
            return Ok(able);
        }
        let able: Able = self
            .call("capabilities", Does::Nothing, json!({}), 0)
            .await?;
        match able.v {
            VERSION => Ok(self.able.get_or_init(|| able)),
            0 => Err(self.failed(
                "does not say which version of the protocol it speaks",
                "let it answer `capabilities` with `\"v\": 1`: flipside help exec",
            )),
            v => Err(self.failed(
                &format!("speaks version {v} of the protocol, and this flipside version {VERSION}"),
                "use the flipside that it was made for",
            )),
        }
    }

    /// What it says, with what is on record of it.
    async fn look(&self) -> Result<(Said, Option<Routing>), PointerError> {
        let answer: Map<String, Value> = self.call("read", Does::Nothing, json!({}), 0).await?;
        let unclear = |error: serde_json::Error| {
            self.failed(
                &format!("was asked for `read`, and its answer is not understood: {error}"),
                "let it answer with its routes: flipside help exec",
            )
        };
        let said = Said::new(answer).map_err(unclear)?;
        let Some(note) = &said.note else {
            let foreign = said.foreign();
            return Ok((said, foreign));
        };
        let record = Record::read(note).map_err(|error| {
            self.failed(
                &format!("keeps a note that cannot be read: {error}"),
                "use the flipside that wrote it, or a newer one",
            )
        })?;
        let routing = record.judge(|routing| said.is_so(routing), said.routes());
        Ok((said, routing))
    }

    /// Has `desired` made true, with `record` as its note, if what was `said` still is so.
    async fn tell(
        &self,
        said: &Said,
        desired: &Routing,
        record: &Record,
    ) -> Result<(), PointerError> {
        let mut wanted = words::wanted(desired);
        wanted.insert("note".into(), record.line().into());
        let with = json!({"expected": said.whole, "desired": wanted});
        let written: Written = self.call("write", Does::Perhaps, with, 0).await?;
        match (written.ok, written.refused.as_deref()) {
            (true, None) => Ok(()),
            (_, Some("moved")) => Err(PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: self.look().await?.1.map(Box::new),
            }),
            (_, Some(why)) => Err(self.failed(
                &format!("does not move: {why}"),
                "mend that, then run this again",
            )),
            (false, None) => Err(self.lost("it answered neither `ok` nor `refused` to `write`")),
        }
    }

    /// As those ask who want the preview: the command knows how, and says who answers.
    async fn ask_preview(&self, path: &str) -> Result<Answer, PointerError> {
        if self.able().await?.preview.is_none() {
            return Err(PointerError::no_preview(&self.describe()));
        }
        let with = json!({"way": "preview", "path": path});
        let asked: Asked = self.call("ask", Does::Nothing, with, 0).await?;
        Ok(Answer {
            release: self.look().await?.1.and_then(|routing| routing.preview),
            status: asked.status,
        })
    }

    /// Refuses shares where it knows only all and nothing.
    fn may_share(&self, able: &Able, desired: &Routing) -> Result<(), PointerError> {
        let serving = desired.routes.iter().filter(|route| route.weight > 0);
        match able.weighted || serving.count() < 2 {
            true => Ok(()),
            false => Err(self.failed(
                "sends all requests to one release or to the other",
                "switch without shares, or teach it weights: flipside help exec",
            )),
        }
    }
}

#[async_trait]
impl Pointer for Exec {
    fn describe(&self) -> String {
        let program = self.plan.command.first().map_or("", String::as_str);
        format!("exec {program}")
    }

    /// As the command says; the least, while it has not been asked.
    fn capabilities(&self) -> Capabilities {
        let able = self.able.get().cloned().unwrap_or_default();
        Capabilities {
            weighted: able.weighted,
            sticky: false,
            preview: able.preview.is_some(),
            drains: able.drains,
            lingers: false,
            cached: able.cached,
            counts: able.counts,
            atomic: able.atomic,
            marks: false,
            settle_ms: able.settle_ms,
            guard: able.guard(),
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.foresee().await
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.read().await.map(drop)
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        // Whoever looks wants to go on: what cannot say what it can do is found out before anything is
        // touched.
        self.able().await?;
        Ok(self.look().await?.1)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let able = self.able().await?;
        let (said, found) = self.look().await?;
        let generation = match record::due(found.as_ref(), expected, desired)? {
            Due::Nothing(generation) => return Ok(generation),
            Due::Write(generation) => generation,
        };
        self.may_share(able, desired)?;
        if desired.preview.is_some() && able.preview.is_none() {
            return Err(PointerError::no_preview(&self.describe()));
        }
        let desired = Routing {
            generation,
            ..desired.clone()
        };
        let record = match able.atomic {
            true => Record::of(&desired),
            false => Record::of_move(found.as_ref(), &desired),
        };
        self.tell(&said, &desired, &record).await?;
        let (said, _) = self
            .look()
            .await
            .map_err(|error| self.lost(error.to_string()))?;
        if !said.is_so(&desired) {
            return Err(self.lost("it took the new routes, and says that others are used"));
        }
        if said.note.as_ref() != Some(&record.line()) {
            return Err(self.lost("it moved, and did not keep the note that it was given"));
        }
        if !able.atomic {
            let kept = self.tell(&said, &desired, &Record::of(&desired)).await;
            kept.map_err(|error| self.lost(error.to_string()))?;
        }
        Ok(generation)
    }

    async fn settled(
        &self,
        _: Generation,
        limit_ms: Millis,
        _: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        if !self.able().await?.drains {
            return Ok(Drained::default());
        }
        let with = json!({"limit_ms": limit_ms});
        let left: Left = self.call("settled", Does::Perhaps, with, limit_ms).await?;
        Ok(left.into())
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        if way == Way::Preview {
            return self.ask_preview(path).await;
        }
        let status = self.outside.get(path).await;
        let status = status.map_err(|why| PointerError::OutOfReach {
            pointer: self.describe(),
            why,
        })?;
        // Who answered is not told by an answer: the command's word is all that there is.
        let routes = self.look().await?.1.map(|routing| routing.routes);
        let routes = routes.unwrap_or_default();
        let serving = routes.iter().filter(|route| route.weight > 0);
        let serving: BTreeSet<Release> = serving.map(|route| route.release).collect();
        Ok(Answer {
            release: serving.first().copied().filter(|_| serving.len() == 1),
            status: Some(status),
        })
    }

    fn preview(&self) -> Option<String> {
        self.able.get()?.preview.clone()
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(PointerError::no_marks(&self.describe()))
    }

    async fn forget(&self, _: Fence, _: &[Release]) -> Result<(), PointerError> {
        Ok(())
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let _: Map<String, Value> = self.call("remove", Does::Perhaps, json!({}), 0).await?;
        Ok(())
    }
}
