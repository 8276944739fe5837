//! HAProxy as a pointer, by its runtime API.
//!
//! One backend holds the servers of both slots, `blue1`, `blue2`, … and `green1`, `green2`, …, made by
//! lines such as `server-template blue 1-4 unset.invalid:1 init-addr last,127.0.0.1 disabled`. A switch
//! gives the servers of one slot their addresses and makes them ready, then lets those of the other
//! drain; once nothing is in flight to them they go to maintenance, so that no cookie and no stick
//! table leads there.
//!
//! What is set at run time is forgotten by a reload, so it is written to the backend's state file as
//! well, in HAProxy's own form, and with it, in a comment, what a routing says beside addresses and
//! weights. What HAProxy says of its servers is always asked of HAProxy.
//!
//! Guard: `checked`. Between the last look and the write somebody else may write.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::outside::Outside;
use super::preview::{self, Asking};
use super::record::{self, Due, Record};
use super::section::{Key, Reaching, Remark, Section, Takes};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Generation, Millis, Release};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, Guard, Mark, Route, Routing};
use socket::Socket;
use table::{Admin, Counts, Server};

mod slots;
mod socket;
mod table;

/// `pointer: {haproxy: …}`.
pub const SECTION: Section = Section {
    kind: "haproxy",
    means: "HAProxy, by its runtime API.",
    example: "`socket: /run/haproxy/admin.sock` and the like",
    keys: &[
        Key {
            name: "socket",
            also: None,
            takes: Takes::Text("a path or an address such as `/run/haproxy/admin.sock`"),
            missing: Some((
                "HAProxy needs the place of its runtime API",
                "add `socket: /run/haproxy/admin.sock`, that of its line `stats socket … level admin`",
            )),
            means: "Its `stats socket`, at level admin: a path, or an address and port.",
        },
        Key {
            name: "backend",
            also: None,
            takes: Takes::Text("the name of a backend"),
            missing: Some((
                "HAProxy needs the backend that holds the servers of both slots",
                "add `backend: NAME`",
            )),
            means: "The backend with servers blue1, blue2, … and green1, green2, ….",
        },
        Key {
            name: "state",
            also: None,
            takes: Takes::Path,
            missing: Some((
                "HAProxy forgets at a reload what it was told, unless that is in its state file",
                "add `state: PATH`, that of its backend's `server-state-file-name`",
            )),
            means: "The backend's `server-state-file-name`, on this machine: what makes a switch outlive a reload.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `http://127.0.0.1/`"),
            missing: Some((
                "after a switch the service is asked through HAProxy, and nothing says where",
                "add `url: http://127.0.0.1`, where it is reached",
            )),
            means: "Where the service is reached through HAProxy: asked after each switch.",
        },
        Key {
            name: "hosts",
            also: Some("host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names of the service; the first is the Host header of what is asked.",
        },
        preview::HEADER,
        preview::HOSTS,
    ],
    advised: &[],
    reaching: Reaching::ANY,
    complete: |settings| {
        preview::wrong(settings)
            .map(Remark::from)
            .into_iter()
            .collect()
    },
};

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaproxyPlan {
    /// A path, or an address and port.
    pub socket: String,
    /// The backend's name.
    pub backend: String,
    /// The state file, absolute.
    pub state: PathBuf,
    /// Where the service is reached.
    pub url: String,
    /// Host names, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// How those who want it ask for the preview.
    #[serde(flatten)]
    pub preview: Asking,
}

/// How the comment with the record begins in a state file.
const COMMENT: &str = "# flipside ";

/// How often it is asked what is still in flight.
const LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// HAProxy as the pointer of one service.
#[derive(Debug)]
pub struct Haproxy {
    plan: HaproxyPlan,
    socket: Socket,
    outside: Outside,
}

impl Haproxy {
    /// A pointer that has not been asked anything yet.
    ///
    /// # Errors
    /// Where the URL is none.
    pub fn new(plan: HaproxyPlan) -> Result<Self, PointerError> {
        let outside = Outside::new(&plan.url, plan.hosts.first().map(String::as_str))?;
        Ok(Self {
            socket: Socket::new(&plan.socket),
            outside,
            plan,
        })
    }

    fn away(&self, error: &std::io::Error) -> PointerError {
        PointerError::OutOfReach {
            pointer: self.describe(),
            why: match error.kind() {
                std::io::ErrorKind::PermissionDenied => format!(
                    "its socket may not be opened by this user ({error}): be in the group of `stats socket … group`"
                ),
                _ => error.to_string(),
            },
        }
    }

    async fn said(&self, commands: &[String]) -> Result<String, PointerError> {
        let said = self.socket.say(commands).await;
        said.map_err(|error| self.away(&error))
    }

