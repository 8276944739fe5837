//! What to do next. Knows nothing of how a run came to be where it is: a run that goes on and a run
//! that was read back from the journal are the same to it.

use super::action::{Action, Ask, Move, Proof};
use super::event::{MarkKeeper, Verb};
use super::hook::When;
use super::names::Release;
use super::routing::Mark;
use super::state::{Back, Clearing, Course, LOST_LIMIT, Sight, Stage, State, Stood};
use super::verdict::Outcome;
use super::{applying, late, preview, sleep, strategy, survey, workers};

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Do this.
    Act(Action),
    /// Stop. [`Outcome::Interrupted`] and [`Outcome::Unsure`] leave the run open for `resume`; the
    /// others close it.
    End(Outcome),
}

/// Decides.
#[must_use]
pub fn decide(state: &State) -> Next {
    if let Course::Closed(outcome) = state.course {
        return Next::End(outcome);
    }
    if state.ask == Some(Ask::Yield) || state.lost >= LOST_LIMIT {
        return Next::End(Outcome::Interrupted);
    }
    if state.pending.is_some() || state.sight == Sight::Stale {
        return Next::Act(Action::Observe);
    }
    if state.hooks.unsure.is_some() && matches!(state.course, Course::Forward(_) | Course::Back(_))
    {
        return Next::End(match state.ask {
            Some(Ask::Leave) => Outcome::Interrupted,
            _ => Outcome::Unsure,
        });
    }
    match state.course {
        Course::Forward(stage) => strategy::next(state, stage),
        Course::GivingUp => give_up(state),
        Course::Back(back) => go_back(state, back),
        Course::Clearing(clearing) => clear(state, clearing),
        Course::Applying(at) => applying::next(state, at),
        Course::Stuck => Next::End(Outcome::Stuck),
        Course::Closed(outcome) => Next::End(outcome),
    }
}

fn give_up(state: &State) -> Next {
    if let Some(action) = preview::hide(state) {
        return Next::Act(action);
    }
    match state.stood {
        Stood::Something => Next::Act(Action::TearDown {
            release: state.release(),
        }),
        Stood::Nothing => Next::End(Outcome::Refused),
    }
}

/// `prune` and `down`: what the opening record names goes, after the pointer has let go of it.
fn clear(state: &State, clearing: Clearing) -> Next {
    if gives_up(state) && clearing == Clearing::Opened {
        return Next::End(Outcome::Refused);
    }
    if let (Verb::Down { shared: true, .. }, Clearing::Cleared) = (&state.opened.verb, clearing) {
        return Next::Act(Action::RemoveShared);
    }
    let Some(world) = &state.world else {
        return match clearing {
            Clearing::Opened | Clearing::Disconnected => Next::Act(Action::Observe),
            Clearing::Cleared | Clearing::Woken if sleep::mends(state) => {
                Next::Act(Action::Observe)
            }
            Clearing::Cleared | Clearing::Woken | Clearing::Slept | Clearing::Bare => {
                Next::End(Outcome::Done)
            }
        };
    };
    let generation = world.routing.as_ref().map(|routing| routing.generation);
    match (&state.opened.verb, clearing) {
        // What has been deployed since is not what was to be taken down.
        (Verb::Down { .. }, Clearing::Opened)
            if generation.is_some() && generation != state.opened.generation =>
        {
            Next::End(Outcome::Stuck)
        }
        (Verb::Down { .. }, Clearing::Opened) => Next::Act(Action::Disconnect),
        (Verb::Down { releases, .. }, Clearing::Disconnected) => Next::Act(Action::Retire {
            releases: releases.clone(),
        }),
        // A pointer that has lost its memory since says nothing of what is needed.
        (Verb::Prune { .. }, Clearing::Opened)
            if generation.is_none() && state.opened.generation.is_some() =>
        {
            Next::End(Outcome::Stuck)
        }
        (Verb::Prune { releases, .. }, Clearing::Opened) => {
            let spared = survey::spared(world, &state.opened.policy);
            let mut releases = releases.clone();
            releases.retain(|release| !spared.contains(release));
            let look = late::look_before_removal(state, world, &releases);
            Next::Act(look.unwrap_or_else(|| Action::Retire {
                releases: late::without_kept(state, releases),
            }))
        }
        (Verb::Prune { .. }, Clearing::Cleared | Clearing::Woken) => {
            sleep::mend(state, world, clearing)
        }
        _ => Next::End(Outcome::Done),
    }
}

