//! What `status` and `history` say, from plain data: aligned text for people, JSON for pipelines.
//!
//! Reads nothing and asks nobody; the caller has gathered everything, the present time included.

use std::net::SocketAddr;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::foreign::ForeignView;
use super::idle::{self, Idle};
use super::{shared, ways};
use crate::core::event::Verb;
use crate::core::names::{Millis, Release, Slot};
use crate::core::plan::StandbyMode;
use crate::core::routing::{FOREIGN, Routing};
use crate::core::shared::Shared;
use crate::core::sharing::Gone;
use crate::core::sleep::word;
use crate::core::verdict::Outcome;
use crate::core::words::{clean, known, list, millis, release_name, resume, wrap};

/// Everything `status SERVICE` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusView {
    /// The service.
    pub service: String,
    /// What the pointer names.
    pub live: Option<EnvironmentView>,
    /// What a rollback can go back to, the next one first.
    pub standby: Vec<EnvironmentView>,
    /// What served before flipside came, where that is remembered.
    pub foreign: Option<ForeignView>,
    /// What is being brought up.
    pub candidate: Option<EnvironmentView>,
    /// What a rollback or a revert has left.
    pub withdrawn: Vec<EnvironmentView>,
    /// What stands while nobody can say what the pointer names.
    pub unplaced: Vec<EnvironmentView>,
    /// What stands for shared roles.
    pub shared: Vec<Shared>,
    /// Shared roles for which nothing stands, and which releases use.
    pub gone: Vec<Gone>,
    /// That some stand which no release uses.
    pub unused: Option<String>,
    /// What sends traffic.
    pub pointer: PointerView,
    /// Who holds the service now.
    pub lease: Option<String>,
    /// Where journal, engine and pointer say different things, one line each.
    pub disagreements: Vec<String>,
    /// A run that has not ended: `deploy shop@3, begun by …`.
    pub unfinished: Option<String>,
    /// Variables whose values have to be given again to go on with it.
    pub again: Vec<String>,
}

/// One environment.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentView {
    /// Whose.
    pub release: Release,
    /// Where it hangs.
    pub slot: Slot,
    /// When its first part was made, in milliseconds since the epoch.
    pub created: Millis,
    /// Whether it would serve, right now.
    pub fit: Fit,
    /// Where its exposed replicas answer.
    pub endpoints: Vec<SocketAddr>,
    /// The pinned images, each once.
    pub image_ids: Vec<String>,
    /// Containers of its live-only roles.
    pub workers: Vec<WorkerView>,
    /// What it holds while it waits; of standbys.
    pub idle: Option<Idle>,
}

/// One container of a live-only role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub container: String,
    /// What it does.
    pub does: Does,
}

/// What a live-only container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It runs, or will by itself.
    Run,
    /// It does not, and will not.
    Rest,
}

/// Whether an environment would serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Every probe passes.
    Yes,
    /// It would not, and why: one line per reason.
    No(Vec<String>),
    /// Nobody could ask, and why.
    Unknown(String),
    /// It sleeps, and is not asked.
    Asleep(StandbyMode),
}

/// What sends traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerView {
    /// `proxy`.
    pub kind: String,
    /// What it says; `None` where it knows nothing of the service, or cannot be asked.
    pub routing: Option<Routing>,
    /// Why it cannot be asked.
    pub away: Option<String>,
    /// Whether it says what the journal and the marks say.
    pub agrees: bool,
    /// How a person asks for the preview, where it shows one.
    pub preview: Option<String>,
}

/// One run, as `history` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Counted per service from 1.
    pub run: u64,
    /// What it did.
    pub verb: Verb,
    /// Who began it.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub started: Millis,
    /// How long it took, in milliseconds; `None` while it has not ended.
    pub took_ms: Option<Millis>,
    /// How it ended; `None` while it has not.
    pub outcome: Option<Outcome>,
    /// Requests cut; `None` is unknown.
    pub cut: Option<u64>,
    /// Why it could not be read whole.
    pub trouble: Option<String>,
    /// Variables whose values have to be given again to go on with it.
    pub again: Vec<String>,
}

