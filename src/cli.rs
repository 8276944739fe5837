//! Verbs and flags: what the command line means, and no logic.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a bug in flipside
  2  bad input (flags, plan); nothing was touched
  3  the new release failed or was given up; what served before still serves
  4  a person must decide; the message names the next command
  5  another operator holds the service
  6  cut short after something was touched; everything is recorded, `flipside resume` goes on
  7  engine, pointer or store out of reach; nothing was touched

At three in the morning: flipside rollback";

/// Immutable blue/green deployments: stand up, prove, switch, keep the old one, roll back at once.
#[derive(Debug, Parser)]
#[command(
    name = "flipside",
    bin_name = "flipside",
    version,
    max_term_width = 100,
    disable_help_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
pub struct Cli {
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
    /// Flags that every verb takes.
    #[command(flatten)]
    pub common: Common,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Flags of every verb")]
pub struct Common {
    /// Directory in which the journal is kept.
    #[arg(
        long,
        global = true,
        env = "FLIPSIDE_STATE",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub state: Option<String>,
    /// The engine; else the plan's, `DOCKER_HOST`, the current Docker context.
    #[arg(long, global = true, value_name = "URL")]
    pub engine: Option<String>,
    /// What standard output gets: `human` (default) or `json`.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = Output::Human,
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub output: Output,
    /// Do not ask.
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
    /// Say less.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice: also what the libraries say.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The proxy's container.
    #[arg(
        long,
        global = true,
        env = "FLIPSIDE_PROXY",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "flipside-proxy"
    )]
    pub proxy: String,
    /// Image of flipside for the engine, where this binary does not run on it.
    #[arg(long, global = true, value_name = "IMAGE")]
    pub proxy_image: Option<String>,
    /// How the embedded proxy is spoken to.
    #[arg(long, global = true, value_enum, default_value_t = Control::Auto, hide = true)]
    pub proxy_control: Control,
    /// Say what there is to say.
    #[arg(long, short, global = true, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
}

/// What is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// How the embedded proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Control {
    /// Over its socket where that is in reach, else through the engine.
    Auto,
    /// Over its socket.
    Socket,
    /// Through the engine.
    Exec,
}

/// Which plan, and with which values.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// The plan [default: flipside.yaml, else the only file in plans/].
    #[arg(value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    /// The plan, as a flag.
    #[arg(long, short, value_name = "PLAN", conflicts_with = "plan")]
    pub file: Option<PathBuf>,
    /// A value for `${KEY}` in the plan; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Stand the plan up under another service name.
    #[arg(long, value_name = "SERVICE")]
    pub name: Option<String>,
}

impl PlanArgs {
    /// The plan as given, by word or by flag.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        self.plan.as_deref().or(self.file.as_deref())
    }
}

/// Which service.
#[derive(Debug, Clone, Args)]
pub struct ServiceArg {
    /// The service [default: the only one there is].
    pub service: Option<String>,
    /// Go to the pointer that only labels on the engine name, where no journal does.
    #[arg(long)]
    pub trust_labels: bool,
}

/// Whether to wait for another operator.
#[derive(Debug, Clone, Copy, Args)]
pub struct Lock {
    /// How long to wait for another operator who holds the service.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub lock_wait: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Stand a new release up, prove it, switch to it, keep the old one.
    Deploy(Deploy),
    /// Back to the standby, now: a pointer move.
    Rollback(Rollback),
    /// What is live, what stands by, what the pointer says.
    Status(ServiceArg),
    /// Releases and what became of them.
    History(History),
    /// Go on with a run that was cut short.
    ///
    /// Where none was, join shared roles that releases do not reach, and hand workers over, if needed.
    Resume(Resume),
    /// Give an unfinished release up.
    Abort(ServiceArg),
    /// Switch to a release that waits at its preview; or end the bake of a running deploy.
    Promote(Promote),
    /// Write a first plan for Compose files, a proposal for each decision.
    Init(Init),
    /// Read a plan and say what is wrong with it; touches nothing.
    Check(Check),
    /// Remove what nothing needs.
    Prune(Prune),
    /// Take a service away, the live environment included.
    Down(Down),
    /// Shared roles: databases and queues that outlive releases.
    Shared(SharedArgs),
    /// Logs of an environment, live or kept.
    Logs(Logs),
    /// The embedded load balancer.
    Proxy(Proxy),
    /// The guide, by topic; and what every verb takes.
    Help(Help),
    /// What a shell needs to complete verbs and flags.
    Completions(Completions),
    /// Manual pages.
    Man(Man),
    /// The JSON Schema of a plan, for editors.
    Schema,
    /// A unit for systemd that tells the kernel again, after a boot, where traffic goes.
    ///
    /// For the pointer `nftables`, which the kernel forgets: `flipside help nftables`.
    Unit(Unit),
}

/// `flipside check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Which plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Also show what became of every value of the plan and of its Compose files.
    #[arg(long)]
    pub keys: bool,
}

/// `flipside deploy`.
#[derive(Debug, Clone, Args)]
pub struct Deploy {
    /// Which plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Say what would happen; touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Take what serves now, and is not flipside's, for release 0: a rollback can go back to it.
    #[arg(long)]
    pub adopt: bool,
    /// Overwrite a routing that somebody else has changed.
    #[arg(long)]
    pub force: bool,
    /// Stop once the release can be previewed, say how, and wait for `promote` or `abort`.
    #[arg(long)]
    pub until_preview: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub lock: Lock,
}

