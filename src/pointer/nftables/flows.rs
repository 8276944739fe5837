//! Connections that the kernel tracks: from where to where, and who answers.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::netlink::{HEADERS, ask, attribute, message};
use super::program;
use crate::core::names::Release;
use crate::core::routing::Route;

/// One tracked TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Flow {
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// Where its answers come from: the endpoint.
    pub by: SocketAddr,
    /// Where they go: to whom asked, as the endpoint sees that.
    pub back: SocketAddr,
    /// Whether either side may still send.
    pub open: bool,
}

/// All that are tracked where this thread is. `/proc/net` would be those of the main thread.
///
/// # Errors
/// Why they cannot be told.
pub(super) async fn all() -> Result<Vec<Flow>, String> {
    if let Ok(text) = tokio::fs::read_to_string("/proc/thread-self/net/nf_conntrack").await {
        return Ok(read(&text));
    }
    let ran = program::run("conntrack", &["-L", "-p", "tcp"], None).await;
    let ran = ran.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "neither `/proc/net/nf_conntrack` nor the program `conntrack` is there: \
             install the package `conntrack`"
                .to_owned()
        }
        _ => format!("`conntrack`: {error}"),
    })?;
    match ran.status.success() {
        true => Ok(read(&ran.out)),
        false => Err(format!("`conntrack -L` says: {}", ran.err.trim())),
    }
}

/// Reads either form.
fn read(text: &str) -> Vec<Flow> {
    text.lines().filter_map(flow).collect()
}

fn flow(line: &str) -> Option<Flow> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == "tcp")?;
    let words: Vec<_> = words.collect();
    let all = |key: &str| {
        let values = words.iter().filter_map(|word| word.strip_prefix(key));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let (from, to) = (all("src="), all("dst="));
    let (from_ports, to_ports) = (all("sport="), all("dport="));
    let at = |ips: &[String], ports: &[String], index: usize| {
        let ip: IpAddr = ips.get(index)?.parse().ok()?;
        Some(SocketAddr::new(ip, ports.get(index)?.parse().ok()?))
    };
    let states = [
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
    ];
    Some(Flow {
        from: at(&from, &from_ports, 0)?,
        to: at(&to, &to_ports, 0)?,
        by: at(&from, &from_ports, 1)?,
        back: at(&to, &to_ports, 1)?,
        open: words.iter().any(|word| states.contains(word)),
    })
}

/// `NFNL_SUBSYS_CTNETLINK` of `linux/netfilter/nfnetlink.h`, in the place that it has in a type, and
/// `IPCTNL_MSG_CT_NEW` of `linux/netfilter/nfnetlink_conntrack.h`, which changes one that is there.
const CHANGE: u16 = 1 << 8;
/// `NLM_F_ACK` of `linux/netlink.h`.
const ACK: u16 = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `CTA_TUPLE_REPLY`, and in it `CTA_TUPLE_IP` and `CTA_TUPLE_PROTO`.
const REPLY: u16 = NESTED | 2;
const ADDRESSES: u16 = NESTED | 1;
const PROTOCOL: u16 = NESTED | 2;
/// `CTA_PROTOINFO`, and in it `CTA_PROTOINFO_TCP`.
const INFO: u16 = NESTED | 4;
const TCP: u16 = NESTED | 1;
/// `TCP_CONNTRACK_TIME_WAIT` of `linux/netfilter/nf_conntrack_tcp.h`.
const TIME_WAIT: u8 = 7;
/// `IP_CT_TCP_FLAG_CLOSE_INIT`: one side has closed it.
const CLOSED: u8 = 4;

