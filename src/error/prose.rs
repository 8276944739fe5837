//! The words of every expected error: what happened, and the way out.

use super::{Error, Touched};
use crate::core::names::Release;
use crate::core::shared::differences;
use crate::core::words::{clean, list, release_name, resume};

impl Error {
    /// What happened, to what, why; no full stop, no colour, most often one line.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::BadFlags { what, .. } | Self::PointerRefused { what, .. } => clean(what),
            Self::NoPlan { looked } if looked.is_empty() => "no plan found".into(),
            Self::NoPlan { looked } => {
                format!("no plan found; looked for {}", list(&quoted(looked)))
            }
            Self::PlanRefused { rendered, .. } => rendered.trim_end().into(),
            Self::EngineOutOfReach { engine, why, .. } => {
                format!("engine `{engine}` is out of reach: {}", clean(why))
            }
            Self::PointerOutOfReach { pointer, why, .. } => {
                format!("pointer `{pointer}` is out of reach: {}", clean(why))
            }
            Self::StoreOutOfReach { store, why, .. } => {
                format!("the journal in `{store}` is out of reach: {}", clean(why))
            }
            Self::AnswerLost { of, why } => format!(
                "{of} did not answer to the end, so it is not known what became of the call: {}",
                clean(why)
            ),
            Self::EngineLacks(failure) => clean(&failure.what),
            Self::EngineRefused(failure) => {
                let mut message = clean(&failure.what);
                for replica in &failure.replicas {
                    let reasons = clean(&replica.reasons.join("; "));
                    message += &format!("\n  `{}`: {reasons}", replica.container);
                }
                message
            }
            Self::HeldBy { service, holder } => {
                format!("`{service}` is held by `{}`", clean(holder))
            }
            Self::TakenOver { service } => {
                format!("another operator has taken `{service}` over; nothing more was done here")
            }
            Self::NothingToRollBackTo { service, why, kept } => {
                let mut message = format!("`{service}` cannot be rolled back: {}", clean(why));
                for kept in kept {
                    let name = release_name(service, kept.release);
                    message += &format!("\n  {name}: {}", kept.what);
                }
                message
            }
            Self::StandbyUnfit {
                service,
                release,
                reasons,
                ..
            } => {
                let name = release_name(service, *release);
                let mut message = format!("{name} is not fit to serve; nothing was moved");
                for reason in reasons {
                    message += &format!("\n  {}", clean(reason));
                }
                message
            }
            Self::NoMemory { service, candidate } => format!(
                "neither journal nor marks say which release of `{service}` has served; {} is \
                 the likeliest",
                release_name(service, *candidate)
            ),
            Self::Untrusted { service, pointer } => format!(
                "the journal does not say what sends the traffic of `{service}`, and labels on the \
                 engine, which anyone there can write, say {pointer}; it was not asked"
            ),
            Self::Foreign { service, found } => format!(
                "something that is not flipside's serves `{service}`{found}; nothing was touched"
            ),
            Self::Drifted {
                service,
                expected,
                found,
            } => format!(
                "the pointer of `{service}` names {found}, not {expected}; nothing was moved"
            ),
            Self::SharedDiffers { service, roles } => {
                let mut message = format!(
                    "shared roles of `{service}` differ from the plan; nothing was touched"
                );
                for (role, differs) in roles {
                    message += &format!("\n  `{}`: {}", clean(role), differences(differs));
                }
                message
            }
            Self::Stuck { service, what, .. } => format!("`{service}` is stuck: {}", clean(what)),
            Self::NoPreview { pointer, .. } => {
                format!("{pointer} shows nothing before the switch; nothing was touched")
            }
            Self::NothingUnderWay { service, verb } => {
                format!("nothing is under way for `{service}` that `{verb}` could act on")
            }
            Self::Interrupted { service, .. } => {
                format!("interrupted; what was done to `{service}` is recorded")
            }
            Self::CutShort {
                service,
                live,
                moving,
                why,
                ..
            } => format!(
                "{}\n  {}",
                why.message(),
                cut_short(service, *live, *moving)
            ),
            Self::UnknownService { name, known } if known.is_empty() => {
                format!("no service `{}` here, nor any other", clean(name))
            }
            Self::UnknownService { name, known } => format!(
                "no service `{}` here; there is {}",
                clean(name),
                list(&quoted(known))
            ),
            Self::NoService => "no service is deployed here".into(),
            Self::SeveralServices { known } => {
                format!("which service? there is {}", list(&quoted(known)))
            }
            Self::NeedsYes { what } => {
                format!("would {what}, but no terminal is there to answer the question")
            }
            Self::Declined { what } => format!("did not {what}; nothing was touched"),
            Self::TooNew { what, found, known } => {
                format!("{what} has version {found}; this flipside reads versions up to {known}")
            }
            Self::Io { doing, why, .. } => format!("{doing}: {}", clean(why)),
            Self::Bug { what } => format!("a bug in flipside: {}", clean(what)),
        }
    }

    /// The exact flag or command that mends it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BadFlags { instead, .. } => return instead.clone(),
            Self::PointerRefused { mend, .. } => return mend.clone(),
            Self::EngineLacks(failure) | Self::EngineRefused(failure) => {
                return failure.hint.clone();
            }
            Self::NoPlan { .. } => "name it: flipside deploy PLAN".into(),
            Self::PlanRefused { .. } => return None,
            Self::EngineOutOfReach {
                touched: Touched::Nothing,
                ..
            } => "is it running? name another with --engine URL".into(),
            Self::PointerOutOfReach {
                touched: Touched::Nothing,
                ..
            } => "nothing was touched; see `flipside status`".into(),
            Self::StoreOutOfReach {
                touched: Touched::Nothing,
                ..
            } => "name another place with --state URL; `flipside rollback` needs none".into(),
            Self::EngineOutOfReach { .. }
            | Self::PointerOutOfReach { .. }
            | Self::StoreOutOfReach { .. }
            | Self::AnswerLost { .. } => "flipside resume".into(),
            Self::Io {
                touched: Touched::Something,
                ..
            } => "flipside resume".into(),
            Self::Io { .. } | Self::Bug { .. } | Self::Declined { .. } => return None,
            Self::HeldBy { service, .. } => format!(
                "see what it does: flipside status {service}; a rollback does not wait for it: \
                 flipside rollback {service}"
            ),
            Self::TakenOver { service } => format!("flipside status {service}"),
            Self::NothingToRollBackTo { service, kept, .. } => match kept.first() {
                Some(kept) => format!("flipside rollback {service} --to {}", kept.release),
                None => format!("flipside status {service}"),
            },
            Self::StandbyUnfit {
                service,
                release,
                mends,
                ..
            } => {
                let first: String = mends.iter().map(|mend| format!("{mend}; ")).collect();
                format!(
                    "{first}go back all the same: flipside rollback {service} --to {release} --force; \
                     its logs: flipside logs {service} --release {release}"
                )
            }
            Self::NoMemory { service, candidate } => {
                format!("flipside rollback {service} --to {candidate} --force")
            }
            Self::Untrusted { .. } => {
                "where that is right, say so with --trust-labels; else give the journal it is in: \
                 --state URL"
                    .into()
            }
            Self::Foreign { .. } => {
                "take it for release 0, to which a rollback can go back: flipside deploy --adopt"
                    .into()
            }
            Self::Drifted { service, .. } => format!(
                "flipside status {service} shows both; flipside deploy --force takes it over"
            ),
            Self::SharedDiffers { .. } => {
                "take the plan's settings, which means a downtime: flipside shared apply".into()
            }
            Self::Stuck { service, next, .. } => next
                .clone()
                .unwrap_or_else(|| format!("flipside status {service}")),
            Self::NoPreview { .. } => {
                "give the plan's pointer a `preview:`, where its kind has one \
                 (flipside help pointers), or deploy without --until-preview"
                    .into()
            }
            Self::NothingUnderWay { service, .. } => format!("flipside status {service}"),
            Self::Interrupted { service, again } => resume(service, again),
            Self::CutShort {
                service,
                why,
                again,
                ..
            } => {
                let full = why.message().contains("no space left on device");
                let once = match full {
                    true => {
                        "once there is room on the engine's disk (`docker system df` shows what takes it)"
                    }
                    false => "once it can be reached again",
                };
                format!("{once}: {}", resume(service, again))
            }
            Self::UnknownService { name, known } => match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "flipside status".into(),
            },
            Self::NoService => "flipside deploy PLAN".into(),
            Self::SeveralServices { known } => match known.first() {
                Some(one) => format!("name it after the verb: flipside status {one}"),
                None => "name it after the verb".into(),
            },
            Self::NeedsYes { .. } => "--yes".into(),
            Self::TooNew { .. } => {
                "use a newer flipside; `flipside rollback` works with any".into()
            }
        })
    }
}

/// How far a run of `service` came that was cut short: what serves, and what may serve instead where
/// the pointer was being moved.
#[must_use]
pub fn cut_short(service: &str, live: Option<Release>, moving: Option<Release>) -> String {
    let name = |release: Option<Release>| match release {
        Some(release) => release_name(service, release),
        None => "nothing".into(),
    };
    let serves = match moving {
        None => format!("{} serves", name(live)),
        Some(_) => format!(
            "{} or {} serves, flipside status {service} says which",
            name(live),
            name(moving)
        ),
    };
    format!("cut short, and recorded as far as it came; {serves}")
}

fn quoted(names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("`{}`", clean(name)))
        .collect()
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let scored = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(score, _)| *score > 0.8);
    scored
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}
