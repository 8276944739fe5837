//! Expected errors: what happened, to what, why, the way out, and the exit code.
//!
//! One variant per situation, holding data; the prose is composed here and nowhere else, and
//! printed in one place, `main`. What the core ends a run with is no error but an [`Outcome`]; both
//! come together in [`Exit`].

mod prose;

pub use prose::cut_short;

use std::process::ExitCode;

use serde_json::json;

use crate::core::event::{Failure, SwitchRefusal};
use crate::core::names::Release;
use crate::core::shared::Difference;
use crate::core::verdict::Outcome;
use crate::core::words::{clean, release_name};
use crate::engine::EngineError;
use crate::pointer::PointerError;

/// What the program's exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A bug in flipside, panics included.
    Bug = 1,
    /// Bad input (flags, plan); nothing was touched.
    BadInput = 2,
    /// The new release failed or was given up; what served before still serves.
    Refused = 3,
    /// A person must decide; the message names the next command.
    Decide = 4,
    /// Another operator holds the service.
    Held = 5,
    /// Cut short after something was touched; everything is recorded, `flipside resume` goes on.
    Interrupted = 6,
    /// Engine, pointer or store out of reach; nothing was touched.
    OutOfReach = 7,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The exit code of a run that ended.
#[must_use]
pub fn exit_of(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Done | Outcome::Previewed => Exit::Done,
        Outcome::RolledBack | Outcome::Refused => Exit::Refused,
        Outcome::Stuck | Outcome::Unsure => Exit::Decide,
        Outcome::Interrupted => Exit::Interrupted,
    }
}

/// Whether a command had changed anything when it failed: it decides between
/// [`Exit::OutOfReach`] and [`Exit::Interrupted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// Engine, pointer and journal are as they were.
    Nothing,
    /// Something may have changed; the journal knows what.
    Something,
}

/// A release that is still kept, as a rollback's error lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub release: Release,
    /// What it is: `withdrawn`, `standby, down`.
    pub what: String,
}

