//! The control protocol, version 1: what can be asked of a running proxy, in JSON lines over its
//! Unix socket.
//!
//! A request is `{"v":1,"id":N,"op":"…",…}`; its reply is `{"id":N,"ok":{…}}` or
//! `{"id":N,"error":{"code":"…","message":"…",…}}`. Several may be outstanding on one connection.
//! [`Client`] is the other end; this module is only the words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use super::check::{Check, Outcome};
pub use super::control_client::{Client, ClientError};
pub use super::relay::relay;
pub use super::store::BadEntry;
pub use super::table::Entry;

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// In [`Hello::knows`]: entries with [slots](Entry::slots).
pub const SLOTS: &str = "slots";

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of the protocol: 1.
    pub v: u32,
    /// Chosen by the client; the reply carries it.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub op: Op,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Who are you? Answered with [`Hello`].
    Hello,
    /// The entry of a service, if there is one. Answered with [`Read`].
    Read {
        /// Name of the service.
        service: String,
    },
    /// Every entry. Answered with [`Listed`].
    List,
    /// Make `entry` true. Answered with [`Written`].
    Write {
        /// The generation it must still have; none: there must be no entry.
        expected_generation: Option<u64>,
        /// The entry, marks included. Its generation is set by the proxy.
        entry: Box<Entry>,
    },
    /// Mark a release. Answered with [`Done`].
    Mark {
        /// Name of the service.
        service: String,
        /// Number of the release.
        release: u64,
        /// Fencing number of the one who asks.
        fence: u64,
        /// What became true of it.
        mark: Mark,
        /// With [`Mark::Served`]: the generation since which; none: the present one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Forget the marks of releases that are gone. Answered with [`Done`].
    Forget {
        /// Name of the service.
        service: String,
        /// Numbers of the releases.
        releases: Vec<u64>,
        /// Fencing number of the one who asks.
        fence: u64,
    },
    /// Wait for what was in flight at a switch, then cut what is left. Answered with [`Settled`].
    Settle {
        /// Name of the service.
        service: String,
        /// The generation that the switch made.
        generation: u64,
        /// Longest wait, in milliseconds.
        limit_ms: u64,
    },
    /// Take a service away. Answered with [`Removed`].
    Remove {
        /// Name of the service.
        service: String,
        /// Fencing number of the one who asks.
        fence: u64,
    },
    /// Perform one network probe from where the proxy is. Answered with [`Checked`].
    Check {
        /// The probe.
        check: Check,
    },
    /// Send a real request through the proxy's own listener. Answered with [`Asked`].
    Ask {
        /// Name of the service.
        service: String,
        /// `GET`, `HEAD`, ….
        method: String,
        /// Path and query, beginning with `/`.
        path: String,
        /// The `Host` header; none: the first host of the service, or the listening address.
        #[serde(default)]
        host: Option<String>,
        /// Whether to ask as those do who ask for the preview.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preview: bool,
        /// Longest wait, in milliseconds.
        timeout_ms: u64,
    },
    /// What has been counted since the proxy started. Answered with [`Stats`].
    #[serde(alias = "watch")]
    Stats {
        /// Name of the service.
        service: String,
    },
}

/// What can become true of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// All its probes have passed.
    Proven,
    /// A pointer move made it live; takes `Withdrawn` away.
    Served,
    /// A rollback or a revert has left it.
    Withdrawn,
}

/// One line from the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Of the request; none where the request could not be read so far.
    pub id: Option<u64>,
    /// What it says.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// What a line from the proxy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// It is done; the shape depends on the request.
    Ok(serde_json::Value),
    /// It is not.
    Error(Box<ControlError>),
    /// It goes on; another line follows.
    Progress(Progress),
}

/// How far a [`Op::Settle`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Requests still in flight.
    pub left: u64,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// With [`Code::StaleFence`] and [`Code::GenerationMoved`]: what the entry is instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Box<Entry>>,
    /// With [`Code::ListenFailed`]: the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The kinds of [`ControlError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Somebody with a higher fencing number has been here.
    StaleFence,
    /// The entry is not of the expected generation.
    GenerationMoved,
    /// There is no such service.
    UnknownService,
    /// Another service answers for the same host on the same listener.
    HostTaken,
    /// The listening address cannot be opened.
    ListenFailed,
    /// The table could not be saved; nothing was changed.
    StoreFailed,
    /// The saved entry cannot be read by this version.
    BadEntry,
    /// The request through the own listener got no answer.
    AskFailed,
    /// The request makes no sense.
    BadRequest,
    /// A code of a newer proxy.
    #[serde(other)]
    Other,
}

