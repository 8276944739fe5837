//! Events told in words: a pure fold, the same for live output, `history`, a replay and a test.
//!
//! Knows nothing of screens, colours or widths, and never decides anything. Text that comes from
//! outside (reasons, log lines) loses its control characters here, so that a container cannot paint
//! on an operator's terminal.

mod close;
mod doing;
mod ends;
mod shared;

use super::action::{Action, Ask, Move, TIME_UP};
use super::course::Bake;
use super::event::{Event, Failure, Opened, ReplicaReport, SwitchRefusal, Verb};
use super::names::{Millis, Release};
use super::routing::{Mark, Routing};
use super::words::{clean, count, list, micros, millis, release_name};
use ends::drained_text;

/// What is left of a time that the plan gave, which some milliseconds have gone of already.
fn planned(left: Millis) -> String {
    millis(match left {
        1_000.. => left.div_ceil(1_000) * 1_000,
        _ => left.div_ceil(100) * 100,
    })
}

/// How many replicas of a failed environment have their logs told.
const TOLD_LOGS: usize = 3;

/// What a line means to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something begins, or is over without being a success or a failure.
    Step,
    /// Something worth having has been reached.
    Good,
    /// Something that a person should know, and that does not stop the run.
    Warn,
    /// Something failed.
    Bad,
    /// Belongs to the line above, and is shown wherever that is.
    Detail,
    /// Only for those who asked for more.
    Aside,
}

/// One line, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it means.
    pub tone: Tone,
    /// What it says; no control characters.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serving {
    Unknown,
    Nothing,
    Release(Release),
}

impl From<Option<Release>> for Serving {
    fn from(live: Option<Release>) -> Self {
        live.map_or(Self::Nothing, Self::Release)
    }
}

/// The fold: one run of one service.
#[derive(Debug, Clone)]
pub struct Narrator {
    service: String,
    began: Option<Millis>,
    verb: Option<Verb>,
    serving: Serving,
    left: Option<Release>,
    act: Option<(Millis, Action)>,
    replicas: usize,
    /// How long is baked.
    bake_ms: Millis,
    /// Whether that has begun.
    bake: Bake,
    /// Releases that sleep.
    asleep: Vec<Release>,
    /// Whether the candidate is shown to those who ask for the preview, and not to others yet.
    previews: bool,
}

