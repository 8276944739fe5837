//! The connections that a network shows to a process in it. Runs beside a container, never where
//! flipside itself is called.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::{ProcError, ProcResult};
use tokio::time::Instant;

/// How long until it is looked again: what opens and ends in between is only seen where this side has
/// ended it.
const AGAIN: Duration = Duration::from_millis(10);

/// How many connections lead to `port` of the network that this process is in, without those of `but`
/// and of the network itself: as soon as there are any, and 0 once there was none for `watch`.
///
/// # Errors
/// Where the kernel does not list them.
pub async fn seen(port: u16, but: &[IpAddr], watch: Duration) -> ProcResult<u64> {
    let until = Instant::now() + watch;
    let is_open = |one: &TcpNetEntry| {
        use TcpState::{Established, NewSynRecv, SynRecv};
        matches!(one.state, Established | SynRecv | NewSynRecv)
    };
    let mut before: Option<BTreeSet<SocketAddr>> = None;
    loop {
        let all = connections(port, but)?;
        // What the client had ended when the look began may have ended before it was left; and what
        // is frozen never ends its side.
        let before = before.get_or_insert_with(|| {
            let over = all.iter().filter(|one| !is_open(one));
            over.map(|one| one.remote_address).collect()
        });
        let counts = |one: &&TcpNetEntry| is_open(one) || !before.contains(&one.remote_address);
        match all.iter().filter(counts).count() {
            0 if Instant::now() >= until => return Ok(0),
            0 => tokio::time::sleep(AGAIN).await,
            clients => return Ok(clients as u64),
        }
    }
}

fn connections(port: u16, but: &[IpAddr]) -> ProcResult<Vec<TcpNetEntry>> {
    let mut all = tcp()?;
    match tcp6() {
        Ok(more) => all.extend(more),
        // A kernel without IPv6 has no list of it.
        Err(ProcError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    all.retain(|one| {
        let from = one.remote_address.ip().to_canonical();
        let is_client = !matches!(one.state, TcpState::Listen | TcpState::Close);
        let is_own = from.is_loopback() || but.contains(&from);
        one.local_address.port() == port && is_client && !is_own
    });
    Ok(all)
}
