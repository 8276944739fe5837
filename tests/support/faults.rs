//! What goes wrong, and when: planned per kind of call, in order.

use std::collections::{BTreeMap, VecDeque};

/// A kind of call on a fake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Prepare,
    StandUp,
    Inspect,
    Container,
    Services,
    TearDown,
    Logs,
    Follow,
    Exec,
    Marks,
    MarkEngine,
    Claim,
    Tokens,
    DropToken,
    Ended,
    Ready,
    Foresee,
    Read,
    Write,
    Settled,
    Ask,
    MarkPointer,
    Forget,
    Remove,
    Check,
    Freeze,
    Wake,
    Cost,
    Clients,
    Images,
    DropImage,
    Rest,
    Work,
    Hook,
    HookCall,
    Shared,
    ApplyShared,
    SettleShared,
    JoinShared,
    TearDownShared,
}

/// What happens to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call works.
    Ok,
    /// It does nothing and says so.
    OutOfReach,
    /// It does nothing, and its answer is lost.
    LostBefore,
    /// It takes effect, and its answer is lost.
    LostAfter,
    /// Its answer is lost, and it takes effect when [`super::fake_world::FakeWorld::land_late`] is
    /// called.
    Late,
    /// It does nothing and never answers.
    HangBefore,
    /// It takes effect and never answers.
    HangAfter,
    /// It takes effect for the first so many containers, and its answer is lost. For other calls
    /// the same as [`Fault::LostBefore`] with 0 and [`Fault::LostAfter`] with more.
    Partial(usize),
    /// It is refused with these words; nothing is done.
    Refused(String),
}

/// Planned faults and calls made.
#[derive(Debug, Default)]
pub struct Faults {
    planned: BTreeMap<Op, VecDeque<Fault>>,
    always: BTreeMap<Op, Fault>,
    /// Every call made, in order.
    pub calls: Vec<Op>,
}

impl Faults {
    /// The next calls of this kind meet these, one each; later ones work.
    pub fn plan(&mut self, op: Op, faults: impl IntoIterator<Item = Fault>) {
        self.planned.entry(op).or_default().extend(faults);
    }

    /// Every call of this kind meets this one, until [`Faults::heal`].
    pub fn always(&mut self, op: Op, fault: Fault) {
        self.always.insert(op, fault);
    }

    /// Whether every call of this kind meets a fault.
    pub fn is_always(&self, op: Op) -> bool {
        self.always.contains_key(&op)
    }

    /// Whether something is planned for calls of this kind that none has met yet.
    pub fn is_planned(&self, op: Op) -> bool {
        self.planned.get(&op).is_some_and(|left| !left.is_empty())
    }

    /// Whether the next call of this kind takes effect late.
    pub fn is_late(&self, op: Op) -> bool {
        let next = self.planned.get(&op).and_then(VecDeque::front);
        next == Some(&Fault::Late)
    }

    /// No call of any kind meets anything from now on.
    pub fn heal(&mut self) {
        self.planned.clear();
        self.always.clear();
    }

    /// How many calls of this kind have been made.
    pub fn count(&self, op: Op) -> usize {
        self.calls.iter().filter(|&&made| made == op).count()
    }

    /// Notes a call and answers what it meets.
    pub fn meet(&mut self, op: Op) -> Fault {
        self.calls.push(op);
        let planned = self.planned.get_mut(&op).and_then(VecDeque::pop_front);
        planned
            .or_else(|| self.always.get(&op).cloned())
            .unwrap_or(Fault::Ok)
    }
}