/// A rollback, or a deploy that failed after the switch: the same move with another reason.
fn go_back(state: &State, back: Back) -> Next {
    if let Verb::HandOver { to } = state.opened.verb {
        return hand_over(state, to, back);
    }
    let (from, to, why, proof) = match state.opened.verb {
        Verb::Rollback { from, to, proof } => (from, to, Move::RollBack, proof),
        Verb::Deploy { release, .. } => match state.opened.live {
            Some(before) => (release, before, Move::Revert, Proof::Trusted),
            None => return Next::End(Outcome::Stuck),
        },
        Verb::HandOver { .. } | Verb::Prune { .. } | Verb::Down { .. } | Verb::Apply { .. } => {
            return Next::End(Outcome::Stuck);
        }
    };
    let engine_marks = state.opened.marks == MarkKeeper::Engine;
    let expected = state.expected();
    let generation = expected.unwrap_or_default();
    if let Some(action) = handing_over(state, to, back) {
        return Next::Act(action);
    }
    match back {
        Back::Decided if why == Move::RollBack && gives_up(state) => Next::End(Outcome::Refused),
        Back::Decided => Next::Act(Action::Switch {
            to,
            from: Some(from),
            expected,
            why,
            proof,
        }),
        Back::Moved if engine_marks => Next::Act(Action::Mark {
            release: to,
            mark: Mark::Served(generation),
        }),
        Back::Served => Next::Act(Action::Mark {
            release: from,
            mark: Mark::Withdrawn,
        }),
        Back::Moved | Back::Withdrawn => Next::Act(Action::Verify { release: to }),
        Back::Verified | Back::Rested | Back::Working if state.ask == Some(Ask::Leave) => {
            Next::End(Outcome::Interrupted)
        }
        Back::Verified | Back::Rested | Back::Working => {
            let drain = Action::Drain { generation };
            Next::Act(state.due(When::OnRollback).unwrap_or(drain))
        }
        // An act of one who had the service before may have put it to sleep after all.
        Back::Drained if sleep::matters(state) && state.world.is_none() => {
            Next::Act(Action::Observe)
        }
        Back::Drained if sleep::sleeps(state, to) => Next::Act(Action::Wake { release: to }),
        Back::Drained | Back::Woken => Next::End(match why {
            Move::Revert => Outcome::RolledBack,
            Move::RollBack | Move::Promote => Outcome::Done,
        }),
    }
}

/// The end of a rollback that was cut short and of which nothing tells, and of nothing else.
fn hand_over(state: &State, to: Release, back: Back) -> Next {
    if back == Back::Verified && gives_up(state) {
        return Next::End(Outcome::Refused);
    }
    handing_over(state, to, back).map_or(Next::End(Outcome::Done), Next::Act)
}

fn handing_over(state: &State, to: Release, back: Back) -> Option<Action> {
    match back {
        Back::Verified => workers::hand_over(state, to),
        Back::Rested => workers::work(state, to),
        _ => None,
    }
}

/// Whether somebody asked a run to stop that has not touched anything yet.
fn gives_up(state: &State) -> bool {
    matches!(state.ask, Some(Ask::Leave | Ask::Abort | Ask::Settle))
}

