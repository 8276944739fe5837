//! The preview: rules of flipside's own before the service's, for those who ask for it.
//!
//! Each has the conditions of the service's rule and one more, and leads to one group alone. It is made
//! once the targets there are healthy, and removed before anything else becomes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, HostHeaderConditionConfig, HttpHeaderConditionConfig, RuleCondition,
};
use tokio::time::Instant;

use super::super::PointerError;
use super::super::record::Record;
use super::action::{Does, Share};
use super::moving::Step;
use super::notes::{Held, Hung, Notes, SLOTS};
use super::rules::{self, HOST, Rule, Rules, Says, Words};
use super::said::VALUES;
use super::table::There;
use super::{Alb, LOOK, Seen};
use crate::core::event::SwitchRefusal;
use crate::core::names::{Fence, Release, Slot};
use crate::core::routing::{FOREIGN, Route, Routing};

/// The last place in which a rule can stand.
const LAST: u32 = 50_000;

impl There {
    /// Who is shown to those who ask for the preview, where the rules for it have these conditions and
    /// lead to one group alone, on which nothing hangs that is not on record.
    pub(super) fn shown(&self, all: &[&Hung], words: &[Words]) -> Option<Release> {
        let Rules { own, ours, .. } = &self.rules;
        let mut there: Vec<Words> = ours.iter().map(|rule| rule.says.words()).collect();
        let mut wanted = words.to_vec();
        there.sort();
        wanted.sort();
        let own = own.as_ref().map(|own| own.says.priority);
        let is_first = |rule: &Rule| own.is_none_or(|own| rule.says.priority < own);
        if there != wanted || !ours.iter().all(is_first) {
            return None;
        }
        let mut groups = ours.iter().map(|rule| only(&rule.says.actions));
        let group = groups.next()??;
        if groups.any(|other| other.as_ref() != Some(&group)) {
            return None;
        }
        let slot = SLOTS.into_iter().find(|slot| self.group(*slot) == group)?;
        let targets = self.targets(slot);
        let mut held = all.iter().filter_map(|hung| hung.on(slot));
        let held = held.find(|held| targets.iter().all(|it| held.targets.contains(it)));
        held.map(|held| held.release)
    }
}

/// The group to which alone these actions lead.
fn only(actions: &[Action]) -> Option<String> {
    let does = Does::of(actions)?;
    let mut groups = does.weights().into_keys();
    let first = groups.next()?.to_owned();
    groups.next().is_none().then_some(first)
}

impl Alb {
    /// The rules that show what hangs on `group`, as they are to be made.
    ///
    /// # Errors
    /// Why they cannot be.
    pub(super) fn asks(
        &self,
        actions: &[Action],
        there: &There,
        group: &str,
    ) -> Result<Vec<Says>, PointerError> {
        let own = there.rules.own.as_ref();
        let of_oidc = |action: &Action| action.authenticate_oidc_config.is_some();
        if actions.iter().any(of_oidc) {
            return Err(self.failed(
                "its rule asks users who they are by OIDC, and AWS tells nobody the secret that a \
                 second rule for the preview would need",
                "leave `preview_header` and `preview_hosts` out of the plan",
            ));
        }
        let leads = Does::Forward {
            shares: vec![Share {
                group: group.to_owned(),
                weight: 1,
            }],
            sticky: None,
        };
        let ways = self.ways(own)?;
        let places = self.places(&there.rules, ways.len())?;
        let all = places.into_iter().zip(ways);
        let says = all.map(|(priority, conditions)| Says {
            priority,
            conditions,
            actions: leads.put(actions),
            transforms: own.map_or_else(Vec::new, |own| own.says.transforms.clone()),
        });
        let says: Vec<Says> = says.collect();
        for says in &says {
            let words = says.words();
            let mut others = there.rules.others.iter();
            if let Some(other) = others.find(|other| other.says.words() == words) {
                return Err(self.failed(
                    &format!(
                        "a rule that is not flipside's has the conditions of the preview: {other}"
                    ),
                    "remove that rule, or have the preview asked for by another header or host",
                ));
            }
        }
        Ok(says)
    }

