//! The routing table as it is kept on disk and sent over the control socket: one [`Entry`] per
//! service, one file per entry.
//!
//! The format is version 1. Unknown fields are ignored, so that a later minor addition does not
//! make an entry unreadable; a higher `v` is refused, and the file is left alone. It does not
//! know sockets, connections or the running proxy.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The newest version of [`Entry`] this build reads, and the one it writes.
pub const VERSION: u32 = 1;

/// Everything the proxy knows about one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of the format: 1.
    pub v: u32,
    /// Name of the service: a DNS label.
    pub service: String,
    /// Where the proxy listens for it: `:8080`, `127.0.0.1:8080` or `[::]:8080`. Empty where it has
    /// [slots](Entry::slots).
    #[serde(default)]
    pub listen: String,
    /// Host names routed to it. Empty: the default of that listener.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Raised by one with every write. The proxy sets it.
    pub generation: u64,
    /// Fencing number of the last writer; a lower one is refused.
    pub fence: u64,
    /// Who wrote it last.
    #[serde(default)]
    pub author: String,
    /// Why it was written last.
    #[serde(default)]
    pub reason: String,
    /// When it was written last, in milliseconds since the Unix epoch, by the writer's clock.
    #[serde(default)]
    pub at_ms: u64,
    /// The environments that get traffic, or none.
    #[serde(default)]
    pub environments: Vec<EnvironmentRoute>,
    /// What became true of a release after its creation, by release number.
    #[serde(default, deserialize_with = "by_release")]
    pub marks: BTreeMap<u64, Marks>,
    /// When an unconfirmed switch is to go back. Stored and returned, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// What is shown beside what serves, and to whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Where the proxy passes connections on as they are, by slot (`blue`, `green`): addresses as in
    /// [`Entry::listen`]. Empty: it speaks HTTP there instead. An older proxy does not know this, and
    /// refuses such an entry for want of `listen`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, String>,
}

/// The slots that there are.
const SLOTS: [&str; 2] = ["blue", "green"];

/// An environment that is shown to those who ask for it, by either way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preview {
    /// The release, one of [`Entry::environments`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// The header that asks for it, with its value: `X-Preview: yes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The host names that do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// One environment in the routing of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRoute {
    /// Number of the release.
    pub release: u64,
    /// `blue` or `green`.
    #[serde(default)]
    pub slot: String,
    /// Share of new requests, relative to the sum of all weights. 0: none.
    pub weight: u32,
    /// Where its replicas answer.
    pub endpoints: Vec<SocketAddr>,
}

/// What became true of a release after its creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// All its probes have passed.
    #[serde(default)]
    pub proven: bool,
    /// Generation of the pointer move that made it live.
    #[serde(default)]
    pub served: Option<u64>,
    /// A rollback or a revert has left it.
    #[serde(default)]
    pub withdrawn: bool,
}

/// A time at which an unconfirmed switch goes back, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The environments to go back to.
    pub back_to: Vec<EnvironmentRoute>,
}

/// Reads a map keyed by numbers from an object keyed by their text.
///
/// Needed because serde buffers the content of a tagged enum, where keys stay text.
fn by_release<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<u64, Marks>, D::Error> {
    BTreeMap::<String, Marks>::deserialize(from)?
        .into_iter()
        .map(|(release, marks)| match release.parse() {
            Ok(release) => Ok((release, marks)),
            Err(_) => Err(serde::de::Error::custom(format!(
                "`{release}` is no release number"
            ))),
        })
        .collect()
}

