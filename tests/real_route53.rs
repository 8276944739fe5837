//! Route 53 as a pointer: the contract on an emulator of AWS's, and on a server that is as strict as
//! AWS's documents.

mod bad_days;
mod credentials;
mod kit;
mod preview;
mod verbs;

use std::cell::Cell;
use std::time::{Duration, Instant};

use flipside::core::names::{Release, Slot};
use flipside::core::progress::Silent;
use flipside::core::routing::{Drained, Route, Routing};
use flipside::pointer::route53::{Kind, Route53Plan};
use flipside::pointer::{PointerError, Way};

use crate::support::backends::named_alike;
use crate::support::moto::Moto;
use crate::support::pointer_contract::{self, Fixture};
use crate::support::route53::{ID, Route53, ZONE};
use kit::{NAME, behind, plan, pointer, zone_at};

#[tokio::test]
async fn the_contract_holds() {
    let server = Route53::start().await;
    let at = named_alike(["one", "two"]).await;
    let next = Cell::new(0);
    pointer_contract::all(async || {
        let name = format!("shop{}.{ZONE}", next.replace(next.get() + 1));
        let plan = Route53Plan {
            preview_hosts: vec![format!("preview.{name}")],
            ..plan(&server, &name, at[0].port())
        };
        Fixture {
            pointer: pointer(&server.api.endpoint(), plan),
            at,
        }
    })
    .await;
}

/// The emulator takes no CREATE of what was there once before, so what comes back to a release is not
/// asked of it.
#[tokio::test]
async fn the_contract_holds_on_an_emulator_as_far_as_it_goes() {
    let moto = Moto::start().await;
    let zone = zone_at(&moto.endpoint()).await;
    let at = named_alike(["one", "two"]).await;
    let next = Cell::new(0);
    let fixture = || {
        let name = format!("shop{}.{ZONE}", next.replace(next.get() + 1));
        let plan = Route53Plan {
            zone: zone.clone(),
            servers: Vec::new(),
            preview_hosts: vec![format!("preview.{name}")],
            ..kit::plan_of(&name, at[0].port())
        };
        Fixture {
            pointer: pointer(&moto.endpoint(), plan),
            at,
        }
    };
    pointer_contract::what_is_not_known_reads_as_nothing(&fixture()).await;
    pointer_contract::ready_twice_is_once(&fixture()).await;
    pointer_contract::a_look_ahead_moves_nothing(&fixture()).await;
    pointer_contract::a_write_reads_back_in_full(&fixture()).await;
    pointer_contract::a_write_twice_is_once(&fixture()).await;
    pointer_contract::a_write_over_something_else_moves_nothing(&fixture()).await;
    preview::the_first_release_is_shown_and_promoted(&fixture()).await;
    pointer_contract::marks_add_up(&fixture()).await;
    pointer_contract::forgetting_twice_is_once(&fixture()).await;
    pointer_contract::removing_twice_is_once(&fixture()).await;
}

/// Each names of slots, as a CNAME or an alias.
async fn of_slots(server: &Route53, name: &str, alias_zone: Option<&str>) -> Fixture {
    let at = named_alike(["one", "two"]).await;
    let plan = Route53Plan {
        kind: match alias_zone {
            Some(_) => Kind::A,
            None => Kind::Cname,
        },
        blue: Some(format!("blue.{ZONE}")),
        green: Some(format!("green.{ZONE}")),
        alias_zone: alias_zone.map(str::to_owned),
        preview_hosts: vec![format!("preview.{name}.{ZONE}")],
        ..plan(server, &format!("{name}.{ZONE}"), at[0].port())
    };
    Fixture {
        pointer: pointer(&server.api.endpoint(), plan),
        at,
    }
}

#[tokio::test]
async fn the_contract_holds_for_names_of_slots() {
    let server = Route53::start().await;
    kit::slots(&server);
    let next = Cell::new(0);
    pointer_contract::all(async || {
        let name = format!("shop{}", next.replace(next.get() + 1));
        of_slots(&server, &name, None).await
    })
    .await;
}

