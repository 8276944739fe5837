//! What the kernel must be set to, and its refusals in a person's words.

use std::net::IpAddr;

use super::super::PointerError;
use super::program::Ran;
use super::rules::Ways;

/// What a program that did not do it has said.
pub(super) fn words(ran: &Ran) -> String {
    let first = ran.err.lines().map(str::trim).find(|line| !line.is_empty());
    match first {
        Some(line) if line.contains("Operation not permitted") => {
            format!("this user may not ask for it ({line}): run flipside with CAP_NET_ADMIN")
        }
        Some(line) => format!("nft says: {line}"),
        None => format!("nft ended with {}", ran.status),
    }
}

/// Refuses addresses from which the kernel leads nothing on.
pub(super) async fn forwarding(ways: &Ways) -> Result<(), PointerError> {
    let is = |family: fn(&IpAddr) -> bool| {
        let mut addresses = ways.all().filter_map(|listener| listener.address);
        addresses.any(|ip| family(&ip))
    };
    let any = ways.all().any(|listener| listener.address.is_none());
    let mut needed = Vec::new();
    if any || is(IpAddr::is_ipv4) {
        needed.push("net.ipv4.ip_forward");
    }
    if is(IpAddr::is_ipv6) {
        needed.push("net.ipv6.conf.all.forwarding");
    }
    if is(|ip| ip.is_ipv4() && ip.is_loopback()) {
        needed.push("net.ipv4.conf.all.route_localnet");
    }
    for name in needed {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let set = tokio::fs::read_to_string(&path).await.unwrap_or_default();
        if set.trim() == "0" {
            return Err(PointerError::Failed {
                what: format!(
                    "the kernel leads nothing from `listen` on to containers: `{name}` is 0"
                ),
                hint: Some(format!(
                    "`sysctl -w {name}=1`, and a line `{name} = 1` in /etc/sysctl.d/flipside.conf"
                )),
            });
        }
    }
    Ok(())
}
