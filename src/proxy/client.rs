//! One connection of a client, as its worker sees it: what it is doing, since when, and the order
//! to close it.
//!
//! Time limits are checked by a sweep over all connections once a second, not by a timer for each
//! request; they are late by up to two seconds and cost nothing while traffic flows.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::count::Lane;
use super::headers::Peer;
use super::pool::TICKS_PER_SECOND;
use super::worker::Worker;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
/// Neither limited in time nor ever spare.
const PASSED: u8 = 4;

/// How often it is found out whether those are still there who wait for a long answer.
const LOOK_TICKS: u32 = 4 * TICKS_PER_SECOND;
/// What a long answer is.
const LOOK_AFTER: Duration = Duration::from_secs(2);

/// What a connection has been told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Go on.
    Nothing,
    /// End after the request going on.
    Finish,
    /// End now.
    Close,
}

/// One connection of a client.
pub struct Client {
    id: u64,
    /// The worker it belongs to.
    pub worker: Rc<Worker>,
    /// Address of the listener it came in at, as the table names it.
    pub listen: SocketAddr,
    /// Who it is, for the headers.
    pub peer: Peer,
    wire: Arc<Wire>,
    /// When it began what it is doing.
    since: Cell<u32>,
    /// When it last took something it had to be waited for, or was not waited for.
    took: Cell<u32>,
    lane: RefCell<Option<Arc<Lane>>>,
    told: Cell<Told>,
    waker: RefCell<Option<Waker>>,
}

impl Client {
    /// A connection that has just been accepted; it is known to `worker` until it is dropped.
    pub fn new(id: u64, worker: Rc<Worker>, listen: SocketAddr, from: SocketAddr) -> Rc<Client> {
        let client = Rc::new(Client {
            id,
            listen,
            peer: Peer::new(from.ip(), listen.port()),
            wire: Arc::new(Wire {
                doing: AtomicU8::new(HEAD),
                ..Wire::default()
            }),
            since: Cell::new(worker.pool.now()),
            took: Cell::new(worker.pool.now()),
            lane: RefCell::new(None),
            told: Cell::new(Told::Nothing),
            waker: RefCell::new(None),
            worker,
        });
        client.worker.note_client(id, &client);
        client
    }

    /// Its stream, watched.
    pub fn stream(&self, stream: TcpStream) -> ClientStream {
        ClientStream {
            stream,
            wire: self.wire.clone(),
        }
    }

    /// A whole head has come in.
    pub fn is_asking(&self) {
        self.wire.doing.store(BUSY, Ordering::Relaxed);
        self.since.set(self.worker.pool.now());
    }

    /// What it says is passed on unread, for as long as it likes.
    pub fn is_passed_on(&self) {
        self.wire.doing.store(PASSED, Ordering::Relaxed);
    }

    /// Its request is counted by `lane`.
    pub fn flies(&self, lane: Arc<Lane>) {
        *self.lane.borrow_mut() = Some(lane);
    }

    /// Its request has ended.
    pub fn is_done(&self) {
        *self.lane.borrow_mut() = None;
        self.wire.doing.store(IDLE, Ordering::Relaxed);
        self.since.set(self.worker.pool.now());
    }

    /// From now on its connection ends with a reset, so that it takes no answer that was broken
    /// off for a whole one.
    pub fn will_be_reset(&self) {
        self.wire.reset.store(true, Ordering::Relaxed);
    }

    /// Whether its connection is to end with a reset.
    pub fn is_to_be_reset(&self) -> bool {
        self.wire.reset.load(Ordering::Relaxed)
    }