    /// The conditions of each rule: those of the service's, and one of the ways to ask.
    fn ways(&self, own: Option<&Rule>) -> Result<Vec<Vec<RuleCondition>>, PointerError> {
        let held = own.map_or(&[][..], |own| &own.says.conditions);
        if held
            .iter()
            .any(|condition| rules::words(condition).is_none())
        {
            return Err(self.failed(
                "its rule has a condition that is not known here, and that of the preview must have \
                 the same",
                "use a newer flipside, or leave the preview out of the plan",
            ));
        }
        let mut ways = Vec::new();
        let field = |field: &str| RuleCondition::builder().field(field);
        if let Some((name, value)) = self.plan.preview.named() {
            let config = HttpHeaderConditionConfig::builder()
                .http_header_name(name)
                .values(value);
            let asks = field("http-header").http_header_config(config.build());
            ways.push([held, &[asks.build()]].concat());
        }
        let hosts = &self.plan.preview.hosts;
        if !hosts.is_empty() {
            let (names, others): (Vec<RuleCondition>, Vec<_>) = { held.iter().cloned() }
                .partition(|condition| condition.field.as_deref() == Some(HOST));
            let names: Vec<String> = names.iter().flat_map(rules::values).collect();
            if let Some(host) = hosts.iter().find(|host| names.contains(host)) {
                return Err(self.failed(
                    &format!("its rule is for the host `{host}`: users would be shown the preview"),
                    "give the preview a name of its own: `preview_host: NAME`",
                ));
            }
            let config = HostHeaderConditionConfig::builder().set_values(Some(hosts.clone()));
            let asks = field(HOST).host_header_config(config.build());
            ways.push([&others, &[asks.build()][..]].concat());
        }
        for way in &ways {
            let count = way.iter().flat_map(rules::values).count();
            if count > VALUES {
                return Err(self.failed(
                    &format!(
                        "the rule of the preview would have {count} values in its conditions, with \
                         those of the service's rule"
                    ),
                    "a rule has 5 at most: take some out of that rule, or out of `preview_hosts`",
                ));
            }
        }
        Ok(ways)
    }

    /// Where so many rules are to stand: before the service's own, and as near to it as can be.
    fn places(&self, rules: &Rules, count: usize) -> Result<Vec<u32>, PointerError> {
        let own = rules.own.as_ref();
        let end = own.map_or(LAST + 1, |own| own.says.priority);
        let before = own.map_or("the default action".into(), ToString::to_string);
        let Some(first) = self.plan.preview_priority else {
            let taken: BTreeSet<u32> = rules.others.iter().map(|it| it.says.priority).collect();
            let free = (1..end).rev().filter(|place| !taken.contains(place));
            let free: Vec<u32> = free.take(count).collect();
            return match free.len() == count {
                true => Ok(free),
                false => Err(self.failed(
                    &format!("no priority is free for the preview before {before}"),
                    "give that rule a higher one: aws elbv2 set-rule-priorities",
                )),
            };
        };
        let places: Vec<u32> = (first..).take(count).collect();
        let mut others = rules.others.iter();
        if let Some(other) = others.find(|other| places.contains(&other.says.priority)) {
            return Err(self.failed(
                &format!(
                    "the priority that the plan gives to the preview is taken by a rule that is not \
                     flipside's: {other}"
                ),
                "write another `preview_priority`, or leave it out",
            ));
        }
        match places.iter().find(|place| **place >= end) {
            None => Ok(places),
            Some(late) => Err(self.failed(
                &format!("the priority {late} of the preview does not come before {before}"),
                "write a lower `preview_priority`, or leave it out",
            )),
        }
    }

    /// Makes the rules of a step that shows a release, where they are not there yet.
    pub(super) async fn show(&self, step: &Step) -> Result<(), PointerError> {
        if step.shows.is_empty() {
            return Ok(());
        }
        let mut there = self.api.rules().await?;
        for says in &step.shows {
            let is_it = |rule: &Rule| rule.says.words() == says.words();
            if there.ours.iter().any(is_it) {
                continue;
            }
            let said = self.api.create_rule(says).await;
            if let Err(error @ PointerError::Failed { .. }) = said {
                return Err(error);
            }
            // Whatever became of the answer, what it has done is seen by looking.
            there = self.api.rules().await?;
            if !there.ours.iter().any(is_it) {
                said?;
                return Err(self.lost("it took the rule for the preview and does not have it"));
            }
        }
        Ok(())
    }

    /// Removes these rules of flipside's own.
    pub(super) async fn hide(&self, ours: &[Rule]) -> Result<(), PointerError> {
        for rule in ours {
            self.api.delete_rule(&rule.arn).await?;
        }
        Ok(())
    }

    /// The rules for the preview as they were seen, after a step that was not made.
    pub(super) async fn show_again(&self, seen: &Seen) -> Result<(), PointerError> {
        let ours = &seen.there.rules.ours;
        let now = self.rules(seen.notes.as_ref()).await?.ours;
        let is_new = |rule: &&Rule| !ours.iter().any(|it| it.arn == rule.arn);
        let new: Vec<Rule> = now.iter().filter(is_new).cloned().collect();
        self.hide(&new).await?;
        for rule in ours {
            if !now.iter().any(|it| it.arn == rule.arn) {
                self.api.create_rule(&rule.says).await?;
            }
        }
        Ok(())
    }

