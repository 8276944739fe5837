//! The kernel as a pointer: connections to the service's addresses are led to the containers' own
//! ones by a table of flipside's, `table inet flipside_SERVICE`.
//!
//! New connections draw one of 10 000 numbers; a map leads each number to an endpoint. What is open
//! stays where it is until it ends, or until the drain's limit, when its packets are answered with a
//! reset. Every write is one transaction: all of it becomes true at once, or none.
//!
//! The table is its own record: who wrote it, when and why stands in it, in comments, so nothing can
//! come between the two. A copy is kept in a file, from which the kernel is told again after a start
//! of the machine.
//!
//! Guard: `compare-and-set`. A transaction names each rule that was read by its handle, which no
//! other rule and no later version of it has; where one has gone the kernel refuses all of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::outside::Outside;
use super::record::{self, Due};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Generation, Millis, Release};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, FOREIGN, Guard, Mark, Routing};
use copy::Copy;
use flows::Flow;
use listing::Table;
use program::Ran;
use rules::{Listener, Record, Ways};
use shown::Preview;

mod copy;
mod flows;
mod forward;
mod listing;
mod needs;
mod netlink;
mod program;
mod rules;
mod ruleset;
mod said;
mod shown;
mod unit;

pub use said::SECTION;

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NftablesPlan {
    /// The table, of flipside's own.
    pub table: String,
    /// The service's addresses and ports.
    pub listen: Vec<String>,
    /// Where the service is reached.
    pub url: String,
    /// Host names, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Addresses and ports that lead to the candidate while one is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview: Vec<String>,
    /// The copy of the table, absolute.
    pub state: PathBuf,
    /// The program.
    #[serde(default = "nft")]
    pub nft: String,
    /// Whether a drain without any time resets nothing.
    #[serde(default)]
    pub keep_flows: bool,
}

fn nft() -> String {
    "nft".to_owned()
}

/// How often it is asked what is still in flight.
const LOOK: Duration = Duration::from_millis(50);

/// How long what stood there before may take to answer a greeting.
const GREETING: Duration = Duration::from_secs(1);

/// The kernel as the pointer of one service.
#[derive(Debug)]
pub struct Nftables {
    plan: NftablesPlan,
    ways: Ways,
    outside: Outside,
    preview: Option<Preview>,
    /// The table as it was read last, and the number of the kernel's rules then.
    known: Mutex<Option<(u32, Option<Table>)>>,
    /// What became of what was open at the last move that was drained.
    told: Mutex<Option<(Generation, Drained)>>,
}

/// What is there.
struct Seen {
    table: Option<Table>,
    record: Option<Record>,
    routing: Option<Routing>,
}

impl Nftables {
    /// A pointer that has not been asked anything yet.
    ///
    /// # Errors
    /// Where the URL or an address is none.
    pub fn new(plan: NftablesPlan) -> Result<Self, PointerError> {
        let read = |all: &[String]| {
            let read = |text: &String| {
                Listener::try_from(text.clone())
                    .map_err(|what| PointerError::Failed { what, hint: None })
            };
            all.iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let ways = Ways {
            service: read(&plan.listen)?,
            preview: read(&plan.preview)?,
        };
        let host = plan.hosts.first().map(String::as_str);
        let preview = ways.preview.first();
        let preview = preview.map(|listener| Preview::new(&plan.url, listener, host));
        Ok(Self {
            preview: preview.transpose()?,
            outside: Outside::new(&plan.url, host)?,
            known: Mutex::default(),
            told: Mutex::default(),
            ways,
            plan,
        })
    }

    /// A systemd unit that tells the kernel again after a start of the machine.
    #[must_use]
    pub fn unit(&self) -> String {
        unit::text(&self.plan, &self.ways)
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

    async fn nft(&self, words: &[&str], input: Option<&str>) -> Result<Ran, PointerError> {
        let program = &self.plan.nft;
        let ran = program::run(program, words, input).await;
        ran.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.failed(
                format!("the program `{program}` is not there"),
                "install the package `nftables`",
            ),
            _ => self.away(format!("`{program}`: {error}")),
        })
    }

