//! Moving the pointer, and making sure that what it names answers.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use super::fault::Fault;
use super::{POINTER, Performer, micros, own};
use crate::core::action::{Move, Proof};
use crate::core::event::{Event, Failure, MarkKeeper, SwitchRefusal};
use crate::core::names::{Fence, Generation, Millis, Release, ServiceName};
use crate::core::plan::{Probe, ProbeKind};
use crate::core::routing::{FOREIGN, Mark, Route, Routing};
use crate::core::state::State;
use crate::core::world::Environment;
use crate::pointer::Way;

/// How long the service may take to answer through the pointer after a move.
const VERIFY: Duration = Duration::from_secs(10);

pub(super) struct Switch {
    pub(super) to: Release,
    pub(super) from: Option<Release>,
    pub(super) expected: Option<Generation>,
    pub(super) why: Move,
    pub(super) proof: Proof,
}

impl Switch {
    fn reason(&self, service: &ServiceName) -> String {
        let verb = match self.why {
            Move::Promote => "deploy",
            Move::RollBack => "rollback to",
            Move::Revert => "revert to",
        };
        format!("{verb} {service}@{}", self.to)
    }

    /// The release that a way back leaves, and the generation at which it serves, where its mark is
    /// none of the move itself.
    fn leaves(&self, keeper: MarkKeeper) -> Option<(Release, Generation)> {
        let apart = self.why != Move::Promote && keeper == MarkKeeper::Engine;
        apart.then_some(self.from?).zip(self.expected)
    }

    /// Whether its target has just shown that it is fit.
    fn proves(&self) -> bool {
        self.why == Move::Promote || self.proof == Proof::Round
    }
}

impl Performer {
    pub(super) async fn switch(
        &self,
        state: &State,
        switch: Switch,
        fence: Fence,
    ) -> Result<Event, Fault> {
        let switched = self.move_to(state, &switch, fence).await;
        if let (Err(Fault::Refused(..)), Some((from, generation))) =
            (&switched, switch.leaves(state.opened.marks))
        {
            // Somebody else has moved it: nobody went back from there.
            self.mark_early(from, Mark::Served(generation)).await;
        }
        switched
    }

    async fn move_to(&self, state: &State, switch: &Switch, fence: Fence) -> Result<Event, Fault> {
        let marks = state.opened.marks;
        // A kill right after the move must not leave a standby that was just gone back from. One that
        // is withdrawn while it still serves is marked as served before anything moves on from it.
        let withdrawn = async {
            if let Some((from, _)) = switch.leaves(marks) {
                self.mark_early(from, Mark::Withdrawn).await;
            }
        };
        let (target, ()) = tokio::join!(self.target(state, switch), withdrawn);
        let (target, woke_us) = target?;
        let found = self.routing().await?;
        self.is_as_left(found.as_ref(), switch.expected, switch.from)?;
        if let (Move::Promote, MarkKeeper::Engine, Some(from), Some(generation)) =
            (switch.why, marks, switch.from, switch.expected)
        {
            // Who moved the pointer there may have died before the mark, or have another journal.
            self.mark_now(from, Mark::Served(generation)).await?;
        }
        let at = (self.with.clock)();
        let routes = self.routes(target.as_ref(), found.as_ref())?;
        let desired = self.desired(routes, switch, found.as_ref(), marks, fence, at);
        let start = Instant::now();
        let generation = self.write(switch.expected, desired).await?;
        let took_us = micros(start.elapsed());
        *own(&self.moved) = Some(start);
        Ok(Event::Switched {
            generation,
            at,
            took_us,
            woke_us,
        })
    }

    /// Writes a mark on the engine, which vetoes nothing: where it cannot be written, it is once more
    /// after the move, or missing where a journal remembers it.
    async fn mark_early(&self, release: Release, mark: Mark) {
        if let Err(fault) = self.mark_now(release, mark).await {
            tracing::warn!(%release, ?mark, ?fault, "a mark is not written yet");
        }
    }

