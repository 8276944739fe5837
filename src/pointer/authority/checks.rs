//! What is true of the settings of every kind that gives a name in DNS what it sends traffic to.

use hickory_proto::rr::Name;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::preview::HOSTS;
use super::super::section::{ReachKind, Remark, Wrong};
use super::servers::plain;
use super::sets::name;
use crate::core::names::Millis;
use crate::core::plan::Reach;

/// A TTL above which a rollback is slow.
const SLOW: Millis = 60_000;

/// The largest that RFC 2181 knows.
const LARGEST: Millis = 0x7fff_ffff * 1000;

/// What somebody may look for who wants a preview: of a kind that reads no requests.
pub const NO_HEADER: (&str, &str) = (
    "preview_header",
    "a name knows no headers: write `preview_host: NAME`, a second name in the zone",
);

/// The same, as other kinds call it.
pub const NO_PREVIEW: (&str, &str) = (
    "preview",
    "write `preview_host: NAME`, a second name in the zone",
);

/// The text that a key is given.
pub fn text<'a>(settings: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    settings.get(key).and_then(Value::as_str)
}

/// Remarks on those of these keys that are no names.
pub fn names(settings: &Map<String, Value>, keys: &[&'static str]) -> Vec<Remark> {
    let wrong = |key: &&'static str| {
        let text = text(settings, key)?;
        name(text).is_none().then(|| Wrong {
            key,
            message: format!("`{text}` is not a name in DNS"),
            help: "write one such as `shop.example.org`".into(),
        })
    };
    keys.iter().filter_map(wrong).map(Remark::Wrong).collect()
}

/// A remark on slots' addresses that a name cannot tell apart.
pub fn reach(settings: &Map<String, Value>) -> Option<Remark> {
    let said = settings.get("reach")?;
    let Ok(Reach::Slot(slots)) = Reach::deserialize(said) else {
        return None;
    };
    let message = if slots.blue.ip() == slots.green.ip() {
        "a name has no port, so the slots cannot share an address"
    } else if slots.blue.port() != slots.green.port() {
        "a name has no port, so both slots must have the same"
    } else {
        return None;
    };
    Some(Remark::Wrong(Wrong {
        key: "reach",
        message: message.into(),
        help: format!("write {}", ReachKind::Slot.example()),
    }))
}

/// Remarks on the names of slots, which are there where they are `wanted`, by `what` it names.
pub fn slots(settings: &Map<String, Value>, wanted: Option<&str>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for key in ["blue", "green"] {
        let wrong = match (wanted, text(settings, key)) {
            (Some(what), None) => Wrong {
                key: "type",
                message: format!("{what} names a name, and the slot {key} has none"),
                help: format!("add `{key}: NAME`, at which what hangs on that slot is reached"),
            },
            (None, Some(_)) => Wrong {
                key,
                message: "names of slots are what a CNAME is given".into(),
                help: "remove it, or write `type: CNAME`".into(),
            },
            _ => continue,
        };
        remarks.push(wrong.into());
    }
    let named = |key| text(settings, key).and_then(name);
    if wanted.is_some() && named("blue").is_some() && named("blue") == named("green") {
        remarks.push(Remark::Wrong(Wrong {
            key: "green",
            message: "both slots have the same name".into(),
            help: "give each slot a name of its own".into(),
        }));
    }
    remarks
}

/// What is wrong with the name at which a release is shown for preview, in `zone` where that is known.
pub fn preview(settings: &Map<String, Value>, zone: Option<&Name>) -> Option<Remark> {
    let key = HOSTS.name;
    let wrong = |message: String, help: String| Some(Remark::Wrong(Wrong { key, message, help }));
    let only = match settings.get(key)?.as_array()?.as_slice() {
        [] => return None,
        [only] => only,
        _ => {
            return wrong(
                "a release is shown for preview at one name".into(),
                "keep one of them".into(),
            );
        }
    };
    let called = name(only.as_str()?)?;
    let named = |key| text(settings, key).and_then(name);
    let reach = settings.get("reach").map(Reach::deserialize);
    if let Some(Ok(Reach::Slot(_))) = reach {
        return wrong(
            "with slots no preview is shown at a name: it would take the slot of what served before, and those who remember that address would see it".into(),
            format!("remove the line, or reach releases at addresses of their own: {}", ReachKind::Container.example()),
        );
    }
    if let Some(zone) = zone.filter(|zone| !zone.zone_of(&called)) {
        return wrong(
            "the preview's name is not in the zone".into(),
            format!("write a name that ends in `.{}`", plain(zone)),
        );
    }
    if let Some(key) = ["name", "blue", "green"]
        .into_iter()
        .find(|key| named(key).as_ref() == Some(&called))
    {
        return wrong(
            format!("the preview has a name of its own, and this one is that of `{key}`"),
            format!(
                "write another, such as `preview.{}`",
                text(settings, "name").unwrap_or_default()
            ),
        );
    }
    if text(settings, "type") == Some("CNAME") && zone == Some(&called) {
        return wrong(
            "a zone's own name cannot be a CNAME".into(),
            "write a name below the zone's".into(),
        );
    }
    None
}

/// Fills in the URL and the TTL, and remarks on them.
pub fn fill(settings: &mut Map<String, Value>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let called = text(settings, "name")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let called = called.trim_end_matches('.').to_owned();
    let url = text(settings, "url").map_or_else(|| format!("http://{called}"), str::to_owned);
    if name(&called).is_some() && host(&url).as_deref() != Some(&called) {
        remarks.push(Remark::Wrong(Wrong {
            key: "url",
            message: format!("`{url}` is not a URL of `{called}`"),
            help: format!("write `http://{called}`, with its port where it has one"),
        }));
    }
    let ttl = settings.get("ttl").and_then(Value::as_u64);
    let ttl = ttl.unwrap_or(30_000);
    if ttl < 1000 || !ttl.is_multiple_of(1000) || ttl > LARGEST {
        remarks.push(Remark::Wrong(Wrong {
            key: "ttl",
            message: "a TTL is whole seconds, and at least one".into(),
            help: "write a duration such as `30s`".into(),
        }));
    }
    settings.entry("type").or_insert_with(|| "A".into());
    settings.insert("ttl".into(), ttl.into());
    settings.insert("url".into(), url.into());
    if ttl > SLOW {
        remarks.push(Remark::Caution {
            key: "ttl",
            message: format!(
                "a rollback is seen by all users only after this TTL, {} s; 30s is usual",
                ttl / 1000
            ),
        });
    }
    remarks
}

/// Remarks on those of `servers` and `also` that are none.
pub fn servers(settings: &Map<String, Value>, also: &[&'static str]) -> Vec<Remark> {
    let listed = settings.get("servers").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(Value::as_str);
    let also = also
        .iter()
        .filter_map(|key| Some((*key, text(settings, key)?)));
    let all = listed.map(|text| ("servers", text)).chain(also);
    let wrong = all.filter(|(_, text)| super::servers::Place::read(text).is_none());
    let remark = |(key, text): (&'static str, &str)| {
        Remark::Wrong(Wrong {
            key,
            message: format!("`{text}` is not a server"),
            help: "write an address or a name, and a port where that is not 53: `192.0.2.1:5353`"
                .into(),
        })
    };
    wrong.map(remark).collect()
}

/// The host of a URL that can be asked.
fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url
        .host_str()
        .filter(|_| matches!(url.scheme(), "http" | "https"))?;
    Some(host.trim_end_matches('.').to_owned())
}
