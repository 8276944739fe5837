//! What is said to a command, and what its answers mean.
//!
//! Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::core::names::{Millis, Slot};
use crate::core::routing::{Drained, FOREIGN, Guard, Route, Routing};

/// The version of what is said here.
pub(super) const VERSION: u64 = 1;

/// What a command can do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Able {
    pub(super) v: u64,
    pub(super) weighted: bool,
    pub(super) drains: bool,
    pub(super) counts: bool,
    /// Routes and note become true at once, or neither.
    pub(super) atomic: bool,
    pub(super) settle_ms: Millis,
    /// Clients remember where it has sent them.
    pub(super) cached: bool,
    /// How a person asks for the preview, where it shows one.
    pub(super) preview: Option<String>,
    guard: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Holds {
    CompareAndSet,
    Checked,
}

impl Able {
    pub(super) fn guard(&self) -> Guard {
        match self.guard {
            Holds::CompareAndSet => Guard::CompareAndSet,
            Holds::Checked => Guard::Checked,
        }
    }
}

/// The least.
impl Default for Able {
    fn default() -> Self {
        Self {
            v: 0,
            weighted: false,
            drains: false,
            counts: false,
            atomic: false,
            settle_ms: 0,
            cached: false,
            preview: None,
            guard: Holds::Checked,
        }
    }
}

/// One route as a command tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Place {
    /// None where it is in neither.
    #[serde(default)]
    slot: Option<Slot>,
    weight: u32,
    endpoints: Vec<String>,
}

/// What is shown to those who ask for the preview.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Shown {
    #[serde(default)]
    slot: Option<Slot>,
    endpoints: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Read {
    routes: Vec<Place>,
    #[serde(default)]
    preview: Option<Shown>,
    #[serde(default)]
    note: Option<String>,
}

/// What a command answers to `read`.
#[derive(Debug)]
pub(super) struct Said {
    /// Word for word.
    pub(super) whole: Map<String, Value>,
    /// What gets traffic, in an order of its own.
    places: Vec<Place>,
    preview: Option<Shown>,
    /// What was given to it to keep.
    pub(super) note: Option<String>,
}

impl Said {
    pub(super) fn new(whole: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let read = Read::deserialize(Value::Object(whole.clone()))?;
        Ok(Self {
            whole,
            places: ordered(read.routes),
            preview: read.preview.map(Shown::ordered),
            note: read.note,
        })
    }

    /// Whether it sends new requests as `routing` wants it, and nowhere else, and shows its preview.
    pub(super) fn is_so(&self, routing: &Routing) -> bool {
        let wanted = Read::deserialize(Value::Object(wanted(routing)));
        wanted.is_ok_and(|wanted| {
            ordered(wanted.routes) == self.places
                && wanted.preview.map(Shown::ordered) == self.preview
        })
    }

    /// What is found where no record fits: routes of nobody's release.
    pub(super) fn routes(&self) -> Vec<Route> {
        let route = |place: &Place| Route {
            release: FOREIGN,
            slot: place.slot.unwrap_or(Slot::Blue),
            weight: place.weight,
            endpoints: place
                .endpoints
                .iter()
                .filter_map(|at| at.parse().ok())
                .collect(),
        };
        self.places.iter().map(route).collect()
    }

    /// What serves where nothing is on record; none where nothing does.
    pub(super) fn foreign(&self) -> Option<Routing> {
        let mut whole = self.whole.clone();
        whole.remove("note");
        (!self.places.is_empty()).then(|| Routing::foreign(self.routes(), whole.into()))
    }
}

impl Shown {
    fn ordered(mut self) -> Self {
        self.endpoints.sort_unstable();
        self
    }
}

/// Those that get traffic, in one order, so that they can be compared.
fn ordered(routes: Vec<Place>) -> Vec<Place> {
    let mut routes: Vec<_> = routes.into_iter().filter(|it| it.weight > 0).collect();
    for route in &mut routes {
        route.endpoints.sort_unstable();
    }
    routes.sort_unstable();
    routes
}

/// What a command shall make true: routes with their releases, or, of what stood there before
/// flipside came, its own answer; and what it shall show to those who ask for the preview.
pub(super) fn wanted(routing: &Routing) -> Map<String, Value> {
    let serving = routing.routes.iter().filter(|route| route.weight > 0);
    let foreign = serving.clone().any(|route| route.release == FOREIGN);
    let mut wanted = match (foreign, &routing.foreign) {
        (true, Some(Value::Object(whole))) => whole.clone(),
        _ => {
            let routes: Vec<Value> = serving.map(|route| json!(route)).collect();
            [("routes".to_owned(), routes.into())].into_iter().collect()
        }
    };
    let shown = routing.preview.and_then(|release| routing.route(release));
    if let Some(Route {
        release,
        slot,
        endpoints,
        ..
    }) = shown
    {
        let shown = json!({"release": release, "slot": slot, "endpoints": endpoints});
        wanted.insert("preview".into(), shown);
    }
    wanted
}

/// What a command answers to `ask`.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// The HTTP status of what answered.
    #[serde(default)]
    pub(super) status: Option<u16>,
}

/// What a command answers to `write`.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    #[serde(default)]
    pub(super) ok: bool,
    /// Why not: `moved`, or in a person's words.
    #[serde(default)]
    pub(super) refused: Option<String>,
}

/// What a command answers to `settled`; what it does not say is not known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Left {
    in_flight: Option<u64>,
    finished: Option<u64>,
    cut: Option<u64>,
}

impl From<Left> for Drained {
    fn from(left: Left) -> Self {
        Self {
            in_flight: left.in_flight,
            finished: left.finished,
            cut: left.cut,
        }
    }
}
