//! What goes wrong with the kernel, and what is true then.

use flipside::core::event::SwitchRefusal;
use flipside::core::names::Slot;
use flipside::core::progress::Silent;
use flipside::core::routing::{FOREIGN, Route};
use flipside::pointer::PointerError;
use flipside::pointer::nftables::{Nftables, NftablesPlan};

use super::net::{BACKENDS, HOST, Host, inside, says};
use super::{answers, behind};
use crate::real_crash::small::Small;
use crate::support::pointer_contract::Fixture;

/// A rule of a hand's, up to where it leads.
const BY_HAND: &str = "inet flipside_shop80 service meta nfproto ipv4 meta l4proto tcp dnat ip to";

/// Behind a program that does with `nft` what the script says.
fn by(host: &Host, script: &str) -> Fixture {
    let nft = host.script("nft", script);
    behind(
        Nftables::new(NftablesPlan {
            nft,
            ..host.plan(80)
        })
        .unwrap(),
    )
}

#[test]
fn one_without_rights_is_out_of_reach_and_says_what_it_needs() {
    inside(
        "bad_days::one_without_rights_is_out_of_reach_and_says_what_it_needs",
        async |host| {
            let able = behind(host.pointer(80));
            able.pointer.write(None, &able.to(1)).await.unwrap();
            let fixture = by(
                &host,
                "exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin nft \"$@\"",
            );
            let pointer = &fixture.pointer;
            let away = |error: PointerError| {
                assert!(
                    matches!(error, PointerError::OutOfReach { .. }),
                    "{error:?}"
                );
                assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
            };
            away(pointer.ready(&Silent).await.unwrap_err());
            away(pointer.foresee().await.unwrap_err());
            away(pointer.read().await.unwrap_err());
            away(pointer.write(Some(1), &fixture.to(2)).await.unwrap_err());
            answers(&able, 1).await;
        },
    );
}