/// Tells the kernel that a connection has come to its end. What is still sent goes where it went; who
/// comes from the same port again begins a new one, and is not led after the old one. It is found by
/// where its answers come from, so it is never another one to another endpoint. One that is gone is no
/// error.
///
/// # Errors
/// Where the kernel does not take it.
pub(super) fn end(flow: &Flow) -> io::Result<()> {
    let (family, addresses) = match (flow.by.ip(), flow.back.ip()) {
        (IpAddr::V4(by), IpAddr::V4(back)) => (
            libc::AF_INET,
            [attribute(1, &by.octets()), attribute(2, &back.octets())],
        ),
        (IpAddr::V6(by), IpAddr::V6(back)) => (
            libc::AF_INET6,
            [attribute(3, &by.octets()), attribute(4, &back.octets())],
        ),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let protocol = [
        attribute(1, &[libc::IPPROTO_TCP as u8]),
        attribute(2, &flow.by.port().to_be_bytes()),
        attribute(3, &flow.back.port().to_be_bytes()),
    ];
    let tuple = [
        attribute(ADDRESSES, &addresses.concat()),
        attribute(PROTOCOL, &protocol.concat()),
    ];
    let state = [
        attribute(1, &[TIME_WAIT]),
        attribute(4, &[CLOSED, CLOSED]),
        attribute(5, &[CLOSED, CLOSED]),
    ];
    let words = [
        attribute(REPLY, &tuple.concat()),
        attribute(INFO, &attribute(TCP, &state.concat())),
    ];
    let answer = ask(&message(CHANGE, ACK, family as u8, &words.concat()))?;
    match code(&answer) {
        Some(0) => Ok(()),
        Some(code) if code == -libc::ENOENT => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The number of an `nlmsgerr`, which stands behind the first of the headers: 0, or an error below it.
fn code(answer: &[u8]) -> Option<i32> {
    let bytes = answer.get(16..HEADERS)?.try_into().ok()?;
    Some(i32::from_ne_bytes(bytes))
}

/// Who has answered what is new, where that is one release alone. On the host, who asks one of its
/// addresses does so from that address: where there are such connections the others are not ours.
pub(super) fn answered(
    before: &BTreeSet<Flow>,
    after: &BTreeSet<Flow>,
    routes: &[Route],
) -> Option<Release> {
    let ends = |flow: &Flow| (flow.from, flow.to, flow.by);
    let known: BTreeSet<_> = before.iter().map(ends).collect();
    let new = || after.iter().filter(|flow| !known.contains(&ends(flow)));
    let is_own = |flow: &&Flow| flow.from.ip() == flow.to.ip();
    let any_own = new().any(|flow| is_own(&flow));
    let of = |flow: &Flow| {
        let mut leads = routes.iter();
        let route = leads.find(|route| route.endpoints.contains(&flow.by));
        route.map(|route| route.release)
    };
    let ours = new().filter(|flow| !any_own || is_own(flow));
    let answered: BTreeSet<_> = ours.map(of).collect();
    let mut answered = answered.into_iter();
    let first = answered.next().flatten();
    first.filter(|_| answered.next().is_none())
}

#[cfg(test)]
#[test]
fn both_forms_are_read() {
    let tail = "431999 ESTABLISHED src=10.9.0.2 dst=10.9.0.1 sport=4000 dport=80 src=10.9.1.2 \
                dst=10.9.0.2 sport=8080 dport=4000 [ASSURED] mark=0 use=1";
    let at = |text: &str| text.parse().ok();
    for head in ["ipv4     2 tcp      6", "tcp      6"] {
        let found = read(&format!("{head} {tail}\n"));
        assert_eq!(found.len(), 1);
        assert_eq!(Some(found[0].by), at("10.9.1.2:8080"));
        assert_eq!(Some(found[0].to), at("10.9.0.1:80"));
        assert_eq!(Some(found[0].back), at("10.9.0.2:4000"));
        assert!(found[0].open);
    }
    assert!(
        !read(&format!(
            "tcp 6 {}",
            tail.replace("ESTABLISHED", "TIME_WAIT")
        ))[0]
            .open
    );
    assert_eq!(read("ipv4 2 udp 17 29 src=1.2.3.4 dst=1.2.3.4"), []);
}
