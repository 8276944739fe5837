//! What did not pass, in a person's words: one line, what mends it, and a report per replica.
//!
//! Asks the engine for nothing but the last log lines.

use futures_util::future::join_all;

use super::{Proving, Verdict};
use crate::core::event::{Failure, ReplicaReport};
use crate::core::names::{Millis, RoleName};
use crate::core::plan::{GrpcProbe, Probe, ProbeKind};
use crate::core::words::{count, millis};
use crate::core::world::{Container, ContainerState, Environment};

/// How many log lines of a replica are shown.
const LOG_LINES: u32 = 50;
/// How long one log may take to be read, in milliseconds.
const LOG_LIMIT: Millis = 3_000;
/// How many logs are read at once.
const LOGS_AT_ONCE: usize = 16;

/// Why a health probe never passes.
pub(super) const NO_HEALTHCHECK: &str = "its image has no HEALTHCHECK, and the plan gives none";

/// What went wrong with one container.
pub(super) struct Case<'a> {
    pub container: &'a Container,
    /// One line: who, what, why.
    pub what: String,
    pub hint: Option<String>,
    pub reasons: Vec<String>,
}

impl Proving<'_> {
    /// One failure of all cases, the first of which is named, with each one's last log lines.
    pub(super) async fn failure(&self, cases: Vec<Case<'_>>) -> Failure {
        let mut failure = Failure::default();
        if let Some(first) = cases.first() {
            failure.what.clone_from(&first.what);
            failure.hint.clone_from(&first.hint);
        }
        failure.what += &others(cases.len());
        let mut replicas: Vec<_> = cases
            .into_iter()
            .map(|case| report(case.container.name.clone(), case.reasons))
            .collect();
        self.attach_logs(&mut replicas).await;
        failure.replicas = replicas;
        failure
    }

    /// Adds the last log lines to what [`unfit`] tells; a log that cannot be read becomes a reason.
    pub async fn attach_logs(&self, replicas: &mut [ReplicaReport]) {
        for some in replicas.chunks_mut(LOGS_AT_ONCE) {
            join_all(some.iter_mut().map(|report| self.attach_log(report))).await;
        }
    }

    async fn attach_log(&self, report: &mut ReplicaReport) {
        let mut containers = self.environment.containers.iter();
        let Some(container) = containers.find(|found| found.name == report.container) else {
            return;
        };
        let read = self.engine.logs(&container.id, LOG_LINES);
        match self.within(LOG_LIMIT, read).await {
            Ok(lines) => report.logs = lines,
            Err(error) => {
                let said = format!("its log could not be read: {error}");
                report.reasons.push(said);
            }
        }
    }

    /// What is missing before anything is asked: containers, or a role that a probe names.
    pub(super) fn incomplete(&self) -> Option<Failure> {
        let whose = format!("{}@{}", self.service, self.environment.release);
        let what = match missing(self.environment) {
            Some(missing) => format!("{whose} is not whole: {missing}"),
            None => {
                let role = &self
                    .probes
                    .iter()
                    .find(|probe| !self.has(&probe.role))?
                    .role;
                format!("{whose} has no container of role `{role}`, which a probe names")
            }
        };
        Some(Failure {
            what,
            hint: Some(format!("flipside status {}", self.service)),
            replicas: Vec::new(),
        })
    }

    fn has(&self, role: &RoleName) -> bool {
        let mut containers = self.environment.containers.iter();
        containers.any(|container| container.role == *role)
    }
}

