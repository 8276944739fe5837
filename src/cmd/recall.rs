//! What the journal remembers and the world may have lost, and the other way round.

use std::collections::BTreeMap;

use crate::core::action::{Action, Move, Proof};
use crate::core::event::{Event, MarkKeeper};
use crate::core::names::{Generation, Release};
use crate::core::routing::{Mark, Marks, Routing};
use crate::core::state::{Moved, State};
use crate::core::world::World;
use crate::error::{Error, Touched};
use crate::journal::RunLog;

use super::operator::Operator;

/// The last move that the journal knows of, unless the service has been taken down since.
#[must_use]
pub fn last_move(runs: &[RunLog]) -> Option<Moved> {
    states(runs).find_map(|state| state.moved)
}

/// The generation of the last write of the pointer that the journal knows of, likewise.
#[must_use]
pub fn last_written(runs: &[RunLog]) -> Option<Generation> {
    states(runs).find_map(|state| state.written)
}

/// Whether a run has moved the pointer, as far as its records say.
#[must_use]
pub fn has_moved(log: &RunLog) -> bool {
    state(log).is_some_and(|state| state.has_moved())
}

/// How long it took to wake `release` the last time that is known of, in microseconds.
#[must_use]
pub fn last_wake(runs: &[RunLog], release: Release) -> Option<u64> {
    let wake = |log: &RunLog| {
        let mut to = None;
        let mut took = None;
        for record in &log.records {
            match &record.event {
                Event::Intended {
                    action: Action::Switch { to: release, .. },
                } => to = Some(*release),
                Event::Switched { woke_us, .. } if to == Some(release) => took = woke_us.or(took),
                Event::Woken {
                    release: woken,
                    took_us,
                } if *woken == release => {
                    took = Some(*took_us);
                }
                _ => {}
            }
        }
        took
    };
    runs.iter().find_map(wake)
}

/// The newest run that has not ended. One that a later move of the pointer has overtaken is for the
/// next `deploy` to close; a rollback that was refused has overtaken nothing.
#[must_use]
pub fn unfinished(runs: &[RunLog]) -> Option<&RunLog> {
    let over = |log: &RunLog| log.outcome().is_some() || log.opened().is_none();
    let decisive = runs.iter().find(|log| !over(log) || has_moved(log));
    decisive.filter(|log| !over(log))
}

/// The release that was live last, as far as the journal knows; none where the service has been
/// taken down since.
#[must_use]
pub fn last_live(runs: &[RunLog]) -> Option<Release> {
    states(runs).find_map(|state| state.live())
}

/// Whether the newest run was to take the service down, and may have taken it off its pointer.
#[must_use]
pub fn taken_down(runs: &[RunLog]) -> bool {
    runs.first().is_some_and(disconnects)
}

fn disconnects(log: &RunLog) -> bool {
    let intended = |event: &Event| matches!(event, Event::Intended { action } if *action == Action::Disconnect);
    log.records.iter().any(|record| intended(&record.event))
}

/// What runs came to, newest first, as far back as the last one that took the service down.
fn states(runs: &[RunLog]) -> impl Iterator<Item = State> {
    runs.iter()
        .take_while(|log| !disconnects(log))
        .filter_map(state)
}

/// What a run came to; `None` where its records do not make sense.
fn state(log: &RunLog) -> Option<State> {
    State::fold(log.records.iter().map(|record| &record.event)).ok()
}

/// A move that the journal does not know of: a rollback without it, another operator's store.
#[must_use]
pub fn unrecorded(known: Option<Generation>, routing: Option<&Routing>) -> Vec<Event> {
    let (Some(known), Some(routing)) = (known, routing) else {
        return Vec::new();
    };
    if routing.generation <= known {
        return Vec::new();
    }
    vec![moved_on(routing)]
}

/// That the pointer has moved without a record.
#[must_use]
pub fn moved_on(routing: &Routing) -> Event {
    let live = routing
        .live()
        .map_or("nothing".into(), |live| format!("release {live}"));
    Event::Seen {
        what: format!(
            "the pointer has moved to {live} (generation {}, by `{}`: {})",
            routing.generation, routing.author, routing.reason
        ),
    }
}

/// Makes marks again that the engine has lost (`docker volume prune` takes them where nothing uses
/// them), as far as the newest runs remember them.
///
/// # Errors
/// Where the engine cannot be asked.
pub async fn restore_marks(
    operator: &Operator,
    runs: &[RunLog],
    mut world: World,
) -> Result<World, Error> {
    if operator.keeper() == MarkKeeper::Pointer {
        return Ok(world);
    }
    for (release, remembered) in marks_of(runs) {
        if !world.environments.iter().any(|e| e.release == release) {
            continue;
        }
        let known = world.engine_marks.entry(release).or_default();
        let mut missing = Vec::new();
        if remembered.proven && !known.proven {
            missing.push(Mark::Proven);
        }
        if remembered.served > known.served {
            missing.extend(remembered.served.map(Mark::Served));
        }
        if remembered.withdrawn && !known.withdrawn && remembered.served >= known.served {
            missing.push(Mark::Withdrawn);
        }
        for mark in missing {
            let marked = operator.engine.mark(&operator.service, release, mark).await;
            marked.map_err(|error| Error::of_engine(error, Touched::Something))?;
            known.add(mark);
            operator.report.warn(&format!(
                "a mark of {}@{release} was gone from the engine; it has been made again",
                operator.service
            ));
        }
    }
    Ok(world)
}

/// The marks that runs, newest first, say there should be.
fn marks_of(runs: &[RunLog]) -> BTreeMap<Release, Marks> {
    let mut marks: BTreeMap<Release, Marks> = BTreeMap::new();
    for log in runs.iter().rev() {
        let mut events = log.records.iter().map(|record| &record.event);
        let Some(mut state) = events.next().and_then(|first| State::open(first).ok()) else {
            continue;
        };
        let (mut why, mut proves) = (Move::Promote, true);
        for event in events {
            if let Event::Intended {
                action:
                    Action::Switch {
                        why: reason, proof, ..
                    },
            } = event
            {
                why = *reason;
                proves = why == Move::Promote || *proof == Proof::Round;
            }
            if matches!(event, Event::Proven { .. }) {
                marks.entry(state.release()).or_default().add(Mark::Proven);
            }
            let before = state.moved;
            state = match state.apply(event) {
                Ok(state) => state,
                // What cannot be read remembers nothing.
                Err(_) => break,
            };
            let Some(moved) = state.moved.filter(|_| state.moved != before) else {
                continue;
            };
            let to = marks.entry(moved.to).or_default();
            if proves {
                to.add(Mark::Proven);
            }
            to.add(Mark::Served(moved.generation));
            if let (Some(from), Move::RollBack | Move::Revert) = (moved.from, why) {
                marks.entry(from).or_default().add(Mark::Withdrawn);
            }
        }
    }
    marks
}