    /// What shall serve, awake and proven as far as the move asks for it, `None` for what stood there
    /// before flipside came; and how long waking took, in microseconds.
    async fn target(
        &self,
        state: &State,
        switch: &Switch,
    ) -> Result<(Option<Environment>, Option<u64>), Fault> {
        if switch.to == FOREIGN {
            return Ok((None, None));
        }
        let environment = self.environment(switch.to).await?;
        if environment.endpoints().is_empty() {
            return Err(Fault::Failed(Failure {
                what: format!(
                    "nothing of {}@{} is left that could serve: its containers have been removed",
                    self.with.service, switch.to
                ),
                hint: Some(format!(
                    "see what else is kept: flipside status {}",
                    self.with.service
                )),
                replicas: Vec::new(),
            }));
        }
        if switch.why == Move::Promote {
            return Ok((Some(environment), None));
        }
        let woken = self.made_ready(state, switch, &environment).await?;
        Ok(woken.map_or((Some(environment), None), |woken| {
            let took_us = woken.took_us();
            (Some(woken.environment), Some(took_us))
        }))
    }

    /// All traffic to `target`, or to what stood there before flipside came; that is kept in sight.
    fn routes(
        &self,
        target: Option<&Environment>,
        found: Option<&Routing>,
    ) -> Result<Vec<Route>, Fault> {
        let weight = if target.is_some() { 0 } else { 100 };
        let routes = found.map_or(&[][..], |found| &found.routes);
        let foreign = routes.iter().filter(|route| route.release == FOREIGN);
        let foreign = foreign.map(|route| Route {
            weight,
            ..route.clone()
        });
        let to = target.map(|environment| Route {
            release: environment.release,
            slot: environment.slot,
            weight: 100,
            endpoints: environment.endpoints(),
        });
        match (&to, found.is_some_and(|found| found.remembers(FOREIGN))) {
            (_, true) => Ok(to.into_iter().chain(foreign).collect()),
            (Some(_), false) => Ok(to.into_iter().collect()),
            (None, false) => Err(Fault::Failed(Failure {
                what: format!(
                    "{} does not remember what served before flipside came",
                    self.with.pointer.describe()
                ),
                hint: Some(format!(
                    "see what is kept: flipside status {}",
                    self.with.service
                )),
                replicas: Vec::new(),
            })),
        }
    }

    /// Refuses to write over what is not as this run knows it.
    pub(super) fn is_as_left(
        &self,
        found: Option<&Routing>,
        expected: Option<Generation>,
        live: Option<Release>,
    ) -> Result<(), Fault> {
        let why = match found.map(|routing| routing.generation) {
            generation if generation != expected => SwitchRefusal::Moved,
            _ if self.has_drifted(found, live) => SwitchRefusal::Drifted,
            _ => return Ok(()),
        };
        Err(Fault::Refused(why, found.cloned().map(Box::new)))
    }

    /// Whether the pointer names something else than it did at the same generation: a hand has gone
    /// past its guard.
    fn has_drifted(&self, found: Option<&Routing>, from: Option<Release>) -> bool {
        let Some(found) = found else { return false };
        let changed = own(&self.routes)
            .as_ref()
            .is_some_and(|(at, routes)| *at == found.generation && *routes != found.routes);
        changed || found.live() != from
    }

    fn desired(
        &self,
        routes: Vec<Route>,
        switch: &Switch,
        found: Option<&Routing>,
        keeper: MarkKeeper,
        fence: Fence,
        at: Millis,
    ) -> Routing {
        let generation = switch.expected.unwrap_or(0) + 1;
        let mut marks = found
            .map(|routing| routing.marks.clone())
            .unwrap_or_default();
        if keeper == MarkKeeper::Pointer {
            let to = marks.entry(switch.to).or_default();
            if switch.proves() {
                to.add(Mark::Proven);
            }
            to.add(Mark::Served(generation));
            if let (Some(from), Move::RollBack | Move::Revert) = (switch.from, switch.why) {
                marks.entry(from).or_default().add(Mark::Withdrawn);
            }
        }
        Routing {
            generation,
            fence,
            author: self.with.author.clone(),
            reason: switch.reason(&self.with.service),
            at,
            routes,
            marks,
            deadline: None,
            preview: None,
            foreign: found.and_then(|found| found.foreign.clone()),
        }
    }

