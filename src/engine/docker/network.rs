//! An environment's own network: which piece of the pool it gets, and its creation.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bollard::models::{ContainerSummary, Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;

use super::Docker;
use super::tear_down::gone;
use crate::docker::{Client, refused, refused_hint, status};
use crate::engine::EngineError;

/// How often the engine may refuse a piece of the pool.
const TRIES: usize = 16;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    pub(super) fn new(base: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            base: base.to_bits() & mask(prefix),
            prefix,
        }
    }

    /// Reads `10.213.0.0/26`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = text.split_once('/')?;
        let prefix: u8 = prefix.parse().ok().filter(|&prefix| prefix <= 32)?;
        Some(Self::new(base.parse().ok()?, prefix))
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        self.base & mask == other.base & mask
    }

    /// Its upper half.
    fn upper_half(self) -> Self {
        let prefix = (self.prefix + 1).min(32);
        Self {
            base: self.base | (mask(prefix) & !mask(self.prefix)),
            prefix,
        }
    }

    /// How many addresses its lower half has for containers.
    pub(super) fn lower_half(self) -> u32 {
        (1 << (31 - u32::from(self.prefix.min(30)))) - 2
    }

    /// The gateway's address: the first one.
    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base + 1)
    }

    /// The address of the container with this index, from 0: those after the gateway's.
    pub(super) fn address(self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base + 2 + index)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// How large a piece `containers` need: a /26, a /24 above 60, then four times more each.
fn piece(containers: u32) -> u8 {
    match containers {
        0..=60 => 26,
        61..=250 => 24,
        251..=1000 => 22,
        _ => 20,
    }
}

/// Whether an engine refuses a network because its piece is taken, in one way or the other: an engine
/// whose disk was full when it made a bridge lists no network of it, and keeps its addresses.
fn is_taken(said: &str) -> bool {
    said.contains("overlaps") || said.contains("overlapping IPv4")
}

/// The first piece of `pool` that overlaps nothing of `taken`.
pub(super) fn choose(pool: Subnet, containers: u32, taken: &[Subnet]) -> Option<Subnet> {
    let prefix = piece(containers);
    let pieces = 1u64.checked_shl(u32::from(prefix.checked_sub(pool.prefix)?))?;
    let size = 1u64 << (32 - prefix);
    (0..pieces)
        .filter_map(|n| u32::try_from(u64::from(pool.base) + n * size).ok())
        .map(|base| Subnet { base, prefix })
        .find(|piece| !taken.iter().any(|taken| taken.overlaps(*piece)))
}

/// The routes of this machine, the default one left out, from the text of `/proc/net/route`.
pub(super) fn routes(text: &str) -> Vec<Subnet> {
    let little = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let lines = text.lines().skip(1);
    let routes = lines.filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let base = little(fields.get(1)?)?;
        let prefix = u8::try_from(little(fields.get(7)?)?.leading_ones()).ok()?;
        (prefix > 0).then(|| Subnet::new(Ipv4Addr::from_bits(base), prefix))
    });
    routes.collect()
}

/// The subnets of a network.
pub(super) fn subnets(network: &Network) -> Vec<Subnet> {
    let configs = network
        .ipam
        .iter()
        .flat_map(|ipam| ipam.config.iter().flatten());
    let texts = configs.filter_map(|config| config.subnet.as_deref());
    texts.filter_map(Subnet::parse).collect()
}

/// All networks of the engine.
pub(super) async fn list(client: &Client) -> Result<Vec<Network>, EngineError> {
    let networks = client
        .docker
        .list_networks(None::<ListNetworksOptions>)
        .await;
    networks.map_err(|error| client.fault(error))
}

/// Host routes, where the engine's host is this one.
async fn host_routes(client: &Client) -> Vec<Subnet> {
    if !client.is_local() {
        return Vec::new();
    }
    // A system without that file has other means; the engine's own refusal remains.
    let text = tokio::fs::read_to_string("/proc/net/route").await;
    routes(&text.unwrap_or_default())
}

/// Which addresses the engine gives to containers for which none is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Any: every container is made with its own.
    Any,
    /// Those of the upper half, so that they are none of those that are asked for.
    UpperHalf,
}

/// A network to be.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) labels: HashMap<String, String>,
    /// Where its piece is taken from.
    pub(super) pool: (Ipv4Addr, u8),
    /// How many addresses it needs.
    pub(super) containers: u32,
    pub(super) unasked: Unasked,
}

/// Makes a network, which `networks` does not hold.
pub(super) async fn create(
    engine: &Docker,
    wanted: Wanted<'_>,
    networks: &[Network],
) -> Result<Own, EngineError> {
    let client = &engine.client;
    let Wanted {
        name,
        labels,
        pool,
        containers,
        unasked,
    } = wanted;
    let pool = Subnet::new(pool.0, pool.1);
    let mut taken: Vec<_> = networks.iter().flat_map(subnets).collect();
    taken.extend(host_routes(client).await);
    let mut last = String::new();
    for _ in 0..TRIES {
        let Some(subnet) = choose(pool, containers, &taken) else {
            return Err(refused_hint(
                format!("no piece of {pool} is free for the network `{name}`"),
                "remove networks that nothing uses (`flipside prune`), or widen `pools: {networks: …}`",
            ));
        };
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".into()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    gateway: Some(subnet.gateway().to_string()),
                    ip_range: (unasked == Unasked::UpperHalf)
                        .then(|| subnet.upper_half().to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            labels: Some(labels.clone()),
            ..NetworkCreateRequest::default()
        };
        match ask(engine, request).await? {
            Ok(()) => return settle(engine, name).await,
            Err(error) if status(&error).is_some() => {
                let EngineError::Failed(failure) = client.fault(error) else {
                    continue;
                };
                if failure.what.contains("already exists") {
                    return settle(engine, name).await;
                }
                if !is_taken(&failure.what) {
                    return Err(refused(format!("network `{name}`: {}", failure.what)));
                }
                last = failure.what;
                taken.push(subnet);
                taken.extend(list(client).await?.iter().flat_map(subnets));
            }
            Err(error) => return Err(client.fault(error)),
        }
    }
    Err(refused_hint(
        format!("the engine refused {TRIES} pieces of {pool} for the network `{name}`: {last}"),
        "give the plan another range with `pools: {networks: …}`",
    ))
}