/// What a round's verdicts mean; `None` where the environment is fit. Log lines are not at hand
/// here: [`Proving::attach_logs`] adds them.
#[must_use]
pub fn unfit(environment: &Environment, verdicts: &[Verdict]) -> Option<Failure> {
    let mut replicas: Vec<ReplicaReport> = Vec::new();
    let mut failure: Option<Failure> = None;
    for verdict in verdicts {
        let Err(reason) = &verdict.result else {
            continue;
        };
        let mut containers = environment.containers.iter();
        let container = containers.find(|found| found.name == verdict.container);
        let who = match container {
            Some(container) => replica(environment, container),
            None => verdict.container.clone(),
        };
        let (what, told) = match verdict.probe.as_str() {
            RUNNING => (sentence(&who, reason), reason.clone()),
            probe => (
                format!("{who} did not pass `{probe}`: {reason}"),
                format!("`{probe}`: {reason}"),
            ),
        };
        failure.get_or_insert_with(|| Failure {
            what,
            hint: container.and_then(|container| match &container.state {
                ContainerState::Running => {
                    let mut probes = environment.labels.probes.iter();
                    let asked = |probe: &&Probe| {
                        probe.role == container.role && title(probe) == verdict.probe
                    };
                    hint(reason, probes.find(asked)?)
                }
                state => exit_hint(state, &container.role),
            }),
            replicas: Vec::new(),
        });
        let known = |report: &&mut ReplicaReport| report.container == verdict.container;
        match replicas.iter_mut().find(known) {
            Some(report) => report.reasons.push(told),
            None => replicas.push(report(verdict.container.clone(), vec![told])),
        }
    }
    let mut failure = failure?;
    failure.what += &others(replicas.len());
    failure.replicas = replicas;
    Some(failure)
}

/// The name of the verdict on whether a container runs.
pub(super) const RUNNING: &str = "running";

/// How many containers an environment lacks, in words.
pub(super) fn missing(environment: &Environment) -> Option<String> {
    let there = environment.containers.len() as u64;
    let missing = u64::from(environment.expected).saturating_sub(there);
    (missing > 0).then(|| {
        let expected = count(environment.expected.into(), "container");
        format!("{missing} of {expected} missing")
    })
}

/// How many failed besides the one that is named.
fn others(failed: usize) -> String {
    match failed {
        0 | 1 => String::new(),
        2 => "; 1 more replica failed".into(),
        n => format!("; {} more replicas failed", n - 1),
    }
}

fn report(container: String, reasons: Vec<String>) -> ReplicaReport {
    ReplicaReport {
        container,
        reasons,
        logs: Vec::new(),
    }
}

/// `http /up`, `grpc shop.v1.Cart`, `tcp 5432`, `exec`, `health`.
pub(super) fn title(probe: &Probe) -> String {
    match &probe.kind {
        ProbeKind::Http(http) => format!("http {}", http.path),
        ProbeKind::Grpc(grpc) if grpc.service.is_empty() => format!("grpc {}", grpc.port),
        ProbeKind::Grpc(grpc) => format!("grpc {}", grpc.service),
        ProbeKind::Tcp { port } => format!("tcp {port}"),
        ProbeKind::Exec { .. } => "exec".into(),
        ProbeKind::Health => "health".into(),
    }
}

/// `web`, or `web replica 2 of 5`.
pub(super) fn replica(environment: &Environment, container: &Container) -> String {
    let same = environment.containers.iter();
    let of = same.filter(|other| other.role == container.role).count();
    match (of, container.replica) {
        (0 | 1, 0 | 1) => container.role.to_string(),
        (of, number) => format!("{} replica {number} of {of}", container.role),
    }
}

/// A limit as a plan would write it: `60 s`, `250 ms`.
pub(super) fn span(ms: Millis) -> String {
    match ms {
        1_000..600_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => millis(ms),
    }
}

/// A status at the beginning of a reason is what was answered.
pub(super) fn answered(reason: &str) -> String {
    match status(reason) {
        Some(_) => format!("answered {reason}"),
        None => reason.to_owned(),
    }
}

/// The status that a reason begins with, `answered` before it or not.
fn status(reason: &str) -> Option<u16> {
    let reason = reason.strip_prefix("answered ").unwrap_or(reason);
    let word = reason.split([' ', ':']).next()?;
    let digits = word.len() == 3 && word.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| word.parse().ok())?
}

/// Why a container does not run; `None` where it does.
pub(super) fn stopped(state: &ContainerState) -> Option<String> {
    match state {
        ContainerState::Running => None,
        state => Some(format!("it {}", ended(state))),
    }
}

/// Why a container does not do what its role asks of it; `None` where it does. A job that is done
/// has done that.
pub(super) fn amiss(container: &Container) -> Option<String> {
    match container.is_well() {
        true => None,
        false => Some(format!("it {}", ended(&container.state))),
    }
}

