//! What sends traffic: the contract, and the choice among its kinds.
//!
//! An adapter does not retry, sleep for luck, print or read the clock; the caller sets deadlines by
//! dropping the future. The contract suite in `tests/support/` holds every kind, and the fake, to
//! what is said here. A new kind is one file with its `impl Pointer`, one line and one arm here,
//! one row in the suite and one sample plan.

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Generation, Millis, Release, ServiceName};
use crate::core::plan::PointerPlan;
use crate::core::progress::Sink;
use crate::core::routing::{Capabilities, Drained, Mark, Routing};

#[cfg(feature = "aws")]
pub mod alb;
mod authority;
#[cfg(feature = "aws")]
pub mod aws;
pub mod dns;
pub mod exec;
pub mod haproxy;
pub mod nftables;
pub mod nginx;
pub mod outside;
pub mod preview;
pub mod proxy;
pub mod record;
#[cfg(feature = "aws")]
pub mod route53;
pub mod section;
pub mod slot;

use section::Section;

/// A service's pointer, of the kind that its plan names; the embedded proxy is made where its engine is known.
///
/// # Errors
/// Where the settings are not understood, or the kind is not known.
pub fn open(service: &ServiceName, plan: &PointerPlan) -> Result<Arc<dyn Pointer>, PointerError> {
    if let Some((what, hint)) = left_out(&plan.kind, LEFT_OUT) {
        let hint = Some(hint.into());
        return Err(PointerError::Failed { what, hint });
    }
    Ok(match plan.kind.as_str() {
        #[cfg(feature = "aws")]
        "alb" => Arc::new(alb::Alb::new(service.clone(), settings(plan)?)?),
        "dns" => Arc::new(dns::Dns::new(settings(plan)?)?),
        "haproxy" => Arc::new(haproxy::Haproxy::new(settings(plan)?)?),
        "nginx" => Arc::new(nginx::Nginx::new(settings(plan)?)?),
        "nftables" => Arc::new(nftables::Nftables::new(settings(plan)?)?),
        #[cfg(feature = "aws")]
        "route53" => Arc::new(route53::Route53::new(settings(plan)?)?),
        "exec" => Arc::new(exec::Exec::new(service.clone(), settings(plan)?)?),
        kind => {
            return Err(PointerError::Failed {
                what: format!("this flipside knows no pointer `{kind}`"),
                hint: Some("use the flipside that made the release, or a newer one".into()),
            });
        }
    })
}

/// What systemd needs to tell a pointer of this kind again, when the machine starts, what it said;
/// none where it remembers that itself.
///
/// # Errors
/// As [`open`].
pub fn unit(plan: &PointerPlan) -> Result<Option<String>, PointerError> {
    if plan.kind != nftables::SECTION.kind {
        return Ok(None);
    }
    Ok(Some(nftables::Nftables::new(settings(plan)?)?.unit()))
}

fn settings<T: DeserializeOwned>(plan: &PointerPlan) -> Result<T, PointerError> {
    plan.read().map_err(|error| PointerError::Failed {
        what: format!(
            "the settings of the pointer `{}` are not understood: {error}",
            plan.kind
        ),
        hint: Some("use the flipside that made the release, or a newer one".into()),
    })
}

/// The kinds that need AWS, which a build may leave out.
const OF_AWS: &[&str] = &["alb", "route53"];

/// What this build leaves out of them.
pub const LEFT_OUT: &[&str] = if cfg!(feature = "aws") { &[] } else { OF_AWS };

/// What is wrong with this kind where a build has `left_out` it, and what mends that.
#[must_use]
pub fn left_out(kind: &str, left_out: &[&str]) -> Option<(String, &'static str)> {
    left_out.contains(&kind).then(|| {
        (
            format!("the pointer `{kind}` needs AWS, which this build of flipside has not"),
            "build flipside with its default features: `cargo build --release`, or add `--features aws`",
        )
    })
}

/// What plans may say of each kind.
pub const SECTIONS: &[&Section] = &[
    &proxy::SECTION,
    &haproxy::SECTION,
    &nginx::SECTION,
    &nftables::SECTION,
    &dns::SECTION,
    #[cfg(feature = "aws")]
    &route53::SECTION,
    #[cfg(feature = "aws")]
    &alb::SECTION,
    &exec::SECTION,
];

/// The section of the kind with this name.
#[must_use]
pub fn section(kind: &str) -> Option<&'static Section> {
    SECTIONS
        .iter()
        .copied()
        .find(|section| section.kind == kind)
}

/// Why a call on a pointer did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// The pointer could not be asked; this call has done nothing.
    #[error("pointer {pointer} is out of reach: {why}")]
    OutOfReach {
        /// Which one.
        pointer: String,
        /// In a person's words.
        why: String,
    },
    /// The answer was lost; whether the call took effect is not known.
    #[error("pointer {pointer} did not answer to the end: {why}")]
    Lost {
        /// Which one.
        pointer: String,
        /// In a person's words.
        why: String,
    },
    /// The guard refused the write; nothing was moved.
    #[error("the pointer was not moved: {}", match .why {
        SwitchRefusal::Moved => "somebody else has moved it",
        SwitchRefusal::Fenced => "another operator has taken over",
        SwitchRefusal::Drifted => "it does not say what it should",
    })]
    Refused {
        /// Why.
        why: SwitchRefusal,
        /// What it says.
        found: Option<Box<Routing>>,
    },
    /// It said no for another reason; nothing was moved.
    #[error("{what}")]
    Failed {
        /// What happened, to what, why.
        what: String,
        /// What mends it.
        hint: Option<String>,
    },
}

