//! A name in a DNS zone as a pointer, by dynamic updates (RFC 2136) signed with a key (RFC 8945).
//!
//! A switch is one update message: it gives the name its addresses (or with CNAME the name of a
//! slot), and `_flipside.NAME` the record of who wrote them, in a TXT record; all of it or nothing.
//! Its prerequisites are what was read: the primary refuses it where something else stands there.
//!
//! Where a plan has a second name for it, a release is shown for preview there: its addresses come and
//! go by the same updates. Whatever else stands at that name is somebody else's, and left alone.
//!
//! What a resolver has learned it keeps for the TTL. So a move has settled when every authoritative
//! server says the same as the primary, and after that the larger of the old and the new TTL has
//! passed. What keeps an address longer than it may is seen by nobody here: it finds the old
//! environment for as long as that stands by.
//!
//! Guard: `compare-and-set`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{Name, RecordType, TSigner};
use reqwest::Url;
use tokio::time::Instant;

use super::authority::question::{Unanswered, question};
use super::authority::servers::{self, Place, plain};
use super::authority::sets::RrSet;
use super::authority::shown::{self as second, At};
use super::outside::Outside;
use super::record::{self, Due};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::names::{Fence, Generation, Millis, Release};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, Guard, Mark, Routing};
use zone::{Names, Seen};

mod agree;
mod change;
mod key;
mod plan;
mod shown;
mod zone;

pub use super::authority::sets::Kind;
pub use plan::{DnsPlan, SECTION};

/// How often it is read again where record and addresses do not fit: they are read one after the
/// other, and a write may come between.
const READS: usize = 3;

/// A name in DNS as the pointer of one service.
#[derive(Debug)]
pub struct Dns {
    plan: DnsPlan,
    names: Names,
    primary: Place,
    servers: Vec<Place>,
    key: key::Place,
    /// Where those ask who want the preview.
    preview: Option<Url>,
    /// The longest TTL, in milliseconds, that was seen or is planned.
    longest: AtomicU64,
    /// The last move that all servers have heard of, and when the last memory of another ends.
    agreed: Mutex<Option<(Generation, Instant)>>,
}

impl Dns {
    /// A pointer that has not asked anybody yet.
    ///
    /// # Errors
    /// Where a name, a server or the URL is none, or nothing says where the key is.
    pub fn new(plan: DnsPlan) -> Result<Self, PointerError> {
        let wrong = |what: &str| PointerError::Failed {
            what: format!("the settings of the pointer `dns` are not understood: {what}"),
            hint: None,
        };
        let key = match (&plan.key_file, &plan.key_variable) {
            (Some(path), _) => key::Place::File(path.clone()),
            (None, Some(name)) => key::Place::Variable(name.clone()),
            (None, None) => return Err(wrong("they name no key")),
        };
        let url = Url::parse(&plan.url).map_err(|error| wrong(&error.to_string()))?;
        let port = url.port_or_known_default();
        let port = port.ok_or_else(|| wrong("their URL has no port"))?;
        let place = |text: &String| {
            Place::read(text).ok_or_else(|| wrong(&format!("`{text}` is not a server")))
        };
        let names = Names::new(&plan, port).ok_or_else(|| wrong("a name is none"))?;
        let preview = names.preview.as_ref();
        let preview = preview.map(|name| {
            second::url(&url, name).ok_or_else(|| wrong("their URL takes no other name"))
        });
        Ok(Self {
            preview: preview.transpose()?,
            names,
            primary: place(&plan.server)?,
            servers: plan.servers.iter().map(place).collect::<Result<_, _>>()?,
            key,
            longest: AtomicU64::new(plan.ttl),
            agreed: Mutex::new(None),
            plan,
        })
    }

    fn failed(&self, what: String, hint: impl Into<Option<String>>) -> PointerError {
        PointerError::Failed {
            what: format!("{}: {what}", self.describe()),
            hint: hint.into(),
        }
    }

    fn away(&self, why: String) -> PointerError {
        PointerError::OutOfReach {
            pointer: self.describe(),
            why,
        }
    }

    fn lost(&self, why: String) -> PointerError {
        PointerError::Lost {
            pointer: self.describe(),
            why,
        }
    }