    /// The listener's rules, where one of them may show a preview.
    pub(super) async fn rules(&self, notes: Option<&Notes>) -> Result<Rules, PointerError> {
        let may_show = notes.is_some_and(Notes::may_show) || self.plan.preview.is_possible();
        match may_show {
            true => self.api.rules().await,
            false => Ok(Rules::default()),
        }
    }

    /// Gives a slot that its release leaves what comes back to it. Where nothing else is moved, it waits
    /// until the health of that is told: who goes back to it waits until it is healthy.
    pub(super) async fn vacate(&self, seen: &Seen, step: &Step) -> Result<(), PointerError> {
        let Some((slot, back)) = &step.leaves else {
            return Ok(());
        };
        let targets = back.as_ref().map_or(&[][..], |held| &held.targets);
        self.api.hang(*slot, targets).await?;
        let live = seen.routing.as_ref().and_then(Routing::live);
        match live == step.desired.live() {
            true => self.told(&[*slot]).await,
            false => Ok(()),
        }
    }

    /// Waits until the health of all that hangs on these slots is told, for as long as targets may take.
    async fn told(&self, slots: &[Slot]) -> Result<(), PointerError> {
        let end = Instant::now() + Duration::from_millis(self.plan.healthy);
        for slot in slots {
            while Instant::now() < end {
                match self.is_told(*slot).await {
                    Ok(true) => break,
                    // It may be asked again.
                    Ok(false) | Err(PointerError::OutOfReach { .. }) => {}
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn is_told(&self, slot: Slot) -> Result<bool, PointerError> {
        let health = self.api.health_of(slot).await?;
        Ok(health.iter().all(|health| health.state != "initial"))
    }

    /// Takes back what was begun for releases that are given up and has not come true: what they had
    /// taken the place of hangs there again, and its health is told.
    pub(super) async fn take_back(
        &self,
        fence: Fence,
        releases: &[Release],
    ) -> Result<(), PointerError> {
        let Some(begun) = self.api.notes().await? else {
            return Ok(());
        };
        let (Some(next), Some(meant)) = (&begun.next, begun.meant()) else {
            return self.let_go(begun, releases).await;
        };
        let is_given_up = |release: &&Release| {
            let known = begun.hung.slot(**release);
            meant.route(**release).is_some() && known.is_none()
        };
        let seen = self.look().await?;
        if begun.now().is_none() && seen.routing.is_some() {
            // A first move that has moved something is not nothing.
            return Ok(());
        }
        if !seen.is_begun || !releases.iter().any(|it| is_given_up(&it)) {
            return Ok(());
        }
        if meant.fence > fence {
            return Err(PointerError::Refused {
                why: SwitchRefusal::Fenced,
                found: seen.routing.map(Box::new),
            });
        }
        if begun.now().is_none_or(|now| now.preview.is_none()) {
            self.hide(&seen.there.rules.ours).await?;
        }
        let serving = seen.there.serving();
        let mut pushed = begun.pushed.clone();
        let mut back = Vec::new();
        for slot in SLOTS {
            let held = begun.hung.on(slot);
            if held == next.on(slot) || serving.contains(&slot) {
                continue;
            }
            let targets = held.map_or(&[][..], |held| &held.targets);
            self.api.hang(slot, targets).await?;
            pushed = pushed.filter(|it| Some(it) != held);
            back.push(slot);
        }
        self.told(&back).await?;
        match begun.now() {
            Some(now) => {
                let rest = Notes {
                    record: Record::of(&now),
                    next: None,
                    shall: Vec::new(),
                    pushed,
                    ..begun
                };
                self.api.note(&rest).await
            }
            None => self.api.forget().await,
        }
    }

    /// Forgets what was pushed out where that is removed: it never comes back.
    async fn let_go(&self, rest: Notes, releases: &[Release]) -> Result<(), PointerError> {
        let is_gone = |held: &Held| releases.contains(&held.release);
        if !rest.pushed.as_ref().is_some_and(is_gone) {
            return Ok(());
        }
        let without = Notes {
            pushed: None,
            ..rest
        };
        self.api.note(&without).await
    }
}

/// A release that a routing only shows: it gets nothing from those who do not ask.
pub(super) fn is_shown(routing: Option<&Routing>, release: Release) -> bool {
    let only = |route: &Route| route.weight == 0 && release != FOREIGN;
    let route = routing.and_then(|routing| routing.route(release));
    route.is_some_and(only)
}
