//! Ports that are a test's own.

use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the kernel gives to outgoing connections and to who binds port 0, and below those
/// that a plan publishes at: none of them is taken by chance.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// What other test processes see of the ports that this one was given: a name for each, which the
/// kernel takes back with the process.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port at which nobody listens, and which no other test that runs at the same time is given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // Neighbours by number begin far from each other.
        let at = (start * 7_919 + step) % u32::from(COUNT);
        let port = FIRST + u16::try_from(at).unwrap();
        let name = UnixAddr::from_abstract_name(format!("flipside-test-port-{port}")).unwrap();
        let Ok(held) = UnixListener::bind_addr(&name) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().unwrap().push(held);
            return port;
        }
    }
    panic!("no port is free");
}

/// An address at which connections are refused.
pub fn refusing() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}
