//! Facts: what was intended and what happened. Journalled, never dropped; everything that is ever
//! decided is decided from these.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::action::{Action, Ask, Proof};
use super::hook::{HookEnd, HookPlan, HookWord};
use super::late::Clients;
use super::names::{Fence, Generation, Millis, Release, RoleName, Slot};
use super::plan::{PointerPlan, Policy, StandbyMode};
use super::routing::{Drained, Routing};
use super::shared::{GivenBack, Held};
use super::verdict::Outcome;
use super::world::World;

/// One fact.
#[expect(
    clippy::large_enum_variant,
    reason = "few are alive at a time, and every one is about to be written to a disk"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run begins.
    Opened(Opened),
    /// An act is about to be performed.
    Intended {
        /// Which.
        action: Action,
    },
    /// What engine and pointer showed when they were looked at.
    Observed {
        /// All of it.
        world: Box<World>,
    },
    /// Every image is there and pinned.
    Prepared {
        /// Role → pinned image id or digest.
        images: BTreeMap<RoleName, String>,
    },
    /// The candidate's containers have been started.
    StoodUp {
        /// Where its exposed replicas answer.
        endpoints: Vec<SocketAddr>,
        /// Its jobs, which have all ended with 0.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        jobs: Vec<JobEnd>,
    },
    /// All probes have passed.
    Proven {
        /// How many checks that took, over all replicas.
        checks: u64,
    },
    /// A mark has been written.
    Marked,
    /// The pointer shows the candidate to those who ask for the preview.
    Previewed {
        /// The number with which the pointer shows it.
        #[serde(rename = "shown_with")]
        generation: Generation,
    },
    /// The candidate is shown to nobody any more.
    Hidden {
        /// The number with which the pointer has taken it away; `None` where it was gone already, or
        /// where the pointer knows nothing of the service now, as before.
        #[serde(
            default,
            rename = "hidden_with",
            skip_serializing_if = "Option::is_none"
        )]
        generation: Option<Generation>,
    },
    /// The pointer has moved, and reads back as written.
    Switched {
        /// The move's number.
        generation: Generation,
        /// When, in milliseconds since the epoch.
        #[serde(rename = "moved_at")]
        at: Millis,
        /// From the call to the controller until its answer, in microseconds.
        took_us: u64,
        /// How long it took before that to wake the release, until it had shown its proof, in
        /// microseconds; `None` where it did not sleep.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        woke_us: Option<u64>,
    },
    /// The pointer was not as expected, or its guard refused the write. Nothing was moved.
    SwitchRefused {
        /// Why.
        why: SwitchRefusal,
        /// What the pointer says.
        found: Option<Box<Routing>>,
    },
    /// The service answers through the pointer, and it is the release that shall.
    Verified {
        /// From the move to the answer, in microseconds; of a preview, from the first question.
        took_us: u64,
    },
    /// Nothing is in flight any more to what the move left.
    Drained(Drained),
    /// No live-only container of the other releases runs any more.
    Rested {
        /// Those that ran until now, by name.
        containers: Vec<String>,
    },
    /// The live-only containers of the live release run, and have settled.
    Working {
        /// All of them, by name.
        containers: Vec<String>,
    },
    /// The bake is over and the release is still fit.
    Baked,
    /// It was looked which of the older environments clients still come to.
    ClientsSeen {
        /// What was seen, by release, ascending.
        clients: Vec<Clients>,
    },
    /// Older environments have been removed.
    Retired {
        /// Which.
        releases: Vec<Release>,
    },
    /// A hook is over.
    HookEnded(HookEnd),
    /// A person has said what became of a hook of which nothing else does.
    HookSettled {
        /// Its name.
        name: String,
        /// What.
        word: HookWord,
        /// Who: `user@host`.
        by: String,
    },
    /// Standbys have been put to sleep.
    Slept {
        /// Which.
        releases: Vec<Release>,
        /// How they sleep.
        mode: StandbyMode,
    },
    /// What gets the traffic was asleep, and has been woken.
    Woken {
        /// Which.
        release: Release,
        /// How long it took, in microseconds.
        took_us: u64,
    },
    /// The pointer knows nothing of the service any more.
    Disconnected,
    /// A shared role has the plan's settings.
    Applied {
        /// Which.
        role: RoleName,
        /// The containers of a Compose project whose place was taken, by name: stopped, and kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<String>,
        /// Whether it had them before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        as_it_was: bool,
        /// What became of what was cut short, a sentence each, where that was only brought to an end.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        settled: Vec<String>,
    },
    /// The shared roles have been removed.
    SharedRemoved {
        /// Their volumes, by name, which are still there.
        kept: Vec<String>,
        /// The containers that still have one of these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held: Vec<Held>,
        /// A Compose project's containers in whose place they stood: stopped, with their restart
        /// policies as they were.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        back: Vec<GivenBack>,
    },
    /// The candidate has been removed.
    TornDown {
        /// Which.
        release: Release,
    },
    /// The act failed, for a reason that lies in the release or its environment: it will not pass
    /// by itself. Nothing that serves was touched.
    Failed(Failure),
    /// The act's outcome is not known: its answer was lost, or what it needs is out of reach.
    Lost {
        /// What is known of why.
        why: String,
    },
    /// Somebody asked something of the run.
    Asked {
        /// What.
        ask: Ask,
        /// Who: `user@host`, or `signal`.
        by: String,
    },
    /// Another process goes on with the run. What was asked of the one before is forgotten.
    Resumed {
        /// Who: `user@host`.
        by: String,
    },
    /// Something was found that happened without a record.
    Seen {
        /// What.
        what: String,
    },
    /// The run is over.
    Closed {
        /// How.
        outcome: Outcome,
    },
}