    /// The backend's servers, in the order of their slots and numbers.
    async fn servers(&self) -> Result<Vec<Server>, PointerError> {
        let backend = &self.plan.backend;
        let said = self
            .said(&[format!("show servers state {backend}")])
            .await?;
        let mut servers = table::servers(&said);
        servers.sort_by_key(|server| server.slot().map(|(slot, number)| (slot.as_str(), number)));
        if servers.iter().all(|server| server.slot().is_none()) {
            return Err(self.refused(&said));
        }
        if let Some(fixed) = servers
            .iter()
            .find(|it| it.slot().is_some() && !it.has_name)
        {
            return Err(PointerError::Failed {
                what: format!(
                    "the servers of the backend `{backend}` of {} have no name, as `{}`: a reload \
                     would take their addresses from the configuration, not from the state file",
                    self.describe(),
                    fixed.name
                ),
                hint: Some(format!("give it: {}", slots::lines(4))),
            });
        }
        Ok(servers)
    }

    /// Refuses a socket that takes no orders.
    async fn may_be_changed(&self) -> Result<(), PointerError> {
        let level = self.said(&["show cli level".to_owned()]).await?;
        match level.trim() {
            "admin" => Ok(()),
            level => Err(PointerError::Failed {
                what: format!(
                    "{} does not let this socket change anything: its level is `{}`",
                    self.describe(),
                    level.lines().next().unwrap_or("unknown")
                ),
                hint: Some("give it `level admin` in its line `stats socket`".to_owned()),
            }),
        }
    }

    /// What its answer means where it names no server.
    fn refused(&self, said: &str) -> PointerError {
        let backend = &self.plan.backend;
        let said = said.trim();
        let (what, hint) = if said.contains("Can't find backend") {
            let what = format!("{} has no backend `{backend}`", self.describe());
            (
                what,
                "name one that it has: `echo 'show backend' | socat … -`".to_owned(),
            )
        } else {
            let what = format!(
                "the backend `{backend}` of {} has no servers for the two slots",
                self.describe()
            );
            (what, format!("give it: {}", slots::lines(4)))
        };
        PointerError::Failed {
            what,
            hint: Some(hint),
        }
    }

    /// The record in the state file; none where there is none yet.
    async fn record(&self) -> Result<Option<Record>, PointerError> {
        let path = &self.plan.state;
        let text = match tokio::fs::read_to_string(path).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.file("read", &error)),
        };
        let line = text.lines().find_map(|line| line.strip_prefix(COMMENT));
        let Some(line) = line else { return Ok(None) };
        let record = Record::read(line).map_err(|error| PointerError::Failed {
            what: format!("the record in `{}` cannot be read: {error}", path.display()),
            hint: Some("use the flipside that wrote it, or a newer one".into()),
        })?;
        Ok(Some(record))
    }

    fn file(&self, verb: &str, error: &std::io::Error) -> PointerError {
        PointerError::Failed {
            what: format!(
                "the state file `{}` of {} could not be {verb}: {error}",
                self.plan.state.display(),
                self.describe()
            ),
            hint: Some("see to its directory and its disk, then run this again".into()),
        }
    }

    /// Writes the state file: the servers as they are now, and the record.
    async fn remember(&self, record: &Record) -> Result<(), PointerError> {
        let backend = &self.plan.backend;
        let state = self
            .said(&[format!("show servers state {backend}")])
            .await?;
        let text = format!("{}\n{COMMENT}{}\n", state.trim_end(), record.line());
        let written = record::replace(&self.plan.state, &text).await;
        written.map_err(|error| self.file("written", &error))
    }

    /// What HAProxy says, with what is on record of it.
    async fn look(&self) -> Result<(Vec<Server>, Option<Routing>), PointerError> {
        let servers = self.servers().await?;
        let found = slots::routes(&servers);
        let routing = match self.record().await? {
            Some(record) => record.judge(|routing| slots::is_so(&servers, routing), found),
            None => slots::foreign(&servers),
        };
        Ok((servers, routing))
    }

    /// It was told, and does not do it.
    fn unmoved(&self, said: &str) -> PointerError {
        let said: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        PointerError::Lost {
            pointer: self.describe(),
            why: match said.is_empty() {
                true => "it took the new addresses and weights and does not use them".to_owned(),
                false => format!("it says: {}", said.join("; ")),
            },
        }
    }

    /// Somebody else has written since this write's look: what is on record is theirs, and is made true
    /// again.
    async fn too_late(&self, theirs: Record) -> PointerError {
        let put_right = async {
            let Some(routing) = theirs.into_routing() else {
                return Ok(None);
            };
            let commands = slots::commands(&self.plan.backend, &self.servers().await?, &routing)?;
            self.said(&commands).await?;
            Ok(Some(routing))
        };
        match put_right.await {
            Ok(found) => PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: found.map(Box::new),
            },
            Err(error) => error,
        }
    }

    /// What is counted of the servers, by their names.
    async fn counts(&self) -> Result<std::collections::BTreeMap<String, Counts>, PointerError> {
        let backend = &self.plan.backend;
        let said = self.said(&[format!("show stat {backend} 4 -1")]).await?;
        Ok(table::counts(&said))
    }
}

