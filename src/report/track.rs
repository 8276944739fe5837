//! What is under way, folded from [`Progress`]: at most a handful of rows, the same for a terminal's
//! bars and for a heartbeat line.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::names::Millis;
use crate::core::progress::Progress;
use crate::core::words::{clean, count, millis};

/// How many replicas' reasons are shown at a time.
const REASONS: usize = 3;
/// How many images' pulls are shown one by one.
const PULLS: usize = 4;

/// One row: text, and how far along it is where that can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: String,
    /// How much is done, of how much.
    pub(super) part: Option<(u64, u64)>,
}

/// What a builder said last, and its step, of how many.
#[derive(Debug)]
struct Build {
    role: String,
    line: String,
    step: Option<(u64, u64)>,
}

/// What is still in flight, of how much, and for how long at most.
#[derive(Debug)]
struct Drain {
    left: u64,
    most: u64,
    limit_ms: Millis,
}

#[derive(Debug, Default)]
pub(super) struct Track {
    pulls: BTreeMap<String, (u64, u64)>,
    build: Option<Build>,
    start: Option<(u32, u32)>,
    proving: Option<(u32, u32)>,
    reasons: BTreeMap<String, (u32, String)>,
    drain: Option<Drain>,
    bake: Option<(Millis, Millis)>,
    wait: Option<String>,
    stops: BTreeSet<String>,
    output: BTreeMap<String, String>,
}

fn stops(role: &str) -> String {
    format!("`{role}` stops, for as long as it takes to start again")
}

impl Track {
    /// Takes a step. Answers a line where something new has begun that deserves one.
    pub(super) fn take(&mut self, step: Progress) -> Option<String> {
        match step {
            Progress::Pull { image, done, total } => {
                let image = clean(&image);
                let new = format!("pulling `{image}`");
                let first = self.pulls.insert(image, (done, total)).is_none();
                return first.then_some(new);
            }
            Progress::Build { role, line } => {
                let (role, line) = (clean(&role), clean(line.trim_end()));
                let before = self.build.take().filter(|before| before.role == role);
                let (same, new) = (before.is_some(), format!("building the image of `{role}`"));
                let step = step_of(&line).or(before.and_then(|before| before.step));
                self.build = Some(Build { role, line, step });
                return (!same).then_some(new);
            }
            Progress::Start { done, total } => self.start = Some((done, total)),
            Progress::Check {
                container,
                attempt,
                reason: Some(reason),
            } => {
                self.reasons
                    .insert(clean(&container), (attempt, clean(&reason)));
            }
            Progress::Check { container, .. } => {
                self.reasons.remove(&clean(&container));
            }
            Progress::Proving { done, total } => self.proving = Some((done, total)),
            Progress::Drain { left, limit_ms } => {
                let most = self
                    .drain
                    .as_ref()
                    .map_or(left, |before| before.most.max(left));
                self.drain = Some(Drain {
                    left,
                    most,
                    limit_ms,
                });
            }
            Progress::Bake { left_ms } => {
                let whole = self.bake.map_or(left_ms, |(_, whole)| whole.max(left_ms));
                self.bake = Some((left_ms, whole));
            }
            Progress::Output { of, line } => {
                self.output.insert(clean(&of), clean(line.trim_end()));
            }
            Progress::Stop { role } => {
                let new = stops(&clean(&role));
                let first = self.stops.insert(clean(&role));
                return first.then_some(new);
            }
            Progress::Wait { what } => {
                let what = clean(&what);
                let new = format!("waiting for {what}");
                let same = self.wait.as_ref() == Some(&what);
                self.wait = Some(what);
                return (!same).then_some(new);
            }
        }
        None
    }

    /// What is under way, the coarse before the fine.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut row = |text: String, part| rows.push(Row { text, part });
        let of = |done: u32, total: u32| Some((done.into(), total.into()));
        if let Some(what) = &self.wait {
            row(format!("waiting for {what}"), None);
        }
        for role in self.stops.iter().take(REASONS) {
            row(stops(role), None);
        }
        let going = self
            .pulls
            .iter()
            .filter(|(_, (done, total))| done < total || *total == 0);
        let going: Vec<_> = going.collect();
        for (image, (done, total)) in going.iter().take(PULLS) {
            let of = format!("{} of {}  `{image}`", octets(*done), octets(*total));
            match total {
                0 => row(format!("`{image}`"), None),
                _ => row(of, Some((*done, *total))),
            }
        }
        if going.len() > PULLS {
            row(format!("and {} more", going.len() - PULLS), None);
        }
        if let Some(Build { role, line, step }) = &self.build {
            row(format!("`{role}`: {line}"), *step);
        }
        for (of, line) in self.output.iter().take(REASONS) {
            row(format!("`{of}`: {line}"), None);
        }
        if let Some((done, total)) = self.start {
            let containers = count(total.into(), "container");
            row(format!("{done} of {containers} started"), of(done, total));
        }
        if let Some((done, total)) = self.proving {
            let replicas = count(total.into(), "replica");
            row(format!("{done} of {replicas} passed"), of(done, total));
        }
        for (container, (attempt, reason)) in self.reasons.iter().take(REASONS) {
            row(format!("`{container}`: {reason} (check {attempt})"), None);
        }
        if self.reasons.len() > REASONS {
            row(format!("and {} more", self.reasons.len() - REASONS), None);
        }
        if let Some(drain) = &self.drain {
            let text = format!(
                "{} in flight, cut after {}",
                count(drain.left, "request"),
                millis(drain.limit_ms)
            );
            row(text, Some((drain.most - drain.left, drain.most)));
        }
        if let Some((left, whole)) = self.bake {
            let part = (whole.saturating_sub(left), whole);
            row(
                format!("{} left", millis(left.div_ceil(1000) * 1000)),
                Some(part),
            );
        }
        rows
    }

    /// All rows in one line, for where there are no bars.
    pub(super) fn summary(&self) -> Option<String> {
        let texts: Vec<_> = self.rows().into_iter().map(|row| row.text).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// How many steps are done, of how many, where a line of the builder's begins one: `Step 3/7 : …`.
fn step_of(line: &str) -> Option<(u64, u64)> {
    let (number, rest) = line.strip_prefix("Step ")?.split_once('/')?;
    let (number, total): (u64, u64) = (number.parse().ok()?, rest.split(' ').next()?.parse().ok()?);
    (1..=total).contains(&number).then(|| (number - 1, total))
}

/// `34 MiB`, `1.2 GiB`.
pub(super) fn octets(number: u64) -> String {
    match number {
        0..0x400 => format!("{number} B"),
        0x400..0x10_0000 => format!("{} KiB", number >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", number >> 20),
        _ => format!("{}.{} GiB", number >> 30, ((number % (1 << 30)) * 10) >> 30),
    }
}
