//! What a proxy does to the headers of a message, by RFC 9110 section 7.6.
//!
//! Headers that concern one connection are taken away and put back for the next one. `Trailer`
//! stays: it describes the message, and RFC 9110 no longer counts it among them.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATE: HeaderName = HeaderName::from_static("proxy-authenticate");
const PROXY_AUTHORIZATION: HeaderName = HeaderName::from_static("proxy-authorization");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The most fields of one head.
pub const HEADERS_MOST: usize = 256;

/// Carries the secret of this start of the proxy; never reaches a backend.
pub const TRACE: HeaderName = HeaderName::from_static("flipside-trace");
/// Tells which release answered, in the answer to a traced request only.
pub const RELEASE: HeaderName = HeaderName::from_static("flipside-release");

/// What the client is to the proxy, once per connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address as text.
    address: HeaderValue,
    /// Whether what it says about the hop before it is believed.
    nearby: bool,
    /// Port of the listener.
    port: HeaderValue,
}

impl Peer {
    /// A client at `ip` on a listener with `port`.
    ///
    /// An IPv4 client of a socket for both families is shown as IPv4.
    pub fn new(ip: IpAddr, port: u16) -> Peer {
        let ip = ip.to_canonical();
        Peer {
            address: HeaderValue::try_from(ip.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            nearby: match ip {
                IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
                IpAddr::V6(ip) => {
                    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
                }
            },
            port: HeaderValue::from(port),
        }
    }
}

/// What a request wants besides an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Answer,
    /// To change the protocol of its connection.
    Upgrade,
    /// A transfer coding that this proxy does not speak.
    UnknownCoding,
}

/// Makes the headers of a request fit for the backend.
pub fn forward_request(headers: &mut HeaderMap, host: Option<&HeaderValue>, peer: &Peer) -> Wish {
    let mut trailers_welcome = false;
    let mut chunked = false;
    let mut upgrade = None;
    if let Some(connection) = headers.remove_all(CONNECTION) {
        upgrade = connection
            .names_token("upgrade")
            .then(|| headers.get(UPGRADE).cloned())
            .flatten();
        remove_named(headers, &connection);
    }
    if let Some(te) = headers.remove_all(TE) {
        trailers_welcome = te.names_token("trailers");
    }
    if let Some(coding) = headers.remove_all(TRANSFER_ENCODING) {
        chunked = true;
        if !coding.is_only("chunked") {
            return Wish::UnknownCoding;
        }
    }
    headers.remove(UPGRADE);
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(PROXY_AUTHORIZATION);

    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if trailers_welcome {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.append(CONNECTION, HeaderValue::from_static("TE"));
    }
    add_forwarded(headers, host, peer);

    // Speaking HTTP/2 past a proxy that reads HTTP/1 would hide the requests in it.
    let harmless = |protocols: &HeaderValue| {
        let mut named = protocols.as_bytes().split(|byte| *byte == b',');
        !named.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    };
    match upgrade.filter(harmless) {
        Some(protocol) => {
            headers.insert(UPGRADE, protocol);
            headers.append(CONNECTION, HeaderValue::from_static("Upgrade"));
            Wish::Upgrade
        }
        None => {
            headers.remove(HTTP2_SETTINGS);
            Wish::Answer
        }
    }
}

/// Takes from the trailers of a request what only its head may say.
pub fn forward_trailers(trailers: &mut HeaderMap) {
    for name in [
        FORWARDED,
        FORWARDED_FOR,
        FORWARDED_PROTO,
        FORWARDED_HOST,
        FORWARDED_PORT,
        REAL_IP,
        TRACE,
        HOST,
        CONNECTION,
        CONTENT_LENGTH,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        trailers.remove(name);
    }
}

/// An answer in a transfer coding that this proxy does not speak.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownCoding;

