//! What plans say of a zone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::authority::servers::plain;
use super::super::authority::{checks, sets};
use super::super::preview;
use super::super::section::{Key, Reaching, Remark, Section, Takes, Wrong};
use super::Kind;
use crate::core::names::Millis;

/// `pointer: {dns: …}`.
pub const SECTION: Section = Section {
    kind: "dns",
    means: "A name in a DNS zone, by dynamic updates (RFC 2136).",
    example: "`server: 192.0.2.1` and the like",
    keys: &[
        Key {
            name: "server",
            also: None,
            takes: Takes::Text("an address or a name such as `192.0.2.1`"),
            missing: Some((
                "DNS needs the primary server of the zone, which takes updates",
                "add `server: ADDRESS`",
            )),
            means: "The zone's primary: an address or a name, with a port where that is not 53.",
        },
        Key {
            name: "zone",
            also: None,
            takes: Takes::Text("the name of a zone"),
            missing: Some((
                "DNS needs the zone that is updated",
                "add `zone: example.org`",
            )),
            means: "The zone that is updated.",
        },
        Key {
            name: "name",
            also: None,
            takes: Takes::Text("a name in the zone"),
            missing: Some((
                "DNS needs the name by which users reach the service",
                "add `name: shop.example.org`",
            )),
            means: "The name by which users reach the service. Its record is kept at `_flipside.NAME`.",
        },
        Key {
            name: "type",
            also: None,
            takes: Takes::Word(&["A", "AAAA", "CNAME"]),
            missing: None,
            means: "What the name is given: addresses, or with CNAME the name of a slot; default A.",
        },
        Key {
            name: "ttl",
            also: None,
            takes: Takes::Duration,
            missing: None,
            means: "How long an answer may be remembered, and so how long a switch takes; default 30s.",
        },
        Key {
            name: "key_file",
            also: None,
            takes: Takes::Path,
            missing: None,
            means: "A file with the key for updates, as `tsig-keygen` writes it.",
        },
        Key {
            name: "key_variable",
            also: None,
            takes: Takes::Text("the name of a variable"),
            missing: None,
            means: "In place of `key_file`: a variable with `hmac-sha256:NAME:SECRET`.",
        },
        Key {
            name: "servers",
            also: None,
            takes: Takes::Texts("an address or a name such as `192.0.2.2`"),
            missing: None,
            means: "The servers that answer users; by default those that the zone names (NS).",
        },
        Key {
            name: "blue",
            also: None,
            takes: Takes::Text("a name"),
            missing: None,
            means: "With CNAME: the name at which what hangs on the slot blue is reached.",
        },
        Key {
            name: "green",
            also: None,
            takes: Takes::Text("a name"),
            missing: None,
            means: "With CNAME: that of the slot green.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `http://shop.example.org:8080`"),
            missing: None,
            means: "Where users ask; asked after each switch; default `http://NAME`.",
        },
        preview::HOSTS,
    ],
    advised: &[
        (
            "key",
            "write `key_file: PATH` or `key_variable: NAME`: a key does not stand in a plan",
        ),
        checks::NO_HEADER,
        checks::NO_PREVIEW,
    ],
    reaching: Reaching::NAME,
    complete,
};

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPlan {
    /// The primary.
    pub server: String,
    /// The zone.
    pub zone: String,
    /// The service's name.
    pub name: String,
    /// What the name is given.
    #[serde(rename = "type", default)]
    pub kind: Kind,
    /// How long an answer may be remembered.
    pub ttl: Millis,
    /// A file with the key, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// A variable with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// Who answers users; empty: those that the zone names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// What a CNAME is given for the slot blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue: Option<String>,
    /// And for green.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green: Option<String>,
    /// Where users ask.
    pub url: String,
    /// The name at which a release is shown for preview, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview_hosts: Vec<String>,
}

impl DnsPlan {
    pub(super) fn seconds(&self) -> u32 {
        u32::try_from(self.ttl / 1000).unwrap_or(u32::MAX)
    }
}

fn complete(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let mut remarks = checks::names(settings, &["zone", "name", "blue", "green"]);
    remarks.extend(checks::reach(settings));
    let mut wrong = |key, message: String, help: String| {
        remarks.push(Remark::Wrong(Wrong { key, message, help }));
    };
    let text = |key: &str| checks::text(settings, key);
    let names = |key| text(key).and_then(sets::name);
    if let (Some(zone), Some(name)) = (names("zone"), names("name"))
        && !zone.zone_of(&name)
    {
        wrong(
            "name",
            "the name is not in the zone".into(),
            format!("write a name that ends in `.{}`", plain(&zone)),
        );
    }
    match (text("key_file"), text("key_variable")) {
        (None, None) => wrong(
            "dns",
            "updates are signed with a key, and nothing says where it is".into(),
            "add `key_file: PATH`, a file as `tsig-keygen` writes it, or `key_variable: NAME`"
                .into(),
        ),
        (Some(_), Some(_)) => wrong(
            "key_variable",
            "`key_file` and `key_variable` say the same thing".into(),
            "remove one of them".into(),
        ),
        _ => {}
    }
    let is_cname = text("type") == Some("CNAME");
    if is_cname && names("zone").is_some() && names("zone") == names("name") {
        wrong(
            "type",
            "a zone's own name cannot be a CNAME".into(),
            "write `type: A`, or give the service a name below the zone's".into(),
        );
    }
    remarks.extend(checks::servers(settings, &["server"]));
    remarks.extend(checks::slots(settings, is_cname.then_some("a CNAME")));
    remarks.extend(checks::preview(settings, names("zone").as_ref()));
    remarks.extend(checks::fill(settings));
    remarks
}