/// The candidate's first move.
pub(super) fn promote(state: &State) -> Next {
    Next::Act(Action::Switch {
        to: state.release(),
        from: state.opened.live,
        expected: state.expected(),
        why: Move::Promote,
        proof: Proof::Trusted,
    })
}

/// Whether a signal asked the run to stop where it may, with more to come: not where the workers of
/// one release have been stopped and those of the other not been started.
pub(super) fn may_leave(state: &State, stage: Stage) -> bool {
    let between = stage == Stage::Rested && workers::work(state, state.release()).is_some();
    let verified = stage >= Stage::Verified && stage <= Stage::Baked;
    state.ask == Some(Ask::Leave) && verified && !between
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]
mod tests {
    use super::*;
    use crate::core::event::{Event, Failure, Opened};
    use crate::core::hook::HookEnd;
    use crate::core::late::Clients;
    use crate::core::names::Slot;
    use crate::core::plan::Policy;
    use crate::core::routing::{Drained, Route, Routing};
    use crate::core::world::World;

    fn opened(verb: Verb, live: Option<u64>, bake_ms: u64) -> Event {
        Event::Opened(Opened {
            verb,
            by: "ann@host".into(),
            version: "0".into(),
            policy: Policy {
                bake_ms,
                ..Policy::default()
            },
            marks: MarkKeeper::Pointer,
            cached: false,
            live: live.map(Release),
            generation: live.map(|_| 7),
            fence: 1,
            highest: Release(3),
            engine: String::new(),
            live_only: Vec::new(),
            hooks: Vec::new(),
            pointer: None,
            plan: None,
        })
    }

    fn deploy(live: Option<u64>, bake_ms: u64) -> Event {
        opened(
            Verb::Deploy {
                release: Release(3),
                slot: Slot::Blue,
                until_preview: false,
            },
            live,
            bake_ms,
        )
    }

    /// Answers every act as `answer` says and collects their names.
    fn acts(first: Event, answer: impl Fn(&Action) -> Event) -> (Vec<String>, Outcome) {
        let mut state = State::open(&first).unwrap();
        let mut names = Vec::new();
        loop {
            match decide(&state) {
                Next::End(outcome) => return (names, outcome),
                Next::Act(action) => {
                    let name = format!("{action:?}");
                    let name = name.split([' ', '{']).next().unwrap().to_owned();
                    let why = match &action {
                        Action::Switch { why, .. } => format!("{name}:{why:?}"),
                        _ => name,
                    };
                    names.push(why);
                    assert!(names.len() < 40, "no end: {names:?}");
                    if action == Action::Observe {
                        let seen = match answer(&action) {
                            Event::Observed { .. } => seen(&state),
                            other => other,
                        };
                        state = state.apply(&seen).unwrap();
                        continue;
                    }
                    if action != Action::Observe {
                        let intent = Event::Intended {
                            action: action.clone(),
                        };
                        state = state.apply(&intent).unwrap();
                    }
                    state = state.apply(&answer(&action)).unwrap();
                }
            }
        }
    }

    /// A world in which the pointer says what the run has made it say.
    fn seen(state: &State) -> Event {
        let routing = state.moved.map(|moved| Routing {
            generation: moved.generation,
            fence: 1,
            author: "ann@host".into(),
            reason: "a test".into(),
            at: moved.at,
            routes: vec![Route {
                release: moved.to,
                slot: Slot::Blue,
                weight: 100,
                endpoints: Vec::new(),
            }],
            marks: Default::default(),
            deadline: None,
            preview: None,
            foreign: None,
        });
        Event::Observed {
            world: Box::new(World {
                routing,
                ..World::default()
            }),
        }
    }