/// What [`stopped`] says, with who it is.
pub(super) fn sentence(who: &str, why: &str) -> String {
    match why.strip_prefix("it ") {
        Some(does) => format!("{who} {does}"),
        None => format!("{who}: {why}"),
    }
}

/// What a container does or did, as the end of a sentence.
pub(super) fn ended(state: &ContainerState) -> String {
    match state {
        ContainerState::Created => "was created and never started".into(),
        ContainerState::Running => "runs".into(),
        ContainerState::Paused => "is paused".into(),
        ContainerState::Restarting => "has exited and is being started again".into(),
        ContainerState::Gone => "is gone".into(),
        ContainerState::Exited { code, oom: true } => format!("exited with {code} (out of memory)"),
        ContainerState::Exited { code, oom: false } => {
            let means = match code {
                126 => " (its command cannot be run)",
                127 => " (its command was not found)",
                134 => " (aborted)",
                137 => " (killed)",
                139 => " (segmentation fault)",
                143 => " (terminated)",
                _ => "",
            };
            format!("exited with {code}{means}")
        }
    }
}

/// What may mend a container that ended.
pub(super) fn exit_hint(state: &ContainerState, role: &RoleName) -> Option<String> {
    match state {
        ContainerState::Exited { oom: true, .. } => {
            Some(format!("raise `mem_limit:` of role `{role}`"))
        }
        ContainerState::Exited { code: 137, .. } => Some(format!(
            "if nobody stopped it, memory ran out: raise `mem_limit:` of role `{role}`"
        )),
        ContainerState::Exited { code: 0, .. } => Some(format!(
            "the command of role `{role}` must stay in the foreground"
        )),
        ContainerState::Exited {
            code: 126 | 127, ..
        } => Some(format!(
            "check `command:` and `entrypoint:` of role `{role}` against its image"
        )),
        _ => None,
    }
}

/// What may mend a probe that did not pass for `reason`.
pub(super) fn hint(reason: &str, probe: &Probe) -> Option<String> {
    let role = &probe.role;
    if reason == NO_HEALTHCHECK {
        return Some(format!(
            "give role `{role}` a `healthcheck:`, or probe it with `http:`, `tcp:` or `exec:`"
        ));
    }
    if reason.starts_with("connection refused") {
        return Some(format!(
            "role `{role}` may listen on another port, or on 127.0.0.1 only: check `expose:` and \
             the probe's `port:`"
        ));
    }
    if reason.starts_with("TLS failed") {
        return Some(
            "check the probe's `tls:`: `server_name:` names the certificate, `verify: none` takes any"
                .into(),
        );
    }
    if reason.starts_with("connected, but no whole answer") {
        return Some("if it needs longer to answer, raise the probe's `timeout:`".into());
    }
    if reason.contains("no verdict yet") {
        return Some("if it needs longer to start, raise the probe's `deadline:`".into());
    }
    if let ProbeKind::Grpc(grpc) = &probe.kind {
        return grpc_hint(reason, role, grpc);
    }
    let hint = match (&probe.kind, status(reason)?) {
        (ProbeKind::Http(_), 300..400) => {
            "redirects are not followed: set the probe's `host:` or `path:` to what answers \
             directly, or take the redirect with `status:`"
        }
        (ProbeKind::Http(_), 400 | 403 | 421) => {
            "the application may refuse the Host header, which is the address unless the probe \
             sets `host:`"
        }
        (ProbeKind::Http(_), 401) => "give the probe a `path:` that needs no login, or `headers:`",
        (ProbeKind::Http(_), 404) => "check the probe's `path:`",
        _ => return None,
    };
    Some(hint.into())
}

fn grpc_hint(reason: &str, role: &RoleName, grpc: &GrpcProbe) -> Option<String> {
    if reason.contains("HTTP/") {
        return Some(format!(
            "check the probe's `port:`: what answers on {} is no gRPC server without TLS",
            grpc.port
        ));
    }
    if reason.contains("(UNIMPLEMENTED)") {
        return Some(format!(
            "register `grpc.health.v1.Health` in the server of role `{role}`, or probe it with `tcp:`"
        ));
    }
    reason.contains("(NOT_FOUND)").then(|| {
        "check the probe's `service:` against what the server registers with its health service"
            .into()
    })
}
