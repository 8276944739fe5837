//! Where servers are: addresses in plans, names in the zone, names of the world.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::Name;
use hickory_resolver::TokioResolver;

use super::sets::name;

/// The port of DNS.
const PORT: u16 = 53;

/// A server of a plan's: an address or a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    At(IpAddr),
    Called(Name),
}

/// A server that is asked, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    pub at: SocketAddr,
    pub name: String,
}

impl Place {
    /// `192.0.2.1`, `192.0.2.1:53`, `[2001:db8::1]:53`, `ns1.example.org`, `ns1.example.org:53`.
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Some(Self {
                host: Host::At(at.ip()),
                port: at.port(),
            });
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self {
                host: Host::At(address),
                port: PORT,
            });
        }
        let (called, port) = match text.rsplit_once(':') {
            Some((called, port)) => (called, port.parse().ok()?),
            None => (text, PORT),
        };
        Some(Self {
            host: Host::Called(name(called)?),
            port,
        })
    }

    /// One called so, at the usual port.
    pub fn called(name: &Name) -> Self {
        Self {
            host: Host::Called(name.clone()),
            port: PORT,
        }
    }

    /// The name whose addresses are wanted to find it; none where it is one itself.
    pub fn name(&self) -> Option<&Name> {
        match &self.host {
            Host::At(_) => None,
            Host::Called(name) => Some(name),
        }
    }

    /// It, or all that its name leads to at `addresses`.
    pub fn at(&self, addresses: Vec<IpAddr>) -> Vec<Server> {
        let server = |address, name: Option<&Name>| {
            let at = SocketAddr::from((address, self.port));
            let name =
                name.map_or_else(|| at.to_string(), |name| format!("{} ({at})", plain(name)));
            Server { at, name }
        };
        match &self.host {
            Host::At(address) => vec![server(*address, None)],
            Host::Called(name) => {
                let addresses = addresses.into_iter();
                addresses
                    .map(|address| server(address, Some(name)))
                    .collect()
            }
        }
    }
}

/// A name as people write it: without the dot at its end.
pub fn plain(name: &Name) -> String {
    let text = name.to_string();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// The addresses of a name, as this machine's resolver knows them.
pub async fn of_the_world(name: &Name) -> Result<Vec<IpAddr>, String> {
    let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let found = resolver.lookup_ip(name.clone()).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_a_name_and_has_a_port() {
        for (text, wanted) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            let at = wanted.parse::<SocketAddr>();
            let place = at.map(|at| Place {
                host: Host::At(at.ip()),
                port: at.port(),
            });
            assert_eq!(Place::read(text), place.ok(), "{text}");
        }
        let name = name("ns1.example.org");
        let place = name.map(|name| Place {
            host: Host::Called(name),
            port: 5353,
        });
        assert!(place.is_some());
        assert_eq!(Place::read("NS1.example.org:5353"), place);
        for wrong in ["", "ns1:x", "a..b"] {
            assert_eq!(Place::read(wrong), None, "{wrong}");
        }
    }
}
