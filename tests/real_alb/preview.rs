//! The rules that show a preview: what they say, what they may not be, and what a hand does to them.

use flipside::core::names::{Release, Slot};
use flipside::core::routing::{Route, Routing};
use flipside::pointer::alb::AlbPlan;
use flipside::pointer::outside::Outside;
use flipside::pointer::preview::Asking;
use flipside::pointer::{PointerError, Way};

use super::kit::{answers, behind_as, pointer, showing};
use crate::support::aws::{Fault, refusal};
use crate::support::backends::named;
use crate::support::elb::{Elb, LISTENER, PRIORITY, RULE};
use crate::support::elb_rules::{Fields, of_header, of_host};
use crate::support::pointer_contract::Fixture;

/// Release 2 is live on green, 1 stands by on blue, and 3 is what may be shown.
pub async fn live(elb: &Elb) -> (Fixture, Routing) {
    let fixture = behind_as(elb, showing).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let shown = third(&fixture, named("three").await);
    (fixture, shown)
}

/// Release 2 for all, and 3 for those who ask.
pub fn third(fixture: &Fixture, at: std::net::SocketAddr) -> Routing {
    let mut shown = fixture.to(2);
    shown.routes.push(Route {
        release: Release(3),
        slot: Slot::Blue,
        weight: 0,
        endpoints: vec![at],
    });
    Routing {
        preview: Some(Release(3)),
        reason: "preview shop@3".into(),
        ..shown
    }
}

/// Who answers those who ask, and those who do not.
pub async fn said(elb: &Elb) -> [String; 2] {
    let outside = Outside::new(&format!("http://{}", elb.at), None).unwrap();
    let asks = outside.text("/", &[("x-preview", "yes")]).await.unwrap();
    let others = outside.text("/", &[("x-preview", "no")]).await.unwrap();
    [asks.1, others.1]
}

/// The service's own rule asks for these.
fn own(elb: &Elb, conditions: Vec<Fields>) {
    elb.rules(|rules| rules.get_mut(RULE).unwrap().conditions = conditions);
}

fn refused<T: std::fmt::Debug>(said: Result<T, PointerError>) -> String {
    match said {
        Err(PointerError::Failed { what, hint }) => format!("{what}; {}", hint.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_has_the_conditions_of_the_service_and_the_place_before_it() {
    let elb = Elb::start().await;
    let theirs = elb.add_rule(PRIORITY - 1, vec![of_host("other.example")], "other");
    let address = elb.at.to_string();
    own(&elb, vec![of_host(&address)]);
    let (fixture, shown) = live(&elb).await;
    let before = elb.actions();
    let generation = fixture.pointer.write(Some(2), &shown).await.unwrap();
    let mut found = fixture.pointer.read().await.unwrap().unwrap();
    found.generation = 0;
    assert_eq!((generation, found), (3, shown));
    let beside = elb.beside();
    let (arn, place, groups) = beside.iter().find(|(arn, ..)| *arn != theirs).unwrap();
    assert_eq!(
        (*place, groups.as_slice()),
        (PRIORITY - 2, &["blue".into()][..])
    );
    let header = of_header("X-Preview", "yes");
    assert_eq!(elb.conditions(arn), [of_host(&address), header]);
    let tags = [("flipside.preview", RULE), ("flipside.service", "shop")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(elb.tags_of(arn), tags.into());
    assert_eq!(elb.actions(), before);
    assert_eq!(said(&elb).await, ["three", "two"]);
    let answer = fixture.pointer.ask(Way::Preview, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(3)));
    // Who does not come by that name meets nothing of the service.
    let elsewhere = Outside::new(&format!("http://{}", elb.at), Some("x.example")).unwrap();
    let status = elsewhere
        .text("/", &[("x-preview", "yes")])
        .await
        .unwrap()
        .0;
    assert_eq!(status, 503);
    fixture
        .pointer
        .write(Some(3), &fixture.to(2))
        .await
        .unwrap();
    assert_eq!(elb.beside().len(), 1);
    assert_eq!(elb.targets("blue"), [fixture.at[0].port()]);
    assert_eq!(elb.actions(), before);
    assert_eq!(said(&elb).await, ["two", "two"]);
}

/// By either of them, so that there are two rules; a name is asked for in place of the service's.
#[tokio::test]
async fn a_header_and_a_host_are_two_ways_to_it() {
    let elb = Elb::start().await;
    own(&elb, vec![of_host("shop.example"), of_header("X-A", "b")]);
    let fixture = behind_as(&elb, |plan| AlbPlan {
        hosts: vec!["shop.example".into()],
        preview: Asking {
            header: Some("X-Preview: yes".into()),
            hosts: vec!["next.example".into()],
        },
        preview_priority: Some(7),
        ..plan
    })
    .await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.shown()).await.unwrap();
    let mut beside = elb.beside();
    beside.sort_by_key(|(_, place, _)| *place);
    let conditions = |at: usize| elb.conditions(&beside[at].0);
    let a = of_header("X-A", "b");
    assert_eq!(
        [conditions(0), conditions(1)],
        [
            vec![
                of_host("shop.example"),
                a.clone(),
                of_header("X-Preview", "yes")
            ],
            vec![a, of_host("next.example")],
        ]
    );
    assert_eq!((beside[0].1, beside[1].1), (7, 8));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(found.preview, Some(Release(2)));
    // One of the two is not enough.
    elb.rules(|rules| {
        rules.remove(&beside[1].0);
    });
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.preview, found.generation), (None, 2));
    pointer.remove(1).await.unwrap();
    assert!(elb.beside().is_empty());
    assert!(elb.tags().is_empty());
}

