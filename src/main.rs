//! Parse, run, exit: nothing else.

use std::process::ExitCode;

use clap::Parser;
use flipside::cli::{Cli, ProxyVerb, Verb};
use flipside::cmd;
use flipside::error::{Error, Exit};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("\nhint: {hint}");
            }
            error.exit().into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit, Error> {
    let Verb::Proxy(proxy) = &cli.verb else {
        return Err(Error::Bug {
            what: "this verb is not wired yet".into(),
        });
    };
    let common = &cli.common;
    match &proxy.verb {
        // The proxy makes its own runtimes.
        ProxyVerb::Run(args) => cmd::proxy::run(args),
        ProxyVerb::Ctl(args) => on_a_runtime(cmd::proxy::ctl(args)),
        ProxyVerb::Status => on_a_runtime(cmd::proxy::status(common)),
        ProxyVerb::Down => on_a_runtime(cmd::proxy::down(common)),
    }
}

fn on_a_runtime(work: impl Future<Output = Result<Exit, Error>>) -> Result<Exit, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Bug {
            what: format!("no runtime: {error}"),
        })?;
    let done = runtime.block_on(work);
    // Reading standard input blocks a thread that nothing can end.
    runtime.shutdown_background();
    done
}
