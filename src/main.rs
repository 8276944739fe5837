//! Parse, run, exit: nothing else.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use clap::Parser;
use flipside::cli::{self, Cli, ProxyVerb, Verb};
use flipside::cmd::{self, context::Context};
use flipside::error::{Error, Exit, Touched};
use flipside::report::{self, Loudness, Report};

fn main() -> ExitCode {
    report::panics::guarded(program)
}

fn program() -> ExitCode {
    let began = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => return refused(&asked),
    };
    let context = Context {
        common: cli.common.clone(),
        report: open(&cli.common),
        began,
        service: OnceLock::new(),
    };
    let exit = match run(&context, &cli) {
        Ok(exit) => exit,
        Err(error) => {
            context.report.error(&error);
            if let Some(finished) = cmd::finished(&context, &cli, &error) {
                context.report.finished(&finished);
            }
            error.exit()
        }
    };
    context.report.close();
    exit.into()
}

fn run(context: &Context, cli: &Cli) -> Result<Exit, Error> {
    // The proxy makes its own runtimes, one per core.
    if let Verb::Proxy(cli::Proxy {
        verb: ProxyVerb::Run(args),
    }) = &cli.verb
    {
        return cmd::proxy::run(args);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Error::Io {
        doing: "starting".into(),
        why: error.to_string(),
        touched: Touched::Nothing,
    })?;
    let exit = runtime.block_on(cmd::run(context, cli));
    // What still blocks (a store that hangs) must not keep the process.
    runtime.shutdown_background();
    exit
}

fn open(common: &cli::Common) -> Arc<dyn Report> {
    let output = match common.output {
        cli::Output::Human => report::Output::Human,
        cli::Output::Json => report::Output::Json,
    };
    let loudness = match (common.quiet, common.verbose) {
        (true, _) => Loudness::Quiet,
        (false, 0) => Loudness::Normal,
        (false, _) => Loudness::Verbose,
    };
    report::open(report::Options { output, loudness })
}

/// Help and version are answers; anything else is bad input.
fn refused(asked: &clap::Error) -> ExitCode {
    // A closed stream is no reason for another exit code.
    let _ = asked.print();
    if asked.use_stderr() {
        Exit::BadInput.into()
    } else {
        Exit::Done.into()
    }
}
