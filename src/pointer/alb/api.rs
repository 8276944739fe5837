//! What is asked of ELBv2, and what it is told.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, Tag, TargetDescription, TargetGroup, TargetHealthDescription,
};
use tokio::sync::OnceCell;

use super::super::PointerError;
use super::super::aws::{Aws, Trouble, asked};
use super::notes::{Notes, SLOTS, Target};
use super::said::{AlbPlan, Place, balancer};
use crate::core::names::{ServiceName, Slot};

/// The page of the guide.
const PAGE: &str = "alb";

/// A target, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) target: Target,
    /// In ELBv2's words: `initial`, `healthy`, `unhealthy`, `draining`, ….
    pub(super) state: String,
    /// Why, in its words.
    pub(super) why: String,
}

impl Health {
    /// Whether it is to stay.
    pub(super) fn is_there(&self) -> bool {
        self.state != "draining"
    }

    fn of(said: &TargetHealthDescription) -> Option<Self> {
        let target = said.target.as_ref()?;
        let health = said.target_health.as_ref();
        let state = health.and_then(|health| health.state.as_ref());
        let reason = health.and_then(|health| health.reason.as_ref());
        let words = health.and_then(|health| health.description.as_deref());
        let why: Vec<&str> = reason
            .map(|it| it.as_str())
            .into_iter()
            .chain(words)
            .collect();
        Some(Self {
            target: Target(target.id.clone()?, u16::try_from(target.port?).ok()?),
            state: state.map_or("unknown", |state| state.as_str()).to_owned(),
            why: why.join(": "),
        })
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}", self.target, self.state)?;
        match self.why.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.why),
        }
    }
}

/// ELBv2, for one listener or rule and two groups.
#[derive(Debug)]
pub(super) struct Api {
    aws: Aws,
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) place: Place,
    /// Whose it is.
    pub(super) service: ServiceName,
    names: [String; 2],
    target: Option<String>,
    client: OnceCell<Client>,
    groups: OnceCell<[TargetGroup; 2]>,
}

impl Api {
    pub(super) fn new(
        service: ServiceName,
        plan: &AlbPlan,
        aws: Aws,
        name: String,
    ) -> Result<Self, PointerError> {
        let place = Place::of(&plan.rule).ok_or_else(|| PointerError::Failed {
            what: format!("`{}` is not the ARN of a listener or rule", plan.rule),
            hint: None,
        })?;
        Ok(Self {
            aws,
            name,
            arn: plan.rule.clone(),
            place,
            service,
            names: [plan.blue.clone(), plan.green.clone()],
            target: plan.target.clone(),
            client: OnceCell::new(),
            groups: OnceCell::new(),
        })
    }

    pub(super) async fn client(&self) -> Result<&Client, PointerError> {
        let made = || async { Ok(Client::new(self.aws.config().await?)) };
        self.client.get_or_try_init(made).await
    }

    pub(super) fn read<T>(&self, said: Result<T, Trouble>) -> Result<T, PointerError> {
        said.map_err(|trouble| trouble.of_read(&self.name, PAGE))
    }

    pub(super) fn written<T>(&self, said: Result<T, Trouble>) -> Result<(), PointerError> {
        said.map(drop)
            .map_err(|trouble| trouble.of_write(&self.name, PAGE))
    }

    fn missing(&self, what: &str) -> PointerError {
        PointerError::Failed {
            what: format!("{}: there is no {what}", self.name),
            hint: Some("name one that is there, in the plan's `pointer`".into()),
        }
    }

    /// The actions of the rule.
    pub(super) async fn actions(&self) -> Result<Vec<Action>, PointerError> {
        let client = self.client().await?;
        let actions = match self.place {
            Place::Listener => {
                let ask = || client.describe_listeners().listener_arns(&self.arn).send();
                let said = self.read(asked(ask).await)?;
                let found = said.listeners().first().cloned();
                found.and_then(|listener| listener.default_actions)
            }
            Place::Rule => {
                let ask = || client.describe_rules().rule_arns(&self.arn).send();
                let said = self.read(asked(ask).await)?;
                let found = said.rules().first().cloned();
                found.and_then(|rule| rule.actions)
            }
        };
        actions.ok_or_else(|| self.missing(&self.arn))
    }

