//! What plans say of nginx.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::preview::{self, Asking};
use super::super::section::{Key, Reaching, Remark, Section, Takes, Wrong};

/// `pointer: {nginx: …}`.
pub const SECTION: Section = Section {
    kind: "nginx",
    means: "nginx, by an include file and a reload.",
    example: "`include: /etc/nginx/flipside/shop.conf` and the like",
    keys: &[
        Key {
            name: "include",
            also: None,
            takes: Takes::Path,
            missing: Some((
                "nginx reads where the service is from a file of flipside's, and none is named",
                "add `include: /etc/nginx/flipside/NAME.conf`, which its `http` block includes",
            )),
            means: "The file that flipside writes and nginx's http block includes.",
        },
        Key {
            name: "url",
            also: None,
            takes: Takes::Text("a URL such as `http://127.0.0.1/`"),
            missing: Some((
                "after a switch the service is asked through nginx, and nothing says where",
                "add `url: http://127.0.0.1`, where it is reached",
            )),
            means: "Where the service is reached through nginx: asked after each switch.",
        },
        Key {
            name: "hosts",
            also: Some("host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names of the service; the first is the Host header of what is asked.",
        },
        Key {
            name: "variable",
            also: None,
            takes: Takes::Text("the name of a variable such as `flipside_shop`"),
            missing: None,
            means: "The variable for `proxy_pass`, without its `$`. \
                    Default: flipside_NAME, by the include file's name.",
        },
        Key {
            name: "says",
            also: None,
            takes: Takes::Text("a path such as `/.flipside`"),
            missing: None,
            means: "Where nginx says what it runs. Default: /.flipside.",
        },
        Key {
            name: "test",
            also: None,
            takes: Takes::Command,
            missing: None,
            means: "The command that tests the configuration. Default: nginx -t.",
        },
        Key {
            name: "reload",
            also: None,
            takes: Takes::Command,
            missing: None,
            means: "The command that has it read anew. Default: nginx -s reload.",
        },
        Key {
            name: "keepalive",
            also: None,
            takes: Takes::Number(1, 10_000),
            missing: None,
            means: "Idle connections to an environment that each worker keeps. Default: 32.",
        },
        preview::HEADER,
        preview::HOSTS,
    ],
    advised: &[],
    reaching: Reaching::ANY,
    complete,
};

/// What a plan says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NginxPlan {
    /// The include file, absolute.
    pub include: PathBuf,
    /// Where the service is reached.
    pub url: String,
    /// Host names, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The variable, without its `$`.
    pub variable: String,
    /// The path at which nginx says what it runs.
    pub says: String,
    /// The command that tests the configuration.
    pub test: Vec<String>,
    /// The command that has it read anew.
    pub reload: Vec<String>,
    /// Idle connections to an environment, for each worker.
    pub keepalive: u64,
    /// How those who want it ask for the preview.
    #[serde(flatten)]
    pub preview: Asking,
}

/// What the values of a `map` do not say as they stand.
const RESERVED: [&str; 4] = ["default", "hostnames", "include", "volatile"];

/// How every variable begins.
const PREFIX: &str = "flipside_";

fn complete(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let include = settings.get("include").and_then(Value::as_str);
    let stem = Path::new(include.unwrap_or_default()).file_stem();
    let name = stem.unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let defaults = [
        ("variable", json!(format!("{PREFIX}{name}"))),
        ("says", json!("/.flipside")),
        ("test", json!(["nginx", "-t"])),
        ("reload", json!(["nginx", "-s", "reload"])),
        ("keepalive", json!(32)),
    ];
    for (key, value) in defaults {
        settings.entry(key).or_insert(value);
    }
    let text = |key: &str| settings.get(key).and_then(Value::as_str);
    let mut all = Vec::new();
    let mut wrong = |key, message: String, help: &str| {
        let help = help.to_owned();
        all.push(Remark::Wrong(Wrong { key, message, help }));
    };
    let variable = text("variable").unwrap_or_default();
    let is_safe = |rest: &str| {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=60).contains(&rest.len()) && rest.bytes().all(safe)
    };
    if !variable.strip_prefix(PREFIX).is_some_and(is_safe) {
        wrong(
            "variable",
            format!("`{variable}` is not the name of a variable of flipside's own"),
            "write `flipside_` and letters, digits and `_`, such as `flipside_shop`",
        );
    }
    let says = text("says").unwrap_or_default();
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_~".contains(&byte);
    if !says.starts_with('/') || !says.bytes().all(is_path) {
        wrong(
            "says",
            format!("`{says}` is not a path of the service"),
            "write one that the service does not use itself, such as `/.flipside`",
        );
    }
    let header = text(preview::HEADER.name);
    let value = header
        .and_then(|text| text.split_once(':'))
        .map(|(_, value)| value.trim());
    if let (Some(text), true) = (header, value.is_some_and(|value| RESERVED.contains(&value))) {
        all.push(preview::not_plain(text).into());
    }
    all.extend(preview::wrong(settings).map(Remark::from));
    all
}
