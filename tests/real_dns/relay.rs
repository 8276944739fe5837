//! What stands between flipside and a name server, and does not pass on all that it gets.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::support::backends::{free_port, until};

/// What becomes of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is done, and the connection breaks before the answer.
    CutOff,
    /// As that, and nothing is passed on after it.
    Dark,
    /// It never arrives.
    Swallowed,
    /// It arrives when it is let go.
    Held,
}

/// A relay, ended when it is dropped.
pub struct Relay {
    pub at: SocketAddr,
    /// Whether an update is held.
    pub held: watch::Receiver<bool>,
    /// Lets it go.
    pub go: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

impl Relay {
    /// One before the server at `to`.
    pub async fn start(to: SocketAddr, trouble: Trouble) -> Self {
        let (udp, tcp) = until("a port for both", async || {
            let at = ("127.0.0.1", free_port());
            let udp = UdpSocket::bind(at).await.ok()?;
            Some((udp, TcpListener::bind(at).await.ok()?))
        })
        .await;
        let at = tcp.local_addr().unwrap();
        let (dark, is_dark) = watch::channel(false);
        let (hold, held) = watch::channel(false);
        let go = Arc::new(Notify::new());
        let gate = Arc::clone(&go);
        let questions = tokio::spawn(async move {
            let mut bytes = vec![0; 65_535];
            while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
                if *is_dark.borrow() {
                    continue;
                }
                let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                server.send_to(&bytes[..length], to).await.unwrap();
                let length = server.recv(&mut bytes).await.unwrap();
                udp.send_to(&bytes[..length], from).await.unwrap();
            }
        });
        let updates = tokio::spawn(async move {
            while let Ok((client, _)) = tcp.accept().await {
                if *dark.borrow() {
                    continue;
                }
                // A client that goes away is its own affair.
                relay(client, to, trouble, &dark, &hold, &gate).await.ok();
            }
        });
        Self {
            at,
            held,
            go,
            tasks: [questions, updates],
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok([&length.to_be_bytes()[..], &bytes].concat())
}

async fn relay(
    mut client: TcpStream,
    to: SocketAddr,
    trouble: Trouble,
    dark: &watch::Sender<bool>,
    hold: &watch::Sender<bool>,
    gate: &Notify,
) -> std::io::Result<()> {
    let asked = message(&mut client).await?;
    // RFC 1035, section 4.1.1: the code of the operation; 5 is an update.
    let is_update = (asked[4] >> 3) & 15 == 5;
    if is_update && trouble == Trouble::Swallowed {
        return Ok(());
    }
    if is_update && trouble == Trouble::Held {
        hold.send_replace(true);
        gate.notified().await;
    }
    let mut server = TcpStream::connect(to).await?;
    server.write_all(&asked).await?;
    let answer = message(&mut server).await?;
    match (is_update, trouble) {
        (true, Trouble::Dark) => {
            dark.send_replace(true);
            Ok(())
        }
        // Dropped without a word.
        (true, Trouble::CutOff) => Ok(()),
        _ => client.write_all(&answer).await,
    }
}
