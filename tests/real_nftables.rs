//! The kernel as a pointer: the contract in a network of the test's own, and clients from outside.

mod bad_days;
mod hard_verbs;
mod net;
mod scene;
mod unit;
mod verbs;

use std::sync::Arc;

use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::core::routing::{Drained, Route};
use flipside::pointer::nftables::{Nftables, NftablesPlan};
use flipside::pointer::{Pointer as _, PointerError, Way};

use crate::support::pointer_contract::{self, Fixture};
use net::{BACKENDS, BACKENDS_6, HOST, HOST_6, Host, inside, says};

/// Releases 1 and 2, behind a pointer.
fn behind(pointer: Nftables) -> Fixture {
    Fixture {
        pointer: Arc::new(pointer),
        at: BACKENDS.map(|at| at.parse().unwrap()),
    }
}

async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}

#[test]
fn the_contract_holds() {
    inside("the_contract_holds", async |host| {
        let next = std::cell::Cell::new(80);
        pointer_contract::all(async || behind(host.pointer(next.replace(next.get() + 1)))).await;
    });
}

/// A plan that says nothing of a preview shows none.
#[test]
fn without_an_address_of_its_own_there_is_no_preview() {
    inside(
        "without_an_address_of_its_own_there_is_no_preview",
        async |host| {
            let plan = NftablesPlan {
                preview: Vec::new(),
                ..host.plan(80)
            };
            let fixture = behind(Nftables::new(plan).unwrap());
            pointer_contract::a_preview_is_seen_by_those_who_ask(&fixture).await;
            let pointer = &fixture.pointer;
            let shown = fixture.shown();
            let refused = pointer.write(None, &shown).await;
            assert_eq!(
                refused,
                Err(PointerError::no_preview("nftables flipside_shop80"))
            );
            assert_eq!(pointer.read().await, Ok(None));
        },
    );
}

