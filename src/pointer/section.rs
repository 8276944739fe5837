//! What a plan may say of a pointer, kind by kind, as data: read by the plan's reader, which knows
//! no kind, and shown to editors.

use serde_json::{Map, Value};

use crate::core::plan::Reach;

/// The section of one kind.
#[derive(Debug)]
pub struct Section {
    /// Its name in plans.
    pub kind: &'static str,
    /// What it is, in a line.
    pub means: &'static str,
    /// The least that it takes.
    pub example: &'static str,
    /// What may be said.
    pub keys: &'static [Key],
    /// Keys that somebody may look for, with what to do instead.
    pub advised: &'static [(&'static str, &'static str)],
    /// How it reaches an environment, what its key `reach` may say.
    pub reaching: Reaching,
    /// Fills in what was not said, and remarks on the settings taken together.
    pub complete: fn(&mut Map<String, Value>) -> Vec<Remark>,
}

/// From where a kind sends traffic, and how it can reach an environment.
#[derive(Debug, Clone, Copy)]
pub struct Reaching {
    /// From where it sends traffic.
    pub from: Stand,
    /// The ways it has; the first is meant where a plan does not say.
    pub ways: &'static [ReachKind],
    /// Why it has none of the others, and what to write instead.
    pub beyond: (&'static str, &'static str),
}

/// From where a kind sends traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// From the engine's host, wherever that is.
    Engine,
    /// From the machine that flipside runs on, or one like it.
    Here,
    /// From anywhere: from where users are, or from a service's network.
    Anywhere,
}

/// A way to reach an environment, without its addresses: see [`crate::core::plan::Reach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReachKind {
    /// At the containers' own addresses.
    Container,
    /// At an address of the engine's host, at published ports.
    Published,
    /// At the address of its slot.
    Slot,
}

impl ReachKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Container, Self::Published, Self::Slot];

    /// That of a plan.
    #[must_use]
    pub fn of(reach: Reach) -> Self {
        match reach {
            Reach::Container => Self::Container,
            Reach::Published(_) => Self::Published,
            Reach::Slot(_) => Self::Slot,
        }
    }

    /// The word for it, in plans.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Published => "published",
            Self::Slot => "slot",
        }
    }

    /// How a plan says it.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Container => "`reach: container`",
            Self::Published => {
                "`reach: {published: 192.0.2.7}`, with an address of the engine's host"
            }
            Self::Slot => "`reach: {slot: {blue: \"192.0.2.10:443\", green: \"192.0.2.11:443\"}}`",
        }
    }
}

impl Reaching {
    /// What sends traffic from a machine of its owner's, and can be told any address.
    pub const ANY: Self = Self {
        from: Stand::Here,
        ways: &ReachKind::ALL,
        beyond: ("", ""),
    };

    /// A name in DNS, which says where an address is and nothing of ports.
    pub const NAME: Self = Self {
        from: Stand::Anywhere,
        ways: &[ReachKind::Container, ReachKind::Slot],
        beyond: (
            "a name has no port, and each release is published at ports of its own",
            "give each slot an address: `reach: {slot: {blue: \"192.0.2.10:443\", green: \"192.0.2.11:443\"}}`",
        ),
    };
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Another name for it, of which the same is true.
    pub also: Option<&'static str>,
    /// What its value is.
    pub takes: Takes,
    /// Where it must be there: what is said without it, and what to add.
    pub missing: Option<(&'static str, &'static str)>,
    /// What it means, for editors; with its default.
    pub means: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// An address and port to listen on; without an address all of them.
    Listen,
    /// Host names, one or several.
    Hosts,
    /// Text; what, for those who write something else.
    Text(&'static str),
    /// Texts, one or several; what one of them is.
    Texts(&'static str),
    /// A program and its words, a list or one text; a program with a slash is beside the plan, and
    /// stored absolute.
    Command,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A path; what is not absolute is beside the plan, and stored absolute.
    Path,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// A duration, stored in milliseconds.
    Duration,
    /// `true` or `false`.
    Flag,
}

/// What there is to say of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// It cannot be so.
    Wrong(Wrong),
    /// It can be so, and may not be meant.
    Caution {
        /// Its key.
        key: &'static str,
        /// What it brings.
        message: String,
    },
}

impl From<Wrong> for Remark {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Its key.
    pub key: &'static str,
    /// What.
    pub message: String,
    /// What to write instead.
    pub help: String,
}