    fn good(action: &Action) -> Event {
        match action {
            Action::Observe => Event::Observed {
                world: Box::new(World::default()),
            },
            Action::Prepare => Event::Prepared {
                images: Default::default(),
            },
            Action::StandUp => Event::StoodUp {
                endpoints: Vec::new(),
                jobs: Vec::new(),
            },
            Action::Prove => Event::Proven { checks: 1 },
            Action::Mark { .. } => Event::Marked,
            Action::Preview { expected, .. } => Event::Previewed {
                generation: expected.unwrap_or(0) + 1,
            },
            Action::Hide { expected, .. } => Event::Hidden {
                generation: Some(expected + 1),
            },
            Action::Switch { expected, .. } => Event::Switched {
                generation: expected.unwrap_or(0) + 1,
                at: 5,
                took_us: 9,
                woke_us: None,
            },
            Action::Verify { .. } => Event::Verified { took_us: 9 },
            Action::Drain { .. } => Event::Drained(Drained::default()),
            Action::Rest { .. } => Event::Rested {
                containers: Vec::new(),
            },
            Action::Work { .. } => Event::Working {
                containers: Vec::new(),
            },
            Action::Watch { .. } => Event::Baked,
            Action::SeeClients { releases } => Event::ClientsSeen {
                clients: releases.iter().copied().map(nobody_at).collect(),
            },
            Action::Retire { releases } => Event::Retired {
                releases: releases.clone(),
            },
            Action::Hook { name, .. } => Event::HookEnded(HookEnd {
                name: name.clone(),
                ..HookEnd::default()
            }),
            Action::Sleep { releases, mode } => Event::Slept {
                releases: releases.clone(),
                mode: *mode,
            },
            Action::Wake { release } => Event::Woken {
                release: *release,
                took_us: 9,
            },
            Action::Disconnect => Event::Disconnected,
            Action::Apply { role } => Event::Applied {
                role: role.clone(),
                kept: Vec::new(),
                as_it_was: false,
                settled: Vec::new(),
            },
            Action::RemoveShared => Event::SharedRemoved {
                kept: Vec::new(),
                held: Vec::new(),
                back: Vec::new(),
            },
            Action::TearDown { release } => Event::TornDown { release: *release },
        }
    }

    fn nobody_at(release: Release) -> Clients {
        Clients {
            release,
            connections: Some(0),
            why: None,
        }
    }

    fn failing(which: &'static str) -> impl Fn(&Action) -> Event {
        move |action| {
            if format!("{action:?}").starts_with(which) {
                Event::Failed(Failure {
                    what: "no".into(),
                    ..Failure::default()
                })
            } else {
                good(action)
            }
        }
    }

    #[test]
    fn a_deploy_proves_before_it_switches_and_drains_after() {
        let (names, outcome) = acts(deploy(Some(2), 1000), good);
        let expected = "Prepare StandUp Prove Switch:Promote Verify Watch Drain Observe".split(' ');
        assert_eq!(names, expected.collect::<Vec<_>>());
        assert_eq!(outcome, Outcome::Done);
    }

    #[test]
    fn a_deploy_until_its_preview_waits_there_and_is_promoted_with_its_bake() {
        let verb = Verb::Deploy {
            release: Release(3),
            slot: Slot::Blue,
            until_preview: true,
        };
        let first = opened(verb, Some(2), 1000);
        let (names, outcome) = acts(first.clone(), good);
        let expected = "Prepare StandUp Prove Preview Verify".split(' ');
        assert_eq!(names, expected.collect::<Vec<_>>());
        assert_eq!(outcome, Outcome::Previewed);
        let (names, outcome) = acts(first, failing("Verify"));
        let expected = "Prepare StandUp Prove Preview Verify Hide TearDown".split(' ');
        assert_eq!(names, expected.collect::<Vec<_>>());
        assert_eq!(outcome, Outcome::Refused);
    }

    fn role(name: &str) -> crate::core::names::RoleName {
        crate::core::names::RoleName::new(name).unwrap()
    }

    fn apply() -> Event {
        let roles = vec![role("db"), role("queue")];
        let settles = false;
        opened(Verb::Apply { roles, settles }, Some(2), 0)
    }

