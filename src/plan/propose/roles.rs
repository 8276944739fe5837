//! When each role should run, as far as its file gives it away. A proposal, with its reason: a person
//! decides. What the file does not give away is left open.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Published, Service};
use super::images::{self, is_data};
use super::proxies;
use super::settle::settle;
use super::tasks::{self, Task};
use super::way_in;
use super::words::has;
use crate::core::plan::Run;

const TIMED: &[&str] = &[
    "beat",
    "celerybeat",
    "clockwork",
    "cron",
    "crond",
    "crontab",
    "scheduler",
    "schedule",
    "ofelia",
    "supercronic",
];

const BACKUPS: &[&str] = &["backup", "backups"];

const WORKERS: &[&str] = &[
    "celery",
    "celeryworker",
    "consumer",
    "queue",
    "sidekiq",
    "worker",
    "workers",
];

const TEMPLATES: &[&str] = &["base", "common", "default", "defaults", "template"];

/// What is proposed for a role, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Proposal {
    pub run: Run,
    pub why: &'static str,
}

/// What is proposed for roles, by name; the others simply run always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Proposals {
    proposed: BTreeMap<String, Proposal>,
    open: BTreeMap<String, Proposal>,
}

impl Proposals {
    /// What is proposed for a role.
    pub(in super::super) fn get(&self, role: &str) -> Option<&Proposal> {
        self.proposed.get(role)
    }

    /// What a person may want for a role, where the file says too little to propose it.
    pub(super) fn open(&self, role: &str) -> Option<&Proposal> {
        self.open.get(role)
    }

    /// How a role would run.
    pub(super) fn run(&self, role: &str) -> Run {
        self.get(role).map_or(Run::Always, |proposal| proposal.run)
    }

    pub(super) fn is_open(&self, role: &str) -> bool {
        self.open.contains_key(role)
    }

    pub(super) fn insert(&mut self, role: &str, run: Run, why: &'static str) {
        self.open.remove(role);
        self.proposed.insert(role.to_owned(), Proposal { run, why });
    }

    pub(super) fn leave_open(&mut self, role: &str, run: Run, why: &'static str) {
        self.take_back(role);
        self.open.insert(role.to_owned(), Proposal { run, why });
    }

    pub(super) fn take_back(&mut self, role: &str) {
        self.proposed.remove(role);
    }
}

/// Proposals for all roles but those that simply run always.
pub(super) fn proposals(services: &BTreeMap<String, Service>) -> Proposals {
    let sights = Sights::new(services);
    let mut found = Proposals::default();
    for (name, service) in services {
        match sights.first(service) {
            Some(Sight::Clear(run, why)) => found.insert(name, run, why),
            Some(Sight::Open(run, why)) => found.leave_open(name, run, why),
            None => {}
        }
    }
    settle(&mut found, &sights);
    found
}

/// What a look at a role says.
enum Sight {
    /// It is proposed.
    Clear(Run, &'static str),
    /// It is left to a person.
    Open(Run, &'static str),
}

/// The roles, and what they have to do with each other.
pub(super) struct Sights<'a> {
    pub all: &'a BTreeMap<String, Service>,
    dependants: BTreeMap<&'a str, Vec<&'a Service>>,
    /// Roles whose volumes others mount.
    lenders: BTreeSet<&'a str>,
    /// How many roles an image has.
    images: BTreeMap<Option<&'a str>, usize>,
}

impl<'a> Sights<'a> {
    fn new(all: &'a BTreeMap<String, Service>) -> Self {
        let mut dependants: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
        let mut lenders = BTreeSet::new();
        let mut images = BTreeMap::new();
        for service in all.values() {
            for other in service.depends_on.keys() {
                dependants.entry(other).or_default().push(service);
            }
            lenders.extend(service.volumes_from.iter().map(String::as_str));
            *images.entry(service.image.as_deref()).or_default() += 1;
        }
        Self {
            all,
            dependants,
            lenders,
            images,
        }
    }

