//! The table as the workers read it: immutable, swapped whole.
//!
//! It is compiled from the entries whenever one changes; nothing here is saved.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::count::Stint;
use super::table::{Entry, EnvironmentRoute, parse_listen};

/// All services, by listener and host.
#[derive(Debug, Default)]
pub struct Routes {
    listeners: HashMap<SocketAddr, Hosts>,
    slots: HashMap<SocketAddr, Slot>,
    /// Every entry, by service.
    pub services: BTreeMap<String, Arc<Service>>,
}

/// The services on one listener.
#[derive(Debug, Default)]
struct Hosts {
    by_host: HashMap<String, Arc<Service>>,
    default: Option<Arc<Service>>,
}

/// A slot: the place of its environment among those of its service, where one hangs on it.
#[derive(Debug)]
struct Slot {
    service: Arc<Service>,
    attached: Option<usize>,
}

/// One service.
#[derive(Debug)]
pub struct Service {
    /// The entry it was compiled from.
    pub entry: Arc<Entry>,
    /// The environments with a weight.
    pub environments: Vec<Environment>,
    /// What is shown to those who ask for it.
    preview: Option<Shown>,
    total_weight: u64,
}

/// An environment that is shown to those who ask for it.
#[derive(Debug)]
struct Shown {
    environment: Environment,
    header: Option<(HeaderName, HeaderValue)>,
    hosts: Vec<String>,
}

impl Shown {
    fn is_asked_for(&self, host: &str, headers: &HeaderMap) -> bool {
        let named = |(name, value): &(HeaderName, HeaderValue)| headers.get(name) == Some(value);
        self.header.as_ref().is_some_and(named)
            || (!self.hosts.is_empty() && self.hosts.iter().any(|own| *own == normal_host(host)))
    }
}

/// One environment that gets traffic.
#[derive(Debug)]
pub struct Environment {
    /// Its weight; 0 where it is only shown.
    pub weight: u32,
    /// Where it hangs.
    slot: String,
    /// Where its replicas answer.
    pub endpoints: Vec<SocketAddr>,
    /// Counts the requests it gets.
    pub stint: Arc<Stint>,
}

impl Routes {
    /// Compiles `services`.
    pub fn new(services: BTreeMap<String, Arc<Service>>) -> Routes {
        let mut listeners: HashMap<SocketAddr, Hosts> = HashMap::new();
        let mut slots = HashMap::new();
        for service in services.values() {
            for (slot, at) in &service.entry.slots {
                let mut environments = service.environments.iter();
                let attached = environments.position(|it| it.slot == *slot);
                if let Ok(at) = parse_listen(at) {
                    let service = service.clone();
                    slots.insert(at, Slot { service, attached });
                }
            }
            let Ok(listen) = parse_listen(&service.entry.listen) else {
                continue;
            };
            let hosts = listeners.entry(listen).or_default();
            if service.entry.hosts.is_empty() {
                hosts.default = Some(service.clone());
            }
            let shown = service.preview.iter().flat_map(|shown| &shown.hosts);
            for host in service.entry.hosts.iter().chain(shown) {
                hosts
                    .by_host
                    .insert(normal_host(host).into_owned(), service.clone());
            }
        }
        Routes {
            listeners,
            slots,
            services,
        }
    }

    /// Whether what comes in at `listen` is passed on as it is.
    pub fn is_slot(&self, listen: SocketAddr) -> bool {
        self.slots.contains_key(&listen)
    }

    /// The environment that hangs on the slot at `listen`.
    pub fn attached(&self, listen: SocketAddr) -> Option<&Environment> {
        let slot = self.slots.get(&listen)?;
        slot.service.environments.get(slot.attached?)
    }