    #[test]
    fn settings_are_applied_to_one_shared_role_after_the_other() {
        let (names, outcome) = acts(apply(), good);
        assert_eq!(
            (names.join(" "), outcome),
            ("Apply Apply".into(), Outcome::Done)
        );
        let (names, outcome) = acts(apply(), failing("Apply"));
        assert_eq!(
            (names.join(" "), outcome),
            ("Apply".into(), Outcome::Refused)
        );
    }

    #[test]
    fn a_shared_role_that_was_begun_with_is_ended_before_an_ask_is_heeded() {
        let state = State::open(&apply()).unwrap();
        let ask = |ask| Event::Asked {
            ask,
            by: "ann@host".into(),
        };
        let asked = state.clone().apply(&ask(Ask::Settle)).unwrap();
        assert_eq!(decide(&asked), Next::End(Outcome::Refused));
        let action = Action::Apply { role: role("db") };
        let intent = Event::Intended {
            action: action.clone(),
        };
        let begun = state.apply(&intent).unwrap();
        let begun = begun.apply(&ask(Ask::Settle)).unwrap();
        assert_eq!(decide(&begun), Next::Act(Action::Observe));
        let world = seen(&begun);
        let looked = begun.apply(&world).unwrap();
        assert_eq!(decide(&looked), Next::Act(action.clone()));
        let again = looked.apply(&intent).unwrap();
        let done = again.apply(&good(&action)).unwrap();
        assert_eq!(decide(&done), Next::End(Outcome::Refused));
    }

    #[test]
    fn shared_roles_go_last_and_only_where_that_was_asked() {
        let down = |shared| {
            let releases = vec![Release(2)];
            opened(Verb::Down { releases, shared }, None, 0)
        };
        let (names, outcome) = acts(down(true), good);
        let expected = "Observe Disconnect Retire RemoveShared";
        assert_eq!(
            (names.join(" ").as_str(), outcome),
            (expected, Outcome::Done)
        );
        let (names, _) = acts(down(false), good);
        assert_eq!(names.join(" "), "Observe Disconnect Retire");
    }

    #[test]
    fn a_failure_before_the_switch_never_touches_the_pointer() {
        for (which, acted) in [
            ("Prepare", "Prepare"),
            ("StandUp", "Prepare StandUp TearDown"),
            ("Prove", "Prepare StandUp Prove TearDown"),
        ] {
            let (names, outcome) = acts(deploy(Some(2), 0), failing(which));
            assert_eq!(names.join(" "), acted);
            assert_eq!(outcome, Outcome::Refused);
        }
    }

    #[test]
    fn a_failed_bake_moves_the_pointer_back() {
        let (names, outcome) = acts(deploy(Some(2), 1000), failing("Watch"));
        let acted = "Prepare StandUp Prove Switch:Promote Verify Watch Switch:Revert Verify Drain";
        assert_eq!(names.join(" "), acted);
        assert_eq!(outcome, Outcome::RolledBack);
    }

    #[test]
    fn a_first_release_that_fails_its_bake_is_left_to_a_person() {
        let (_, outcome) = acts(deploy(None, 1000), failing("Watch"));
        assert_eq!(outcome, Outcome::Stuck);
    }

    #[test]
    fn a_rollback_is_a_move_and_nothing_else_before_it() {
        let verb = Verb::Rollback {
            from: Release(3),
            to: Release(2),
            proof: Proof::Round,
        };
        let (names, outcome) = acts(opened(verb, Some(3), 0), good);
        assert_eq!(names.join(" "), "Switch:RollBack Verify Drain");
        assert_eq!(outcome, Outcome::Done);
    }

    /// With live-only roles in these releases.
    fn with_workers(first: Event, releases: &[u64]) -> Event {
        let Event::Opened(mut opened) = first else {
            panic!("an opening event");
        };
        opened.live_only = releases.iter().copied().map(Release).collect();
        Event::Opened(opened)
    }

