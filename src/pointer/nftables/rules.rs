//! What a routing means for a table of the kernel's, as a transaction; and what such a table says.
//!
//! The chain `service` holds the shares, by family of addresses; the chain `preview`, which is there
//! while one is shown, those of the candidate. What was written with them, the record, stands
//! in a chain without a hook, in pieces: a comment takes 128 bytes. That chain's name tells the
//! generation and the fence.
//!
//! Pure.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::listing::Table;
use crate::core::names::Slot;
use crate::core::routing::{FOREIGN, Route, Routing};

/// Of how many new connections shares are counted.
const WHOLE: u64 = 10_000;

/// How many characters of the record one comment takes.
const PIECE: usize = 120;

/// The chain that leads to the service.
pub(super) const SERVICE: &str = "service";

/// The chain that leads to the candidate.
pub(super) const PREVIEW: &str = "preview";

/// The chains through which come the clients from outside, and those of the host.
pub(super) const HOOKS: [&str; 2] = ["outside", "inside"];

/// An address and port of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Listener {
    /// None: every address of the host.
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl Listener {
    /// From `192.0.2.7:80`, `[2001:db8::7]:80` or `:80`.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            return Some(Self {
                address: None,
                port,
            });
        }
        let at: SocketAddr = text.parse().ok()?;
        let address = Some(at.ip()).filter(|ip| !ip.is_unspecified());
        (at.port() > 0).then_some(Self {
            address,
            port: at.port(),
        })
    }

    /// Whether a connection to the one may be one to the other.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let any = self.address.is_none() || other.address.is_none();
        self.port == other.port && (any || self.address == other.address)
    }

    /// Whether it takes a connection to `to`.
    pub(super) fn takes(&self, to: SocketAddr) -> bool {
        self.port == to.port() && self.address.is_none_or(|ip| ip == to.ip())
    }

    /// That a tracked connection of this family was to it; none where it takes none of that family.
    fn asked(&self, is_v4: bool) -> Option<String> {
        let port = format!("ct original proto-dst {}", self.port);
        match self.address {
            None => Some(port),
            Some(ip) if ip.is_ipv4() != is_v4 => None,
            Some(ip) => {
                let family = if is_v4 { "ip" } else { "ip6" };
                Some(format!("ct original {family} daddr {ip} {port}"))
            }
        }
    }

    fn matched(&self) -> String {
        let port = self.port;
        match self.address {
            Some(IpAddr::V4(ip)) => format!("ip daddr {ip} tcp dport {port}"),
            Some(IpAddr::V6(ip)) => format!("ip6 daddr {ip} tcp dport {port}"),
            None => format!("fib daddr type local tcp dport {port}"),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

impl From<Listener> for String {
    fn from(listener: Listener) -> Self {
        listener.to_string()
    }
}

impl TryFrom<String> for Listener {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text).ok_or_else(|| format!("`{text}` is not an address and port"))
    }
}

/// Where a service is reached, and where its preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ways {
    pub service: Vec<Listener>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview: Vec<Listener>,
}

impl Ways {
    /// All addresses and ports that are led somewhere, or may be.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listener> + Clone {
        self.service.iter().chain(&self.preview)
    }
}

/// A hook's chain, what it takes, and the chain that this goes on to.
pub(super) type Lead = (&'static str, Listener, &'static str);

/// A part of the new connections, of [`WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Share {
    pub first: u64,
    pub last: u64,
    pub endpoint: SocketAddr,
}

impl Share {
    /// All of them.
    pub(super) fn whole(endpoint: SocketAddr) -> Self {
        Self {
            first: 0,
            last: WHOLE - 1,
            endpoint,
        }
    }
}

/// What is written beside the shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    v: u32,
    pub routing: Routing,
    /// By which addresses it was written; none: those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ways: Option<Ways>,
    /// Endpoints that got traffic before, and get none any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left: BTreeSet<SocketAddr>,
}