    /// Whether its request is counted by `lane`.
    pub fn is_counted_by(&self, lane: &Arc<Lane>) -> bool {
        let mine = self.lane.borrow();
        mine.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, lane))
    }

    /// Closes it, in a way that no client takes for the end of an answer. Whether that is news.
    pub fn cut(&self) -> bool {
        self.will_be_reset();
        let news = self.told.get() != Told::Close;
        self.tell(Told::Close);
        news
    }

    /// Tells it what to do; what is to end now stays so.
    pub fn tell(&self, told: Told) {
        if self.told.get() != Told::Close {
            self.told.set(told);
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// What it has been told; `cx` is woken when that changes.
    pub fn told(&self, cx: &mut Context<'_>) -> Told {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.told.get()
    }

    /// Waits until it is told to end now.
    pub async fn closed(&self) {
        std::future::poll_fn(|cx| match self.told(cx) {
            Told::Close => Poll::Ready(()),
            Told::Nothing | Told::Finish => Poll::Pending,
        })
        .await;
    }

    /// Since when it could be closed without harm to a request; of several the least is the first to
    /// go: one at rest before one that is slow to begin. None: not now.
    pub fn spare_since(&self) -> Option<(bool, u32)> {
        let wire = &self.wire;
        if wire.blocked.load(Ordering::Relaxed) || self.told.get() == Told::Close {
            return None;
        }
        match wire.doing.load(Ordering::Relaxed) {
            BUSY | PASSED => None,
            IDLE => Some((false, self.since.get())),
            HEAD => Some((true, self.worker.pool.now())),
            _ => Some((true, self.since.get())),
        }
    }

    /// Closes it where it has said nothing, not enough, or not taken what it asked for, for too
    /// long, or where it is known to be gone.
    pub fn sweep(&self) {
        let now = self.worker.pool.now();
        let passed = |since: &Cell<u32>| {
            Duration::from_secs(1) / TICKS_PER_SECOND * now.wrapping_sub(since.get())
        };
        let limits = &self.worker.shared.limits;
        let doing = self.wire.doing.load(Ordering::Relaxed);
        let blocked = self.wire.blocked.load(Ordering::Relaxed);
        if self.wire.moved.swap(false, Ordering::Relaxed) {
            self.took.set(now);
            // The end of an answer is on its way long after its request has been counted out.
            if doing == IDLE {
                self.since.set(now);
            }
        }
        if !blocked {
            self.took.set(now);
        } else if passed(&self.took) >= limits.take {
            self.cut();
        }
        match doing {
            BUSY if now.is_multiple_of(LOOK_TICKS) && passed(&self.since) >= LOOK_AFTER => {
                self.wire.look.store(true, Ordering::Relaxed);
                self.wake();
            }
            BUSY | PASSED => {}
            IDLE if !blocked && passed(&self.since) >= limits.idle => self.tell(Told::Close),
            IDLE => {}
            // The first bytes after a rest do not look at the clock; the rest ends here.
            _ if self.wire.doing.swap(HEAD + 2, Ordering::Relaxed) == HEAD => {
                self.since.set(now);
            }
            _ if passed(&self.since) >= limits.head => self.tell(Told::Close),
            _ => {}
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.forget_client(self.id);
    }
}

/// The part of a [`Client`] that its stream touches.
#[derive(Debug, Default)]
struct Wire {
    doing: AtomicU8,
    /// It is to end with a reset.
    reset: AtomicBool,
    /// Something was written since the last sweep.
    moved: AtomicBool,
    /// The last write found no room.
    blocked: AtomicBool,
    /// It is to be found out whether the other end is still there.
    look: AtomicBool,
}

impl Wire {
    fn note_write(&self, wrote: &Poll<io::Result<usize>>) {
        match wrote {
            Poll::Pending => self.blocked.store(true, Ordering::Relaxed),
            Poll::Ready(_) => {
                self.blocked.store(false, Ordering::Relaxed);
                self.moved.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// The stream of a [`Client`].
pub struct ClientStream {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.wire.reset.load(Ordering::Relaxed) {
            let socket = socket2::SockRef::from(&self.stream);
            if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, "a cut connection ends without a reset");
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before && self.wire.doing.load(Ordering::Relaxed) == IDLE {
            self.wire.doing.store(HEAD, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wire.note_write(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wire.note_write(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // With bytes of a next request at hand, hyper does not read on and misses a reset.
        if self.wire.look.load(Ordering::Relaxed) {
            self.wire.look.store(false, Ordering::Relaxed);
            if let Some(error) = self.stream.take_error()? {
                return Poll::Ready(Err(error));
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
