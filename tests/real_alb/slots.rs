//! Which group a release takes, and what stays where it is.

use flipside::core::names::{Release, Slot};
use flipside::core::progress::Silent;
use flipside::core::routing::{Route, Routing};
use flipside::pointer::PointerError;

use super::kit::{answers, behind, behind_as, checks, plan, pointer, showing};
use crate::support::aws::refusal;
use crate::support::backends::named;
use crate::support::elb::{Elb, LISTENER, RULE};
use crate::support::moto::Moto;
use crate::support::pointer_contract::Fixture;

/// All traffic to a third release, in the slot that the core gives it.
async fn third(fixture: &Fixture, slot: Slot) -> Routing {
    Routing {
        routes: vec![Route {
            release: Release(3),
            slot,
            weight: 100,
            endpoints: vec![named("three").await],
        }],
        reason: "deploy shop@3".into(),
        ..fixture.to(2)
    }
}

fn shares(elb: &Elb) -> Vec<(String, u32)> {
    elb.weights()
}

#[tokio::test]
async fn a_standby_stays_registered_and_its_group_in_the_rule() {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    let [one, two] = fixture.at.map(|at| at.port());
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    fixture
        .pointer
        .write(Some(1), &fixture.to(2))
        .await
        .unwrap();
    assert_eq!(shares(&elb), [("blue".into(), 0), ("green".into(), 100)]);
    assert_eq!(
        (elb.targets("blue"), elb.targets("green")),
        (vec![one], vec![two])
    );
    // The way back is one request: nothing is registered, and nothing waited for.
    elb.initial(1_000);
    let registers = |elb: &Elb| {
        elb.api
            .count(|asked| asked.body.starts_with("Action=RegisterT"))
    };
    let before = registers(&elb);
    fixture
        .pointer
        .write(Some(2), &fixture.to(1))
        .await
        .unwrap();
    assert_eq!(registers(&elb), before);
    answers(&fixture, 1).await;
}