    /// Gives the rule these actions.
    pub(super) async fn modify(&self, actions: &[Action]) -> Result<(), PointerError> {
        let client = self.client().await?;
        let actions = Some(actions.to_vec());
        match self.place {
            Place::Listener => {
                let ask = || {
                    let to = client.modify_listener().listener_arn(&self.arn);
                    to.set_default_actions(actions.clone()).send()
                };
                self.written(asked(ask).await)
            }
            Place::Rule => {
                let ask = || {
                    let to = client.modify_rule().rule_arn(&self.arn);
                    to.set_actions(actions.clone()).send()
                };
                self.written(asked(ask).await)
            }
        }
    }

    /// The group of a slot.
    pub(super) async fn group(&self, slot: Slot) -> Result<&str, PointerError> {
        let [blue, green] = self.groups().await?;
        let group = match slot {
            Slot::Blue => blue,
            Slot::Green => green,
        };
        Ok(group.target_group_arn().unwrap_or_default())
    }

    async fn groups(&self) -> Result<&[TargetGroup; 2], PointerError> {
        let found = || async {
            let [blue, green] = &self.names;
            Ok([self.found(blue).await?, self.found(green).await?])
        };
        self.groups.get_or_try_init(found).await
    }

    async fn found(&self, name: &str) -> Result<TargetGroup, PointerError> {
        let client = self.client().await?;
        let ask = || {
            let ask = client.describe_target_groups();
            match name.starts_with("arn:") {
                true => ask.target_group_arns(name).send(),
                false => ask.names(name).send(),
            }
        };
        let said = match asked(ask).await {
            Err(Trouble::Said(said)) if said.code.starts_with("TargetGroupNotFound") => {
                return Err(self.missing(&format!("target group `{name}`")));
            }
            said => self.read(said)?,
        };
        let group = said.target_groups().first().cloned();
        group.ok_or_else(|| self.missing(&format!("target group `{name}`")))
    }

    /// Refuses groups that cannot serve here.
    pub(super) async fn fits(&self) -> Result<(), PointerError> {
        let wants = match &self.target {
            Some(target) if target.starts_with("i-") => "instance",
            _ => "ip",
        };
        let balancer = balancer(&self.arn);
        let groups = self.groups().await?;
        for (group, name) in groups.iter().zip(&self.names) {
            let refused = |what: String, hint: &str| PointerError::Failed {
                what: format!("{}: the target group `{name}` {what}", self.name),
                hint: Some(hint.into()),
            };
            let kind = group.target_type().map_or("instance", |kind| kind.as_str());
            if kind != wants {
                let hint = match wants {
                    "ip" => {
                        "make one of type `ip`, or say which instance the engine's host is: `target: i-…`"
                    }
                    _ => "make one of type `instance`, or name the host by its address",
                };
                return Err(refused(
                    format!(
                        "is of type `{kind}`, and the release answers at targets of type `{wants}`"
                    ),
                    hint,
                ));
            }
            let protocol = group.protocol().map_or("", |protocol| protocol.as_str());
            if !["HTTP", "HTTPS"].contains(&protocol) {
                return Err(refused(
                    format!("is for {protocol}, which an Application Load Balancer does not speak"),
                    "make one for HTTP",
                ));
            }
            let mut of = group.load_balancer_arns().iter();
            if let Some(other) = of.find(|arn| Some(*arn) != balancer.as_ref()) {
                return Err(refused(
                    format!("is of another load balancer, {other}"),
                    "make one for this service alone",
                ));
            }
        }
        match groups[0].target_group_arn == groups[1].target_group_arn {
            true => Err(PointerError::Failed {
                what: format!("{}: both slots have the same target group", self.name),
                hint: Some("give each a target group of its own".into()),
            }),
            false => Ok(()),
        }
    }

    /// The notes in the tags of the rule.
    pub(super) async fn notes(&self) -> Result<Option<Notes>, PointerError> {
        let notes = Notes::of_tags(&self.tags().await?);
        notes.map_err(|why| PointerError::Failed {
            what: format!(
                "the record in the tags of {} cannot be read: {why}",
                self.name
            ),
            hint: Some("use the flipside that wrote it, or a newer one".into()),
        })
    }