/// All but the wait: an alias is remembered for a minute.
#[tokio::test]
async fn the_contract_holds_for_aliases() {
    let server = Route53::start().await;
    kit::slots(&server);
    let fixture = async |name| of_slots(&server, name, Some(ID)).await;
    pointer_contract::a_look_ahead_moves_nothing(&fixture("one").await).await;
    pointer_contract::a_write_reads_back_in_full(&fixture("two").await).await;
    pointer_contract::the_release_with_the_weight_answers(&fixture("three").await).await;
    pointer_contract::removing_twice_is_once(&fixture("four").await).await;
    pointer_contract::a_preview_is_seen_by_those_who_ask(&fixture("five").await).await;
    let set = server.sets(&format!("four.{ZONE}"), "A").concat();
    let alias =
        format!("<AliasTarget><HostedZoneId>{ID}</HostedZoneId><DNSName>green.{ZONE}.</DNSName>");
    assert!(set.contains(&alias), "{set}");
    assert!(
        set.contains("<SetIdentifier>flipside-green</SetIdentifier>"),
        "{set}"
    );
}

/// What stands there is put back with all that it had, and what stands beside it is never touched.
async fn put_back(kind: Kind, rest: &[&str]) {
    let server = Route53::start().await;
    kit::slots(&server);
    let word = match kind {
        Kind::A => "A",
        Kind::Aaaa => "AAAA",
        Kind::Cname => "CNAME",
    };
    for rest in rest {
        server.by_hand(NAME, word, rest);
    }
    server.by_hand(&format!("other.{ZONE}"), "A", "<TTL>60</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.9</Value></ResourceRecord></ResourceRecords>");
    let mut before = server.all();
    let fixture = behind(&server, |plan| Route53Plan {
        kind,
        blue: (kind == Kind::Cname).then(|| format!("blue.{ZONE}")),
        green: (kind == Kind::Cname).then(|| format!("green.{ZONE}")),
        ..plan
    })
    .await;
    pointer_contract::what_stood_there_is_put_back(&fixture).await;
    let mut after: Vec<String> = server.all();
    after.retain(|set| !set.contains("_flipside."));
    after.sort();
    before.sort();
    assert_eq!(after, before);
    // Nor is it taken away with the service.
    fixture.pointer.remove(1).await.unwrap();
    let mut left = server.all();
    left.sort();
    assert_eq!(left, before);
}

#[tokio::test]
async fn a_simple_record_that_stood_there_is_put_back() {
    let values = "<TTL>3600</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.7</Value></ResourceRecord><ResourceRecord><Value>192.0.2.8</Value></ResourceRecord></ResourceRecords>";
    put_back(Kind::A, &[values]).await;
    let name = "<TTL>600</TTL><ResourceRecords><ResourceRecord><Value>old.example.com</Value></ResourceRecord></ResourceRecords>";
    put_back(Kind::Cname, &[name]).await;
}

#[tokio::test]
async fn weighted_records_and_aliases_that_stood_there_are_put_back() {
    let one = "<SetIdentifier>theirs 1</SetIdentifier><Weight>200</Weight><TTL>5</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.7</Value></ResourceRecord></ResourceRecords><HealthCheckId>abc-1</HealthCheckId>";
    let two = "<SetIdentifier>theirs 2</SetIdentifier><Weight>55</Weight><TTL>5</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.8</Value></ResourceRecord></ResourceRecords>";
    let three = "<SetIdentifier>theirs 3</SetIdentifier><Weight>0</Weight><TTL>5</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.9</Value></ResourceRecord></ResourceRecords>";
    put_back(Kind::A, &[one, two, three]).await;
    let alias = "<AliasTarget><HostedZoneId>Z35SXDOTRQ7X7K</HostedZoneId><DNSName>lb-1.elb.example.</DNSName><EvaluateTargetHealth>true</EvaluateTargetHealth></AliasTarget>";
    put_back(Kind::A, &[alias]).await;
}

#[tokio::test]
async fn every_replica_is_a_weighted_record_and_shares_are_whole_numbers() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let port = fixture.at[0].port();
    let route = |release: u64, slot, weight, hosts: &[u8]| Route {
        release: Release(release),
        slot,
        weight,
        endpoints: hosts
            .iter()
            .map(|host| ([192, 0, 2, *host], port).into())
            .collect(),
    };
    let routed = |one: u32, two: u32| Routing {
        routes: vec![
            route(1, Slot::Blue, one, &[1, 2]),
            route(2, Slot::Green, two, &[3]),
        ],
        ..fixture.to(1)
    };
    let mut generation = None;
    for ((one, two), wanted) in [
        ((90, 10), [9, 9, 2]),
        ((50, 50), [1, 1, 2]),
        ((100, 0), [1, 1, 0]),
        ((1, 99), [1, 1, 198]),
        ((1, 999), [1, 1, 255]),
    ] {
        let desired = routed(one, two);
        let next = fixture.pointer.write(generation, &desired).await.unwrap();
        generation = Some(next);
        let shares = server.shares(NAME, "A");
        let weights: Vec<i64> = shares.iter().map(|(_, weight)| *weight).collect();
        assert_eq!(weights, wanted, "{one} to {two}");
        let found = fixture.pointer.read().await.unwrap().unwrap();
        assert_eq!(found.routes, desired.routes);
    }
}