impl ControlError {
    /// An error without further data.
    pub fn new(code: Code, message: impl Into<String>) -> ControlError {
        ControlError {
            code,
            message: message.into(),
            entry: None,
            address: None,
        }
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ControlError {}

/// Who the proxy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The identity it was started with.
    pub identity: String,
    /// Version of flipside.
    pub version: String,
    /// Version of the control protocol.
    pub protocol: u32,
    /// What it can beyond the first version of the protocol, such as [`SLOTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knows: Vec<String>,
    /// Saved entries that are not served.
    #[serde(default)]
    pub bad_entries: Vec<BadEntry>,
    /// Where it listens.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// Why it is not open, where it is not. It is tried again every second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Answer to [`Op::Read`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The entry, if there is one.
    pub entry: Option<Entry>,
}

/// Answer to [`Op::List`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Every entry, by service.
    pub entries: Vec<Entry>,
}

/// Answer to [`Op::Write`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The generation it made.
    pub generation: u64,
    /// Requests in flight, at the instant of the switch, to environments that lost their traffic.
    /// None where the proxy has been restarted since.
    pub in_flight_old: Option<u64>,
}

/// Answer to [`Op::Mark`] and [`Op::Forget`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The present generation; marks do not move it.
    pub generation: u64,
}

/// Answer to [`Op::Settle`]: `in_flight = finished + cut + kept`, or nothing where the proxy has
/// been restarted since that switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// In flight at the moment of the switch.
    pub in_flight: Option<u64>,
    /// Of these, ended by themselves.
    pub finished: Option<u64>,
    /// Of these, cut at the limit.
    pub cut: Option<u64>,
    /// Of these, going on at the limit and left alone, because the routing names their
    /// environment again.
    #[serde(default)]
    pub kept: Option<u64>,
}

/// Answer to [`Op::Remove`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Whether there was anything to remove.
    pub existed: bool,
}

/// Answer to [`Op::Check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What came of it.
    pub outcome: Outcome,
}

/// Answer to [`Op::Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Status of the answer.
    pub status: u16,
    /// The release that answered; none where the proxy itself did, having no environment.
    pub release: Option<u64>,
    /// Microseconds from the connection to the head of the answer.
    pub took_us: u64,
}

/// Answer to [`Op::Stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// By release number.
    pub releases: BTreeMap<u64, ReleaseStats>,
}

/// What has been counted for one release since the proxy started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStats {
    /// Requests that chose it.
    pub requests: u64,
    /// Going on now.
    pub in_flight: u64,
    /// Its answers by class: `1xx` to `5xx`, only those seen.
    pub statuses: BTreeMap<String, u64>,
    /// Requests that none of its replicas could be made to answer.
    pub unreachable: u64,
}

/// An answer, by the request it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Op::Hello`].
    Hello(Hello),
    /// To [`Op::Read`].
    Read(Read),
    /// To [`Op::List`].
    Listed(Listed),
    /// To [`Op::Write`].
    Written(Written),
    /// To [`Op::Mark`] and [`Op::Forget`].
    Done(Done),
    /// To [`Op::Settle`].
    Settled(Settled),
    /// To [`Op::Remove`].
    Removed(Removed),
    /// To [`Op::Check`].
    Checked(Checked),
    /// To [`Op::Ask`].
    Asked(Asked),
    /// To [`Op::Stats`].
    Stats(Stats),
}

impl Answer {
    /// As it stands in a reply.
    ///
    /// # Errors
    ///
    /// None that the types allow; serde does not know that.
    pub fn to_value(&self) -> serde_json::Result<serde_json::Value> {
        use serde_json::to_value;
        match self {
            Answer::Hello(it) => to_value(it),
            Answer::Read(it) => to_value(it),
            Answer::Listed(it) => to_value(it),
            Answer::Written(it) => to_value(it),
            Answer::Done(it) => to_value(it),
            Answer::Settled(it) => to_value(it),
            Answer::Removed(it) => to_value(it),
            Answer::Checked(it) => to_value(it),
            Answer::Asked(it) => to_value(it),
            Answer::Stats(it) => to_value(it),
        }
    }
}
