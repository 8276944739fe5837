//! What a plan may say of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::aws::{self, AwsPlan};
use super::super::preview::{self, Asking};
use super::super::section::{Key, ReachKind, Reaching, Remark, Section, Stand, Takes, Wrong};
use crate::core::names::Millis;

/// How long targets may take to become healthy, where a plan does not say.
const HEALTHY: Millis = 120_000;

/// The key of the priority of the rule that shows the preview.
const PRIORITY: &str = "preview_priority";

/// How many values the conditions of a rule may have.
pub(super) const VALUES: usize = 5;

/// How long the name of a header in a condition may be.
const NAME: usize = 40;

/// How long a value in a condition may be.
const VALUE: usize = 128;

/// `pointer: {alb: …}`.
pub const SECTION: Section = Section {
    kind: "alb",
    means: "An Application Load Balancer of AWS's: a listener or a rule with two target groups.",
    example: "`rule: arn:aws:elasticloadbalancing:…`, `blue: shop-blue` and the like",
    keys: &[
        Key {
            name: "rule",
            also: Some("listener"),
            takes: Takes::Text("the ARN of a listener or of a rule"),
            missing: Some((
                "nothing says which rule of the load balancer leads to the service",
                "add `rule: ARN`, or `listener: ARN` for the listener's default action",
            )),
            means: "The ARN of a rule, or of a listener, whose default action is meant.",
        },
        Key {
            name: "blue",
            also: None,
            takes: Takes::Text("the name or ARN of a target group"),
            missing: Some((
                "each slot needs a target group of its own, and blue has none",
                "add `blue: NAME`",
            )),
            means: "The target group of the slot blue: its name or ARN.",
        },
        Key {
            name: "green",
            also: None,
            takes: Takes::Text("the name or ARN of a target group"),
            missing: Some((
                "each slot needs a target group of its own, and green has none",
                "add `green: NAME`",
            )),
            means: "The target group of the slot green: its name or ARN.",
        },
        Key {
            name: "target",
            also: None,
            takes: Takes::Text("an instance or an address such as `i-0abc` or `10.0.0.7`"),
            missing: None,
            means: "The engine's host as targets name it, where that is not the address of `reach`: \
                    an instance, for groups of that type, or an address.",
        },
        Key {
            name: "healthy",
            also: None,
            takes: Takes::Duration,
            missing: None,
            means: "How long new targets may take to become healthy. Default: 2m.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `https://shop.example`"),
            missing: Some((
                "after a switch the service is asked through the load balancer, and nothing says where",
                "add `url: https://shop.example`, where it is reached",
            )),
            means: "Where the service is reached through the load balancer: asked after each switch.",
        },
        Key {
            name: "hosts",
            also: Some("host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names of the service; the first is the Host header of what is asked.",
        },
        preview::HEADER,
        preview::HOSTS,
        Key {
            name: PRIORITY,
            also: None,
            takes: Takes::Number(1, 50_000),
            missing: None,
            means: "The priority of the rule that shows the preview; a second one has the next. \
                    Default: the highest that is free before the service's own rule.",
        },
        aws::REGION,
        aws::PROFILE,
        aws::ENDPOINT,
    ],
    advised: &[],
    reaching: Reaching {
        from: Stand::Anywhere,
        ways: &[ReachKind::Published, ReachKind::Container, ReachKind::Slot],
        beyond: ("", ""),
    },
    complete,
};

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlbPlan {
    /// The rule's ARN, or the listener's.
    pub rule: String,
    /// The name or ARN of a target group.
    pub blue: String,
    /// The name or ARN of a target group.
    pub green: String,
    /// The engine's host as targets name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How long new targets may take to become healthy.
    #[serde(default = "healthy")]
    pub healthy: Millis,
    /// Where the service is reached.
    pub url: String,
    /// Host names, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// How those who want it ask for the preview.
    #[serde(flatten)]
    pub preview: Asking,
    /// The priority of the rule that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_priority: Option<u32>,
    /// Where AWS is asked, and as whom.
    #[serde(flatten)]
    pub aws: AwsPlan,
}

fn healthy() -> Millis {
    HEALTHY
}

/// The listener or rule that is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A listener, by its default action.
    Listener,
    /// A rule.
    Rule,
}

impl Place {
    /// What an ARN names; none where it is neither of an Application Load Balancer's.
    pub(super) fn of(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let service = (parts.next()?, parts.nth(1)?);
        if service != ("arn", "elasticloadbalancing") {
            return None;
        }
        let path: Vec<&str> = parts.nth(2)?.split('/').collect();
        match path.as_slice() {
            ["listener", "app", _, _, _] => Some(Self::Listener),
            ["listener-rule", "app", _, _, _, _] => Some(Self::Rule),
            _ => None,
        }
    }
}

