//! The control plane: who may change the table, and in which order it is done.
//!
//! A write is refused, or it opens what it needs to listen on, saves, swaps the table, counts what
//! was in flight, and only then closes what nobody listens on any more. Everything that can fail
//! comes before the swap. Writes are done one after another; reading never waits for them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::claim::Claim;
use super::control::{
    Code, ControlError, Done, Entry, Hello, Listed, Listener, Mark, Read, Removed, Written,
};
use super::count::{Stint, Tally};
use super::refuse::{bad_entry, generation_moved, refuse_stale, store_failed, unknown};
use super::routes::{Routes, Service};
use super::settle::{Ledger, Switch};
use super::store::{BadEntry, Loaded, Store};
use super::worker::{Order, Shared};

/// The control plane.
pub struct Desk {
    /// What the workers see.
    pub shared: Arc<Shared>,
    pub(super) workers: Vec<mpsc::UnboundedSender<Order>>,
    store: Store,
    identity: String,
    pub(super) books: Mutex<Books>,
}

/// What only the control plane knows.
#[derive(Default)]
pub(super) struct Books {
    bad: Vec<BadEntry>,
    /// Every address some service listens on, and why it is not open, where it is not.
    pub(super) listeners: BTreeMap<SocketAddr, Option<String>>,
    pub(super) ledgers: BTreeMap<String, Ledger>,
}

impl Desk {
    /// Takes over what was saved: opens its listeners and routes to it.
    ///
    /// An address that cannot be opened is reported and tried again.
    pub fn restore(
        shared: Arc<Shared>,
        workers: Vec<mpsc::UnboundedSender<Order>>,
        store: Store,
        loaded: Loaded,
        identity: String,
    ) -> Desk {
        let mut books = Books {
            bad: loaded.bad,
            ..Books::default()
        };
        let mut routes = Routes::default();
        // Files of one host can come to lie side by side by hand only; the one that was there first
        // keeps its traffic.
        let mut entries: Vec<Arc<Entry>> = loaded.entries.into_values().collect();
        entries.sort_by_key(|entry| entry.at_ms);
        for entry in entries {
            if let Err(taken) = Claim::of(&entry).refuse_taken(routes.entries()) {
                let bad = BadEntry::of(&entry.service, taken.message);
                tracing::error!(file = bad.file, reason = bad.reason, "entry not served");
                books.bad.push(bad);
                continue;
            }
            let ledger = books.ledgers.entry(entry.service.clone()).or_default();
            let service = compile(&shared, ledger, entry);
            let mut services = std::mem::take(&mut routes.services);
            services.insert(service.entry.service.clone(), service);
            routes = Routes::new(services);
        }
        let listens = routes.listens();
        shared.routes.store(Arc::new(routes));
        let desk = Desk {
            shared,
            workers,
            store,
            identity,
            books: Mutex::default(),
        };
        for address in listens {
            desk.try_to_listen(&mut books, address);
        }
        Desk {
            books: Mutex::new(books),
            ..desk
        }
    }

    /// Who this is.
    pub async fn hello(&self) -> Hello {
        let books = self.books.lock().await;
        Hello {
            identity: self.identity.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: super::control::PROTOCOL,
            knows: vec![super::control::SLOTS.to_owned()],
            bad_entries: books.bad.clone(),
            listeners: books
                .listeners
                .iter()
                .map(|(address, error)| Listener {
                    address: *address,
                    error: error.clone(),
                })
                .collect(),
        }
    }

    /// The entry of `service`.
    ///
    /// # Errors
    ///
    /// Where there is one, but it cannot be read.
    pub async fn read(&self, service: &str) -> Result<Read, ControlError> {
        let found = self.entry(service);
        if found.is_none()
            && let Some(bad) = find_bad(&self.books.lock().await.bad, service)
        {
            return Err(bad_entry(bad));
        }
        Ok(Read {
            entry: found.as_deref().cloned(),
        })
    }

    /// Every entry.
    pub fn list(&self) -> Listed {
        let routes = self.shared.routes.load();
        let entries = routes.services.values();
        Listed {
            entries: entries.map(|it| Entry::clone(&it.entry)).collect(),
        }
    }

    fn entry(&self, service: &str) -> Option<Arc<Entry>> {
        let routes = self.shared.routes.load();
        routes.services.get(service).map(|it| it.entry.clone())
    }

