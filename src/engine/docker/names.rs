//! What things are called on the engine, and what their labels say.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;

use crate::core::names::{Fence, Release, RoleName, ServiceName, Slot};
use crate::core::plan::{Condition, Exposed, PointerPlan, Policy, Run};
use crate::core::shared;
use crate::core::sharing::Sharing;
use crate::core::world::Labels;
use crate::docker::label_filter;

/// The version of the labels written here. Newer ones are read as far as they can be understood.
const VERSION: &str = "1";

pub(super) const SERVICE: &str = "flipside.service";
pub(super) const HOOK: &str = "flipside.hook";
pub(super) const RELEASE: &str = "flipside.release";
pub(super) const ROLE: &str = "flipside.role";
pub(super) const REPLICA: &str = "flipside.replica";
pub(super) const KIND: &str = "flipside.kind";
pub(super) const OPENED_WITH: &str = "flipside.opened_with";
/// When a container runs; only of those that do not always.
pub(super) const RUN: &str = "flipside.run";
/// The port of the host at which a container is published; only of those that are.
pub(super) const PUBLISHED: &str = "flipside.published";
/// The Compose project from whose files an environment comes.
pub(super) const PROJECT: &str = "flipside.project";
/// What a container is started after: `db:healthy cache:started`.
pub(super) const AFTER: &str = "flipside.after";
/// What a shared container was made with, see [`crate::engine::Settings`].
pub(super) const SETTINGS: &str = "flipside.settings";
/// What a shared container takes the place of, until it has done so.
pub(super) const REPLACES: &str = "flipside.replaces";
/// The Compose project's containers that were stopped for it, or for those before it.
pub(super) const STOPPED: &str = "flipside.stopped";
/// The restart policy that such a one gets with its first start: until then it has none.
pub(super) const RESTART: &str = "flipside.restart";
const SLOT: &str = "flipside.slot";
const EXPECTED: &str = "flipside.expected";
const EXPOSED: &str = "flipside.exposed";
const PROBES: &str = "flipside.probes";
const POINTER: &str = "flipside.pointer";
const POLICY: &str = "flipside.policy";
/// The shared roles that a release was made for.
const SHARING: &str = "flipside.sharing";

/// What a labelled thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of an environment.
    Environment,
    /// A container that is only there to be filled through.
    Helper,
    /// A container that runs a hook.
    Hook,
    /// A container of a shared role, its network, or what was copied for it.
    Shared,
    /// A mark.
    Mark,
    /// A token.
    Token,
    /// An image built here.
    Image,
    /// A step of a build, which its image has overwritten with [`Self::Image`].
    Step,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Helper => "helper",
            Self::Hook => "hook",
            Self::Shared => "shared",
            Self::Mark => "mark",
            Self::Token => "token",
            Self::Image => "image",
            Self::Step => "step",
        }
    }

    /// Whether the labels are those of this kind; what carries no kind is part of an environment.
    pub(super) fn is(self, labels: &HashMap<String, String>) -> bool {
        let kind = labels.get(KIND).map_or("environment", String::as_str);
        kind == self.as_str()
    }
}

/// `SERVICE-RELEASE-ROLE-REPLICA`.
pub(super) fn container(
    service: &ServiceName,
    release: Release,
    role: &RoleName,
    replica: u32,
) -> String {
    format!("{service}-{release}-{role}-{replica}")
}

/// `SERVICE-RELEASE-HOOK`, and where it was begun more than once `SERVICE-RELEASE-HOOK.TURN`.
pub(super) fn hook(
    service: &ServiceName,
    release: Release,
    name: &str,
    turn: Option<&str>,
) -> String {
    match turn {
        None => format!("{service}-{release}-{name}"),
        Some(turn) => format!("{service}-{release}-{name}.{turn}"),
    }
}

/// `0-flipside.SERVICE.RELEASE`: first by name among a container's networks, because an old engine
/// gives the default route to the first name.
pub(super) fn network(service: &ServiceName, release: Release) -> String {
    format!("0-flipside.{service}.{release}")
}

/// A volume of a release: `flipside.SERVICE.RELEASE.REST`.
pub(super) fn volume(service: &ServiceName, release: Release, rest: &str) -> String {
    format!("flipside.{service}.{release}.{rest}")
}

/// `SERVICE-shared-ROLE`.
pub(super) fn shared_container(service: &ServiceName, role: &RoleName) -> String {
    format!("{service}-shared-{role}")
}

/// `flipside.SERVICE.shared`.
pub(super) fn shared_network(service: &ServiceName) -> String {
    shared::network(service.as_str())
}