#[tokio::test]
async fn of_a_listener_it_is_the_last_rule_of_all() {
    let elb = Elb::start().await;
    elb.rules(|rules| {
        rules.remove(RULE);
    });
    let fixture = behind_as(&elb, |plan| AlbPlan {
        rule: LISTENER.into(),
        ..showing(plan)
    })
    .await;
    for place in [5, 50_000] {
        elb.add_rule(place, vec![of_host("other.example")], "other");
    }
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.shown()).await.unwrap();
    assert_eq!(said(&elb).await, ["two", "one"]);
    let places: Vec<u32> = elb.beside().iter().map(|(_, place, _)| *place).collect();
    assert!(places.contains(&49_999), "{places:?}");
    pointer.write(Some(2), &fixture.to(2)).await.unwrap();
    assert_eq!(elb.beside().len(), 2);
    answers(&fixture, 2).await;
}

/// Nothing serves yet: it is shown all the same, and goes without a trace.
#[tokio::test]
async fn a_first_release_is_shown_before_anything_serves() {
    let elb = Elb::start().await;
    let fixture = behind_as(&elb, showing).await;
    let before = elb.actions();
    let mut shown = fixture.shown();
    shown.routes.remove(0);
    let pointer = &fixture.pointer;
    elb.initial(2);
    assert_eq!(pointer.write(None, &shown).await, Ok(1));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.live(), found.preview), (None, Some(Release(2))));
    let asked = pointer.ask(Way::Preview, "/").await.unwrap();
    assert_eq!(asked.release, Some(Release(2)));
    assert_eq!(elb.actions(), before);
    pointer.remove(1).await.unwrap();
    assert_eq!(pointer.read().await, Ok(None));
    assert!(elb.beside().is_empty() && elb.targets("blue").is_empty());
    assert!(elb.targets("green").is_empty());
    assert_eq!(elb.actions(), before);
    assert_eq!(pointer.write(None, &shown).await, Ok(1));
    assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
    answers(&fixture, 2).await;
}