impl Narrator {
    /// Nothing told yet of a run of `service`.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            began: None,
            verb: None,
            serving: Serving::Unknown,
            left: None,
            act: None,
            replicas: 0,
            bake_ms: 0,
            bake: Bake::ToCome,
            asleep: Vec::new(),
            previews: false,
        }
    }

    /// The lines of one event; `at` is its time, in milliseconds since the epoch.
    pub fn take(&mut self, at: Millis, event: &Event) -> Vec<Line> {
        let mut told = Told::default();
        self.began.get_or_insert(at);
        match event {
            Event::Opened(opened) => self.opened(opened, &mut told),
            Event::Intended { action } => {
                self.intended(at, action, &mut told);
                self.act = Some((at, action.clone()));
                if matches!(action, Action::Watch { .. }) {
                    self.bake = self.bake.watched();
                }
            }
            Event::Asked { ask, by } => self.asked(ask, by, &mut told),
            Event::HookSettled { name, word, by } => told.hook_settled(name, *word, by),
            Event::Resumed { by } => {
                told.step(format!("`{}` goes on with it", clean(by)));
                self.act = None;
                self.bake = self.bake.resumed();
            }
            Event::Seen { what } => {
                told.warn(format!("found without a record: {}", clean(what)));
            }
            Event::Observed { world } => {
                let stand = count(world.environments.len() as u64, "environment");
                told.aside(format!(
                    "{stand} on the engine; {}",
                    self.points(world.routing.as_ref())
                ));
                if let Some(routing) = &world.routing {
                    self.serving = routing.live().into();
                }
                self.act = None;
            }
            outcome => {
                let act = self.act.take();
                self.outcome(at, act, outcome, &mut told);
            }
        }
        told.0
    }

    fn opened(&mut self, opened: &Opened, told: &mut Told) {
        self.serving = opened.live.into();
        self.verb = Some(opened.verb.clone());
        self.bake_ms = opened.policy.bake_ms;
        let by = clean(&opened.by);
        match &opened.verb {
            Verb::Deploy {
                release,
                until_preview,
                ..
            } => {
                let until = if *until_preview {
                    " until its preview"
                } else {
                    ""
                };
                let live = match opened.live {
                    Some(live) => format!("{} is live", self.name(live)),
                    None => "nothing is live yet".into(),
                };
                told.step(format!(
                    "deploy {}{until}, begun by `{by}`; {live}",
                    self.name(*release)
                ));
            }
            Verb::Rollback { from, to, .. } => told.step(format!(
                "roll back from {} to {}, begun by `{by}`",
                self.name(*from),
                self.name(*to)
            )),
            Verb::HandOver { to } => told.step(format!(
                "hand the workers over to {}, begun by `{by}`",
                self.name(*to)
            )),
            Verb::Prune { releases, .. } if releases.is_empty() => {
                told.step("prune what nothing needs".into());
            }
            Verb::Prune { releases, .. } => told.step(format!("prune {}", self.names(releases))),
            Verb::Down { .. } => {
                told.step(format!("take `{}` down, begun by `{by}`", self.service));
            }
            Verb::Apply { roles, settles } => {
                let named: Vec<_> = roles.iter().map(|role| format!("`{role}`")).collect();
                let what = match (settles, roles.len()) {
                    (true, 1) => "see to the shared role",
                    (true, _) => "see to the shared roles",
                    (false, 1) => "apply the plan to the shared role",
                    (false, _) => "apply the plan to the shared roles",
                };
                told.step(format!("{what} {}, begun by `{by}`", list(&named)));
            }
        }
    }

    fn intended(&self, at: Millis, action: &Action, told: &mut Told) {
        match action {
            Action::StandUp => {
                let slot = match &self.verb {
                    Some(Verb::Deploy { slot, .. }) => format!(" in slot {slot}"),
                    _ => String::new(),
                };
                told.step(format!("{} stands up{slot}", self.candidate()));
            }
            Action::Watch { until } => {
                let left = match self.bake {
                    Bake::GoesOn => until.saturating_sub(at).min(self.bake_ms),
                    Bake::ToCome | Bake::Begun => self.bake_ms,
                };
                told.step(match left {
                    0 => "its bake has passed meanwhile: every probe is asked once more".into(),
                    left => format!(
                        "bakes for {}; failing probes switch back by themselves",
                        planned(left)
                    ),
                });
            }
            Action::Switch {
                to,
                why: Move::Revert,
                ..
            } => told.warn(format!("the pointer goes back to {}", self.name(*to))),
            Action::Mark { release, mark } => {
                let mark = match mark {
                    Mark::Proven => "proven".into(),
                    Mark::Served(generation) => format!("served from generation {generation} on"),
                    Mark::Withdrawn => "withdrawn".into(),
                };
                told.aside(format!("marks {} {mark}", self.name(*release)));
            }
            Action::Observe
            | Action::Prepare
            | Action::Prove
            | Action::Preview { .. }
            | Action::Hide { .. }
            | Action::Switch { .. }
            | Action::Verify { .. }
            | Action::Drain { .. }
            | Action::Rest { .. }
            | Action::Work { .. }
            | Action::SeeClients { .. }
            | Action::Retire { .. }
            | Action::Hook { .. }
            | Action::Sleep { .. }
            | Action::Disconnect
            | Action::RemoveShared
            | Action::TearDown { .. } => {}
            // That a role stops is told when it does.
            Action::Apply { .. } => {}
            Action::Wake { release } => told.warn(format!(
                "{} gets the traffic and sleeps: waking it",
                self.name(*release)
            )),
        }
    }

    fn outcome(
        &mut self,
        at: Millis,
        act: Option<(Millis, Action)>,
        event: &Event,
        told: &mut Told,
    ) {
        let took = act
            .as_ref()
            .map(|(since, _)| millis(at.saturating_sub(*since)));
        let action = act.map(|(_, action)| action);
        match event {
            Event::Prepared { images } => {
                let ready = count(images.len() as u64, "image");
                told.good(format!("{ready} ready and pinned{}", after(took)));
                for (role, image) in images {
                    told.aside(format!("`{role}` is {image}"));
                }
            }
            Event::StoodUp { endpoints, jobs } => {
                for job in jobs {
                    told.job(job);
                }
                self.replicas = endpoints.len();
                if endpoints.is_empty() {
                    told.good(format!("every container runs{}", after(took)));
                } else {
                    let replicas = count(endpoints.len() as u64, "replica");
                    told.good(format!("{replicas} started{}", after(took)));
                    let places: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
                    told.aside(format!("at {}", list(&places)));
                }
            }
            Event::Proven { checks } => {
                let checks = count(*checks, "check");
                told.good(match self.replicas {
                    0 => format!("every replica passed all probes after {checks}"),
                    n => format!(
                        "{n} of {} passed all probes after {checks}",
                        count(n as u64, "replica")
                    ),
                });
            }
            Event::Previewed { generation } => {
                told.step(format!(
                    "{} is shown to those who ask for the preview, and to nobody else",
                    self.candidate()
                ));
                told.aside(format!("generation {generation}"));
                self.previews = true;
            }
            Event::Hidden { generation: None } => {}
            Event::Hidden {
                generation: Some(generation),
            } => {
                told.step(format!("{} is not shown any more", self.candidate()));
                told.aside(format!("generation {generation}"));
            }
            Event::Switched {
                generation,
                took_us,
                woke_us,
                ..
            } => {
                if let Some(woke) = woke_us {
                    told.good(format!("{} woke in {}", self.candidate(), micros(*woke)));
                }
                self.switched(action.as_ref(), *generation, *took_us, told);
            }
            Event::SwitchRefused { why, found } => {
                told.bad(format!("the pointer was not moved: {}", refusal(*why)));
                if found.is_some() {
                    told.detail(self.points(found.as_deref()));
                }
                told.detail(format!("hint: flipside status {}", self.service));
            }
            Event::Verified { .. } if self.previews => told.good(format!(
                "{} answers those who ask for the preview",
                self.candidate()
            )),
            Event::Verified { took_us } => told.good(format!(
                "answered through the pointer {} after the move",
                micros(*took_us)
            )),
            Event::Drained(drained) => {
                let text = drained_text(drained);
                match drained.cut {
                    Some(0) => told.good(text),
                    Some(_) => told.warn(text),
                    None => told.step(text),
                }
            }
            Event::Rested { containers } if containers.is_empty() => {}
            Event::Rested { containers } => {
                told.step(format!("{} stopped{}", quoted(containers), after(took)));
            }
            Event::Working { containers } => {
                let run = match containers.len() {
                    1 => "runs and has settled",
                    _ => "run and have settled",
                };
                told.good(format!("{} {run}{}", quoted(containers), after(took)));
            }
            Event::HookEnded(end) => told.hook(end),
            Event::Baked => told.good("baked: every probe still passes".into()),
            Event::ClientsSeen { clients } => told.clients(&self.service, clients, &after(took)),
            Event::Retired { releases } => {
                if self.left.is_some_and(|left| releases.contains(&left)) {
                    self.left = None;
                }
                if !releases.is_empty() {
                    told.step(format!("retired {}", self.names(releases)));
                }
            }
            Event::Slept { releases, mode } => {
                self.asleep.extend(releases);
                let (names, how) = (self.names(releases), super::sleep::word(*mode));
                told.step(format!("put to sleep: {names} ({how})"));
            }
            Event::Woken { release, took_us } => told.good(format!(
                "{} woke in {}",
                self.name(*release),
                micros(*took_us)
            )),
            Event::Applied { settled, .. } if self.settles() => told.settled(settled),
            Event::Applied {
                role,
                kept,
                as_it_was,
                ..
            } => told.applied(role, kept, *as_it_was, &after(took)),
            Event::SharedRemoved { kept, held, back } => told.shared_removed(kept, held, back),
            Event::TornDown { release } => told.step(format!("removed {}", self.name(*release))),
            Event::Failed(failure) => self.failed(failure, told),
            Event::Lost { why } => {
                told.warn(format!("it is not known what became of it: {}", clean(why)));
            }
            Event::Closed { outcome } => self.closed(at, *outcome, told),
            Event::Disconnected => {
                self.serving = Serving::Nothing;
                told.good(format!("nothing answers for `{}` any more", self.service));
            }
            // The rest is told where it does not end an act.
            Event::Marked
            | Event::Opened(_)
            | Event::Intended { .. }
            | Event::Observed { .. }
            | Event::Asked { .. }
            | Event::Resumed { .. }
            | Event::HookSettled { .. }
            | Event::Seen { .. } => {}
        }
    }

    fn switched(&mut self, action: Option<&Action>, generation: u64, took: u64, told: &mut Told) {
        let (to, from) = match (action, &self.verb) {
            (Some(Action::Switch { to, from, .. }), _) => (Some(*to), *from),
            (_, Some(Verb::Deploy { release, .. })) => (Some(*release), None),
            (_, Some(Verb::Rollback { from, to, .. })) => (Some(*to), Some(*from)),
            _ => (None, None),
        };
        self.left = from;
        self.previews = false;
        self.serving = to.map_or(Serving::Unknown, Serving::Release);
        told.good(match to {
            Some(to) => format!("pointer moved to {} in {}", self.name(to), micros(took)),
            None => format!("pointer moved in {}", micros(took)),
        });
        told.aside(format!("generation {generation}"));
    }

    fn failed(&self, failure: &Failure, told: &mut Told) {
        told.bad(clean(&failure.what));
        let mut untold = 0;
        for (number, replica) in failure.replicas.iter().enumerate() {
            replica_lines(replica, number < TOLD_LOGS, told);
            untold += u64::from(number >= TOLD_LOGS && !replica.logs.is_empty());
        }
        if untold > 0 {
            told.detail(format!(
                "the logs of {} more are left out",
                count(untold, "replica")
            ));
        }
        if let Some(hint) = &failure.hint {
            told.detail(format!("hint: {}", clean(hint)));
        }
        // After a switch, the next lines say what becomes of it.
        match self.serving {
            Serving::Release(live) if self.left.is_none() && Some(live) != self.target() => {
                told.good(format!("{} still serves", self.name(live)));
            }
            Serving::Nothing => told.step(format!("nothing serves `{}` yet", self.service)),
            Serving::Release(_) | Serving::Unknown => {}
        }
    }

    fn asked(&self, ask: &Ask, by: &str, told: &mut Told) {
        if let (Ask::Yield, Some(limit)) = (ask, by.strip_prefix(TIME_UP)) {
            let candidate = self.candidate();
            told.warn(format!("{candidate} is not gone after {}", clean(limit)));
            return;
        }
        let what = match ask {
            Ask::Yield => "asks for the service: a rollback is waiting",
            Ask::Abort => "asks to give the release up",
            Ask::Promote => "asks for the next step",
            Ask::Settle => "asks to bring it to an end",
            Ask::Leave => "asks to stop",
        };
        let first = match &self.act {
            Some((_, Action::Apply { role })) => format!("; `{role}` is not left halfway"),
            _ => String::new(),
        };
        told.warn(format!("`{}` {what}{first}", clean(by)));
    }

    fn target(&self) -> Option<Release> {
        match self.verb.as_ref()? {
            Verb::Deploy { release, .. } => Some(*release),
            Verb::Rollback { to, .. } | Verb::HandOver { to } => Some(*to),
            Verb::Prune { .. } | Verb::Down { .. } | Verb::Apply { .. } => None,
        }
    }

    fn candidate(&self) -> String {
        match self.target() {
            Some(release) => self.name(release),
            None => "the candidate".into(),
        }
    }

    fn name(&self, release: Release) -> String {
        release_name(&self.service, release)
    }

    fn names(&self, releases: &[Release]) -> String {
        let names: Vec<_> = releases.iter().map(|release| self.name(*release)).collect();
        list(&names)
    }

    fn points(&self, routing: Option<&Routing>) -> String {
        let Some(routing) = routing else {
            return format!("the pointer knows nothing of `{}`", self.service);
        };
        let live = match routing.live() {
            Some(live) => self.name(live),
            None => "nothing".into(),
        };
        format!(
            "the pointer names {live}, generation {}, written by `{}`: {}",
            routing.generation,
            clean(&routing.author),
            clean(&routing.reason)
        )
    }
}