/// The status for people. `now` in milliseconds since the epoch, `width` in columns.
#[must_use]
pub fn status_text(view: &StatusView, now: Millis, width: u16) -> String {
    let service = &view.service;
    let mut text = first_line(view, now, width) + "\n";
    let environments = environments(view);
    if !environments.is_empty() {
        let heads = ["", "release", "slot", "stood up", "fit", "endpoints"];
        let mut rows = Vec::new();
        for (what, environment) in &environments {
            let endpoints: Vec<_> = environment
                .endpoints
                .iter()
                .map(ToString::to_string)
                .collect();
            rows.push([
                (*what).to_owned(),
                release_name(service, environment.release),
                environment.slot.to_string(),
                ago(environment.created, now),
                match &environment.fit {
                    Fit::Yes => "yes".into(),
                    Fit::No(_) => "no".into(),
                    Fit::Unknown(_) => "unknown".into(),
                    Fit::Asleep(mode) => word(*mode).into(),
                },
                endpoints.join("\n"),
            ]);
        }
        text += &format!("\n{}\n", calm(width, heads, &rows, &[]));
    }
    for (_, environment) in &environments {
        text += &workers(service, environment);
    }
    text += &view
        .foreign
        .as_ref()
        .map_or(String::new(), |it| it.text(service));
    text += &shared::text(view, now, width);
    for line in idle::lines(view) {
        text += &format!("\n{}", wrap(&line, width.into(), 2));
    }
    if view.standby.iter().any(|standby| standby.idle.is_some()) {
        text.push('\n');
    }
    let mut notes = Vec::new();
    for (_, environment) in &environments {
        let name = release_name(service, environment.release);
        match &environment.fit {
            Fit::Yes | Fit::Asleep(_) => {}
            Fit::No(reasons) => notes.extend(
                reasons
                    .iter()
                    .map(|reason| format!("{name} is not fit: {}", clean(reason))),
            ),
            // Said once, of what is away.
            Fit::Unknown(_) if view.pointer.away.is_some() => {}
            Fit::Unknown(why) => {
                notes.push(format!(
                    "whether {name} is fit is not known: {}",
                    clean(why)
                ));
            }
        }
    }
    notes.extend(view.disagreements.iter().map(|line| clean(line)));
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        text += &wrap(&format!("warning: {note}"), width.into(), 2);
        text.push('\n');
    }
    text += &format!("\n{}\n", ways::ways_on(view).join("\n"));
    text
}

/// The status for pipelines: one object.
#[must_use]
pub fn status_json(view: &StatusView) -> Value {
    let all = |environments: &[EnvironmentView]| -> Vec<Value> {
        environments.iter().map(environment_json).collect()
    };
    json!({
        "service": view.service,
        "live": view.live.as_ref().map(environment_json),
        "standby": all(&view.standby),
        "foreign": view.foreign.as_ref().map(ForeignView::json),
        "candidate": view.candidate.as_ref().map(environment_json),
        "withdrawn": all(&view.withdrawn),
        "unplaced": all(&view.unplaced),
        "shared": view.shared.iter().map(shared::json).collect::<Vec<_>>(),
        "shared_gone": view.gone.iter().map(|gone| json!({
            "role": gone.role,
            "releases": gone.releases,
        })).collect::<Vec<_>>(),
        "pointer": {
            "kind": view.pointer.kind,
            "routing": view.pointer.routing,
            "agrees": view.pointer.agrees,
            "away": view.pointer.away,
            "preview": view.pointer.preview,
        },
        "lease": view.lease,
        "unfinished": view.unfinished,
        "disagreements": view.disagreements,
    })
}

/// The history for people, in the order given. `width` in columns.
#[must_use]
pub fn history_text(service: &str, rows: &[HistoryRow], width: u16) -> String {
    if rows.is_empty() {
        return format!("nothing is recorded of `{service}`\n\ndeploy it with: flipside deploy\n");
    }
    let heads = [
        "run",
        "what",
        "by",
        "started (UTC)",
        "took",
        "outcome",
        "cut",
    ];
    let mut cells = Vec::new();
    for row in rows {
        cells.push([
            row.run.to_string(),
            what(service, &row.verb),
            clean(&row.by),
            date(row.started),
            row.took_ms.map_or_else(|| "-".into(), millis),
            row.outcome.map_or("unfinished", outcome_name).into(),
            known(row.cut),
        ]);
    }
    let mut text = calm(width, heads, &cells, &[0, 6]) + "\n";
    let troubles: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row.run, row.trouble.as_ref()?)))
        .collect();
    if !troubles.is_empty() {
        text.push('\n');
    }
    for (run, trouble) in troubles {
        text += &format!("warning: run {run}: {}\n", clean(trouble));
    }
    if let Some(row) = rows.iter().find(|row| row.outcome.is_none()) {
        text += &format!("\ngo on with: {}\n", resume(service, &row.again));
    }
    text
}