    /// The service for a request to `host` (with or without a port) that came in at `listen`.
    pub fn find(&self, listen: SocketAddr, host: &str) -> Option<&Arc<Service>> {
        let hosts = self.listeners.get(&listen)?;
        if hosts.by_host.is_empty() {
            return hosts.default.as_ref();
        }
        hosts
            .by_host
            .get(normal_host(host).as_ref())
            .or(hosts.default.as_ref())
    }

    /// Every endpoint that may get a request.
    pub fn endpoints(&self) -> BTreeSet<SocketAddr> {
        self.services
            .values()
            .flat_map(|service| service.all())
            .flat_map(|environment| environment.endpoints.iter().copied())
            .collect()
    }

    /// Every address that some service listens on.
    pub fn listens(&self) -> BTreeSet<SocketAddr> {
        self.services
            .values()
            .flat_map(|service| service.entry.listens())
            .collect()
    }

    /// Every entry.
    pub fn entries(&self) -> impl Clone + Iterator<Item = &Entry> {
        self.services.values().map(|service| service.entry.as_ref())
    }
}

impl Service {
    /// Compiles `entry`; `stint` gives the counters of a release that has a weight.
    pub fn new(entry: Arc<Entry>, mut stint: impl FnMut(u64) -> Arc<Stint>) -> Service {
        let environments: Vec<Environment> = entry
            .environments
            .iter()
            .filter(|route| route.weight > 0)
            .map(|route| environment(route, &mut stint))
            .collect();
        let preview = entry.preview.as_ref().and_then(|preview| {
            let mut routes = entry.environments.iter();
            let route = routes.find(|route| Some(route.release) == preview.release)?;
            Some(Shown {
                environment: environment(route, &mut stint),
                header: preview.header.as_deref().and_then(header),
                hosts: preview
                    .hosts
                    .iter()
                    .map(|host| normal_host(host).into_owned())
                    .collect(),
            })
        });
        Service {
            preview,
            total_weight: environments.iter().map(|it| u64::from(it.weight)).sum(),
            environments,
            entry,
        }
    }

    /// Every environment that may get a request.
    pub fn all(&self) -> impl Iterator<Item = &Environment> {
        let shown = self.preview.iter().map(|shown| &shown.environment);
        self.environments.iter().chain(shown)
    }

    /// The environment for a request to `host`: the one that is shown, where these ask for it; else
    /// one of the others, as [`Service::choose`] does.
    pub fn choose_for(
        &self,
        host: &str,
        headers: &HeaderMap,
        dice: impl FnOnce() -> u64,
    ) -> Option<&Environment> {
        match &self.preview {
            Some(shown) if shown.is_asked_for(host, headers) => Some(&shown.environment),
            _ => self.choose(dice),
        }
    }

    /// One environment, each as likely as its weight, from a uniformly random `dice`.
    pub fn choose(&self, dice: impl FnOnce() -> u64) -> Option<&Environment> {
        match self.environments.as_slice() {
            [] => None,
            [only] => Some(only),
            several => {
                let mut left = dice() % self.total_weight;
                several.iter().find(|environment| {
                    let weight = u64::from(environment.weight);
                    let chosen = left < weight;
                    left = left.saturating_sub(weight);
                    chosen
                })
            }
        }
    }
}

fn environment(route: &EnvironmentRoute, stint: &mut impl FnMut(u64) -> Arc<Stint>) -> Environment {
    Environment {
        weight: route.weight,
        slot: route.slot.clone(),
        endpoints: route.endpoints.clone(),
        stint: stint(route.release),
    }
}

/// Name and value of a header; nothing where it is none.
pub fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    let name = HeaderName::try_from(name.trim()).ok()?;
    Some((name, HeaderValue::try_from(value.trim()).ok()?))
}

/// `host` in lower case, without its port and without a dot at its end.
pub fn normal_host(host: &str) -> Cow<'_, str> {
    let without_port = match host.rfind(':') {
        Some(colon) if host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()) => {
            &host[..colon]
        }
        _ => host,
    };
    let name = without_port.strip_suffix('.').unwrap_or(without_port);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}