fn replica_lines(replica: &ReplicaReport, logs: bool, told: &mut Told) {
    let reasons: Vec<_> = replica.reasons.iter().map(|reason| clean(reason)).collect();
    let reasons = match reasons.is_empty() {
        true => "no reason known".into(),
        false => reasons.join("; "),
    };
    told.detail(format!("`{}`: {reasons}", clean(&replica.container)));
    if !logs || replica.logs.is_empty() {
        return;
    }
    told.detail(match replica.logs.len() {
        1 => "  its last log line:".into(),
        n => format!("  its last {n} log lines:"),
    });
    for line in &replica.logs {
        told.detail(format!("    {}", clean(line)));
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names
        .iter()
        .map(|name| format!("`{}`", clean(name)))
        .collect();
    list(&names)
}

fn refusal(why: SwitchRefusal) -> &'static str {
    match why {
        SwitchRefusal::Moved => "somebody else has moved it",
        SwitchRefusal::Fenced => "another operator has taken over",
        SwitchRefusal::Drifted => "it does not say what the journal says",
    }
}

fn after(took: Option<String>) -> String {
    took.map_or_else(String::new, |took| format!(" after {took}"))
}

#[derive(Default)]
struct Told(Vec<Line>);

impl Told {
    fn push(&mut self, tone: Tone, text: String) {
        self.0.push(Line { tone, text });
    }
    fn step(&mut self, text: String) {
        self.push(Tone::Step, text);
    }
    fn good(&mut self, text: String) {
        self.push(Tone::Good, text);
    }
    fn warn(&mut self, text: String) {
        self.push(Tone::Warn, text);
    }
    fn bad(&mut self, text: String) {
        self.push(Tone::Bad, text);
    }
    fn detail(&mut self, text: String) {
        self.push(Tone::Detail, text);
    }
    fn aside(&mut self, text: String) {
        self.push(Tone::Aside, text);
    }
}
