//! The verbs, with an engine of the test's own in a network of its own, and a client outside it.

use std::process::Command;

use serde_json::Value;

use crate::real_crash::daemon::Host;
use crate::real_crash::kit::{Settings, Stage, as_root, quiet, root, sh};

/// Set within the network: the engine's address, and the name of the client's namespace.
const INSIDE: &str = "FLIPSIDE_TEST_HOST";

/// The host's address, as the client has it.
const AT: &str = "10.9.0.1";

/// A client's namespace, joined to a host's, removed when it is dropped.
struct Client(String);

impl Client {
    fn of(host: &str) -> Self {
        let client = Self(format!("{host}c"));
        let ip = |words: &str| {
            let words: Vec<_> = ["ip"].into_iter().chain(words.split(' ')).collect();
            root(&words);
        };
        let name = &client.0;
        ip(&format!("netns add {name}"));
        ip(&format!(
            "-n {host} link add out type veth peer name up0 netns {name}"
        ));
        for (at, link, last) in [(host, "out", 1), (name, "up0", 2)] {
            ip(&format!("-n {at} addr add 10.9.0.{last}/24 dev {link}"));
            ip(&format!("-n {at} link set {link} up"));
        }
        ip(&format!("-n {name} route add default via {AT}"));
        client
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        quiet(&[as_root(), &["ip", "netns", "del", &self.0]].concat());
    }
}

/// What a client outside is answered, on a connection of its own.
fn asked(client: &str, port: u16) -> String {
    let script = "exec 3<>/dev/tcp/$1/$2 || exit 1
        printf 'GET / HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n' >&3
        cat <&3";
    let (net, port) = (format!("--net=/run/netns/{client}"), port.to_string());
    let words = [
        "nsenter", &net, "timeout", "5", "bash", "-c", script, "get", AT, &port,
    ];
    let said = sh(&[as_root(), &words].concat());
    said.rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The rules that let clients through to containers.
fn lets_through() -> String {
    root(&["iptables", "-S", "DOCKER-USER"])
}

async fn plays(url: String, client: &str) {
    let stage = Stage::on(url);
    let (service, port) = (stage.service.clone(), stage.port);
    let kept = stage.state().with_extension("nft").display().to_string();
    let table = format!("flipside_{}", service.replace('-', "_"));
    let pointer = serde_json::json!({"nftables": {
        "table": table,
        "listen": format!("{AT}:{port}"), "url": format!("http://{AT}:{port}"), "state": kept,
    }});
    let settings = Settings {
        replicas: 2,
        pointer: Some(pointer.to_string()),
        ..Settings::default()
    };
    let untouched = lets_through();
    for version in ["1", "2"] {
        stage.write_plan(version, &settings);
        stage.run(&["deploy"]).await.ends(0);
        assert_eq!(asked(client, port), version);
    }
    assert_ne!(lets_through(), untouched);
    let status = stage.status().await;
    let agrees = &status["pointer"]["agrees"];
    assert_eq!(
        (&status["live"]["release"], agrees),
        (&Value::from(2), &Value::Bool(true))
    );
    assert_eq!(status["standby"][0]["release"], 1);

    stage.verb("rollback").await.ends(0);
    assert_eq!(asked(client, port), "1");
    assert_eq!(stage.status().await["live"]["release"], 1);
    // The table is gone, as by a hand: that is told, and put right by who says so.
    root(&["nft", "delete", "table", "inet", &table]);
    stage.write_plan("3", &settings);
    stage.run(&["deploy"]).await.ends(4);
    stage.run(&["deploy", "--force"]).await.ends(0);
    assert_eq!(asked(client, port), "3");

    stage.run(&["down", &service, "--yes"]).await.ends(0);
    assert!(!root(&["nft", "list", "ruleset"]).contains(&table));
    assert_eq!(lets_through(), untouched);
}

#[test]
fn a_service_is_released_and_rolled_back_by_the_kernel() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    if let Ok(inside) = std::env::var(INSIDE) {
        let (url, client) = inside.split_once(' ').unwrap();
        return runtime().block_on(plays(url.to_owned(), client));
    }
    let host = Host::start();
    let client = Client::of(host.name());
    let name = "real_nftables::verbs::a_service_is_released_and_rolled_back_by_the_kernel";
    let net = format!("--net=/run/netns/{}", host.name());
    let begin = [
        as_root(),
        &["setpriv", "--pdeathsig", "KILL", "nsenter", &net],
    ]
    .concat();
    let ran = Command::new(begin[0])
        .args(&begin[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, format!("{} {}", host.url(), client.0))
        .status()
        .unwrap();
    assert!(ran.success(), "{name} in its network: {ran}");
}
