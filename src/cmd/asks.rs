//! What is asked of a run from outside while it goes on: signals, and requests left on the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::core::action::Ask;
use crate::core::names::ServiceName;
use crate::drive::Asked;
use crate::error::Exit;
use crate::lease::Lease;
use crate::report::Report;

/// How often the engine is asked for requests.
const LOOK: Duration = Duration::from_millis(500);

/// Listens until it is dropped.
pub struct Asks {
    /// What has been asked.
    pub heard: mpsc::Receiver<Asked>,
    _tasks: JoinSet<()>,
}

/// Begins to listen. From here on the first SIGINT or SIGTERM is a request, the second ends the
/// process at once, and SIGHUP is ignored.
#[must_use]
pub fn listen(service: &ServiceName, lease: Arc<Lease>, report: Arc<dyn Report>) -> Asks {
    let (asked, heard) = mpsc::channel(8);
    let mut tasks = JoinSet::new();
    tasks.spawn(signals(service.clone(), asked.clone(), Arc::clone(&report)));
    tasks.spawn(requests(lease, asked, report));
    Asks {
        heard,
        _tasks: tasks,
    }
}

async fn signals(service: ServiceName, asked: mpsc::Sender<Asked>, report: Arc<dyn Report>) {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        report.warn("signals cannot be handled here; a kill is settled by `flipside resume`");
        return;
    };
    let mut first = true;
    loop {
        let name = tokio::select! {
            Some(()) = interrupt.recv() => "SIGINT",
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = hangup.recv() => continue,
            else => return,
        };
        if !first {
            report.warn(&format!(
                "a second signal: leaving at once; how to go on: flipside status {service}"
            ));
            report.close();
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        first = false;
        if asked.send((Ask::Leave, name.into())).await.is_err() {
            return;
        }
    }
}

async fn requests(lease: Arc<Lease>, asked: mpsc::Sender<Asked>, report: Arc<dyn Report>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut warned = false;
    loop {
        ticks.tick().await;
        let pending = match lease.pending().await {
            Ok(pending) => pending,
            Err(error) if warned => {
                tracing::debug!("requests cannot be read: {error}");
                continue;
            }
            Err(error) => {
                warned = true;
                report.warn(&format!(
                    "requests of other operators cannot be read: {error}"
                ));
                continue;
            }
        };
        for request in pending {
            if asked
                .send((request.ask.clone(), request.by.clone()))
                .await
                .is_err()
            {
                return;
            }
            if let Err(error) = lease.answer(&request).await {
                report.warn(&format!(
                    "a request of {} stays unanswered: {error}",
                    request.by
                ));
            }
        }
    }
}