/// The history for pipelines: one object with a list of runs.
#[must_use]
pub fn history_json(service: &str, rows: &[HistoryRow]) -> Value {
    let runs: Vec<_> = rows.iter().map(row_json).collect();
    json!({"service": service, "runs": runs})
}

fn first_line(view: &StatusView, now: Millis, width: u16) -> String {
    let service = &view.service;
    let routing = view.pointer.routing.as_ref();
    let live = match (&view.live, routing) {
        _ if view.pointer.away.is_some() => format!("it is not known what is live for `{service}`"),
        (None, Some(routing)) if routing.live() == Some(FOREIGN) && view.foreign.is_some() => {
            format!("`{service}` is served by what stood there before flipside came")
        }
        (None, _) => format!("nothing is live for `{service}`"),
        (Some(live), Some(routing)) if routing.live() == Some(live.release) => format!(
            "{} is live since {} UTC ({})",
            release_name(service, live.release),
            date(routing.at),
            ago(routing.at, now)
        ),
        (Some(live), _) => format!("{} is live", release_name(service, live.release)),
    };
    let kind = &view.pointer.kind;
    let says = match routing {
        None if view.pointer.away.is_some() => {
            format!("the {kind} pointer does not answer, so perhaps nothing is served")
        }
        None => format!("the {kind} pointer knows nothing of it"),
        Some(routing) if routing.is_foreign() => {
            format!("the {kind} pointer has nothing of flipside's on record")
        }
        Some(routing) => {
            let verdict = match view.pointer.agrees {
                true => "agrees".into(),
                false => {
                    let names = routing.live().map(|live| release_name(service, live));
                    let names = names.unwrap_or_else(|| "nothing".into());
                    format!("disagrees and names {names}")
                }
            };
            format!(
                "the {kind} pointer {verdict}, generation {}, written by `{}`: {}",
                routing.generation,
                clean(&routing.author),
                clean(&routing.reason)
            )
        }
    };
    [live, says]
        .map(|line| wrap(&line, width.into(), 2))
        .join("\n")
}

fn environments(view: &StatusView) -> Vec<(&'static str, &EnvironmentView)> {
    let mut all = Vec::new();
    all.extend(view.live.iter().map(|one| ("live", one)));
    all.extend(view.candidate.iter().map(|one| ("candidate", one)));
    all.extend(view.standby.iter().map(|one| ("standby", one)));
    all.extend(view.withdrawn.iter().map(|one| ("withdrawn", one)));
    all.extend(view.unplaced.iter().map(|one| ("stands", one)));
    all
}

/// Which workers of an environment run, a line each; nothing where it has none.
fn workers(service: &str, environment: &EnvironmentView) -> String {
    let name = release_name(service, environment.release);
    let line = |does: Does, what: &str| {
        let those = environment
            .workers
            .iter()
            .filter(|worker| worker.does == does);
        let those: Vec<_> = those
            .map(|worker| format!("`{}`", clean(&worker.container)))
            .collect();
        match those.is_empty() {
            true => String::new(),
            false => format!("workers of {name} that {what}: {}\n", list(&those)),
        }
    };
    line(Does::Run, "run") + &line(Does::Rest, "rest")
}

fn environment_json(environment: &EnvironmentView) -> Value {
    let (fit, reasons) = match &environment.fit {
        Fit::Yes => (Some(true), Vec::new()),
        Fit::No(reasons) => (Some(false), reasons.clone()),
        Fit::Unknown(why) => (None, vec![why.clone()]),
        Fit::Asleep(_) => (None, Vec::new()),
    };
    let asleep = match &environment.fit {
        Fit::Asleep(mode) => Some(word(*mode)),
        Fit::Yes | Fit::No(_) | Fit::Unknown(_) => None,
    };
    json!({
        "release": environment.release,
        "slot": environment.slot,
        "created": environment.created,
        "fit": fit,
        "asleep": asleep,
        "reasons": reasons,
        "endpoints": environment.endpoints,
        "image_ids": environment.image_ids,
        "workers": environment.workers.iter().map(|worker| json!({
            "container": worker.container,
            "runs": worker.does == Does::Run,
        })).collect::<Vec<_>>(),
        "idle": environment.idle.as_ref().map(idle::json),
    })
}