/// Makes the headers of an answer fit for the client. `upgrade` keeps what a 101 needs.
///
/// # Errors
///
/// Where its body cannot be passed on.
pub fn forward_answer(headers: &mut HeaderMap, wish: &Wish) -> Result<(), UnknownCoding> {
    let protocol = match wish {
        Wish::Upgrade => headers.get(UPGRADE).cloned(),
        Wish::Answer | Wish::UnknownCoding => None,
    };
    if let Some(connection) = headers.remove_all(CONNECTION) {
        remove_named(headers, &connection);
    }
    if let Some(coding) = headers.remove_all(TRANSFER_ENCODING) {
        if !coding.is_only("chunked") {
            return Err(UnknownCoding);
        }
        // What it says is not how long the body is (RFC 9112, section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    for name in [
        UPGRADE,
        TE,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
    ] {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    Ok(())
}

fn add_forwarded(headers: &mut HeaderMap, host: Option<&HeaderValue>, peer: &Peer) {
    let before: Vec<u8> = headers
        .get_all(&FORWARDED_FOR)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b", "[..]);
    let chain = if before.is_empty() {
        peer.address.clone()
    } else {
        let chain = [&before[..], b", ", peer.address.as_bytes()].concat();
        HeaderValue::from_bytes(&chain).unwrap_or_else(|_| peer.address.clone())
    };
    headers.insert(FORWARDED_FOR, chain);

    if !peer.nearby {
        headers.remove(FORWARDED);
        headers.remove(REAL_IP);
    }
    // This proxy speaks no TLS to clients, so whoever does stands in front of it, on this machine
    // or in the same private network; only such a neighbour knows the outer protocol, host, port.
    let mut set = |name: HeaderName, value: &HeaderValue| {
        if !(peer.nearby && headers.contains_key(&name)) {
            headers.insert(name, value.clone());
        }
    };
    set(FORWARDED_PROTO, &HeaderValue::from_static("http"));
    set(FORWARDED_PORT, &peer.port);
    match host {
        Some(host) => set(FORWARDED_HOST, host),
        None if peer.nearby => {}
        None => {
            headers.remove(FORWARDED_HOST);
        }
    }
}

/// Removes what a `Connection` header names, but nothing that routing or framing rests on.
fn remove_named(headers: &mut HeaderMap, connection: &Lines) {
    for token in connection.tokens() {
        let Ok(name) = HeaderName::from_bytes(token) else {
            continue;
        };
        if ![HOST, TE, UPGRADE, TRANSFER_ENCODING, CONTENT_LENGTH].contains(&name) {
            headers.remove(name);
        }
    }
}

/// Every line of one header; the first is by far most often the only one.
struct Lines {
    first: HeaderValue,
    rest: Vec<HeaderValue>,
}

impl Lines {
    fn tokens(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    fn names_token(&self, wanted: &str) -> bool {
        self.tokens().any(|token| {
            let name = token.split(|byte| *byte == b';').next().unwrap_or(token);
            name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
        })
    }

    fn is_only(&self, wanted: &str) -> bool {
        let mut tokens = self.tokens();
        let first = tokens.next();
        first.is_some_and(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
            && tokens.next().is_none()
    }
}

trait RemoveAll {
    fn remove_all(&mut self, name: HeaderName) -> Option<Lines>;
}

impl RemoveAll for HeaderMap {
    fn remove_all(&mut self, name: HeaderName) -> Option<Lines> {
        match self.entry(name) {
            hyper::header::Entry::Vacant(_) => None,
            hyper::header::Entry::Occupied(entry) => {
                let (_, mut lines) = entry.remove_entry_mult();
                let first = lines.next()?;
                let rest = lines.collect();
                Some(Lines { first, rest })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn forwarded_by(ip: IpAddr) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        headers.insert(FORWARDED_HOST, HeaderValue::from_static("evil.example"));
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
        headers.insert(FORWARDED, HeaderValue::from_static("for=1.1.1.1"));
        headers.insert(REAL_IP, HeaderValue::from_static("1.1.1.1"));
        let host = HeaderValue::from_static("shop.example");
        forward_request(&mut headers, Some(&host), &Peer::new(ip, 8080));
        headers
    }

    #[test]
    fn a_stranger_is_not_believed_about_the_hop_before() {
        let headers = forwarded_by(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)));
        assert_eq!(headers[FORWARDED_PROTO], "http");
        assert_eq!(headers[FORWARDED_HOST], "shop.example");
        assert_eq!(headers[FORWARDED_PORT], "8080");
        assert_eq!(headers[FORWARDED_FOR], "1.1.1.1, 203.0.113.9");
        assert!(!headers.contains_key(FORWARDED) && !headers.contains_key(REAL_IP));
    }

    #[test]
    fn a_neighbour_is_believed_also_over_a_socket_for_both_families() {
        let mapped: Ipv6Addr = Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped();
        let headers = forwarded_by(IpAddr::V6(mapped));
        assert_eq!(headers[FORWARDED_PROTO], "https");
        assert_eq!(headers[FORWARDED_HOST], "evil.example");
        assert_eq!(headers[FORWARDED_FOR], "1.1.1.1, 10.0.0.7");
        assert_eq!(headers[FORWARDED], "for=1.1.1.1");
        assert_eq!(headers[REAL_IP], "1.1.1.1");
    }

    #[test]
    fn http_2_is_not_let_past_in_disguise() {
        for hidden in ["h2c", "websocket, H2C"] {
            let mut headers = HeaderMap::new();
            headers.insert(UPGRADE, HeaderValue::from_static(hidden));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            let peer = Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
            assert_eq!(forward_request(&mut headers, None, &peer), Wish::Answer);
            assert!(!headers.contains_key(UPGRADE) && !headers.contains_key(CONNECTION));
        }
    }
}
