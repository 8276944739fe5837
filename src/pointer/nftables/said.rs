//! What a plan may say of it.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::super::section::{Key, ReachKind, Reaching, Remark, Section, Stand, Takes, Wrong};
use super::rules::Listener;

/// `pointer: {nftables: …}`.
pub const SECTION: Section = Section {
    kind: "nftables",
    means: "The kernel of the engine's host, by a table of nftables.",
    example: "`table: flipside_shop`, `listen: 192.0.2.7:80` and the like",
    keys: &[
        Key {
            name: "table",
            also: None,
            takes: Takes::Text("the name of a table such as `flipside_shop`"),
            missing: Some((
                "nftables needs the name of a table for this service alone",
                "add `table: flipside_NAME`",
            )),
            means: "The table of the family inet that is flipside's own; begins with flipside_.",
        },
        Key {
            name: "listen",
            also: None,
            takes: Takes::Texts("an address and port such as `192.0.2.7:80`"),
            missing: Some((
                "nothing says at which addresses the service is reached",
                "add `listen: 192.0.2.7:80`",
            )),
            means: "Addresses and ports of the service, IPv4 and IPv6; `:80` is every address of the host.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `http://192.0.2.7`"),
            missing: Some((
                "the service is asked after a switch, and nothing says where",
                "add `url: http://192.0.2.7`, where it is reached",
            )),
            means: "Where the service is reached: asked after each switch.",
        },
        Key {
            name: "hosts",
            also: Some("host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names of the service; the first is the Host header of what is asked.",
        },
        Key {
            name: "preview",
            also: None,
            takes: Takes::Texts("an address and port such as `192.0.2.7:8081`"),
            missing: None,
            means: "Addresses and ports that lead to the release that is shown for preview.",
        },
        Key {
            name: "state",
            also: None,
            takes: Takes::Path,
            missing: None,
            means: "A copy of the table, for the start of the machine. \
                    Default: /var/lib/flipside/nftables/TABLE.nft.",
        },
        Key {
            name: "nft",
            also: None,
            takes: Takes::Text("the path of the program nft"),
            missing: None,
            means: "The program. Default: nft.",
        },
        Key {
            name: "keep_flows",
            also: None,
            takes: Takes::Flag,
            missing: None,
            means: "Whether a rollback leaves open connections where they are. Default: false.",
        },
    ],
    advised: &[],
    reaching: Reaching {
        from: Stand::Here,
        ways: &[ReachKind::Container],
        beyond: (
            "behind a published port or a slot stands a relay, which takes the client's address away \
             and the kernel's speed with it",
            "remove the line: the kernel of the engine's host leads straight to the containers",
        ),
    },
    complete,
};

fn complete(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let mut all = Vec::new();
    let mut wrong = |key, message: String, help: &str| {
        let help = help.to_owned();
        all.push(Remark::Wrong(Wrong { key, message, help }));
    };
    let table = settings.get("table").and_then(Value::as_str);
    let table = table.unwrap_or_default().to_owned();
    let is_safe = |rest: &str| {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=100).contains(&rest.len()) && rest.bytes().all(safe)
    };
    if !table.strip_prefix("flipside_").is_some_and(is_safe) {
        wrong(
            "table",
            format!("`{table}` is not the name of a table of flipside's own"),
            "write `flipside_` and letters, digits and `_`, such as `flipside_shop`",
        );
    }
    let mut known = Vec::new();
    for (key, example) in [("listen", 80), ("preview", 8081)] {
        let said = settings.get(key).and_then(Value::as_array);
        for text in said.into_iter().flatten().filter_map(Value::as_str) {
            let Some(listener) = Listener::read(text) else {
                wrong(
                    key,
                    format!("`{text}` is not an address and port"),
                    &format!(
                        "write `192.0.2.7:{example}`, `\"[2001:db8::7]:{example}\"` or `\":{example}\"`"
                    ),
                );
                continue;
            };
            if matches!(listener.address, Some(IpAddr::V6(ip)) if ip.is_loopback()) {
                wrong(
                    key,
                    "the kernel leads nothing from `[::1]` to containers".to_owned(),
                    "write another address of the host's",
                );
            }
            if key == "listen" {
                known.push(listener);
            } else if let Some(own) = known.iter().find(|own| own.overlaps(&listener)) {
                wrong(
                    key,
                    format!("`{text}` leads to the service itself, by `listen: {own}`"),
                    "write a port of the preview's own",
                );
            }
        }
    }
    settings
        .entry("state")
        .or_insert_with(|| format!("/var/lib/flipside/nftables/{table}.nft").into());
    all
}
