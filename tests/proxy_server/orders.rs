//! What the control socket does and refuses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use flipside::proxy::control::{Answer, Client, ClientError, Code, ControlError, Mark, Op, relay};
use http_body_util::Full;
use hyper::Response;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

use super::kit::{Proxy, Wire, backend, entry, eventually, free_port, named, raw, read_head};

pub fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ControlError {
    match result {
        Err(ClientError::Refused(error)) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_it_is() {
    let proxy = Proxy::start().await;
    let port = free_port();
    proxy.route(entry("shop", port, &[])).await;
    let hello = proxy.control.hello().await.unwrap();
    assert_eq!(hello.identity, "test-proxy");
    assert_eq!(hello.protocol, 1);
    assert_eq!(hello.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(hello.listeners.len(), 1);
    assert_eq!(hello.listeners[0].address.port(), port);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&proxy.options.socket)
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_fence_and_a_moved_generation_are_refused_with_what_is_there() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let mut first = entry("shop", port, &[]);
    first.fence = 7;
    assert_eq!(
        proxy
            .control
            .write(None, first.clone())
            .await
            .unwrap()
            .generation,
        1
    );

    let mut late = first.clone();
    late.fence = 6;
    late.reason = "late".into();
    let error = refusal(proxy.control.write(Some(1), late).await);
    assert_eq!(error.code, Code::StaleFence);
    assert_eq!(error.entry.as_ref().unwrap().fence, 7);

    let mut other = first.clone();
    other.reason = "other".into();
    let error = refusal(proxy.control.write(Some(5), other.clone()).await);
    assert_eq!(error.code, Code::GenerationMoved);
    assert_eq!(error.entry.unwrap().generation, 1);
    let error = refusal(proxy.control.write(None, other.clone()).await);
    assert_eq!(error.code, Code::GenerationMoved);
    let absent = refusal(proxy.control.write(Some(1), entry("none", port, &[])).await);
    assert_eq!((absent.code, absent.entry), (Code::GenerationMoved, None));

    for op in [
        Op::Mark {
            service: "shop".into(),
            release: 1,
            fence: 6,
            mark: Mark::Proven,
            generation: None,
        },
        Op::Forget {
            service: "shop".into(),
            releases: vec![1],
            fence: 6,
        },
        Op::Remove {
            service: "shop".into(),
            fence: 6,
        },
    ] {
        assert_eq!(refusal(proxy.control.call(op).await).code, Code::StaleFence);
    }
    let now = proxy.control.read("shop").await.unwrap().unwrap();
    assert_eq!((now.generation, now.reason.as_str()), (1, "test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_write_is_answered_again() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    let wanted = entry("shop", port, &[(1, 1, &[shop])]);
    let first = proxy.control.write(None, wanted.clone()).await.unwrap();
    assert_eq!(
        proxy.control.write(None, wanted.clone()).await.unwrap(),
        first
    );
    let second = proxy.control.write(Some(1), wanted.clone()).await.unwrap();
    assert_eq!(second.generation, 2);
    assert_eq!(
        proxy
            .control
            .write(Some(1), wanted)
            .await
            .unwrap()
            .generation,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_kept_fenced_and_forgotten() {
    let mut proxy = Proxy::start().await;
    let port = free_port();
    let unknown = proxy.control.mark("shop", 1, 1, Mark::Proven).await;
    assert_eq!(refusal(unknown).code, Code::UnknownService);
    proxy.route(entry("shop", port, &[])).await;
    for (release, mark) in [(1, Mark::Proven), (1, Mark::Served), (2, Mark::Withdrawn)] {
        let done = proxy.control.mark("shop", release, 3, mark).await.unwrap();
        assert_eq!(done.generation, 1, "marks move nothing");
    }
    proxy.restart().await;
    let now = proxy.control.read("shop").await.unwrap().unwrap();
    assert_eq!(now.fence, 3);
    assert!(now.marks[&1].proven && !now.marks[&1].withdrawn && now.marks[&2].withdrawn);
    assert_eq!(now.marks[&1].served, Some(1));
    let op = Op::Forget {
        service: "shop".into(),
        releases: vec![1, 9],
        fence: 3,
    };
    proxy.control.call(op).await.unwrap();
    let now = proxy.control.read("shop").await.unwrap().unwrap();
    assert_eq!(now.marks.keys().copied().collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named_and_nothing_changes() {
    let proxy = Proxy::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = refusal(proxy.control.write(None, entry("shop", port, &[])).await);
    assert_eq!(error.code, Code::ListenFailed);
    assert_eq!(error.address, Some(format!("127.0.0.1:{port}")));
    let said = &error.message;
    assert!(said.contains("another process listens there"), "{said}");
    assert_eq!(proxy.control.read("shop").await.unwrap(), None);
    assert!(!proxy.table_file("shop").exists());

    // Another proxy's sockets would share the address silently, were they not looked for.
    let second = Proxy::start().await;
    let port = free_port();
    proxy.route(entry("shop", port, &[])).await;
    let error = refusal(second.control.write(None, entry("shop", port, &[])).await);
    assert_eq!(error.code, Code::ListenFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_service_of_a_listener_takes_it_along() {
    let proxy = Proxy::start().await;
    let port = free_port();
    for (service, host) in [("one", "one.example"), ("two", "two.example")] {
        let mut entry = entry(service, port, &[]);
        entry.hosts = vec![host.into()];
        proxy.route(entry).await;
    }
    assert!(proxy.control.remove("one", 1).await.unwrap().existed);
    assert_eq!(
        Wire::open(port).await.get("two.example", "/").await.status,
        503
    );
    assert_eq!(
        Wire::open(port).await.get("one.example", "/").await.status,
        404
    );
    assert!(proxy.control.remove("two", 1).await.unwrap().existed);
    assert!(!proxy.control.remove("two", 1).await.unwrap().existed);
    assert!(!proxy.table_file("one").exists());
    eventually("the listener is closed", || async {
        TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
    assert!(proxy.control.hello().await.unwrap().listeners.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_can_move_to_another_listener() {
    let proxy = Proxy::start().await;
    let (before, after) = (free_port(), free_port());
    let shop = named("shop").await;
    proxy.route(entry("shop", before, &[(1, 1, &[shop])])).await;
    proxy.route(entry("shop", after, &[(1, 1, &[shop])])).await;
    assert_eq!(Wire::open(after).await.get("x", "/").await.body, "shop");
    eventually("the old listener is closed", || async {
        TcpStream::connect(("127.0.0.1", before)).await.is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_goes_through_the_listener_and_names_the_release() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let (address, taken) = raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(!head.contains("flipside"), "{head}");
        let answer = b"HTTP/1.1 204 No Content\r\nFlipside-Release: 99\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let mut wanted = entry("shop", port, &[(42, 1, &[address])]);
    wanted.listen = format!(":{port}");
    wanted.hosts = vec!["shop.example".into()];
    proxy.route(wanted).await;
    let asked = proxy.control.ask("shop", "/up", false, 2000).await.unwrap();
    assert_eq!((asked.status, asked.release), (204, Some(42)));
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    let op = Op::Ask {
        service: "shop".into(),
        method: "GET".into(),
        path: "/".into(),
        host: Some("other.example".into()),
        preview: false,
        timeout_ms: 2000,
    };
    match proxy.control.call(op).await.unwrap() {
        Answer::Asked(asked) => assert_eq!((asked.status, asked.release), (404, None)),
        other => panic!("{other:?}"),
    }
    let error = refusal(proxy.control.ask("none", "/", false, 100).await);
    assert_eq!(error.code, Code::UnknownService);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_of_different_services_do_not_disturb_each_other() {
    let proxy = Arc::new(Proxy::start().await);
    let port = free_port();
    let backend = named("shop").await;
    let writers: Vec<_> = (0..16)
        .map(|number| {
            let proxy = proxy.clone();
            tokio::spawn(async move {
                let client = Client::connect(&proxy.options.socket).await.unwrap();
                let mut wanted = entry(&format!("s{number}"), port, &[(1, 1, &[backend])]);
                wanted.hosts = vec![format!("s{number}.example")];
                let mut expected = None;
                for _ in 0..10 {
                    let written = client.write(expected, wanted.clone()).await.unwrap();
                    expected = Some(written.generation);
                }
                assert_eq!(expected, Some(10));
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(proxy.control.list().await.unwrap().len(), 16);
    let mut wire = Wire::open(port).await;
    for number in 0..16 {
        assert_eq!(
            wire.get(&format!("s{number}.example"), "/").await.body,
            "shop"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_one_connection_do_not_wait_for_each_other() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let gate = Arc::new(Semaphore::new(0));
    let slow = {
        let gate = gate.clone();
        backend(move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Response::new(Full::from("slow"))
            }
        })
        .await
    };
    proxy.route(entry("shop", port, &[(1, 1, &[slow])])).await;
    let asking = proxy.control.ask("shop", "/", false, 60_000);
    let others = async {
        for _ in 0..100 {
            proxy.control.hello().await.unwrap();
        }
        gate.add_permits(1);
    };
    // The slow call ends only once the others have been answered.
    let (asked, ()) = tokio::join!(asking, others);
    assert_eq!(asked.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_and_harms_nobody() {
    let proxy = Proxy::start().await;
    let mut stream = UnixStream::connect(&proxy.options.socket).await.unwrap();
    let lines = [
        "\u{0}\u{1}garbage",
        "[]",
        "{}",
        r#"{"v":2,"id":5,"op":"hello"}"#,
        r#"{"v":1,"id":6,"op":"dance"}"#,
        r#"{"v":1,"id":7,"op":"read"}"#,
        r#"{"v":1,"id":8,"op":"write","expected_generation":null,"entry":{"v":1}}"#,
        r#"{"v":1,"id":9,"op":"read","service":"../../etc/passwd"}"#,
    ];
    for line in lines {
        stream.write_all(line.as_bytes()).await.unwrap();
        stream.write_all(b"\n").await.unwrap();
    }
    let mut replies = BufReader::new(stream).lines();
    for line in lines {
        let reply = replies.next_line().await.unwrap().unwrap();
        let fine = reply.contains("bad_request") || reply == r#"{"id":9,"ok":{"entry":null}}"#;
        assert!(fine, "{line} got {reply}");
    }
    for wrong in [
        {
            let mut it = entry("../x", free_port(), &[]);
            it.v = 1;
            it
        },
        {
            let mut it = entry("shop", free_port(), &[]);
            it.listen = "nowhere".into();
            it
        },
        {
            let mut it = entry("shop", free_port(), &[]);
            it.v = 2;
            it
        },
        {
            let mut it = entry("shop", free_port(), &[]);
            it.hosts = vec!["a b".into()];
            it
        },
        entry("shop", free_port(), &[(1, 1, &[]), (1, 1, &[])]),
    ] {
        let error = refusal(proxy.control.write(None, wrong).await);
        assert_eq!(error.code, Code::BadRequest);
    }
    let mut flood = UnixStream::connect(&proxy.options.socket).await.unwrap();
    let sent = flood.write_all(&vec![b'x'; 5 * 1024 * 1024]).await;
    let mut reply = String::new();
    let read = flood.read_to_string(&mut reply).await;
    assert!(
        read.is_err() || sent.is_err() || reply.contains("bad_request"),
        "{reply}"
    );
    proxy.control.hello().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_carries_a_whole_conversation() {
    let proxy = Proxy::start().await;
    let (ours, theirs) = tokio::io::duplex(4096);
    let socket = proxy.options.socket.clone();
    let (input, output) = tokio::io::split(theirs);
    let relaying = tokio::spawn(async move { relay(&socket, input, output).await });
    let client = Client::over(ours);
    assert_eq!(client.hello().await.unwrap().identity, "test-proxy");
    let port = free_port();
    client.write(None, entry("shop", port, &[])).await.unwrap();
    assert_eq!(client.list().await.unwrap().len(), 1);
    drop(client);
    relaying.await.unwrap().unwrap();

    let mut output = Vec::new();
    let input = &b"{\"v\":1,\"id\":3,\"op\":\"read\",\"service\":\"none\"}\n"[..];
    relay(&proxy.options.socket, input, &mut output)
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8(output).unwrap(),
        "{\"id\":3,\"ok\":{\"entry\":null}}\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_free_again_as_soon_as_its_service_is_removed() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    for _ in 0..20 {
        proxy.route(entry("shop", port, &[(1, 1, &[shop])])).await;
        assert_eq!(Wire::open(port).await.get("x", "/").await.body, "shop");
        proxy.control.remove("shop", 1).await.unwrap();
        drop(std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_for_a_release_that_is_gone_is_forgotten_with_its_marks() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    for release in [1, 2] {
        proxy
            .route(entry("shop", port, &[(release, 1, &[shop])]))
            .await;
        assert_eq!(Wire::open(port).await.get("x", "/").await.body, "shop");
    }
    let op = Op::Forget {
        service: "shop".into(),
        releases: vec![1, 2],
        fence: 1,
    };
    proxy.control.call(op).await.unwrap();
    let stats = proxy.control.stats("shop").await.unwrap();
    assert_eq!(stats.releases.keys().copied().collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_an_address_that_is_given_up_are_answered_to_the_end() {
    let proxy = Proxy::start().await;
    let (before, after) = (free_port(), free_port());
    let gate = Arc::new(Semaphore::new(0));
    let shop = {
        let gate = gate.clone();
        backend(move |request| {
            let gate = gate.clone();
            async move {
                if request.uri().path() == "/wait" {
                    gate.acquire().await.unwrap().forget();
                }
                Response::new(Full::from("shop"))
            }
        })
        .await
    };
    proxy.route(entry("shop", before, &[(1, 1, &[shop])])).await;
    let mut resting = Wire::open(before).await;
    assert_eq!(resting.get("x", "/").await.body, "shop");
    let mut asking = Wire::open(before).await;
    asking.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("it is on its way", || async {
        proxy.control.stats("shop").await.unwrap().releases[&1].in_flight == 1
    })
    .await;
    proxy.route(entry("shop", after, &[(1, 1, &[shop])])).await;
    assert_eq!(resting.rest_of_one().await, "", "closed, not told 404");
    gate.add_permits(1);
    let answer = asking.answer().await;
    assert_eq!(answer.body, "shop");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(Wire::open(after).await.get("x", "/").await.body, "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_can_be_widened_and_narrowed_by_the_only_service_on_it() {
    let proxy = Proxy::start().await;
    let port = free_port();
    let shop = named("shop").await;
    let narrow = entry("shop", port, &[(1, 1, &[shop])]);
    let mut wide = narrow.clone();
    wide.listen = format!(":{port}");
    for wanted in [&narrow, &wide, &narrow, &wide] {
        proxy.route(wanted.clone()).await;
        assert_eq!(Wire::open(port).await.get("x", "/").await.body, "shop");
        assert_eq!(proxy.control.hello().await.unwrap().listeners.len(), 1);
    }
    let mut other = entry("blog", port, &[(1, 1, &[shop])]);
    other.hosts = vec!["blog.example".into()];
    let error = refusal(proxy.control.write(None, other).await);
    assert_eq!(error.code, Code::HostTaken);
    let said = &error.message;
    assert!(said.contains("this proxy already listens on"), "{said}");
    assert!(said.contains("for service `shop`"), "{said}");
}
