//! What plans say of a hosted zone.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::authority::checks;
use super::super::aws::{self, AwsPlan};
use super::super::preview;
use super::super::section::{Key, Reaching, Remark, Section, Takes, Wrong};
use super::Kind;
use crate::core::names::Millis;

/// `pointer: {route53: …}`.
pub const SECTION: Section = Section {
    kind: "route53",
    means: "A name in a hosted zone of Amazon Route 53.",
    example: "`zone: Z0123456789ABC` and `name: shop.example.org`",
    keys: &[
        Key {
            name: "zone",
            also: None,
            takes: Takes::Text("the id of a hosted zone"),
            missing: Some((
                "Route 53 needs the hosted zone that is changed",
                "add `zone: ID`, which `aws route53 list-hosted-zones` shows",
            )),
            means: "The id of the hosted zone that is changed.",
        },
        Key {
            name: "name",
            also: None,
            takes: Takes::Text("a name in the zone"),
            missing: Some((
                "Route 53 needs the name by which users reach the service",
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
            name: "blue",
            also: None,
            takes: Takes::Text("a name"),
            missing: None,
            means: "With CNAME or an alias: the name at which what hangs on the slot blue is reached.",
        },
        Key {
            name: "green",
            also: None,
            takes: Takes::Text("a name"),
            missing: None,
            means: "With CNAME or an alias: that of the slot green.",
        },
        Key {
            name: "alias_zone",
            also: None,
            takes: Takes::Text("the id of a hosted zone"),
            missing: None,
            means: "Makes A or AAAA an alias of `blue` and `green`: the hosted zone of those names.",
        },
        Key {
            name: "servers",
            also: None,
            takes: Takes::Texts("an address or a name such as `192.0.2.2`"),
            missing: None,
            means: "The servers that answer users, all of which must; by default those of the zone that are reached.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `http://shop.example.org:8080`"),
            missing: None,
            means: "Where users ask; asked after each switch; default `http://NAME`.",
        },
        preview::HOSTS,
        aws::REGION,
        aws::PROFILE,
        aws::ENDPOINT,
    ],
    advised: &[
        (
            "access_key",
            "credentials do not stand in a plan: write `profile: NAME`, or set AWS's variables",
        ),
        (
            "weight",
            "shares are the strategy's, and `deploy` gives them to the slots",
        ),
        checks::NO_HEADER,
        checks::NO_PREVIEW,
    ],
    reaching: Reaching::NAME,
    complete,
};

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route53Plan {
    /// The id of the hosted zone.
    pub zone: String,
    /// The service's name.
    pub name: String,
    /// What the name is given.
    #[serde(rename = "type", default)]
    pub kind: Kind,
    /// How long an answer may be remembered.
    pub ttl: Millis,
    /// What a CNAME or an alias is given for the slot blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue: Option<String>,
    /// And for green.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green: Option<String>,
    /// The hosted zone of these names, where they are aliases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_zone: Option<String>,
    /// Who answers users; empty: those that the zone names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Where users ask.
    pub url: String,
    /// The name at which a release is shown for preview, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview_hosts: Vec<String>,
    /// Where AWS is asked, and as whom.
    #[serde(flatten)]
    pub aws: AwsPlan,
}

fn complete(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let mut remarks = checks::names(settings, &["name", "blue", "green"]);
    remarks.extend(checks::reach(settings));
    let text = |key: &str| checks::text(settings, key);
    for key in ["zone", "alias_zone"] {
        if let Some(text) = text(key).filter(|text| !is_id(text)) {
            remarks.push(Remark::Wrong(Wrong {
                key,
                message: format!("`{text}` is not the id of a hosted zone"),
                help:
                    "write one such as `Z0123456789ABC`: `aws route53 list-hosted-zones` shows it"
                        .into(),
            }));
        }
    }
    let is_cname = text("type") == Some("CNAME");
    if is_cname && text("alias_zone").is_some() {
        remarks.push(Remark::Wrong(Wrong {
            key: "alias_zone",
            message: "an alias is of type A or AAAA".into(),
            help: "remove `type: CNAME`, or `alias_zone`".into(),
        }));
    }
    let wanted = match (is_cname, text("alias_zone")) {
        (true, _) => Some("a CNAME"),
        (false, Some(_)) => Some("an alias"),
        (false, None) => None,
    };
    remarks.extend(checks::slots(settings, wanted));
    remarks.extend(checks::preview(settings, None));
    remarks.extend(checks::servers(settings, &[]));
    remarks.extend(aws::wrong(settings).map(Remark::Wrong));
    remarks.extend(checks::fill(settings));
    remarks
}

fn is_id(text: &str) -> bool {
    let is_sign = |sign: char| sign.is_ascii_uppercase() || sign.is_ascii_digit();
    text.len() > 3 && text.chars().all(is_sign)
}
