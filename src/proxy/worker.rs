//! One thread of the data plane: its listeners, its clients, its connections to backends.
//!
//! Workers share the table and nothing else; each has a socket of its own on every listening
//! address, and the kernel spreads clients over them. Orders come from the control plane over a
//! channel.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout_at};

use super::Limits;
use super::client::{Client, Told};
use super::count::{Lane, Picking, Stint};
use super::forward::forward;
use super::headers::HEADERS_MOST;
use super::pool::{Endpoint, Pool, TICKS_PER_SECOND};
use super::routes::{Environment, Routes};
use super::serve::serve;

/// How often room for one more client is looked for.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(100);
/// The most bytes of one head.
const HEAD_MOST: usize = 64 * 1024;
/// The most bytes that are passed on at once.
const SCRATCH: usize = 64 * 1024;

/// What the workers and the control plane share.
pub struct Shared {
    /// The table.
    pub routes: ArcSwap<Routes>,
    /// One announcement for each worker.
    pub picking: Box<[Picking]>,
    /// What a traced request must carry.
    pub secret: HeaderValue,
    /// Connections of clients that one worker takes.
    pub clients_most: usize,
    /// How long to wait for others.
    pub limits: Limits,
}

/// What the control plane tells a worker.
pub enum Order {
    /// Take clients on this socket, for the listener the table calls by this address.
    Listen(SocketAddr, std::net::TcpListener),
    /// Take no more clients there, let those there are finish what they have begun, and say when
    /// the socket is closed.
    Unlisten(SocketAddr, oneshot::Sender<()>),
    /// The table has changed.
    Routed,
    /// Close the connections whose requests this stint counts, and say how many.
    Cut(Arc<Stint>, oneshot::Sender<u64>),
    /// Take no more clients, and end when those there are have been answered, or at this time.
    Stop(std::time::Instant),
}

/// One worker.
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// What it shares.
    pub shared: Arc<Shared>,
    /// What it knows about endpoints.
    pub pool: Pool,
    dice: Cell<u64>,
    /// Where bytes lie that are passed on, while they are.
    pub scratch: RefCell<Box<[u8]>>,
    clients: RefCell<HashMap<u64, Weak<Client>>>,
    next_client: Cell<u64>,
    accepting: RefCell<HashMap<SocketAddr, JoinHandle<()>>>,
    client_left: Notify,
    stopping: Cell<Told>,
}

/// A request on its way: counted in when it chose its environment, out when this is dropped.
pub struct Flight {
    /// Who asked.
    pub client: Rc<Client>,
    /// Where it is counted.
    pub lane: Arc<Lane>,
    endpoint: Option<Rc<Endpoint>>,
}

impl Flight {
    /// Counts a request of `client` to `environment` in, and names the replica to try first. Must
    /// run inside [`Picking::during`](super::count::Picking::during).
    pub fn start(client: &Rc<Client>, environment: &Environment) -> (Flight, Option<Rc<Endpoint>>) {
        let worker = &client.worker;
        let lane = environment.stint.lane(worker.index).clone();
        lane.tally.requests.fetch_add(1, Ordering::Relaxed);
        lane.start();
        client.flies(lane.clone());
        let first = worker.pool.choose(&environment.endpoints, &[]);
        let flight = Flight {
            client: client.clone(),
            lane,
            endpoint: None,
        };
        (flight, first)
    }

    /// Notes where it goes.
    pub fn goes_to(&mut self, endpoint: Rc<Endpoint>) {
        endpoint.busy.set(endpoint.busy.get() + 1);
        if let Some(before) = self.endpoint.replace(endpoint) {
            before.busy.set(before.busy.get().saturating_sub(1));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.busy.set(endpoint.busy.get().saturating_sub(1));
        }
        self.client.is_done();
        self.lane.end();
    }
}

