//! A name in a hosted zone of Amazon Route 53 as a pointer.
//!
//! A switch is one batch of changes, all of it or nothing: it deletes exactly what was read, and
//! creates what is wanted. Route 53 refuses it where something else stands there by then, which is the
//! guard; an UPSERT would overwrite it. The name gets weighted record sets of flipside's own, by slot,
//! and `_flipside.NAME` the record of who wrote them, in a TXT record.
//!
//! Where a plan has a second name for it, a release is shown for preview there, by a set that has no
//! share; it comes and goes by the same batches. Whatever else stands at that name is somebody else's,
//! and left alone.
//!
//! A move has settled when Route 53 calls its change INSYNC, the zone's name servers that are reached
//! give what it says, and after that the larger of the old and the new TTL has passed.
//!
//! Guard: `compare-and-set`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::rr::RecordType;
use reqwest::Url;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::authority::servers::{Place, plain};
use super::authority::shown as second;
use super::aws::Aws;
use super::outside::Outside;
use super::record::{self, Due};
use super::{Answer, Pointer, PointerError, Way};
use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Generation, Millis, Release};
use crate::core::progress::{Progress, Sink};
use crate::core::routing::{Capabilities, Drained, FOREIGN, Guard, Mark, Routing};
use api::{Told, Zone};
use set::Set;
use zone::{Names, Seen};

mod agree;
mod api;
mod plan;
mod set;
mod shown;
mod text;
mod weights;
mod zone;

pub use super::authority::sets::Kind;
pub use plan::{Route53Plan, SECTION};

/// The region by which Route 53, which has none, is signed for.
const HOME: &str = "us-east-1";

/// How long a change takes until all of Route 53's servers have it, as AWS says.
const PROPAGATION: Duration = Duration::from_secs(60);

/// How often it is read again where record and addresses do not fit: they are read one after the
/// other, and a write may come between.
const READS: usize = 3;

/// A name in Route 53 as the pointer of one service.
#[derive(Debug)]
pub struct Route53 {
    plan: Route53Plan,
    names: Names,
    servers: Vec<Place>,
    /// Where those ask who want the preview.
    preview: Option<Url>,
    aws: Aws,
    zone: OnceCell<Zone>,
    /// The longest TTL, in milliseconds, that was seen or is planned.
    longest: AtomicU64,
    moved: Mutex<Moved>,
}

/// What is known of the last move.
#[derive(Debug, Default)]
struct Moved {
    /// By which id AWS follows it.
    change: Option<(Generation, String)>,
    /// When the last memory of what was before it ends.
    forgotten: Option<(Generation, Instant)>,
}

/// What a look at the zone has shown.
#[derive(Debug)]
struct Looked {
    seen: Seen,
    /// By the record, where what is seen is what it says.
    routing: Option<Routing>,
    /// For how long what stood there before may be remembered.
    late: Duration,
}

impl Route53 {
    /// A pointer that has not asked anybody yet.
    ///
    /// # Errors
    /// Where a name, a server or a URL is none.
    pub fn new(plan: Route53Plan) -> Result<Self, PointerError> {
        let aws = Aws::new(plan.aws.clone(), Some(HOME))?;
        Self::by(plan, aws)
    }

    /// The same, where AWS is asked so.
    ///
    /// # Errors
    /// Where a name, a server or the URL is none.
    pub fn by(plan: Route53Plan, aws: Aws) -> Result<Self, PointerError> {
        let wrong = |what: &str| PointerError::Failed {
            what: format!("the settings of the pointer `route53` are not understood: {what}"),
            hint: None,
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
            servers: plan.servers.iter().map(place).collect::<Result<_, _>>()?,
            aws,
            zone: OnceCell::new(),
            longest: AtomicU64::new(plan.ttl),
            moved: Mutex::default(),
            plan,
        })
    }

    fn place(&self) -> String {
        format!("route53 {} in {}", self.plan.name, self.plan.zone)
    }

    fn failed(&self, what: String, hint: impl Into<Option<String>>) -> PointerError {
        PointerError::Failed {
            what: format!("{}: {what}", self.place()),
            hint: hint.into(),
        }
    }

    fn away(&self, why: String) -> PointerError {
        PointerError::OutOfReach {
            pointer: self.place(),
            why,
        }
    }

    fn lost(&self, why: String) -> PointerError {
        PointerError::Lost {
            pointer: self.place(),
            why,
        }
    }

    fn moved(&self, found: Option<Routing>) -> PointerError {
        PointerError::Refused {
            why: SwitchRefusal::Moved,
            found: found.map(Box::new),
        }
    }

    fn known(&self) -> MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, generation: Generation, change: &str) {
        self.known().change = Some((generation, change.to_owned()));
    }

    fn change_of(&self, generation: Generation) -> Option<String> {
        let known = self.known();
        let (of, id) = known.change.as_ref()?;
        (*of == generation).then(|| id.clone())
    }

    async fn seen(&self) -> Result<Seen, PointerError> {
        let (service, record) = tokio::try_join!(
            self.sets(&self.names.service, self.names.kind()),
            self.sets(&self.names.record, RecordType::TXT)
        )?;
        let mut seen = Seen {
            service,
            record,
            ..Seen::default()
        };
        for at in self.names.places(&seen) {
            let sets = self.sets(&at.name, at.kind.record_type()).await?;
            seen.previews.insert(at, sets);
        }
        Ok(seen)
    }

    /// Refuses to show a release where somebody else has records, or outside the zone.
    async fn may_show(&self, seen: &Seen, desired: Option<&Routing>) -> Result<(), PointerError> {
        let Some(at) = self.names.own() else {
            return Err(PointerError::no_preview(&self.place()));
        };
        let zone = self.zone().await?;
        if !zone.name.zone_of(&at.name) {
            return Err(self.failed(
                format!(
                    "the preview's name `{}` is not in the zone `{}`",
                    plain(&at.name),
                    plain(&zone.name)
                ),
                format!(
                    "write a `preview_host` that ends in `.{}`",
                    plain(&zone.name)
                ),
            ));
        }
        let strange = self.names.strange(seen, desired);
        let mut strange = strange.map_err(|why| self.failed(why, None))?;
        if at.kind != Kind::Cname {
            strange.extend(self.sets(&at.name, RecordType::CNAME).await?);
        }
        if strange.is_empty() {
            return Ok(());
        }
        let sets: Vec<String> = strange.iter().map(Set::words).collect();
        let (what, hint) = second::strange(&at.name, &sets.join("; "));
        Err(self.failed(what, hint))
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
                Some(routing) if !seen.record.is_empty() => self.names.fits(&seen, routing),
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

    /// Makes `after` of `before`, unless something else stands there: the change's id.
    async fn change(&self, before: &Seen, after: &Seen) -> Result<String, PointerError> {
        let why = match self.tell(before, after).await? {
            Told::Taken(id) => return Ok(id),
            Told::Unfit(why) => why,
        };
        let Looked { seen, routing, .. } = self.look().await?;
        if !seen.says(before) {
            return Err(self.moved(routing));
        }
        Err(self.failed(
            why,
            "see what stands beside it, under the same name: flipside help route53".to_owned(),
        ))
    }
}

