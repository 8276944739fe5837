//! Random troubles and random ways to go on; and journals that make no sense.

use flipside::core::state::State;
use proptest::prelude::*;
use proptest::sample::select;

use super::cases::{Case, Certain, Trouble, WAYS, scenarios};
use super::doors::Moment;
use super::tape::Slip;
use crate::support::facts;
use crate::support::faults::{Fault, Op};

fn trouble() -> impl Strategy<Value = Trouble> {
    let moment = select(vec![Moment::Before, Moment::After]);
    let ops = || {
        select(vec![
            Op::Prepare,
            Op::StandUp,
            Op::Write,
            Op::TearDown,
            Op::Forget,
            Op::Read,
            Op::Inspect,
            Op::Settled,
            Op::MarkEngine,
            Op::MarkPointer,
            Op::Claim,
            Op::Tokens,
            Op::DropToken,
            Op::Check,
            Op::Ask,
            Op::Images,
            Op::DropImage,
        ])
    };
    let faults = vec![
        Fault::OutOfReach,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Partial(3),
    ];
    prop_oneof![
        (0..20_usize, moment.clone()).prop_map(|(at, m)| Trouble::Record(at, Slip::Dies(m))),
        (ops(), 0..4_usize, moment).prop_map(|(op, nth, m)| Trouble::Call(op, nth, m)),
        (ops(), 0..4_usize, select(faults)).prop_map(|(op, nth, f)| Trouble::Fault(op, nth, f)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_trouble_and_any_ways_to_go_on_keep_the_promises(
        which in 0..20_usize,
        trouble in trouble(),
        ways in prop::collection::vec(select(WAYS.to_vec()), 1..4),
    ) {
        let all: Vec<_> = scenarios(true).into_iter().chain(scenarios(false)).collect();
        let mut case = Case::new(all[which % all.len()], trouble, ways[0]);
        case.ways = ways;
        case.certain = Certain::No;
        prop_assert_eq!(case.play(), Ok(()));
    }

    #[test]
    fn a_journal_in_any_order_is_read_or_refused_and_never_panics(
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let events = facts::events();
        let some: Vec<_> = order.iter().map(|at| at.get(&events)).collect();
        drop(State::fold(some.iter().copied()));
        drop(State::fold(std::iter::once(&facts::opened(42)).chain(some)));
    }
}
