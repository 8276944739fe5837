//! One file per verb, or per family of verbs; and what they share: `context.rs` makes the real
//! things, `operator.rs` does what every change of a service has around the loop.

pub mod abort;
pub mod asks;
pub mod check;
pub mod clear;
pub mod completions;
pub mod context;
pub mod deploy;
pub mod down;
pub mod help;
pub mod history;
mod hooks;
pub mod init;
pub mod ledger;
pub mod logs;
pub mod man;
pub mod operator;
pub mod promote;
pub mod proxy;
pub mod prune;
pub mod reach;
pub mod recall;
pub mod resume;
pub mod rollback;
pub mod run;
pub mod schema;
pub mod settle;
pub mod shared;
pub mod status;
pub mod turn;
pub mod underway;
pub mod unit;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, ProxyVerb, SharedVerb, Verb};
use crate::core::verdict::Outcome;
use crate::error::{Error, Exit};
use crate::report::Finished;
use context::Context;

/// Runs a verb.
///
/// # Errors
/// Every expected one.
pub async fn run(context: &Context, cli: &Cli) -> Result<Exit, Error> {
    // A dying terminal stops nothing. Once handled, the signal's default is off for good.
    if let Err(error) = signal(SignalKind::hangup()) {
        context
            .report
            .warn(&format!("SIGHUP cannot be ignored here: {error}"));
    }
    match &cli.verb {
        Verb::Deploy(args) => deploy::run(context, args).await,
        Verb::Rollback(args) => rollback::run(context, args).await,
        Verb::Status(args) => status::run(context, args).await,
        Verb::History(args) => history::run(context, args).await,
        Verb::Resume(args) => resume::run(context, args).await,
        Verb::Abort(args) => abort::run(context, args).await,
        Verb::Promote(args) => promote::run(context, args).await,
        Verb::Init(args) => init::run(context, args),
        Verb::Check(args) => check::run(context, args).await,
        Verb::Prune(args) => prune::run(context, args).await,
        Verb::Down(args) => down::run(context, args).await,
        Verb::Shared(args) => match &args.verb {
            SharedVerb::Apply(args) => shared::run(context, args).await,
        },
        Verb::Logs(args) => logs::run(context, args).await,
        Verb::Proxy(args) => match &args.verb {
            ProxyVerb::Run(args) => proxy::run(args),
            ProxyVerb::Ctl(args) => proxy::ctl(args).await,
            ProxyVerb::Clients(args) => proxy::clients(context, args).await,
            ProxyVerb::Status => proxy::status(context).await,
            ProxyVerb::Down => proxy::down(context).await,
        },
        Verb::Help(args) => help::run(context, args),
        Verb::Completions(args) => completions::run(context, args),
        Verb::Man(args) => man::run(context, args),
        Verb::Schema => schema::run(context),
        Verb::Unit(args) => unit::run(context, args).await,
    }
}

/// The last line of a verb that works on a run and ended before it had one, or lost it.
#[must_use]
pub fn finished(context: &Context, cli: &Cli, error: &Error) -> Option<Finished> {
    let named = match &cli.verb {
        Verb::Deploy(args) => args.plan.name.clone(),
        Verb::Rollback(args) => args.service.service.clone(),
        Verb::Resume(args) => args.service.service.clone(),
        Verb::Abort(args) => args.service.clone(),
        _ => return None,
    };
    let outcome = match error.exit() {
        Exit::Done => Outcome::Done,
        Exit::BadInput | Exit::Refused | Exit::Held | Exit::OutOfReach => Outcome::Refused,
        Exit::Decide => Outcome::Stuck,
        Exit::Bug | Exit::Interrupted => Outcome::Interrupted,
    };
    let known = context.service.get().map(ToString::to_string);
    let elapsed = context.began.elapsed().as_millis();
    Some(Finished {
        outcome,
        service: known.or(named).unwrap_or_default(),
        release: None,
        live: None,
        elapsed_ms: u64::try_from(elapsed).unwrap_or(u64::MAX),
        requests_in_flight: None,
        requests_cut: None,
        switch_us: None,
        rollback_us: None,
        woke_us: None,
    })
}
