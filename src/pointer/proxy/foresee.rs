//! What would keep a service from its listener: said before anything is touched, and again, where it
//! comes about later, by the proxy's own refusal.
//!
//! Who publishes the port is the engine's to say. Whether something else listens there is asked from
//! where it matters: from the proxy where it runs, else from this process where the engine's host is
//! this machine. Where neither can tell, nothing is foreseen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::{ContainerSummary, PortSummaryTypeEnum};
use bollard::query_parameters::ListContainersOptions;

use super::ProxyPlan;
use crate::core::names::{Millis, ServiceName};
use crate::proxy::check::{self, Check, Kind, Outcome};
use crate::proxy::claim::{Claim, Others};
use crate::proxy::control::{ClientError, ControlError};
use crate::proxy::table::reachable;

use super::line::{Line, Link, Reached, Ways};
use super::{PointerError, Site, container, words};

/// How long something that listens may take to let a connection in, in milliseconds.
const KNOCK_MS: Millis = 1_000;

/// Who can tell whether something listens.
enum AskedOf {
    /// The proxy.
    Proxy(Link),
    /// This process.
    Here,
    /// Nobody.
    Nobody,
}

/// Refuses a listener that cannot be had now, or that another service has.
///
/// # Errors
/// Where it is so, or engine or proxy cannot be asked.
pub(super) async fn foresee(
    line: &Line,
    service: &ServiceName,
    plan: &ProxyPlan,
) -> Result<(), PointerError> {
    if look(line, service, plan).await?.is_none() {
        return Ok(());
    }
    // What listens may be the proxy itself, which another service has brought there after it was
    // asked: then it says so now.
    match look(line, service, plan).await? {
        None => Ok(()),
        Some(address) => Err(words::taken(line.site(), address, plan)),
    }
}

/// The address at which something else listens, if one does.
async fn look(
    line: &Line,
    service: &ServiceName,
    plan: &ProxyPlan,
) -> Result<Option<SocketAddr>, PointerError> {
    let site = line.site();
    let slots = plan.slots();
    let claim = Claim {
        service: service.as_str(),
        listen: &plan.listen,
        hosts: &plan.hosts,
        shown: &plan.preview.hosts,
        slots: &slots,
    };
    // One that cannot be read, the plan's own checks have found.
    let addresses: Vec<_> = claim.addresses().map(|it| (it, Others::None)).collect();
    let asked = match line.reach(Ways::All).await? {
        Reached::Open(link) => AskedOf::Proxy(link),
        Reached::Absent | Reached::Stopped(_) if is_here(site).await? => AskedOf::Here,
        // One that does not answer may well be what listens.
        Reached::Absent | Reached::Stopped(_) | Reached::Deaf(..) => AskedOf::Nobody,
    };
    let addresses = match &asked {
        AskedOf::Proxy(link) => {
            link.knows(plan, site)?;
            let refused = |refusal| words::refusal(refusal, site, service, Some(plan));
            beside_others(link, site, &claim, refused).await?
        }
        AskedOf::Here | AskedOf::Nobody => addresses,
    };
    if addresses.is_empty() {
        return Ok(None);
    }
    let running = running(site).await?;
    for (address, others) in addresses {
        if let Some(container) = running.iter().find(|it| publishes(it, address)) {
            return Err(words::published(site, address, container, plan));
        }
        // A connection would find the proxy itself on the address that it is about to give up.
        if others == Others::None && listens(&asked, site, address).await? {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// The addresses that are not open for the service, and who may already listen there, as far as the
/// proxy's own services go.
async fn beside_others(
    link: &Link,
    site: &Site,
    claim: &Claim<'_>,
    refused: impl Copy + Fn(ControlError) -> PointerError,
) -> Result<Vec<(SocketAddr, Others)>, PointerError> {
    let away = |error: ClientError| site.away(error.to_string());
    let entries = link.client().list().await.map_err(away)?;
    claim.refuse_taken(&entries).map_err(refused)?;
    let hello = link.client().hello().await.map_err(away)?;
    let open = hello.listeners.iter().filter(|it| it.error.is_none());
    let open = open.map(|listener| listener.address);
    let mut closed = Vec::new();
    for address in claim.addresses() {
        let others = claim.others(address, &entries, open.clone());
        closed.extend(others.map_err(refused)?.map(|others| (address, others)));
    }
    Ok(closed)
}

/// The running containers.
async fn running(site: &Site) -> Result<Vec<ContainerSummary>, PointerError> {
    let options = ListContainersOptions::default();
    let running = site.docker.docker.list_containers(Some(options)).await;
    running.map_err(|error| container::asked(site, site.docker.fault(error)))
}

/// Whether `container` has published the port of `address`.
fn publishes(container: &ContainerSummary, address: SocketAddr) -> bool {
    let mut ports = container.ports.iter().flatten();
    ports.any(|port| {
        let tcp = port.typ == Some(PortSummaryTypeEnum::TCP);
        let ip = port.ip.as_deref().and_then(|ip| ip.parse().ok());
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        tcp && port.public_port == Some(address.port()) && meet(address.ip(), ip)
    })
}

/// Whether listening on `ours` would meet who listens on `theirs`; our own unspecified address takes
/// both families.
fn meet(ours: IpAddr, theirs: IpAddr) -> bool {
    let any = ours.is_unspecified() || theirs.is_unspecified();
    let both = ours.is_ipv6() && ours.is_unspecified();
    both || (ours.is_ipv4() == theirs.is_ipv4() && (any || ours == theirs))
}

/// Whether the engine's host is certainly this machine: its socket may lead elsewhere, or this process
/// be in a container.
async fn is_here(site: &Site) -> Result<bool, PointerError> {
    if !site.docker.is_local() {
        return Ok(false);
    }
    let engine = site.docker.docker.info().await;
    let engine = engine.map_err(|error| container::asked(site, site.docker.fault(error)))?;
    let own = rustix::system::uname();
    let (name, kernel) = (own.nodename().to_str().ok(), own.release().to_str().ok());
    Ok(engine.name.as_deref() == name && engine.kernel_version.as_deref() == kernel)
}

/// Whether something lets a connection in at `address`, as far as that can be seen.
async fn listens(asked: &AskedOf, site: &Site, address: SocketAddr) -> Result<bool, PointerError> {
    let knock = Check {
        kind: Kind::Tcp,
        address: reachable(address),
        timeout_ms: KNOCK_MS,
    };
    let outcome = match asked {
        AskedOf::Nobody => return Ok(false),
        AskedOf::Here => check::check(&knock).await,
        AskedOf::Proxy(link) => {
            let outcome = link.client().check(knock).await;
            outcome.map_err(|error| site.away(error.to_string()))?
        }
    };
    Ok(matches!(outcome, Outcome::Pass { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_would_get_the_same_clients_is_met() {
        let ip = |text: &str| text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for (ours, theirs, met) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "10.0.0.1", false),
            ("127.0.0.1", "0.0.0.0", true),
            ("127.0.0.1", "::", false),
            ("0.0.0.0", "10.0.0.1", true),
            ("0.0.0.0", "::", false),
            ("::", "10.0.0.1", true),
            ("::", "::1", true),
            ("::1", "10.0.0.1", false),
        ] {
            assert_eq!(meet(ip(ours), ip(theirs)), met, "{ours} beside {theirs}");
        }
    }
}