#[tokio::test]
async fn a_health_check_that_somebody_has_given_a_record_is_kept() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let there = server.sets(NAME, "A").concat();
    let rest = there.split_once("</Type>").unwrap().1;
    let rest = rest.trim_end_matches("</ResourceRecordSet>");
    let with = format!("{rest}<HealthCheckId>abc-1</HealthCheckId>");
    server.without(NAME, "A");
    server.by_hand(NAME, "A", &with);
    // It sends users where it did.
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(found.live(), Some(Release(1)));
    let again = Routing {
        reason: "deploy shop@3".into(),
        ..fixture.to(1)
    };
    pointer.write(Some(1), &again).await.unwrap();
    assert!(server.sets(NAME, "A").concat().contains("abc-1"));
}

/// First INSYNC, then the longer TTL: nothing is retired while a resolver may send users there.
#[tokio::test]
async fn a_move_has_settled_when_it_is_insync_and_the_longer_ttl_has_passed() {
    let server = Route53::start().await;
    server.by_hand(NAME, "A", "<TTL>3</TTL><ResourceRecords><ResourceRecord><Value>127.0.0.9</Value></ResourceRecord></ResourceRecords>");
    let fixture = behind(&server, |plan| plan).await;
    let pointer = &fixture.pointer;
    let there = pointer.read().await.unwrap().unwrap();
    let adopted = Routing {
        foreign: there.foreign,
        ..fixture.to(1)
    };
    let took = async |generation| {
        let start = Instant::now();
        // No limit makes it shorter.
        let settled = pointer.settled(generation, 0, &Silent).await.unwrap();
        assert_eq!(settled, Drained::default());
        start.elapsed()
    };
    pointer.write(Some(0), &adopted).await.unwrap();
    assert!(pointer.capabilities().settle_ms >= 63_000);
    let long = took(1).await;
    assert!(long >= Duration::from_secs(3), "{long:?}");
    let again = took(1).await;
    assert!(again < Duration::from_millis(500), "{again:?}");
    server.pending(2);
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let looks = server.api.count(|asked| asked.path.contains("/change/"));
    took(2).await;
    let looked = server.api.count(|asked| asked.path.contains("/change/")) - looks;
    assert_eq!(looked, 3);
}

#[tokio::test]
async fn other_ports_and_other_types_are_told() {
    let server = Route53::start().await;
    let fixture = behind(&server, |plan| plan).await;
    let mut desired = fixture.to(1);
    desired.routes[0].endpoints = vec![([127, 0, 0, 1], 1).into()];
    let said = fixture.pointer.write(None, &desired).await.unwrap_err();
    assert!(
        said.to_string().contains("answers at 127.0.0.1:1"),
        "{said}"
    );
    desired.routes[0].endpoints =
        vec![(std::net::Ipv6Addr::LOCALHOST, fixture.at[0].port()).into()];
    let said = fixture.pointer.write(None, &desired).await.unwrap_err();
    assert!(
        said.to_string().contains("nothing that a record of type A"),
        "{said}"
    );
    assert!(matches!(
        fixture.pointer.ask(Way::Service, "/").await,
        Err(PointerError::OutOfReach { .. })
    ));
    // A CNAME bears nothing beside it: AWS's own words are shown.
    server.by_hand(NAME, "CNAME", "<TTL>5</TTL><ResourceRecords><ResourceRecord><Value>x.example</Value></ResourceRecord></ResourceRecords>");
    let said = fixture
        .pointer
        .write(None, &fixture.to(1))
        .await
        .unwrap_err();
    assert!(
        said.to_string().contains("it conflicts with other records"),
        "{said}"
    );
    assert_eq!(server.all().len(), 1);
}