/// The ARN of the listener that a rule is of; a listener is its own.
pub(super) fn listener(arn: &str) -> String {
    let (before, path) = arn.rsplit_once(':').unwrap_or_default();
    let mut path: Vec<&str> = path.split('/').collect();
    if path.first() == Some(&"listener-rule") {
        path[0] = "listener";
        path.pop();
    }
    format!("{before}:{}", path.join("/"))
}

/// The ARN of the load balancer that a listener or rule is of.
pub(super) fn balancer(arn: &str) -> Option<String> {
    let (before, path) = arn.rsplit_once(':')?;
    let path: Vec<&str> = path.split('/').collect();
    let [_, kind, name, id, ..] = path.as_slice() else {
        return None;
    };
    Some(format!("{before}:loadbalancer/{kind}/{name}/{id}"))
}

fn complete(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let mut all: Vec<Remark> = aws::wrong(settings).into_iter().map(Remark::from).collect();
    all.extend(preview::wrong(settings).map(Remark::from));
    let mut wrong = |key, message: String, help: &str| {
        let help = help.to_owned();
        all.push(Remark::Wrong(Wrong { key, message, help }));
    };
    let said = |key: &str| {
        settings
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let is_container = settings.get("reach").and_then(Value::as_str) == Some("container");
    if settings.contains_key("target") && is_container {
        wrong(
            "target",
            "`target` is the host of published ports, and the containers' own addresses are not its"
                .into(),
            "remove it, or write `reach: {published: ADDRESS}`",
        );
    }
    let rule = said("rule");
    if Place::of(rule).is_none() {
        wrong(
            "rule",
            format!(
                "`{rule}` is not the ARN of a listener or rule of an Application Load Balancer"
            ),
            "write the one that `aws elbv2 describe-rules` shows",
        );
    }
    if said("blue") == said("green") {
        wrong(
            "green",
            format!("both slots have the target group `{}`", said("green")),
            "give each a target group of its own",
        );
    }
    let hosts = |key: &str| {
        let all = settings.get(key).and_then(Value::as_array);
        let all = all.into_iter().flatten().filter_map(Value::as_str);
        all.map(str::to_lowercase).collect::<Vec<_>>()
    };
    let (users, askers) = (hosts("hosts"), hosts(preview::HOSTS.name));
    if let Some(host) = askers.iter().find(|host| users.contains(host)) {
        wrong(
            preview::HOSTS.name,
            format!("`{host}` is the service's own name: its users would be shown the preview"),
            "give the preview a name of its own",
        );
    }
    if askers.len() > VALUES || askers.iter().any(|host| host.len() > VALUE) {
        wrong(
            preview::HOSTS.name,
            format!("a rule's conditions have {VALUES} values of {VALUE} characters at most"),
            "name fewer hosts, or shorter ones",
        );
    }
    let header = settings.get(preview::HEADER.name).and_then(Value::as_str);
    let (name, value) = header.and_then(|it| it.split_once(':')).unwrap_or_default();
    let (name, value) = (name.trim(), value.trim());
    if name.eq_ignore_ascii_case("host") {
        wrong(
            preview::HEADER.name,
            "a rule cannot ask for the header Host, only for names of hosts".into(),
            "write `preview_host: NAME` in its place",
        );
    } else if name.len() > NAME || value.len() > VALUE {
        wrong(
            preview::HEADER.name,
            format!(
                "a rule asks for a header's name of {NAME} characters at most, and {VALUE} of its value"
            ),
            "write a shorter one, such as `X-Preview: yes`",
        );
    }
    if settings.contains_key(PRIORITY) && header.is_none() && askers.is_empty() {
        wrong(
            PRIORITY,
            "it is that of the rule that shows the preview, and nothing says how it is asked for"
                .into(),
            "add `preview_header: \"X-Preview: yes\"` or `preview_host: NAME`, or remove it",
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_what_it_is_of() {
        let of = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";
        let listener = format!("{of}:listener/app/edge/50dc6c/0467ef");
        let rule = format!("{of}:listener-rule/app/edge/50dc6c/0467ef/1291d1");
        let balancer = Some(format!("{of}:loadbalancer/app/edge/50dc6c"));
        assert_eq!(Place::of(&listener), Some(Place::Listener));
        assert_eq!(Place::of(&rule), Some(Place::Rule));
        assert_eq!(super::balancer(&listener), balancer);
        assert_eq!(super::balancer(&rule), balancer);
        assert_eq!(super::listener(&rule), listener);
        assert_eq!(super::listener(&listener), listener);
        for other in [
            format!("{of}:listener/net/edge/50dc6c/0467ef"),
            format!("{of}:targetgroup/blue/50dc6c"),
            "arn:aws:s3:::listener/app/a/b/c".into(),
            "shop".into(),
            String::new(),
        ] {
            assert_eq!(Place::of(&other), None, "{other}");
        }
    }
}