#[test]
fn a_program_that_is_not_there_is_told_with_its_package() {
    inside(
        "bad_days::a_program_that_is_not_there_is_told_with_its_package",
        async |host| {
            let nft = "/nowhere/nft".to_owned();
            let plan = NftablesPlan {
                nft,
                ..host.plan(80)
            };
            let refused = Nftables::new(plan).unwrap();
            let refused = behind(refused).pointer.ready(&Silent).await;
            let Err(PointerError::Failed { hint, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(hint.as_deref(), Some("install the package `nftables`"));
        },
    );
}

#[test]
fn a_table_that_somebody_flushed_is_missed_and_made_again() {
    inside(
        "bad_days::a_table_that_somebody_flushed_is_missed_and_made_again",
        async |host| {
            let fixture = behind(host.pointer(80));
            let pointer = &fixture.pointer;
            pointer.write(None, &fixture.to(1)).await.unwrap();
            says("nft flush ruleset");
            let found = pointer.read().await.unwrap().unwrap();
            assert_eq!((found.generation, found.live()), (1, None));
            assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
            answers(&fixture, 2).await;
        },
    );
}

#[test]
fn rules_that_a_hand_has_changed_are_seen() {
    inside(
        "bad_days::rules_that_a_hand_has_changed_are_seen",
        async |host| {
            let fixture = behind(host.pointer(80));
            let pointer = &fixture.pointer;
            let mut generation = pointer.write(None, &fixture.to(1)).await.unwrap();
            for by_hand in [
                "nft flush chain inet flipside_shop80 outside".to_owned(),
                "nft flush chain inet flipside_shop80 service".to_owned(),
                format!("nft add rule {BY_HAND} {}", BACKENDS[1]),
                format!("nft insert rule {BY_HAND} {}", BACKENDS[1]),
                format!(
                    "nft insert rule inet flipside_shop80 outside ip daddr {HOST} tcp dport 80 accept"
                ),
            ] {
                let known = pointer.read().await.unwrap().unwrap();
                says(&by_hand);
                let found = pointer.read().await.unwrap().unwrap();
                assert_eq!(found.generation, known.generation, "{by_hand}");
                assert_ne!(found.routes, known.routes, "{by_hand}");
                let again = pointer.write(Some(generation), &fixture.to(1)).await;
                generation = again.unwrap();
                assert_eq!(host.client(&format!("{HOST}:80")).ask(), "one", "{by_hand}");
            }
        },
    );
}

/// What a map holds is true for one generation of the kernel's rules: while one ends, a connection may
/// find it empty. Behind it is a rule without one, so that no connection comes to a closed port.
#[test]
fn a_connection_that_finds_the_map_empty_is_led_all_the_same() {
    inside(
        "bad_days::a_connection_that_finds_the_map_empty_is_led_all_the_same",
        async |host| {
            let fixture = behind(host.pointer(80));
            let pointer = &fixture.pointer;
            let mut both = fixture.to(1);
            both.routes[0].weight = 50;
            let two = fixture.to(2).routes.remove(0);
            both.routes.push(Route { weight: 50, ..two });
            pointer.write(None, &both).await.unwrap();
            let chain = "inet flipside_shop80 service";
            let listed = says(&format!("nft -a list chain {chain}"));
            let map = listed.lines().find(|line| line.contains("numgen"));
            let handle = map.and_then(|line| line.rsplit(' ').next()).unwrap();
            says(&format!("nft delete rule {chain} handle {handle}"));
            let mut client = host.client(&format!("{HOST}:80"));
            for _ in 0..4 {
                assert_eq!(client.ask_anew(), "one");
            }
            // By a hand that is another share: it is seen.
            let found = pointer.read().await.unwrap().unwrap();
            assert_ne!(found.routes, both.routes);
        },
    );
}

/// Where only a part is led, the rest is for what stood there before.
#[test]
fn what_no_share_takes_is_left_to_others() {
    inside(
        "bad_days::what_no_share_takes_is_left_to_others",
        async |host| {
            let fixture = behind(host.pointer(80));
            let pointer = &fixture.pointer;
            let mut part = fixture.to(1);
            part.routes[0].weight = 25;
            let foreign = Route {
                release: FOREIGN,
                slot: Slot::Blue,
                weight: 75,
                endpoints: Vec::new(),
            };
            part.routes.push(foreign);
            pointer.write(None, &part).await.unwrap();
            let listed = says("nft list chain inet flipside_shop80 service");
            let rules: Vec<_> = listed.lines().filter(|it| it.contains("dnat")).collect();
            assert!(
                matches!(rules[..], [map] if map.contains("0-2499 :")),
                "{listed}"
            );
            let known = pointer.read().await.unwrap().unwrap();
            assert_eq!(known.routes, part.routes);
            // A hand that takes the rest too is seen.
            says(&format!("nft add rule {BY_HAND} {}", BACKENDS[0]));
            let found = pointer.read().await.unwrap().unwrap();
            assert_ne!(found.routes, part.routes);
        },
    );
}

/// A table with maps alone, as earlier versions wrote it, is no hand's work.
#[test]
fn a_table_with_maps_alone_is_known() {
    inside("bad_days::a_table_with_maps_alone_is_known", async |host| {
        let fixture = behind(host.pointer(80));
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let known = pointer.read().await.unwrap();
        says("nft flush chain inet flipside_shop80 service");
        let (address, port) = BACKENDS[0].split_once(':').unwrap();
        let map = format!("numgen random mod 10000 map {{ 0-9999 : {address} . {port} }}");
        says(&format!("nft add rule {BY_HAND} {map}"));
        assert_eq!(pointer.read().await.unwrap(), known);
        assert_eq!(pointer.write(Some(1), &fixture.to(2)).await, Ok(2));
        answers(&fixture, 2).await;
    });
}

/// The kernel compares: whoever comes second has read what is not there any more.
#[test]
fn of_two_writers_the_kernel_lets_one() {
    inside(
        "bad_days::of_two_writers_the_kernel_lets_one",
        async |host| {
            let quick = behind(host.pointer(80));
            // Between the slow one's look and its write, the other one writes.
            let go = host.dir.path().join("go");
            let (asked, go) = (host.dir.path().join("asked"), go.display().to_string());
            let slow = by(
                &host,
                &format!(
                    "case \"$*\" in '-f -') touch {}; until [ -e {go} ]; do sleep 0.01; done;; esac\n\
                 exec nft \"$@\"",
                    asked.display()
                ),
            );
            for (expected, release) in [(None, 1), (Some(1), 2)] {
                let other = slow.to(3 - release);
                let late = slow.pointer.write(expected, &other);
                let first = async {
                    crate::support::backends::until("the slow one's write", async || {
                        asked.exists().then_some(())
                    })
                    .await;
                    let wrote = quick.pointer.write(expected, &quick.to(release)).await;
                    std::fs::write(&go, "").unwrap();
                    wrote.unwrap()
                };
                let (late, generation) = tokio::join!(late, first);
                let found = quick.pointer.read().await.unwrap().map(Box::new);
                let why = SwitchRefusal::Moved;
                assert_eq!(late, Err(PointerError::Refused { why, found }));
                assert_eq!(generation, release);
                answers(&quick, release).await;
                std::fs::remove_file(&asked).unwrap();
                std::fs::remove_file(&go).unwrap();
            }
        },
    );
}

/// A hand that changes one rule in between is a writer as any other.
#[test]
fn a_rule_that_changes_between_look_and_write_stops_it() {
    inside(
        "bad_days::a_rule_that_changes_between_look_and_write_stops_it",
        async |host| {
            let quick = behind(host.pointer(80));
            quick.pointer.write(None, &quick.to(1)).await.unwrap();
            let slow = by(
                &host,
                "case \"$*\" in '-f -') nft flush chain inet flipside_shop80 inside;; esac\nexec nft \"$@\"",
            );
            let late = slow.pointer.write(Some(1), &slow.to(2)).await;
            assert!(
                matches!(late, Err(PointerError::Refused { .. })),
                "{late:?}"
            );
            assert_eq!(host.client(&format!("{HOST}:80")).ask(), "one");
        },
    );
}

/// The writer dies with its answer, after the kernel has done it.
#[test]
fn an_answer_that_is_lost_is_settled_by_looking() {
    inside(
        "bad_days::an_answer_that_is_lost_is_settled_by_looking",
        async |host| {
            let fixture = by(
                &host,
                "nft \"$@\"; ended=$?; case \"$*\" in '-f -') kill -KILL $$;; esac; exit $ended",
            );
            assert_eq!(fixture.pointer.write(None, &fixture.to(1)).await, Ok(1));
            answers(&fixture, 1).await;
        },
    );
}

#[test]
fn a_program_that_does_nothing_and_says_it_did_is_found_out() {
    inside(
        "bad_days::a_program_that_does_nothing_and_says_it_did_is_found_out",
        async |host| {
            let able = behind(host.pointer(80));
            able.pointer.write(None, &able.to(1)).await.unwrap();
            let known = able.pointer.read().await.unwrap();
            let deaf = by(
                &host,
                "case \"$*\" in '-f -') exit 0;; esac\nexec nft \"$@\"",
            );
            let lost = deaf.pointer.write(Some(1), &deaf.to(2)).await;
            assert!(matches!(lost, Err(PointerError::Lost { .. })), "{lost:?}");
            assert_eq!(deaf.pointer.read().await.unwrap(), known);
            assert_eq!(able.pointer.write(Some(1), &able.to(2)).await, Ok(2));
            answers(&able, 2).await;
        },
    );
}

/// Killed before the kernel was told, or after it was and before the copy was put in its place: what
/// is true is one of both, whole, and the next write goes on.
#[test]
fn a_writer_that_is_killed_leaves_one_of_both() {
    inside(
        "bad_days::a_writer_that_is_killed_leaves_one_of_both",
        async |host| {
            let able = behind(host.pointer(80));
            able.pointer.write(None, &able.to(1)).await.unwrap();
            let reached = host.dir.path().join("reached");
            let stop = format!("touch {}; exec sleep 60", reached.display());
            for (script, generation) in [(stop.clone(), 1), (format!("nft \"$@\"; {stop}"), 2)] {
                let script = format!("case \"$*\" in '-f -') {script};; esac\nexec nft \"$@\"");
                let killed = by(&host, &script);
                let is_reached = crate::support::backends::until("the write", async || {
                    reached.exists().then_some(())
                });
                let desired = killed.to(2);
                tokio::select! {
                    _ = killed.pointer.write(Some(1), &desired) => panic!("it went on"),
                    () = is_reached => {}
                }
                std::fs::remove_file(&reached).unwrap();
                let found = able.pointer.read().await.unwrap().unwrap();
                assert_eq!(found.generation, generation);
                answers(&able, generation).await;
            }
            assert_eq!(able.pointer.write(Some(2), &able.to(1)).await, Ok(3));
            answers(&able, 1).await;
            let left = std::fs::read_dir(host.dir.path()).unwrap();
            let copies = left.filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with(".tmp")
            });
            assert_eq!(copies.count(), 0);
        },
    );
}