/// An expected error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Flags that do not go together, or a value that means nothing.
    BadFlags {
        /// What is wrong.
        what: String,
        /// What to write instead.
        instead: Option<String>,
    },
    /// No plan was named and none was found.
    NoPlan {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// The plan has problems.
    PlanRefused {
        /// All of them, with file, line and column, for people.
        rendered: String,
        /// Each, for pipelines.
        problems: Vec<serde_json::Value>,
    },
    /// The engine cannot be asked.
    EngineOutOfReach {
        /// Its address.
        engine: String,
        /// In a person's words.
        why: String,
        /// What had been changed by then.
        touched: Touched,
    },
    /// The pointer cannot be asked.
    PointerOutOfReach {
        /// Which.
        pointer: String,
        /// In a person's words.
        why: String,
        /// What had been changed by then.
        touched: Touched,
    },
    /// The journal cannot be read or written.
    StoreOutOfReach {
        /// Its place.
        store: String,
        /// In a person's words.
        why: String,
        /// What had been changed by then.
        touched: Touched,
    },
    /// A call's answer was lost; whether it took effect is not known.
    AnswerLost {
        /// Of what: an engine, a pointer.
        of: String,
        /// In a person's words.
        why: String,
    },
    /// The plan asks for what the engine cannot do.
    EngineLacks(Failure),
    /// The engine said no.
    EngineRefused(Failure),
    /// The pointer said no, for a reason of its own.
    PointerRefused {
        /// What happened, to what, why.
        what: String,
        /// What mends it.
        mend: Option<String>,
    },
    /// Another operator holds the service.
    HeldBy {
        /// The service.
        service: String,
        /// Who: `user@host`, with what it does where that is known.
        holder: String,
    },
    /// Another operator took the service over while this one was at work.
    TakenOver {
        /// The service.
        service: String,
    },
    /// There is no standby.
    NothingToRollBackTo {
        /// The service.
        service: String,
        /// Why there is none.
        why: String,
        /// What can be reached by `--to`.
        kept: Vec<Kept>,
    },
    /// The standby would not serve.
    StandbyUnfit {
        /// The service.
        service: String,
        /// The standby.
        release: Release,
        /// What its probes said, and what it lacks of shared roles.
        reasons: Vec<String>,
        /// What a person can do about it, each with its command.
        mends: Vec<String>,
    },
    /// Neither journal nor marks say which release has served.
    NoMemory {
        /// The service.
        service: String,
        /// The release that would be gone back to.
        candidate: Release,
    },
    /// Only labels say where the pointer is, and anyone who can create a container can write them.
    Untrusted {
        /// The service.
        service: String,
        /// What they say: its kind and settings.
        pointer: String,
    },
    /// The pointer sends its users to something that is not flipside's.
    Foreign {
        /// The service.
        service: String,
        /// Where that answers: ` at 10.0.0.7:80`.
        found: String,
    },
    /// The pointer says something else than it should.
    Drifted {
        /// The service.
        service: String,
        /// What it should name.
        expected: String,
        /// What it names.
        found: String,
    },
    /// Shared roles stand with other settings than the plan's.
    SharedDiffers {
        /// The service.
        service: String,
        /// Which, and in what.
        roles: Vec<(String, Vec<Difference>)>,
    },
    /// A run cannot go on by itself.
    Stuck {
        /// The service.
        service: String,
        /// Where, and why.
        what: String,
        /// The next command, where one is known.
        next: Option<String>,
    },
    /// The pointer shows nothing before the switch, and that was asked for.
    NoPreview {
        /// Which pointer.
        pointer: String,
    },
    /// Nothing is under way that the verb could act on.
    NothingUnderWay {
        /// The service.
        service: String,
        /// The verb.
        verb: String,
    },
    /// Cut short by a signal.
    Interrupted {
        /// The service.
        service: String,
        /// Variables whose values have to be given again.
        again: Vec<String>,
    },
    /// A run had to stop in the middle, because something it needs went out of reach.
    CutShort {
        /// The service.
        service: String,
        /// What serves, as far as the run has come.
        live: Option<Release>,
        /// What serves instead, if the pointer's move that was under way took effect.
        moving: Option<Release>,
        /// Variables whose values have to be given again.
        again: Vec<String>,
        /// What went out of reach.
        why: Box<Error>,
    },
    /// No service of this name.
    UnknownService {
        /// As given.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// No service was named, and there is none.
    NoService,
    /// No service was named, and there is more than one.
    SeveralServices {
        /// Which.
        known: Vec<String>,
    },
    /// A question that cannot be asked, because no terminal is there to answer it.
    NeedsYes {
        /// What would be done: `roll `shop` back from shop@2 to shop@1`.
        what: String,
    },
    /// A person answered no.
    Declined {
        /// What was not done.
        what: String,
    },
    /// Something was written by a newer flipside.
    TooNew {
        /// What.
        what: String,
        /// Its version.
        found: u64,
        /// The newest that this flipside reads.
        known: u64,
    },
    /// The machine this runs on refused something.
    Io {
        /// What was being done: `reading `a.txt``.
        doing: String,
        /// In a person's words.
        why: String,
        /// What had been changed by then.
        touched: Touched,
    },
    /// Something that cannot be.
    Bug {
        /// What.
        what: String,
    },
}

impl Error {
    /// In a line, where it is only the reason for something else.
    #[must_use]
    pub fn in_a_line(&self) -> String {
        let whole = self.to_string();
        match self {
            // Its first problem, with its place and without the line itself.
            Self::PlanRefused { .. } => whole.lines().next().unwrap_or_default().to_owned(),
            _ => whole,
        }
    }

    /// What an engine's error means to a command.
    #[must_use]
    pub fn of_engine(error: EngineError, touched: Touched) -> Self {
        match error {
            EngineError::OutOfReach { engine, why } => Self::EngineOutOfReach {
                engine,
                why,
                touched,
            },
            EngineError::Lost { engine, why } => Self::AnswerLost {
                of: format!("engine {engine}"),
                why,
            },
            EngineError::Failed(failure) => Self::EngineRefused(failure),
        }
    }

    /// What a pointer's error means to a command on `service`.
    #[must_use]
    pub fn of_pointer(service: &str, error: PointerError, touched: Touched) -> Self {
        match error {
            PointerError::OutOfReach { pointer, why } => Self::PointerOutOfReach {
                pointer,
                why,
                touched,
            },
            PointerError::Lost { pointer, why } => Self::AnswerLost {
                of: format!("pointer {pointer}"),
                why,
            },
            PointerError::Refused {
                why: SwitchRefusal::Fenced,
                ..
            } => Self::TakenOver {
                service: service.into(),
            },
            PointerError::Refused {
                why: SwitchRefusal::Moved | SwitchRefusal::Drifted,
                found,
            } => Self::Drifted {
                service: service.into(),
                expected: "what was read before".into(),
                found: match found {
                    None => "nothing".into(),
                    Some(found) => {
                        let live = found.live().map(|live| release_name(service, live));
                        let live = live.unwrap_or_else(|| "nothing".into());
                        format!(
                            "{live} (written by `{}`: {})",
                            clean(&found.author),
                            clean(&found.reason)
                        )
                    }
                },
            },
            PointerError::Failed { what, hint } => Self::PointerRefused { what, mend: hint },
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::BadFlags { .. }
            | Self::NoPlan { .. }
            | Self::PlanRefused { .. }
            | Self::EngineLacks(_)
            | Self::UnknownService { .. }
            | Self::NoService
            | Self::SeveralServices { .. }
            | Self::NoPreview { .. }
            | Self::NeedsYes { .. } => Exit::BadInput,
            Self::EngineOutOfReach { touched, .. }
            | Self::PointerOutOfReach { touched, .. }
            | Self::StoreOutOfReach { touched, .. }
            | Self::Io { touched, .. } => match touched {
                Touched::Nothing => Exit::OutOfReach,
                Touched::Something => Exit::Interrupted,
            },
            Self::AnswerLost { .. } | Self::Interrupted { .. } | Self::CutShort { .. } => {
                Exit::Interrupted
            }
            Self::HeldBy { .. } | Self::TakenOver { .. } => Exit::Held,
            Self::EngineRefused(_)
            | Self::PointerRefused { .. }
            | Self::NothingToRollBackTo { .. }
            | Self::StandbyUnfit { .. }
            | Self::NoMemory { .. }
            | Self::Untrusted { .. }
            | Self::Foreign { .. }
            | Self::Drifted { .. }
            | Self::SharedDiffers { .. }
            | Self::Stuck { .. }
            | Self::NothingUnderWay { .. }
            | Self::Declined { .. }
            | Self::TooNew { .. } => Exit::Decide,
            Self::Bug { .. } => Exit::Bug,
        }
    }

    /// The variant's name, as pipelines see it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadFlags { .. } => "bad-flags",
            Self::NoPlan { .. } => "no-plan",
            Self::PlanRefused { .. } => "plan-refused",
            Self::EngineOutOfReach { .. } => "engine-out-of-reach",
            Self::PointerOutOfReach { .. } => "pointer-out-of-reach",
            Self::StoreOutOfReach { .. } => "store-out-of-reach",
            Self::AnswerLost { .. } => "answer-lost",
            Self::EngineLacks(_) => "engine-lacks",
            Self::EngineRefused(_) => "engine-refused",
            Self::PointerRefused { .. } => "pointer-refused",
            Self::HeldBy { .. } => "held-by",
            Self::TakenOver { .. } => "taken-over",
            Self::NothingToRollBackTo { .. } => "nothing-to-roll-back-to",
            Self::StandbyUnfit { .. } => "standby-unfit",
            Self::NoMemory { .. } => "no-memory",
            Self::Untrusted { .. } => "untrusted",
            Self::Foreign { .. } => "foreign",
            Self::Drifted { .. } => "drifted",
            Self::SharedDiffers { .. } => "shared-differs",
            Self::Stuck { .. } => "stuck",
            Self::NoPreview { .. } => "no-preview",
            Self::NothingUnderWay { .. } => "nothing-under-way",
            Self::Interrupted { .. } => "interrupted",
            Self::CutShort { why, .. } => why.kind(),
            Self::UnknownService { .. } => "unknown-service",
            Self::NoService => "no-service",
            Self::SeveralServices { .. } => "several-services",
            Self::NeedsYes { .. } => "needs-yes",
            Self::Declined { .. } => "declined",
            Self::TooNew { .. } => "too-new",
            Self::Io { .. } => "io",
            Self::Bug { .. } => "bug",
        }
    }

    /// One JSON line's object: `event`, `error`, `exit`, `message`, `hint`, and `problems` of a
    /// refused plan.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = json!({
            "event": "error",
            "error": self.kind(),
            "exit": self.exit().code(),
            "message": self.message(),
            "hint": self.hint(),
        });
        if let Self::PlanRefused { problems, .. } = self {
            value["problems"] = json!(problems);
        }
        value
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for Error {}