/// Clients of another machine, behind Docker's rules: the preview is at its own port alone, is in the
/// copy, and goes with the next write that shows none.
#[test]
fn a_preview_is_at_its_own_port_and_goes_again() {
    inside(
        "a_preview_is_at_its_own_port_and_goes_again",
        async |host| {
            says("iptables -w -N DOCKER-USER");
            says("iptables -w -A FORWARD -j DOCKER-USER");
            says("iptables -w -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
            says("iptables -w -P FORWARD DROP");
            let before = says("iptables -w -S");
            let fixture = behind(host.pointer(80));
            let pointer = &fixture.pointer;
            let told = format!("curl http://{HOST}:1080/");
            assert_eq!(pointer.preview(), Some(told));
            pointer.write(None, &fixture.to(1)).await.unwrap();
            let mut client = host.client(&format!("{HOST}:80"));
            let mut curious = host.client(&format!("{HOST}:1080"));
            assert_eq!(curious.ask_anew(), "ConnectionRefused");
            let shown = pointer.write(Some(1), &fixture.shown()).await.unwrap();
            for _ in 0..2 {
                for _ in 0..8 {
                    assert_eq!(
                        (client.ask_anew(), curious.ask_anew()),
                        ("one".into(), "two".into())
                    );
                }
                // A start of the machine shows it again.
                says("nft delete table inet flipside_shop80");
                says(&format!("nft -f {}", host.plan(80).state.display()));
                let found = pointer.read().await.unwrap().unwrap();
                assert_eq!(found.preview, Some(Release(2)));
            }
            let hidden = pointer.write(Some(shown), &fixture.to(1)).await.unwrap();
            assert_eq!(
                (client.ask_anew(), curious.ask_anew()),
                ("one".into(), "ConnectionRefused".into())
            );
            let text = says("nft list table inet flipside_shop80");
            assert!(!text.contains("preview"), "{text}");
            let shown = pointer.write(Some(hidden), &fixture.shown()).await;
            // A hand that hides it is seen.
            says("nft flush chain inet flipside_shop80 preview");
            let found = pointer.read().await.unwrap().unwrap();
            assert_eq!((found.preview, found.live()), (None, Some(Release(0))));
            pointer
                .write(Some(shown.unwrap()), &fixture.to(2))
                .await
                .unwrap();
            assert_eq!(
                (client.ask_anew(), curious.ask_anew()),
                ("two".into(), "ConnectionRefused".into())
            );
            pointer.remove(1).await.unwrap();
            assert_eq!(says("iptables -w -S"), before);
        },
    );
}

/// A plan with other addresses is no hand's work: the table is as the last write made it.
#[test]
fn other_addresses_in_the_plan_are_true_from_the_next_write_on() {
    inside(
        "other_addresses_in_the_plan_are_true_from_the_next_write_on",
        async |host| {
            let fixture = behind(host.pointer(80));
            fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
            let shown = fixture.pointer.write(Some(1), &fixture.shown()).await;
            let known = fixture.pointer.read().await.unwrap();
            let moved = behind(
                Nftables::new(NftablesPlan {
                    listen: vec![format!("{HOST}:81")],
                    preview: Vec::new(),
                    url: format!("http://{HOST}:81"),
                    ..host.plan(80)
                })
                .unwrap(),
            );
            assert_eq!(moved.pointer.read().await.unwrap(), known);
            let written = moved
                .pointer
                .write(Some(shown.unwrap()), &moved.to(2))
                .await;
            assert_eq!(written, Ok(3));
            for (port, said) in [
                (80, "ConnectionRefused"),
                (1080, "ConnectionRefused"),
                (81, "two"),
            ] {
                assert_eq!(host.client(&format!("{HOST}:{port}")).ask(), said, "{port}");
            }
        },
    );
}

/// Another table leads the same address elsewhere: it is seen, taken over, and put back.
#[test]
fn what_stood_there_is_put_back() {
    inside("what_stood_there_is_put_back", async |host| {
        says("nft add table ip theirs");
        says("nft add chain ip theirs out { type nat hook output priority -100 ; }");
        let rule = format!("ip daddr {HOST} tcp dport 80 dnat to {}", BACKENDS[1]);
        says(&format!("nft add rule ip theirs out {rule}"));
        let before = says("nft list table ip theirs");
        let fixture = behind(host.pointer(80));
        pointer_contract::what_stood_there_is_put_back(&fixture).await;
        assert_eq!(says("nft list table ip theirs"), before);
        let hooks = says("nft list table inet flipside_shop80");
        assert!(!hooks.contains("goto"), "{hooks}");
        fixture.pointer.remove(1).await.unwrap();
        assert_eq!(says("nft list ruleset"), before);
    });
}

/// What a client of another machine sees: a switch is for new connections, old ones stay until they
/// end or are reset.
#[test]
fn open_connections_stay_until_they_are_reset() {
    inside("open_connections_stay_until_they_are_reset", async |host| {
        let fixture = behind(host.pointer(80));
        let pointer = &fixture.pointer;
        pointer.ready(&Silent).await.unwrap();
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let at = format!("{HOST}:80");
        let (mut held, mut other) = (host.client(&at), host.client(&at));
        assert_eq!((held.ask(), other.ask()), ("one".into(), "one".into()));
        pointer.write(Some(1), &fixture.to(2)).await.unwrap();
        assert_eq!(
            (held.ask(), host.client(&at).ask()),
            ("one".into(), "two".into())
        );
        drop(other);
        let drained = pointer.settled(2, 300, &Silent).await.unwrap();
        assert_eq!(drained.in_flight, drained.finished.map(|ended| ended + 1));
        assert_eq!(drained.cut, Some(1));
        // Asked again it says the same, and another one knows that it does not know.
        assert_eq!(pointer.settled(2, 300, &Silent).await, Ok(drained));
        let other = host.pointer(80);
        assert_eq!(other.settled(2, 0, &Silent).await, Ok(Drained::default()));
        assert_eq!(held.ask(), "ConnectionReset");
        assert_eq!(held.ask_anew(), "two");
        // Going back, what was reset is let in again.
        pointer.write(Some(2), &fixture.to(1)).await.unwrap();
        assert_eq!(held.ask(), "two");
        assert_eq!(pointer.settled(3, 0, &Silent).await.unwrap().cut, Some(1));
        assert_eq!(held.ask(), "ConnectionReset");
        assert_eq!(held.ask_anew(), "one");
    });
}

/// The kernel has not seen the end of what was reset; who comes from the same port is new all the same.
#[test]
fn who_was_reset_and_comes_from_the_same_port_is_let_in() {
    inside(
        "who_was_reset_and_comes_from_the_same_port_is_let_in",
        async |host| {
            let plan = NftablesPlan {
                listen: vec![format!("{HOST}:80"), format!("[{HOST_6}]:80")],
                ..host.plan(80)
            };
            let fixture = behind(Nftables::new(plan).unwrap());
            let pointer = &fixture.pointer;
            let to = |release: u64| {
                let mut to = fixture.to(release);
                let other = BACKENDS_6[usize::from(release == 2)].parse().unwrap();
                to.routes[0].endpoints.push(other);
                to
            };
            pointer.write(None, &to(1)).await.unwrap();
            let (v4, v6) = (format!("{HOST}:80"), format!("[{HOST_6}]:80"));
            let mut asks = [host.client(&v4), host.client(&v6)];
            let mut waits = host.client(&v4);
            for asks in &mut asks {
                assert_eq!(asks.ask_from(4000), "one");
            }
            let names = ["one", "two", "one", "two"];
            for (generation, name) in (1..4).zip(names.windows(2)) {
                assert_eq!(waits.ask_anew(), name[0]);
                for asks in &mut asks {
                    assert_eq!(asks.ask(), name[0]);
                }
                let next = to(1 + generation % 2);
                pointer.write(Some(generation), &next).await.unwrap();
                let drained = pointer.settled(generation + 1, 0, &Silent).await;
                assert_eq!(drained.unwrap().cut, Some(3));
                // Connections by other tables to the same endpoints are theirs.
                let rules = says("nft list table inet flipside_shop80");
                assert!(
                    rules.contains(&format!("ct original ip daddr {HOST}")),
                    "{rules}"
                );
                assert!(
                    rules.contains(&format!("ct original ip6 daddr {HOST_6}")),
                    "{rules}"
                );
                for family in ["ipv4", "ipv6"] {
                    let open = format!("conntrack -L -f {family} -p tcp --state ESTABLISHED");
                    assert_eq!(says(&open), "");
                }
                assert_eq!(waits.ask(), "ConnectionReset");
                for asks in &mut asks {
                    assert_eq!(asks.ask(), "ConnectionReset");
                    assert_eq!(asks.ask_from(4000), name[1]);
                }
            }
        },
    );
}

/// The engine gives an address that is free to the next release: what came there before and was reset
/// is no reason to reset who comes to that one.
#[test]
fn a_preview_at_an_address_that_was_left_is_let_in() {
    inside(
        "a_preview_at_an_address_that_was_left_is_let_in",
        async |host| {
            let fixture = behind(host.pointer(80));
            let pointer = &fixture.pointer;
            pointer.write(None, &fixture.to(2)).await.unwrap();
            let mut held = host.client(&format!("{HOST}:80"));
            assert_eq!(held.ask(), "two");
            pointer.write(Some(1), &fixture.to(1)).await.unwrap();
            let drained = pointer.settled(2, 0, &Silent).await.unwrap();
            assert_eq!(drained.cut, Some(1));
            pointer.write(Some(2), &fixture.shown()).await.unwrap();
            let mut curious = host.client(&format!("{HOST}:1080"));
            assert_eq!(curious.ask_anew(), "two");
            assert_eq!(curious.ask(), "two");
        },
    );
}

#[test]
fn a_rollback_keeps_open_connections_where_the_plan_says_so() {
    inside(
        "a_rollback_keeps_open_connections_where_the_plan_says_so",
        async |host| {
            let fixture = behind(
                Nftables::new(NftablesPlan {
                    keep_flows: true,
                    ..host.plan(80)
                })
                .unwrap(),
            );
            let pointer = &fixture.pointer;
            pointer.write(None, &fixture.to(1)).await.unwrap();
            let mut held = host.client(&format!("{HOST}:80"));
            assert_eq!(held.ask(), "one");
            pointer.write(Some(1), &fixture.to(2)).await.unwrap();
            let drained = pointer.settled(2, 0, &Silent).await.unwrap();
            assert_eq!((drained.in_flight, drained.cut), (Some(1), Some(0)));
            assert_eq!(held.ask(), "one");
        },
    );
}

#[test]
fn both_families_get_their_shares() {
    inside("both_families_get_their_shares", async |host| {
        let plan = NftablesPlan {
            listen: vec![format!("{HOST}:80"), format!("[{HOST_6}]:80")],
            url: format!("http://[{HOST_6}]:80"),
            ..host.plan(80)
        };
        let fixture = behind(Nftables::new(plan).unwrap());
        let pointer = &fixture.pointer;
        let mut both = fixture.to(1);
        let two = fixture.to(2).routes.remove(0);
        both.routes[0].weight = 75;
        both.routes.push(Route { weight: 25, ..two });
        for (route, at) in both.routes.iter_mut().zip(BACKENDS_6) {
            route.endpoints.push(at.parse().unwrap());
        }
        pointer.write(None, &both).await.unwrap();
        let known = pointer.read().await.unwrap().unwrap();
        assert_eq!(known.routes, both.routes);
        for at in [format!("{HOST}:80"), format!("[{HOST_6}]:80")] {
            let mut client = host.client(&at);
            let answers: Vec<_> = (0..200).map(|_| client.ask_anew()).collect();
            let ones = answers.iter().filter(|said| *said == "one").count();
            let twos = answers.iter().filter(|said| *said == "two").count();
            assert_eq!(ones + twos, 200, "{answers:?}");
            // 50 are awaited; fewer than 20 or more than 90 come once in a million runs.
            assert!((20..90).contains(&twos), "{twos} of 200 through {at}");
        }
        assert!(
            pointer
                .ask(Way::Service, "/")
                .await
                .unwrap()
                .release
                .is_some()
        );
    });
}

/// What Docker does to connections from outside, and the one rule that lets those of the service in.
#[test]
fn dockers_rules_let_the_service_in() {
    inside("dockers_rules_let_the_service_in", async |host: Host| {
        says("iptables -w -N DOCKER-USER");
        says("iptables -w -A FORWARD -j DOCKER-USER");
        says("iptables -w -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
        says("iptables -w -P FORWARD DROP");
        let before = says("iptables -w -S");
        let fixture = behind(host.pointer(80));
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let mut client = host.client(&format!("{HOST}:80"));
        assert_eq!(client.ask_anew(), "one");
        // Flushed by somebody: the next look at whether it is ready brings it back, once.
        says("iptables -w -F DOCKER-USER");
        assert_eq!(client.ask_anew(), "TimedOut");
        pointer.ready(&Silent).await.unwrap();
        pointer.ready(&Silent).await.unwrap();
        assert_eq!(client.ask_anew(), "one");
        // One for the service, and one for its preview.
        assert_eq!(says("iptables -w -S").matches("flipside_shop80").count(), 2);
        pointer.remove(1).await.unwrap();
        assert_eq!(says("iptables -w -S"), before);
    });
}

/// A start of the machine: the kernel knows nothing, and is told from the copy.
#[test]
fn the_copy_says_it_all_again() {
    inside("the_copy_says_it_all_again", async |host: Host| {
        let fixture = behind(host.pointer(80));
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        pointer.write(Some(1), &fixture.to(2)).await.unwrap();
        let known = pointer.read().await.unwrap();
        says("nft flush ruleset");
        assert_ne!(pointer.read().await.unwrap(), known);
        for _ in 0..2 {
            unit::start(&host.pointer(80).unit());
            assert_eq!(pointer.read().await.unwrap(), known);
        }
        answers(&fixture, 2).await;
    });
}