/// A volume of a shared role: `flipside.SERVICE.shared.REST`.
pub(super) fn shared_volume(service: &ServiceName, rest: &str) -> String {
    format!("flipside.{service}.shared.{rest}")
}

/// The labels of everything of a service.
pub(super) fn of_service(service: &ServiceName, kind: Kind) -> HashMap<String, String> {
    let pairs = [
        ("flipside.v", VERSION),
        (SERVICE, service.as_str()),
        (KIND, kind.as_str()),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    pairs.into_iter().map(owned).collect()
}

/// The labels of everything of a release.
pub(super) fn of_release(
    service: &ServiceName,
    release: Release,
    kind: Kind,
) -> HashMap<String, String> {
    let mut labels = of_service(service, kind);
    labels.insert(RELEASE.into(), release.to_string());
    labels
}

/// The labels of an environment's network and containers: they alone must do for a rollback.
pub(super) fn of_environment(
    service: &ServiceName,
    release: Release,
    slot: Slot,
    expected: u32,
    what: &Labels,
) -> HashMap<String, String> {
    let mut labels = of_release(service, release, Kind::Environment);
    labels.insert(SLOT.into(), slot.to_string());
    labels.insert(EXPECTED.into(), expected.to_string());
    let exposed = format!("{}:{}", what.exposed.role, what.exposed.port);
    labels.insert(EXPOSED.into(), exposed);
    let encoded = [
        (PROBES, serde_json::to_string(&what.probes)),
        (POINTER, serde_json::to_string(&what.pointer)),
        (POLICY, serde_json::to_string(&what.policy)),
    ];
    for (key, text) in encoded {
        // Only maps with keys other than text cannot be written, and these types have none.
        labels.insert(key.into(), text.unwrap_or_default());
    }
    if let Some(sharing) = &what.sharing {
        let text = serde_json::to_string(sharing);
        labels.insert(SHARING.into(), text.unwrap_or_default());
    }
    labels
}

/// The shared roles that a release was made for, as one of its parts says.
pub(super) fn sharing(labels: &HashMap<String, String>) -> Option<Sharing> {
    json(labels, SHARING)
}

/// `label` filters for everything of a service, or of one release of it.
pub(super) fn filter(
    service: &ServiceName,
    release: Option<Release>,
) -> HashMap<String, Vec<String>> {
    let release = release.map(|release| release.to_string());
    let mut labels = vec![(SERVICE, service.as_str())];
    if let Some(release) = &release {
        labels.push((RELEASE, release));
    }
    label_filter(&labels)
}

/// The release that labels name.
pub(super) fn release(labels: &HashMap<String, String>) -> Option<Release> {
    labels.get(RELEASE)?.parse().ok().map(Release)
}

/// Whether the labels are of the run that was opened with this lease, and not of another one that
/// was given the same release number. Older versions wrote no lease.
pub(super) fn is_of_run(labels: &HashMap<String, String>, opened_with: Fence) -> bool {
    let said = labels.get(OPENED_WITH);
    said.is_none_or(|number| *number == opened_with.to_string())
}

/// Role and replica of a container; what cannot be read becomes role `unknown`, replica 0, so that
/// the container is still seen and removed with its environment.
pub(super) fn role(labels: &HashMap<String, String>) -> (RoleName, u32) {
    let role = labels.get(ROLE).and_then(|name| RoleName::new(name).ok());
    let replica = labels.get(REPLICA).and_then(|text| text.parse().ok());
    match (role, replica) {
        (Some(role), Some(replica)) => (role, replica),
        (Some(role), None) => (role, 0),
        (None, _) => (unknown_role(), 0),
    }
}

/// The port of the host at which a container is published, whether it runs or not: the engine lists
/// only those of containers that run.
pub(super) fn published(labels: &HashMap<String, String>) -> Option<u16> {
    labels.get(PUBLISHED)?.parse().ok()
}

/// When a container's role runs; of what does not say so, always.
pub(super) fn run(labels: &HashMap<String, String>) -> Run {
    let said = labels.get(RUN).map(String::as_str);
    let known = [Run::LiveOnly, Run::Once, Run::Shared];
    let known = known.into_iter().find(|run| said == Some(run.as_str()));
    known.unwrap_or_default()
}

/// What a role waits for, as its containers' label says it.
pub(super) fn after_label(waits: &BTreeMap<RoleName, Condition>) -> String {
    let words = waits.iter().map(|(role, condition)| match condition {
        Condition::Started => format!("{role}:started"),
        Condition::Healthy => format!("{role}:healthy"),
        Condition::Completed => format!("{role}:completed"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Reads what [`after_label`] wrote; what cannot be understood is not waited for: the order is a
/// help, and no promise.
pub(super) fn after(labels: &HashMap<String, String>) -> Vec<(RoleName, Condition)> {
    let read = |word: &str| {
        let (role, condition) = word.rsplit_once(':')?;
        let condition = match condition {
            "started" => Condition::Started,
            "healthy" => Condition::Healthy,
            "completed" => Condition::Completed,
            _ => return None,
        };
        Some((RoleName::new(role).ok()?, condition))
    };
    let label = labels.get(AFTER).map_or("", String::as_str);
    label.split(' ').filter_map(read).collect()
}

#[expect(clippy::expect_used, reason = "the literal is a good name")]
fn unknown_role() -> RoleName {
    RoleName::new("unknown").expect("a good name")
}

/// What the labels of one part say of its whole environment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) slot: Slot,
    pub(super) expected: u32,
    pub(super) labels: Labels,
}

/// Reads what [`of_environment`] wrote; `None` where any part of it cannot be understood.
pub(super) fn read(labels: &HashMap<String, String>) -> Option<Said> {
    let (role, port) = labels.get(EXPOSED)?.rsplit_once(':')?;
    Some(Said {
        slot: labels.get(SLOT)?.parse().ok()?,
        expected: labels.get(EXPECTED)?.parse().ok()?,
        labels: Labels {
            exposed: Exposed {
                role: RoleName::new(role).ok()?,
                port: port.parse().ok()?,
            },
            probes: json(labels, PROBES)?,
            pointer: json(labels, POINTER)?,
            policy: json(labels, POLICY)?,
            sharing: sharing(labels),
        },
    })
}

fn json<T: DeserializeOwned>(labels: &HashMap<String, String>, key: &str) -> Option<T> {
    serde_json::from_str(labels.get(key)?).ok()
}

/// What stands in for labels that no part of an environment has in a readable form: nothing is
/// exposed, and one container more than there are is expected, so that it never counts as up.
pub(super) fn unreadable(slot: Slot, containers: usize) -> Said {
    Said {
        slot,
        expected: u32::try_from(containers).unwrap_or(u32::MAX - 1) + 1,
        labels: Labels {
            exposed: Exposed {
                role: unknown_role(),
                port: 0,
            },
            probes: Vec::new(),
            pointer: PointerPlan::default(),
            policy: Policy::default(),
            sharing: None,
        },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::core::plan::{HeaderField, HttpProbe, Probe, ProbeKind, Text};

    #[test]
    fn what_is_waited_for_reads_back_as_it_was_written() {
        let role = |name| RoleName::new(name).unwrap();
        let waits = [
            (role("cache"), Condition::Started),
            (role("db"), Condition::Healthy),
            (role("migrate"), Condition::Completed),
        ];
        let label = after_label(&waits.clone().into_iter().collect());
        assert_eq!(label, "cache:started db:healthy migrate:completed");
        let read = |label: &str| after(&HashMap::from([(AFTER.to_owned(), label.to_owned())]));
        assert_eq!(read(&label), waits);
        assert_eq!(read("db:done : db"), []);
    }

    fn sample() -> Labels {
        Labels {
            exposed: Exposed {
                role: RoleName::new("web").unwrap(),
                port: 8080,
            },
            probes: vec![Probe {
                role: RoleName::new("web").unwrap(),
                kind: ProbeKind::Http(HttpProbe {
                    port: 8080,
                    method: "GET".into(),
                    path: "/up".into(),
                    headers: vec![HeaderField {
                        name: "Authorization".into(),
                        value: Some(Text::secret("hunter2")),
                    }],
                    status: vec![(200, 299)],
                    contains: None,
                    matches: None,
                    json: None,
                    tls: None,
                }),
                interval_ms: 1000,
                timeout_ms: 1000,
                initial_delay_ms: 0,
                passes: 1,
                failures: 3,
                deadline_ms: 60_000,
            }],
            pointer: serde_json::from_str(r#"{"proxy":{"listen":":80","hosts":["shop.example"]}}"#)
                .unwrap(),
            policy: Policy::default(),
            sharing: None,
        }
    }

    #[test]
    fn labels_read_back_what_was_written_but_no_secret() {
        let service = ServiceName::new("shop").unwrap();
        let labels = of_environment(&service, Release(7), Slot::Green, 3, &sample());
        assert!(!format!("{labels:?}").contains("hunter2"));
        let said = read(&labels).unwrap();
        assert_eq!((said.slot, said.expected), (Slot::Green, 3));
        let mut expected = sample();
        let ProbeKind::Http(http) = &mut expected.probes[0].kind else {
            panic!("an http probe");
        };
        http.headers[0].value = None;
        assert_eq!(said.labels, expected);
        assert_eq!(release(&labels), Some(Release(7)));
    }

    #[test]
    fn what_a_release_shares_is_read_and_written_as_it_always_was() {
        let golden = include_str!("../../../tests/golden/label-sharing-v1.jsonl");
        let service = ServiceName::new("shop").unwrap();
        let of = |labels: &Labels| of_environment(&service, Release(7), Slot::Blue, 1, labels);
        // An older version said nothing.
        assert_eq!(read(&of(&sample())).unwrap().labels.sharing, None);
        let mut seen = Vec::new();
        for line in golden.lines() {
            let mut labels = of(&sample());
            labels.insert(SHARING.into(), line.into());
            let said = read(&labels).unwrap().labels;
            assert_eq!(of(&said)[SHARING], line);
            let sharing = said.sharing.unwrap();
            let names: Vec<_> = sharing
                .roles
                .values()
                .map(|names| names.join(" "))
                .collect();
            seen.push((sharing.project, names.join(", "), sharing.through.len()));
        }
        let expected = [(None, "", 0), (Some("old"), "db store, queue, vpn", 1)];
        let expected = expected.map(|(project, names, through)| {
            (project.map(str::to_owned), names.to_owned(), through)
        });
        assert_eq!(seen, expected);
    }

    /// Each line is what a version wrote: the first two before bodies could be looked into.
    #[test]
    fn probes_in_labels_are_read_and_written_as_they_always_were() {
        let golden = include_str!("../../../tests/golden/label-probes-v1.jsonl");
        let service = ServiceName::new("shop").unwrap();
        let mut seen = Vec::new();
        for line in golden.lines() {
            let mut labels = of_environment(&service, Release(7), Slot::Blue, 1, &sample());
            labels.insert(PROBES.into(), line.into());
            let said = read(&labels).unwrap();
            let again = of_environment(&service, Release(7), Slot::Blue, 1, &said.labels);
            assert_eq!(again[PROBES], line);
            seen.extend(said.labels.probes);
        }
        let told = seen.iter().map(|probe| match &probe.kind {
            ProbeKind::Http(http) => {
                let json = http.json.as_ref().map(|json| json.pointer.as_str());
                format!("http {:?} {json:?}", http.matches)
            }
            kind => format!("{kind:?}"),
        });
        let expected = [
            "http None None",
            "Tcp { port: 5432 }",
            "Exec { command: [] }",
            "Health",
            r#"http Some("^ok\\b") Some("/status")"#,
            r#"Grpc(GrpcProbe { port: 9090, service: "shop.v1.Cart" })"#,
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    /// Labels that it could not read would be an environment that it cannot roll back to.
    #[test]
    fn the_first_version_reads_what_later_ones_write_as_far_as_it_knew() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[expect(dead_code, reason = "only told")]
        enum FirstKind {
            Http { port: u16, contains: Option<String> },
            Tcp { port: u16 },
            Exec {},
            Health,
        }
        #[derive(serde::Deserialize)]
        struct First {
            kind: FirstKind,
        }
        let golden = include_str!("../../../tests/golden/label-probes-v1.jsonl");
        let probes = golden.lines().skip(2).flat_map(|line| {
            let read: Vec<First> = serde_json::from_str(line).unwrap();
            read.into_iter().map(|probe| format!("{:?}", probe.kind))
        });
        let expected = ["Http { port: 8080, contains: None }", "Tcp { port: 9090 }"];
        assert_eq!(probes.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn broken_labels_are_said_to_be_unreadable() {
        let service = ServiceName::new("shop").unwrap();
        let mut labels = of_environment(&service, Release(7), Slot::Blue, 3, &sample());
        labels.insert(PROBES.into(), "[{\"newer\":true}]".into());
        assert_eq!(read(&labels), None);
        assert_eq!(role(&labels).0.as_str(), "unknown");
        assert_eq!(unreadable(Slot::Blue, 2).expected, 3);
    }

    #[test]
    fn a_newer_version_with_more_labels_is_read() {
        let service = ServiceName::new("shop").unwrap();
        let mut labels = of_environment(&service, Release(7), Slot::Blue, 3, &sample());
        labels.insert("flipside.v".into(), "2".into());
        labels.insert("flipside.weather".into(), "fine".into());
        assert!(read(&labels).is_some());
    }
}