    #[test]
    fn workers_are_handed_over_after_the_switch_and_before_the_bake() {
        for (live, workers, acted) in [
            (Some(2), &[2, 3][..], "Verify Rest Work Watch Drain Observe"),
            (Some(2), &[3], "Verify Work Watch Drain Observe"),
            (Some(2), &[1, 2], "Verify Rest Watch Drain Observe"),
            (None, &[3], "Verify Work Watch Drain Observe"),
        ] {
            let (names, outcome) = acts(with_workers(deploy(live, 1000), workers), good);
            let before = "Prepare StandUp Prove Switch:Promote";
            assert_eq!(names.join(" "), format!("{before} {acted}"));
            assert_eq!(outcome, Outcome::Done);
        }
    }

    #[test]
    fn all_others_rest_before_the_live_ones_work() {
        let mut state = State::open(&with_workers(deploy(Some(2), 0), &[1, 2, 3])).unwrap();
        state.course = Course::Forward(Stage::Verified);
        let releases = vec![Release(1), Release(2)];
        assert_eq!(decide(&state), Next::Act(Action::Rest { releases }));
        // On the way back it is the release that is left, and never the one gone back to.
        state.course = Course::Back(Back::Verified);
        let releases = vec![Release(1), Release(3)];
        assert_eq!(decide(&state), Next::Act(Action::Rest { releases }));
        state.course = Course::Back(Back::Rested);
        let release = Release(2);
        assert_eq!(decide(&state), Next::Act(Action::Work { release }));
    }

    #[test]
    fn a_rollback_moves_the_pointer_before_it_hands_workers_over() {
        let verb = Verb::Rollback {
            from: Release(3),
            to: Release(2),
            proof: Proof::Round,
        };
        let (names, outcome) = acts(with_workers(opened(verb, Some(3), 0), &[2, 3]), good);
        assert_eq!(names.join(" "), "Switch:RollBack Verify Rest Work Drain");
        assert_eq!(outcome, Outcome::Done);
    }

    #[test]
    fn a_hand_over_is_the_end_of_a_rollback_and_nothing_else() {
        for (workers, acted) in [(&[2, 3][..], "Rest Work"), (&[2], "Work"), (&[3], "Rest")] {
            let verb = Verb::HandOver { to: Release(2) };
            let first = with_workers(opened(verb, Some(2), 0), workers);
            let (names, outcome) = acts(first.clone(), good);
            assert_eq!((names.join(" ").as_str(), outcome), (acted, Outcome::Done));
            let last = acted.split(' ').next_back().unwrap();
            assert_eq!(acts(first.clone(), failing(last)).1, Outcome::Stuck);
            let mut given_up = State::open(&first).unwrap();
            given_up.ask = Some(Ask::Leave);
            assert_eq!(decide(&given_up), Next::End(Outcome::Refused));
        }
    }

    #[test]
    fn workers_that_do_not_settle_turn_all_of_it_round() {
        let new = |action: &Action| match action {
            Action::Work { release } if *release == Release(3) => failing("Work")(action),
            _ => good(action),
        };
        let (names, outcome) = acts(with_workers(deploy(Some(2), 1000), &[2, 3]), new);
        let acted = "Prepare StandUp Prove Switch:Promote Verify Rest Work Switch:Revert Verify Rest Work Drain";
        assert_eq!(names.join(" "), acted);
        assert_eq!(outcome, Outcome::RolledBack);
        // Where those that served before do not settle either, nobody but a person can help.
        let (_, outcome) = acts(
            with_workers(deploy(Some(2), 1000), &[2, 3]),
            failing("Work"),
        );
        assert_eq!(outcome, Outcome::Stuck);
    }