    /// The table as the kernel has it. It is listed only where any rule has changed since the last
    /// time.
    async fn table(&self) -> Result<Option<Table>, PointerError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let number = ruleset::number();
        if let (Some(now), Some((then, table))) = (number, known().as_ref())
            && now == *then
        {
            return Ok(table.clone());
        }
        let table = self.list().await?;
        // What has changed meanwhile may be in it or not.
        let number = number.filter(|number| ruleset::number() == Some(*number));
        *known() = number.map(|number| (number, table.clone()));
        Ok(table)
    }

    async fn list(&self) -> Result<Option<Table>, PointerError> {
        let words = ["-j", "list", "table", "inet", &self.plan.table];
        let ran = self.nft(&words, None).await?;
        if ran.status.success() {
            let table = Table::read(&ran.out);
            let table = table.map_err(|why| self.away(format!("what it says is no table: {why}")));
            return table.map(Some);
        }
        match ran.err.contains("No such file or directory") {
            true => Ok(None),
            false => Err(self.away(needs::words(&ran))),
        }
    }

    /// What the kernel says, with what is on record of it.
    async fn look(&self) -> Result<Seen, PointerError> {
        let Some(table) = self.table().await? else {
            let record = self.copy().await?;
            let routing = match &record {
                Some(record) => Some(Routing {
                    routes: Vec::new(),
                    ..record.routing.clone()
                }),
                None => self.foreign().await,
            };
            return Ok(Seen {
                table: None,
                record,
                routing,
            });
        };
        if table.pieces.is_empty() {
            let routes = rules::routes(&table.shares);
            let shares = serde_json::to_value(&table.shares).unwrap_or_default();
            return Ok(Seen {
                routing: (!routes.is_empty()).then(|| Routing::foreign(routes, shares)),
                table: Some(table),
                record: None,
            });
        }
        let record = Record::of_pieces(&table.pieces).map_err(|why| self.unreadable(&why))?;
        let ways = record.ways.as_ref().unwrap_or(&self.ways);
        let routing = match rules::is_so(&table, ways, &record.routing) {
            true => record.routing.clone(),
            // What a hand has moved is not flipside's to take away.
            false => Routing {
                routes: rules::routes(&table.shares),
                preview: None,
                ..record.routing.clone()
            },
        };
        Ok(Seen {
            table: Some(table),
            record: Some(record),
            routing: Some(routing),
        })
    }

    /// What answers at the service's addresses although nothing of flipside's is there.
    async fn foreign(&self) -> Option<Routing> {
        let mut serving = Vec::new();
        for listener in &self.ways.service {
            let ip = listener.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
            let at = SocketAddr::new(ip, listener.port);
            let greeting = tokio::time::timeout(GREETING, tokio::net::TcpStream::connect(at));
            if matches!(greeting.await, Ok(Ok(_))) {
                serving.push(at);
            }
        }
        let routes = rules::routes_to(serving);
        (!routes.is_empty()).then(|| Routing::foreign(routes, serde_json::json!([])))
    }

    fn unreadable(&self, why: &str) -> PointerError {
        self.failed(
            format!("the record in {} cannot be read: {why}", self.describe()),
            "use the flipside that wrote it, or a newer one",
        )
    }

    /// The record in the copy; none where there is none.
    async fn copy(&self) -> Result<Option<Record>, PointerError> {
        let line = copy::line(&self.plan.state).await;
        let Some(line) = line.map_err(|error| self.file("read", &error))? else {
            return Ok(None);
        };
        let record = serde_json::from_str(&line);
        record.map_err(|error| self.unreadable(&error.to_string()))
    }

    fn file(&self, verb: &str, error: &std::io::Error) -> PointerError {
        self.failed(
            format!(
                "the copy `{}` of {} could not be {verb}: {error}",
                self.plan.state.display(),
                self.describe()
            ),
            "see to its directory and its disk, then run this again",
        )
    }

    /// Refuses what this table cannot do.
    fn may_be(&self, desired: &Routing) -> Result<(), PointerError> {
        if desired.preview.is_some() && self.preview.is_none() {
            return Err(PointerError::no_preview(&self.describe()));
        }
        let routes = desired.routes.iter();
        for route in routes.filter(|route| route.release != FOREIGN) {
            let is_shown = desired.preview == Some(route.release);
            let service = (route.weight > 0).then_some(&self.ways.service);
            let preview = is_shown.then_some(&self.ways.preview);
            for listener in service.into_iter().chain(preview).flatten() {
                let Some(ip) = listener.address else { continue };
                let mut endpoints = route.endpoints.iter();
                if !endpoints.any(|at| at.is_ipv4() == ip.is_ipv4()) {
                    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                    return Err(self.failed(
                        format!(
                            "release {} has no {family} address, and is to be reached at {listener}",
                            route.release
                        ),
                        "give its networks addresses of that family, or take that address out of \
                         `listen` and `preview`",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Connections that are open to `endpoints`, through this pointer.
    async fn open_to(&self, endpoints: &BTreeSet<SocketAddr>) -> Result<Vec<Flow>, PointerError> {
        let mut flows = self.flows(self.ways.all()).await?;
        flows.retain(|flow| flow.open && endpoints.contains(&flow.by));
        Ok(flows.into_iter().collect())
    }

    async fn count_open_to(&self, endpoints: &BTreeSet<SocketAddr>) -> Result<u64, PointerError> {
        Ok(self.open_to(endpoints).await?.len() as u64)
    }

    /// Connections to these addresses.
    async fn flows(
        &self,
        to: impl Iterator<Item = &Listener> + Clone + Send,
    ) -> Result<BTreeSet<Flow>, PointerError> {
        let all = flows::all().await.map_err(|why| self.away(why))?;
        let is_ours = |flow: &Flow| to.clone().any(|listener| listener.takes(flow.to));
        Ok(all.into_iter().filter(is_ours).collect())
    }

    /// Resets what is open to `endpoints`; false where somebody else has moved the pointer.
    async fn cut(
        &self,
        generation: Generation,
        endpoints: &BTreeSet<SocketAddr>,
    ) -> Result<bool, PointerError> {
        let text = rules::cut(&self.plan.table, generation, endpoints);
        let ran = self.nft(&["-f", "-"], Some(&text)).await?;
        let seen = self.look().await?;
        let is_cut = |table: &Table| endpoints.is_subset(&table.cut);
        if seen.routing.is_none_or(|it| it.generation != generation) {
            return Ok(false);
        }
        if !seen.table.as_ref().is_some_and(is_cut) {
            return Err(self.lost(needs::words(&ran)));
        }
        self.end(endpoints).await?;
        Ok(true)
    }

    /// Tells the kernel that what was open to `endpoints` is at its end: it does not see the resets that
    /// it sends, and would lead whoever comes from the same port again to what was left, for days.
    async fn end(&self, endpoints: &BTreeSet<SocketAddr>) -> Result<(), PointerError> {
        for flow in self.open_to(endpoints).await? {
            if let Err(error) = flows::end(&flow) {
                tracing::warn!(%error, ?flow, "a connection that is reset stays tracked as open");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Pointer for Nftables {
    fn describe(&self) -> String {
        format!("nftables {}", self.plan.table)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            weighted: true,
            sticky: false,
            preview: self.preview.is_some(),
            drains: true,
            lingers: true,
            cached: false,
            counts: true,
            atomic: true,
            marks: false,
            settle_ms: 0,
            guard: Guard::CompareAndSet,
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.table().await?;
        self.flows(self.ways.all()).await?;
        needs::forwarding(&self.ways).await?;
        let opened = forward::open(&self.plan.table, &self.ways).await;
        opened.map_err(|why| self.away(why))
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        needs::forwarding(&self.ways).await?;
        self.look().await.map(drop)
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        Ok(self.look().await?.routing)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let before = self.look().await?;
        let generation = match record::due(before.routing.as_ref(), expected, desired)? {
            Due::Nothing(generation) => return Ok(generation),
            Due::Write(generation) => generation,
        };
        let desired = Routing {
            generation,
            ..desired.clone()
        };
        self.may_be(&desired)?;
        let record = Record::of_move(before.record.as_ref(), &desired, &self.ways);
        let whole = rules::whole(&self.plan.table, &self.ways, &record);
        // The disk and a program that know nothing of each other: what waits for both is the move.
        let line = record.line();
        let (copy, opened) = tokio::join!(
            Copy::stage(&self.plan.state, &line, &whole),
            forward::open(&self.plan.table, &self.ways)
        );
        opened.map_err(|why| self.away(why))?;
        let copy = copy.map_err(|error| self.file("written", &error))?;
        let (name, found) = (&self.plan.table, before.table.as_ref());
        let text = rules::transaction(name, found, &self.ways, &record);
        let ran = self.nft(&["-f", "-"], Some(&text)).await?;
        let after = self.look().await;
        let after = after.map_err(|error| self.lost(error.to_string()))?;
        if after.routing.as_ref() == Some(&desired) {
            let kept = copy.keep().await;
            kept.map_err(|error| self.lost(self.file("put in place", &error).to_string()))?;
            return Ok(generation);
        }
        if ran.status.success() {
            return Err(self.lost("it took the new rules and does not use them"));
        }
        if ran.status.signal().is_some() {
            return Err(self.lost(needs::words(&ran)));
        }
        match after.table == before.table {
            true => Err(self.failed(
                format!("{} was not moved: {}", self.describe(), needs::words(&ran)),
                "see what it says, and run this again",
            )),
            false => Err(PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: after.routing.map(Box::new),
            }),
        }
    }

    /// At `limit_ms` what is still open is reset: its next packet is answered with a reset. With no
    /// time at all, as for a rollback, that is at once, unless the plan says `keep_flows`.
    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let seen = self.look().await?;
        let leaving = seen.record.map(|record| record.left).unwrap_or_default();
        let is_cut = |table: Table| !leaving.is_empty() && leaving.is_subset(&table.cut);
        if seen.table.is_some_and(is_cut) {
            // Who has cut it may have been killed then; how much that was, nobody else knows.
            self.end(&leaving).await?;
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let known = told.filter(|(then, _)| *then == generation);
            return Ok(known.map(|(_, drained)| drained).unwrap_or_default());
        }
        let began = self.count_open_to(&leaving).await?;
        let mut left = began;
        let drained = async {
            while left > 0 {
                sink.progress(Progress::Drain { left, limit_ms });
                // The kernel tells nobody: it is asked.
                tokio::time::sleep(LOOK).await;
                left = self.count_open_to(&leaving).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(Duration::from_millis(limit_ms), drained).await {
            Ok(done) => done?,
            Err(_) => left = self.count_open_to(&leaving).await?,
        }
        let is_kept = limit_ms == 0 && self.plan.keep_flows;
        let cut = match left == 0 || is_kept {
            true => Some(0),
            false => self.cut(generation, &leaving).await?.then_some(left),
        };
        let drained = Drained {
            in_flight: Some(began),
            finished: Some(began.saturating_sub(left)),
            cut,
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Some((generation, drained));
        Ok(drained)
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        let (outside, listeners) = match (way, &self.preview) {
            (Way::Service, _) => (&self.outside, &self.ways.service),
            (Way::Preview, Some(preview)) => (preview.outside(), &self.ways.preview),
            (Way::Preview, None) => return Err(PointerError::no_preview(&self.describe())),
        };
        let routing = self.look().await?.routing;
        let before = self.flows(listeners.iter()).await?;
        let status = outside.get(path).await.map_err(|why| self.away(why))?;
        let after = self.flows(listeners.iter()).await?;
        let routes = routing.map(|routing| routing.routes).unwrap_or_default();
        Ok(Answer {
            release: flows::answered(&before, &after, &routes),
            status: Some(status),
        })
    }

    fn preview(&self) -> Option<String> {
        self.preview.as_ref().map(Preview::command)
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(PointerError::no_marks(&self.describe()))
    }

    async fn forget(&self, _: Fence, _: &[Release]) -> Result<(), PointerError> {
        Ok(())
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let removed = copy::remove(&self.plan.state).await;
        removed.map_err(|error| self.file("removed", &error))?;
        if self.table().await?.is_some() {
            let words = ["delete", "table", "inet", &self.plan.table];
            let ran = self.nft(&words, None).await?;
            if self.table().await?.is_some() {
                return Err(self.away(needs::words(&ran)));
            }
        }
        let closed = forward::close(&self.plan.table).await;
        closed.map_err(|why| self.away(why))
    }
}