impl Worker {
    /// Runs a worker until it is told to stop. Must be called inside a local task set.
    pub async fn run(
        index: usize,
        shared: Arc<Shared>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let worker = Rc::new(Worker {
            index,
            pool: Pool::new(shared.clients_most),
            shared,
            dice: Cell::new(0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1)),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
            clients: RefCell::default(),
            next_client: Cell::new(0),
            accepting: RefCell::default(),
            client_left: Notify::new(),
            stopping: Cell::new(Told::Nothing),
        });
        let sweeping = spawn_local(worker.clone().sweep()).abort_handle();
        let mut limit = std::time::Instant::now();
        while let Some(order) = orders.recv().await {
            if let Order::Stop(at) = order {
                limit = at;
                break;
            }
            worker.obey(order);
        }
        worker.stop(Instant::from_std(limit)).await;
        sweeping.abort();
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Listen(address, socket) => {
                // The socket was made non-blocking where it was opened.
                match TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let accepting = spawn_local(self.clone().accept(address, socket));
                        let before = self.accepting.borrow_mut().insert(address, accepting);
                        if let Some(before) = before {
                            before.abort();
                        }
                    }
                    Err(error) => tracing::error!(%address, %error, "a worker cannot listen"),
                }
            }
            Order::Unlisten(address, closed) => {
                let accepting = self.accepting.borrow_mut().remove(&address);
                for client in self.clients() {
                    if client.listen == address {
                        client.tell(Told::Finish);
                    }
                }
                spawn_local(async move {
                    if let Some(accepting) = accepting {
                        accepting.abort();
                        // The socket is closed once the task that owns it is gone.
                        if accepting.await.is_err_and(|error| error.is_panic()) {
                            tracing::error!(%address, "taking clients has panicked");
                        }
                    }
                    if closed.send(()).is_err() {
                        tracing::debug!(%address, "nobody waits for the end of a listener");
                    }
                });
            }
            Order::Routed => {
                let routes = self.shared.routes.load();
                self.pool.keep_only(&routes.endpoints());
            }
            Order::Cut(stint, reply) => {
                let lane = stint.lane(self.index);
                let mine = self.clients();
                let counted = mine.iter().filter(|client| client.is_counted_by(lane));
                let cut = counted.filter(|client| client.cut()).count() as u64;
                if reply.send(cut).is_err() {
                    tracing::debug!("nobody waits for the number of cut requests");
                }
            }
            Order::Stop(_) => {}
        }
    }

    async fn accept(self: Rc<Self>, address: SocketAddr, socket: TcpListener) {
        loop {
            match socket.accept().await {
                Ok((stream, from)) => {
                    self.make_room().await;
                    let id = self.next_client.get();
                    self.next_client.set(id + 1);
                    let client = Client::new(id, self.clone(), address, from);
                    if self.shared.routes.load().is_slot(address) {
                        spawn_local(forward(client, stream));
                    } else {
                        spawn_local(attend(client, stream));
                    }
                }
                // Out of file descriptors, or a client that left at once: neither is the end.
                Err(error) => {
                    tracing::warn!(%address, %error, "a client could not be taken");
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Waits until there is room for one more client, and closes one that has nothing going on
    /// where there is none.
    async fn make_room(&self) {
        while self.clients.borrow().len() >= self.shared.clients_most {
            let left = self.client_left.notified();
            let clients = self.clients();
            let spare = clients
                .iter()
                .filter_map(|it| Some((it.spare_since()?, it)));
            if let Some((_, longest)) = spare.min_by_key(|(since, _)| *since) {
                longest.tell(Told::Close);
            }
            drop(clients);
            // Whoever comes to rest does not say so.
            if timeout_at(Instant::now() + LOOK_FOR_ROOM, left)
                .await
                .is_err()
            {
                tracing::debug!("there is no room for a client yet");
            }
        }
    }

    async fn sweep(self: Rc<Self>) {
        let mut rounds = tokio::time::interval(Duration::from_secs(1) / TICKS_PER_SECOND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            rounds.tick().await;
            self.pool.tick();
            if self.pool.now().is_multiple_of(TICKS_PER_SECOND) {
                self.pool.sweep();
                for client in self.clients() {
                    client.sweep();
                }
            }
        }
    }

    async fn stop(&self, limit: Instant) {
        for accepting in self.accepting.borrow_mut().drain() {
            accepting.1.abort();
        }
        self.stopping.set(Told::Finish);
        for client in self.clients() {
            client.tell(Told::Finish);
        }
        let all_left = async {
            while !self.clients.borrow().is_empty() {
                self.client_left.notified().await;
            }
        };
        if timeout_at(limit, all_left).await.is_err() {
            tracing::warn!(left = self.clients.borrow().len(), "clients cut at the end");
            for client in self.clients() {
                client.cut();
            }
        }
    }

    fn clients(&self) -> Vec<Rc<Client>> {
        let clients = self.clients.borrow();
        clients.values().filter_map(Weak::upgrade).collect()
    }

    /// Remembers a client.
    pub fn note_client(&self, id: u64, client: &Rc<Client>) {
        self.clients.borrow_mut().insert(id, Rc::downgrade(client));
    }

    /// Forgets a client.
    pub fn forget_client(&self, id: u64) {
        self.clients.borrow_mut().remove(&id);
        self.client_left.notify_waiters();
    }

    /// A number nobody needs to be unable to guess (xorshift64).
    pub fn dice(&self) -> u64 {
        let mut state = self.dice.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.dice.set(state);
        state
    }
}

/// Answers one client until its connection ends.
async fn attend(client: Rc<Client>, stream: TcpStream) {
    let stream = client.stream(stream);
    let service = service_fn(|request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(serve(client, request).await) }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(HEAD_MOST)
        .max_headers(HEADERS_MOST)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    if client.worker.stopping.get() == Told::Finish {
        client.tell(Told::Finish);
    }
    let mut finishing = false;
    let ended = std::future::poll_fn(|cx| {
        match client.told(cx) {
            Told::Nothing => {}
            Told::Finish if finishing => {}
            Told::Finish => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Told::Close => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection failed");
    }
}