impl Entry {
    /// Whether this entry says the same as `other`, apart from its generation and time.
    pub fn says_the_same_as(&self, other: &Entry) -> bool {
        let timeless = |entry: &Entry| Entry {
            generation: 0,
            at_ms: 0,
            ..entry.clone()
        };
        timeless(self) == timeless(other)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    ///
    /// What is wrong, for a person to read.
    pub fn check(&self) -> Result<(), String> {
        if self.v != VERSION {
            return Err(format!("entry has version {}, not {VERSION}", self.v));
        }
        check_service_name(&self.service)?;
        if self.slots.is_empty() {
            parse_listen(&self.listen)?;
        } else {
            self.check_slots()?;
        }
        let shown = self.preview.iter().flat_map(|preview| &preview.hosts);
        for host in self.hosts.iter().chain(shown) {
            if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
                return Err(format!("`{host}` is no host name"));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for environment in &self.environments {
            if !seen.insert(environment.release) {
                return Err(format!("release {} is named twice", environment.release));
            }
        }
        Ok(())
    }

    fn check_slots(&self) -> Result<(), String> {
        if !self.listen.is_empty() || !self.hosts.is_empty() || self.preview.is_some() {
            return Err(
                "an entry with slots, which pass on what they do not read, has neither `listen` \
                 nor hosts nor a preview"
                    .into(),
            );
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for (slot, at) in &self.slots {
            if !SLOTS.contains(&slot.as_str()) {
                return Err(format!("`{slot}` is no slot: `blue` or `green`"));
            }
            let address = parse_listen(at)?;
            if addresses.iter().any(|other| meet(*other, address)) {
                return Err(format!("both slots have the address {address}"));
            }
            addresses.push(address);
        }
        let mut attached: BTreeMap<&str, u64> = BTreeMap::new();
        for environment in self.environments.iter().filter(|it| it.weight > 0) {
            let (slot, release) = (environment.slot.as_str(), environment.release);
            if !self.slots.contains_key(slot) {
                return Err(format!(
                    "release {release} hangs on the slot `{slot}`, which has no address"
                ));
            }
            if let Some(other) = attached.insert(slot, release) {
                return Err(format!(
                    "releases {other} and {release} both hang on the slot `{slot}`"
                ));
            }
        }
        Ok(())
    }

    /// Every address that is this service's, listened on or not.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        addresses(&self.listen, &self.slots)
    }

    /// The addresses to listen on. A slot that no environment hangs on is not among them: who comes
    /// there is refused by the system, which every client knows for what it is.
    pub fn listens(&self) -> impl Iterator<Item = SocketAddr> {
        let attached = |slot: &str| {
            let mut environments = self.environments.iter();
            environments.any(|it| it.weight > 0 && it.slot == slot)
        };
        let slots = self.slots.iter().filter(move |(slot, _)| attached(slot));
        let own = self.slots.is_empty().then_some(&self.listen);
        let all = own.into_iter().chain(slots.map(|(_, at)| at));
        all.filter_map(|at| parse_listen(at).ok())
    }
}

/// The addresses of a service that listens there, or has these slots.
pub fn addresses<'a>(
    listen: &'a str,
    slots: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = SocketAddr> + use<'a> {
    let own = slots.is_empty().then_some(listen);
    let all = own.into_iter().chain(slots.values().map(String::as_str));
    all.filter_map(|at| parse_listen(at).ok())
}

/// Whether sockets on both addresses would get the same clients.
pub fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip() == other.ip())
}

/// Checks that `name` is a DNS label in lower case, and with that safe as a file name.
///
/// # Errors
///
/// What is wrong, for a person to read.
pub fn check_service_name(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is no service name: up to 63 lower-case letters, digits and inner hyphens"
        ))
    }
}

/// Reads a listening address; `:8080` means every address of the machine, IPv6 and IPv4.
///
/// # Errors
///
/// What is wrong, for a person to read.
pub fn parse_listen(listen: &str) -> Result<SocketAddr, String> {
    let parsed = match listen.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        None => listen.parse().ok(),
    };
    match parsed {
        Some(address) if address.port() != 0 => Ok(address),
        _ => Err(format!(
            "`{listen}` is no address to listen on: write `:8080`, `127.0.0.1:8080` or `[::]:8080`"
        )),
    }
}

/// The address at which this machine reaches a listener on `listen`.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}
