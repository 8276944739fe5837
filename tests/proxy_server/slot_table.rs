//! Entries with slots: what is refused, who has an address, what comes back after a kill.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use flipside::proxy::control::{Code, Entry, SLOTS};
use flipside::proxy::table::Preview;

use super::kit::{Outside, Proxy, Wire, entry, eventually, free_port, named, slots};
use super::orders::refusal;
use super::slots::{connect, echo, met, ports};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_sound_is_refused() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    let at = [blue, green];
    let one = echo("one.").await;
    let good = slots("shop", at, &[(1, 100, &[one])]);
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut entry = good.clone();
        change(&mut entry);
        entry
    };
    let named = |slot: &str, address: &str| (slot.to_owned(), address.to_owned());
    let bad = [
        (
            with(&|it| it.listen = format!("127.0.0.1:{blue}")),
            "`listen`",
        ),
        (with(&|it| it.hosts = vec!["a.example".into()]), "hosts"),
        (with(&|it| it.preview = Some(Preview::default())), "preview"),
        (
            with(&|it| it.slots.extend([named("red", "127.0.0.1:9")])),
            "`red` is no slot",
        ),
        (
            with(&|it| it.slots.extend([named("green", "nowhere")])),
            "`nowhere` is no address",
        ),
        (
            with(&|it| it.slots.extend([named("green", &format!(":{blue}"))])),
            "both slots have the address",
        ),
        (
            slots("shop", at, &[(1, 1, &[one]), (3, 1, &[one])]),
            "releases 1 and 3 both hang on the slot `blue`",
        ),
        (
            with(&|it| it.environments[0].slot = String::new()),
            "release 1 hangs on the slot ``, which has no address",
        ),
        (
            with(&|it| drop(it.slots.remove("blue"))),
            "release 1 hangs on the slot `blue`, which has no address",
        ),
        (with(&|it| it.slots.clear()), "`` is no address"),
    ];
    for (entry, why) in bad {
        let refused = refusal(proxy.control.write(None, entry).await);
        assert_eq!(refused.code, Code::BadRequest, "{why}");
        assert!(refused.message.contains(why), "{}", refused.message);
    }
    assert_eq!(proxy.control.list().await.unwrap(), []);
    // At weight 0 nothing hangs anywhere.
    let known = slots("shop", at, &[(1, 100, &[one]), (3, 0, &[one])]);
    proxy.control.write(None, known).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_shares_the_address_of_a_slot() {
    let proxy = Proxy::start().await;
    let [blue, green] = ports();
    let one = echo("one.").await;
    let web = named("web").await;
    let [free, other] = ports();
    proxy
        .route(slots("shop", [blue, green], &[(1, 100, &[one])]))
        .await;
    proxy.route(entry("web", other, &[(1, 1, &[web])])).await;
    let wide = |port| Entry {
        listen: format!(":{port}"),
        hosts: vec!["wide.example".into()],
        ..entry("late", 0, &[])
    };
    // Green is not open, and yet it is the service's.
    let late = [
        entry("late", blue, &[]),
        entry("late", green, &[]),
        wide(blue),
        wide(green),
        slots("late", [free, green], &[]),
        slots("late", [other, free], &[]),
        slots("late", [free, other], &[(1, 1, &[one])]),
    ];
    for entry in late {
        let refused = refusal(proxy.control.write(None, entry.clone()).await);
        assert_eq!(refused.code, Code::HostTaken, "{entry:?}");
        let said = refused.message;
        assert!(said.contains("`shop`") || said.contains("`web`"), "{said}");
    }
    assert_eq!(proxy.control.read("late").await.unwrap(), None);
    assert_eq!(met(blue).await.1, "one.");
    assert_eq!(Wire::open(other).await.get("x", "/").await.body, "web");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_moves_nothing_and_is_tried_again_after_a_restart() {
    let mut proxy = Proxy::start().await;
    let at = ports();
    let (one, two) = (echo("one.").await, echo("two.").await);
    let squatter = std::net::TcpListener::bind(("127.0.0.1", at[1])).unwrap();
    proxy.route(slots("shop", at, &[(1, 100, &[one])])).await;
    let both = slots("shop", at, &[(3, 100, &[two]), (2, 100, &[two])]);
    let refused = refusal(proxy.control.write(Some(1), both.clone()).await);
    assert_eq!(refused.code, Code::ListenFailed);
    assert_eq!(refused.address, Some(format!("127.0.0.1:{}", at[1])));
    assert_eq!(met(at[0]).await.1, "one.");
    let now = proxy.control.read("shop").await.unwrap().unwrap();
    assert_eq!(now.generation, 1);

    drop(squatter);
    proxy.control.write(Some(1), both).await.unwrap();
    assert_eq!(met(at[1]).await.1, "two.");
    drop(proxy.server.take());
    let squatter = std::net::TcpListener::bind(("127.0.0.1", at[1])).unwrap();
    proxy.restart().await;
    assert_eq!(met(at[0]).await.1, "two.");
    let hello = proxy.control.hello().await.unwrap();
    let closed: Vec<_> = hello
        .listeners
        .iter()
        .filter(|it| it.error.is_some())
        .collect();
    assert_eq!((closed.len(), closed[0].address.port()), (1, at[1]));
    drop(squatter);
    eventually("it listens", || async { connect(at[1]).await.is_ok() }).await;
    assert_eq!(met(at[1]).await.1, "two.");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_come_back_after_a_kill() {
    let mut proxy = Outside::start(1024);
    let control = proxy.control().await;
    let at = ports();
    let (one, two) = (echo("one.").await, echo("two.").await);
    let mut wanted = slots("shop", at, &[(1, 100, &[one]), (2, 100, &[two])]);
    wanted.marks.entry(1).or_default().served = Some(1);
    control.write(None, wanted.clone()).await.unwrap();
    assert_eq!(met(at[0]).await.1, "one.");
    proxy.kill_and_start();
    let control = proxy.control().await;
    wanted.generation = 1;
    assert_eq!(control.read("shop").await.unwrap(), Some(wanted));
    assert_eq!(met(at[0]).await.1, "one.");
    assert_eq!(met(at[1]).await.1, "two.");

    // One that is taken away stays away.
    let less = slots("shop", at, &[(1, 100, &[one])]);
    control.write(Some(1), less).await.unwrap();
    proxy.kill_and_start();
    // Its socket is there before its listeners are, its answers after.
    proxy.control().await.hello().await.unwrap();
    assert_eq!(met(at[0]).await.1, "one.");
    let refused = connect(at[1]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_saved_entries_for_one_address_the_earlier_keeps_it() {
    let mut proxy = Proxy::start().await;
    let at = ports();
    let [other, spare] = ports();
    let one = echo("one.").await;
    let web = named("web").await;
    let mut first = slots("zfirst", at, &[(1, 100, &[one])]);
    first.at_ms = 1_000;
    proxy.route(first).await;
    let mut second = entry("second", other, &[(1, 1, &[web])]);
    second.at_ms = 2_000;
    proxy.route(second).await;
    drop(proxy.server.take());
    let file = proxy.table_file("second");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&other.to_string(), &at[0].to_string())).unwrap();
    proxy.restart().await;
    assert_eq!(met(at[0]).await.1, "one.");
    let bad = proxy.control.hello().await.unwrap().bad_entries;
    assert_eq!((bad.len(), bad[0].file.as_str()), (1, "second.json"));
    assert!(bad[0].reason.contains("`zfirst`"), "{}", bad[0].reason);
    assert!(connect(spare).await.is_err());
}

/// What tells a client that an entry with slots is understood. A proxy that does not know them
/// refuses one, since `listen` is no address; it would otherwise serve what nobody asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_says_that_it_knows_slots() {
    let proxy = Proxy::start().await;
    let knows = proxy.control.hello().await.unwrap().knows;
    assert!(knows.iter().any(|it| it == SLOTS), "{knows:?}");
    let mut unknown = slots("shop", [free_port(), free_port()], &[]);
    // As the first version reads it.
    unknown.slots = BTreeMap::new();
    assert!(unknown.check().unwrap_err().contains("`` is no address"));
}