/// A network of ours that is there.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) name: String,
    id: String,
    pub(super) subnet: Subnet,
}

impl Own {
    /// `None` where it has no subnet that we understand.
    pub(super) fn of(name: &str, network: &Network) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            id: network.id.clone()?,
            subnet: subnets(network).first().copied()?,
        })
    }

    /// Makes this the only network of its name. Another one is what a killed call had still asked
    /// for: the engine makes networks one after the other.
    pub(super) async fn make_unique(&self, engine: &Docker) -> Result<(), EngineError> {
        let client = &engine.client;
        let named = list(client).await?.into_iter();
        let named = named.filter(|network| network.name.as_deref() == Some(&self.name));
        for id in named.filter_map(|network| network.id) {
            if id == self.id {
                continue;
            }
            gone(client, client.docker.remove_network(&id).await)?;
        }
        Ok(())
    }
}

/// The network of this name that is kept where there are several, since an engine lets racers make
/// two: the one with the id `used`, else the oldest. So every call, a killed one's late ones
/// included, keeps the same.
pub(super) fn choose_named<'a>(
    networks: &'a [Network],
    name: &str,
    used: Option<&str>,
) -> Option<&'a Network> {
    let named = networks
        .iter()
        .filter(|network| network.name.as_deref() == Some(name));
    named.min_by_key(|network| {
        let created = network.created.as_deref();
        let created: Option<jiff::Timestamp> = created.and_then(|text| text.parse().ok());
        let is_used = used.is_some() && network.id.as_deref() == used;
        (!is_used, created, network.id.as_deref())
    })
}

/// The id of the network of this name that a container is in, once it has been started.
pub(super) fn id_in(container: &ContainerSummary, name: &str) -> Option<String> {
    let networks = container.network_settings.as_ref()?.networks.as_ref()?;
    let id = networks.get(name)?.network_id.clone()?;
    (!id.is_empty()).then_some(id)
}

/// Asks for a network. Who does not wait for it to the end leaves the engine at it: it is waited for
/// then by who removes.
async fn ask(
    engine: &Docker,
    request: NetworkCreateRequest,
) -> Result<Result<(), bollard::errors::Error>, EngineError> {
    let made = Arc::clone(&engine.making).read_owned().await;
    let docker = engine.client.docker.clone();
    let asked = tokio::spawn(async move {
        let answer = docker.create_network(request).await;
        drop(made);
        answer.map(drop)
    });
    asked
        .await
        .map_err(|error| refused(format!("a network was not asked for to the end: {error}")))
}

/// The one network of this name, once one has been made.
async fn settle(engine: &Docker, name: &str) -> Result<Own, EngineError> {
    let networks = list(&engine.client).await?;
    let own = choose_named(&networks, name, None).and_then(|network| Own::of(name, network));
    let own = own.ok_or_else(|| refused(format!("the network `{name}` has vanished")))?;
    own.make_unique(engine).await?;
    Ok(own)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn net(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    #[test]
    fn the_first_free_piece_is_taken() {
        let pool = net("10.213.0.0/16");
        let check = |containers, taken: &[&str], expected: Option<&str>| {
            let taken: Vec<_> = taken.iter().map(|text| net(text)).collect();
            let chosen = choose(pool, containers, &taken).map(|subnet| subnet.to_string());
            assert_eq!(chosen.as_deref(), expected, "{containers} {taken:?}");
        };
        check(1, &[], Some("10.213.0.0/26"));
        check(60, &["10.213.0.0/26"], Some("10.213.0.64/26"));
        check(61, &["10.213.0.0/26"], Some("10.213.1.0/24"));
        check(
            1,
            &["10.213.0.0/24", "172.17.0.0/16"],
            Some("10.213.1.0/26"),
        );
        check(1, &["10.213.0.64/26"], Some("10.213.0.0/26"));
        check(
            1,
            &["10.213.0.32/27", "10.213.0.64/30"],
            Some("10.213.0.128/26"),
        );
        check(1, &["10.0.0.0/8"], None);
        check(1, &["0.0.0.0/0"], None);
        assert_eq!(choose(net("10.0.0.0/26"), 61, &[]), None);
        assert_eq!(
            choose(net("255.255.255.192/26"), 1, &[]),
            Some(net("255.255.255.192/26"))
        );
    }

    #[test]
    fn addresses_follow_the_gateway() {
        let subnet = net("10.213.0.64/26");
        assert_eq!(subnet.gateway().to_string(), "10.213.0.65");
        assert_eq!(subnet.address(0).to_string(), "10.213.0.66");
        assert_eq!(subnet.address(60).to_string(), "10.213.0.126");
        assert_eq!(subnet.upper_half().to_string(), "10.213.0.96/27");
        let last = subnet.address(subnet.lower_half() - 1);
        assert_eq!(last.to_string(), "10.213.0.95");
    }

    #[test]
    fn host_routes_are_read_without_the_default_one() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(routes(text), [net("10.213.0.0/24")]);
        assert_eq!(routes("garbage"), []);
    }
}
