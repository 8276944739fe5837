//! A slot: connections passed on unread, to the environment that hangs on it when they come.
//!
//! A connection counts as one request, in flight until both of its ends have ended. What it is told
//! short of being cut, it does not heed: nobody here knows where something it carries ends.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::backend::{dial, is_own_shortage};
use super::client::Client;
use super::pool::{Endpoint, Place};
use super::worker::Flight;

/// Both ends of one connection. With it they are closed, and only then counted out.
struct Line {
    client: Rc<Client>,
    near: TcpStream,
    far: Option<(TcpStream, Place)>,
    flight: Option<Flight>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.client.is_to_be_reset() {
            return;
        }
        let far = self.far.as_ref().map(|(far, _)| far);
        for end in [Some(&self.near), far].into_iter().flatten() {
            if let Err(error) = socket2::SockRef::from(end).set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, "a connection ends without a reset");
            }
        }
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Each end had said that it was done.
    Whole,
    /// One of them was gone before; the other is to know.
    Broken,
}

/// Passes on what comes from `client`, and what is answered, until both ends have ended.
pub async fn forward(client: Rc<Client>, near: TcpStream) {
    client.is_passed_on();
    let mut line = Line {
        client: client.clone(),
        near,
        far: None,
        flight: None,
    };
    let passing = async {
        if line.connect().await {
            line.pass().await
        } else {
            End::Broken
        }
    };
    tokio::select! {
        end = passing => if end == End::Broken {
            client.will_be_reset();
        },
        () = client.closed() => {}
    }
}

impl Line {
    /// Connects to a replica; whether one took it.
    async fn connect(&mut self) -> bool {
        let mut tried = Vec::new();
        let mut next = self.depart();
        while let Some(endpoint) = next {
            if let Some(flight) = &mut self.flight {
                flight.goes_to(endpoint.clone());
            }
            let worker = &self.client.worker;
            let limit = worker.shared.limits.connect;
            match dial(&worker.pool, endpoint.address, limit).await {
                Ok(far) => {
                    endpoint.note_reached();
                    self.far = Some(far);
                    return true;
                }
                Err(error) => {
                    tracing::debug!(address = %endpoint.address, %error, "no connection");
                    if !is_own_shortage(&error) {
                        endpoint.note_refused();
                    }
                    tried.push(endpoint.address);
                    next = self.choose(&mut tried);
                }
            }
        }
        if let Some(flight) = &self.flight {
            let tally = &flight.lane.tally;
            tally.unreachable.fetch_add(1, Ordering::Relaxed);
        }
        false
    }

    /// Counts it in with the environment that hangs on its slot, and names the replica to try first.
    fn depart(&mut self) -> Option<Rc<Endpoint>> {
        let worker = &self.client.worker;
        let (flight, first) = worker.shared.picking[worker.index].during(|| {
            let routes = worker.shared.routes.load();
            let environment = routes.attached(self.client.listen)?;
            Some(Flight::start(&self.client, environment))
        })?;
        self.flight = Some(flight);
        first
    }

    /// The replica to try next. Where none is left, but another environment has meanwhile taken the
    /// slot, that one's: nothing has been passed on yet.
    fn choose(&mut self, tried: &mut Vec<SocketAddr>) -> Option<Rc<Endpoint>> {
        let worker = &self.client.worker;
        let lane = self.flight.as_ref()?.lane.clone();
        let routes = worker.shared.routes.load();
        let attached = routes.attached(self.client.listen)?;
        if Arc::ptr_eq(attached.stint.lane(worker.index), &lane) {
            return worker.pool.choose(&attached.endpoints, tried);
        }
        lane.tally.requests.fetch_sub(1, Ordering::Relaxed);
        tried.clear();
        self.flight = None;
        self.client.is_passed_on();
        self.depart()
    }

    /// Passes on what each end says to the other.
    async fn pass(&mut self) -> End {
        let Some((far, _)) = &mut self.far else {
            return End::Broken;
        };
        let scratch = &self.client.worker.scratch;
        let (near_read, near_write) = self.near.split();
        let (far_read, far_write) = far.split();
        let (said, answered) = (Cell::new(false), Cell::new(false));
        let mut there = pin!(one_way(near_read, far_write, scratch, &said));
        let mut back = pin!(one_way(far_read, near_write, scratch, &answered));
        let (mut deaf_there, mut deaf_back) = (false, false);
        poll_fn(|cx| {
            for (way, deaf) in [
                (
                    there.as_mut() as Pin<&mut dyn Future<Output = Broken>>,
                    &mut deaf_there,
                ),
                (back.as_mut(), &mut deaf_back),
            ] {
                if !*deaf {
                    match way.poll(cx) {
                        Poll::Ready(Broken::From) => return Poll::Ready(End::Broken),
                        Poll::Ready(Broken::To) => *deaf = true,
                        Poll::Pending => {}
                    }
                }
            }
            let there = deaf_there || said.get();
            let back = deaf_back || answered.get();
            match (there && back, deaf_there || deaf_back) {
                (false, _) => Poll::Pending,
                (true, false) => Poll::Ready(End::Whole),
                (true, true) => Poll::Ready(End::Broken),
            }
        })
        .await
    }
}

/// Which end is gone.
enum Broken {
    /// The one that speaks.
    From,
    /// The one that listens; what it has said may still be on its way.
    To,
}

/// Passes on what `from` says, then that it is done, which `whole` notes; ends only where one of the
/// two is gone. Nothing more is read before what was read is taken.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    scratch: &RefCell<Box<[u8]>>,
    whole: &Cell<bool>,
) -> Broken {
    loop {
        let mut rest = Vec::new();
        let read = poll_fn(|cx| {
            let mut scratch = scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            if let Err(error) = ready!(Pin::new(&mut from).poll_read(cx, &mut buffer)) {
                return Poll::Ready(Err((Broken::From, error)));
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let wrote = match Pin::new(&mut to).poll_write(cx, bytes) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(error)) => return Poll::Ready(Err((Broken::To, error))),
                Poll::Pending => 0,
            };
            rest.extend_from_slice(&bytes[wrote..]);
            Poll::Ready(Ok(bytes.len()))
        });
        let passed = match read.await {
            Ok(0) => to.shutdown().await.map(|()| 0),
            Ok(read) if rest.is_empty() => Ok(read),
            Ok(read) => to.write_all(&rest).await.map(|()| read),
            Err((broken, error)) => return broken.because(&error),
        };
        match passed {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Broken::To.because(&error),
        }
    }
    whole.set(true);
    // It says nothing more, but it may yet be gone before it has heard all.
    match from.ready(Interest::ERROR).await {
        Ok(_) => Broken::From,
        Err(error) => Broken::From.because(&error),
    }
}

impl Broken {
    fn because(self, error: &io::Error) -> Broken {
        tracing::debug!(%error, "a connection through a slot broke off");
        self
    }
}
