//! What one worker knows about each endpoint: idle connections, load, and a recent refusal.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

use super::backend::Backend;

/// Idle connections kept for one endpoint by one worker.
const IDLE_MOST: usize = 256;
/// Ticks after which an idle connection is closed.
const IDLE_TICKS: u32 = 30 * TICKS_PER_SECOND;
/// Ticks after which an idle connection no longer carries a request that could not be repeated.
const FRESH_TICKS: u32 = TICKS_PER_SECOND;
/// Ticks for which an endpoint that refused is tried last.
const REFUSED_TICKS: u32 = 2 * TICKS_PER_SECOND;
/// The resolution of a worker's coarse clock.
pub const TICKS_PER_SECOND: u32 = 4;

/// Whether a request may be sent again after its connection has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing, or nothing more the second time, and has no body.
    Safe,
    /// It might be done twice.
    Never,
}

/// A connection to a backend, counted for as long as this is there.
pub struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// One endpoint, as one worker sees it.
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Requests of this worker going on there.
    pub busy: Cell<u32>,
    refused_until: Cell<u32>,
    routed: Cell<bool>,
    idle: RefCell<Vec<(u32, Box<Backend>)>>,
    clock: Rc<Cell<u32>>,
}

impl Endpoint {
    /// Keeps an idle connection, unless there are enough or nobody will ask for it.
    pub fn keep(&self, backend: Box<Backend>) {
        let mut idle = self.idle.borrow_mut();
        if self.routed.get() && idle.len() < IDLE_MOST {
            idle.push((self.clock.get(), backend));
        }
    }

    /// An idle connection that still looks open, the latest first.
    pub fn take(&self, repeat: Repeat) -> Option<Box<Backend>> {
        loop {
            let (since, mut backend) = self.idle.borrow_mut().pop()?;
            let rested = self.clock.get().wrapping_sub(since);
            if repeat == Repeat::Never && rested > FRESH_TICKS {
                self.idle.borrow_mut().push((since, backend));
                return None;
            }
            if backend.is_fit() {
                return Some(backend);
            }
        }
    }

    /// Notes that it refused a connection.
    pub fn note_refused(&self) {
        self.refused_until.set(self.clock.get() + REFUSED_TICKS);
    }

    /// Notes that it took one.
    pub fn note_reached(&self) {
        self.refused_until.set(0);
    }

    fn refused_lately(&self) -> bool {
        self.refused_until.get() > self.clock.get()
    }
}

/// Every endpoint one worker has met.
pub struct Pool {
    endpoints: RefCell<HashMap<SocketAddr, Rc<Endpoint>>>,
    clock: Rc<Cell<u32>>,
    turn: Cell<usize>,
    open: Rc<Cell<usize>>,
    most: usize,
}

impl Pool {
    /// Knows no endpoint yet, and keeps nothing idle above `most` open connections.
    pub fn new(most: usize) -> Pool {
        Pool {
            endpoints: RefCell::default(),
            clock: Rc::default(),
            turn: Cell::new(0),
            open: Rc::default(),
            most,
        }
    }

    /// A place for one more connection; at the limit an idle one is closed for it.
    pub fn place(&self) -> Place {
        if self.open.get() >= self.most {
            let endpoints = self.endpoints.borrow();
            let idle = endpoints.values().map(|endpoint| &endpoint.idle);
            if let Some(idle) = idle.max_by_key(|idle| idle.borrow().len())
                && !idle.borrow().is_empty()
            {
                drop(idle.borrow_mut().remove(0));
            }
        }
        self.open.set(self.open.get() + 1);
        Place(self.open.clone())
    }

    /// Closes everything idle; whether there was anything.
    pub fn close_idle(&self) -> bool {
        let endpoints = self.endpoints.borrow();
        let closed = endpoints.values().map(|it| it.idle.take().len());
        closed.sum::<usize>() > 0
    }

    /// Ticks since the worker started.
    pub fn now(&self) -> u32 {
        self.clock.get()
    }

    /// Moves the coarse clock on.
    pub fn tick(&self) {
        self.clock.set(self.clock.get() + 1);
    }

    /// The endpoint at `address`.
    pub fn endpoint(&self, address: SocketAddr) -> Rc<Endpoint> {
        self.endpoints
            .borrow_mut()
            .entry(address)
            .or_insert_with(|| {
                Rc::new(Endpoint {
                    address,
                    busy: Cell::new(0),
                    refused_until: Cell::new(0),
                    routed: Cell::new(true),
                    idle: RefCell::default(),
                    clock: self.clock.clone(),
                })
            })
            .clone()
    }

    /// The replica to ask next: in turn, but the less busy of two neighbours; one that has lately
    /// refused only after all others; none of `tried`.
    pub fn choose(&self, replicas: &[SocketAddr], tried: &[SocketAddr]) -> Option<Rc<Endpoint>> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        if let ([only], []) = (replicas, tried) {
            return Some(self.endpoint(*only));
        }
        let in_turn = (0..replicas.len())
            .map(|step| replicas[turn.wrapping_add(step) % replicas.len()])
            .filter(|address| !tried.contains(address))
            .map(|address| self.endpoint(address));
        let mut refused = None;
        let mut willing: Option<Rc<Endpoint>> = None;
        for endpoint in in_turn {
            if endpoint.refused_lately() {
                refused = refused.or(Some(endpoint));
            } else if let Some(first) = willing {
                let less_busy = endpoint.busy.get() < first.busy.get();
                return Some(if less_busy { endpoint } else { first });
            } else {
                willing = Some(endpoint);
            }
        }
        willing.or(refused)
    }

    /// Forgets every endpoint but those in `routed`, and closes what was idle there.
    pub fn keep_only(&self, routed: &BTreeSet<SocketAddr>) {
        self.endpoints.borrow_mut().retain(|address, endpoint| {
            let keep = routed.contains(address);
            endpoint.routed.set(keep);
            if !keep {
                endpoint.idle.borrow_mut().clear();
            }
            keep
        });
    }

    /// Closes what has been idle for too long, or was closed from the other side.
    pub fn sweep(&self) {
        let now = self.clock.get();
        for endpoint in self.endpoints.borrow().values() {
            endpoint.idle.borrow_mut().retain_mut(|(since, backend)| {
                now.wrapping_sub(*since) < IDLE_TICKS && backend.is_fit()
            });
        }
    }
}
