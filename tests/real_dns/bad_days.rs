//! What goes wrong with name servers, and what is true then.

use std::net::SocketAddr;
use std::sync::Arc;

use flipside::core::event::SwitchRefusal;
use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::core::routing::Routing;
use flipside::pointer::dns::{Dns, DnsPlan, Kind};
use flipside::pointer::{Pointer, PointerError, Way};
use tokio::net::{TcpListener, UdpSocket};

use super::behind;
use super::kit::{Config, NAME, SECRET, Server, ZONE, key};
use super::relay::{Relay, Trouble};
use crate::support::held::Moment;
use crate::support::pointer_contract::Fixture;
use crate::support::ports::free_port;

async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}

fn is_away<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    matches!(said, Err(PointerError::OutOfReach { .. }))
}

pub fn is_moved<T: std::fmt::Debug>(said: &Result<T, PointerError>) -> bool {
    let why = SwitchRefusal::Moved;
    matches!(said, Err(PointerError::Refused { why: found, .. }) if *found == why)
}

/// What a call was refused for, with the hint.
pub fn failed<T: std::fmt::Debug>(said: Result<T, PointerError>) -> String {
    match said {
        Err(PointerError::Failed { what, hint }) => format!("{what}\n{}", hint.unwrap_or_default()),
        said => panic!("{said:?}"),
    }
}

#[tokio::test]
async fn one_that_is_down_is_out_of_reach_and_remembers_when_it_is_back() {
    let mut server = Server::start().await;
    let fixture = behind(|port| server.pointer(port)).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap();
    server.stop();
    assert!(is_away(&pointer.ready(&Silent).await));
    assert!(is_away(&pointer.foresee().await));
    assert!(is_away(&pointer.read().await));
    assert!(is_away(&pointer.write(Some(1), &fixture.to(2)).await));
    assert!(is_away(&pointer.settled(1, 0, &Silent).await));
    server.restart().await;
    assert_eq!(pointer.read().await.unwrap(), known);
    answers(&fixture, 1).await;
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    server.restart().await;
    answers(&fixture, 2).await;
    pointer.settled(2, 0, &Silent).await.unwrap();
}