    /// Makes `entry` true.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub async fn write(
        &self,
        expected: Option<u64>,
        mut entry: Entry,
    ) -> Result<Written, ControlError> {
        entry
            .check()
            .map_err(|wrong| ControlError::new(Code::BadRequest, wrong))?;
        let mut books = self.books.lock().await;
        let before = self.entry(&entry.service);
        if let Some(before) = &before {
            refuse_stale(before, entry.fence)?;
            let made = expected.unwrap_or(0).saturating_add(1);
            if before.generation == made && before.says_the_same_as(&entry) {
                // The answer to the first of these was lost on the way.
                return Ok(Written {
                    generation: made,
                    in_flight_old: books
                        .ledgers
                        .get(&entry.service)
                        .and_then(|ledger| ledger.switch(made))
                        .map(|switch| switch.in_flight()),
                });
            }
        }
        let generation = before.as_ref().map(|before| before.generation);
        if generation != expected {
            return Err(generation_moved(
                &entry.service,
                expected,
                before.as_deref(),
            ));
        }
        entry.generation = expected.unwrap_or(0).saturating_add(1);
        Claim::of(&entry).refuse_taken(self.shared.routes.load().entries())?;
        let opened = self.open_for(&books, &entry)?;
        self.keep_unreadable(&books, &entry.service)?;
        let entry = Arc::new(entry);
        self.save(entry.clone(), before).await?;

        books.bad.retain(|bad| bad.service != entry.service);
        // While what they ask for is still there; who asks at the new address waits for it.
        self.leave(&mut books, &entry.service, Some(&entry)).await;
        let in_flight_old = self.swap(&mut books, &entry);
        for (address, sockets) in opened {
            self.hand_out(&mut books, address, sockets);
        }
        tracing::info!(
            service = entry.service,
            generation = entry.generation,
            author = entry.author,
            reason = entry.reason,
            "routing written"
        );
        Ok(Written {
            generation: entry.generation,
            in_flight_old: Some(in_flight_old),
        })
    }

    /// Swaps in a table with `entry` and opens the account of what was in flight.
    fn swap(&self, books: &mut Books, entry: &Arc<Entry>) -> u64 {
        let ledger = books.ledgers.entry(entry.service.clone()).or_default();
        let service = compile(&self.shared, ledger, entry.clone());
        let mut services = self.shared.routes.load().services.clone();
        services.insert(entry.service.clone(), service);
        self.shared.routes.store(Arc::new(Routes::new(services)));
        let retired = ledger.retire_all_but(entry);
        let ended: Vec<u64> = retired.iter().map(|stint| stint.ended()).collect();
        for picking in &self.shared.picking {
            picking.settle();
        }
        let switch = Switch::new(retired, &ended);
        let in_flight = switch.in_flight();
        ledger.record(entry.generation, switch);
        self.tell_all(|| Order::Routed);
        in_flight
    }

    /// Notes that `mark` is true of `release`; that it has served, since `generation`.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub async fn mark(
        &self,
        service: &str,
        release: u64,
        fence: u64,
        mark: Mark,
        generation: Option<u64>,
    ) -> Result<Done, ControlError> {
        self.amend(service, fence, |entry| {
            let generation = generation.unwrap_or(entry.generation);
            let marks = entry.marks.entry(release).or_default();
            match mark {
                Mark::Proven => marks.proven = true,
                Mark::Served => {
                    marks.served = marks.served.max(Some(generation));
                    marks.withdrawn = false;
                }
                Mark::Withdrawn => marks.withdrawn = true,
            }
        })
        .await
    }

    /// Forgets the marks of `releases`.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub async fn forget(
        &self,
        service: &str,
        releases: &[u64],
        fence: u64,
    ) -> Result<Done, ControlError> {
        let done = self
            .amend(service, fence, |entry| {
                entry.marks.retain(|release, _| !releases.contains(release));
            })
            .await?;
        if let Some(ledger) = self.books.lock().await.ledgers.get_mut(service) {
            ledger.forget(releases);
        }
        Ok(done)
    }

    /// Changes an entry in a way that moves no traffic.
    async fn amend(
        &self,
        service: &str,
        fence: u64,
        change: impl FnOnce(&mut Entry),
    ) -> Result<Done, ControlError> {
        let mut books = self.books.lock().await;
        let before = self.entry(service);
        let before = before.ok_or_else(|| absent(&books, service))?;
        refuse_stale(&before, fence)?;
        let mut entry = Entry::clone(&before);
        entry.fence = fence;
        change(&mut entry);
        let generation = entry.generation;
        if entry != *before {
            let entry = Arc::new(entry);
            self.save(entry.clone(), Some(before)).await?;
            let ledger = books.ledgers.entry(service.to_owned()).or_default();
            let compiled = compile(&self.shared, ledger, entry);
            let mut services = self.shared.routes.load().services.clone();
            services.insert(service.to_owned(), compiled);
            self.shared.routes.store(Arc::new(Routes::new(services)));
        }
        Ok(Done { generation })
    }

    /// Takes `service` away, from the table and from disk.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub async fn remove(&self, service: &str, fence: u64) -> Result<Removed, ControlError> {
        super::table::check_service_name(service)
            .map_err(|wrong| ControlError::new(Code::BadRequest, wrong))?;
        let mut books = self.books.lock().await;
        let before = self.entry(service);
        if let Some(before) = &before {
            refuse_stale(before, fence)?;
        }
        let existed = before.is_some() || find_bad(&books.bad, service).is_some();
        self.keep_unreadable(&books, service)?;
        if existed {
            let (store, name) = (self.store.clone(), service.to_owned());
            blocking(move || store.remove(&name)).await?;
        }
        self.leave(&mut books, service, None).await;
        let mut services = self.shared.routes.load().services.clone();
        services.remove(service);
        self.shared.routes.store(Arc::new(Routes::new(services)));
        books.bad.retain(|bad| bad.service != service);
        let ledger = books.ledgers.remove(service);
        // A request ends, and then its client asks somebody else; a connection through a slot may
        // go on for ever, and nobody could count or end it any more.
        if before.is_some_and(|before| !before.slots.is_empty()) {
            for stint in ledger.iter().flat_map(Ledger::stints) {
                self.cut(stint).await;
            }
        }
        self.tell_all(|| Order::Routed);
        Ok(Removed { existed })
    }

    /// Keeps a copy of an unreadable file that is to be replaced or removed; what a newer flipside
    /// wrote is neither.
    fn keep_unreadable(&self, books: &Books, service: &str) -> Result<(), ControlError> {
        match find_bad(&books.bad, service) {
            None => Ok(()),
            Some(bad) if bad.newer => Err(bad_entry(bad)),
            Some(_) => self.store.keep_copy(service).map_err(store_failed),
        }
    }

    async fn save(
        &self,
        entry: Arc<Entry>,
        before: Option<Arc<Entry>>,
    ) -> Result<(), ControlError> {
        let store = self.store.clone();
        blocking(move || store.save(&entry, before.as_deref())).await
    }

    fn tell_all(&self, order: impl Fn() -> Order) {
        for worker in &self.workers {
            send(worker, order());
        }
    }

    /// Cuts what `stint` still counts; how many that were.
    pub(super) async fn cut(&self, stint: &Arc<Stint>) -> u64 {
        let mut cut = 0;
        for worker in &self.workers {
            let (reply, number) = oneshot::channel();
            send(worker, Order::Cut(stint.clone(), reply));
            // A worker that is gone has nothing left to cut.
            cut += number.await.unwrap_or(0);
        }
        cut
    }
}

pub(super) fn send(worker: &mpsc::UnboundedSender<Order>, order: Order) {
    if worker.send(order).is_err() {
        tracing::debug!("a worker has stopped");
    }
}

fn compile(shared: &Shared, ledger: &mut Ledger, entry: Arc<Entry>) -> Arc<Service> {
    let workers = shared.picking.len();
    Arc::new(Service::new(entry, |release| {
        ledger.stint(release, || {
            (0..workers).map(|_| Arc::new(Tally::default())).collect()
        })
    }))
}

async fn blocking(
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), ControlError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(store_failed),
        Err(panicked) => Err(store_failed(io::Error::other(panicked))),
    }
}

/// There is no such service, or nothing to be read of it.
fn absent(books: &Books, service: &str) -> ControlError {
    find_bad(&books.bad, service).map_or_else(|| unknown(service), bad_entry)
}

fn find_bad<'a>(bad: &'a [BadEntry], service: &str) -> Option<&'a BadEntry> {
    bad.iter().find(|bad| bad.service == service)
}