fn row_json(row: &HistoryRow) -> Value {
    let (verb, release, from) = match &row.verb {
        Verb::Deploy { release, .. } => ("deploy", Some(release), None),
        Verb::Rollback { from, to, .. } => ("rollback", Some(to), Some(from)),
        Verb::HandOver { to } => ("hand-over", Some(to), None),
        Verb::Prune { .. } => ("prune", None, None),
        Verb::Down { .. } => ("down", None, None),
        Verb::Apply { .. } => ("shared-apply", None, None),
    };
    json!({
        "run": row.run,
        "verb": verb,
        "release": release,
        "from": from,
        "by": row.by,
        "started": row.started,
        "took_ms": row.took_ms,
        "outcome": row.outcome,
        "requests_cut": row.cut,
        "trouble": row.trouble,
    })
}

fn what(service: &str, verb: &Verb) -> String {
    match verb {
        Verb::Deploy { release, .. } => format!("deploy {}", release_name(service, *release)),
        Verb::HandOver { to } => format!("hand over to {}", release_name(service, *to)),
        Verb::Prune { releases, .. } => {
            let names: Vec<_> = releases.iter().map(|r| release_name(service, *r)).collect();
            format!("prune {}", list(&names))
        }
        Verb::Down { .. } => "down".into(),
        Verb::Apply { roles, settles } => {
            let names: Vec<_> = roles.iter().map(ToString::to_string).collect();
            let what = match settles {
                true => "see to shared",
                false => "shared apply",
            };
            format!("{what} {}", names.join(", "))
        }
        Verb::Rollback { from, to, .. } => {
            let ends = [*from, *to].map(|release| release_name(service, release));
            format!("rollback {}", ends.join(" to "))
        }
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::RolledBack => "rolled back",
        Outcome::Refused => "refused",
        Outcome::Previewed => "previewed",
        Outcome::Stuck => "stuck",
        Outcome::Unsure => "unsure",
        Outcome::Interrupted => "interrupted",
    }
}

/// `2026-11-23 13:18:33`, in UTC; `at` in milliseconds since the epoch.
#[must_use]
pub fn date(at: Millis) -> String {
    let stamp = i64::try_from(at)
        .ok()
        .map(jiff::Timestamp::from_millisecond);
    match stamp {
        Some(Ok(stamp)) => stamp.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Some(Err(_)) | None => "unknown".into(),
    }
}

pub(super) fn ago(at: Millis, now: Millis) -> String {
    match now.saturating_sub(at) / 1000 {
        0 => "just now".into(),
        s => format!("{} ago", millis(s * 1000)),
    }
}

/// Rows without lines around them, the columns two blanks apart, those in `right` aligned to the
/// right; where that is wider than `width`, a block per row.
#[must_use]
pub fn calm<const N: usize>(
    width: u16,
    heads: [&str; N],
    rows: &[[String; N]],
    right: &[usize],
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heads)
        .add_rows(rows);
    for number in 0..N {
        if let Some(column) = table.column_mut(number) {
            column.set_padding((0, 2));
            if right.contains(&number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    match lines.iter().all(|line| line.width() <= width.into()) {
        true => lines.join("\n"),
        false => blocks(heads, rows),
    }
}

fn blocks<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let indent = heads.iter().map(|head| head.width()).max().unwrap_or(0) + 2;
    let mut blocks = Vec::new();
    for row in rows {
        let mut block = Vec::new();
        for (head, cell) in heads.iter().zip(row) {
            for (number, line) in cell.lines().enumerate() {
                let head = if number == 0 { *head } else { "" };
                block.push(format!("{head:indent$}{line}"));
            }
        }
        blocks.push(block.join("\n"));
    }
    blocks.join("\n\n")
}
