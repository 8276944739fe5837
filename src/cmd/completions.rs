//! `flipside completions`: what a shell needs to complete verbs and flags.

use clap::{Command, CommandFactory};

use crate::cli::{self, Cli};
use crate::error::{Error, Exit};

use super::context::Context;

/// Runs the verb.
///
/// # Errors
/// None.
pub fn run(context: &Context, args: &cli::Completions) -> Result<Exit, Error> {
    let mut script = Vec::new();
    let mut command = shown(&Cli::command());
    clap_complete::generate(args.shell, &mut command, "flipside", &mut script);
    let script = String::from_utf8_lossy(&script);
    let value = serde_json::json!({
        "event": "completions", "shell": args.shell.to_string(), "script": script,
    });
    context.report.data(&value, &script);
    Ok(Exit::Done)
}

/// The same command without what is hidden: the generators would offer that too.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut shown = Command::new(command.get_name().to_owned())
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args(arguments.cloned())
        .subcommands(verbs.map(self::shown));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
}