    async fn tags(&self) -> Result<BTreeMap<String, String>, PointerError> {
        let client = self.client().await?;
        let ask = || client.describe_tags().resource_arns(&self.arn).send();
        let said = self.read(asked(ask).await)?;
        let all = said.tag_descriptions().iter().flat_map(|it| it.tags());
        let pairs = all.filter_map(|tag| Some((tag.key.clone()?, tag.value.clone()?)));
        Ok(pairs.collect())
    }

    /// Writes notes into the tags of the rule.
    pub(super) async fn note(&self, notes: &Notes) -> Result<(), PointerError> {
        let tags = notes.tags().ok_or_else(|| PointerError::Failed {
            what: format!(
                "the record of this move has no room in the tags of {}",
                self.name
            ),
            hint: Some("give the release fewer replicas".into()),
        })?;
        let client = self.client().await?;
        let tags: Vec<Tag> = tags
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let ask = || {
            let add = client.add_tags().resource_arns(&self.arn);
            add.set_tags(Some(tags.clone())).send()
        };
        self.written(asked(ask).await)
    }

    /// Removes the notes.
    pub(super) async fn forget(&self) -> Result<(), PointerError> {
        let keys = self.tags().await?.into_keys();
        let keys: Vec<String> = keys.filter(|key| Notes::is_of(key)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let client = self.client().await?;
        let ask = || {
            let remove = client.remove_tags().resource_arns(&self.arn);
            remove.set_tag_keys(Some(keys.clone())).send()
        };
        self.written(asked(ask).await)
    }

    /// How the targets of both groups are.
    pub(super) async fn health(&self) -> Result<[Vec<Health>; 2], PointerError> {
        let [blue, green] = SLOTS;
        Ok([self.health_of(blue).await?, self.health_of(green).await?])
    }

    pub(super) async fn health_of(&self, slot: Slot) -> Result<Vec<Health>, PointerError> {
        self.health_in(self.group(slot).await?).await
    }

    /// How the targets of a group are.
    pub(super) async fn health_in(&self, group: &str) -> Result<Vec<Health>, PointerError> {
        let client = self.client().await?;
        let ask = || {
            client
                .describe_target_health()
                .target_group_arn(group)
                .send()
        };
        let said = self.read(asked(ask).await)?;
        let all = said.target_health_descriptions().iter();
        Ok(all.filter_map(Health::of).collect())
    }

    /// Gives a group these targets, and takes the others from it.
    pub(super) async fn hang(&self, slot: Slot, wanted: &[Target]) -> Result<(), PointerError> {
        let client = self.client().await?;
        let group = self.group(slot).await?;
        let there = self.hangs(slot).await?;
        let gone = described(there.iter().filter(|it| !wanted.contains(it)));
        if !gone.is_empty() {
            let ask = || {
                let ask = client.deregister_targets().target_group_arn(group);
                ask.set_targets(Some(gone.clone())).send()
            };
            self.written(asked(ask).await)?;
        }
        self.add(slot, wanted).await
    }

    /// Gives a group these targets beside those that it has.
    pub(super) async fn add(&self, slot: Slot, wanted: &[Target]) -> Result<(), PointerError> {
        let client = self.client().await?;
        let group = self.group(slot).await?;
        let there = self.hangs(slot).await?;
        let new = described(wanted.iter().filter(|it| !there.contains(it)));
        if new.is_empty() {
            return Ok(());
        }
        let ask = || {
            let ask = client.register_targets().target_group_arn(group);
            ask.set_targets(Some(new.clone())).send()
        };
        self.written(asked(ask).await)
    }

    async fn hangs(&self, slot: Slot) -> Result<Vec<Target>, PointerError> {
        let there = self.health_of(slot).await?.into_iter();
        let there = there.filter(Health::is_there);
        Ok(there.map(|health| health.target).collect())
    }
}

fn described<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<TargetDescription> {
    let of = |target: &Target| {
        let words = TargetDescription::builder().id(&target.0);
        words.port(target.1.into()).build()
    };
    targets.map(of).collect()
}
