//! What a rule does with a request, as far as a move changes it: the last of its actions. Those before
//! it, which ask users who they are, stay as they are.
//!
//! Pure.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, ForwardActionConfig, RedirectActionConfig,
    TargetGroupStickinessConfig, TargetGroupTuple,
};
use serde::{Deserialize, Serialize};

/// A target group and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    /// The group's ARN.
    pub(super) group: String,
    /// Of 999 at most.
    pub(super) weight: u32,
}

/// For how long a client stays with the group that it met first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sticky {
    enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<i32>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Does {
    /// It sends requests to target groups.
    Forward {
        shares: Vec<Share>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sticky: Option<Sticky>,
    },
    /// It sends clients elsewhere.
    Redirect {
        protocol: Option<String>,
        port: Option<String>,
        host: Option<String>,
        path: Option<String>,
        query: Option<String>,
        status: Option<String>,
    },
    /// It answers by itself.
    Answer {
        status: Option<String>,
        kind: Option<String>,
        body: Option<String>,
    },
}

impl Does {
    /// What these actions do; none where this is not known here.
    pub(super) fn of(actions: &[Action]) -> Option<Self> {
        let last = actions.iter().max_by_key(|action| action.order)?;
        if let Some(config) = &last.redirect_config {
            return Some(Self::Redirect {
                protocol: config.protocol.clone(),
                port: config.port.clone(),
                host: config.host.clone(),
                path: config.path.clone(),
                query: config.query.clone(),
                status: config.status_code.as_ref().map(|code| code.as_str().into()),
            });
        }
        if let Some(config) = &last.fixed_response_config {
            return Some(Self::Answer {
                status: config.status_code.clone(),
                kind: config.content_type.clone(),
                body: config.message_body.clone(),
            });
        }
        let weighted = last.forward_config.as_ref();
        let sticky = weighted.and_then(|config| config.target_group_stickiness_config.as_ref());
        let sticky = sticky.map(|sticky| Sticky {
            enabled: sticky.enabled.unwrap_or_default(),
            seconds: sticky.duration_seconds,
        });
        let tuples = weighted.map_or(&[][..], |config| config.target_groups());
        let mut shares: Vec<Share> = tuples
            .iter()
            .filter_map(|tuple| {
                Some(Share {
                    group: tuple.target_group_arn.clone()?,
                    weight: tuple
                        .weight
                        .map_or(1, |weight| u32::try_from(weight).unwrap_or(0)),
                })
            })
            .collect();
        if let (true, Some(group)) = (shares.is_empty(), last.target_group_arn.clone()) {
            shares.push(Share { group, weight: 1 });
        }
        (!shares.is_empty()).then_some(Self::Forward { shares, sticky })
    }

    /// The groups and their shares.
    pub(super) fn shares(&self) -> &[Share] {
        match self {
            Self::Forward { shares, .. } => shares,
            Self::Redirect { .. } | Self::Answer { .. } => &[],
        }
    }

    /// The share of a group; none where it takes no part.
    pub(super) fn share(&self, group: &str) -> Option<u32> {
        let share = self.shares().iter().find(|share| share.group == group);
        share.map(|share| share.weight)
    }

    /// What each group gets that gets something.
    pub(super) fn weights(&self) -> BTreeMap<&str, u32> {
        let shares = self.shares().iter().filter(|share| share.weight > 0);
        shares.map(|it| (it.group.as_str(), it.weight)).collect()
    }

    /// Whether it does the same with a request as `other`.
    pub(super) fn leads_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Forward { .. }, Self::Forward { .. }) => self.weights() == other.weights(),
            _ => self == other,
        }
    }

    /// The same with these shares, and its stickiness.
    pub(super) fn with(&self, shares: Vec<Share>) -> Self {
        let sticky = match self {
            Self::Forward { sticky, .. } => sticky.clone(),
            Self::Redirect { .. } | Self::Answer { .. } => None,
        };
        Self::Forward { shares, sticky }
    }

    /// What answers where nothing does.
    pub(super) fn nothing() -> Self {
        Self::Answer {
            status: Some("503".into()),
            kind: Some("text/plain".into()),
            body: None,
        }
    }

    /// `actions` with this in the place of the last.
    pub(super) fn put(&self, actions: &[Action]) -> Vec<Action> {
        let mut all: Vec<Action> = actions.to_vec();
        all.sort_by_key(|action| action.order);
        let last = all.pop();
        for action in &mut all {
            // AWS tells nobody the secret, and keeps it where it is told to.
            if let Some(oidc) = &mut action.authenticate_oidc_config {
                oidc.use_existing_client_secret = Some(true);
            }
        }
        let order = last.and_then(|action| action.order);
        all.push(self.action(order));
        all
    }

    fn action(&self, order: Option<i32>) -> Action {
        let action = Action::builder().set_order(order);
        let action = match self {
            Self::Forward { shares, sticky } => {
                let tuples = shares.iter().map(|share| {
                    TargetGroupTuple::builder()
                        .target_group_arn(&share.group)
                        .weight(i32::try_from(share.weight).unwrap_or(i32::MAX))
                        .build()
                });
                let sticky = sticky.as_ref().map(|sticky| {
                    TargetGroupStickinessConfig::builder()
                        .enabled(sticky.enabled)
                        .set_duration_seconds(sticky.seconds)
                        .build()
                });
                action.r#type(ActionTypeEnum::Forward).forward_config(
                    ForwardActionConfig::builder()
                        .set_target_groups(Some(tuples.collect()))
                        .set_target_group_stickiness_config(sticky)
                        .build(),
                )
            }
            Self::Redirect {
                protocol,
                port,
                host,
                path,
                query,
                status,
            } => action.r#type(ActionTypeEnum::Redirect).redirect_config(
                RedirectActionConfig::builder()
                    .set_protocol(protocol.clone())
                    .set_port(port.clone())
                    .set_host(host.clone())
                    .set_path(path.clone())
                    .set_query(query.clone())
                    .set_status_code(status.as_deref().map(Into::into))
                    .build(),
            ),
            Self::Answer { status, kind, body } => action
                .r#type(ActionTypeEnum::FixedResponse)
                .fixed_response_config(
                    FixedResponseActionConfig::builder()
                        .set_status_code(status.clone())
                        .set_content_type(kind.clone())
                        .set_message_body(body.clone())
                        .build(),
                ),
        };
        action.build()
    }
}
