//! What stands between flipside and a name server, and does not pass on all that it gets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::DNSClass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::support::backends::until;
use crate::support::held::{Keeper, Moment, pass};
use crate::support::ports::free_port;

/// What becomes of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is done, and the connection breaks before the answer.
    CutOff,
    /// As that, and nothing is passed on after it.
    Dark,
    /// It never arrives.
    Swallowed,
    /// Nothing, unless something is [held](Relay::kept).
    None,
}

/// How all of its connections behave.
struct Way {
    to: SocketAddr,
    trouble: Trouble,
    is_dark: Mutex<bool>,
    /// Where updates go instead.
    decoy: Mutex<Option<SocketAddr>>,
    asked: AtomicUsize,
    kept: Keeper<()>,
}

/// A relay, ended when it is dropped.
pub struct Relay {
    pub at: SocketAddr,
    way: Arc<Way>,
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// One before the server at `to`.
    pub async fn start(to: SocketAddr, trouble: Trouble) -> Self {
        let (udp, tcp) = until("a port for both", async || {
            bound(([127, 0, 0, 1], free_port()).into()).await
        })
        .await;
        let at = tcp.local_addr().unwrap();
        let way = Arc::new(Way {
            to,
            trouble,
            is_dark: Mutex::default(),
            decoy: Mutex::default(),
            asked: AtomicUsize::default(),
            kept: Keeper::default(),
        });
        let tasks = Vec::new();
        let mut relay = Self { at, way, tasks };
        relay.serve(udp, tcp);
        relay
    }

    fn serve(&mut self, udp: UdpSocket, tcp: TcpListener) {
        let [one, two] = [(); 2].map(|()| Arc::clone(&self.way));
        self.tasks = vec![
            tokio::spawn(questions(Arc::new(udp), one)),
            tokio::spawn(updates(tcp, two)),
        ];
    }

    /// Down: nobody listens there, as at a server's that is down.
    pub async fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }

    /// Up again.
    pub async fn again(&mut self) {
        let at = self.at;
        let (udp, tcp) = until("its port", async || bound(at).await).await;
        self.serve(udp, tcp);
    }

    /// Keeps an update waiting that changes something.
    pub fn kept(&self) -> &Keeper<()> {
        &self.way.kept
    }

    /// How many messages came by.
    pub fn asked(&self) -> usize {
        self.way.asked.load(Ordering::Relaxed)
    }

    /// Updates are told to another server from now on, or no longer; questions are not.
    pub fn tells(&self, decoy: Option<SocketAddr>) {
        *self.way.decoy.lock().unwrap() = decoy;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn bound(at: SocketAddr) -> Option<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(at).await.ok()?;
    Some((udp, TcpListener::bind(at).await.ok()?))
}

impl Way {
    fn is_dark(&self) -> bool {
        *self.is_dark.lock().unwrap()
    }
}

async fn questions(udp: Arc<UdpSocket>, way: Arc<Way>) {
    let mut bytes = vec![0; 65_535];
    while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
        way.asked.fetch_add(1, Ordering::Relaxed);
        if way.is_dark() {
            continue;
        }
        let (asked, to, udp) = (bytes[..length].to_vec(), way.to, Arc::clone(&udp));
        tokio::spawn(async move {
            // One that is down gives no answer.
            question(&asked, to, from, &udp).await.ok();
        });
    }
}

async fn question(
    asked: &[u8],
    to: SocketAddr,
    from: SocketAddr,
    udp: &UdpSocket,
) -> std::io::Result<()> {
    let server = UdpSocket::bind("127.0.0.1:0").await?;
    server.connect(to).await?;
    server.send(asked).await?;
    let mut answer = vec![0; 65_535];
    let received = tokio::time::timeout(Duration::from_secs(5), server.recv(&mut answer)).await?;
    udp.send_to(&answer[..received?], from).await?;
    Ok(())
}

async fn updates(tcp: TcpListener, way: Arc<Way>) {
    while let Ok((client, _)) = tcp.accept().await {
        way.asked.fetch_add(1, Ordering::Relaxed);
        if way.is_dark() {
            continue;
        }
        let way = Arc::clone(&way);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            relay(client, &way).await.ok();
        });
    }
}

async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn say(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_u16(bytes.len() as u16).await?;
    stream.write_all(bytes).await
}

/// Whether it is an update, and whether that changes something: a look ahead only adds what is there,
/// and takes away what is not.
fn what(bytes: &[u8]) -> (bool, bool) {
    let message = Message::from_vec(bytes).unwrap();
    let is_update = message.metadata.op_code == OpCode::Update;
    let of = |class| {
        let lines = message.authorities.iter();
        lines.filter(move |line| line.dns_class == class)
    };
    let is_replaced = of(DNSClass::IN).any(|new| of(DNSClass::ANY).any(|old| old.name == new.name));
    (is_update, is_update && is_replaced)
}

async fn relay(mut client: TcpStream, way: &Way) -> std::io::Result<()> {
    let asked = message(&mut client).await?;
    let (is_update, moves) = what(&asked);
    if is_update && way.trouble == Trouble::Swallowed {
        return Ok(());
    }
    let met = way.kept.meets(|()| moves);
    pass(&met, Moment::Before).await;
    let decoy = way.decoy.lock().unwrap().filter(|_| is_update);
    let mut server = TcpStream::connect(decoy.unwrap_or(way.to)).await?;
    say(&mut server, &asked).await?;
    let answer = message(&mut server).await?;
    pass(&met, Moment::After).await;
    match (is_update, way.trouble) {
        (true, Trouble::Dark) => {
            *way.is_dark.lock().unwrap() = true;
            Ok(())
        }
        // Dropped without a word.
        (true, Trouble::CutOff) => Ok(()),
        _ => say(&mut client, &answer).await,
    }
}