    /// The roles that depend on one.
    pub(super) fn dependants(&self, name: &str) -> &[&'a Service] {
        self.dependants.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether others wait for a role until it is in that condition.
    fn is_awaited(&self, name: &str, condition: &str) -> bool {
        let mut dependants = self.dependants(name).iter();
        dependants.any(|other| other.depends_on.get(name).is_some_and(|c| c == condition))
    }

    /// Whether a role is, or may be, what is released: it is built, or its tag is given from outside,
    /// or other roles are of its image, or its name or port is one that users reach, or a web server
    /// speaks FastCGI to it.
    pub(super) fn is_application(&self, service: &Service) -> bool {
        self.is_released(service)
            || way_in::is_named_like_one(service)
            || proxies::speaks_fastcgi(service)
            || serves_users(service)
    }

    /// Whether its image is one that releases bring: built, with a tag from outside, or that of several
    /// roles.
    fn is_released(&self, service: &Service) -> bool {
        service.is_built
            || service.image_varies
            || service.image.is_some() && self.shares_its_image(service)
    }

    fn shares_its_image(&self, service: &Service) -> bool {
        let same = self.images.get(&service.image.as_deref());
        same.is_some_and(|roles| *roles > 1)
    }

    fn first(&self, service: &Service) -> Option<Sight> {
        let name = service.name.as_str();
        let dependants = self.dependants(name);
        let clear = |run, why| Some(Sight::Clear(run, why));
        let lends = self.lenders.contains(name);
        if lends && service.ports.is_empty() && dependants.is_empty() && does_nothing(service) {
            return clear(Run::Never, "a container only for its volumes");
        }
        if images::replaces_containers(service) {
            let why = "it replaces containers by itself, those of releases too: only a deploy does that here";
            return clear(Run::Never, why);
        }
        if proxies::is_proxy(service, self.all) {
            let tls = service.ports.iter().any(|port| port.host == Some(443));
            let why = match tls {
                false => "the file's own reverse proxy: flipside's pointer is that",
                true => {
                    "the file's own reverse proxy: flipside's pointer is that, but for TLS: put what ends it in front"
                }
            };
            return clear(Run::Never, why);
        }
        if images::gets_certificates(service) && service.ports.is_empty() {
            return match tasks::of(service) {
                Some(Task::Rounds) => clear(
                    Run::LiveOnly,
                    "it gets certificates, which two would do twice",
                ),
                _ => clear(
                    Run::Never,
                    "it gets certificates and ends: run it by hand, beside what ends TLS",
                ),
            };
        }
        if let Some(job) = self.job(service) {
            return Some(job);
        }
        if images::watches_data(service) {
            let why = "it watches over data that outlives releases";
            return clear(Run::Shared, why);
        }
        if is_data(service) {
            let why = match images::is_data_image(service) {
                true => "a known data image: its data outlives releases",
                false => "it keeps a database, which outlives releases",
            };
            return clear(Run::Shared, why);
        }
        self.kept(service).or_else(|| self.lively(service))
    }

    /// What ends.
    fn job(&self, service: &Service) -> Option<Sight> {
        let name = service.name.as_str();
        let clear = |why| Some(Sight::Clear(Run::Once, why));
        if self.is_awaited(name, "service_completed_successfully") {
            return clear("others wait for it to complete");
        }
        if service.is_swarm_job {
            return clear("a Swarm runs it to its end");
        }
        if !service.ports.is_empty()
            || images::keeps_a_database(service)
            || self.is_awaited(name, "service_healthy")
        {
            return None;
        }
        let restarts = matches!(
            service.restart.as_deref(),
            Some("always" | "unless-stopped")
        );
        let task = tasks::of(service);
        match task {
            Some(Task::Job) => return clear("its command prepares something, and ends"),
            Some(Task::Client) if restarts => {
                let why =
                    "its command is a client's, which ends; yet it is restarted: is it a job?";
                return Some(Sight::Open(Run::Once, why));
            }
            Some(Task::Client) => return clear("its command is a client's, which ends"),
            _ => {}
        }
        let starts = !service.command.is_empty() && !service.command.starts_with('-');
        let is_server = is_data(service) && (!starts || task == Some(Task::Server));
        if restarts || is_server || !has(name, tasks::PREPARING) {
            return None;
        }
        clear("it ends, and its name says that it prepares something")
    }

    /// What outlives releases without a known image.
    fn kept(&self, service: &Service) -> Option<Sight> {
        let name = service.name.as_str();
        let dependants = self.dependants(name);
        let keeps_alone = images::keeps_one_file(service)
            || images::locks_its_data(service) && !self.is_application(service);
        if keeps_alone && self.all.len() > 1 {
            let why = "it keeps a database in files, which two cannot both have open";
            return Some(Sight::Clear(Run::Shared, why));
        }
        let mut needed = service
            .depends_on
            .keys()
            .filter_map(|other| self.all.get(other));
        let on_data = needed.any(is_data);
        let mut others = dependants.iter();
        let serves_files = others.any(|other| proxies::shares_files(service, other));
        if !dependants.is_empty()
            && !on_data
            && !serves_files
            && !works(service)
            && !service.is_built
            && service.volumes().next().is_some()
        {
            if !self.is_application(service) {
                let why = "others depend on it, and it keeps data in a volume";
                return Some(Sight::Clear(Run::Shared, why));
            }
            if !way_in::is_named_like_one(service) && !service.wants_the_host() {
                let why = "others depend on it, and it keeps data in a volume; yet it may be what is released";
                return Some(Sight::Open(Run::Shared, why));
            }
        }
        let moved = |port: &Published| !port.is_udp && !way_in::speaks_no_http(port.target);
        let unmoved = !service.ports.is_empty() && !service.ports.iter().any(moved);
        let users = way_in::is_named_like_a_page(service) && !service.ports.is_empty();
        if users || self.all.len() < 2 {
            return None;
        }
        let is_released = self.is_released(service);
        if service.wants_the_host() {
            let why = "it needs what two releases side by side cannot both have";
            // A part of what is released does without the engine's socket.
            let only_socket = service.has_socket() && !service.wants_more_than_the_socket();
            return (!is_released || !only_socket).then_some(Sight::Clear(Run::Shared, why));
        }
        let udp_alone = unmoved && service.ports.iter().all(|port| port.is_udp);
        match (unmoved, is_released || works(service)) {
            (true, false) => Some(Sight::Clear(
                Run::Shared,
                "what it publishes is no HTTP, which the pointer does not move",
            )),
            (true, true) if udp_alone => Some(Sight::Clear(
                Run::Shared,
                "it needs what two releases side by side cannot both have",
            )),
            _ => None,
        }
    }

    /// What acts by itself.
    fn lively(&self, service: &Service) -> Option<Sight> {
        let name = service.name.as_str();
        let timed = "it does things at their times, which two would do twice";
        let works = "it works by itself, which only the live release's should";
        let open = |why| Some(Sight::Open(Run::LiveOnly, why));
        let hidden = service.ports.is_empty();
        match tasks::of(service) {
            Some(Task::Timed | Task::Rounds) if hidden => {
                return Some(Sight::Clear(Run::LiveOnly, timed));
            }
            Some(Task::Worker) if hidden => return Some(Sight::Clear(Run::LiveOnly, works)),
            _ => {}
        }
        let is_timed = has(name, TIMED) || has(&service.image_name(), TIMED);
        let is_worker = has(name, WORKERS) && (hidden || !serves_users(service));
        let by_name = match (is_timed, is_worker) {
            (true, _) => Some((
                timed,
                "its name says that it does things at their times; yet others ask it",
            )),
            (false, true) => Some((
                works,
                "its name says that it works by itself; yet others ask it",
            )),
            (false, false) => None,
        };
        if let Some((why, doubt)) = by_name {
            return match self.is_asked(service) {
                false => Some(Sight::Clear(Run::LiveOnly, why)),
                true => open(doubt),
            };
        }
        if hidden && has(name, BACKUPS) {
            return open("its name says that it makes backups: at their times, and not twice?");
        }
        let alone = hidden && self.dependants(name).is_empty() && self.all.len() > 1;
        if alone && has(name, TEMPLATES) && self.shares_its_image(service) {
            let why = "a template that other roles are made from";
            return Some(Sight::Clear(Run::Never, why));
        }
        if !alone || way_in::names_a_port(service) || way_in::is_named_like_one(service) {
            return None;
        }
        let restart = service.restart.as_deref().unwrap_or("");
        if restart == "no" || restart.starts_with("on-failure") {
            let why = "it is not restarted once it has ended well: is it a job?";
            return Some(Sight::Open(Run::Once, why));
        }
        let others = self
            .all
            .values()
            .flat_map(|other| other.environment.values());
        let is_named = others.clone().any(|value| is_host_of(name, value));
        (!is_named && !is_data(service)).then_some(Sight::Open(
            Run::LiveOnly,
            "nothing here asks it: does it work by itself, which two would do twice?",
        ))
    }

    /// Whether others that depend on a role seem to send it requests.
    fn is_asked(&self, service: &Service) -> bool {
        let dependants = self.dependants(&service.name);
        let named = dependants
            .iter()
            .flat_map(|other| other.environment.values())
            .any(|value| is_host_of(&service.name, value));
        named
            || !dependants.is_empty() && (!service.exposed.is_empty() || !service.ports.is_empty())
    }
}

/// Whether a variable's value names a role as the host of a URL or of a port.
fn is_host_of(name: &str, value: &str) -> bool {
    value.match_indices(name).any(|(at, _)| {
        let (before, after) = (&value[..at], &value[at + name.len()..]);
        let starts = before.is_empty() || before.ends_with(['/', '@', ',', ' ']);
        let port = after.strip_prefix(':');
        let has_port = port.is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
        let ends = after.is_empty() || after.starts_with('/');
        starts && (has_port || before.ends_with("//") && ends)
    })
}

/// Whether it acts by itself, or ends, rather than answer anybody.
pub(super) fn works(service: &Service) -> bool {
    let name = service.name.as_str();
    has(name, WORKERS)
        || has(name, TIMED)
        || has(name, tasks::PREPARING)
        || matches!(
            tasks::of(service),
            Some(Task::Timed | Task::Rounds | Task::Worker | Task::Job | Task::Client)
        )
}

/// Whether it publishes a port that applications have.
fn serves_users(service: &Service) -> bool {
    const USUAL: &[u16] = &[80, 443, 3000, 3001, 4000, 5000, 8000, 8080, 8443];
    let mut tcp = service.ports.iter().filter(|port| !port.is_udp);
    tcp.any(|port| USUAL.contains(&port.target) || matches!(port.host, Some(80 | 443)))
}

/// Whether a container is there only to be: it runs nothing that goes on.
fn does_nothing(service: &Service) -> bool {
    let first = service.command.split_whitespace().next().unwrap_or("");
    let command = first.rsplit('/').next().unwrap_or(first);
    let idle = matches!(command, "true" | "echo" | "sleep" | "tail");
    idle || service.command.is_empty()
        && matches!(service.image_name().as_str(), "busybox" | "alpine")
}
