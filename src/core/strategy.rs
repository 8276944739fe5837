//! How a candidate becomes live. All at once, with a bake, is the first strategy; a canary's steps
//! will be further arms here.

use super::action::{Action, Ask};
use super::decide::{Next, may_leave, promote};
use super::event::MarkKeeper;
use super::hook::When;
use super::plan::StandbyMode;
use super::routing::Mark;
use super::state::{Stage, State};
use super::verdict::Outcome;
use super::world::World;
use super::{late, preview, sleep, survey, workers};

/// The next step of a deploy that has come as far as `stage`.
pub(super) fn next(state: &State, stage: Stage) -> Next {
    let release = state.release();
    let engine_marks = state.opened.marks == MarkKeeper::Engine;
    if may_leave(state, stage) {
        return Next::End(Outcome::Interrupted);
    }
    let first = match stage {
        Stage::Proven if engine_marks => None,
        Stage::Proven | Stage::Marked if preview::waits(state) => preview::show(state),
        Stage::Shown if preview::waits(state) => Some(Action::Verify { release }),
        Stage::Previewed if preview::waits(state) => return Next::End(Outcome::Previewed),
        Stage::Proven | Stage::Marked | Stage::Shown | Stage::Previewed => {
            state.due(When::BeforeSwitch)
        }
        Stage::Verified => {
            workers::hand_over(state, release).or_else(|| state.due(When::AfterSwitch))
        }
        Stage::Rested => workers::work(state, release).or_else(|| state.due(When::AfterSwitch)),
        Stage::Working => state.due(When::AfterSwitch),
        _ => None,
    };
    if let Some(action) = first {
        return Next::Act(action);
    }
    match stage {
        Stage::Opened => Next::Act(Action::Prepare),
        Stage::Prepared => Next::Act(Action::StandUp),
        Stage::StoodUp => Next::Act(Action::Prove),
        Stage::Proven if engine_marks => Next::Act(Action::Mark {
            release,
            mark: Mark::Proven,
        }),
        Stage::Proven | Stage::Marked | Stage::Shown | Stage::Previewed => promote(state),
        Stage::Switched if engine_marks => {
            let generation = state.moved.map_or(0, |moved| moved.generation);
            Next::Act(Action::Mark {
                release,
                mark: Mark::Served(generation),
            })
        }
        Stage::Switched | Stage::Served => Next::Act(Action::Verify { release }),
        Stage::Verified | Stage::Rested | Stage::Working if bakes(state) => {
            let since = state.moved.map_or(0, |moved| moved.at);
            Next::Act(Action::Watch {
                until: since + state.opened.policy.bake_ms,
            })
        }
        Stage::Verified | Stage::Rested | Stage::Working | Stage::Baked => {
            Next::Act(Action::Drain {
                generation: state.moved.map_or(0, |m| m.generation),
            })
        }
        Stage::Drained => match &state.world {
            None => Next::Act(Action::Observe),
            Some(world) => retire(state, world),
        },
        Stage::Retired if state.opened.policy.standby_mode == StandbyMode::Running => {
            Next::End(Outcome::Done)
        }
        Stage::Retired => match &state.world {
            None => Next::Act(Action::Observe),
            Some(world) => to_sleep(state, world),
        },
        Stage::Slept => Next::End(Outcome::Done),
    }
}

/// What nothing needs goes, unless clients still come to it.
fn retire(state: &State, world: &World) -> Next {
    let gone = survey::unneeded(state, world);
    if gone.is_empty() {
        return to_sleep(state, world);
    }
    if state.ask == Some(Ask::Leave) {
        return Next::End(Outcome::Interrupted);
    }
    if let Some(look) = late::look_before_removal(state, world, &gone) {
        return Next::Act(look);
    }
    match late::without_kept(state, gone) {
        releases if releases.is_empty() => to_sleep(state, world),
        releases => Next::Act(Action::Retire { releases }),
    }
}

/// Last of all, the standbys that run are put to sleep, where the plan says so.
fn to_sleep(state: &State, world: &World) -> Next {
    match sleep::settle(state, world) {
        None => Next::End(Outcome::Done),
        Some(_) if state.ask == Some(Ask::Leave) => Next::End(Outcome::Interrupted),
        Some(action) => Next::Act(action),
    }
}

fn bakes(state: &State) -> bool {
    state.opened.policy.bake_ms > 0 && !matches!(state.ask, Some(Ask::Promote | Ask::Settle))
}
