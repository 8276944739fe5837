//! What plans say of nginx.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::section::{Key, Remark, Section, Takes, Wrong};

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
        Key {
            name: "preview_header",
            also: None,
            takes: Takes::Text("a header such as `X-Preview: yes`"),
            missing: None,
            means: "A header with its value that leads to the candidate.",
        },
        Key {
            name: "preview_hosts",
            also: Some("preview_host"),
            takes: Takes::Hosts,
            missing: None,
            means: "Host names that lead to the candidate.",
        },
    ],
    advised: &[],
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
    /// A header with its value that leads to the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_header: Option<String>,
    /// Host names that do, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview_hosts: Vec<String>,
}

impl NginxPlan {
    /// Name and value of the header that leads to the candidate.
    pub(super) fn header(&self) -> Option<(&str, &str)> {
        header(self.preview_header.as_deref()?)
    }
}

/// Name and value, of letters, digits, `-`, `_` and `.` alone: nothing that nginx's own language
/// would take for something else.
fn header(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_name = !name.is_empty() && name.bytes().all(plain);
    let is_value = value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .bytes()
            .all(|byte| plain(byte) || b"_.".contains(&byte))
        && !["default", "hostnames", "include", "volatile"].contains(&value);
    (is_name && is_value).then_some((name, value))
}

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
    if let Some(text) = text("preview_header").filter(|text| header(text).is_none()) {
        wrong(
            "preview_header",
            format!("`{text}` is not a header with a plain value"),
            "write a name and a word, such as `X-Preview: yes`",
        );
    }
    all
}