#[tokio::test]
async fn a_release_waits_until_it_is_healthy() {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    elb.initial(4);
    let asked = elb.api.count(checks);
    let write = fixture.to(2);
    let write = fixture.pointer.write(Some(1), &write);
    let watch = async {
        loop {
            let (weights, looks) = (shares(&elb), elb.api.count(checks) - asked);
            if weights[1].1 > 0 {
                return looks;
            }
            assert_eq!(weights[0].1, 100);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let (written, looks) = tokio::join!(write, watch);
    written.unwrap();
    assert!(looks > 4, "{looks}");
}

#[tokio::test]
async fn a_release_takes_the_slot_of_the_older_standby() {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    fixture
        .pointer
        .write(Some(1), &fixture.to(2))
        .await
        .unwrap();
    // Whatever slot the core names: that of the live release is never taken.
    let three = third(&fixture, Slot::Green).await;
    let port = three.routes[0].endpoints[0].port();
    fixture.pointer.write(Some(2), &three).await.unwrap();
    assert_eq!(elb.targets("blue"), [port]);
    assert_eq!(elb.targets("green"), [fixture.at[1].port()]);
    assert_eq!(shares(&elb), [("blue".into(), 100), ("green".into(), 0)]);
    answers(&fixture, 3).await;
}

/// What an abort does in a bake: the release before is named again, and what the one given up had
/// pushed out comes back.
#[tokio::test]
async fn what_was_pushed_out_comes_back_when_its_slot_is_given_up() {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    let [one, two] = fixture.at.map(|at| at.port());
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let three = third(&fixture, Slot::Blue).await;
    pointer.write(Some(2), &three).await.unwrap();
    elb.initial(3);
    pointer.write(Some(3), &fixture.to(2)).await.unwrap();
    assert_eq!(
        (elb.targets("blue"), elb.targets("green")),
        (vec![one], vec![two])
    );
    let looks = elb.api.count(checks);
    pointer.settled(4, 50, &Silent).await.unwrap();
    assert!(elb.api.count(checks) > looks + 3);
    answers(&fixture, 2).await;
    elb.initial(1_000);
    pointer.write(Some(4), &fixture.to(1)).await.unwrap();
    answers(&fixture, 1).await;
}

/// Its containers are gone: what has its addresses next is somebody else's.
#[tokio::test]
async fn what_was_pushed_out_and_removed_never_comes_back() {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let three = third(&fixture, Slot::Blue).await;
    pointer.write(Some(2), &three).await.unwrap();
    pointer.forget(1, &[Release(1)]).await.unwrap();
    pointer.write(Some(3), &fixture.to(2)).await.unwrap();
    assert_eq!(elb.targets("blue"), [three.routes[0].endpoints[0].port()]);
    answers(&fixture, 2).await;
}

#[tokio::test]
async fn shares_are_kept_and_never_more_than_two_releases() {
    let elb = Elb::start().await;
    let fixture = behind(&elb).await;
    let mut shared = fixture.to(1);
    shared.routes[0].weight = 9_500;
    shared.routes.push(Route {
        weight: 500,
        ..fixture.to(2).routes[0].clone()
    });
    fixture.pointer.write(None, &shared).await.unwrap();
    assert_eq!(shares(&elb), [("blue".into(), 999), ("green".into(), 52)]);
    let found = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!(found.routes, shared.routes);
    shared
        .routes
        .extend(third(&fixture, Slot::Blue).await.routes);
    let refused = fixture.pointer.write(Some(1), &shared).await;
    assert!(
        matches!(refused, Err(PointerError::Failed { .. })),
        "{refused:?}"
    );
    assert_eq!(fixture.pointer.read().await.unwrap(), Some(found));
}

/// Actions before the last one, stickiness and the listener are not flipside's.
#[tokio::test]
async fn what_is_not_its_own_stays_as_it_is() {
    let elb = Elb::start().await;
    let old = named("old").await;
    elb.register("old", old);
    elb.set_weights(&[("old", 3), ("blue", 0)]);
    let [mut actions, listener] = elb.actions();
    let sticky = [
        ("ForwardConfig.TargetGroupStickinessConfig.Enabled", "true"),
        (
            "ForwardConfig.TargetGroupStickinessConfig.DurationSeconds",
            "600",
        ),
        ("Order", "2"),
    ];
    actions[0].extend(sticky.map(|(key, value)| (key.into(), value.into())));
    let users = [
        ("Type", "authenticate-oidc"),
        ("Order", "1"),
        ("AuthenticateOidcConfig.Issuer", "https://id.example"),
        (
            "AuthenticateOidcConfig.AuthorizationEndpoint",
            "https://id.example/a",
        ),
        (
            "AuthenticateOidcConfig.TokenEndpoint",
            "https://id.example/t",
        ),
        (
            "AuthenticateOidcConfig.UserInfoEndpoint",
            "https://id.example/u",
        ),
        ("AuthenticateOidcConfig.ClientId", "shop"),
        ("AuthenticateOidcConfig.UseExistingClientSecret", "true"),
    ];
    let users = users.map(|(key, value)| (key.into(), value.into()));
    actions.insert(0, users.into());
    elb.set_actions(actions.clone());
    elb.set_tags([("team".into(), "shop".into())].into());
    let fixture = behind(&elb).await;
    let pointer = &fixture.pointer;
    let there = pointer.read().await.unwrap().unwrap();
    let mut adopted = fixture.to(1);
    adopted.foreign = there.foreign.clone();
    adopted.routes.push(Route {
        weight: 0,
        ..there.routes[0].clone()
    });
    pointer.write(Some(0), &adopted).await.unwrap();
    let [now, _] = elb.actions();
    assert_eq!(now[0], actions[0]);
    for (key, value) in sticky {
        assert_eq!(now[1][key], value);
    }
    // What stood there is checked for its health as well.
    assert!(shares(&elb).contains(&("old".into(), 0)));
    let back = Routing {
        routes: there.routes.clone(),
        ..adopted
    };
    pointer.write(Some(1), &back).await.unwrap();
    assert_eq!(elb.actions(), [actions, listener]);
    assert_eq!(elb.targets("old"), [old.port()]);
    pointer.remove(1).await.unwrap();
    assert_eq!(elb.tags(), [("team".into(), "shop".into())].into());
    assert_eq!(elb.weights()[0], ("old".into(), 3));
}

/// Where what stood there hangs on a group that releases take as well.
#[tokio::test]
async fn what_stood_on_a_group_of_its_own_is_registered_again() {
    let elb = Elb::start().await;
    let old = named("old").await;
    elb.register("blue", old);
    elb.set_weights(&[("blue", 1)]);
    let before = elb.actions();
    let fixture = behind(&elb).await;
    let pointer = &fixture.pointer;
    let there = pointer.read().await.unwrap().unwrap();
    let adopted = |release| {
        let mut adopted = fixture.to(release);
        adopted.foreign = there.foreign.clone();
        adopted.routes.push(Route {
            weight: 0,
            ..there.routes[0].clone()
        });
        adopted
    };
    pointer.write(Some(0), &adopted(1)).await.unwrap();
    assert_eq!(elb.targets("blue"), [old.port()]);
    assert_eq!(elb.targets("green"), [fixture.at[0].port()]);
    pointer.write(Some(1), &adopted(2)).await.unwrap();
    assert_eq!(elb.targets("blue"), [fixture.at[1].port()]);
    let back = Routing {
        routes: there.routes.clone(),
        ..adopted(1)
    };
    // Nobody is left without an answer while it becomes healthy.
    elb.initial(2);
    let port = elb.at.port();
    let users = async {
        loop {
            let said = crate::support::backends::get(port, "shop").await;
            assert!(said.starts_with("HTTP/1.1 200"), "{said}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        biased;
        written = pointer.write(Some(2), &back) => assert_eq!(written, Ok(3)),
        () = users => {}
    }
    assert_eq!(elb.targets("blue"), [old.port()]);
    assert_eq!(elb.actions(), before);
    answers(&fixture, 0).await;
}

#[tokio::test]
async fn groups_that_cannot_serve_are_refused_before_anything_is_touched() {
    type Change = fn(&Elb);
    let cases: [(Change, &str); 5] = [
        (
            |elb| elb.group("green", |group| group.kind = "instance"),
            "`green` is of type `instance`",
        ),
        (
            |elb| elb.group("blue", |group| group.protocol = "TCP"),
            "is for TCP",
        ),
        (
            |elb| elb.group("blue", |group| group.balancer = Some("arn:another")),
            "is of another load balancer",
        ),
        (
            |elb| elb.set_weights(&[("old", 1), ("older", 1), ("other", 1), ("others", 1)]),
            "no room for two more",
        ),
        (
            |elb| {
                let denied = refusal(403, "AccessDenied", "not allowed to describe");
                elb.api
                    .fault(checks, 1, crate::support::aws::Fault::Says(denied));
            },
            "AccessDenied: not allowed",
        ),
    ];
    for (change, words) in cases {
        let elb = Elb::start().await;
        change(&elb);
        let before = elb.actions();
        let fixture = behind(&elb).await;
        let refused = fixture.pointer.foresee().await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert!(elb.tags().is_empty());
        assert_eq!(elb.actions(), before);
    }
    let elb = Elb::start().await;
    let fixture = behind_as(&elb, |plan| flipside::pointer::alb::AlbPlan {
        green: "grün".into(),
        ..plan
    })
    .await;
    let refused = fixture.pointer.foresee().await.unwrap_err().to_string();
    assert!(refused.contains("no target group `grün`"), "{refused}");
}

#[tokio::test]
async fn targets_are_named_as_the_plan_says() {
    let elb = Elb::start().await;
    let fixture = behind_as(&elb, |plan| flipside::pointer::alb::AlbPlan {
        target: Some("127.0.0.1".into()),
        rule: LISTENER.into(),
        ..plan
    })
    .await;
    let elsewhere = |routing: Routing| -> Routing {
        let mut routing = routing;
        routing.routes[0].endpoints[0].set_ip([192, 0, 2, 1].into());
        routing
    };
    let desired = elsewhere(fixture.to(1));
    fixture.pointer.write(None, &desired).await.unwrap();
    assert_eq!(elb.targets("blue"), [fixture.at[0].port()]);
    let [rule, listener] = elb.actions();
    assert_eq!(rule[0]["Type"], "fixed-response");
    assert_eq!(listener[0]["Type"], "forward");
    assert!(RULE.contains("listener-rule"));
}

/// What AWS's own form is, by an emulator that reads it strictly and is lenient with all else.
#[tokio::test]
async fn an_emulator_understands_all_that_is_said() {
    use aws_sdk_elasticloadbalancingv2::Client;
    use aws_sdk_elasticloadbalancingv2::types::{
        Action, ActionTypeEnum, FixedResponseActionConfig, ProtocolEnum, TargetTypeEnum,
    };
    let moto = Moto::start().await;
    let aws = crate::support::aws::at(&moto.endpoint(), "eu-central-1");
    let client = Client::new(aws.config().await.unwrap());
    // The emulator has a network of its own from the start.
    let (network, subnets) = network(&moto.endpoint()).await;
    let made = client.create_load_balancer().name("edge");
    let made = made.set_subnets(Some(subnets)).send().await.unwrap();
    let balancer = made.load_balancers()[0]
        .load_balancer_arn()
        .unwrap()
        .to_owned();
    for name in ["blue", "green"] {
        let group = client.create_target_group().name(name);
        let group = group.protocol(ProtocolEnum::Http).port(80);
        let group = group.target_type(TargetTypeEnum::Ip).vpc_id(&network);
        group.send().await.unwrap();
    }
    let nobody = Action::builder()
        .r#type(ActionTypeEnum::FixedResponse)
        .fixed_response_config(
            FixedResponseActionConfig::builder()
                .status_code("404")
                .content_type("text/plain")
                .build(),
        );
    let listener = client.create_listener().load_balancer_arn(balancer);
    let listener = listener.protocol(ProtocolEnum::Http).port(80);
    let listener = listener
        .default_actions(nobody.build())
        .send()
        .await
        .unwrap();
    let arn = listener.listeners()[0].listener_arn().unwrap().to_owned();
    let fixture = Fixture {
        pointer: pointer(
            &moto.endpoint(),
            flipside::pointer::alb::AlbPlan {
                rule: arn.clone(),
                ..showing(plan(([127, 0, 0, 1], 1).into()))
            },
        ),
        at: [
            ([10, 0, 0, 1], 20_000).into(),
            ([10, 0, 0, 2], 20_001).into(),
        ],
    };
    let pointer = &fixture.pointer;
    assert_eq!(pointer.read().await, Ok(None));
    for (expected, release) in [(None, 1), (Some(1), 2), (Some(2), 1)] {
        let next = expected.unwrap_or(0) + 1;
        assert_eq!(
            pointer.write(expected, &fixture.to(release)).await,
            Ok(next)
        );
        let found = pointer.read().await.unwrap().unwrap();
        assert_eq!(
            (found.live(), found.generation),
            (Some(Release(release)), next)
        );
    }
    let rules = async || {
        let said = client.describe_rules().listener_arn(&arn).send().await;
        said.unwrap().rules().len()
    };
    assert_eq!(pointer.write(Some(3), &fixture.shown()).await, Ok(4));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.preview, found.generation), (Some(Release(2)), 4));
    assert_eq!(rules().await, 2);
    assert_eq!(pointer.write(Some(4), &fixture.to(1)).await, Ok(5));
    assert_eq!(pointer.read().await.unwrap().unwrap().preview, None);
    assert_eq!(rules().await, 1);
    assert_eq!(pointer.write(Some(5), &fixture.shown()).await, Ok(6));
    pointer.remove(1).await.unwrap();
    assert_eq!(pointer.read().await, Ok(None));
    assert_eq!(rules().await, 1);
}

/// The ids of the emulator's network and of two subnets.
async fn network(endpoint: &str) -> (String, Vec<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let at = endpoint.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let body = "Action=DescribeSubnets&Version=2016-11-15";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/ec2/aws4_request, \
         SignedHeaders=host, Signature=b\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let all = |tag: &str| -> Vec<String> {
        let rest = said.split(tag).skip(1);
        rest.filter_map(|rest| Some(rest.split('<').next()?.to_owned()))
            .collect()
    };
    let subnets = all("<subnetId>").into_iter().take(2);
    (all("<vpcId>")[0].clone(), subnets.collect())
}
