//! The table as the workers read it: immutable, swapped whole.
//!
//! It is compiled from the entries whenever one changes; nothing here is saved.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::count::Stint;
use super::table::{Entry, parse_listen};

/// All services, by listener and host.
#[derive(Debug, Default)]
pub struct Routes {
    listeners: HashMap<SocketAddr, Hosts>,
    /// Every entry, by service.
    pub services: BTreeMap<String, Arc<Service>>,
}

/// The services on one listener.
#[derive(Debug, Default)]
struct Hosts {
    by_host: HashMap<String, Arc<Service>>,
    default: Option<Arc<Service>>,
}

/// One service.
#[derive(Debug)]
pub struct Service {
    /// The entry it was compiled from.
    pub entry: Arc<Entry>,
    /// The environments with a weight.
    pub environments: Vec<Environment>,
    total_weight: u64,
}

/// One environment that gets traffic.
#[derive(Debug)]
pub struct Environment {
    /// Its weight, above 0.
    pub weight: u32,
    /// Where its replicas answer.
    pub endpoints: Vec<SocketAddr>,
    /// Counts the requests it gets.
    pub stint: Arc<Stint>,
}

impl Routes {
    /// Compiles `services`.
    pub fn new(services: BTreeMap<String, Arc<Service>>) -> Routes {
        let mut listeners: HashMap<SocketAddr, Hosts> = HashMap::new();
        for service in services.values() {
            let Ok(listen) = parse_listen(&service.entry.listen) else {
                continue;
            };
            let hosts = listeners.entry(listen).or_default();
            if service.entry.hosts.is_empty() {
                hosts.default = Some(service.clone());
            }
            for host in &service.entry.hosts {
                hosts
                    .by_host
                    .insert(normal_host(host).into_owned(), service.clone());
            }
        }
        Routes {
            listeners,
            services,
        }
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
            .flat_map(|service| &service.environments)
            .flat_map(|environment| environment.endpoints.iter().copied())
            .collect()
    }

    /// Every address that some service listens on.
    pub fn listens(&self) -> BTreeSet<SocketAddr> {
        self.services
            .values()
            .filter_map(|service| parse_listen(&service.entry.listen).ok())
            .collect()
    }

    /// Every entry.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
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
            .map(|route| Environment {
                weight: route.weight,
                endpoints: route.endpoints.clone(),
                stint: stint(route.release),
            })
            .collect();
        Service {
            total_weight: environments.iter().map(|it| u64::from(it.weight)).sum(),
            environments,
            entry,
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
