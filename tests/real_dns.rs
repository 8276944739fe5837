//! DNS as a pointer: the contract on real name servers, and what servers that follow do.

mod bad_days;
mod kit;
mod late;
mod preview;
mod relay;
mod slots;
mod verbs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flipside::core::progress::Silent;
use flipside::core::routing::Drained;
use flipside::pointer::dns::{Dns, DnsPlan, Kind};

use crate::real_crash::kit::{Settings, Stage};
use crate::support::backends::{named_alike, until};
use crate::support::docker;
use crate::support::pointer_contract::{self, Fixture};
use crate::support::ports::free_port;
use kit::{Config, NAME, Program, SECRET, Server, ZONE};

/// Releases 1 and 2 of a service behind a pointer.
async fn behind(pointer: impl Fn(u16) -> Dns) -> Fixture {
    let at = named_alike(["one", "two"]).await;
    Fixture {
        pointer: Arc::new(pointer(at[0].port())),
        at,
    }
}

async fn hold_the_contract(server: &Server, plan: impl Fn(DnsPlan) -> DnsPlan) {
    let at = named_alike(["one", "two"]).await;
    let next = std::cell::Cell::new(0);
    pointer_contract::all(async || {
        let name = format!("shop{}.{ZONE}", next.replace(next.get() + 1));
        let plan = plan(DnsPlan {
            url: format!("http://{name}:{}", at[0].port()),
            preview_hosts: vec![format!("preview.{name}")],
            name,
            ..server.plan(at[0].port())
        });
        Fixture {
            pointer: Arc::new(Dns::new(plan).unwrap()),
            at,
        }
    })
    .await;
}

#[tokio::test]
async fn the_contract_holds_on_bind() {
    let server = Server::start().await;
    hold_the_contract(&server, |plan| plan).await;
}

#[tokio::test]
async fn the_contract_holds_on_knot() {
    let server = Server::start_with(Config {
        program: Program::Knot,
        algorithm: "hmac-sha512",
        ..Config::default()
    })
    .await;
    hold_the_contract(&server, |plan| plan).await;
}

#[tokio::test]
async fn the_contract_holds_for_names_of_slots() {
    let server = Server::start_with(Config {
        lines: "blue A 127.0.0.1\ngreen A 127.0.0.2\n".into(),
        ..Config::default()
    })
    .await;
    hold_the_contract(&server, |plan| DnsPlan {
        kind: Kind::Cname,
        blue: Some(format!("blue.{ZONE}")),
        green: Some(format!("green.{ZONE}")),
        ..plan
    })
    .await;
}

/// Not even the zone's serial number, by which others would get all of it anew.
#[tokio::test]
async fn a_look_ahead_changes_nothing() {
    for program in [Program::Bind, Program::Knot] {
        let server = Server::start_with(Config {
            program,
            ..Config::default()
        })
        .await;
        let fixture = behind(|port| server.pointer(port)).await;
        let unchanged = async || {
            let was = server.serial();
            fixture.pointer.foresee().await.unwrap();
            assert_eq!(server.serial(), was, "{program:?}");
        };
        unchanged().await;
        fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
        unchanged().await;
    }
}

#[tokio::test]
async fn every_replica_is_an_address_of_the_name() {
    let server = Server::start().await;
    for (kind, shown) in [
        (Kind::A, ["192.0.2.1", "192.0.2.2"]),
        (Kind::Aaaa, ["2001:db8::1", "2001:db8::2"]),
    ] {
        let name = format!("{kind:?}.{ZONE}").to_lowercase();
        let fixture = behind(|port| {
            let (name, url) = (name.clone(), format!("http://{name}:{port}"));
            let plan = server.plan(port);
            Dns::new(DnsPlan {
                kind,
                name,
                url,
                ..plan
            })
            .unwrap()
        })
        .await;
        let mut desired = fixture.to(1);
        let all = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
        desired.routes[0].endpoints = all
            .map(|ip| {
                (
                    ip.parse::<std::net::IpAddr>().unwrap(),
                    fixture.at[0].port(),
                )
                    .into()
            })
            .into();
        fixture.pointer.write(None, &desired).await.unwrap();
        assert_eq!(server.dig(&name, &format!("{kind:?}")), shown);
        let found = fixture.pointer.read().await.unwrap().unwrap();
        assert_eq!(found.routes, desired.routes);
        let mut other = fixture.to(2);
        other.routes[0].endpoints = match kind {
            Kind::Aaaa => vec![fixture.at[1]],
            _ => vec![(std::net::Ipv6Addr::LOCALHOST, fixture.at[1].port()).into()],
        };
        let refused = fixture.pointer.write(Some(1), &other).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("nothing that a record of type"), "{said}");
    }
}