    /// Why the primary does not take the signature, and what mends that.
    async fn unsigned(&self, error: TsigError) -> PointerError {
        let key = self.key.name().await;
        let (what, hint) = match error {
            TsigError::BadKey => (
                format!("the server does not know the key {key} (NOTAUTH, BADKEY)"),
                "give both the same key, with the same name and algorithm",
            ),
            TsigError::BadSig => (
                format!("the server has another secret for the key {key} (NOTAUTH, BADSIG)"),
                "give both the same secret",
            ),
            TsigError::BadTime => (
                format!(
                    "the server's clock and this one are too far apart for the key {key} (NOTAUTH, BADTIME)"
                ),
                "set both clocks, by NTP",
            ),
            other => (
                format!("the server does not take the key {key} (NOTAUTH, {other:?})"),
                "see the server's log",
            ),
        };
        self.failed(what, hint.to_owned())
    }

    /// Where the primary is, and the key it knows.
    async fn primary(&self) -> Result<(SocketAddr, TSigner), PointerError> {
        let addresses = match self.primary.name() {
            Some(name) => servers::of_the_world(name).await,
            None => Ok(Vec::new()),
        };
        let found = self.primary.at(addresses.map_err(|why| self.away(why))?);
        let first = found.first().map(|server| server.at);
        let at = first.ok_or_else(|| self.away("its name has no address".into()))?;
        Ok((at, self.key.signer().await?))
    }

    /// The primary's answer to a question.
    async fn asked(&self, name: &Name, kind: RecordType) -> Result<Message, PointerError> {
        let (at, signer) = self.primary().await?;
        match question(at, name, kind, Some(&signer)).await {
            Ok(answer) => Ok(answer),
            Err(Unanswered::Key(error)) => Err(self.unsigned(error).await),
            Err(Unanswered::Silent(why)) => Err(self.away(why)),
            Err(Unanswered::Said(what)) => Err(self.failed(
                format!("{what} to `{}`", plain(name)),
                format!(
                    "`server` is the primary of the zone `{}`: see its log and its configuration",
                    self.plan.zone
                ),
            )),
        }
    }

    /// What stands in the zone by the primary.
    async fn seen(&self) -> Result<Seen, PointerError> {
        let Names {
            service, record, ..
        } = &self.names;
        let kind = self.names.kind();
        let (service, record) = tokio::try_join!(
            self.asked(service, kind),
            self.asked(record, RecordType::TXT)
        )?;
        let mut seen = in_answers(&self.names, &service, &record);
        for at in self.names.places(&seen) {
            let answer = self.asked(&at.name, at.kind.record_type()).await?;
            let set = second_in_answer(&answer, &at);
            seen.previews.insert(at, set);
        }
        let alias = RrSet::in_answer(&service, &self.names.service, RecordType::CNAME);
        match alias {
            Some(_) if kind != RecordType::CNAME => Err(self.failed(
                "it is a CNAME, beside which no address can stand".into(),
                "write `type: CNAME` with `blue` and `green`, or remove the CNAME".to_owned(),
            )),
            _ => Ok(seen),
        }
    }

    /// What stands in the zone, with what is on record of it.
    async fn look(&self) -> Result<Looked, PointerError> {
        let mut reads = 0;
        loop {
            let seen = self.seen().await?;
            let (routing, late) = self.names.routing(&seen).map_err(|why| {
                self.failed(
                    format!(
                        "the record in `{}` cannot be read: {why}",
                        plain(&self.names.record)
                    ),
                    "use the flipside that wrote it, or a newer one".to_owned(),
                )
            })?;
            let late = Duration::from_secs(late.into());
            let longest = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            self.longest.fetch_max(longest, Ordering::Relaxed);
            let fits = match &routing {
                Some(routing) if seen.record.is_some() => self.names.fits(&seen, routing),
                _ => true,
            };
            reads += 1;
            if fits || reads == READS {
                return Ok(Looked {
                    seen,
                    routing,
                    late,
                });
            }
        }
    }

    fn agreed(&self) -> std::sync::MutexGuard<'_, Option<(Generation, Instant)>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at the primary has shown.
#[derive(Debug)]
struct Looked {
    seen: Seen,
    /// By the record, where what is seen is what it says.
    routing: Option<Routing>,
    /// For how long what stood there before may be remembered.
    late: Duration,
}

fn in_answers(names: &Names, service: &Message, record: &Message) -> Seen {
    Seen {
        service: RrSet::in_answer(service, &names.service, names.kind()),
        record: RrSet::in_answer(record, &names.record, RecordType::TXT),
        previews: Default::default(),
    }
}

/// What stands at a second name, also where that is an alias of somebody's.
fn second_in_answer(answer: &Message, at: &At) -> Option<RrSet> {
    let of = |kind| RrSet::in_answer(answer, &at.name, kind);
    of(at.kind.record_type()).or_else(|| of(RecordType::CNAME))
}

#[async_trait]
impl Pointer for Dns {
    fn describe(&self) -> String {
        format!("dns {} at {}", self.plan.name, self.plan.server)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            weighted: false,
            sticky: false,
            preview: self.preview.is_some(),
            drains: true,
            lingers: false,
            cached: true,
            counts: false,
            atomic: true,
            marks: false,
            settle_ms: self.longest.load(Ordering::Relaxed),
            guard: Guard::CompareAndSet,
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.look().await.map(drop)
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        let seen = self.look().await?.seen.without_previews();
        // What already is as it shall be: nothing is changed, and what is not allowed is refused.
        self.change(&seen, &seen).await
    }