    #[test]
    fn a_signal_leaves_workers_of_neither_release_at_rest() {
        let mut state = State::open(&with_workers(deploy(Some(2), 0), &[2, 3])).unwrap();
        state.ask = Some(Ask::Leave);
        for (course, leaves) in [
            (Course::Forward(Stage::Verified), true),
            (Course::Forward(Stage::Rested), false),
            (Course::Forward(Stage::Working), true),
            (Course::Back(Back::Verified), false),
            (Course::Back(Back::Rested), false),
            (Course::Back(Back::Working), true),
        ] {
            state.course = course;
            let next = decide(&state);
            let left = next == Next::End(Outcome::Interrupted);
            assert_eq!(left, leaves, "{course:?}: {next:?}");
        }
    }

    #[test]
    fn an_unfit_standby_is_left_to_a_person() {
        let verb = Verb::Rollback {
            from: Release(3),
            to: Release(2),
            proof: Proof::Round,
        };
        let (names, outcome) = acts(opened(verb, Some(3), 0), failing("Switch"));
        assert_eq!(names.join(" "), "Switch:RollBack");
        assert_eq!(outcome, Outcome::Stuck);
    }

    #[test]
    fn an_intent_without_an_outcome_is_settled_by_looking() {
        let mut state = State::open(&deploy(Some(2), 0)).unwrap();
        state = state
            .apply(&Event::Intended {
                action: Action::Prepare,
            })
            .unwrap();
        assert_eq!(decide(&state), Next::Act(Action::Observe));
        let world = Box::new(World::default());
        state = state.apply(&Event::Observed { world }).unwrap();
        assert_eq!(decide(&state), Next::Act(Action::Prepare));
    }

    #[test]
    fn what_a_move_in_doubt_has_cut_is_unknown_and_never_a_guessed_0() {
        let verb = Verb::Rollback {
            from: Release(3),
            to: Release(2),
            proof: Proof::Round,
        };
        let mut state = State::open(&opened(verb, Some(3), 0)).unwrap();
        assert_eq!(state.left().cut, Some(0));
        let Next::Act(action) = decide(&state) else {
            panic!("it does not begin");
        };
        state = state.apply(&Event::Intended { action }).unwrap();
        assert_eq!(state.left(), Drained::default());
        state = state.apply(&Event::Lost { why: "gone".into() }).unwrap();
        assert_eq!(state.left(), Drained::default());
    }

    #[test]
    fn a_signal_after_the_last_act_leaves_nothing_open() {
        let (_, outcome) = acts(deploy(Some(2), 0), good);
        assert_eq!(outcome, Outcome::Done);
        for (stage, world, ends) in [
            (Stage::Verified, None, Some(Outcome::Interrupted)),
            (Stage::Drained, None, None),
            (Stage::Drained, Some(Box::default()), Some(Outcome::Done)),
            (Stage::Retired, None, Some(Outcome::Done)),
        ] {
            let mut state = State::open(&deploy(Some(2), 0)).unwrap();
            state.course = Course::Forward(stage);
            state.ask = Some(Ask::Leave);
            state.world = world;
            let expected = ends.map_or(Next::Act(Action::Observe), Next::End);
            assert_eq!(decide(&state), expected, "{stage:?}");
        }
    }

    #[test]
    fn outcomes_that_keep_getting_lost_leave_the_run_open() {
        let (_, outcome) = acts(deploy(Some(2), 0), |_| Event::Lost { why: "gone".into() });
        assert_eq!(outcome, Outcome::Interrupted);
    }

    #[test]
    fn an_event_that_answers_nothing_is_illegal() {
        let state = State::open(&deploy(Some(2), 0)).unwrap();
        assert!(state.clone().apply(&Event::Proven { checks: 1 }).is_err());
        assert!(
            state
                .clone()
                .apply(&Event::Intended {
                    action: Action::Prove
                })
                .is_err()
        );
        let done = state
            .apply(&Event::Closed {
                outcome: Outcome::Done,
            })
            .unwrap();
        assert!(
            done.apply(&Event::Intended {
                action: Action::Prepare
            })
            .is_err()
        );
    }
}
