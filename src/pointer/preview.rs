//! How those who want it ask for the preview: by a header, by a host name, or by either.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::section::{Key, Takes, Wrong};

/// The header that asks for it.
pub const HEADER: Key = Key {
    name: "preview_header",
    also: None,
    takes: Takes::Text("a header such as `X-Preview: yes`"),
    missing: None,
    means: "A header with its value that leads to the release that is shown for preview.",
};

/// The host names that do.
pub const HOSTS: Key = Key {
    name: "preview_hosts",
    also: Some("preview_host"),
    takes: Takes::Hosts,
    missing: None,
    means: "Host names that lead to the release that is shown for preview.",
};

/// What a plan says of it, among a pointer's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// A header with its value.
    #[serde(
        default,
        rename = "preview_header",
        skip_serializing_if = "Option::is_none"
    )]
    pub header: Option<String>,
    /// Host names, lower case.
    #[serde(
        default,
        rename = "preview_hosts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub hosts: Vec<String>,
}

impl Asking {
    /// Whether it can be asked for at all.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.header.is_some() || !self.hosts.is_empty()
    }

    /// Name and value of the header.
    #[must_use]
    pub fn named(&self) -> Option<(&str, &str)> {
        header(self.header.as_deref()?)
    }

    /// The headers of one who asks.
    #[must_use]
    pub fn headers(&self) -> Vec<(&str, &str)> {
        match (self.named(), self.hosts.first()) {
            (Some(named), _) => vec![named],
            (None, Some(host)) => vec![("host", host)],
            (None, None) => Vec::new(),
        }
    }

    /// How a person asks, at `url`, where the service goes by the name `host`.
    #[must_use]
    pub fn command(&self, url: &str, host: Option<&str>) -> Option<String> {
        let (header, host) = match (self.named(), self.hosts.first()) {
            (Some((name, value)), _) => (format!("-H '{name}: {value}' "), host),
            (None, Some(own)) => (String::new(), Some(own.as_str())),
            (None, None) => return None,
        };
        let host = host.map_or(String::new(), |host| format!("-H 'Host: {host}' "));
        Some(format!("curl {host}{header}{url}"))
    }
}

/// Name and value, of letters, digits, `-`, `_` and `.` alone: nothing that a shell or a
/// configuration's own language would take for something else.
fn header(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_name = !name.is_empty() && name.bytes().all(plain);
    let is_value = value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .bytes()
            .all(|byte| plain(byte) || b"_.".contains(&byte));
    (is_name && is_value).then_some((name, value))
}

/// What is wrong with the header, if it is said.
#[must_use]
pub fn wrong(settings: &Map<String, Value>) -> Option<Wrong> {
    let text = settings.get(HEADER.name).and_then(Value::as_str)?;
    header(text).is_none().then(|| not_plain(text))
}

/// That the header is none, or that its value means something else to the pointer.
#[must_use]
pub fn not_plain(text: &str) -> Wrong {
    Wrong {
        key: HEADER.name,
        message: format!("`{text}` is not a header with a plain value"),
        help: "write a name and a word, such as `X-Preview: yes`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(header: Option<&str>, hosts: &[&str]) -> Asking {
        Asking {
            header: header.map(str::to_owned),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        }
    }

    #[test]
    fn a_person_is_told_the_shortest_way() {
        let url = "http://localhost:8080/";
        let told = |asking: Asking, host| asking.command(url, host);
        assert_eq!(told(asking(None, &[]), None), None);
        assert_eq!(
            told(asking(Some("X-Preview:  yes"), &["next.example"]), None).as_deref(),
            Some("curl -H 'X-Preview: yes' http://localhost:8080/")
        );
        assert_eq!(
            told(asking(Some("X-Preview: yes"), &[]), Some("shop.example")).as_deref(),
            Some("curl -H 'Host: shop.example' -H 'X-Preview: yes' http://localhost:8080/")
        );
        assert_eq!(
            told(asking(None, &["next.example"]), Some("shop.example")).as_deref(),
            Some("curl -H 'Host: next.example' http://localhost:8080/")
        );
    }

    #[test]
    fn only_plain_words_are_a_header() {
        for bad in [
            "",
            "X-Preview",
            "X-Preview:",
            ": yes",
            "X Y: yes",
            "X: a b",
            "X: '",
            "X: $x",
        ] {
            assert_eq!(header(bad), None, "{bad}");
        }
        assert_eq!(header("X-Preview: a_b.c-1"), Some(("X-Preview", "a_b.c-1")));
    }
}