/// The beginning of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// What the run does.
    pub verb: Verb,
    /// Who began it: `user@host`.
    pub by: String,
    /// The program's version.
    pub version: String,
    /// What the run goes by.
    pub policy: Policy,
    /// Who keeps the marks.
    pub marks: MarkKeeper,
    /// Whether clients may remember longer than they may where the pointer had sent them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The live release when it began.
    pub live: Option<Release>,
    /// The pointer's generation when it began; `None` where it knew nothing of the service.
    pub generation: Option<Generation>,
    /// The lease's number.
    #[serde(rename = "opened_with")]
    pub fence: Fence,
    /// The address of the engine on which the service stands; empty where it is not known. One
    /// journal may serve several engines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// The highest release number known when it began, its own included.
    pub highest: Release,
    /// The releases that have live-only roles, the candidate included, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live_only: Vec<Release>,
    /// The hooks that may run: of a deploy those of its plan, of a rollback those for that of the
    /// release that is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookPlan>,
    /// The pointer's kind and parameters; of a deploy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<PointerPlan>,
    /// The plan as read, unsubstituted, in the form of `plan::PlanRecord`; of a deploy and of a
    /// `shared apply` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<serde_json::Value>,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// Bring a new release up and switch to it.
    Deploy {
        /// Its number.
        release: Release,
        /// Its slot.
        slot: Slot,
        /// Whether it stops once the release can be previewed, and waits to be promoted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        until_preview: bool,
    },
    /// Move the pointer back.
    Rollback {
        /// The release that is left.
        from: Release,
        /// The release that is gone back to.
        to: Release,
        /// What it must show first.
        proof: Proof,
    },
    /// Hand the workers over to the live release, which they should have followed.
    HandOver {
        /// The live release.
        to: Release,
    },
    /// Remove what nothing needs.
    Prune {
        /// Which.
        releases: Vec<Release>,
        /// Whether also what clients still come to.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Take the service away.
    Down {
        /// All that stands.
        releases: Vec<Release>,
        /// Whether the shared roles go with it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
    },
    /// Give shared roles the plan's settings.
    #[serde(rename = "shared-apply")]
    Apply {
        /// Which, each after those that it depends on.
        roles: Vec<RoleName>,
        /// Whether no settings are known: what was begun before, by one of whom this journal knows
        /// nothing, is brought to an end, and what is on no network of the releases' is joined.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        settles: bool,
    },
}

/// Who keeps marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKeeper {
    /// The pointer, in the same durable write as the move.
    Pointer,
    /// The engine, as empty labelled volumes.
    Engine,
}

/// Why a pointer was not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchRefusal {
    /// Somebody else moved it: its generation is not the one that was read.
    Moved,
    /// The lease's number is lower than the one the pointer has seen.
    Fenced,
    /// It names something else than the journal says, at the same generation.
    Drifted,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// Its role.
    pub role: RoleName,
    /// Its exit code.
    pub code: i64,
    /// How long it ran.
    pub took_ms: Millis,
    /// The last of what it printed, at most 4 KiB; empty where it printed nothing or the engine
    /// does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// Why an act failed, with what a person wants to see of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// What happened, to what, why: one line.
    pub what: String,
    /// What mends it: one line, where something is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Per replica: its last probe answer, its exit code, its last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
}

/// What is known of one replica when an environment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Its container's name.
    pub container: String,
    /// The last answer of each probe that did not pass, or how the container ended.
    pub reasons: Vec<String>,
    /// Its last log lines, at most 50. Shown, never journalled: a log may hold anything.
    #[serde(skip)]
    pub logs: Vec<String>,
}