impl Record {
    /// Of a move from what `found` says to `routing`.
    pub(super) fn of_move(found: Option<&Self>, routing: &Routing, ways: &Ways) -> Self {
        let mut left = found.map(|found| found.left.clone()).unwrap_or_default();
        left.extend(found.into_iter().flat_map(|found| serving(&found.routing)));
        // An address may have been given to another release since.
        for endpoint in reached(routing) {
            left.remove(&endpoint);
        }
        Self {
            v: 1,
            routing: routing.clone(),
            ways: Some(ways.clone()),
            left,
        }
    }

    fn pieces(&self) -> Vec<String> {
        let text = STANDARD.encode(self.line());
        let pieces = text.as_bytes().chunks(PIECE);
        pieces
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
            .collect()
    }

    /// Reads what stands in the comments of a table.
    pub(super) fn of_pieces(pieces: &[String]) -> Result<Self, String> {
        let bytes = STANDARD.decode(pieces.concat());
        let bytes = bytes.map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    /// On one line.
    pub(super) fn line(&self) -> String {
        // Only maps with keys other than text cannot be written, and a routing has none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn serving(routing: &Routing) -> impl Iterator<Item = SocketAddr> {
    let routes = routing.routes.iter();
    routes
        .filter(|route| route.weight > 0 && route.release != FOREIGN)
        .flat_map(|route| route.endpoints.iter().copied())
}

/// Where new connections are led, those to the preview among them.
fn reached(routing: &Routing) -> impl Iterator<Item = SocketAddr> {
    let routes = routing.routes.iter();
    let shown = routes.filter(|route| routing.preview == Some(route.release));
    serving(routing).chain(shown.flat_map(|route| route.endpoints.iter().copied()))
}

/// The shares of a routing. What stood there before flipside came gets what no share takes; where it
/// gets all, and was a table like this one, its shares are as they were.
pub(super) fn shares(routing: &Routing) -> Vec<Share> {
    let routes = || routing.routes.iter().filter(|route| route.weight > 0);
    if routes().all(|route| route.release == FOREIGN) {
        let foreign = routing.foreign.clone().unwrap_or_default();
        return serde_json::from_value(foreign).unwrap_or_default();
    }
    let mut all = Vec::new();
    for is_v4 in [true, false] {
        let of_family = |route: &&Route| {
            route.release == FOREIGN || route.endpoints.iter().any(|at| at.is_ipv4() == is_v4)
        };
        let sum: u64 = routes()
            .filter(of_family)
            .map(|route| u64::from(route.weight))
            .sum();
        let mut before = 0;
        for route in routes().filter(of_family) {
            let begin = before * WHOLE / sum.max(1);
            before += u64::from(route.weight);
            let end = before * WHOLE / sum.max(1);
            if route.release == FOREIGN {
                continue;
            }
            let endpoints = route.endpoints.iter().filter(|at| at.is_ipv4() == is_v4);
            let count = endpoints.clone().count() as u64;
            for (index, endpoint) in endpoints.enumerate() {
                let at = |index: u64| begin + (end - begin) * index / count;
                let (first, next) = (at(index as u64), at(index as u64 + 1));
                if first < next {
                    all.push(Share {
                        first,
                        last: next - 1,
                        endpoint: *endpoint,
                    });
                }
            }
        }
    }
    all.sort();
    all
}

/// The shares of the preview; none where none is shown.
pub(super) fn shown(ways: &Ways, routing: &Routing) -> Option<Vec<Share>> {
    let release = routing.preview.filter(|_| !ways.preview.is_empty())?;
    let route = routing.route(release).cloned();
    let alone = Routing {
        routes: route
            .map(|it| Route { weight: 100, ..it })
            .into_iter()
            .collect(),
        foreign: None,
        ..routing.clone()
    };
    Some(shares(&alone))
}

/// What is led where.
pub(super) fn leads(ways: &Ways, routing: &Routing) -> BTreeSet<Lead> {
    let mut all = BTreeSet::new();
    let mut lead = |listeners: &[Listener], chain| {
        let of = |hook| {
            listeners
                .iter()
                .map(move |listener| (hook, *listener, chain))
        };
        all.extend(HOOKS.into_iter().flat_map(of));
    };
    if !shares(routing).is_empty() {
        lead(&ways.service, SERVICE);
    }
    if shown(ways, routing).is_some() {
        lead(&ways.preview, PREVIEW);
    }
    all
}

/// How the chain with the record of a routing is called.
pub(super) fn mark(routing: &Routing) -> String {
    let Routing {
        generation, fence, ..
    } = routing;
    format!("generation_{generation}_fence_{fence}")
}

/// What makes a record true, in one transaction, if the table is as it was `found`: the kernel
/// refuses to make a table that is there, and to remove a rule or a chain that is not. Every change
/// of a rule gives it another handle.
pub(super) fn transaction(
    name: &str,
    found: Option<&Table>,
    ways: &Ways,
    record: &Record,
) -> String {
    let mut text = String::new();
    match found {
        None => line(&mut text, &format!("create table inet {name}")),
        Some(found) => {
            for (chain, handle) in &found.handles {
                let rule = format!("delete rule inet {name} {chain} handle {handle}");
                line(&mut text, &rule);
            }
            let preview = found.preview.iter().map(|_| PREVIEW);
            for chain in found.marks.iter().map(String::as_str).chain(preview) {
                line(&mut text, &format!("delete chain inet {name} {chain}"));
            }
            for set in &found.sets {
                line(&mut text, &format!("delete set inet {name} {set}"));
            }
        }
    }
    let cut: BTreeSet<_> = found.map(|found| found.cut.clone()).unwrap_or_default();
    let reached: BTreeSet<_> = reached(&record.routing).collect();
    let cut = cut.difference(&reached).copied().collect();
    text.push_str(&content(name, ways, record, &cut));
    text
}

/// The table from nothing, in place of what is there: for the start of the machine.
pub(super) fn whole(name: &str, ways: &Ways, record: &Record) -> String {
    let mut text = String::new();
    line(&mut text, &format!("table inet {name}"));
    line(&mut text, &format!("delete table inet {name}"));
    line(&mut text, &format!("create table inet {name}"));
    text.push_str(&content(name, ways, record, &BTreeSet::new()));
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn content(name: &str, ways: &Ways, record: &Record, cut: &BTreeSet<SocketAddr>) -> String {
    let mut text = String::new();
    let mut add = |words: std::fmt::Arguments<'_>| {
        // Nothing that is written to a text fails.
        let _written = writeln!(text, "add {words}");
    };
    let routing = &record.routing;
    let generation = routing.generation;
    let mark = mark(routing);
    add(format_args!("chain inet {name} {mark}"));
    for piece in record.pieces() {
        add(format_args!(
            "rule inet {name} {mark} continue comment \"{piece}\""
        ));
    }
    let chains = [
        (SERVICE, Some(shares(routing))),
        (PREVIEW, shown(ways, routing)),
    ];
    for (chain, shares) in chains {
        let Some(shares) = shares else { continue };
        add(format_args!("chain inet {name} {chain}"));
        for rule in dnat(&shares) {
            add(format_args!("rule inet {name} {chain} {rule}"));
        }
    }
    let hooks = [
        ("outside", "nat hook prerouting priority -110"),
        ("inside", "nat hook output priority -110"),
        ("back", "nat hook postrouting priority 90"),
        ("cut_outside", "filter hook forward priority -10"),
        ("cut_inside", "filter hook output priority -10"),
    ];
    for (chain, hook) in hooks {
        add(format_args!(
            "chain inet {name} {chain} {{ type {hook}; policy accept; }}"
        ));
    }
    let leads = leads(ways, routing);
    if leads.is_empty() {
        return text;
    }
    for (family, is_v4) in [("ip", true), ("ip6", false)] {
        let protocol = if is_v4 { "ipv4_addr" } else { "ipv6_addr" };
        let set = format!("cut_{family}_{generation}");
        add(format_args!(
            "set inet {name} {set} {{ type {protocol} . inet_service; }}"
        ));
        for endpoint in cut.iter().filter(|endpoint| endpoint.is_ipv4() == is_v4) {
            let element = element(endpoint);
            add(format_args!("element inet {name} {set} {{ {element} }}"));
        }
        let ours: BTreeSet<_> = ways.all().filter_map(|it| it.asked(is_v4)).collect();
        for (chain, asked) in ours
            .iter()
            .flat_map(|asked| [("cut_outside", asked), ("cut_inside", asked)])
        {
            add(format_args!(
                "rule inet {name} {chain} meta l4proto tcp ct status dnat {asked} \
                 {family} daddr . tcp dport @{set} tcp flags & (syn | rst) == 0 \
                 reject with tcp reset"
            ));
        }
    }
    for (hook, listener, chain) in leads {
        let matched = listener.matched();
        add(format_args!(
            "rule inet {name} {hook} {matched} goto {chain}"
        ));
    }
    add(format_args!(
        "rule inet {name} back ip saddr 127.0.0.0/8 ct status dnat \
         ct original ip daddr 127.0.0.0/8 masquerade"
    ));
    text
}

/// The rules that give new connections to the shares, for each family of addresses: a map, and behind
/// it one without, where the shares are all there is. For what a map holds is true for one generation
/// of the kernel's rules: a connection that comes while a transaction ends may be in the rule of before
/// and find its map empty. One endpoint alone needs no map.
fn dnat(shares: &[Share]) -> Vec<String> {
    let mut rules = Vec::new();
    for (family, is_v4) in [("ip", true), ("ip6", false)] {
        let of_family = || shares.iter().filter(|it| it.endpoint.is_ipv4() == is_v4);
        let Some(first) = of_family().next() else {
            continue;
        };
        let protocol = if is_v4 { "ipv4" } else { "ipv6" };
        let mut rule = |to: &str| {
            rules.push(format!(
                "meta nfproto {protocol} meta l4proto tcp dnat {family} to {to}"
            ));
        };
        let is_all = are_all(of_family());
        if !is_all || of_family().count() > 1 {
            let elements: Vec<_> = of_family()
                .map(|it| format!("{}-{} : {}", it.first, it.last, element(&it.endpoint)))
                .collect();
            let elements = elements.join(", ");
            rule(&format!("numgen random mod {WHOLE} map {{ {elements} }}"));
        }
        if is_all {
            rule(&first.endpoint.to_string());
        }
    }
    rules
}

/// Whether these, of one family of addresses, leave no connection to anything else.
pub(super) fn are_all<'a>(shares: impl Iterator<Item = &'a Share>) -> bool {
    let width = |it: &Share| it.last.saturating_sub(it.first).saturating_add(1);
    shares.map(width).sum::<u64>() == WHOLE
}

fn element(endpoint: &SocketAddr) -> String {
    format!("{} . {}", endpoint.ip(), endpoint.port())
}

/// What resets the connections that are open to these endpoints, if this generation still is true:
/// the sets of another one have other names.
pub(super) fn cut(name: &str, generation: u64, endpoints: &BTreeSet<SocketAddr>) -> String {
    let mut text = String::new();
    for endpoint in endpoints {
        let family = if endpoint.is_ipv4() { "ip" } else { "ip6" };
        let element = element(endpoint);
        line(
            &mut text,
            &format!("add element inet {name} cut_{family}_{generation} {{ {element} }}"),
        );
    }
    text
}

/// Whether the table sends new connections as `routing` wants it, and nowhere else.
pub(super) fn is_so(table: &Table, ways: &Ways, routing: &Routing) -> bool {
    table.marks == [mark(routing)]
        && !table.strange
        && table.shares == shares(routing)
        && table.preview == shown(ways, routing)
        && table.leads == leads(ways, routing)
}

/// What is found where no record fits: a route of nobody's release.
pub(super) fn routes(shares: &[Share]) -> Vec<Route> {
    routes_to(shares.iter().map(|share| share.endpoint))
}

/// All to these, as nobody's release; none where there are none.
pub(super) fn routes_to(endpoints: impl IntoIterator<Item = SocketAddr>) -> Vec<Route> {
    let endpoints: BTreeSet<_> = endpoints.into_iter().collect();
    let route = (!endpoints.is_empty()).then(|| Route {
        release: FOREIGN,
        slot: Slot::Blue,
        weight: 100,
        endpoints: endpoints.into_iter().collect(),
    });
    route.into_iter().collect()
}