/// Of somebody else's rules none is changed, and each is shown.
#[tokio::test]
async fn rules_of_somebody_else_are_shown_and_left() {
    type Change = fn(&Elb, AlbPlan) -> AlbPlan;
    let cases: [(Change, &[&str]); 6] = [
        (
            |elb, plan| {
                elb.add_rule(3, vec![of_header("x-preview", "yes")], "other");
                showing(plan)
            },
            &[
                "has the conditions of the preview",
                "priority 3; http-header x-preview: yes",
            ],
        ),
        (
            |elb, plan| {
                elb.add_rule(7, vec![of_host("other.example")], "other");
                AlbPlan {
                    preview_priority: Some(7),
                    ..showing(plan)
                }
            },
            &[
                "is taken by a rule",
                "priority 7; host-header: other.example",
                "`preview_priority`",
            ],
        ),
        (
            |_, plan| AlbPlan {
                preview_priority: Some(PRIORITY),
                ..showing(plan)
            },
            &["the priority 100 of the preview does not come before", RULE],
        ),
        (
            |elb, plan| {
                own(elb, vec![of_header("X-A", "a"); 5]);
                showing(plan)
            },
            &["would have 6 values", "a rule has 5 at most"],
        ),
        (
            |elb, plan| {
                own(elb, vec![of_host("Shop.example")]);
                AlbPlan {
                    preview: Asking {
                        header: None,
                        hosts: vec!["shop.example".into()],
                    },
                    ..plan
                }
            },
            &["is for the host `shop.example`", "`preview_host: NAME`"],
        ),
        (
            |elb, plan| {
                elb.rules(|rules| rules.get_mut(RULE).unwrap().priority = 1);
                showing(plan)
            },
            &["no priority is free", "set-rule-priorities"],
        ),
    ];
    for (change, words) in cases {
        let elb = Elb::start().await;
        let fixture = behind_as(&elb, |plan| change(&elb, plan)).await;
        let pointer = &fixture.pointer;
        let foreseen = refused(pointer.foresee().await);
        // Without a preview all is well.
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let there = (elb.beside(), elb.actions(), elb.tags());
        let told = refused(pointer.write(Some(1), &fixture.shown()).await);
        for words in words {
            assert!(foreseen.contains(words), "{words}: {foreseen}");
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_eq!((elb.beside(), elb.actions(), elb.tags()), there);
        let found = pointer.read().await.unwrap().unwrap();
        assert_eq!((found.live(), found.preview), (Some(Release(1)), None));
        pointer.remove(1).await.unwrap();
        assert_eq!(elb.beside(), there.0);
    }
}

/// A rule that asks who users are by a secret that nobody is told cannot be made twice.
#[tokio::test]
async fn users_that_are_asked_who_they_are_by_oidc_have_no_preview() {
    let elb = Elb::start().await;
    let [mut actions, _] = elb.actions();
    let users = [
        ("Type", "authenticate-oidc"),
        ("Order", "1"),
        ("AuthenticateOidcConfig.Issuer", "https://id.example"),
        ("AuthenticateOidcConfig.ClientId", "shop"),
    ];
    actions[0].insert("Order".into(), "2".into());
    actions.insert(
        0,
        users.map(|(key, value)| (key.into(), value.into())).into(),
    );
    elb.set_actions(actions);
    let fixture = behind_as(&elb, showing).await;
    let told = refused(fixture.pointer.foresee().await);
    assert!(told.contains("by OIDC"), "{told}");
}

/// What it says is read from the rules, and the next write leaves none of them.
#[tokio::test]
async fn what_a_hand_does_to_its_rule_is_seen() {
    type Hand = fn(&Elb, &str);
    let hands: [Hand; 5] = [
        |elb, arn| elb.lead(arn, "green"),
        |elb, arn| elb.lead(arn, "other"),
        |elb, arn| {
            elb.rules(|rules| {
                rules.remove(arn);
            });
        },
        |elb, arn| elb.rules(|rules| rules.get_mut(arn).unwrap().conditions[0] = of_host("x")),
        |elb, arn| elb.rules(|rules| rules.get_mut(arn).unwrap().priority = PRIORITY + 1),
    ];
    for (at, hand) in hands.into_iter().enumerate() {
        let elb = Elb::start().await;
        let (fixture, shown) = live(&elb).await;
        let pointer = &fixture.pointer;
        pointer.write(Some(2), &shown).await.unwrap();
        hand(&elb, &elb.beside()[0].0);
        let found = pointer.read().await.unwrap().unwrap();
        assert_ne!(found.preview, Some(Release(3)), "{at}");
        assert_eq!(
            (found.generation, found.live()),
            (3, Some(Release(2))),
            "{at}"
        );
        match at % 2 {
            // Shown again, as a run does that goes on.
            0 => {
                assert_eq!(pointer.write(Some(3), &shown).await, Ok(4), "{at}");
                assert_eq!(said(&elb).await, ["three", "two"], "{at}");
            }
            // Given up.
            _ => {
                assert_eq!(pointer.write(Some(3), &fixture.to(2)).await, Ok(4), "{at}");
                assert!(elb.beside().is_empty(), "{at}");
                assert_eq!(elb.targets("blue"), [fixture.at[0].port()], "{at}");
            }
        }
    }
}

/// Targets that become healthy again are waited for before the write is over.
#[tokio::test]
async fn what_it_pushed_out_is_back_and_looked_at_before_the_write_is_over() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    let pointer = &fixture.pointer;
    pointer.write(Some(2), &shown).await.unwrap();
    elb.initial(3);
    let looks = elb.api.count(super::kit::checks);
    pointer.write(Some(3), &fixture.to(2)).await.unwrap();
    assert!(elb.api.count(super::kit::checks) > looks + 8);
    elb.initial(1_000);
    pointer.write(Some(4), &fixture.to(1)).await.unwrap();
    answers(&fixture, 1).await;
}

