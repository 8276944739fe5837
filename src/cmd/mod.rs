//! One file per verb, or per family of verbs; and what they share: `context.rs` makes the real
//! things, `operator.rs` does what every change of a service has around the loop.

pub mod abort;
pub mod asks;
pub mod check;
pub mod clear;
pub mod context;
pub mod deploy;
pub mod down;
pub mod history;
pub mod ledger;
pub mod logs;
pub mod operator;
pub mod promote;
pub mod proxy;
pub mod prune;
pub mod recall;
pub mod resume;
pub mod rollback;
pub mod run;
pub mod settle;
pub mod status;
pub mod underway;

use crate::cli::{Cli, ProxyVerb, Verb};
use crate::error::{Error, Exit};
use context::Context;

/// Runs a verb.
///
/// # Errors
/// Every expected one.
pub async fn run(context: &Context, cli: &Cli) -> Result<Exit, Error> {
    match &cli.verb {
        Verb::Deploy(args) => deploy::run(context, args).await,
        Verb::Rollback(args) => rollback::run(context, args).await,
        Verb::Status(args) => status::run(context, args).await,
        Verb::History(args) => history::run(context, args).await,
        Verb::Resume(args) => resume::run(context, args).await,
        Verb::Abort(args) => abort::run(context, args).await,
        Verb::Promote(args) => promote::run(context, args).await,
        Verb::Check(args) => check::run(context, args).await,
        Verb::Prune(args) => prune::run(context, args).await,
        Verb::Down(args) => down::run(context, args).await,
        Verb::Logs(args) => logs::run(context, args).await,
        Verb::Proxy(args) => match &args.verb {
            ProxyVerb::Run(args) => proxy::run(args),
            ProxyVerb::Ctl(args) => proxy::ctl(args).await,
            ProxyVerb::Status => proxy::status(context).await,
            ProxyVerb::Down => proxy::down(context).await,
        },
    }
}
