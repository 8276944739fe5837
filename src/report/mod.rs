//! What people and pipelines see: terminal, plain lines, JSON lines, and the tables of `status` and
//! `history`.
//!
//! Reports know the data only: they never touch engines or pointers, never decide, never block
//! their caller and never fail. A stream that is broken is given up in silence; a slow reader loses
//! progress first, and is waited for at the end, [`FAREWELL`] at most.

pub mod foreign;
mod human;
pub mod idle;
mod json;
pub mod panics;
mod pipeline;
mod plain;
mod pump;
mod shared;
pub mod tables;
mod terminal;
mod track;
pub(crate) mod ways;

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::core::event::Event;
use crate::core::names::{Millis, Release, ServiceName};
use crate::core::progress::Sink;
use crate::core::verdict::Outcome;
use crate::error::Error;

pub use pipeline::Pipeline;

/// How long slow readers are waited for at the end.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Lines for people, on standard error; tables on standard output.
    Human,
    /// JSON lines, on standard output.
    Json,
}

/// `-q`, `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// Warnings, failures and data.
    Quiet,
    /// What a person wants to see.
    Normal,
    /// Also what only matters when something is being looked into.
    Verbose,
}

/// What flags say of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `--output`.
    pub output: Output,
    /// `-q`, `-v`; JSON lines are the same at any.
    pub loudness: Loudness,
}

/// One record of the journal, to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Whose run it is.
    pub service: &'a ServiceName,
    /// The run.
    pub run: u64,
    /// The record's place in its run.
    pub seq: u32,
    /// When, in milliseconds since the epoch.
    pub at: Millis,
    /// What happened.
    pub event: &'a Event,
}

/// How `deploy`, `rollback`, `resume` or `abort` ended. `None` is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// Whose run it was.
    pub service: String,
    /// The release that was worked on: a deploy's candidate, a rollback's target.
    pub release: Option<Release>,
    /// The release that is live now.
    pub live: Option<Release>,
    /// Since the process began.
    pub elapsed_ms: Millis,
    /// Requests in flight to what the last move left, at its instant.
    pub requests_in_flight: Option<u64>,
    /// Of those, how many were cut.
    pub requests_cut: Option<u64>,
    /// How long the move to a candidate took, in microseconds.
    pub switch_us: Option<u64>,
    /// How long the move back took, in microseconds.
    pub rollback_us: Option<u64>,
    /// How long it took before it to wake what was gone back to, in microseconds.
    pub woke_us: Option<u64>,
}

/// Where everything goes that is shown. Its methods never fail and, but for [`Report::data`] and,
/// within bounds, [`Report::ask`] and [`Report::close`], never wait for a stream.
pub trait Report: Sink {
    /// Shows an event.
    fn event(&self, shown: &Shown<'_>);

    /// Takes an earlier event of a run that is resumed in, without showing it.
    fn recall(&self, shown: &Shown<'_>);

    /// Shows what a person should know.
    fn warn(&self, text: &str);

    /// Shows talk: one or more lines, on standard error.
    fn say(&self, text: &str);

    /// Shows a record that no journal takes, on standard error, one line as it is: at any loudness,
    /// and never left out.
    fn record(&self, line: &str);

    /// Shows a question on standard error, its answer to be read behind it; waits until it can be
    /// seen, [`FAREWELL`] at most.
    fn ask(&self, question: &str);

    /// Shows what was asked for, on standard output. The one method that waits for its reader (a
    /// pager), because what was asked for is never dropped: not for use while a run is under way.
    /// Answers whether it still has one.
    fn data(&self, value: &serde_json::Value, human: &str) -> bool;

    /// Shows how a run ended; in JSON the last line of all.
    fn finished(&self, finished: &Finished);

    /// Shows an error: `error: …`, a blank line, `hint: …`; in JSON also as a line, unless
    /// [`Report::finished`] has been the last.
    fn error(&self, error: &Error);

    /// Clears bars and waits until all has been written, [`FAREWELL`] at most. The rest is given up,
    /// and nothing is shown after it.
    fn close(&self);
}

/// The streams a report writes to, and what is known of them.
pub struct Streams {
    /// Data.
    pub stdout: Box<dyn Write + Send>,
    /// Talk.
    pub stderr: Box<dyn Write + Send>,
    /// What `stderr` ends in.
    pub screen: Screen,
    /// Whether colours are wanted there.
    pub colour: Colour,
    /// The CI service that reads `stderr`, where it is no terminal.
    pub pipeline: Option<Pipeline>,
    /// Milliseconds since the beginning.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
}

/// What a stream ends in.
#[derive(Clone)]
pub enum Screen {
    /// A file, a pipe.
    None,
    /// A terminal, with its present width in columns.
    Terminal(Arc<dyn Fn() -> u16 + Send + Sync>),
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Yes.
    Ansi,
    /// No.
    Plain,
}

/// The report on the process's own streams. `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and
/// `TERM=dumb` are honoured.
#[must_use]
pub fn open(options: Options) -> Arc<dyn Report> {
    let stderr = std::io::stderr();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let screen = match stderr.is_terminal() && !dumb {
        true => Screen::Terminal(Arc::new(width)),
        false => Screen::None,
    };
    let colour = match anstream::AutoStream::choice(&stderr) {
        // A variable that says CI turns colours on, also for a terminal that can show none.
        _ if dumb => Colour::Plain,
        anstream::ColorChoice::Never => Colour::Plain,
        anstream::ColorChoice::Auto
        | anstream::ColorChoice::AlwaysAnsi
        | anstream::ColorChoice::Always => Colour::Ansi,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_s = now.map_or(0, |since| since.as_secs());
    let pipeline = Pipeline::of(|name| std::env::var(name).ok(), now_s);
    let began = Instant::now();
    let clock = move || Millis::try_from(began.elapsed().as_millis()).unwrap_or(Millis::MAX);
    open_on(
        options,
        Streams {
            stdout: own(std::io::stdout()),
            stderr: own(stderr),
            screen,
            colour,
            pipeline,
            clock: Arc::new(clock),
        },
    )
}

/// The report on any streams.
#[must_use]
pub fn open_on(options: Options, streams: Streams) -> Arc<dyn Report> {
    match options.output {
        Output::Human => Arc::new(human::Human::new(options.loudness, streams)),
        Output::Json => Arc::new(json::Json::new(streams)),
    }
}

/// How wide standard output is, for a table: its terminal's columns. What is no terminal has no
/// width: there a row is a line, whatever is in it, since it is read with `grep` and `awk`.
#[must_use]
pub fn table_width() -> u16 {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| size.ws_col);
    match columns {
        Ok(0) | Err(_) => u16::MAX,
        Ok(columns) => columns,
    }
}

fn width() -> u16 {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map(|size| size.ws_col);
    match columns {
        Ok(0) | Err(_) => 80,
        Ok(columns) => columns,
    }
}

/// A descriptor of its own, so that a thread that is stuck writing holds no lock of the standard
/// library's; a stream that swallows everything where there is none to be had.
fn own(stream: impl AsFd) -> Box<dyn Write + Send> {
    match stream.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(std::fs::File::from(descriptor)),
        Err(_) => Box::new(std::io::sink()),
    }
}
