//! The addresses the proxy listens on: opened before a service needs them, given up once none does.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use tokio::sync::oneshot;

use super::claim::Claim;
use super::control::{ControlError, Entry};
use super::desk::{Books, Desk, send};
use super::listen::{self, Others};
use super::refuse::listen_failed;
use super::worker::Order;

impl Desk {
    /// Tries again to open what could not be opened.
    pub async fn retry_listeners(&self) {
        let mut books = self.books.lock().await;
        let closed: Vec<SocketAddr> = books
            .listeners
            .iter()
            .filter_map(|(address, error)| error.as_ref().map(|_| *address))
            .collect();
        for address in closed {
            self.try_to_listen(&mut books, address);
        }
    }

    pub(super) fn try_to_listen(&self, books: &mut Books, address: SocketAddr) {
        match listen::open(address, self.workers.len(), Others::None) {
            Ok(sockets) => self.hand_out(books, address, sockets),
            Err(error) => {
                let error = Some(error.to_string());
                if books.listeners.get(&address) != Some(&error) {
                    tracing::warn!(%address, error, "cannot listen");
                }
                books.listeners.insert(address, error);
            }
        }
    }

    /// The sockets `entry` needs, where they are not open yet. Clients may already come to them,
    /// and wait until they are handed out.
    ///
    /// # Errors
    ///
    /// Where they cannot be opened.
    pub(super) fn open_for(
        &self,
        books: &Books,
        entry: &Entry,
    ) -> Result<Vec<(SocketAddr, Vec<TcpListener>)>, ControlError> {
        let open = books.listeners.iter().filter(|(_, why)| why.is_none());
        let open = open.map(|(address, _)| *address);
        let routes = self.shared.routes.load();
        let claim = Claim::of(entry);
        let mut opened = Vec::new();
        for address in entry.listens() {
            if let Some(others) = claim.others(address, routes.entries(), open.clone())? {
                let sockets = listen::open(address, self.workers.len(), others)
                    .map_err(|error| listen_failed(address, &error))?;
                opened.push((address, sockets));
            }
        }
        Ok(opened)
    }

    pub(super) fn hand_out(
        &self,
        books: &mut Books,
        address: SocketAddr,
        sockets: Vec<TcpListener>,
    ) {
        for (worker, socket) in self.workers.iter().zip(sockets) {
            send(worker, Order::Listen(address, socket));
        }
        tracing::info!(%address, "listening");
        books.listeners.insert(address, None);
    }

    /// Closes what no service listens on once `service` is as `entry` says, or is removed; when
    /// this returns the addresses are free. To be called before that comes true: clients are
    /// answered to the end and none of them finds nothing where there was something.
    pub(super) async fn leave(&self, books: &mut Books, service: &str, entry: Option<&Entry>) {
        let mut used: BTreeSet<SocketAddr> = {
            let routes = self.shared.routes.load();
            let others = routes.services.values().map(|it| &it.entry);
            let others = others.filter(|other| other.service != service);
            others.flat_map(|other| other.listens()).collect()
        };
        used.extend(entry.into_iter().flat_map(Entry::listens));
        let listeners = books.listeners.keys().copied();
        let unused: Vec<_> = listeners.filter(|it| !used.contains(it)).collect();
        for address in unused {
            if books.listeners.remove(&address) != Some(None) {
                continue;
            }
            tracing::info!(%address, "no longer listening");
            for worker in &self.workers {
                let (closed, closing) = oneshot::channel();
                send(worker, Order::Unlisten(address, closed));
                if closing.await.is_err() {
                    tracing::debug!("a worker has stopped");
                }
            }
        }
    }
}
