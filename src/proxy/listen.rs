//! Sockets to listen on: one for each worker, on the same address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that wait to be taken, per socket.
const BACKLOG: i32 = 4096;

/// Who may already listen where sockets are to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    None,
    /// This process, on an address that is about to be given up.
    Own,
}

/// Opens `number` sockets on `address`.
///
/// # Errors
///
/// Where others than `others` already listen there: several sockets may share an address only
/// because all of them are ours.
pub fn open(address: SocketAddr, number: usize, others: Others) -> io::Result<Vec<TcpListener>> {
    match open_exactly(address, number, others) {
        // A machine without IPv6 has no unspecified IPv6 address to listen on.
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
        {
            let ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            open_exactly(SocketAddr::new(ip, address.port()), number, others)
        }
        other => other,
    }
}

/// Has the other end of `socket` asked now and then whether it is still there.
///
/// # Errors
///
/// Where the system does not know such a thing.
pub fn keep_alive(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4),
    )
}

fn open_exactly(
    address: SocketAddr,
    number: usize,
    others: Others,
) -> io::Result<Vec<TcpListener>> {
    // With SO_REUSEPORT the kernel would let this share an address with another process of the
    // same user. A socket without it finds that out; it never listens and is closed at once.
    if others == Others::None {
        let alone = socket(address)?;
        alone.bind(&address.into())?;
    }
    (0..number)
        .map(|_| {
            let socket = socket(address)?;
            socket.set_reuse_port(true)?;
            // A client's connection takes these over from the socket it comes in at.
            socket.set_tcp_nodelay(true)?;
            keep_alive(&socket)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}
