//! The embedded load balancer: a server that sends each request to the environment its routing
//! table names, and whose table can be switched without dropping one.
//!
//! HTTP/1.1 on both sides; at the address of a slot, connections passed on unread (`forward`). One
//! thread per core carries traffic (`worker`), and one more takes orders over a Unix socket
//! (`socket`, `desk`). The table is saved before it is used (`store`) and restored at the start.
//!
//! It imports nothing else of this crate, speaks neither TLS nor HTTP/2 to clients, and does not
//! know what a deployment is: engines, probing schedules and decisions are other modules'.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use desk::Desk;
use store::Store;
use worker::{Order, Shared, Worker};

mod ask;
mod backend;
mod body;
pub mod check;
pub mod claim;
mod client;
pub mod control;
mod control_client;
mod count;
mod desk;
mod forward;
mod grpc;
mod headers;
mod listen;
mod listeners;
mod pool;
mod reason;
mod refuse;
mod relay;
mod routes;
mod serve;
mod settle;
mod socket;
pub mod store;
pub mod table;
mod tls;
mod worker;

/// How often an address that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// File descriptors that are no traffic: the control plane's, the table's, the program's own.
const KEPT: usize = 64;
/// The same, for each worker: its runtime's, its listeners'.
const KEPT_EACH: usize = 8;
/// The most file descriptors that are made use of.
const DESCRIPTORS_MOST: u64 = 131_072;

/// How a proxy is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the saved table, one file per service. Made where it is missing.
    pub table: PathBuf,
    /// Path of the control socket.
    pub socket: PathBuf,
    /// Group that may use the socket, by number.
    pub socket_group: Option<u32>,
    /// What the socket answers when asked who it is.
    pub identity: String,
    /// Threads that carry traffic; one per core where missing.
    pub threads: Option<usize>,
}

/// How long the proxy waits for others. The defaults are meant for service; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a backend to take a connection.
    pub connect: Duration,
    /// For a backend to begin its answer, counted from when anything of the request last moved.
    pub answer: Duration,
    /// For a client to send the head of a request, once it has begun.
    pub head: Duration,
    /// For a client to begin another request.
    pub idle: Duration,
    /// For a client to take any more of an answer. The system tells of that only once a third of
    /// its buffer is free, which may be a megabyte, so this bounds how slow a client may be.
    pub take: Duration,
    /// For requests to end, once the proxy has been told to stop.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(60),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            take: Duration::from_secs(300),
            stop: Duration::from_secs(10),
        }
    }
}

/// Runs a proxy until SIGTERM or SIGINT, then lets requests end for up to ten seconds.
///
/// # Errors
///
/// Where the table cannot be read or the socket cannot be opened. An address that cannot be
/// listened on is no error: it is tried again every second and reported by `hello`.
pub fn run(options: Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _inside = runtime.enter();
        [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ]
    };
    let server = Server::start(options)?;
    runtime.block_on(async {
        let [terminate, interrupt] = &mut signals;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    tracing::info!("stopping");
    server.stop();
    Ok(())
}

/// A running proxy.
#[derive(Debug)]
pub struct Server {
    workers: Vec<(mpsc::UnboundedSender<Order>, JoinHandle<()>)>,
    control: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    stop_limit: Duration,
}

impl Server {
    /// Starts a proxy on threads of its own; when this returns the socket answers and what was
    /// saved is served.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub fn start(options: Options) -> io::Result<Server> {
        Server::start_with(options, Limits::default())
    }

    /// Starts a proxy with other limits.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub fn start_with(options: Options, limits: Limits) -> io::Result<Server> {
        let threads = match options.threads {
            Some(threads) => threads.max(1),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let shared = Arc::new(Shared {
            routes: ArcSwap::default(),
            picking: (0..threads).map(|_| count::Picking::default()).collect(),
            secret: secret()?,
            clients_most: clients_most(descriptors(), threads),
            limits,
        });
        let store = Store::open(&options.table)?;
        let loaded = store.load()?;
        for bad in &loaded.bad {
            tracing::error!(file = bad.file, reason = bad.reason, "entry not served");
        }
        let socket = socket::open(&options.socket, options.socket_group)?;
        let mut server = Server {
            workers: Vec::with_capacity(threads),
            control: None,
            stop_limit: limits.stop,
        };
        for index in 0..threads {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let (orders, obeying) = mpsc::unbounded_channel();
            let shared = shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("proxy-{index}"))
                .spawn(move || {
                    let local = LocalSet::new();
                    runtime.block_on(local.run_until(Worker::run(index, shared, obeying)));
                })?;
            server.workers.push((orders, thread));
        }
        let workers = server.workers.iter().map(|(orders, _)| orders.clone());
        let desk = Desk::restore(shared, workers.collect(), store, loaded, options.identity);
        let (stop, stopped) = oneshot::channel();
        let control = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("proxy-control".to_owned())
            .spawn(move || control.block_on(command(socket, Arc::new(desk), stopped)))?;
        server.control = Some((stop, thread));
        Ok(server)
    }

    /// Takes no more clients, lets requests end within [`Limits::stop`], and stops.
    pub fn stop(mut self) {
        self.end(self.stop_limit);
    }

    fn end(&mut self, limit: Duration) {
        let limit = Instant::now() + limit;
        for (orders, _) in &self.workers {
            // A worker that cannot be told has ended.
            if orders.send(Order::Stop(limit)).is_err() {
                tracing::warn!("a worker had ended before");
            }
        }
        for (_, thread) in self.workers.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
        if let Some((stop, thread)) = self.control.take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the control thread has panicked");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

async fn command(
    socket: std::os::unix::net::UnixListener,
    desk: Arc<Desk>,
    stopped: oneshot::Receiver<()>,
) {
    let socket = match tokio::net::UnixListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "the control socket cannot be used"),
    };
    let retrying = async {
        loop {
            tokio::time::sleep(RETRY).await;
            desk.retry_listeners().await;
        }
    };
    tokio::select! {
        () = socket::serve(socket, desk.clone()) => {}
        () = retrying => {}
        // Told by being dropped.
        _ = stopped => {}
    }
}

fn secret() -> io::Result<HeaderValue> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut value = HeaderValue::try_from(text).map_err(io::Error::other)?;
    value.set_sensitive(true);
    Ok(value)
}

/// How many file descriptors this process may have open; raises the limit as far as it may.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            limit.current
        }
    };
    let most = descriptors.unwrap_or(u64::MAX).min(DESCRIPTORS_MOST);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// How many clients one worker takes: half of what is left of `descriptors` for traffic, since each
/// client may need one more for its backend.
fn clients_most(descriptors: usize, threads: usize) -> usize {
    let kept = KEPT + KEPT_EACH * threads;
    (descriptors.saturating_sub(kept) / 2 / threads).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_their_backends_leave_file_descriptors_for_the_control_plane() {
        for (descriptors, threads) in [(256, 2), (1024, 4), (1024, 16), (131_072, 64)] {
            let traffic = 2 * threads * clients_most(descriptors, threads);
            assert!(traffic + KEPT <= descriptors, "{descriptors} {threads}");
            let rounded = KEPT + (KEPT_EACH + 2) * threads;
            assert!(traffic + rounded >= descriptors, "{descriptors} {threads}");
        }
        assert_eq!(clients_most(16, 4), 1);
    }
}
