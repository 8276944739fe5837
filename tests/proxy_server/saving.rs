//! The table on disk.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use flipside::proxy::Server;
use flipside::proxy::control::{Code, Mark};
use flipside::proxy::table::{Deadline, Marks, Preview};
use tokio::sync::oneshot;

use super::kit::{Outside, Proxy, Wire, entry, eventually, free_port, named};
use super::orders::refusal;

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_after_a_restart() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    let mut wanted = entry("shop", port, &[(1, 3, &[shop]), (2, 0, &[])]);
    wanted.marks = BTreeMap::from([(
        1,
        Marks {
            proven: true,
            served: Some(1),
            withdrawn: false,
        },
    )]);
    wanted.deadline = Some(Deadline {
        at_ms: 5,
        back_to: wanted.environments.clone(),
    });
    wanted.preview = Some(Preview {
        release: Some(2),
        header: Some("X-Preview: yes".into()),
        hosts: vec!["next.shop.example".into()],
    });
    wanted.hosts = vec!["shop.example".into()];
    proxy.route(wanted.clone()).await;
    proxy.restart().await;
    wanted.generation = 1;
    assert_eq!(proxy.control.read("shop").await.unwrap(), Some(wanted));
    assert_eq!(
        Wire::open(port).await.get("shop.example", "/").await.body,
        "shop"
    );
    let left = files(&proxy.options.table);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_entry_harms_only_itself() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    proxy.route(entry("shop", port, &[(1, 1, &[shop])])).await;
    drop(proxy.server.take());
    fs::write(proxy.options.table.join(".entry-x"), "half a").unwrap();
    let good = fs::read_to_string(proxy.table_file("shop")).unwrap();
    let newer = good
        .replace("\"v\": 1", "\"v\": 2")
        .replace("shop", "newer");
    fs::write(proxy.table_file("newer"), &newer).unwrap();
    fs::write(proxy.table_file("garbage"), b"\x00\xff").unwrap();
    fs::write(proxy.table_file("other"), &good).unwrap();
    fs::write(
        proxy.table_file("shop"),
        good.replacen('{', "{\"later\": {\"x\": 1},", 1),
    )
    .unwrap();
    proxy.restart().await;

    assert_eq!(Wire::open(port).await.get("x", "/").await.body, "shop");
    let hello = proxy.control.hello().await.unwrap();
    let bad: Vec<_> = hello
        .bad_entries
        .iter()
        .map(|it| it.service.as_str())
        .collect();
    assert_eq!(bad, ["garbage", "newer", "other"]);
    assert!(hello.bad_entries[1].reason.contains("newer flipside"));
    assert_eq!(
        refusal(proxy.control.read("newer").await).code,
        Code::BadEntry
    );

    assert!(!proxy.options.table.join(".entry-x").exists());

    let mut again = entry("newer", port, &[]);
    again.hosts = vec!["newer.example".into()];
    assert_eq!(
        refusal(proxy.control.write(None, again).await).code,
        Code::BadEntry
    );
    assert_eq!(
        fs::read_to_string(proxy.table_file("newer")).unwrap(),
        newer
    );

    let mut again = entry("garbage", port, &[]);
    again.hosts = vec!["garbage.example".into()];
    proxy.control.write(None, again).await.unwrap();
    let aside = proxy.options.table.join("garbage.json.bad");
    assert_eq!(
        fs::read(aside).unwrap(),
        b"\x00\xff",
        "kept, out of the way"
    );
    assert_eq!(proxy.control.hello().await.unwrap().bad_entries.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_saving_fails_nothing_changes() {
    let proxy = Proxy::start().await;
    let (port, other) = (free_port(), free_port());
    let (one, two) = (named("one").await, named("two").await);
    proxy.route(entry("shop", port, &[(1, 1, &[one])])).await;
    // Tests may run as root, whom no mode keeps out; a directory that is gone keeps out everybody.
    let away = proxy.options.table.with_extension("away");
    fs::rename(&proxy.options.table, &away).unwrap();
    let error = refusal(
        proxy
            .control
            .write(Some(1), entry("shop", port, &[(2, 1, &[two])]))
            .await,
    );
    assert_eq!(error.code, Code::StoreFailed);
    let error = refusal(proxy.control.write(None, entry("new", other, &[])).await);
    assert_eq!(error.code, Code::StoreFailed);
    let marking = proxy
        .control
        .mark("shop", 1, 1, flipside::proxy::control::Mark::Proven);
    assert_eq!(refusal(marking.await).code, Code::StoreFailed);
    assert_eq!(Wire::open(port).await.get("x", "/").await.body, "one");
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", other))
            .await
            .is_err()
    );
    let now = proxy.control.read("shop").await.unwrap().unwrap();
    assert_eq!((now.generation, now.marks.len()), (1, 0));

    fs::rename(&away, &proxy.options.table).unwrap();
    proxy.route(entry("shop", port, &[(2, 1, &[two])])).await;
    assert_eq!(Wire::open(port).await.get("x", "/").await.body, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_taken_at_the_start_is_reported_and_tried_again() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    proxy.route(entry("shop", port, &[(1, 1, &[shop])])).await;
    drop(proxy.server.take());
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    proxy.restart().await;
    let listeners = proxy.control.hello().await.unwrap().listeners;
    assert!(listeners[0].error.as_ref().unwrap().contains("in use"));
    drop(taken);
    eventually("it listens", || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    })
    .await;
    assert_eq!(Wire::open(port).await.get("x", "/").await.body, "shop");
    assert_eq!(
        proxy.control.hello().await.unwrap().listeners[0].error,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_do_not_share_a_socket() {
    let proxy = Proxy::start().await;
    let error = Server::start(proxy.options.clone()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    proxy.control.hello().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_saved_entries_for_one_host_the_earlier_keeps_its_traffic() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let (first, second) = (named("first").await, named("second").await);
    let mut wanted = entry("second", port, &[(1, 1, &[second])]);
    wanted.hosts = vec!["other.example".into()];
    wanted.at_ms = 2_000;
    proxy.route(wanted).await;
    let mut wanted = entry("zfirst", port, &[(1, 1, &[first])]);
    wanted.hosts = vec!["shop.example".into()];
    wanted.at_ms = 1_000;
    proxy.route(wanted).await;
    drop(proxy.server.take());
    let file = proxy.table_file("second");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("other.example", "Shop.example")).unwrap();
    proxy.restart().await;

    let answer = Wire::open(port).await.get("shop.example", "/").await;
    assert_eq!(answer.body, "first");
    let bad = proxy.control.hello().await.unwrap().bad_entries;
    assert_eq!((bad.len(), bad[0].file.as_str()), (1, "second.json"));
    let said = &bad[0].reason;
    assert!(said.contains("`zfirst` already answers host"), "{said}");
    let error = refusal(proxy.control.read("second").await);
    assert_eq!(error.code, Code::BadEntry);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_neither_marked_nor_lost_by_a_removal() {
    let mut proxy = Proxy::start().await;
    drop(proxy.server.take());
    fs::write(proxy.table_file("newer"), r#"{"v": 2}"#).unwrap();
    fs::write(proxy.table_file("garbage"), "half a").unwrap();
    proxy.restart().await;
    for service in ["newer", "garbage"] {
        let marked = proxy.control.mark(service, 1, 1, Mark::Proven).await;
        assert_eq!(refusal(marked).code, Code::BadEntry);
    }
    let error = refusal(proxy.control.remove("newer", 1).await);
    assert_eq!(error.code, Code::BadEntry);
    assert!(proxy.table_file("newer").exists());
    assert!(proxy.control.remove("garbage", 1).await.unwrap().existed);
    assert!(!proxy.table_file("garbage").exists());
    let aside = proxy.options.table.join("garbage.json.bad");
    assert_eq!(fs::read_to_string(aside).unwrap(), "half a");
    let left = files(&proxy.options.table);
    assert_eq!(left.len(), 2, "nothing unfinished is left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_among_writes_leaves_the_last_entry_answered_for_or_the_next_one_whole() {
    let mut proxy = Outside::start(1024);
    let port = free_port();
    // Long, so that a file written in place would be met half written.
    let endpoints: Vec<SocketAddr> = (1..2000).map(|it| ([127, 0, 0, 1], it).into()).collect();
    let mut saved = None;
    for round in 0..20 {
        let control = proxy.control().await;
        assert!(control.hello().await.unwrap().bad_entries.is_empty());
        let found = control.read("shop").await.unwrap();
        let generation = found.as_ref().map(|found| found.generation);
        let lost = (generation, saved);
        assert!(generation == saved || generation == next(saved), "{lost:?}");
        if let Some(found) = found {
            assert_eq!(found.environments[0].release, found.generation);
            assert_eq!(found.environments[0].endpoints, endpoints);
        }
        let (wrote, enough) = oneshot::channel();
        let mut wrote = Some(wrote);
        let endpoints = endpoints.clone();
        let writing = tokio::spawn(async move {
            let mut generation = generation;
            for number in 0.. {
                if number == 1 + round % 4 {
                    wrote.take().unwrap().send(()).unwrap();
                }
                let release = next(generation).unwrap();
                let wanted = entry("shop", port, &[(release, 0, &endpoints)]);
                match control.write(generation, wanted).await {
                    Ok(written) => generation = Some(written.generation),
                    Err(_killed) => break,
                }
            }
            generation
        });
        enough.await.unwrap();
        proxy.kill_and_start();
        saved = writing.await.unwrap();
        let left = files(&proxy.table());
        assert!(left.len() <= 2, "{left:?}");
    }
}

fn next(generation: Option<u64>) -> Option<u64> {
    Some(generation.unwrap_or(0) + 1)
}

/// The names in a table's directory, but for what keeps room for the next save.
fn files(table: &std::path::Path) -> Vec<String> {
    let names = fs::read_dir(table).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".spare").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn room_for_the_next_save_is_kept_from_the_start() {
    let proxy = Proxy::start().await;
    let spare = proxy.options.table.join(".spare");
    let size = || fs::metadata(&spare).map(|found| found.len()).unwrap_or(0);
    assert!(size() >= 64 << 10, "{}", size());
    fs::remove_file(&spare).unwrap();
    let shop = named("shop").await;
    proxy
        .route(entry("shop", free_port(), &[(1, 1, &[shop])]))
        .await;
    assert!(size() >= 64 << 10, "{}", size());
}