/// The promoted one keeps its slot, and the one before it stands by in its own.
#[tokio::test]
async fn what_was_shown_is_promoted_where_it_hangs() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    let pointer = &fixture.pointer;
    pointer.write(Some(2), &shown).await.unwrap();
    elb.initial(1_000);
    let promoted = Routing {
        routes: vec![Route {
            weight: 100,
            ..shown.routes[1].clone()
        }],
        ..fixture.to(2)
    };
    pointer.write(Some(3), &promoted).await.unwrap();
    assert_eq!(said(&elb).await, ["three", "three"]);
    assert!(elb.beside().is_empty());
    assert_eq!(elb.targets("green"), [fixture.at[1].port()]);
    elb.initial(0);
    // Given up in its bake: what it had pushed out comes back.
    pointer.write(Some(4), &fixture.to(2)).await.unwrap();
    assert_eq!(elb.targets("blue"), [fixture.at[0].port()]);
    assert_eq!(elb.targets("green"), [fixture.at[1].port()]);
    answers(&fixture, 2).await;
}

/// What was shown is shown again, where the move that ends it is refused.
#[tokio::test]
async fn a_promotion_that_is_refused_leaves_it_shown() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    let pointer = &fixture.pointer;
    pointer.write(Some(2), &shown).await.unwrap();
    let denied = refusal(403, "AccessDenied", "not allowed to modify");
    elb.api.fault(super::kit::moves, 1, Fault::Says(denied));
    let promoted = Routing {
        routes: vec![Route {
            weight: 100,
            ..shown.routes[1].clone()
        }],
        ..fixture.to(2)
    };
    let told = refused(pointer.write(Some(3), &promoted).await);
    assert!(told.contains("not allowed to modify"), "{told}");
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.preview, found.generation), (Some(Release(3)), 3));
    assert_eq!(said(&elb).await, ["three", "two"]);
}

/// A rollback while one is shown takes its slot, and what is gone never comes back to it.
#[tokio::test]
async fn a_rollback_takes_the_slot_of_what_is_shown() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    let pointer = &fixture.pointer;
    pointer.write(Some(2), &shown).await.unwrap();
    pointer.write(Some(3), &fixture.to(1)).await.unwrap();
    assert!(elb.beside().is_empty());
    answers(&fixture, 1).await;
    pointer.write(Some(4), &fixture.to(2)).await.unwrap();
    answers(&fixture, 2).await;
    assert_eq!(elb.targets("blue"), [fixture.at[0].port()]);
    assert_eq!(elb.targets("green"), [fixture.at[1].port()]);
}

#[tokio::test]
async fn a_rule_that_is_refused_leaves_what_stood_by_registered() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    let denied = refusal(403, "AccessDenied", "not allowed to create");
    let creates = |asked: &crate::support::aws::Asked| asked.body.starts_with("Action=CreateRule");
    elb.api.fault(creates, 1, Fault::Says(denied));
    let before = (elb.actions(), elb.tags());
    let told = refused(fixture.pointer.write(Some(2), &shown).await);
    assert!(told.contains("not allowed to create"), "{told}");
    assert_eq!(elb.actions(), before.0);
    assert_eq!(elb.targets("blue"), [fixture.at[0].port()]);
    assert!(elb.beside().is_empty());
    answers(&fixture, 2).await;
    // An answer that is lost is settled by looking.
    elb.api.fault(creates, 1, Fault::CutAfter);
    assert_eq!(fixture.pointer.write(Some(2), &shown).await, Ok(3));
    assert_eq!(said(&elb).await, ["three", "two"]);
}

/// A plan without a preview, after one that had it: what is left of it goes all the same.
#[tokio::test]
async fn a_plan_without_it_takes_it_away() {
    let elb = Elb::start().await;
    let (fixture, shown) = live(&elb).await;
    fixture.pointer.write(Some(2), &shown).await.unwrap();
    let without = pointer(&elb.api.endpoint(), super::kit::plan(elb.at));
    assert!(!without.capabilities().preview);
    let found = without.read().await.unwrap().unwrap();
    assert_eq!(found.preview, Some(Release(3)));
    without.write(Some(3), &fixture.to(2)).await.unwrap();
    assert!(elb.beside().is_empty());
    // And of rules it asks nothing where there is none.
    let rules = |asked: &crate::support::aws::Asked| asked.body.contains("ListenerArn=");
    let asked = elb.api.count(rules);
    without.write(Some(4), &fixture.to(1)).await.unwrap();
    without.read().await.unwrap();
    assert_eq!(elb.api.count(rules), asked);
}
