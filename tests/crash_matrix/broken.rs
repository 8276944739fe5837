//! Cores and shells that are broken on purpose: the matrix must fail for each, naming its promise.

use flipside::core::action::Action;
use flipside::core::decide::{Next, decide};
use flipside::core::event::Event;
use flipside::core::routing::Drained;
use flipside::core::state::{Course, Illegal, Stage as Reached, State};
use flipside::core::verdict::Outcome;
use flipside::drive::Core;

use super::cases::{Case, Scenario, Trouble, paused, scenarios, verdict};
use super::doors::{Blow, Moment};
use super::stage::{Flaw, Machine, Verb};
use super::tape::Slip;
use crate::support::faults::Op;

fn scenario(name: &str) -> Scenario {
    let mut all = scenarios(true).into_iter();
    all.find(|scenario| scenario.name == name).unwrap()
}

fn case(name: &str, trouble: Trouble, verb: Verb) -> Case {
    Case::new(scenario(name), trouble, (Machine::Here, verb))
}

/// Sound, the case passes; broken, it fails and names the promise.
pub fn caught(promise: u8, mut case: Case, core: Core, flaw: Flaw) {
    assert_eq!(case.play(), Ok(()), "the sound one");
    (case.core, case.flaw) = (core, flaw);
    let why = case.play().expect_err("the broken one was not caught");
    let named = format!("promise {promise}:");
    assert!(why.starts_with(&named), "{why}");
}

pub fn skips_proof(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    if state.course == Course::Forward(Reached::StoodUp) {
        state.course = Course::Forward(Reached::Proven);
    }
    Ok(state)
}

fn retires_what_was_left(state: &State) -> Next {
    let left = state.moved.and_then(|moved| moved.from);
    match (state.course, decide(state), left) {
        (Course::Forward(Reached::Drained), Next::End(Outcome::Done), Some(left)) => {
            let releases = vec![left];
            Next::Act(Action::Retire { releases })
        }
        (_, next, _) => next,
    }
}

fn skips_drain(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    if state.course == Course::Forward(Reached::Verified) {
        state.course = Course::Forward(Reached::Drained);
    }
    Ok(state)
}

fn guesses_cut(state: State, event: &Event) -> Result<State, Illegal> {
    let mut state = state.apply(event)?;
    state.drained.cut = state.drained.cut.or(Some(0));
    Ok(state)
}

fn never_looks(state: &State) -> Next {
    match state.pending {
        Some(_) => Next::End(Outcome::Stuck),
        None => decide(state),
    }
}

#[test]
fn promise_1_a_core_that_skips_the_proof_is_caught() {
    let core = Core {
        apply: skips_proof,
        ..Core::default()
    };
    let case = case("first deploy", Trouble::None, Verb::Prune);
    caught(1, case, core, Flaw::None);
}

#[test]
fn promise_2_a_deploy_in_place_is_caught() {
    let case = case("deploy that fails its probes", Trouble::None, Verb::Prune);
    caught(2, case, Core::default(), Flaw::InPlace);
}

#[test]
fn promise_3_a_core_that_retires_the_standby_is_caught() {
    let core = Core {
        decide: retires_what_was_left,
        ..Core::default()
    };
    let mut case = case("first deploy", Trouble::None, Verb::Deploy);
    case.scenario.before = &[Verb::Deploy];
    case.scenario.name = "second deploy";
    caught(3, case, core, Flaw::None);
}

/// Nothing goes on without its journal.
const NEEDS_JOURNAL: fn() -> Core = || Core {
    goes_on: |_| false,
    ..Core::default()
};

#[test]
fn promise_4_a_rollback_that_needs_the_journal_is_caught() {
    for machine in [Machine::WithoutStore, Machine::Unreadable] {
        let trouble = Trouble::Call(Op::Settled, 0, Moment::Before);
        let mut case = case("third deploy", trouble, Verb::Rollback);
        case.ways = vec![(machine, Verb::Rollback)];
        caught(4, case, NEEDS_JOURNAL(), Flaw::None);
    }
}

#[test]
fn promise_5_a_core_that_never_looks_is_caught() {
    let core = Core {
        decide: never_looks,
        ..Core::default()
    };
    let trouble = Trouble::Record(3, Slip::Dies(Moment::After));
    caught(
        5,
        case("first deploy", trouble, Verb::Resume),
        core,
        Flaw::None,
    );
}

