//! The rules of the listener, as far as a preview needs them: where each stands, what it asks of a request,
//! and whether it is flipside's own.
//!
//! A rule of flipside's own is made and removed, and never changed.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, Rule as Described, RuleCondition, RuleTransform, Tag,
};

use super::super::PointerError;
use super::super::aws::{Trouble, asked};
use super::api::Api;
use super::said::{Place, listener};

/// The tag of a rule that shows a preview: the ARN of the rule or listener whose preview it is.
const OF: &str = "flipside.preview";

/// The tag that names its service.
const SERVICE: &str = "flipside.service";

/// Of how many resources the tags are told at once.
const AT_ONCE: usize = 20;

/// The conditions of a rule in words, in order: what is the same to AWS is the same here.
pub(super) type Words = Vec<String>;

/// What a rule says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Says {
    /// Where it stands: lower ones are asked first.
    pub(super) priority: u32,
    pub(super) conditions: Vec<RuleCondition>,
    pub(super) actions: Vec<Action>,
    pub(super) transforms: Vec<RuleTransform>,
}

impl Says {
    /// Its conditions in words; one that is not known here has none.
    pub(super) fn words(&self) -> Words {
        let mut all: Words = self.conditions.iter().filter_map(words).collect();
        all.sort();
        all
    }
}

/// A rule of a listener, other than its default action.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) arn: String,
    pub(super) says: Says,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.says.words().join("; ");
        write!(f, "{} (priority {}; {words})", self.arn, self.says.priority)
    }
}

/// The rules of a listener.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rules {
    /// The service's own; none where that is the listener's default action.
    pub(super) own: Option<Rule>,
    /// Those of flipside's that show the preview of this service.
    pub(super) ours: Vec<Rule>,
    /// All others.
    pub(super) others: Vec<Rule>,
}

/// A condition in words; none where it is of a kind that is not known here.
pub(super) fn words(condition: &RuleCondition) -> Option<String> {
    let field = condition.field.as_deref()?;
    let mut values = values(condition);
    if values.is_empty() {
        return None;
    }
    values.sort();
    let header = condition.http_header_config.as_ref();
    let name = header.and_then(|header| header.http_header_name.as_deref());
    let name = name.map_or(String::new(), |name| format!(" {}", name.to_lowercase()));
    Some(format!("{field}{name}: {}", values.join(", ")))
}

/// The values of a condition; a pattern begins with `~`.
pub(super) fn values(condition: &RuleCondition) -> Vec<String> {
    type Texts = Option<Vec<String>>;
    let texts = |texts: &Texts| texts.clone().unwrap_or_default();
    let patterns = |texts: &Texts| -> Vec<String> {
        let all = texts.iter().flatten();
        all.map(|text| format!("~{text}")).collect()
    };
    if let Some(hosts) = &condition.host_header_config {
        let named = texts(&hosts.values).into_iter();
        let named = named.map(|name| name.to_lowercase());
        return named.chain(patterns(&hosts.regex_values)).collect();
    }
    if let Some(paths) = &condition.path_pattern_config {
        return [texts(&paths.values), patterns(&paths.regex_values)].concat();
    }
    if let Some(header) = &condition.http_header_config {
        return [texts(&header.values), patterns(&header.regex_values)].concat();
    }
    if let Some(query) = &condition.query_string_config {
        let pair = |(key, value): (Option<&str>, Option<&str>)| match key {
            Some(key) => format!("{key}={}", value.unwrap_or_default()),
            None => value.unwrap_or_default().to_owned(),
        };
        let pairs = query.values().iter();
        return pairs.map(|it| pair((it.key(), it.value()))).collect();
    }
    if let Some(methods) = &condition.http_request_method_config {
        return texts(&methods.values);
    }
    if let Some(sources) = &condition.source_ip_config {
        return texts(&sources.values);
    }
    let plain = texts(&condition.values).into_iter();
    match condition.field.as_deref() {
        Some(HOST) => plain.map(|name| name.to_lowercase()).collect(),
        _ => plain.collect(),
    }
}

/// The field of names of hosts.
pub(super) const HOST: &str = "host-header";

/// A condition as it is told to AWS, which tells some of it twice.
pub(super) fn told(condition: &RuleCondition) -> RuleCondition {
    let mut condition = condition.clone();
    let is_twice =
        condition.host_header_config.is_some() || condition.path_pattern_config.is_some();
    if is_twice || condition.values().is_empty() {
        condition.values = None;
    }
    condition
}

/// A rule as AWS describes it; none of a listener's default action.
fn rule(said: &Described) -> Option<Rule> {
    Some(Rule {
        arn: said.rule_arn()?.to_owned(),
        says: Says {
            priority: said.priority()?.parse().ok()?,
            conditions: said.conditions().iter().map(told).collect(),
            actions: said.actions().to_vec(),
            transforms: said.transforms().to_vec(),
        },
    })
}