#[async_trait]
impl Pointer for Route53 {
    fn describe(&self) -> String {
        self.place()
    }

    fn capabilities(&self) -> Capabilities {
        let propagation = u64::try_from(PROPAGATION.as_millis()).unwrap_or(u64::MAX);
        Capabilities {
            weighted: true,
            sticky: false,
            preview: self.preview.is_some(),
            drains: true,
            lingers: false,
            cached: true,
            counts: false,
            atomic: true,
            marks: false,
            settle_ms: propagation.saturating_add(self.longest.load(Ordering::Relaxed)),
            guard: Guard::CompareAndSet,
        }
    }

    async fn ready(&self, _: &dyn Sink) -> Result<(), PointerError> {
        self.zone().await?;
        self.look().await.map(drop)
    }

    async fn foresee(&self) -> Result<(), PointerError> {
        self.zone().await?;
        self.look().await?;
        self.would_tell(None).await
    }

    async fn foresee_preview(&self) -> Result<(), PointerError> {
        let seen = self.look().await?.seen;
        self.may_show(&seen, None).await?;
        self.would_tell(self.names.own()).await
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
            self.may_show(&seen, Some(&desired)).await?;
        }
        let after = self.names.after(&seen, &desired);
        let after = after.map_err(|why| self.failed(why, None))?;
        let lost = match self.change(&seen, &after).await {
            Ok(id) => {
                self.remember(generation, &id);
                None
            }
            Err(error @ PointerError::Lost { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        // Where the answer was lost, this look is the answer.
        let looked = self.look().await;
        let now = looked.map_err(|error| self.lost(error.to_string()))?.seen;
        match (now.says(&after), lost) {
            (true, _) => Ok(generation),
            (false, Some(lost)) => Err(lost),
            (false, None) => Err(self.lost(format!("it took the change and says {}", now.words()))),
        }
    }

    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError> {
        let known = self.known().forgotten.filter(|(of, _)| *of == generation);
        let until = match known {
            Some((_, until)) => until,
            None => {
                let limit = Duration::from_millis(limit_ms) + 2 * PROPAGATION;
                let late = self.agree(generation, limit, sink).await?;
                sink.progress(Progress::Wait {
                    what: format!("the TTL of {} s to pass", late.as_secs()),
                });
                let until = Instant::now() + late;
                self.known().forgotten = Some((generation, until));
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
            (Way::Preview, None) => return Err(PointerError::no_preview(&self.place())),
        };
        let Looked { seen, routing, .. } = self.look().await?;
        let sets = match way {
            Way::Service => seen.service.as_slice(),
            Way::Preview => self.names.shown(&seen),
        };
        let set = self.names.heaviest(sets);
        let set = set.ok_or_else(|| self.away("the name is given nothing".into()))?;
        let addresses = match self.names.leads(set) {
            Ok(name) => self.addresses(&name).await?,
            Err(addresses) => addresses,
        };
        let port = self.names.port();
        let to: Vec<SocketAddr> = addresses.into_iter().map(|ip| (ip, port).into()).collect();
        let outside = Outside::at(url, &to)?;
        let status = outside.get(path).await.map_err(|why| self.away(why))?;
        let release = routing.and_then(|routing| match way {
            Way::Service => self.names.release(set, &routing),
            Way::Preview => self.names.release_shown(set, &routing),
        });
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
        if before.record.is_empty() {
            // What stands there is not flipside's.
            return Ok(());
        }
        let is_ours = routing.and_then(|routing| routing.live()) != Some(FOREIGN);
        let after = Seen {
            service: match is_ours {
                true => Vec::new(),
                false => before.service.clone(),
            },
            record: Vec::new(),
            previews: before.cleared(),
        };
        self.change(&before, &after).await.map(drop)
    }
}