/// What cannot be kept for the start of the machine is not done.
#[test]
fn a_disk_without_room_for_the_copy_stops_a_write_before_it_moves_anything() {
    inside(
        "bad_days::a_disk_without_room_for_the_copy_stops_a_write_before_it_moves_anything",
        async |host| {
            let small = host.dir.path().join("small");
            let disk = Small::on(small.clone(), "64k");
            let state = small.join("shop.nft");
            let fixture = behind(
                Nftables::new(NftablesPlan {
                    state,
                    ..host.plan(80)
                })
                .unwrap(),
            );
            let pointer = &fixture.pointer;
            pointer.write(None, &fixture.to(1)).await.unwrap();
            let known = pointer.read().await.unwrap();
            disk.fill();
            let refused = pointer.write(Some(1), &fixture.to(2)).await;
            assert!(
                matches!(refused, Err(PointerError::Failed { .. })),
                "{refused:?}"
            );
            assert_eq!(pointer.read().await.unwrap(), known);
            answers(&fixture, 1).await;
            disk.free();
            pointer.write(Some(1), &fixture.to(2)).await.unwrap();
            answers(&fixture, 2).await;
        },
    );
}

/// A drain that was stopped and woken late resets nothing of what serves by now.
#[test]
fn a_late_drain_cuts_nothing_that_serves_again() {
    inside(
        "bad_days::a_late_drain_cuts_nothing_that_serves_again",
        async |host| {
            let able = behind(host.pointer(80));
            able.pointer.write(None, &able.to(1)).await.unwrap();
            let mut held = host.client(&format!("{HOST}:80"));
            assert_eq!(held.ask(), "one");
            able.pointer.write(Some(1), &able.to(2)).await.unwrap();
            let (asked, go) = (host.dir.path().join("asked"), host.dir.path().join("go"));
            let slow = by(
                &host,
                &format!(
                    "case \"$*\" in '-f -') touch {}; until [ -e {} ]; do sleep 0.01; done;; esac\n\
                 exec nft \"$@\"",
                    asked.display(),
                    go.display()
                ),
            );
            let late = slow.pointer.settled(2, 0, &Silent);
            let back = async {
                crate::support::backends::until("the cut", async || asked.exists().then_some(()))
                    .await;
                able.pointer.write(Some(2), &able.to(1)).await.unwrap();
                std::fs::write(&go, "").unwrap();
            };
            let (drained, ()) = tokio::join!(late, back);
            assert_eq!(drained.unwrap().cut, None);
            assert_eq!((held.ask(), held.ask_anew()), ("one".into(), "one".into()));
        },
    );
}

#[test]
fn a_kernel_that_leads_nothing_on_is_told_before_anything_is() {
    inside(
        "bad_days::a_kernel_that_leads_nothing_on_is_told_before_anything_is",
        async |host| {
            let plan = NftablesPlan {
                listen: vec!["127.0.0.1:80".into()],
                ..host.plan(80)
            };
            let fixture = behind(Nftables::new(plan).unwrap());
            let refused = fixture.pointer.ready(&Silent).await;
            let Err(PointerError::Failed { hint, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert!(
                hint.unwrap()
                    .contains("sysctl -w net.ipv4.conf.all.route_localnet=1")
            );
            says("sysctl -qw net.ipv4.conf.all.route_localnet=1");
            fixture.pointer.ready(&Silent).await.unwrap();
            fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
            let said = says("curl -s --max-time 5 http://127.0.0.1/");
            assert_eq!(said, "one");
        },
    );
}
