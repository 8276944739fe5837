//! Pointers of a test's own on a scripted load balancer.

use std::net::SocketAddr;
use std::sync::Arc;

use flipside::core::names::{Release, ServiceName};
use flipside::pointer::alb::{Alb, AlbPlan};
use flipside::pointer::aws::AwsPlan;
use flipside::pointer::preview::Asking;
use flipside::pointer::{Pointer, Way};

use crate::support::aws::{self, Asked};
use crate::support::backends::named;
use crate::support::elb::{Elb, RULE};
use crate::support::pointer_contract::Fixture;

/// What a plan says of a load balancer that listens there.
pub fn plan(at: SocketAddr) -> AlbPlan {
    AlbPlan {
        rule: RULE.into(),
        blue: "blue".into(),
        green: "green".into(),
        target: None,
        healthy: 5_000,
        url: format!("http://{at}"),
        hosts: Vec::new(),
        preview: Asking::default(),
        preview_priority: None,
        aws: AwsPlan::default(),
    }
}

/// The same, with a preview for those who ask by the header that all kits have.
pub fn showing(plan: AlbPlan) -> AlbPlan {
    AlbPlan {
        preview: Asking {
            header: Some("X-Preview: yes".into()),
            hosts: Vec::new(),
        },
        ..plan
    }
}

/// A pointer that asks this endpoint.
pub fn pointer(endpoint: &str, plan: AlbPlan) -> Arc<dyn Pointer> {
    let service = ServiceName::new("shop").unwrap();
    Arc::new(Alb::by(service, plan, aws::at(endpoint, "eu-central-1")).unwrap())
}

/// Releases 1 and 2 of a service behind it.
pub async fn behind(elb: &Elb) -> Fixture {
    behind_as(elb, |plan| plan).await
}

/// As [`behind`], by another plan.
pub async fn behind_as(elb: &Elb, of: impl FnOnce(AlbPlan) -> AlbPlan) -> Fixture {
    Fixture {
        pointer: pointer(&elb.api.endpoint(), of(plan(elb.at))),
        at: [named("one").await, named("two").await],
    }
}

/// Asks until it is clear who answers.
pub async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}

/// Requests that move the weights, and some of the others.
pub fn moves(asked: &Asked) -> bool {
    asked.body.starts_with("Action=ModifyRule")
}

pub fn notes(asked: &Asked) -> bool {
    asked.body.starts_with("Action=AddTags")
}

pub fn checks(asked: &Asked) -> bool {
    asked.body.starts_with("Action=DescribeTargetHealth")
}

/// Requests that change anything.
pub fn changes(asked: &Asked) -> bool {
    const CHANGES: [&str; 7] = [
        "AddT",
        "RemoveT",
        "Modify",
        "Register",
        "Deregister",
        "Create",
        "Delete",
    ];
    let action = asked.body.strip_prefix("Action=");
    action.is_some_and(|action| CHANGES.iter().any(|it| action.starts_with(it)))
}

pub fn any(_: &Asked) -> bool {
    true
}