impl PointerError {
    /// That `pointer` keeps no marks.
    #[must_use]
    pub fn no_marks(pointer: &str) -> Self {
        Self::Failed {
            what: format!("{pointer} keeps no marks"),
            hint: None,
        }
    }

    /// That `pointer` cannot show a preview.
    #[must_use]
    pub fn no_preview(pointer: &str) -> Self {
        Self::Failed {
            what: format!("{pointer} shows no preview"),
            hint: None,
        }
    }
}

/// What a request through the pointer showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The environment that answered, where the pointer can tell.
    pub release: Option<Release>,
    /// The HTTP status, where HTTP is spoken.
    pub status: Option<u16>,
}

/// Which way a request takes through a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// That of the service's users.
    Service,
    /// That of those who ask for the preview.
    Preview,
}

/// A pointer of one service.
#[async_trait]
pub trait Pointer: Send + Sync {
    /// What it is, for messages: `proxy flipside-proxy (:8080)`.
    fn describe(&self) -> String;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes sure that it can be written: starts what is flipside's own. Touches no traffic.
    async fn ready(&self, sink: &dyn Sink) -> Result<(), PointerError>;

    /// Refuses what a write of this service's would be refused for, as far as that can be seen now:
    /// what it does not foresee, the write still refuses. Touches nothing.
    async fn foresee(&self) -> Result<(), PointerError>;

    /// Refuses what showing a preview would be refused for, beyond what [`Pointer::foresee`] sees. Touches
    /// nothing.
    async fn foresee_preview(&self) -> Result<(), PointerError> {
        Ok(())
    }

    /// What it says now: asked of the real thing, never of a cache. `None`: it knows nothing of the
    /// service, and sends its users nowhere. What is not on record as flipside's is a route of
    /// release 0, at generation 0, with what [`Routing::foreign`] needs to put it back.
    async fn read(&self) -> Result<Option<Routing>, PointerError>;

    /// Makes `desired` true if its generation still is `expected` (`None`: if it still knows
    /// nothing). Idempotent. Returns the new generation once the controller has accepted and a
    /// read-back agrees. `desired.generation` is ignored.
    async fn write(
        &self,
        expected: Option<Generation>,
        desired: &Routing,
    ) -> Result<Generation, PointerError>;

    /// How much longer than telling it a write may take, in milliseconds: for what it waits for before
    /// it moves; and as long a `forget` of releases, for what it puts back.
    fn patience_ms(&self) -> Millis {
        0
    }

    /// Waits until it sends nothing any more to what the move with this generation left, cuts what
    /// is left after `limit_ms`, and says what was in flight, finished and cut.
    async fn settled(
        &self,
        generation: Generation,
        limit_ms: Millis,
        sink: &dyn Sink,
    ) -> Result<Drained, PointerError>;

    /// One request of its service, through it: a GET of `path` where HTTP is spoken. An answer from
    /// the preview is asked for only where it can be shown.
    async fn ask(&self, way: Way, path: &str) -> Result<Answer, PointerError>;

    /// How a person asks for the preview, where it can be shown: `curl -H 'X-Preview: yes' URL`.
    fn preview(&self) -> Option<String>;

    /// Adds a mark where it keeps marks; elsewhere an error.
    async fn mark(&self, fence: Fence, release: Release, mark: Mark) -> Result<(), PointerError>;

    /// Forgets the marks of releases whose environments are gone, and a write that was begun for one
    /// of them and never came true. Idempotent.
    async fn forget(&self, fence: Fence, releases: &[Release]) -> Result<(), PointerError>;

    /// Forgets the service: nothing answers for it any more. Idempotent.
    async fn remove(&self, fence: Fence) -> Result<(), PointerError>;
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::Map;

    use super::*;

    /// As a recorded run meets it in a build without AWS.
    #[test]
    fn what_a_build_leaves_out_is_told_with_how_to_build_it() {
        for kind in OF_AWS {
            let (what, hint) = left_out(kind, OF_AWS).unwrap();
            assert!(what.contains(&format!("`{kind}` needs AWS")), "{what}");
            assert!(hint.contains("--features aws"), "{hint}");
            assert_eq!(left_out(kind, &[]), None);
            assert_eq!(section(kind).is_none(), LEFT_OUT.contains(kind));
            let service = "shop".parse().unwrap();
            let plan = PointerPlan::new(kind, Map::new());
            let refused = open(&service, &plan).map(drop).unwrap_err();
            let expected = if LEFT_OUT.contains(kind) {
                what
            } else {
                "not understood".into()
            };
            assert!(refused.to_string().contains(&expected), "{refused}");
        }
        for section in SECTIONS {
            assert_eq!(left_out(section.kind, LEFT_OUT), None);
        }
    }
}
