//! Hooks that run on the deployer: commands, and requests to somebody else. What runs in a container
//! is the engine's.
//!
//! A call is made once; whether it is made again is the caller's to say, and so is how long it may
//! take: it asks for an end through [`Stop`].

use async_trait::async_trait;
use tokio::sync::watch;

use crate::core::names::{Release, ServiceName};
use crate::core::plan::{Hook, HookAct};
use crate::core::progress::Sink;

mod command;
pub mod orphan;
mod request;

/// Says when a hook is to end.
pub type Stop = watch::Receiver<bool>;

/// One call of a hook.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Whose.
    pub service: &'a ServiceName,
    /// Of which release.
    pub release: Release,
    /// The same on each repetition, and on no other call.
    pub key: &'a str,
    /// The hook.
    pub hook: &'a Hook,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The exit code, of a command that ended by itself.
    pub code: Option<i64>,
    /// The status, of a request that was answered.
    pub status: Option<u16>,
    /// The last of what was printed or answered, at most 4 KiB.
    pub output: String,
    /// Why it did not end well; `None` where it did.
    pub why: Option<String>,
}

impl Told {
    fn failed(why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..Self::default()
        }
    }
}

/// What runs hooks that are no containers.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Runs a hook to its end, or until it is to stop; then it has ended within seconds, whatever
    /// it does.
    async fn call(&self, call: Call<'_>, stop: Stop, sink: &dyn Sink) -> Told;
}

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here;

#[async_trait]
impl Hooks for Here {
    async fn call(&self, call: Call<'_>, stop: Stop, sink: &dyn Sink) -> Told {
        match &call.hook.act {
            HookAct::Command {
                command,
                environment,
                directory,
            } => {
                let program = command::Program {
                    words: command,
                    environment,
                    directory,
                };
                command::run(&program, &call, stop, sink).await
            }
            HookAct::Http(wanted) => request::send(wanted, &call, stop).await,
            HookAct::Container { .. } => Told::failed("it is the engine's to run"),
        }
    }
}

/// Ends when a hook is to stop.
async fn stopped(stop: &mut Stop) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could ask for it.
        std::future::pending::<()>().await;
    }
}