#[async_trait]
impl Pointer for Haproxy {
    fn describe(&self) -> String {
        format!("haproxy {}", self.socket.place())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            weighted: true,
            sticky: false,
            preview: self.plan.preview.is_possible(),
            drains: true,
            lingers: false,
            cached: false,
            counts: true,
            atomic: false,
            marks: false,
            settle_ms: 0,
            guard: Guard::Checked,
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.may_be_changed().await?;
        self.servers().await.map(drop)
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.may_be_changed().await?;
        self.look().await.map(drop)
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        Ok(self.look().await?.1)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        self.may_be_changed().await?;
        let (servers, found) = self.look().await?;
        let generation = match record::due(found.as_ref(), expected, desired)? {
            Due::Nothing(generation) => return Ok(generation),
            Due::Write(generation) => generation,
        };
        let desired = Routing {
            generation,
            ..desired.clone()
        };
        let commands = slots::commands(&self.plan.backend, &servers, &desired)?;
        let meant = Record::of_move(found.as_ref(), &desired);
        self.remember(&meant).await?;
        let lost = |why: String| PointerError::Lost {
            pointer: self.describe(),
            why,
        };
        // Whatever became of the answer, what it has done is seen by looking.
        let said = self.socket.say(&commands).await;
        let servers = self
            .servers()
            .await
            .map_err(|error| lost(error.to_string()))?;
        if !slots::is_so(&servers, &desired) {
            return Err(match said {
                Ok(said) => self.unmoved(&said),
                Err(error) => lost(error.to_string()),
            });
        }
        if let Some(theirs) = self.record().await?.filter(|record| *record != meant) {
            return Err(self.too_late(theirs).await);
        }
        let remembered = self.remember(&Record::of(&desired)).await;
        remembered.map_err(|error| lost(error.to_string()))?;
        Ok(generation)
    }

    async fn settled(
        &self,
        _: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let leaving: Vec<Server> = self.servers().await?;
        let leaving: Vec<_> = leaving
            .into_iter()
            .filter(|server| server.admin == Admin::Drain)
            .collect();
        let in_flight = async || {
            let counts = self.counts().await?;
            let now = leaving.iter().filter_map(|server| counts.get(&server.name));
            Ok::<u64, PointerError>(now.map(|counts| counts.now).sum())
        };
        let began = in_flight().await?;
        let mut left = began;
        let drained = async {
            while left > 0 {
                sink.progress(Progress::Drain { left, limit_ms });
                // HAProxy tells nobody: it is asked.
                tokio::time::sleep(LOOK).await;
                left = in_flight().await?;
            }
            Ok(())
        };
        match tokio::time::timeout(std::time::Duration::from_millis(limit_ms), drained).await {
            Ok(done) => done?,
            Err(_) => left = in_flight().await?,
        }
        let backend = &self.plan.backend;
        let mut commands = Vec::new();
        for server in &leaving {
            commands.push(format!("set server {backend}/{} state maint", server.name));
            if left > 0 {
                commands.push(format!(
                    "shutdown sessions server {backend}/{}",
                    server.name
                ));
            }
        }
        if !commands.is_empty() {
            self.said(&commands).await?;
            if let Some(record) = self.record().await? {
                self.remember(&record).await?;
            }
        }
        Ok(Drained {
            in_flight: Some(began),
            finished: Some(began.saturating_sub(left)),
            cut: Some(left),
        })
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        let asked = match way {
            Way::Service => Vec::new(),
            Way::Preview if self.plan.preview.is_possible() => self.plan.preview.headers(),
            Way::Preview => return Err(PointerError::no_preview(&self.describe())),
        };
        let (servers, routing) = self.look().await?;
        let before = self.counts().await?;
        let answer = self.outside.text(path, &asked).await;
        let (status, _) = answer.map_err(|why| PointerError::OutOfReach {
            pointer: self.describe(),
            why,
        })?;
        let after = self.counts().await?;
        let grew = servers.iter().filter(|server| {
            let all = |counts: &std::collections::BTreeMap<String, Counts>| {
                counts.get(&server.name).map_or(0, |counts| counts.all)
            };
            all(&after) > all(&before)
        });
        let routes = routing.map(|routing| routing.routes).unwrap_or_default();
        let of = |server: &Server| {
            let leads = |route: &&Route| {
                server
                    .address
                    .is_some_and(|at| route.endpoints.contains(&at))
            };
            routes.iter().find(leads).map(|route| route.release)
        };
        // Who answered is known where the servers of one release alone have got anything meanwhile.
        let answered: std::collections::BTreeSet<_> = grew.map(of).collect();
        let mut answered = answered.into_iter();
        Ok(Answer {
            release: answered
                .next()
                .flatten()
                .filter(|_| answered.next().is_none()),
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

    async fn forget(&self, _: Fence, _: &[Release]) -> Result<(), PointerError> {
        Ok(())
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let backend = &self.plan.backend;
        let servers = self.servers().await?;
        // What stood there before flipside came is not flipside's to close.
        let open = servers
            .iter()
            .filter(|server| server.slot().is_some() && server.admin != Admin::Maint);
        let commands: Vec<_> = open
            .map(|server| format!("set server {backend}/{} state maint", server.name))
            .collect();
        if !commands.is_empty() {
            self.said(&commands).await?;
        }
        match tokio::fs::remove_file(&self.plan.state).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.file("removed", &error))
            }
            _ => Ok(()),
        }
    }
}