/// What is there already, as the zone's file has it.
async fn put_back(program: Program, lines: &str, kind: Kind, shown: &[&str]) {
    let server = Server::start_with(Config {
        program,
        lines: lines.into(),
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| {
        let plan = DnsPlan {
            kind,
            ..server.plan(port)
        };
        let slot = |slot: &str| (kind == Kind::Cname).then(|| format!("{slot}.{ZONE}"));
        Dns::new(DnsPlan {
            blue: slot("blue"),
            green: slot("green"),
            ..plan
        })
        .unwrap()
    })
    .await;
    let kind = shown[0].split(' ').nth(3).unwrap();
    assert_eq!(server.lines(NAME, kind), shown);
    pointer_contract::what_stood_there_is_put_back(&fixture).await;
    assert_eq!(server.lines(NAME, kind), shown);
}

#[tokio::test]
async fn addresses_that_stood_there_are_put_back() {
    let lines = "shop 3600 A 192.0.2.7\nshop 3600 A 192.0.2.8\nblue A 127.0.0.1\n";
    let shown = [
        "shop.example.org. 3600 IN A 192.0.2.7",
        "shop.example.org. 3600 IN A 192.0.2.8",
    ];
    put_back(Program::Bind, lines, Kind::A, &shown).await;
    put_back(Program::Knot, lines, Kind::A, &shown).await;
}

#[tokio::test]
async fn a_name_that_stood_there_is_put_back() {
    let lines = "shop 600 CNAME old.example.com.\nblue A 127.0.0.1\ngreen A 127.0.0.2\n";
    let shown = ["shop.example.org. 600 IN CNAME old.example.com."];
    put_back(Program::Bind, lines, Kind::Cname, &shown).await;
}

#[tokio::test]
async fn a_key_may_be_in_a_variable() {
    let server = Server::start().await;
    // The test runner gives every test a process of its own; the name is one of this test's alone.
    let variable = "FLIPSIDE_TEST_UPDATE_KEY";
    let stage = Stage::new().await;
    let plan = section(&server, 8080).replace(
        &format!(r#""key_file":"{}""#, server.path().join("key").display()),
        &format!(r#""key_variable":"{variable}""#),
    );
    assert!(plan.contains(variable), "{plan}");
    let settings = Settings {
        pointer: Some(plan),
        ..Settings::default()
    };
    stage.write_plan("1", &settings);
    let deploy = async |secret: Option<String>| {
        let mut command = stage.command(&["deploy"]);
        command.env_remove(variable);
        if let Some(secret) = secret {
            command.env(variable, secret);
        }
        command.output().await.unwrap()
    };
    let without = deploy(None).await;
    let said =
        String::from_utf8(without.stderr).unwrap() + &String::from_utf8(without.stdout).unwrap();
    assert!(
        said.contains("FLIPSIDE_TEST_UPDATE_KEY` is not set"),
        "{said}"
    );
    let with = deploy(Some(format!("hmac-sha256:shop:{SECRET}"))).await;
    assert_eq!(with.status.code(), Some(0), "{with:?}");
    let said = String::from_utf8(with.stdout).unwrap() + &String::from_utf8(with.stderr).unwrap();
    assert!(!said.contains(SECRET), "{said}");
    let mut down = stage.command(&["down", &stage.service, "--yes"]);
    down.env(variable, format!("hmac-sha256:shop:{SECRET}"));
    assert_eq!(down.output().await.unwrap().status.code(), Some(0));
}

/// Nothing may be retired while a resolver may still send users there.
#[tokio::test]
async fn a_move_has_settled_when_the_longer_ttl_has_passed() {
    let server = Server::start_with(Config {
        lines: "shop 3 A 127.0.0.9\n".into(),
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| server.pointer(port)).await;
    let pointer = &fixture.pointer;
    let there = pointer.read().await.unwrap().unwrap();
    assert_eq!(pointer.capabilities().settle_ms, 3_000);
    let adopted = flipside::core::routing::Routing {
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
    let long = took(1).await;
    assert!(long >= Duration::from_secs(3), "{long:?}");
    let again = took(1).await;
    assert!(again < Duration::from_millis(500), "{again:?}");
    pointer.write(Some(1), &fixture.to(2)).await.unwrap();
    let short = took(2).await;
    assert!(short >= Duration::from_secs(1), "{short:?}");
    assert!(short < Duration::from_secs(3), "{short:?}");
}

/// Without `servers` those are asked that the zone names, at the usual port.
#[tokio::test]
async fn the_servers_that_a_zone_names_are_asked() {
    let address = [127, 53, rand(), rand()];
    let second = [127, 54, rand(), rand()];
    let [one, two] = [address, second].map(|ip| std::net::SocketAddr::from((ip, 53)));
    let server = Server::start_with(Config {
        program: Program::Knot,
        at: one,
        notifies: vec![two],
        lines: format!("@ NS ns2\nns2 A {}\n", two.ip()),
        ..Config::default()
    })
    .await;
    let fixture = behind(|port| {
        Dns::new(DnsPlan {
            servers: Vec::new(),
            ..server.plan(port)
        })
        .unwrap()
    })
    .await;
    let pointer = &fixture.pointer;
    pointer.write(None, &fixture.to(1)).await.unwrap();
    let stuck = pointer.settled(1, 0, &Silent).await.unwrap_err();
    let said = stuck.to_string();
    assert!(said.contains(&format!("ns2.{ZONE} ({two})")), "{said}");
    assert!(!said.contains("ns1."), "{said}");
    let _second = Server::start_with(Config {
        program: Program::Knot,
        ..Server::secondary(two, one)
    })
    .await;
    pointer.settled(1, 10_000, &Silent).await.unwrap();
}

fn rand() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).unwrap();
    byte[0].clamp(1, 250)
}

/// As a plan's `pointer`.
fn section(server: &Server, port: u16) -> String {
    let plan = serde_json::json!({"dns": {
        "server": server.at().to_string(),
        "zone": ZONE,
        "name": NAME,
        "ttl": "1s",
        "key_file": server.path().join("key"),
        "servers": [server.at().to_string()],
        "url": format!("http://{NAME}:{port}"),
    }});
    plan.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_released_and_rolled_back_behind_it() {
    let server = Server::start().await;
    let stage = Stage::new().await;
    let settings = Settings {
        pointer: Some(section(&server, 8080)),
        ..Settings::default()
    };
    let answer = async || {
        let address = server.dig(NAME, "A").concat();
        let at = (address.parse::<std::net::IpAddr>().unwrap(), 8080).into();
        docker::get(at, "/").await.unwrap().1
    };
    let deploy = async |version: &str| {
        let ran = stage.start_deploy(version, &settings).ended().await;
        ran.ends(0);
        assert_eq!(answer().await, version);
    };
    deploy("1").await;
    deploy("2").await;
    stage.verb("rollback").await.ends(0);
    assert_eq!(answer().await, "1");
    deploy("3").await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["kind"], "dns", "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["live"]["release"], 3, "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    stage.verb("down").await.ends(0);
    assert_eq!(server.dig(NAME, "A"), [""; 0]);
    assert_eq!(server.dig(&format!("_flipside.{NAME}"), "TXT"), [""; 0]);
}

/// Where one server goes on sending users to the old release, the new one is taken back: then all say
/// the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_which_a_server_does_not_hear_is_taken_back() {
    let [one, two] = [(); 2].map(|()| std::net::SocketAddr::from(([127, 0, 0, 1], free_port())));
    let mut primary = Server::start_with(Config {
        at: one,
        notifies: vec![two],
        ..Config::default()
    })
    .await;
    let secondary = Server::start_with(Server::secondary(two, one)).await;
    let stage = Stage::new().await;
    let only = format!("\"servers\":[\"{one}\"]");
    let both = format!("\"servers\":[\"{one}\",\"{two}\"]");
    let settings = Settings {
        pointer: Some(section(&primary, 8080).replace(&only, &both)),
        ..Settings::default()
    };
    assert!(settings.pointer.as_ref().unwrap().contains(&both));
    let deploy = async |version: &str| stage.start_deploy(version, &settings).ended().await;
    deploy("1").await.ends(0);
    let before = primary.dig(NAME, "A");
    until("the secondary", async || {
        (secondary.dig(NAME, "A") == before).then_some(())
    })
    .await;
    primary.gives_away(false).await;
    let ran = deploy("2").await;
    ran.ends(3);
    let said = ran
        .lines
        .iter()
        .map(ToString::to_string)
        .collect::<String>();
    assert!(
        said.contains(&format!("{two} still says {}", before[0])),
        "{said}"
    );
    assert_eq!(
        (primary.dig(NAME, "A"), secondary.dig(NAME, "A")),
        (before.clone(), before)
    );
    let status = stage.status().await;
    assert_eq!(status["live"]["release"], 1, "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    primary.gives_away(true).await;
    deploy("3").await.ends(0);
    assert_eq!(primary.dig(NAME, "A"), secondary.dig(NAME, "A"));
    stage.verb("down").await.ends(0);
}
