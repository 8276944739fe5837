//! The conditions of a listener's rules, in the form of ELBv2's protocol, and who meets them.

use std::collections::BTreeMap;

/// An item of the protocol: `Type=forward` and so on, of an action; `Field=host-header`, of a condition.
pub type Fields = BTreeMap<String, String>;

/// A rule of the listener beside the service's own, with its conditions in the form of the protocol.
#[derive(Debug, Clone)]
pub struct Beside {
    pub priority: u32,
    pub conditions: Vec<Fields>,
}

impl Beside {
    pub fn is_asked(&self, headers: &hyper::HeaderMap) -> bool {
        self.conditions.iter().all(|it| is_met(it, headers))
    }
}

/// The values of a condition.
pub fn values(condition: &Fields) -> Vec<&String> {
    let all = condition.iter();
    let values = all.filter(|(key, _)| key.contains("Values.member."));
    values.map(|(_, value)| value).collect()
}

/// Whether a request meets a condition, of those kinds that tests have.
fn is_met(condition: &Fields, headers: &hyper::HeaderMap) -> bool {
    let header = match condition["Field"].as_str() {
        "host-header" => "host",
        "http-header" => condition["HttpHeaderConfig.HttpHeaderName"].as_str(),
        other => panic!("{other}"),
    };
    let said = headers.get(header).and_then(|value| value.to_str().ok());
    let is_it = |said: &str| {
        values(condition)
            .iter()
            .any(|it| it.eq_ignore_ascii_case(said))
    };
    said.is_some_and(is_it)
}

/// A condition that asks for a host, in the form of the protocol.
pub fn of_host(name: &str) -> Fields {
    let fields = [
        ("Field", "host-header"),
        ("HostHeaderConfig.Values.member.1", name),
    ];
    fields.map(|(key, value)| (key.into(), value.into())).into()
}

/// A condition that asks for a header.
pub fn of_header(name: &str, value: &str) -> Fields {
    let fields = [
        ("Field", "http-header"),
        ("HttpHeaderConfig.HttpHeaderName", name),
        ("HttpHeaderConfig.Values.member.1", value),
    ];
    fields.map(|(key, value)| (key.into(), value.into())).into()
}
