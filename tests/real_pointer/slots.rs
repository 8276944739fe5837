//! The proxy as the forwarder of slots: what of the contract applies, and what else it owes the
//! pointer in front of it.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};

use flipside::core::names::{Release, Slot};
use flipside::core::progress::Silent;
use flipside::core::routing::{Mark, Route, Routing};
use flipside::pointer::proxy::{Control, ProxyPlan};
use flipside::pointer::{Pointer, PointerError, Way};
use flipside::proxy::control::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener};

use super::kit::{FLIPSIDE, Rig, Seen, free_port, named, ready, service, to};
use crate::support::pointer_contract::{self, Fixture};

/// A routing of two releases, one at each slot: of blue and of green.
fn both(blue: (u64, SocketAddr), green: (u64, SocketAddr)) -> Routing {
    let hung = |slot, (release, at)| Route {
        release: Release(release),
        slot,
        weight: 100,
        endpoints: vec![at],
    };
    Routing {
        routes: vec![hung(Slot::Blue, blue), hung(Slot::Green, green)],
        ..to(blue.0, blue.1)
    }
}

/// Who answers an HTTP request that is passed on; nothing where nobody does.
async fn answers(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    Some(ask(&mut stream).await)
}

async fn ask(stream: &mut TcpStream) -> String {
    let asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut bytes = vec![0; 1024];
    let answered = async {
        stream.write_all(asked).await?;
        stream.read(&mut bytes).await
    };
    match answered.await {
        Ok(read) => {
            let answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
            let (_, body) = answer.rsplit_once("\r\n").unwrap_or_default();
            body.to_owned()
        }
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// All of it but what asks through the pointer, which reads nothing of what it passes on: whether the
/// release with the weight answers, and whether it does after a removal, the tests below see for
/// themselves. Nor are there shares or a preview.
#[tokio::test]
async fn the_contract_holds_but_for_what_asks() {
    let rig = Rig::started().await;
    let at = [named("one").await, named("two").await];
    let fixture = || Fixture {
        pointer: Arc::new(rig.spoken_to(Control::Auto).at_slots().0),
        at,
    };
    pointer_contract::what_is_not_known_reads_as_nothing(&fixture()).await;
    pointer_contract::ready_twice_is_once(&fixture()).await;
    pointer_contract::a_look_ahead_moves_nothing(&fixture()).await;
    pointer_contract::a_write_reads_back_in_full(&fixture()).await;
    pointer_contract::a_write_twice_is_once(&fixture()).await;
    pointer_contract::a_write_over_something_else_moves_nothing(&fixture()).await;
    pointer_contract::a_lower_fence_moves_nothing(&fixture()).await;
    pointer_contract::a_preview_is_seen_by_those_who_ask(&fixture()).await;
    pointer_contract::what_was_not_in_flight_is_settled(&fixture()).await;
    pointer_contract::marks_add_up(&fixture()).await;
    pointer_contract::forgetting_twice_is_once(&fixture()).await;

    let fixture = fixture();
    let able = fixture.pointer.capabilities();
    assert!(!able.weighted && !able.preview && able.marks && able.counts);
    fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let asked = fixture.pointer.ask(Way::Service, "/").await;
    let Err(PointerError::Failed { what, .. }) = asked else {
        panic!("it asked through a slot: {asked:?}");
    };
    assert!(what.contains("unread"), "{what}");
}

#[tokio::test]
async fn each_slot_follows_its_route_and_a_removal_ends_it() {
    let rig = Rig::started().await;
    let (pointer, slots) = rig.spoken_to(Control::Auto).at_slots();
    let (one, two, three) = (named("one").await, named("two").await, named("three").await);
    let told = format!(
        "proxy {} (slots {}, {})",
        rig.name(),
        slots.blue,
        slots.green
    );
    assert_eq!(pointer.describe(), told);
    let first = both((1, one), (2, two));
    assert_eq!(pointer.write(None, &first).await, Ok(1));
    let read = pointer.read().await.unwrap().unwrap();
    assert_eq!(read.routes, first.routes);
    assert_eq!(answers(slots.blue).await.as_deref(), Some("one"));
    assert_eq!(answers(slots.green).await.as_deref(), Some("two"));

    let mut held = TcpStream::connect(slots.blue).await.unwrap();
    assert_eq!(ask(&mut held).await, "one");
    let second = both((3, three), (2, two));
    assert_eq!(pointer.write(Some(1), &second).await, Ok(2));
    assert_eq!(answers(slots.blue).await.as_deref(), Some("three"));
    assert_eq!(ask(&mut held).await, "one");
    let drained = pointer.settled(2, 50, &Silent).await.unwrap();
    assert_eq!((drained.in_flight, drained.cut), (Some(1), Some(1)));
    assert_eq!(ask(&mut held).await, "ConnectionReset");

    assert_eq!(pointer.write(Some(2), &to(3, three)).await, Ok(3));
    assert_eq!(answers(slots.green).await, None);
    for _ in 0..2 {
        assert_eq!(pointer.remove(1).await, Ok(()));
        assert_eq!(pointer.read().await, Ok(None));
        assert_eq!(answers(slots.blue).await, None);
    }
    assert_eq!(pointer.write(None, &both((2, two), (1, one))).await, Ok(1));
    assert_eq!(answers(slots.blue).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn without_a_plan_the_slots_are_those_of_the_entry() {
    let rig = Rig::started().await;
    let seen = rig.spoken_to(Control::Auto);
    let (name, (_, slots)) = (service(), seen.at_slots());
    let planned = seen.with(&name, Some(ProxyPlan::at(slots)));
    let (one, two) = (named("one").await, named("two").await);
    planned
        .write(None, &both((1, one), (2, two)))
        .await
        .unwrap();

    let bare = seen.with(&name, None);
    let read = bare.read().await.unwrap().unwrap();
    assert_eq!((read.routes.len(), read.generation), (2, 1));
    let able = bare.capabilities();
    assert!(!able.weighted && !able.preview);
    assert!(bare.ask(Way::Service, "/").await.is_err());
    assert_eq!(bare.foresee().await, Ok(()));
    bare.mark(1, Release(2), Mark::Proven).await.unwrap();
    assert_eq!(bare.write(Some(1), &both((2, two), (1, one))).await, Ok(2));
    assert_eq!(answers(slots.blue).await.as_deref(), Some("two"));
    assert_eq!(answers(slots.green).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn what_keeps_a_slot_from_its_address_is_foreseen() {
    let rig = Rig::started().await;
    let seen = rig.spoken_to(Control::Auto);
    let (_, slots) = seen.at_slots();
    let taken = |slots| seen.with(&service(), Some(ProxyPlan::at(slots)));
    let squatter = TcpListener::bind(slots.green).unwrap();
    let Err(PointerError::Failed { what, hint }) = taken(slots).foresee().await else {
        panic!("nothing was foreseen");
    };
    assert!(what.contains(&slots.green.to_string()), "{what}");
    assert!(hint.unwrap().contains("`reach: { slot: … }`"));
    drop(squatter);

    let (first, one) = (taken(slots), named("one").await);
    assert_eq!(first.foresee().await, Ok(()));
    first.write(None, &to(1, one)).await.unwrap();
    let other = flipside::core::plan::Slots {
        blue: ([127, 0, 0, 1], free_port()).into(),
        ..slots
    };
    let late = taken(other);
    for refused in [
        late.foresee().await,
        late.write(None, &to(1, one)).await.map(drop),
    ] {
        let Err(PointerError::Failed { what, hint }) = refused else {
            panic!("an address was given away twice: {refused:?}");
        };
        assert!(what.contains(&slots.green.to_string()), "{what}");
        assert!(hint.unwrap().contains("`reach: { slot: … }`"));
    }
    assert_eq!(late.read().await, Ok(None));
}

/// One that answers as the first version did stands in for it; it writes down what it is asked.
#[tokio::test]
async fn a_proxy_that_is_too_old_for_slots_is_not_written_to() {
    let rig = Rig::started().await;
    let real = Client::connect(&rig.socket()).await.unwrap();
    let mut hello = serde_json::to_value(real.hello().await.unwrap()).unwrap();
    hello["version"] = "0.0.9".into();
    hello.as_object_mut().unwrap().remove("knows").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = elsewhere.path().join(rig.name());
    std::fs::create_dir(&directory).unwrap();
    let listener = UnixListener::bind(directory.join("control.sock")).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = asked.clone();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (from, mut to) = stream.into_split();
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let request: Value = serde_json::from_str(&line).unwrap();
            note.lock().unwrap().push(request["op"].to_string());
            let reply = json!({"id": request["id"], "ok": hello});
            to.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
        }
    });
    let mut site = rig.spoken_to(Control::Socket).0;
    site.run_dir = elsewhere.path().to_owned();
    let (pointer, _) = Seen(site).at_slots();
    for refused in [
        ready(&pointer).await,
        pointer.foresee().await,
        pointer
            .write(None, &to(1, named("x").await))
            .await
            .map(drop),
    ] {
        let Err(PointerError::Failed { what, hint }) = refused else {
            panic!("it was asked for slots: {refused:?}");
        };
        assert!(what.contains("(it is of 0.0.9)"), "{what}");
        assert!(what.ends_with("nothing was touched"), "{what}");
        let way_out = format!("`docker rm -f {}`", rig.name());
        assert!(hint.unwrap().contains(&way_out));
    }
    assert_eq!(*asked.lock().unwrap(), ["\"hello\""]);
}

#[tokio::test]
async fn they_are_shown_by_proxy_status() {
    let rig = Rig::started().await;
    let (pointer, slots) = rig.spoken_to(Control::Auto).at_slots();
    let (one, two) = (named("one").await, named("two").await);
    let routing = both((1, one), (2, two));
    pointer.write(None, &routing).await.unwrap();
    let status = |output: &[&str]| {
        let run_dir = rig.site.run_dir.clone();
        let mut flipside = Command::new(FLIPSIDE);
        flipside.args(["proxy", "--proxy", rig.name(), "status"]);
        flipside.args(output).env("FLIPSIDE_RUN_DIR", run_dir);
        let said = flipside.env("COLUMNS", "300").output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    let people = status(&[]);
    let place = format!("blue {}, green {}", slots.blue, slots.green);
    assert!(people.contains(&place), "{people}");
    assert!(people.contains("blue @1, green @2"), "{people}");
    let told: Value = serde_json::from_str(&status(&["--output", "json"])).unwrap();
    let shown = &told["services"][0];
    assert_eq!(shown["slots"]["green"], slots.green.to_string());
    assert_eq!(shown["environments"][1]["slot"], "green");
}