impl Api {
    /// All rules of the listener but its default action.
    pub(super) async fn rules(&self) -> Result<Rules, PointerError> {
        let client = self.client().await?;
        let listener = listener(&self.arn);
        let mut all = Vec::new();
        let mut from = None;
        loop {
            let ask = || {
                let ask = client.describe_rules().listener_arn(&listener);
                ask.set_marker(from.clone()).send()
            };
            let said = self.read(asked(ask).await)?;
            all.extend(said.rules().iter().filter_map(rule));
            from = said.next_marker.filter(|marker| !marker.is_empty());
            if from.is_none() {
                break;
            }
        }
        let tags = self.previews(&all).await?;
        let mut rules = Rules::default();
        for rule in all {
            if self.place == Place::Rule && rule.arn == self.arn {
                rules.own = Some(rule);
            } else if tags.get(&rule.arn) == Some(&self.arn) {
                rules.ours.push(rule);
            } else {
                rules.others.push(rule);
            }
        }
        Ok(rules)
    }

    /// Whose preview each of these rules shows, where it shows one.
    async fn previews(&self, rules: &[Rule]) -> Result<BTreeMap<String, String>, PointerError> {
        let client = self.client().await?;
        let mut of = BTreeMap::new();
        for some in rules.chunks(AT_ONCE) {
            let arns: Vec<String> = some.iter().map(|rule| rule.arn.clone()).collect();
            let ask = || {
                let ask = client.describe_tags();
                ask.set_resource_arns(Some(arns.clone())).send()
            };
            let said = self.read(asked(ask).await)?;
            for described in said.tag_descriptions() {
                let tag = described.tags().iter().find(|tag| tag.key() == Some(OF));
                let value = tag.and_then(Tag::value);
                if let (Some(arn), Some(value)) = (described.resource_arn(), value) {
                    of.insert(arn.to_owned(), value.to_owned());
                }
            }
        }
        Ok(of)
    }

    /// Makes a rule of flipside's own.
    pub(super) async fn create_rule(&self, says: &Says) -> Result<(), PointerError> {
        let client = self.client().await?;
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let priority = i32::try_from(says.priority).unwrap_or(i32::MAX);
        let transforms = Some(says.transforms.clone()).filter(|all| !all.is_empty());
        let ask = || {
            client
                .create_rule()
                .listener_arn(listener(&self.arn))
                .priority(priority)
                .set_conditions(Some(says.conditions.clone()))
                .set_actions(Some(says.actions.clone()))
                .set_transforms(transforms.clone())
                .tags(tag(OF, &self.arn))
                .tags(tag(SERVICE, self.service.as_str()))
                .send()
        };
        self.written(asked(ask).await)
    }

    /// Removes a rule of flipside's own; one that is gone is gone.
    pub(super) async fn delete_rule(&self, arn: &str) -> Result<(), PointerError> {
        let client = self.client().await?;
        let ask = || client.delete_rule().rule_arn(arn).send();
        match asked(ask).await {
            Err(Trouble::Said(said)) if said.code.starts_with("RuleNotFound") => Ok(()),
            said => self.written(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{
        HostHeaderConditionConfig, HttpHeaderConditionConfig, QueryStringConditionConfig,
        QueryStringKeyValuePair,
    };

    use super::*;

    #[test]
    fn what_is_the_same_to_aws_has_the_same_words() {
        let field = |field: &str| RuleCondition::builder().field(field);
        let hosts = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let config = HostHeaderConditionConfig::builder().set_values(Some(names));
            field(HOST).host_header_config(config.build())
        };
        let words = |condition: &RuleCondition| super::words(condition).unwrap_or_default();
        let twice = hosts(&["b.example", "A.example"]);
        let twice = twice.values("A.example").values("b.example").build();
        assert_eq!(words(&twice), "host-header: a.example, b.example");
        assert_eq!(told(&twice).values, None);
        let plain = field(HOST).values("b.example").values("a.example").build();
        assert_eq!(words(&plain), words(&twice));
        assert_eq!(told(&plain), plain);
        let header = HttpHeaderConditionConfig::builder()
            .http_header_name("X-Preview")
            .values("yes");
        let header = field("http-header").http_header_config(header.build());
        assert_eq!(words(&header.build()), "http-header x-preview: yes");
        let pair = QueryStringKeyValuePair::builder().key("a").value("b");
        let query = QueryStringConditionConfig::builder().values(pair.build());
        let query = field("query-string").query_string_config(query.build());
        assert_eq!(words(&query.build()), "query-string: a=b");
        assert_eq!(super::words(&field("moon-phase").build()), None);
    }
}