#[test]
fn promise_5_an_engine_that_hides_remnants_is_caught() {
    let case = case("prune", Trouble::None, Verb::Prune);
    caught(5, case, Core::default(), Flaw::HidesRemnants);
}

#[test]
fn promise_6_a_core_that_does_not_drain_is_caught() {
    let core = Core {
        apply: skips_drain,
        ..Core::default()
    };
    let case = case("third deploy", Trouble::None, Verb::Prune);
    caught(6, case, core, Flaw::None);
}

#[test]
fn promise_6_a_core_that_retires_before_it_drains_is_caught() {
    let core = Core {
        apply: skips_drain,
        decide: retires_what_was_left,
        ..Core::default()
    };
    let case = case("third deploy", Trouble::None, Verb::Prune);
    caught(6, case, core, Flaw::None);
}

fn uncounted() -> Case {
    let mut case = case("third deploy", Trouble::None, Verb::Prune);
    case.scenario.wrong = |world| world.drained.extend([(3, Drained::default())]);
    case
}

#[test]
fn promise_6_a_pointer_that_guesses_a_0_is_caught() {
    caught(6, uncounted(), Core::default(), Flaw::GuessesCut);
}

#[test]
fn promise_6_a_core_that_tells_a_guessed_0_is_caught() {
    let core = Core {
        apply: guesses_cut,
        ..Core::default()
    };
    caught(6, uncounted(), core, Flaw::None);
}

#[test]
fn promise_9_a_journal_of_the_plan_with_its_values_is_caught() {
    let case = case("first deploy", Trouble::None, Verb::Prune);
    caught(9, case, Core::default(), Flaw::JournalsValues);
}

#[test]
fn promise_9_a_plan_that_forgets_where_a_value_came_from_is_caught() {
    let case = case("first deploy", Trouble::None, Verb::Prune);
    caught(9, case, Core::default(), Flaw::ForgetsSecrets);
}

#[test]
fn promise_10_a_rollback_that_stops_at_a_full_disk_is_caught() {
    for at in 0..4 {
        let trouble = Trouble::Record(at, Slip::Full);
        let case = case("rollback", trouble, Verb::Rollback);
        caught(10, case, NEEDS_JOURNAL(), Flaw::None);
    }
}

#[test]
fn promise_10_a_journal_that_writes_behind_is_caught() {
    let case = case("first deploy", Trouble::None, Verb::Prune);
    caught(10, case, Core::default(), Flaw::WritesBehind);
}

/// One is in its bake when another one begins to deploy.
fn two_at_once(flaw: Flaw) -> Result<(), String> {
    paused(async {
        let stage = scenario("third deploy").stage(Core::default(), flaw);
        let ann = stage.actor("ann@build", Machine::Here);
        let bob = stage.actor("bob@desk", Machine::Elsewhere);
        let later = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            bob.perform(Verb::Deploy).await
        };
        tokio::join!(ann.perform(Verb::Deploy), later);
        verdict(&stage)
    })
}

#[test]
fn promise_7_of_two_deploys_at_once_one_proceeds_and_a_broken_lease_is_caught() {
    assert_eq!(two_at_once(Flaw::None), Ok(()));
    let why = two_at_once(Flaw::IgnoresLease).unwrap_err();
    assert!(why.starts_with("promise 7:"), "{why}");
}

/// A hand edits the routing while a candidate is being proven.
fn edited(flaw: Flaw) -> Result<(), String> {
    paused(async {
        let stage = scenario("third deploy").stage(Core::default(), flaw);
        let ann = stage.actor("ann@build", Machine::Here);
        ann.life.strike(Op::StandUp, 0, Moment::After, Blow::Hand);
        ann.perform(Verb::Deploy).await;
        verdict(&stage)
    })
}

#[test]
fn promise_8_a_hand_that_edits_during_a_deploy_is_not_overwritten_and_a_cache_is_caught() {
    assert_eq!(edited(Flaw::None), Ok(()));
    let why = edited(Flaw::CachesPointer).unwrap_err();
    assert!(why.starts_with("promise 8:"), "{why}");
}