    pub(super) async fn verify(&self, state: &State, release: Release) -> Result<Event, Fault> {
        let mode = state.opened.policy.standby_mode;
        tokio::select! {
            verified = self.answers(state, release) => verified,
            never = self.keep_awake(mode, release) => match never {},
        }
    }

    async fn answers(&self, state: &State, release: Release) -> Result<Event, Fault> {
        let path = match self.environment(release).await {
            Ok(environment) => ask_path(&environment.labels.probes),
            Err(_) => "/".into(),
        };
        let moved = state.moved.map(|moved| moved.at);
        let way = match moved {
            Some(_) => Way::Service,
            None => Way::Preview,
        };
        let start = Instant::now();
        let deadline = start + VERIFY;
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(200))
            .without_max_times()
            .build();
        loop {
            let asked = tokio::time::timeout(POINTER, self.with.pointer.ask(way, &path)).await;
            let away = !matches!(asked, Ok(Ok(_)));
            let said = match asked {
                Ok(Ok(answer)) if answer.release == Some(release) => {
                    return Ok(Event::Verified {
                        took_us: moved.map_or_else(
                            || micros(start.elapsed()),
                            |moved| self.since_move(moved),
                        ),
                    });
                }
                Ok(Ok(answer)) => match (answer.release, answer.status) {
                    (Some(other), _) => format!("release {other} answered"),
                    (None, Some(status)) => format!("it answered {status} by itself"),
                    (None, None) => "nothing can be told of who answered".into(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".into(),
            };
            if Instant::now() >= deadline && away {
                // A pointer that cannot be asked says nothing against the release.
                return Err(Fault::Lost(said));
            }
            if Instant::now() >= deadline {
                return Err(Fault::Failed(Failure {
                    what: format!(
                        "release {release} does not answer {} {}: {said}",
                        match way {
                            Way::Service => "through",
                            Way::Preview => "those who ask for the preview of",
                        },
                        self.with.pointer.describe()
                    ),
                    hint: Some(format!("flipside status {}", self.with.service)),
                    replicas: Vec::new(),
                }));
            }
            tokio::time::sleep(waits.next().unwrap_or(Duration::from_millis(200))).await;
        }
    }

    /// Microseconds since the pointer was written: by this process's own clock if it wrote it.
    pub(super) fn since_move(&self, at: Millis) -> u64 {
        let moved = *own(&self.moved);
        let by_clock = || (self.with.clock)().saturating_sub(at).saturating_mul(1000);
        moved.map_or_else(by_clock, |start| micros(start.elapsed()))
    }

    /// One round of a standby's proof.
    ///
    /// # Errors
    /// With each replica's reason, where it is not fit.
    pub(super) async fn prove_standby(
        &self,
        standby: &Environment,
        within: Millis,
    ) -> Result<(), Fault> {
        let standby = standby.at_rest();
        let probes = standby.labels.probes.clone();
        let proving = self.proving(&standby, &probes);
        let verdicts = proving.round(Duration::from_millis(within)).await?;
        match crate::probe::unfit(&standby, &verdicts) {
            None => Ok(()),
            Some(mut failure) => {
                proving.attach_logs(&mut failure.replicas).await;
                // What mends a candidate's plan does not mend one that has served.
                failure.hint = None;
                Err(Fault::Failed(failure))
            }
        }
    }
}

/// The path that is asked through the pointer: that of the first HTTP probe, which is known to be
/// cheap and to answer.
fn ask_path(probes: &[Probe]) -> String {
    let paths = probes.iter().filter_map(|probe| match &probe.kind {
        ProbeKind::Http(http) => Some(http.path.clone()),
        _ => None,
    });
    paths.into_iter().next().unwrap_or_else(|| "/".into())
}