    async fn foresee_preview(&self) -> Result<(), PointerError> {
        let seen = self.look().await?.seen;
        self.may_show(&seen, None)?;
        self.change(&seen, &seen).await
    }

    async fn read(&self) -> Result<Option<Routing>, PointerError> {
        Ok(self.look().await?.routing)
    }

    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError> {
        let Looked { seen, routing, .. } = self.look().await?;
        let generation = match record::due(routing.as_ref(), expected, desired)? {
            Due::Nothing(generation) => return Ok(generation),
            Due::Write(generation) => generation,
        };
        let desired = Routing {
            generation,
            ..desired.clone()
        };
        if desired.preview.is_some() {
            self.may_show(&seen, Some(&desired))?;
        }
        let after = self.names.after(&seen, &desired);
        let after = after.map_err(|why| self.failed(why, None))?;
        let lost = match self.change(&seen, &after).await {
            Ok(()) => None,
            Err(error @ PointerError::Lost { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        // Where the answer was lost, this look is the answer.
        let looked = self.look().await;
        let now = looked.map_err(|error| self.lost(error.to_string()))?.seen;
        match (now.says(&after), lost) {
            (true, _) => Ok(generation),
            (false, Some(lost)) => Err(lost),
            (false, None) => Err(self.lost(format!("it took the update and says {}", now.words()))),
        }
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let known = self.agreed().filter(|(of, _)| *of == generation);
        let until = match known {
            Some((_, until)) => until,
            None => {
                let limit = Duration::from_millis(limit_ms.saturating_add(self.plan.ttl));
                let late = self.agree(limit, sink).await?;
                sink.progress(Progress::Wait {
                    what: format!("the TTL of {} s to pass", late.as_secs()),
                });
                let until = Instant::now() + late;
                *self.agreed() = Some((generation, until));
                until
            }
        };
        tokio::time::sleep_until(until).await;
        Ok(Drained::default())
    }

    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError> {
        let url = match (way, &self.preview) {
            (Way::Service, _) => self.plan.url.as_str(),
            (Way::Preview, Some(url)) => url.as_str(),
            (Way::Preview, None) => return Err(PointerError::no_preview(&self.describe())),
        };
        let Looked { seen, routing, .. } = self.look().await?;
        let set = match way {
            Way::Service => seen.service.as_ref(),
            Way::Preview => self.names.shown(&seen),
        };
        let set = set.ok_or_else(|| self.away("the name is given nothing".into()))?;
        let addresses = match set.target() {
            Some(target) => self.addresses(target).await?,
            None => set.addresses(),
        };
        let port = self.names.port;
        let to: Vec<SocketAddr> = addresses.into_iter().map(|ip| (ip, port).into()).collect();
        let outside = Outside::at(url, &to)?;
        let status = outside.get(path).await.map_err(|why| self.away(why))?;
        let release = routing.and_then(|routing| self.names.release(way, set, &routing));
        Ok(Answer {
            release,
            status: Some(status),
        })
    }

    fn preview(&self) -> Option<String> {
        Some(format!("curl {}", self.preview.as_ref()?))
    }

    async fn mark(&self, _: Fence, _: Release, _: Mark) -> Result<(), PointerError> {
        Err(self.failed("it keeps no marks".into(), None))
    }

    async fn forget(&self, _: Fence, _: &[Release]) -> Result<(), PointerError> {
        Ok(())
    }

    async fn remove(&self, _: Fence) -> Result<(), PointerError> {
        let looked = self.look().await?;
        let (before, routing) = (looked.seen, looked.routing);
        if before.record.is_none() {
            // What stands there is not flipside's.
            return Ok(());
        }
        let is_ours = routing.and_then(|routing| routing.live()) != Some(Release(0));
        let after = Seen {
            service: before.service.clone().filter(|_| !is_ours),
            record: None,
            previews: before.cleared(),
        };
        self.change(&before, &after).await
    }
}