#[tokio::test]
async fn one_that_hangs_is_out_of_reach_in_time() {
    let server = Server::start().await;
    let fixture = behind(|port| server.pointer(port)).await;
    server.hang();
    let start = std::time::Instant::now();
    assert!(is_away(&fixture.pointer.read().await));
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_wrong_key_is_told_before_anything_is_moved() {
    let server = Server::start().await;
    let file = server.path().join("wrong");
    let secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (text, why) in [
        (key("hmac-sha256", secret), "BADSIG"),
        (key("hmac-sha512", SECRET), "BADKEY"),
        (
            key("hmac-sha256", SECRET).replace("shop", "other"),
            "BADKEY",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let fixture = behind(|port| {
            Dns::new(DnsPlan {
                key_file: Some(file.clone()),
                ..server.plan(port)
            })
            .unwrap()
        })
        .await;
        for said in [
            failed(fixture.pointer.foresee().await),
            failed(fixture.pointer.write(None, &fixture.to(1)).await),
        ] {
            assert!(said.contains("NOTAUTH"), "{said}");
            assert!(said.contains(why), "{said}");
            assert!(said.contains(&format!("`{}`", file.display())), "{said}");
            assert!(said.contains("shop.") || said.contains("other."), "{said}");
            assert!(!said.contains(secret) && !said.contains(SECRET), "{said}");
        }
    }
    assert_eq!(server.serial(), 1);
    std::fs::remove_file(&file).unwrap();
    let fixture = behind(|port| {
        Dns::new(DnsPlan {
            key_file: Some(file.clone()),
            ..server.plan(port)
        })
        .unwrap()
    })
    .await;
    assert!(failed(fixture.pointer.read().await).contains("cannot be read"));
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_foreseen() {
    for policy in [
        "grant shop name other.example.org. A;",
        // The address alone is not enough: the record stands beside it.
        "grant shop name shop.example.org. A;",
        "grant shop name _flipside.shop.example.org. TXT;",
    ] {
        let server = Server::start_with(Config {
            policy,
            lines: "shop A 192.0.2.7\n".into(),
            ..Config::default()
        })
        .await;
        let fixture = behind(|port| server.pointer(port)).await;
        for said in [
            failed(fixture.pointer.foresee().await),
            failed(fixture.pointer.write(Some(0), &fixture.to(1)).await),
        ] {
            assert!(said.contains("REFUSED"), "{said}");
            let grant = format!("grant shop. name _flipside.{NAME} TXT;");
            assert!(said.contains(&grant), "{said}");
        }
        assert_eq!(server.dig(NAME, "A"), ["192.0.2.7"]);
        assert_eq!(server.serial(), 1);
    }
    let server = Server::start_with(Config {
        policy: "grant shop name shop.example.org. A; grant shop name _flipside.shop.example.org. TXT;",
        lines: "shop A 192.0.2.7\n".into(),
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| server.pointer(port)).await;
    fixture.pointer.foresee().await.unwrap();
    assert_eq!(server.serial(), 1);
    fixture
        .pointer
        .write(Some(0), &fixture.to(1))
        .await
        .unwrap();
    fixture.pointer.foresee().await.unwrap();
}

/// A primary and a secondary that has the zone as it was, and gets no other.
async fn stuck() -> (Server, Server) {
    let [one, two] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let primary = Server::start_with(Config {
        at: one,
        notifies: vec![two],
        transfers: false,
        ..Config::default()
    })
    .await;
    let secondary = Server::start_with(Config {
        lines: "shop A 127.0.0.9\n".into(),
        ..Server::secondary(two, one)
    })
    .await;
    (primary, secondary)
}

fn asks_both(primary: &Server, secondary: SocketAddr, port: u16) -> Dns {
    Dns::new(DnsPlan {
        servers: vec![primary.at().to_string(), secondary.to_string()],
        ..primary.plan(port)
    })
    .unwrap()
}

#[tokio::test]
async fn a_server_that_is_stuck_holds_a_move_up_and_is_named() {
    let (mut primary, secondary) = stuck().await;
    let fixture = behind(|port| asks_both(&primary, secondary.at(), port)).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    answers(&fixture, 1).await;
    let said = failed(pointer.settled(1, 1_000, &Silent).await);
    let stuck = format!("{} still says 127.0.0.9 (serial 1)", secondary.at());
    assert!(said.contains(&stuck), "{said}");
    assert!(said.contains("127.0.0.1 (serial 2)"), "{said}");
    assert!(!said.contains(&format!("{} still", primary.at())), "{said}");
    assert!(said.contains("rndc retransfer example.org"), "{said}");
    // Once it hears of the move, that has settled.
    primary.gives_away(true).await;
    pointer.settled(1, 20_000, &Silent).await.unwrap();
    assert_eq!(secondary.dig(NAME, "A"), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_follows_is_waited_for() {
    let [one, two] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let primary = Server::start_with(Config {
        at: one,
        notifies: vec![two],
        ..Config::default()
    })
    .await;
    let secondary = Server::start_with(Server::secondary(two, one)).await;
    let fixture = behind(|port| asks_both(&primary, two, port)).await;
    let pointer = &fixture.pointer;
    let mut expected = None;
    for release in [1, 2, 1] {
        let generation = pointer.write(expected, &fixture.to(release)).await.unwrap();
        expected = Some(generation);
        pointer.settled(generation, 20_000, &Silent).await.unwrap();
        let address = fixture.at[usize::from(release == 2)].ip().to_string();
        assert_eq!(secondary.dig(NAME, "A"), [address]);
    }
}

/// Whether it refuses, has no data or says nothing: what it tells others is not known.
#[tokio::test]
async fn a_lame_server_holds_a_move_up_and_is_named() {
    let primary = Server::start_with(Config {
        transfers: false,
        ..Config::default()
    })
    .await;
    let at = || SocketAddr::from(([127, 0, 0, 1], free_port()));
    let refuses = Server::start_with(Config {
        at: at(),
        knows: false,
        ..Config::default()
    })
    .await;
    let empty = Server::start_with(Config {
        loaded: false,
        ..Server::secondary(at(), primary.at())
    })
    .await;
    let silent = at();
    let _udp = UdpSocket::bind(silent).await.unwrap();
    let _tcp = TcpListener::bind(silent).await.unwrap();
    let gone = at();
    for (lame, why) in [
        (refuses.at(), "answers REFUSED"),
        (empty.at(), "answers SERVFAIL"),
        (silent, "gives no answer: no answer within 2 s"),
        (gone, "gives no answer: Connection refused"),
    ] {
        let fixture = behind(|port| asks_both(&primary, lame, port)).await;
        let pointer = &fixture.pointer;
        let found = pointer.read().await.unwrap().map(|it| it.generation);
        let generation = pointer.write(found, &fixture.to(1)).await.unwrap();
        let said = failed(pointer.settled(generation, 0, &Silent).await);
        assert!(said.contains(&format!("{lame} {why}")), "{said}");
        assert!(said.contains("the plan's `servers`"), "{said}");
    }
}

#[tokio::test]
async fn a_primary_without_the_zone_is_told() {
    let server = Server::start_with(Config {
        knows: false,
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| server.pointer(port)).await;
    let said = failed(fixture.pointer.read().await);
    assert!(said.contains("answers REFUSED"), "{said}");
    assert!(
        said.contains("`server` is the primary of the zone"),
        "{said}"
    );
}

#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_looking() {
    let server = Server::start().await;
    let relay = Relay::start(server.at(), Trouble::CutOff).await;
    let fixture = behind(|port| through(&relay, &server, port)).await;
    assert_eq!(fixture.pointer.write(None, &fixture.to(1)).await, Ok(1));
    answers(&fixture, 1).await;
}

fn through(relay: &Relay, server: &Server, port: u16) -> Dns {
    Dns::new(DnsPlan {
        server: relay.at.to_string(),
        ..server.plan(port)
    })
    .unwrap()
}

/// The same, where nothing can be looked at either; and where the update has never arrived.
#[tokio::test]
async fn a_write_of_which_nothing_is_known_is_lost_and_the_next_one_finds_out() {
    for trouble in [Trouble::Dark, Trouble::Swallowed] {
        let server = Server::start().await;
        let relay = Relay::start(server.at(), trouble).await;
        let fixture = behind(|port| through(&relay, &server, port)).await;
        let lost = fixture.pointer.write(None, &fixture.to(1)).await;
        assert!(matches!(lost, Err(PointerError::Lost { .. })), "{lost:?}");
        let was = server.serial();
        assert_eq!(was, if trouble == Trouble::Dark { 2 } else { 1 });
        let direct = server.pointer(fixture.at[0].port());
        assert_eq!(direct.write(None, &fixture.to(1)).await, Ok(1));
        assert_eq!(server.serial(), 2);
    }
}

/// The guard is the server's: what was read before somebody else wrote is not written over.
#[tokio::test]
async fn a_writer_that_was_held_between_read_and_write_is_refused() {
    let server = Server::start().await;
    let relay = Relay::start(server.at(), Trouble::None).await;
    let waits = relay.kept().hold((), Moment::Before);
    let late = behind(|port| through(&relay, &server, port)).await;
    let pointer = Arc::clone(&late.pointer);
    let desired = late.to(1);
    let held = tokio::spawn(async move { pointer.write(None, &desired).await });
    waits.came().await;
    let direct = server.pointer(late.at[0].port());
    direct.write(None, &late.to(2)).await.unwrap();
    let there = direct.read().await.unwrap();
    waits.go();
    let refused = held.await.unwrap();
    let why = SwitchRefusal::Moved;
    let found = there.clone().map(Box::new);
    assert_eq!(refused, Err(PointerError::Refused { why, found }));
    assert_eq!(direct.read().await.unwrap(), there);
}

#[tokio::test]
async fn of_many_writers_at_once_one_wins() {
    let server = Server::start().await;
    let fixture = behind(|port| server.pointer(port)).await;
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    for round in 1..=5 {
        let writers = (0..8).map(|writer| {
            let pointer = server.pointer(fixture.at[0].port());
            let desired = Routing {
                author: format!("writer {writer}"),
                ..fixture.to(1 + round % 2)
            };
            async move { pointer.write(Some(round), &desired).await }
        });
        let said = futures_util::future::join_all(writers).await;
        let won = said.iter().filter(|said| **said == Ok(round + 1)).count();
        let refused = said.iter().filter(|said| is_moved(said)).count();
        assert_eq!((won, refused), (1, 7), "{said:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_by_tcp() {
    let addresses = (1..=90).map(|last| format!("shop A 192.0.2.{last}\n"));
    let server = Server::start_with(Config {
        lines: addresses.collect(),
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| server.pointer(port)).await;
    let found = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!(found.routes[0].endpoints.len(), 90);
    let adopted = Routing {
        foreign: found.foreign.clone(),
        ..fixture.to(1)
    };
    fixture.pointer.write(Some(0), &adopted).await.unwrap();
    let known = fixture.pointer.read().await.unwrap().unwrap();
    assert_eq!(known.foreign, found.foreign);
    fixture.pointer.settled(1, 0, &Silent).await.unwrap();
}

/// Somebody changes the zone by hand: it is seen, and not taken for a move of ours.
#[tokio::test]
async fn what_a_hand_has_changed_is_seen() {
    let server = Server::start().await;
    let fixture = behind(|port| server.pointer(port)).await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let known = pointer.read().await.unwrap().unwrap();
    server.by_hand(&format!("add {NAME} 1 A 192.0.2.7"));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!(found.generation, known.generation);
    assert_ne!(found.routes, known.routes);
    assert_eq!(found.live(), Some(Release(0)));
    server.by_hand(&format!("delete {NAME} A"));
    let found = pointer.read().await.unwrap().unwrap();
    assert_eq!((found.generation, found.live()), (known.generation, None));
    // A record that somebody else has put in its place is no release of ours.
    server.by_hand(&format!(
        "delete _flipside.{NAME} TXT\nadd _flipside.{NAME} 1 TXT hello"
    ));
    let said = failed(pointer.read().await);
    assert!(
        said.contains(&format!("`_flipside.{NAME}` cannot be read")),
        "{said}"
    );
}

#[tokio::test]
async fn records_of_another_type_are_told() {
    let server = Server::start_with(Config {
        lines: "alias CNAME shop\nshop MX 10 shop\n*.wild A 192.0.2.7\n".into(),
        ..Config::default()
    })
    .await;
    let plan = |name: &str, kind| {
        let name = format!("{name}.{ZONE}");
        let slot = |slot: &str| (kind == Kind::Cname).then(|| format!("{slot}.{ZONE}"));
        let (blue, green) = (slot("blue"), slot("green"));
        let server = &server;
        move |port| {
            let url = format!("http://{name}:{port}");
            let (name, blue, green) = (name.clone(), blue.clone(), green.clone());
            let plan = server.plan(port);
            Dns::new(DnsPlan {
                name,
                url,
                kind,
                blue,
                green,
                ..plan
            })
            .unwrap()
        }
    };
    let alias = behind(plan("alias", Kind::A)).await;
    assert!(failed(alias.pointer.read().await).contains("it is a CNAME"));
    let shop = behind(plan("shop", Kind::Cname)).await;
    let said = failed(shop.pointer.write(None, &shop.to(1)).await);
    assert!(said.contains("records of other types"), "{said}");
    let wild = behind(plan("x.wild", Kind::A)).await;
    let said = failed(wild.pointer.write(Some(0), &wild.to(1)).await);
    assert!(said.contains("a wildcard may answer for it"), "{said}");
    assert_eq!(server.serial(), 1);
}

/// Users ask at one port: a release at another would be reached by nobody.
#[tokio::test]
async fn a_release_at_another_port_than_the_users_is_refused() {
    let server = Server::start().await;
    let fixture = behind(|_| server.pointer(80)).await;
    let said = failed(fixture.pointer.write(None, &fixture.to(1)).await);
    assert!(said.contains("users ask at port 80"), "{said}");
    assert_eq!(server.serial(), 1);
}

/// A server whose clock is an hour off, played: it knows the key, and not the time.
#[tokio::test]
async fn clocks_that_are_apart_are_told() {
    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, TsigError, make_tsig_record};

    let server = Server::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let played = tokio::spawn(async move {
        let mut bytes = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
            let mut said = Message::from_vec(&bytes[..length]).unwrap();
            let asked = said.take_signature().unwrap();
            said.metadata.message_type = MessageType::Response;
            said.metadata.response_code = ResponseCode::NotAuth;
            let (time, error) = (asked.data.time - 3_600, Some(TsigError::BadTime));
            let algorithm = TsigAlgorithm::HmacSha256;
            let tsig = TSIG::new(algorithm, time, 300, Vec::new(), said.id, error, Vec::new());
            said.set_signature(Box::new(make_tsig_record(asked.name.clone(), tsig)));
            socket.send_to(&said.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let fixture = behind(|port| {
        Dns::new(DnsPlan {
            server: at.to_string(),
            ..server.plan(port)
        })
        .unwrap()
    })
    .await;
    let said = failed(fixture.pointer.read().await);
    assert!(
        said.contains("BADTIME") && said.contains("set both clocks"),
        "{said}"
    );
    played.abort();
}