/// `flipside promote`.
#[derive(Debug, Clone, Args)]
pub struct Promote {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// A value for `${KEY}` in the plan, where it came from `--set`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

/// `flipside rollback`.
#[derive(Debug, Clone, Args)]
pub struct Rollback {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// The release to go back to, withdrawn ones included [default: the best standby].
    #[arg(long, value_name = "RELEASE")]
    pub to: Option<u64>,
    /// Say whether it would work, and why not; touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Go back even to an environment that is not fit, or without any record that it ever served.
    #[arg(long)]
    pub force: bool,
}

/// `flipside history`.
#[derive(Debug, Clone, Args)]
pub struct History {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// How many runs, newest first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// `flipside resume`.
#[derive(Debug, Clone, Args)]
pub struct Resume {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// A value for `${KEY}` in the plan, where it came from `--set`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// The hook of which nobody knows what became of it has done what it had to do.
    #[arg(long, value_name = "HOOK", conflicts_with = "hook_again")]
    pub hook_done: Option<String>,
    /// The hook of which nobody knows what became of it shall begin again.
    #[arg(long, value_name = "HOOK")]
    pub hook_again: Option<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub lock: Lock,
}

/// `flipside init`.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// The Compose file; may be repeated, later ones win.
    #[arg(long, value_name = "FILE", required = true)]
    pub from: Vec<PathBuf>,
    /// Where the plan is written; `-` is standard output.
    #[arg(long, short, value_name = "PLAN", default_value = "flipside.yaml")]
    pub out: PathBuf,
    /// A value for `${KEY}` in the files; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

/// `flipside prune`.
#[derive(Debug, Clone, Args)]
pub struct Prune {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// Say what would be removed; touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Also what clients still come to, whom they then lose.
    #[arg(long)]
    pub force: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub lock: Lock,
}

/// `flipside down`.
#[derive(Debug, Clone, Args)]
pub struct Down {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// The shared roles too, whose volumes stay; asks twice. With `--yes` it needs `--confirm`.
    #[arg(long)]
    pub shared: bool,
    /// The service's name once more: `--shared` and `--yes` together need it.
    #[arg(long, value_name = "SERVICE", requires = "shared")]
    pub confirm: Option<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub lock: Lock,
}

/// `flipside shared`.
#[derive(Debug, Clone, Args)]
pub struct SharedArgs {
    /// What of them.
    #[command(subcommand)]
    pub verb: SharedVerb,
}

/// What of the shared roles.
#[derive(Debug, Clone, Subcommand)]
pub enum SharedVerb {
    /// Give the shared roles the plan's settings: each that differs stops and starts again; asks.
    Apply(SharedApply),
}

/// `flipside shared apply`.
#[derive(Debug, Clone, Args)]
pub struct SharedApply {
    /// Which plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Say what differs; touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub lock: Lock,
}

/// `flipside logs`.
#[derive(Debug, Clone, Args)]
pub struct Logs {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// Which release [default: the live one].
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<u64>,
    /// Only this role's, which may be a job.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Only those of this hook's containers.
    #[arg(long, value_name = "HOOK")]
    pub hook: Option<String>,
    /// How many lines of each container.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub tail: u32,
    /// Go on with new lines as they come.
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `flipside proxy`.
#[derive(Debug, Clone, Args)]
pub struct Proxy {
    /// What of it.
    #[command(subcommand)]
    pub verb: ProxyVerb,
}

/// What of the embedded load balancer.
#[derive(Debug, Clone, Subcommand)]
pub enum ProxyVerb {
    /// Be the proxy: what its container runs.
    Run(ProxyRun),
    /// Relay standard input and output to a proxy's control socket.
    Ctl(ProxyCtl),
    /// Count who is connected to a port: what runs beside a container before that is removed.
    Clients(ProxyClients),
    /// What it serves.
    Status,
    /// Remove its container, volume and image; asks while it serves anything.
    Down,
}

/// `flipside proxy run`.
#[derive(Debug, Clone, Args)]
pub struct ProxyRun {
    /// Directory of its routing table.
    #[arg(long, value_name = "DIR")]
    pub table: PathBuf,
    /// Its control socket.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Group that may use the control socket.
    #[arg(long, value_name = "GID")]
    pub socket_group: Option<u32>,
    /// Its random identity, which the socket must answer.
    #[arg(long, value_name = "ID")]
    pub identity: String,
    /// Worker threads [default: one per core].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// `flipside proxy ctl`.
#[derive(Debug, Clone, Args)]
pub struct ProxyCtl {
    /// The control socket.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

/// `flipside proxy clients`.
#[derive(Debug, Clone, Args)]
pub struct ProxyClients {
    /// The port.
    #[arg(long, value_name = "PORT")]
    pub port: u16,
    /// An address whose connections do not count; may be repeated.
    #[arg(long, value_name = "IP")]
    pub but: Vec<IpAddr>,
    /// How long to look before nobody is there.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub watch: Duration,
}

/// `flipside unit`.
#[derive(Debug, Clone, Args)]
pub struct Unit {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceArg,
    /// As this plan says, also before its first deploy; not as the last deploy has recorded it.
    #[arg(long, short, value_name = "PLAN", conflicts_with = "service")]
    pub file: Option<PathBuf>,
    /// A value for `${KEY}` in that plan; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, requires = "file")]
    pub set: Vec<(String, String)>,
}

/// `flipside help`.
#[derive(Debug, Clone, Args)]
pub struct Help {
    /// A page of the guide, or a verb [default: a list of both].
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}

/// `flipside completions`.
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// Which shell's.
    pub shell: Shell,
}

/// `flipside man`.
#[derive(Debug, Clone, Args)]
pub struct Man {
    /// Of which verb [default: of flipside itself].
    #[arg(value_name = "VERB")]
    pub verb: Vec<String>,
    /// Write all pages into this directory, over those that are there.
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    pub dir: Option<PathBuf>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::plan::duration(text).map(Duration::from_millis)
}
